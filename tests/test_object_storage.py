"""Knowledge bases in a bucket, against a real S3 server over HTTP: writing, killing, reading meanwhile, taking over."""

import json
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from stored import IDENTITY, version

import rag.errors as errors
from bench.corpus import many
from bench.crash import contents, same, start
from bench.ingest import Synthetic, synthetic
from bench.object_storage import Readers
from bench.s3_server import BUCKET, S3, SECRET
from ingest.pipeline import ingest
from ingest.report import IngestReport
from rag.cli.documents import status
from rag.cli.questions import search
from rag.confidence import Confidence
from rag.confidence_file import load_confidence, save_confidence
from rag.knowledge_base import KnowledgeBase
from rag.location import Location, Remote, location_of
from rag.settings import Settings, load_settings, own_folder
from rag.store.adapter_file import load_adapter, remove_adapter, save_adapter
from rag.store.kept import Kept
from rag.store.lease import LEASE, Holder, lease_of, writing
from rag.store.objects import explained, read, read_marked, write
from rag.store.search import by_words
from rag.store.tables import Store
from rag.store.write import Writer, write_lock

posix = pytest.mark.skipif(sys.platform == "win32", reason="as POSIX knows it")
FILES = 20
CANARIES = ((1.0, 0.0, 0.0, 0.0),) * 4


@pytest.fixture
def place(object_storage: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Remote:
    """An empty URL, and an environment that leads there, of a machine of its own."""
    for name, value in object_storage.environment.items():
        monkeypatch.setenv(name, value)
    machine(monkeypatch, tmp_path, "here")
    found = location_of(f"s3://{BUCKET}/{tmp_path.name}/notes.kb")
    assert isinstance(found, Remote)
    return found


def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """From now on be another machine: one with another state folder."""
    monkeypatch.setenv("RAG_STATE_DIR", str(tmp_path / name))


def filled(place: Remote, **documents: str) -> None:
    with write_lock(place) as lease:
        store = Store.open(place) if KnowledgeBase(place).exists else Store.create(place, IDENTITY, CANARIES)
        Writer(store, lease).put([version(f"docs/{name}.md", text) for name, text in documents.items()])


def texts(place: Remote) -> Counter[str]:
    """The texts of all chunks that belong to a document's present revision."""
    store = Store.open(place)
    return Counter(row["text"] for id_ in store.documents() for row in store.chunk_rows(id_))


def held_by_somebody(place: Remote, **changes: object) -> None:
    """Let time pass, or whatever, for the lease as it is."""
    found = read(place, LEASE)
    assert found is not None
    write(place, LEASE, json.dumps(asdict(replace(Holder(**json.loads(found)), turn=99, **changes))).encode())


@pytest.mark.parametrize("url", ["s3://notes/a/b.kb", "gs://notes/b.kb", "az://container/x/y"])
def test_a_url_is_a_place(url: str) -> None:
    assert location_of(f"{url}/") == Remote(url)
    assert location_of(Path(url)) == Remote(url)  # which has lost a slash
    assert load_settings({"RAG_KB": url, "RAG_STATE_DIR": "/state"}).kb == Remote(url)
    assert str(KnowledgeBase(url, settings=Settings()).path) == url


@pytest.mark.parametrize(
    "url",
    ["s3://notes", "s3://", "s3:///a", "s3://me:hush@notes/a", "s3://notes/a?key=hush", "s3://n/../a", "ftp://x/hush"],
)
def test_other_urls_are_refused_without_a_word_of_theirs(url: str) -> None:
    with pytest.raises(errors.UsageProblem, match="without a user") as caught:
        location_of(url)
    assert "hush" not in str(caught.value)


@pytest.fixture(scope="module")
def embedder() -> Iterator[Synthetic]:
    with synthetic() as running:
        yield running


@pytest.fixture(scope="module")
def slow() -> Iterator[Synthetic]:
    """An embedder that leaves time to interrupt."""
    with synthetic(0.08, "--slots", "1") as running:
        yield running


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many(tmp_path_factory.mktemp("in") / "notes", FILES, 2000)


@pytest.fixture(scope="module")
def clean(notes: Path, embedder: Synthetic, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the notes are in a folder, ingested without trouble."""
    folder = tmp_path_factory.mktemp("clean") / "notes.kb"
    ingested(embedder, notes, folder)
    return contents(folder)


@posix
def test_a_killed_ingest_goes_on_and_two_readers_meanwhile_miss_nothing(
    place: Remote,
    notes: Path,
    clean: dict[str, Any],
    slow: Synthetic,
    embedder: Synthetic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = start(slow, notes, place)
    with Readers(place, 2) as readers:
        wait_for_documents(place, 1)
        process.kill()
        process.communicate()
        # Nobody here writes any more, so its lease is no obstacle; elsewhere that cannot be known.
        machine(monkeypatch, tmp_path, "elsewhere")
        with pytest.raises(errors.KnowledgeBaseBusy, match=rf"on .* is writing to {place}, until \d\d:"):
            filled(place)
        machine(monkeypatch, tmp_path, "here")
        assert ingested(embedder, notes, place).added > 0
        assert ingested(embedder, notes, place).unchanged == FILES
    assert readers.looks > 2
    assert (readers.lost, readers.doubled) == (0, 0)
    same(contents(place), clean)
    assert not (own_folder(place) / "journal").exists()


@posix
def test_a_writer_that_slept_too_long_commits_nothing_more(
    place: Remote,
    notes: Path,
    clean: dict[str, Any],
    slow: Synthetic,
    embedder: Synthetic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sleeper = start(slow, notes, place)
    wait_for_documents(place, 1)
    sleeper.send_signal(signal.SIGSTOP)
    try:
        held_by_somebody(place, until=time.time() - 1)
        machine(monkeypatch, tmp_path, "elsewhere")
        ingested(embedder, notes, place)
    finally:
        sleeper.send_signal(signal.SIGCONT)
    _, said = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 4
    assert b"has taken over" in said
    assert b"Traceback" not in said
    same(contents(place), clean)


def test_a_lost_lease_is_lost_at_the_next_commit_whatever_was_committed_before(
    place: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(place, a="one\ntwo")
    with write_lock(place) as lease:
        late = Writer(Store.open(place), lease)
        late.put([version("docs/b.md", "three")])
        held_by_somebody(place, until=0.0)
        machine(monkeypatch, tmp_path, "elsewhere")
        filled(place, a="four")
        for change in (
            lambda: late.put([version("docs/a.md", "five")]),
            lambda: late.remove(list(late.rows)),
            lambda: late.set_root("docs", Path("docs")),
            lambda: Writer(Store.open(place), lease),
        ):
            with pytest.raises(errors.KnowledgeBaseBusy, match="has taken over"):
                change()
    assert texts(place) == Counter(["three", "four"])
    filled(place, c="six")  # what the late one left of its lease is nobody's
    assert texts(place) == Counter(["three", "four", "six"])


def test_a_lease_is_renewed_while_it_is_held_and_free_afterwards(place: Remote) -> None:
    with lease_of(place, "here", timedelta(seconds=0.8)) as first:
        assert not first.taken_over
        time.sleep(1.0)
        busy = pytest.raises(errors.KnowledgeBaseBusy, match=r"is writing to s3://.*until \d\d:\d\d:\d\d or longer")
        with busy, lease_of(place, "elsewhere"):
            pass
        assert f"is writing to {place}" in writing(place)  # as `rag doctor` tells it
        first.confirm()
    assert not writing(place)
    with lease_of(place, "elsewhere") as second:
        assert not second.taken_over
    held_by_somebody(place, token="x", machine="here", until=time.time() + 100)
    with lease_of(place, "here") as third:  # left by a crash of this machine
        assert third.taken_over


def test_of_many_who_want_a_lease_one_gets_it(place: Remote) -> None:
    begin, got, refused = threading.Barrier(6), [], []

    def want(name: str) -> None:
        begin.wait()
        try:
            with lease_of(place, name) as lease:
                got.append(lease)
                time.sleep(0.5)
        except errors.KnowledgeBaseBusy:
            refused.append(name)

    wanting = [threading.Thread(target=want, args=(str(number),)) for number in range(6)]
    for thread in wanting:
        thread.start()
    for thread in wanting:
        thread.join()
    assert (len(got), len(refused)) == (1, 5)


def test_an_open_store_sees_what_others_commit(place: Remote) -> None:
    filled(place, a="one")
    reader = Store.open(place)
    assert [hit.text for hit in by_words(reader, "two", 5)] == []
    filled(place, b="two")
    deadline = time.monotonic() + 20
    while len(reader.documents()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [hit.text for hit in by_words(reader, "two", 5)] == ["two"]


def test_the_library_works_on_a_url_as_on_a_folder(place: Remote, tmp_path: Path) -> None:
    filled(place, a="one\ntwo", b="three")
    write_lock_file = own_folder(place) / "write.lock"
    with KnowledgeBase(str(place)) as base:
        assert base.exists
        assert [hit.text for hit in base.search("three", mode="words")] == ["three"]
        status = base.status()
        assert (status.documents, status.chunks, str(status.path)) == (2, 3, str(place))
        assert status.bytes > 1000
        assert base.remove("docs/b.md") == 1
        assert [row.source for row in base.documents()] == ["docs/a.md"]
        assert base.text("docs/a.md") == "one\ntwo"
        for refused in (base.versions, lambda: base.tag("a"), lambda: base.restore(1)):
            with pytest.raises(errors.UsageProblem, match="keeps no versions"):
                refused()
        made_with = base.store.made_with()
        fitted = replace(Confidence(load_confidence(place, made_with).scale), fitted=7)
        save_confidence(place, made_with, fitted)
        assert load_confidence(place, made_with).fitted == 7
        save_adapter(place, np.eye(4), made_with[0])
        turn = load_adapter(place, made_with[0])
        assert turn is not None
        assert (turn == np.eye(4)).all()
        assert remove_adapter(place)
        assert not remove_adapter(place)
    assert write_lock_file.is_relative_to(tmp_path)  # and nothing of it came into this machine's folders but locks
    assert sorted(path.name for path in own_folder(place).iterdir()) == ["machine", "write.lock"]


def test_commands_take_a_url(place: Remote, capsys: pytest.CaptureFixture[str]) -> None:
    filled(place, a="one")
    status(kb=str(place), json=True)
    assert json.loads(capsys.readouterr().out)["path"] == str(place)
    search("one", kb=str(place), mode="words")
    assert capsys.readouterr().out.startswith("1. docs/a.md")


def test_what_is_wrong_with_a_storage_is_said_and_what_to_do(
    place: Remote, object_storage: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(place, a="one")

    def said(url: str) -> str:
        with pytest.raises(errors.RagError) as caught, KnowledgeBase(url) as base:
            base.search("one", mode="words")
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        return str(caught.value)

    assert said(f"s3://{BUCKET}/none.kb").startswith("There is no knowledge base at s3://")
    assert "There is no bucket nowhere. Make it" in said("s3://nowhere/notes.kb")
    with object_storage.knowing_nobody():
        assert "It refuses the credentials. Are AWS_ACCESS_KEY_ID and" in said(str(place))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "Nothing answers at http://127.0.0.1:9. Does it run" in said(str(place))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_REGION")
    assert f"In which region is the bucket {BUCKET}? Set AWS_REGION." in said(str(place))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "lance error: LanceError(IO): Generic S3 error: error sending request\n, at/main.rs",
            "Nothing answers at http",
        ),
        ("AccessDenied", "may not do that there"),
        ("something at {place}", "written: something at "),
        (f"no idea: {SECRET} {quote(SECRET, safe='')}\nDebug: {SECRET}", "written: no idea: *** ***"),
        ("Incompatible transaction: This Append", "Another writer has taken over s3://"),
    ],
)
def test_what_libraries_say_becomes_ours_without_secrets(place: Remote, text: str, said: str) -> None:
    place = Remote(f"{place}/Credential")
    told = str(explained(place, RuntimeError(text.format(place=place))))
    assert said in told
    assert SECRET not in told


def test_what_is_not_installed_is_named(place: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(errors.MissingExtra, match=r"lmstudio-rag\[cloud\]"):
        _ = KnowledgeBase(place).exists


def test_what_models_wrote_is_kept_on_this_machine(place: Remote) -> None:
    Kept(own_folder(place) / "summaries.jsonl").add("part", "what it says")
    assert Kept(own_folder(place) / "summaries.jsonl").get("part") == "what it says"


@pytest.mark.parametrize(
    ("url", "variable", "value"),
    [
        ("gs://notes/a.kb", "GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file.json"),
        ("az://notes/a.kb", "AZURE_STORAGE_ACCOUNT_KEY", "aHVzaA=="),
    ],
)
def test_credentials_that_are_none_are_told(
    url: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(errors.KnowledgeBaseError, match=r"There are no credentials.*Set [A-Z_]*\b") as caught:
        Store.open(Remote(url))
    assert "aHVzaA" not in str(caught.value)


def test_no_part_of_an_azure_signature_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2024-11-04&sig=hush%2Bhush")
    said = str(explained(Remote("az://notes/a.kb"), OSError("GET https://account/x?sig=hush%2Bhush&sv=2024-11-04")))
    assert "hush" not in said


def test_a_lease_that_is_no_lease_is_told(place: Remote) -> None:
    write(place, LEASE, b"{}")
    assert read_marked(place, LEASE) is not None
    with pytest.raises(errors.KnowledgeBaseError, match="is not what lmstudio-rag wrote there"):
        filled(place, a="one")


def wait_for_documents(place: Remote, count: int) -> None:
    deadline = time.monotonic() + 60
    while not (KnowledgeBase(place).exists and len(Store.open(place).rows()) >= count):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ingested(embedder: Synthetic, notes: Path, place: Location) -> IngestReport:
    settings = Settings(host=embedder.host, embedding_model="synthetic-embedding", engine=False)
    with KnowledgeBase(place, settings=settings) as base:
        report = ingest(notes, base, workers=1)
    assert report.failed == 0
    return report
