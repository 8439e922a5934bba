"""Record files: a document a record, bad records told, and memory that does not grow with the file."""

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_containers import OPTIONS, read, reasons, texts

from ingest.parse import ReadOptions, Unread, read_all
from rag.types import Document

LINES = [
    '{"id": "a", "title": "One", "body": "first  words here", "by": {"name": "Ann"}, "n": 1.50, "tags": ["x", "y"]}',
    "",
    '{"id": 7, "title": "Two", "body": "second words\\n\\nnew paragraph", "ok": true, "none": null}',
    "{broken",
    '{"title": "no id", "body": "words"}',
    '{"id": "a", "body": "again"}',
    '{"id": "empty", "body": "  "}',
    "[1]",
]


def test_records(tmp_path: Path) -> None:
    found = read(tmp_path, "a.jsonl", "\n".join(LINES), OPTIONS)
    one, two = (document for document in found if isinstance(document, Document))
    assert (one.source, one.title, one.text) == ("a.jsonl#a", "One", "first  words here")
    assert one.metadata == {"id": "a", "by.name": "Ann", "n": "1.50", "tags": "x, y"}
    assert (two.source, two.text, len(two.pieces)) == ("a.jsonl#7", "second words\n\nnew paragraph", 2)
    assert two.metadata == {"id": "7", "ok": "true"}
    told = reasons(found)
    assert list(told) == [
        "a.jsonl#line-4",
        "a.jsonl#line-5",
        "a.jsonl#line-6",
        "a.jsonl#empty",
        "a.jsonl#line-8",
    ]
    assert "line 4 is not JSON" in told["a.jsonl#line-4"]
    assert "no field 'id'" in told["a.jsonl#line-5"]
    assert "the id 'a' of line 1" in told["a.jsonl#line-6"]
    assert "line 7 holds no text in 'body'" in told["a.jsonl#empty"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "jsonl.gz"])
def test_records_of_each_kind(tmp_path: Path, kind: str, encoding: str) -> None:
    rows = [("k1", "Größe der Pumpe", "über alle Maßen groß"), ("k2", "Öl", 'mit "Zitat", und\nZeile')]
    if kind in {"csv", "tsv"}:
        mark = "," if kind == "csv" else "\t"
        quoted = ['"' + cell.replace('"', '""') + '"' for row in rows for cell in row]
        content = mark.join(("id", "title", "body")) + "\r\n"
        content += "\r\n".join(mark.join(quoted[at : at + 3]) for at in (0, 3)) + "\r\n"
    else:
        records = [dict(zip(("id", "title", "body"), row, strict=True)) for row in rows]
        as_lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
        content = json.dumps(records, ensure_ascii=False) if kind == "json" else as_lines
    data = content.encode(encoding)
    found = read(tmp_path, f"a.{kind}", gzip.compress(data) if kind.endswith("gz") else data, OPTIONS)
    documents = [one for one in found if isinstance(one, Document)]
    assert [(one.source.rpartition("#")[2], one.title, one.text) for one in documents] == rows
    assert len(found) == 2


def test_bad_rows_of_a_table(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", "id,body\n1,some words\n2,too,many,cells\n3\n,no id\n4,last", OPTIONS)
    assert texts(found) == {"a.csv#1": "some words", "a.csv#4": "last"}
    assert "4 cells where the header has 2" in reasons(found)["a.csv#line-3"]
    assert len(found) == 5


def test_fields_that_look_like_text_are_the_text(tmp_path: Path) -> None:
    record = {"key": "A-1", "note": "a note of several words", "url": "http://example.org/a", "day": "2024-05-01"}
    [one] = read(tmp_path, "a.ndjson", json.dumps(record), ReadOptions(record_id="key"))
    assert isinstance(one, Document)
    assert one.text == "a note of several words"
    assert one.metadata == {"key": "A-1", "url": "http://example.org/a", "day": "2024-05-01"}
    [numbered] = read(tmp_path, "b.ndjson", json.dumps(record), ReadOptions(record_text=("note",)))
    assert numbered.source == "b.ndjson#000001"
    nested = ReadOptions(record_id="meta.id", record_text=("meta.text",))
    assert texts(read(tmp_path, "c.jsonl", '{"meta": {"id": 1, "text": "words"}}', nested)) == {"c.jsonl#1": "words"}


def test_records_stream_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for number in range(20_000):
            file.write(json.dumps({"id": number, "body": f"{number} words " * 100}) + "\n")
        file.write('{"id": "long", "body": "' + "x" * 3_000_000 + '"}\n{"id": "last", "body": "end"}\n')
    assert path.stat().st_size > 20_000_000

    def found() -> Iterator[Document | Unread]:
        return read_all(path, "a", ReadOptions("id", ("body",), max_document_bytes=1_000_000))

    tracemalloc.start()
    last: Document | Unread | None = None
    unread = total = 0
    for last in found():
        total += 1
        unread += isinstance(last, Unread)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (total, unread) == (20_002, 1)
    assert last is not None
    assert last.source == "a#last"
    assert peak < 12_000_000
