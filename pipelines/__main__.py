"""The command line: `python -m pipelines STEP --usecase NAME --night DATE [--json]`.

With --json nothing but JSON is on standard output. A user's mistake is one message and exit code 2.
"""

import argparse
import importlib
import json
import logging
import sys

from pipelines.errors import UserError
from pipelines.settings import default_profile

STEPS = {
    "ingest": "data.ingest",
    "validate": "data.validate",
    "scrub": "data.scrub",
    "split": "data.split",
    "synthesize": "data.synthesize",
    "finetune": "tuning.finetune",
    "evaluate": "evaluation.evaluate",
    "gate": "release.gate",
    "promote": "release.promote",
    "publish_card": "release.card",
    "drift": "monitoring.drift",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 a mistake that the message explains."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    logging.getLogger("pipelines").setLevel(logging.INFO)
    try:
        return _run(parser, options)
    except UserError as error:
        print(f"nightshift: {error}", file=sys.stderr)
        return 2


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    command = options.command
    if command == "ingest" and options.source:
        _print(_load("data.ingest").inspect(options.source))
    elif command == "gate" and options.scores and options.batch:
        for found in _load("release.gate").decide_batch(options.scores, options.margin, options.alpha):
            print(json.dumps(found))
    elif command == "gate" and options.scores:
        _print(_load("release.gate").decide_file(options.scores, options.margin, options.alpha))
    elif command == "scrub" and options.input:
        for row in _load("data.scrub").scrub_lines(options.input):
            print(json.dumps(row))
    elif not options.usecase:
        parser.error(f"{command} needs --usecase NAME")
    elif command == "status":
        status = _load("monitoring.status").read_status(options.usecase, options.profile, options.night)
        print(json.dumps(status) if options.json else _load("monitoring.status").render(options.usecase, status))
    elif command == "endpoint":
        _load("system.endpoint").serve(options.usecase, options.profile, options.port)
    elif not options.night:
        parser.error(f"{command} needs --night YYYY-MM-DD")
    else:
        result = getattr(_load(STEPS[command]), command)(options.usecase, options.profile, options.night)
        if options.json:
            print(json.dumps(result))
    return 0


def _load(module: str) -> object:
    return importlib.import_module(f"pipelines.{module}")


def _print(result: dict) -> None:
    print(json.dumps(result))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="One step of the night, the status, or the model endpoint.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in (*STEPS, "status", "endpoint"):
        command = commands.add_parser(name, help="a step of the night" if name in STEPS else None)
        command.add_argument("--usecase", default="", help="a folder under config/usecases")
        command.add_argument("--profile", default=default_profile(), help="a file under config/profiles")
        command.add_argument("--night", default="", help="YYYY-MM-DD")
        command.add_argument("--json", action="store_true", help="print the result as JSON and nothing else on standard output")
        if name == "ingest":
            command.add_argument("--source", default="", help="only look at this file and count what is in it")
        if name == "scrub":
            command.add_argument("--input", default="", help="JSONL with a column text: print each row's findings")
        if name == "gate":
            command.add_argument("--scores", default="", help="CSV or JSONL with columns item, group, champion, candidate")
            command.add_argument("--margin", type=float, default=0.03, help="non-inferiority margin in the score's units")
            command.add_argument("--batch", action="store_true", help="a verdict for each value of the column draw, a line each")
            command.add_argument("--alpha", type=float, default=0.05, help="one-sided level")
        if name == "endpoint":
            command.add_argument("--port", type=int, default=8100, help="on 127.0.0.1")
    return parser


if __name__ == "__main__":
    sys.exit(main())
