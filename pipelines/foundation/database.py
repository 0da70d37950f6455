"""MLflow's own database on this machine: there whole, or not there.

MLflow makes its SQLite file migration by migration, for some seconds. A process that is killed meanwhile leaves a file
that none after it can open ("table _alembic_tmp_... already exists"), so it is made under another name and then renamed.
"""

import os
from pathlib import Path

from pipelines.foundation.scratch import alone

SCHEME = "sqlite:///"


def prepare(uri: str, artifacts: str) -> None:
    """Make the database of a `sqlite:///` URI where it is missing; other stores have a server that makes them.

    `artifacts`: where runs of MLflow's own experiment Default would leave theirs.
    """
    path = Path(uri.removeprefix(SCHEME))
    if not uri.startswith(SCHEME) or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.parent):
        if path.exists():
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        part = path.with_name(f"{path.name}.part")
        for left in (part, Path(f"{part}-journal")):  # by a process that was killed
            left.unlink(missing_ok=True)
        store = SqlAlchemyStore(f"{SCHEME}{part}", artifacts)
        store.engine.dispose()
        os.replace(part, path)
