"""Keeps what was paid for within its bounds: `python -m pipelines memo gc --usecase support`; a DAG runs it every day."""

import logging

from pipelines.foundation import memo
from pipelines.foundation.step import open_night

ANY_NIGHT = "9999-12-31"  # nothing here depends on a night
log = logging.getLogger("pipelines.housekeeping")


def tidy(usecase: str, profile: str) -> dict:
    """Forget replies and results beyond the profile's `memo` bounds, join small files; returns what `memo.forget` did."""
    opened = open_night(usecase, profile, ANY_NIGHT)
    found = memo.forget(opened.lake, opened.profile.memo)
    log.info("%s: %.1f MB of replies kept, %.1f MB before", usecase, found["megabytes_after"], found["megabytes_before"])
    return found
