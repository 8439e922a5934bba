"""Files that hold files: archives, mailboxes, attachments, records. What is in them, what is refused, and how much."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from email.message import EmailMessage
from pathlib import Path

import docx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_parse import checked

from ingest.members import Names
from ingest.parse import ReadOptions, Unread, parse, read_all, supported
from rag.errors import EmptyDocument, ParseError, TooBig, UnreadableDocument, UnsupportedFormat
from rag.types import Document

Read = list[Document | Unread]
OPTIONS = ReadOptions(record_id="id", record_text=("body",), record_title="title")


def read(folder: Path, name: str, data: bytes | str, options: ReadOptions | None = None) -> Read:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    found = list(read_all(path, name, options or ReadOptions()))
    for one in found:
        if isinstance(one, Document):
            checked(one)
    return found


def refusal(folder: Path, name: str, data: bytes, options: ReadOptions) -> str:
    """What the file is refused with, or its name where it is read."""
    try:
        read(folder, name, data, options)
    except ParseError as exc:
        return str(exc)
    return name


def texts(found: Read) -> dict[str, str]:
    return {one.source: one.text for one in found if isinstance(one, Document)}


def reasons(found: Read) -> dict[str, str]:
    return {one.source: one.reason for one in found if isinstance(one, Unread)}


def zipped(parts: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return target.getvalue()


def tarred(parts: dict[str, bytes], mode: str = "w") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def word(text: str) -> bytes:
    document, target = docx.Document(), io.BytesIO()
    document.add_paragraph(text)
    document.save(target)
    return target.getvalue()


def test_a_plain_file_is_one_document(tmp_path: Path) -> None:
    assert texts(read(tmp_path, "a.txt", "words")) == {"a.txt": "words"}
    with pytest.raises(EmptyDocument):
        read(tmp_path, "b.txt", " ")
    with pytest.raises(FileNotFoundError):
        list(read_all(tmp_path / "missing", "missing"))


@pytest.mark.parametrize("name", ["a.txt", "a.pdf", "a", "a.md"])
def test_content_decides_where_it_is_beyond_doubt(tmp_path: Path, name: str) -> None:
    assert texts(read(tmp_path, name, word("In Word."))) == {name: "In Word."}
    assert texts(read(tmp_path, name, zipped({"in.txt": "zipped words"}))) == {f"{name}/in.txt": "zipped words"}


@pytest.mark.parametrize(
    ("content", "parser"),
    [
        ("<!DOCTYPE html><p>words", "html"),
        ("<html><body>words</body></html>", "html"),
        ("<?xml version='1.0'?><a>words</a>", "xml"),
        ('{"a": "words"}', "json"),
        ('{"a": "words"}\n{"a": "words"}\n', "jsonl"),
        ("#!/usr/bin/env python\nprint('words')", "python"),
        ("From: a@b.c\nTo: d@e.f\nSubject: x\nDate: Mon, 06 May 2024 10:00:00 +0200\n\nwords", "mail"),
        ("# words\n\nFrom: here to: there", "text"),
        ("[section]\nwords", "text"),
    ],
)
def test_a_text_without_a_suffix_says_what_it_is(tmp_path: Path, content: str, parser: str) -> None:
    for name in ("noname", "a name with spaces. And a dot"):
        assert [one.parser for one in read(tmp_path, name, content) if isinstance(one, Document)] == [parser]
    assert [one.parser for one in read(tmp_path, "a.odd", content) if isinstance(one, Document)] == ["text"]


def test_a_pdf_that_an_archive_holds_as_it_is_does_not_make_it_a_pdf(tmp_path: Path) -> None:
    parts = {"a.pdf": b"%PDF-1.7 no more than its mark", "b.md": b"# Hello\n\nSome words."}
    for name, data in (("a.zip", zipped(dict(parts), zipfile.ZIP_STORED)), ("a.tar", tarred(parts))):
        assert texts(read(tmp_path, name, data)) == {f"{name}/b.md": "# Hello\n\nSome words."}


def test_misnamed_office_files(tmp_path: Path) -> None:
    [page] = read(tmp_path, "a.xls", f"<html><table>{'<tr><td>One</td><td>Two</td></tr>' * 2}</table></html>")
    assert isinstance(page, Document)
    assert (page.parser, page.text) == ("html", "One | Two\nOne | Two")
    assert texts(read(tmp_path, "b.xls", "a\tb\n1\t2\n")) == {"b.xls": "a | b\n1 | 2"}
    assert texts(read(tmp_path, "c.doc", "plain words")) == {"c.doc": "plain words"}
    with pytest.raises(UnreadableDocument, match=r"d\.docx is not a \.docx file"):
        read(tmp_path, "d.docx", "plain words")
    with pytest.raises(UnreadableDocument, match="damaged Office file"):
        read(tmp_path, "e.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600)
    with pytest.raises(UnsupportedFormat, match="Convert it"):
        read(tmp_path, "f.bin", bytes(range(256)) * 4)


def test_what_a_walk_takes_for_a_document(tmp_path: Path) -> None:
    for name, data in {
        "a.cfg": b"x = 1",
        "b.unknown": b"words",
        "c.unknown": bytes(range(256)),
        "d": gzip.compress(b"words"),
        "e.exe": b"words",
    }.items():
        (tmp_path / name).write_bytes(data)
    found = {path.name: supported(path) for path in tmp_path.iterdir()}
    assert found == {"a.cfg": True, "b.unknown": True, "c.unknown": False, "d": True, "e.exe": False}
    assert all(supported(Path(f"a{suffix}")) for suffix in (".zip", ".tgz", ".mbox", ".gz", ".PY", ".ipynb"))


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_compressed_file_is_what_is_in_it(tmp_path: Path, suffix: str, pack: object) -> None:
    assert callable(pack)
    [page] = read(tmp_path, f"a.html.{suffix}", pack(b"<h1>Pump</h1><p>words"))
    assert isinstance(page, Document)
    assert (page.source, page.parser) == (f"a.html.{suffix}", "html")
    assert parse(tmp_path / f"a.html.{suffix}", "x").text == "Pump\n\nwords"
    data = pack(tarred({"b.txt": b"words"}))
    assert texts(read(tmp_path, f"a.tar.{suffix}", data)) == {f"a.tar.{suffix}/b.txt": "words"}
    assert texts(read(tmp_path, f"a.docx.{suffix}", pack(word("In Word.")))) == {f"a.docx.{suffix}": "In Word."}
    with pytest.raises(UnreadableDocument, match="damaged"):
        read(tmp_path, f"b.txt.{suffix}", pack(b"words " * 1000)[:40])


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_members(tmp_path: Path, kind: str) -> None:
    parts = {
        "docs/a.txt": b"one",
        "docs/": b"",
        "docs/deep/b.md": b"# Two",
        ".hidden/c.txt": b"never",
        "__MACOSX/._a.txt": b"never",
        "docs/d.exe": bytes(range(256)),
        "docs/e.txt": b"",
        "f.docx": b"no Word file",
        "g.docx": word("In Word."),
        "h.zip": zipped({"inner.txt": "deep words"}),
    }
    if kind == "zip":
        data = zipped({**parts})
    else:
        parts.pop("docs/")
        data = tarred(parts, "w:gz" if kind == "tgz" else "w")
    found = read(tmp_path, f"a.{kind}", data)
    assert texts(found) == {
        f"a.{kind}/docs/a.txt": "one",
        f"a.{kind}/docs/deep/b.md": "# Two",
        f"a.{kind}/g.docx": "In Word.",
        f"a.{kind}/h.zip/inner.txt": "deep words",
    }
    unread = {one.source: one.unsupported for one in found if isinstance(one, Unread)}
    assert unread == {f"a.{kind}/docs/d.exe": True, f"a.{kind}/docs/e.txt": False, f"a.{kind}/f.docx": False}
    with pytest.raises(UnsupportedFormat, match="several documents"):
        parse(tmp_path / f"a.{kind}", "a")


def test_a_container_of_nothing_is_empty(tmp_path: Path) -> None:
    for name, data in (("a.zip", zipped({".hidden": "x"})), ("b.tar", tarred({})), ("c.mbox", b"\n\n")):
        with pytest.raises(EmptyDocument, match=name):
            read(tmp_path, name, data)


def test_names_are_made_harmless(tmp_path: Path) -> None:
    data = zipped({"../../etc/a.txt": "1", "/abs.txt": "2", "C:\\dir\\b.txt": "3", "new\nline.txt": "4", "..": "5"})
    assert texts(read(tmp_path, "a.zip", data)) == {
        "a.zip/etc/a.txt": "1",
        "a.zip/abs.txt": "2",
        "a.zip/dir/b.txt": "3",
        "a.zip/new line.txt": "4",
        "a.zip/unnamed": "5",
    }


@given(st.lists(st.text(max_size=300), max_size=20))
def test_any_name_is_harmless_and_given_once(given_names: list[str]) -> None:
    names = Names()
    found = [names.harmless(name) for name in given_names]
    assert len(set(found)) == len(found)
    for name in found:
        name.encode("utf-8")
        parts = name.split("/")
        assert all(part not in {"", ".", ".."} for part in parts)
        assert "\\" not in name
        assert name.isprintable() or not any(ord(character) < 32 for character in name)
        assert max(map(len, parts)) <= 220


def test_links_and_devices_in_a_tar_are_left_out(tmp_path: Path) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, kind in (
            ("a", tarfile.SYMTYPE),
            ("b", tarfile.LNKTYPE),
            ("c", tarfile.CHRTYPE),
            ("d", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(f"{name}.txt")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("e.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"words"))
    assert texts(read(tmp_path, "a.tar", target.getvalue())) == {"a.tar/e.txt": "words"}


def test_encrypted_members_are_unread(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": "secret", "b.txt": "words"}))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + flags] |= 1
    found = read(tmp_path, "a.zip", bytes(data))
    assert texts(found) == {"a.zip/b.txt": "words"}
    assert "encrypted" in reasons(found)["a.zip/a.txt"]


def test_damage_costs_what_it_hits(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": "first words", "b.txt": "second words"}, zipfile.ZIP_STORED))
    data[data.find(b"second")] ^= 1
    found = read(tmp_path, "a.zip", bytes(data))
    assert texts(found) == {"a.zip/a.txt": "first words"}
    assert "damaged" in reasons(found)["a.zip/b.txt"]
    cut = gzip.compress(tarred({"a.txt": b"first words", "b.txt": bytes(str(list(range(9999))), "ascii")}))[:-9000]
    found = read(tmp_path, "a.tgz", cut)
    assert texts(found) == {"a.tgz/a.txt": "first words"}
    assert len(reasons(found)) >= 1
    with pytest.raises(UnreadableDocument):
        read(tmp_path, "c.zip", zipped({"a.txt": "words"})[:40])


def test_bombs_are_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    zeros = b"0" * 3_000_000
    small = ReadOptions(max_document_bytes=1_000_000)
    found = read(tmp_path, "a.zip", zipped({"a.txt": "words", "b.txt": zeros, "c.txt": "more"}), small)
    assert texts(found) == {"a.zip/a.txt": "words", "a.zip/c.txt": "more"}
    assert "larger than" in reasons(found)["a.zip/b.txt"]
    total = ReadOptions(max_bytes=4_000_000)
    found = read(tmp_path, "b.zip", zipped({f"{n}.txt": zeros for n in range(9)}), total)
    assert len(texts(found)) == 1
    assert all("unpacks to more" in reason for reason in reasons(found).values())
    found = read(tmp_path, "c.zip", zipped({f"{n}.txt": "words" for n in range(9)}), ReadOptions(max_members=4))
    assert len(texts(found)) == 4
    assert "more than 4 files" in reasons(found)["c.zip/(rest)"]
    nested = b"deep words"
    for depth in range(6):
        nested = zipped({f"{depth}.txt" if depth == 0 else f"{depth}.zip": nested})
    found = read(tmp_path, "d.zip", nested)
    assert texts(found) == {}
    assert [reason for reason in reasons(found).values() if "archives deep" in reason]
    packed = b"words"
    for _ in range(6):
        packed = gzip.compress(packed)
    with pytest.raises(TooBig):
        read(tmp_path, "e.gz", packed)


def test_a_bomb_by_its_ratio(tmp_path: Path) -> None:
    bomb = gzip.compress(b"0" * 200_000_000)
    with pytest.raises(TooBig, match="unpacks to more"):
        read(tmp_path, "a.txt.gz", bomb)


def test_a_document_that_is_a_bomb(tmp_path: Path) -> None:
    target = io.BytesIO(word("In Word."))
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/media/image1.xml", b"0" * 100_000_000)
    with pytest.raises(TooBig, match=r"a\.docx: it unpacks to more"):
        read(tmp_path, "a.docx", target.getvalue())


def test_a_zip_that_lists_too_much(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": "words"}))
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = (100 << 20).to_bytes(4, "little")
    with pytest.raises(TooBig, match="too many files"):
        read(tmp_path, "a.zip", bytes(data))


def test_a_damaged_mailbox_keeps_what_stands_before(tmp_path: Path) -> None:
    body = b"".join(
        b"From ann@example.org Mon May  6 10:00:00 2024\n" + bytes(letter(f"{n} " + "x" * n)) + b"\n"
        for n in range(900)
    )
    found = read(tmp_path, "a.mbox.gz", gzip.compress(body)[:-2000])
    assert len(texts(found)) > 100
    assert "a.mbox.gz/(rest)" in reasons(found)


def letter(subject: str, **headers: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.org", "bob@example.org", subject
    for name, value in headers.items():
        mail[name] = value
    mail.set_content("Dear Bob,\n\nsee what is attached.\n")
    return mail


def test_attachments_stand_below_their_mail(tmp_path: Path) -> None:
    mail = letter("Offer")
    mail.add_alternative("<p>Never</p><img src='cid:logo'>", subtype="html")
    mail.add_attachment("first notes", filename="notes.txt")
    mail.add_attachment("second notes", filename="notes.txt")
    mail.add_attachment(word("In Word."), maintype="application", subtype="octet-stream", filename="../offer.docx")
    mail.add_attachment(zipped({"in.md": "# Zipped"}), maintype="application", subtype="zip", filename="more.zip")
    mail.add_attachment(b"\x89PNG\r\n\x1a\n123", maintype="image", subtype="png", cid="<logo>", disposition="inline")
    inner = letter("Earlier")
    inner.add_attachment("third notes", filename="deep.txt")
    mail.add_attachment(inner)
    found = read(tmp_path, "a.eml", bytes(mail))
    assert list(texts(found)) == [
        "a.eml",
        "a.eml/notes.txt",
        "a.eml/notes (2).txt",
        "a.eml/offer.docx",
        "a.eml/more.zip/in.md",
        "a.eml/Earlier.eml",
        "a.eml/Earlier.eml/deep.txt",
    ]
    assert texts(found)["a.eml/notes (2).txt"].strip() == "second notes"
    assert not reasons(found), "a picture in the letter's head is no document of its own"


def test_malformed_headers_cost_no_attachment(tmp_path: Path) -> None:
    lines = [
        "From: ann@example.org",
        "Subject: x",
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "--b",
        "Content-Disposition: attachment; filename*0*=x''%; filename*zz*=y; filename*1=",
        "",
        "words one",
        "--b",
        'Content-Disposition: attachment; filename="=?x?q?"',
        "Content-Transfer-Encoding: base64",
        "",
        "!!!! not base64",
        "--b",
        "Content-Type: text/plain; charset=none; name=c.txt",
        "",
        "words three",
    ]
    found = read(tmp_path, "a.eml", "\r\n".join(lines))
    assert found[0].source == "a.eml"
    assert "words one" in "".join(texts(found).values())
    assert texts(found)["a.eml/c.txt"] == "words three"


def test_an_mbox_is_its_messages(tmp_path: Path) -> None:
    second = letter("Two")
    second.add_attachment("notes", filename="notes.txt")
    body = (
        b"From ann@example.org Mon May  6 10:00:00 2024\n" + bytes(letter("One")).replace(b"Dear", b">From Dear")
        + b"\nFrom bob@example.org Mon May  6 11:00:00 2024\n" + bytes(second)
        + b"\nFrom bob@example.org Mon May  6 12:00:00 2024\nno mail at all\n"
    )  # fmt: skip
    for name in ("a.mbox", "Inbox"):
        found = read(tmp_path, name, body)
        assert list(texts(found)) == [f"{name}/000001", f"{name}/000002", f"{name}/000002/notes.txt"]
        assert "\n\nFrom Dear Bob" in texts(found)[f"{name}/000001"]
        assert "not a mail" in reasons(found)[f"{name}/000003"]


def test_options_travel_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(OPTIONS)) == OPTIONS
    assert pickle.loads(pickle.dumps(Unread("a", "b"))) == Unread("a", "b")


@given(st.binary(max_size=300), st.sampled_from(["a.zip", "a.tar", "a.gz", "a.mbox", "a.eml", "a.jsonl", "a.csv", "a"]))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_a_container(tmp_path: Path, data: bytes, name: str) -> None:
    starts = {
        "a.zip": zipped({"a.txt": "words"})[:60],
        "a.tar": tarred({"a.txt": b"words"})[:600],
        "a.gz": b"\x1f\x8b\x08",
    }
    for content in (data, starts.get(name, b"\x1f\x8b\x08") + data):
        for options in (ReadOptions(), OPTIONS):
            assert name in refusal(tmp_path, name, content, options)
