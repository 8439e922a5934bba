"""Front matter: what a Markdown file says of itself between `---` or `+++` before its text."""

import re
import tomllib

_FRONT_MATTER = re.compile(r"\A(?P<fence>---|\+\+\+)[ \t]*\n(?P<body>(?:.*\n)*?)(?P=fence)[ \t]*(?:\n|\Z)")
_FIELD = re.compile(r"(?P<name>[^\s#:\"'-][^:\n]{0,80}?)[ \t]*:(?:[ \t]+(?P<value>.*?))?[ \t]*")
_MEMBER = re.compile(r"[ \t]*-[ \t]+(?P<value>.*?)[ \t]*")


def front_matter(text: str) -> tuple[int, dict[str, str]]:
    """Where the text proper begins, and the simple fields above it: words, numbers, dates, and lists of them.

    Names are in small letters; the members of a list are joined by ", ". What is nested deeper is left out.
    """
    found = _FRONT_MATTER.match(text)
    if not found:
        return 0, {}
    fields = _toml(found["body"]) if found["fence"] == "+++" else _yaml(found["body"])
    return found.end(), {name: value for name, value in fields.items() if value}


def _toml(body: str) -> dict[str, str]:
    try:
        values = tomllib.loads(body)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
    fields = {}
    for name, value in values.items():
        members = value if isinstance(value, list) else [value]
        if not any(isinstance(member, dict | list) for member in members):
            shown = (str(member).lower() if isinstance(member, bool) else str(member) for member in members)
            fields[name.lower()] = ", ".join(shown)
    return fields


def _yaml(body: str) -> dict[str, str]:
    """The outermost fields, line by line: front matter is written by hand, and is often not quite YAML."""
    fields: dict[str, str] = {}
    name = ""
    for line in body.split("\n"):
        if field := _FIELD.fullmatch(line):
            name, value = field["name"].lower(), field["value"] or ""
            fields[name] = "" if value[:1] in {"{", "&", "*", "!"} else _plain(value)
        elif name and (member := _MEMBER.fullmatch(line)):
            if not _FIELD.fullmatch(member["value"]):
                fields[name] = ", ".join(filter(None, (fields[name], _plain(member["value"]))))
        elif name and line[:1] in {" ", "\t"} and line.strip() and not _FIELD.fullmatch(line.strip()):
            fields[name] = f"{fields[name]} {_plain(line)}".strip()  # a folded or wrapped text
    return fields


def _plain(value: str) -> str:
    value = value.strip()
    if value in {"", "|", ">", "|-", ">-", "~", "null"}:
        return ""
    if value[0] == "[" and value[-1] == "]":
        return ", ".join(filter(None, map(_plain, value[1:-1].split(","))))
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return re.split(r"[ \t]#", value)[0].rstrip()
