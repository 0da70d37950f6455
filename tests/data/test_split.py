"""The split: groups stay whole, near-duplicates stay together, and old rows never change sides."""

import json
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.data.split import split
from pipelines.errors import NightStopped
from pipelines.foundation.step import Night, open_night, step
from pipelines.foundation.text import jaccard, shingles
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


FORM = "my card ending {} was declined for {} pounds at the shop this morning, why is that"


def test_rows_that_share_any_of_several_keys_are_one_group(house: House) -> None:
    house(split={"group_by": ["conversation", "subject"]})
    given = [row(n, text) for n, text in enumerate(texts(5))]
    given[1]["conversation_id"] = given[0]["conversation_id"]
    given[2]["subject_id"] = given[1]["subject_id"]
    run(given)
    assert len({example["group_id"] for example in examples()}) == 3


def test_rows_of_one_template_are_one_group_whatever_their_values(house: House) -> None:
    other = 'my order "blue mug" of 12/03/2026 has not arrived at <NAME_2>, where is it'
    given = [FORM.format(1234, "12.50"), FORM.format("****99", "7"), other, other.replace("blue mug", "a kettle").replace("12/03", "XX/XX")]
    house(split={"group_by": "template", "near_duplicate": 1.0})
    run([row(n, text) for n, text in enumerate(given)])
    groups = {example["prompt"]: example["group_id"] for example in examples()}
    assert groups[given[0]] == groups[given[1]] != groups[given[2]] == groups[given[3]]


def test_a_single_word_and_a_list_of_it_give_the_same_groups(house: House) -> None:
    found = []
    for group_by in ("conversation", ["conversation"]):
        house(split={"group_by": group_by})
        run([row(n, text) for n, text in enumerate(texts(10))])
        found.append(sorted(example["group_id"] for example in examples()))
    assert found[0] == found[1]


def test_a_conversation_that_goes_on_the_next_night_stays_on_its_side(house: House) -> None:
    house(split={"test_share": 0.5, "group_by": ["template", "conversation"], "context_turns": 0})
    first = [row(n, text) for n, text in enumerate(texts(40))]
    run(first)
    said = [f"{WORDS[n % 20]} says {WORDS[n // 20]} and how about {WORDS[n * 3 % 20]} then" for n in range(40)]
    later = [row(100 + n, text, conversation_id=f"c{n}", turn=2) for n, text in enumerate(said)]
    assert run(later, night="2026-11-21")["quarantined"] == 0
    sides = {json.loads(example["rows"])[-1]: example["split"] for example in examples("2026-11-21")}
    assert set(sides.values()) == {"train", "test"}
    assert all(sides[str(n)] == sides[str(100 + n)] for n in range(40))


def test_no_night_moves_an_old_row_and_no_near_duplicate_ever_crosses(house: House) -> None:
    house(split={"test_share": 0.4, "near_duplicate": 0.6, "group_by": ["conversation", "subject"]})
    draw = random.Random(3)
    before: dict[str, tuple[str, str]] = {}
    for day in range(20, 24):
        given = [" ".join(draw.choices(WORDS[:12], k=draw.randint(3, 7))) for _ in range(60)]
        people = [f"u{draw.randint(0, 150)}" for _ in given]
        rows = [row(1000 * day + n, text, subject_id=person) for n, (text, person) in enumerate(zip(given, people, strict=True))]
        result = run(rows, night=f"2026-11-{day}")
        assert result["train"] + result["test"] + result["duplicates"] + result["quarantined"] == 60
        found = {example["example_id"]: (example["split"], example["group_id"]) for example in examples(f"2026-11-{day}")}
        assert before.items() <= found.items()
        before = found
    sets = [(shingles(example["prompt"]), example["split"]) for example in examples()]
    near = [one for one, side in sets for two, other in sets if side != other and jaccard(one, two) >= 0.6]
    people = {(example["subject_id"], example["split"]) for example in examples()}
    assert near == [] and len(people) == len({person for person, _ in people})


def test_a_night_that_is_filled_in_later_follows_the_sides_that_stand(house: House) -> None:
    house(split={"test_share": 0.5})
    rows = [f"{text} please help me with this one today" for text in texts(40)]
    run([row(n, found) for n, found in enumerate(rows)])
    run([row(100 + n, f"{found} thanks", conversation_id=f"d{n}") for n, found in enumerate(rows)], night="2026-11-19")
    assert run([row(300, "something else entirely here")], night="2026-11-21")["near_before"] == 0
    sides = {example["prompt"]: example["split"] for example in examples()}
    assert set(sides.values()) == {"train", "test"}
    assert all(sides[found] == sides[f"{found} thanks"] for found in rows)


def test_an_example_names_the_rows_that_its_prompt_holds(house: House) -> None:
    house(split={"context_turns": 1})
    run([row(n, f"turn {n} says {WORDS[n]}", conversation_id="c", turn=n) for n in (1, 2, 3)])
    assert sorted(example["rows"] for example in examples()) == ['["1", "2"]', '["1"]', '["2", "3"]']


def test_a_night_without_rows_has_no_examples(house: House) -> None:
    house()
    assert {name: run([])[name] for name in ("train", "test", "quarantined")} == {"train": 0, "test": 0, "quarantined": 0}


def test_rows_of_one_label_that_mean_the_same_are_one_group_where_that_is_asked_for(house: House) -> None:
    pytest.importorskip("gguf", reason="the embedded model is not installed")
    house(split={"test_share": 0.5, "semantic": 0.95})
    asked = "At which ATMs can I use this card?"
    run([row(1, asked), row(2, "I can use this card at which ATMs?"), row(3, "Can I use at which ATMs this card?", label="blue")])
    run([row(4, "This card I can use at which ATMs?")], night="2026-11-21")
    groups = [example["group_id"] for example in sorted(examples(), key=lambda example: json.loads(example["rows"]))]
    assert groups[0] == groups[1] == groups[3] != groups[2]


def test_a_row_that_an_off_limits_file_holds_goes_to_quarantine_and_is_nobodys_context(house: House) -> None:
    long = "my card was declined at the shop in the harbour this morning although there was money on the account"
    house({"public.csv": f"text,label\n{long},red\n"}, split={"off_limits": ["public.csv"], "context_turns": 1})
    near = long.replace("harbour", "station")
    result = run([row(1, long.upper(), conversation_id="c"), row(2, near), row(3, "and why is that", conversation_id="c", turn=2)])
    assert (result["quarantined"], result["train"] + result["test"]) == (2, 1)
    assert [example["prompt"] for example in examples()] == ["and why is that"]
    assert {found["reason"] for found in refusals()} == {"off_limits"}
    assert all("public.csv:2" in found["detail"] and "harbour" not in found["detail"] for found in refusals())


def test_replies_are_nobodys_message_and_a_conversation_may_be_off_limits_as_a_whole(house: House) -> None:
    whole = "Customer: where is my card\nAgent: Thank you.\nCustomer: and when will it be here"
    barred = "".join(json.dumps({"text": found}) + "\n" for found in ("thank you", whole))
    house({"p.jsonl": barred}, split={"off_limits": ["p.jsonl"], "context_turns": 1, "test_share": 0.0})
    first = row(1, "where is my card", conversation_id="c", reply="Thank you.")
    run([first, row(2, "and when will it be here", conversation_id="c", turn=2), row(3, "and how", conversation_id="c", turn=3)])
    assert [(found["reason"], found["line"]) for found in refusals()] == [("off_limits", 2)]
    night = open_night("small", "local", NIGHT)
    remember(night, "synthesize", {"synthetic": None})
    assert len(choose(night)) == 2


def test_a_new_off_limits_file_splits_the_night_again_and_rows_of_earlier_nights_are_not_trained_on(house: House) -> None:
    house({"public.csv": "text\nsomething else\n"}, split={"off_limits": ["public.csv"], "test_share": 0.0})
    run([row(1, UNSAFE), row(2, "where is my card")])
    house({"public.csv": f"text\n{UNSAFE}\n"}, split={"off_limits": ["public.csv"], "test_share": 0.0})
    run([row(3, "why was my card declined")], night="2026-11-21")
    night = open_night("small", "local", "2026-11-21")
    remember(night, "synthesize", {"synthetic": None})
    assert {found["prompt"] for found in choose(night)} == {"where is my card", "why was my card declined"}
    assert run([row(1, UNSAFE), row(2, "where is my card")])["quarantined"] == 1


def plant(prompt: str, side: str, night: str = NIGHT) -> None:
    """A row that did not come through the step."""
    lake = open_night("small", "local", night).lake
    lake.append("examples", [{"example_id": "planted", "group_id": "g", "prompt": prompt, "split": side, "night": night}])


def test_a_stored_row_on_both_sides_stops_the_night_by_its_ids(house: House) -> None:
    house(split={"test_share": 0.0})
    run([row(1, "where is my new card")])
    plant("Where is my new card?", "test")
    with pytest.raises(NightStopped, match="with planted \\(normalised") as stopped:
        run([row(2, "something else entirely here")], night="2026-11-21")
    there = {example["prompt"]: example["example_id"] for example in examples()}
    assert there["where is my new card"] in str(stopped.value) and "card" not in str(stopped.value)


def test_a_lower_threshold_stops_no_night_and_near_rows_of_before_are_counted(house: House) -> None:
    old = [f"{text} please help me with this one today" for text in texts(40)]
    house(split={"test_share": 0.5, "near_duplicate": 1.0})
    run([row(n, found) for n, found in enumerate([*old, *(f"{found} thanks" for found in old)])])
    house(split={"test_share": 0.5, "near_duplicate": 0.8})
    result = run([row(200, "something else entirely here")], night="2026-11-21")
    assert result["near_before"] > 0
    night = open_night("small", "local", "2026-11-21")
    remember(night, "synthesize", {"synthetic": None})
    assert result["train"] + result["train_before"] - len(choose(night)) > 0
