"""A cross-encoder on this machine, as a file that the user names. The only door to onnxruntime and tokenizers."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import rag.errors as errors
from rag.lmstudio.http import Notify, log_notice

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LONGEST = 512  # tokens of question and passage together: what such models are trained with
_TOGETHER = 8  # pairs at once
_FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_PADS = ("[PAD]", "<pad>")


class CrossEncoder:
    """Reads question and passage together and says how well they fit.

    `path` is a folder in Hugging Face's layout, `tokenizer.json` with `model.onnx` or `onnx/model.onnx`, or the `.onnx`
    file itself. Nothing is downloaded. Raises MissingExtra, SourceNotFound, or UsageProblem where a file is not what
    its name says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        model, tokenizer = _files(path.expanduser())
        self._tokenizer = _tokenizer(tokenizer)
        self._session = _session(model)
        self._inputs = {given.name for given in self._session.get_inputs()}
        if not {"input_ids", "attention_mask"} <= self._inputs <= set(_FIELDS):
            raise errors.UsageProblem(f"{model} is no cross-encoder: it takes {', '.join(sorted(self._inputs))}.")

    def relevance(
        self, question: str, passages: Sequence[str], seconds: float, notify: Notify = log_notice
    ) -> list[float | None]:
        """A mark from 0 to 1 for each passage; None for those that `seconds` were too short for, which `notify` says.

        `passages` are best first, and those are read first.
        """
        until = time.monotonic() + seconds
        marks: list[float | None] = [None] * len(passages)
        for first in range(0, len(passages), _TOGETHER):
            if time.monotonic() > until:
                why = f"its {seconds:g} seconds were over"
                notify(f"{self.path} judged {first} of {len(passages)} passages, the others keep their order: {why}")
                break
            batch = passages[first : first + _TOGETHER]
            marks[first : first + len(batch)] = self._marks(question, batch)
        return marks

    def _marks(self, question: str, passages: Sequence[str]) -> list[float | None]:
        encodings = self._tokenizer.encode_batch([(question, passage) for passage in passages])
        inputs = {
            name: np.array([getattr(encoding, _FIELDS[name]) for encoding in encodings], np.int64)
            for name in self._inputs
        }
        with _onnx_errors(self.path):
            logits = np.asarray(self._session.run(None, inputs)[0], np.float64)
        if logits.shape[0] != len(passages) or logits.size // len(passages) not in (1, 2):
            raise errors.UsageProblem(f"{self.path} is no cross-encoder: its answer has the shape {logits.shape}.")
        logits = logits.reshape(len(passages), -1)
        # One number a pair, or one for "no" and one for "yes".
        yes = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
        return [float(mark) for mark in 1 / (1 + np.exp(-np.clip(yes, -50, 50)))]


def _files(path: Path) -> tuple[Path, Path]:
    """The model and its tokenizer. Raises SourceNotFound."""
    folder = path if path.is_dir() else path.parent
    models = [folder / "model.onnx", folder / "onnx" / "model.onnx"] if path.is_dir() else [path]
    tokenizers = [folder / "tokenizer.json", folder.parent / "tokenizer.json"]
    found = [next((file for file in files if file.is_file()), None) for files in (models, tokenizers)]
    if found[0] is None or found[1] is None:
        missing = "tokenizer.json" if found[0] else "model.onnx"
        raise errors.SourceNotFound(
            f"The reranker {path} has no {missing}. RAG_RERANKER names a folder with both, as Hugging Face has them."
        )
    return found[0], found[1]


def _tokenizer(path: Path) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer
    except ImportError as exc:
        raise errors.MissingExtra("The package tokenizers", "rerank") from exc
    try:
        tokenizer: Tokenizer = Tokenizer.from_buffer(path.read_bytes())
    except ValueError as exc:
        raise errors.UsageProblem(f"{path} is no tokenizer: {exc}") from exc
    tokenizer.enable_truncation(_LONGEST)
    pad = next((pad for pad in _PADS if tokenizer.token_to_id(pad) is not None), None)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad) if pad else 0, pad_token=pad or _PADS[0])
    return tokenizer


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as exc:
        raise errors.MissingExtra("The package onnxruntime", "rerank") from exc
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are for those who make models
    with _onnx_errors(path):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def _onnx_errors(path: Path) -> Iterator[None]:
    """Turn onnxruntime's errors, which have no root of their own, into ours."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
    try:
        yield
    except kinds as exc:
        raise errors.UsageProblem(f"The reranker {path} cannot be used: {exc}") from exc
