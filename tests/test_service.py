"""The knowledge base over HTTP: searches, answers as they come, documents in and out."""

import io
import json
import os
import struct
import threading
import zlib
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import docx
import httpx2
import openpyxl
import pytest
from lmstudio_server import CHAT, chunk_of
from service_fixture import QUESTION, SAYS, RunningService, events, served

import rag.errors as errors
from rag.service.uploads import LONGEST_NAME, safe_name
from rag.store.write import write_lock

ASK = "/api/kb/ask"
DOCUMENTS = "/api/kb/documents"


def test_what_the_knowledge_base_holds(service: RunningService) -> None:
    found = service.http.get("/api/kb").json()
    assert (found["exists"], found["documents"], found["failed"], found["roots"]) == (True, 3, 0, ["docs"])
    assert found["words_index"]["kind"] == "FTS"


def test_search_both_ways_and_with_filters(service: RunningService) -> None:
    """GET and POST find the same, and filters narrow it as on the command line."""
    by_get = service.http.get("/api/kb/search", params={"question": QUESTION, "limit": 2, "mode": "words"}).json()
    by_post = service.http.post("/api/kb/search", json={"question": QUESTION, "limit": 2, "mode": "words"}).json()
    assert by_get == by_post
    assert by_get["hits"][0]["source"] == "docs/clamp.md"
    narrowed = {"question": QUESTION, "where": ["format = md"], "paths": ["docs/p*"]}
    assert [hit["source"] for hit in service.http.post("/api/kb/search", json=narrowed).json()["hits"]] == [
        "docs/prices.md"
    ]
    queried = {"question": QUESTION, "where": "format = md", "paths": "docs/p*"}
    assert service.http.get("/api/kb/search", params=queried).json()["hits"][0]["source"] == "docs/prices.md"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"question": "x", "where": ["format ="]}, 400, "usage_problem"),
        ({"question": "  "}, 422, "invalid_value"),
        ({"question": ""}, 422, "invalid_value"),
        ({"question": "x", "limit": 0}, 422, "invalid_value"),
        ({"question": "x", "colour": "red"}, 422, "invalid_value"),
        ({"question": "\ud800"}, 422, "invalid_value"),
    ],
)
def test_what_cannot_be_searched_for(service: RunningService, body: object, status: int, code: str) -> None:
    """One form of error on every route: a message for people, a code for programs."""
    import json

    reply = service.http.post("/api/kb/search", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.json()["error"]["message"]


def test_an_answer_with_its_citations(service: RunningService) -> None:
    """Each quote is what the document says at that place."""
    answer = service.http.post(ASK, json={"question": QUESTION}).json()
    assert (answer["answer"], answer["abstained"]) == (f"{SAYS} [1]", False)
    cited = answer["citations"][0]
    assert (cited["status"], cited["stale"], cited["source"]) == ("verified", False, "docs/clamp.md")
    place = {"source": cited["source"], "start": cited["start"], "end": cited["end"], "around": 9}
    shown = service.http.get(f"{DOCUMENTS}/text", params=place).json()
    assert (shown["quote"], shown["before"], shown["more_before"]) == (cited["quote"], "# Clamp\n\n", False)
    assert shown["after"] == " Tighten "


def test_an_answer_as_it_comes(service: RunningService) -> None:
    """What is waited for, what is thought, the draft, and the checked answer, in this order."""
    service.desk.lm.unload()
    service.lm.say("The mast clamp bolts ", "need 9 Nm [1].", reasoning="Hm, the clamp.")
    told = service.ask()
    assert [name for name, _ in told] == ["status", "status", "reasoning", "token", "token", "answer"]
    said = {name: body for name, body in told if name != "token"}
    assert said["status"]["message"].startswith(f"Loading {CHAT}")
    assert said["reasoning"] == {"text": "Hm, the clamp."}
    assert "".join(body["text"] for name, body in told if name == "token") == "The mast clamp bolts need 9 Nm [1]."
    assert said["answer"]["citations"][0]["status"] == "verified"


def test_the_steps_of_a_model_that_searches_by_itself(service: RunningService) -> None:
    service.lm.say(json.dumps({"name": "search", "arguments": {"query": "steel cover"}}))
    service.lm.say("done")
    told = service.ask(agent=True)
    assert any(name == "status" and body["message"].startswith("searched: steel cover") for name, body in told)
    steps = told[-1][1]["steps"]
    assert [(step["action"], step["words"]) for step in steps] == [("search", QUESTION), ("search", "steel cover")]
    assert service.http.post(ASK, json={"question": QUESTION}).json()["steps"] == []


def test_a_draft_that_is_void(service: RunningService) -> None:
    """A model that is lost in the middle and then says something else: the page must begin anew."""
    service.lm.stream(chunk_of(CHAT, "The bolts "), None)
    service.lm.say(SAYS)
    told = service.ask()
    assert [name for name, _ in told].index("again") > 0
    assert told[-1][1]["answer"] == f"{SAYS} [1]"


@pytest.mark.parametrize("streamed", [True, False])
def test_who_hangs_up_stops_the_model(service: RunningService, streamed: bool) -> None:
    """The connection to the model server is closed at the next word; the service answers others as before."""
    go_on = threading.Event()
    service.lm.broken_off.clear()
    service.lm.waiting.clear()
    service.lm.stream(chunk_of(CHAT, "The "), go_on, *[chunk_of(CHAT, "mast " * 5000) for _ in range(200)])
    with httpx2.Client(base_url=service.url, trust_env=False) as client:
        body = {"question": QUESTION, "stream": streamed}
        if streamed:
            with client.stream("POST", ASK, json=body) as reply:
                assert next(reply.iter_lines())
                assert service.lm.waiting.wait(20)
        else:
            with pytest.raises(httpx2.ReadTimeout):
                client.post(ASK, json=body, timeout=0.5)
            assert service.lm.waiting.wait(20)
    while any(not work.stop.is_set() for work in list(service.desk.threads.running.values())):
        pass  # until the service has heard of it
    go_on.set()
    assert service.lm.broken_off.wait(20)
    assert service.http.post(ASK, json={"question": QUESTION}).json()["answer"] == f"{SAYS} [1]"


def test_an_error_of_the_model_server(service: RunningService) -> None:
    """Told by the status before anything was sent, as the last event after it."""
    service.lm.fail("/v1/chat/completions", 500, "The disk is on fire")
    plain = service.http.post(ASK, json={"question": QUESTION})
    assert (plain.status_code, plain.json()["error"]["code"]) == (502, "server_error")
    service.lm.fail("/v1/chat/completions", 500, "The disk is on fire")
    name, told = service.ask()[-1]
    assert (name, told["error"]["code"]) == ("error", "server_error")
    assert "on fire" in told["error"]["message"]


def test_only_so_many_questions_wait(service: RunningService) -> None:
    """One is answered, one waits and is told so, the next is told to come again."""
    go_on = threading.Event()
    service.lm.waiting.clear()
    service.lm.stream(chunk_of(CHAT, SAYS), go_on, chunk_of(CHAT, "", "stop"), "data: [DONE]\n\n")
    body = {"question": QUESTION, "stream": True}
    with (
        served(service.desk.settings, asks_at_once=1, asks_waiting=1) as (url, _),
        httpx2.Client(base_url=url, timeout=60, trust_env=False) as client,
        client.stream("POST", ASK, json=body) as first,
        client.stream("POST", ASK, json=body) as second,
    ):
        assert service.lm.waiting.wait(20)
        lines = second.iter_lines()
        assert next(lines) == "event: status"
        assert "Waiting for 1 other" in next(lines)
        refused = client.post(ASK, json=body)
        go_on.set()
        assert events(first.read().decode())[-1][0] == "answer"
        assert any("event: answer" in line for line in lines)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    assert refused.json()["error"]["code"] == "too_many_questions"


def test_a_search_that_asks_the_model_waits_as_questions_do(service: RunningService) -> None:
    with (
        served(service.desk.settings, asks_waiting=0) as (url, _),
        httpx2.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        status = [
            client.post("/api/kb/search", json={"question": QUESTION, **how}).status_code
            for how in ({}, {"rerank": "llm"}, {"expand": "parts"}, {"expand": "off"})
        ]
    assert status == [200, 503, 503, 200]


def test_documents_in_and_out(service: RunningService) -> None:
    """Uploaded, found, replaced, listed, removed: the file comes and goes with its document."""
    note = b"# Gate\n\nThe gate code is 4711 on weekdays.\n"
    sent = service.http.post(DOCUMENTS, files=[("files", ("../../gate.md", note)), ("files", ("a.xyz", b"\0\1\2"))])
    told = events(sent.text)
    outcomes = {body["source"]: body["status"] for name, body in told if name == "file"}
    assert outcomes == {"uploads/gate.md": "added", "uploads/a.xyz": "failed"}
    assert (told[0], told[-1][0], told[-1][1]["added"]) == (("plan", {"total": 2}), "report", 1)
    kept = service.desk.kb.path / "uploads" / "gate.md"
    assert kept.read_bytes() == note
    found = service.http.get("/api/kb/search", params={"question": "gate code", "mode": "words", "limit": 1}).json()
    assert found["hits"][0]["source"] == "uploads/gate.md"
    again = service.http.post(DOCUMENTS, files={"files": ("gate.md", note.replace(b"4711", b"4712"))})
    assert events(again.text)[-1][1]["updated"] == 1
    listed = service.http.get(DOCUMENTS, params={"paths": "uploads/**"}).json()
    assert {row["source"]: row["uploaded"] for row in listed["documents"]} == {
        "uploads/a.xyz": True,
        "uploads/gate.md": True,
    }
    assert service.http.get(DOCUMENTS, params={"failed": True}).json()["total"] == 1
    assert service.http.delete(DOCUMENTS, params={"source": "uploads"}).json() == {"removed": 2}
    assert list(kept.parent.iterdir()) == []
    assert service.http.delete(DOCUMENTS, params={"source": "uploads/gate.md"}).status_code == 404
    assert service.http.delete(DOCUMENTS, params={"source": "../../etc/passwd"}).status_code == 404


def test_word_excel_and_an_attachment_are_found_by_content(service: RunningService) -> None:
    """Dropped into the page as they come from the office; the attachment is a document of its own below its mail."""
    paper, book, mail = docx.Document(), openpyxl.Workbook(), EmailMessage()
    paper.add_paragraph("The lease of the boathouse ends in October.")
    sheet = book.worksheets[0]
    for row in (["Part", "Supplier"], ["Winch handle", "Okonkwo Marine"]):
        sheet.append(row)
    mail["From"], mail["To"], mail["Subject"] = "ann@example.org", "bob@example.org", "Insurance"
    mail.set_content("Dear Bob, see what is attached.")
    mail.add_attachment(_saved(paper), maintype="application", subtype="octet-stream", filename="lease.docx")
    letters = bytes(mail)
    paper.add_paragraph("The crane is inspected by Jansen every spring.")
    sent = [("crane.docx", _saved(paper)), ("parts.xlsx", _saved(book)), ("insurance.eml", letters)]
    report = events(service.http.post(DOCUMENTS, files=[("files", file) for file in sent]).text)[-1][1]
    assert (report["added"], report["failed"]) == (4, 0)
    for asked, source in {
        "Jansen inspects the crane": "uploads/crane.docx",
        "supplier of the winch handle": "uploads/parts.xlsx",
        "Dear Bob, what is attached": "uploads/insurance.eml",
        "lease of the boathouse": "uploads/insurance.eml/lease.docx",
    }.items():
        query = {"question": asked, "mode": "words", "limit": 2, "paths": "uploads/**"}
        hits = service.http.get("/api/kb/search", params=query).json()["hits"]
        assert source in [hits[0]["source"], *(place["source"] for place in hits[0]["also"])]
    assert service.http.delete(DOCUMENTS, params={"source": "uploads"}).json() == {"removed": 4}


def _saved(document: Any) -> bytes:
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def test_one_upload_at_a_time(service: RunningService) -> None:
    assert service.desk.ingesting.acquire()
    assert service.http.get("/api/kb").json()["ingesting"]
    busy = service.http.post(DOCUMENTS, files={"files": ("gate.md", b"x")})
    service.desk.ingesting.release()
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "knowledge_base_busy")
    assert "Retry-After" in busy.headers
    assert not service.desk.ingesting.locked()


def test_what_another_process_kept_out_is_read_next(service: RunningService) -> None:
    """While somebody else writes, a file is kept and said not to be read; the next upload reads it too."""
    with write_lock(service.desk.kb.path):
        busy = events(service.http.post(DOCUMENTS, files={"files": ("late.md", b"The late bus goes at nine.")}).text)
    assert (busy[-1][0], busy[-1][1]["error"]["code"]) == ("error", "knowledge_base_busy")
    assert not service.desk.ingesting.locked()
    sent = events(service.http.post(DOCUMENTS, files={"files": ("early.md", b"The early bus goes at six.")}).text)
    sources = {body["source"] for name, body in sent if name == "file"}
    assert sources == {"uploads/late.md", "uploads/early.md"}
    assert service.http.delete(DOCUMENTS, params={"source": "uploads"}).json() == {"removed": 2}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a b.docx", "a b.docx"),
        ("con.txt", "_con.txt"),
        ("a\x00b\n<c>.md", "a_b__c_.md"),
        (".hidden.md", "hidden.md"),
        ("gpj.\u202efdp.md", "gpj._fdp.md"),
        ("ü" * 300 + ".pdf", "ü" * 88 + ".pdf"),
    ],
)
def test_names_of_uploads(given: str, kept: str) -> None:
    assert safe_name(given) == kept
    assert len(kept.encode()) <= LONGEST_NAME


@pytest.mark.parametrize("given", ["", None, "..", "/", "...", "\x00", "\ud800", "x." + "y" * 300])
def test_names_that_are_none(given: str | None) -> None:
    with pytest.raises(errors.UsageProblem):
        safe_name(given)


def test_a_page_with_the_passage_marked(service: RunningService) -> None:
    """The citation's own box, drawn: as wide as asked, yellow inside the box, white outside of it."""
    hit = service.http.get("/api/kb/search", params={"question": "U-bolts Nm", "paths": "**/*.pdf", "limit": 1}).json()[
        "hits"
    ][0]
    box = ",".join(f"{edge:.1f}" for edge in hit["box"])
    asked = {"source": hit["source"], "page": hit["page"], "box": box, "width": 400}
    reply = service.http.get(f"{DOCUMENTS}/page", params=asked)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    width, height, pixels = _pixels(reply.content)
    assert width == 400
    scale = width / 420  # the manual is A5, about 420 points wide
    left, top, right, bottom = (round(edge * scale) for edge in hit["box"])
    inside = [pixels(x, y) for x in range(left + 2, right - 2, 3) for y in range(top + 2, bottom - 2, 3)]
    assert max(set(inside), key=inside.count) == (255, 235, 120)
    assert pixels(2, 2) == pixels(width - 3, height - 3) == (255, 255, 255)


def _pixels(png: bytes):  # type: ignore[no-untyped-def]
    width, height = struct.unpack(">II", png[16:24])
    data, at = b"", 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        data += png[at + 8 : at + 8 + size] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += size + 12
    rows = zlib.decompress(data)

    def pixel(x: int, y: int) -> tuple[int, ...]:
        start = y * (3 * width + 1) + 1 + 3 * x
        return tuple(rows[start : start + 3])

    return width, height, pixel


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"source": "docs/clamp.md", "page": 1}, 415),
        ({"source": "docs/manual.pdf", "page": 9999}, 415),
        ({"source": "docs/manual.pdf", "page": 1, "box": "1,2,3"}, 422),
        ({"source": "docs/none.pdf", "page": 1}, 404),
    ],
)
def test_pages_that_cannot_be_seen(service: RunningService, asked: dict[str, object], status: int) -> None:
    reply = service.http.get(f"{DOCUMENTS}/page", params=asked)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


def test_a_file_is_saved_and_never_shown(service: RunningService) -> None:
    reply = service.http.get(f"{DOCUMENTS}/file", params={"source": "docs/prices.md"})
    assert reply.content == (service.docs / "prices.md").read_bytes()
    assert reply.headers["content-disposition"].startswith("attachment")
    assert reply.headers["content-type"] == "application/octet-stream"


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
def test_a_link_that_leads_out_of_its_folder(service: RunningService, tmp_path: Path) -> None:
    """A file that was indexed and became a link to another place is not given away."""
    secret = tmp_path / "secret.txt"
    secret.write_text("no", encoding="utf-8")
    path = service.docs / "prices.md"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    path.symlink_to(secret)
    try:
        assert service.http.get(f"{DOCUMENTS}/file", params={"source": "docs/prices.md"}).status_code == 404
    finally:
        path.unlink()
        path.write_text(text, encoding="utf-8")


def test_offsets_count_code_points(service: RunningService) -> None:
    """Beyond the first plane too, and where the place is past the end."""
    body = "# Signs\n\n😀 café gate\n".encode()
    assert events(service.http.post(DOCUMENTS, files={"files": ("signs.md", io.BytesIO(body))}).text)[-1][0] == "report"
    source = {"source": "uploads/signs.md"}
    shown = service.http.get(f"{DOCUMENTS}/text", params={**source, "start": 11, "end": 15}).json()
    assert (shown["quote"], shown["after"].strip()) == ("café", "gate")
    past = service.http.get(f"{DOCUMENTS}/text", params={**source, "start": 10**9}).json()
    assert (past["start"], past["quote"], past["more_after"]) == (past["length"], "", False)
    assert service.http.delete(DOCUMENTS, params=source).json() == {"removed": 1}


def test_a_conversation_is_kept(service: RunningService) -> None:
    """The next question is understood from the one before; it can be read again, and is gone when it is deleted."""
    place = "/api/kb/conversations/mast"
    first = service.http.post(f"{place}/ask", json={"question": QUESTION}).json()
    assert first["answer"] == f"{SAYS} [1]"
    service.lm.say("The question stands.")  # which is no rewriting: it is searched for behind the first one
    service.lm.say(SAYS)
    second = events(service.http.post(f"{place}/ask", json={"question": "And the cover?", "stream": True}).text)
    assert second[-1][1]["searched"] == f"{QUESTION} And the cover?"
    kept = service.http.get(place).json()
    assert [turn["answer"]["question"] for turn in kept["turns"]] == [QUESTION, "And the cover?"]
    assert kept["turns"][0]["answer"]["citations"] == first["citations"]
    listed = service.http.get("/api/kb/conversations").json()["conversations"]
    assert [(row["name"], row["turns"]) for row in listed] == [("mast", 2)]
    assert service.http.delete(place).json() == {"deleted": "mast"}
    assert service.http.get(place).json()["error"]["code"] == "conversation_not_found"
    assert service.http.delete(place).status_code == 404
    assert service.http.get("/api/kb/conversations/..%2F..%2Fetc").status_code in (404, 422)


def test_retrieval_is_measured(service: RunningService) -> None:
    asked = [{"question": QUESTION, "source": "clamp.md", "quote": SAYS}, {"question": "Who is the king?"}]
    found = service.http.post("/api/kb/evaluate", json={"questions": asked, "ablation": True}).json()
    assert (found["questions"], found["unanswerable"]) == (1, 1)
    assert set(found["ways"]) == {"default", "vector", "words"}
    assert found["ways"]["words"]["measures"]["recall@5"] == 1
    wrong = [{"question": QUESTION, "source": "clamp.md", "quote": "no such words"}]
    assert service.http.post("/api/kb/evaluate", json={"questions": wrong}).status_code == 400


def test_before_the_first_document(service: RunningService, tmp_path: Path) -> None:
    """Nothing is there, and everything says so in its own way."""
    from dataclasses import replace

    with (
        served(replace(service.desk.settings, kb=tmp_path / "new.kb")) as (url, _),
        httpx2.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        assert client.get("/api/kb").json()["exists"] is False
        assert client.get(DOCUMENTS).json() == {"total": 0, "documents": []}
        missing = client.post(ASK, json={"question": QUESTION, "stream": True})
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "knowledge_base_missing")
        assert client.get("/ready").status_code == 503
        made = client.post(DOCUMENTS, files={"files": ("clamp.md", SAYS.encode())})
        assert events(made.text)[-1][1]["added"] == 1
        assert client.get("/ready").json() == {"ready": True, "knowledge_base": "ok", "model_server": "ok"}
        assert client.post(ASK, json={"question": QUESTION}).json()["answer"] == f"{SAYS} [1]"
