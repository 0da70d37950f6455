"""The door: nothing is asked twice, nothing is spent beyond a cap, and the book says what the server billed."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.__main__ import main
from pipelines.errors import UserError, Waiting
from pipelines.foundation import embedded, llm, memo
from pipelines.foundation.lake import Lake
from pipelines.foundation.llm import LOOKUP, WINDOW
from pipelines.foundation.messages import Reply, Request
from pipelines.foundation.spend import Book
from pipelines.foundation.step import Night, open_night, step
from pipelines.foundation.tab import Tab
from pipelines.sections import Keeping
from tests.batching_server import BatchServer
from tests.servers import MODEL, Call, ChatServer, Fault, always, echo

if TYPE_CHECKING:
    from botocore.client import BaseClient

House = Callable[..., Path]
PRICES = {MODEL: {"input": 2, "output": 10}}
CALL = Decimal("0.000038")  # of one question below: 4 tokens read and 3 written
NIGHT = "2026-11-20"


@pytest.fixture
def opened(house: House) -> Callable[..., Night]:
    """`opened(server, budget, **endpoint)`: a night whose endpoint `large` is the server."""

    def write(server: ChatServer, budget: dict | None = None, prices: dict | None = PRICES, **endpoint: object) -> Night:
        endpoints = {"large": server.endpoint(**endpoint).model_dump()}
        house(profile={"endpoints": endpoints, "prices": prices or {}}, budget=budget or {})
        return open_night("small", "local", NIGHT, "evaluate")

    return write


def questions(count: int, start: int = 0) -> list[Request]:
    return [Request("Be brief.", f"question {number}", 16) for number in range(start, start + count)]


def asked(night: Night, requests: list[Request]) -> list[Reply]:
    """Replies in the order of the requests."""
    return [reply for _, reply in sorted(llm.ask(night, "large", requests))]


def words(replies: list[Reply]) -> list[str]:
    return [reply.word for reply in replies]


def balance(night: Night) -> tuple[Decimal, int]:
    """Dollars in the book, and calls whose money is still reserved."""
    found = Book(night.lake).balance
    return sum((line.dollars + line.unsure for line in found.lines.values()), Decimal(0)), len(found.open)


def test_what_was_asked_before_is_not_asked_again_by_anybody(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        first = asked(opened(server), questions(10))
        again = opened(server)
        assert asked(again, questions(12))[:10] == first
    assert server.billed == 12 and (again.tab.calls, again.tab.reused) == (2, 10)
    assert balance(again) == (12 * CALL, 0)


def test_the_same_question_twice_in_one_round_is_paid_for_once(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        night = opened(server)
        replies = asked(night, questions(3) * 2 + questions(300) + questions(3))
    assert replies[:3] == replies[3:6] == replies[-3:] and server.billed == 300


@pytest.mark.parametrize(
    "other", [{"prompt": "x"}, {"system": "x"}, {"max_new_tokens": 7}, {"temperature": 0.1}, {"seed": 1}, {"occasion": "again"}]
)
def test_whatever_the_answer_depends_on_makes_it_another_question(opened: Callable[..., Night], other: dict) -> None:
    with ChatServer() as server:
        asked(opened(server), [*questions(1), questions(1)[0]._replace(**other), questions(1)[0]._replace(item="another row")])
    assert server.billed == 2


def test_a_call_that_failed_is_asked_again_and_costs_nothing(opened: Callable[..., Night]) -> None:
    with ChatServer(fault=always(Fault("status", status=429))) as server:
        night = opened(server, attempts=1, in_flight=1)
        assert set(words(asked(night, questions(3)))) == {"rate_limited"}
        assert night.tab.partial == {"rate_limited": 3} and balance(night) == (0, 0)
        server.fault = lambda call: None
        assert words(asked(night, questions(3))) == [""] * 3


def test_a_cap_stops_cleanly_keeps_what_is_there_and_the_rest_follows_when_it_is_raised(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        night = opened(server, {"night": str(100 * CALL)})
        replies = asked(night, questions(400))
        done = words(replies).count("")
        assert 80 <= done <= 100 and words(replies).count("over_budget") == 400 - done == night.tab.partial["over_budget"]
        assert "budget.night of 0.0038 dollars would be passed" in next(reply.error for reply in replies if reply.error)
        assert balance(night) == (done * CALL, 0) and server.billed == done
        raised = opened(server, {"night": "1"})
        assert words(asked(raised, questions(400))) == [""] * 400
    assert server.billed == 400 and balance(raised) == (400 * CALL, 0)


def test_a_call_that_may_cost_more_than_one_call_may_is_never_sent(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        night = opened(server, {"call": "0.001"})
        replies = asked(night, [*questions(1), Request("", "long " * 2_000, 16)])
    assert words(replies) == ["", "over_budget"] and "budget.call is 0.001" in replies[1].error and server.billed == 1


def test_tries_of_which_the_server_told_nothing_are_counted_as_if_they_were_billed(opened: Callable[..., Night]) -> None:
    with ChatServer(fault=always(Fault("cut"))) as server:
        night = opened(server, attempts=2, in_flight=1)
        asked(night, questions(1))
    [line] = Book(night.lake).balance.lines.values()
    assert server.billed == 2 and line.dollars == 0 and line.unsure >= 2 * CALL


def test_where_a_repeated_key_is_not_billed_the_money_waits_for_the_call_to_come_again(opened: Callable[..., Night]) -> None:
    with ChatServer(fault=always(Fault("cut"))) as server:
        night = opened(server, attempts=1, in_flight=1, idempotent=True)
        asked(night, questions(1))
        assert balance(night) == (0, 1)
        server.fault = lambda call: None
        asked(night, questions(1))
    assert balance(night) == (CALL, 0)


def test_a_reply_that_a_killed_run_kept_and_did_not_settle_is_settled_from_the_memo(
    opened: Callable[..., Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with ChatServer() as server:
        night = opened(server)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr("pipelines.foundation.purse.Purse.settle", die)
            asked(night, questions(5))
        again = opened(server)
        assert balance(again) == (0, 5)
        assert words(asked(again, questions(5))) == [""] * 5
    assert server.billed == 5 and balance(again) == (5 * CALL, 0) and again.tab.calls == 0


def test_questions_are_taken_as_they_are_needed(opened: Callable[..., Night]) -> None:
    taken = itertools.count()
    endless: Iterator[Request] = (Request("", f"question {next(taken)}", 16) for _ in itertools.count())
    with ChatServer() as server:
        replies = llm.ask(opened(server), "large", endless)
        for _ in range(LOOKUP + WINDOW):
            next(replies)
        replies.close()
    assert next(taken) == 2 * LOOKUP


def test_what_was_answered_before_the_caller_stopped_is_kept_and_what_was_never_sent_is_free(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        night = opened(server, in_flight=1)
        replies = llm.ask(night, "large", questions(200))
        heard = [next(replies)[0] for _ in range(20)]
        replies.close()
        assert balance(night)[1] <= 3
        again = opened(server)
        asked(again, [questions(200)[place] for place in heard])
    assert again.tab.calls == 0


def test_on_s3_memo_and_money_are_the_same(opened: Callable[..., Night], s3: "BaseClient") -> None:
    s3.create_bucket(Bucket="memo-and-money")
    with ChatServer() as server:
        for _ in range(2):
            night = opened(server, {"night": "0.01"})
            night = night._replace(lake=Lake("s3://memo-and-money/lake"))
            night = night._replace(tab=Tab(night.lake, night.usecase.budget, NIGHT, "evaluate"))
            assert words(asked(night, questions(30))) == [""] * 30
    assert server.billed == 30 and balance(night) == (30 * CALL, 0) and (night.tab.calls, night.tab.reused) == (0, 30)
    assert memo.measure(night.lake)["calls"]["entries"] == 30 and memo.forget(night.lake, Keeping(max_days=1), 0)["days"] == []


def test_a_model_without_a_price_leaves_no_entry_in_the_book(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        night = opened(server, prices=None)
        asked(night, questions(3))
    assert not Path(night.lake.root, "spend").exists()


def test_an_answer_that_breaks_its_schema_is_paid_for_kept_and_not_asked_again(opened: Callable[..., Night]) -> None:
    schema = {"type": "object", "properties": {"grade": {"type": "integer"}}, "required": ["grade"], "additionalProperties": False}
    request = Request("", "grade this", 16, schema=schema)
    with ChatServer(answer=lambda call: json.dumps({"grade": "five"})) as server:
        for _ in range(2):
            assert words(asked(opened(server, structured=True), [request])) == ["wrong_schema"]
    assert server.billed == 1


def test_a_wrong_key_leaves_the_night_partial_so_that_a_mended_one_is_used(
    opened: Callable[..., Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARGE_KEY", "wrong")
    with ChatServer(key="right") as server:
        night = opened(server, key_env="LARGE_KEY")
        assert words(asked(night, questions(1))) == ["denied"] and night.tab.partial == {"denied": 1}
        monkeypatch.setenv("LARGE_KEY", "right")
        assert words(asked(night, questions(1))) == [""]


def test_an_endpoint_that_is_not_there_is_an_error_of_each_request(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        night = opened(server)
        assert [reply.word for _, reply in llm.ask(night, "small", questions(2))] == ["no_endpoint"] * 2


def test_a_missing_key_is_the_user_s_to_mend_and_reserves_nothing(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        night = opened(server, key_env="NO_SUCH_KEY")
        with pytest.raises(UserError, match="NO_SUCH_KEY"):
            asked(night, questions(3))
    assert balance(night) == (0, 0)


@pytest.fixture
def batched(house: House) -> Callable[..., None]:
    """The endpoint `large` is a provider of batches."""

    def write(server: BatchServer, budget: dict | None = None) -> None:
        house(profile={"endpoints": {"large": server.settings()}, "prices": PRICES}, budget=budget or {})

    return write


def waited_for() -> dict:
    """The step's result, run again as often as it waits."""
    while True:
        with contextlib.suppress(Waiting):
            return ingest("small", "local", NIGHT)


def test_a_batch_is_waited_for_without_being_paid_twice_and_its_answers_cost_half(batched: Callable[..., None]) -> None:
    with BatchServer(polls=2) as server:
        batched(server)
        for _ in range(2):
            with pytest.raises(Waiting) as waiting:
                ingest("small", "local", NIGHT)
        assert [batch["endpoint"] for batch in waiting.value.batches] == ["large"]
        done = waited_for()
        assert len(done["texts"]) == 60 and done["model_calls"] == 60 and len(server.billed) == 60 and len(server.batches) == 1
        assert ingest("small", "local", NIGHT)["memo"]
        night = open_night("small", "local", NIGHT)
    [line] = Book(night.lake).balance.lines.values()
    usage = line.prompt * PRICES[MODEL]["input"] + line.completion * PRICES[MODEL]["output"]
    assert balance(night) == (Decimal(usage) / 2_000_000, 0) and line.calls == 60


def test_on_the_command_line_a_batch_is_no_error_but_an_exit_code_of_its_own(
    batched: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.data.ingest.ingest", ingest)
    with BatchServer(polls=1) as server:
        batched(server)
        assert main(["ingest", "--usecase", "small", "--night", NIGHT]) == 3
        assert "ingest waits for batch_0: run it again" in capsys.readouterr().err
        waited_for()
        assert main(["ingest", "--usecase", "small", "--night", NIGHT]) == 0


@pytest.mark.parametrize("end", ["expired", "failed"])
def test_what_a_batch_did_not_answer_goes_into_another_one(batched: Callable[..., None], end: str) -> None:
    with BatchServer(polls=1, end=end) as server:
        batched(server)
        with pytest.raises(Waiting):
            ingest("small", "local", NIGHT)
        while len(server.batches) == 1:
            with pytest.raises(Waiting):
                ingest("small", "local", NIGHT)
        server.end = "completed"
        done = waited_for()
        assert len(done["texts"]) == 60 and len(server.batches) == 2 and set(server.billed.values()) == {0.5}
    assert balance(open_night("small", "local", NIGHT))[1] == 0


def test_answers_of_a_batch_that_nobody_asks_for_any_more_are_kept_and_settled(batched: Callable[..., None]) -> None:
    with BatchServer(polls=1) as server:
        batched(server)
        night = open_night("small", "local", NIGHT, "evaluate")
        assert words(asked(night, questions(5))) == ["waiting"] * 5
        for _ in range(4):
            server.step("batch_0")
        assert words(asked(night, questions(3, start=100))) == ["waiting"] * 3
        assert balance(night)[1] == 3
        for _ in range(5):
            replies = asked(night, [*questions(5), *questions(3, start=100)])
        assert words(replies) == [""] * 8 and balance(night)[1] == 0 and len(server.billed) == 8


def test_a_batch_beyond_the_cap_is_not_submitted_whole(batched: Callable[..., None]) -> None:
    with BatchServer(polls=1) as server:
        batched(server, {"night": "0.0006"})
        done = waited_for()
        dollars, reserved = balance(open_night("small", "local", NIGHT))
        assert 0 < dollars <= Decimal("0.0006") and reserved == 0
        assert done["partial"] == {"over_budget": 60 - len(server.billed)} and len(server.billed) > 20


@step(code=1)
def ingest(night: Night) -> dict:
    """A step that asks."""
    return {"texts": sorted(reply.text or reply.word for _, reply in llm.ask(night, "large", questions(60)))}


def test_a_partial_result_stands_for_the_night_and_the_next_run_asks_for_the_rest_alone(opened: Callable[..., Night]) -> None:
    with ChatServer() as server:
        opened(server, {"night": str(30 * CALL)})
        part = ingest("small", "local", NIGHT)
        assert part["partial"] == {"over_budget": 60 - part["model_calls"]} and Decimal(part["spent"]) == part["model_calls"] * CALL
        assert [alert[:4] for alert in part["alerts"]] == ["50% ", "100%"]
        opened(server, {"night": "1"})
        whole = ingest("small", "local", NIGHT)
        assert (whole["memo"], whole["reused_calls"], "partial" in whole) == (False, part["model_calls"], False)
        assert whole["key"] != part["key"] and ingest("small", "local", NIGHT)["memo"]
    assert server.billed == 60


def test_what_a_hostile_server_writes_comes_back_as_it_was(opened: Callable[..., Night]) -> None:
    hostile = '\'; DROP TABLE calls; -- \u2028\x00 \U0001f4a5 "quoted" \\ back'

    def answer(call: Call) -> str:
        return hostile + echo(call)

    with ChatServer(answer=answer) as server:
        first = asked(opened(server), questions(2))
        assert asked(opened(server), questions(2)) == first and first[0].text == hostile + "re: question 0"


@pytest.fixture(scope="module")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the embedded model's folder holds a tiny model: one token a letter, 120 tokens of context."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    home = tmp_path_factory.mktemp("home")
    raw = Tokenizer(
        models.BPE(vocab={"<end>": 0} | {letter: i + 1 for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<end>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(vocab_size=257, max_position_embeddings=120, eos_token_id=0, pad_token_id=0, bos_token_id=0, **shape)
    LlamaForCausalLM(config).save_pretrained(home / embedded.NAME)
    tokenizer.save_pretrained(home / embedded.NAME)
    return home


@pytest.fixture
def embedded_night(house: House, small_home: Path, tmp_path: Path) -> Night:
    """A night whose embedded model is the tiny one."""
    house()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "models").symlink_to(small_home)
    return open_night("small", "local", NIGHT, "evaluate")


def test_the_embedded_model_answers_whatever_the_settings_of_each_request_and_only_once(embedded_night: Night) -> None:
    choices = [("red", "blue"), None, ("yes", "no")]
    wanted = [Request("", f"ask {number}", 8, choices=choices[number % 3]) for number in range(9)]
    replies = [reply for _, reply in sorted(llm.ask(embedded_night, "embedded", wanted))]
    assert not [reply.error for reply in replies if reply.error]
    assert all(reply.text.split("\n")[0] in request.choices for request, reply in zip(wanted, replies, strict=True) if request.choices)
    assert [reply for _, reply in sorted(llm.ask(embedded_night, "embedded", wanted))] == replies
    assert (embedded_night.tab.calls, embedded_night.tab.reused) == (9, 9)


def test_a_sampled_answer_depends_on_its_own_seed_and_not_on_its_neighbours(embedded_night: Night) -> None:
    wanted = [Request("", "say it", 12, temperature=1.0, seed=seed, occasion=occasion) for occasion in "ab" for seed in (1, 2, 3)]
    replies = [reply.text for _, reply in sorted(llm.ask(embedded_night, "embedded", wanted))]
    assert replies[:3] == replies[3:] and len(set(replies)) == 3


def test_a_prompt_that_the_embedded_model_cannot_hold_loses_no_other(embedded_night: Night) -> None:
    wanted = [Request("", "short", 4), Request("", "long " * 50, 4), Request("", "half \ud83d a pair", 4)]
    assert [reply.word for _, reply in sorted(llm.ask(embedded_night, "embedded", wanted))] == ["", "too_long", ""]


def test_no_requests_need_no_server_and_no_model(house: House) -> None:
    house()
    assert list(llm.ask(open_night("small", "local", NIGHT), "embedded", [])) == []
