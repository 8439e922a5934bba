"""A page of a PDF as a picture, with a passage marked: drawn by a process of its own, which a hostile file may end."""

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

from rag.errors import UnreadableDocument
from rag.types import Box

SECONDS = 20.0
_MOST_PIXELS = 12_000_000  # a long receipt is as wide as was asked, and no higher than this allows
_MARK = (255, 235, 120)  # what a mark leaves of white
_BORDER = (200, 120, 0)

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from ingest.formats.page_image import main; main(*json.loads(sys.argv[2]))"
)


def page_png(path: Path, number: int, width: int, box: Box | None = None) -> bytes:
    """Page `number`, from 1, as a PNG of so many pixels across; `box`, in points from its top left corner, is marked.

    Raises UnreadableDocument for a file that is no PDF, that has no such page, or whose page takes too long.
    """
    task = [str(path), number, width, list(box) if box else None]
    command = [sys.executable, "-P", "-c", _START, json.dumps(sys.path), json.dumps(task)]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as exc:
        raise UnreadableDocument(f"Page {number} of {path.name} takes more than {SECONDS:g} s to draw.") from exc
    if done.returncode or not done.stdout:
        why = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise UnreadableDocument(f"Page {number} of {path.name} cannot be drawn: {why or 'the process crashed'}.")
    return done.stdout


def main(path: str, number: int, width: int, box: list[float] | None) -> None:
    """Draw a page and write it to standard output; a failure is a line on standard error and an exit code of 1."""
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(path)
        if not 1 <= number <= len(pdf):
            sys.exit(f"it has {len(pdf)} pages")
        if pdf.get_formtype() != pypdfium2.raw.FORMTYPE_NONE:
            pdf.init_forms()
        page = pdf[number - 1]
        across, down = page.get_size()
        scale = min(width / max(1.0, across), (_MOST_PIXELS / max(1.0, across * down)) ** 0.5)
        pixels = page.render(scale=scale, rev_byteorder=True).to_numpy()
    except (pypdfium2.PdfiumError, OSError) as exc:
        sys.exit(str(exc))
    rgb = pixels[:, :, :3].copy() if pixels.ndim == 3 else pixels[:, :, None].repeat(3, axis=2)
    if box:
        _mark(rgb, [edge * scale for edge in box], max(1, round(scale)))
    sys.stdout.buffer.write(_png(rgb))


def _mark(pixels: Any, edges: list[float], border: int) -> None:
    """Tint the box as a marker pen does, dark text stays dark, and draw a line round it."""
    height, width = pixels.shape[:2]
    left, top = (max(0, int(edge) - 2 * border) for edge in edges[:2])
    right, bottom = min(width, int(edges[2]) + 2 * border), min(height, int(edges[3]) + 2 * border)
    if left >= right or top >= bottom:
        return
    inside = pixels[top:bottom, left:right]
    for channel, most in enumerate(_MARK):
        inside[:, :, channel] = inside[:, :, channel].astype("uint16") * most // 255
    for side in (inside[:border], inside[-border:], inside[:, :border], inside[:, -border:]):
        side[:] = _BORDER


def _png(pixels: Any) -> bytes:
    """Eight bits for each of three colours, without the filters that make a PNG smaller: pages are mostly white."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 6)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
