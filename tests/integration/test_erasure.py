"""A person is in two nights of a whole house, down to a trained model, and after an erasure in no byte of it."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from pipelines.__main__ import STEPS, load
from pipelines.errors import UserError
from pipelines.foundation import embedded, ledger, registry
from pipelines.foundation.step import open_night
from pipelines.system import erase
from tests.killing import house
from tests.killing.clerk import Clerk
from tests.searching import mentions

SUBJECT = "p-zephyrine-77"
MARKS = (SUBJECT, "quillfeather", "z-row-1")  # who, what only this person wrote, and the id of a row


class World(NamedTuple):
    """What a whole erasure left behind."""

    root: Path
    before: dict[str, list[str]]
    after: dict[str, list[str]]
    sources: dict[str, list[str]]
    models: list[str]  # trained on the person's rows
    certificate: dict
    again: dict


def _rows(night: str, first: int, count: int) -> str:
    rows = [
        {
            "id": f"z-row-{number}",
            "who": SUBJECT,
            "at": f"{night}T09:00:00Z",
            "text": f"{('Ah', 'Well', 'Now', 'So', 'Oh', 'Hm')[number % 6]} {number} quillfeather {house.THINGS[number]} is gone",
            "label": ("blue", "red")[number % 2],
            "reply": house.SAID[("blue", "red")[number % 2]],
        }
        for number in range(first, first + count)
    ]
    return "\n".join(map(json.dumps, [*rows, rows[0] | {"id": f"z-empty-{first}", "text": "", "reply": "quillfeather"}])) + "\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two nights of all steps, then the erasure, twice."""
    root = tmp_path_factory.mktemp("erasure")
    with pytest.MonkeyPatch.context() as patch, Clerk() as clerk:
        house.build(root, clerk.profile())
        folder = root / "config" / "usecases" / house.NAME
        more = house.USECASE | {"synthesis": house.USECASE["synthesis"] | {"rows_per_night": 16}}
        (folder / "usecase.yaml").write_text(yaml.safe_dump(more), encoding="utf-8")
        sample = folder / "sample"
        for night, first in zip(house.NIGHTS, (1, 9), strict=True):
            (sample / f"{night}-z.jsonl").write_text(_rows(night, first, 8), encoding="utf-8")
        patch.setenv("NIGHTSHIFT_CONFIG", str(root / "config"))
        patch.setenv("NIGHTSHIFT_STATE", str(root / "state"))
        (root / "state" / "models").mkdir(parents=True)
        (root / "model" / embedded.NAME).rename(root / "state" / "models" / embedded.NAME)
        for night in house.NIGHTS:
            for step, module in STEPS.items():
                getattr(load(module), step)(house.NAME, "local", night)
        (root / "state" / "logs").mkdir()
        (root / "state" / "logs" / "nightly.log").write_text(f"a line\nrefused: {SUBJECT} wrote: Ah 6 quillfeather wall is gone\n")
        before = mentions(root / "state", MARKS)
        trained = open_night(house.NAME, "local", house.NIGHTS[1]).lake
        models = sorted(set(trained.read("trained", trained.version("trained"))["model"].to_pylist()))
        certificate = erase.erase(house.NAME, "local", SUBJECT)
        after, sources = mentions(root / "state", MARKS), mentions(sample, MARKS)
        again = erase.erase(house.NAME, "local", SUBJECT)
        patch.setenv("NIGHTSHIFT_CONFIG", str(root / "config"))
        yield World(root, before, after, sources, models, certificate, again)


def test_the_person_was_everywhere_before(world: World) -> None:
    """Else what follows shows nothing."""
    places = " ".join(world.before["quillfeather"])
    for place in ("traffic/", "quarantine/", "clean/", "examples/", "synthetic/", "reports/", "logs/"):
        assert place in places, (place, places)
    assert world.models


def test_no_byte_of_the_state_or_of_the_sources_names_the_person_after(world: World) -> None:
    assert world.after == {mark: [] for mark in MARKS}
    assert world.sources == {mark: [] for mark in MARKS}


def test_the_certificate_says_what_was_removed_and_names_nobody(world: World) -> None:
    removed = world.certificate["removed"]
    assert removed["traffic"] == 16 and removed["quarantine"] >= 2 and removed["examples"] >= 10 and removed["synthetic"] >= 1, removed
    assert [file["rows"] for file in world.certificate["files"]] == [9, 9]
    assert world.certificate["left"] == []
    assert SUBJECT not in json.dumps(world.certificate)
    entry = [entry for entry in ledger.entries(open_night(house.NAME, "local", house.NIGHTS[1]).lake) if entry.kind == "erased"]
    assert [found.body["id"] for found in entry] == [world.certificate["id"]]


def test_models_that_were_trained_on_the_rows_are_barred_and_a_champion_among_them_raises_an_alert(world: World) -> None:
    night = open_night(house.NAME, "local", house.NIGHTS[1])
    assert [model["key"] for model in world.certificate["models"]] == world.models
    versions = [version for model in world.certificate["models"] for version in model["versions"]]
    for version in versions:
        found = registry.client(night).get_model_version(house.NAME, version)
        assert found.tags["contains_erased_data"] == world.certificate["id"]
    champion = registry.champion(night._replace(night="9999-12-31"))
    assert champion.version in versions, "both nights promoted nothing: this test shows nothing"
    assert "must be replaced by" in world.certificate["alerts"][0]
    with pytest.raises(UserError, match="erased since"):
        registry.move(
            night, "rollback", {"version": versions[0], "model": world.models[0], "why": "x", "by": "", "abandoned": None}, champion.version
        )


def test_a_second_erasure_of_the_same_person_gives_the_first_certificate(world: World) -> None:
    assert world.again["id"] == world.certificate["id"]


def test_the_night_runs_anew_without_the_person_and_replaces_the_champion(world: World) -> None:
    night = house.NIGHTS[1]
    with Clerk() as clerk:
        clerk.profile()
        for step in ("ingest", "validate", "scrub", "split"):
            result = getattr(load(STEPS[step]), step)(house.NAME, "local", night)
    lake = open_night(house.NAME, "local", night).lake
    rows = lake.read("traffic", lake.version("traffic"), ["subject_id", "night"]).to_pylist()
    assert len([row for row in rows if row["night"] == night]) == 46 and SUBJECT not in {row["subject_id"] for row in rows}
    assert result["train"] > 20
