"""Drift names what was planted and little else, and hostile traffic stays text."""

import datetime
import json
import random
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.foundation.step import Night, Step, open_night, step
from pipelines.monitoring import page, shifts, windows
from pipelines.monitoring.drift import drift

NIGHT = "2026-11-20"
WORDS = [f"word{number}" for number in range(40)]
LABELS = ["card_arrival", "refund", "transfer", "pin"]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One state folder for the file of tests: making MLflow's database takes seconds."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def toy(house: Callable[..., Path], state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house(name="toy", drift={"reference_days": 14, "min_rows": 20})
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(state))


def traffic(seed: int, tonight: int = 90, a_day: int = 30, turns: int = 2, **columns: object) -> list[dict]:
    """Rows of 14 days and of tonight; a column given as `name=f` is f(random, row) on tonight's rows."""
    dice = random.Random(seed)
    rows = []
    for ago in range(15):
        day = (datetime.date.fromisoformat(NIGHT) - datetime.timedelta(days=ago)).isoformat()
        for number in range(a_day if ago else tonight):
            row = {
                "row_id": f"{day}-{number}",
                "night": NIGHT,
                "day": day,
                "conversation_id": f"{day}-{number // turns}",
                "text": " ".join(dice.choices(WORDS, k=dice.randint(4, 14))),
                "label": dice.choice(LABELS),
                "attributes": json.dumps({"channel": dice.choice(["web", "app"]), "session": f"{day}-{number}"}),
            }
            rows.append(row | ({} if ago else {name: change(dice, row) for name, change in columns.items()}))
    return rows


def lay(rows: list[dict]) -> None:
    """Put rows into the lake as the steps before drift do."""

    def scrub(night: Night) -> dict:
        return {"clean": night.lake.replace("clean", rows, night=night.night)}

    def split(night: Night) -> dict:
        return {}

    fresh: list[Step] = [step(code=random.getrandbits(60))(scrub), step(code=1, after="scrub")(split)]
    for work in fresh:
        work("toy", "local", NIGHT)


def compared(rows: list[dict]) -> dict[str, shifts.Shift]:
    """The verdicts, by column, without report and MLflow."""
    lay(rows)
    found = windows.read(open_night("toy", "local", NIGHT))
    return {shift.column: shift for shift in shifts.compare(windows.columns(found).found, shifts.separate(found), found, 0.05)}


def longer(dice: random.Random, row: dict) -> str:
    return row["text"] + " " + row["text"]


def new_words(dice: random.Random, row: dict) -> str:
    return row["text"] + (" crypto wallet" if dice.random() < 0.4 else "")


class Tags(HTMLParser):
    """The tags that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_same_traffic_does_not_drift() -> None:
    false_alarms = [shift.column for seed in range(8) for shift in compared(traffic(seed)).values() if shift.drifted]
    assert len(false_alarms) <= 1


def test_long_conversations_alone_are_no_drift() -> None:
    """Rows of one conversation that share their label: taken as independent, they would raise an alarm nearly every night."""

    def one_topic(seed: int) -> list[dict]:
        topic = random.Random(seed)
        labels: dict[str, str] = {}
        return [row | {"label": labels.setdefault(row["conversation_id"], topic.choice(LABELS))} for row in traffic(seed, turns=15)]

    assert sum(compared(one_topic(seed))["label"].drifted for seed in range(8)) <= 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"label": lambda dice, row: "pin" if dice.random() < 0.5 else row["label"]}, {"label"}),
        ({"text": longer}, {"text_words", "text_chars"}),
        ({"text": new_words}, {"oov_share", "text"}),
        ({"attributes": lambda dice, row: '{"channel": "phone"}'}, {"attributes.channel"}),
        ({"attributes": lambda dice, row: None}, {"attributes.channel"}),
        ({"label": lambda dice, row: None}, {"label"}),
    ],
    ids=["label", "length", "vocabulary", "channel", "attribute gone", "label gone"],
)
def test_a_planted_shift_is_named(change: dict, named: set[str]) -> None:
    drifted = {name for name, shift in compared(traffic(1, **change)).items() if shift.drifted}
    assert named <= drifted
    assert drifted - named <= {"text", "text_words", "text_chars"}


def test_the_words_of_a_shift_are_told_but_not_those_of_one_person() -> None:
    rows = traffic(2, text=new_words)
    lone = [row for row in rows if row["day"] == NIGHT][0]
    lone["text"] = "zanzibar " * 30
    lay(rows)
    told = shifts.separate(windows.read(open_night("toy", "local", NIGHT)))
    assert set(told.tonight[:2]) == {"crypto", "wallet"}
    assert "zanzibar" not in told.tonight


def test_a_reference_row_does_not_know_its_own_words() -> None:
    rows = [{"row_id": str(place), "night": NIGHT, "day": "2026-11-19", "text": text} for place, text in enumerate(["alpha beta", "beta"])]
    lay(rows)
    assert windows.unknown_shares(windows.read(open_night("toy", "local", NIGHT))) == [0.5, 0.0]


@pytest.mark.parametrize(
    "change",
    [
        {"label": None, "attributes": None},
        {"label": "pin"},
        {"text": "the same"},
        {"text": ""},
        {"text": None, "label": None, "attributes": "{}", "conversation_id": None},
        {"text": "!?", "conversation_id": "one"},
    ],
    ids=["no label", "one label", "one text", "no text", "nothing", "one conversation"],
)
def test_columns_that_say_nothing_are_no_drift_and_no_error(change: dict) -> None:
    lay([row | change for row in traffic(3)])
    found = windows.read(open_night("toy", "local", NIGHT))
    columns = windows.columns(found)
    verdicts = shifts.compare(columns.found, shifts.separate(found), found, 0.05)
    assert not [shift.column for shift in verdicts if shift.drifted]
    assert "<" in page.pictures(columns.found, found, verdicts)


def test_rows_of_later_nights_and_older_days_stay_out() -> None:
    rows = traffic(4, tonight=30)
    lay([*rows, rows[0] | {"day": "2026-11-01"}, rows[0] | {"day": "2026-11-21"}])
    lake = open_night("toy", "local", NIGHT).lake
    later = lake.replace("clean", [rows[0] | {"night": "2026-11-21"}], night="2026-11-21")
    assert lake.read("clean", later).num_rows == len(rows) + 3
    assert windows.read(open_night("toy", "local", NIGHT)).rows == {"tonight": 30, "reference": 14 * 30}


def test_too_many_rows_are_thinned_by_whole_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MOST_ROWS", 50)
    lay(traffic(5, turns=5))
    found = windows.read(open_night("toy", "local", NIGHT))
    assert found.rows["tonight"] == 90
    assert int(found.tonight.sum()) == 50
    assert all(found.conversations.count(name) == 5 for name in set(found.conversations))


def test_the_step_reports_and_logs_what_moved(state: Path) -> None:
    import mlflow

    lay(traffic(6, label=lambda dice, row: "pin"))
    result = drift("toy", "local", NIGHT)
    assert "label" in result["figures"]["drifted"]
    report = Path(result["report"])
    assert report == state / "reports" / "toy" / NIGHT / "drift.html"
    assert "label: the largest move is pin" in report.read_text()
    assert json.loads((report.parent / "drift.json").read_text()) == result["figures"]
    run = mlflow.get_run(result["run_id"])
    assert run.data.metrics["label_effect"] > 0.5
    assert {"auc", "drifted_share", "text_words_effect", "attributes.channel_effect"} <= set(run.data.metrics)
    assert {file.path for file in mlflow.MlflowClient().list_artifacts(result["run_id"])} == {"drift.html", "drift.json"}
    assert drift("toy", "local", NIGHT)["memo"] is True


def test_too_few_rows_are_said_and_not_judged() -> None:
    lay(traffic(7, tonight=3))
    result = drift("toy", "local", NIGHT)
    assert result["figures"]["judged"] is False
    assert "3 rows in the tonight window" in result["figures"]["why"]
    assert "Drift was not judged" in Path(result["report"]).read_text()


def test_without_the_steps_before_it_says_what_to_run() -> None:
    with pytest.raises(UserError, match="python -m pipelines split --usecase toy"):
        drift("toy", "local", "2026-01-01")


def test_hostile_labels_and_attributes_stay_text() -> None:
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    keys = json.dumps({f'{attack}"><script>': attack, "channel": attack.upper()})
    lay(traffic(8, label=lambda dice, row: dice.choice([attack, f"{attack} ", "pin\n%s\u2028"]), attributes=lambda dice, row: keys))
    report = Path(drift("toy", "local", NIGHT)["report"]).read_text()
    outer = Tags(report).seen
    assert {tag for tag, _ in outer}.isdisjoint({"script", "img"})
    assert "&lt;script&gt;alert(1)" in report
    frame = next(attributes for tag, attributes in outer if tag == "iframe")
    assert frame["sandbox"] == "allow-scripts"
    assert "\\u2039script\\u203aalert(1)" in frame["srcdoc"]
    assert attack.lower() not in frame["srcdoc"].lower()
    assert sum(tag == "script" for tag, _ in Tags(frame["srcdoc"]).seen) == 4


@pytest.mark.parametrize("name", ["<b>", "a\nb", "x" * 500, "\x00\u202e", "`${1}`"])
def test_a_harmless_name_holds_no_markup(name: str) -> None:
    found = page.harmless(name)
    assert not set(found) & set("<>&\"'`\\\n\x00\u202e")
    assert len(found) <= page.LONGEST_NAME


def test_a_report_whose_result_was_lost_is_logged_to_the_same_run() -> None:
    lay(traffic(1, tonight=8, a_day=1))
    first = drift("toy", "local", NIGHT)
    lake = open_night("toy", "local", NIGHT).lake
    Path(first["report"]).with_name(".drift.html.part").write_text("half")
    lake.replace("memo", [], step="drift", night=NIGHT)  # as if it died before its result was stored
    assert drift("toy", "local", NIGHT)["run_id"] == first["run_id"]
    assert not [path for path in Path(first["report"]).parent.iterdir() if path.name.startswith(".")]
