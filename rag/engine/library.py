"""The model files on this machine: finds GGUF files and says what they are."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rag.engine.catalogue import DEMO_MODELS, DemoModel
from rag.engine.header import GgufHeader, NotGguf, read_header

Kind = Literal["llm", "embedding"]

# LM Studio decides by an allowlist too: a file says nothing about what it is for.
_EMBEDDING_ARCHITECTURES = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert", "modern-bert", "eurobert"}
    | {"gemma-embedding", "t5encoder"}
)
_EMBEDDING_NAME = re.compile(r"(?i)(^|[-_./])(embed(ding)?|bge|e5|gte)([-_.]|$)")
_NOT_MODELS = frozenset({"clip"})  # the vision half of a model

# llama.cpp's file types. A type that is missing here is read off the file's name.
_FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S"}
_FILE_TYPES |= {12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K"}
_FILE_TYPES |= {19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL"}
_FILE_TYPES |= {26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16"}
_QUANTIZATION = re.compile(r"(?i)[-._]((?:UD-)?I?Q\d(?:_[A-Z0-9]+)*|F16|F32|BF16|MXFP4)$")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")


@dataclass(frozen=True, slots=True)
class Model:
    """One model file, as far as its header tells."""

    key: str
    kind: Kind
    publisher: str
    display_name: str
    architecture: str
    quantization: str | None
    size_bytes: int
    params: str | None
    max_context_length: int
    tool_use: bool
    pooled: bool
    """The header names a pooling; without one, embeddings are averaged."""
    kv_bytes_per_token: int
    path: Path

    @property
    def bits_per_weight(self) -> int | None:
        """The nominal width, as LM Studio shows it: 4 for Q4_K_M."""
        digits = re.search(r"\d+", self.quantization or "")
        return int(digits.group()) if digits else None


class Library:
    """The GGUF files below some folders, in LM Studio's layout publisher/repository/file.gguf.

    Headers are read once per path, time and size; where two folders hold the same key, the earlier folder has it.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = tuple(folders)
        self._read: dict[tuple[Path, int, int], Model | None] = {}

    def models(self) -> list[Model]:
        """Return what is there now, each under a key of its own."""
        found: dict[str, Model] = {}
        for folder in self.folders:
            for path in _model_files(folder):
                model = self._model(folder, path)
                if model is None:
                    continue
                key = model.key
                if key in found:
                    if found[key].path.name == path.name:
                        continue
                    key = f"{key}@{(model.quantization or path.stem).casefold()}"
                found.setdefault(key, replace(model, key=key))
        return list(found.values())

    def find(self, key: str) -> Model | None:
        """Return the model with that key, in any letter case."""
        wanted = key.casefold()
        return next((model for model in self.models() if model.key.casefold() == wanted), None)

    def _model(self, folder: Path, path: Path) -> Model | None:
        try:
            stat = path.stat()
        except OSError:
            return None
        mark = (path, stat.st_mtime_ns, stat.st_size)
        if mark not in self._read:
            try:
                self._read[mark] = describe(folder, path, read_header(path))
            except (NotGguf, OSError):
                self._read[mark] = None
        return self._read[mark]


def _model_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.gguf")) if folder.is_dir() else ():
        shard = _SHARD.search(path.stem)
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not path.name.startswith("mmproj") and (shard is None or int(shard.group(1)) == 1):
            yield path


def describe(folder: Path, path: Path, header: GgufHeader) -> Model | None:
    """Return the row for a model file below `folder`, or None where the file is not a model of its own."""
    architecture = header.text("general.architecture")
    if architecture is None or architecture in _NOT_MODELS:
        return None
    inside = path.relative_to(folder)
    demo = next((model for model in DEMO_MODELS if model.file == inside.as_posix()), None)
    stem = _SHARD.sub("", path.stem)
    named = _QUANTIZATION.search(stem)
    bare = stem[: named.start()] if named else stem
    quantization = _FILE_TYPES.get(header.number("general.file_type") or 0) or (
        named.group(1).upper() if named else None
    )
    if named and header.number("general.file_type") not in _FILE_TYPES:
        quantization = named.group(1).upper()
    kind = demo.kind if demo else _kind(architecture, header, bare)
    return Model(
        key=_key(demo, kind, bare),
        kind=kind,
        publisher=inside.parts[0] if len(inside.parts) > 1 else "unknown",
        display_name=demo.display_name if demo else header.text("general.name") or bare,
        architecture=architecture,
        quantization=quantization,
        size_bytes=sum(part.stat().st_size for part in _shards(path)),
        params=header.text("general.size_label") or _short_count(header.parameters),
        max_context_length=header.number(f"{architecture}.context_length") or 2048,
        tool_use="tools" in (header.text("tokenizer.chat_template") or ""),
        pooled=bool(header.number(f"{architecture}.pooling_type")),
        kv_bytes_per_token=_kv_bytes_per_token(architecture, header),
        path=path,
    )


def _key(demo: DemoModel | None, kind: Kind, bare: str) -> str:
    if demo:
        return demo.key
    name = bare.casefold()
    return f"text-embedding-{name}" if kind == "embedding" and not name.startswith("text-embedding-") else name


def _kind(architecture: str, header: GgufHeader, name: str) -> Kind:
    if architecture in _EMBEDDING_ARCHITECTURES:
        return "embedding"
    pooled = bool(header.number(f"{architecture}.pooling_type"))
    return "embedding" if pooled and _EMBEDDING_NAME.search(name) else "llm"


def _shards(path: Path) -> list[Path]:
    shard = _SHARD.search(path.stem)
    if shard is None:
        return [path]
    return sorted(path.parent.glob(f"{path.stem[: shard.start()]}-*-of-{shard.group(2)}.gguf"))


def _short_count(parameters: int) -> str | None:
    if parameters >= 10**9:
        return f"{parameters / 10**9:.1f}".removesuffix(".0") + "B"
    return f"{parameters // 10**6}M" if parameters >= 10**6 else None


def _kv_bytes_per_token(architecture: str, header: GgufHeader) -> int:
    """Return how much one token of context takes in the F16 key-value cache; 0 where the header does not tell."""
    layers = header.number(f"{architecture}.block_count") or 0
    heads = header.number(f"{architecture}.attention.head_count") or 1
    kv_heads = header.number(f"{architecture}.attention.head_count_kv") or heads
    width = (header.number(f"{architecture}.embedding_length") or 0) // heads
    key = header.number(f"{architecture}.attention.key_length") or width
    value = header.number(f"{architecture}.attention.value_length") or width
    return 2 * layers * kv_heads * (key + value)
