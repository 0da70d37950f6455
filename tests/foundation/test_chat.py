"""What a completion says: a text, what it cost and how sure it was, or why it is none; whatever a server writes."""

import pytest

from pipelines.foundation.messages import Reply, Request, Usage
from tests.asking import asked, completion, questions
from tests.servers import ChatServer, always

SCHEMA = {"type": "object", "properties": {"winner": {"enum": ["A", "B"]}}, "required": ["winner"], "additionalProperties": False}


def test_settings_of_a_request_reach_the_server() -> None:
    with ChatServer() as chat:
        asked(chat.endpoint(logprobs=True), [Request("sys", "ask", 7, temperature=0.5, seed=3, schema=SCHEMA)])
    assert chat.calls[0].body == {
        "model": "test-model",
        "messages": [{"role": "system", "content": "sys"}, {"role": "user", "content": "ask"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 3,
        "logprobs": True,
    }


def test_a_request_that_the_server_refuses_is_not_tried_again() -> None:
    with ChatServer() as chat:
        replies = asked(chat.endpoint(), [*questions(1), Request("", "", 5), *questions(1)])
    assert [reply.word for reply in replies] == ["", "refused", ""] and replies[1].unsure == 0
    assert "must not be empty" in str(replies[1].error)


def test_a_request_that_cannot_be_written_loses_no_other() -> None:
    with ChatServer() as chat:
        replies = asked(chat.endpoint(), [Request("", "hot", 5, temperature=float("nan")), *questions(1)])
    assert [reply.word for reply in replies] == ["refused", ""] and len(chat.calls) == 1


def test_a_reply_without_text_is_not_paid_twice() -> None:
    with ChatServer(always(completion(None, {"prompt_tokens": 7, "completion_tokens": 0}))) as chat:
        [reply] = asked(chat.endpoint(), questions(1))
    assert (reply.word, reply.usage, reply.unsure, chat.billed) == ("no_text", Usage(7, 0), 0, 1)


@pytest.mark.parametrize(
    ("text", "word"),
    [('{"winner": "A"}', ""), ('{"winner": "C"}', "wrong_schema"), ("A wins", "wrong_schema"), ('{"winner": "A", "x": 1}', "wrong_schema")],
)
def test_an_answer_against_its_schema_is_an_error_that_was_paid_for_once(text: str, word: str) -> None:
    with ChatServer(always(completion(text, {"prompt_tokens": 7, "completion_tokens": 5}))) as chat:
        [held, free] = asked(chat.endpoint(structured=True), [Request("", "ask", 16, schema=SCHEMA), *questions(1)])
    assert (held.word, held.usage, held.unsure) == (word, Usage(7, 5), 0)
    assert free.text == text and len(chat.calls) == 2


def test_an_answer_that_ends_too_early_for_its_schema_says_so() -> None:
    with ChatServer(always(completion('{"winner": ', finish_reason="length"))) as chat:
        [reply] = asked(chat.endpoint(structured=True), [Request("", "ask", 16, schema=SCHEMA)])
    assert "cut at max_tokens" in str(reply.error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt_tokens": -1},
        {"prompt_tokens": "12"},
        {"prompt_tokens": 1.5},
        {"prompt_tokens": True},
        {"prompt_tokens": 10**12},
        {"completion_tokens": 17},
        {"completion_tokens": None},
        {"total_tokens": 12},
        {"prompt_tokens_details": {"cached_tokens": 9}},
    ],
    ids=str,
)
def test_counts_that_cannot_be_are_asked_for_again_where_that_is_free_and_else_left_out(wrong: dict) -> None:
    usage = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 4}}
    with ChatServer(lambda call: completion("text", usage | (wrong if call.attempt == 0 else {}))) as chat:
        assert asked(chat.endpoint(idempotent=True), questions(1)) == [Reply("text", None, Usage(8, 3, 4))]
        assert len(chat.calls) == 2
    with ChatServer(always(completion("text", usage | wrong))) as chat:
        assert asked(chat.endpoint(), questions(1)) == [Reply("text", None, None)]


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_server_that_counts_nothing_is_believed(idempotent: bool) -> None:
    with ChatServer(always(completion("text"))) as chat:
        assert asked(chat.endpoint(idempotent=idempotent), questions(1)) == [Reply("text", None, None)]
    assert len(chat.calls) == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([{"logprob": -0.5}, {"logprob": 0}], (-0.5, 0.0)),
        ([], ()),
        ([{"logprob": 1}], None),
        ([{"logprob": "x"}], None),
        ([{}], None),
        (None, None),
    ],
)
def test_log_probabilities_are_read_where_they_can_be(written: list | None, expected: tuple | None) -> None:
    with ChatServer(always(completion("text", logprobs={"content": written}))) as chat:
        assert asked(chat.endpoint(logprobs=True), questions(1))[0].logprobs == expected
        assert asked(chat.endpoint(), questions(1))[0].logprobs is None


def test_text_of_a_careless_server_is_made_safe() -> None:
    with ChatServer(always(completion("half \ud83d a pair"))) as chat:
        assert asked(chat.endpoint(), questions(1)) == [Reply("half ? a pair", None)]
