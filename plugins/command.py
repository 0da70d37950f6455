"""The command line that `run_night` and `trigger` share: one use case, one night, one profile, and no traceback for a user's mistake."""

import argparse
import sys
from collections.abc import Callable

from pipelines.errors import UserError
from pipelines.settings import default_profile, load, parse_night


def command(name: str, about: str, run: Callable[[str, str, str], int], interrupted: Callable[[], str], arguments: list[str] | None) -> int:
    """Returns the exit code: that of `run(usecase, profile, night)`, 2 for a mistake that the message explains, 130 interrupted."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument("--usecase", required=True, help="a folder under config/usecases")
    parser.add_argument("--night", required=True, help="YYYY-MM-DD")
    parser.add_argument("--profile", default=default_profile(), help="a file under config/profiles")
    options = parser.parse_args(arguments)
    try:
        load(options.usecase, options.profile)
        return run(options.usecase, options.profile, parse_night(options.night))
    except UserError as error:
        print(f"nightshift: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nnightshift: {interrupted()}", file=sys.stderr)
        return 130
