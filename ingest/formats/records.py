"""Tables and records in text files: CSV, TSV, JSON and JSON Lines."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator

from ingest.formats.blocks import Blocks
from ingest.formats.text import decode, parse_text
from rag.errors import UnreadableDocument
from rag.types import Document

_DELIMITERS = ",;\t|"
_SAMPLE_CHARS = 64 * 1024
_WORDS = re.compile(r"\w{2,}[\s\S]*\w{2,}[\s\S]*\w{2,}")
_PIECE_CHARS = 2000
_SHOWN_KEYS = 4
# The default of 128 KiB refuses a cell that holds an article. The limit is the process's, so it is only ever raised.
# A quote that is never closed makes a cell of the rest of the file: that is no cell.
_LONGEST_CELL = 1 << 26


def parse_csv(data: bytes, source: str) -> Document:
    """A CSV or TSV file, one row a piece; the delimiter is the one of `,;\\t|` that cuts its first rows most evenly.

    Raises UnreadableDocument, EmptyDocument.
    """
    text = decode(data, source)
    allow_long_cells()
    blocks = Blocks()
    try:
        blocks.table(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text, source)))
    except csv.Error as exc:
        raise UnreadableDocument(f"{source} is not a table with delimiters: {exc}") from exc
    return blocks.document(source, "", "csv")


def allow_long_cells() -> None:
    """Let the csv module read cells that hold an article."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))


def delimiter_of(text: str, source: str) -> str:
    """The delimiter that gives most rows the same number of cells; csv.Sniffer takes letters and blanks for one."""
    likely = "\t" if source.lower().endswith((".tsv", ".tab")) else ","
    sample = text[:_SAMPLE_CHARS]
    best, best_score = likely, 0.0
    for delimiter in sorted(_DELIMITERS, key=lambda one: one != likely):
        widths = Counter(len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row)
        if not widths:
            break
        width, rows = widths.most_common(1)[0]
        score = rows / widths.total() if width > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best


def parse_json(data: bytes, source: str) -> Document:
    """A JSON file: lines `key: value`, nested keys dotted, in pieces of what belongs together.

    A member of a list is a piece; a large object is cut at its keys, which become headings. A file of one value a line
    is read as JSON Lines, one that is not quite JSON as plain text. Raises UnreadableDocument where it is neither,
    EmptyDocument where it holds no values.
    """
    text = decode(data, source)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as exc:
        if exc.msg == "Extra data" and text[: exc.pos].strip() and "\n" in text[: exc.pos]:
            return parse_json_lines(data, source)
        if _WORDS.search(text):
            return parse_text(data, source)  # with comments, as editors write it, or cut off: its words are there
        raise UnreadableDocument(f"{source} is not JSON: {exc.msg} in line {exc.lineno}, column {exc.colno}") from exc
    except (ValueError, RecursionError) as exc:
        raise UnreadableDocument(f"{source} cannot be read as JSON: {exc}") from exc
    return _filled([value]).document(source, "", "json")


def parse_json_lines(data: bytes, source: str) -> Document:
    """A JSON Lines file, one piece for each record: lines `key: value`, nested keys dotted.

    Raises UnreadableDocument with the number of the first line that is not JSON, EmptyDocument.
    """
    text = decode(data, source)
    if text.lstrip().startswith("["):
        try:
            return _filled([json.loads(text)]).document(source, "", "json")
        except (ValueError, RecursionError):
            pass  # a line of its own may be a list as well
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as exc:
            raise UnreadableDocument(f"{source} line {number} is not JSON: {exc.msg} in column {exc.colno}") from exc
        except (ValueError, RecursionError) as exc:
            raise UnreadableDocument(f"{source} line {number} cannot be read as JSON: {exc}") from exc
    return _filled(records).document(source, "", "jsonl")


def _filled(records: list[object]) -> Blocks:
    blocks = Blocks()
    for record in records:
        _fill(blocks, record, ())
    return blocks


def _fill(blocks: Blocks, value: object, path: tuple[str, ...]) -> None:
    """One value below the keys that lead to it."""
    if isinstance(value, list) and any(isinstance(member, dict | list) for member in value):
        for member in value:
            _fill(blocks, member, path)
        return
    lines = list(_lines(value, ""))
    if not isinstance(value, dict) or sum(map(len, lines)) <= _PIECE_CHARS:
        blocks.stand_below(*path[-_SHOWN_KEYS:])
        blocks.add("\n".join(lines))
        return
    plain = {key: inner for key, inner in value.items() if not isinstance(inner, dict | list)}
    blocks.stand_below(*path[-_SHOWN_KEYS:])
    blocks.add("\n".join(_lines(plain, "")))
    for key, inner in value.items():
        if key not in plain:
            _fill(blocks, inner, (*path, str(key)))


def _lines(value: object, key: str) -> Iterator[str]:
    """A record's values, each on its line behind its dotted key; values that say nothing are left out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _lines(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(member, dict | list) for member in value):
        for number, inner in enumerate(value):
            yield from _lines(inner, f"{key}.{number}" if key else str(number))
    else:
        members = value if isinstance(value, list) else [value]
        said = ", ".join(filter(None, map(_shown, members)))
        if said:
            yield f"{key}: {said}" if key else said


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)
