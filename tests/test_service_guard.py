"""Who may use the service, what it tells browsers, and the command that runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from lmstudio_server import CHAT, chunk_of
from service_fixture import QUESTION, RunningService, events, served

TOKEN = "correct horse bättery staple"
BEARER = {"Authorization": f"Bearer {TOKEN}".encode()}
SERVE = (sys.executable, "-c", "from rag.cli.app import main; main()", "serve")


@pytest.fixture(scope="module")
def guarded(service: RunningService) -> Iterator[httpx2.Client]:
    """A service that demands a token."""
    with (
        served(service.desk.settings, token=TOKEN, most_body_bytes=10_000, most_upload_bytes=20_000) as (url, _),
        httpx2.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8009"])
def test_no_foreign_name(service: RunningService, host: str) -> None:
    """A page whose own name resolves to this machine (DNS rebinding) gets nothing."""
    reply = service.http.get("/api/kb", headers={"Host": host})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("host", ["localhost:8009", "127.0.0.1", "[::1]:8009", "rag.localhost"])
def test_own_names(service: RunningService, host: str) -> None:
    assert service.http.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_page_of_another_site(service: RunningService, headers: dict[str, str]) -> None:
    """Neither by a form, an image or a script, nor by another program's page on this machine."""
    assert service.http.get("/api/kb", headers=headers).status_code == 403
    upload = {"files": ("x.md", b"planted")}
    assert service.http.post("/api/kb/documents", files=upload, headers=headers).status_code == 403
    preflight = {**headers, "Access-Control-Request-Method": "POST"}
    reply = service.http.options("/api/kb/ask", headers=preflight)
    assert reply.status_code in (403, 405)
    assert not any(name.startswith("access-control") for name in reply.headers)


def test_the_own_page_and_links_to_it(service: RunningService) -> None:
    own = {"Origin": service.url, "Sec-Fetch-Site": "same-origin"}
    assert service.http.get("/api/kb", headers=own).status_code == 200
    assert service.http.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_the_token(guarded: httpx2.Client) -> None:
    """Everything but the page's own files and the pulse demands it."""
    for path in ("/", "/health", "/docs", "/openapi.json", "/page/style.css"):
        assert guarded.get(path).status_code == 200
    for given in (None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer ü"):
        headers = {"Authorization": given.encode()} if given else {}
        for path in ("/api/kb", "/v1/models", "/metrics", "/ready", "/api/lmstudio/models", "/none"):
            reply = guarded.get(path, headers=headers)
            assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert TOKEN not in reply.text
    with_token = {**BEARER, "Host": b"docs.example.com"}
    assert guarded.get("/api/kb", headers=with_token).json()["exists"] is True


def test_bodies_are_bounded(guarded: httpx2.Client) -> None:
    """By what is declared and by what comes; uploads may be larger than the rest."""
    long = json.dumps({"question": "x" * 11_000}).encode()
    assert guarded.post("/api/kb/search", content=long, headers=BEARER).status_code == 413
    in_pieces = iter([long[:6000], long[6000:]])
    reply = guarded.post("/api/kb/search", content=in_pieces, headers=BEARER)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
    upload = {"files": ("x.md", b"x" * 25_000)}
    assert guarded.post("/api/kb/documents", files=upload, headers=BEARER).status_code == 413


def test_what_browsers_are_told(service: RunningService) -> None:
    """On every answer, errors too: run no script but ours, frame nothing, guess no type."""
    for path in ("/", "/docs", "/api/kb", "/none", "/page/style.css", "/page/../app.py"):
        headers = service.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_need_nothing_from_elsewhere(service: RunningService) -> None:
    """The pages name no other host and hold no script but files of ours; `/docs` tells every route there is."""
    for path in ("/", "/docs"):
        text = service.http.get(path).text
        assert "://" not in text
        scripts = re.findall(r"<script[^>]*>[^<]*", text)
        assert all(re.fullmatch(r'<script type="module" src="/page/\w+\.js">', script) for script in scripts)
    assert service.http.get("/page/app.js").headers["content-type"].startswith("text/javascript")
    routes = service.http.get("/openapi.json").json()["paths"]
    assert all(path in text for path in routes)
    assert service.http.get("/page/%2e%2e/app.py").status_code == 404


def test_figures_without_words(service: RunningService) -> None:
    """Routes, times and outcomes; neither questions nor names of documents."""
    service.http.post("/api/kb/ask", json={"question": QUESTION})
    service.http.get("/api/kb/documents/text", params={"source": "docs/secret-name.md"})
    text = service.http.get("/metrics").text
    assert 'rag_requests_total{method="POST",route="/api/kb/ask",status="200"}' in text
    assert 'rag_answers_total{outcome="answered"}' in text
    assert 'rag_citations_total{status="verified"}' in text
    assert "torque" not in text
    assert "secret-name" not in text


def test_no_token_no_other_address(service: RunningService) -> None:
    """Before anything is listened on."""
    environment = {**os.environ, "RAG_KB": str(service.desk.kb.path), "LMSTUDIO_HOST": service.desk.settings.host}
    refused = subprocess.run([*SERVE, "--host", "0.0.0.0"], capture_output=True, text=True, env=environment)
    assert (refused.returncode, "RAG_SERVICE_TOKEN" in refused.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        busy = subprocess.run([*SERVE, "--port", port], capture_output=True, text=True, env=environment)
    assert (busy.returncode, "--port names another" in busy.stderr) == (2, True)


@pytest.mark.skipif(os.name != "posix", reason="no Ctrl-C for another process on Windows")
def test_the_command(service: RunningService) -> None:
    """It says where it is, serves with the token from the environment, and ends on Ctrl-C as asked."""
    environment = {
        **os.environ,
        "RAG_KB": str(service.desk.kb.path),
        "LMSTUDIO_HOST": service.desk.settings.host,
        "RAG_SERVICE_TOKEN": TOKEN,
        "RAG_CHAT_MODEL": CHAT,
        "RAG_TTL_S": "-1",
    }
    running = subprocess.Popen(
        [*SERVE, "--host", "0.0.0.0", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert running.stdout is not None
    told = json.loads(running.stdout.readline())
    address = told["address"].replace("0.0.0.0", "127.0.0.1")
    with httpx2.Client(base_url=address, timeout=60, trust_env=False) as client:
        assert client.get("/api/kb").status_code == 401
        found = client.get("/api/kb", headers=BEARER)
        go_on = threading.Event()
        service.lm.waiting.clear()
        service.lm.stream(chunk_of(CHAT, "The "), go_on)
        body = {"question": QUESTION, "stream": True}
        with client.stream("POST", "/api/kb/ask", json=body, headers=BEARER) as answer:
            assert service.lm.waiting.wait(20)
            running.send_signal(signal.SIGINT)
            assert events(answer.read().decode())[-1][1]["error"]["code"] == "service_ending"
        go_on.set()
    _, log = running.communicate(timeout=30)
    assert found.json()["documents"] >= 3
    assert (running.returncode, TOKEN in log, "Traceback" in log) == (0, False, False)


def test_secrets_are_not_shown(service: RunningService) -> None:
    shown = repr(replace(service.desk.settings, service_token=TOKEN, api_token=TOKEN))
    assert (TOKEN in shown, shown.count("***")) == (False, 2)
