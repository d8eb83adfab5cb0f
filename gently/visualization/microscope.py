"""What the page says of the microscope, and its one command: who has control, and stop."""

from functools import partial
from typing import Final

import anyio
from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gently.visualization.query import NoQuery
from gently.visualization.replies import in_thread
from gently.visualization.state import State

_REASON: Final = "asked for on the page"


async def control(request: Request[State]) -> Response:
    """``GET /api/control``: who has control of the microscope; ``null`` if there is none."""
    NoQuery.of(request.query_params)
    if (device_layer := request.state["device_layer"]) is None:
        return JSONResponse(None)
    lease = await in_thread(device_layer.lease)
    return JSONResponse({**lease.model_dump(mode="json"), "told": str(lease)})


async def stop(request: Request[State]) -> Response:
    """``POST /api/stop``: stop the microscope, whoever has control of it."""
    NoQuery.of(request.query_params)
    if (device_layer := request.state["device_layer"]) is None:
        raise HTTPException(404, "This page shows volumes only: it was given no device layer.")
    halt = partial(device_layer.stop, _REASON)
    # Threads of its own: pictures that are being drawn must not keep it waiting.
    report = await to_thread.run_sync(halt, limiter=anyio.CapacityLimiter(1))
    return JSONResponse({**report.model_dump(mode="json"), "told": report.sentences()})
