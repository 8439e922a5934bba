"""Small files beside the tables, in a folder or a bucket, and what a storage's errors mean. Door to obstore."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import rag.errors as errors
from rag.location import Location, Remote, is_plain_http, storage_options, without_secrets

_RETRIES = 3
_PATIENCE = timedelta(seconds=20)  # for one request and its retries; by default they go on for three minutes
_CONNECTING = timedelta(seconds=5)

# What to do, by what storages and the library say of a failure; the first that is in it wins.
_MEANINGS = (
    (
        ("NoSuchBucket", "ContainerNotFound", "bucket does not exist"),
        "There is no bucket {bucket}. Make it, or mend the URL.",
    ),
    (
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed", "401 Unauthorized", "ExpiredToken"),
        "It refuses the credentials. Are {variables} those of this storage?",
    ),
    (
        ("AccessDenied", "403 Forbidden"),
        "These credentials may not do that there. Grant them to list, read, write and delete.",
    ),
    (
        ("169.254.169.254", "credential", "Credential", "Account must be specified", "no Azure account name"),
        "There are no credentials, or none that can be read. Set {variables}.",
    ),
    (
        ("error sending request", "error trying to connect", "dns error", "timed out", "Connection refused"),
        "Nothing answers at {endpoint}. Does it run, and does the network reach it?",
    ),
    (
        ("301 Moved", "PermanentRedirect", "AuthorizationHeaderMalformed"),
        "The bucket is in another region. Set AWS_REGION.",
    ),
)
_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_LOST = "Incompatible transaction"  # of Lance: a commit onto a state that another writer has closed, see lease.py


def explained(place: Remote, exc: BaseException) -> errors.KnowledgeBaseError:
    """An error of a storage, as ours: what happened and what to do. No secret is in it."""
    options = storage_options(place)
    said = str(exc).replace(place.url.partition("://")[2], "")  # whose words mean nothing here
    if _LOST in said:
        return errors.KnowledgeBaseBusy(
            f"Another writer has taken over {place}: this one did not renew its lease in time. What it had committed "
            "stays; run it again."
        )
    for signs, meaning in _MEANINGS:
        if any(sign in said for sign in signs):
            endpoint = re.sub("//[^/@]*@", "//", options.get("aws_endpoint", "")) or f"the {place.scheme} storage"
            what = meaning.format(bucket=place.bucket, variables=_VARIABLES[place.scheme], endpoint=endpoint)
            break
    else:
        what = said.partition("\n")[0][:300]
    return errors.KnowledgeBaseError(
        without_secrets(f"The knowledge base {place} could not be read or written: {what}", options)
    )


@contextmanager
def _storage_errors(place: Remote) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, ValueError) as exc:
        # The library's own words may hold a signed URL, and would stand in a traceback.
        raise explained(place, exc) from None


def lance_options(place: Location) -> dict[str, str] | None:
    """What LanceDB's `storage_options` are for a place; None for a folder."""
    if isinstance(place, Path):
        return None
    options = storage_options(place)
    times = {"client_max_retries": str(_RETRIES), "client_retry_timeout": str(int(_PATIENCE.total_seconds()))}
    return options | times | ({"allow_http": "true"} if is_plain_http(options) else {})


@lru_cache(maxsize=8)
def _opened(place: Remote, options: tuple[tuple[str, str], ...]) -> Any:
    from obstore.store import from_url

    config: Any = dict(options)
    return from_url(
        place.url,
        config=config,
        client_options={"allow_http": is_plain_http(dict(options)), "connect_timeout": _CONNECTING},
        retry_config={"max_retries": _RETRIES, "retry_timeout": _PATIENCE},
    )


def _bucket(place: Remote) -> Any:
    """The storage below a URL. Raises MissingExtra, SettingsError."""
    try:
        import obstore
    except ModuleNotFoundError as exc:
        raise errors.MissingExtra(f"What {place.scheme}:// needs", "cloud") from exc
    del obstore
    options = tuple(sorted(storage_options(place).items()))
    with _storage_errors(place):
        return _opened(place, options)


def has_table(place: Location, table: str) -> bool:
    """Whether there is a table of this name. Raises KnowledgeBaseError where the storage cannot be asked."""
    if isinstance(place, Path):
        return (place / f"{table}.lance").is_dir()
    bucket = _bucket(place)
    with _storage_errors(place):
        return any(True for _ in bucket.list(f"{table}.lance/_versions", chunk_size=1))


def read(place: Location, name: str) -> bytes | None:
    """The content of a file beside the tables, None where there is none. Raises OSError, KnowledgeBaseError."""
    if isinstance(place, Path):
        try:
            return (place / name).read_bytes()
        except FileNotFoundError:
            return None
    found = read_marked(place, name)
    return found[0] if found else None


def write(place: Location, name: str, content: bytes) -> None:
    """Keep a file beside the tables, whole or not at all. Raises OSError, KnowledgeBaseError."""
    if isinstance(place, Remote):
        bucket = _bucket(place)
        with _storage_errors(place):
            bucket.put(name, content)
        return
    unfinished = place / f"{name}.{os.getpid()}.part"
    try:
        unfinished.write_bytes(content)
        unfinished.replace(place / name)
    finally:
        unfinished.unlink(missing_ok=True)


def remove(place: Location, name: str) -> bool:
    """Remove a file beside the tables; whether there was one. Raises OSError, KnowledgeBaseError."""
    existed = read(place, name) is not None
    if isinstance(place, Path):
        (place / name).unlink(missing_ok=True)
    elif existed:
        bucket = _bucket(place)
        with _storage_errors(place):
            bucket.delete(name)
    return existed


def size(place: Location) -> int:
    """Bytes of all files of a knowledge base; links to one file count once."""
    if isinstance(place, Path):
        stats = (file.stat() for file in place.rglob("*") if file.is_file())
        return sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in stats}.values())
    bucket = _bucket(place)
    with _storage_errors(place):
        return sum(int(found["size"]) for some in bucket.list() for found in some)


def read_marked(place: Remote, name: str) -> tuple[bytes, dict[str, str]] | None:
    """An object and the mark of what it was when it was read, for `write_if`; None where there is none."""
    bucket = _bucket(place)
    with _storage_errors(place):
        try:
            found = bucket.get(name)
            return bytes(found.bytes()), _mark(found.meta)
        except FileNotFoundError as exc:
            if any(sign in str(exc) for sign in _MEANINGS[0][0]):
                raise
            return None


def write_if(place: Remote, name: str, content: bytes, mark: dict[str, str] | None) -> dict[str, str] | None:
    """Write an object if it is still what the mark says, or with None if there is none; its new mark.

    The storage does this in one step. None where it was another by then. Raises KnowledgeBaseError.
    """
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    bucket = _bucket(place)
    with _storage_errors(place):
        try:
            return _mark(bucket.put(name, content, mode=mark or "create"))
        except (AlreadyExistsError, PreconditionError):
            return None


def _mark(said: Any) -> dict[str, str]:
    """Amazon and Azure go by the e-tag, Google by the version."""
    return {key: str(said[key]) for key in ("e_tag", "version") if said.get(key)}
