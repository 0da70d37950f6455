"""Provider batches: nothing is submitted twice, and every question is answered or says why not."""

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.foundation import batch_files, batches, retries
from pipelines.foundation.batches import Batch
from pipelines.foundation.messages import Call, Reply, Request, Usage
from pipelines.foundation.numbered import Numbered
from pipelines.foundation.retries import Failure
from tests.batching_server import KEY_ENV, BatchServer, Fault, once


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)


@pytest.fixture
def store(tmp_path: Path) -> Numbered:
    return Numbered(str(tmp_path / "batches"))


def calls(count: int, word: str = "question") -> list[Call]:
    return [
        Call(f"{word}-{number}", Request("be kind", f"{word} {number}", 16, schema={"type": "string"}, item=f"row {number}"))
        for number in range(count)
    ]


def collected(server: BatchServer, store: Numbered, batch: Batch, **settings: object) -> dict[str, Reply]:
    """The replies by key, after as many looks as it takes."""
    for _ in range(20):
        if (found := batches.collect(server.endpoint(**settings), store, batch)) is not None:
            replies = list(found)
            assert len(replies) == len({answered.key for answered in replies})
            return {answered.key: answered.reply for answered in replies}
    raise AssertionError("the batch never ended")


def test_a_batch_runs_and_then_answers_every_question_at_half_the_price(store: Numbered) -> None:
    with BatchServer(polls=1) as server:
        batch = batches.submit(server.endpoint(batch_hours=12), store, calls(5))
        assert batches.collect(server.endpoint(), store, batch) is None
        assert batches.open_batches(store, server.endpoint()) == [batch]
        assert batch.requests["question-3"] == Request("", "", 16, schema={"type": "string"}, item="row 3")
        replies = collected(server, store, batch)
    assert replies["question-3"] == Reply("re: question 3", None, Usage(2, 3))
    assert set(replies) == set(server.billed) == {call.key for call in calls(5)} and sum(server.billed.values()) == 2.5
    assert server.batches[batch.id]["completion_window"] == "12h"


def test_a_batch_is_open_until_it_is_closed_and_stays_closed(store: Numbered) -> None:
    with BatchServer(polls=0) as server:
        endpoint = server.endpoint()
        batch, other = batches.submit(endpoint, store, calls(2)), batches.submit(endpoint, store, calls(2, "other"))
        collected(server, store, batch)
        assert batches.open_batches(store, endpoint) == [batch, other]
        batches.close(store, batch)
        batches.close(store, batch)
        assert batches.open_batches(store, endpoint) == [other]
        assert batches.open_batches(store, server.endpoint(model="another")) == []


def test_the_line_of_a_question_is_what_the_chat_would_send(store: Numbered) -> None:
    schema = {"type": "object"}
    with BatchServer() as server:
        batches.submit(server.endpoint(structured=True), store, [Call("k", Request("s", "half \ud83d pair", 9, 0.5, 7, schema=schema))])
        [line] = [json.loads(line) for line in server.files["file-0"].splitlines()]
    assert (line["custom_id"], line["method"], line["url"]) == ("k", "POST", "/v1/chat/completions")
    body = line["body"]
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("test-model", 9, 0.5, 7)
    assert body["response_format"]["json_schema"]["schema"] == schema


def test_a_process_killed_before_it_recorded_a_batch_finds_it_again(store: Numbered, tmp_path: Path) -> None:
    lost = Numbered(str(tmp_path / "never-written"))
    with BatchServer() as server:
        first = batches.submit(server.endpoint(), lost, calls(3))
        for _ in range(205):  # the one that we look for is on the third page
            server.create({"input_file_id": "file-0"})
        again = batches.submit(server.endpoint(), store, list(reversed(calls(3))))
        assert again.id == first.id and len(server.batches) == 206
        assert collected(server, store, again)["question-2"].text == "re: question 2"


def test_what_was_submitted_already_is_not_even_asked_about(store: Numbered) -> None:
    with BatchServer() as server:
        first = batches.submit(server.endpoint(), store, calls(3))
        before = len(server.seen)
        assert batches.submit(server.endpoint(), store, calls(3)) == first and len(server.seen) == before


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_dead_batch_and_a_collected_one_are_not_adopted(store: Numbered, tmp_path: Path, end: str) -> None:
    with BatchServer(polls=0, end=end) as server:
        batch = batches.submit(server.endpoint(), store, calls(1))
        assert collected(server, store, batch)["question-0"].word == "batch_failed"
        batches.close(store, batch)
        assert batches.submit(server.endpoint(), store, calls(1)).id != batch.id
        assert batches.submit(server.endpoint(), Numbered(str(tmp_path / "elsewhere")), calls(1)).id != batch.id


@pytest.mark.parametrize("fault", [Fault(status=500, after=True), Fault(hang=True, after=True)])
def test_a_creation_whose_answer_got_lost_is_not_repeated(store: Numbered, fault: Fault) -> None:
    with BatchServer(polls=0, fault=once("POST batches", fault)) as server:
        batch = batches.submit(server.endpoint(timeout_seconds=0.3), store, calls(4))
        assert list(server.batches) == [batch.id]
        assert len(collected(server, store, batch)) == 4 and sum(server.billed.values()) == 2


def test_two_processes_that_submit_the_same_at_once_pay_once(tmp_path: Path) -> None:
    found: list[Batch] = []

    def submit(store: Numbered) -> None:
        found.append(batches.submit(server.endpoint(), store, calls(4)))

    with BatchServer() as server:
        threads = [threading.Thread(target=submit, args=(Numbered(str(tmp_path / "lake")),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [stays] = {batch.id for batch in found}
        assert server.living() == [stays]
        opened = batches.open_batches(Numbered(str(tmp_path / "lake")), server.endpoint())
        assert [batch.id for batch in opened] == [stays]
        batches.close(Numbered(str(tmp_path / "lake")), opened[0])
        assert batches.open_batches(Numbered(str(tmp_path / "lake")), server.endpoint()) == []


@pytest.mark.parametrize("what", ["POST files", "POST batches", "GET batches", "GET batch", "GET content"])
@pytest.mark.parametrize("fault", [Fault(status=429, retry_after="0"), Fault(status=503), Fault(cut=True)])
def test_two_bad_answers_in_a_row_change_nothing(store: Numbered, what: str, fault: Fault) -> None:
    with BatchServer(polls=0, fault=once(what, fault, 2)) as server:
        batch = batches.submit(server.endpoint(), store, calls(6))
        replies = collected(server, store, batch)
    assert all(reply.text for reply in replies.values()) and len(replies) == 6
    assert sum(server.billed.values()) == 3 and len(server.living()) == 1


def test_half_of_an_expired_batch_is_kept_and_the_rest_may_be_asked_again(store: Numbered) -> None:
    with BatchServer(polls=0, end="expired") as server:
        replies = collected(server, store, batches.submit(server.endpoint(), store, calls(6)))
    answered = [key for key, reply in replies.items() if reply.text]
    assert len(answered) == 3 and set(answered) == set(server.billed)
    assert all(reply.error.startswith("batch_failed: batch_expired") for key, reply in replies.items() if key not in answered)
    assert not any(reply.unsure for reply in replies.values())


def test_a_batch_that_fails_its_validation_says_why(store: Numbered) -> None:
    with BatchServer(polls=0, end="failed") as server:
        replies = collected(server, store, batches.submit(server.endpoint(), store, calls(2)))
    assert {reply.error for reply in replies.values()} == {"batch_failed: the batch failed, line 1 is no request"}


def test_lost_broken_strange_and_endless_lines_cost_only_their_own_questions(
    store: Numbered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(lines: list[str]) -> list[str]:
        strange = lines[0].replace("question-5", "question-99")
        return [lines[0], strange, lines[0], "[" * 5_000, '{"custom_id": 7}', "x" * 5_000, lines[1][:40], "", *lines[3:]]

    caplog.set_level(logging.WARNING, "pipelines")
    monkeypatch.setattr(batch_files, "LONGEST_LINE", 1_000)
    with BatchServer(polls=0, spoil=spoil) as server:
        replies = collected(server, store, batches.submit(server.endpoint(), store, calls(6)))
    assert sorted(key for key, reply in replies.items() if not reply.text) == ["question-3", "question-4"]
    assert replies["question-3"].word == "batch_failed" and replies["question-3"].unsure == 1  # it was paid for
    assert "2 questions without a line, 6 lines that are unreadable, repeated or for no question of it" in caplog.text


@pytest.mark.parametrize(("status", "word"), [(400, "refused"), (429, "rate_limited"), (500, "server_error")])
def test_an_http_error_of_one_line_is_that_of_the_chat(store: Numbered, status: int, word: str) -> None:
    with BatchServer(polls=0, status=lambda prompt: status if prompt.endswith("1") else 200) as server:
        replies = collected(server, store, batches.submit(server.endpoint(), store, calls(3)))
    assert replies["question-1"].word == word and "this question is refused" in replies["question-1"].error
    assert replies["question-0"].text and replies["question-2"].text


def test_answers_that_the_provider_has_deleted_may_be_asked_again(store: Numbered) -> None:
    with BatchServer(polls=0) as server:
        batch = batches.submit(server.endpoint(), store, calls(2))
        collected(server, store, batch)
        server.files.clear()
        assert {reply.word for reply in collected(server, store, batch).values()} == {"batch_failed"}
        server.batches.clear()
        assert {reply.word for reply in collected(server, store, batch).values()} == {"batch_failed"}


def test_a_provider_that_is_away_loses_nothing(store: Numbered) -> None:
    with BatchServer(polls=0) as server:
        endpoint = server.endpoint(attempts=2)
        batch = batches.submit(endpoint, store, calls(2))
    with pytest.raises(Failure, match="connection"):
        batches.collect(endpoint, store, batch)
    assert batches.open_batches(store, endpoint) == [batch]


def test_the_key_is_sent_and_never_repeated(store: Numbered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pipelines")
    with BatchServer(polls=0, key="sk-right") as server:
        with pytest.raises(UserError, match=KEY_ENV):
            batches.submit(server.endpoint(), store, calls(1))
        monkeypatch.setenv(KEY_ENV, "sk-wrong")
        with pytest.raises(Failure) as refused:
            batches.submit(server.endpoint(), store, calls(1))
        monkeypatch.setenv(KEY_ENV, "sk-right")
        assert collected(server, store, batches.submit(server.endpoint(), store, calls(1)))["question-0"].text
    assert refused.value.word == "denied" and "[key]" in str(refused.value) and "sk-" not in str(refused.value) + caplog.text


def test_parts_fit_the_providers_limits(store: Numbered, monkeypatch: pytest.MonkeyPatch) -> None:
    with BatchServer() as server:
        batches.submit(server.endpoint(), store, calls(1))
        length = len(server.files["file-0"])
        monkeypatch.setattr(batches, "MOST_CALLS", 4)
        assert [len(part) for part in batches.parts(server.endpoint(), iter(calls(10)))] == [4, 4, 2]
        monkeypatch.setattr(batches, "MOST_BYTES", 2 * length)
        assert [len(part) for part in batches.parts(server.endpoint(), calls(5))] == [2, 2, 1]
        assert list(batches.parts(server.endpoint(), [])) == []


def test_looking_says_how_far_a_batch_is(store: Numbered) -> None:
    with BatchServer(polls=1) as server:
        batch = batches.submit(server.endpoint(), store, calls(3))
        said = list(_looks(server, batch.id))
    assert [one.text for one in said] == [
        "validating, 0 of 3 answered",
        "in_progress, 0 of 3 answered",
        "finalizing, 0 of 3 answered",
        "completed, 3 of 3 answered",
    ]
    assert [one.ended for one in said] == [False, False, False, True]


def _looks(server: BatchServer, batch: str) -> Iterator[batches.Standing]:
    while True:
        standing = batches.look(server.endpoint(), batch)
        yield standing
        if standing.ended:
            return
