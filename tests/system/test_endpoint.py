"""The endpoint speaks OpenAI's protocol, refuses clearly, and answers those who wait together at once."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from pipelines.system.batching import Answered, Asked, Batcher, Token
from pipelines.system.endpoint import build
from pipelines.system.models import Rendered

URL = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


class Parrot:
    """Says the prompt again; one token a word."""

    usecase = SimpleNamespace(name="small", task=SimpleNamespace(max_new_tokens=8))
    champion_key, champion_version, context = "abc", "3", 50

    def __init__(self) -> None:
        self.batches: list[list[Asked]] = []
        self.free = threading.Event()
        self.free.set()

    def names(self) -> tuple[str, str]:
        return ("champion", "base")

    def render(self, messages: list[tuple[str, str]]) -> Rendered:
        return Rendered(" ".join(content for _, content in messages), ())

    def count(self, prompt: str) -> int:
        return len(prompt.split())

    def answer(self, batch: list[Asked]) -> list[Answered]:
        self.free.wait()
        self.batches.append(batch)
        if batch[0].prompt == "break":
            raise RuntimeError("out of memory")
        return [self.say(asked) for asked in batch]

    def say(self, asked: Asked) -> Answered:
        pieces = tuple(Token(piece, -0.5) for piece in re.findall(r" ?[^ ]+", asked.prompt))
        return Answered(asked.prompt, self.count(asked.prompt), 2, "length", "abc", pieces if asked.logprobs else None)

    def idle(self) -> None:
        """Nothing to look for."""


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def client(parrot: Parrot) -> Iterator[TestClient]:
    batcher = Batcher(parrot)
    yield TestClient(build(parrot, batcher), raise_server_exceptions=False)
    batcher.close()


def test_a_completion_has_the_protocols_form(client: TestClient) -> None:
    found = client.post(URL, json={"model": "champion", "messages": HELLO, "max_tokens": 2}).json()
    assert found["object"] == "chat.completion" and found["model"] == "champion"
    assert found["choices"][0]["message"] == {"role": "assistant", "content": "hello"}
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_the_models_and_the_health_are_listed(client: TestClient) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["champion", "base"]
    assert client.get("/health").json() == {"status": "ok", "usecase": "small", "champion": "abc", "version": "3"}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        pytest.param({"messages": HELLO, "stream": True}, 400, "stream", id="streaming"),
        pytest.param({"messages": []}, 400, "messages", id="no message"),
        pytest.param({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages.0.role", id="role"),
        pytest.param({"messages": HELLO, "temperature": -1}, 400, "temperature", id="temperature"),
        pytest.param({"messages": HELLO, "max_tokens": 0}, 400, "max_tokens", id="max_tokens"),
        pytest.param({"messages": HELLO, "stop": ""}, 400, "stop", id="empty stop"),
        pytest.param({"messages": HELLO, "tools": []}, 400, "tools", id="unsupported key"),
        pytest.param({"messages": HELLO, "top_logprobs": 3}, 400, "top_logprobs", id="top log-probabilities"),
        pytest.param({"messages": HELLO, "response_format": {"type": "json_schema"}}, 400, "response_format", id="schema"),
        pytest.param({"messages": HELLO, "model": "gpt"}, 404, "model", id="model"),
        pytest.param({"messages": [{"role": "user", "content": "word " * 60}]}, 400, "messages", id="too long"),
        pytest.param([], 400, None, id="no object"),
    ],
)
def test_a_bad_request_is_refused_in_the_protocols_words(client: TestClient, body: object, status: int, param: str | None) -> None:
    found = client.post(URL, json=body)
    error = found.json()["error"]
    assert (found.status_code, error["param"], error["type"]) == (status, param, "invalid_request_error")


def test_what_is_no_json_and_what_is_nowhere_is_refused_too(client: TestClient) -> None:
    assert client.post(URL, content=b"{nonsense").status_code == 400
    assert client.post(URL, content=b"x" * 1_100_000).status_code == 413
    assert "GET /v1/models" in client.get("/v2").json()["error"]["message"]
    assert client.get(URL).status_code == 405


def test_the_text_ends_before_the_first_stop(client: TestClient) -> None:
    found = client.post(URL, json={"messages": [{"role": "user", "content": "one two three"}], "stop": [" three", " two"]}).json()
    assert (found["choices"][0]["message"]["content"], found["choices"][0]["finish_reason"]) == ("one", "stop")


def test_requests_that_wait_are_answered_together_where_their_temperature_is_one(client: TestClient, parrot: Parrot) -> None:
    def post(number: int) -> str:
        settings = {"temperature": 1 if number < 3 else 0, "seed": number, "max_tokens": number % 10 + 1}
        found = client.post(URL, json={"messages": [{"role": "user", "content": f"q{number}"}]} | settings)
        return found.json()["choices"][0]["message"]["content"]

    parrot.free.clear()
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(post, 99)  # holds the model while the others queue
        time.sleep(0.2)
        others = [pool.submit(post, number) for number in range(10)]
        time.sleep(0.5)
        parrot.free.set()
        assert first.result() == "q99" and [other.result() for other in others] == [f"q{number}" for number in range(10)]
    assert sorted(len(batch) for batch in parrot.batches) == [1, 3, 7]


def test_log_probabilities_come_where_they_are_asked_for_and_end_with_the_text(client: TestClient) -> None:
    body = {"messages": [{"role": "user", "content": "one two three"}], "logprobs": True}
    pieces = [{"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": []} for text in ("one", " two", " three")]
    assert client.post(URL, json=body).json()["choices"][0]["logprobs"] == {"content": pieces}
    assert client.post(URL, json=body | {"stop": " three"}).json()["choices"][0]["logprobs"] == {"content": pieces[:2]}
    assert client.post(URL, json=body | {"logprobs": False}).json()["choices"][0]["logprobs"] is None


def test_the_header_of_a_repeated_call_and_an_empty_system_message_are_taken(client: TestClient) -> None:
    body = {"messages": [{"role": "system", "content": ""}, *HELLO], "seed": 2**62, "temperature": 0.4, "max_tokens": 3}
    assert client.post(URL, json=body, headers={"Idempotency-Key": "k1"}).status_code == 200


def test_a_failing_model_fails_its_request_and_not_the_server(client: TestClient) -> None:
    broken = client.post(URL, json={"messages": [{"role": "user", "content": "break"}]})
    assert (broken.status_code, broken.json()["error"]["type"]) == (500, "server_error")
    assert client.post(URL, json={"messages": HELLO}).status_code == 200
