"""Objects on S3 and whatever speaks its protocol: listed, told apart without being fetched, and fetched."""

import contextlib
import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import UserError

if TYPE_CHECKING:
    from botocore.client import BaseClient


class Object(NamedTuple):
    """One object."""

    uri: str
    name: str  # without its prefix
    mark: str  # key, ETag, size, time of its last change: the bytes are the same while it is


def list_objects(uri: str) -> list[Object]:
    """Objects under a prefix, or those that a glob stands for."""
    bucket, _, pattern = uri.removeprefix("s3://").partition("/")
    prefix = re.split(r"[*?\[]", pattern)[0]
    found = []
    with _client(uri) as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                key = item["Key"]
                if prefix == pattern or fnmatch.fnmatchcase(key, pattern):
                    mark = f"{key} {item['ETag']} {item['Size']} {item['LastModified'].isoformat()}"
                    found.append(Object(f"s3://{bucket}/{key}", key.rpartition("/")[2], mark))
    return sorted(found)


def fetch(uri: str, path: Path) -> None:
    """Write an object to a file."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with _client(uri) as client:
        client.download_file(bucket, key, str(path))


def store(uri: str, path: Path) -> None:
    """Write a file over an object, and remove the object's older versions."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with _client(uri) as client:
        client.upload_file(str(path), bucket, key)
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
            for old in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if old["Key"] == key and not old["IsLatest"]:
                    client.delete_object(Bucket=bucket, Key=key, VersionId=old["VersionId"])


@contextlib.contextmanager
def _client(uri: str) -> Iterator["BaseClient"]:
    """A client that takes its endpoint and credentials from the environment (AWS_*); its errors name the URI."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield boto3.client("s3")
    except (BotoCoreError, ClientError) as error:
        raise UserError(
            f"{uri} could not be read or written: {error}. Check the bucket, and AWS_ENDPOINT_URL and the credentials in the environment"
        ) from None
