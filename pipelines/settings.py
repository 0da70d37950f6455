"""`load(usecase, profile)` reads two YAML files into frozen, typed settings (declared in `sections`).

A profile (`config/profiles/NAME.yaml`) says where things live and who does the work; a use case
(`config/usecases/NAME/usecase.yaml`) says everything else, but for what its data must be, which `contract.yaml` beside it
says. A wrong setting names the file, the key and what is allowed. This is the only module that reads the environment:
NIGHTSHIFT_CONFIG names another configuration folder, NIGHTSHIFT_STATE another folder for what the embedded default
writes, NIGHTSHIFT_PROFILE another default profile.
"""

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args

from pydantic import ValidationError

from pipelines.addresses import address
from pipelines.errors import UserError
from pipelines.sections import Contract, Profile, Section, UseCase

if TYPE_CHECKING:
    import yaml

S = TypeVar("S", bound=Section)
CONTRACT = "contract.yaml"
OWN = ("contract", "folder")  # of a use case: not written in usecase.yaml
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
    """Read and check the files; raises UserError for an unknown name or a wrong setting."""
    return Settings(load_profile(profile), load_usecase(usecase))


def load_usecase(name: str) -> UseCase:
    """One use case by the name of its folder, with the contract of that folder, where there is one."""
    path = config_folder() / "usecases" / name / "usecase.yaml"
    if not path.is_file():
        raise UserError(
            f"there is no use case {name!r}; the use cases are {', '.join(usecases())} (folders under {config_folder()}/usecases)"
        )
    raw, contract = read(path), path.with_name(CONTRACT)
    if "contract" in raw:
        raise UserError(f"{path}: contract: what the data must be has a file of its own: write it into {contract}, its keys at the top")
    found = check(path, raw, UseCase)
    if found.name != name:
        raise UserError(f"{path}: name is {found.name!r}, but its folder is {name!r}: they must be the same")
    held = check(contract, read(contract), Contract) if os.path.lexists(contract) else Contract()
    return found.model_copy(update={"folder": str(path.parent), "contract": held})


def load_profile(name: str) -> Profile:
    """One profile by name; `{state}` in its values stands for the absolute state folder."""
    path = config_folder() / "profiles" / f"{name}.yaml"
    if not path.is_file():
        names = sorted(found.stem for found in path.parent.glob("*.yaml"))
        raise UserError(f"there is no profile {name!r}; the profiles are {', '.join(names)} (files in {path.parent})")
    profile = check(path, read(path), Profile)
    state = str((ROOT / (os.environ.get("NIGHTSHIFT_STATE") or profile.state)).resolve())
    places = {key: getattr(profile, key).replace("{state}", state) for key in ("lake", "mlflow", "artifacts")}
    return profile.model_copy(update=places | {"state": state})


def connection(name: str) -> str:
    """The database of an Airflow connection as SQLAlchemy's URL; raises UserError, which never shows what the variable holds.

    The connection stands in AIRFLOW_CONN_<NAME>, as a URI or as JSON, as Airflow defines it.
    """
    variable = f"AIRFLOW_CONN_{name.upper()}"
    held = os.environ.get(variable, "").strip()
    if not held:
        raise UserError(f"there is no connection {name!r}: create it in Airflow, or set {variable} to its URI or JSON")
    return address(held, variable)


def parse_night(text: str) -> str:
    """A night as YYYY-MM-DD; raises UserError for anything else."""
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise UserError(f"night {text!r} is not a date: write it as YYYY-MM-DD, say 2026-11-20") from None


def read(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file; raises UserError where it cannot be read, holds something else, or a key twice."""
    import yaml

    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        twice = _repeated(node)
        raw = None if node is None or twice else loader.construct_document(node)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if twice:
        raise UserError(f"{path}: {twice}: the key is there twice: keep one of them")
    if node is None:
        raise UserError(f"{path} is empty: write keys and values into it, or remove it")
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold keys and values, not {type(raw).__name__}")
    return raw


def check(path: Path, raw: dict[str, Any], section: type[S]) -> S:
    """The section that `raw` says; raises UserError with a line for each wrong key of the file `path`."""
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise UserError("\n".join(_explain(path, raw, section, found) for found in error.errors())) from None


def _repeated(node: "yaml.Node | None") -> str:
    """The dotted name of a key that one mapping holds twice, of which YAML would take the last in silence; empty where none is."""
    found, open_nodes, seen = "", [("", node)], set()
    while open_nodes and not found:
        place, at = open_nodes.pop()
        if id(at) in seen or isinstance(getattr(at, "value", ""), str):
            continue
        seen.add(id(at))
        if at.id == "sequence":
            open_nodes += [(f"{place}[{number}]", value) for number, value in enumerate(at.value)]
            continue
        keys = [str(key.value) for key, _ in at.value if key.id == "scalar"]
        found = next((f"{place}.{key}".lstrip(".") for key in keys if keys.count(key) > 1), "")
        open_nodes += [(f"{place}.{key.value}", value) for key, value in at.value]
    return found


def _explain(path: Path, raw: dict, section: type[Section], error: dict) -> str:
    """One line for one wrong setting: file, key, what is wrong, what is allowed."""
    key = ".".join(str(part) for part in error["loc"])
    if section is Contract and not key:  # what contradicts itself, a line each, with its keys
        return "\n".join(f"{path}: {line}" for line in error["msg"].removeprefix("Value error, ").splitlines())
    if error["type"] != "extra_forbidden":
        return f"{path}: {key}: {error['msg']}" + ("" if isinstance(error["input"], dict) else f" (found {error['input']!r})")
    fields = section.model_fields
    for part in error["loc"][:-1]:
        kind = fields[part].annotation if part in fields else None
        kind = next((inner for inner in get_args(kind) if hasattr(inner, "model_fields")), kind)  # of X | None
        fields = getattr(kind, "model_fields", {})
    names = [name for name in fields if not (section is UseCase and name in OWN)]
    allowed = f"; allowed here: {', '.join(names)}" if names else ""
    return f"{path}: {key}: there is no such setting{allowed}"
