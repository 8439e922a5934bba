"""Readers of text-like formats: structure, places and bounds."""

import json
from pathlib import Path

import pytest
from test_parse import checked, shown

from ingest.parse import parse
from rag.errors import EmptyDocument, ParseError, UnreadableDocument
from rag.types import Document, Kind


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, name: str, content: bytes | str) -> Document:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return checked(parse(path, name))


def refusal(folder: Path, name: str, content: str) -> str:
    """What the file is refused with, or its name where it is read."""
    try:
        read(folder, name, content)
    except ParseError as exc:
        return str(exc)
    return name


def placed(document: Document) -> list[tuple[tuple[str, ...], str]]:
    return [(piece.headings, text) for piece, (_, text) in zip(document.pieces, shown(document), strict=True)]


RST = """.. include:: other

=====
Title
=====

:Author: Ann
:Date: 2024

Intro::

   x = 1

   y = 2

Sub `part`
----------

* item
  more of it
* second

.. note:: Mind
   :class: wide

   the gap

.. code-block:: python

   z = 3

+-----+-----+
| A   | B   |
+=====+=====+
| 1   | 2   |
+-----+-----+

====  ====
C     D
====  ====
3     4
5     6
====  ====

End.
"""


def test_rst(folder: Path) -> None:
    document = read(folder, "a.rst", RST)
    assert document.text == RST
    assert document.title == "Title"
    assert document.metadata == {"author": "Ann", "date": "2024"}
    assert shown(document) == [
        ("paragraph", ".. include:: other"),
        ("heading", "=====\nTitle\n====="),
        ("paragraph", ":Author: Ann\n:Date: 2024"),
        ("paragraph", "Intro::"),
        ("code", "x = 1\n\n   y = 2"),
        ("heading", "Sub `part`\n----------"),
        ("list_item", "* item\n  more of it"),
        ("list_item", "* second"),
        ("paragraph", ".. note:: Mind\n   :class: wide"),
        ("paragraph", "the gap"),
        ("code", ".. code-block:: python\n\n   z = 3"),
        ("row", "+-----+-----+\n| A   | B   |\n+=====+=====+"),
        ("row", "| 1   | 2   |\n+-----+-----+"),
        ("row", "====  ====\nC     D\n====  ===="),
        ("row", "3     4"),
        ("row", "5     6\n====  ===="),
        ("paragraph", "End."),
    ]
    assert document.pieces[-1].headings == ("Title", "Sub part")
    assert [piece.table_header for piece in document.pieces[11:16]] == ["", "A | B", "", "C | D", "C | D"]


ORG = """#+TITLE: The manual
#+AUTHOR: Ann
#+OPTIONS: toc:nil

Intro
* TODO [#A] Pump =P1= :tag:
Text
| Part | Price |
|------+-------|
| Nut  | 1.50  |
| Bolt | 2.50  |

- item
  more
- second
#+begin_src python
x = 1

y = 2
#+end_src
** Deeper
: fixed
"""


def test_org(folder: Path) -> None:
    document = read(folder, "a.org", ORG)
    assert document.text == ORG
    assert (document.title, document.metadata) == ("The manual", {"author": "Ann"})
    assert shown(document)[3:] == [
        ("paragraph", "Intro"),
        ("heading", "* TODO [#A] Pump =P1= :tag:"),
        ("paragraph", "Text"),
        ("row", "| Part | Price |\n|------+-------|"),
        ("row", "| Nut  | 1.50  |"),
        ("row", "| Bolt | 2.50  |"),
        ("list_item", "- item\n  more"),
        ("list_item", "- second"),
        ("code", "#+begin_src python\nx = 1\n\ny = 2\n#+end_src"),
        ("heading", "** Deeper"),
        ("code", ": fixed"),
    ]
    assert document.pieces[-1].headings == ("Pump P1", "Deeper")
    assert document.pieces[8].table_header == "Part | Price"


ADOC = """= The manual
:author: Ann
:toc:

Intro
on two lines.

== Pump

* item
* second

[source,python]
----
x = 1

y = 2
----

|===
|Part |Price

|Nut
|1.50

|Bolt |2.50
|===

Valve
-----

NOTE: Mind.
"""


def test_asciidoc(folder: Path) -> None:
    document = read(folder, "a.adoc", ADOC)
    assert document.text == ADOC
    assert (document.title, document.metadata) == ("The manual", {"author": "Ann"})
    assert shown(document)[3:] == [
        ("paragraph", "Intro\non two lines."),
        ("heading", "== Pump"),
        ("list_item", "* item"),
        ("list_item", "* second"),
        ("paragraph", "[source,python]"),
        ("code", "----\nx = 1\n\ny = 2\n----"),
        ("row", "|===\n|Part |Price"),
        ("row", "|Nut\n|1.50"),
        ("row", "|Bolt |2.50\n|==="),
        ("heading", "Valve\n-----"),
        ("paragraph", "NOTE: Mind."),
    ]
    assert document.pieces[10].table_header == "Part | Price"
    assert document.pieces[-1].headings == ("The manual", "Valve")


TEX = r"""\documentclass{article}
\newcommand{\tool}{Pump\xspace}
\title{The \tool manual}
\author{Ann \and Bob}
\begin{document}
\maketitle
\begin{abstract} Short. \end{abstract}
\section{Use} % a comment
The \textbf{\tool} moves water~\cite{ann2020}, $E = mc^2$, na\"ive.

Second \emph{paragraph}.
\begin{itemize}
\item first
\item second
\end{itemize}
\begin{equation} a = b \end{equation}
\begin{table}
\begin{tabular}{|l|r|} \hline
Part & Price \\ \hline
\texttt{Nut} & 1.50 \\
\end{tabular}
\caption{Prices}
\end{table}
\subsection{Code}
\begin{verbatim}
x = 1 % kept
\end{verbatim}
\end{document}
never this
"""


def test_tex(folder: Path) -> None:
    document = read(folder, "a.tex", TEX)
    assert document.title == "The Pump manual"
    assert shown(document) == [
        ("heading", "Abstract"),
        ("paragraph", "Short."),
        ("heading", "Use"),
        ("paragraph", "The Pump moves water [ann2020], $E = mc^2$, naïve."),
        ("paragraph", "Second paragraph."),
        ("list_item", "first"),
        ("list_item", "second"),
        ("paragraph", r"\begin{equation} a = b \end{equation}"),
        ("row", "Part | Price"),
        ("row", "Nut | 1.50"),
        ("paragraph", "Prices"),
        ("heading", "Code"),
        ("code", "x = 1 % kept"),
    ]
    assert document.pieces[-1].headings == ("Use", "Code")


def test_tex_that_defies_reading_is_read_as_text(folder: Path) -> None:
    assert read(folder, "a.tex", "words " + "{" * 50_000).parser == "text"
    doubling = "".join(
        rf"\newcommand{{\x{c}}}{{\x{d}\x{d}\x{d}\x{d}}}" for c, d in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert len(read(folder, "b.tex", doubling + "\n\\xa words").text) < 1_000_000


XML_PROSE = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE article [<!ENTITY own "declared">]>
<article xmlns:x="urn:x"><front><article-title>On pumps</article-title>
<contrib><name><surname>M\xfcller</surname><given>Ann</given></name></contrib></front>
<body><sec><label>1</label><title>Use</title><p>It <italic>moves</italic> water&nbsp;&own;&mystery;.</p>
<sec><title>Deeper</title><list><list-item><p>one</p></list-item><list-item><p>two</p></list-item></list>
<table><tr><th>Part</th><th>Price</th></tr><tr><td>Nut</td><td>1.50</td></tr></table></sec></sec></body></article>
"""


def test_xml_prose(folder: Path) -> None:
    document = read(folder, "a.xml", XML_PROSE.encode("latin-1"))
    assert document.title == "On pumps"
    assert placed(document) == [
        (("On pumps",), "On pumps"),
        (("On pumps",), "Müller Ann"),
        (("1 Use",), "1 Use"),
        (("1 Use",), "It moves water declared&mystery;."),
        (("1 Use", "Deeper"), "Deeper"),
        (("1 Use", "Deeper"), "one"),
        (("1 Use", "Deeper"), "two"),
        (("1 Use", "Deeper"), "Part | Price"),
        (("1 Use", "Deeper"), "Nut | 1.50"),
    ]
    assert document.pieces[-1].table_header == "Part | Price"


def test_xml_data(folder: Path) -> None:
    document = read(
        folder,
        "a.xml",
        "<facts><land code='CA'><name>Canada</name><city><name>Ottawa</name></city></land><land/></facts>",
    )
    assert document.text == "code: CA\nname: Canada\ncity.name: Ottawa"
    assert document.pieces[0].headings == ("facts", "land")
    two = read(folder, "b.xml", "<?xml version='1.0'?><a>one</a>\n<?xml version='1.0'?><a>two</a>")
    assert two.text == "a: one\n\na: two", "a file of several documents"


def test_xml_that_is_none_is_read_as_text(folder: Path) -> None:
    document = read(folder, "a.xml", "<a>one</b> two three four <c five six seven eight nine")
    assert "five six" in document.text
    assert read(folder, "b.xml", "just words").text == "just words"


def test_xml_fetches_and_expands_nothing(folder: Path) -> None:
    (folder / "secret.txt").write_text("secret words")
    entity = f'<!DOCTYPE a [<!ENTITY x SYSTEM "{(folder / "secret.txt").as_uri()}">]>'
    assert "secret words" not in read(folder, "a.xml", f"{entity}<a>&x; public</a>").text
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha" * 100}">' for n in range(12))
    assert len(read(folder, "b.xml", f"<!DOCTYPE a [{laughs}]><a>&l11; words</a>").text) < 10_000_000


def test_notebook(folder: Path) -> None:
    book = {
        "cells": [
            {"cell_type": "markdown", "source": ["# Pump\n", "\n", "- one\n", "- two"]},
            {
                "cell_type": "code",
                "source": "x = 1",
                "outputs": [{"output_type": "stream", "text": ["hello\n", "you"]}],
            },
            {"cell_type": "markdown", "source": "## Deeper"},
            {
                "cell_type": "code",
                "source": "plot()",
                "outputs": [
                    {"output_type": "display_data", "data": {"image/png": "aGVsbG8=", "text/plain": "<Figure>"}},
                    {"output_type": "error", "ename": "ValueError", "evalue": "no"},
                    {"output_type": "stream", "text": "z" * 9000},
                ],
            },
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3"}, "language_info": {"name": "python"}},
    }
    document = read(folder, "a.ipynb", json.dumps(book))
    assert (document.title, document.metadata) == ("Pump", {"kernel": "Python 3", "language": "python"})
    assert placed(document)[:6] == [
        (("Pump",), "# Pump"),
        (("Pump",), "- one"),
        (("Pump",), "- two"),
        (("Pump",), "x = 1"),
        (("Pump",), "hello\nyou"),
        (("Pump", "Deeper"), "## Deeper"),
    ]
    assert document.pieces[3].kind is Kind.CODE
    last = shown(document)[-1][1]
    assert last.startswith("<Figure>\nValueError: no\nzzz")
    assert "more characters of output" in last
    assert len(last) < 5000
    with pytest.raises(UnreadableDocument, match="cells"):
        read(folder, "b.ipynb", '{"a": 1}')
    with pytest.raises(EmptyDocument):
        read(folder, "c.ipynb", '{"cells": []}')


PYTHON = '''"""Module."""

import os


# Of pumps.
@final
class Pump:
    """It moves water."""

    def start(self, now: bool) -> None:
        def inner():
            pass
        run()


def stop(): return 1
'''


def test_python_by_its_definitions(folder: Path) -> None:
    document = read(folder, "a.py", PYTHON)
    assert document.text == PYTHON
    assert [(piece.kind.value, *pair) for piece, pair in zip(document.pieces, placed(document), strict=True)] == [
        ("code", (), '"""Module."""'),
        ("code", (), "import os"),
        ("heading", ("Pump",), "# Of pumps.\n@final\nclass Pump:"),
        ("code", ("Pump",), '"""It moves water."""'),
        ("heading", ("Pump", "start"), "def start(self, now: bool) -> None:"),
        ("code", ("Pump", "start"), "def inner():\n            pass\n        run()"),
        ("heading", ("stop",), "def stop(): return 1"),
    ]
    assert read(folder, "b.py", "print 'two'\n\ndef f():\n    pass").pieces[-1].headings == ("f",)


@pytest.mark.parametrize(
    ("name", "code", "paths"),
    [
        ("a.js", "class A {\n  run(x) {\n    if (x) {\n    }\n  }\n}\nf = (a) => {\n}", [("A",), ("A", "run"), ("f",)]),
        ("a.go", "package main\n\nfunc (s *S) Run() {\n\tx()\n}\n\ntype S struct {\n}", [("main",), ("Run",), ("S",)]),
        ("a.c", "static int\nfoo(int a)\n{\n  bar(a);\n}\n", [("foo",)]),
        ("a.java", "public class A {\n  private int x(int a) {\n    return a;\n  }\n}", [("A",), ("A", "x")]),
        ("a.rs", "impl Foo for Bar {\n    pub fn go(&self) {\n    }\n}", [("Foo for Bar",), ("Foo for Bar", "go")]),
        ("a.sql", "CREATE TABLE IF NOT EXISTS parts (\n  id int\n);\n", [("parts",)]),
        ("a.sh", "run() {\n  ls\n}\n", [("run",)]),
        ("a.ini", "[one]\na = 1\n[two]\nb = 2\n", [("one",), ("two",)]),
        ("a.toml", "x = 1\n\n[[tool.a]]\nb = 2\n", [("tool.a",)]),
        ("a.yaml", "# c\nname: x\njobs:\n  a: 1\n", [("jobs",)]),
    ],
)  # fmt: skip
def test_code_by_its_lines(folder: Path, name: str, code: str, paths: list[tuple[str, ...]]) -> None:
    document = read(folder, name, code)
    assert document.text == code
    assert [piece.headings for piece in document.pieces if piece.kind is Kind.HEADING] == paths


def test_subtitles(folder: Path) -> None:
    vtt = (
        "WEBVTT\n\nNOTE secret\n\n00:11.000 --> 00:13.000\n<v Roger>We are &amp; were\n\n"
        "1\n00:13.000 --> 00:16.000 align:start\n<v Roger>We are &amp; were\n<v Roger><i>here</i>.\n"
    )
    document = read(folder, "a.vtt", vtt)
    assert placed(document) == [(("0:00:11",), "Roger: We are & were here.")]
    srt = "\n\n".join(f"{n}\n01:{n:02}:00,000 --> 01:{n:02}:02,000\n{'word ' * 30}end {n}." for n in range(1, 9))
    document = read(folder, "a.srt", srt)
    assert [piece.headings for piece in document.pieces] == [("1:01:00",), ("1:04:00",), ("1:07:00",)]
    assert all(f"end {n}." in document.text for n in range(1, 9))
    with pytest.raises(UnreadableDocument, match="times"):
        read(folder, "b.srt", "just words")


def test_front_matter_is_metadata(folder: Path) -> None:
    yaml = (
        "---\ntitle: 'Pumps: a manual'\nTags: [a, \"b\"]\nlist:\n  - one\n  - two\nnested:\n  key: value\n"
        "draft: false # yes\nempty:\ndescription: >\n  folded\n  text\n---\n# Head\n"
    )
    document = read(folder, "a.md", yaml)
    assert document.title == "Pumps: a manual"
    assert document.metadata == {
        "tags": "a, b",
        "list": "one, two",
        "draft": "false",
        "description": "folded text",
    }
    toml = '+++\ntitle = "Pumps"\ntags = ["a", "b"]\ndraft = true\n[x]\ny = 1\n+++\n# Head\n'
    document = read(folder, "b.md", toml)
    assert (document.title, document.metadata) == ("Pumps", {"tags": "a, b", "draft": "true"})


def test_json_in_its_many_shapes(folder: Path) -> None:
    assert read(folder, "a.json", '{"a": 1}\n{"a": 2}\n').text == "a: 1\n\na: 2", "JSON Lines under another name"
    assert read(folder, "a.jsonl", '[{"a": 1},\n {"a": 2}]').text == "a: 1\n\na: 2", "and the other way round"
    assert read(folder, "b.json", '// settings\n{"name": "pump", }').parser == "text"
    large = {"name": "pump", "parts": {"nut": {"note": "n" * 1500}, "bolt": {"note": "b" * 1500}}}
    document = read(folder, "c.json", json.dumps(large))
    assert [(piece.headings, piece.end - piece.start) for piece in document.pieces] == [
        ((), 10),
        (("parts", "nut"), 1506),
        (("parts", "bolt"), 1506),
    ]


SAMPLES = {
    "これは日本語の文章です。文字コードの判定を確認します。": ["shift_jis", "euc_jp", "iso2022_jp"],
    "这是一个中文句子，用于检测编码。北京的天气很好。": ["gb18030", "gbk"],
    "這是一個中文句子，用於檢測編碼。台北的天氣很好。": ["big5"],
    "Это русский текст для проверки кодировки. Погода хорошая.": ["koi8-r", "cp1251", "iso8859-5", "cp866"],
    "이것은 한국어 문장입니다. 인코딩을 확인합니다.": ["euc_kr"],
    "Größe und Prüfung der Wärmepumpe: für Öfen üblich.": ["latin-1", "cp1252", "cp850"],
    "Le café où l’été déjà passé — « très » près de la forêt.": ["cp1252"],
    "Zażółć gęślą jaźń. Łódź, źródło, święto, pięć złotych.": ["cp1250", "iso8859-2"],
    "Αυτό είναι ένα ελληνικό κείμενο για έλεγχο.": ["cp1253"],
}
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize(("text", "encoding"), [(text, e) for text, own in SAMPLES.items() for e in [*own, *UNICODE]])
def test_any_encoding(folder: Path, text: str, encoding: str) -> None:
    assert read(folder, "a.txt", text.encode(encoding)).text == text
