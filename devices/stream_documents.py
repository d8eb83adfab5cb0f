"""The Bluesky documents that say where a volume lies."""

from typing import Any

from event_model import compose_stream_resource

from devices.frames import AcquiredVolume, VolumeRequest

__all__ = ["stream_documents"]


def stream_documents(
    volume: AcquiredVolume, request: VolumeRequest, *, data_key: str, shape: tuple[int, ...]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the documents of a published volume of (z, y, x), as its light sheet's `data_key`.

    The form is that which tiled's writer consumes as it stands: one resource a run, one index
    an event, the literal uid in the template, the descriptor filled in by bluesky.
    """
    where: dict[str, Any]
    if request.file_format == "ome-tiff":
        mimetype, folder = "multipart/related;type=image/tiff", volume.path.parent
        where = {"template": volume.path.name}
    else:
        mimetype, folder = "application/x-zarr", volume.path
        where = {"dataset": "0"}
    resource, compose_datum = compose_stream_resource(
        mimetype=mimetype,
        uri=f"{folder.as_uri().replace('file:///', 'file://localhost/')}/",
        data_key=data_key,
        parameters={**where, "chunk_shape": [1, *shape], "join_method": "stack"},
        start={"uid": request.run_uid},
    )
    datum = compose_datum(
        indices={"start": 0, "stop": 1}, descriptor={"uid": "", "data_keys": {data_key: {}}}
    )
    return [("stream_resource", dict(resource)), ("stream_datum", dict(datum))]
