"""How the service is to run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Sizes are in bytes; `images` are the folders whose images may be shown to a model.

    `shared` is a folder of this run where several processes serve, see rag/service/workers.py.
    """

    host: str = "127.0.0.1"
    port: int = 8009
    token: str | None = None
    read_only: bool = False  # documents are neither added nor removed
    images: tuple[Path, ...] = ()
    asks_at_once: int = 4  # a llama.cpp server answers four chats at 2.6 times the speed of one after the other
    asks_waiting: int = 64
    most_body_bytes: int = 4 << 20
    most_upload_bytes: int = 512 << 20
    most_files: int = 100  # in one upload
    shared: Path | None = None
