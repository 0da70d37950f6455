"""A legal hold keeps a person's rows: `python -m pipelines hold --usecase support --subject u-0042 --why "case 17"`.

While it stands neither an erasure nor the retention takes them. `--release` ends it. The ledger keeps a salted hash of
the person, the reason, who, and when; a request for an erasure that came meanwhile waits.
"""

import datetime

from pipelines.errors import UserError
from pipelines.foundation import ledger, subjects
from pipelines.foundation.step import open_night


def hold(usecase: str, profile: str, subject: str, why: str, release: bool, by: str) -> dict:
    """Set or end a hold; raises UserError without a reason, and where there is none to end."""
    night = open_night(usecase, profile, datetime.datetime.now(datetime.UTC).date().isoformat())
    if not why.strip():
        raise UserError("a legal hold, and its end, need a reason: --why TEXT; it stays in the ledger")
    person = subjects.digest(night.lake, subject)
    stands = subjects.held(ledger.entries(night.lake)).get(person)
    if release and stands is None:
        raise UserError(f"no legal hold on this subject stands in {usecase}: there is nothing to release")
    if stands is not None and not release:
        return {"held": True, "since": stands.at, "why": stands.body["why"], "entry": stands.seq}
    body = {"subject": person, "why": why.strip(), "by": by}
    entry = ledger.append(night.lake, night.night, "release" if release else "hold", body, check=lambda chain: None)
    return {"held": not release, "since": entry.at, "why": body["why"], "entry": entry.seq}
