"""What the paid server writes: numbers and texts that follow from names alone, so that a run can be repeated."""

import hashlib
import json
import random

WORDS = ("the", "card", "was", "lost", "and", "a", "new", "one", "comes", "within", "five", "days")


def impossible(usage: dict, most: int, form: float) -> dict:
    """Counts that cannot be; `form` in [0, 1) chooses which."""
    wrong = (
        {"prompt_tokens": -1},
        {"completion_tokens": most + 1, "total_tokens": usage["prompt_tokens"] + most + 1},
        {"total_tokens": usage["total_tokens"] + 1},
        {"prompt_tokens_details": {"cached_tokens": usage["prompt_tokens"] + 1}},
        {"completion_tokens": "12"},
        {"prompt_tokens": 1.5},
    )
    return usage | wrong[int(form * len(wrong))]


def draw(*names: object) -> float:
    """A number in [0, 1) that follows from the names alone."""
    return int.from_bytes(hashlib.blake2b(repr(names).encode(), digest_size=6).digest()) / 2**48


def written(key: str, body: dict) -> str:
    """The words of a completion, which follow from its key; an object where a schema is sent."""
    words = random.Random(key).choices(WORDS, k=12)
    if "response_format" not in body:
        return " ".join(words)
    schema = body["response_format"]["json_schema"]["schema"]
    values = {"string": " ".join(words), "boolean": True, "integer": 3, "number": 0.5, "array": [], "object": {}}
    return json.dumps(
        {name: part["enum"][0] if "enum" in part else values[part.get("type", "string")] for name, part in schema["properties"].items()}
    )
