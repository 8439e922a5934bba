"""What the tables hold, and the identity that an index carries."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pyarrow as pa

FORMAT = 3  # raise it when a table changes so that an older program would read it wrongly

_IDENTITY_KEY = b"lmstudio-rag.identity"
_CANARIES_KEY = b"lmstudio-rag.canaries"

# Embedded as documents; the question after them is embedded as a question.
CANARY_TEXTS = (
    "The warranty covers the battery for twenty-four months.",
    "Die Wartung erfolgt alle sechs Monate durch einen Fachbetrieb.",
    "def area(radius: float) -> float: return 3.14159 * radius ** 2",
)
CANARY_QUESTION = "How long does the warranty cover the battery?"

Canaries = list[list[float]]


@dataclass(frozen=True, slots=True)
class Identity:
    """What the vectors of an index depend on; vectors of two identities must not be compared."""

    embedding_model: str
    quantization: str | None
    dimension: int
    query_prefix: str
    document_prefix: str
    chunk_tokens: int
    format: int = FORMAT

    def differences(self, other: "Identity") -> list[str]:
        """What differs and makes vectors incomparable, in words: `dimension 384, not 768`.

        A quantisation that a server does not tell differs from none.
        """
        mine, theirs = asdict(self), asdict(other)
        names = ("embedding_model", "dimension", "query_prefix", "document_prefix")
        differing = [name for name in names if mine[name] != theirs[name]]
        if self.quantization and other.quantization and self.quantization.upper() != other.quantization.upper():
            differing.append("quantization")
        return [f"{name.replace('_', ' ')} {mine[name]!r}, not {theirs[name]!r}" for name in differing]


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One document as the store knows it.

    `source` is unique: the root's name and the POSIX path below it. `revision` names the chunks that belong to it: a
    chunk of another revision does not count. `status` is `ok`, or `failed` with the reason in `error`; a document that
    failed after it had been read once keeps its former text and chunks. A file of several documents has a row of its
    own, without text and chunks, whose id is the `part_of` of its documents' rows ("" for all other rows).
    """

    id: str
    source: str
    root: str
    content_hash: str
    size: int
    mtime_ns: int
    revision: str
    title: str
    parser: str
    status: str
    error: str
    chunks: int
    indexed_at: int  # seconds since 1970
    part_of: str = ""
    language: str = ""  # ISO 639-1, "" where it is not known
    metadata: dict[str, str] = field(default_factory=dict)

    def to_values(self) -> dict[str, Any]:
        """The row as the table holds it, but for the text."""
        values = {name.name: getattr(self, name.name) for name in fields(self)}
        return {**values, "metadata": json.dumps(self.metadata, ensure_ascii=False) if self.metadata else ""}


def rows_of(table: pa.Table) -> dict[str, DocumentRow]:
    """The documents of a table with the columns of a DocumentRow in order, by id. There may be a million."""
    *columns, metadata = (table[name.name].to_pylist() for name in fields(DocumentRow))
    parsed = json.loads(f"[{','.join(one or '{}' for one in metadata)}]")  # at once: a tenth of the time
    return {row.id: row for row in map(DocumentRow, *columns, parsed)}


def parsed_metadata(stored: str) -> dict[str, str]:
    """A document's metadata out of what its row holds."""
    metadata: dict[str, str] = json.loads(stored) if stored else {}
    return metadata


DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("root", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("parser", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("chunks", pa.int32(), nullable=False),
        pa.field("indexed_at", pa.int64(), nullable=False),
        pa.field("part_of", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),  # JSON, "" for none
        pa.field("text", pa.large_string(), nullable=False),
    ]
)

ROOTS = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("path", pa.string(), nullable=False)])


Origin = tuple[Identity, Canaries]  # what an index was made with


def chunks_schema(identity: Identity, canaries: Canaries) -> pa.Schema:
    """The chunks table for one identity, which travels in the schema's metadata with the canaries' vectors."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("document_id", pa.string(), nullable=False),
            pa.field("revision", pa.string(), nullable=False),
            pa.field("ordinal", pa.int32(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("start", pa.int64(), nullable=False),
            pa.field("end", pa.int64(), nullable=False),
            pa.field("page", pa.int32()),
            pa.field("box", pa.list_(pa.float32(), 4)),
            pa.field("headings", pa.list_(pa.string()), nullable=False),
            pa.field("context", pa.string(), nullable=False),
            pa.field("searched", pa.string(), nullable=False),  # context and text, as embedded
            pa.field("words", pa.string(), nullable=False),  # theirs, stemmed: what full-text search sees
            pa.field("embedded_hash", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), identity.dimension), nullable=False),
        ],
        metadata={_IDENTITY_KEY: json.dumps(asdict(identity)).encode(), _CANARIES_KEY: json.dumps(canaries).encode()},
    )


def identity_of(schema: pa.Schema) -> Origin | None:
    """The identity and the canaries' vectors that a chunks table carries; None where it is not one of ours."""
    metadata: dict[bytes, bytes] = schema.metadata or {}
    if _IDENTITY_KEY not in metadata:
        return None
    values: dict[str, Any] = json.loads(metadata[_IDENTITY_KEY])
    return Identity(**values), json.loads(metadata[_CANARIES_KEY])
