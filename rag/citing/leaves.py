"""A filled form as the single values in it, each with what its schema says of it. Pure: JSON and JSON Schema alone."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Scalar = str | int | float | bool
Path = tuple[str | int, ...]

_WORD_BOUND = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+")
_LONGEST_SUBJECT = 8  # words: more is a description and no name
_DEEPEST = 20  # a schema may refer to itself


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that a form states, and where.

    `name` are the words of its field's name, `about` those of all names above it and of the description. In a list of
    objects `subject` is the text by which its own is told from the `others`.
    """

    path: Path
    value: Scalar
    name: str
    about: str
    subject: str = ""
    others: tuple[str, ...] = ()


def leaves(filled: Any, schema: Mapping[str, Any]) -> list[Leaf]:
    """The values of a form in order, but for null, empty texts and what the schema fixes: these claim nothing."""
    return list(_leaves(filled, [schema], schema, Leaf((), "", "", "")))


def shown_path(path: Path) -> str:
    """A path as Python would write it: `items[0].price`; "" for the whole."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def without(filled: Any, path: Path) -> Any:
    """The form with null at a path."""
    if not path:
        return None
    first, rest = path[0], path[1:]
    if isinstance(filled, list):
        return [without(one, rest) if at == first else one for at, one in enumerate(filled)]
    return {name: without(one, rest) if name == first else one for name, one in filled.items()}


def _leaves(value: Any, nodes: list[Mapping[str, Any]], root: Mapping[str, Any], here: Leaf) -> Iterator[Leaf]:
    """The values below a place; `nodes` are the schemas that may describe it, `here` is what is known of the place."""
    known = [other for node in nodes for other in _alternatives(node, root)]
    if isinstance(value, dict):
        for name, one in value.items():
            below = [node["properties"][name] for node in known if name in node.get("properties", {})]
            below = below or _schemas(known, "additionalProperties")
            words = _WORD_BOUND.sub(" ", name)
            told = " ".join(dict.fromkeys(_descriptions(below, root)))
            about = f"{here.about} {words} {told}".strip()
            yield from _leaves(one, below, root, Leaf((*here.path, name), "", words, about, here.subject, here.others))
    elif isinstance(value, list):
        subjects = [_subject(one) for one in value]
        for at, one in enumerate(value):
            others = tuple(other for other in subjects if other and other != subjects[at])
            subject = subjects[at] or here.subject
            place = Leaf((*here.path, at), "", here.name, here.about, subject, others or here.others)
            yield from _leaves(one, _schemas(known, "items"), root, place)
    elif value is not None and value != "" and not any("const" in node for node in known):
        own = isinstance(value, str) and value == here.subject
        yield Leaf(here.path, value, here.name, here.about, "" if own else here.subject, () if own else here.others)


def _alternatives(node: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """A schema and all that it refers to or is made of."""
    if depth > _DEEPEST:
        return
    yield node
    target: Any = root
    if isinstance(reference := node.get("$ref"), str) and reference.startswith("#/"):
        for step in reference[2:].split("/"):
            target = target.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, Mapping) else {}
        if isinstance(target, Mapping):
            yield from _alternatives(target, root, depth + 1)
    for way in ("anyOf", "oneOf", "allOf"):
        for other in node.get(way, ()):
            yield from _alternatives(other, root, depth + 1)


def _schemas(nodes: list[Mapping[str, Any]], keyword: str) -> list[Mapping[str, Any]]:
    return [node[keyword] for node in nodes if isinstance(node.get(keyword), Mapping)]


def _descriptions(nodes: list[Mapping[str, Any]], root: Mapping[str, Any]) -> Iterator[str]:
    for node in nodes:
        yield from (str(other["description"]) for other in _alternatives(node, root) if "description" in other)


def _subject(value: Any) -> str:
    """The text that tells one object of a list from the others: its first short one."""
    texts = (one for one in value.values() if isinstance(one, str)) if isinstance(value, dict) else ()
    short = (text for text in texts if 0 < len(text.split()) <= _LONGEST_SUBJECT and not text[0].isdigit())
    return next(short, "")
