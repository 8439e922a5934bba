"""What reading a format costs: the same text as each of them, read and cut by the code that the processes run."""

import html
import json
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from bench.corpus import Author
from ingest.frames import FileDone, Job, ReadDocument, Task
from ingest.members import ReadOptions
from ingest.reading import read_file
from rag import tokens

_CHARACTERS = 400_000
_JOB = Job(ReadOptions(), 200, "text-embedding-all-minilm-l6-v2", 1024)


def costs(place: Path) -> dict[str, Any]:
    """Milliseconds of one processor for a megabyte of text in each format, its cutting and counting included."""
    paragraphs = []
    while sum(map(len, paragraphs)) < _CHARACTERS:
        paragraphs.append(Author(len(paragraphs)).paragraph())
    tokens.count("what takes a while the first time")
    found = {}
    for suffix, write in WRITERS.items():
        path = place / f"text.{suffix}"
        write(path, paragraphs)
        _read(path)  # imports what the format needs
        began = time.process_time()
        size = _read(path)
        found[suffix] = {"ms_per_mb": round((time.process_time() - began) * 1e9 / size), "characters": size}
    return found


def _read(path: Path) -> int:
    """Read a file and return how many characters of text it holds."""
    stat = path.stat()
    size = 0
    for answer in read_file(Task(str(path), path.name, stat.st_size, stat.st_mtime_ns), _JOB):
        if isinstance(answer, FileDone) and answer.error:
            raise ValueError(answer.error)
        if isinstance(answer, ReadDocument):
            size += len(answer.text)
    return size


def _markdown(path: Path, paragraphs: list[str]) -> None:
    path.write_text("\n\n".join(f"## Part {at}\n\n{text}" for at, text in enumerate(paragraphs)))


def _html(path: Path, paragraphs: list[str]) -> None:
    body = "\n".join(f"<h2>Part {at}</h2><p>{html.escape(text)}</p>" for at, text in enumerate(paragraphs))
    path.write_text(f"<html><head><title>Text</title></head><body>{body}</body></html>")


def _csv(path: Path, paragraphs: list[str]) -> None:
    path.write_text("number,text\n" + "\n".join(f'{at},"{text}"' for at, text in enumerate(paragraphs)))


def _jsonl(path: Path, paragraphs: list[str]) -> None:
    path.write_text("\n".join(json.dumps({"number": at, "text": text}) for at, text in enumerate(paragraphs)))


def _mail(path: Path, paragraphs: list[str]) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Text", "a@example.org", "b@example.org"
    mail.set_content("\n\n".join(paragraphs))
    path.write_bytes(mail.as_bytes())


def _pdf(path: Path, paragraphs: list[str]) -> None:
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, SimpleDocTemplate

    style = getSampleStyleSheet()["BodyText"]
    SimpleDocTemplate(str(path)).build([Paragraph(text, style) for text in paragraphs])


def _docx(path: Path, paragraphs: list[str]) -> None:
    import docx

    document = docx.Document()
    for text in paragraphs:
        document.add_paragraph(text)
    document.save(str(path))


def _xlsx(path: Path, paragraphs: list[str]) -> None:
    import openpyxl  # type: ignore[import-untyped]

    book = openpyxl.Workbook()
    for at, text in enumerate(paragraphs):
        book.active.append([at, text])
    book.save(path)


WRITERS: dict[str, Callable[[Path, list[str]], None]] = {
    "txt": lambda path, paragraphs: Path.write_text(path, "\n\n".join(paragraphs)) and None,
    "md": _markdown,
    "html": _html,
    "csv": _csv,
    "jsonl": _jsonl,
    "eml": _mail,
    "pdf": _pdf,
    "docx": _docx,
    "xlsx": _xlsx,
}
