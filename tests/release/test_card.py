"""The model card and the request for approval: Markdown that tells the decision and cannot be hijacked by what it quotes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from pipelines.errors import UserError
from pipelines.foundation import ledger, registry
from pipelines.release.card import publish_card
from pipelines.release.decision import markdown
from pipelines.release.decision.brief import LONGEST, brief
from pipelines.release.decision.facts import gather
from pipelines.release.promote import promote
from tests.decided import DATE, Item, decide, metric
from tests.hostile import HOSTILE

House = Callable[..., Path]
SLICED = {"task": {"answer": "label_reply"}, "evaluation": {"slices": ["label"]}}
LOST = {"slice": "label", "metric": "accuracy", "n": 20, "difference": -0.4, "low": -0.5, "high": -0.3, "verdict": "FAIL"}
BAD = Item("e1", HOSTILE, "a", "a", HOSTILE, HOSTILE, HOSTILE, HOSTILE)


def ask() -> str:
    return brief("small", "local", DATE)


def rendered(text: str) -> str:
    """As a reader's page would show it, with every convenience switched on."""
    return MarkdownIt("gfm-like", {"html": True}).render(text)


def test_the_card_and_the_page_are_artifacts_and_the_card_describes_the_version(house: House) -> None:
    house()
    night = decide(tracked=True)
    promote("small", "local", DATE)
    result = publish_card("small", "local", DATE)
    card = Path(result["card"]).read_text()
    assert "# small, version 1" in card and "Version 1 is the champion now" in card and f"`{night.before('finetune')['model']}`" in card
    assert "Version 1 is the champion now" in Path(result["decision"]).read_text()
    client, run = registry.client(night), night.before("finetune")["run_id"]
    assert {found.path for found in client.list_artifacts(run)} >= {"model_card.md", "decision.html", "lineage-v1.html"}
    page = Path(result["decision"])
    assert 'href="../lineage-v1.html"' in page.read_text() and (page.parent / "../lineage-v1.html").is_file()
    assert client.get_model_version("small", "1").description == card


def test_a_card_that_a_registry_cannot_hold_is_cut_and_points_to_the_artifact(house: House) -> None:
    house()
    night = decide(tracked=True, items=tuple(Item(f"e{n}", "why " * 100, "a", "a", "b") for n in range(20)))
    promote("small", "local", DATE)
    card = Path(publish_card("small", "local", DATE)["card"]).read_text()
    description = registry.client(night).get_model_version("small", "1").description
    assert len(card) > 5_000 >= len(description)
    assert f"the artifact model_card.md of the run {night.before('finetune')['run_id']}" in description[-150:]


def test_the_card_is_written_again_when_the_ledger_says_more_of_the_night(house: House) -> None:
    house()
    night = decide(tracked=True)
    promote("small", "local", DATE)
    publish_card("small", "local", DATE)
    assert publish_card("small", "local", DATE)["memo"]
    entry = ledger.append(night.lake, DATE, "rollback", {"version": None, "why": "wrong refunds"})
    assert entry.hash in Path(publish_card("small", "local", DATE)["decision"]).read_text()


def test_the_next_night_tells_what_changed_since_the_champion_was_trained(house: House) -> None:
    house()
    first = decide(tracked=True)
    promote("small", "local", DATE)
    models = {"champion": {"key": first.before("finetune")["key"], "version": "1"}, "candidate": {"key": "other"}}
    card = markdown.card(gather(decide(date="2026-11-21", evaluated=models)))
    assert f"- Compared with: version 1, trained on {DATE}" in card
    assert "the champion had 90, 4 of them synthetic" in card and card.count("the same as the champion's") == 2


def test_the_verdict_table_says_what_the_gate_measured(house: House) -> None:
    house()
    card = markdown.card(gather(decide(metrics={"accuracy": metric(), "tone": metric(role="judge", read=False, why="refused")})))
    assert "| accuracy | 0.700 | 0.760 | 0.060 | 0.020 | 0.030 | 0.050 | 150 | 90 | PASS | (+0.020 to +0.100) | - |" in card
    assert "| advice | (+0.020 to +0.100) | judge; refused |" in card


@pytest.mark.parametrize("write", [lambda night: markdown.card(gather(night)), lambda night: ask()], ids=["card", "brief"])
def test_nothing_from_outside_becomes_markup(house: House, write: Callable) -> None:
    house(**SLICED)
    night = decide("REJECT", (BAD,), slices=[LOST | {"value": HOSTILE}], reason=f"Worse on {HOSTILE}. And {HOSTILE}")
    body = {"gate": night.before("gate")["key"], "approved": False, "why": HOSTILE, "approver": HOSTILE, "at": HOSTILE, "reason": HOSTILE}
    ledger.append(night.lake, DATE, "approval", body)
    text = write(night)
    shown = rendered(text)
    assert "<script" not in text and "{{" not in text and "{%" not in text and "\u202e" not in text
    for tag in ("<script", "<img", "<h1>Heading", "<pre", "<blockquote", 'javascript:alert(1)"', 'href="http'):
        assert tag not in shown
    assert shown.count("<a ") == text.count("[Decision page]")


def test_a_request_shows_verdict_slices_flips_and_links_the_page_that_it_wrote(house: House, tmp_path: Path) -> None:
    house(**SLICED, approval="required")
    decide(slices=[LOST | {"value": "arrival"}], looks=3, planned_looks=30, alpha=0.05)
    text = ask()
    for told in ("**PROMOTE**", "| accuracy |", "**FAIL** label = `arrival`", "Where is my card?", "Look 3 of 30", "Waiting for approval"):
        assert told in text
    assert f"(/nightshift/report/local/small/{DATE}/decision.html)" in text
    assert "Waiting for approval" in (tmp_path / "state" / "reports" / "small" / DATE / "decision.html").read_text()


def test_a_request_is_never_longer_than_the_page_takes(house: House) -> None:
    house(**SLICED)
    items = tuple(Item(f"e{n}", "x" * 10_000, "a", "a", "y" * 10_000, "z" * 10_000, "z" * 10_000, "z" * 10_000) for n in range(9))
    slices = [LOST | {"value": f"{n} " * 30} for n in range(50)]
    decide("REJECT", items, slices=slices, reason="worse " * 2_000, metrics={f"m{n}": metric(why="why " * 100) for n in range(40)})
    assert len(ask()) <= LONGEST and "decision.html" in ask()


def test_a_model_in_staging_is_part_of_the_request(house: House) -> None:
    house(approval="required")
    staging = {"version": "4", "since": "2026-11-18", "verdict": "CONFIRM", "why": "within the margin", "metrics": {}}
    decide("INSUFFICIENT_DATA", staging=staging)
    assert "**In staging: version 4**, CONFIRM: within the margin" in ask() and "Waiting for approval" in ask()


def test_a_night_before_the_gate_has_nothing_to_approve(house: House, tmp_path: Path) -> None:
    house()
    with pytest.raises(UserError, match="gate has not run"):
        ask()
    assert not (tmp_path / "state" / "reports").exists()
