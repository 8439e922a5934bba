"""The vectors of a knowledge base: found by the hash of what was embedded, or replaced by those of another model."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rag.store.lance import col
from rag.store.schema import Origin, chunks_schema
from rag.store.tables import Store, store_errors

_ROWS = 2048  # in memory at once
_HALF = 16  # hexadecimal digits of 64 bits
_NAMES = 1000  # asked for at once: a filter of a hundred thousand names takes minutes to plan


def stored_hashes(store: Store) -> npt.NDArray[np.uint64]:
    """The first half of each hash of what was embedded that the chunks table holds, in order.

    A hash whose half is not there has no vector in the store: most texts of a run are new, and asking the table
    for each of them costs more than embedding them.
    """
    with store_errors(store.path):
        found = [np.zeros(0, np.uint64)]
        for batch in store.chunks_table.search().select(["embedded_hash"]).to_batches(65536):
            halves = "".join(pc.utf8_slice_codeunits(batch.column(0), 0, _HALF).to_pylist())
            found.append(np.frombuffer(bytes.fromhex(halves), ">u8").astype(np.uint64))
    return np.sort(np.concatenate(found))


def stored_vectors(store: Store, hashes: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Vectors that the store already holds, by the hash of what was embedded."""
    found: dict[str, npt.NDArray[np.float32]] = {}
    wanted = sorted(set(hashes))
    for begin in range(0, len(wanted), _NAMES):
        with store_errors(store.path):
            table = (
                store.chunks_table.search()
                .where(col("embedded_hash").isin(wanted[begin : begin + _NAMES]))
                .select(["embedded_hash", "vector"])
                .to_arrow()
            )
        vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        matrix = vectors.reshape(-1, store.identity.dimension).astype(np.float32)
        found |= zip(table["embedded_hash"].to_pylist(), matrix, strict=True)
    return found


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
