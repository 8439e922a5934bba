"""The HTML report: nothing in it runs, loads or escapes, and its drawings say what the figures say."""

from collections.abc import Mapping

import pytest
from lxml import html

from rag.evaluation.datasets import GOLD, Query
from rag.evaluation.metrics import interval
from rag.evaluation.page import page
from rag.evaluation.retrieval import QueryScore, WayScores, differences
from rag.types import Hit

HOSTILE = '</style><script src="http://evil.example">"\'&</script>\x1b]0;x\x07\u202e'


def way(ranks: Mapping[str, int | None]) -> WayScores:
    scores = tuple(
        QueryScore(
            Query(f"q{number}", text, {GOLD: 1.0}, ((HOSTILE, 3, 9),)),
            {"ndcg@10": 1 / (rank or 1000), "mrr": 1 / rank if rank else 0.0},
            rank,
            (Hit(HOSTILE, "id", HOSTILE, 4, (HOSTILE,), 0, 9, HOSTILE, 1.0),),
        )
        for number, (text, rank) in enumerate(ranks.items())
    )
    values = {name: [score.measures[name] for score in scores] for name in ("ndcg@10", "mrr")}
    means = {name: sum(of) / len(of) for name, of in values.items()}
    return WayScores(scores, means, {name: interval(of) for name, of in values.items()}, 0.25, 1.5)


@pytest.fixture(scope="module")
def text() -> str:
    ways = {"default": way({HOSTILE: None, "second?": 2, "first?": 1}), HOSTILE: way({"a": 1, "b": 1, "c": 1})}
    return page(HOSTILE, HOSTILE, ways, {HOSTILE: differences(ways[HOSTILE], ways["default"])})


def test_nothing_of_a_document_becomes_markup(text: str) -> None:
    tree = html.fromstring(text)
    elements = {element.tag for element in tree.iter()}
    assert not elements & {"script", "link", "img", "iframe", "object", "form", "a"}
    assert not [name for element in tree.iter() for name in element.attrib if name.startswith("on") or name == "src"]
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert len(tree.findall(".//style")) == 1
    assert "default-src 'none'" in tree.find(".//meta[@http-equiv]").get("content")
    assert "evil.example" in tree.text_content()


def test_the_table_has_means_intervals_costs_and_what_differs(text: str) -> None:
    rows = {
        row[0].text_content(): [cell.text_content() for cell in row[1:]] for row in html.fromstring(text).iter("tr")
    }
    assert [cell[:5] for cell in rows["MRR"]] == ["0.500", "1.000"]
    assert "+0.500 (" in rows["MRR"][1]
    assert rows["seconds a search"] == ["0.250", "0.250"]
    assert rows["chat requests a search"] == ["1.5", "1.5"]


def test_bars_are_as_long_as_the_figures(text: str) -> None:
    mrr, ranks = html.fromstring(text).findall(".//svg")[1:]
    lengths = [float(bar.get("width")) for bar in mrr.iter("rect")]
    assert lengths[0] == pytest.approx(lengths[1] / 2)
    counts = [bar.text_content().rpartition(": ")[::2] for bar in ranks.iter("rect")]
    assert [label for label, count in counts if count == "1"] == ["1", "2", "not found"]


def test_the_worst_question_comes_first_with_what_was_found(text: str) -> None:
    folded = html.fromstring(text).findall(".//details")
    assert [detail.find("summary/small").text for detail in folded] == ["not found", "rank 2"]
    assert "characters 3 to 9" in folded[0].text_content()
    assert folded[0].find(".//li") is not None


def test_the_same_figures_make_the_same_page() -> None:
    scores = {"default": way({"only?": 1})}
    assert page("t", "a", scores, {}) == page("t", "a", scores, {})
    assert "There is none" in page("t", "a", scores, {})
