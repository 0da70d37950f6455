"""What the operating system says of a disk, as a message to the person who can mend it."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import UserError

REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def disk(path: Path | str) -> Iterator[None]:
    """A full disk or a missing permission as a UserError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno not in REASONS:
            raise
        raise UserError(
            f"{error.filename or path}: {error.strerror}: free the disk or mend the permissions, then run the step again"
        ) from None
