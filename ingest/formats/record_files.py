"""Files of records as one document a record: read as a stream, so that their size does not matter."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

from ingest.formats.blocks import one_line, same_length
from ingest.formats.records import allow_long_cells, delimiter_of
from ingest.formats.text import decode, encoding_of, text_document
from ingest.members import Budget, ReadOptions, Unread
from rag.errors import EmptyDocument, UnreadableDocument
from rag.types import Document

RECORD_KINDS = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv"})
_HEAD_BYTES = 64 * 1024
_ID_CHARS = 500
# Words between blanks, not a name, a date, an address or a code.
_PROSE = re.compile(r"\S+\s+\S+\s+\S+\s+\S")


@dataclass(frozen=True, slots=True)
class _Record:
    """A record and the number of its line or row, or why it is none."""

    number: int
    fields: dict[str, Any]
    problem: str = ""


def record_documents(stream: BinaryIO, kind: str, source: str, budget: Budget) -> Iterator[Document | Unread]:
    """The records of a JSON Lines, JSON, CSV or TSV file, each a document named `source#id`.

    A record that is broken, has no id or no text, or the id of another one, is Unread with its line. Without a field
    for the id the record's number is its id. Raises UnreadableDocument for binary data and for a JSON file that is
    none, EmptyDocument where there are no records.
    """
    options = budget.options
    used: dict[bytes, int] = {}
    number = 0
    for number, record in enumerate(_records(stream, kind, source, budget), start=1):
        place = f"{'record' if kind == '.json' else 'line'} {record.number}"
        unread = f"{source}#{place.replace(' ', '-')}"
        if record.problem:
            yield Unread(unread, f"{place} {record.problem}")
            continue
        id_ = one_line(_scalar(_found(record.fields, options.record_id)) or "") if options.record_id else f"{number:06}"
        if not id_:
            yield Unread(unread, f"{place} has no field {options.record_id!r} to name it by")
        elif len(id_) > _ID_CHARS:
            yield Unread(unread, f"{place} has an id of {len(id_)} characters")
        elif (before := used.setdefault(_key(id_), record.number)) != record.number:
            yield Unread(unread, f"{place} has the id {id_!r} of line {before}; ids must differ")
        else:
            yield _document(record.fields, f"{source}#{id_}", place, options)
    if not number:
        raise EmptyDocument(f"{source} holds no records")


def _key(id_: str) -> bytes:
    """What is remembered of an id: millions of them have to fit into memory."""
    return hashlib.blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _document(fields: dict[str, Any], source: str, place: str, options: ReadOptions) -> Document | Unread:
    flat = dict(_flattened(fields, ""))
    title = flat.get(options.record_title, "") if options.record_title else ""
    named = options.record_text or tuple(
        name
        for name, value in flat.items()
        if _PROSE.match(value) and name not in (options.record_id, options.record_title)
    )
    words = [value for name in named if (value := flat.get(name, "").strip())]
    text = same_length("\n\n".join(words or [title]).replace("\r\n", "\n").replace("\r", "\n"))
    try:
        document = text_document(text, source)
    except EmptyDocument:
        wanted = f"in {', '.join(map(repr, named))}" if options.record_text else "in any field"
        return Unread(source, f"{place} holds no text {wanted}")
    rest = {name: same_length(value) for name, value in flat.items() if name not in (*named, options.record_title)}
    return replace(document, title=one_line(title), parser="record", metadata={k: v for k, v in rest.items() if v})


def _found(fields: dict[str, Any], name: str) -> object:
    """A field by its name, or by its dotted path."""
    if name in fields:
        return cast("object", fields[name])
    value: Any = fields
    for step in name.split("."):
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return cast("object", value)


def _flattened(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """All fields by their dotted names as text; lists of plain values joined, lists of objects as JSON."""
    for key, inner in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(inner, dict):
            yield from _flattened(inner, name)
        elif isinstance(inner, list) and any(isinstance(member, dict | list) for member in inner):
            yield name, json.dumps(inner, ensure_ascii=False)
        elif isinstance(inner, list):
            yield name, ", ".join(filter(None, map(_scalar, inner)))
        else:
            yield name, _scalar(inner) or ""


def _scalar(value: object) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _records(stream: BinaryIO, kind: str, source: str, budget: Budget) -> Iterator[_Record]:
    if kind == ".json":
        yield from _of_json(decode(budget.read(stream), source), source)
        return
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    lines = io.TextIOWrapper(stream, encoding_of(head, source), errors="replace", newline="")
    try:
        if kind in {".csv", ".tsv"}:
            yield from _of_rows(lines, source)
        else:
            yield from _of_lines(lines, budget.options.max_document_bytes)
    finally:
        lines.detach()  # the stream belongs to the caller


def _of_json(text: str, source: str) -> Iterator[_Record]:
    try:
        value = json.loads(text or "[]", parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as exc:
        raise UnreadableDocument(f"{source} is not JSON: {exc}") from exc
    for number, member in enumerate(value if isinstance(value, list) else [value], start=1):
        yield _checked(number, member)


def _of_lines(lines: io.TextIOWrapper, most: int) -> Iterator[_Record]:
    number = 0
    while line := lines.readline(most):
        number += 1
        if len(line) == most and not line.endswith("\n"):
            while (rest := lines.readline(most)) and not rest.endswith("\n"):
                pass
            yield _Record(number, {}, f"is longer than {most >> 20} MiB")
            continue
        if not line.strip("\ufeff \t\r\n"):
            continue
        try:
            value = json.loads(line.lstrip("\ufeff"), parse_float=str, parse_int=str)
        except (ValueError, RecursionError) as exc:
            yield _Record(number, {}, f"is not JSON: {exc}")
        else:
            yield _checked(number, value)


def _checked(number: int, value: object) -> _Record:
    return _Record(number, value) if isinstance(value, dict) else _Record(number, {}, "is not an object with fields")


def _of_rows(lines: io.TextIOWrapper, source: str) -> Iterator[_Record]:
    """Rows below a header; a row that is wider than the header has lost its place in it."""
    allow_long_cells()
    sample = lines.read(_HEAD_BYTES)
    lines.seek(0)
    rows = csv.reader(lines, delimiter=delimiter_of(sample, source))
    header: list[str] = []
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as exc:
            yield _Record(number, {}, f"is not a row of a table: {exc}")
            continue
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        if not header:
            header = [one_line(cell) or f"column {at}" for at, cell in enumerate(row, start=1)]
        elif any(cell.strip() for cell in row[len(header) :]):
            yield _Record(number, {}, f"has {len(row)} cells where the header has {len(header)}")
        else:
            yield _Record(number, dict(zip(header, row, strict=False)))
