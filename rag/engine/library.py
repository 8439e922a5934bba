"""The model files on this machine: finds GGUF files and says what they are."""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rag.engine.catalogue import DEMO_MODELS, DemoModel
from rag.engine.header import GgufHeader, NotGguf, read_header
from rag.engine.quantization import is_projector, rank, shard_of, split_name, unsharded

log = logging.getLogger("rag.engine")

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
    reasoning: tuple[str, ...] = ()
    """The settings of reasoning that its chat template knows, the default first."""
    projector: Path | None = None
    """The vision half that lies beside it."""
    variants: tuple[str, ...] = ()
    """Where the repository has several quantizations: each as key@quantization, the one that the key means first."""

    @property
    def bits_per_weight(self) -> int | None:
        """The nominal width, as LM Studio shows it: 4 for Q4_K_M."""
        digits = re.search(r"\d+", self.quantization or "")
        return int(digits.group()) if digits else None


class Library:
    """The GGUF files below some folders, in LM Studio's layout publisher/repository/file.gguf.

    Several quantizations of one model in one repository are one model with variants, as in LM Studio's list: the key
    means the one that comes first in the order of preference, whichever files came first, and `key@quantization` each.
    Two repositories with a model of the same name get the publisher before their keys, but for the first. Headers are
    read once per path, time and size; where two folders hold the same file, the earlier folder's counts.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = tuple(folders)
        self._read: dict[tuple[Path, int, int, int], Model | None] = {}

    def models(self) -> list[Model]:
        """Return what is there now, each under a key of its own; of several quantizations the one that it means."""
        return [variants[0] for variants in self._families()]

    def find(self, key: str) -> Model | None:
        """Return the model with that key, or that variant, in any letter case."""
        wanted = key.casefold()
        for variants in self._families():
            if variants[0].key.casefold() == wanted:
                return variants[0]
            names = [name.casefold() for name in variants[0].variants]
            if wanted in names:
                return variants[names.index(wanted)]
        return None

    def _families(self) -> list[list[Model]]:
        """Return the models with their variants, the one that the key means first."""
        repositories: dict[tuple[str, str], dict[str, Model]] = {}
        for folder in self.folders:
            for path in _model_files(folder):
                if model := self._model(folder, path):
                    place = path.parent.relative_to(folder).as_posix()
                    repositories.setdefault((place, model.key), {}).setdefault(path.name, model)
        families: dict[str, list[Model]] = {}
        for (place, name), files in repositories.items():
            models = sorted(files.values(), key=lambda model: (rank(model.quantization), model.path.name))
            names = (name, f"{models[0].publisher.casefold()}/{name}", f"{place.casefold()}/{name}")
            key = next(one for one in names if one not in families)
            families[key] = _variants(key, models)
        return list(families.values())

    def _model(self, folder: Path, path: Path) -> Model | None:
        try:
            stat = path.stat()
            # The folder's time too: other parts of the model, and its vision half, may come later.
            mark = (path, stat.st_mtime_ns, stat.st_size, path.parent.stat().st_mtime_ns)
        except OSError:
            return None
        if mark not in self._read:
            try:
                self._read[mark] = describe(folder, path, read_header(path))
            except (NotGguf, OSError) as exc:
                log.warning("%s is passed over: %s", path, exc)
                self._read[mark] = None
        return self._read[mark]


def _model_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.gguf")) if folder.is_dir() else ():
        shard = shard_of(path.stem)
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not is_projector(path.name) and (shard is None or shard[0] == 1):
            yield path


def _variants(key: str, models: list[Model]) -> list[Model]:
    if len(models) == 1:
        return [replace(models[0], key=key)]
    labels = [(model.quantization or "").casefold() for model in models]
    # Two files of one quantization are told apart by their names.
    names = [
        f"{key}@{label if label and labels.count(label) == 1 else unsharded(model.path.stem).casefold()}"
        for label, model in zip(labels, models, strict=True)
    ]
    rest = [replace(model, key=name) for name, model in zip(names[1:], models[1:], strict=True)]
    return [replace(models[0], key=key, variants=tuple(names)), *rest]


def describe(folder: Path, path: Path, header: GgufHeader) -> Model | None:
    """Return the row for a model file below `folder`, or None where the file is not a model of its own."""
    architecture = header.text("general.architecture")
    if architecture is None or architecture in _NOT_MODELS:
        return None
    inside = path.relative_to(folder)
    demo = next((model for model in DEMO_MODELS if model.file == inside.as_posix()), None)
    bare, named = split_name(path.stem)
    file_type = header.number("general.file_type")
    # The name is more exact where there is one: a header knows no UD-Q4_K_XL.
    quantization = named or (_FILE_TYPES.get(file_type) if file_type is not None else None)
    kind = demo.kind if demo else _kind(architecture, header, bare)
    shards = _shards(path)
    template = header.text("tokenizer.chat_template") or ""
    return Model(
        key=_key(demo, kind, bare),
        kind=kind,
        publisher=inside.parts[0] if len(inside.parts) > 1 else "unknown",
        display_name=demo.display_name if demo else header.text("general.name") or bare,
        architecture=architecture,
        quantization=quantization,
        size_bytes=sum(part.stat().st_size for part in shards),
        params=header.text("general.size_label") or _short_count(header.parameters),
        max_context_length=header.number(f"{architecture}.context_length") or 2048,
        tool_use="tools" in template,
        pooled=bool(header.number(f"{architecture}.pooling_type")),
        kv_bytes_per_token=_kv_bytes_per_token(architecture, header),
        path=path,
        reasoning=_reasoning(template),
        projector=next((one for one in sorted(path.parent.glob("*.gguf")) if is_projector(one.name)), None),
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
    """Return the parts of a model file. Raises NotGguf where not all of them are there."""
    shard = shard_of(path.stem)
    if shard is None:
        return [path]
    parts = [path.with_name(f"{unsharded(path.stem)}-{n:05}-of-{shard[1]:05}.gguf") for n in range(1, shard[1] + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise NotGguf(f"{len(missing)} of {shard[1]} parts are missing, the first is {missing[0]}")
    return parts


def _reasoning(template: str) -> tuple[str, ...]:
    if "reasoning_effort" in template:
        return ("medium", "low", "high")
    return ("on", "off") if "enable_thinking" in template else ()


def _short_count(parameters: int) -> str | None:
    if parameters >= 10**9:
        return f"{parameters / 10**9:.1f}".removesuffix(".0") + "B"
    return f"{parameters // 10**6}M" if parameters >= 10**6 else None


def _kv_bytes_per_token(architecture: str, header: GgufHeader) -> int:
    """Return how much one token of context takes in the F16 key-value cache; 0 where the header does not tell.

    Layers that look back no further than a window have a cache of their own that does not grow: they count nothing.
    """
    layers = header.number(f"{architecture}.block_count") or 0
    per_layer = header.lists.get(f"{architecture}.attention.head_count", ())
    heads = header.number(f"{architecture}.attention.head_count") or max(per_layer, default=1) or 1
    kv_per_layer = header.lists.get(f"{architecture}.attention.head_count_kv", ())
    one = header.number(f"{architecture}.attention.head_count_kv") or heads
    window = header.number(f"{architecture}.attention.sliding_window")
    windowed = header.lists.get(f"{architecture}.attention.sliding_window_pattern", ())
    kv_heads = sum(
        kv_per_layer[layer] if layer < len(kv_per_layer) else one
        for layer in range(layers)
        if not (window and layer < len(windowed) and windowed[layer])
    )
    if window and not windowed:
        kv_heads //= 2  # the header does not say which layers; no known family has fewer than half
    width = (header.number(f"{architecture}.embedding_length") or 0) // heads
    key = header.number(f"{architecture}.attention.key_length") or width
    value = header.number(f"{architecture}.attention.value_length") or width
    return 2 * kv_heads * (key + value)
