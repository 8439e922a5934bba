"""Zip files that come out the same on every run."""

import io
import re
import zipfile

STAMP = (2025, 1, 1, 0, 0, 0)
_TIMES = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*(</dcterms:)")


def pack(members: list[tuple[str, bytes]], stored: frozenset[str] = frozenset()) -> bytes:
    """Return a zip archive of the members, in their order; those named in `stored` are not compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, STAMP)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=9)
    return buffer.getvalue()


def freeze(content: bytes) -> bytes:
    """Rewrite an Office file with fixed times, in the archive and in its core properties."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist() if not name.endswith("thumbnail.jpeg")]
    fixed = []
    for name, data in members:
        if name == "docProps/core.xml":
            data = _TIMES.sub(rb"\g<1>2025-01-01T00:00:00Z\g<2>", data)
        elif name == "_rels/.rels":
            data = re.sub(rb"<Relationship [^>]*thumbnail\.jpeg[^>]*/>", b"", data)
        fixed.append((name, data))
    return pack(fixed)
