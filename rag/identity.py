"""Whether a model still makes the vectors that an index holds: told by its name and by texts that are embedded again.

The texts are the canaries. Their vectors stand in the index; a model that was swapped, requantised, pooled otherwise or
given other prefixes makes others.
"""

import shlex

import numpy as np

import rag.errors as errors
from rag.lmstudio.embeddings import Embedder, FloatMatrix, FloatVector
from rag.location import Location
from rag.store.schema import CANARY_QUESTION, CANARY_TEXTS, Identity, Origin

# The least cosine of a canary then and now. Measured with MiniLM: the same file gives 1.000000, whatever the batch, the
# neighbours, the threads and the context; the same weights with other arithmetic, as on a graphics card, 0.9997; Q8_0
# for F16 0.9995, which the name alone tells from that; Q5_1 0.990, Q4_0 0.955, another pooling 0.38, fewer layers 0.44.
SIMILAR = 0.998


def made_by(embedder: Embedder, chunk_tokens: int) -> Origin:
    """The identity and the canaries' vectors of an index that this model would make now. Raises ServerError.

    Each text is a request of its own, so that these vectors are right where a server mixes up the order within one.
    """
    rows = [embedder.embed_documents([text])[0] for text in CANARY_TEXTS]
    rows.append(embedder.embed_query(CANARY_QUESTION))
    identity = _identity_of(embedder, len(rows[0]), chunk_tokens)
    return identity, [row.tolist() for row in rows]


def question_vector(path: Location, made_with: Origin, embedder: Embedder, question: str) -> FloatVector:
    """The unit vector of a question, from one request with the canaries. Raises as `check_lead` does."""
    reply = embedder.embed_together(CANARY_TEXTS, (CANARY_QUESTION, question))
    _check(path, made_with, embedder, reply[:-1], reply[-1:])
    vector: FloatVector = reply[-1]
    return vector


def check_lead(path: Location, made_with: Origin, embedder: Embedder, reply: FloatMatrix) -> None:
    """Raise IdentityMismatch where a model makes other vectors than the index at `path` was made with.

    `reply` are the vectors of a request whose first texts were CANARY_TEXTS. Raises BadReply where the server gave them
    in another order.
    """
    _check(path, made_with, embedder, reply[: len(CANARY_TEXTS)], reply[len(CANARY_TEXTS) :])


def _check(path: Location, made_with: Origin, embedder: Embedder, now: FloatMatrix, others: FloatMatrix) -> None:
    identity, canaries = made_with
    mend = f"Use what it was made with, or have its passages embedded anew: {rebuild_command(path)}"
    today = _identity_of(embedder, now.shape[1], identity.chunk_tokens)
    if differences := identity.differences(today):
        raise errors.IdentityMismatch(f"{path} was made with {', '.join(differences)}. {mend}")
    # An index from before there was the question has one canary less.
    then = np.array(canaries, np.float32)[: len(now)]
    if (least := float((then * now[: len(then)]).sum(axis=1).min())) >= SIMILAR:
        return
    if float((np.concatenate([now, others]) @ then.T).max(axis=0).min()) >= SIMILAR:
        raise errors.BadReply(
            f"The server gives the vectors of a request in another order than its texts ({today.embedding_model}). "
            "Update the server; until then, RAG_EMBED_BATCH=1 has one text a request."
        )
    raise errors.IdentityMismatch(
        f"{today.embedding_model} makes other vectors today than when {path} was made (cosine {least:.3f}): the model "
        f"file, its quantisation, its pooling or its prefixes changed. {mend}"
    )


def _identity_of(embedder: Embedder, dimension: int, chunk_tokens: int) -> Identity:
    model, family = embedder.model, embedder.family
    return Identity(
        embedding_model=model.key,
        quantization=model.quantization,
        dimension=dimension,
        query_prefix=family.query_prefix,
        document_prefix=family.document_prefix,
        chunk_tokens=chunk_tokens,
    )


def rebuild_command(path: Location, model: str | None = None) -> str:
    """The command that embeds all passages of a knowledge base anew."""
    chosen = f" --model {shlex.quote(model)}" if model else ""
    return f"rag rebuild{chosen} --kb {shlex.quote(str(path))}"
