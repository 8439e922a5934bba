"""The files inside an Office file from before 2007. The only door to olefile."""

import io
from collections.abc import Iterable

from rag.errors import UnreadableDocument


def streams(data: bytes, source: str, names: Iterable[str]) -> dict[str, bytes]:
    """The streams of these names that stand at the top of the file, those that it has.

    Raises UnreadableDocument for a damaged container, and for one that holds a present-day Office file in encrypted
    form.
    """
    import olefile  # type: ignore[import-untyped]

    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            if container.exists("EncryptedPackage"):
                raise UnreadableDocument(f"{source} is encrypted; save it without a password")
            return {name: container.openstream(name).read() for name in names if container.exists(name)}
    except OSError as exc:  # olefile's own errors are OSErrors, too
        raise UnreadableDocument(f"{source} is damaged: {exc}") from exc
