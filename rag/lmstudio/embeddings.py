"""Texts to vectors: the family's prefixes, batches, and every check that the server leaves out."""

import json
import threading
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

import rag.errors as errors
from rag.lmstudio.families import Family, estimated_tokens, family_of
from rag.lmstudio.http import Notify, log_notice
from rag.lmstudio.residency import LoadedModel, Resident, check_answering
from rag.settings import Settings
from rag.tokens import count

FloatVector = npt.NDArray[np.float32]  # 1-D
FloatMatrix = npt.NDArray[np.float32]  # 2-D, one row a text

_MARGIN = 0.9  # of the context is used; the token count is an estimate
_UNKNOWN_CONTEXT = 512  # where the server does not say: what the smallest embedding models take


class Embedder:
    """Turns texts into unit vectors by the server's embedding model.

    Nothing is cut silently, as LM Studio does: a text too long for the model is embedded in parts and the mean of
    their vectors, weighted by length, is normalised again. `parts_made` counts these. Safe to share between threads.
    """

    def __init__(self, settings: Settings, wanted: str | None = None, notify: Notify = log_notice) -> None:
        self._settings = settings
        needed = 2 * settings.chunk_tokens + 100  # a chunk by another tokenizer, its headings and the prefix
        self._resident = Resident(settings, "embedding", wanted or settings.embedding_model, needed, notify)
        self._dimension: int | None = None
        self.requests = 0
        self.parts_made = 0
        self._counting = threading.Lock()

    @property
    def model(self) -> LoadedModel:
        """The loaded model. Raises ServerError."""
        return self._resident.model

    @cached_property
    def family(self) -> Family:
        """What is known of the model's family."""
        return family_of(self.model.key)

    @property
    def capacity(self) -> int:
        """How many tokens, by `fits`' estimate, one input may have."""
        context = self.model.context_length or _UNKNOWN_CONTEXT
        return int(min(context, self.family.longest_input or context) * _MARGIN)

    def close(self) -> None:
        """Close the connection; the model stays loaded."""
        self._resident.close()

    def fits(self, text: str) -> bool:
        """Whether a text, with the document prefix, is surely embedded whole."""
        whole = self.family.document_prefix + text
        return estimated_tokens(whole, count(whole), self.family) <= self.capacity

    def embed_documents(self, texts: Sequence[str], estimates: Sequence[int] | None = None) -> FloatMatrix:
        """Unit vectors for texts that will be searched, shape (len(texts), dimension). Raises ServerError.

        `estimates` are the texts' lengths as `estimated_tokens` tells them, with the document prefix, where the caller
        has counted already.
        """
        prefix = self.family.document_prefix
        return self._embed([(prefix, text) for text in texts], estimates)

    def embed_query(self, text: str) -> FloatVector:
        """The unit vector for a question. Raises ServerError."""
        vector: FloatVector = self.embed_together((), (text,))[0]
        return vector

    def embed_together(self, documents: Sequence[str], questions: Sequence[str]) -> FloatMatrix:
        """Unit vectors for texts that will be searched and then for questions, in one request. Raises ServerError."""
        family = self.family
        texts = [(family.document_prefix, text) for text in documents]
        return self._embed(texts + [(family.query_prefix, text) for text in questions])

    def _embed(self, texts: Sequence[tuple[str, str]], estimates: Sequence[int] | None = None) -> FloatMatrix:
        """Unit vectors for pairs of a prefix and a text."""
        if any(not text.strip() for _, text in texts):
            raise ValueError("a blank text has no vector")
        parts: list[str] = []
        owner: list[int] = []
        capacity = self.capacity
        for index, (prefix, text) in enumerate(texts):
            fits = estimates is not None and estimates[index] <= capacity
            pieces = [prefix + text] if fits else self._parts(text, prefix)
            parts += pieces
            owner += [index] * len(pieces)
        with self._counting:
            self.parts_made += len(parts) - len(texts)
        batch = self._settings.embed_batch
        with self._resident.busy():
            rows = [
                self._resident.using(partial(self._request, texts=parts[begin : begin + batch]))
                for begin in range(0, len(parts), batch)
            ]
        matrix: FloatMatrix = np.concatenate(rows) if rows else np.zeros((0, self._dimension or 0), np.float32)
        if len(parts) == len(texts):
            return matrix
        weighted = np.zeros((len(texts), matrix.shape[1]), np.float32)
        np.add.at(weighted, owner, matrix * np.array([[len(part)] for part in parts], np.float32))
        return _unit(weighted)

    def _parts(self, text: str, prefix: str) -> list[str]:
        """The text with its prefix, halved until every part fits."""
        whole = prefix + text
        if len(text) <= 16 or estimated_tokens(whole, count(whole), self.family) <= self.capacity:
            return [whole]
        middle = text.rfind(" ", 1, len(text) // 2 + 1)
        middle = middle if middle > len(text) // 4 else len(text) // 2
        halves = (half for half in (text[:middle], text[middle:]) if half.strip())
        return [part for half in halves for part in self._parts(half, prefix)]

    def _request(self, model: LoadedModel, texts: list[str]) -> FloatMatrix:
        """One call, not through the openai client: its import takes half a second, and it makes an object a number."""
        connection = self._resident.connection
        with self._counting:
            self.requests += 1
        # Always float: LM Studio ignores base64, and decodes nothing that asks for it.
        request = {"model": model.instance_id, "input": texts, "encoding_format": "float"}
        body = connection.request("POST", "/v1/embeddings", request | self._resident.request_fields)
        check_answering(model, body.get("model") if isinstance(body, dict) else None)
        return self._checked(body, len(texts))

    def _checked(self, body: dict[str, object], wanted: int) -> FloatMatrix:
        """The vectors in input order. Raises BadReply for a wrong count, order, dimension, or a vector that is none."""
        rows = body.get("data")
        if not isinstance(rows, list) or len(rows) != wanted:
            got = len(rows) if isinstance(rows, list) else json.dumps(body)[:200]
            raise errors.BadReply(f"Asked for {wanted} embeddings, got {got}.")
        if sorted(row.get("index", at) for at, row in enumerate(rows)) != list(range(wanted)):
            raise errors.BadReply("The embeddings' indexes do not match the inputs.")
        rows.sort(key=lambda row: row.get("index", 0))
        try:
            matrix: FloatMatrix = np.array([row["embedding"] for row in rows], np.float32)
        except (ValueError, TypeError, KeyError) as exc:
            raise errors.BadReply(f"The embeddings are not lists of numbers of one length: {exc}") from exc
        if matrix.ndim != 2 or matrix.shape[1] == 0:
            raise errors.BadReply(f"The embeddings have the shape {matrix.shape}, not one row of numbers a text.")
        if self._dimension not in (None, matrix.shape[1]):
            raise errors.BadReply(f"The embeddings changed from {self._dimension} to {matrix.shape[1]} dimensions.")
        if not np.isfinite(matrix).all() or (np.linalg.norm(matrix, axis=1) < 1e-6).any():
            raise errors.BadReply("An embedding is zero or not finite.")
        self._dimension = matrix.shape[1]
        return _unit(matrix)


def _unit(matrix: FloatMatrix) -> FloatMatrix:
    normalised: FloatMatrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return normalised
