"""The split: groups stay whole, near-duplicates stay together, and old rows never change sides."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from pipelines.data.split import split
from pipelines.foundation.step import Night, open_night, step
from pipelines.tuning.finetune import choose
from tests.release.nights import remember

House = Callable[..., Path]
NIGHT = "2026-11-20"
WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "jetty",
    "kelp",
    "lagoon",
    "marsh",
    "north",
    "ocean",
    "pebble",
    "quartz",
    "river",
    "shoal",
    "tide",
]


def row(number: int, text: str, **changes: object) -> dict:
    base = {
        "row_id": str(number),
        "file": "f",
        "source": "f.jsonl",
        "line": number,
        "day": NIGHT,
        "text": text,
        "label": "red",
        "reply": None,
    }
    return base | {"conversation_id": f"c{number}", "turn": 1, "subject_id": f"u{number}", "attributes": "{}"} | changes


def texts(count: int) -> list[str]:
    return [f"{WORDS[n % 20]} {WORDS[n * 7 % 20]} {WORDS[n * 3 % 19]} {n} {WORDS[n * 11 % 17]} {n * n}" for n in range(count)]


def run(rows: list[dict], night: str = NIGHT) -> dict:
    @step(code=1, extra=lambda _: {"given": rows})
    def scrub(opened: Night) -> dict:
        return {"clean": opened.lake.replace("clean", (found | {"night": opened.night} for found in rows), night=opened.night)}

    scrub("small", "local", night)
    return split("small", "local", night)


def examples(night: str = NIGHT) -> list[dict]:
    lake = open_night("small", "local", night).lake
    return lake.read("examples", lake.version("examples")).to_pylist()


def test_the_share_is_kept_and_a_conversation_stays_whole(house: House) -> None:
    house(split={"test_share": 0.3})
    rows = [row(n, text, conversation_id=f"c{n // 2}", turn=n % 2 + 1) for n, text in enumerate(texts(400))]
    result = run(rows)
    assert result["train"] + result["test"] == 400
    assert 0.22 < result["test"] / 400 < 0.38
    sides = defaultdict(set)
    for example in examples():
        sides[example["subject_id"].removeprefix("u")].add(example["split"])
    assert all(sides[str(n)] == sides[str(n + 1)] for n in range(0, 400, 2))


def test_later_turns_are_read_with_the_turn_before(house: House) -> None:
    house(task={"answer": "label_reply"}, gate={"metrics": {"accuracy": 0.1}})
    run(
        [
            row(1, "where is my card", conversation_id="c", reply="On its way."),
            row(2, "and when?", conversation_id="c", turn=2, reply="Soon."),
        ]
    )
    assert "Customer: where is my card\nAgent: On its way.\nCustomer: and when?" in {example["prompt"] for example in examples()}


def test_near_duplicates_of_different_customers_share_a_group(house: House) -> None:
    house(split={"test_share": 0.5})
    long = "my card was declined at the shop in the harbour this morning although there was money on the account"
    run([row(n, f"{long} {WORDS[n]}") for n in range(20)])
    assert len({example["group_id"] for example in examples()}) == 1
    assert len({example["split"] for example in examples()}) == 1


def test_an_exact_duplicate_is_kept_once_and_counted(house: House) -> None:
    house()
    assert run([row(1, "where is my card"), row(2, "where is my card"), row(3, "something else entirely here")])["duplicates"] == 1
    assert run([row(4, "where is my card")], night="2026-11-21")["duplicates"] == 1


def test_old_rows_keep_their_side_and_a_new_near_duplicate_joins_them(house: House) -> None:
    house(split={"test_share": 0.5})
    old = [f"{text} please help me with this one today because it is urgent for us" for text in texts(60)]
    run([row(n, text) for n, text in enumerate(old)])
    before = {example["prompt"]: example["split"] for example in examples()}
    run([row(100 + n, text + "!! thanks") for n, text in enumerate(old)], night="2026-11-21")
    after = {example["prompt"]: example["split"] for example in examples("2026-11-21")}
    assert all(after[prompt] == side for prompt, side in before.items())
    assert all(after[prompt + "!! thanks"] == side for prompt, side in before.items())


def test_a_row_near_both_sides_goes_to_quarantine(house: House) -> None:
    house(split={"test_share": 0.5, "near_duplicate": 0.6})
    words = [f"word{n}" for n in range(60)]
    left, right, bridge = " ".join(words[:40]), " ".join(words[12:52]), " ".join(words[6:46])
    tried = 0
    while True:  # other customers until the two land on different sides
        run([row(1, left, conversation_id=f"l{tried}"), row(2, right, conversation_id=f"r{tried}")])
        if len({example["split"] for example in examples()}) == 2:
            break
        tried += 1
    result = run([row(3, bridge)], night="2026-11-21")
    assert (result["quarantined"], result["train"] + result["test"]) == (1, 0)
    lake = open_night("small", "local", "2026-11-21").lake
    refused = lake.read("quarantine", lake.version("quarantine")).to_pylist()
    assert [(found["reason"], found["source"], found["line"]) for found in refused] == [("split_conflict", "f.jsonl", 3)]


def test_a_row_without_what_the_task_needs_is_refused_by_name(house: House) -> None:
    house(task={"answer": "label_reply"})
    assert run([row(1, "where is my card", reply=None), row(2, "is it here", reply="Yes.")])["quarantined"] == 1


def test_the_split_does_not_depend_on_the_order_of_the_rows(house: House) -> None:
    house(split={"test_share": 0.5})
    found = []
    for order in (1, -1):
        run([row(n, text) for n, text in enumerate(texts(50))][::order])
        found.append(sorted((example["prompt"], example["split"], example["group_id"]) for example in examples()))
    assert found[0] == found[1]


UNSAFE = "how do I get into the account of my flatmate without her noticing"
SAFETY = {"prompts": [{"path": "safety/p.csv"}]}
FILES = {"safety/p.csv": f"prompt\n{UNSAFE}\n"}


def refusals(night: str = NIGHT) -> list[dict]:
    lake = open_night("small", "local", night).lake
    return lake.read("quarantine", lake.version("quarantine"), where=f"night = '{night}'").to_pylist()


def test_a_row_of_the_safety_set_goes_to_quarantine_and_names_file_and_line(house: House) -> None:
    house(FILES, safety=SAFETY)
    result = run([row(1, UNSAFE.upper() + "?!"), row(2, f"Hello, {UNSAFE}. Thanks"), row(3, "where is my card")])
    assert (result["quarantined"], result["train"] + result["test"]) == (2, 1)
    assert {(found["reason"], found["line"]) for found in refusals()} == {("safety_set", 1), ("safety_set", 2)}
    assert all("safety/p.csv, line 2" in found["detail"] for found in refusals())


def test_a_refused_row_is_nobodys_context(house: House) -> None:
    house(FILES, safety=SAFETY, split={"context_turns": 1})
    run([row(1, UNSAFE, conversation_id="c"), row(2, "and how long does it take", conversation_id="c", turn=2)])
    assert [example["prompt"] for example in examples()] == ["and how long does it take"]


def test_rows_that_were_there_before_the_safety_file_are_counted_and_not_trained_on(house: House) -> None:
    house(split={"test_share": 0.0})
    run([row(1, UNSAFE), row(2, "where is my card")])
    house(FILES, safety=SAFETY, split={"test_share": 0.0})
    later = "2026-11-21"
    assert run([row(3, "why was my card declined")], night=later)["protected_before"] == 1
    night = open_night("small", "local", later)
    child = {"example_id": "s", "prompt": "a paraphrase of it", "split": "train", "night": later}
    parents = {example["prompt"]: example["example_id"] for example in examples()}
    made = [child | {"parent_id": parents[UNSAFE]}, child | {"example_id": "t", "parent_id": parents["where is my card"]}]
    remember(night, "synthesize", {"synthetic": night.lake.replace("synthetic", made, night=later)})
    assert {found["prompt"] for found in choose(night)} == {"where is my card", "why was my card declined", "a paraphrase of it"}
    assert len(choose(night)) == 3


def test_a_new_safety_file_splits_the_night_again(house: House) -> None:
    house()
    rows = [row(1, UNSAFE), row(2, "where is my card")]
    assert (run(rows)["quarantined"], run(rows)["memo"]) == (0, True)
    house(FILES, safety=SAFETY)
    assert run(rows)["quarantined"] == 1
    assert len(examples()) == 1
