"""The command line that `run_night`, `trigger` and `backfill` share: use case, nights, profile, and no traceback for a user's mistake."""

import argparse
import sys
from collections.abc import Callable

from pipelines.errors import UserError
from pipelines.settings import default_profile, load, parse_night


def command(
    name: str,
    about: str,
    run: Callable[..., int],
    interrupted: Callable[[], str],
    arguments: list[str] | None,
    nights: tuple[str, ...] = ("night",),
) -> int:
    """Returns the exit code: that of `run(usecase, profile, *nights)`, 2 for a mistake that the message explains, 130 interrupted."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument("--usecase", required=True, help="a folder under config/usecases")
    for night in nights:
        parser.add_argument(f"--{night}", required=True, help="a night, YYYY-MM-DD")
    parser.add_argument("--profile", default=default_profile(), help="a file under config/profiles")
    options = parser.parse_args(arguments)
    try:
        load(options.usecase, options.profile)
        return run(options.usecase, options.profile, *(parse_night(getattr(options, night)) for night in nights))
    except UserError as error:
        print(f"nightshift: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nnightshift: {interrupted()}", file=sys.stderr)
        return 130
