"""A night that is killed at 50 places, beside one that nobody disturbs: what is different, and what is paid twice?

Both run on a model of two layers, with a server that bills (`tests.killing`). Exit code 1 where anything is different.

    python -m bench.kills [--seed NUMBER]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.killing import nights


def main() -> int:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description="Nights that are killed and run again")
    parser.add_argument("--seed", type=int, default=1, help="of the places")
    parser.add_argument("--places", action="store_true", help="name each place")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = nights.run(Path(folder), options.seed)
    print("\n".join([*(found.places if options.places else ()), found.told(), *found.differences, *found.loss]))
    return int(bool(found.differences or found.loss))


if __name__ == "__main__":
    sys.exit(main())
