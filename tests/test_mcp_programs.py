"""`rag mcp` as other programs use it: started by what the snippet says, over HTTP, and by a model in the engine."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp_fixture import call, mcp_server, shown
from native_engine import scripted_engine

from rag.knowledge_base import KnowledgeBase
from rag.mcp_server.snippet import address_snippet, command_snippet, server_name
from rag.settings import for_programs

QUESTION = "How long is the warranty on the battery?"
SOURCE = "sample/policies/warranty-terms.docx"
ASKED = json.dumps({"question": QUESTION, "paths": ["warranty-terms.docx"]})  # few passages: a prompt soon read
TOOLS = ["search", "ask", "read_document", "list_documents"]
MCP = (sys.executable, "-P", "-m", "rag", "mcp")
INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
interrupts = pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")


@pytest.fixture
def environment(command_environment: dict[str, str], sample_kb: KnowledgeBase) -> dict[str, str]:
    return {**command_environment, "RAG_KB": str(sample_kb.path)}


@contextmanager
def started(environment: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([*MCP, *options], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_snippet_starts_a_server(environment: dict[str, str], sample_kb: KnowledgeBase) -> None:
    """What is printed is JSON with absolute paths, by which the official client finds a passage."""
    printed = subprocess.run([*MCP, "--snippet"], env=environment, capture_output=True, text=True, check=True).stdout
    ((name, entry),) = json.loads(printed)["mcpServers"].items()
    assert name == "rag-sample"
    assert Path(entry["command"]).is_absolute()
    assert Path(entry["args"][-1]) == sample_kb.path
    assert entry["env"]["LMSTUDIO_HOST"] == environment["LMSTUDIO_HOST"]
    entry["env"] |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    found = call(StdioServerParameters(**entry), "search", question=QUESTION, k=1).structured_content
    (one,) = found["passages"]
    assert one["source"] == SOURCE
    assert sample_kb.text(SOURCE)[one["start"] : one["end"]] == one["text"]


@pytest.mark.parametrize("ended_by", ["closed stdin", pytest.param("Ctrl-C", marks=interrupts)])
def test_stdout_carries_the_protocol_alone(environment: dict[str, str], ended_by: str) -> None:
    """Also behind a line that is no message; the end is quiet, and no error."""
    with started(environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        search = {"name": "search", "arguments": {"question": QUESTION}}
        messages = [
            {"id": 1, "method": "initialize", "params": INITIALIZE},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": search},
        ]
        process.stdin.write("no message\n" + "".join(f"{json.dumps({'jsonrpc': '2.0', **one})}\n" for one in messages))
        process.stdin.flush()
        replies = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [reply["id"] for reply in replies] == [1, 2]
        assert SOURCE in json.dumps(replies[1]["result"])
        if ended_by == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            process.stdin.close()
            process.stdin = None
        out, told = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "")
        assert told.endswith("Stopped.\n") if ended_by == "Ctrl-C" else "Stopped" not in told
        assert "Traceback" not in told


@interrupts
def test_over_http(environment: dict[str, str]) -> None:
    with started(environment, "--http", "--port", "0") as process:
        assert process.stderr is not None
        address = process.stderr.readline().split(" on ")[1].split(". ")[0]
        listed = call(address, "list_documents", limit=1)
        assert shown(listed).startswith("15 documents.")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_the_full_circle(tmp_path: Path, sample_kb: KnowledgeBase) -> None:
    """A model in the engine's /api/v1/chat calls our tools and reads what the documents say.

    That it calls them is scripted, for the demo's model writes no call that is one; what the tools do is not.
    """
    calls = [
        {"index": at, "id": str(at), "type": "function", "function": {"name": tool, "arguments": ASKED}}
        for at, tool in enumerate(("search", "ask"))
    ]
    script: list[dict[str, Any]] = [
        {"deltas": [{"tool_calls": [one]} for one in calls], "finish": "tool_calls"},
        {"deltas": [{"content": "Two years."}]},
    ]
    with (
        mcp_server(replace(sample_kb.settings, kb=sample_kb.path)) as url,
        scripted_engine(tmp_path, script) as engine,
    ):
        engine.http.timeout = 600
        ours = {"type": "ephemeral_mcp", "server_label": "documents", "server_url": url}
        searched, answered, message = engine.chat(QUESTION, integrations=[ours]).json()["output"]
        asked = engine.asked()
    assert [(one["tool"], one["provider_info"]["server_label"]) for one in (searched, answered)] == [
        ("search", "documents"),
        ("ask", "documents"),
    ]
    for one, read in zip((searched, answered), asked[1]["messages"][-2:], strict=True):
        (block,) = json.loads(one["output"])
        assert SOURCE in block["text"]
        assert "> Brisa 4 weather station | 5 years | Battery pack: 2 years" in block["text"]
        assert (read["role"], read["content"]) == ("tool", one["output"])
    assert "(verified)" in answered["output"]
    assert (message["type"], message["content"]) == ("message", "Two years.")
    assert [one["function"]["name"] for one in asked[0]["tools"]] == TOOLS


def test_several_clients_at_once(sample_kb: KnowledgeBase) -> None:
    """Each gets what it asked for."""

    async def all_at_once(url: str) -> list[Any]:
        async def read(start: int) -> Any:
            async with Client(url) as client:
                arguments = {"source": SOURCE, "start": start, "length": 20}
                return (await client.call_tool("read_document", arguments)).structured_content

        return await asyncio.gather(*(read(start) for start in range(8)))

    with mcp_server(replace(sample_kb.settings, kb=sample_kb.path)) as url:
        parts = asyncio.run(all_at_once(url))
    assert [part["start"] for part in parts] == list(range(8))


@pytest.mark.parametrize(
    ("kb", "name"),
    [
        ("notes.kb", "rag-notes"),
        ("My Papers (2).kb", "rag-my-papers-2"),
        ("papers/.rag", "rag-papers"),
        ("/", "rag-documents"),
    ],
)
def test_names_of_servers(kb: str, name: str) -> None:
    assert server_name(Path(kb)) == name


def test_a_snippet_for_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backslashes and blanks arrive as they are; no shell takes part."""
    python = r"C:\Users\Ann Lee\venv\Scripts\python.exe"
    monkeypatch.setattr(sys, "executable", python)
    made = command_snippet(Path("notes.kb"), {"RAG_CONFIG": r"C:\Users\Ann Lee\rag.toml"})
    entry = json.loads(json.dumps(made))["mcpServers"]["rag-notes"]
    assert (entry["command"], entry["env"]["RAG_CONFIG"]) == (python, r"C:\Users\Ann Lee\rag.toml")
    assert "env" not in command_snippet(Path("notes.kb"), {})["mcpServers"]["rag-notes"]


def test_a_snippet_tells_no_secrets() -> None:
    """Of our variables those that are set, paths of files whole; the knowledge base is an argument."""
    secrets = {"LM_API_TOKEN": "a", "LMSTUDIO_API_TOKEN": "b", "RAG_SERVICE_TOKEN": "c"}
    others = {"RAG_KB": "notes.kb", "RAG_CHAT_MODEL": "", "PATH": "/bin"}
    told = for_programs({**secrets, **others, "RAG_TOP_K": "3", "RAG_STATE_DIR": "state"})
    assert told == {"RAG_TOP_K": "3", "RAG_STATE_DIR": str(Path("state").absolute())}
    with_token = address_snippet(Path("notes.kb"), "http://127.0.0.1:8010/mcp", token=True)
    headers = {"Authorization": "Bearer YOUR-TOKEN"}
    assert with_token["mcpServers"]["rag-notes"] == {"url": "http://127.0.0.1:8010/mcp", "headers": headers}
    open_to_all = address_snippet(Path("notes.kb"), "http://127.0.0.1:8010/mcp", token=False)
    assert open_to_all["mcpServers"]["rag-notes"] == {"url": "http://127.0.0.1:8010/mcp"}
