"""`rag chat`: what is typed, piped and printed; the server says what a test wants."""

import codecs
import io
import json
import os
import re
import select
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lmstudio_server import CHAT, EMBED, FakeLMStudio, chunk_of, lm_studio

from ingest import ingest
from rag.cli.app import main
from rag.knowledge_base import KnowledgeBase
from rag.sessions import Session, questions
from rag.settings import state_dir

TORQUE, COVER = "What torque do the mast clamp bolts need?", "And what does the steel cover cost?"
HOSTILE = "The steel cover costs 3.50 EUR. \u202eowned"

Chat = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def _server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        yield running


@pytest.fixture(scope="module")
def kb(_server: FakeLMStudio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    (folder / "docs").mkdir()
    (folder / "docs" / "mast.md").write_text("Before.\n\nThe mast clamp bolts need 9 Nm.\n\nBehind.\n")
    (folder / "docs" / "cover.txt").write_text(HOSTILE)
    with KnowledgeBase(folder / "notes.kb", settings=_server.settings) as base:
        ingest(folder / "docs", into=base)
    return base.path


@pytest.fixture
def environment(_server: FakeLMStudio) -> dict[str, str]:
    return {
        "LMSTUDIO_HOST": _server.settings.host,
        "RAG_ENGINE": "0",
        "RAG_EMBEDDING_MODEL": EMBED,
        "RAG_CHAT_MODEL": CHAT,
        "NO_COLOR": "1",
    }


@pytest.fixture
def server(_server: FakeLMStudio) -> FakeLMStudio:
    shutil.rmtree(state_dir() / "sessions", ignore_errors=True)
    _server.seen.clear()
    return _server


@pytest.fixture
def chat(
    kb: Path,
    server: FakeLMStudio,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Chat:
    """Run `rag chat` on what is piped into it: exit code, output, notices."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rag", "chat", "--kb", str(kb), "--no-rewrite", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as exc:
            code = int(exc.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def say_both(server: FakeLMStudio) -> None:
    server.say("The mast clamp bolts need 9 Nm.")
    server.say("The steel cover costs 3.50 EUR.")


def test_a_pipe_has_one_question_a_line_and_a_session_goes_on(chat: Chat, server: FakeLMStudio) -> None:
    say_both(server)
    code, out, _ = chat("--session", "work", stdin=f"{TORQUE}\n\n{COVER}\n")
    assert code == 0
    assert out == (
        f"> {TORQUE}\nThe mast clamp bolts need 9 Nm. [1]\n\n[1] docs/mast.md (verified)\n"
        "    “The mast clamp bolts need 9 Nm.”\n\n"
        f"> {COVER}\n(searched for: {TORQUE} {COVER})\nThe steel cover costs 3.50 EUR. [1]\n\n"
        "[1] docs/cover.txt (verified)\n    “The steel cover costs 3.50 EUR.”\n\n"
    )
    code, out, _ = chat("--session", "work", stdin="/sources\n")
    assert "> /sources\n(searched for:" in out
    assert "[1] docs/cover.txt (verified)" in out
    code, out, _ = chat("--list", "--json")
    assert {**json.loads(out), "at": 0} == {"session": "work", "kb": json.loads(out)["kb"], "turns": 2, "at": 0}
    assert chat("--list")[1].startswith("work\t2\t20")
    assert chat("--delete", "work")[0] == 0
    assert chat("--list")[1] == ""
    code, _, err = chat("--delete", "work")
    assert (code, "no session 'work'" in err) == (2, True)


def test_json_is_one_object_a_turn(chat: Chat, server: FakeLMStudio) -> None:
    say_both(server)
    code, out, _ = chat(
        "--json", stdin=f"{TORQUE}\n{COVER}\n/where format = txt\n/search cover\n/sources 1\n/quit\nno\n"
    )
    first, second, found, unfolded = map(json.loads, out.splitlines())
    assert code == 0
    assert (first["session"], first["question"], first["searched"]) == (None, TORQUE, TORQUE)
    assert (second["question"], second["searched"]) == (COVER, f"{TORQUE} {COVER}")
    assert second["citations"][0]["quote"] == "The steel cover costs 3.50 EUR."
    assert [hit["source"] for hit in found["hits"]] == ["docs/cover.txt"]
    assert (unfolded["quote"], unfolded["before"]) == ("The steel cover costs 3.50 EUR.", "")


def test_commands(chat: Chat, server: FakeLMStudio, tmp_path: Path) -> None:
    saved = tmp_path / "talk.md"
    say_both(server)
    server.say("The steel cover costs 3.50 EUR, as I said.")
    lines = [
        *("/help", TORQUE, "/sources 1", COVER, "/retry", "/session kept", "/sessions", f"/save {saved}", "/sources 1"),
        *("/where format = txt", "/search mast", "/where off", "/where", "/clear", "/session kept"),
    ]
    code, out, err = chat(stdin="\n".join(lines))
    assert code == 0, err
    told = dict(zip(lines, re.split(r"^> .*\n", out, flags=re.MULTILINE)[1:], strict=True))
    assert "/session NAME" in told["/help"]
    assert told["/retry"].startswith("(searched for:")
    assert told["/session kept"].strip() == "0 turns so far: kept"
    assert told["/sessions"].startswith("kept\t2\t")
    assert "docs/mast.md (verified)\nBefore.\n\nThe mast clamp bolts need 9 Nm.\n\nBehind." in out
    assert r"3.50 EUR. \u202eowned" in told["/sources 1"]
    assert "\u202e" not in out
    assert "mast.md" not in told["/search mast"]
    assert told["/where"].strip() == "All documents."
    assert saved.read_text(encoding="utf-8").startswith(
        "## What torque do the mast clamp bolts need?\n\nThe mast clamp"
    )
    assert saved.read_text(encoding="utf-8").count("## ") == 2
    asked_again = server.bodies("/v1/chat/completions")[-1]["messages"][0]["content"]
    assert f"Question: {TORQUE}\nAnswer: The mast clamp bolts need 9 Nm.\n\nQuestion: {COVER}\nAnswer:" in asked_again


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/bogus 1", "There is no command /bogus. There are /help, /sources,"),
        ("/sources", "Nothing has been asked yet."),
        ("/retry", "Nothing has been asked yet."),
        ("/save x.md", "Nothing has been asked yet."),
        ("/session ../x", "cannot be a session's name"),
        ("/session", "the name is missing"),
        ("/where colour =", ""),
    ],
)
def test_a_command_that_cannot_be_ends_a_pipe_with_its_reason(chat: Chat, line: str, told: str) -> None:
    code, _, err = chat(stdin=f"{line}\n{TORQUE}\n")
    assert code == 2
    assert told in err
    assert err.startswith("error: ")


def test_what_is_wrong_is_said_before_the_first_question(chat: Chat, kb: Path, tmp_path: Path) -> None:
    code, _, err = chat("--kb", str(tmp_path / "none.kb"), stdin=TORQUE)
    assert (code, "There is no knowledge base" in err) == (4, True)
    Session("other", tmp_path / "other.kb").clear()
    code, _, err = chat("--session", "other", stdin=TORQUE)
    assert (code, "belongs to the knowledge base" in err) == (2, True)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_conversation_at_a_terminal(kb: Path, server: FakeLMStudio, environment: dict[str, str]) -> None:
    """Errors and Ctrl-C end no conversation; Ctrl-D does."""
    go_on = threading.Event()
    server.waiting.clear()
    server.stream(chunk_of(CHAT, "The mast clamp bolts need 9 Nm. And "), go_on)
    with Terminal(["chat", "--kb", str(kb), "--session", "typed"], environment) as terminal:
        terminal.until(PROMPT)
        terminal.type("/bogus\n")
        terminal.until("There is no command /bogus")
        terminal.type(f"{TORQUE}\n")
        assert server.waiting.wait(60)
        terminal.until("And")
        terminal.type("\x03")
        terminal.until("Interrupted: this is what had been said.")
        terminal.until("“The mast clamp bolts need 9 Nm.”")
        terminal.until(PROMPT)
        terminal.type("thrown away")
        terminal.until("away")
        time.sleep(0.5)  # readline hears a signal only where it waits for a key
        terminal.type("\x03")
        terminal.until(PROMPT)
        terminal.type("\x04")
        assert terminal.ended() == 0
        go_on.set()
    (kept,) = Session("typed", kb).turns()[0]
    assert kept.answer.text == "The mast clamp bolts need 9 Nm. [1] And…"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_several_lines_are_one_question_and_come_back_in_the_next_session(
    kb: Path, server: FakeLMStudio, environment: dict[str, str]
) -> None:
    say_both(server)
    with Terminal(["chat", "--kb", str(kb), "--session", "lines", "--no-rewrite"], environment) as terminal:
        terminal.until(PROMPT)
        terminal.type("What torque do the mast \\\n")
        terminal.until("… ")
        terminal.type("clamp bolts need?\n")
        terminal.until("“The mast clamp bolts need 9 Nm.”")
        terminal.until(PROMPT)
        terminal.type("\x1b[200~And what does\nthe steel cover cost?\x1b[201~\n")
        terminal.until("“The steel cover costs 3.50 EUR.”")
        terminal.until(PROMPT)
        terminal.type("\x04")
        assert terminal.ended() == 0
    asked = ["What torque do the mast \nclamp bolts need?", "And what does\nthe steel cover cost?"]
    assert [turn.answer.question for turn in Session("lines", kb).turns()[0]] == asked
    assert questions(kb) == asked
    assert questions(kb.parent / "other.kb") == []
    with Terminal(["chat", "--kb", str(kb)], environment) as terminal:
        terminal.until(PROMPT)
        terminal.type("\x1b[A\x1b[A")
        terminal.until("What torque do the mast  clamp bolts need?")


PROMPT = "\n> "  # at the beginning of a line: a heading's path has a sign like it
PATIENCE_S = 60


class Terminal:
    """A command at a pseudo-terminal."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.arguments, self.environment = arguments, environment
        self.seen = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end in the middle of a character

    def __enter__(self) -> "Terminal":
        import pty

        with warnings.catch_warnings():  # what is forked here becomes another program at once
            warnings.filterwarnings("ignore", "lance is not fork-safe")
            self.pid, self.screen = pty.fork()
        if self.pid == 0:
            code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            code += "from rag.cli.app import main; main()"
            command = [sys.executable, "-c", code, *self.arguments]
            os.execve(sys.executable, command, {**os.environ, **self.environment, "TERM": "xterm"})
        return self

    def __exit__(self, *exc: Any) -> None:
        os.close(self.screen)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.screen, keys.encode())

    def until(self, text: str) -> None:
        """Read until the text is on the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen and time.monotonic() < deadline:
            self._read()
        assert text in self.seen
        self.seen = self.seen.partition(text)[2]

    def ended(self) -> int:
        """The exit code, when the command has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            assert time.monotonic() < deadline, "it goes on"
            self._read()
        self.pid = 0
        return os.waitstatus_to_exitcode(found[1])

    def _read(self) -> None:
        if select.select([self.screen], [], [], 0.2)[0]:
            with suppress(OSError):  # it has ended
                self.seen += self.decoder.decode(os.read(self.screen, 4096)).replace("\r", "")
        self.seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen)
