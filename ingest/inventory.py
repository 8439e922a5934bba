"""All that an ingest was pointed at: what is to be read, what is not and why, and what may be removed."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.filters import NO_FILTER, Filter, why_absent
from ingest.parse import supported
from ingest.report import FileStatus, Outcome
from ingest.sources import File, Gap, Plan, Scope, compare, scopes, walk
from rag.errors import UsageProblem
from rag.store.schema import DocumentRow

_MOUNT_DOCUMENTS = 10  # an empty folder that held so many is more often a disk that is not there than a wish
_MANY = 20  # from so many documents on, the loss of more than half of them is said aloud


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found: files to look at, files of formats without a reader, folders that tell nothing."""

    scopes: list[Scope]
    files: list[File]
    skipped: list[Outcome]
    gaps: list[Gap]


def look(paths: Sequence[Path], known: Mapping[str, Path], chosen: Filter = NO_FILTER) -> Inventory:
    """Walk all paths. A file of a format without a reader is skipped, unless it was named itself.

    `known` are the roots by name. Raises SourceNotFound or UsageProblem for a path that cannot be what was meant.
    """
    found = scopes(paths, known, chosen)
    files: dict[str, File] = {}
    skipped: dict[str, Outcome] = {}
    gaps: dict[str, Gap] = {}
    for scope in found:
        for entry in walk(scope):
            if isinstance(entry, Gap):
                gaps[entry.source] = entry
            elif not scope.is_folder or entry.problem or supported(entry.path):
                files[entry.source] = entry
            else:
                suffix = entry.path.suffix or "a file without a suffix"
                skipped[entry.source] = Outcome(entry.source, FileStatus.SKIPPED, f"no reader for {suffix}")
    unread = [outcome for source, outcome in skipped.items() if source not in files]
    return Inventory(found, list(files.values()), unread, list(gaps.values()))


def refuse_empty(seen: Inventory, rows: Iterable[DocumentRow], *, yes: bool) -> None:
    """Raise UsageProblem where a folder holds nothing: it is more often a missing mount, or a wrong path, than a wish.

    With `yes` only where nothing is known of the folder either.
    """
    for scope in seen.scopes:
        if any(scope.covers(file.source) for file in seen.files):
            continue
        known = sum(scope.covers(row.source) for row in rows)
        unread = sum(scope.covers(outcome.source) for outcome in seen.skipped)
        detail = f" ({unread} files of formats without a reader)" if unread else ""
        for gap in seen.gaps:
            if gap.reason and gap.path == scope.path:
                raise UsageProblem(f"{scope.path}: {gap.reason}. Nothing was done.")
        chosen = " that the patterns leave in" if scope.chosen.include or scope.chosen.exclude else ""
        if not known:
            raise UsageProblem(f"{scope.path} holds no documents that can be read{chosen}{detail}. Nothing was done.")
        if not yes:
            raise UsageProblem(
                f"{scope.path} holds no documents any more{chosen}{detail}, and the knowledge base knows {known} from "
                "there. Is a disk missing? Nothing was removed; with --yes they will be."
            )


def comparison(
    seen: Inventory, rows: Sequence[DocumentRow], roots: Mapping[str, Path], *, prune: bool, yes: bool
) -> tuple[Plan, list[Outcome]]:
    """What has to be done so that the rows agree with what was seen, and what is to be told of folders.

    What was known of a folder that cannot be listed stays. So does, unless `yes`, what was known of a folder that is
    empty now and held many documents: it looks like a mount that is not there.
    """
    covered = [row for row in rows if any(scope.covers(row.source) for scope in seen.scopes)]
    below: dict[str, int] = {}
    for row in covered:
        for folder in _folders(row.source):
            below[folder] = below.get(folder, 0) + 1
    kept: set[str] = set()
    outcomes: list[Outcome] = []
    for gap in seen.gaps:
        if gap.reason:
            kept.add(gap.source)
            outcomes.append(Outcome(gap.source, FileStatus.FAILED, gap.reason))
        elif prune and not yes and below.get(gap.source, 0) >= _MOUNT_DOCUMENTS:
            kept.add(gap.source)
            reason = f"the folder is empty now; {below[gap.source]} documents from there are kept (--yes removes them)"
            outcomes.append(Outcome(gap.source, FileStatus.SKIPPED, reason))
    in_scope = [row for row in covered if kept.isdisjoint(_folders(row.source))] if prune else []
    lost = {name for name, path in roots.items() if not path.exists()} - {scope.root.name for scope in seen.scopes}
    adrift = [row for row in rows if row.root in lost]
    return compare(seen.files, {row.source: row for row in rows}, in_scope, adrift), outcomes


def _folders(source: str) -> Iterator[str]:
    at = source.find("/")
    while at != -1:
        yield source[:at]
        at = source.find("/", at + 1)


def why_removed(seen: Inventory, row: DocumentRow) -> str:
    """Why a document is removed: its file is gone, or something leaves it out now."""
    for scope in seen.scopes:
        if scope.covers(row.source):
            path = scope.root.path / row.source.partition("/")[2]
            if os.path.lexists(path) and scope.is_folder:
                return why_absent(path, scope.path, scope.root.path, scope.chosen)
    return "the file is gone"


def great_loss(plan: Plan) -> str:
    """A sentence to say before more than half of many documents are removed; "" otherwise."""
    stay = len(plan.unchanged) + len(plan.touched) + len(plan.renamed) + len(plan.changed)
    if len(plan.removed) < _MANY or len(plan.removed) <= stay:
        return ""
    return f"{len(plan.removed)} of {stay + len(plan.removed)} known documents are gone and will be removed."
