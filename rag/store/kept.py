"""What models wrote of parts of documents or of pictures, kept so that it need not be written twice."""

import json
import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path

_MOST_BYTES = 8_000_000


class Kept:
    """Texts in one file, by the name of what they were made from; the oldest go first.

    What cannot be kept is made again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str) -> str | None:
        """What was written of it, None where that is not known."""
        return self._known.get(name)

    def add(self, name: str, said: str) -> None:
        """Keep it."""
        self._known[name] = said
        line = json.dumps({"name": name, "said": said}, ensure_ascii=False) + "\n"
        with suppress(OSError):  # a knowledge base may lie where nothing can be written
            self._path.parent.mkdir(parents=True, exist_ok=True)  # that of a bucket's is made when it is needed
            with self._path.open("ab") as file:
                file.write(line.encode("utf-8", "surrogatepass"))

    @cached_property
    def _known(self) -> dict[str, str]:
        try:
            content = self._path.read_bytes()
        except OSError:
            return {}
        if len(content) > _MOST_BYTES:
            content = content[-_MOST_BYTES // 2 :].partition(b"\n")[2]
            with suppress(OSError):
                unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
                unfinished.write_bytes(content)
                unfinished.replace(self._path)
        known = {}
        for line in content.splitlines():
            with suppress(ValueError, KeyError, TypeError):  # the last one of a process that was killed
                value = json.loads(line)
                known[str(value["name"])] = str(value["said"])
        return known
