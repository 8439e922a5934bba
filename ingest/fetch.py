"""Documents that have no file of the user's: pages by their address, and what is piped in.

This is the only place where an ingest goes to the network, and it goes nowhere that the user did not name.
"""

import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import rag.errors as errors
from ingest.parse import supported
from ingest.sources import STDIN, WEB, File, content_hash, size_and_time
from rag.store.schema import DocumentRow

MAX_BYTES = 256 << 20
MAX_SECONDS = 60.0
_READ_SECONDS = 20.0
_REDIRECTS = 10
_MEMORY = "pages.json"  # in the knowledge base's folder: what servers said of the pages' versions
_MEMORY_BYTES = 64 << 20

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_OFFICE = "application/vnd.openxmlformats-officedocument."
_SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/xml": ".xml",
    "application/xml": ".xml",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/pdf": ".pdf",
    "application/rtf": ".rtf",
    "text/rtf": ".rtf",
    "application/epub+zip": ".epub",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    f"{_OFFICE}wordprocessingml.document": ".docx",
    f"{_OFFICE}presentationml.presentation": ".pptx",
    f"{_OFFICE}spreadsheetml.sheet": ".xlsx",
    "message/rfc822": ".eml",
}
# Encodings of the web. Python knows stranger ones, some of them slow enough to be an attack.
_ENCODING = re.compile(
    r"iso-?8859-\d+|windows-\d+|cp\d+|koi8-[ru]|shift[_-]jis|euc-(jp|kr)|gbk|gb2312|gb18030|big5|iso-2022-jp|tis-620|"
    r"macintosh|utf-16(le|be)?|latin-?1",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Version:
    """What a server said of a page when its content had this hash."""

    content_hash: str
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class _Reply:
    """A page in `path`, or None where it has not changed; `version` is without its hash."""

    path: Path | None
    version: _Version


def is_address(given: str | Path) -> bool:
    """Whether an argument names a page. Raises UsageProblem for an address that we cannot follow."""
    text = str(given) if isinstance(given, str) else ""
    if _ADDRESS.match(text):
        return True
    if _OTHER_SCHEME.match(text):
        raise errors.UsageProblem(f"{text} cannot be fetched: addresses begin with http:// or https://.")
    return False


def source_of(address: str) -> str:
    """The name of a page: `web/`, the host, and the path with its query. Raises UsageProblem where there is no host.

    Scheme, password and fragment do not count: they lead to the same page, or are nobody's business.
    """
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as exc:
        raise errors.UsageProblem(f"{address} is not an address: {exc}") from exc
    if not host:
        raise errors.UsageProblem(f"{address} is not an address: it names no host.")
    place = host if port in (None, 80, 443) else f"{host}:{port}"
    path = re.sub(r"/+", "/", unquote(parts.path, errors="replace")).rstrip("/")
    return f"{WEB}/{place}{path}" + (f"?{parts.query}" if parts.query else "")


@contextmanager
def fetched(
    addresses: Sequence[str], kb: Path, rows: Mapping[str, DocumentRow], *, remember: bool = True
) -> Iterator[list[File]]:
    """The pages as files that live as long as the context, one for each source; failures are the files' problems.

    A page whose server says that it has not changed since `rows` were written costs one short request, and its file
    says what the row says. With `remember`, what servers say of versions is kept beside the knowledge base at `kb`.
    Raises UsageProblem for what is not an address, before anything is fetched.
    """
    wanted = {source_of(address): address for address in addresses}
    if not wanted:
        yield []
        return
    memory = _recalled(kb)
    with tempfile.TemporaryDirectory(prefix="lmstudio-rag-", ignore_cleanup_errors=True) as name:
        files = []
        for number, (source, address) in enumerate(wanted.items()):
            row, known = rows.get(source), memory.get(source)
            is_current = row is not None and row.status == "ok" and known and known.content_hash == row.content_hash
            try:
                reply = _get_in_time(address, known if is_current else None, Path(name) / str(number))
            except errors.UnreadableDocument as exc:
                files.append(File(Path(name), WEB, source, 0, 0, str(exc)))
                continue
            if reply.path is None:
                assert row is not None
                files.append(File(Path(name), WEB, source, row.size, row.mtime_ns))
                continue
            files.append(File(reply.path, WEB, source, *size_and_time(reply.path.stat())))
            memory[source] = _Version(content_hash(reply.path), reply.version.etag, reply.version.last_modified)
        yield files
        if remember and kb.is_dir():
            _memorize(kb, memory)


def piped(stream: BinaryIO, name: str, folder: Path) -> File:
    """What comes in on a stream, as a file in `folder`. Raises UsageProblem for a name that is none, and too much."""
    named = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in named.parts if part not in ("/", ".")]
    if not parts or ".." in parts:
        raise errors.UsageProblem(f"{name!r} is not a name for what is piped in; use one such as notes.md.")
    path = folder / f"piped{named.suffix}"
    with path.open("wb") as out:
        size = 0
        while block := stream.read(1 << 20):
            size += len(block)
            if size > MAX_BYTES:
                raise errors.UsageProblem(f"What is piped in is larger than {MAX_BYTES >> 20} MiB. Save it to a file.")
            out.write(block)
    return File(path, STDIN, "/".join((STDIN, *parts)), *size_and_time(path.stat()))


def _get_in_time(address: str, known: _Version | None, into: Path) -> _Reply:
    """`_get` with an end to it: a server that sends a byte now and then would keep every timeout from running out."""
    result: list[_Reply | errors.RagError] = []

    def work() -> None:
        try:
            result.append(_get(address, known, into))
        except errors.RagError as exc:
            result.append(exc)

    thread = threading.Thread(target=work, daemon=True, name="fetch")
    thread.start()
    thread.join(MAX_SECONDS)
    if not result:
        raise errors.UnreadableDocument(f"the page did not arrive within {MAX_SECONDS:.0f} s")
    if isinstance(result[0], errors.RagError):
        raise result[0]
    return result[0]


def _get(address: str, known: _Version | None, into: Path) -> _Reply:
    """Fetch one page to `into` plus a suffix. Raises UnreadableDocument."""
    import httpx2

    headers = {"User-Agent": "lmstudio-rag", "Accept": "text/html, */*;q=0.8"}
    if known and known.etag:
        headers["If-None-Match"] = known.etag
    if known and known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    until = time.monotonic() + MAX_SECONDS
    try:
        with (
            httpx2.Client(follow_redirects=True, max_redirects=_REDIRECTS, timeout=_READ_SECONDS) as client,
            client.stream("GET", address, headers=headers) as reply,
        ):
            if reply.status_code == 304 and known:
                return _Reply(None, known)
            if reply.status_code != 200:
                raise errors.UnreadableDocument(
                    f"the server answers {reply.status_code} {reply.reason_phrase}".rstrip()
                )
            kind, encoding = _content_type(reply.headers.get("Content-Type", ""))
            path = into.with_suffix(_suffix(kind, str(reply.url)))
            _save(reply.iter_bytes(), path, until)
            if encoding:
                _transcode(path, encoding)
            version = _Version("", reply.headers.get("ETag", ""), reply.headers.get("Last-Modified", ""))
            return _Reply(path, version)
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, UnicodeError) as exc:
        raise errors.UnreadableDocument(f"the page cannot be fetched: {exc or type(exc).__name__}") from exc
    except OSError as exc:
        raise errors.UnreadableDocument(f"the page cannot be kept: {exc.strerror or exc}") from exc


def _save(blocks: Iterator[bytes], path: Path, until: float) -> None:
    size = 0
    with path.open("wb") as out:
        for block in blocks:
            size += len(block)
            if size > MAX_BYTES:
                raise errors.UnreadableDocument(f"the page is larger than {MAX_BYTES >> 20} MiB")
            if time.monotonic() > until:
                raise errors.UnreadableDocument(f"the page did not arrive within {MAX_SECONDS:.0f} s")
            out.write(block)


def _content_type(header: str) -> tuple[str, str]:
    """The type and, where a server declares one that is not UTF-8, the encoding: `text/html`, `windows-1251`."""
    kind, _, parameters = header.partition(";")
    kind = kind.strip().lower()
    found = re.search(r'charset\s*=\s*["\']?([\w.:-]+)', parameters, re.IGNORECASE)
    encoding = found[1] if found and kind.startswith("text/") and _ENCODING.fullmatch(found[1]) else ""
    return kind, encoding


def _suffix(kind: str, address: str) -> str:
    """What the page is, as a suffix: as declared, and where that says nothing, as the address ends."""
    named = PurePosixPath(unquote(urlsplit(address).path)).suffix.lower()
    if kind in _SUFFIXES:
        return _SUFFIXES[kind]
    if re.fullmatch(r"\.\w{1,10}", named) and supported(Path(f"page{named}")):
        return named
    return ".txt" if kind.startswith("text/") else ""


def _transcode(path: Path, encoding: str) -> None:
    """The file in UTF-8 with its mark, which outranks what the page says of itself, as the header did."""
    text = path.read_bytes().decode(encoding, errors="replace")
    path.write_bytes(text.encode("utf-8-sig", errors="replace"))


def _recalled(kb: Path) -> dict[str, _Version]:
    """What is remembered; nothing where the note is damaged, which costs a fetch."""
    try:
        data = (kb / _MEMORY).read_bytes()[:_MEMORY_BYTES]
        return {str(source): _Version(**values) for source, values in json.loads(data).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _memorize(kb: Path, memory: Mapping[str, _Version]) -> None:
    kept = {source: asdict(version) for source, version in memory.items() if version.etag or version.last_modified}
    if not kept:
        return
    written = kb / f"{_MEMORY}.{os.getpid()}"
    written.write_text(json.dumps(kept), encoding="utf-8")
    written.replace(kb / _MEMORY)
