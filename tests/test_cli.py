"""The two commands as whole processes: shapes that scripts may rely on, exit codes, and one clear line an error."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_fixture import free_port

from rag.knowledge_base import KnowledgeBase


def run(
    environment: dict[str, str], program: str, *arguments: object, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    module = {"rag": "rag.cli.app", "ingest": "ingest.cli"}[program]
    code = f"import sys; sys.argv[0] = {program!r}; from {module} import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        input=stdin,
        timeout=300,
        check=False,
    )


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "battery.md").write_text("# Battery\n\nThe battery of the Sprig lasts 24 months.\n")
    (folder / "cable.txt").write_text("The cable is nine metres long and black.\n")
    return folder


def test_ingest_tells_one_json_object_a_line(command_environment: dict[str, str], docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    done = run(command_environment, "ingest", docs, "--json")
    plan, *files, report = lines(done.stdout)
    assert plan == {"event": "plan", "total": 3}
    assert all(set(file) >= {"event", "source", "status", "reason", "chunks", "ms"} for file in files)
    assert sorted((file["source"], file["status"]) for file in files) == [
        ("docs/battery.md", "added"),
        ("docs/broken.pdf", "failed"),
        ("docs/cable.txt", "added"),
    ]
    assert {"event", "added", "updated", "unchanged", "renamed", "removed", "failed"} <= set(report)
    assert {"chunks", "embedded", "reused", "seconds"} <= set(report)
    assert (report["event"], report["added"], report["failed"], report["embedded"]) == ("report", 2, 1, 2)
    assert done.returncode == 1, "something failed"
    (docs / "broken.pdf").unlink()
    again = run(command_environment, "ingest", docs)
    assert again.returncode == 0
    assert again.stdout == "0 added, 0 updated, 2 unchanged, 0 renamed, 1 removed, 0 failed\n"


def test_a_knowledge_base_through_all_its_commands(command_environment: dict[str, str], docs: Path) -> None:
    assert run(command_environment, "ingest", docs).returncode == 0

    found = json.loads(run(command_environment, "rag", "search", "How long does the battery last?", "--json").stdout)
    hit = found["hits"][0]
    assert {"source", "page", "headings", "start", "end", "text", "score"} <= set(hit)
    assert hit["source"] == "docs/battery.md"
    assert (docs / "battery.md").read_text()[hit["start"] : hit["end"]] == hit["text"]

    asked = json.loads(
        run(
            command_environment, "rag", "ask", "-", "--json", stdin="How long does the battery of the Sprig last?"
        ).stdout
    )
    about = {"question", "searched", "answer", "abstained", "reason", "score", "signals", "cut", "left_out"}
    assert set(asked) == {*about, "citations", "hits", "model", "steps", "usage", "timings"}
    assert [set(passage) for passage in asked["hits"]] == [set(hit)] * len(asked["hits"])
    assert asked["abstained"] is False
    assert "24" in asked["answer"]
    citation = asked["citations"][0]
    assert {"n", "source", "page", "start", "end", "quote", "status"} <= set(citation)
    assert (docs / "battery.md").read_text()[citation["start"] : citation["end"]] == citation["quote"]

    plain = run(command_environment, "rag", "ask", "How long does the battery of the Sprig last?")
    assert "[1] docs/battery.md" in plain.stdout
    assert "\x1b" not in plain.stdout
    written = run(command_environment, "rag", "ask", "How long does the battery of the Sprig last?", "--markdown")
    assert "\n1. **docs/battery\\.md (verified)**" in written.stdout

    status = json.loads(run(command_environment, "rag", "status", "--json").stdout)
    assert (status["documents"], status["failed"], status["coverage"]["words"]["unindexed"]) == (2, 0, 0)
    assert [row["source"] for row in lines(run(command_environment, "rag", "ls", "--json").stdout)] == [
        "docs/battery.md",
        "docs/cable.txt",
    ]
    assert json.loads(run(command_environment, "rag", "rm", "docs/cable.txt", "--json").stdout) == {"removed": 1}
    assert len(run(command_environment, "rag", "ls").stdout.splitlines()) == 1


def test_models_and_engine_commands(command_environment: dict[str, str]) -> None:
    models = json.loads(run(command_environment, "rag", "models", "ls", "--json").stdout)["models"]
    assert command_environment["RAG_CHAT_MODEL"] in [model["key"] for model in models]
    loaded = json.loads(
        run(command_environment, "rag", "models", "load", command_environment["RAG_EMBEDDING_MODEL"], "--json").stdout
    )
    running = json.loads(run(command_environment, "rag", "models", "ps", "--json").stdout)["loaded"]
    assert loaded["instance"] in [row["instance"] for row in running]
    got = lines(
        run(command_environment, "rag", "models", "get", command_environment["RAG_EMBEDDING_MODEL"], "--json").stdout
    )
    assert got[-1]["status"] == "already_downloaded"
    assert json.loads(run(command_environment, "rag", "engine", "status", "--json").stdout)["running"] is True
    assert "/api/v1/models" in run(command_environment, "rag", "engine", "logs").stdout
    assert json.loads(run(command_environment, "rag", "models", "unload", loaded["instance"], "--json").stdout) == {
        "unloaded": [loaded["instance"]]
    }


def test_the_engine_starts_and_stops_by_command(command_environment: dict[str, str]) -> None:
    port = free_port()
    environment = {**command_environment, "LMSTUDIO_HOST": f"localhost:{port}"}
    assert run(environment, "rag", "engine", "status").returncode == 1
    try:
        # Nothing answers there: the first command that needs a server starts the engine and says so.
        listed = run(environment, "rag", "models", "ps")
        assert listed.returncode == 0
        assert "starting the embedded engine" in listed.stderr
        assert run(environment, "rag", "engine", "status").returncode == 0
    finally:
        stopped = run(environment, "rag", "engine", "stop", "--json")
    assert json.loads(stopped.stdout) == {"stopped": True, "port": port}
    assert run(environment, "rag", "engine", "status").returncode == 1


@pytest.mark.parametrize(
    ("program", "arguments", "code", "message"),
    [
        ("rag", ["search", "x"], 4, "There is no knowledge base at"),
        ("rag", ["ask", "x", "--kb", "/nonexistent/kb"], 4, "There is no knowledge base at /nonexistent/kb"),
        ("ingest", ["/nonexistent/docs"], 2, "There is no file or folder at /nonexistent/docs"),
        ("ingest", ["{docs}", "--model", "no-such-model"], 3, "has no model 'no-such-model'"),
        ("ingest", ["{docs}", "--model", "{chat}"], 3, "is not an embedding model"),
        ("ingest", ["{empty}"], 2, "holds no documents"),
        ("rag", ["models", "load", "no-such-model"], 3, "has no model 'no-such-model'"),
        ("rag", ["models", "unload", "no-such-model"], 3, "is not loaded"),
        ("rag", ["models", "get", "no-such-model"], 3, "no-such-model"),
        ("rag", ["search", "x", "--mode", "magic"], 2, "magic"),
        ("rag", ["nonsense"], 2, "nonsense"),
    ],
)
def test_a_mistake_is_one_clear_line_and_an_exit_code(
    command_environment: dict[str, str], docs: Path, program: str, arguments: list[str], code: int, message: str
) -> None:
    (docs.parent / "empty").mkdir()
    places = {"docs": docs, "empty": docs.parent / "empty", "chat": command_environment["RAG_CHAT_MODEL"]}
    done = run(command_environment, program, *(argument.format(**places) for argument in arguments))
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if code != 2:
        assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1


def test_a_server_that_is_down_loses_nothing(command_environment: dict[str, str], docs: Path) -> None:
    assert run(command_environment, "ingest", docs).returncode == 0
    (docs / "new.md").write_text("A new text about parrots.")
    down = {**command_environment, "LMSTUDIO_HOST": "127.0.0.1:9", "RAG_ENGINE": "off"}
    failed = run(down, "ingest", docs)
    assert failed.returncode == 3
    assert "Nothing answers at http://127.0.0.1:9" in failed.stderr
    assert run(down, "rag", "ask", "battery").returncode == 3
    words = run(down, "rag", "search", "battery", "--mode", "words")
    assert (words.returncode, "docs/battery.md" in words.stdout) == (0, True)
    assert run(command_environment, "ingest", docs).stdout.startswith("1 added, 0 updated, 2 unchanged")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child there")
def test_ctrl_c_says_so_and_the_next_run_goes_on(command_environment: dict[str, str], docs: Path) -> None:
    for number in range(300):
        (docs / f"{number}.md").write_text(f"Document number {number} speaks of topic {number * 7}.\n")
    # Where the tests run in the background, a shell has told them and their children to ignore the signal.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{listen}; from ingest.cli import main; main()", str(docs), "--json"]
    with subprocess.Popen(
        command, env=command_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())["event"] == "plan"
        first = json.loads(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        rest, told = running.stdout.read(), running.stderr.read()
    assert first["status"] == "added"
    assert running.returncode == 130
    assert "What was committed is kept" in told
    assert "Traceback" not in told
    done = 1 + len(lines(rest))
    assert done < 302
    again = lines(run(command_environment, "ingest", docs, "--json").stdout)[-1]
    assert again["added"] + again["unchanged"] == 302
    assert again["unchanged"] >= done


def test_a_knowledge_base_of_another_model_is_refused(command_environment: dict[str, str], docs: Path) -> None:
    assert run(command_environment, "ingest", docs).returncode == 0
    other = {**command_environment, "RAG_EMBEDDING_MODEL": "text-embedding-other"}
    refused = run(other, "rag", "search", "battery")
    assert refused.returncode == 4
    assert (
        "was made with the embedding model text-embedding-all-minilm-l6-v2, not text-embedding-other" in refused.stderr
    )


WATCHMAN = """
import socket, sys, traceback
def refuse(host):
    if host not in ("127.0.0.1", "localhost", "::1", b"localhost", b"127.0.0.1"):
        with open({log!r}, "a") as log:
            traceback.print_stack(file=log)
        raise OSError("the network is closed")
connect, resolve = socket.socket.connect, socket.getaddrinfo
def guarded_connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        refuse(address[0])
    return connect(self, address)
def guarded_resolve(host, *rest, **more):
    refuse(host)
    return resolve(host, *rest, **more)
socket.socket.connect, socket.getaddrinfo = guarded_connect, guarded_resolve
"""


def test_nothing_but_the_model_server_is_ever_reached(command_environment: dict[str, str], tmp_path: Path) -> None:
    """Every format is read and a question answered by processes that cannot reach beyond this machine."""
    log = tmp_path / "reached.log"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCHMAN.format(log=str(log)))
    watched = {**command_environment, "PYTHONPATH": str(tmp_path / "site")}
    proof = run(watched, "rag", "--version")
    assert proof.returncode == 0
    sample = Path(__file__).parents[1] / "data" / "sample"
    done = run(watched, "ingest", sample / "policies", sample / "sales", sample / "support", "--json")
    assert done.returncode == 0, done.stderr
    assert run(watched, "rag", "search", "How long is the warranty?").returncode == 0
    assert not log.exists(), log.read_text()


def test_json_and_markdown_exclude_each_other(command_environment: dict[str, str]) -> None:
    refused = run(command_environment, "rag", "ask", "q", "--json", "--markdown")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--markdown" in refused.stderr


def test_hostile_text_cannot_steer_the_terminal(command_environment: dict[str, str], docs: Path) -> None:
    (docs / "evil.md").write_text("Parrots \x1b[2J\x1b]0;owned\x07 and \u202eolleh feathers.\n")
    assert run(command_environment, "ingest", docs).returncode == 0
    shown = run(command_environment, "rag", "search", "parrots feathers").stdout
    assert "owned" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_doctor_says_what_is_well_and_what_is_not(
    command_environment: dict[str, str], sample_kb: KnowledgeBase
) -> None:
    well = run(command_environment, "rag", "doctor", "--json", "--kb", sample_kb.path)
    checks = {check["name"]: check for check in lines(well.stdout)}
    assert well.returncode == 0
    assert {"python", "settings", "server", "embedding model", "chat model", "knowledge base"} <= set(checks)
    assert all(check["severity"] == "ok" for check in checks.values())
    ill = run({**command_environment, "LMSTUDIO_HOST": "127.0.0.1:9", "RAG_ENGINE": "off"}, "rag", "doctor")
    assert ill.returncode == 1
    assert "lms server start" in ill.stdout


def test_the_demo_answers_with_exact_quotes(command_environment: dict[str, str], tmp_path: Path) -> None:
    done = run(command_environment, "rag", "demo", "--kb", tmp_path / "demo.kb", "--json")
    assert done.returncode == 0, done.stderr
    shown = lines(done.stdout)[-1]
    assert [answer["abstained"] for answer in shown["answers"]] == [False, False, True]
    assert shown["citations"] == shown["exact"] >= 2
