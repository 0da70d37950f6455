"""The rows of an SQL query as a file: JSON lines, written as they come from the server, never held as a whole.

The query may name `:night` and `:next`, the first date of the night and of the one after (YYYY-MM-DD); the session's zone
is UTC where the database has one. `order by` a key: the same rows in the same order are the same bytes, and are not taken
twice. The connection is one of Airflow's, see `settings.connection`.
"""

import datetime
import decimal
import importlib.util
import json
import math
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.data.reading.disk import disk
from pipelines.errors import UserError
from pipelines.sections import Source
from pipelines.settings import connection

FETCH = 2000  # rows that the server sends at once
DRIVERS = {"postgresql": ("psycopg", "psycopg2", "pg8000"), "mysql": ("MySQLdb", "pymysql")}
MODULES = {"MySQLdb": "mysqldb"}  # what SQLAlchemy calls it
UTC = {"postgresql": "SET TIME ZONE 'UTC'", "mysql": "SET time_zone = '+00:00'"}


def query(source: Source, night: str, path: Path, key: str) -> None:
    """Write the rows of the night to `path`; raises UserError that names `key`, where the settings hold the source, and no password."""
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    url = connection(source.connection)
    following = datetime.date.fromisoformat(night) + datetime.timedelta(days=1)
    with disk(path), path.open("w", encoding="utf-8") as out:
        try:
            statement = sqlalchemy.text(source.sql)
            times = {"night": night, "next": following.isoformat()}
            names = set(statement.compile().params)
            if unknown := names - set(times):
                raise UserError(f"{key}.sql: :{sorted(unknown)[0]} has no value; a query may name :night and :next")
            for row in _rows(sqlalchemy.create_engine(_with_driver(url)), statement, {name: times[name] for name in names}):
                out.write(json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False) + "\n")
        except (NoSuchModuleError, ImportError) as error:
            raise UserError(f"{key}.connection {source.connection}: no driver for this kind of database is installed: {error}") from None
        except (ArgumentError, ValueError) as error:
            raise UserError(f"{key}.connection {source.connection} is no address of a database: {_hidden(str(error), url)}") from None
        except SQLAlchemyError as error:
            why = _hidden(str(getattr(error, "orig", None) or error), url)
            raise UserError(f"{key}.sql could not be run through the connection {source.connection}: {why}") from None


def _rows(engine: object, statement: object, values: dict[str, str]) -> Iterator[dict]:
    """Rows as they come; nothing is ever committed."""
    try:
        with engine.connect() as session:
            if engine.dialect.name in UTC:
                session.exec_driver_sql(UTC[engine.dialect.name])
            yield from (dict(row) for row in session.execute(statement, values, execution_options={"yield_per": FETCH}).mappings())
    finally:
        engine.dispose()


def _with_driver(url: str) -> str:
    """The URL with a driver that is installed, where it names none and SQLAlchemy's own choice may be another."""
    kind, _, rest = url.partition("://")
    found = next((name for name in DRIVERS.get(kind, ()) if importlib.util.find_spec(name)), None)
    return f"{kind}+{MODULES.get(found, found)}://{rest}" if found else url


def _hidden(text: str, url: str) -> str:
    """The text without the password, as it stands and as the URL writes it."""
    password = urlsplit(url).password
    for secret in filter(None, (url, unquote(password or ""), password)):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:500]


def _plain(value: object) -> object:
    """A value that JSON can hold: times in ISO 8601, exact numbers as numbers where they are whole, else as text."""
    if isinstance(value, decimal.Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | bool | None) else str(value)
