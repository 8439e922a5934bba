"""What reading costs in each format: the first file, which pays the imports, and then a megabyte of text.

    python -m bench.reading_cost [--size 300000]

One file of each format with the same words, about `--size` characters in paragraphs, headings and a table; each
format in a process of its own. The median of three runs after the first.
"""

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.record import record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from office_files import e_book, excel97, open_document, powerpoint97, word97

_WORDS = "the pump moves water through a valve and keeps its pressure while the motor turns at a steady speed".split()


def paragraphs(size: int) -> list[str]:
    """Paragraphs of about 400 characters, the same each time."""
    chance = random.Random(0)
    return [" ".join(chance.choices(_WORDS, k=80)).capitalize() + "." for _ in range(max(1, size // 430))]


def made(suffix: str, size: int) -> bytes:
    """A file of the format with the words."""
    texts = paragraphs(size)
    target = io.BytesIO()
    if suffix == ".docx":
        import docx

        word = docx.Document()
        for at, text in enumerate(texts):
            if at % 10 == 0:
                word.add_heading(f"Section {at}", 1)
            word.add_paragraph(text)
        word.save(target)
    elif suffix == ".pptx":
        import pptx

        show = pptx.Presentation()
        for at in range(0, len(texts), 2):
            slide = show.slides.add_slide(show.slide_layouts[1])
            slide.shapes.title.text, slide.placeholders[1].text = f"Slide {at}", "\n".join(texts[at : at + 2])
        show.save(target)
    elif suffix == ".xlsx":
        import openpyxl

        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("Words")
        for text in texts:
            words = text.split()
            for at in range(0, len(words), 8):
                sheet.append([*words[at : at + 8], 1.5])
        book.save(target)
    else:
        return _written(suffix, texts)
    return target.getvalue()


def _written(suffix: str, texts: list[str]) -> bytes:
    page = "".join(f"<h2>Section {at}</h2><p>{text}</p>" for at, text in enumerate(texts))
    match suffix:
        case ".html":
            return f"<html><body>{page}</body></html>".encode()
        case ".eml":
            return b"From: a@example.org\nSubject: Pump\n\n" + "\n\n".join(texts).encode()
        case ".epub":
            return e_book("Pump", {f"{at}.xhtml": page[at : at + 20_000] for at in range(0, len(page), 20_000)})
        case ".odt":
            return open_document("text", "".join(f"<text:p>{text}</text:p>" for text in texts))
        case ".rtf":
            return b"{\\rtf1\\ansi " + b"".join(text.encode() + b"\\par " for text in texts) + b"}"
        case ".doc":
            # A page of properties holds few paragraphs, and the maker writes one page.
            return word97([(" ".join(texts[at::10]) + "\r", 0, b"") for at in range(10)])
        case ".ppt":
            return powerpoint97([(f"Slide {at}", texts[at : at + 2], "") for at in range(0, len(texts), 2)])
        case ".xls":
            rows = [[*words[at : at + 8], 1.5] for words in map(str.split, texts) for at in range(0, len(words), 8)]
            return excel97({"Words": rows})
        case ".md":
            return "\n\n".join(f"## Section {at}\n\n{text}" for at, text in enumerate(texts)).encode()
        case ".csv":
            return "\n".join(",".join(text.split()) for text in texts).encode()
    return "\n\n".join(texts).encode()


SUFFIXES = (
    *(".docx", ".pptx", ".xlsx", ".html", ".eml", ".epub", ".odt", ".rtf", ".doc", ".ppt", ".xls", ".md", ".csv"),
    ".txt",
)


def main() -> None:
    """Measure and record."""
    arguments = argparse.ArgumentParser(description="What reading costs in each format.")
    arguments.add_argument("--size", type=int, default=300_000)
    arguments.add_argument("--read", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.read:
        print(json.dumps(_measured(*given.read)))
        return
    figures = {}
    for suffix in SUFFIXES:
        with tempfile.TemporaryDirectory() as folder:
            small, large = Path(folder, f"small{suffix}"), Path(folder, f"large{suffix}")
            small.write_bytes(made(suffix, 500))
            large.write_bytes(made(suffix, given.size))
            command = [sys.executable, "-m", "bench.reading_cost", "--read", str(small), str(large)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
            figures[suffix] = json.loads(done.stdout)
    record("formats", {"characters": given.size, "formats": figures})


def _measured(small: Path, large: Path) -> dict[str, float]:
    from ingest.parse import parse

    started = time.perf_counter()
    parse(small, small.name)
    first = time.perf_counter() - started
    seconds: dict[Path, list[float]] = {small: [], large: []}
    for path in (small, large) * 3:
        started = time.perf_counter()
        document = parse(path, path.name)
        seconds[path].append(time.perf_counter() - started)
    return {
        "first, s": round(first, 3),
        "a small one, ms": round(1000 * median(seconds[small]), 2),
        "s for a megabyte of text": round(median(seconds[large]) / len(document.text) * 1e6, 3),
        "file bytes": large.stat().st_size,
    }


if __name__ == "__main__":
    main()
