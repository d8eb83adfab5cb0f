"""The OpenAPI document: read from the table of routes and the models that validate."""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from gently import __version__
from gently.api.models import Error, LockKey, Refusal
from gently.api.routes import ApiRoute, ApiSocket
from gently.core.access import HEADER
from gently.core.catalogue import Catalogue, PlanEntry

__all__ = ["openapi_document"]

Schema = dict[str, Any]

_COMPONENTS = "#/components/schemas/"
_PLAN = "{plan}"
_ABOUT = """\
It runs Bluesky plans, one at a time, and writes every volume to a file that is found by its UID.
Pixels never come over HTTP.

**From a shell:**
`curl -u :KEY -d '{"num_slices": 50}' http://127.0.0.1:60610/api/plans/acquire_volume/execute`

**Keys.** Every route needs one: as `Authorization: ApiKey …`, as the password of HTTP Basic, or
exchanged for a token. `x-scope` says the least that a key must be good for: `view`, `propose`,
`operate` or `admin`, each of which includes those before it.

**Two kinds of routes.** Those of Bluesky's own dialect (`x-dialect`) answer 200 to what they have
understood, with `"success": false` if it is refused; they ignore parameters that they do not know.
The others answer with the status that says what became of it, and refuse what they do not know.

**Parameters** of a GET may be in the query or, as Bluesky's clients send them, in a JSON body.
"""
_MEANINGS = {
    400: "The body is no JSON object.",
    401: "There is no key, or it is not valid (any more).",
    403: "The key is not good for this; or the request comes from, or names, another host.",
    404: "There is no such thing.",
    408: "The body has not come to its end in time.",
    409: "Not now: the state does not allow it, or somebody else has control.",
    413: "The body is too large.",
    422: "A parameter has not the form that it has to have; `errors` names each.",
}
_HEADERS: Mapping[str, Schema] = {
    HEADER: {
        "type": "integer",
        "minimum": 0,
        "description": "The number of the control lease, while somebody holds it.",
    },
    "Idempotency-Key": {
        "type": "string",
        "description": "Whatever is submitted with the same key is submitted once.",
    },
    "Last-Event-ID": {
        "type": "integer",
        "minimum": 0,
        "description": "In place of `after`.",
    },
}
_SECURITY = {
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`ApiKey`, a space, and the key.",
    },
    "Token": {"type": "http", "scheme": "bearer", "description": "An access token."},
    "Basic": {"type": "http", "scheme": "basic", "description": "The key as the password."},
}


def openapi_document(
    groups: Mapping[str, Sequence[ApiRoute]], sockets: Sequence[ApiSocket], catalogue: Catalogue
) -> Schema:
    """Return the document, OpenAPI 3.1, as plain JSON values.

    Parameters
    ----------
    groups
        All routes, by the heading under which they are documented.
    sockets
        The WebSockets, which OpenAPI has no word for: they are under ``x-websockets``.
    catalogue
        A route whose path has ``{plan}`` in it is documented once for each plan.
    """
    models = _Models([route for routes in groups.values() for route in routes], catalogue)
    paths: dict[str, Schema] = {}
    for tag, routes in groups.items():
        for route in routes:
            for path, operation in _operations(route, models, catalogue):
                operation["tags"] = [tag]
                paths.setdefault(path, {})[route.method.lower()] = operation
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "gently",
            "summary": "The device layer of a light-sheet microscope.",
            "description": _ABOUT,
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _SECURITY],
        "tags": [{"name": tag} for tag in groups],
        "paths": paths,
        "x-websockets": [
            {"path": socket.path, "summary": socket.summary, "x-scope": str(socket.scope)}
            for socket in sockets
        ],
    }
    return {**document, "components": _components(models, document)}


class _Models:
    """The JSON Schemas of what is taken and answered, by their names."""

    def __init__(self, routes: Sequence[ApiRoute], catalogue: Catalogue) -> None:
        taken = {route.body for route in routes}
        answered = {route.answer for route in routes if route.answer is not None}
        models = sorted(
            {Error, LockKey, Refusal} | taken | answered, key=lambda model: model.__name__
        )
        refs, found = models_json_schema(
            [(model, "validation") for model in models],  # type: ignore[misc]  # as it takes them
            ref_template=f"{_COMPONENTS}{{model}}",
        )
        self.schemas: dict[str, Schema] = found["$defs"]
        self._refs = {model: ref for (model, _), ref in refs.items()}
        for entry in catalogue.values():
            schema = entry.model.model_json_schema(ref_template=f"{_COMPONENTS}{{model}}")
            self.schemas |= schema.pop("$defs", {})
            self.schemas[entry.name] = schema

    def ref(self, model: type) -> Schema:
        """Return a reference to the schema of a model."""
        return dict(self._refs[model])

    def of(self, model: type) -> Schema:
        """Return the schema itself."""
        return self.schemas[self._refs[model]["$ref"].removeprefix(_COMPONENTS)]


# ---------------------------------------------------------------------- operations


def _operations(
    route: ApiRoute, models: _Models, catalogue: Catalogue
) -> Iterator[tuple[str, Schema]]:
    if _PLAN not in route.path:
        yield route.template, _operation(route, models)
        return
    for entry in catalogue.values():
        path = route.template.replace(_PLAN, entry.name)
        yield path, _plan_operation(route, path, models, entry)


def _operation(route: ApiRoute, models: _Models) -> Schema:
    taken = models.of(route.body)
    properties: dict[str, Schema] = taken.get("properties", {})
    in_path = [name for name in route.path_names if name in properties]
    others = {name: schema for name, schema in properties.items() if name not in in_path}
    required = [name for name in taken.get("required", ()) if name in others]
    operation = _common(route, route.template, models)
    operation["parameters"] = [*_path_parameters(route, properties), *operation["parameters"]]
    if route.method in ("GET", "DELETE"):
        operation["parameters"] += [
            _parameter(name, "query", schema, is_required=name in required)
            for name, schema in others.items()
        ]
    elif others or route.locked_by:
        body = models.ref(route.body) if not in_path else {**taken, "properties": others}
        operation["requestBody"] = _request_body(
            _with_lock_key(route, body, models), is_required=bool(required), is_form=route.is_form
        )
    return operation


def _plan_operation(route: ApiRoute, path: str, models: _Models, entry: PlanEntry) -> Schema:
    operation = _common(route, path, models)
    lock_key = models.of(LockKey)["properties"]["lock_key"]
    operation["parameters"].append(_parameter("lock_key", "query", lock_key, is_required=False))
    operation["summary"] = entry.description
    operation["requestBody"] = _request_body(
        {"$ref": f"{_COMPONENTS}{entry.name}"}, is_required="required" in entry.json_schema
    )
    return operation


def _common(route: ApiRoute, path: str, models: _Models) -> Schema:
    return {
        "operationId": _operation_id(route.method, path),
        "summary": route.summary,
        **({"security": []} if route.is_login else {}),
        "x-scope": str(route.scope),
        "x-dialect": route.dialect,
        "x-commands": route.commands,
        "parameters": list(_header_parameters(route)),
        "responses": {
            "200": _done(route, models),
            **{
                str(status): {"$ref": f"#/components/responses/{_response_name(status)}"}
                for status in route.statuses
            },
        },
    }


def _operation_id(method: str, path: str) -> str:
    return "_".join([method.lower(), *re.findall(r"\w+", path.removeprefix("/api"))])


def _path_parameters(route: ApiRoute, properties: Mapping[str, Schema]) -> Iterator[Schema]:
    for name in route.path_names:
        yield _parameter(name, "path", properties.get(name, {"type": "string"}), is_required=True)


def _header_parameters(route: ApiRoute) -> Iterator[Schema]:
    for name in route.headers_taken:
        yield _parameter(name, "header", _HEADERS[name], is_required=False)


def _parameter(name: str, place: str, schema: Schema, *, is_required: bool) -> Schema:
    schema = dict(schema)
    found: Schema = {"name": name, "in": place, "required": is_required}
    if description := schema.pop("description", ""):
        found["description"] = description
    return {**found, "schema": _without_null(schema)}


def _without_null(schema: Schema) -> Schema:
    """Return what a parameter can be if it is there at all: a query has no null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == len(schema.get("anyOf", ())):
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**rest, **(options[0] if len(options) == 1 else {"anyOf": options})}


def _with_lock_key(route: ApiRoute, body: Schema, models: _Models) -> Schema:
    if route.locked_by is None:
        return body
    key = models.ref(LockKey)
    return {"allOf": [body, key]} if route.body.model_fields else key


def _request_body(schema: Schema, *, is_required: bool, is_form: bool = False) -> Schema:
    media_type = "application/x-www-form-urlencoded" if is_form else "application/json"
    return {"content": {media_type: {"schema": schema}}, "required": is_required}


# ---------------------------------------------------------------------- answers


def _done(route: ApiRoute, models: _Models) -> Schema:
    if route.answer is None:
        return {"description": "Done.", "content": {route.media_type: {}}}
    schema = models.ref(route.answer)
    description = "Done."
    if route.dialect and route.answer is not Refusal:
        schema = {"anyOf": [schema, models.ref(Refusal)]}
        description = "Done, if `success` is true; otherwise refused."
    return {"description": description, "content": {route.media_type: {"schema": schema}}}


def _components(models: _Models, document: Schema) -> Schema:
    error = {"application/json": {"schema": models.ref(Error)}}
    responses = {
        _response_name(status): {"description": meaning, "content": error}
        for status, meaning in _MEANINGS.items()
    }
    responses["Unauthorized"]["headers"] = {
        "WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to send a key."}
    }
    schemas = dict(sorted(_used(models.schemas, [document, responses])))
    return {"schemas": schemas, "responses": responses, "securitySchemes": _SECURITY}


def _response_name(status: int) -> str:
    return "".join(HTTPStatus(status).phrase.title().split())


def _used(schemas: Mapping[str, Schema], places: Any) -> Iterator[tuple[str, Schema]]:
    """Yield the schemas that are referred to, from these places or from one another."""
    seen: set[str] = set()
    waiting = list(_references(places))
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _references(schemas[name])
            yield name, schemas[name]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(ref := value.get("$ref"), str) and ref.startswith(_COMPONENTS):
            yield ref.removeprefix(_COMPONENTS)
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _references(part)
