"""Damaged files of every format: each gives a document or a ParseError, in bounded time. `bench.fuzz` runs more."""

from pathlib import Path

import pytest
from mutations import mutated
from seeds import seeds

from ingest.parse import SUFFIXES, Unread, read_all
from rag.errors import ParseError

SEEDS = seeds()
EACH = 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(SEEDS[name])
    assert not any(isinstance(one, Unread) for one in read_all(path, name)), "the seed itself is read"
    told: list[str] = []
    for seed in range(EACH):
        path.write_bytes(mutated(SEEDS[name], seed, tuple(SEEDS.values())))
        try:
            documents = [one for one in read_all(path, name) if not isinstance(one, Unread)]
        except ParseError as exc:
            told.append(str(exc))
        else:
            assert all(document.text.strip() for document in documents)
            assert all(document.pieces[-1].end <= len(document.text) for document in documents)
    assert all(name in words for words in told)


def test_the_seeds_are_of_formats_that_are_read() -> None:
    assert {Path(name).suffix for name in SEEDS} <= SUFFIXES


def test_the_same_seed_does_the_same_damage() -> None:
    data = SEEDS["a.docx"]
    assert mutated(data, 7) == mutated(data, 7)
    assert len({mutated(data, seed) for seed in range(20)}) > 15
