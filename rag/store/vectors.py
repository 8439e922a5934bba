"""All vectors of a knowledge base replaced by those of another model, in one commit."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rag.store.schema import Origin, chunks_schema
from rag.store.tables import Store, store_errors

_ROWS = 2048  # in memory at once


def passages(store: Store) -> Iterator[list[tuple[str, str]]]:
    """What was embedded, as pairs of its hash and the text, some at a time; a text that stands twice comes twice."""
    for batch in _scanned(store, ["embedded_hash", "searched"]):
        yield list(zip(batch["embedded_hash"].to_pylist(), batch["searched"].to_pylist(), strict=True))


def replace_vectors(
    store: Store, made_with: Origin, vectors: Callable[[Sequence[str]], npt.NDArray[np.float32]]
) -> None:
    """Give every chunk another vector: `vectors` returns them for hashes of what was embedded, a row each.

    Readers see the former vectors with their identity, or all new ones with the new one. The indexes have to be made
    anew after it.
    """
    schema = chunks_schema(*made_with)
    dimension = made_with[0].dimension
    others = [name for name in schema.names if name != "vector"]

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in _scanned(store, others):
            matrix = vectors(batch["embedded_hash"].to_pylist())
            column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), dimension)
            columns = [column if name == "vector" else batch[name] for name in schema.names]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    with store_errors(store.path):
        store.replace_chunks(pa.RecordBatchReader.from_batches(schema, batches()))


def _scanned(store: Store, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with store_errors(store.path):
        yield from store.chunks_table.search().select(list(fields)).to_batches(_ROWS)
