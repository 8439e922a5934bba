"""LaTeX: its words and formulas, under its sections. The only door to pylatexenc.

Pandoc reads LaTeX too, but stops at the first macro or environment that it does not know how to parse.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ingest.formats.blocks import Blocks, one_line
from ingest.formats.text import decode, parse_text
from rag.types import Document, Kind

if TYPE_CHECKING:
    from pylatexenc.latex2text import LatexNodes2Text
    from pylatexenc.latexwalker import LatexNode

_LEVELS = {
    "part": 1,
    "chapter": 1,
    "section": 2,
    "subsection": 3,
    "subsubsection": 4,
    "paragraph": 5,
    "subparagraph": 6,
}
_VERBATIM = frozenset({"verbatim", "lstlisting", "minted", "Verbatim", "alltt", "comment", "filecontents"})
_MATH = frozenset("equation align gather multline eqnarray displaymath math alignat flalign dmath split".split())
_LISTS = frozenset({"itemize", "enumerate", "description", "thebibliography", "compactitem", "compactenum"})
_TABULAR = frozenset({"tabular", "tabularx", "longtable", "array", "tabulary", "supertabular"})
_HEADED = {"abstract": "Abstract", "thebibliography": "References"}
_SETTINGS = frozenset(
    "usepackage documentclass newcommand renewcommand providecommand def let newenvironment title author date thanks "
    "maketitle bibliographystyle bibliography label vspace hspace includegraphics input include setlength pagestyle "
    "thispagestyle definecolor hypersetup newtheorem DeclareMathOperator graphicspath tableofcontents addtolength "
    "setcounter geometry lstset titleformat centering noindent looseness clearpage newpage".split()
)
_RULES = re.compile(
    r"\\(?:hline|toprule|midrule|bottomrule|endhead|endfirsthead|endfoot|(?:cline|cmidrule)(?:\([^)]*\))?\{[^}]*\})"
)
_NEW_ROW = re.compile(r"\\\\(?:\[[^\]]*\])?|\\tabularnewline")
_NEW_CELL = re.compile(r"(?<!\\)&")
_COLUMNS = re.compile(r"\s*(?:\[[^\]]*\])?\s*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\s*)*")
_END = "\\end{document}"
_SHORTHAND = re.compile(r"\\(?:def\s*\\(\w+)|(?:re)?newcommand\*?\s*\{?\s*\\(\w+)\s*\}?)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_LENGTHS = re.compile(
    r"\\(?:looseness|parskip|parindent|baselineskip|tabcolsep)\s*=?\s*-?[\d.]+[a-z]*|\\subfloat(?:\[[^\]]*\])*"
)
_CAPTION_OF = re.compile(r"\\captionof\*?\s*\{\w+\}")
_INNER_TABLE = re.compile(
    r"\\begin\{(?:tabular|array)\}(?:\[\w\])?\{(?:[^{}]|\{[^{}]*\})*\}((?:(?!\\begin).){0,2000}?)\\end\{(?:tabular|array)\}",
    re.S,
)
_OPTIONS = re.compile(r"\s*\[[^\]]*\]")
_SHORTHANDS_IN_SHORTHANDS = 3
_GROWTH_CHARS = 100_000
_LONGEST_CHARS = 1_000_000  # the library takes some ten seconds for them
_DEEPEST = 80  # of braces in braces; the library recurses, and no author goes deeper


def parse_tex(data: bytes, source: str) -> Document:
    """A LaTeX file: macros give way to their words, formulas stay as they are written, comments are left out.

    Files that it includes are read by themselves. One that defies reading is read as plain text. Raises
    UnreadableDocument for binary data, EmptyDocument.
    """
    text = decode(data, source)
    body = text.partition(_END)[0]
    if _depth(body) > _DEEPEST or len(body) > _LONGEST_CHARS:
        return parse_text(data, source)
    from pylatexenc.latexwalker import LatexWalker, LatexWalkerError

    logging.getLogger("pylatexenc").setLevel(logging.CRITICAL)  # it tells of each macro that misses an argument
    body = _CAPTION_OF.sub(r"\\caption", _LENGTHS.sub("", _expanded(body)))
    reader = _Reader()
    try:
        nodes, _, _ = LatexWalker(body, tolerant_parsing=True).get_latex_nodes()
        reader.read(nodes)
        reader.flush()
    except (LatexWalkerError, RecursionError, IndexError, ValueError, TypeError, AttributeError):
        # What the library makes of macros that miss their arguments.
        return parse_text(data, source)
    metadata = {"author": reader.author} if reader.author else {}
    document = reader.blocks.document(source, reader.title or reader.blocks.first_heading, "tex")
    return replace(document, metadata=metadata)


def _expanded(text: str) -> str:
    """The text with its author's shorthands, macros without arguments, replaced by what they stand for."""
    meant = {found[1] or found[2]: found[3] for found in _SHORTHAND.finditer(text)}
    text = _SHORTHAND.sub("", text)
    if not meant:
        return text
    names = re.compile(rf"\\({'|'.join(map(re.escape, sorted(meant, key=len, reverse=True)))})(?![A-Za-z@])(?:\{{\}})?")
    longest = 2 * len(text) + _GROWTH_CHARS
    for _ in range(_SHORTHANDS_IN_SHORTHANDS):
        # Shorthands may be made of each other: what doubles at each pass ends with memory.
        if len(text) + sum(len(meant[found[1]]) for found in names.finditer(text)) > longest:
            break
        text = names.sub(lambda found: meant[found[1]].replace("\\xspace", ""), text)
    return text


def _depth(text: str) -> int:
    """How deep braces and environments stand in each other at most."""
    depth = deepest = 0
    for found in re.finditer(r"\\\\|\\[{}]|\\begin\b|\\end\b|[{}\[\]]", text):
        mark = found[0]
        depth += mark in {"{", "[", "\\begin"}
        depth -= depth > 0 and mark in {"}", "]", "\\end"}
        deepest = max(deepest, depth)
    return deepest


@lru_cache(maxsize=1)
def _contexts() -> Any:
    from pylatexenc import latex2text

    def keys(node: Any, l2tobj: Any) -> str:
        return f"[{_argument(node, l2tobj)}]"

    def nothing(node: Any, l2tobj: Any) -> str:
        return ""

    def arguments(node: Any, l2tobj: Any) -> str:
        found = (node.nodeargd.argnlist if node.nodeargd else None) or []
        return " ".join(str(l2tobj.nodelist_to_text([one])) for one in found if one is not None)

    cites = "cite citep citet citealp citealt citeauthor citeyear parencite textcite autocite ref eqref cref".split()
    macros = [latex2text.MacroTextSpec(name, simplify_repl=keys) for name in (*cites, "Cref", "autoref", "pageref")]
    silent = ("includegraphics", "label", "vspace", "hspace", "maketitle", "hline", "rule", "color", "xspace")
    macros += [latex2text.MacroTextSpec(name, simplify_repl=nothing) for name in silent]
    context = latex2text.get_default_latex_context_db()
    context.add_context_category("rag", prepend=True, macros=macros)
    context.set_unknown_macro_spec(latex2text.MacroTextSpec("", simplify_repl=arguments))
    return context


def _argument(node: Any, converter: "LatexNodes2Text") -> str:
    """The words of a macro's last argument, "" where it has none."""
    arguments = [found for found in (node.nodeargd.argnlist if node.nodeargd else None) or [] if found is not None]
    if not arguments:
        return ""
    last = arguments[-1]
    nodes = last.nodelist if hasattr(last, "nodelist") else [last]
    return one_line(str(converter.nodelist_to_text(nodes)))


class _Reader:
    """Walks the nodes: words are collected until something ends the paragraph."""

    def __init__(self) -> None:
        from pylatexenc.latex2text import LatexNodes2Text

        self.blocks = Blocks()
        self.title = self.author = ""
        self._converter = LatexNodes2Text(latex_context=_contexts(), math_mode="verbatim", keep_comments=False)
        self._words: list[str] = []
        self._kind = Kind.PARAGRAPH

    def flush(self) -> None:
        """End the paragraph."""
        words = "".join(self._words)
        self._words = []
        for paragraph in re.split(r"\n[ \t]*\n", words):
            self.blocks.add(one_line(paragraph), self._kind)

    def read(self, nodes: "Iterable[LatexNode]") -> None:
        from pylatexenc import latexwalker

        for node in nodes:
            if isinstance(node, latexwalker.LatexEnvironmentNode):
                self._environment(node)
            elif isinstance(node, latexwalker.LatexMacroNode):
                self._macro(node)
            elif isinstance(node, latexwalker.LatexGroupNode):
                self.read(node.nodelist)
            elif isinstance(node, latexwalker.LatexMathNode):
                self._words.append(node.latex_verbatim())
            elif not isinstance(node, latexwalker.LatexCommentNode):
                self._words.append(self._text([node]))

    def _macro(self, node: Any) -> None:
        name = node.macroname
        if name in _LEVELS:
            self.flush()
            self.blocks.heading(self._argument(node), _LEVELS[name])
        elif name == "title":
            self.title = self.title or self._argument(node)
        elif name == "author":
            self.author = self.author or self._argument(node)
        elif name in {"caption", "captionof"}:
            self.flush()
            self.blocks.add(self._argument(node))
        elif name in {"item", "bibitem"}:
            self.flush()
            label = self._argument(node)
            self._words.append(f"{label} " if label else "")
        elif name == "\\":
            self._words.append("\n")
        elif name == "par":
            self.flush()
        elif name not in _SETTINGS:
            self._words.append(self._text([node]))

    def _environment(self, node: Any) -> None:
        name = node.environmentname.rstrip("*")
        if name == "document":
            self._words = []  # what stands before it is settings
            self.read(node.nodelist)
            return
        self.flush()
        if name in _HEADED:
            self.blocks.heading(_HEADED[name], 2)
        if name in _VERBATIM:
            self.blocks.add(_inside(node.latex_verbatim()), Kind.CODE)
        elif name in _MATH:
            self.blocks.add(node.latex_verbatim())
        elif name in _TABULAR:
            self.blocks.table(self._rows(_inside(node.latex_verbatim())))
        else:
            before, self._kind = self._kind, Kind.LIST_ITEM if name in _LISTS else self._kind
            self.read(_behind_options(node.nodelist))
            self.flush()
            self._kind = before

    def _rows(self, body: str) -> Iterable[list[str]]:
        body = _RULES.sub("", re.sub(r"(?<!\\)%.*", "", body[_COLUMNS.match(body).end() :]))  # type: ignore[union-attr]
        # A cell of several lines is a table of its own.
        body = _INNER_TABLE.sub(lambda found: _NEW_CELL.sub(" ", _NEW_ROW.sub(" ", found[1])), body)
        for row in _NEW_ROW.split(body):
            yield [self._text(self._nodes(cell)) for cell in _NEW_CELL.split(row)]

    def _nodes(self, latex: str) -> Any:
        from pylatexenc.latexwalker import LatexWalker

        return LatexWalker(latex, tolerant_parsing=True).get_latex_nodes()[0]

    def _text(self, nodes: Any) -> str:
        return str(self._converter.nodelist_to_text(nodes))

    def _argument(self, node: Any) -> str:
        return _argument(node, self._converter)


def _behind_options(nodes: Any) -> Any:
    """The nodes of an environment without its arguments: widths, places, names of columns."""
    from pylatexenc.latexwalker import LatexCharsNode, LatexGroupNode

    at = 0
    while at < len(nodes):
        node = nodes[at]
        if not isinstance(node, LatexGroupNode) and not (
            isinstance(node, LatexCharsNode) and _OPTIONS.fullmatch(node.chars)
        ):
            break
        at += 1
    return nodes[at:]


def _inside(environment: str) -> str:
    """What stands between the first \\begin{...} and the last \\end{...}."""
    return environment[environment.find("}") + 1 : environment.rfind("\\end")]
