"""Documents' words in a notebook: HTML without scripts, links or anything to load, on light and dark ground.

Styles stand in the elements: a style sheet in one output would reach the whole notebook.
"""

import html
from collections.abc import Iterable, Sequence

from rag.display import printable

# MathJax, which notebooks run over every output, makes links of $\href{…}{…}$; these classes keep it out.
_FRAME = '<div class="mathjax_ignore tex2jax_ignore" style="max-width:60em;line-height:1.5;overflow-wrap:anywhere">'
_BOX = "border-left:3px solid rgba(128,128,128,.5);margin:.3em 0 .3em .4em;padding:.1em .8em;white-space:pre-wrap"
_MARK = "background:rgba(255,196,0,.35);color:inherit;border-radius:.2em"
_SOFT = "opacity:.75"
_AROUND = 300  # characters shown before a quote, and as many behind it


def html_frame(parts: Iterable[str]) -> str:
    """The parts as one output."""
    return f"{_FRAME}{''.join(parts)}</div>"


def html_text(text: str) -> str:
    """A text as a paragraph that keeps its line breaks."""
    return f'<p style="white-space:pre-wrap">{_escaped(text)}</p>'


def html_note(text: str) -> str:
    """A paragraph that stands back."""
    return f'<p style="{_SOFT}">{_escaped(text)}</p>'


def html_source(title: str, status: str, notes: Sequence[str], passage: str, *, unfolded: bool = False) -> str:
    """A source that unfolds to its place; `passage` is HTML already, as html_passage makes it."""
    said = f" <strong>{_escaped(status)}</strong>" if status else ""
    told = "".join(f'<div style="{_SOFT}">{_escaped(note)}</div>' for note in notes)
    return (
        f'<details{" open" if unfolded else ""} style="margin:.2em 0">'
        f'<summary style="cursor:pointer">{_escaped(title)}{said}</summary>'
        f'{told}<blockquote dir="auto" style="{_BOX}">{passage}</blockquote></details>'
    )


def html_passage(text: str, start: int = 0, end: int = 0) -> str:
    """A passage, or what stands around its characters from `start` to `end`, with these marked."""
    if start >= end:
        return _escaped(text)
    marked = f'<mark style="{_MARK}">{_escaped(text[start:end])}</mark>'
    return f"{_escaped(_end_of(text[:start]))}{marked}{_escaped(_start_of(text[end:]))}"


def html_table(rows: Iterable[tuple[str, object]]) -> str:
    """Names and values, a pair a row."""
    cell = 'style="text-align:left;padding:.1em 1em .1em 0"'
    body = "".join(
        f'<tr><th scope="row" {cell}>{_escaped(name)}</th><td {cell}>{_escaped(str(value))}</td></tr>'
        for name, value in rows
    )
    return f'<table style="color:inherit;margin:.3em 0"><tbody>{body}</tbody></table>'


def html_grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows below the names of their columns; wide ones can be scrolled."""
    style = "text-align:left;vertical-align:top;padding:.15em 1em .15em 0;border-bottom:1px solid rgba(128,128,128,.3)"
    head = "".join(f'<th scope="col" style="{style}">{_escaped(name)}</th>' for name in columns)
    cells = ("".join(f'<td style="{style}">{_escaped(str(cell))}</td>' for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    table = f'<table style="color:inherit;border-collapse:collapse;margin:.3em 0"><thead><tr>{head}</tr></thead>'
    return f'<div style="overflow-x:auto">{table}<tbody>{body}</tbody></table></div>'


def html_list(title: str, items: Iterable[str]) -> str:
    """A list that unfolds below its title."""
    listed = "".join(f"<li>{_escaped(item)}</li>" for item in items)
    return html_folded(title, f"<ul>{listed}</ul>")


def html_folded(title: str, inside: str, *, unfolded: bool = False) -> str:
    """What unfolds below its title; `inside` is HTML already."""
    summary = f'<summary style="cursor:pointer">{_escaped(title)}</summary>'
    return f'<details{" open" if unfolded else ""} style="margin:.2em 0">{summary}{inside}</details>'


def html_draft(text: str) -> str:
    """What is not final, nor checked."""
    return f'<p style="white-space:pre-wrap;{_SOFT};font-style:italic">{_escaped(text)}</p>'


def html_progress(done: int, total: int, text: str) -> str:
    """A bar and what it says, on one line; the words alone when all is done."""
    bar = f'<progress max="{total}" value="{done}" style="vertical-align:middle"></progress> ' if done < total else ""
    return f'<div style="{_SOFT};font-variant-numeric:tabular-nums">{bar}{_escaped(text)}</div>'


def html_picture(png: str, about: str) -> str:
    """A picture, which is a PNG in base64."""
    return (
        f'<img alt="{_escaped(about)}" src="data:image/png;base64,{png}" '
        'style="max-width:100%;border:1px solid rgba(128,128,128,.5)">'
    )


def _end_of(text: str) -> str:
    if len(text) <= _AROUND:
        return text
    end = text[-_AROUND:]
    return "…" + end[end.find(" ") + 1 :]


def _start_of(text: str) -> str:
    if len(text) <= _AROUND:
        return text
    start = text[:_AROUND]
    return start[: start.rfind(" ") + 1] + "…"


def _escaped(text: str) -> str:
    return html.escape(printable(text))
