"""Housekeeping removes what nothing names, and nothing else."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.foundation.step import open_night
from pipelines.system.housekeeping import tidy

House = Callable[..., Path]
NIGHT = "2026-11-20"
OLD = time.time() - 30 * 86_400


def aged(path: Path, content: bytes = b"half") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))
    return path


def test_files_that_no_version_names_are_removed_and_every_version_stays_readable(house: House) -> None:
    house()
    lake = open_night("small", "local", NIGHT).lake
    versions = [lake.replace("scores", [{"night": NIGHT, "metric": str(count)}] * count, night=NIGHT) for count in (1, 2, 3)]
    folder = Path(lake.root, "scores")
    [used, *_] = folder.glob("night=*/*.parquet")
    orphans = [aged(used.with_name(name), used.read_bytes()) for name in ("part-00000-dead-c000.snappy.parquet", "part-1.parquet#1")]
    orphans.append(aged(folder / "_delta_log" / "_commit_dead.json.tmp"))
    young = used.with_name("part-00000-young-c000.snappy.parquet")  # somebody may be writing it
    young.write_bytes(used.read_bytes())
    assert tidy("small", "local")["orphans"] == 3
    assert not any(path.exists() for path in orphans) and young.exists()
    assert [lake.read("scores", version).num_rows for version in versions] == [1, 2, 3]
    assert tidy("small", "local")["orphans"] == 0


def test_checkpoints_of_a_training_that_was_given_up_are_removed(house: House, tmp_path: Path) -> None:
    house()
    folder = tmp_path / "state" / "checkpoints" / "small"
    for name, age in (("old", OLD), ("new", time.time())):
        os.utime(aged(folder / name / "state.safetensors").parent, (age, age))
    assert tidy("small", "local")["orphans"] == 1
    assert [path.name for path in folder.iterdir()] == ["new"]
