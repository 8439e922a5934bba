"""All passages embedded anew: nothing is lost, doubled or mixed, whoever reads meanwhile and whatever ends it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedding_proxy import proxy
from lmstudio_server import EMBED, FakeLMStudio, Row, lm_studio
from typer.testing import CliRunner

import rag.errors as errors
from bench.ingest import Synthetic, synthetic
from ingest.pipeline import ingest
from rag.cli.app import app
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.embeddings import FloatMatrix
from rag.rebuild import RebuildPlan, RebuildProgress, rebuild
from rag.store.journal import Journal
from rag.store.names import digest, revision_of
from rag.store.schema import DocumentRow, Identity
from rag.store.search import by_words
from rag.store.tables import Store
from rag.store.upkeep import Coverage, coverage
from rag.store.vectors import replace_vectors
from rag.store.versions import record
from rag.store.write import NewVersion, Writer, write_lock
from rag.types import Chunk

SECOND = "text-embedding-second"
FORMER = Identity("text-embedding-former", "Q8_0", 4, "", "", 200)


@pytest.fixture
def server() -> Iterator[FakeLMStudio]:
    """A server with two embedding models of different dimensions."""
    with lm_studio() as running:
        running.rows[SECOND] = Row("embedding", 2048, 84_000_000, dimension=48, file="second")
        yield running


def filled(store: Store, documents: int, vectors: Callable[[list[str]], FloatMatrix]) -> None:
    """Write documents of three chunks each."""
    versions = []
    for number in range(documents):
        lines = [f"Bird {number} was singing {'la ' * part}in tree {part} of {number}." for part in range(3)]
        starts = [sum(len(line) + 1 for line in lines[:part]) for part in range(3)]
        chunks = [
            Chunk(part, line, at, at + len(line), None, (), "Birds")
            for part, (line, at) in enumerate(zip(lines, starts, strict=True))
        ]
        text, source = "\n".join(lines), f"birds/{number}.md"
        row = DocumentRow(
            *(
                digest(source),
                source,
                "birds",
                digest(text),
                len(text),
                1,
                revision_of(text, chunks),
                "",
                "",
                "",
                "",
                0,
                0,
            )
        )
        versions.append(NewVersion(row, text, chunks, vectors([chunk.searched for chunk in chunks])))
    Writer(store).put(versions)


@pytest.fixture
def base(server: FakeLMStudio, tmp_path: Path) -> Iterator[KnowledgeBase]:
    """A knowledge base of sixty chunks, made with the first model, whose settings name none."""
    with KnowledgeBase(tmp_path / "notes.kb", settings=server.settings) as made:
        filled(made.made(), 20, made.embedder.embed_documents)
    with KnowledgeBase(made.path, settings=replace(server.settings, embedding_model=None)) as opened:
        yield opened


def by(base: KnowledgeBase, model: str) -> KnowledgeBase:
    """The same place, with settings that name a model."""
    return KnowledgeBase(base.path, settings=replace(base.settings, embedding_model=model))


def finds(base: KnowledgeBase, mode: str) -> bool:
    """Whether a search finds what it should, whichever of the two models has made the vectors."""
    return any(hit.source == "birds/7.md" for hit in base.search("Birds sing in trees: 7 0 7", mode=mode))


def rows(store: Store) -> dict[str, dict[str, Any]]:
    """All chunks by id."""
    return {row["id"]: row for row in store.chunks_table.search().to_arrow().to_pylist()}


def without_vectors(store: Store) -> dict[str, dict[str, Any]]:
    return {id_: {**row, "vector": None} for id_, row in rows(store).items()}


def assert_vectors_are_of(base: KnowledgeBase, model: str) -> None:
    """Every chunk has the vector that the model makes of it."""
    found = list(rows(base.store).values())
    with by(base, model) as other:
        expected = other.embedder.embed_documents([row["searched"] for row in found])
    assert np.allclose(np.array([row["vector"] for row in found]), expected, atol=1e-5)


def test_another_model_takes_over_and_nothing_else_changes(base: KnowledgeBase, tmp_path: Path) -> None:
    before = without_vectors(base.store)
    record(base.store)
    leftover = Journal(base.path, base.store.identity)
    leftover.add([(digest("what a killed ingest left"), np.ones(64, np.float32))])
    leftover.close()
    plans: list[RebuildPlan] = []
    last: list[RebuildProgress] = []
    with by(base, SECOND) as other:
        report = rebuild(other, on_plan=plans.append, on_progress=last.append)
    assert plans == [RebuildPlan(60, SECOND, EMBED)]
    assert (report.chunks, report.embedded, report.kept, report.dimension) == (60, 60, 0, 48)
    assert (last[-1].done, last[-1].chunks) == (60, 60)
    assert not (base.path / "journal").exists()
    assert not (base.path / "rebuild").exists()
    # What was open before sees it, and goes on.
    assert base.store.identity.embedding_model == SECOND
    assert finds(base, "vector")
    assert without_vectors(base.store) == before
    assert_vectors_are_of(base, SECOND)
    assert by_words(base.store, "trees sing", 5), "full-text search knows stems, so its index is there"
    with pytest.raises(errors.IdentityMismatch, match=f"rag rebuild --model {EMBED}"):
        by(base, EMBED).search("singing")
    with KnowledgeBase(base.path, settings=base.settings, version=1) as former:
        assert finds(former, "vector")
        with pytest.raises(errors.KnowledgeBaseError, match="cannot be changed"):
            rebuild(former)
    base.restore(1)
    assert (base.store.identity.embedding_model, base.store.identity.dimension) == (EMBED, 64)
    assert finds(base, "vector")


def test_later_ingests_find_the_new_vectors(base: KnowledgeBase, server: FakeLMStudio, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("The robin sings.")
    ingest(tmp_path / "docs", into=base)
    with by(base, SECOND) as other:
        rebuild(other)
    (tmp_path / "docs" / "b.md").write_text("The robin sings.")
    (tmp_path / "docs" / "c.md").write_text("The crow croaks.")
    report = ingest(tmp_path / "docs", into=base)
    assert (report.added, report.embedded, report.reused) == (2, 1, 1)
    assert_vectors_are_of(base, SECOND)


def test_a_changed_model_is_repaired(base: KnowledgeBase, server: FakeLMStudio) -> None:
    server.rows[EMBED].file = "swapped"
    with pytest.raises(errors.IdentityMismatch, match=f"rag rebuild --kb {base.path}"):
        base.search("singing")
    assert rebuild(base).model == EMBED
    assert finds(base, "vector")
    assert_vectors_are_of(base, EMBED)


def test_a_dry_run_asks_and_changes_nothing(base: KnowledgeBase, server: FakeLMStudio) -> None:
    server.seen.clear()
    version = base.store.chunks_table.version
    with by(base, SECOND) as other:
        report = rebuild(other, dry_run=True)
    assert (report.chunks, report.model, report.before) == (60, SECOND, EMBED)
    assert server.seen == []
    assert base.store.chunks_table.version == version


def failing_after(server: FakeLMStudio, requests: int) -> None:
    """Let some requests for vectors through and refuse one."""
    failure = (401, {"error": "a token is wanted now"}, None)
    server.instead["/v1/embeddings"].extend([*[None] * requests, failure])


def test_what_was_embedded_before_a_failure_is_kept(base: KnowledgeBase, server: FakeLMStudio) -> None:
    failing_after(server, 6)
    with by(base, SECOND) as other:
        with pytest.raises(errors.Unauthorized):
            rebuild(other)
        assert finds(base, "vector")
        assert base.store.identity.embedding_model == EMBED
        report = rebuild(other)
    assert report.kept >= 13
    assert report.kept + report.embedded == 60
    assert_vectors_are_of(base, SECOND)


def test_what_another_file_of_the_model_made_is_not_kept(base: KnowledgeBase, server: FakeLMStudio) -> None:
    failing_after(server, 6)
    with by(base, SECOND) as other:
        with pytest.raises(errors.Unauthorized):
            rebuild(other)
        server.rows[SECOND].file = "swapped"
        assert rebuild(other).kept == 0
    assert_vectors_are_of(base, SECOND)


def test_a_model_that_changes_meanwhile_ends_it(base: KnowledgeBase, server: FakeLMStudio) -> None:
    def swap(progress: RebuildProgress) -> None:
        server.rows[SECOND].file = "swapped" if progress.done > 30 else "second"

    with by(base, SECOND) as other, pytest.raises(errors.IdentityMismatch, match="other vectors today"):
        rebuild(other, on_progress=swap)
    assert base.store.identity.embedding_model == EMBED


def test_a_text_that_cannot_be_embedded_is_named_and_loses_none(base: KnowledgeBase) -> None:
    asked: list[str] = []

    def noted(texts: list[str]) -> list[str]:
        asked[:] = texts
        return texts

    def nothing_for_one(vectors: list[list[float]]) -> list[list[float]]:
        return [[0.0] * len(v) if "tree 1 of 7." in text else v for text, v in zip(asked, vectors, strict=True)]

    with proxy(base.settings.host, texts=noted, vectors=nothing_for_one) as host:
        there = KnowledgeBase(base.path, settings=replace(base.settings, host=host, embedding_model=SECOND))
        with pytest.raises(errors.ServerError, match=r"passage 'Birds.*tree 1 of 7.' could not be embedded: .* zero"):
            rebuild(there)
    assert base.store.identity.embedding_model == EMBED
    with by(base, SECOND) as other:
        assert rebuild(other).kept > 0


def test_one_writer_at_a_time(base: KnowledgeBase) -> None:
    with write_lock(base.path), pytest.raises(errors.KnowledgeBaseBusy):
        rebuild(base)


def test_who_searches_meanwhile_always_finds(base: KnowledgeBase) -> None:
    """Three processes' worth of readers, each with its own connection, while the model changes to and fro."""
    stopped = threading.Event()
    problems: list[BaseException] = []
    searches = [0, 0, 0]

    def read(number: int, mode: str) -> None:
        try:
            with KnowledgeBase(base.path, settings=base.settings) as reader:
                while not stopped.is_set():
                    assert finds(reader, mode), mode
                    searches[number] += 1
        except BaseException as exc:  # noqa: BLE001 - the test's own thread raises it
            problems.append(exc)

    threads = [threading.Thread(target=read, args=one) for one in enumerate(("vector", "words", "hybrid"))]
    for thread in threads:
        thread.start()
    for model in (SECOND, EMBED, SECOND):
        with by(base, model) as other:
            rebuild(other)
    stopped.set()
    for thread in threads:
        thread.join()
    assert not problems, problems
    assert min(searches) > 0


def test_a_kill_before_the_full_text_index_is_made_is_harmless(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "a.kb", FORMER, [[1.0, 0.0, 0.0, 0.0]])
    filled(store, 2, lambda texts: np.ones((len(texts), 4), np.float32) / 2)
    made_with = (replace(FORMER, dimension=6), [[1.0] * 6])
    replace_vectors(store, made_with, lambda names: np.ones((len(names), 6), np.float32))
    for reader in (store, Store.open(store.path)):
        assert reader.made_with() == made_with
        assert len(by_words(reader, "trees sing", 9)) == 6
    Writer(Store.open(store.path))
    assert coverage(store).words == Coverage("FTS", 6, 0)
    assert len(by_words(store, "trees sing", 9)) == 6


posix = pytest.mark.skipif(sys.platform == "win32", reason="as POSIX knows it")


def environment(server: Synthetic) -> dict[str, str]:
    of_rag = {"LMSTUDIO_HOST": server.host, "RAG_EMBEDDING_MODEL": "synthetic-embedding", "RAG_ENGINE": "0"}
    return {**os.environ, **of_rag}


def start(server: Synthetic, kb: Path) -> "subprocess.Popen[str]":
    # Whatever runs the tests may have them ignore Ctrl-C.
    command = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from rag.cli.app import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", command, "rebuild", "--kb", str(kb)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(server),
    )


@posix
def test_killed_and_interrupted_it_goes_on_where_it_was(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "a.kb", FORMER, [[1.0, 0.0, 0.0, 0.0]])
    filled(store, 60, lambda texts: np.ones((len(texts), 4), np.float32) / 2)
    chunks = without_vectors(store)
    with synthetic(0.25, "--slots", "1") as server:
        for number, sent in enumerate((signal.SIGKILL, signal.SIGINT), start=1):
            process = start(server, store.path)
            while server.call("/stats")["answered"] < 60 * number:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(sent)
            _, err = process.communicate(timeout=60)
            assert store.identity == FORMER
        assert process.returncode == 130
        assert "Interrupted. The index is as it was. The vectors of" in err
        assert "Traceback" not in err
        done = CliRunner().invoke(app, ["rebuild", "--kb", str(store.path), "--json"], env=environment(server))
        embedded = server.call("/stats")["texts"]
    plan, *progress, report = map(json.loads, done.stdout.splitlines())
    assert plan == {"event": "plan", "chunks": 180, "model": "synthetic-embedding", "before": FORMER.embedding_model}
    assert {event["event"] for event in progress} == {"progress"}
    assert set(report) >= {"event", "chunks", "embedded", "kept", "model", "before", "dimension", "seconds", "dry_run"}
    assert (report["event"], report["kept"] + report["embedded"]) == ("report", 180)
    # Each of three runs embeds the canaries one by one and with the first texts, the last one once more; the two that
    # were ended lose what was in flight.
    assert embedded <= 180 + 3 * (4 + 3) + 3 + 2 * 16
    assert without_vectors(store) == chunks
    assert store.identity.embedding_model == "synthetic-embedding"
