"""Synthesis: only train rows have children, what the model writes is filtered hard, and every refusal is counted."""

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.data.synthesis.filters import clean, is_english
from pipelines.data.synthesize import synthesize
from pipelines.errors import UserError
from pipelines.foundation import text
from pipelines.foundation.step import Night, open_night, step
from tests.release.nights import remember
from tests.servers import Call, ChatServer, Fault, always

House = Callable[..., Path]
NIGHT = "2026-11-20"
PROMPT = {"prompts/paraphrase.txt": "About {label}:\n{examples}\nAsk the same in other words."}
RED = [
    f"my {word} card was lost in the {place} and I want to block it" for word in ("red", "old", "new") for place in ("bus", "park", "shop")
]
BLUE = [
    f"why is the {word} app so slow on my {place} since the update"
    for word in ("blue", "bank", "vale")
    for place in ("phone", "tablet", "laptop")
]


def example(number: int, prompt: str, label: str, split: str = "train", **changes: object) -> dict:
    base = {
        "example_id": f"e{number:03}",
        "group_id": f"g{number}",
        "subject_id": f"u{number}",
        "prompt": prompt,
        "response": f"reply {number}",
    }
    return base | {"label": label, "source": "traffic", "split": split, "night": NIGHT, "day": NIGHT, "attributes": "{}"} | changes


ROWS = [example(n, prompt, "red" if prompt in RED else "blue") for n, prompt in enumerate(RED + BLUE)]
SEALED = [example(90, "please block the card that I left on a train", "red", split="test")]


@pytest.fixture
def night(house: House) -> Iterator[Callable[..., dict]]:
    """`night(answer, rows, **synthesis)` runs the step against a server that answers with `answer(call)`."""
    servers: list[ChatServer] = []

    def run(
        answer: Callable[[Call], str],
        rows: list[dict] | None = None,
        fault: Fault | None = None,
        files: dict[str, str] | None = None,
        **synthesis: object,
    ) -> dict:
        server = ChatServer(answer=answer, **({"fault": always(fault)} if fault else {}))
        servers.append(server.__enter__())
        settings = {"rows_per_night": 4, "rare_below": 0, "endpoint": "fake", "prompt": "paraphrase.txt", "min_real_share": 0.5} | synthesis
        endpoints = {"fake": server.endpoint(attempts=1).model_dump()}
        house(PROMPT | (files or {}), profile={"endpoints": endpoints}, synthesis=settings)
        given = [*ROWS, *SEALED] if rows is None else rows

        @step(code=1, extra=lambda _: {"given": [given, server.url]})
        def split(opened: Night) -> dict:
            return {"examples": opened.lake.replace("examples", given, night=NIGHT)}

        split("small", "local", NIGHT)
        return synthesize("small", "local", NIGHT) | {"calls": server.calls}

    yield run
    for server in servers:
        server.__exit__(None, None, None)


def written() -> list[dict]:
    lake = open_night("small", "local", NIGHT).lake
    return lake.read("synthetic", lake.version("synthetic")).to_pylist()


WORDS = [f"{one}{two}" for one in ("am", "bir", "ced", "del", "em") for two in ("ber", "ch", "ta", "ry")]


def sensible(call: Call) -> str:
    """A paraphrase that belongs to the label of the message shown, with other words every time."""
    one, two = WORDS[call.number % 20], WORDS[call.number * 7 % 19]
    if "card" in call.prompt:
        return f'Sure, here is another way:\n"Somebody took my card near {one} {two}, how can I block it and what happens with {two}?"'
    return f"The app became slow in {one} {two} after your update, why does the phone {two} take so long?"


def test_children_take_everything_from_their_parent_but_the_words(night: Callable[..., dict]) -> None:
    result = night(sensible)
    rows = written()
    assert (result["rows"], len(rows), result["model_calls"]) == (4, 4, len(result["calls"]))
    parents = {row["example_id"]: row for row in ROWS}
    for row in rows:
        parent = parents[row["parent_id"]]
        assert [row[key] for key in ("group_id", "label", "response", "split")] == [
            parent[key] for key in ("group_id", "label", "response", "split")
        ]
        assert (row["subject_id"], row["source"], row["model"], row["method"]) == (None, "synthetic", "test-model", "paraphrase")
        assert row["prompt"] != parent["prompt"] and "Sure" not in row["prompt"] and '"' not in row["prompt"]
        assert row["prompt_version"] and row["seed"] is not None
    assert result["tokens"] > 0


def test_test_rows_are_never_shown_to_the_model(night: Callable[..., dict]) -> None:
    result = night(sensible, rows_per_night=9)
    assert not any("left on a train" in call.prompt for call in result["calls"])


def test_labels_with_few_rows_are_filled_first_from_three_rows(night: Callable[..., dict]) -> None:
    rows = [row for row in ROWS if row["label"] == "blue"] + ROWS[:4]
    result = night(sensible, rows=rows, rare_below=6, rows_per_night=2)
    assert {(row["label"], row["method"]) for row in written()} == {("red", "gap_fill")}
    assert result["methods"] == {"gap_fill": 2}
    assert all(sum(red in call.prompt for red in RED) == 3 for call in result["calls"])


REFUSED = [
    ("no_text", lambda call: "  "),
    ("length", lambda call: "block it"),
    ("length", lambda call: "block my card " * 40),
    ("language", lambda call: "ich habe meine Karte verloren und möchte sie sperren lassen bitte"),
    ("meta", lambda call: "As an AI language model I have no card to block"),
    ("meta", lambda call: "Dear customer, your card was blocked and is on its way to you"),
    ("placeholder", lambda call: "please block my card, I am [Your Name] and I lost it"),
    ("placeholder", lambda call: "please block my card, my account is <IBAN> and I lost it"),
    ("personal_data", lambda call: "please block my lost card, I want you to write to john@mail.example"),
    ("test_row", lambda call: "Please block the card that I left on a TRAIN!"),
    ("number", lambda call: "please block the card, I lost it 3 days ago with 50 pounds"),
    ("repetition", lambda call: "I am here and " * 9),
    ("drift", lambda call: "somebody is always running, and when you have a minute take a nap"),
    ("near_copy", lambda call: next(line for line in (RED + BLUE) if line in call.prompt) + "!"),
    (
        "label",
        lambda call: (
            "why is the slow card app on my phone lost since the update, and the tablet app so slow"
            if "card" in call.prompt
            else "my app card was lost in the bus since the update and I want to block my phone card in the park"
        ),
    ),
]


@pytest.mark.parametrize(("reason", "answer"), REFUSED, ids=[f"{reason} {n}" for n, (reason, _) in enumerate(REFUSED)])
def test_what_is_no_good_row_is_refused_for_its_reason(night: Callable[..., dict], reason: str, answer: Callable[[Call], str]) -> None:
    result = night(answer, rows_per_night=2)
    assert (result["rows"], result["rejected"], written() if result["synthetic"] else []) == (0, {reason: result["asked"]}, [])
    assert 2 <= result["asked"] <= 6


def test_an_answer_that_was_cut_is_refused(night: Callable[..., dict]) -> None:
    result = night(lambda call: "please tell me how to block my lost card " * 3 + " ".join(WORDS) * 4, max_words=60)
    assert result["rejected"] == {"length": result["asked"]}


def test_a_message_cannot_fill_the_places_of_the_prompt(night: Callable[..., dict]) -> None:
    rows = [row | {"prompt": f'{row["prompt"]} {{label}}" {{examples}}'} for row in ROWS]
    result = night(sensible, rows=rows, rows_per_night=1)
    assert all(call.prompt.count('{label}\\" {examples}"') == 1 for call in result["calls"])


def test_two_rows_of_the_same_words_are_not_both_taken(night: Callable[..., dict]) -> None:
    result = night(
        lambda call: (
            "how do I block a lost card" if "card" in call.prompt else "why is an app slow since the update of a phone, tablet or laptop"
        )
    )
    assert result["rows"] == 2 and result["rejected"] == {"near_copy": result["asked"] - 2}


def test_the_real_share_of_the_training_rows_is_kept_over_nights(night: Callable[..., dict]) -> None:
    night(sensible, rows_per_night=50, min_real_share=0.9)
    assert len(written()) == 2  # of 18 real rows: 18 / 20
    lake = open_night("small", "local", NIGHT).lake
    lake.replace("synthetic", [row | {"night": "2026-11-19"} for row in written()], night="2026-11-19")
    assert night(sensible, rows_per_night=50, min_real_share=0.9)["rows"] == 0
    assert [row["night"] for row in written()] == ["2026-11-19"] * 2


def test_the_same_night_gives_the_same_rows(night: Callable[..., dict]) -> None:
    def answer(call: Call) -> str:
        return f"{WORDS[len(call.prompt) % 20]} {WORDS[call.body['seed'] % 19]} {call.prompt.split()[-9]} what now, " + (
            "block my lost card" if "card" in call.prompt else "slow app update"
        )

    found = []
    for _ in range(2):
        night(answer)
        found.append(sorted((row["prompt"], row["parent_id"], row["seed"]) for row in written()))
    assert found[0] == found[1]


def test_no_rows_wanted_asks_nothing_and_takes_old_rows_of_the_night_away(night: Callable[..., dict]) -> None:
    assert night(sensible, rows_per_night=0)["synthetic"] is None
    night(sensible)
    result = night(sensible, rows_per_night=0)
    assert (result["rows"], result["model_calls"], written()) == (0, 0, [])


def test_a_night_without_train_rows_asks_nothing(night: Callable[..., dict]) -> None:
    assert night(sensible, rows=SEALED)["model_calls"] == 0


def test_a_message_within_a_conversation_is_not_paraphrased(night: Callable[..., dict]) -> None:
    rows = [row | {"prompt": f"Customer: hello\nCustomer: {row['prompt']}"} for row in ROWS]
    assert night(sensible, rows=rows)["model_calls"] == 0


def test_a_server_that_answers_nothing_stops_the_step_with_its_reason(night: Callable[..., dict]) -> None:
    with pytest.raises(UserError, match="none of 4 requests to the endpoint 'fake' was answered, first: server_error"):
        night(sensible, fault=Fault("status", status=500))


def test_an_unknown_endpoint_names_file_key_and_choices(night: Callable[..., dict]) -> None:
    with pytest.raises(UserError, match=r"small/usecase.yaml: synthesis.endpoint: .*'nowhere'; allowed: fake"):
        night(sensible, endpoint="nowhere")


def test_a_prompt_without_a_place_for_the_messages_is_named(night: Callable[..., dict]) -> None:

    with pytest.raises(UserError, match="synthesis.prompt: no file is named"):
        night(sensible, prompt="")


@pytest.mark.parametrize(
    "written",
    [
        'Sure, here is another version:\n"Where is my card?"',
        "Here's a paraphrase: Where is my card?",
        "“Where is my card?”\n\nI hope this helps.",
        "1. Where is my card?\n2. Has my card been sent?",
        '"Where is my card?',
        "Paraphrase: Where is my card?\nNote: this keeps the meaning",
    ],
)
def test_the_message_is_taken_out_of_what_the_model_wrote(written: str) -> None:
    assert clean(written) == "Where is my card?"


def test_english_is_told_from_other_languages() -> None:
    assert is_english("where is my card, it is late") and is_english("card?")
    assert not is_english("wo ist meine neue Karte heute nur geblieben bitte") and not is_english("где моя карта")


def test_the_accepted_rows_are_apart_from_each_other(night: Callable[..., dict]) -> None:
    night(sensible, rows_per_night=8)
    prompts = [row["prompt"] for row in written()] + [row["prompt"] for row in ROWS + SEALED]
    assert list(text.near_duplicates(prompts, 0.95)) == []


def test_what_the_model_wrote_of_the_safety_set_is_refused(house: House) -> None:
    message = "Somebody took my card near ambertown, how can I block it and what happens with harbour?"
    with ChatServer(answer=lambda call: message) as server:
        house(
            PROMPT | {"safety/p.csv": f'prompt\n"{message}"\n'},
            profile={"endpoints": {"fake": server.endpoint(attempts=1).model_dump()}},
            synthesis={"rows_per_night": 2, "rare_below": 0, "endpoint": "fake", "prompt": "paraphrase.txt", "min_real_share": 0.5},
            safety={"prompts": [{"path": "safety/p.csv"}]},
        )
        remember(
            open_night("small", "local", NIGHT), "split", {"examples": open_night("small", "local", NIGHT).lake.append("examples", ROWS)}
        )
        result = synthesize("small", "local", NIGHT)
    assert result["rows"] == 0
    assert result["rejected"]["safety_set"] > 0


def methods(night: Callable[..., dict], given: dict[str, float], answer: Callable[[Call], str] = sensible, **synthesis: object) -> dict:
    return night(answer, methods=given, rows_per_night=int(sum(given.values())), **synthesis)


def test_every_method_has_its_share_and_every_row_tells_where_it_is_from(night: Callable[..., dict]) -> None:
    result = methods(night, {"paraphrase": 2, "typos": 3, "noise": 1, "casing": 1})
    assert result["methods"] == {"paraphrase": 2, "typos": 3, "noise": 1, "casing": 1}
    ids = {row["example_id"] for row in ROWS}
    for row in written():
        assert row["parent_id"] in ids and row["model"] and row["prompt_version"] and row["seed"] is not None
        assert (row["depth"], row["split"], row["group_id"]) == (1, "train", f"g{int(row['parent_id'][1:])}")
    assert {row["model"] for row in written()} == {"test-model", "augment.typos", "augment.noise", "augment.casing"}


def test_slips_of_the_hand_need_no_model(night: Callable[..., dict]) -> None:
    result = methods(night, {"typos": 3}, prompt="", endpoint="nowhere")
    assert (result["model_calls"], result["rows"], result["asked"]) == (0, 3, 0)


def test_refusals_are_counted_by_method(night: Callable[..., dict]) -> None:
    result = methods(night, {"paraphrase": 1, "typos": 1}, lambda call: "block it")
    assert result["rejected_by_method"] == {"paraphrase": {"length": result["asked"]}} and result["rows"] == 1


def test_a_paraphrase_of_a_paraphrase_has_a_synthetic_parent_and_ends_there(night: Callable[..., dict]) -> None:
    result = methods(night, {"paraphrase": 4, "back_paraphrase": 2})
    rows = {row["example_id"]: row for row in written()}
    second = [row for row in rows.values() if row["method"] == "back_paraphrase"]
    assert result["methods"] == {"paraphrase": 4, "back_paraphrase": 2}
    for row in second:
        parent = rows[row["parent_id"]]
        assert (row["depth"], parent["depth"], row["group_id"], row["label"]) == (2, 1, parent["group_id"], parent["label"])
    assert methods(night, {"back_paraphrase": 2}, max_depth=1)["rows"] == 0


def test_a_row_whose_parent_is_gone_has_no_children(night: Callable[..., dict]) -> None:
    methods(night, {"paraphrase": 2})
    lake = open_night("small", "local", NIGHT).lake
    lake.replace("synthetic", [row | {"night": "2026-11-19", "parent_id": "erased"} for row in written()], night="2026-11-19")
    assert methods(night, {"back_paraphrase": 2})["rows"] == 0


def test_a_persona_is_drawn_from_the_file_of_the_use_case(night: Callable[..., dict]) -> None:
    files = {"prompts/persona.txt": "Written by {persona}: {message}", "prompts/people.txt": "# who\n\nbrief: a sailor of few words\n"}
    settings = {"prompts": {"persona": "persona.txt"}, "personas": "people.txt", "files": files}
    result = methods(night, {"persona": 2}, **settings)
    assert result["rows"] == 2 and all("by a sailor of few words:" in call.prompt for call in result["calls"])
    assert {row["attributes"] for row in written()} == {'{"persona": "brief"}'}
    files["prompts/people.txt"] = "Not a persona"
    with pytest.raises(UserError, match=r"prompts/people.txt, line 1: a persona is written `name: description`"):
        methods(night, {"persona": 2}, **settings)


def test_a_method_that_shows_more_needs_a_prompt_of_its_own(night: Callable[..., dict]) -> None:
    with pytest.raises(UserError, match=r"synthesis.prompt: prompts/paraphrase.txt has no place \{other\} or \{near\}, which"):
        methods(night, {"hard_negative": 1})


HARD = {"prompts/hard.txt": "{message}\nlike {other}:\n{near}"}


def hard(night: Callable[..., dict], answer: Callable[[Call], str]) -> dict:
    return methods(night, {"hard_negative": 2}, answer, prompts={"hard_negative": "hard.txt"}, files=HARD)


def test_a_hard_negative_is_shown_rows_of_the_other_label_and_keeps_its_own(night: Callable[..., dict]) -> None:
    def answer(call: Call) -> str:
        one = WORDS[call.number % 20]
        if "like blue" in call.prompt:
            return f"my card was lost {one} in the bus, block it and the app and the phone"
        return f"why is the app so slow {one} on my phone since the update, is it the card"

    result = hard(night, answer)
    others = {"red": "blue", "blue": "red"}
    assert result["rows"] == 2
    for row in written():
        assert row["attributes"] == f'{{"near": "{others[row["label"]]}"}}' and len(row["shown"].split(",")) == 3
        assert row["shown"].count("e0") == 3 and row["parent_id"] not in row["shown"]


def test_a_hard_negative_that_became_the_other_label_is_refused(night: Callable[..., dict]) -> None:
    result = hard(
        night,
        lambda call: (
            "my card app is slow on my phone, tablet and laptop since the update"
            if "like blue" in call.prompt
            else "I want to block my red card that was lost in the bus, park or shop since the app update"
        ),
    )
    assert result["rows"] == 0 and result["rejected"]["label"] > 0


def test_a_child_takes_the_label_that_a_person_gave_its_parent(night: Callable[..., dict]) -> None:
    rows = [ROWS[0], *ROWS[9:14]]
    night(sensible, rows=rows, rows_per_night=0)
    at = datetime.datetime.now(datetime.UTC)
    answer = {"night": NIGHT, "example_id": "e000", "label": "blue", "was": "red", "by": "ann", "at": at, "source": "error"}
    open_night("small", "local", NIGHT).lake.append("labels", [answer])
    methods(night, {"typos": 6}, rows=rows)
    assert {row["parent_id"] for row in written()} >= {"e000"} and {row["label"] for row in written()} == {"blue"}


def test_numbered_placeholders_are_kept_and_never_invented(night: Callable[..., dict]) -> None:
    rows = [row | {"prompt": f"{row['prompt']} <NAME_2>"} for row in ROWS]
    assert night(lambda call: sensible(call).rstrip('?"') + " <NAME_2>?", rows=rows)["rows"] == 4
    refused = night(lambda call: sensible(call).rstrip('?"') + " <NAME_3>?", rows=rows, seed=1)
    assert refused["rejected"] == {"placeholder": refused["asked"]}


def test_the_report_lies_beside_the_others_and_shows_no_real_row(night: Callable[..., dict]) -> None:
    result = night(lambda call: f"{sensible(call)} <b>now</b>" if call.number else sensible(call))
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert Path(result["report"]).parts[-4:] == ("reports", "small", NIGHT, "synthesis.html")
    assert not any(row["prompt"] in page for row in ROWS) and written()[0]["example_id"] not in page
    assert result["figures"]["balance"]["after"] is not None and "<b>" not in page
