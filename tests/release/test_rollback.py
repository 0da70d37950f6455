"""Back to an earlier version: evidence, no second move, and one winner of two."""

import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.foundation import ledger, registry
from pipelines.foundation.step import open_night
from pipelines.release import approval, audit
from pipelines.release.promote import promote
from pipelines.release.rollback import rollback
from tests.release.candidates import night_with

House = Callable[..., Path]
LATER = "2099-01-01"


@pytest.fixture
def two(house: House) -> House:
    """A house with two promoted versions; version 2 stands."""
    house(profile={"serving": ""})
    for date in ("2026-11-18", "2026-11-19"):
        night_with("PROMOTE", date)
        promote("small", "local", date)
    return house


def champion() -> str | None:
    return registry.champion(open_night("small", "local", LATER)).version


def alias(name: str = "champion") -> str | None:
    version = registry.client(open_night("small", "local", LATER)).get_registered_model("small").aliases.get(name)
    return None if version is None else str(version)


def test_a_rollback_moves_the_alias_and_says_who_when_and_why(two: House) -> None:
    found = rollback("small", "local", "1", "wrong refunds", "ann")
    assert (found["champion_version"], found["moved"], found["served"]) == ("1", True, None)
    assert (champion(), alias()) == ("1", "1")
    entry = ledger.entries(open_night("small", "local", LATER).lake)[-1]
    assert (entry.kind, entry.body["version"], entry.body["previous"], entry.body["by"]) == ("rollback", "1", "2", "ann")
    assert entry.body["why"] == "wrong refunds" and entry.at
    audit.verify("small", "local")


def test_a_repeated_rollback_finds_nothing_to_do(two: House) -> None:
    rollback("small", "local", "1", "wrong refunds")
    count = len(ledger.entries(open_night("small", "local", LATER).lake))
    assert rollback("small", "local", "1", "wrong refunds")["moved"] is False
    assert len(ledger.entries(open_night("small", "local", LATER).lake)) == count


def test_back_to_the_base_model_and_forward_again(two: House) -> None:
    rollback("small", "local", "base", "nothing works")
    assert (champion(), alias()) == (None, None)
    rollback("small", "local", "2", "it was the network")
    assert (champion(), alias()) == ("2", "2")


def test_the_next_night_compares_with_the_version_that_was_put_back(two: House) -> None:
    rollback("small", "local", "1", "wrong refunds")
    assert registry.champion(open_night("small", "local", "2026-11-20")).version == "1"
    night_with("PROMOTE", "2026-11-20")
    promote("small", "local", "2026-11-20")
    assert champion() == "3"


def test_a_night_that_runs_again_does_not_promote_what_a_person_rolled_back(two: House) -> None:
    rollback("small", "local", "1", "wrong refunds", "ann")
    night = open_night("small", "local", "2026-11-19")
    night.lake.replace("memo", [], step="promote", night=night.night)
    found = promote("small", "local", night.night)
    assert (found["moved"], champion()) == ("none", "1")
    assert "version 2 was rolled back by ann (wrong refunds)" in found["why"]
    two(approval="required")
    assert not approval.wanted("small", "local", night.night)


@pytest.mark.parametrize(
    ("to", "why", "message"),
    [("7", "x", "has no version '7'; it has 1, 2"), ("one", "x", "has no version 'one'"), ("1", "  ", "needs a reason")],
)
def test_a_wrong_rollback_is_told_and_moves_nothing(two: House, to: str, why: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rollback("small", "local", to, why)
    assert champion() == "2"


def _move(version: str, barrier: object, results: object) -> None:
    night = open_night("small", "local", "2026-11-21")
    registry.client(night)
    barrier.wait()
    try:
        registry.move(night, "rollback", {"version": version, "why": "race"}, "2")
        results.put((version, "moved"))
    except UserError as error:
        results.put((version, str(error)))


def test_two_moves_at_once_end_in_one_winner_and_one_clear_refusal(two: House) -> None:
    night_with("PROMOTE", "2026-11-17")
    assert promote("small", "local", "2026-11-17")["moved"] == "none"  # registers version 3, and comes too late
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(2), spawn.Queue()
    racers = [spawn.Process(target=_move, args=(version, barrier, results)) for version in ("1", "3")]
    for racer in racers:
        racer.start()
    found = dict(results.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join()
    [winner] = [version for version, said in found.items() if said == "moved"]
    [refusal] = [said for said in found.values() if said != "moved"]
    assert f"version {winner} is the champion of small" in refusal and "nothing was moved" in refusal
    assert (champion(), alias()) == (winner, winner)
    audit.verify("small", "local")


def test_an_alias_moved_past_the_ledger_is_found_and_a_rollback_sets_it_right(two: House) -> None:
    registry.client(open_night("small", "local", LATER)).set_registered_model_alias("small", "champion", "1")
    with pytest.raises(UserError, match="the alias champion of small is 1, but the ledger says 2"):
        audit.verify("small", "local")
    rollback("small", "local", "2", "set right")
    assert audit.verify("small", "local")[0]["champion_version"] == "2"


def test_entries_that_were_cut_off_are_found_by_the_registrys_anchors(two: House) -> None:
    files = sorted(Path(open_night("small", "local", LATER).lake.root, "ledger").glob("*.json"))
    files[-1].unlink()
    with pytest.raises(UserError, match="version 2 of the registry was moved by entry 2"):
        audit.verify("small", "local")


@pytest.fixture
def served(two: House) -> Iterator[dict]:
    """An endpoint that says which champion it serves; the test decides."""
    said = {"usecase": "small", "champion": "", "version": "2"}

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if len(said.setdefault("asked", [])) == 1:
                said["champion"] = registry.model(open_night("small", "local", LATER), "1").key  # it has taken the move up
            said["asked"].append(self.path)
            body = json.dumps(said).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    two(profile={"serving": f"http://127.0.0.1:{server.server_port}"})
    yield said
    server.shutdown()
    server.server_close()


def test_a_rollback_waits_until_the_endpoint_serves_the_version(served: dict) -> None:
    assert rollback("small", "local", "1", "wrong refunds")["served"] is True
    assert served["asked"] == ["/health", "/health"]
    assert ledger.entries(open_night("small", "local", LATER).lake)[-1].kind == "served"


def test_the_ledger_is_shown_a_line_an_entry(two: House) -> None:
    rollback("small", "local", "base", "wrong refunds", "ann")
    lines = audit.render(audit.show("small", "local", "")).splitlines()
    assert [line.split()[4] for line in lines] == ["promotion", "promotion", "rollback"]
    assert lines[-1].endswith("the base model, by ann: wrong refunds")
    assert len(audit.show("small", "local", "2026-11-19")) == 1
