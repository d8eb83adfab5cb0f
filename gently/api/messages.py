"""Reading requests and writing answers."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from gently.core.encoding import encoded
from gently.core.errors import FieldError, GentlyError, field_errors

__all__ = [
    "BodyError",
    "BodyTooLargeError",
    "BodyTooSlowError",
    "Json",
    "RequestRefusedError",
    "parse",
    "read_parameters",
]

MAX_BODY_BYTES = 1_000_000
PATIENCE_S = 10.0
M = TypeVar("M", bound=BaseModel)


class BodyError(GentlyError):
    """The body is no JSON object."""


class BodyTooLargeError(GentlyError):
    """The body is larger than any request has to be."""


class BodyTooSlowError(GentlyError):
    """The body did not come to its end in time."""


class RequestRefusedError(GentlyError):
    """The request has not the form that this route takes; names the fields at fault."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = errors


class Json(Response):
    """JSON as every client reads it: numbers that JSON has no word for become null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode; see `encoded`."""
        return encoded(content)


async def read_parameters(
    request: Request, *, is_form: bool = False, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """Return the JSON body, or the form, and the query as one mapping.

    Bluesky's clients put parameters into the body of a GET, which browsers cannot.

    Parameters
    ----------
    request
        Whose body has not been read yet.
    patience_s
        How long the body may take to come.
    is_form
        Whether the body is a form of HTML, and no JSON.

    Raises
    ------
    BodyError, BodyTooLargeError, BodyTooSlowError
        If the body is not an object of JSON, too large, or does not come to its end.
    """
    try:
        async with asyncio.timeout(patience_s):
            body = await _read_body(request)
    except TimeoutError:
        raise BodyTooSlowError(
            f"the body has not come within {patience_s:g} s; send it in one piece"
        ) from None
    found: Any = {}
    if is_form:
        found = dict(parse_qsl(body.decode(errors="replace")))
    elif body:
        try:
            found = from_json(body)
        except ValueError as error:
            raise BodyError(f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BodyError(f"the body has to be a JSON object, not {type(found).__name__}")
    return {**request.query_params, **found}


async def _read_body(request: Request) -> bytes:
    too_large = BodyTooLargeError(
        f"the body is larger than {MAX_BODY_BYTES} bytes; send parameters, not data"
    )
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def parse(model: type[M], parameters: Mapping[str, Any]) -> M:
    """Validate parameters; raises `RequestRefusedError`."""
    try:
        return model.model_validate(parameters)
    except ValidationError as error:
        raise RequestRefusedError(field_errors(error, model.model_fields)) from error
