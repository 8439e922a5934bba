"""Damaged files of every format: each gives a document or a ParseError, in bounded time. `bench.fuzz` runs more."""

from pathlib import Path

import pytest
from mutations import mutated
from seeds import seeds

from ingest.parse import SUFFIXES, parse
from rag.errors import ParseError

SEEDS = seeds()
EACH = 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(SEEDS[name])
    assert parse(path, name).text, "the seed itself is read"
    told: list[str] = []
    for seed in range(EACH):
        path.write_bytes(mutated(SEEDS[name], seed, tuple(SEEDS.values())))
        try:
            document = parse(path, name)
        except ParseError as exc:
            told.append(str(exc))
        else:
            assert document.text.strip()
            assert document.pieces[-1].end <= len(document.text)
    assert all(name in words for words in told)


def test_every_format_has_a_seed() -> None:
    alike = {".markdown", ".text", ".log", ".htm", ".xhtml", ".tsv", ".ndjson", ".xlsm", ".key", ".numbers"}
    assert {Path(name).suffix for name in SEEDS} == SUFFIXES - alike


def test_the_same_seed_does_the_same_damage() -> None:
    data = SEEDS["a.docx"]
    assert mutated(data, 7) == mutated(data, 7)
    assert len({mutated(data, seed) for seed in range(20)}) > 15
