"""What TAB offers, as a shell asks for it: names from this machine, harmless ones, without a word over the network."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_process import run
from stored import IDENTITY, version

from rag.store.tables import Store
from rag.store.versions import record, tag
from rag.store.write import Writer, write_lock
from rag.web.sockets import listen

HOSTILE = ("docs/$(reboot).md", "docs/`id`.md", "docs/two words.md", "docs/\x1b[2J.md", "docs/a;b.md")


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "notes.kb"
    canaries = [[1.0, 0, 0, 0]] * 5
    store = Store.create(path, IDENTITY, canaries)
    with write_lock(path):
        writer = Writer(store)
        writer.put([version(source, "A line.") for source in ("docs/mast.md", "docs/übung.txt", *HOSTILE)])
        record(store)
        tag(store, "before-the-move")
    return path


@pytest.fixture
def silent_server(kb: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The address of the settings, where somebody listens who must not be spoken to."""
    with listen("127.0.0.1", 0) as listener:
        monkeypatch.setenv("LMSTUDIO_HOST", f"127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("RAG_KB", str(kb))
        yield listener


def offers(line: str, shell: str = "bash") -> list[str]:
    """What is offered for the last word of a line."""
    words = line.split(" ")
    environment = {
        f"_{words[0].upper()}_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
    }
    done = run(words[0], environment=environment)
    assert done.err == ""
    return done.out.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rag su", ["summarize"]),
        ("rag ask --stri", ["--strict"]),
        ("rag search x --mode w", ["words"]),
        ("rag rm docs/", ["docs/mast.md", "docs/übung.txt"]),
        ("rag why question docs/m", ["docs/mast.md"]),
        ("rag summarize d", ["docs/mast.md", "docs/übung.txt"]),
        ("rag search x --at b", ["before-the-move"]),
        ("rag restore b", ["before-the-move"]),
        ("rag tag --delete b", ["before-the-move"]),
        ("rag models get smol", ["smollm2-135m-instruct"]),
        ("rag engine start --fault crash", ["crash-once"]),
        ("rag config s", ["show"]),
        ("ingest --dry", ["--dry-run"]),
    ],
)
def test_tab_offers_what_there_is(silent_server: socket.socket, line: str, offered: list[str]) -> None:
    assert offers(line) == offered


def test_tab_speaks_to_nobody(silent_server: socket.socket) -> None:
    for line in ("rag models load ", "rag ask --model ", "rag rm ", "rag chat --session ", "rag models unload "):
        offers(line)
    silent_server.setblocking(False)
    with pytest.raises(BlockingIOError):
        silent_server.accept()


def test_models_on_this_machine_and_sessions_are_offered(
    silent_server: socket.socket, kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_STATE_DIR", str(tmp_path))
    (tmp_path / "sessions").mkdir()
    header = f'{{"format": 1, "session": "warranty", "kb": "{kb.as_posix()}", "begun": 1.0}}\n'
    (tmp_path / "sessions" / "warranty.jsonl").write_text(header)
    assert offers("rag chat --session w") == ["warranty"]
    assert offers("rag chat --delete w") == ["warranty"]
    assert offers("rag rm --kb /nonexistent/kb d") == []
    monkeypatch.setenv("RAG_TOPK", "wrong")
    assert offers("rag rm d") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
@pytest.mark.parametrize("program", ["rag", "ingest"])
def test_each_shell_gets_a_script_that_it_can_read(program: str, shell: str, tmp_path: Path) -> None:
    done = run(program, environment={f"_{program.upper()}_COMPLETE": f"source_{shell}"})
    assert f"_{program.upper()}_COMPLETE" in done.out
    if shell != "powershell" and shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.out)
        subprocess.run([shell, "-n", script], check=True)
