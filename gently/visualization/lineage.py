"""Where a volume came from and what came of it, for whoever asks over HTTP."""

from collections.abc import Callable

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gently.core.data_store import DataStoreError, Trace, UnknownRecordError
from gently.visualization.query import NoQuery
from storage import VolumeStore

Lineage = Callable[[str], Trace]
"""Returns the lineage of a uid, or raises `DataStoreError`; called on any thread."""


def lineage_route(store: VolumeStore, lineage: Lineage | None) -> Route:
    """Return the route of the lineage; without one it says that there is none."""

    async def volume_lineage(request: Request) -> Response:
        """``GET /api/volumes/{uid}/lineage``: all it came of and all that came of it, in order."""
        NoQuery.of(request.query_params)
        uid = request.path_params["uid"]
        store.path(uid)  # refuses what is no uid
        if lineage is None:
            raise HTTPException(404, "this server keeps no lineage; the copilot's own server does")
        try:
            trace = await anyio.to_thread.run_sync(lineage, uid)
        except UnknownRecordError as error:
            raise HTTPException(404, str(error)) from error
        except DataStoreError as error:
            raise HTTPException(500, str(error)) from error
        return JSONResponse(trace.to_json())

    return Route("/api/volumes/{uid:path}/lineage", volume_lineage)
