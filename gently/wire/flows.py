"""What a call does, as steps without a connection: one description for every way to do it.

A flow is a generator. It yields a `Request` and is sent the JSON object answered, or is
thrown the `ClientError` that says why there is none; in the end it returns a value.
`Transport` carries a flow out and blocks, `AsyncTransport` awaits.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from gently.wire.errors import DeviceLayerFault, DeviceLayerUnreachable, Refused, StillRunning
from gently.wire.replies import Detection, FieldError, ItemState, Progress

FIRST_POLL_S: Final = 0.01
LAST_POLL_S: Final = 0.25

T = TypeVar("T")
Answer = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP exchange.

    Attributes
    ----------
    path : str
        Below `/api/`, quoted.
    timeout_s : float, optional
        How long the answer may take; without it, the client's own time.
    commands : bool
        Whether it moves the microscope, or changes what will.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    commands: bool = False


@dataclass(frozen=True)
class Pause:
    """Let some time pass."""

    seconds: float


Flow = Generator[Request | Pause, Any, T]


def get(*path: str, **query: str | int | None) -> Flow[Answer]:
    """Ask for something; each part of the path is quoted, and what is None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return granted((yield Request(method="GET", path=_quoted(path), query=given)))


def change(*path: str, **body: Any) -> Flow[Answer]:
    """Have something changed that moves nothing; asked once only."""
    return granted((yield Request(method="POST", path=_quoted(path), body=body)))


def command(*path: str, **body: Any) -> Flow[Answer]:
    """Command the microscope; asked once only, since a lost answer may have been a yes."""
    return granted((yield Request(method="POST", path=_quoted(path), body=body, commands=True)))


def surely(request: Request, patience_s: float) -> Flow[Answer]:
    """Ask again when the answer got lost; for a request that has its effect only once.

    Raises
    ------
    DeviceLayerUnreachable
        At once if nobody heard the first request, otherwise after `patience_s`.
    """
    since: float | None = None
    while True:
        now = time.monotonic()
        try:
            answer: Answer = yield request
        except DeviceLayerUnreachable as error:
            if since is None and not error.may_be_heard:
                raise
            since = now if since is None else since
            if time.monotonic() - since > patience_s:
                raise
        else:
            return answer
        yield _next_look(now - since)


def watch(
    item_uid: str,
    on_progress: Callable[[Progress], None] | None,
    *,
    timeout_s: float,
    patience_s: float,
) -> Flow[ItemState]:
    """Look at an item until it has ended.

    The intervals are a tenth of the time waited so far, at most a quarter of a second: a
    short plan is answered at once, and a long one costs four small requests a second.
    """
    begun = heard = time.monotonic()
    shown: Progress | None = None
    while True:
        try:
            state = read(ItemState, (yield from get("items", item_uid)))
        except DeviceLayerUnreachable:
            if time.monotonic() - heard > patience_s:
                raise
        else:
            heard = time.monotonic()
            if state.finished:
                return state
            if state.progress not in (None, shown) and on_progress is not None:
                shown = state.progress
                on_progress(shown)
            if heard - begun > timeout_s:
                raise StillRunning(state, timeout_s)
        yield _next_look(time.monotonic() - begun)


def watch_detection(detection: Detection) -> Flow[Detection]:
    """Look at a detection until it has ended, which it does by its own deadline."""
    begun = time.monotonic()
    while not detection.finished:
        yield _next_look(time.monotonic() - begun)
        detection = read(Detection, (yield from get("detections", detection.detection_uid)))
    return detection


def granted(answer: Answer) -> Answer:
    """Return the answer, unless it refuses in the Bluesky routes' way: with HTTP 200."""
    if answer.get("success") is False:
        errors = read(list[FieldError], answer.get("errors") or [])
        raise Refused(str(answer.get("msg") or "no reason given"), errors)
    return answer


def read(kind: type[T], value: object) -> T:
    """Return a part of an answer as a value of that type.

    Raises
    ------
    DeviceLayerFault
        If it is none.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise DeviceLayerFault(
            f"the device layer's answer is not what this client expects: {error}. "
            "Do both come from the same version of gently?"
        ) from error


def _quoted(path: Iterable[str]) -> str:
    return "/".join(quote(part, safe="") for part in path)


def _next_look(waited_s: float) -> Pause:
    return Pause(min(max(waited_s / 10, FIRST_POLL_S), LAST_POLL_S))
