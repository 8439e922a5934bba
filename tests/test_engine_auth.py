"""Who may use the engine: tokens, browsers, other machines; and how much a client may send."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from app_thread import running
from engine_fixture import EMBED, RunningEngine, engine, free_port, state_folder
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.engine import launch
from rag.engine.auth import MISSING, demand
from rag.engine.replies import Refusal
from rag.engine.token_store import TokenStore, well_formed
from rag.errors import EngineError, EngineStartFailed, UsageProblem
from rag.web.limits import Limits

GUARDED = ["/v1/models", "/api/v1/models", "/api/v0/models", "/nope"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("closed"), auth=True) as running:
        yield running


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("opened"), most_body_megabytes=1) as running:
        yield running


@pytest.fixture(scope="module")
def with_cors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("cors"), cors=True) as running:
        yield running


def test_only_hashes_are_kept(tmp_path: Path) -> None:
    """A token is shown once; the file has nothing to use in its place, and nobody else may read even that."""
    store = TokenStore(tmp_path)
    token, text = store.create("laptop", ["mcp-json"])
    other, other_text = store.create("laptop")
    assert re.fullmatch(r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}", text)
    assert (token.name, token.permissions, token.id) == ("laptop", ("mcp-json",), text[6:14])
    written = (tmp_path / "tokens.json").read_text(encoding="utf-8")
    assert text not in written
    assert text[15:] not in written
    assert token.salt != other.salt
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600
    assert store.find(text) == token
    assert store.find(text[:-1] + ("a" if text[-1] != "a" else "b")) is None
    assert store.find(other_text) == other
    assert store.tokens() == [token, other]
    assert store.revoke(token.id) == [token]
    assert store.find(text) is None
    assert store.revoke("laptop") == [other]
    assert store.revoke("laptop") == []


def test_processes_share_the_store(tmp_path: Path) -> None:
    """None of the tokens that several processes make at once is lost, and each is known to all."""
    code = (
        "import sys; from pathlib import Path; from rag.engine.token_store import TokenStore\n"
        "for i in range(5): print(TokenStore(Path(sys.argv[1])).create(f'{i}')[1])"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    texts = [text for maker in makers for text in maker.communicate()[0].split()]
    store = TokenStore(tmp_path)
    assert len(set(texts)) == len(store.tokens()) == 20
    assert all(store.find(text) for text in texts)


def test_a_damaged_store_accepts_nobody(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    _, text = store.create("a")
    (tmp_path / "tokens.json").write_text('{"tokens": [{"id": 1}]}', encoding="utf-8")
    with pytest.raises(EngineError, match="cannot be read"):
        store.find(text)
    with pytest.raises(EngineError, match="cannot be read"):
        store.create("b")


@pytest.mark.parametrize("path", GUARDED)
def test_refusals_word_for_word(closed: RunningEngine, path: str) -> None:
    """The same body on all families: no token, none in the form of one, one that nobody made."""
    sent = {
        None: MISSING,
        "lm-studio": "Malformed LM Studio API token provided: lm-studio. Ensure you are using a valid token.",
        "22aac52a71abcd": "Malformed LM Studio API token provided: 22aac52a71****. Ensure you are using a valid token.",
        "sk-lm-AAAABBBB:01234567890123456789": (
            f"Invalid LM Studio API token provided: sk-lm-AAAA{'*' * 25}. Ensure you are using a valid token."
        ),
    }
    for token, message in sent.items():
        reply = closed.http.get(path, headers=bearer(token) if token else {})
        assert reply.status_code == 401
        assert reply.json() == {"error": {"type": "invalid_request", "message": message, "code": "invalid_api_key"}}
    for headers in ({"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}, {"x-api-key": "x"}):
        assert closed.http.get(path, headers=headers).json()["error"]["message"] == MISSING


def test_tokens_count_at_once(closed: RunningEngine) -> None:
    """Made and revoked while the engine runs; the greeting needs none; no token is ever in the log."""
    assert closed.http.get("/lmstudio-greeting").json() == {"lmstudio": True}
    store = TokenStore(closed.state)
    token, text = store.create("test")
    assert closed.http.get("/v1/models", headers=bearer(text)).status_code == 200
    assert closed.http.get("/v1/models", headers={"authorization": f"bearer  {text}"}).status_code == 200
    assert closed.http.get("/nope", headers=bearer(text)).json()["error"].startswith("Unexpected endpoint")
    body = {"model": EMBED, "max_tokens": 1, "messages": []}
    by_key = closed.http.post("/v1/messages", json=body, headers={"x-api-key": text})
    assert by_key.status_code != 401
    assert closed.http.get("/v1/models", headers={"x-api-key": text}).status_code == 401
    store.revoke(token.id)
    assert closed.http.get("/v1/models", headers=bearer(text)).status_code == 401
    assert closed.http.post("/v1/messages", json=body, headers={"x-api-key": text}).status_code == 401
    log = closed.log()
    assert "refused with 401: unknown token" in log
    assert text not in log
    assert text[:14] not in log


def test_a_large_body_without_token_gets_its_answer(closed: RunningEngine) -> None:
    reply = closed.http.post("/v1/embeddings", content=b"x" * 30_000_000)
    assert reply.status_code == 401


def test_any_header_is_fine_without_auth(opened: RunningEngine) -> None:
    for token in ("lm-studio", "sk-lm-AAAABBBB:01234567890123456789"):
        assert opened.http.get("/v1/models", headers=bearer(token)).status_code == 200


def test_an_open_engine_is_not_taken_for_a_closed_one(opened: RunningEngine) -> None:
    """Whoever asks for tokens, CORS or faults does not get an engine without them."""
    with state_folder(opened.state):
        assert launch.start("127.0.0.1", opened.port).pid == opened.pid
        for wanted, flag in [({"auth": True}, "--auth"), ({"cors": True}, "--cors"), ({"jit": False}, "--no-jit")]:
            with pytest.raises(EngineStartFailed, match=f"not with the {flag} .*rag engine stop"):
                launch.start("127.0.0.1", opened.port, **wanted)  # type: ignore[arg-type]
        with pytest.raises(UsageProblem, match="no fault 'nope'"):
            launch.start("127.0.0.1", opened.port, faults=["nope"])


# Browsers


def test_cors_headers(with_cors: RunningEngine) -> None:
    asked = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
    preflight = with_cors.http.options("/v1/chat/completions", headers=asked)
    assert (preflight.status_code, preflight.content) == (204, b"")
    for reply in (preflight, with_cors.http.get("/v1/models", headers=asked), with_cors.http.get("/nope")):
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["access-control-allow-headers"] == "*"
    assert with_cors.http.get("/v1/models", headers={"Host": "page.example"}).status_code == 200


def test_preflight_without_cors(opened: RunningEngine) -> None:
    """As LM Studio does: the route misses its body, other routes do not know the method."""
    reply = opened.http.options("/v1/chat/completions", headers={"Origin": "http://page.example"})
    assert (reply.status_code, reply.json()) == (400, {"error": "'messages' field is required"})
    other = opened.http.options("/v1/completions")
    assert (other.status_code, other.json()) == (
        200,
        {"error": "Unexpected endpoint or method. (OPTIONS /v1/completions)"},
    )
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[(name, 200) for name in ("localhost:1234", "127.0.0.1", "[::1]:1234", "LOCALHOST.", "192.168.1.7:80")],
        *[(name, 200) for name in ("host.docker.internal:1234", "lmstudio:1234", "a.localhost", "")],
        *[(name, 403) for name in ("evil.example", "evil.example:1234", "127.0.0.1.nip.io", "localhost.evil.example")],
    ],
)
def test_names_of_a_loopback_engine(opened: RunningEngine, host: str, status: int) -> None:
    """A page whose own name was made to point here (DNS rebinding) brings that name, and is refused."""
    reply = opened.http.get("/v1/models", headers={"Host": host})
    assert reply.status_code == status
    if status == 403:
        assert reply.json()["error"].startswith("This server does not go by the name '")


def test_foreign_pages_cannot_send_blindly(opened: RunningEngine) -> None:
    """A form or a no-cors request needs no pre-flight: its answer is hidden from the page, but its work is done."""
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
    reply = opened.http.post("/api/v1/models/unload", content=b'{"instance_id":"x"}', headers=foreign)
    assert (reply.status_code, "--cors" in reply.json()["error"]) == (403, True)
    hidden = {**foreign, "Origin": "null"}  # a frame that is shut off from its page
    assert opened.http.post("/api/v1/models/unload", content=b"{}", headers=hidden).status_code == 403
    assert opened.http.get("/v1/models", headers=foreign).status_code == 200
    asked = {**foreign, "Content-Type": "application/json"}  # no browser sends this without having asked
    assert opened.http.post("/api/v1/models/unload", json={"instance_id": "x"}, headers=asked).status_code == 404
    near = {**foreign, "Origin": "http://localhost:3000"}
    reply = opened.http.post("/api/v1/models/unload", content=b'{"instance_id":"x"}', headers=near)
    assert reply.status_code == 404


def test_a_token_counts_more_than_a_name(closed: RunningEngine) -> None:
    """Behind a reverse proxy the Host header is another's; there a token proves who asks."""
    _, text = TokenStore(closed.state).create("proxy")
    assert closed.http.get("/v1/models", headers={**bearer(text), "Host": "models.example"}).status_code == 200
    assert closed.http.get("/v1/models", headers={"Host": "models.example"}).status_code == 401


def test_beyond_this_machine(tmp_path: Path) -> None:
    """Bound to all addresses it warns, and takes any name; status finds it there."""
    port = free_port()
    command = [sys.executable, "-m", "rag.engine", "start", "--bind", "0.0.0.0", "--port", str(port)]
    with state_folder(tmp_path):
        try:
            started = subprocess.run(command, capture_output=True, text=True, check=True)
            assert "everybody who can reach this machine can use it" in started.stderr
            found = launch.status(port=port)
            assert (found.running, found.host) == (True, "0.0.0.0")
            reply = httpx2.get(f"{found.url}/v1/models", headers={"Host": "box.example"}, trust_env=False)
            assert reply.status_code == 200
            assert "everybody who can reach this machine" in "\n".join(launch.logs(port=port))
        finally:
            launch.stop(port=port)


# What is sent


def test_headers_of_express(opened: RunningEngine) -> None:
    reply = opened.http.get("/v1/models")
    assert reply.headers["x-powered-by"] == "Express"
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert "server" not in reply.headers


TOO_LARGE = "The request's body is larger than 1 MB."


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"error": TOO_LARGE}),
        ("/v1/chat/completions", {"error": TOO_LARGE}),
        ("/v1/messages", {"type": "error", "error": {"type": "request_too_large", "message": TOO_LARGE}}),
        ("/api/v1/models/load", {"error": {"type": "invalid_request", "message": TOO_LARGE}}),
    ],
)
def test_bodies_are_bounded(opened: RunningEngine, path: str, body: dict[str, Any]) -> None:
    """Whether the length is told ahead or not, and in the family's own form."""

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    for content in (b"x" * 1_500_000, pieces()):
        reply = opened.http.post(path, content=content)
        assert (reply.status_code, reply.json()) == (413, body)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"a":NaN}', b"[" * 100_000, b"", b"1" * 5000])
def test_invalid_json(opened: RunningEngine, body: bytes) -> None:
    """A clear 400 in each family's form, whatever it is that is no JSON."""
    for path in ("/v1/embeddings", "/v1/chat/completions"):
        reply = opened.http.post(path, content=body)
        assert (reply.status_code, type(reply.json()["error"])) == (400, str)
    reply = opened.http.post("/api/v1/models/load", content=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request")
    assert opened.http.get("/lmstudio-greeting").status_code == 200


def test_odd_text_does_no_harm(opened: RunningEngine) -> None:
    """Half a surrogate pair, and a path that would break a line of the log."""
    reply = opened.http.post("/v1/embeddings", content=b'{"model":"\\ud800","input":["\\udfff"]}')
    assert reply.status_code == 400
    assert "error" in reply.json()
    opened.http.get("/x%0a2026 INFO forged")
    assert "\n2026 INFO forged" not in opened.log()


def test_many_slow_clients(opened: RunningEngine) -> None:
    """Clients that say half a request and wait keep nobody else waiting."""
    with_half = [socket.create_connection(("127.0.0.1", opened.port)) for _ in range(50)]
    try:
        for i, connection in enumerate(with_half):
            head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
            connection.sendall(head + (b"\r\n{" if i % 2 else b""))
        threads = [threading.Thread(target=lambda: opened.http.get("/v1/models").raise_for_status()) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for connection in with_half:
            connection.close()
    assert opened.http.get("/v1/models").status_code == 200


def limited(app: ASGIApp) -> AbstractContextManager[int]:
    """A real server around an application with little patience; its port."""
    impatient = Limits(
        app, lambda _, status, message: JSONResponse({"error": message}, status), body_seconds=0.3, stall_seconds=0.5
    )
    return running(impatient, lifespan="off")


def test_a_body_that_does_not_come() -> None:
    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        raise AssertionError("there is no body")

    with limited(reads) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        connection.settimeout(30)
        answer = ""
        while not answer.endswith("}") and (piece := connection.recv(10_000)):  # head and body may come apart
            answer += piece.decode()
        assert answer.startswith("HTTP/1.1 408 ")
        assert answer.endswith('{"error":"The request\'s body did not come in time."}')


def test_a_stream_that_nobody_takes() -> None:
    """The application is told, so that a model need not go on for a client that has stopped reading."""
    ended: list[type[BaseException] | None] = []

    async def talks(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(1000):
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        except ClientDisconnect as exc:
            ended.append(type(exc))

    with limited(talks) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            time.sleep(0.05)
    assert ended == [ClientDisconnect]


def test_permission_for_plugins(tmp_path: Path) -> None:
    """Word for word, and only where a token is demanded."""
    token, _ = TokenStore(tmp_path).create("a", ["per-request-mcp"])
    scope: dict[str, Any] = {"type": "http", "state": {"token": token}}
    demand(Request(scope), "per-request-mcp", "mcp/files")
    demand(Request({"type": "http"}), "mcp-json", "mcp/files")
    with pytest.raises(Refusal) as refused:
        demand(Request(scope), "mcp-json", "mcp/files")
    message = (
        "Permission denied to use plugin 'mcp/files'. Ensure that the server configuration allows plugin usage and, "
        "if using an API token, it has the necessary permissions."
    )
    error = {"message": message, "type": "invalid_request", "param": "integrations", "code": None}
    assert (refused.value.status, refused.value.body) == (403, {"error": error})


# The command


def rag(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from rag.cli.app import main; main()", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "NO_COLOR": "1"},
    )


def run(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    return rag("engine", "tokens", *arguments, RAG_STATE_DIR=str(state))


def test_our_own_commands_bring_a_token(closed: RunningEngine) -> None:
    """The other side of this project takes it from LM_API_TOKEN, and says so where it is missing."""
    _, text = TokenStore(closed.state).create("rag")
    host = f"127.0.0.1:{closed.port}"
    assert rag("models", "ls", LMSTUDIO_HOST=host, LM_API_TOKEN=text).returncode == 0
    without = rag("models", "ls", LMSTUDIO_HOST=host)
    assert (without.returncode, "LM_API_TOKEN" in without.stderr) == (3, True)


def test_tokens_by_command(tmp_path: Path) -> None:
    assert json.loads(run("list", "--json", state=tmp_path).stdout) == {"tokens": []}
    plain = run("create", "laptop", state=tmp_path)
    text = plain.stdout.strip()
    assert well_formed(text)
    assert "shown this once" in plain.stderr
    made = json.loads(run("create", "phone", "--allow", "mcp-json", "--json", state=tmp_path).stdout)
    assert well_formed(made["token"])
    listed = json.loads(run("list", "--json", state=tmp_path).stdout)["tokens"]
    assert [(row["name"], row["permissions"]) for row in listed] == [("laptop", []), ("phone", ["mcp-json"])]
    assert "laptop" in run("list", state=tmp_path).stdout
    assert text[15:] not in run("list", state=tmp_path).stdout
    assert run("create", "x", "--allow", "nope", state=tmp_path).returncode == 2
    assert json.loads(run("revoke", "laptop", "--json", state=tmp_path).stdout) == {"revoked": [text[6:14]]}
    gone = run("revoke", "laptop", state=tmp_path)
    assert (gone.returncode, gone.stdout.strip()) == (1, "no token has the id or name laptop")
    assert TokenStore(tmp_path).find(made["token"]) is not None


def test_a_token_without_the_permission_may_not_name_mcp_servers(closed: RunningEngine) -> None:
    """Over HTTP: LM Studio's 403 before anything is loaded or connected to."""
    store = TokenStore(closed.state)
    _, plain = store.create("plain")
    _, trusted = store.create("trusted", ["per-request-mcp"])
    server = {"type": "ephemeral_mcp", "server_label": "files", "server_url": "http://127.0.0.1:9/mcp"}
    body = {"model": "no-such-model", "input": "hi", "integrations": [server]}
    refused = closed.http.post("/api/v1/chat", json=body, headers=bearer(plain))
    assert refused.status_code == 403
    assert refused.json()["error"]["message"].startswith("Permission denied to use plugin 'mcp/files'")
    let_in = closed.http.post("/api/v1/chat", json=body, headers=bearer(trusted))
    assert let_in.status_code == 404
