"""Erase a person from everything: `python -m pipelines erase --usecase support --subject u-0042`.

The rows leave the source files, every table with its history, the kept replies of models, what was synthesised from
them, reports, logs and MLflow's artifacts. Models that were trained on them are tagged `contains_erased_data`, can never
be promoted again, and a champion among them raises an alert until it is replaced. A legal hold wins over an erasure.

The certificate (`reports/USECASE/erasures/ID.json`) lists what was found and removed, and what could not be reached. It
and the ledger know the person by a salted hash alone. An erasure that was killed is taken up by the next one of the same
person: what leads to others is deleted last. Steps that run are waited for; those that come wait for the erasure.
"""

import datetime
import hashlib
import json
import logging
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.data.reading.disk import disk
from pipelines.errors import UserError
from pipelines.foundation import ledger, moves, records, registry, subjects, upkeep
from pipelines.foundation.step import Night, open_night
from pipelines.system import person
from pipelines.system.origins import take_out
from pipelines.system.person import Person
from pipelines.system.quotes import Quotes, cross_out, withdraw, withdraw_artifacts

TAINTED = "contains_erased_data"
log = logging.getLogger("pipelines.erase")


class Unknown(UserError):
    """Nothing is there of this subject, and it was never erased."""


def erase(usecase: str, profile: str, subject: str) -> dict:
    """Remove a person; returns the certificate. Of a person who was erased before, and came no more, the earlier one.

    Raises UserError for a subject of whom nothing is there, and where a legal hold stands.
    """
    night = open_night(usecase, profile, moves.ALWAYS)
    with night.lake.exclusive():
        return _erase(night, subject)


def request(usecase: str, profile: str, subject: str, why: str = "") -> dict:
    """File a request that `erase_requested` works on: {"id", "state"}; a second one for the same person is the same."""
    night = open_night(usecase, profile, moves.ALWAYS)
    with night.lake.exclusive():
        return _file(night, subject, "open", why)


def erase_requested(usecase: str, profile: str) -> dict:
    """Erase everybody in the table `requests`; returns their ids by outcome (done, held, unknown), and what is left to do.

    One that is held stays in the table, and is done when the hold has ended. As long as the champion was trained on erased
    rows there are `alerts`, and `retrain` is the night to run anew because of `erasure`; else all three are empty.
    """
    night = open_night(usecase, profile, moves.ALWAYS)
    outcome: dict[str, list[str]] = {"done": [], "held": [], "unknown": []}
    with night.lake.exclusive():
        for asked in night.lake.read("requests", night.lake.version("requests")).to_pylist():
            if _held(night, asked["subject_id"]):
                night.lake.update("requests", f"id = '{asked['id']}'", state="held")
                outcome["held"].append(asked["id"])
                continue
            try:
                _erase(night, asked["subject_id"])
                outcome["done"].append(asked["id"])
            except Unknown:
                log.warning("request %s: there is no row of its subject in any table of %s", asked["id"], usecase)
                _forget(night, asked["subject_id"])
                outcome["unknown"].append(asked["id"])
    return outcome | alerts(night)


def alerts(night: Night) -> dict:
    """What somebody has to know, and do, as long as the champion is one that was trained on erased rows."""
    chain = ledger.entries(night.lake)
    version = moves.champion_version(chain)
    entry = subjects.tainted(chain).get(registry.model(night, version).key) if version else None
    if entry is None:
        return {"alerts": [], "retrain": "", "erasure": ""}
    by = entry.body["retrain_by"]
    late = " That day has passed." if by < _today() else ""
    told = (
        f"The champion of {night.usecase.name}, version {version}, was trained on rows that were erased since: "
        f"it must be replaced by {by}. The next night trains without them.{late}"
    )
    nights = night.lake.read("memo", night.lake.version("memo"), ["night"])["night"].to_pylist()
    return {"alerts": [told], "retrain": max(nights, default=""), "erasure": entry.body["id"]}


def _erase(night: Night, subject: str) -> dict:
    if hold := _held(night, subject):
        raise UserError(
            f"a legal hold stands on this subject of {night.usecase.name} since {hold.at} ({hold.body['why']}): it wins over the erasure; "
            f"nothing was removed. `python -m pipelines hold --release` ends it"
        )
    asked = [row for row in _requests(night, subject) if row["state"] == "running"]
    found = person.find(night, subject)
    if not found and not asked:
        return _known(night, subject)
    erasure = _file(night, subject, "running", "")["id"]
    log.info("erasure %s: %d rows, %d examples, %d models", erasure, len(found.rows), len(found.examples), len(found.models))
    models, until = _announce(night, subject, erasure, found)
    quotes = Quotes(subject, found.examples, _own(night, found))
    # Whatever needs the rows to be found comes before the rows go: a killed erasure finds them again.
    files, left, now = take_out(night, found)
    found = found._replace(refused=tuple((now.get(file, file), line, step) for file, line, step in found.refused))
    certificate = {
        "id": erasure,
        "usecase": night.usecase.name,
        "subject": subjects.digest(night.lake, subject),
        "nights": list(found.nights),
        "files": files,
        "models": _taint(night, models, erasure),
        "retrain_by": until,
        "reports": withdraw(Path(night.profile.state) / "reports" / night.usecase.name, quotes, erasure),
        "artifacts": withdraw_artifacts(night, quotes, erasure),
        "logs": [path for folder in _logs(night) for path in cross_out(folder, quotes)],
        "left": left + ([] if quotes.searched else ["the id is too short to be looked for in reports and logs; the texts were"]),
    }
    for model in models:
        shutil.rmtree(Path(night.profile.state) / "checkpoints" / night.usecase.name / model, ignore_errors=True)
    certificate["removed"] = person.remove(night.lake, found)
    for table in records.TABLES:
        upkeep.purge(night.lake, table)
    return _certify(night, subject, certificate | {"at": _now()})


def _announce(night: Night, subject: str, erasure: str, found: Person) -> tuple[list[str], str]:
    """Write into the ledger which nights and models are concerned: from then on none of the models is promoted.

    Returns the models, those that a killed run of this erasure had found too, and the day by which a champion is replaced.
    """
    earlier = [entry.body for entry in ledger.entries(night.lake) if entry.kind == "erasure" and entry.body["id"] == erasure]
    models = sorted({*found.models, *(model for body in earlier for model in body["models"])})
    until = datetime.date.fromisoformat(_today()) + datetime.timedelta(days=night.usecase.retention.retrain_days)
    body = {"id": erasure, "subject": subjects.digest(night.lake, subject), "nights": list(found.nights), "models": models}
    body |= {"retrain_by": earlier[0]["retrain_by"] if earlier else until.isoformat()}
    if not earlier or earlier[-1]["models"] != models:
        ledger.append(night.lake, _today(), "erasure", body, check=lambda chain: None)
    return models, body["retrain_by"]


def _certify(night: Night, subject: str, certificate: dict) -> dict:
    """Write the certificate and the ledger's entry; the request goes last. A killed run's own certificate stands."""
    path = _certificate(night, certificate["id"])
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            certificate = json.loads(path.read_text(encoding="utf-8"))
        body = json.dumps(certificate, indent=1, sort_keys=True)
        draft = path.with_suffix(".part")
        draft.write_text(body + "\n", encoding="utf-8")
        draft.replace(path)
    entry = {name: certificate[name] for name in ("id", "removed", "left")} | {"certificate": hashlib.sha256(body.encode()).hexdigest()}
    ledger.append(night.lake, certificate["at"][:10], "erased", entry)
    _forget(night, subject)
    return certificate | {"alerts": alerts(night)["alerts"]}


def _certificate(night: Night, erasure: str) -> Path:
    return Path(night.profile.state) / "reports" / night.usecase.name / "erasures" / f"{erasure}.json"


def _known(night: Night, subject: str) -> dict:
    """The certificate of an earlier erasure of somebody of whom nothing is there."""
    person_hash = subjects.digest(night.lake, subject)
    earlier = [entry for entry in ledger.entries(night.lake) if entry.kind == "erasure" and entry.body["subject"] == person_hash]
    if not earlier:
        raise Unknown(
            f"there is no row of the subject {subject!r} in any table of {night.usecase.name}, and no erasure of it in the ledger: "
            f"nothing was removed; is it the subject_id that the source gives?"
        )
    upkeep.purge(night.lake, "requests")  # an erasure that was killed at its very end left the history of its own request
    path = _certificate(night, earlier[-1].body["id"])
    log.info("erased before, on %s, and no row came since", earlier[-1].at)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else earlier[-1].body


def _taint(night: Night, models: list[str], erasure: str) -> list[dict]:
    """Tag every adapter and version that was trained on the rows: [{"key", "versions"}]."""
    if not models:
        return []
    client, name = registry.client(night), night.usecase.name
    versions = client.search_model_versions(f"name = '{name}'")
    experiment = client.get_experiment_by_name(name).experiment_id
    tagged = []
    for key in models:
        for model in client.search_logged_models([experiment], f"tags.`{registry.KEY_TAG}` = '{key}'"):
            client.set_logged_model_tags(model.model_id, {TAINTED: erasure})
        own = [version for version in versions if version.tags.get(registry.KEY_TAG) == key]
        for version in own:
            client.set_model_version_tag(name, version.version, TAINTED, erasure)
        tagged.append({"key": key, "versions": [str(version.version) for version in own]})
    return tagged


def _own(night: Night, found: Person) -> frozenset[str]:
    """The texts that nobody else has written: what everybody says tells nothing of this person."""
    shared: set[str] = set()
    theirs = set(found.rows)
    for table in ("traffic", "clean"):
        for batch in night.lake.scan(table, night.lake.version(table), ["row_id", "text"]):
            pairs = zip(batch["row_id"].to_pylist(), batch["text"].to_pylist(), strict=True)
            shared |= {text for row, text in pairs if row not in theirs and text in found.texts}
    return found.texts - shared


def _logs(night: Night) -> Iterator[Path]:
    state = Path(night.profile.state)
    yield from (folder for folder in (state / "logs", state / "airflow" / "logs") if folder.is_dir())


def _held(night: Night, subject: str) -> ledger.Entry | None:
    return subjects.held(ledger.entries(night.lake)).get(subjects.digest(night.lake, subject))


def _requests(night: Night, subject: str) -> list[dict]:
    rows = night.lake.read("requests", night.lake.version("requests")).to_pylist()
    return [row for row in rows if row["subject_id"] == subject]


def _file(night: Night, subject: str, state: str, why: str) -> dict:
    """The request of this person in this state, new where there is none."""
    if asked := _requests(night, subject):
        if asked[0]["state"] != state and state == "running":
            night.lake.update("requests", f"id = '{asked[0]['id']}'", state=state)
        return {"id": asked[0]["id"], "state": state}
    row = {"id": secrets.token_hex(8), "subject_id": subject, "state": state, "why": why}
    night.lake.append("requests", [row | {"day": _today(), "at": datetime.datetime.now(datetime.UTC)}])
    return {"id": row["id"], "state": state}


def _forget(night: Night, subject: str) -> None:
    """Take the person's requests out of the table and its history."""
    for row in _requests(night, subject):
        night.lake.delete("requests", f"id = '{row['id']}'")
    upkeep.purge(night.lake, "requests")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _today() -> str:
    return _now()[:10]
