"""A person's command: measure every judge and grader of a use case anew, `python -m pipelines calibrate --usecase support`.

It lifts a suspension where the judge passes, renews an admission before it expires, and tells a refused judge's figures.
"""

import datetime

from pipelines.evaluation.calibration import calibrate_judge, declared
from pipelines.foundation.step import open_night


def calibrate(usecase: str, profile: str, night: str = "") -> dict:
    """Each judge's admission or refusal by its name, as the ledger holds it; `night` is today's UTC date where it is empty.

    Raises UserError for bad settings, a bad file of labels or a prompt without its placeholders.
    """
    opened = open_night(usecase, profile, night or datetime.datetime.now(datetime.UTC).date().isoformat())
    return {name: calibrate_judge(opened, name, chosen) for name, chosen in declared(opened.usecase).items()}
