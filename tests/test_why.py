"""Why a passage is not among the results: what is told is what the search does."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE
from test_cli import run

from ingest.pipeline import ingest
from rag.cli.why import _unread
from rag.errors import UsageProblem
from rag.knowledge_base import KnowledgeBase
from rag.search.why import Stage, why
from rag.settings import Settings
from rag.store.rank import vector_ranks, word_ranks
from rag.store.search import by_vector, by_words

BATTERY = "How long is the warranty on the battery?"
TERMS = "sample/policies/warranty-terms.docx"


def test_each_document_is_explained_as_the_search_treats_it(sample_kb: KnowledgeBase) -> None:
    """The oracle is the search itself, at two limits and with a floor."""
    lost: set[Stage | None] = set()
    for limit, floor in ((3, 0.0), (12, 0.4)):
        shown = [hit.source for hit in sample_kb.search(BATTERY, limit=limit, floor=floor)]
        for row in sample_kb.documents():
            explanation = why(sample_kb, BATTERY, row.source, answer=False, limit=limit, floor=floor)
            lost.add(explanation.lost_at)
            assert (explanation.lost_at is None) == (row.source in shown), row.source
            if explanation.shown_as:
                assert shown[explanation.shown_as - 1] == row.source
    assert lost >= {None, Stage.SEARCH, Stage.LIMIT, Stage.FLOOR}


def test_a_passage_that_is_shown(sample_kb: KnowledgeBase) -> None:
    found = why(sample_kb, BATTERY, "warranty-terms.docx", text="Battery pack: 2 years")
    assert (found.source, found.lost_at) == (TERMS, None)
    assert [step.stage for step in found.steps] == [
        *(Stage.INDEX, Stage.SEARCH, Stage.FLOOR, Stage.LIMIT, Stage.CONTEXT)
    ]
    assert found.passage is not None
    assert "Battery pack: 2 years" in sample_kb.text(TERMS)[found.passage.start : found.passage.end]
    assert found.vector is not None
    assert found.words is not None
    assert found.chunks == sample_kb.status().chunks


def test_ranks_are_those_among_all_chunks(sample_kb: KnowledgeBase) -> None:
    store = sample_kb.store
    vector = sample_kb.searcher.prepared(BATTERY, sample_kb.options()).vector
    assert vector is not None
    near, worded = by_vector(store, vector, 10_000), by_words(store, BATTERY, 10_000)
    assert len(near) == sample_kb.status().chunks
    for everything, ranks in (
        (near, vector_ranks(store, vector, [each.id for each in near])),
        (worded, word_ranks(store, BATTERY, [each.id for each in near])),
    ):
        assert {id_: place.rank for id_, place in ranks.items()} == {
            each.id: place for place, each in enumerate(everything, 1)
        }
        assert all(ranks[each.id].score == pytest.approx(each.score) for each in everything)
    assert vector_ranks(store, np.ones(store.identity.dimension, np.float32), []) == {}


def test_the_limit_that_lets_it_in_is_named(sample_kb: KnowledgeBase) -> None:
    names = [hit.source for hit in sample_kb.search(BATTERY, limit=20)]
    last = names[-1]
    found = why(sample_kb, BATTERY, last, answer=False, limit=1)
    assert found.lost_at is Stage.LIMIT
    enough = int(found.advice.split()[1])
    assert why(sample_kb, BATTERY, last, answer=False, limit=enough).lost_at is None
    assert why(sample_kb, BATTERY, last, answer=False, limit=enough // 4).lost_at is Stage.LIMIT


def test_a_filter_and_words_that_were_not_read(sample_kb: KnowledgeBase) -> None:
    assert why(sample_kb, BATTERY, TERMS, answer=False, paths=["*.pdf"]).lost_at is Stage.FILTER
    assert why(sample_kb, BATTERY, TERMS, answer=False, where="headings = nothing").lost_at is Stage.FILTER
    unread = why(sample_kb, BATTERY, TERMS, text="zygote quokka", answer=False)
    assert (unread.lost_at, unread.passage) == (Stage.READING, None)
    by_words_only = why(sample_kb, "xylophone", TERMS, answer=False, mode="words")
    assert (by_words_only.lost_at, by_words_only.vector, by_words_only.words) == (Stage.SEARCH, None, None)
    assert "none of the question's does" in by_words_only.advice


def test_a_context_that_is_full(sample_kb: KnowledgeBase, settings: Settings) -> None:
    tight = replace(settings, chat_context=512, top_k=12)
    with KnowledgeBase(sample_kb.path, settings=tight) as base:
        base.settings = replace(tight, answer_tokens=base.chat_model.context_length - 400)
        last = base.search(BATTERY, floor=0.1)[-1]
        found = why(base, BATTERY, last.source, text=last.text, floor=0.1)
        assert (found.lost_at, found.shown_as) == (Stage.CONTEXT, None)


@pytest.fixture(scope="module")
def patchy(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[KnowledgeBase]:
    """A folder of which an ingest took one file, failed on one and left two out."""
    folder = tmp_path_factory.mktemp("patchy") / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "battery.md").write_text("The battery lasts 24 months.\n")
    (folder / "sub" / "battery.md").write_text("The battery weighs 300 grams.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    (folder / "secret.md").write_text("The battery is a secret.\n")
    (folder / "picture.xyz").write_bytes(b"\x00\x01")
    (folder / ".ragignore").write_text("secret.md\n")
    with KnowledgeBase(folder.parent / "kb", settings=settings) as base:
        ingest(folder, into=base)
        (folder / "late.md").write_text("The battery came late.\n")
        yield base


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("{docs}/secret.md", "is left out: excluded by docs/.ragignore"),
        ("{docs}/picture.xyz", "is left out: no reader for .xyz"),
        ("{docs}/late.md", "was not there when its folder was ingested"),
        ("{docs}/../outside.md", "lies in no folder that was ingested"),
        ("batery.md", "no document of"),
        ("docs/sub", "holds 1 documents"),
        ("broken.pdf", "it could not be read"),
    ],
)
def test_a_document_that_is_not_searchable(patchy: KnowledgeBase, name: str, reason: str) -> None:
    docs = patchy.store.roots()["docs"]
    (docs.parent / "outside.md").write_text("Outside.\n")
    found = why(patchy, "battery", name.format(docs=docs), answer=False, mode="words", unread=_unread)
    assert (found.lost_at, len(found.steps)) == (Stage.INDEX, 1)
    assert reason in found.steps[0].message
    assert found.advice
    assert json.loads(json.dumps(found.to_dict()))["lost_at"] == "index"


def test_documents_are_found_by_what_people_call_them(patchy: KnowledgeBase) -> None:
    docs = patchy.store.roots()["docs"]
    for name in ("docs/sub/battery.md", "sub/battery.md", f"{docs}/sub/battery.md", "SUB/Battery.md"):
        assert why(patchy, "battery", name, answer=False, mode="words").source == "docs/sub/battery.md"
    with pytest.raises(UsageProblem, match="2 documents end with"):
        why(patchy, "battery", "battery.md", answer=False, mode="words")
    assert "docs/battery.md" in why(patchy, "battery", "batery.md", answer=False, mode="words").advice


def test_the_command(sample_kb: KnowledgeBase, command_environment: dict[str, str]) -> None:
    environment = {**command_environment, "RAG_KB": str(sample_kb.path)}
    plain = run(environment, "rag", "why", BATTERY, str(SAMPLE / Path(TERMS).relative_to("sample")), "--search")
    assert plain.returncode == 0
    assert plain.stdout.startswith(f"{TERMS}, passage ")
    assert "limit\tkept\t" in plain.stdout
