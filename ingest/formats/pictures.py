"""Pictures in a document, in the words of whoever looks at them for us: a model that sees."""

import hashlib
import io
import warnings
from collections.abc import Callable
from typing import Any

from ingest.formats.blocks import Blocks, one_line
from rag.types import IMAGE_DESCRIPTION

Look = Callable[[bytes], str]
"""What a picture, a JPEG, shows; "" where nobody can tell."""

_LEAST_SIDE = 80  # pixels: what is smaller is a bullet, a line or an icon
_LONGEST_SIDE = 1024  # what is larger is scaled down: models that see do so themselves
_MOST_PIXELS = 100_000_000  # what a file claims beyond that is not decoded
_MOST_PICTURES = 50  # of one document


class Pictures:
    """The pictures of one document. Each is looked at once, however often it stands there."""

    def __init__(self, look: Look | None) -> None:
        self._look = look
        self._seen: set[bytes] = set()
        self._described = 0

    @property
    def wanted(self) -> bool:
        """Whether anybody looks at pictures, and how many may still come."""
        return self._look is not None and len(self._seen) < _MOST_PICTURES

    def words(self, picture: Any) -> str:
        """What is in a picture of Pillow's, on one line, marked as a description; "" where there is none to be had."""
        if not self.wanted or min(picture.size) < _LEAST_SIDE or picture.width * picture.height > _MOST_PIXELS:
            return ""
        picture = picture.convert("RGB")
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        target = io.BytesIO()
        picture.save(target, "JPEG", quality=85)
        data = target.getvalue()
        name = hashlib.sha256(data).digest()
        if name in self._seen or self._look is None:
            return ""
        self._seen.add(name)
        said = one_line(self._look(data))
        if not said:
            return ""
        self._described += 1
        return f"Image: {said}"

    def words_in(self, data: bytes) -> str:
        """The same of a picture as it stands in a file; "" also where that is none that can be read."""
        if not self.wanted:
            return ""
        from PIL import Image

        try:
            with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
                picture = Image.open(io.BytesIO(data))
            return self.words(picture)
        except (Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError):
            return ""  # a drawing of vectors, or damaged: its document is read without it

    def metadata(self) -> dict[str, str]:
        """How many pictures are described."""
        return {"images_described": str(self._described)} if self._described else {}


def put_words(blocks: Blocks, words: str, page: int | None) -> None:
    """A description as a block that its headings tell from the document's own words."""
    blocks.aside(IMAGE_DESCRIPTION, words, page)
