"""A citation or a hit in its document: the words around it with the place marked, and of a PDF the page."""

import base64
from dataclasses import dataclass
from pathlib import Path

import rag.errors as errors
from ingest.formats.page_image import page_png
from rag.display import as_text, printable
from rag.display_html import html_folded, html_frame, html_note, html_passage, html_picture
from rag.display_markdown import markdown_line, markdown_text
from rag.knowledge_base import KnowledgeBase
from rag.types import Citation, Hit

_AROUND = 1500  # characters shown on both sides
_WIDTH = 1000  # pixels


@dataclass(frozen=True, slots=True)
class View:
    """A place in a document: `quote` with what stands `before` and `after` it, and the page with the place marked.

    `page_png` is None where the document is no PDF, or its file is not to be had; `caveats` are what is to be known of
    the place, as that its file has changed.
    """

    location: str
    before: str
    quote: str
    after: str
    caveats: tuple[str, ...] = ()
    page_png: bytes | None = None

    def __str__(self) -> str:
        words = f"{self.before[-300:]}▶{self.quote}◀{self.after[:300]}"
        return printable("\n".join([self.location, *(f"({caveat})" for caveat in self.caveats), "", words]))

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        told = [markdown_line(told) for told in (self.location, *self.caveats)]
        return "\n\n".join([*told, markdown_text(f"{self.before}▶{self.quote}◀{self.after}")]) + "\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: the page with the place marked, and the words, which unfold; else these alone."""
        text = f"{self.before}{self.quote}{self.after}"
        start = len(self.before)
        words = (
            f'<div dir="auto" style="white-space:pre-wrap">{html_passage(text, start, start + len(self.quote))}</div>'
        )
        parts = [html_note(", ".join((self.location, *self.caveats)))]
        if self.page_png is None:
            return html_frame([*parts, words])
        picture = html_picture(base64.b64encode(self.page_png).decode("ascii"), self.location)
        return html_frame([*parts, picture, html_folded("the words", words)])


def view(base: KnowledgeBase, place: Citation | Hit) -> View:
    """A citation or a hit where it stands in its document. Raises DocumentNotFound where that is gone."""
    whole = base.text(place.source)
    return View(
        location=place.location,
        before=whole[max(0, place.start - _AROUND) : place.start],
        quote=whole[place.start : place.end],
        after=whole[place.end : place.end + _AROUND],
        caveats=place.caveats if isinstance(place, Citation) else (),
        page_png=_page(base, place),
    )


def file_of_its_own(base: KnowledgeBase, source: str) -> Path:
    """A document's file, below the folder that was ingested, whatever links have come there since.

    Raises DocumentNotFound where there is none, as for a document in an archive.
    """
    row = base.store.document(source)
    path = None if row.part_of else base.file_of(source)
    if path is not None and path.is_file():
        folder = path.parents[source.count("/") - 1]
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    raise errors.DocumentNotFound(f"{source} has no file of its own on this machine; its text can be read.")


def _page(base: KnowledgeBase, place: Citation | Hit) -> bytes | None:
    if place.page is None or base.store.document(place.source).parser != "pdf":
        return None
    try:
        return page_png(file_of_its_own(base, place.source), place.page, _WIDTH, place.box)
    except (errors.DocumentNotFound, errors.UnreadableDocument):  # its words are still to be had
        return None
