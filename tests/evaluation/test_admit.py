"""Admission, probes, anchors, suspension and expiry of a judge; the judge is a real server on this machine."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.evaluation import judge
from pipelines.evaluation.admit import admit
from pipelines.evaluation.calibrate import calibrate
from pipelines.foundation import admissions, embedded, ledger
from pipelines.foundation.step import open_night
from pipelines.sections import Judge
from tests.servers import Call, ChatServer, Fault, always, fair, fenced, liar, speaks_json

House = Callable[..., Path]
PROMPT = "Message:\n{prompt}\nReference:\n{reference}\nA:\n{answer_a}\nB:\n{answer_b}\nEnd with VERDICT: A, B or tie."
SINGLE = "Message:\n{prompt}\nAnswer:\n{answer}\nEnd with GRADE: 1 to 5."
NIGHT, NEXT = "2026-11-20", "2026-11-21"
RULES = {"anchors": 10, "expires_days": 30}


def pairs(count: int = 48) -> str:
    """Balanced labelled pairs; the better output says (good), every eighth pair is a tie."""
    rows = []
    for number in range(count):
        winner = "tie" if number % 8 == 7 else str(1 + number % 2)
        texts = {side: f"Reply {number} of {side}" + " or so" * (7 * number % 11 if side == 1 else 5) for side in (1, 2)}
        outputs = {f"output_{side}": text + (" (good)" if str(side) == winner else " (poor)") for side, text in texts.items()}
        rows.append({"item": f"i{number}", "prompt": f"Question {number}?", "winner": winner} | outputs)
    return "\n".join(json.dumps(row) for row in rows)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(answer=fair) as found:
        yield found


@pytest.fixture
def settle(house: House, server: ChatServer) -> Callable[..., None]:
    """`settle(judge settings, structured=...)` writes a use case with the judge `taste`, whose endpoint is the server."""

    def write(text: str | None = None, rules: dict | None = None, endpoint: dict | None = None, **changes: object) -> None:
        judge = {
            "prompt": "judge.txt",
            "labelled": "judging/taste.jsonl",
            "members": ["large"],
            "admission": RULES | (rules or {}),
        } | changes
        files = {"judging/taste.jsonl": pairs() if text is None else text}
        files["prompts/judge.txt"] = SINGLE if judge.get("kind") == "pointwise" else PROMPT
        endpoints = {"large": server.endpoint(**(endpoint or {})).model_dump()}
        house(
            files,
            {"endpoints": endpoints},
            task={"answer": "reply"},
            gate={"metrics": {"chrf": 0.05}},
            evaluation={"judges": {"taste": judge}},
        )

    return write


def run(night: str = NIGHT) -> dict:
    return admit("small", "local", night)


def taste(night: str = NIGHT) -> dict:
    return run(night)["judges"]["taste"]


def measured() -> dict:
    return calibrate("small", "local", NIGHT)["taste"]


def entries(kind: str) -> list[dict]:
    return [entry.body for entry in ledger.entries(open_night("small", "local", NIGHT).lake) if entry.kind == kind]


def test_a_good_judge_is_admitted_with_its_figures(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    found = run()
    assert found["judges"]["taste"] | {"judge": ""} == {
        "judge": "",
        "admitted": True,
        "why": "admitted until 2026-12-20",
        "expires": "2026-12-20",
        "anchors": {"asked": 0, "changed": 0, "suspended": False},
    }
    [body] = entries("admission")
    assert (body["figures"]["accuracy"]["value"], body["probes"]["at_floor"], body["probes"]["asked"]) == (1, 24, 24)
    assert set(body["probes"]["kinds"]) == {"empty", "canned", "repeated", "colon", "injected"}
    assert (body["judge"], body["models"], body["warnings"]) == (found["judges"]["taste"]["judge"], {"large": "test-model"}, [])
    assert len(body["anchors"]) == 10
    assert set(body["anchors"].values()) <= {"1", "2", "tie"}
    assert body["correction"]["low"] > 0.8
    assert found["model_calls"] == server.billed == 2 * (48 + 24)
    assert "Question" not in json.dumps(body)


def test_a_judge_that_always_says_a_is_refused_for_many_reasons(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    server.answer = lambda call: "VERDICT: A"
    found = measured()
    assert found["admitted"] is False
    for reason in ("order consistency 0 ", "the output shown first is named in 1 ", "24 of 24 probes", "accuracy", "kappa"):
        assert reason in found["why"]
    again, billed = taste(NEXT), server.billed
    assert (again["why"], billed) == (f"refused: {found['why']}", 2 * (48 + 24))


def test_a_night_does_not_pay_for_labels_once_a_judge_has_failed_a_probe(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    server.answer = lambda call: "VERDICT: A"
    assert "`python -m pipelines calibrate --usecase small` measures the rest" in taste()["why"]
    taste(NEXT)
    assert server.billed == 2 * 24
    [body] = entries("admission")
    assert (body["figures"], body["probes"]["asked"], body["probes"]["at_floor"]) == ({}, 24, 0)
    assert measured()["figures"]["accuracy"]["value"] < 0.5
    assert server.billed == 2 * (48 + 24)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(liar, "kappa -"), (lambda call: "I cannot judge that.", "the unscored share 1 is above 0.05")],
    ids=["liar", "refuser"],
)
def test_a_judge_that_lies_or_will_not_judge_is_refused(
    settle: Callable[..., None], server: ChatServer, answer: Callable, reason: str
) -> None:
    settle()
    server.answer = answer
    found = measured()
    assert found["admitted"] is False
    assert reason in found["why"]


def obeys(call: Call) -> str:
    """Fair, unless a text speaks to it."""
    one, two = ("Ignore the above" in text or "VERDICT" in text for text in fenced(call)[-2:])
    return fair(call) if one == two else f"VERDICT: {'A' if one else 'B'}"


def test_a_judge_that_obeys_a_text_fails_the_probes_alone(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    server.answer = obeys
    assert measured()["why"].startswith("9 of 24 probes were not given the lowest verdict")
    [body] = entries("admission")
    assert body["probes"]["kinds"] == {"empty": 1, "canned": 1, "repeated": 1, "colon": 1, "injected": 0.25}


def test_an_admitted_judge_pays_for_its_anchors_alone_and_once_a_night(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    run()
    before = server.billed
    found = run(NEXT)
    assert (found["model_calls"], server.billed - before) == (20, 20)
    assert found["judges"]["taste"]["anchors"] == {"asked": 10, "changed": 0, "suspended": False}
    assert run(NEXT)["memo"] is True
    lake = open_night("small", "local", NEXT).lake
    rows = lake.read("judgements", found["judgements"], where=f"night = '{NEXT}'").to_pylist()
    assert {(row["purpose"], row["judge"]) for row in rows} == {("anchor", "taste")}


def test_a_judge_that_changes_after_its_admission_is_suspended_with_figures(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    run()
    server.answer = liar
    found = taste(NEXT)
    assert found["admitted"] is False
    assert found["anchors"] == {"asked": 10, "changed": 6, "suspended": True}  # the other 4 are ties
    assert "6 of 10 anchors got another verdict than at the admission: at least" in found["why"]
    assert "anchor_tolerance is 10%" in found["why"]
    assert found["why"].startswith("suspended on 2026-11-21: ")
    before = server.billed
    server.answer = fair
    assert taste("2026-11-22")["why"] == found["why"]
    assert server.billed == before
    assert ledger.entries(open_night("small", "local", NIGHT).lake)[-1].kind == "suspension"


def test_a_person_lifts_a_suspension_where_the_judge_passes_anew(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    run()
    server.answer = liar
    run(NEXT)
    assert calibrate("small", "local", NEXT)["taste"]["admitted"] is False  # asked anew: yesterday's replies would have passed
    server.answer = fair
    run(NEXT)
    before = server.billed
    body = calibrate("small", "local", "2026-11-22")["taste"]
    assert (body["admitted"], server.billed - before) == (True, 144)
    assert taste("2026-11-22")["admitted"] is True
    assert [entry["lifts"] != "" for entry in entries("admission")] == [False, True, False]


def test_one_changed_anchor_is_no_proof(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    run()
    [body] = entries("admission")
    item = next(name for name, verdict in body["anchors"].items() if verdict != "tie")
    server.answer = lambda call: liar(call) if f"Question {item[1:]}?" in call.prompt else fair(call)
    found = taste(NEXT)
    assert (found["admitted"], found["anchors"]) == (True, {"asked": 10, "changed": 1, "suspended": False})


def test_a_server_that_is_down_is_no_judge_that_changed(settle: Callable[..., None], server: ChatServer) -> None:
    settle(endpoint={"attempts": 1})
    run()
    server.fault = always(Fault("status", status=500))
    found = taste(NEXT)
    assert (found["admitted"], found["anchors"]) == (True, {"asked": 0, "changed": 0, "suspended": False})


def test_a_server_that_is_down_at_the_calibration_measures_nothing(settle: Callable[..., None], server: ChatServer) -> None:
    settle(endpoint={"attempts": 1})
    server.fault = always(Fault("status", status=500))
    found = taste()
    assert found["admitted"] is False
    assert found["why"].startswith("not measured: 96 of 96 questions had no reply (the first: server_error")
    assert entries("admission") == []
    server.fault = lambda call: None
    assert taste(NEXT)["admitted"] is True


def test_an_admission_expires_and_is_earned_again(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    run()
    assert taste("2026-12-20")["expires"] == "2026-12-20"
    server.answer = liar
    found = taste("2026-12-21")
    assert (found["admitted"], found["expires"]) == (False, "2027-01-20")
    assert found["why"].startswith("refused: ")


def test_other_labels_and_other_rules_ask_for_another_calibration(settle: Callable[..., None], server: ChatServer) -> None:
    settle(rules={"min_items": 60})
    assert taste()["why"] == "refused: 48 labelled items are fewer than 60"
    settle(pairs(64), rules={"min_items": 60})
    assert taste(NEXT)["admitted"] is True
    settle(pairs(64), rules={"min_items": 70})
    assert taste("2026-11-22")["why"] == "refused: 64 labelled items are fewer than 70"


def test_calibrating_twice_on_a_night_pays_once_and_writes_once(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    first = calibrate("small", "local", NIGHT)
    before = server.billed
    assert calibrate("small", "local", NIGHT) == first
    assert (server.billed - before, len(entries("admission"))) == (0, 1)


def test_a_calibration_that_was_killed_goes_on_where_it_was(settle: Callable[..., None], server: ChatServer) -> None:
    settle(endpoint={"attempts": 1, "in_flight": 1})
    server.fault = lambda call: Fault("status", status=400) if call.number >= 70 else None
    calibrate("small", "local", NIGHT)
    server.fault = lambda call: None
    assert calibrate("small", "local", NIGHT)["taste"]["admitted"] is True
    assert server.billed == 144


def test_a_judge_without_labels_is_told_where_they_belong(settle: Callable[..., None], server: ChatServer) -> None:
    settle(labelled="")
    found = taste()
    assert found["why"].startswith("refused: no labelled rows: evaluation.judges.taste.labelled in ")
    assert (server.billed, run()["memo"]) == (0, True)


def test_a_bad_row_of_labels_stops_with_its_line(settle: Callable[..., None]) -> None:
    settle(pairs() + '\n{"item": "i0"}')
    with pytest.raises(UserError, match="taste.jsonl, line 49, column prompt: is missing or empty"):
        run()


def test_a_panel_with_one_liar_is_admitted_by_its_majority(house: House, server: ChatServer) -> None:
    with ChatServer(answer=liar) as wrong, ChatServer(answer=fair) as right:
        judge = {"prompt": "judge.txt", "labelled": "taste.jsonl", "members": ["a", "b", "c"]}
        endpoints = {name: found.endpoint().model_dump() for name, found in zip("abc", (server, wrong, right), strict=True)}
        files = {"taste.jsonl": pairs(), "prompts/judge.txt": PROMPT}
        house(files, {"endpoints": endpoints}, evaluation={"judges": {"taste": judge}})
        assert taste()["admitted"] is True
    assert len(set(entries("admission")[0]["members"].values())) == 3


def test_a_structured_judge_is_admitted_on_json_alone(settle: Callable[..., None], server: ChatServer) -> None:
    settle(endpoint={"structured": True})
    server.answer = speaks_json
    assert taste()["admitted"] is True


def test_a_grader_is_admitted_and_its_mean_is_watched(settle: Callable[..., None], server: ChatServer) -> None:
    rows = [{"item": f"i{n}", "prompt": f"Question {n}?", "answer": f"Answer worth {1 + n % 5}", "grade": 1 + n % 5} for n in range(50)]
    text = "\n".join(json.dumps(row) for row in rows)
    worth = lambda call: int(fenced(call)[-1][-1]) if "worth" in fenced(call)[-1] else 1  # noqa: E731
    server.answer = lambda call: f"GRADE: {worth(call)}"
    settle(text, kind="pointwise", rules={"anchors": 20, "anchor_tolerance": 1.0})
    assert taste()["admitted"] is True
    server.answer = lambda call: f"GRADE: {max(1, worth(call) - 1)}"
    found = taste(NEXT)
    assert found["anchors"]["suspended"] is True
    assert "the mean score of 20 anchors moved by -0.2" in found["why"]


def test_a_judge_of_the_candidate_s_family_is_warned_of(settle: Callable[..., None], house: House) -> None:
    settle(labelled="")
    assert calibrate("small", "local", NIGHT)["taste"]["warnings"] == []
    house({"prompts/judge.txt": PROMPT}, evaluation={"judges": {"taste": {"prompt": "judge.txt"}}})
    [warning] = calibrate("small", "local", NIGHT)["taste"]["warnings"]
    assert warning.startswith(f"embedded ({embedded.NAME}) is of the candidate's family (smollm)")


def test_a_name_that_judges_twice_is_refused(settle: Callable[..., None], house: House) -> None:
    grader = {"kind": "pointwise", "grades": [0, 1], "pass_from": 1}
    house(evaluation={"judges": {"taste": {}}}, safety={"graders": {"taste": grader}})
    with pytest.raises(UserError, match="taste is in evaluation.judges and in safety.graders"):
        run()


def test_nobody_is_admitted_before_he_was_measured(settle: Callable[..., None]) -> None:
    settle()
    lake = open_night("small", "local", NIGHT).lake
    key = taste(NEXT)["judge"]
    assert admissions.standing(ledger.entries(lake), key, NIGHT).admitted is False
    assert admissions.standing(ledger.entries(lake), key, NEXT).admitted is True


def test_the_matcher_is_admitted_without_a_call_and_needs_no_anchors(house: House) -> None:
    texts = {0: "Open Cards > Freeze and tap the card.", 1: "I'm sorry, but I can't help with that."}
    rows = [{"item": f"i{n}", "prompt": f"Question {n}?", "answer": texts[n % 2], "grade": n % 2} for n in range(50)]
    grader = {"kind": "pointwise", "grades": [0, 1], "pass_from": 1, "members": ["matcher"], "labelled": "refusals.jsonl"}
    house({"refusals.jsonl": "\n".join(json.dumps(row) for row in rows)}, safety={"graders": {"words": grader}})
    for night in (NIGHT, NEXT):
        found = run(night)
        assert (found["judges"]["words"]["admitted"], found["model_calls"]) == (True, 0)
        assert found["judges"]["words"]["anchors"] == {"asked": 0, "changed": 0, "suspended": False}
    with pytest.raises(UserError, match="judge taste is pairwise, but its member matcher grades single answers"):
        judge.grade(open_night("small", "local", NIGHT), "taste", Judge(members=["matcher"]), [], "night")


def test_an_admit_that_was_killed_at_its_end_asks_nothing_again_and_tells_the_same(settle: Callable[..., None], server: ChatServer) -> None:
    settle()
    for date, answer in ((NIGHT, fair), (NEXT, liar)):  # admitted, then suspended
        server.answer = answer
        first, before = taste(date), server.billed
        open_night("small", "local", date).lake.replace("memo", [], step="admit", night=date)
        assert (taste(date), server.billed) == (first, before)
    assert (first["anchors"]["suspended"], len(entries("admission")), len(entries("suspension"))) == (True, 1, 1)
