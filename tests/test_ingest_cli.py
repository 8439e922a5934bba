"""The `ingest` command: what each option does, what it prints where, and how it ends."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

import ingest.show as show
from ingest.cli import app
from ingest.report import FileStatus, IngestReport, Outcome, Progress
from rag.cli.app import app as rag_app
from rag.errors import ServerUnreachable, UsageProblem

Command = Callable[..., Result]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "battery.md").write_text("# Battery\n\nThe battery lasts 24 months.\n")
    (folder / "sub" / "cable.txt").write_text("The cable is nine metres long and black.\n")
    return folder


@pytest.fixture
def command(command_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`ingest` with arguments, in this process; `rag` with `program=rag_app`."""
    for name, value in command_environment.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: object, program: Any = app, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(program, [str(argument) for argument in arguments], input=stdin)

    return call


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_closing_line_and_the_exit_code(command: Command, docs: Path) -> None:
    (docs / "picture.xyz").write_bytes(bytes(range(256)))
    done = command(docs)
    assert (done.stdout, done.exit_code) == (
        "2 added, 0 updated, 0 unchanged, 0 renamed, 0 removed, 0 failed, 1 skipped\n",
        0,
    )
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    failed = command(docs)
    assert failed.exit_code == 1
    assert failed.stdout.endswith("0 added, 0 updated, 2 unchanged, 0 renamed, 0 removed, 1 failed, 1 skipped\n")
    assert "failed: docs/broken.pdf is damaged" in failed.stderr
    assert "rag ls --failed" in failed.stderr
    listed = command("ls", "--failed", program=rag_app)
    (line,) = listed.stdout.splitlines()
    assert line.startswith("docs/broken.pdf\tdocs/broken.pdf is damaged")
    assert line.endswith("\tno")
    assert "could not be read before" in command(docs, "--dry-run").stdout


def test_verbose_tells_every_document_and_quiet_only_failures(command: Command, docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    quiet = command(docs, "-q")
    assert (quiet.stdout, len(quiet.stderr.splitlines()), quiet.exit_code) == ("", 1, 1)
    loud = command(docs, "-v")
    assert "unchanged docs/battery.md" in loud.stdout
    assert "unchanged docs/sub/cable.txt" in loud.stdout
    assert "docs/broken.pdf" not in loud.stdout


def test_a_dry_run_says_what_would_be_done_and_does_nothing(command: Command, docs: Path, tmp_path: Path) -> None:
    first = command(docs, "--dry-run")
    assert (first.exit_code, first.stdout.count("added ")) == (0, 2)
    assert not (tmp_path / "notes.kb").exists()
    command(docs)
    (docs / "battery.md").write_text("# Battery\n\nIt lasts for ever.\n")
    (docs / "sub" / "cable.txt").rename(docs / "cable.txt")
    (docs / "new.md").write_text("New.")
    (docs / "picture.xyz").write_bytes(bytes(range(256)))
    plan = command(docs, "--dry-run")
    assert plan.stdout.splitlines() == [
        "skipped   docs/picture.xyz  (no reader for .xyz)",
        "renamed   docs/cable.txt  (was docs/sub/cable.txt, 1 chunk)",
        "added     docs/new.md",
        "updated   docs/battery.md",
        "1 added, 1 updated, 0 unchanged, 1 renamed, 0 removed, 0 failed, 1 skipped (dry run: nothing was changed)",
    ]
    foretold = events(command(docs, "--dry-run", "--json"))[-1]
    done = events(command(docs, "--json"))[-1]
    counts = ("added", "updated", "unchanged", "renamed", "removed", "failed", "skipped")
    assert [foretold[name] for name in counts] == [done[name] for name in counts]


def test_patterns_and_why_a_document_went(command: Command, docs: Path) -> None:
    command(docs)
    only = events(command(docs, "--include", "*.md", "--json"))
    assert [(e["source"], e["status"]) for e in only[1:-1]] == [("docs/battery.md", "unchanged")]
    (docs / ".ragignore").write_text("sub/\n")
    gone = events(command(docs, "--exclude", "bat*", "--exclude", "x*", "--json", "--yes"))
    assert {e["source"]: (e["status"], e["reason"]) for e in gone[1:-1]} == {
        "docs/battery.md": ("removed", "excluded by --exclude"),
        "docs/sub/cable.txt": ("removed", "excluded by docs/.ragignore"),
    }
    with_git = command(docs, "--include", "*.nothing")
    assert "that the patterns leave in" in str(with_git.exception)


def test_what_was_read_once_and_has_no_reader_now_is_a_failure(command: Command, docs: Path) -> None:
    (docs / "NOTES").write_text("The parrot is green.")
    command(docs)
    (docs / "NOTES").write_bytes(bytes(range(256)))
    failed = command(docs)
    assert failed.stdout.startswith("0 added, 0 updated, 2 unchanged, 0 renamed, 0 removed, 1 failed")
    assert "docs/NOTES" in command("search", "parrot", "--mode", "words", program=rag_app).stdout


def test_gitignore_counts_unless_told_otherwise(command: Command, docs: Path) -> None:
    (docs / ".gitignore").write_text("sub\n")
    assert events(command(docs, "--json"))[-1]["added"] == 1
    assert events(command(docs, "--no-gitignore", "--json"))[-1]["added"] == 1
    assert events(command(docs, "--no-prune", "--json"))[-1]["removed"] == 0
    assert events(command(docs, "--json"))[-1]["removed"] == 1


def test_an_empty_place_of_many_documents_is_kept_and_a_great_loss_is_told(command: Command, docs: Path) -> None:
    """A mount below the folder that vanished leaves an empty folder; somebody who tidies up leaves none."""
    (docs / "mount").mkdir()
    for number in range(24):
        (docs / "mount" / f"{number}.md").write_text(f"Note number {number}.")
    command(docs)
    for file in (docs / "mount").iterdir():
        file.unlink()
    kept = events(command(docs, "--json"))
    assert kept[-1]["removed"] == 0
    assert [e["reason"] for e in kept if e.get("source") == "docs/mount"] == [
        "the folder is empty now; 24 documents from there are kept (--yes removes them)"
    ]
    (docs / "mount").rmdir()
    gone = command(docs)
    assert "24 of 26 known documents are gone and will be removed." in gone.stderr
    assert gone.stdout.startswith("0 added, 0 updated, 2 unchanged, 0 renamed, 24 removed")


def test_what_is_piped_in_needs_a_name(command: Command, docs: Path) -> None:
    done = command("-", docs, "--name", "mail/hello.md", "--json", stdin="# Hello\n\nWörld.\n".encode())
    assert sorted(e["source"] for e in events(done)[1:-1]) == [
        "docs/battery.md",
        "docs/sub/cable.txt",
        "stdin/mail/hello.md",
    ]
    for arguments in (["-"], [docs, "--name", "x.md"]):
        assert isinstance(command(*arguments).exception, UsageProblem)


@pytest.mark.parametrize(
    "arguments", [["--watch", "--dry-run"], ["--watch", "-", "--name", "x.md"], ["--watch", "https://example.org"]]
)
def test_contradictions_are_refused(command: Command, docs: Path, arguments: list[str]) -> None:
    assert isinstance(command(docs, *arguments).exception, UsageProblem)


def test_what_is_kept_is_said_when_the_server_goes(
    command: Command, docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(docs)
    (docs / "new.md").write_text("Something new about parrots.")
    (docs / "sub" / "cable.txt").unlink()
    monkeypatch.setenv("LMSTUDIO_HOST", "127.0.0.1:9")
    monkeypatch.setenv("RAG_ENGINE", "off")
    gone = command(docs)
    assert isinstance(gone.exception, ServerUnreachable)
    assert "1 documents of this run are kept; run the same command to go on" in gone.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child there")
def test_watching_goes_through_changes_and_ends_with_ctrl_c(command_environment: dict[str, str], docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from ingest.cli import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(docs), "--watch", "--json"],
        env=command_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        guard = threading.Timer(240, running.kill)
        guard.start()
        try:
            assert running.stdout is not None
            assert running.stderr is not None
            first = list(_until_report(running.stdout))
            assert first[-1]["added"] == 2
            while not running.stderr.readline().startswith("Watching "):
                pass
            (docs / "battery.md").write_text("# Battery\n\nIt lasts for ever.\n")
            second = list(_until_report(running.stdout))
            assert [(e["source"], e["status"]) for e in second[:-1]] == [("docs/battery.md", "updated")]
            assert second[-1]["failed"] == 0, "what has not changed is not read again"
            (docs / "sub" / "cable.txt").unlink()
            third = list(_until_report(running.stdout))
            assert [(e["source"], e["status"]) for e in third[:-1]] == [("docs/sub/cable.txt", "removed")]
            running.send_signal(signal.SIGINT)
            rest, told = running.communicate()
        finally:
            guard.cancel()
    assert (running.returncode, rest) == (0, "")
    assert told.splitlines()[-1] == "Stopped watching."


def _until_report(stream: IO[str]) -> Iterator[dict[str, Any]]:
    for line in stream:
        event = json.loads(line)
        yield event
        if event["event"] == "report":
            return


def test_a_terminal_sees_a_bar_and_nothing_hostile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, markup=False, highlight=False)
    monkeypatch.setattr(show, "console", lambda stderr=False: terminal)
    report = IngestReport()
    with show.reporter(verbose=True) as shown:
        assert isinstance(shown, show.Bar)
        shown.plan(3)
        shown.progress(Progress(1, 3, 1, 1234, 100_000, 5321.4, 3725.0))
        shown._bar.refresh()
        for outcome in (
            Outcome("docs/a\x1b[2J\nb.md", FileStatus.ADDED, chunks=3, ms=12.4),
            Outcome("docs/c.md", FileStatus.FAILED, "it is \x1b[31mdamaged"),
        ):
            report.add(outcome)
            shown.outcome(outcome)
        shown.report(report)
    assert "1/3 files, 1,234 chunks, 5,321 tokens/s, 1:02:05 left" in screen.getvalue()
    out, err = capsys.readouterr()
    everything = out + err + screen.getvalue()
    assert "\x1b[2J" not in everything
    assert "\x1b[31mdamaged" not in everything
    assert "added     docs/a\\x1b[2J\\nb.md  (3 chunks, 12 ms)" in everything
    assert out.endswith("1 added, 0 updated, 0 unchanged, 0 renamed, 0 removed, 1 failed\n")


def test_the_time_that_is_left_is_said_in_words() -> None:
    assert str(Progress(0, 10, 0, 0, 0, 0.0, None)) == "0/10 files, 0 chunks"
    assert str(Progress(5, 10, 5, 50, 900, 12.3, 42.4)).endswith("12 tokens/s, 0:42 left")


def test_help_names_every_source() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={**os.environ, "COLUMNS": "200"})
    for option in (
        "--include",
        "--exclude",
        "--no-gitignore",
        "--watch",
        "--dry-run",
        "--record-id",
        "--workers",
        "-v",
    ):
        assert option in shown.stdout
