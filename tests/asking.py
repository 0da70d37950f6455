"""Questions through the floor that speaks to a server, for its tests."""

import json

from pipelines.foundation import server
from pipelines.foundation.messages import Call, Reply, Request, Usage
from pipelines.sections import Endpoint
from tests.servers import Fault


def questions(count: int, start: int = 0) -> list[Request]:
    return [Request("Be brief.", f"question {number}", 16) for number in range(start, start + count)]


def answers(count: int, unsure: int = 0) -> list[Reply]:
    return [Reply(f"re: question {number}", None, Usage(4, 3), unsure=unsure) for number in range(count)]


def numbered(requests: list[Request]) -> list[Call]:
    return [Call(f"key-{number:04}", request) for number, request in enumerate(requests)]


def asked(endpoint: Endpoint, requests: list[Request]) -> list[Reply]:
    """Replies in the order of the requests."""
    return [answered.reply for answered in sorted(server.stream(endpoint, numbered(requests)))]


def completion(content: object, usage: object = None, **choice: object) -> Fault:
    """A whole answer with this content."""
    return Fault("body", body=json.dumps({"choices": [{"message": {"content": content}} | choice], "usage": usage}))
