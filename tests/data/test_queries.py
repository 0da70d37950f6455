"""The rows of a query are a file of the night; a connection is Airflow's, and its password is never shown."""

import json
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.data.ingest import ingest
from pipelines.errors import UserError
from pipelines.foundation.step import open_night
from pipelines.settings import connection

NIGHT = "2026-11-20"
SQL = "select id as row_id, at as created_at, text, label from messages where at >= :night and at < :next order by id"


def rows(table: str) -> list[dict]:
    lake = open_night("small", "local", NIGHT).lake
    return lake.read(table, lake.version(table)).to_pylist()


@pytest.fixture
def bank(house: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    """A database with two messages on each of three days, behind the connection `bank`."""
    house(sources=[{"sql": SQL, "connection": "bank"}])
    monkeypatch.setenv("AIRFLOW_CONN_BANK", f"sqlite:///{tmp_path}/bank.db")
    base = sqlite3.connect(tmp_path / "bank.db", isolation_level=None)
    base.execute("create table messages (id integer, at text, text text, label text)")
    made = [(n, f"2026-11-{18 + n // 2} 10:00:00", f"text {n}", "red") for n in range(6)]
    base.executemany("insert into messages values (?, ?, ?, ?)", made)
    return base


def test_each_night_takes_its_own_rows(bank: sqlite3.Connection) -> None:
    assert [ingest("small", "local", night)["accepted"] for night in ("2026-11-18", "2026-11-19", NIGHT)] == [2, 2, 2]
    found = rows("traffic")
    assert {(one["row_id"], one["night"]) for one in found} == {(str(n), f"2026-11-{18 + n // 2}") for n in range(6)}
    assert {one["source"] for one in found} == {"sql:bank"}


def test_a_night_is_read_anew_where_the_database_has_other_rows_for_it(bank: sqlite3.Connection) -> None:
    ingest("small", "local", NIGHT)
    assert ingest("small", "local", NIGHT)["memo"]
    bank.execute("update messages set text = 'mended' where id = 4")
    bank.execute("insert into messages values (7, '2026-11-20 23:00:00', 'late', 'red')")
    result = ingest("small", "local", NIGHT)
    assert (result["accepted"], result["quarantined"]) == (3, 0)
    assert sorted(one["text"] for one in rows("traffic")) == ["late", "mended", "text 5"]


def test_a_night_without_rows_is_no_defect(bank: sqlite3.Connection) -> None:
    result = ingest("small", "local", "2026-11-21")
    assert (result["read"], result["quarantined"]) == (0, 0)


def test_a_refused_row_names_its_place(bank: sqlite3.Connection) -> None:
    bank.execute("update messages set label = 'green' where id = 5")
    assert ingest("small", "local", NIGHT)["quarantined"] == 1
    assert [(one["reason"], one["line"], one["source"]) for one in rows("quarantine")] == [("label_unknown", 2, "sql:bank")]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select 1 from nowhere", "sources.0..sql could not be run through the connection bank: no such table"),
        ("select * from messages where at > :yesterday", ":yesterday has no value; a query may name :night and :next"),
    ],
)
def test_a_wrong_query_is_an_error_that_names_its_setting(
    bank: sqlite3.Connection, house: Callable[..., Path], sql: str, message: str
) -> None:
    house(sources=[{"sql": sql, "connection": "bank"}])
    with pytest.raises(UserError, match=message):
        ingest("small", "local", NIGHT)


def test_every_kind_of_value_becomes_json(house: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK", f"sqlite:///{tmp_path}/bank.db")
    house(sources=[{"sql": "select 'hi' as text, 'red' as label, x'ff41' as b, 9e999 as f, 1.5 as n, null as z", "connection": "bank"}])
    assert ingest("small", "local", NIGHT)["accepted"] == 1
    assert json.loads(rows("traffic")[0]["attributes"]) == {"b": "\\xffA", "f": None, "n": 1.5, "z": None}


@pytest.mark.parametrize(
    ("held", "url"),
    [
        (
            "postgres://ann:p%40ss%2Fw@db.example:5432/bank?sslmode=require&cursor=x",
            "postgresql://ann:p%40ss%2Fw@db.example:5432/bank?sslmode=require",
        ),
        (
            '{"conn_type": "postgres", "host": "db", "login": "ann", "password": "p@ss", "schema": "bank"}',
            "postgresql://ann:p%40ss@db/bank",
        ),
        (
            '{"conn_type": "mysql", "host": "db", "port": 3306, "extra": "{\\"charset\\": \\"utf8mb4\\"}"}',
            "mysql://db:3306/?charset=utf8mb4",
        ),
        ("sqlite:////data/bank.db", "sqlite:////data/bank.db"),
        ("sqlite://%2Fdata%2Fbank.db", "sqlite:////data/bank.db"),
    ],
)
def test_a_connection_is_read_as_airflow_writes_it(monkeypatch: pytest.MonkeyPatch, held: str, url: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK", held)
    assert connection("bank") == url


@pytest.mark.parametrize(
    "held", ["hunter2", "://hunter2", "postgres://ann:hunter2@", '{"password": "hunter2"}', '{"hunter2', "postgres://a:hunter2@h:x/b"]
)
def test_a_wrong_connection_is_an_error_without_what_it_holds(monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK", held)
    with pytest.raises(UserError, match="AIRFLOW_CONN_BANK is not a connection") as raised:
        connection("bank")
    assert "hunter2" not in str(raised.value)


def test_a_connection_that_is_not_there_says_where_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_BANK", raising=False)
    with pytest.raises(UserError, match="create it in Airflow, or set AIRFLOW_CONN_BANK"):
        connection("bank")


@pytest.mark.parametrize("held", ["postgres://ann:hun%2Fter2@127.0.0.1:1/bank", "unheard://ann:hun%2Fter2@127.0.0.1:1/bank"])
def test_a_server_that_cannot_be_reached_is_an_error_without_the_password(
    house: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK", held)
    house(sources=[{"sql": "select 1 as text", "connection": "bank"}])
    with pytest.raises(UserError, match=r"sources\[0\].*bank") as raised:
        ingest("small", "local", NIGHT)
    assert "ter2" not in str(raised.value)


@pytest.fixture
def postgres() -> Iterator[int]:
    """The port of a PostgreSQL server of the test's own, whose zone is not UTC and whose user ann has the password p@ss/w."""
    driver = pytest.importorskip("psycopg2", reason="the driver psycopg2 is not installed")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("there is no PostgreSQL server on this machine")
    folder, user = Path(tempfile.mkdtemp(prefix="nightshift-postgres-")), None
    (folder / "password").write_text("p@ss/w")
    if os.getuid() == 0:  # the server refuses to run as root
        user = "postgres"
        for path in (folder, folder / "password"):
            os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    made = [programs[-1], "-D", folder / "data", "-A", "md5", "-U", "ann", f"--pwfile={folder}/password", "--no-sync"]
    subprocess.run(made, user=user, cwd="/", check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off", "timezone": "America/New_York"}
    command = [programs[-1].with_name("postgres"), "-D", folder / "data", "-p", str(port)]
    command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with subprocess.Popen(command, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        for _ in range(100):
            try:
                driver.connect(host="127.0.0.1", port=port, user="ann", password="p@ss/w", dbname="postgres").close()
                break
            except driver.OperationalError:
                time.sleep(0.1)
        yield port
        server.terminate()
    shutil.rmtree(folder)


def test_a_real_postgresql_gives_the_nights_rows_in_utc(postgres: int, house: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg2

    with (
        psycopg2.connect(host="127.0.0.1", port=postgres, user="ann", password="p@ss/w", dbname="postgres") as base,
        base.cursor() as cursor,
    ):
        cursor.execute("set time zone 'UTC'")
        cursor.execute("create table messages (id numeric, at timestamptz, text text, label text, tags jsonb, score numeric, raw bytea)")
        times = ("2026-11-19 23:59:59.9", "2026-11-20 00:00:00", "2026-11-20 23:59:59.9", "2026-11-21 00:00:00")
        for n, at in enumerate(times):
            made = (n, at, f"text {n}", "red", '{"a": [1, null]}', "1.10", b"\xff")
            cursor.execute("insert into messages values (%s, %s, %s, %s, %s, %s, %s)", made)
        cursor.execute("insert into messages select n, '2026-11-18', 'text ' || n, 'red' from generate_series(10, 5009) n")
    base.close()
    house(sources=[{"sql": SQL.replace("label from", "label, tags, score, raw from"), "connection": "bank"}])
    monkeypatch.setenv("AIRFLOW_CONN_BANK", f"postgres://ann:p%40ss%2Fw@127.0.0.1:{postgres}/postgres")
    assert ingest("small", "local", NIGHT)["accepted"] == 2
    found = {one["row_id"]: one for one in rows("traffic")}
    assert sorted(found) == ["1", "2"] and found["1"]["created_at"].isoformat() == "2026-11-20T00:00:00+00:00"
    assert json.loads(found["1"]["attributes"]) == {"tags": {"a": [1, None]}, "score": "1.10", "raw": "\\xff"}
    assert ingest("small", "local", "2026-11-18")["accepted"] == 5000
    monkeypatch.setenv("AIRFLOW_CONN_BANK", f"postgres://ann:wrong%2Fone@127.0.0.1:{postgres}/postgres")
    with pytest.raises(UserError, match="password authentication failed") as raised:
        ingest("small", "local", "2026-11-21")
    assert "wrong" not in str(raised.value)
