"""What a route says of its answers is what it answers: looked at with each answer of a test."""

from typing import Any, Protocol

from pydantic import TypeAdapter
from starlette.routing import compile_path

from gently.api import ROUTES
from gently.api.models import Error, Refusal
from gently.api.routes import ApiRoute


class _Response(Protocol):
    @property
    def status_code(self) -> int: ...

    def read(self) -> bytes: ...


def keep_to_the_contract(path: str, method: str, response: _Response) -> None:
    """Fail if an answer is not what the table says of its route."""
    if response.status_code >= 400:
        Error.model_validate_json(response.read(), strict=True)
        return
    route = _route(method, path)
    if route.answer is not None:
        answers: Any = (route.answer | Refusal) if route.dialect else route.answer
        TypeAdapter(answers).validate_json(response.read(), strict=True)


def _route(method: str, path: str) -> ApiRoute:
    for route in ROUTES:
        if route.method == method and compile_path(route.path)[0].match(path):
            return route
    raise AssertionError(f"{method} {path} was answered, and is in no table")
