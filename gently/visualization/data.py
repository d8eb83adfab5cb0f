"""The routes that give pixels as they are: for programs, where images.py draws for eyes."""

import math
from collections.abc import AsyncGenerator
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import DTypeLike, NDArray
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from gently.visualization.query import NoQuery, ProjectionQuery, RoiQuery
from gently.visualization.replies import (
    IMMUTABLE,
    REVALIDATE,
    ClosingStream,
    in_thread,
    not_modified,
    send_bytes,
)
from gently.visualization.state import State
from storage import Chunk, Volume

_RAW: Final = "application/octet-stream"
# What is read and sent at a time of a large region.
_PIECE_BYTES: Final = 4 << 20
# Viewers are pages of other sites. They may read what they have the UID of, which cannot be
# guessed, and nothing here lists UIDs to them.
_FOR_VIEWERS: Final = (
    Middleware(
        CORSMiddleware,
        allow_origins="*",
        allow_methods=("GET", "HEAD"),
        allow_headers=("Range", "If-None-Match", "If-Range"),
        allow_private_network=True,
        expose_headers=("ETag", "Content-Range", "Accept-Ranges", "Content-Length"),
    ),
)


def data_routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        # "path" lets a path in place of a UID come through, to be told what a UID is.
        Route("/api/volumes/{uid:path}/roi", roi),
        Route("/api/volumes/{uid:path}/projection", projection),
        Mount(
            "/volumes",
            routes=[
                Route("/{uid:path}.tif", original),
                Route("/{uid:path}.zarr/{key:path}", zarr),
            ],
            middleware=_FOR_VIEWERS,
        ),
        Mount(
            "/acquisitions",
            routes=[Route("/{uid:path}.zarr/{key:path}", series)],
            middleware=_FOR_VIEWERS,
        ),
    ]


async def zarr(request: Request[State]) -> Response:
    """``GET /volumes/{uid}.zarr/{key}``: the volume as OME-Zarr 0.5, by the keys of zarr v3."""
    source = request.state["zarr"]
    uid, key = request.path_params["uid"], request.path_params["key"]
    found = await in_thread(source.find, uid, key)
    if isinstance(found, Chunk):
        headers = {"etag": f'"{uid}-{key}"', "cache-control": IMMUTABLE}
        return await send_bytes(
            request, partial(source.read, uid, found), found.size, headers, _RAW
        )
    return await _document(request, found)


async def series(request: Request[State]) -> Response:
    """``GET /acquisitions/{uid}.zarr/{key}``: all its volumes as one OME-Zarr of t, c, z, y, x."""
    source = request.state["zarr"]
    uid, key = request.path_params["uid"], request.path_params["key"]
    found = await in_thread(source.find_in_series, uid, key)
    if isinstance(found, bytes):
        return await _document(request, found)
    volume_uid, chunk = found
    # A volume never changes, but another one may come to its place.
    headers = {"etag": f'"{volume_uid}-{key}"', "cache-control": REVALIDATE}
    return await send_bytes(
        request, partial(source.read, volume_uid, chunk), chunk.size, headers, _RAW
    )


async def _document(request: Request[State], found: bytes) -> Response:
    # How a volume is described may change with this program.
    headers = {"etag": f'"{xxhash.xxh3_64_hexdigest(found)}"', "cache-control": REVALIDATE}
    return await send_bytes(request, lambda: found, len(found), headers, "application/json")


async def original(request: Request[State]) -> Response:
    """``GET /volumes/{uid}.tif``: the file itself, or any byte ranges of it."""
    NoQuery.of(request.query_params)
    record = await in_thread(request.state["store"].record, request.path_params["uid"])
    if record.path.suffix != ".tif":
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            f"volume {record.uid} is no TIFF file; read it at /volumes/{record.uid}.zarr",
        )
    headers = {"etag": f'"{record.checksum}"', "cache-control": IMMUTABLE}
    known = not_modified(request, headers)
    return known or FileResponse(record.path, headers=headers, media_type="image/tiff")


async def roi(request: Request[State]) -> Response:
    """``GET /api/volumes/{uid}/roi?z=a:b&y=&x=``: the pixels of a region, as they are.

    Little-endian, in the order z, y, x, without a header; ``X-Shape`` and ``X-Dtype`` say how to
    read them. What is left open is taken whole. Memory does not grow with the region.
    """
    query = RoiQuery.of(request.query_params)
    volume = await in_thread(request.state["store"].open, request.path_params["uid"])
    region = query.within(volume.record.shape)
    shape = tuple(len(part) for part in region)
    headers = _described(shape, volume.record.dtype)
    if request.method == "HEAD":
        volume.close()
        return Response(None, headers=headers, media_type=_RAW)
    return ClosingStream(_pieces(volume, region), headers=headers, media_type=_RAW)


async def projection(request: Request[State]) -> Response:
    """``GET /api/volumes/{uid}/projection?plane=``: the maximum over all slices, rows or columns.

    Sent as `roi` sends its pixels. ``plane`` is ``xy`` (y, x), ``xz`` (z, x) or ``yz`` (y, z).
    """
    query = ProjectionQuery.of(request.query_params)
    images, uid = request.state["images"], request.path_params["uid"]
    found = await in_thread(images.projection, uid, query.plane)
    return Response(found.tobytes(), headers=_described(found.shape, found.dtype), media_type=_RAW)


def _described(shape: tuple[int, ...], dtype: DTypeLike) -> dict[str, str]:
    pixels = np.dtype(dtype)
    return {
        "x-shape": ",".join(map(str, shape)),
        "x-dtype": pixels.name,
        "content-length": str(math.prod(shape) * pixels.itemsize),
        "cache-control": IMMUTABLE,
    }


async def _pieces(volume: Volume, region: tuple[range, range, range]) -> AsyncGenerator[bytes]:
    slices, rows, columns = region
    slice_bytes = len(rows) * len(columns) * np.dtype(volume.record.dtype).itemsize
    step = max(1, _PIECE_BYTES // slice_bytes)

    def read(z: int) -> bytes:
        piece: NDArray[Any] = volume.array[
            z : min(z + step, slices.stop),
            rows.start : rows.stop,
            columns.start : columns.stop,
        ]
        return piece.tobytes()

    with volume:
        for z in slices[::step]:
            yield await in_thread(read, z)
