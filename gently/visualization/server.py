"""The viz server: a page on the loopback interface that shows the volumes on disk.

Reads volumes by UID from the store: it holds no hardware, and of the device layer it asks who has
control, and to stop. This is the application as such; `VizServer` in host.py runs it.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from os import PathLike
from pathlib import Path
from typing import Any, Final

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gently.client import DeviceLayerClient
from gently.visualization.data import data_routes
from gently.visualization.entry import ENTER, Door, Guarded, enter
from gently.visualization.feed import VolumeFeed
from gently.visualization.images import VolumeImages
from gently.visualization.labels import NoLabelsError, label_routes
from gently.visualization.lineage import Lineage, lineage_route
from gently.visualization.microscope import control, stop
from gently.visualization.query import ImageQuery, ListQuery, NoQuery, QueryError
from gently.visualization.replies import (
    IMMUTABLE,
    REVALIDATE,
    ClosingStream,
    in_thread,
    not_modified,
)
from gently.visualization.state import State
from gently.visualization.virtual_zarr import NoSuchKeyError, VirtualZarr
from gently.wire import ClientError
from storage import (
    AcquisitionNotFoundError,
    BrokenVolumeError,
    InvalidUidError,
    StorageError,
    UnevenSeriesError,
    VolumeNotFoundError,
    VolumeStore,
)

PAGE: Final = Path(__file__).parent / "static"
_LOOPBACK: Final = ("127.0.0.1", "localhost")

# The registry of a Windows machine may call JavaScript text/plain, and browsers then refuse it.
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Only what this server sends may run or be shown on the page.
_POLICY: Final = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def create_app(
    store: VolumeStore,
    feed: VolumeFeed,
    door: Door,
    *,
    lineage: Lineage | None = None,
    device_layer: DeviceLayerClient | None = None,
    heartbeat_s: float = 10.0,
) -> Starlette:
    """Return the ASGI application.

    Parameters
    ----------
    store : VolumeStore
        Where the volumes are.
    feed : VolumeFeed
        Says when there is a new one. Close it before the server stops: that ends the open event
        streams.
    door : Door
        Says who is let in.
    lineage : callable, optional
        Returns the lineage of a uid, or raises `DataStoreError`.
    device_layer : DeviceLayerClient, optional
        Of the microscope that can be stopped on the page.
    heartbeat_s : float
        How often a quiet event stream says that it is alive.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        yield State(
            store=store,
            feed=feed,
            images=VolumeImages(store),
            zarr=VirtualZarr(store),
            device_layer=device_layer,
            heartbeat_s=heartbeat_s,
        )

    app = Starlette(
        routes=[
            Route("/", page),
            Route(ENTER, enter, methods=["GET", "POST"]),
            Route("/api/control", control),
            Route("/api/stop", stop, methods=["POST"]),
            Route("/api/volumes", list_volumes),
            lineage_route(store, lineage),
            *data_routes(),
            *label_routes(),
            # "path" lets a path in place of a UID come through, to be told what a UID is.
            Route("/api/volumes/{uid:path}", volume),
            Route("/api/images/{uid:path}/histogram", histogram),
            Route("/api/images/{uid:path}", image),
            Route("/api/events", events),
            Mount("/static", _PageFiles(directory=PAGE)),
        ],
        # A page of another site that makes its name resolve to this machine is turned away.
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK),
            Middleware(Guarded, door=door),
        ],
        exception_handlers=dict.fromkeys((HTTPException, *_STATUS), _explain),
        lifespan=lifespan,
    )
    app.state.door = door
    return app


async def page(_request: Request[State]) -> Response:
    """``GET /``: the page."""
    headers = {"cache-control": "no-cache", "content-security-policy": _POLICY}
    return FileResponse(PAGE / "index.html", media_type=_MEDIA_TYPES[".html"], headers=headers)


async def list_volumes(request: Request[State]) -> Response:
    """``GET /api/volumes?limit=``: the metadata of the newest volumes, newest first."""
    query = ListQuery.of(request.query_params)
    store = request.state["store"]
    records = await in_thread(lambda: store.list(limit=query.limit))
    return JSONResponse({"volumes": [record.metadata() for record in records]})


async def volume(request: Request[State]) -> Response:
    """``GET /api/volumes/{uid}``: one volume's metadata."""
    NoQuery.of(request.query_params)
    store, uid = request.state["store"], request.path_params["uid"]
    record = await in_thread(store.record, uid)
    return JSONResponse(record.metadata())


async def image(request: Request[State]) -> Response:
    """``GET /api/images/{uid}?z=&projection=&low=&high=&y=a:b&x=``: a picture as 8-bit PNG.

    Of a slice, or of the part of it between the rows and columns given, or of a projection.
    """
    query = ImageQuery.of(request.query_params)
    images, uid = request.state["images"], request.path_params["uid"]
    named = None not in (query.view, query.low, query.high)

    picture = await in_thread(images.picture, uid, query)
    headers = {"etag": picture.etag, "cache-control": IMMUTABLE if named else REVALIDATE}
    if known := not_modified(request, headers):
        return known
    png = await in_thread(images.draw, picture)
    return Response(png, media_type="image/png", headers=headers)


async def histogram(request: Request[State]) -> Response:
    """``GET /api/images/{uid}/histogram``: the counts of a sample, and the automatic contrast."""
    NoQuery.of(request.query_params)
    images, uid = request.state["images"], request.path_params["uid"]
    found = await in_thread(images.statistics, uid)
    return JSONResponse({"uid": uid, **asdict(found)}, headers={"cache-control": REVALIDATE})


async def events(request: Request[State]) -> Response:
    """``GET /api/events``: ``ready`` when listening, then ``volume.published`` for each volume.

    Whoever reads the list after ``ready`` misses nothing. A quiet stream sends ``heartbeat``.
    """
    NoQuery.of(request.query_params)
    told = _tell(request.state["feed"], request.state["heartbeat_s"])
    return ClosingStream(
        told, media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


class _PageFiles(StaticFiles):
    """The page's own files: always the ones of the running version, with the right media types."""

    def file_response(self, full_path: str | PathLike[str], *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(full_path, *args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        response.headers["content-type"] = _MEDIA_TYPES[Path(full_path).suffix]
        return response


async def _tell(feed: VolumeFeed, heartbeat_s: float) -> AsyncGenerator[str]:
    with feed.subscribe() as inbox:
        yield "retry: 1000\n" + _event("ready", {})
        while True:
            metadata = None
            try:
                with anyio.move_on_after(heartbeat_s):
                    metadata = await inbox.receive()
            except anyio.EndOfStream:
                return
            if metadata is not None:
                yield _event("volume.published", metadata)
            else:
                yield _event("heartbeat", {})


def _event(kind: str, data: Mapping[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


async def _explain(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    body: dict[str, Any] = {"detail": str(error)}
    if isinstance(error, InvalidUidError):
        body["errors"] = [{"field": "uid", "message": str(error)}]
    if isinstance(error, QueryError):
        body["errors"] = [{"field": f, "message": m} for f, m in error.errors.items()]
    return JSONResponse(body, status)


_STATUS: Final[Mapping[type[Exception], HTTPStatus]] = {
    QueryError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NoSuchKeyError: HTTPStatus.NOT_FOUND,
    NoLabelsError: HTTPStatus.NOT_FOUND,
    InvalidUidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    VolumeNotFoundError: HTTPStatus.NOT_FOUND,
    AcquisitionNotFoundError: HTTPStatus.NOT_FOUND,
    UnevenSeriesError: HTTPStatus.CONFLICT,
    BrokenVolumeError: HTTPStatus.INTERNAL_SERVER_ERROR,
    StorageError: HTTPStatus.INTERNAL_SERVER_ERROR,
    OSError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ClientError: HTTPStatus.BAD_GATEWAY,
}
