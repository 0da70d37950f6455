"""What a process needs only while it runs: a lock, and a folder, that a kill does not leave behind for ever.

The kernel ends a lock with its process, whatever ended that. So a folder that nobody has locked is nobody's, and whoever
makes the next one removes it.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def alone(folder: Path) -> contextlib.AbstractContextManager[None]:
    """One process, and one thread of it, at a time in this folder."""
    return _locked(folder, fcntl.LOCK_EX)


def beside(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Any number of processes at a time in this folder, but none while another has it `alone`."""
    return _locked(folder, fcntl.LOCK_SH)


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def scratch(prefix: str = "nightshift-scratch-", within: Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end; those of killed processes are removed first. `within`: not the system's temporary folder."""
    home = within or Path(tempfile.gettempdir())
    for left in home.glob(f"{prefix}*"):
        _clear(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=home))
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another process took it for a left one
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.is_dir():  # else the same, before it was locked
            break
        os.close(handle)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _clear(folder: Path) -> None:
    """Remove a folder that no process has locked."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # gone, somebody else's, or no folder
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(handle)
