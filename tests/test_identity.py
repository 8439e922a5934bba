"""A model that makes other vectors than the index holds is refused before it answers, and the way out is named."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bert_variants import FILE_TYPE, POOLING, requantized, with_layers_exchanged, with_number
from embedding_proxy import proxy
from engine_fixture import EMBED, RunningEngine, engine, model_file

import rag.errors as errors
from ingest.pipeline import ingest
from rag.identity import rebuild_command
from rag.knowledge_base import KnowledgeBase
from rag.settings import Settings
from rag.store.tables import Store

PREFIXED = "text-embedding-nomic-embed-mini"  # the family of this name has prefixes
NOTES = "The lamp takes two AA batteries.\n\n# Mast\n\nThe clamp of the mast is tightened to 9 Nm.\n"


class Models:
    """An engine of one thread whose model file can be exchanged under its name."""

    def __init__(self, running: RunningEngine, folder: Path) -> None:
        self._running = running
        self.folder = folder
        self.file = folder / "t" / "mini" / "all-MiniLM-L6-v2.gguf"
        self.settings = Settings(host=f"127.0.0.1:{running.port}", embedding_model=EMBED, engine=False)

    def exchange(self, content: bytes) -> None:
        """Put another file in its place and unload what is loaded."""
        self._running.unload_all()
        self.file.write_bytes(content)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    folder = tmp_path_factory.mktemp("models")
    for name in ("all-MiniLM-L6-v2.gguf", "nomic-embed-mini.gguf"):
        (folder / "t" / "mini").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model_file(EMBED), folder / "t" / "mini" / name)
    with engine(Path(os.environ["RAG_STATE_DIR"]), models=folder, threads=1) as running:
        yield Models(running, folder)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes") / "notes"
    folder.mkdir()
    (folder / "station.md").write_text(NOTES)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, settings: Settings, notes: Path) -> Path:
    """A knowledge base that the session's engine made, with its own number of threads."""
    with KnowledgeBase(tmp_path_factory.mktemp("made") / "notes.kb", settings=settings) as base:
        ingest(notes, into=base)
        return base.path


def found(path: Path, settings: Settings) -> str:
    """What a process that asks for the first time finds."""
    with KnowledgeBase(path, settings=settings) as base:
        return base.search("How tight is the clamp?")[0].text


def refused(path: Path, settings: Settings) -> str:
    """Why a process that asks for the first time finds nothing."""
    with pytest.raises(errors.IdentityMismatch) as problem:
        found(path, settings)
    assert rebuild_command(path) in str(problem.value)
    return str(problem.value)


def test_the_same_file_elsewhere_is_no_other_model(made: Path, models: Models, notes: Path) -> None:
    """Another server, another number of threads, other neighbours and sizes of batches, and loaded again."""
    models.exchange(model_file(EMBED).read_bytes())
    assert "9 Nm" in found(made, models.settings)
    assert "9 Nm" in found(made, replace(models.settings, embed_batch=1))
    models.exchange(model_file(EMBED).read_bytes())
    with KnowledgeBase(made, settings=models.settings) as base:
        assert "9 Nm" in base.search("How tight is the clamp?" * 20)[0].text
        (notes / "many.md").write_text("\n\n".join(f"# {n}\n\nBird {n} sings {'la ' * n}" for n in range(1, 30)))
        assert ingest(notes, into=base).added == 1
        (notes / "many.md").unlink()
        assert ingest(notes, into=base).removed == 1


def test_another_pooling_is_refused(made: Path, models: Models, tmp_path: Path) -> None:
    models.exchange(with_number(model_file(EMBED).read_bytes(), POOLING, 2))
    assert "makes other vectors today" in refused(made, models.settings)
    (tmp_path / "more.md").write_text("The mast is of ash.")
    with KnowledgeBase(shutil.copytree(made, tmp_path / "copy.kb"), settings=models.settings) as base:
        with pytest.raises(errors.IdentityMismatch, match="makes other vectors today"):
            ingest(tmp_path / "more.md", into=base)
        assert len(base.documents()) == 1


def test_another_model_of_the_same_dimension_is_refused(made: Path, models: Models) -> None:
    models.exchange(with_layers_exchanged(model_file(EMBED).read_bytes()))
    assert "makes other vectors today" in refused(made, models.settings)


def test_another_quantisation_is_refused(made: Path, models: Models, tmp_path: Path) -> None:
    requantized(model_file(EMBED), tmp_path / "other.gguf")
    other = (tmp_path / "other.gguf").read_bytes()
    models.exchange(other)
    assert "quantization 'Q8_0', not 'Q4_0'" in refused(made, models.settings)
    models.exchange(with_number(other, FILE_TYPE, 7))  # a server that tells it wrongly
    assert "makes other vectors today" in refused(made, models.settings)


def test_a_quantisation_that_changes_next_to_nothing_is_refused_by_its_name(made: Path, models: Models) -> None:
    models.exchange(with_number(model_file(EMBED).read_bytes(), FILE_TYPE, 1))
    assert "quantization 'Q8_0', not 'F16'" in refused(made, models.settings)


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory, models: Models, notes: Path) -> KnowledgeBase:
    settings = replace(models.settings, embedding_model=PREFIXED)
    with KnowledgeBase(tmp_path_factory.mktemp("prefixed") / "notes.kb", settings=settings) as base:
        ingest(notes, into=base)
        return base


@pytest.mark.parametrize("prefix", ["search_document: ", "search_query: "])
def test_a_prefix_that_gets_lost_is_noticed(prefix: str, prefixed: KnowledgeBase) -> None:
    def without(texts: list[str]) -> list[str]:
        return [text.removeprefix(prefix) for text in texts]

    with proxy(prefixed.settings.host, texts=without) as host:
        assert "its prefixes changed" in refused(prefixed.path, replace(prefixed.settings, host=host))
    with proxy(prefixed.settings.host) as host:
        assert "9 Nm" in found(prefixed.path, replace(prefixed.settings, host=host))


def test_a_program_with_other_prefixes_names_the_rebuild(prefixed: KnowledgeBase, tmp_path: Path) -> None:
    identity, canaries = prefixed.store.made_with()
    Store.create(tmp_path / "old.kb", replace(identity, query_prefix="query: "), canaries)
    with pytest.raises(errors.IdentityMismatch, match=r"query prefix 'query: ', not 'search_query: '.*rag rebuild"):
        found(tmp_path / "old.kb", prefixed.settings)


def rotated(vectors: list[list[float]]) -> list[list[float]]:
    return vectors[1:] + vectors[:1]


def test_vectors_in_another_order_are_noticed_at_once(
    settings: Settings, made: Path, notes: Path, tmp_path: Path
) -> None:
    with proxy(settings.host, vectors=rotated) as host:
        shuffled = replace(settings, host=host)
        with pytest.raises(errors.BadReply, match="in another order"):
            found(made, shuffled)
        with KnowledgeBase(tmp_path / "new.kb", settings=shuffled) as base:
            with pytest.raises(errors.BadReply, match="in another order"):
                ingest(notes, into=base)
            assert base.documents() == []
        with KnowledgeBase(tmp_path / "new.kb", settings=replace(shuffled, embed_batch=1)) as base:
            assert ingest(notes, into=base).added == 1
            assert "9 Nm" in base.search("How tight is the clamp?")[0].text


def test_the_check_costs_no_request_of_its_own(made: Path, settings: Settings) -> None:
    sent: list[int] = []

    def noted(texts: list[str]) -> list[str]:
        sent.append(len(texts))
        return texts

    with (
        proxy(settings.host, texts=noted) as host,
        KnowledgeBase(made, settings=replace(settings, host=host)) as base,
    ):
        for question in ("clamp", "lamp", "mast"):
            base.search(question)
    assert sent == [5, 1, 1]
