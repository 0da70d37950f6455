"""A row is known by its id and by its content, in bounded memory, however many there are."""

import random
from pathlib import Path

from pipelines.data.reading.known import Known, digest
from pipelines.foundation.lake import Lake

NIGHT = "2026-11-20"
KINDS = ["duplicate_row", "duplicate_id", "duplicate_content"]


def row(n: int, text: str = "", row_id: str = "") -> dict:
    empty = dict.fromkeys(("conversation_id", "turn", "subject_id", "created_at", "label", "reply"))
    made = {"row_id": row_id or f"m-{n}", "text": text or f"text {n}", "attributes": "{}", "source": "a", "line": n, "night": NIGHT}
    return empty | made | {"file": "f", "day": NIGHT}


def admit(known: Known, rows: list[dict]) -> tuple[list[str], list[str]]:
    """(ids that were accepted, reasons of the others) after everything is settled."""
    new = known.admit(rows)
    known.lake.append("traffic", new)
    late, again = known.settle()
    known.lake.append("traffic", late)
    return [one["row_id"] for one in (*new, *late)], [one.reason for one in again]


def test_the_three_kinds_of_duplicates_are_told_apart_within_a_batch_and_across(tmp_path: Path) -> None:
    known = Known(Lake(str(tmp_path)), NIGHT)
    assert admit(known, [row(1), row(1), row(1, "other"), row(2, "text 1")]) == (
        ["m-1"],
        ["duplicate_row", "duplicate_id", "duplicate_content"],
    )
    assert admit(known, [row(3), row(1), row(1, "other"), row(2, "text 1")]) == (
        ["m-3"],
        ["duplicate_row", "duplicate_id", "duplicate_content"],
    )
    later = Known(Lake(str(tmp_path)), "2026-11-21")
    assert admit(later, [row(4), row(3), row(3, "other"), row(5, "text 3")]) == (
        ["m-4"],
        ["duplicate_row", "duplicate_id", "duplicate_content"],
    )


def test_a_row_like_a_refused_one_is_new(tmp_path: Path) -> None:
    known = Known(Lake(str(tmp_path)), NIGHT)
    assert admit(known, [row(1), row(1, "other"), row(2, "other")]) == (["m-1", "m-2"], ["duplicate_id"])


def test_a_fingerprint_that_two_ids_share_refuses_neither(tmp_path: Path) -> None:
    """No two texts with one hash are at hand: the fingerprint of an id that never came is put in."""
    known = Known(Lake(str(tmp_path)), NIGHT)
    admit(known, [row(1)])
    known.ids.add(known.ids.runs[0] * 0 + hash("m-2"))
    assert admit(known, [row(2)]) == (["m-2"], [])


def test_rows_of_an_earlier_release_are_known_by_their_content_too(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.append("traffic", [row(1)])
    assert lake.read("traffic", 1, ["content"]).column(0).to_pylist() == [None]
    assert admit(Known(lake, NIGHT), [row(1), row(2, "text 1"), row(3)]) == (["m-3"], ["duplicate_row", "duplicate_content"])


def test_rows_of_later_nights_are_not_known(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    admit(Known(lake, NIGHT), [row(1)])
    assert admit(Known(lake, "2026-11-19"), [row(1)]) == (["m-1"], [])


def test_twenty_thousand_rows_in_uneven_batches_are_each_accepted_once(tmp_path: Path) -> None:
    chance, known, accepted = random.Random(3), Known(Lake(str(tmp_path)), NIGHT), []
    numbers = [chance.randrange(12_000) for _ in range(20_000)]
    while numbers:
        size = chance.choice((1, 700, 3000))
        accepted += known.admit([row(n) for n in numbers[:size]])
        numbers = numbers[size:]
    assert len({one["row_id"] for one in accepted}) == len(accepted)
    assert len(known.ids.runs) < 16 and sum(map(len, known.ids.runs)) == len(accepted)
    assert all(len(a) > 2 * len(b) for a, b in zip(known.ids.runs, known.ids.runs[1:], strict=False))


def test_the_digest_sees_content_and_not_its_place() -> None:
    assert digest(row(1, "a")) == digest(row(2, "a") | {"source": "b", "night": "2026-11-21"})
    assert digest(row(1, "a")) != digest(row(1, "a") | {"reply": ""})
    assert digest(row(1, "a") | {"label": "x", "reply": None}) != digest(row(1, "a") | {"label": None, "reply": "x"})
