"""The registry follows the verdict, on a real MLflow store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.foundation import ledger, registry
from pipelines.foundation.step import open_night
from pipelines.monitoring.status import read_status, render
from pipelines.release.promote import promote
from pipelines.release.rollback import rollback
from tests.release.candidates import adapter, night_with
from tests.release.nights import remember

House = Callable[..., Path]
EVALUATED = {"champion": {"key": registry.BASE, "version": None}, "scores": 1, "metrics": {}, "model_calls": 40}


def aliases(date: str) -> dict[str, str]:
    client = registry.client(open_night("small", "local", date))
    return {alias: str(version) for alias, version in client.get_registered_model("small").aliases.items()}


def test_only_promote_moves_the_champion(house: House) -> None:
    house()
    for date, verdict in (("2026-11-18", "PROMOTE"), ("2026-11-19", "REJECT"), ("2026-11-20", "PROMOTE")):
        night_with(verdict, date)
        result = promote("small", "local", date)
        assert result["verdict"] == verdict
        expected = {"2026-11-18": ("1", "1"), "2026-11-19": ("2", "1"), "2026-11-20": ("3", "3")}[date]
        assert (aliases(date)["candidate"], aliases(date)["champion"]) == expected
    entries = ledger.entries(open_night("small", "local", date).lake)
    assert [(entry.body["version"], entry.body["previous"]) for entry in entries if entry.kind == "promotion"] == [("1", None), ("3", "1")]


def test_a_repeated_night_compares_with_the_champion_that_stood_when_it_began(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-19")
    promote("small", "local", "2026-11-19")
    assert registry.champion(open_night("small", "local", "2026-11-19")).key == registry.BASE
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    assert registry.champion(open_night("small", "local", "2026-11-20")).version == "1"
    assert registry.champion(open_night("small", "local", "2026-11-21")).version == "2"


def test_a_killed_promotion_repeated_makes_no_second_version(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-20")
    opened = open_night("small", "local", "2026-11-20")
    promote("small", "local", "2026-11-20")
    opened.lake.replace("memo", [], step="promote", night="2026-11-20")  # as if it died before its result was stored
    assert promote("small", "local", "2026-11-20")["version"] == "1"
    assert len(ledger.entries(opened.lake)) == 1


def test_a_promotion_pins_everything_that_it_rests_on(house: House) -> None:
    house(files={"prompts/system.txt": "Name the colour."})
    key = night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    opened = open_night("small", "local", "2026-11-20")
    [entry] = ledger.entries(opened.lake)
    body = entry.body
    assert (body["version"], body["previous"], body["model"], body["verdict"]) == ("1", None, key, "PROMOTE")
    assert set(body) >= {
        "tables",
        "split",
        "judges",
        "code",
        "settings",
        "prompts",
        "looks",
        "alpha",
        "cost",
        "approval",
        "gate",
        "libraries",
    }
    assert body["tables"] == {"traffic": 0, "examples": 0, "scores": 1} and body["cost"]["model_calls"] == 40
    assert set(body["prompts"]) == {"system.txt"} and len(body["code"]) == 64
    tag = registry.client(opened).get_model_version("small", "1").tags[registry.ENTRY_TAG]
    assert tag == f"1:{entry.hash}"


def promotions(date: str) -> list[tuple[str, str]]:
    entries = ledger.entries(open_night("small", "local", date).lake)
    return [(entry.night, entry.body["version"]) for entry in entries if entry.kind == "promotion"]


def test_a_night_that_is_run_late_ends_well_and_leaves_the_newer_champion(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    night_with("PROMOTE", "2026-11-19")
    found = promote("small", "local", "2026-11-19")
    assert (found["version"], found["champion_version"], found["moved"], found["verdict"]) == ("2", "1", "none", "PROMOTE")
    assert found["why"] == "a later night has promoted already: version 1, on 2026-11-20"
    assert promotions("2026-11-20") == [("2026-11-20", "1")] and aliases("2026-11-20")["champion"] == "1"


def test_a_backfill_after_a_rollback_to_the_base_model_promotes_again_in_order(house: House) -> None:
    house(profile={"serving": ""})
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    rollback("small", "local", "base", "the rows were wrong")
    for date in ("2026-11-18", "2026-11-19"):
        night_with("PROMOTE", date)
        assert promote("small", "local", date)["moved"] == "champion"
    assert promotions("2026-11-20") == [("2026-11-20", "1"), ("2026-11-18", "2"), ("2026-11-19", "3")]


def test_no_night_is_compared_with_a_model_of_its_future_though_a_person_put_it_back(house: House) -> None:
    house(profile={"serving": ""})
    for date in ("2026-11-16", "2026-11-18", "2026-11-19"):
        night_with("PROMOTE", date)
        promote("small", "local", date)
    rollback("small", "local", "2", "wrong refunds")  # the model of the 18th
    nights = ("2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20")
    assert [registry.champion(open_night("small", "local", date)).version for date in nights] == [None, "1", "1", "2", "2"]


def test_another_candidate_of_a_night_that_has_promoted_waits_for_the_next_night(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-19")
    promote("small", "local", "2026-11-19")
    night = open_night("small", "local", "2026-11-19")
    changed = night.before("finetune") | adapter(night) | {"model": "changed", "key": "changed"}  # by other settings
    remember(night, "finetune", changed, key="changed")
    remember(night, "evaluate", EVALUATED | {"after": "finetune", "inputs": "changed"}, key="e")
    remember(night, "gate", {"verdict": "PROMOTE", "metrics": {}, "after": "evaluate", "inputs": "e"}, key="g")
    found = promote("small", "local", "2026-11-19")
    assert (found["version"], found["moved"], found["champion_version"]) == ("2", "none", "1")
    assert found["why"] == "this night has promoted version 1 already, and the verdict is on the champion before it"


def test_a_model_that_was_trained_on_erased_rows_is_never_promoted_and_its_own_night_may_replace_it(house: House) -> None:
    house()
    key = night_with("PROMOTE", "2026-11-19")
    promote("small", "local", "2026-11-19")
    night = open_night("small", "local", "2026-11-19")
    body = {"id": "e", "subject": "hash", "nights": [night.night], "models": [key], "retrain_by": "2026-12-20"}
    ledger.append(night.lake, night.night, "erasure", body)
    assert read_status("small", "local")["replace_champion_by"] == "2026-12-20"
    changed = night.before("finetune") | adapter(night) | {"model": "clean", "key": "clean"}
    remember(night, "finetune", changed, key="clean")
    remember(night, "evaluate", EVALUATED | {"after": "finetune", "inputs": "clean"}, key="e")
    remember(night, "gate", {"verdict": "PROMOTE", "metrics": {}, "better": [], "after": "evaluate", "inputs": "e"}, key="g")
    found = promote("small", "local", "2026-11-19")
    assert (found["moved"], found["champion_version"]) == ("champion", "2") and "has to go" in found["why"]
    assert read_status("small", "local")["replace_champion_by"] is None
    with pytest.raises(UserError, match="rollback refused: version 1 was trained on rows of a person who was erased"):
        rollback("small", "local", "1", "I liked it", "eve")


def test_a_candidate_that_was_trained_on_erased_rows_is_not_promoted(house: House) -> None:
    house()
    key = night_with("PROMOTE", "2026-11-19")
    night = open_night("small", "local", "2026-11-19")
    body = {"id": "e", "subject": "hash", "nights": [night.night], "models": [key], "retrain_by": "2026-12-20"}
    ledger.append(night.lake, night.night, "erasure", body)
    found = promote("small", "local", "2026-11-19")
    assert (found["moved"], found["champion_version"]) == ("none", None) and "erased since" in found["why"]


def test_a_verdict_against_a_champion_that_no_longer_stands_promotes_nothing(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-18")
    night_with("PROMOTE", "2026-11-19")  # both were compared with the base model
    promote("small", "local", "2026-11-18")
    with pytest.raises(UserError, match=r"promotion refused: since .* version 1 is the champion .* decided against the base model"):
        promote("small", "local", "2026-11-19")
    assert aliases("2026-11-19")["champion"] == "1"


def test_an_alias_that_a_killed_promotion_left_behind_is_set_right(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-19")
    promote("small", "local", "2026-11-19")
    opened = open_night("small", "local", "2026-11-19")
    registry.client(opened).delete_registered_model_alias("small", "champion")  # as if it died after its entry was written
    opened.lake.replace("memo", [], step="promote", night="2026-11-19")
    promote("small", "local", "2026-11-19")
    assert aliases("2026-11-19")["champion"] == "1" and len(ledger.entries(opened.lake)) == 1


def test_a_night_whose_verdict_is_given_again_after_its_promotion_moves_nothing(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-19")
    promote("small", "local", "2026-11-19")
    opened = open_night("small", "local", "2026-11-19")
    remember(opened, "gate", opened.before("gate") | {"looks": 2}, key="another")  # a judge was calibrated in between, say
    assert promote("small", "local", "2026-11-19")["champion_version"] == "1"
    assert len(ledger.entries(opened.lake)) == 1
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    remember(opened, "gate", opened.before("gate"), key="a third one")
    assert promote("small", "local", "2026-11-19")["champion_version"] == "2"


def test_the_adapter_of_the_champion_can_be_fetched(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    later = open_night("small", "local", "2026-11-21")
    folder = registry.adapter_folder(later, registry.champion(later))
    assert folder is not None and (folder / "adapter_config.json").read_text() == "{}"


def test_the_status_tells_the_story_of_the_night(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    status = read_status("small", "local")
    assert status["rows"] == {"read": 120, "accepted": 110, "quarantined": 10, "train": 90, "test": 20, "synthetic": 0}
    assert status["metrics"] == {"accuracy": {"champion": 0.5, "candidate": 0.9, "difference": 0.4, "low": 0.3, "high": 0.5}}
    assert (status["verdict"], status["champion_version"], status["model_calls"]) == ("PROMOTE", "1", 40)
    assert "accuracy" in render("small", status) and "+0.400" in render("small", status)


def test_status_without_a_night_says_how_to_run_one(house: House) -> None:
    house()
    with pytest.raises(UserError, match="make nightly USECASE=small"):
        read_status("small", "local")


def test_a_promotion_that_was_killed_after_its_entry_gets_its_anchor_and_a_false_one_is_kept(house: House) -> None:
    house()
    night_with("PROMOTE", "2026-11-20")
    opened = open_night("small", "local", "2026-11-20")
    promote("small", "local", "2026-11-20")
    client, [entry] = registry.client(opened), ledger.entries(opened.lake)
    for tag, expected in (("", f"1:{entry.hash}"), ("1:another", "1:another")):  # a changed ledger must not change it: see `ledger verify`
        client.delete_model_version_tag("small", "1", registry.ENTRY_TAG)
        if tag:
            client.set_model_version_tag("small", "1", registry.ENTRY_TAG, tag)
        opened.lake.replace("memo", [], step="promote", night="2026-11-20")
        promote("small", "local", "2026-11-20")
        assert client.get_model_version("small", "1").tags[registry.ENTRY_TAG] == expected
