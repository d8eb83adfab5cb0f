"""What was found in a volume: its detections, and their outlines as pictures to lay over it."""

import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gently.visualization.query import NoQuery
from gently.visualization.replies import IMMUTABLE, in_thread, not_modified
from gently.visualization.state import State
from storage import LABELS, VolumeRecord, VolumeStore, labels_tag

__all__ = ["NoLabelsError", "label_routes"]

# By the numbers of the picture's pixels: nothing, an object that is certain, one that is not.
_PALETTE: Final = (0, 0, 0, 255, 209, 102, 159, 179, 200)
_CERTAIN: Final = 1
_UNCERTAIN: Final = 2
# A line is as wide as a pixel of a picture of so many rows.
_ROWS: Final = 512


class NoLabelsError(LookupError):
    """The volume is no label image."""


def label_routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        # "path" lets a path in place of a UID come through, to be told what a UID is.
        Route("/api/volumes/{uid:path}/detections", detections),
        Route("/api/labels/{uid:path}", outlines),
    ]


async def detections(request: Request[State]) -> Response:
    """``GET /api/volumes/{uid}/detections``: what was found in a volume, the newest first."""
    NoQuery.of(request.query_params)
    store, uid = request.state["store"], request.path_params["uid"]
    found = await in_thread(_detections, store, uid)
    return JSONResponse({"detections": found}, headers={"cache-control": "no-cache"})


async def outlines(request: Request[State]) -> Response:
    """``GET /api/labels/{uid}``: the outlines of a label image as a PNG, elsewhere transparent."""
    NoQuery.of(request.query_params)
    store, uid = request.state["store"], request.path_params["uid"]
    record = await in_thread(store.record, uid)
    headers = {"etag": f'"{record.checksum}"', "cache-control": IMMUTABLE}
    if known := not_modified(request, headers):
        return known
    png = await in_thread(_draw, store, record)
    return Response(png, media_type="image/png", headers=headers)


def _detections(store: VolumeStore, uid: str) -> list[dict[str, Any]]:
    source = store.record(uid)
    return [
        {"uid": labels.uid, "created": labels.created.isoformat(), **_finding(labels)}
        for labels in store.query(tag=labels_tag(source.uid))
    ]


def _finding(labels: VolumeRecord) -> dict[str, Any]:
    finding = labels.spec.metadata.get(LABELS)
    if not isinstance(finding, dict):
        raise NoLabelsError(f"volume {labels.uid} is no label image; name that of a detection")
    return finding


def _draw(store: VolumeStore, record: VolumeRecord) -> bytes:
    finding = _finding(record)
    kinds = np.zeros(1 << 16, np.uint8)
    for found in finding["objects"]:
        kinds[found["label"]] = _CERTAIN if found["certain"] else _UNCERTAIN
    with store.open(record.uid) as volume:
        labels = np.asarray(volume.array[0])
    picture = Image.fromarray(np.where(_is_rim(labels), kinds[labels], 0).astype(np.uint8), "P")
    picture.putpalette(_PALETTE)
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=0, compress_level=1)
    return file.getvalue()


def _is_rim(labels: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Whether a pixel has one of another object, or of none, near it."""
    width = max(1, labels.shape[0] // _ROWS)
    padded = np.pad(labels, width)
    rows, columns = labels.shape
    rim = np.zeros(labels.shape, bool)
    for down, right in ((0, width), (2 * width, width), (width, 0), (width, 2 * width)):
        rim |= padded[down : down + rows, right : right + columns] != labels
    return rim & (labels > 0)
