"""Several embedding servers for one run: turns, one that goes away, one with another model behind the same name."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from lmstudio_server import EMBED, FakeLMStudio, lm_studio

import rag.errors as errors
from ingest.pipeline import ingest
from rag.knowledge_base import KnowledgeBase

EMBEDDINGS = "/v1/embeddings"


@pytest.fixture
def servers() -> Iterator[list[FakeLMStudio]]:
    with ExitStack() as stack:
        yield [stack.enter_context(lm_studio()) for _ in range(2)]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.md").write_text(f"# Note {number}\n\n" + f"Parrot {number} eats {number} seeds. " * 30)
    return folder


def hosts(servers: list[FakeLMStudio]) -> list[str]:
    return [server.settings.host for server in servers]


def texts(server: FakeLMStudio) -> int:
    return sum(len(body["input"]) for body in server.bodies(EMBEDDINGS))


def base(servers: list[FakeLMStudio], tmp_path: Path, told: list[str]) -> KnowledgeBase:
    """One whose own server is nowhere: those that are named stand in its place."""
    settings = replace(servers[0].settings, host="127.0.0.1:9")
    return KnowledgeBase(tmp_path / "a.kb", settings=settings, notify=told.append)


def test_servers_take_turns_and_stand_in_place_of_the_own_one(
    servers: list[FakeLMStudio], notes: Path, tmp_path: Path
) -> None:
    with base(servers, tmp_path, []) as kb:
        report = ingest(notes, into=kb, embed_urls=hosts(servers))
    assert report.added == 40
    assert min(map(texts, servers)) > report.chunks // 4


def test_a_server_that_goes_away_is_left_out_and_said(servers: list[FakeLMStudio], notes: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with base(servers, tmp_path, told) as kb:
        report = ingest(notes, into=kb, embed_urls=[*hosts(servers[:1]), "127.0.0.1:9"])
    assert report.added == 40
    assert [line for line in told if "goes on with 1 of its servers" in line]


def test_where_none_answers_any_more_the_run_ends(servers: list[FakeLMStudio], notes: Path, tmp_path: Path) -> None:
    with base(servers, tmp_path, []) as kb:
        ingest(notes / "0.md", into=kb, embed_urls=hosts(servers))
        with pytest.raises(errors.ServerUnreachable):
            ingest(notes, into=kb, embed_urls=["127.0.0.1:9", "127.0.0.1:10"])


def test_a_server_with_another_model_file_behind_the_same_name_ends_the_run(
    servers: list[FakeLMStudio], notes: Path, tmp_path: Path
) -> None:
    servers[1].rows[EMBED].file = "another"
    with base(servers, tmp_path, []) as kb, pytest.raises(errors.IdentityMismatch, match="makes other vectors"):
        ingest(notes, into=kb, embed_urls=hosts(servers))
