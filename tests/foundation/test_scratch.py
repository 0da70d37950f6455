"""What a killed process leaves is removed by the next one; what is in use is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.foundation.database import prepare
from pipelines.foundation.numbered import DRAFT, Numbered
from pipelines.foundation.scratch import alone, scratch
from pipelines.settings import ROOT

HOLD = """
import sys, pathlib
from pipelines.foundation.scratch import alone, scratch
home = pathlib.Path(sys.argv[1])
with scratch("part-", home) as folder, alone(home):
    (folder / "file").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""


def holder(home: Path) -> tuple[subprocess.Popen, Path]:
    """A process that holds a scratch folder and the lock of its home until its end."""
    command = [sys.executable, "-c", HOLD, str(home)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_scratch_folder_is_gone_at_the_end(tmp_path: Path) -> None:
    with scratch("part-", tmp_path) as folder:
        (folder / "file").write_text("content")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_s_folder_is_removed_and_one_in_use_stays(tmp_path: Path) -> None:
    killed, left = holder(tmp_path)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert left.is_dir()
    lives, held = holder(tmp_path)
    with scratch("part-", tmp_path) as folder:
        assert (left.exists(), held.is_dir(), folder.is_dir()) == (False, True, True)
    lives.communicate("")
    assert lives.returncode == 0 and list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    killed, _ = holder(tmp_path)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    with alone(tmp_path):
        assert True


def test_a_draft_that_a_killed_writer_left_is_removed_and_never_written_into(tmp_path: Path) -> None:
    """Killed between the two names of a file, the draft is the whole file."""
    files = Numbered(str(tmp_path))
    assert files.create(1, b"one")
    os.link(tmp_path / "00000001.json", tmp_path / DRAFT)
    assert not files.create(1, b"another") and files.create(2, b"two")
    assert files.read() == {"00000001.json": b"one", "00000002.json": b"two"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001.json", "00000002.json"]


def test_a_database_that_was_half_made_is_made_anew_and_a_whole_one_kept(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "mlflow.db"
    with sqlite3.connect(f"{path}.part") as half:
        half.execute("CREATE TABLE _alembic_tmp_experiments (id INTEGER)")
    half.close()
    prepare(f"sqlite:///{path}", str(tmp_path))
    with sqlite3.connect(path) as whole:
        tables = {name for (name,) in whole.execute("SELECT name FROM sqlite_master")}
    whole.close()
    assert {"experiments", "runs", "model_versions"} <= tables and "_alembic_tmp_experiments" not in tables
    made = path.stat()
    prepare(f"sqlite:///{path}", str(tmp_path))
    assert path.stat().st_mtime_ns == made.st_mtime_ns
    assert [found.name for found in tmp_path.iterdir()] == ["mlflow.db"]
