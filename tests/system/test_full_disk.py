"""A disk that is full stops an erasure with one message, loses nothing, and lets it go on when there is room again."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.settings import ROOT

House = Callable[..., Path]
NIGHT = "2026-11-20"
COLUMNS = {"row_id": "id", "subject_id": "who", "text": "text", "label": "label"}
ROWS = [{"id": who, "who": who, "text": f"{who} asks for a colour", "label": "red"} for who in ("anna-4711", "ben-4712")]
WORK = """
import json, sys
from pathlib import Path
from pipelines.data.ingest import ingest
from pipelines.errors import UserError
from pipelines.foundation.step import open_night
from pipelines.system.erase import erase

state = Path(sys.argv[1])
ingest("small", "local", "2026-11-20")
lake = open_night("small", "local", "2026-11-20").lake
left = lambda: sorted(lake.read("traffic", lake.version("traffic"), ["subject_id"])["subject_id"].to_pylist())
filler = (state / "filler").open("wb", buffering=0)
try:
    while True:
        filler.write(bytes(4096))
except OSError:
    filler.close()
try:
    erase("small", "local", "anna-4711")
    said = "nothing"
except UserError as error:
    said = str(error)
full = left()
(state / "filler").unlink()
erase("small", "local", "anna-4711")
print(json.dumps({"said": said, "full": full, "after": left()}))
"""


def test_an_erasure_on_a_full_disk_says_so_and_is_taken_up(house: House, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    allowed = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@"', str(state)]
    if not shutil.which("unshare") or subprocess.run([*allowed, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk (unshare -rm)")
    house(sources=[{"path": "sample", "columns": COLUMNS}], files={f"sample/{NIGHT}.jsonl": "\n".join(map(json.dumps, ROWS))})
    command = [*allowed, sys.executable, "-c", WORK, str(state)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert "No space left on device" in found["said"] and "run the step again" in found["said"]
    assert found["full"] == ["anna-4711", "ben-4712"] and found["after"] == ["ben-4712"]
