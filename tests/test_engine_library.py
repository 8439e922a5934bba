"""The model files of a machine: which of them are models, and what they are called."""

import logging
import os
from pathlib import Path

import pytest
from native_engine import write_model

from rag.engine.header import read_header
from rag.engine.library import Library, Model


def rows(library: Library) -> dict[str, Model]:
    return {model.key: model for model in library.models()}


def test_quantizations_of_one_repository(tmp_path: Path) -> None:
    """One model with variants; the key means the preferred one, whatever the order of names or of coming."""
    repository = tmp_path / "acme/Thinker-GGUF"
    for name in ("thinker-IQ2_M", "thinker-Q8_0", "thinker-Q4_K_M"):
        write_model(repository / f"{name}.gguf", block_count=1)
    library = Library((tmp_path,))
    (model,) = library.models()
    assert (model.key, model.quantization) == ("thinker", "Q4_K_M")
    assert model.variants == ("thinker@q4_k_m", "thinker@q8_0", "thinker@iq2_m")
    found = [library.find(name) for name in ("THINKER", "thinker@Q4_K_M", "thinker@q8_0", "thinker@q5_0")]
    assert [one and (one.key, one.quantization) for one in found] == [
        ("thinker", "Q4_K_M"),
        ("thinker", "Q4_K_M"),
        ("thinker@q8_0", "Q8_0"),
        None,
    ]


def test_one_quantization_has_no_variants(tmp_path: Path) -> None:
    write_model(tmp_path / "acme/Thinker-GGUF/thinker-Q8_0.gguf")
    assert rows(Library((tmp_path,)))["thinker"].variants == ()


def test_same_name_in_two_repositories(tmp_path: Path) -> None:
    """Told apart by the publisher; the same file in a second folder is not a second model."""
    for folder, publisher in (("own", "acme"), ("own", "zeta"), ("other", "acme")):
        write_model(tmp_path / folder / publisher / "Thinker-GGUF/thinker-Q4_0.gguf")
    models = rows(Library((tmp_path / "own", tmp_path / "other")))
    assert {key: model.path.relative_to(tmp_path).parts[:2] for key, model in models.items()} == {
        "thinker": ("own", "acme"),
        "zeta/thinker": ("own", "zeta"),
    }


def test_same_name_three_times(tmp_path: Path) -> None:
    for repository in ("A-GGUF", "B-GGUF", "C-GGUF"):
        write_model(tmp_path / f"acme/{repository}/thinker-Q4_0.gguf")
    assert list(rows(Library((tmp_path,)))) == ["thinker", "acme/thinker", "acme/c-gguf/thinker"]


def test_two_files_of_one_quantization(tmp_path: Path) -> None:
    for name in ("thinker.Q4_0", "thinker-Q4_0"):
        write_model(tmp_path / f"acme/Thinker-GGUF/{name}.gguf")
    (model,) = Library((tmp_path,)).models()
    assert model.variants == ("thinker@thinker-q4_0", "thinker@thinker.q4_0")


def test_vision_halves_are_no_models(tmp_path: Path) -> None:
    """Noticed beside their model, also where they come later."""
    repository = tmp_path / "acme/Seer-GGUF"
    write_model(repository / "seer-Q4_K_M.gguf")
    library = Library((tmp_path,))
    assert rows(library)["seer"].projector is None
    write_model(repository / "seer-mmproj-F16.gguf", "clip")
    assert rows(library)["seer"].projector == repository / "seer-mmproj-F16.gguf"
    assert list(rows(library)) == ["seer"]


def test_split_models(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Listed once, with the size of all parts, and not before all parts are there."""
    repository = tmp_path / "acme/Big-GGUF"
    parts = [repository / f"big-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    for part in parts[:2]:
        write_model(part)
    library = Library((tmp_path,))
    with caplog.at_level(logging.WARNING):
        assert rows(library) == {}
    assert "1 of 3 parts are missing, the first is big-Q4_K_M-00003-of-00003.gguf" in caplog.text
    write_model(parts[2])
    models = rows(library)
    assert list(models) == ["big"]
    assert models["big"].size_bytes == sum(part.stat().st_size for part in parts)
    assert models["big"].path == parts[0]


def test_what_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Hidden and partial files without a word, damaged ones with a line in the log, said once."""
    write_model(tmp_path / "acme/Good-GGUF/good-Q4_0.gguf")
    write_model(tmp_path / ".download-x/made.gguf")
    write_model(tmp_path / "acme/Good-GGUF/.half.gguf")
    (tmp_path / "acme/Good-GGUF/half.gguf.part").write_bytes(b"GGUF")
    (tmp_path / "acme/Good-GGUF/text.gguf").write_text("not found")
    (tmp_path / "acme/Good-GGUF/cut.gguf").write_bytes((tmp_path / "acme/Good-GGUF/good-Q4_0.gguf").read_bytes()[:90])
    library = Library((tmp_path,))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert list(rows(library)) == ["good"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert any("text.gguf" in line for line in lines)
    assert any("cut.gguf" in line for line in lines)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "acme/Good-GGUF/good-Q4_0.gguf"
    write_model(path)
    path.chmod(0)
    assert rows(Library((tmp_path,))) == {}


@pytest.mark.parametrize(
    ("template", "settings"),
    [
        ("{% if enable_thinking %}", ("on", "off")),
        ("{{ reasoning_effort }}", ("medium", "low", "high")),
        ("{{ messages }}", ()),
    ],
)
def test_reasoning_settings(tmp_path: Path, template: str, settings: tuple[str, ...]) -> None:
    write_model(tmp_path / "a/b/c.gguf", template=template)
    assert rows(Library((tmp_path,)))["c"].reasoning == settings


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"attention__head_count_kv": 2}, 10 * 2),
        ({}, 10 * 8),
        ({"attention__head_count_kv": [0, 2] * 5}, 5 * 2),
        ({"attention__head_count_kv": 2, "attention__sliding_window": 512}, 5 * 2),
        (
            {
                "attention__head_count_kv": 2,
                "attention__sliding_window": 512,
                "attention__sliding_window_pattern": [True, True, True, True, False] * 2,
            },
            2 * 2,
        ),
    ],
)
def test_memory_of_a_context(tmp_path: Path, numbers: dict[str, object], expected: int) -> None:
    """Layers times heads times width, in two bytes, for keys and values; windows and layers without count nothing."""
    path = tmp_path / "a/b/c.gguf"
    write_model(path, block_count=10, attention__head_count=8, embedding_length=512, **numbers)
    assert read_header(path).number("llama.block_count") == 10
    assert rows(Library((tmp_path,)))["c"].kv_bytes_per_token == 2 * expected * (64 + 64)
