"""The command line: `python -m pipelines STEP --usecase NAME --night DATE [--json]`.

With --json nothing but JSON is on standard output. A user's mistake is one message and exit code 2.
"""

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Iterable

from pipelines.arguments import build
from pipelines.errors import UserError, Waiting
from pipelines.sections import Admission

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


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 a mistake that the message explains, 3 a provider has work of it still."""
    parser = build(STEPS)
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
        status = load("monitoring.status").read_status(options.usecase, options.profile, options.night)
        print(json.dumps(status) if options.json else load("monitoring.status").render(options.usecase, status))
    elif command == "endpoint":
        load("system.endpoint").serve(options.usecase, options.profile, options.port)
    elif command == "calibrate":
        _print(options, load("evaluation.calibrate").calibrate(options.usecase, options.profile, options.night))
    elif command == "rollback":
        _print(options, load("release.rollback").rollback(options.usecase, options.profile, options.to, options.why, options.by))
    elif command == "spend":
        found = load("monitoring.spending").read_spend(options.usecase, options.profile, options.by)
        print(json.dumps(found) if options.json else load("monitoring.spending").render(options.usecase, found))
    elif command == "memo":
        _memo(parser, options)
    elif command == "contract":
        _print(options, load("data.contract.suggest").write_contract(options.source, options.usecase))
    elif command == "label":
        _label(parser, options)
    elif command == "lineage":
        _lineage(parser, options)
    elif command == "erase":
        work = load("system.erase").request if options.request else load("system.erase").erase
        print(json.dumps(work(options.usecase, options.profile, options.subject), indent=None if options.json else 2))
    elif command == "hold":
        found = load("system.hold").hold(options.usecase, options.profile, options.subject, options.why, options.release, options.by)
        _print(options, found)
    elif not options.night:
        parser.error(f"{command} needs --night YYYY-MM-DD")
    else:
        _print(options, getattr(load(STEPS[command]), command)(options.usecase, options.profile, options.night))
    return 0


def _run_on_file(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Iterable[dict] | None:
    """The commands that look at a file of the user's and touch nothing else; None where no file was named."""
    command = options.command
    if command == "ingest" and options.source:
        return [load("data.ingest").inspect(options.source)]
    if command == "scrub" and options.reveal:
        if not options.usecase:
            parser.error("scrub --reveal needs --usecase NAME")
        return [load("data.scrub").reveal(options.usecase, options.profile, options.reveal)]
    if command == "scrub" and options.input:
        return load("data.scrub").scrub_lines(options.input)
    if command == "gate" and options.batch and not options.scores:
        parser.error("gate --batch needs --scores FILE")
    if command == "gate" and options.scores:
        decide = load("release.score_files")
        given = (options.scores, options.margin, options.alpha)
        return decide.decide_batch(*given) if options.batch else [decide.decide_file(*given)]
    if command == "contract" and not options.usecase:
        print(load("data.contract.suggest").suggest_contract(options.source), end="")
        return []
    if command == "leaks":
        found = load("data.leaks").find_leaks(options.train, options.test)
        if options.json:
            return [found]
        print(load("data.leaks").render(found))
        return []
    if command == "calibrate" and (options.verdicts or options.labels):
        if not (options.verdicts and options.labels):
            parser.error("calibrate needs both --verdicts FILE and --labels FILE")
        return load("evaluation.recorded").calibrate_recorded(options.verdicts, options.labels, Admission())
    return None


def _ledger(options: argparse.Namespace) -> None:
    audit = load("release.audit")
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
        found = load("system.housekeeping").tidy(options.usecase, options.profile)
    elif options.action == "stats":
        step = load("foundation.step")
        found = load("foundation.memo").measure(step.open_night(options.usecase, options.profile, "9999-12-31").lake)
    elif not options.night:
        parser.error("memo why needs --night YYYY-MM-DD")
    else:
        names = list(STEPS)[: list(STEPS).index(options.step) + 1] if options.step else list(STEPS)
        steps = [getattr(load(STEPS[name]), name) for name in names]
        told = load("foundation.step").explain(steps, options.usecase, options.profile, options.night)
        for line in told[-1:] if options.step else told:
            saying = "will run" if line["runs"] else "will not run"
            print(json.dumps(line) if options.json else f"{line['step']:<13} {saying}: {line['why']}")
        return
    print(json.dumps(found, indent=None if options.json else 2))


def _label(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """People's labels: rows to be labelled go out, answers and accepted corrections come in."""
    labels = load("data.labelling.labels")
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
        lineage = load("release.lineage")
        found = lineage.trace_version(*given, options.version)
    else:
        lineage = load("release.trail")
        found = lineage.trace_row(*given, options.row)
    print(json.dumps(found) if options.json else lineage.render(found))


def load(module: str) -> object:
    return importlib.import_module(f"pipelines.{module}")


def _print(options: argparse.Namespace, result: dict) -> None:
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
