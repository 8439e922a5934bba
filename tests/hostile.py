"""Texts that try to be more than text, and values that hold them."""

from hypothesis import strategies as st

from rag.types import Answer, Citation, CitationStatus, Hit, Place

FRAGMENTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "</blockquote></details><a href='javascript:alert(1)'>",
    "<!--",
    "]]>",
    "&lt;b&gt; &amp; &#60;",
    "[link](javascript:alert(1))",
    "![image](https://evil.example/x.png)",
    "<https://evil.example>",
    "[ref]\n\n[ref]: https://evil.example",
    "[^1]: https://evil.example",
    "https://evil.example/?q=1 www.evil.example a@evil.example",
    "`code` ``` ~~~",
    "\n# heading\n",
    "\n===\n---\n",
    "\n- item\n+ item\n* item\n1. item\n2) item\n",
    "\n    indented\n\ttabbed\n",
    "\n> quoted\n",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "**bold** __bold__ *it* _it_ ~~gone~~",
    "\\[a\\](b) \\",
    "$\\href{javascript:alert(1)}{x}$ \\(x\\)",
    "\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\",
    "\x1b[31m\x1b[2J\x07\x9b31m",
    "\u202eterces\u202c \u2066x\u2069 \u2028 \u2029",
    "\r\n \x00 \ud800",
    "line  \nline",
)
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=12), min_size=1, max_size=6).map("".join).filter(bool)


def hit_of(text: str, name: str = "docs/manual.pdf") -> Hit:
    """A hit made of one text in all its parts."""
    again = Place(name, 2, 0, len(text))
    return Hit(name, "id", text, 3, (text,), 100, 100 + len(text), text, 0.5, None, (again,), (1, 2, 3, 4))


def answer_of(text: str, name: str = "docs/manual.pdf") -> Answer:
    """An answer made of one text in all its parts; what it cites is the middle of a passage."""
    hit = hit_of(f"before {text} after", name)
    citation = Citation(
        n=1,
        source=name,
        page=3,
        headings=(text,),
        start=107,
        end=107 + len(text),
        quote=text,
        status=CitationStatus.VERIFIED,
        stale=True,
        also=hit.also,
        box=hit.box,
    )
    return Answer("q", f"{text} [1]", False, (citation,), (hit,), "m")
