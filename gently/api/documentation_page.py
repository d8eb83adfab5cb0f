"""The OpenAPI document as a page to read: one file, no script, nothing from elsewhere."""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree as ET

from gently.core.encoding import encoded

__all__ = ["page"]

Schema = Mapping[str, Any]
Node = ET.Element | str

_COMPONENTS = "#/components/schemas/"
_MARKS = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")
_JSON = "application/json"


def page(document: Mapping[str, Any]) -> str:
    """Return the page, HTML with its style in it."""
    style = (files("gently.api") / "documentation.css").read_text(encoding="utf-8")
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    head = _tag(
        "head",
        _tag("meta", charset="utf-8"),
        _tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _tag("title", title),
        _tag("style", style),
    )
    body = _tag(
        "body",
        _tag("nav", _tag("h1", title), *_contents(document)),
        _tag("main", *_about(info), *_groups(document), *_sockets(document), *_models(document)),
    )
    html = ET.tostring(_tag("html", head, body, lang="en"), encoding="unicode", method="html")
    return f"<!doctype html>\n{html}"


# ---------------------------------------------------------------------- the parts of the page


def _contents(document: Schema) -> Iterator[Node]:
    for tag, operations in _by_tag(document).items():
        yield _tag("h2", _tag("a", tag, href=f"#{_anchor(tag)}"))
        links = (
            _tag("li", _tag("a", *_called(method, path), href=f"#{operation['operationId']}"))
            for method, path, operation in operations
        )
        yield _tag("ul", *links)
    yield _tag("h2", _tag("a", "WebSockets", href="#websockets"))
    yield _tag("h2", _tag("a", "What is sent", href="#models"))


def _about(info: Schema) -> Iterator[Node]:
    yield _tag("p", info["summary"], **{"class": "lead"})
    for paragraph in info["description"].strip().split("\n\n"):
        yield _tag("p", *_prose(paragraph))
    yield _tag(
        "p",
        "The same for programs: ",
        _tag("a", "openapi.json", href="/api/openapi.json"),
        f" (OpenAPI, version {info['version']} of {info['title']}).",
    )


def _groups(document: Schema) -> Iterator[Node]:
    for tag, operations in _by_tag(document).items():
        yield _tag(
            "section",
            _tag("h2", tag),
            *(_operation(document, *operation) for operation in operations),
            id=_anchor(tag),
        )


def _operation(document: Schema, method: str, path: str, operation: Schema) -> Node:
    marks = [_tag("span", operation["x-scope"], **{"class": "mark"})]
    if operation["x-commands"]:
        marks.append(_tag("span", "commands", **{"class": "mark commands"}))
    return _tag(
        "details",
        _tag(
            "summary",
            *_called(method, path),
            _tag("span", *_prose(operation["summary"]), **{"class": "what"}),
            *marks,
        ),
        *_asked(document, operation),
        *_answered(document, operation),
        id=operation["operationId"],
    )


def _asked(document: Schema, operation: Schema) -> Iterator[Node]:
    rows = [
        _row(
            _name(parameter["name"], "required" if parameter["required"] else ""),
            [parameter["in"], ", ", *_type(parameter["schema"])],
            _prose(parameter.get("description", "")),
        )
        for parameter in operation["parameters"]
    ]
    if rows:
        yield _tag("h3", "Parameters")
        yield _tag("table", *rows)
    if body := operation.get("requestBody"):
        ((media_type, content),) = body["content"].items()
        yield _tag("h3", f"Body, {_media(media_type)}")
        yield from _fields(document, content["schema"])


def _media(media_type: str) -> str:
    return "JSON" if media_type == _JSON else media_type


def _answered(document: Schema, operation: Schema) -> Iterator[Node]:
    for status, response in operation["responses"].items():
        if status != "200":
            continue
        for media_type, content in response["content"].items():
            yield _tag("h3", f"Answer, {_media(media_type)}")
            if schema := content.get("schema"):
                done = schema["anyOf"][0] if "anyOf" in schema else schema
                yield from _fields(document, done, needs="")
    refusals = [status for status in operation["responses"] if status != "200"]
    yield _tag("p", "Or ", *_ref("Error"), f" with {', '.join(refusals)}.", **{"class": "dim"})


def _sockets(document: Schema) -> Iterator[Node]:
    rows = (
        _row(
            [_tag("code", socket["path"])],
            [_tag("span", socket["x-scope"], **{"class": "mark"})],
            _prose(socket["summary"]),
        )
        for socket in document["x-websockets"]
    )
    yield _tag("section", _tag("h2", "WebSockets"), _tag("table", *rows), id="websockets")


def _models(document: Schema) -> Iterator[Node]:
    parts = (
        _tag(
            "article",
            _tag("h3", _tag("code", name)),
            *_paragraphs(schema.get("description", "")),
            *_fields(document, schema),
            id=f"model-{name}",
        )
        for name, schema in document["components"]["schemas"].items()
    )
    yield _tag("section", _tag("h2", "What is sent"), *parts, id="models")


# ---------------------------------------------------------------------- schemas


def _fields(document: Schema, schema: Schema, *, needs: str = "required") -> Iterator[Node]:
    """Yield a table of what an object consists of; or what else a schema says."""
    parts = [_resolved(document, part) for part in schema.get("allOf", [schema])]
    rows = [
        _row(
            _name(name, needs if name in part.get("required", ()) else ""),
            _type(field),
            _prose(field.get("description", "")),
        )
        for part in parts
        for name, field in part.get("properties", {}).items()
    ]
    if rows:
        yield _tag("table", *rows)
    elif parts[0].get("type") != "object":
        yield _tag("p", *_type(parts[0]))
    else:
        yield _tag("p", "No fields.", **{"class": "dim"})


def _resolved(document: Schema, schema: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    found: Schema = document["components"]["schemas"][schema["$ref"].removeprefix(_COMPONENTS)]
    return found


def _type(schema: Schema) -> list[Node]:
    """Return in words what a value can be."""
    words = _kind(schema)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words += [f", {low:g} to {high:g}"]
    elif low is not None:
        words += [f", at least {low:g}"]
    if units := schema.get("x-units"):
        words += [f" {units}"]
    if schema.get("default") is not None:
        words += [", default ", _tag("code", _json(schema["default"]))]
    return words


def _kind(schema: Schema) -> list[Node]:
    if "$ref" in schema:
        return _ref(schema["$ref"].removeprefix(_COMPONENTS))
    if options := schema.get("anyOf"):
        return _joined([_kind(option) for option in options], " or ")
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return _joined([[_tag("code", _json(value))] for value in values], ", ")
    if schema.get("type") == "array" and "items" in schema:
        return ["list of ", *_kind(schema["items"])]
    if isinstance(each := schema.get("additionalProperties"), dict) and each:
        return ["by name: ", *_kind(each)]
    return [str(schema.get("type", "anything"))]


def _ref(name: str) -> list[Node]:
    return [_tag("a", name, href=f"#model-{name}")]


# ---------------------------------------------------------------------- small things


def _by_tag(document: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    found: dict[str, list[tuple[str, str, Schema]]] = {t["name"]: [] for t in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            found[operation["tags"][0]].append((method.upper(), path, operation))
    return found


def _called(method: str, path: str) -> list[Node]:
    kind = "method get" if method == "GET" else "method"
    return [_tag("span", method, **{"class": kind}), " ", _tag("code", path)]


def _name(name: str, mark: str) -> list[Node]:
    return [_tag("code", name), " ", _tag("span", mark, **{"class": "required"})]


def _row(*cells: Iterable[Node]) -> Node:
    return _tag("tr", *(_tag("td", *cell) for cell in cells))


def _paragraphs(text: str) -> Iterator[Node]:
    if text:
        yield _tag("p", *_prose(text.partition("\n\n")[0]))


def _prose(text: str) -> Iterator[Node]:
    """Yield text in which what is marked as code or as important is so."""
    end = 0
    for mark in _MARKS.finditer(text):
        yield text[end : mark.start()]
        yield _tag("code", mark[1]) if mark[1] else _tag("strong", mark[2])
        end = mark.end()
    yield text[end:]


def _joined(parts: Iterable[list[Node]], between: str) -> list[Node]:
    found: list[Node] = []
    for part in parts:
        found += [between, *part] if found else part
    return found


def _json(value: Any) -> str:
    return str(encoded(value), "utf-8")


def _anchor(tag: str) -> str:
    return "-".join(tag.lower().split())


def _tag(_name: str, *children: Node, **attributes: str) -> ET.Element:
    """Return an element; what is text in it is escaped when it is written."""
    element = ET.Element(_name, attributes)
    last: ET.Element | None = None
    for child in children:
        if isinstance(child, ET.Element):
            element.append(child)
            last = child
        elif last is None:
            element.text = (element.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return element
