"""POST /api/v1/chat: real small models for what they can do, a scripted worker for tools and reasoning."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from engine_fixture import CHAT, EMBED, RunningEngine, engine, free_port
from native_engine import MODEL, scripted_engine, write_model

from rag.engine.guardrail import available_bytes, too_large
from rag.engine.responses_store import ResponseStore

WEATHER = Path(__file__).with_name("mcp_weather.py")
SUNNY = '[{"type":"text","text":"Bonn: sunny for 2 days, as Ada says"}]'
PLUGIN = {"type": "plugin", "plugin_id": "mcp/weather"}
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\nnot much of an image").decode()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), CHAT, EMBED) as running:
        yield running


@pytest.fixture
def fresh(shared: RunningEngine) -> RunningEngine:
    shared.unload_all()
    return shared


def ask(running: RunningEngine, text: Any = "Say hello.", **more: Any) -> httpx2.Response:
    options = {"max_output_tokens": 8, "temperature": 0, **more}
    return running.http.post("/api/v1/chat", json={"model": CHAT, "input": text, **options})


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types of events in order, repetitions as one."""
    return [event["type"] for at, event in enumerate(events) if at == 0 or events[at - 1]["type"] != event["type"]]


def frames(reply: httpx2.Response) -> list[dict[str, Any]]:
    return [json.loads(frame.split("\ndata: ")[1]) for frame in reply.text.removesuffix("\n\n").split("\n\n")]


def call(name: str, arguments: str, index: int = 0) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": "x", "type": "function", "function": function}]}


def test_whole_answer(fresh: RunningEngine) -> None:
    """The load time is there only where the request loaded the model, the id only where it may be gone on from."""
    first = ask(fresh).json()
    assert first["model_instance_id"] == CHAT
    assert [item["type"] for item in first["output"]] == ["message"]
    assert first["stats"]["total_output_tokens"] == 8
    assert first["stats"]["input_tokens"] > 8
    assert first["stats"]["model_load_time_seconds"] > 0
    assert first["stats"]["tokens_per_second"] > 1
    assert len(first["response_id"]) == len("resp_") + 48
    second = ask(fresh, store=False).json()
    assert "response_id" not in second
    assert "model_load_time_seconds" not in second["stats"]
    assert second["output"] == first["output"]


def test_stream(fresh: RunningEngine) -> None:
    """Every step is told in order, and the end is what a whole answer would have been."""
    events = frames(ask(fresh, stream=True, store=False))
    assert kinds(events) == [
        "chat.start",
        "model_load.start",
        "model_load.progress",
        "model_load.end",
        "prompt_processing.start",
        "prompt_processing.progress",
        "prompt_processing.end",
        "message.start",
        "message.delta",
        "message.end",
        "chat.end",
    ]
    progress = [event["progress"] for event in events if event["type"] == "prompt_processing.progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 1
    text = "".join(event["content"] for event in events if event["type"] == "message.delta")
    result = events[-1]["result"]
    assert result["output"] == [{"type": "message", "content": text}]
    assert result["output"] == ask(fresh).json()["output"]
    assert kinds(frames(ask(fresh, stream=True)))[:2] == ["chat.start", "prompt_processing.start"]


def test_context_length_counts_where_the_request_loads(fresh: RunningEngine) -> None:
    ask(fresh, context_length=300)
    assert fresh.rows()[CHAT]["loaded_instances"][0]["config"]["context_length"] == 300
    ask(fresh, context_length=400)
    assert fresh.rows()[CHAT]["loaded_instances"][0]["config"]["context_length"] == 300


def test_overflow(fresh: RunningEngine) -> None:
    reply = ask(fresh, "hello " * 400, context_length=256)
    assert reply.status_code == 500
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("internal_error", "unknown")
    assert error["message"].startswith("The number of tokens to keep from the initial prompt is greater than")
    events = frames(ask(fresh, "hello " * 400, stream=True))
    assert kinds(events) == ["chat.start", "prompt_processing.start", "error", "chat.end"]
    assert events[2]["error"] == error
    assert events[-1]["result"]["output"] == []


@pytest.mark.parametrize(
    ("body", "status", "kind", "code", "param"),
    [
        ({"input": "x"}, 400, "invalid_request", "missing_required_parameter", "model"),
        ({"model": CHAT}, 400, "invalid_request", "missing_required_parameter", "input"),
        ({"model": CHAT, "input": ["a", "b"]}, 400, "invalid_request", "invalid_union", "input"),
        ({"model": CHAT, "input": []}, 400, "invalid_request", "invalid_union", "input"),
        ({"model": CHAT, "input": [{"type": "x"}]}, 400, "invalid_request", "invalid_union", "input"),
        ({"model": CHAT, "input": "x", "ttl": 5}, 400, "invalid_request", "unrecognized_keys", None),
        ({"model": CHAT, "input": "x", "stop": "a"}, 400, "invalid_request", "unrecognized_keys", None),
        ({"model": CHAT, "input": "x", "temperature": 1.1}, 400, "invalid_request", "invalid_value", "temperature"),
        ({"model": CHAT, "input": "x", "top_p": "1"}, 400, "invalid_request", "invalid_type", "top_p"),
        ({"model": CHAT, "input": "x", "top_k": 1.5}, 400, "invalid_request", "invalid_type", "top_k"),
        ({"model": CHAT, "input": "x", "store": "no"}, 400, "invalid_request", "invalid_type", "store"),
        ({"model": CHAT, "input": "x", "max_output_tokens": 0}, 400, "invalid_request", "invalid_value", None),
        ({"model": CHAT, "input": "x", "reasoning": "much"}, 400, "invalid_request", "invalid_value", "reasoning"),
        ({"model": CHAT, "input": "x", "reasoning": "off"}, 400, "invalid_request", "invalid_value", "reasoning"),
        ({"model": CHAT, "input": "x", "previous_response_id": "a"}, 400, "invalid_request", "invalid_value", None),
        (
            {"model": CHAT, "input": "x", "previous_response_id": "resp_0"},
            400,
            "invalid_request",
            "previous_response_not_found",
            "previous_response_id",
        ),
        ({"model": CHAT, "input": "x", "integrations": "mcp/a"}, 400, "invalid_request", "invalid_type", None),
        ({"model": CHAT, "input": "x", "integrations": ["a"]}, 400, "invalid_request", "invalid_value", "integrations"),
        (
            {"model": CHAT, "input": "x", "integrations": [{"type": "ephemeral_mcp", "server_url": "http://x"}]},
            400,
            "invalid_request",
            "missing_required_parameter",
            None,
        ),
        ({"model": "nope", "input": "x"}, 404, "model_not_found", None, None),
        ({"model": EMBED, "input": "x"}, 500, "model_load_failed", None, None),
    ],
)
def test_refusals(
    shared: RunningEngine, body: dict[str, Any], status: int, kind: str, code: str | None, param: str | None
) -> None:
    """Named before anything is loaded, also where a stream was asked for."""
    for stream in ({}, {"stream": True}):
        reply = shared.http.post("/api/v1/chat", json=body | stream)
        error = reply.json()["error"]
        assert (reply.status_code, error["type"], error.get("code")) == (status, kind, code)
        assert param is None or error["param"] == param


def test_unsupported_reasoning_names_what_there_is(tmp_path: Path) -> None:
    write_model(tmp_path / "models/a/b/gpt-oss-20b-MXFP4.gguf", template="{{ reasoning_effort }}")
    with scripted_engine(tmp_path, [{"deltas": [{"content": "x"}]}]) as running:
        error = running.chat(model="gpt-oss-20b", reasoning="off").json()["error"]
        assert error["message"] == (
            "Reasoning setting 'off' is not supported by model 'gpt-oss-20b'. "
            "Supported settings: 'low', 'medium', 'high'."
        )
        assert running.chat(model="gpt-oss-20b", reasoning="low").status_code == 200
        assert running.asked()[0]["chat_template_kwargs"] == {"reasoning_effort": "low"}
        (row,) = running.http.get("/api/v1/models").json()["models"]
        assert row["capabilities"]["reasoning"] == {"allowed_options": ["low", "medium", "high"], "default": "medium"}


def test_images_need_a_model_that_sees(fresh: RunningEngine) -> None:
    error = ask(fresh, [{"type": "image", "data_url": PIXEL}]).json()["error"]
    assert (error["type"], error["message"]) == (
        "invalid_request",
        "Model does not support images. Please use a model that does.",
    )
    for url in ("http://x/y.png", "data:image/webp;base64,aGk=", "data:image/png;base64,%%"):
        assert ask(fresh, [{"type": "image", "data_url": url}]).json()["error"]["code"] == "invalid_type"


def test_input_items_and_sampling_reach_the_worker(tmp_path: Path) -> None:
    with scripted_engine(tmp_path, [{"deltas": [{"content": "x"}]}]) as running:
        running.chat([{"type": "message", "content": "a"}, {"type": "text", "content": "b"}], top_k=7, reasoning="off")
        image = {"type": "image", "data_url": PIXEL}
        running.chat([{"type": "text", "content": "see"}, image], system_prompt="Be brief.", max_output_tokens=3)
        plain, seen = running.asked()
    assert plain["messages"] == [{"role": "user", "content": "a\n\nb"}]
    assert plain["chat_template_kwargs"] == {"enable_thinking": False}
    assert {key: plain[key] for key in ("temperature", "top_k", "top_p", "min_p", "repeat_penalty")} == {
        "temperature": 0.8,
        "top_k": 7,
        "top_p": 0.95,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
    }
    assert seen["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        },
    ]
    assert seen["max_tokens"] == 3


def test_conversations_go_on_and_branch(tmp_path: Path) -> None:
    with scripted_engine(tmp_path, [{"deltas": [{"content": "Yes."}]}]) as running:
        first = running.chat("One", system_prompt="S").json()["response_id"]
        second = running.chat("Two", previous_response_id=first).json()["response_id"]
        running.chat("Three", previous_response_id=second, system_prompt="T")
        branch = running.events("Other", previous_response_id=first)[-1]["result"]
        asked = running.asked()
        unstored = running.chat("Five", store=False).json()
    said = [[message["content"] for message in request["messages"]] for request in asked]
    assert said[1] == ["S", "One", "Yes.", "Two"]
    assert said[2] == ["T", "One", "Yes.", "Two", "Yes.", "Three"]
    assert said[3] == ["S", "One", "Yes.", "Other"]
    assert branch["response_id"] not in (first, second)
    assert "response_id" not in unstored


def test_memory_is_bounded() -> None:
    store = ResponseStore(3, 1000)
    for number in range(5):
        store.put(f"resp_{number}", [{"role": "user", "content": str(number)}])
    assert [store.get(f"resp_{number}") is not None for number in range(5)] == [False, False, True, True, True]
    store.put("resp_long", [{"role": "user", "content": "x" * 900}])
    assert store.get("resp_2") is None


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder whose mcp.json names one server that runs as a process."""
    monkeypatch.setenv("RAG_STATE_DIR", str(tmp_path))
    entry = {"command": sys.executable, "args": [str(WEATHER), "stdio"], "env": {"FORECASTER": "Ada"}}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"weather": entry, "nothing": {}}}), encoding="utf-8")
    return tmp_path


def test_tool_rounds_with_an_installed_server(installed: Path) -> None:
    """Reasoning, text, good and bad calls, the answer; the model gets what each call returned."""
    pieces = [{"reasoning_content": "I need"}, {"reasoning_content": " a tool."}, {"content": "Let me see."}]
    pieces += [
        call("weather", '{"city": "Bonn",'),
        {"tool_calls": [{"index": 0, "function": {"arguments": '"days": 2}'}}]},
    ]
    pieces += [
        call("fly", "{}", 1),
        call("weather", "nope", 2),
        call("broken", "", 3),
        call("weather", '{"town": 1}', 4),
    ]
    script = [{"deltas": pieces, "finish": "tool_calls"}, {"deltas": [{"content": "Sunny"}, {"content": "!"}]}]
    with scripted_engine(installed, script) as running:
        events = running.events(integrations=["mcp/weather"])
        asked = running.asked()
    reading = ["prompt_processing.start", "prompt_processing.progress", "prompt_processing.end"]
    message = ["message.start", "message.delta", "message.end"]
    called = ["tool_call.start", "tool_call.arguments", "tool_call.success"]
    assert kinds(events)[4:] == [
        *reading,
        *("reasoning.start", "reasoning.delta", "reasoning.end"),
        *message,
        *called,
        "tool_call.failure",
        *("tool_call.start", "tool_call.failure"),
        *called,
        *("tool_call.start", "tool_call.arguments", "tool_call.failure"),
        *reading,
        *message,
        "chat.end",
    ]
    good = {"tool": "weather", "arguments": {"city": "Bonn", "days": 2}, "output": SUNNY, "provider_info": PLUGIN}
    wrong_name = {"type": "invalid_name", "tool_name": "fly"}
    wrong_arguments = {"type": "invalid_arguments", "tool_name": "weather", "arguments": {}, "provider_info": PLUGIN}
    output = events[-1]["result"]["output"]
    assert output[:4] == [
        {"type": "reasoning", "content": "I need a tool."},
        {"type": "message", "content": "Let me see."},
        {"type": "tool_call", **good},
        {"type": "invalid_tool_call", "reason": "Cannot find tool with name fly.", "metadata": wrong_name},
    ]
    assert output[4]["metadata"] == wrong_arguments
    assert output[4]["reason"].startswith("The arguments are not valid JSON")
    assert "Error executing tool broken" in output[5]["output"]
    assert output[6]["metadata"] == {**wrong_arguments, "arguments": {"town": 1}}
    assert output[6]["reason"] == "Invalid arguments: 'city' is a required property"
    assert output[7] == {"type": "message", "content": "Sunny!"}
    assert {"type": "tool_call.success", **good} in events
    assert events[-1]["result"]["stats"]["reasoning_output_tokens"] == 2
    assert {tool["function"]["name"] for tool in asked[0]["tools"]} == {"weather", "broken", "die"}
    roles = [message["role"] for message in asked[1]["messages"]]
    assert roles == ["user", "assistant", *["tool"] * 5]
    assert asked[1]["messages"][2]["content"] == SUNNY
    assert all(json.loads(one["function"]["arguments"]) is not None for one in asked[1]["messages"][1]["tool_calls"])


def test_a_server_that_dies(installed: Path) -> None:
    """The model hears of it and goes on; later calls of its tools fail, and the answer comes."""
    script = [
        {"deltas": [call("die", "{}"), call("weather", '{"city": "Bonn"}', 1)], "finish": "tool_calls"},
        {"deltas": [{"content": "No idea."}]},
    ]
    with scripted_engine(installed, script) as running:
        answer = running.chat(integrations=["mcp/weather"]).json()
        assert [item["type"] for item in answer["output"]] == ["tool_call", "tool_call", "message"]
        assert all("Error: " in item["output"] for item in answer["output"][:2])
        assert running.chat(integrations=["mcp/weather"]).status_code == 200


def test_tools_in_the_default_form(installed: Path) -> None:
    """A model whose template knows no tools is told of them in the system message, and its text is read for calls."""
    write_model(installed / "models/a/b/simple-1b-Q4_0.gguf", template="{{ messages }}")
    request = '[TOOL_REQUEST]{"name": "weather", "arguments": {"city": "Bonn", "days": 2}}[END_TOOL_REQUEST]'
    script = [{"deltas": [{"content": request}]}, {"deltas": [{"content": "Sunny!"}]}]
    with scripted_engine(installed, script) as running:
        answer = running.chat(model="simple-1b", integrations=[{"type": "plugin", "id": "mcp/weather"}]).json()
        asked = running.asked()
    assert [item["type"] for item in answer["output"]] == ["tool_call", "message"]
    assert answer["output"][0]["output"] == SUNNY
    assert "weather" in asked[0]["messages"][0]["content"]
    assert "sunny for 2 days" in asked[1]["messages"][-1]["content"]


def test_rounds_are_bounded(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that calls without end is told no tools any more, and its last word is the answer."""
    monkeypatch.setattr("rag.engine.native_chat.MOST_TOOL_ROUNDS", 2)
    script = [{"deltas": [call("weather", '{"city": "Bonn"}')], "finish": "tool_calls"}] * 2
    with scripted_engine(installed, [*script, {"deltas": [{"content": "Enough."}]}]) as running:
        answer = running.chat(integrations=["mcp/weather"]).json()
        asked = running.asked()
    assert [item["type"] for item in answer["output"]] == ["tool_call", "tool_call", "message"]
    assert ["tools" in request for request in asked] == [True, True, False]


def test_ephemeral_server(tmp_path: Path) -> None:
    """Reached over HTTP with the request's own headers; only allowed tools are shown."""
    port = free_port()
    server = subprocess.Popen([sys.executable, str(WEATHER), "http", str(port), "secret"], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        asked_for = {
            "type": "ephemeral_mcp",
            "server_label": "sky",
            "server_url": f"http://127.0.0.1:{port}/mcp",
            "allowed_tools": ["weather"],
            "headers": {"x-key": "secret"},
        }
        script = [
            {"deltas": [call("weather", '{"city": "Bonn", "days": 2}')], "finish": "tool_calls"},
            {"deltas": [{"content": "Sunny!"}]},
        ]
        with scripted_engine(tmp_path, script) as running:
            answer = running.chat(integrations=[asked_for]).json()
            assert answer["output"][0]["output"] == SUNNY.replace("Ada", "nobody")
            assert answer["output"][0]["provider_info"] == {"type": "ephemeral_mcp", "server_label": "sky"}
            assert [tool["function"]["name"] for tool in running.asked()[0]["tools"]] == ["weather"]
            refused = running.chat(integrations=[asked_for | {"headers": {}}])
            assert (refused.status_code, refused.json()["error"]["type"]) == (502, "mcp_connection_error")
            events = running.events(integrations=[asked_for | {"server_url": "http://127.0.0.1:9/mcp"}])
            assert kinds(events) == ["chat.start", "error", "chat.end"]
            assert events[1]["error"]["type"] == "mcp_connection_error"
            assert "sky" in events[1]["error"]["message"]
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False)
            return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise AssertionError("the MCP server did not come up")


def test_servers_that_are_not_there(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_engine(installed, [{"deltas": [{"content": "x"}]}]) as running:
        unknown = running.chat(integrations=["mcp/none"])
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, "invalid_value")
        assert str(installed / "mcp.json") in unknown.json()["error"]["message"]
        empty = running.chat(integrations=["mcp/nothing"]).json()["error"]
        assert empty["type"] == "plugin_connection_error"
        (installed / "mcp.json").write_text("{", encoding="utf-8")
        assert running.chat(integrations=["mcp/weather"]).json()["error"]["type"] == "plugin_connection_error"
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        missing = running.chat(integrations=["mcp/weather"])
        assert (missing.status_code, missing.json()["error"]["type"]) == (501, "not_implemented")
        assert "lmstudio-rag[mcp]" in missing.json()["error"]["message"]


def test_failure_in_the_middle(tmp_path: Path) -> None:
    """What was generated until then is in the last event."""
    with scripted_engine(tmp_path, [{"deltas": [{"content": "Half"}, {"break": True}]}]) as running:
        events = running.events()
    assert kinds(events)[-4:] == ["message.start", "message.delta", "error", "chat.end"]
    assert events[-1]["result"]["output"] == [{"type": "message", "content": "Half"}]
    assert "response_id" not in events[-1]["result"]


@pytest.mark.parametrize("stream", [True, False])
def test_hanging_up_stops_the_model(installed: Path, stream: bool) -> None:
    """Also where tools are connected: the worker loses its reader, and the MCP server's process ends."""
    slow = [{"content": f"{number} "} if number % 2 else {"sleep": 0.05} for number in range(400)]
    with scripted_engine(installed, [{"deltas": slow}]) as running:
        body = {"model": MODEL, "input": "Go.", "stream": stream, "integrations": ["mcp/weather"]}
        if stream:
            with running.http.stream("POST", "/api/v1/chat", json=body) as reply:
                assert any("message.delta" in line for line in reply.iter_lines())
        else:
            with pytest.raises(httpx2.ReadTimeout):
                running.http.post("/api/v1/chat", json=body, timeout=5)
        deadline = time.monotonic() + 10
        while running.asked()[-1:] != ["client left"] or mcp_processes():
            assert time.monotonic() < deadline
            time.sleep(0.1)


def mcp_processes() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if str(WEATHER) in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def test_guardrail_arithmetic() -> None:
    assert too_large(8 << 30, 0, 8 << 30)
    assert too_large(1 << 30, 8 << 30, 8 << 30)
    assert not too_large(1 << 30, 1 << 30, 8 << 30)
    assert 0 < available_bytes() <= psutil.virtual_memory().total


def test_guardrail(tmp_path: Path) -> None:
    """A load that cannot fit is refused in LM Studio's words, on purpose or just in time; a switch turns that off."""
    path = tmp_path / "models/acme/huge-GGUF/huge-1b-Q4_0.gguf"
    write_model(path, block_count=100, attention__head_count=64, embedding_length=8192)
    script = [{"deltas": [{"content": "x"}]}]
    with scripted_engine(tmp_path, script) as running:
        body = {"model": "huge-1b", "context_length": 10_000_000}
        refused = running.http.post("/api/v1/models/load", json=body)
        assert (refused.status_code, refused.json()["error"]["type"]) == (500, "model_load_failed")
        assert "Model loading was stopped due to insufficient system resources." in refused.json()["error"]["message"]
        jit = running.chat(model="huge-1b", context_length=10_000_000)
        assert (jit.status_code, jit.json()["error"]) == (500, refused.json()["error"])
    with scripted_engine(tmp_path, script, guardrail=False) as running:
        assert running.http.post("/api/v1/models/load", json=body).status_code == 200
