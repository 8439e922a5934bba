"""Ingests that end badly: killed, interrupted, without a server, on a full disk. The next one puts all right."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.corpus import many
from bench.crash import contents, run, same
from bench.ingest import Synthetic, synthetic

COMMAND = "from ingest.cli import main; main()"
posix = pytest.mark.skipif(sys.platform == "win32", reason="as POSIX knows it")


@pytest.fixture
def server() -> Iterator[Synthetic]:
    """A slow server with one slot: there is time to interrupt."""
    with synthetic(0.5, "--slots", "1") as running:
        yield running


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return many(tmp_path / "notes", 40, 2500)


def start(server: Synthetic, folder: Path, kb: Path, before: str = "") -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "LMSTUDIO_HOST": server.host,
        "RAG_EMBEDDING_MODEL": "synthetic-embedding",
        "RAG_ENGINE": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", before + COMMAND, str(folder), "--kb", str(kb)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_for_texts(server: Synthetic, texts: int) -> None:
    deadline = time.monotonic() + 60
    while server.call("/stats")["answered"] < texts:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def settled(server: Synthetic, folder: Path, kb: Path, clean: Path) -> None:
    """After one more run the knowledge base is what it would have been."""
    code, _, err = finish(start(server, folder, kb))
    assert (code, err) == (0, "")
    assert not (kb / "journal").exists()
    assert finish(start(server, folder, clean))[0] == 0
    same(contents(kb), contents(clean))


@posix
def test_kills_lose_double_and_tear_nothing(tmp_path: Path) -> None:
    figures = run(tmp_path, kills=6, files=40, kills_a_change=3, seed=11)
    assert figures["kills"] == 6
    # What was in flight, and the canaries: see `_LOST_AT_FIRST`.
    assert figures["embedded"] <= figures["embedded_without_kills"] + 6 * (16 + 3)


@posix
def test_what_was_embedded_before_a_kill_is_not_embedded_again(server: Synthetic, notes: Path, tmp_path: Path) -> None:
    process = start(server, notes, tmp_path / "a.kb")
    wait_for_texts(server, 80)
    process.kill()
    finish(process)
    settled(server, notes, tmp_path / "a.kb", tmp_path / "clean.kb")
    clean = sum(len(one["chunks"]) for one in contents(tmp_path / "clean.kb").values())
    # The canaries: one by one for two new knowledge bases, and with the first texts of three runs.
    assert server.call("/stats")["texts"] <= 2 * clean + 2 * 4 + 3 * 3 + 16


def test_a_server_that_dies_is_an_error_with_its_own_exit_code(notes: Path, tmp_path: Path) -> None:
    with synthetic(0.5, "--slots", "1") as server:
        server.call("/die?after=9")
        code, _, err = finish(start(server, notes, tmp_path / "a.kb"))
    assert code == 3
    assert "Traceback" not in err
    assert "Nothing answers" in err
    with synthetic() as again:
        settled(again, notes, tmp_path / "a.kb", tmp_path / "clean.kb")


def test_a_server_that_was_busy_for_a_moment_is_asked_again(notes: Path, tmp_path: Path) -> None:
    with synthetic() as server:
        server.call("/fail?after=5&times=2")
        code, out, _ = finish(start(server, notes, tmp_path / "a.kb"))
    assert code == 0
    assert out.startswith("40 added")


@posix
def test_ctrl_c_ends_it_in_a_word_and_leaves_nobody(server: Synthetic, notes: Path, tmp_path: Path) -> None:
    import psutil

    # Whatever runs the tests may have them ignore it.
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = start(server, notes, tmp_path / "a.kb", listens)
    wait_for_texts(server, 30)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert err.startswith("Interrupted.")
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    settled(server, notes, tmp_path / "a.kb", tmp_path / "clean.kb")


@posix
def test_a_full_disk_is_an_error_and_loses_nothing(notes: Path, tmp_path: Path) -> None:
    small_files = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
    )
    with synthetic() as server:
        code, _, err = finish(start(server, notes, tmp_path / "a.kb", small_files))
        assert code == 4
        assert "Traceback" not in err
        assert "could not be" in err
        settled(server, notes, tmp_path / "a.kb", tmp_path / "clean.kb")
