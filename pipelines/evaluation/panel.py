"""One verdict from several: the members of a panel, and the two orders of one pair. None is unscored, and never a tie."""

from collections import Counter
from collections.abc import Sequence


def majority(verdicts: Sequence[str | None]) -> str | None:
    """The verdict of more than half of the scored members on one item and order, else `tie`; None where fewer than half are scored."""
    scored = [verdict for verdict in verdicts if verdict is not None]
    if not scored or 2 * len(scored) < len(verdicts):
        return None
    verdict, votes = Counter(scored).most_common(1)[0]
    return verdict if 2 * votes > len(scored) else "tie"


def median_grade(verdicts: Sequence[str | None]) -> str | None:
    """The lower median of the scored members' grades; None where fewer than half are scored."""
    scored = sorted((verdict for verdict in verdicts if verdict is not None), key=int)
    if not scored or 2 * len(scored) < len(verdicts):
        return None
    return scored[(len(scored) - 1) // 2]


def merge(one: str | None, two: str | None) -> str | None:
    """The verdict on a pair from its two orders: what they agree on, else `tie`; None where either is unscored."""
    if one is None or two is None:
        return None
    return one if one == two else "tie"
