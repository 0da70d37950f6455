"""The commands and their options: what `python -m pipelines --help` tells."""

import argparse
import getpass
from collections.abc import Iterable
from typing import Any

from pipelines.settings import default_profile

COMMANDS = {
    "status": "where the newest night stands",
    "endpoint": "serve the champion on 127.0.0.1",
    "calibrate": "measure the judges against people's verdicts, and admit or refuse them",
    "rollback": "make an earlier version the champion",
    "ledger": "verify or show the chain of decisions",
    "memo": "what is kept of what was paid for, and why a step will run again or not",
    "spend": "what was spent on models",
    "contract": "write a first contract from data",
    "leaks": "rows of a training file that stand in a test file, exactly or nearly",
    "label": "which rows' labels would teach most, which labels look wrong, and people's answers",
    "lineage": "what a model was made of, or where a row went",
    "erase": "remove a person from everything, and bar the models trained on them",
    "hold": "keep a person's rows for a legal reason, or let them go",
}
COUNTED = "counted are its rows that stand in the other, exactly, exactly but for punctuation, nearly: each holds the one before"


def build(steps: Iterable[str]) -> argparse.ArgumentParser:
    """The parser of the steps and the commands."""
    about = "One step of the night, or a command on what the nights have left."
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    own = _options(tuple(steps))
    for name, text in ({name: "a step of the night" for name in steps} | COMMANDS).items():
        command = commands.add_parser(name, help=text, description=text)
        for option, about_it in (_SHARED | own.get(name, {})).items():
            command.add_argument(option, **about_it)
    return parser


_SHARED: dict[str, dict[str, Any]] = {
    "--usecase": {"default": "", "help": "a folder under config/usecases"},
    "--profile": {"default": default_profile(), "help": "a file under config/profiles"},
    "--night": {"default": "", "help": "YYYY-MM-DD"},
    "--json": {"action": "store_true", "help": "print the result as JSON and nothing else on standard output"},
}


def _text(about: str, default: str = "", required: bool = False) -> dict[str, Any]:
    return {"help": about, "required": True} if required else {"help": about, "default": default}


def _flag(about: str) -> dict[str, Any]:
    return {"action": "store_true", "help": about}


def _options(steps: tuple[str, ...]) -> dict[str, dict[str, dict[str, Any]]]:
    """Each command's own options."""
    by = _text("who does it; kept with what was done", _user())
    why = "the reason, for the ledger"
    return {
        "ingest": {"--source": _text("only look at this file and count what is in it")},
        "scrub": {
            "--input": _text("JSONL with a column text: print each row's findings"),
            "--reveal": _text("a row_id: print its texts with the values restored (needs the key)"),
        },
        "gate": {
            "--scores": _text("CSV or JSONL with columns item, group, champion, candidate"),
            "--margin": {"type": float, "default": 0.03, "help": "non-inferiority margin in the score's units"},
            "--batch": _flag("a verdict for each value of the column draw, a line each"),
            "--alpha": {"type": float, "default": 0.05, "help": "one-sided level"},
        },
        "calibrate": {
            "--verdicts": _text("recorded verdicts of any judge: item, order, judge, winner or score, raw"),
            "--labels": _text("people's verdicts on the same items"),
        },
        "rollback": {
            "--to": _text("a version of the registry, or base", required=True),
            "--why": _text(why, required=True),
            "--by": by,
        },
        "endpoint": {"--port": {"type": int, "default": 8100, "help": "on 127.0.0.1"}},
        "ledger": {"action": {"choices": ("verify", "show")}},
        "memo": {
            "action": {"choices": ("stats", "gc", "why")},
            "step": {"nargs": "?", "choices": (*steps, ""), "default": "", "help": "for why; without it all of the nightly's"},
        },
        "spend": {"--by": {"choices": ("step", "model", "night"), "default": "night"}},
        "contract": {
            "action": {"choices": ("suggest",)},
            "--source": _text("the data; with --usecase the contract is written into its folder", required=True),
        },
        "leaks": {
            "--train": _text("CSV, JSON lines or Parquet with a column text", required=True),
            "--test": _text(f"the sealed rows, likewise; {COUNTED}", required=True),
        },
        "label": {
            "action": {"choices": ("suggest", "errors", "import")},
            "--n": {"type": int, "default": 50, "help": "rows to suggest"},
            "--out": _text("file to write: .csv, or .json for Label Studio"),
            "--file": _text("the answers: the CSV, or Label Studio's export"),
            "--by": by,
        },
        "lineage": {"--version": _text("of the MLflow registry"), "--row": _text("row_id or example_id")},
        "erase": {
            "--subject": _text("the person's subject_id", required=True),
            "--request": _flag("only file it: the DAG erasure__NAME works on it"),
        },
        "hold": {
            "--subject": _text("the person's subject_id", required=True),
            "--why": _text(why),
            "--release": _flag("the reason has ended"),
            "--by": by,
        },
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "unknown"
