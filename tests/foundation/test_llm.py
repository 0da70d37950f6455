"""The door: every request is answered or says why not, in order, over real sockets."""

import datetime
import email.utils
import json
import logging
import socket
import time
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.foundation import embedded, llm
from pipelines.foundation.llm import Reply, Request
from pipelines.sections import Endpoint
from tests.servers import ChatServer, Fault, always, first

HOME = Path("unused")


def questions(count: int) -> list[Request]:
    return [Request("Be brief.", f"question {number}", 16) for number in range(count)]


def answers(count: int) -> list[Reply]:
    return [Reply(f"re: question {number}", None, 4, 3) for number in range(count)]


def word(reply: Reply) -> str:
    return (reply.error or "").partition(":")[0]


def test_order_is_kept_and_no_more_than_in_flight_are_under_way() -> None:
    backwards = lambda call: Fault("slow", seconds=0.05 - 0.001 * call.number)  # noqa: E731
    with ChatServer(backwards) as server:
        assert llm.ask(server.endpoint(in_flight=4), HOME, questions(40)) == answers(40)
    assert server.most_in_flight == 4
    assert server.connections <= 4
    assert server.billed == 40


def test_settings_of_a_request_reach_the_server() -> None:
    with ChatServer() as server:
        llm.ask(server.endpoint(), HOME, [Request("sys", "ask", 7, temperature=0.5, seed=3)])
    assert server.calls[0].body == {
        "model": "test-model",
        "messages": [{"role": "system", "content": "sys"}, {"role": "user", "content": "ask"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("fault", "paid_again"),
    [
        (Fault("status", status=429), False),
        (Fault("status", status=500), False),
        (Fault("status", status=503, retry_after="0"), False),
        (Fault("hang"), False),
        (Fault("slow", seconds=2), True),
        (Fault("drip", seconds=0.02), True),
        (Fault("cut"), True),
        (Fault("body", body="{not json"), True),
        (Fault("body", body="[" * 200_000), True),
        (Fault("body", body='{"choices": []}'), True),
        (Fault("body", body='{"choices": [{"message": "text"}]}'), True),
        (Fault("body", body='{"choices": [{"message": {"content": ["text"]}}]}'), True),
        (Fault("body", body="null"), True),
    ],
    ids=lambda value: f"{value.kind}-{value.status}-{value.body[:12]}" if isinstance(value, Fault) else "",
)
def test_a_fault_that_passes_is_tried_again_and_costs_no_more_than_the_tries(fault: Fault, paid_again: bool) -> None:
    with ChatServer(first(1, fault)) as server:
        assert llm.ask(server.endpoint(timeout_seconds=0.6, in_flight=3), HOME, questions(3)) == answers(3)
    assert len(server.calls) == 6
    assert server.billed == (6 if paid_again else 3)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("status", status=429), "rate_limited"),
        (Fault("status", status=500), "server_error"),
        (Fault("hang"), "timeout"),
        (Fault("drip", seconds=0.02), "timeout"),
        (Fault("cut"), "connection"),
        (Fault("body", body="<html>"), "malformed"),
        (Fault("body", body='{"error": "overloaded"}'), "malformed"),
        (Fault("body", body="x" * 9_000_000), "malformed"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else value,
)
def test_a_fault_that_stays_is_an_error_of_its_own_request_alone(fault: Fault, expected: str) -> None:
    with ChatServer(lambda call: fault if call.prompt == "question 1" else None) as server:
        replies = llm.ask(server.endpoint(attempts=2, timeout_seconds=0.6), HOME, questions(4))
    assert [word(reply) for reply in replies] == ["", expected, "", ""]
    assert len(replies[1].error) > len(expected) + 10
    assert len(server.calls) == 4 + 1


def test_a_request_that_the_server_refuses_is_not_tried_again() -> None:
    with ChatServer() as server:
        replies = llm.ask(server.endpoint(), HOME, [*questions(1), Request("", "", 5), *questions(1)])
    assert [word(reply) for reply in replies] == ["", "refused", ""]
    assert "must not be empty" in replies[1].error


def test_a_reply_without_text_is_not_paid_twice() -> None:
    nothing = Fault("body", body='{"choices": [{"message": {"content": null, "refusal": "no"}}]}')
    with ChatServer(always(nothing)) as server:
        assert word(llm.ask(server.endpoint(), HOME, questions(1))[0]) == "no_text"
    assert server.billed == 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_waited_for(status: int) -> None:
    with ChatServer(first(1, Fault("status", status=status, retry_after="1"))) as server:
        started = time.monotonic()
        assert llm.ask(server.endpoint(), HOME, questions(2)) == answers(2)
    assert 1 <= time.monotonic() - started < 3


def test_retry_after_as_a_date_is_waited_for() -> None:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    with ChatServer(first(1, Fault("status", status=429, retry_after=email.utils.format_datetime(at, usegmt=True)))) as server:
        assert llm.ask(server.endpoint(), HOME, questions(1)) == answers(1)
    assert datetime.datetime.now(datetime.UTC) >= at.replace(microsecond=0)


def test_a_server_that_asks_for_an_hour_is_not_waited_for() -> None:
    with ChatServer(always(Fault("status", status=429, retry_after="3600"))) as server:
        started = time.monotonic()
        assert word(llm.ask(server.endpoint(), HOME, questions(1))[0]) == "rate_limited"
    assert time.monotonic() - started < 2
    assert len(server.calls) == 1


@pytest.mark.parametrize("nonsense", ["soon", "-5", "Fri, 99 Nov 2026 00:00:00 GMT", "1e9"])
def test_a_retry_after_that_says_nothing_is_not_believed(nonsense: str) -> None:
    with ChatServer(first(1, Fault("status", status=429, retry_after=nonsense))) as server:
        assert llm.ask(server.endpoint(), HOME, questions(1)) == answers(1)


def test_a_server_that_stays_broken_is_given_up_and_every_request_says_why() -> None:
    with ChatServer(always(Fault("status", status=500))) as server:
        replies = llm.ask(server.endpoint(in_flight=2, attempts=2), HOME, questions(50))
    assert {word(reply) for reply in replies} == {"server_error", "circuit_open"}
    assert len(server.calls) <= 2 * (llm.FAILURES + 1)
    assert "HTTP 500" in replies[-1].error


def test_requests_refused_for_their_own_sake_do_not_open_the_circuit() -> None:
    with ChatServer() as server:
        replies = llm.ask(server.endpoint(in_flight=1), HOME, [Request("", "", 5)] * 20 + questions(3))
    assert replies[-3:] == answers(3)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/v1", "", "localhost:9/v1", "ftp://127.0.0.1/v1", "http://[::1/v1", "http:///v1"])
def test_no_server_is_an_error_of_each_request(url: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = Endpoint(kind="openai", url=url.format(port=free.getsockname()[1]), model="m", attempts=1)
        replies = llm.ask(endpoint, HOME, questions(3))
    assert {word(reply) for reply in replies} <= {"connection", "bad_url"}


def test_the_key_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for key in ("right-key", "wrong-key"):
        monkeypatch.setenv("TEST_KEY", key)
        with ChatServer(key="right-key") as server:
            replies = llm.ask(server.endpoint(key_env="TEST_KEY"), HOME, questions(1))
        assert word(replies[0]) == ("" if key == "right-key" else "refused")
        assert key not in caplog.text + str(replies)
    assert "[key]" in replies[0].error


@pytest.mark.parametrize("key", ["", "  ", "two\nlines", "schlüssel"])
def test_a_key_that_is_missing_or_broken_is_the_user_s_to_mend(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(UserError, match="TEST_KEY.*key_env") as error:
        llm.ask(Endpoint(kind="openai", url="http://u:secret@127.0.0.1/v1", model="m", key_env="TEST_KEY"), HOME, questions(1))
    assert "secret" not in str(error.value)
    assert not key.strip() or key not in str(error.value)


def test_a_redirect_is_not_followed_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "right-key")
    with ChatServer(always(Fault("redirect")), key="right-key") as server:
        assert word(llm.ask(server.endpoint(key_env="TEST_KEY"), HOME, questions(1))[0]) == "refused"
    assert len(server.calls) == 1


def test_text_and_counts_of_a_careless_server_are_made_safe() -> None:
    body = {"choices": [{"message": {"content": "half \ud83d a pair"}}], "usage": {"prompt_tokens": "12", "completion_tokens": -3}}
    with ChatServer(always(Fault("body", body=json.dumps(body)))) as server:
        assert llm.ask(server.endpoint(), HOME, questions(1)) == [Reply("half ? a pair", None, 0, 0)]


def test_no_requests_need_no_server_and_no_model() -> None:
    assert llm.ask(Endpoint(), HOME, []) == []


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


def test_the_embedded_model_answers_in_order_whatever_the_settings_of_each_request(small_home: Path) -> None:
    choices = [("red", "blue"), None, ("yes", "no")]
    asked = [Request("", f"ask {number}", 8, choices=choices[number % 3]) for number in range(9)]
    replies = llm.ask(Endpoint(), small_home, asked)
    assert not [reply.error for reply in replies if reply.error]
    assert all(reply.text.split("\n")[0] in request.choices for request, reply in zip(asked, replies, strict=True) if request.choices)
    assert replies[3] == llm.ask(Endpoint(), small_home, [asked[3]])[0]


def test_a_prompt_that_the_embedded_model_cannot_hold_loses_no_other(small_home: Path) -> None:
    asked = [Request("", "short", 4), Request("", "long " * 50, 4), Request("", "half \ud83d a pair", 4)]
    assert [word(reply) for reply in llm.ask(Endpoint(), small_home, asked)] == ["", "too_long", ""]
