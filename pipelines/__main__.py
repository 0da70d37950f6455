"""The command line: `python -m pipelines STEP --usecase NAME --night DATE [--json]`.

With --json nothing but JSON is on standard output. A user's mistake is one message and exit code 2.
"""

import argparse
import getpass
import importlib
import json
import logging
import sys
from collections.abc import Iterable

from pipelines.errors import UserError, Waiting
from pipelines.sections import Admission
from pipelines.settings import default_profile

STEPS = {
    "ingest": "data.ingest",
    "validate": "data.validate",
    "scrub": "data.scrub",
    "split": "data.split",
    "synthesize": "data.synthesize",
    "finetune": "tuning.finetune",
    "admit": "evaluation.admit",
    "evaluate": "evaluation.evaluate",
    "safety": "evaluation.safety",
    "gate": "release.gate",
    "promote": "release.promote",
    "publish_card": "release.card",
    "drift": "monitoring.drift",
}
FILES = ("ingest", "scrub", "gate", "calibrate", "contract", "leaks")
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


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 a mistake that the message explains, 3 a provider has work of it still."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    logging.getLogger("pipelines").setLevel(logging.INFO)
    try:
        return _run(parser, options)
    except UserError as error:
        print(f"nightshift: {error}", file=sys.stderr)
        return 2
    except Waiting as waiting:
        print(f"nightshift: {waiting}", file=sys.stderr)
        return 3


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    command = options.command
    if command in FILES and (found := _run_on_file(parser, options)) is not None:
        for line in found:
            print(json.dumps(line))
    elif command == "ledger":
        _ledger(options)
    elif not options.usecase:
        parser.error(f"{command} needs --usecase NAME" + (", or --source FILE to look at a file" if command == "ingest" else ""))
    elif command == "status":
        status = _load("monitoring.status").read_status(options.usecase, options.profile, options.night)
        print(json.dumps(status) if options.json else _load("monitoring.status").render(options.usecase, status))
    elif command == "endpoint":
        _load("system.endpoint").serve(options.usecase, options.profile, options.port)
    elif command == "calibrate":
        _print(options, _load("evaluation.calibrate").calibrate(options.usecase, options.profile, options.night))
    elif command == "rollback":
        _print(options, _load("release.rollback").rollback(options.usecase, options.profile, options.to, options.why, options.by))
    elif command == "spend":
        found = _load("monitoring.spending").read_spend(options.usecase, options.profile, options.by)
        print(json.dumps(found) if options.json else _load("monitoring.spending").render(options.usecase, found))
    elif command == "memo":
        _memo(parser, options)
    elif command == "contract":
        _print(options, _load("data.suggest").write_contract(options.source, options.usecase))
    elif command == "label":
        _label(parser, options)
    elif command == "lineage":
        _lineage(parser, options)
    elif command == "erase":
        work = _load("system.erase").request if options.request else _load("system.erase").erase
        print(json.dumps(work(options.usecase, options.profile, options.subject), indent=None if options.json else 2))
    elif command == "hold":
        found = _load("system.hold").hold(options.usecase, options.profile, options.subject, options.why, options.release, options.by)
        _print(options, found)
    elif not options.night:
        parser.error(f"{command} needs --night YYYY-MM-DD")
    else:
        _print(options, getattr(_load(STEPS[command]), command)(options.usecase, options.profile, options.night))
    return 0


def _run_on_file(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Iterable[dict] | None:
    """The commands that look at a file of the user's and touch nothing else; None where no file was named."""
    command = options.command
    if command == "ingest" and options.source:
        return [_load("data.ingest").inspect(options.source)]
    if command == "scrub" and options.reveal:
        if not options.usecase:
            parser.error("scrub --reveal needs --usecase NAME")
        return [_load("data.scrub").reveal(options.usecase, options.profile, options.reveal)]
    if command == "scrub" and options.input:
        return _load("data.scrub").scrub_lines(options.input)
    if command == "gate" and options.batch and not options.scores:
        parser.error("gate --batch needs --scores FILE")
    if command == "gate" and options.scores:
        decide = _load("release.score_files")
        given = (options.scores, options.margin, options.alpha)
        return decide.decide_batch(*given) if options.batch else [decide.decide_file(*given)]
    if command == "contract" and not options.usecase:
        print(_load("data.suggest").suggest_contract(options.source), end="")
        return []
    if command == "leaks":
        found = _load("data.leaks").find_leaks(options.train, options.test)
        if options.json:
            return [found]
        print(_load("data.leaks").render(found))
        return []
    if command == "calibrate" and (options.verdicts or options.labels):
        if not (options.verdicts and options.labels):
            parser.error("calibrate needs both --verdicts FILE and --labels FILE")
        return _load("evaluation.recorded").calibrate_recorded(options.verdicts, options.labels, Admission())
    return None


def _ledger(options: argparse.Namespace) -> None:
    audit = _load("release.audit")
    if options.action == "verify":
        for line in audit.verify(options.usecase, options.profile):
            shown = f"{line['usecase']}: {line['entries']} entries hold, head {line['head'][:12]}"
            print(json.dumps(line) if options.json else shown)
        return
    found = audit.show(options.usecase, options.profile, options.night)
    print("\n".join(json.dumps(entry) for entry in found) if options.json else audit.render(found))


def _memo(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Figures, a clean-up, or why steps will run again: all of the nightly's, or the one that is named and those before it."""
    if options.action == "gc":
        found = _load("system.housekeeping").tidy(options.usecase, options.profile)
    elif options.action == "stats":
        step = _load("foundation.step")
        found = _load("foundation.memo").measure(step.open_night(options.usecase, options.profile, "9999-12-31").lake)
    elif not options.night:
        parser.error("memo why needs --night YYYY-MM-DD")
    else:
        names = list(STEPS)[: list(STEPS).index(options.step) + 1] if options.step else list(STEPS)
        steps = [getattr(_load(STEPS[name]), name) for name in names]
        told = _load("foundation.step").explain(steps, options.usecase, options.profile, options.night)
        for line in told[-1:] if options.step else told:
            saying = "will run" if line["runs"] else "will not run"
            print(json.dumps(line) if options.json else f"{line['step']:<13} {saying}: {line['why']}")
        return
    print(json.dumps(found, indent=None if options.json else 2))


def _label(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """People's labels: rows to be labelled go out, answers and accepted corrections come in."""
    labels = _load("data.labels")
    given = (options.usecase, options.profile)
    if options.action in ("suggest", "errors") and not options.night:
        parser.error(f"label {options.action} needs --night YYYY-MM-DD")
    if options.action == "import" and not options.file:
        parser.error("label import needs --file FILE")
    if options.action == "suggest":
        found = labels.suggest(*given, options.night, options.n, options.out)
    elif options.action == "errors":
        found = labels.find_errors(*given, options.night, options.out)
    else:
        found = labels.import_answers(*given, options.file, options.by)
    print(json.dumps(found, indent=None if options.json else 2))


def _lineage(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Of a version of the registry backwards, or of a row forwards."""
    if bool(options.version) == bool(options.row):
        parser.error("lineage needs --version VERSION or --row ID")
    given = (options.usecase, options.profile)
    if options.version:
        lineage = _load("release.lineage")
        found = lineage.trace_version(*given, options.version)
    else:
        lineage = _load("release.trail")
        found = lineage.trace_row(*given, options.row)
    print(json.dumps(found) if options.json else lineage.render(found))


def _load(module: str) -> object:
    return importlib.import_module(f"pipelines.{module}")


def _print(options: argparse.Namespace, result: dict) -> None:
    if options.json:
        print(json.dumps(result))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "unknown"


def _parser() -> argparse.ArgumentParser:
    about = "One step of the night, the status, the judges, the ledger, or the model endpoint."
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in ({name: "a step of the night" for name in STEPS} | COMMANDS).items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "ledger":
            command.add_argument("action", choices=("verify", "show"))
        if name == "memo":
            command.add_argument("action", choices=("stats", "gc", "why"))
            command.add_argument("step", nargs="?", choices=(*STEPS, ""), default="", help="for why; without it all of the nightly's")
        if name == "spend":
            command.add_argument("--by", choices=("step", "model", "night"), default="night")
        command.add_argument("--usecase", default="", help="a folder under config/usecases")
        command.add_argument("--profile", default=default_profile(), help="a file under config/profiles")
        command.add_argument("--night", default="", help="YYYY-MM-DD")
        command.add_argument("--json", action="store_true", help="print the result as JSON and nothing else on standard output")
        if name == "ingest":
            command.add_argument("--source", default="", help="only look at this file and count what is in it")
        if name == "scrub":
            command.add_argument("--input", default="", help="JSONL with a column text: print each row's findings")
            command.add_argument("--reveal", default="", help="a row_id: print its texts with the values restored (needs the key)")
        if name == "gate":
            command.add_argument("--scores", default="", help="CSV or JSONL with columns item, group, champion, candidate")
            command.add_argument("--margin", type=float, default=0.03, help="non-inferiority margin in the score's units")
            command.add_argument("--batch", action="store_true", help="a verdict for each value of the column draw, a line each")
            command.add_argument("--alpha", type=float, default=0.05, help="one-sided level")
        if name == "calibrate":
            command.add_argument("--verdicts", default="", help="recorded verdicts of any judge: item, order, judge, winner or score, raw")
            command.add_argument("--labels", default="", help="people's verdicts on the same items")
        if name == "rollback":
            command.add_argument("--to", required=True, help="a version of the registry, or base")
            command.add_argument("--why", required=True, help="the reason, for the ledger")
        if name == "contract":
            command.add_argument("action", choices=("suggest",))
            command.add_argument("--source", required=True, help="the data; with --usecase the contract is written into its folder")
        if name == "leaks":
            command.add_argument("--train", required=True, help="CSV, JSON lines or Parquet with a column text")
            counted = "each row counts once, by its strongest kind: exact (but for letter case), normalised (but for punctuation), near"
            command.add_argument("--test", required=True, help=f"the sealed rows, likewise; {counted}")
        if name == "label":
            command.add_argument("action", choices=("suggest", "errors", "import"))
            command.add_argument("--n", type=int, default=50, help="rows to suggest")
            command.add_argument("--out", default="", help="file to write: .csv, or .json for Label Studio")
            command.add_argument("--file", default="", help="the answers: the CSV, or Label Studio's export")
        if name == "lineage":
            command.add_argument("--version", default="", help="of the MLflow registry")
            command.add_argument("--row", default="", help="row_id or example_id")
        if name in ("erase", "hold"):
            command.add_argument("--subject", required=True, help="the person's subject_id")
        if name == "erase":
            command.add_argument("--request", action="store_true", help="only file it: the DAG erasure__NAME works on it")
        if name == "hold":
            command.add_argument("--why", default="", help="the reason, for the ledger")
            command.add_argument("--release", action="store_true", help="the reason has ended")
        if name in ("rollback", "label", "hold"):
            command.add_argument("--by", default=_user(), help="who does it, for the ledger")
        if name == "endpoint":
            command.add_argument("--port", type=int, default=8100, help="on 127.0.0.1")
    return parser


if __name__ == "__main__":
    sys.exit(main())
