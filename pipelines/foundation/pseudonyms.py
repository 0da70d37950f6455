"""One value, one placeholder: within a conversation the same person is the same <NAME_1>, in every turn and on every night.

Whoever gave a full name is known by its parts from then on: a later "Dear Priya" is <NAME_1> too.

What a placeholder stands for is kept only where `privacy.key_env` names a key: sealed with AES-256-GCM (NIST SP 800-38D),
each value bound to its row and its placeholder. The key is held outside, in the environment; without it nothing opens.
"""

import base64
import binascii
import ipaddress
import os
import re
import secrets
import unicodedata
from collections import Counter

from pipelines.errors import UserError
from pipelines.foundation.names import BOTH, NEVER
from pipelines.foundation.privacy import NAME_SCORE, PLACEHOLDER
from pipelines.foundation.written import Span

NONCE = 12  # bytes, random: 2**32 values under one key stay safe
PHONE_DIGITS = 9  # of the end: what is left of a number whether it is written with its country or without
EXTENSION = re.compile(r"(?i)\s*(?:x|ext\.?)\s*\d+$")


class Numbers:
    """The placeholders of one conversation, numbered by type in the order in which their values appear."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()
        self._count: Counter[str] = Counter()
        self._parts: dict[str, str] = {}  # words of full names, and the placeholders of these

    def known(self, text: str) -> list[Span]:
        """Names, or parts of names, that were given in this conversation before."""
        if not self._parts:
            return []
        words = "|".join(re.escape(part) for part in sorted(self._parts))
        pattern = re.compile(rf"(?<![\w<@.-])(?:{words})(?: (?:{words}))*(?![\w>@-])", re.IGNORECASE)
        return [Span("NAME", *match.span(), NAME_SCORE) for match in pattern.finditer(text) if not match[0].islower()]

    def reserve(self, text: str) -> None:
        """Pass over the placeholders that a text held before it was scrubbed: nobody knows what they stood for."""
        self._taken.update(match[0] for match in PLACEHOLDER.finditer(text))

    def give(self, kind: str, value: str) -> str:
        """The value's placeholder, a new one where the conversation has not had it."""
        key = kind, normal(kind, value)
        if key in self._given:
            return self._given[key]
        parts = key[1].split() if kind == "NAME" else []
        owners = {self._parts.get(part) for part in parts}
        if parts and len(owners) == 1 and None not in owners:
            return owners.pop()
        while (placeholder := f"<{kind}_{self._count[kind] + 1}>") in self._taken:
            self._count[kind] += 1
        self._count[kind] += 1
        self._given[key] = placeholder
        for part in parts if len(parts) > 1 else ():
            if len(part) > 2 and part.capitalize() not in NEVER | BOTH:
                self._parts.setdefault(part, placeholder)
        return placeholder


def normal(kind: str, value: str) -> str:
    """What two ways of writing the same value have in common."""
    value = unicodedata.normalize("NFKC", value)
    if kind == "PHONE":
        return re.sub(r"\D", "", EXTENSION.sub("", value))[-PHONE_DIGITS:]
    if kind in ("CARD", "SSN"):
        return re.sub(r"\D", "", value)
    if kind == "IBAN":
        return re.sub(r"[^0-9A-Z]", "", value.upper())
    if kind == "IP":
        try:
            return ipaddress.ip_address(value).compressed
        except ValueError:  # with a port or a prefix
            return value.casefold()
    return " ".join(value.replace("’", "'").casefold().split())


def read_key(variable: str) -> bytes:
    """The key, 32 bytes in base64, from the environment variable that the settings name and from nowhere else.

    Raises UserError where the variable holds no such key; an empty name is none.
    """
    if not variable:
        raise UserError("pseudonyms are not kept: privacy.key_env of the use case names no environment variable with a key")
    held = os.environ.get(variable, "").strip()
    try:
        key = base64.b64decode(held.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != 32:
        wrong = "holds no key" if held else "is not set"
        raise UserError(
            f"the environment variable {variable} {wrong}: privacy.key_env names it; put 32 random bytes in base64 there "
            "(`openssl rand -base64 32` makes them), and keep them outside of this house"
        )
    return key


def seal(key: bytes, value: str, row_id: str, placeholder: str) -> str:
    """The value, readable with the key only, for this row and placeholder only; base64."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(NONCE)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, value.encode(), _about(row_id, placeholder))).decode()


def unseal(key: bytes, sealed: str, row_id: str, placeholder: str) -> str:
    """The value; raises UserError for another key, or for a record that was changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    raw = base64.b64decode(sealed)
    try:
        return AESGCM(key).decrypt(raw[:NONCE], raw[NONCE:], _about(row_id, placeholder)).decode()
    except InvalidTag:
        raise UserError(f"the key does not open {placeholder} of the row {row_id}: it was sealed with another key, or changed") from None


def _about(row_id: str, placeholder: str) -> bytes:
    return f"{row_id}\x1f{placeholder}".encode()
