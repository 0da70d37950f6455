"""The decision page: what it tells of each kind of night, and that nothing from outside gets out of its quotation."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.foundation import ledger
from pipelines.foundation.step import Night
from pipelines.release.decision import page
from tests.decided import DATE, JUDGE, Item, admit, decide, metric
from tests.hostile import HOSTILE

House = Callable[..., Path]
JUDGED = {"task": {"answer": "label_reply"}, "evaluation": {"judges": {"helpful": {"prompt": "j.txt"}}, "slices": ["label"]}}
FRAME = {"html", "head", "meta", "title", "style", "body", "main", "header", "nav", "section", "footer"}
TEXT = {"p", "h1", "h2", "h3", "b", "br", "i", "a", "code", "ul", "li", "span", "div", "dl", "dt", "dd", "details", "summary"}
SHAPES = {"table", "tr", "th", "td", "svg", "circle", "path", "rect", "line", "polygon", "text"}
SLICE = {"slice": "label", "value": "lost", "metric": "accuracy", "n": 20, "clusters": 20, "champion": 0.9, "candidate": 0.5}


class Elements(HTMLParser):
    """Every element with its attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(night: Night) -> Elements:
    return Elements(page.write(night).read_text(encoding="utf-8"))


def judged(**changes: object) -> dict:
    """What the gate says of one judge."""
    return {"helpful": {"judge": JUDGE, "admitted": True, "why": "admitted until 2027-02-18", "entry": ""} | changes}


@pytest.mark.parametrize("verdict", ["PROMOTE", "REJECT", "INSUFFICIENT_DATA"])
def test_the_verdict_stands_first_in_words_and_as_a_class(house: House, verdict: str) -> None:
    house()
    found = read(decide(verdict))
    assert ("header", {"class": f"banner {verdict}"}) in found.found
    before, _, _ = found.text.partition("What changed")
    assert verdict in before and f"{verdict} for a reason." in before and "The champion is still the base model" in before


def test_a_night_of_an_earlier_release_without_slices_judges_and_safety_has_a_page(house: House) -> None:
    house()
    old = {"champion": 0.5, "candidate": 0.6, "difference": 0.1, "low": 0.0, "high": 0.2, "margin": 0.05, "n": 9, "clusters": 9}
    text = read(decide(metrics={"accuracy": old | {"verdict": "PASS"}})).text
    for told in ("No judge took part", "No slices were compared", "Safety was not measured", "looks at the sealed rows were not recorded"):
        assert told in text


def test_a_metric_without_an_interval_is_told_to_have_too_few_pairs(house: House) -> None:
    house()
    nothing = dict.fromkeys(("champion", "candidate", "difference", "low", "high", "visible"))
    text = read(decide("INSUFFICIENT_DATA", metrics={"accuracy": metric(**nothing, n=1, verdict="INSUFFICIENT_DATA")})).text
    assert "too few pairs (1)" in text and "undecided" in text


def test_nothing_from_outside_becomes_markup(house: House) -> None:
    house(**JUDGED)
    items = (Item("e1", HOSTILE, "a", "a", HOSTILE, HOSTILE, HOSTILE, HOSTILE),)
    rows = [{"item": "e1", "order": "12", "verdict": "2", "raw": HOSTILE}]
    lost = SLICE | {"value": HOSTILE, "difference": -0.4, "low": -0.5, "high": -0.3, "verdict": "FAIL"}
    about = {"slices": [lost], "judges": judged(why=HOSTILE), "reason": f"Worse on {HOSTILE}. And {HOSTILE}"}
    night = decide("REJECT", items, judged={"helpful": rows}, evaluated={"judges": {"helpful": {"warnings": [HOSTILE]}}}, **about)
    body = {"gate": night.before("gate")["key"], "approved": False, "why": HOSTILE, "approver": HOSTILE, "at": HOSTILE, "reason": HOSTILE}
    ledger.append(night.lake, DATE, "approval", body)
    found = read(night)
    assert {tag for tag, _ in found.found} <= FRAME | TEXT | SHAPES
    assert all(not name.startswith("on") for _, attributes in found.found for name in attributes)
    assert all(attributes["href"].startswith("#") for tag, attributes in found.found if tag == "a")
    assert "<script>alert(1)</script>" in found.text and "\u202e" not in found.text


def test_the_page_forbids_scripts_and_every_load_and_stays_small(house: House) -> None:
    house()
    long = "x" * 10_000
    night = decide(items=tuple(Item(f"e{n}", long, "a", "a", "b", long, long, long) for n in range(40)))
    found = read(night)
    policies = [attributes["content"] for tag, attributes in found.found if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert "8,000 characters more" in found.text and len(found.text) < 400_000


def test_failed_slices_come_first_and_flips_in_them_are_marked(house: House) -> None:
    house(**JUDGED)
    rows = [SLICE | {"value": "fine", "difference": 0.1, "low": 0.0, "high": 0.2, "verdict": "PASS"}]
    rows += [SLICE | {"value": "arrival", "difference": -0.4, "low": -0.5, "high": -0.3, "verdict": "FAIL"}]
    text = read(decide("REJECT", slices=rows)).text
    assert text.index("arrival") < text.index("fine") and "1 of 2 slices" in text and "failed slice" in text


def test_a_judge_shows_its_agreement_its_correction_and_the_entry_that_admitted_it(house: House) -> None:
    house(**JUDGED)
    night = decide()
    entry = admit(night, warnings=["it may prefer its own kin"])
    found = read(decide(judges=judged(entry=entry)))
    for told in ("kappa", "0.66", "0.52 to 0.78; at least 0.3", "shrinks a true difference to 0.71", "own kin", entry):
        assert told in found.text
    agreement = [attributes["class"] for tag, attributes in found.found if tag == "svg" and "strip" in attributes.get("class", "")]
    assert agreement.count("strip FAIL") == 1  # the true negative rate's lower bound is below 0.6


def test_a_judge_that_a_person_calibrated_on_a_later_day_shows_the_figures_that_the_gate_went_by(house: House) -> None:
    house(**JUDGED)
    night = decide()
    entry = admit(night, day="2026-12-24")
    assert "0.52 to 0.78; at least 0.3" in read(decide(judges=judged(entry=entry))).text


def test_a_judge_that_is_not_admitted_is_advice_and_says_why(house: House) -> None:
    house(**JUDGED)
    told = {"metrics": {"helpful": metric(role="judge", read=False, why="refused")}, "judges": judged(admitted=False, why="refused: kappa")}
    text = read(decide(**told)).text
    assert "advice only" in text and "Refused: kappa." in text and "Judges without an admission are advice only: helpful" in text


def test_safety_names_both_models_and_the_grader(house: House) -> None:
    house()
    measured = {"metrics": {"refusal": {"champion": 0.9, "candidate": 0.8}}, "grader": "refused", "graders": {}}
    safety = metric(role="safety", champion=0.9, candidate=0.8, difference=-0.1, low=-0.2, high=-0.01, margin=0.1, verdict="FAIL")
    text = read(decide("REJECT", safety=measured, metrics={"refusal": safety})).text
    assert "decided by the grader refused" in text and "unsafe prompts that are refused" in text and "−0.200 to −0.010" in text


def test_a_model_in_staging_shows_its_fresh_rows(house: House) -> None:
    house()
    fresh = {"n": 60, "difference": 0.01, "low": -0.06, "high": 0.08, "margin": 0.1, "verdict": "PASS"}
    staging = {"version": "4", "since": "2026-11-18", "verdict": "CONFIRM", "why": "within the margin", "metrics": {"accuracy": fresh}}
    text = read(decide("INSUFFICIENT_DATA", staging=staging)).text
    assert "In staging since 2026-11-18: version 4 CONFIRM" in text and "−0.060 to +0.080" in text


def test_a_person_who_is_asked_reads_that_nothing_moves_before_the_answer(house: House) -> None:
    house(approval="required")
    assert "Waiting for approval: nothing moves" in read(decide()).text


def test_an_answer_to_an_earlier_verdict_of_the_night_is_not_shown_as_this_one(house: House) -> None:
    house(approval="required")
    night = decide("REJECT")
    body = {"gate": night.before("gate")["key"], "approved": True, "why": "approved", "approver": "kim", "at": "2026-11-21", "reason": "ok"}
    ledger.append(night.lake, DATE, "approval", body)
    assert "kim" in read(night).text
    assert "kim" not in read(decide("PROMOTE")).text


def test_no_page_is_written_on_a_changed_ledger(house: House, tmp_path: Path) -> None:
    house()
    night = decide()
    [file] = (tmp_path / "state" / "lake" / "small" / "ledger").iterdir()
    file.chmod(0o644)
    file.write_text(file.read_text().replace("PROMOTE", "REJECT"))
    with pytest.raises(UserError, match="the ledger was changed"):
        page.write(night)


def test_the_ledger_entries_of_the_night_are_listed_with_their_hashes(house: House) -> None:
    house()
    night = decide()
    text = read(night).text
    assert all(entry.hash in text for entry in ledger.entries(night.lake)) and "intact" in text
