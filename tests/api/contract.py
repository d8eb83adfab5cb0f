"""What a route says of its answers is what it answers: looked at with each answer of a test."""

from typing import Any, Protocol

import pytest
from pydantic import TypeAdapter
from starlette.routing import compile_path

from gently.api import ROUTES
from gently.api.models import Error, Refusal
from gently.api.routes import ApiRoute
from tests import API_KEY


class _Response(Protocol):
    @property
    def status_code(self) -> int: ...

    def read(self) -> bytes: ...


def keep_to_the_contract(path: str, method: str, response: _Response) -> None:
    """Fail if an answer is not what the table says of its route, or tells what nobody may know."""
    route = _route(method, path)
    if response.status_code >= 400:
        text = response.read()
        Error.model_validate_json(text, strict=True)
        assert b"Traceback (most recent call last)" not in text
        assert route is None or response.status_code in (*route.statuses, 405, 500)
    elif route is None:
        pytest.fail(f"{method} {path} was answered, and is in no table")
    elif route.answer is not None:
        text = response.read()
        answers: Any = (route.answer | Refusal) if route.dialect else route.answer
        TypeAdapter(answers).validate_json(text, strict=True)
    else:
        return
    assert API_KEY.encode() not in text, "the key is in the answer"


def _route(method: str, path: str) -> ApiRoute | None:
    found = (r for r in ROUTES if r.method == method and compile_path(r.path)[0].match(path))
    return next(found, None)
