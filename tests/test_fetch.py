"""Pages by their address, from a real server on this machine: fetched once, asked politely after, never trusted."""

import gzip
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import ingest.fetch as fetch
from ingest.fetch import fetched, is_address, piped, source_of
from ingest.pipeline import ingest
from ingest.sources import File, content_hash
from rag.errors import UsageProblem
from rag.knowledge_base import KnowledgeBase
from rag.store.schema import DocumentRow

HTML = "<html><head><title>Parrots</title></head><body><h1>Parrots</h1><p>{}</p></body></html>"


@dataclass
class Site:
    """What the server says: by path a status, headers and a body; and what it was asked."""

    address: str = ""
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, body: bytes | str, status: int = 200, **headers: str) -> str:
        data = body.encode() if isinstance(body, str) else body
        self.pages[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, data)
        return self.address + path


@pytest.fixture
def site() -> Iterator[Site]:
    told = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            if self.path == "/silence":
                told.silent.wait(30)
                return
            status, headers, body = told.pages.get(self.path, (404, {}, b""))
            if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
                status, body = 304, b""
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        told.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield told
        told.silent.set()
        server.shutdown()
        thread.join()


def one(address: str, kb: Path, rows: dict[str, DocumentRow] | None = None) -> tuple[File, bytes]:
    with fetched([address], kb, rows or {}) as files:
        assert len(files) == 1
        return files[0], b"" if files[0].problem or not files[0].path.is_file() else files[0].path.read_bytes()


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("https://example.org", "web/example.org"),
        ("http://example.org/", "web/example.org"),
        ("https://Example.org:443/a/b.html#part", "web/example.org/a/b.html"),
        ("https://user:secret@example.org/a//b/", "web/example.org/a/b"),
        ("http://example.org:8080/p?id=3&x=%20", "web/example.org:8080/p?id=3&x=%20"),
        ("https://example.org/%C3%BCber%20uns", "web/example.org/über uns"),
    ],
)
def test_a_page_is_named_by_its_place(address: str, source: str) -> None:
    assert is_address(address)
    assert source_of(address) == source


def test_what_is_no_address_of_a_page() -> None:
    assert not is_address("docs/http.md")
    assert not is_address(Path("https:/x"))
    for wrong in ("ftp://example.org/x", "file:///etc/passwd"):
        with pytest.raises(UsageProblem, match="http://"):
            is_address(wrong)
    for wrong in ("http://", "http://[::1", "http://host:port/"):
        with pytest.raises(UsageProblem, match="not an address"):
            source_of(wrong)


@pytest.mark.parametrize(
    ("path", "kind", "suffix"),
    [
        ("/a", "text/html; charset=utf-8", ".html"),
        ("/a.pdf", "text/html", ".html"),
        ("/a.md", "text/plain", ".md"),
        ("/a", "text/plain", ".txt"),
        ("/a.csv?x=1", "application/octet-stream", ".csv"),
        ("/a.xyz", "application/octet-stream", ""),
        ("/a", "Application/PDF", ".pdf"),
        ("/a", "", ""),
    ],
)
def test_the_declared_type_decides_before_the_address(
    site: Site, tmp_path: Path, path: str, kind: str, suffix: str
) -> None:
    with fetched([site.put(path, "x", Content_Type=kind)], tmp_path, {}) as files:
        assert (files[0].problem, files[0].path.suffix) == ("", suffix)


def test_an_encoding_that_only_the_server_declares_counts(site: Site, tmp_path: Path) -> None:
    page = "<p>Попугай</p>".encode("windows-1251")
    _, data = one(site.put("/ru", page, Content_Type="text/html; charset=windows-1251"), tmp_path)
    assert data.decode("utf-8-sig") == "<p>Попугай</p>"
    _, data = one(site.put("/odd", b"abc", Content_Type="text/html; charset=punycode"), tmp_path)
    assert data == b"abc"


def test_redirects_lead_on_but_neither_for_ever_nor_elsewhere(site: Site, tmp_path: Path) -> None:
    site.put("/old", "", 302, Location="/new")
    site.put("/new", "here", Content_Type="text/plain")
    assert one(site.address + "/old", tmp_path)[1] == b"here"
    site.put("/loop", "", 302, Location="/loop")
    assert "redirects" in one(site.address + "/loop", tmp_path)[0].problem
    assert len([path for path, _ in site.asked if path == "/loop"]) <= 11
    for place in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        site.put("/away", "", 302, Location=place)
        assert "cannot be fetched" in one(site.address + "/away", tmp_path)[0].problem


def test_what_goes_wrong_is_the_pages_problem(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(site.address + "/nowhere", tmp_path)[0].problem == "the server answers 404 Not Found"
    assert "cannot be fetched" in one("http://127.0.0.1:9/x", tmp_path)[0].problem
    monkeypatch.setattr(fetch, "MAX_BYTES", 1 << 20)
    bomb = gzip.compress(bytes(8 << 20))
    assert "larger than 1 MiB" in one(site.put("/bomb", bomb, Content_Encoding="gzip"), tmp_path)[0].problem
    monkeypatch.setattr(fetch, "MAX_SECONDS", 0.3)
    assert "did not arrive" in one(site.address + "/silence", tmp_path)[0].problem


def test_a_page_that_has_not_changed_is_not_sent_again(site: Site, tmp_path: Path) -> None:
    address = site.put("/a", "text", Content_Type="text/plain", ETag='"1"')
    with fetched([address], tmp_path, {}) as files:
        file = files[0]
        row = DocumentRow(
            "id",
            file.source,
            file.root,
            content_hash(file.path),
            file.size,
            file.mtime_ns,
            "r",
            "",
            "p",
            "ok",
            "",
            1,
            0,
        )
    again, data = one(address, tmp_path, {row.source: row})
    assert ((again.size, again.mtime_ns, again.problem), data) == ((row.size, row.mtime_ns, ""), b"")
    # Where the store does not hold that version, or could not read it, the page is wanted whole.
    for other in (replace(row, content_hash="x"), replace(row, status="failed")):
        assert one(address, tmp_path, {row.source: other})[1] == b"text"
    assert ["if-none-match" in headers for _, headers in site.asked] == [False, True, False, False]


def test_pages_are_documents_that_no_folder_removes(kb: KnowledgeBase, site: Site, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("The cable is nine metres long.")
    html = {"Content_Type": "text/html", "ETag": '"1"'}
    address = site.put("/birds/parrots.html", HTML.format("They live for sixty years."), **html)
    first = ingest([address, docs, site.address + "/gone"], into=kb)
    assert (first.added, first.failed) == (2, 1)
    host = site.address.removeprefix("http://")
    source = f"web/{host}/birds/parrots.html"
    assert [row.source for row in kb.documents()] == ["docs/a.md", source, f"web/{host}/gone"]
    assert kb.search("How long do parrots live?")[0].source == source

    requests = kb.embedder.requests
    again = ingest([address], into=kb)
    assert (again.unchanged, again.failed, kb.embedder.requests) == (1, 0, requests)
    assert site.asked[-1][1]["if-none-match"] == '"1"'

    site.put("/birds/parrots.html", HTML.format("They live for eighty years."), Content_Type="text/html", ETag='"2"')
    foretold = ingest(address, into=kb, dry_run=True)
    assert (foretold.updated, kb.text(source).count("eighty")) == (1, 0)
    assert ingest(address, into=kb).updated == 1
    assert kb.text(source).count("eighty") == 1
    assert ingest(docs, into=kb).removed == 0
    assert source in [row.source for row in kb.documents()]


def test_what_is_piped_in_is_a_document(kb: KnowledgeBase, tmp_path: Path) -> None:
    file = piped(io.BytesIO("# Käse\n\nGouda comes from Gouda.".encode()), "notes/käse.md", tmp_path)
    assert (file.source, file.path.suffix) == ("stdin/notes/käse.md", ".md")
    assert ingest([], into=kb, also=[file]).added == 1
    assert kb.search("gouda")[0].source == "stdin/notes/käse.md"
    same = piped(io.BytesIO("# Käse\n\nGouda comes from Gouda.".encode()), "notes/käse.md", tmp_path)
    assert ingest([], into=kb, also=[same]).unchanged == 1
    assert piped(io.BytesIO(b"x"), "/abs\\notes.txt", tmp_path).source == "stdin/abs/notes.txt"
    for wrong in ("", "/", "../x.md", "."):
        with pytest.raises(UsageProblem, match="not a name"):
            piped(io.BytesIO(b"x"), wrong, tmp_path)
