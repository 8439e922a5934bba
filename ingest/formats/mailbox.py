"""Mailboxes in one file (mbox): its messages, one after another."""

import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from ingest.members import Budget, Member, Unread

_QUOTED = re.compile(rb">+From ")
_LINE = 1 << 20
_NEW_MESSAGE = re.compile(rb"From \S")


def messages(stream: BinaryIO, source: str, budget: Budget) -> Iterator[Member | Unread]:
    """The messages of an mbox as mails named `000001` and so on; one that is too big is Unread.

    A message starts with `From ` behind an empty line; lines that quote it have their mark removed.
    """
    number = 0
    lines: list[bytes] = []
    size = 0
    after_blank = True
    most = budget.options.max_document_bytes

    def finished() -> Iterator[Member | Unread]:
        name = f"{number:06}"
        if size > most:
            yield Unread(f"{source}/{name}", f"the message is larger than {most >> 20} MiB")
        elif number:
            data = b"".join(lines)
            yield Member(name, lambda: io.BytesIO(data), ".eml")

    while line := stream.readline(_LINE):
        if after_blank and _NEW_MESSAGE.match(line):
            yield from finished()
            budget.count_member()
            number += 1
            lines, size = [], 0
        else:
            size += len(line)
            if size <= most:
                lines.append(line[1:] if _QUOTED.match(line) else line)
        after_blank = line in {b"\n", b"\r\n"}
    yield from finished()
