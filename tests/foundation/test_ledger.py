"""The chain of decisions: many writers make one chain, and no byte of it can change what it says unseen."""

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.errors import UserError
from pipelines.foundation import ledger
from pipelines.foundation.lake import Lake
from pipelines.foundation.numbered import Numbered

if TYPE_CHECKING:
    from botocore.client import BaseClient

NIGHT = "2026-11-20"


def filled(tmp_path: Path, count: int = 3) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    for number in range(count):
        ledger.append(lake, NIGHT, "verdict", {"verdict": "PROMOTE", "number": number})
    return lake


def write(root: str, who: int, count: int) -> None:
    for number in range(count):
        ledger.append(Lake(root), NIGHT, "look", {"who": who, "number": number})


def test_writers_at_once_end_in_one_chain(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write, args=(str(tmp_path / "lake"), who, 6)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    chain = ledger.entries(Lake(str(tmp_path / "lake")))
    assert [entry.seq for entry in chain] == list(range(1, 25))
    assert {(entry.body["who"], entry.body["number"]) for entry in chain} == {(who, number) for who in range(4) for number in range(6)}


def test_a_check_sees_the_chain_that_it_is_added_to_and_may_refuse(tmp_path: Path) -> None:
    lake = filled(tmp_path)

    def refuse(chain: list[ledger.Entry]) -> None:
        assert len(chain) == 3
        raise UserError("another one came first")

    with pytest.raises(UserError, match="came first"):
        ledger.append(lake, NIGHT, "promotion", {"version": "1"}, refuse)
    assert len(ledger.entries(lake)) == 3


def files(lake: Lake) -> list[Path]:
    return sorted(Path(lake.root, "ledger").glob("*.json"))


def test_no_byte_of_history_can_change_unseen(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    for path in files(lake):
        path.chmod(0o644)
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
            with pytest.raises(UserError, match=f"{path.name} does not continue the chain"):
                ledger.entries(lake)
        path.write_bytes(whole)
    assert len(ledger.entries(lake)) == 3


def test_an_entry_that_was_forged_whole_breaks_the_next_one(tmp_path: Path) -> None:
    lake, forged = filled(tmp_path), Lake(str(tmp_path / "forged"))
    for body in ({"verdict": "PROMOTE", "number": 0}, {"verdict": "REJECT"}):
        ledger.append(forged, NIGHT, "verdict", body)
    path = files(lake)[1]
    path.chmod(0o644)
    path.write_bytes(files(forged)[1].read_bytes())
    with pytest.raises(UserError, match="was changed"):
        ledger.entries(lake)


def test_a_removed_entry_and_a_file_that_is_none_are_found(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    stray = Path(lake.root, "ledger", "notes.txt")
    stray.write_text("hello")
    with pytest.raises(UserError, match="notes.txt"):
        ledger.entries(lake)
    stray.unlink()
    files(lake)[1].unlink()
    with pytest.raises(UserError, match="00000003.json does not continue the chain as entry 2"):
        ledger.entries(lake)


def test_on_s3_the_ledger_is_the_same(s3: "BaseClient") -> None:
    s3.create_bucket(Bucket="lake")
    lake = Lake("s3://lake/house")
    for number in range(3):
        ledger.append(lake, NIGHT, "look", {"number": number})
    assert [entry.body["number"] for entry in ledger.entries(lake)] == [0, 1, 2]
    assert not Numbered("s3://lake/house/ledger").create(3, b"late")
    s3.put_object(Bucket="lake", Key="house/ledger/00000002.json", Body=b"{}")
    with pytest.raises(UserError, match="was changed"):
        ledger.entries(lake)
