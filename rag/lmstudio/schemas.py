"""JSON Schema both ways: Python functions as tools for a model, and answers in a form that Python can use.

The only door to pydantic and jsonschema.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pydantic
import pydantic_core

import rag.errors as errors

Form = type[Any] | Mapping[str, Any]  # what an answer is to be: a type that pydantic knows, or a JSON Schema

_MOST_RESULT = 20_000  # characters of a function's result that a model is shown
_REFERENCE = re.compile(r'"\$(?:ref|dynamicRef)": "([^"]*)"')
_FENCE = re.compile(r"\A\s*```\w*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tool:
    """A Python function that a model may call: what the model is told of it, and how it is called."""

    name: str
    offer: dict[str, Any]
    call: Callable[[str], Any]
    """Calls the function with arguments in JSON. Raises ValueError where they do not fit it."""


def tool_of(function: Callable[..., Any]) -> Tool:
    """The function as a tool: its name, its docstring, and its parameters' types as a JSON Schema.

    Raises UsageProblem where a model cannot call it: without a docstring or with parameters that have no name.
    """
    name = getattr(function, "__name__", "")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise errors.UsageProblem(f"{function!r} has no name that a model could call it by.")
    description = " ".join((function.__doc__ or "").split())
    if not description:
        raise errors.UsageProblem(f"{name} has no docstring; a model has nothing else to know when to call it.")
    try:
        # It calls the function with what it has validated.
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(cast("Any", function))
        schema = adapter.json_schema()
    except (pydantic.PydanticUserError, pydantic.errors.PydanticSchemaGenerationError, NameError) as exc:
        raise errors.UsageProblem(f"{name} has parameters that JSON cannot describe: {_first_line(exc)}") from exc
    if schema.get("type") != "object":
        raise errors.UsageProblem(f"{name} has parameters without a name; a model passes arguments by name.")

    def call(arguments: str) -> Any:
        try:
            return adapter.validate_json(arguments.strip() or "{}")
        except pydantic.ValidationError as exc:
            raise ValueError(_problems(exc)) from exc

    offer = {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
    return Tool(name, offer, call)


def result_text(result: Any) -> str:
    """A function's result as a model reads it: text as it is, anything else as JSON, cut where it is very long."""
    if not isinstance(result, str):
        result = pydantic_core.to_json(result, fallback=str).decode("utf-8")
    if len(result) > _MOST_RESULT:
        return f"{result[:_MOST_RESULT]} … (cut; {len(result)} characters in all)"
    return str(result)


def schema_of(form: Form) -> dict[str, Any]:
    """The JSON Schema of a form. Raises UsageProblem where JSON cannot describe it, or a schema is none."""
    if not isinstance(form, Mapping):
        try:
            return pydantic.TypeAdapter(form).json_schema()
        except pydantic.PydanticUserError as exc:
            raise errors.UsageProblem(f"JSON cannot describe {form!r}: {_first_line(exc)}") from exc
    import jsonschema

    schema = dict(form)
    try:
        jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator).check_schema(schema)
    except jsonschema.SchemaError as exc:
        raise errors.UsageProblem(f"This is no JSON Schema: {exc.message} (at {exc.json_path}).") from exc
    if outside := [found for found in _REFERENCE.findall(json.dumps(schema)) if not found.startswith("#")]:
        raise errors.UsageProblem(
            f"The schema refers to {outside[0]!r}, which is not fetched; write what it says under $defs."
        )
    return schema


def response_format(form: Form) -> dict[str, Any]:
    """The form as the `response_format` of a chat request. Raises UsageProblem where JSON cannot describe it."""
    if isinstance(form, Mapping):
        schema, name = dict(form), str(form.get("title") or "answer")
    else:
        schema, name = schema_of(form), getattr(form, "__name__", "answer")
    safe = re.sub(r"\W+", "_", name)[:64] or "answer"
    return {"type": "json_schema", "json_schema": {"name": safe, "strict": True, "schema": schema}}


def in_form(text: str, form: Form) -> Any:
    """What a model wrote, as a value of the form; parsed JSON where the form is a JSON Schema.

    A fence around it is no part of it. Raises BadReply where it is none.
    """
    filled = parsed(text)
    return filled if isinstance(form, Mapping) else fitting(filled, form)


def parsed(text: str) -> Any:
    """What a model wrote as JSON, a fence around it or not. Raises BadReply."""
    fenced = _FENCE.match(text)
    try:
        return json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError) as exc:
        raise _misfit(str(exc), text) from exc


def fitting(filled: Any, form: Form) -> Any:
    """Parsed JSON as a value of the form; as it is, but checked, where the form is a JSON Schema. Raises BadReply."""
    body = json.dumps(filled, ensure_ascii=False)
    if not isinstance(form, Mapping):
        try:
            return pydantic.TypeAdapter(form).validate_json(body)
        except pydantic.ValidationError as exc:
            raise _misfit(_problems(exc), body) from exc
    import jsonschema
    import referencing.exceptions

    kind = jsonschema.validators.validator_for(form, jsonschema.Draft202012Validator)
    try:
        wrong = list(kind(form, format_checker=kind.FORMAT_CHECKER).iter_errors(filled))
    except referencing.exceptions.Unresolvable as exc:
        raise errors.UsageProblem(f"The schema refers to {exc.ref!r}, which it does not have.") from exc
    if wrong:
        raise _misfit("; ".join(f"{one.json_path}: {one.message[:200]}" for one in wrong[:5]), body)
    return filled


def _misfit(why: str, text: str) -> errors.BadReply:
    return errors.BadReply(f"The answer does not have the form that was asked for ({why}): {text[:200]!r}")


def calls_in_text(text: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """Calls, as (name, arguments in JSON), that a model wrote as text and its server did not recognise as calls.

    Small models do so often, and LM Studio hands their words on where it cannot parse them.
    """
    known, found, at = set(names), [], 0
    decoder = json.JSONDecoder()
    while (at := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        at = end
        arguments = value.get("arguments", value.get("parameters", {})) if isinstance(value, dict) else None
        if isinstance(arguments, dict) and value.get("name") in known:
            found.append((str(value["name"]), json.dumps(arguments)))
    return found


def _problems(exc: pydantic.ValidationError) -> str:
    """One line for all that does not fit, without pydantic's links."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'the whole'}: {problem['msg']}" for problem in exc.errors()[:5]
    )


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0]
