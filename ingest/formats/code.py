"""Source code and configuration: pieces by definition, under the path of the definitions around them.

Python says itself what it defines. For other languages the lines that open a definition are known by their words and
their indentation: tree-sitter would be exact, at the price of tens of megabytes of grammars.
"""

import ast
import re
import warnings
from dataclasses import dataclass

from ingest.formats.slices import Lines, Slices, indent_of
from ingest.formats.text import decode
from rag.types import Document, Kind

LANGUAGES = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), "python"),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx"), "javascript"),
    **dict.fromkeys((".ts", ".tsx", ".mts", ".cts"), "typescript"),
    **dict.fromkeys((".c", ".h"), "c"),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".ino"), "cpp"),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".fish", ".ksh"), "shell"),
    **dict.fromkeys((".ps1", ".psm1"), "powershell"),
    **dict.fromkeys((".kt", ".kts"), "kotlin"),
    **dict.fromkeys((".scala", ".sc"), "scala"),
    **dict.fromkeys((".rb", ".rake"), "ruby"),
    **dict.fromkeys((".pl", ".pm"), "perl"),
    **dict.fromkeys((".ex", ".exs"), "elixir"),
    **dict.fromkeys((".css", ".scss", ".sass", ".less"), "css"),
    **dict.fromkeys((".f", ".for", ".f90", ".f95"), "fortran"),
    **dict.fromkeys((".vue", ".svelte"), "component"),
    **dict.fromkeys((".tf", ".hcl"), "hcl"),
    **dict.fromkeys((".ini", ".cfg", ".conf", ".toml", ".desktop", ".editorconfig", ".properties"), "sections"),
    **dict.fromkeys((".yaml", ".yml"), "yaml"),
    ".java": "java",
    ".cs": "csharp",
    ".go": "go",
    ".rs": "rust",
    ".swift": "swift",
    ".php": "php",
    ".lua": "lua",
    ".r": "r",
    ".jl": "julia",
    ".dart": "dart",
    ".groovy": "groovy",
    ".gradle": "groovy",
    ".sql": "sql",
    ".m": "objective-c",
    ".vb": "visual basic",
    ".bas": "visual basic",
    ".pas": "pascal",
    ".hs": "haskell",
    ".clj": "clojure",
    ".erl": "erlang",
    ".zig": "zig",
    ".proto": "protobuf",
    ".graphql": "graphql",
    ".cmake": "cmake",
    ".mk": "make",
    ".bat": "batch",
    ".cmd": "batch",
}

_LINE_CHARS = 300  # minified programs have lines of a megabyte; no definition opens behind this
_WORDS = r"(?:(?:export|default|declare|public|private|protected|internal|static|abstract|final|sealed|async|unsafe|"
_WORDS += r"virtual|override|inline|extern|const|data|open|partial|readonly|pub(?:\([\w: ]*\))?|local|suspend)\s+)*"
_HOLDER = re.compile(
    rf"\s*{_WORDS}(?:class|interface|struct|trait|impl(?:<[^>]*>)?|enum(?: class)?|module|namespace|object|protocol|"
    r"extension|mod|service|message|record|contract|defmodule|package|type)\s+(?P<name>[\w.:$<>]+(?: for [\w:<>]+)?)",
    re.IGNORECASE,
)
_FUNCTION = re.compile(
    rf"\s*{_WORDS}(?:function\*?|func(?:\s*\([^)]*\))?|fn|fun|def|defp|defmacro|sub|procedure|subroutine|proc|macro)\s+"
    r"(?P<name>[\w.:$?!]+)",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"\s*(?:export\s+)?(?:const|let|var)?\s*(?P<name>[\w.$]+)\s*(?:=|<-)\s*"
    r"(?:async\s+)?(?:function\b|\([^()]*\)\s*(?::\s*[\w<>\[\]]+\s*)?=>|\w+\s*=>)"
)
_SHELL = re.compile(r"(?P<name>[\w-]+)\s*\(\)\s*\{?\s*\Z")
_SQL = re.compile(
    r"\s*create\s+(?:or\s+replace\s+)?(?:\w+\s+){0,3}?(?:table|view|function|procedure|trigger|index|type)\s+"
    r"(?:if\s+not\s+exists\s+)?(?P<name>[\w.\"`\[\]]+)",
    re.IGNORECASE,
)
# A name before its parameters, as C, Java and methods in JavaScript are written; a call ends with a semicolon.
_TYPED = re.compile(r"\s*(?:[\w:<>\[\],*&~@?]+\s+)*[*&]*(?P<name>~?[\w:$]+)\s*\([^;=]*(?:\)[^;=]*)?(?:\{.*)?\Z")
_NOT_NAMES = frozenset("if for while switch catch return else do try with foreach using lock when match new".split())
_TYPED_LANGUAGES = frozenset("c cpp java csharp javascript typescript dart objective-c php groovy component".split())
_COMMENT = re.compile(r"\s*(?://|/?\*|#(?!include|define|if|endif)|--|;|%|@|\[[A-Z]\w*[(\]])")
_SECTION = re.compile(r"\[{1,2}(?P<name>[^\[\]]+)\]{1,2}\s*(?:[#;].*)?\Z")
_YAML_KEY = re.compile(r"""(?P<name>"[^"]*"|'[^']*'|[^\s#\-"':{}\[\],&*!|>%@`][^:#]*):(?:[ \t]*(?:[|>&!].*|#.*)?)\Z""")


@dataclass(frozen=True, slots=True)
class _Definition:
    """The lines [first, behind) that open a definition, its name and its level; level 1 is the outermost."""

    first: int
    behind: int
    name: str
    level: int


def parse_code(data: bytes, source: str, language: str) -> Document:
    """A program or configuration file: `document.text` is the file's text, what opens a definition is a heading.

    Raises UnreadableDocument for binary data, EmptyDocument.
    """
    text = decode(data, source)
    slices, lines = Slices(text), Lines(text)
    at = 0
    for definition in _definitions(text, lines, language):
        if definition.first >= at:
            _paragraphs(slices, lines, at, definition.first)
            start, end = lines.starts[definition.first], lines.starts[definition.behind]
            slices.heading(start, end, definition.name, definition.level)
            at = definition.behind
    _paragraphs(slices, lines, at, len(lines))
    return slices.document(source, "", language)


def _definitions(text: str, lines: Lines, language: str) -> list[_Definition]:
    if language == "python":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in somebody else's strings
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # Python 2, a template, a file in the middle of an edit: read by its lines
        else:
            return _python(tree, lines)
    if language in {"sections", "yaml"}:
        return _sections(lines, _SECTION if language == "sections" else _YAML_KEY)
    return _by_lines(lines, language)


def _python(tree: ast.Module, lines: Lines) -> list[_Definition]:
    """Functions and classes, down to the methods; what is defined inside a function belongs to it."""
    found = []
    waiting: list[tuple[ast.stmt, int]] = [(node, 1) for node in reversed(tree.body)]
    while waiting:
        node, level = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
            behind = max(node.body[0].lineno - 1, node.lineno)
            found.append(_Definition(_with_comments(lines, first), behind, node.name, level))
            if isinstance(node, ast.ClassDef):
                waiting += [(inner, level + 1) for inner in reversed(node.body)]
        elif isinstance(node, ast.If | ast.Try):
            waiting += [(inner, level) for inner in reversed(node.body)]
    return found


def _sections(lines: Lines, opening: re.Pattern[str]) -> list[_Definition]:
    """The sections of an INI or TOML file, the outermost keys of a YAML file."""
    return [
        _Definition(_with_comments(lines, number), number + 1, match["name"].strip("\"' "), 1)
        for number in range(len(lines))
        if (match := opening.match(lines[number][:_LINE_CHARS]))
    ]


def _by_lines(lines: Lines, language: str) -> list[_Definition]:
    """Definitions at the outermost level, and inside what holds others: classes, modules, traits and their like."""
    found: list[_Definition] = []
    above: list[tuple[int, bool]] = []  # indentation of the open definitions, and whether they hold others
    for number in range(len(lines)):
        line = lines[number][:_LINE_CHARS]
        if not line.strip() or _COMMENT.match(line) or line.strip() in {"{", "(", "}", ");", "};"}:
            continue
        indent = indent_of(line)
        holder = _HOLDER.match(line)
        match = holder or _function(line, language)
        if not match:
            continue
        while above and above[-1][0] >= indent:
            above.pop()
        if (above and not above[-1][1]) or (not above and indent > 0 and found and found[-1].level == 1):
            continue  # inside a function
        above.append((indent, holder is not None))
        found.append(_Definition(_with_comments(lines, number), number + 1, match["name"].strip('"`[]'), len(above)))
    return found


def _function(line: str, language: str) -> re.Match[str] | None:
    if language == "sql":
        return _SQL.match(line)
    match = _FUNCTION.match(line) or _ASSIGNED.match(line)
    if not match and language == "shell":
        match = _SHELL.match(line)
    if not match and language in _TYPED_LANGUAGES and line.rstrip().endswith((")", "{", ",", "(")):
        match = _TYPED.match(line)
        if match and (match["name"] in _NOT_NAMES or line.split(None, 1)[0].rstrip("(") in _NOT_NAMES):
            return None
    return match


def _with_comments(lines: Lines, number: int) -> int:
    """The first line of the comments and decorators that stand directly above a definition."""
    while number and _COMMENT.match(lines[number - 1][:_LINE_CHARS]):
        number -= 1
    return number


def _paragraphs(slices: Slices, lines: Lines, first: int, behind: int) -> None:
    """Code between empty lines, a piece each; lines further in belong to what stands above them."""
    begin = first
    for number in range(first + 1, behind):
        if lines.is_blank(number - 1) and not lines.is_blank(number) and not lines[number][:1].isspace():
            slices.add(lines.starts[begin], lines.starts[number], Kind.CODE)
            begin = number
    if begin < behind:
        slices.add(lines.starts[begin], lines.starts[behind], Kind.CODE)
