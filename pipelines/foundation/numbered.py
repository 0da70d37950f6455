"""Files with numbers, each written once and never again, in a folder or under an s3:// prefix: 00000001.json, 00000002.json, ...

Of two writers of the same number one wins: a hard link fails where the name is taken, and so does S3's conditional put.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError

if TYPE_CHECKING:
    from botocore.client import BaseClient

TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")
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
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o444)
                os.link(file.name, folder / name)
        except FileExistsError:
            return False
        except OSError as error:
            raise UserError(f"{self.root} could not be written: {error.strerror}; mend that, then run the step again") from None
        return True

    def read(self) -> dict[str, bytes]:
        """Every file by its name, in order; a file that is half written is not there yet."""
        if self.root.startswith("s3://"):
            return self._get()
        folder = Path(self.root)
        if not folder.is_dir():
            return {}
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file() and not path.name.endswith(".part")}

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
        try:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
            keys = sorted(found["Key"] for page in pages for found in page.get("Contents", []))
            with ThreadPoolExecutor(READERS) as pool:
                bodies = list(pool.map(lambda key: client.get_object(Bucket=bucket, Key=key)["Body"].read(), keys))
        except (BotoCoreError, ClientError) as error:
            raise UserError(f"{self.root} could not be read: {error}") from None
        return {key.rpartition("/")[2]: body for key, body in zip(keys, bodies, strict=True)}

    def _client(self) -> "tuple[str, str, BaseClient]":
        import boto3

        bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        return bucket, prefix.rstrip("/"), boto3.client("s3")
