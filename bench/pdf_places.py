"""Are the places of a PDF's pieces true? Page, box and reading order against two other readers' word.

`python -m bench.pdf_places FOLDER [--pages JSONL] [--per-file N] [--name NAME]`: every PDF below the folder is read by
us and, on up to N of its pages, by pdfplumber. Runs of five words that stand on one page only are looked up in our
text: found or not, on the same page or not, inside the piece's box (3 points of tolerance) or not. `--pages` names a
file of page texts in reading order, `{"_id": "name.pdf#p0000", "text": …}`: neighbouring runs there should be
neighbours here.
"""

import argparse
import bisect
import itertools
import json
import logging
import re
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pdfplumber

from bench.record import record
from ingest.parse import parse
from rag.errors import ParseError
from rag.types import Box, Document

RUN = 5
TOLERANCE = 3.0
_FOREIGN = re.compile(r"\(cid:|[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")


def plain(text: str) -> str:
    """Letters and digits alone: what two readers of one page must agree on."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text)).casefold()


class Ours:
    """Our reading of a PDF, to look runs of words up in."""

    def __init__(self, document: Document) -> None:
        self.pieces = document.pieces
        self.starts: list[int] = []
        parts: list[str] = []
        length = 0
        for piece in self.pieces:
            self.starts.append(length)
            parts.append(plain(document.text[piece.start : piece.end]))
            length += len(parts[-1])
        self.text = "".join(parts)

    def places(self, words: str) -> list[int]:
        found, at = [], self.text.find(words)
        while at >= 0 and len(found) < 200:
            found.append(at)
            at = self.text.find(words, at + 1)
        return found

    def pieces_at(self, start: int, end: int) -> list[Any]:
        first = bisect.bisect_right(self.starts, start) - 1
        return list(self.pieces[first : bisect.bisect_left(self.starts, end)])


def runs(path: Path, per_file: int) -> Iterator[tuple[int, str, Box]]:
    """Page, letters and box of runs of words on one line, as pdfplumber sees them."""
    with pdfplumber.open(path) as pdf:
        count = len(pdf.pages)
        for number in sorted({round(i * (count - 1) / max(1, per_file - 1)) for i in range(per_file)}):
            page = pdf.pages[number]
            left, top, *_ = page.cropbox if page.rotation == 0 else page.bbox
            words = page.extract_words(use_text_flow=True)
            at = 0
            while at + RUN <= len(words):
                run = words[at : at + RUN]
                at += 1
                # It does not map every font's characters, and has Arabic and Hebrew from left to right.
                if any(_FOREIGN.search(w["text"]) for w in run):
                    continue
                gaps = [b["x0"] - a["x1"] for a, b in itertools.pairwise(run)]
                if max(w["top"] for w in run) - min(w["top"] for w in run) < 3 and -2 < min(gaps) <= max(gaps) < 15:
                    at += RUN - 1
                    yield (
                        number + 1,
                        plain("".join(w["text"] for w in run)),
                        (
                            min(w["x0"] for w in run) - left,
                            min(w["top"] for w in run) - top,
                            max(w["x1"] for w in run) - left,
                            max(w["bottom"] for w in run) - top,
                        ),
                    )
            page.close()


def contains(box: Box | None, other: Box) -> bool:
    """Whether `other`'s middle line lies within `box`: two readers take the height of type differently."""
    if box is None:
        return False
    middle = (other[1] + other[3]) / 2
    across = box[0] - TOLERANCE <= other[0] and other[2] <= box[2] + TOLERANCE
    return across and box[1] - TOLERANCE <= middle <= box[3] + TOLERANCE


def places(ours: Ours, seen: Iterable[tuple[int, str, Box]]) -> Counter[str]:
    """Counts of runs: looked up, found, on the right page, in the right box."""
    pages: dict[str, set[int]] = defaultdict(set)
    boxes: dict[str, tuple[int, Box]] = {}
    for page, words, box in seen:
        pages[words].add(page)
        boxes[words] = (page, box) if words not in boxes else (0, box)
    counts: Counter[str] = Counter()
    for words, (page, box) in boxes.items():
        if len(pages[words]) > 1 or not page or len(words) < 15:
            continue
        counts["runs"] += 1
        found = [ours.pieces_at(at, at + len(words)) for at in ours.places(words)]
        if not found:
            continue
        counts["found"] += 1
        right = [pieces for pieces in found if page in {piece.page for piece in pieces}]
        counts["page"] += bool(right)
        counts["box"] += any(contains(_union([p.box for p in pieces if p.page == page]), box) for pieces in right)
    return counts


def _union(boxes: list[Box | None]) -> Box | None:
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    return (min(b[0] for b in known), min(b[1] for b in known), max(b[2] for b in known), max(b[3] for b in known))


def order(ours: Ours, texts: Iterable[str]) -> Counter[str]:
    """Of neighbouring runs in the page texts that are found once each, how many follow each other here."""
    counts: Counter[str] = Counter()
    for text in texts:
        words = [plain(word) for word in text.split()]
        before = -1
        for at in range(0, len(words) - RUN, RUN):
            run = "".join(words[at : at + RUN])
            found = ours.places(run) if len(run) >= 15 else []
            here = found[0] if len(found) == 1 else -1
            if before >= 0 and here >= 0:
                counts["pairs"] += 1
                counts["in order"] += 0 <= here - before < 60
            before = here + len(run) if here >= 0 else -1
    return counts


def shares(counts: Counter[str]) -> dict[str, Any]:
    """The figures of a file or of all."""
    found, page = counts["found"], counts["page"]
    figures: dict[str, Any] = {
        "runs": counts["runs"],
        "found": round(found / max(1, counts["runs"]), 4),
        "page right": round(page / max(1, found), 4),
        "box right": round(counts["box"] / max(1, page), 4),
    }
    if counts["pairs"]:
        figures["in order"] = round(counts["in order"] / counts["pairs"], 4)
    return figures


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--per-file", type=int, default=8)
    parser.add_argument("--name", default="pdf-places")
    asked = parser.parse_args()
    logging.getLogger("pdfminer").setLevel(logging.ERROR)
    texts: dict[str, list[str]] = defaultdict(list)
    if asked.pages:
        for line in asked.pages.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            texts[row["_id"].partition("#")[0]].append(row["text"])
    total: Counter[str] = Counter()
    files: dict[str, Any] = {}
    seconds, size = 0.0, 0
    for path in sorted(asked.folder.rglob("*.pdf")):
        name = path.relative_to(asked.folder).as_posix()
        began = time.process_time()
        size += path.stat().st_size
        try:
            document = parse(path, name)
        except ParseError as exc:
            files[name] = f"{type(exc).__name__}: {exc}"
            continue
        finally:
            seconds += time.process_time() - began
        ours = Ours(document)
        try:
            counts = places(ours, runs(path, asked.per_file))
        except Exception as exc:  # noqa: BLE001 -- the other reader's trouble is no figure of ours
            files[name] = f"pdfplumber: {type(exc).__name__}"
            continue
        counts += order(ours, texts[path.name])
        files[name] = shares(counts)
        total += counts
    summary = shares(total)
    figures = {"processor seconds of ours, without Tesseract": round(seconds, 2), "MB": round(size / 1e6, 2)}
    record(asked.name, {**figures, "all": summary, "files": files})


if __name__ == "__main__":
    main()
