"""Files come from the use case's folder, a data folder, a URL or S3, and a checksum is held."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.data.ingest import ingest
from pipelines.data.reading.sources import name_date
from pipelines.errors import UserError
from pipelines.foundation.step import open_night

if TYPE_CHECKING:
    from botocore.client import BaseClient

NIGHT = "2026-11-20"


def take(night: str = NIGHT) -> dict:
    return ingest("small", "local", night)


def shown() -> set[str]:
    lake = open_night("small", "local", NIGHT).lake
    return set(lake.read("files", lake.version("files"), ["source"]).column(0).to_pylist())


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("2026-11-20.csv", "2026-11-20"),
        ("bank_2026-11-20T01.jsonl.gz", "2026-11-20"),
        ("2026-13-01.csv", ""),
        ("12026-11-201.csv", ""),
        ("a.csv", ""),
    ],
)
def test_the_date_in_a_name_is_read_where_it_is_one(name: str, date: str) -> None:
    assert name_date(name) == date


def test_a_glob_and_an_absolute_path_are_sources_too(house: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("text,label\nhi,red\n")
    files = {"in/x/a.csv": "text,label\nho,red\n", "in/y/b.csv": "text,label\nhe,red\n", "in/y/b.txt": "no"}
    house(files=files, sources=[{"path": "in/*/*.csv"}, {"path": str(tmp_path / "one.csv")}])
    assert take()["accepted"] == 3


def test_a_source_that_is_nowhere_names_every_place(house: Callable[..., Path], tmp_path: Path) -> None:
    house(sources=[{"path": "set/train.csv"}], profile={"data_folders": [str(tmp_path / "one"), str(tmp_path / "two")]})
    with pytest.raises(UserError) as raised:
        take()
    for place in ("usecases/small/set/train.csv", "one/set/train.csv", "two/set/train.csv", "sources[0].path", "data_folders"):
        assert place in str(raised.value)


def test_a_data_folder_is_searched_and_the_checksum_is_held(house: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "train.csv").write_text("text,label\nhi,red\n")
    right = hashlib.sha256(b"text,label\nhi,red\n").hexdigest()
    profile = {"data_folders": [str(tmp_path / "pool")]}
    house(sources=[{"path": "train.csv", "sha256": "0" * 64}], profile=profile)
    with pytest.raises(UserError, match=f"train.csv has the SHA-256 {right}.*expects {'0' * 64}"):
        take()
    house(sources=[{"path": "train.csv", "sha256": right}], profile=profile)
    assert take()["accepted"] == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on 127.0.0.1 that holds one CSV file."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "train.csv").write_text("text,label\nhi,red\n")
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path / "web")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        port = running.stdout.readline().split("port ")[1].split(" ")[0]
        yield f"http://127.0.0.1:{port}/train.csv"
        running.terminate()


def test_a_url_is_fetched_once_whole_and_checked(house: Callable[..., Path], server: str, tmp_path: Path) -> None:
    house(sources=[{"path": "set/train.csv", "url": server, "sha256": "0" * 64}])
    with pytest.raises(UserError, match="expects 0000"):
        take()
    assert not [path for path in (tmp_path / "state" / "downloads").rglob("*") if path.is_file()]
    house(sources=[{"path": "set/train.csv", "url": server}])
    assert take()["accepted"] == 1
    house(sources=[{"path": "set/train.csv", "url": server + ".gone"}])
    with pytest.raises(UserError, match="404"):
        take("2026-11-21")


def test_an_object_on_s3_is_fetched_once(house: Callable[..., Path], s3: "BaseClient", caplog: pytest.LogCaptureFixture) -> None:
    """What was fetched is what is gone: an object that could not be fetched again is not missed."""
    s3.create_bucket(Bucket="bank")
    for key, text in {"in/a.csv": "text,label\nhi,red\n", "in/README.md": "no", "in/2026-11-21.csv": "text,label\nho,red\n"}.items():
        s3.put_object(Bucket="bank", Key=key, Body=text.encode())
    house(sources=[{"path": "s3://bank/in/"}])
    assert take()["accepted"] == 1 and take()["memo"]
    assert take("2026-11-21")["accepted"] == 1
    assert shown() == {"s3://bank/in/a.csv", "s3://bank/in/2026-11-21.csv"}
    caplog.set_level("INFO", logger="pipelines")
    s3.put_object(Bucket="bank", Key="in/b.csv", Body=b"text,label\nhi,red\n")
    assert take("2026-11-22")["read"] == 0 and "b.csv was taken before, the same bytes" in caplog.text
    assert take("2026-11-22")["memo"]
    caplog.clear()
    s3.put_object(Bucket="bank", Key="in/c.csv", Body=b"text,label\nhe,red\n")
    assert take("2026-11-23")["read"] == 1 and "the same bytes" not in caplog.text


def test_a_bucket_that_is_not_there_is_an_error_that_names_it(house: Callable[..., Path], s3: "BaseClient") -> None:
    house(sources=[{"path": "s3://nobody/in/"}])
    with pytest.raises(UserError, match="s3://nobody/in/ could not be read"):
        take()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "exactly one of path, mlflow and sql, found none of them"),
        ({"path": "a", "mlflow": "b"}, "found path and mlflow"),
        ({"sql": "select 1"}, "sql and connection belong together"),
        ({"path": "a", "connection": "bank"}, "sql and connection belong together"),
        ({"mlflow": "b", "sha256": "0"}, "sha256 belongs to a file that path names, not to mlflow"),
    ],
)
def test_a_source_is_exactly_one_thing(house: Callable[..., Path], source: dict, message: str) -> None:
    house(sources=[source])
    with pytest.raises(UserError, match=message):
        take()
