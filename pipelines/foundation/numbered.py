"""Files with numbers, each written once and never again, in a folder or under an s3:// prefix: 00000001.json, 00000002.json, ...

Of two writers of the same number one wins: a hard link fails where the name is taken, and so does S3's conditional put.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError
from pipelines.foundation.scratch import alone

if TYPE_CHECKING:
    from botocore.client import BaseClient

TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")
DRAFT = "draft.part"
READERS = 16  # objects fetched at once


class Numbered(NamedTuple):
    """The files of one folder."""

    root: str  # folder or s3:// URI

    def create(self, number: int, content: bytes) -> bool:
        """Write a file that is not there yet; returns False where another writer was first."""
        name = f"{number:08d}.json"
        if self.root.startswith("s3://"):
            return self._put(name, content)
        folder = Path(self.root)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with alone(folder):  # so that one name of a draft is enough, and a killed writer's is removed by the next one
                draft = folder / DRAFT
                draft.unlink(missing_ok=True)  # not written over: it may be a second name of a whole file
                with draft.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                    os.fchmod(file.fileno(), 0o444)
                try:
                    os.link(draft, folder / name)
                finally:
                    draft.unlink()
        except FileExistsError:
            return False
        except OSError as error:
            raise UserError(f"{self.root} could not be written: {error.strerror}; mend that, then run the step again") from None
        return True

    def read(self) -> dict[str, bytes]:
        """Every file by its name, in order; a file that is half written is not there yet."""
        if self.root.startswith("s3://"):
            return self._get()
        return {name: Path(self.root, name).read_bytes() for name in self._files()}

    def get(self, number: int) -> bytes | None:
        """One file, None where it is not there."""
        name = f"{number:08d}.json"
        if not self.root.startswith("s3://"):
            path = Path(self.root, name)
            return path.read_bytes() if path.is_file() else None
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, prefix, client = self._client()
        try:
            return client.get_object(Bucket=bucket, Key=f"{prefix}/{name}")["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise UserError(f"{self.root} could not be read: {error}") from None
        except BotoCoreError as error:
            raise UserError(f"{self.root} could not be read: {error}") from None

    def last(self) -> int:
        """The highest number; 0 where there is no file."""
        names = self._keys() if self.root.startswith("s3://") else self._files()
        return max((int(name[:8]) for name in names), default=0)

    def _put(self, name: str, content: bytes) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, prefix, client = self._client()
        try:
            client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=content, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in TAKEN:
                return False
            raise UserError(f"{self.root} could not be written: {error}") from None
        except BotoCoreError as error:
            raise UserError(f"{self.root} could not be written: {error}") from None
        return True

    def _get(self) -> dict[str, bytes]:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, prefix, client = self._client()
        names = self._keys()
        try:
            with ThreadPoolExecutor(READERS) as pool:
                bodies = list(pool.map(lambda name: client.get_object(Bucket=bucket, Key=f"{prefix}/{name}")["Body"].read(), names))
        except (BotoCoreError, ClientError) as error:
            raise UserError(f"{self.root} could not be read: {error}") from None
        return dict(zip(names, bodies, strict=True))

    def _files(self) -> list[str]:
        """Names in the folder; what is half written ends in .part."""
        folder = Path(self.root)
        return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".part") if folder.is_dir() else []

    def _keys(self) -> list[str]:
        """Names under the prefix."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, prefix, client = self._client()
        try:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
            return sorted(found["Key"].rpartition("/")[2] for page in pages for found in page.get("Contents", []))
        except (BotoCoreError, ClientError) as error:
            raise UserError(f"{self.root} could not be read: {error}") from None

    def _client(self) -> "tuple[str, str, BaseClient]":
        bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        return bucket, prefix.rstrip("/"), _s3(self.root, os.getpid())


@functools.cache
def _s3(root: str, process: int) -> "BaseClient":
    """One client a folder and process: making one takes longer than most requests, and a fork must not share its connections."""
    import boto3

    return boto3.client("s3")
