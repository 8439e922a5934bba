"""Ingestion into a real knowledge base with real vectors: every kind of change, and nothing lost."""

import json
import os
import sys
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest

import rag.errors as errors
from ingest.pipeline import FileStatus, IngestReport, Progress, ReadOptions, ingest
from rag.knowledge_base import KnowledgeBase
from rag.settings import Settings


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "battery.md").write_text(
        "# Battery\n\nThe battery lasts 24 months.\n\n## Cold\n\nIn frost it lasts half as long.\n"
    )
    (folder / "sub" / "cable.txt").write_text("The cable is nine metres long and black.\n")
    return folder


def counts(report: IngestReport) -> dict[str, int]:
    names = ("added", "updated", "unchanged", "renamed", "removed", "failed", "skipped")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def test_the_first_run_adds_and_the_second_does_nothing(kb: KnowledgeBase, docs: Path) -> None:
    first = ingest(docs, into=kb)
    assert counts(first) == {"added": 2}
    assert first.embedded == first.chunks > 0
    before = kb.embedder.requests
    second = ingest(docs, into=kb)
    assert counts(second) == {"unchanged": 2}
    assert kb.embedder.requests == before


def test_every_chunk_is_the_documents_text_at_its_place(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs, into=kb)
    for row in kb.documents():
        text = kb.text(row.source)
        chunks = kb.store.chunk_rows(row.id)
        assert chunks
        assert all(text[chunk["start"] : chunk["end"]] == chunk["text"] for chunk in chunks)
    assert kb.text("docs/battery.md") == (docs / "battery.md").read_text()


def test_an_edit_embeds_only_what_changed(kb: KnowledgeBase, docs: Path) -> None:
    sections = "\n\n".join(
        f"## Part {number}\n\n" + f"Sentence number {number} stands here. " * 20 for number in range(6)
    )
    (docs / "long.md").write_text(f"# Long\n\n{sections}\n")
    ingest(docs, into=kb)
    (docs / "long.md").write_text(f"# Long\n\n{sections}\n".replace("number 3 stands", "number 3 sits"))
    report = ingest(docs, into=kb)
    assert counts(report) == {"updated": 1, "unchanged": 2}
    assert 0 < report.embedded < report.chunks
    assert report.reused + report.embedded == report.chunks
    assert any("sits" in hit.text for hit in kb.search("Which number sits?"))
    assert not any(
        "number 3 stands" in row["text"] for row in kb.store.chunk_rows(kb.store.document("docs/long.md").id)
    )


def test_a_move_embeds_nothing_and_keeps_the_id(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs, into=kb)
    id_ = kb.store.document("docs/battery.md").id
    (docs / "battery.md").rename(docs / "sub" / "akku.md")
    report = ingest(docs, into=kb)
    assert counts(report) == {"renamed": 1, "unchanged": 1}
    assert report.embedded == 0
    assert kb.store.document("docs/sub/akku.md").id == id_
    assert kb.search("How long does the battery last?")[0].source == "docs/sub/akku.md"
    (docs / "battery.md").write_text("# Another battery\n\nQuite another text.\n")
    assert counts(ingest(docs, into=kb)) == {"added": 1, "unchanged": 2}
    assert len({row.id for row in kb.documents()}) == 3


def test_a_deleted_file_is_removed_unless_told_not_to(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs, into=kb)
    (docs / "battery.md").unlink()
    assert counts(ingest(docs, into=kb, prune=False)) == {"unchanged": 1}
    assert counts(ingest(docs, into=kb)) == {"removed": 1, "unchanged": 1}
    assert all(hit.source != "docs/battery.md" for hit in kb.search("battery"))


def test_part_of_a_folder_is_synchronised_alone(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs, into=kb)
    (docs / "battery.md").unlink()
    (docs / "sub" / "cable.txt").write_text("The cable is ten metres long and green.\n")
    assert counts(ingest(docs / "sub", into=kb)) == {"updated": 1}
    assert [row.source for row in kb.documents()] == ["docs/battery.md", "docs/sub/cable.txt"]


def test_an_outer_folder_takes_the_inner_ones_documents_over(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs / "sub", into=kb)
    assert [row.source for row in kb.documents()] == ["sub/cable.txt"]
    report = ingest(docs, into=kb)
    assert counts(report) == {"added": 1, "unchanged": 1}
    assert [row.source for row in kb.documents()] == ["docs/battery.md", "docs/sub/cable.txt"]
    assert list(kb.store.roots()) == ["docs"]


def test_one_bad_file_is_one_outcome(kb: KnowledgeBase, docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 this is no PDF")
    (docs / "empty.md").write_text("")
    (docs / "archive.xyz").write_bytes(bytes(range(256)) * 8)
    report = ingest(docs, into=kb)
    assert counts(report) == {"added": 2, "failed": 2, "skipped": 1}
    reasons = {outcome.source: outcome.reason for outcome in report.outcomes if outcome.reason}
    assert set(reasons) == {"docs/broken.pdf", "docs/empty.md", "docs/archive.xyz"}
    assert {row.source for row in kb.documents() if row.status == "failed"} == {"docs/broken.pdf", "docs/empty.md"}
    (docs / "empty.md").write_text("Now it says something about parrots.")
    again = ingest(docs, into=kb)
    assert counts(again) == {"added": 1, "unchanged": 2, "failed": 1, "skipped": 1}


def test_a_file_that_breaks_later_keeps_its_former_text(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs, into=kb)
    (docs / "battery.md").write_text("   \n")
    assert counts(ingest(docs, into=kb)) == {"failed": 1, "unchanged": 1}
    assert kb.search("How long does the battery last?")[0].source == "docs/battery.md"
    answered = kb.store.document("docs/battery.md")
    assert answered.status == "failed"
    assert answered.chunks > 0


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_one_outcome(kb: KnowledgeBase, docs: Path) -> None:
    (docs / "secret.md").write_text("secret")
    (docs / "secret.md").chmod(0)
    report = ingest(docs, into=kb)
    assert counts(report) == {"added": 2, "failed": 1}


def test_an_empty_folder_is_refused_before_anything_is_made(kb: KnowledgeBase, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.UsageProblem, match="no documents"):
        ingest(tmp_path / "empty", into=kb)
    assert not kb.exists


def test_a_folder_that_became_empty_needs_a_yes(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs, into=kb)
    for file in list(docs.rglob("*.*")):
        file.unlink()
    with pytest.raises(errors.UsageProblem, match="Is a disk missing"):
        ingest(docs, into=kb)
    assert len(kb.documents()) == 2
    assert counts(ingest(docs, into=kb, yes=True)) == {"removed": 2}
    assert kb.documents() == []


def test_a_wrong_path_changes_nothing(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs, into=kb)
    (docs / "battery.md").unlink()
    with pytest.raises(errors.SourceNotFound, match="nowhere"):
        ingest([docs, docs / "nowhere"], into=kb)
    assert len(kb.documents()) == 2


@pytest.mark.parametrize("name", ["it's.md", 'say "hi".md', "a' OR '1'='1.md", "new\nline.md", "ü 文 🙂.md"])
@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be made there")
def test_names_are_data(kb: KnowledgeBase, docs: Path, name: str) -> None:
    (docs / name).write_text("A text about parrots and their feathers.")
    assert counts(ingest(docs, into=kb)) == {"added": 3}
    assert kb.search("parrots")[0].source == f"docs/{name}"
    (docs / name).unlink()
    assert counts(ingest(docs, into=kb)) == {"removed": 1, "unchanged": 2}


def test_a_run_that_is_interrupted_keeps_what_it_committed(
    kb: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.flow._GROUP_CHUNKS", 1)
    done = []

    def interrupt(outcome: object) -> None:
        done.append(outcome)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(docs, into=kb, on_outcome=interrupt)
    kept = len(kb.documents())
    assert kept >= 1
    again = ingest(docs, into=kb)
    assert (again.added, again.unchanged, again.embedded) == (2 - kept, kept, 0)


def test_the_same_text_in_two_places_is_embedded_once(kb: KnowledgeBase, docs: Path) -> None:
    ingest(docs, into=kb)
    (docs / "copy.md").write_bytes((docs / "battery.md").read_bytes())
    report = ingest(docs, into=kb)
    assert counts(report) == {"added": 1, "unchanged": 2}
    assert (report.embedded, report.reused) == (0, report.chunks)


def test_outcomes_come_as_they_are_final(kb: KnowledgeBase, docs: Path) -> None:
    planned: list[int] = []
    seen: list[FileStatus] = []
    ingest(docs, into=kb, on_plan=planned.append, on_outcome=lambda outcome: seen.append(outcome.status))
    assert planned == [2]
    assert seen == [FileStatus.ADDED, FileStatus.ADDED]


def test_another_model_than_the_indexs_is_refused(kb: KnowledgeBase, docs: Path, settings: Settings) -> None:
    from dataclasses import replace

    ingest(docs, into=kb)
    with KnowledgeBase(kb.path, settings=replace(settings, embedding_model="text-embedding-other")) as other:
        with pytest.raises(errors.IdentityMismatch, match=r"made with the embedding model text-embedding-all-minilm"):
            other.search("battery")
        (docs / "new.md").write_text("new")
        with pytest.raises(errors.IdentityMismatch):
            ingest(docs, into=other)
    assert len(kb.documents()) == 2


def zipped(path: Path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.md", text)


PARROT = "# Parrot\n\nThe parrot eats seeds and sleeps in the willow.\n"
HERON = "# Heron\n\nThe heron stands in the reeds and waits for fish.\n"
OWL = "# Owl\n\nThe owl hunts by night and turns its head far round.\n"


def test_each_document_in_a_file_is_found_by_itself(kb: KnowledgeBase, docs: Path) -> None:
    zipped(docs / "birds.zip", parrot=PARROT, heron=HERON)
    report = ingest(docs, into=kb)
    assert counts(report) == {"added": 4}
    assert kb.search("What does the heron wait for?")[0].source == "docs/birds.zip/heron.md"
    container = kb.store.document("docs/birds.zip")
    assert (container.chunks, container.status) == (0, "ok")
    assert "docs/birds.zip" not in [row.source for row in kb.documents()], "it is no document itself"
    assert {row.source for row in kb.documents() if row.part_of == container.id} == {
        "docs/birds.zip/heron.md",
        "docs/birds.zip/parrot.md",
    }
    before = kb.embedder.requests
    assert counts(ingest(docs, into=kb)) == {"unchanged": 4}
    assert kb.embedder.requests == before


def test_a_changed_container_costs_what_changed_in_it(kb: KnowledgeBase, docs: Path) -> None:
    zipped(docs / "birds.zip", parrot=PARROT, heron=HERON)
    ingest(docs, into=kb)
    id_ = kb.store.document("docs/birds.zip/heron.md").id
    zipped(docs / "birds.zip", heron=HERON, owl=OWL)
    report = ingest(docs, into=kb)
    assert counts(report) == {"added": 1, "removed": 1, "unchanged": 3}
    assert report.embedded == 1
    assert kb.store.document("docs/birds.zip/heron.md").id == id_
    assert [row.source for row in kb.documents() if row.part_of] == [
        "docs/birds.zip/heron.md",
        "docs/birds.zip/owl.md",
    ]
    assert all(hit.source != "docs/birds.zip/parrot.md" for hit in kb.search("parrot"))


def test_a_moved_container_takes_its_documents_along(kb: KnowledgeBase, docs: Path) -> None:
    zipped(docs / "birds.zip", parrot=PARROT, heron=HERON)
    ingest(docs, into=kb)
    (docs / "birds.zip").rename(docs / "sub" / "fowl.zip")
    report = ingest(docs, into=kb)
    assert counts(report) == {"renamed": 2, "unchanged": 2}
    assert report.embedded == 0
    assert kb.search("What does the heron wait for?")[0].source == "docs/sub/fowl.zip/heron.md"
    (docs / "sub" / "fowl.zip").unlink()
    assert counts(ingest(docs, into=kb)) == {"removed": 2, "unchanged": 2}
    assert [row.source for row in kb.documents()] == ["docs/battery.md", "docs/sub/cable.txt"]
    assert kb.store.chunks_table.count_rows() == sum(row.chunks for row in kb.documents())


def test_a_bad_member_is_one_outcome_and_is_tried_again(kb: KnowledgeBase, docs: Path) -> None:
    with zipfile.ZipFile(docs / "birds.zip", "w") as archive:
        archive.writestr("parrot.md", PARROT)
        archive.writestr("broken.docx", b"this is no document")
    report = ingest(docs, into=kb)
    assert counts(report) == {"added": 3, "failed": 1}
    assert [outcome.source for outcome in report.outcomes if outcome.status == "failed"] == [
        "docs/birds.zip/broken.docx"
    ]
    again = ingest(docs, into=kb)
    assert counts(again) == {"failed": 1, "unchanged": 3}
    assert again.embedded == 0


def test_records_are_documents_of_their_file(kb: KnowledgeBase, docs: Path) -> None:
    rows = [
        {"key": f"a{number}", "story": f"Story number {number} is about a duck.", "year": number} for number in (1, 2)
    ]
    path = docs / "stories.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    options = ReadOptions(record_id="key", record_text=("story",))
    assert counts(ingest(docs, into=kb, options=options)) == {"added": 4}
    assert kb.store.document("docs/stories.jsonl#a2").metadata["year"] == "2"
    rows[1]["story"] = "This one is about a goose."
    path.write_text("\n".join(map(json.dumps, rows)))
    report = ingest(docs, into=kb, options=options)
    assert counts(report) == {"updated": 1, "unchanged": 3}
    assert report.embedded == 1


def test_what_would_be_done_is_told_and_not_done(kb: KnowledgeBase, docs: Path) -> None:
    told = ingest(docs, into=kb, dry_run=True)
    assert counts(told) == {"added": 2}
    assert not kb.exists
    ingest(docs, into=kb)
    zipped(docs / "birds.zip", parrot=PARROT, heron=HERON)
    (docs / "battery.md").rename(docs / "akku.md")
    (docs / "sub" / "cable.txt").write_text("another cable")
    version = kb.store.documents_table.version
    requests = kb.embedder.requests
    told = ingest(docs, into=kb, dry_run=True)
    assert counts(told) == {"added": 1, "updated": 1, "renamed": 1}
    assert (kb.store.documents_table.version, kb.embedder.requests) == (version, requests)


def test_progress_ends_with_all_files_done(kb: KnowledgeBase, docs: Path) -> None:
    seen: list[Progress] = []
    report = ingest(docs, into=kb, on_progress=seen.append)
    assert (seen[-1].files_done, seen[-1].files_total) == (2, 2)
    assert (seen[-1].documents, seen[-1].chunks) == (2, report.chunks)
    assert seen[-1].tokens > 0


def test_documents_larger_than_all_that_may_be_under_way_get_through(
    kb: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.flow._UNDER_WAY_BYTES", 5000)
    words = " ".join(f"word{number}" for number in range(1200))
    mail = EmailMessage()
    mail["Subject"] = "Birds"
    mail.set_content(words)
    mail.add_attachment(f"# Heron\n\n{words}".encode(), maintype="text", subtype="markdown", filename="heron.md")
    (docs / "birds.eml").write_bytes(mail.as_bytes())
    (docs / "long.txt").write_text(words)
    report = ingest(docs, into=kb)
    assert counts(report) == {"added": 5}
    assert kb.store.document("docs/birds.eml/heron.md").part_of == kb.store.document("docs/birds.eml").id
