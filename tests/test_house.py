"""The rules of the house that hold for every file; each failure names the offender and the cure."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from pipelines.errors import UserError
from pipelines.foundation.step import ORDER
from pipelines.sections import Contract, Profile, Section, UseCase
from pipelines.settings import ROOT, load_profile, load_usecase

FOLDERS = ("pipelines", "plugins", "dags", "tests", "bench")
HEAVY = [
    "torch",
    "transformers",
    "peft",
    "mlflow",
    "pandas",
    "evidently",
    "great_expectations",
    "sklearn",
    "scipy",
    "presidio_analyzer",
    "pyarrow",
    "deltalake",
    "boto3",
    "requests",
]
FLOORS = ("data", "tuning", "evaluation", "release", "monitoring", "system")
LONGEST_FUNCTION = 80
House = Callable[..., Path]


class Source(NamedTuple):
    """One file of ours."""

    path: str  # relative to the root
    tree: ast.Module

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    def imports(self) -> set[str]:
        """Dotted names, `from pipelines.data import scrub` as pipelines.data.scrub."""
        names = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        return names

    def is_step(self) -> bool:
        decorators = [found for function in self.functions() for found in function.decorator_list if isinstance(found, ast.Call)]
        return any(isinstance(found.func, ast.Name) and found.func.id == "step" for found in decorators)


def sources(*folders: str) -> list[Source]:
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Source(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def no_one(offenders: list[str], cure: str) -> None:
    assert not offenders, f"{cure}:\n" + "\n".join(offenders)


def test_pipelines_never_import_airflow_or_plugins() -> None:
    found = [
        f"{source.path}: {name}"
        for source in sources("pipelines")
        for name in source.imports()
        if name.split(".")[0] in ("airflow", "plugins")
    ]
    no_one(found, "what knows Airflow belongs in plugins/ or dags/")


def test_importing_all_of_pipelines_loads_no_heavy_library() -> None:
    modules = [
        source.path[:-3].replace("/", ".").removesuffix(".__init__") for source in sources("pipelines") if "__main__" not in source.path
    ]
    code = f"import sys\nfor name in {modules!r}: __import__(name)\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]", (
        f"{found} is loaded when pipelines is imported, at every parse of a DAG: import it inside the function that uses it"
    )


def test_no_step_imports_a_step() -> None:
    steps = {source.path[:-3].replace("/", "."): source for source in sources("pipelines") if source.is_step()}
    assert len(steps) == len(ORDER), "this test must see every step"
    found = [
        f"{source.path}: {name}"
        for source in steps.values()
        for name in source.imports()
        for step in steps
        if (name + ".").startswith(step + ".")
    ]
    no_one(found, "a step works on what the step before it recorded; a helper that two steps need moves to pipelines/foundation")


def test_the_foundation_stands_on_nothing_of_ours_above_it() -> None:
    upper = tuple(f"pipelines.{floor}." for floor in FLOORS)
    found = [f"{source.path}: {name}" for source in sources("pipelines/foundation") for name in source.imports() if name.startswith(upper)]
    no_one(found, "the foundation imports no upper floor: move what it needs down")


def test_no_error_is_swallowed() -> None:
    found = []
    for source in sources("pipelines", "plugins", "dags"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler):
                names = [found.id for found in ast.walk(node.type) if isinstance(found, ast.Name)] if node.type else ["everything"]
                found += [
                    f"{source.path}:{node.lineno}: except {name}" for name in names if name in ("everything", "Exception", "BaseException")
                ]
    no_one(found, "catch the one error that is expected; Airflow retries the others")


def test_nothing_is_unpickled_and_no_yaml_runs_code() -> None:
    unsafe = {"yaml.load", "torch.load", "joblib.load"}
    found = []
    for source in sources("pipelines", "plugins", "dags"):
        found += [
            f"{source.path}: import {name}"
            for name in source.imports()
            if name.split(".")[0] in ("pickle", "joblib", "cloudpickle", "dill")
        ]
        found += [
            f"{source.path}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node) in unsafe
        ]
    no_one(found, "weights are safetensors, settings are read by yaml.safe_load")


def test_every_module_says_what_it_is() -> None:
    no_one([source.path for source in sources(*FOLDERS) if not ast.get_docstring(source.tree)], "begin the file with a docstring")


def test_every_function_says_what_it_returns_and_is_short() -> None:
    found = []
    for source in sources(*FOLDERS):
        for function in source.functions():
            where = f"{source.path}:{function.lineno}: {function.name}"
            lines = (function.end_lineno or 0) - function.lineno + 1
            found += [f"{where} has no return annotation"] if function.returns is None and function.name != "__init__" else []
            found += [f"{where} has {lines} lines"] if lines > LONGEST_FUNCTION else []
    no_one(found, f"annotate it; split what is longer than {LONGEST_FUNCTION} lines")


def _settings() -> list[Path]:
    return sorted([*(ROOT / "config/profiles").glob("*.yaml"), *(ROOT / "config/usecases").glob("*/*.yaml")])


@pytest.mark.parametrize("path", _settings(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_settings_file_loads_and_refuses_a_key_that_nobody_declared(path: Path, house: House) -> None:
    kinds = {"usecase": (UseCase, load_usecase, path.parent.name), "contract": (Contract, load_usecase, path.parent.name)}
    section, load, name = kinds.get(path.stem, (Profile, load_profile, path.stem))
    copy = house() / path.relative_to(ROOT / "config")
    copy.parent.mkdir(parents=True, exist_ok=True)
    if section is Contract:
        shutil.copy(path.with_name("usecase.yaml"), copy.parent)
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    copy.write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert load(name) is not None
    for key, changed in _with_a_misspelt_key(raw, section):
        copy.write_text(yaml.safe_dump(changed), encoding="utf-8")
        with pytest.raises(UserError) as refused:
            load(name)
        assert f"{copy}: {key}: there is no such setting; allowed here: " in str(refused.value)


def _with_a_misspelt_key(raw: dict, section: type[Section]) -> Iterator[tuple[str, dict]]:
    """The settings with `misspelt` added at the top, then in each section."""
    yield "misspelt", raw | {"misspelt": 1}
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section) and name in raw:
            yield from ((f"{name}.{key}", raw | {name: changed}) for key, changed in _with_a_misspelt_key(raw[name], kind))
