"""Processes of ours: started once, known again, ended without touching others."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.errors import UserError
from plugins import servers
from plugins.servers import Server, Started


@pytest.fixture
def sleeper(tmp_path: Path) -> Server:
    """A server that only runs; it is a module of the standard library."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Server("sleeper", ["http.server", "--bind", "127.0.0.1", str(port)], port, "SLEEPER_PORT", "/")


def test_what_was_started_is_known_and_ended(sleeper: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    servers._start(tmp_path, sleeper)
    started = servers.alive(tmp_path, "sleeper")
    assert started is not None and started.port == sleeper.port
    servers._wait(tmp_path, [sleeper], "")
    servers.down(tmp_path)
    assert servers.alive(tmp_path, "sleeper") is None and "ended sleeper" in capsys.readouterr().out


def test_a_process_that_only_has_the_same_id_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "scheduler.json").write_text(json.dumps(Started(other.pid, time.time() - 9999, 0)._asdict()))
        servers.down(tmp_path)
        assert other.poll() is None and "nothing of ours" in capsys.readouterr().out
        other.kill()


def test_a_taken_port_is_named_with_the_setting_that_changes_it(sleeper: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", sleeper.port))
        taken.listen()
        with pytest.raises(UserError, match=rf"port {sleeper.port} .*sleeper.*make up SLEEPER_PORT=\d+"):
            servers._check_port(sleeper)


def test_a_server_that_ends_at_once_shows_its_last_words(tmp_path: Path) -> None:
    broken = Server("broken", ["no_such_module_of_ours"], 1, "X", "/")
    servers._start(tmp_path, broken)
    with pytest.raises(UserError, match="no_such_module_of_ours"):
        servers._wait(tmp_path, [broken], "")
    servers.down(tmp_path)
