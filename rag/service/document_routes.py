"""/api/kb/documents: list, upload, read at a place, see a page, fetch the file, remove."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, File, Query, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

import rag.errors as errors
from ingest.formats.page_image import page_png
from rag.knowledge_base import KnowledgeBase
from rag.search.where import all_of
from rag.service.desk import Desk, TheDesk
from rag.service.forms import DocumentForm, DocumentsForm, Paths, RemovedForm, Source, TextForm, Where
from rag.service.problems import KNOWLEDGE, Refused, SafeJson, told
from rag.service.streams import COMMENT, error_event, event_stream
from rag.service.uploads import Event, forget, is_upload, read, receive
from rag.source_view import file_of_its_own
from rag.store.schema import DocumentRow
from rag.web.sse import event
from rag.web.threads import Notice, Put, Silence

PATH = "/api/kb/documents"
router = APIRouter(prefix=PATH, tags=["documents"], default_response_class=SafeJson)

_AROUND = 1500  # characters shown on both sides of a quote
_MOST_AROUND = 100_000
_FAR = 2**53  # JSON's largest whole number that every reader takes as it is

_EVENTS = (
    "Server-sent events, as the lines of `ingest --json`: `status` {message}, `plan` {total}, `progress` {files_done, "
    "files_total, chunks, eta_s}, `file` {source, status, reason, …} as each is final, at last `report` {added, "
    "updated, failed, …} or `error` {error}. Who hangs up stops nothing."
)

SourceQuery = Annotated[Source, Query()]
Offset = Annotated[int, Query(ge=0, le=_FAR)]


@router.get("", responses=KNOWLEDGE, summary="List documents")
def documents(
    desk: TheDesk,
    where: Annotated[Where, Query()] = [],  # noqa: B006  FastAPI copies it
    paths: Annotated[Paths, Query()] = [],  # noqa: B006
    failed: Annotated[bool, Query(description="Only those that could not be read.")] = False,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> DocumentsForm:
    """Documents by source, all or those that the filters select."""
    if not desk.kb.exists:
        return DocumentsForm(total=0, documents=[])
    everything = desk.kb.documents(where=all_of(where), paths=paths)
    rows = [row for row in everything if not failed or row.status == "failed"]
    shown = [_document(desk.kb, row) for row in rows[offset : offset + limit]]
    return DocumentsForm(total=len(rows), documents=shown)


@router.post(
    "",
    responses=told(400, 409) | {200: {"description": _EVENTS, "content": {"text/event-stream": {}}}},
    summary="Upload documents",
    response_class=Response,
)
async def upload(desk: TheDesk, files: Annotated[list[UploadFile], File(description="One file or more.")]) -> Response:
    """Keep files in the knowledge base's folder and read them; one of the same name is replaced."""
    if len(files) > desk.options.most_files:
        raise errors.UsageProblem(f"{len(files)} files came at once; the most is {desk.options.most_files}.")
    _take_turn(desk)
    try:
        kept = await run_in_threadpool(receive, desk.kb, [(file.filename, file.file) for file in files])
    except BaseException:
        desk.ingesting.release()
        raise

    def work(put: Put[Event]) -> None:
        try:
            report = read(desk.kb, kept, put)
        finally:
            desk.ingesting.release()
        for name in ("added", "updated", "unchanged", "failed"):
            desk.metrics.documents.labels(name).inc(getattr(report, name))

    return event_stream(_events(desk.threads.run(work, to_the_end=True)), error_event)


@router.delete("", responses=KNOWLEDGE, summary="Remove a document")
def remove(desk: TheDesk, source: SourceQuery) -> RemovedForm:
    """Remove a document, or all below a folder; the file goes with it only where it came by an upload."""
    _take_turn(desk)
    try:
        return RemovedForm(removed=forget(desk.kb, source))
    finally:
        desk.ingesting.release()


@router.get("/text", responses=KNOWLEDGE, summary="Read a document at a place")
def text(
    desk: TheDesk,
    source: SourceQuery,
    start: Offset = 0,
    end: Annotated[int | None, Query(ge=0, le=_FAR, description="Default: `start`, which marks nothing.")] = None,
    around: Annotated[int, Query(ge=0, le=_MOST_AROUND, description="Characters on both sides.")] = _AROUND,
) -> TextForm:
    """The quote from `start` to `end`, and what stands before and behind it."""
    row = desk.kb.store.document(source)
    whole = desk.kb.text(source)
    first = min(start, len(whole))
    last = min(max(first, start if end is None else end), len(whole), first + _MOST_AROUND)
    before, after = whole[max(0, first - around) : first], whole[last : last + around]
    return TextForm(
        source=source,
        title=row.title,
        length=len(whole),
        start=first,
        end=last,
        before=before,
        quote=whole[first:last],
        after=after,
        more_before=first > len(before),
        more_after=last + len(after) < len(whole),
    )


@router.get(
    "/page",
    responses=KNOWLEDGE | told(415) | {200: {"content": {"image/png": {}}}},
    response_class=Response,
    summary="See a page of a PDF",
)
def page(
    desk: TheDesk,
    source: SourceQuery,
    page: Annotated[int, Query(ge=1, le=100_000)],
    box: Annotated[
        str | None,
        Query(
            pattern=r"^\d{1,6}(\.\d{1,20})?(,\d{1,6}(\.\d{1,20})?){3}$",
            description="What to mark, as citations have it: left,top,right,bottom.",
            examples=["72,100,300.5,140"],
        ),
    ] = None,
    width: Annotated[int, Query(ge=100, le=3000, description="Pixels.")] = 1000,
) -> Response:
    """The page as a PNG, drawn from the file as it is now. 415 where the file is no PDF, or damaged."""
    found = file_of_its_own(desk.kb, source)
    edges = [float(edge) for edge in box.split(",")] if box else []
    drawn = page_png(found, page, width, (edges[0], edges[1], edges[2], edges[3]) if edges else None)
    return Response(drawn, media_type="image/png", headers={"Cache-Control": "private, max-age=60"})


@router.get(
    "/file",
    responses=KNOWLEDGE | {200: {"content": {"application/octet-stream": {}}}},
    response_class=Response,
    summary="Fetch a document's file",
)
def file(desk: TheDesk, source: SourceQuery) -> FileResponse:
    """The file as it lies on the disk, to be saved: a browser must not show what a document says as a page of ours."""
    path = file_of_its_own(desk.kb, source)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


def _document(kb: KnowledgeBase, row: DocumentRow) -> DocumentForm:
    return DocumentForm(
        source=row.source,
        title=row.title,
        parser=row.parser,
        status=row.status,
        error=row.error,
        chunks=row.chunks,
        size=row.size,
        modified=row.mtime_ns // 1_000_000_000,
        indexed_at=row.indexed_at,
        language=row.language,
        metadata=row.metadata,
        uploaded=is_upload(kb, row.source),
    )


def _take_turn(desk: Desk) -> None:
    """Take the turn to change the knowledge base. Raises Refused, a 409 where another request has it."""
    if desk.options.read_only:
        message = "This service only reads. Add and remove documents where the knowledge base is written."
        raise Refused(403, message, "read_only")
    if not desk.ingesting.acquire():
        message = "Documents are being read already. Wait for them, and try again."
        raise Refused(409, message, "knowledge_base_busy", {"Retry-After": "10"})


async def _events(steps: AsyncGenerator[Event | Notice | Silence, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(steps):
        async for step in steps:
            match step:
                case Silence():
                    yield COMMENT
                case Notice():
                    yield event({"message": step.message}, "status")
                case (name, said):
                    yield event(said, name)
