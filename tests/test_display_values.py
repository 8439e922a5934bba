"""Lists and reports that show themselves: documents' words stay words in HTML, in Markdown and as plain text."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hostile import TEXTS, answer_of, hit_of
from hypothesis import given, settings
from test_display_notebook import OURS, html_of, rendered

from ingest.report import FileStatus, IngestReport, Outcome
from rag.contents import Status, listed
from rag.display import printable
from rag.display_rows import Rows
from rag.evaluation.datasets import GOLD, Query, Question, read_questions
from rag.evaluation.likelihood import Judged, Likelihoods, likelihoods
from rag.evaluation.report import Evaluation, evaluate
from rag.evaluation.retrieval import QueryScore, WayScores
from rag.knowledge_base import KnowledgeBase
from rag.search.why import Explanation, Passage, Stage, Step, why
from rag.source_view import View, view
from rag.store.schema import DocumentRow, Identity
from rag.store.upkeep import Coverage, Coverages
from rag.types import Citation, CitationStatus, Hits

TAGS = set("div p details summary blockquote mark table thead tbody tr th td ul li figure figcaption img".split())
DRAWN = set("svg text rect title path circle".split())
PNG = b"\x89PNG"


def values_of(text: str) -> dict[str, Any]:
    """One of each, made of one text in all its parts."""
    report = IngestReport()
    report.add(Outcome(text, FileStatus.FAILED, text))
    row = DocumentRow(text, text, text, "", 3, 0, "", text, text, "failed", text, 2, 0)
    question = Question(text, text, text, text, text)
    scored = QueryScore(Query(text, text, {GOLD: 1.0}, ()), {"mrr": 0.5, "recall@5": 1.0}, 2, ())
    means = {"mrr": 0.5, "recall@5": 1.0}
    way = WayScores((scored,), means, dict.fromkeys(means, (0.2, 0.9)), 0.1, 1.0)
    passage = Passage(text, 1, 2, (text,), 0, len(text), text)
    cover = Coverages(Coverage("", 0, 0), Coverage("", 0, 0))
    return {
        "hits": Hits([hit_of(text, text), hit_of(text, text)]),
        "documents": listed([row]),
        "rows": Rows([text], ["text", text], lambda one: (one, one)),
        "report": report,
        "status": Status(Path("x"), 1, 0, 2, 3, Identity(text, None, 3, "", "", 5), cover, {text: Path("y")}),
        "why": Explanation(text, text, 3, (Step(Stage.INDEX, False, text),), text, passage),
        "evaluation": Evaluation(text, text, {"default": way, text: way}),
        "likelihoods": Likelihoods((Judged(question, 0.4), Judged(replace(question, quote=""), 0.2)), 0.3),
        "view": View(text, text, text, text, (text,), PNG),
    }


PLAIN = {name: html_of(value).tags for name, value in values_of("plain").items()}


@given(TEXTS)
@settings(max_examples=30, deadline=None)
def test_documents_words_stay_words(text: str) -> None:
    for name, value in values_of(text).items():
        page = html_of(value)
        assert [tag for tag, _ in page.tags] == [tag for tag, _ in PLAIN[name]], name
        assert page.words["page"] == printable(page.words["page"])
        attributes = [(key, said or "") for _, found in page.tags for key, said in found]
        assert not [key for key, _ in attributes if key.startswith("on") or key in ("href", "id", "name")]
        assert all(said.startswith("data:image/png;base64,") for key, said in attributes if key == "src")
        shown = str(value)
        assert shown == printable(shown), name
        kinds, words = rendered(value._repr_markdown_())
        assert kinds <= OURS | {"table", "thead", "tbody", "tr", "th", "td"}, name
        assert words == printable(words)


def test_what_they_are_made_of() -> None:
    for name, tags in PLAIN.items():
        found = {tag for tag, _ in tags}
        assert found <= TAGS | (DRAWN if name in ("evaluation", "likelihoods") else set()), name
        styles = " ".join(said or "" for _, attributes in tags for key, said in attributes if key == "style")
        # On dark ground as on light: no colour of its own but the marks', which leave the words theirs.
        assert set(re.findall(r"(?<!-)color:([^;]+)", styles)) <= {"inherit"}, name


def test_ipython_shows_what_print_shows() -> None:
    from IPython.lib.pretty import pretty

    for value in [*values_of("plain").values(), answer_of("plain")]:
        assert pretty(value) == str(value)  # type: ignore[no-untyped-call]


def test_lists_are_lists() -> None:
    hits = values_of("plain")["hits"]
    assert hits == list(hits)
    assert html_of(hits).words["summary"] == "1. plain p. 32. plain p. 3"
    opened = ["open" in dict(attributes) for tag, attributes in html_of(hits).tags if tag == "details"]
    assert opened == [True, False]
    assert repr(Hits()) == "nothing found"
    assert "nothing found" in Hits()._repr_html_()
    many = Rows(range(1000), ["number"], lambda one: (one,))
    assert len(many) == 1000
    assert repr(many).endswith("\n199\nand 800 more")
    assert html_of(many).words["p"] == "and 800 more"
    assert repr(Rows([], ["number"], lambda one: (one,))) == "number\nnone"


def test_a_knowledge_base_shows_what_it_holds(sample_kb: KnowledgeBase, tmp_path: Path) -> None:
    assert "documents15" in html_of(sample_kb).words["table"]
    nothing = KnowledgeBase(tmp_path / "none.kb", settings=sample_kb.settings)
    assert html_of(nothing).words["p"].startswith("There is no")
    documents = sample_kb.documents(paths=["**/policies/*"])
    assert len(documents) == 5
    assert html_of(documents).words["tbody"].count("sample/policies/") == 5


def test_a_place_is_shown_in_its_document(sample_kb: KnowledgeBase) -> None:
    hit = next(hit for hit in sample_kb.search("torque of the mast clamp bolts") if hit.page == 12)
    start = hit.start + hit.text.index("4.5 Nm")
    citation = Citation(1, hit.source, 12, (), start, start + 6, "4.5 Nm", CitationStatus.VERIFIED, True, (), hit.box)
    found = view(sample_kb, citation)
    text = sample_kb.text(hit.source)
    assert found.before + found.quote + found.after == text[start - 1500 : start + 1506]
    assert found.page_png is not None
    assert found.page_png.startswith(PNG)
    page = html_of(found)
    assert page.words["mark"] == "4.5 Nm"
    assert page.words["p"] == "sample/manuals/brisa-4-manual.pdf p. 12, stale: its file changed or is gone"
    assert "▶4.5 Nm◀" in str(found)
    table = sample_kb.search("What does the steel cover cost?", where="format = xlsx")[0]
    assert view(sample_kb, table).page_png is None


def test_own_questions_are_evaluated_and_judged(sample_kb: KnowledgeBase) -> None:
    file = Path(__file__).parents[1] / "data" / "questions.jsonl"
    found = evaluate(sample_kb, read_questions(file)[20:30], {"by words": {"mode": "words"}})
    assert found.columns == ("measure", "default", "by words")
    assert found.to_dict()["ablation"]["by words"]["recall@5"] <= found.to_dict()["recall@5"]
    page = html_of(found)
    assert page.words["figcaption"] == "recall@5MRRspan IoU"
    assert "whose answer does not come first" in page.words["summary"]
    assert found.to_html().startswith("<!doctype html>")
    judged = likelihoods(sample_kb, file)
    assert (len(judged.scores(True)), len(judged.scores(False))) == (32, 8)
    assert judged.auroc > 0.6
    assert html_of(judged).words["svg"].startswith("answerable")


def test_why_tells_its_stages(sample_kb: KnowledgeBase) -> None:
    found = why(sample_kb, "How long is the warranty on the battery?", "returns-policy-2023.md")
    page = html_of(found)
    assert "LOST" in page.words["tbody"]
    assert found.advice in page.words["p"]
    assert found.passage is not None
    assert page.words["blockquote"] == found.passage.text
