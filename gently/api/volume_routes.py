"""Routes of our own about what was taken: volumes by their UID, and Bluesky runs."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from gently.api.models import Answer, Json, OwnBody
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from storage import Status

__all__ = ["VOLUME_ROUTES"]


class ListBody(OwnBody):
    """How many."""

    limit: Annotated[int, Field(ge=1, le=10_000)] = 100


_Text = Annotated[str, Field(max_length=200)]


def _moment(given: Any) -> datetime:
    """Return a moment that was given as a text: a number would be taken for seconds since 1970."""
    try:
        found = datetime.fromisoformat(given)
        has_zone, moment = found.tzinfo is not None, found.astimezone(UTC)
    except (OverflowError, TypeError, ValueError):
        has_zone = False
    if not has_zone:
        raise ValueError("has to be an ISO time with a zone, such as 2026-11-21T09:30:00Z")
    return moment


_Moment = Annotated[datetime, BeforeValidator(_moment)]


class VolumesBody(ListBody):
    """Which volumes: those that meet every condition."""

    session: _Text | None = Field(None, description="The `session_id`.")
    embryo: _Text | None = None
    acquisition: _Text | None = Field(None, description="The `acquisition_uid`.")
    plan: _Text | None = Field(None, description="The `plan_name`.")
    tag: _Text | None = Field(None, description="One of the `tags`.")
    since: _Moment | None = Field(None, description="Begun then or later.")
    until: _Moment | None = Field(None, description="Begun before.")
    status: Status = "complete"
    after: _Text | None = Field(None, description="The uid of the last volume of the page before.")


class VolumePath(OwnBody):
    """Which volume."""

    uid: str = Field(
        description="32 lower-case hexadecimal digits.",
        json_schema_extra={"pattern": "^[0-9a-f]{32}$"},  # the store looks at it
    )


class RunPath(OwnBody):
    """Which run."""

    run_uid: str


class Volume(Answer):
    """The metadata of a volume."""

    uid: str
    path: str = Field(description="Of the file, on the machine of the device layer.")
    shape: Annotated[list[int], Field(min_length=3, max_length=3)] = Field(
        description="Slices, rows, columns."
    )
    dtype: str
    pixel_size_um: float
    step_um: float
    exposure_ms: float
    format: str
    compression: str
    session_id: str
    embryo: str
    tags: list[str]
    acquisition_uid: str
    time_point: int
    channel: str
    item_uid: str
    run_uid: str
    plan_name: str
    instrument: str
    camera: str
    positions_um: dict[str, float] = Field(description="Read back at the start, by device.axis.")
    first_z_um: float | None
    z_tolerance_um: float
    significant_bits: int | None
    frames_differ: bool
    created: str = Field(description="ISO 8601, UTC.")
    status: Literal["complete", "incomplete"]
    frames: int
    dropped: int
    missing: str
    repeated: int
    saturated: int
    reason: str
    bytes: int
    checksum: str
    waits: int
    back_pressure_s: float


class VolumesAnswer(Answer):
    """The latest volumes."""

    volumes: list[Volume] = Field(description="Newest first.")


class StoredRun(Answer):
    """A Bluesky run."""

    run_uid: str
    start: dict[str, Json] = Field(description="The start document.")
    stop: dict[str, Json] | None = Field(
        description="The stop document; null while the run is open, and if it was cut off."
    )


class RunsAnswer(Answer):
    """The latest Bluesky runs."""

    runs: list[StoredRun] = Field(description="Newest first.")


async def _volumes(call: Call[VolumesBody]) -> Given:
    asked = {name: getattr(call.body, name) for name in VolumesBody.model_fields}
    records = await run_in_threadpool(call.layer.store.query, **asked)
    return {"volumes": [record.metadata() for record in records]}


async def _volume(call: Call[VolumePath]) -> Given:
    record = await run_in_threadpool(call.layer.store.record, call.body.uid)
    return dict(record.metadata())


async def _runs(call: Call[ListBody]) -> Given:
    runs = await run_in_threadpool(call.layer.documents.runs, call.body.limit)
    return {
        "runs": [{"run_uid": run.run_uid, "start": run.start, "stop": run.stop} for run in runs]
    }


async def _documents(call: Call[RunPath]) -> StreamingResponse:
    blocks = await run_in_threadpool(call.layer.documents.blocks, call.body.run_uid)
    return StreamingResponse(blocks, media_type="application/x-ndjson")


VOLUME_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/volumes",
        handler=_volumes,
        summary="The metadata of the latest volumes",
        scope=Scope.VIEW,
        body=VolumesBody,
        answer=VolumesAnswer,
        errors=(404,),
    ),
    ApiRoute(
        method="GET",
        path="/api/volumes/{uid:path}",
        handler=_volume,
        summary="The metadata of a volume",
        scope=Scope.VIEW,
        body=VolumePath,
        answer=Volume,
        errors=(404, 409),
    ),
    ApiRoute(
        method="GET",
        path="/api/runs",
        handler=_runs,
        summary="The latest Bluesky runs",
        scope=Scope.VIEW,
        body=ListBody,
        answer=RunsAnswer,
    ),
    ApiRoute(
        method="GET",
        path="/api/runs/{run_uid}/documents",
        handler=_documents,
        summary="The documents of a run, a JSON array a line",
        scope=Scope.VIEW,
        body=RunPath,
        answer=None,
        media_type="application/x-ndjson",
        errors=(404, 409),
    ),
)
