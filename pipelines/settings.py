"""`load(usecase, profile)` reads two YAML files into frozen, typed settings (declared in `sections`).

A profile (`config/profiles/NAME.yaml`) says where things live and who does the work; a use case
(`config/usecases/NAME/usecase.yaml`) says everything else. A wrong setting names the file, the key and what is
allowed. This is the only module that reads the environment: NIGHTSHIFT_CONFIG names another configuration folder,
NIGHTSHIFT_STATE another folder for what the embedded default writes, NIGHTSHIFT_PROFILE another default profile.
"""

import datetime
import os
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from pipelines.errors import UserError
from pipelines.sections import Profile, Section, UseCase

S = TypeVar("S", bound=Section)
ROOT = Path(__file__).resolve().parent.parent


class Settings(NamedTuple):
    """What `load` returns."""

    profile: Profile
    usecase: UseCase


def config_folder() -> Path:
    """The configuration folder."""
    return Path(os.environ.get("NIGHTSHIFT_CONFIG") or ROOT / "config").resolve()


def default_profile() -> str:
    """The profile used where none is named."""
    return os.environ.get("NIGHTSHIFT_PROFILE") or "local"


def usecases() -> list[str]:
    """Names of the use cases: the folders under config/usecases that hold a usecase.yaml."""
    return sorted(path.parent.name for path in config_folder().glob("usecases/*/usecase.yaml"))


def load(usecase: str, profile: str) -> Settings:
    """Read and check both files; raises UserError for an unknown name or a wrong setting."""
    return Settings(load_profile(profile), load_usecase(usecase))


def load_usecase(name: str) -> UseCase:
    """One use case by the name of its folder."""
    path = config_folder() / "usecases" / name / "usecase.yaml"
    if not path.is_file():
        raise UserError(
            f"there is no use case {name!r}; the use cases are {', '.join(usecases())} (folders under {config_folder()}/usecases)"
        )
    found = _parse(path, UseCase)
    if found.name != name:
        raise UserError(f"{path}: name is {found.name!r}, but its folder is {name!r}: they must be the same")
    return found.model_copy(update={"folder": str(path.parent)})


def load_profile(name: str) -> Profile:
    """One profile by name; `{state}` in its values stands for the absolute state folder."""
    path = config_folder() / "profiles" / f"{name}.yaml"
    if not path.is_file():
        names = sorted(found.stem for found in path.parent.glob("*.yaml"))
        raise UserError(f"there is no profile {name!r}; the profiles are {', '.join(names)} (files in {path.parent})")
    profile = _parse(path, Profile)
    state = str((ROOT / (os.environ.get("NIGHTSHIFT_STATE") or profile.state)).resolve())
    places = {key: getattr(profile, key).replace("{state}", state) for key in ("lake", "mlflow", "artifacts")}
    return profile.model_copy(update=places | {"state": state})


def parse_night(text: str) -> str:
    """A night as YYYY-MM-DD; raises UserError for anything else."""
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise UserError(f"night {text!r} is not a date: write it as YYYY-MM-DD, say 2026-11-20") from None


def _parse(path: Path, section: type[S]) -> S:
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold keys and values, not {type(raw).__name__}")
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise UserError("\n".join(_explain(path, raw, section, found) for found in error.errors())) from None


def _explain(path: Path, raw: dict, section: type[Section], error: dict) -> str:
    """One line for one wrong setting: file, key, what is wrong, what is allowed."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{path}: {key}: {error['msg']}" + ("" if isinstance(error["input"], dict) else f" (found {error['input']!r})")
    fields = section.model_fields
    for part in error["loc"][:-1]:
        kind = fields[part].annotation if part in fields else None
        fields = getattr(kind, "model_fields", {})
    allowed = f"; allowed here: {', '.join(fields)}" if fields else ""
    return f"{path}: {key}: there is no such setting{allowed}"
