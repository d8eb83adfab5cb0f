"""Bluesky's routes about the lines of the log."""

from typing import Annotated

from pydantic import Field

from gently.api.models import Answer, Body, Done, Nothing
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope

__all__ = ["CONSOLE_ROUTES"]


class LinesBody(Body):
    """How many lines of the log."""

    nlines: Annotated[int, Field(ge=0)] = 200


class ConsoleUpdateBody(Body):
    """From which line of the log."""

    last_msg_uid: str = Field(description="`ALL`, or the one of the last answer.")


class ConsoleText(Done):
    """The end of the log."""

    text: str = Field(description="The last lines of the log.")


class ConsoleUid(Done):
    """Which line of the log is the last."""

    console_output_uid: str = Field(description="Of the last line.")


class ConsoleLine(Answer):
    """A line of the log."""

    time: float = Field(description="Seconds since 1970.")
    msg: str


class ConsoleUpdate(Done):
    """The log since a line."""

    console_output_msgs: list[ConsoleLine] = Field(
        description="The lines since; none if the uid is not known."
    )
    last_msg_uid: str


async def _last(call: Call[LinesBody]) -> Given:
    return {"text": "".join(line["msg"] for line in call.layer.console.last(call.body.nlines))}


async def _uid(call: Call[Nothing]) -> Given:
    return {"console_output_uid": call.layer.console.last_uid}


async def _update(call: Call[ConsoleUpdateBody]) -> Given:
    uid, lines = call.layer.console.update(call.body.last_msg_uid)
    return {"console_output_msgs": lines, "last_msg_uid": uid}


CONSOLE_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/console_output",
        handler=_last,
        summary="The last lines of the log",
        scope=Scope.VIEW,
        body=LinesBody,
        answer=ConsoleText,
        dialect=True,
    ),
    ApiRoute(
        method="GET",
        path="/api/console_output/uid",
        handler=_uid,
        summary="The uid of the last line of the log",
        scope=Scope.VIEW,
        answer=ConsoleUid,
        dialect=True,
    ),
    ApiRoute(
        method="GET",
        path="/api/console_output_update",
        handler=_update,
        summary="The lines of the log since those already known",
        scope=Scope.VIEW,
        body=ConsoleUpdateBody,
        answer=ConsoleUpdate,
        dialect=True,
    ),
)
