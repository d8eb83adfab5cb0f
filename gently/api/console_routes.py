"""Bluesky's routes about the lines of the log."""

from typing import Annotated

from pydantic import Field

from gently.api.models import Answer, Body, Done, Nothing
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope

__all__ = ["CONSOLE_ROUTES"]


class _LinesBody(Body):
    nlines: Annotated[int, Field(ge=0)] = 200


class _UpdateBody(Body):
    last_msg_uid: str = Field(description="`ALL`, or the one of the last answer.")


class _TextAnswer(Done):
    text: str = Field(description="The last lines of the log.")


class _UidAnswer(Done):
    console_output_uid: str = Field(description="Of the last line.")


class _Line(Answer):
    time: float = Field(description="Seconds since 1970.")
    msg: str


class _UpdateAnswer(Done):
    console_output_msgs: list[_Line] = Field(
        description="The lines since; none if the uid is not known."
    )
    last_msg_uid: str


async def _last(call: Call[_LinesBody]) -> Given:
    return {"text": "".join(line["msg"] for line in call.layer.console.last(call.body.nlines))}


async def _uid(call: Call[Nothing]) -> Given:
    return {"console_output_uid": call.layer.console.last_uid}


async def _update(call: Call[_UpdateBody]) -> Given:
    uid, lines = call.layer.console.update(call.body.last_msg_uid)
    return {"console_output_msgs": lines, "last_msg_uid": uid}


CONSOLE_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/console_output",
        handler=_last,
        summary="The last lines of the log",
        scope=Scope.VIEW,
        body=_LinesBody,
        answer=_TextAnswer,
        dialect=True,
    ),
    ApiRoute(
        method="GET",
        path="/api/console_output/uid",
        handler=_uid,
        summary="The uid of the last line of the log",
        scope=Scope.VIEW,
        answer=_UidAnswer,
        dialect=True,
    ),
    ApiRoute(
        method="GET",
        path="/api/console_output_update",
        handler=_update,
        summary="The lines of the log since those already known",
        scope=Scope.VIEW,
        body=_UpdateBody,
        answer=_UpdateAnswer,
        dialect=True,
    ),
)
