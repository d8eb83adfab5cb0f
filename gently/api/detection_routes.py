"""Routes of our own about finding embryos: what is to be found, what was, and the detector."""

from typing import Annotated, Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gently.api.models import Answer, Json, Nothing, OwnBody
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.detection_values import DetectionRequest, DetectionState
from gently.detector_child import NamedObject, View

__all__ = ["DETECTION_ROUTES"]

_Text = Annotated[str, Field(max_length=200)]
Projection = Literal["max", "mean"]


class DetectBody(OwnBody):
    """In what is to be looked for what."""

    uid: str = Field(
        description="Of the volume: 32 lower-case hexadecimal digits.",
        json_schema_extra={"pattern": "^[0-9a-f]{32}$"},  # the store looks at it
    )
    detector: _Text = Field("classical", description="As of `GET /api/detector`.")
    plane: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Which slice, from 0; without one, the projection is worked on."
    )
    projection: Projection = Field("max", description="Over all slices.")
    settings: dict[str, Json] = Field(
        default_factory=dict, description="What the detector can be told."
    )
    session_id: _Text = Field(
        "", description="In which objects keep their names; by default that of the volume."
    )
    timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        120.0, description="After so many seconds it fails, also if it is still waiting."
    )


class DetectionPath(OwnBody):
    """Which one."""

    detection_uid: str = Field(json_schema_extra={"pattern": "^[0-9a-f]{32}$"})


class DetectionsBody(OwnBody):
    """Which of them."""

    source: str | None = Field(
        None,
        description="The uid of the volume.",
        json_schema_extra={"pattern": "^[0-9a-f]{32}$"},
    )
    session: _Text | None = Field(None, description="The `session_id`.")
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class FindingAnswer(Answer):
    """What was found."""

    path: str = Field(description="Of the label image, on the machine of the device layer.")
    detector: str = Field(description="Whose result this is.")
    fallback_reason: str = Field(description="Why that is not the one that was asked for.")
    about: dict[str, Json] = Field(description="Model, hash of the weights, versions.")
    slices: list[str] = Field(
        description="What each slice of the file is: the label image, then each outline there is."
    )
    on_stage: bool = Field(description="Whether coordinates are the stage's.")
    objects: list[NamedObject]
    absent: list[str] = Field(description="Who should have been in the picture.")
    seconds: float = Field(description="Without waiting and loading.")


class DetectionAnswer(Answer):
    """A detection, and what became of it; times are seconds since 1970."""

    detection_uid: str = Field(description="Also of the label image, which is a volume.")
    state: DetectionState
    source_uid: str
    detector: str = Field(description="That was asked for.")
    plane: int | None
    projection: Projection
    settings: dict[str, Json]
    session_id: str
    item_uid: str = Field(description="Of the plan that asked; empty if none did.")
    time_queued: float | None = Field(description="Null where it was not kept over a restart.")
    time_started: float | None
    time_stopped: float | None
    error: str = Field(description="Why it failed.")
    result: FindingAnswer | None = Field(description="Once it is completed.")


class DetectionsAnswer(Answer):
    """Detections."""

    detections: list[DetectionAnswer] = Field(description="Newest first.")


class DetectorKindAnswer(Answer):
    """A detector that can be asked for."""

    name: str
    summary: str
    settings: dict[str, Json] = Field(description="JSON Schema of what it can be told.")
    missing: list[str] = Field(description="The packages that it needs and that are not there.")
    extra: str = Field(description="The extra of gently that installs them.")


class DetectorAnswer(Answer):
    """How the detectors' process is."""

    state: Literal["not started", "running", "ended"]
    pid: int | None
    memory_bytes: int
    memory_limit_bytes: int
    starts: int = Field(description="How often it was started.")
    deaths_in_a_row: int = Field(description="Since a detection succeeded last.")
    working_on: str | None = Field(description="The `detection_uid`.")
    waiting: int
    waiting_limit: int
    about: dict[str, Json] = Field(
        description="Of the detector used last: model, hash of its weights, time of loading."
    )
    last_error: str
    detectors: list[DetectorKindAnswer]


async def _detect(call: Call[DetectBody]) -> Given:
    body = call.body
    request = DetectionRequest(
        source_uid=body.uid,
        detector=body.detector,
        view=View(plane=body.plane, projection=body.projection),
        settings=body.settings,
        session_id=body.session_id,
        timeout_s=body.timeout_s,
    )
    return (await run_in_threadpool(call.layer.detections.submit, request)).message()


async def _detections(call: Call[DetectionsBody]) -> Given:
    body = call.body

    def query() -> Given:
        found = call.layer.detections.query(
            source=body.source, session=body.session, limit=body.limit
        )
        return {"detections": [each.message() for each in found]}

    return await run_in_threadpool(query)


async def _detection(call: Call[DetectionPath]) -> Given:
    get = call.layer.detections.get
    return (await run_in_threadpool(get, call.body.detection_uid)).message()


async def _cancel(call: Call[DetectionPath]) -> Given:
    cancel = call.layer.detections.cancel
    return (await run_in_threadpool(cancel, call.body.detection_uid)).message()


async def _detector(call: Call[Nothing]) -> Given:
    return await run_in_threadpool(call.layer.detections.status)


DETECTION_ROUTES = (
    ApiRoute(
        method="POST",
        path="/api/detections",
        handler=_detect,
        summary="Find embryos in a volume; answers before it is done",
        scope=Scope.OPERATE,
        body=DetectBody,
        answer=DetectionAnswer,
        errors=(404, 409),
        changes=True,
    ),
    ApiRoute(
        method="GET",
        path="/api/detections",
        handler=_detections,
        summary="The latest detections",
        scope=Scope.VIEW,
        body=DetectionsBody,
        answer=DetectionsAnswer,
    ),
    ApiRoute(
        method="GET",
        path="/api/detections/{detection_uid}",
        handler=_detection,
        summary="A detection, and what was found",
        scope=Scope.VIEW,
        body=DetectionPath,
        answer=DetectionAnswer,
        errors=(404, 409),
    ),
    ApiRoute(
        method="POST",
        path="/api/detections/{detection_uid}/cancel",
        handler=_cancel,
        summary="Give a detection up",
        scope=Scope.OPERATE,
        body=DetectionPath,
        answer=DetectionAnswer,
        errors=(404, 409),
        changes=True,
    ),
    ApiRoute(
        method="GET",
        path="/api/detector",
        handler=_detector,
        summary="How the detectors' process is, and which detectors there are",
        scope=Scope.VIEW,
        answer=DetectorAnswer,
    ),
)
