"""Links and images in what a model wrote, as words: whoever shows an answer as Markdown or HTML fetches none. Pure.

An image is fetched as soon as it is shown, together with whatever a document had the model put into its address.
"""

import re
from collections.abc import Iterable

_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)|\A\s*(?:```|~~~).*", re.DOTALL)
_IMAGE = re.compile(r"!\[([^\]\n]*)\](?:\([^)\n]*\)|\[[^\]\n]*\])")
_LINK = re.compile(r"\[([^\]\n]*)\]\(\s*<?([^)\s>]*[/:.#?][^)\s>]*)>?[^)\n]*\)")
_MARKER = re.compile(r"\W*\d[\d\W]*")
_ELEMENT = re.compile(
    r"</?(?:a|audio|base|embed|form|iframe|image|img|input|link|meta|object|picture|script|source|style|svg|video)"
    r"(?:[\s/][^>]*)?>",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"(?:(?:https?|ftp|file|javascript|vbscript):|data:\w+/|//[\w-]+\.)[^\s<>\"'`\])]+", re.IGNORECASE
)
_END = ".,;:!?"

LEFT_OUT = "(…)"  # no words, for those would be looked for in the sources


def unlinked(text: str, sources: Iterable[str]) -> str:
    """A text whose links and images are words, and whose addresses are those that stand in the sources as they are.

    Code stays as it is.
    """
    known = "\n".join(sources)
    parts: list[str] = []
    done = 0
    for code in _CODE.finditer(text):
        parts += [_prose(text[done : code.start()], known), code[0]]
        done = code.end()
    return "".join([*parts, _prose(text[done:], known)])


def _prose(text: str, known: str) -> str:
    text = _ELEMENT.sub("", _LINK.sub(_words, _IMAGE.sub(r"\1", text)))
    return _ADDRESS.sub(lambda found: _address(found[0], known), text)


def _words(link: re.Match[str]) -> str:
    """A link's text and address; of a marker that a model made a link of, the marker."""
    return f"[{link[1]}]" if _MARKER.fullmatch(link[1]) else f"{link[1]} ({link[2]})"


def _address(written: str, known: str) -> str:
    address = written.rstrip(_END)
    return written if address in known else LEFT_OUT + written[len(address) :]
