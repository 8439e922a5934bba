"""Tables and records in text files: CSV, TSV, JSON and JSON Lines."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator

from ingest.blocks import Blocks
from ingest.text import decode
from rag.errors import UnreadableDocument
from rag.types import Document

_DELIMITERS = ",;\t|"
_SAMPLE_CHARS = 64 * 1024
# The default of 128 KiB refuses a cell that holds an article. The limit is the process's, so it is only ever raised.
_LONGEST_CELL = 2**31 - 1


def parse_csv(data: bytes, source: str) -> Document:
    """A CSV or TSV file, one row a piece; the delimiter is the one of `,;\\t|` that cuts its first rows most evenly.

    Raises UnreadableDocument, EmptyDocument.
    """
    text = decode(data, source)
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    blocks = Blocks()
    try:
        blocks.table(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, source)))
    except csv.Error as exc:
        raise UnreadableDocument(f"{source} is not a table with delimiters: {exc}") from exc
    return blocks.document(source, "", "csv")


def _delimiter(text: str, source: str) -> str:
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
    """A JSON file, one piece for its object, or for each member of its list: lines `key: value`, nested keys dotted.

    Raises UnreadableDocument where it is not JSON, EmptyDocument where it holds no values.
    """
    text = decode(data, source)
    try:
        value = json.loads(text)
        records = value if isinstance(value, list) else [value]
        blocks = _filled(records)
    except json.JSONDecodeError as exc:
        raise UnreadableDocument(f"{source} is not JSON: {exc.msg} in line {exc.lineno}, column {exc.colno}") from exc
    except (ValueError, RecursionError) as exc:
        raise UnreadableDocument(f"{source} cannot be read as JSON: {exc}") from exc
    return blocks.document(source, "", "json")


def parse_json_lines(data: bytes, source: str) -> Document:
    """A JSON Lines file, one piece for each record: lines `key: value`, nested keys dotted.

    Raises UnreadableDocument with the number of the first line that is not JSON, EmptyDocument.
    """
    records = []
    for number, line in enumerate(decode(data, source).split("\n"), start=1):
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
        blocks.add("\n".join(_lines(record, "")))
    return blocks


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
