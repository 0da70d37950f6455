"""An Airflow connection, as the URI or the JSON that Airflow writes into the environment, as the URL of a database.

No message here shows anything that such a text holds: it may hold a password.
"""

import json
import re
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from pipelines.errors import UserError

OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "options", "charset")  # of a connection's extras: what drivers understand
KINDS = {"postgres": "postgresql"}  # Airflow's name to SQLAlchemy's
HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\s:@/?#\[\]]+")
PARTS = ("host", "login", "password", "port", "schema")


def address(held: str, variable: str) -> str:
    """SQLAlchemy's URL of the connection that `variable` holds; raises UserError, which names the variable."""
    try:
        found = json.loads(held) if held.startswith("{") else _split(held)
        extra = found.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
        kind, parts = str(found["conn_type"]), {name: str(found.get(name) or "") for name in PARTS}
        options = {name: str(extra[name]) for name in OPTIONS if name in extra}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        kind, parts, options = "", dict.fromkeys(PARTS, ""), {}
    if kind == "sqlite" and (parts["host"] or parts["schema"]):
        return f"sqlite:///{parts['host'] or parts['schema']}"
    if not re.fullmatch(r"[a-z][a-z0-9_+]*", kind) or not HOST.fullmatch(parts["host"]) or not re.fullmatch(r"\d*", parts["port"]):
        raise UserError(
            f"{variable} is not a connection as Airflow writes it: a URI (postgres://login:password@host:5432/database), "
            f"or JSON with conn_type and host; every sign that is neither letter nor digit is percent-encoded in a URI"
        )
    login = quote(parts["login"], safe="") + (f":{quote(parts['password'], safe='')}" if parts["password"] else "")
    host = parts["host"] + (f":{parts['port']}" if parts["port"] else "")
    url = f"{KINDS.get(kind, kind)}://{login}{'@' if login else ''}{host}/{quote(parts['schema'], safe='')}"
    return url + (f"?{urlencode(options)}" if options else "")


def _split(uri: str) -> dict[str, Any]:
    """The parts of a connection that is written as a URI; raises ValueError."""
    found = urlsplit(uri)
    if not found.scheme or "://" not in uri:
        raise ValueError("no URI")
    database = unquote(found.path.removeprefix("/"))
    person, _, host = found.netloc.rpartition("@")
    if found.scheme == "sqlite":
        return {"conn_type": "sqlite", "host": unquote(host) or database}
    login, _, password = person.partition(":")
    name, port = host.rsplit(":", 1) if re.search(r":\d+$", host) else (host, "")
    extra: dict[str, str] = {key: values[-1] for key, values in parse_qs(found.query).items()}
    parts = {"host": unquote(name), "login": unquote(login), "password": unquote(password), "port": port, "schema": database}
    return {"conn_type": found.scheme.replace("-", "_"), "extra": extra.pop("__extra__", "") or extra} | parts
