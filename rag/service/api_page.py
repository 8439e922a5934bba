"""The OpenAPI as a page that needs no script and nothing from elsewhere."""

import html
from collections.abc import Iterator, Mapping
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: routes</title>
<link rel="stylesheet" href="/page/style.css">
</head>
<body>
<main>
<h1>{title}</h1>
<p>{summary} The same for programs: <a href="/openapi.json">OpenAPI</a>.</p>
{routes}
</main>
</body>
</html>
"""


def api_page(openapi: Mapping[str, Any]) -> str:
    """Every route with its fields and answers, by tag, as HTML."""
    info, forms = openapi["info"], openapi.get("components", {}).get("schemas", {})
    by_tag: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, route in methods.items():
            section = "".join(_route(method, path, route, forms))
            by_tag.setdefault(route.get("tags", ["other"])[0], []).append(section)
    routes = "".join(f"<h2>{_text(tag)}</h2>{''.join(sections)}" for tag, sections in by_tag.items())
    return _PAGE.format(title=_text(info["title"]), summary=_text(info.get("summary", "")), routes=routes)


def _route(method: str, path: str, route: Mapping[str, Any], forms: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h3>{method.upper()} {_text(path)}</h3><p>{_text(route.get('description', ''))}</p>"
    rows = [(one["name"], one.get("schema", {}), one.get("description", "")) for one in route.get("parameters", ())]
    for content in route.get("requestBody", {}).get("content", {}).values():
        rows += [(name, form, "") for name, form in _resolved(content["schema"], forms).get("properties", {}).items()]
    if rows:
        body = "".join(
            f'<tr><th scope="row"><code>{_text(name)}</code></th><td>{_text(_kind(form))}</td>'
            f"<td>{_text(told or form.get('description', ''))}</td></tr>"
            for name, form, told in rows
        )
        yield f"<table><tbody>{body}</tbody></table>"
    good = route["responses"].get("200", {})
    kinds = ", ".join(good.get("content", {}))
    yield f"<p>{_text(good.get('description', ''))} <code>{_text(kinds)}</code></p>"


def _resolved(form: Mapping[str, Any], forms: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(form.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = forms[name] if name else form
    return found


def _kind(form: Mapping[str, Any]) -> str:
    """What a field holds, in a word or two."""
    if "$ref" in form:
        return str(form["$ref"]).rpartition("/")[2]
    if "anyOf" in form:
        return " or ".join(dict.fromkeys(_kind(one) for one in form["anyOf"]))
    if "enum" in form:
        return ", ".join(map(str, form["enum"]))
    if form.get("type") == "array":
        return f"list of {_kind(form.get('items', {}))}"
    return str(form.get("type", "any"))


def _text(words: str) -> str:
    return html.escape(words)
