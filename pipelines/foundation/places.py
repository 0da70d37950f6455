"""Where a file that a use case names may lie: its own folder, then each of the profile's data_folders (relative to the project)."""

import os
from pathlib import Path

from pipelines.foundation.step import Night
from pipelines.settings import ROOT


def searched(night: Night, path: str) -> list[Path]:
    """The places of a path in the order in which they are tried; an absolute one has a single place."""
    if Path(path).is_absolute():
        return [Path(path)]
    folders = [Path(night.usecase.folder), *(ROOT / folder for folder in night.profile.data_folders)]
    return [Path(os.path.normpath(folder / path)) for folder in folders]


def shown(path: Path) -> str:
    """A path as a person would type it: relative to the project where it lies there."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
