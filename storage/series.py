"""The volumes of one acquisition as one array of time points and channels: a zarr hierarchy.

Nothing is copied and nothing is stored: a tile of the series is a tile of one of its volumes, so
each volume stays what it was proven to be. A place for which no volume came reads as zeros, and
the metadata say which volumes there are.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

from storage import ngff
from storage.errors import UnevenSeriesError
from storage.hierarchy import Chunk, Hierarchy, tile
from storage.pyramid import levels
from storage.values import VolumeRecord, VolumeSpec

_ARRAY: Final = re.compile(rf"([0-9]{{1,3}})/{re.escape(ngff.METADATA)}")
_NUMBER: Final = r"(0|[1-9][0-9]{0,6})"
_CHUNK: Final = re.compile(rf"([0-9]{{1,3}}/c/){_NUMBER}/{_NUMBER}/([0-9/]+)")


class Series:
    """The keys of one acquisition: axes t, c, z, y, x, with the levels and tiles of its volumes.

    Of two volumes with the same place the one that was begun last counts.

    Parameters
    ----------
    uid
        Of the acquisition.
    records
        Its complete volumes, one at least, in any order.

    Raises
    ------
    UnevenSeriesError
        They differ in what makes one array.
    """

    def __init__(self, uid: str, records: Sequence[VolumeRecord]) -> None:
        self.uid: Final = uid
        in_time = sorted(records, key=lambda record: record.created)
        self._first = in_time[0].spec
        for record in in_time[1:]:
            _match(uid, self._first, record.spec)
        self.channels: Final = tuple(dict.fromkeys(record.spec.channel for record in in_time))
        self._volumes = {self._place(record.spec): record for record in in_time}
        self._hierarchy = Hierarchy(in_time[0])
        self._levels = {str(name): level for name, level in enumerate(levels(self._first))}

    @property
    def volume_bytes(self) -> int:
        """Bytes of the tiles of one volume, on all levels."""
        return sum(chunk.size for chunk in self._hierarchy.chunks())

    def find(self, key: str) -> bytes | tuple[str, Chunk] | None:
        """Return the document of this key, or the volume's UID and its chunk, or None."""
        if key == ngff.METADATA:
            return _encode(self._group())
        if (named := _ARRAY.fullmatch(key)) and named[1] in self._levels:
            return _encode(self._arrays()[named[1]])
        if not (named := _CHUNK.fullmatch(key)):
            return None
        level, t, c, rest = named.groups()
        volume = self._volumes.get((int(t), int(c)))
        chunk = self._hierarchy.find(f"{level}{rest}")
        return (volume.uid, chunk) if volume and isinstance(chunk, Chunk) else None

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Yield all metadata by key, the group's last."""
        for name, array in self._arrays().items():
            yield f"{name}/{ngff.METADATA}", _encode(array)
        yield ngff.METADATA, _encode(self._group())

    def volumes(self) -> Iterator[tuple[str, str]]:
        """Yield what a chunk's key has more in the series than in its volume, and the volume."""
        for (t, c), record in sorted(self._volumes.items()):
            yield f"{t}/{c}", record.uid

    def _place(self, spec: VolumeSpec) -> tuple[int, int]:
        return spec.time_point, self.channels.index(spec.channel)

    def _arrays(self) -> dict[str, dict[str, JsonValue]]:
        times = 1 + max(t for t, _ in self._volumes)
        return {
            name: ngff.array_document(
                (times, len(self.channels), *level.shape),
                self._first.dtype,
                (1, 1, *tile(level)),
                axes="tczyx",
            )
            for name, level in self._levels.items()
        }

    def _group(self) -> dict[str, JsonValue]:
        volumes: list[JsonValue] = [
            {
                "time_point": t,
                "channel": self.channels[c],
                "uid": record.uid,
                "created": record.created.isoformat(timespec="milliseconds"),
                "checksum": record.checksum,
            }
            for (t, c), record in sorted(self._volumes.items())
        ]
        ours: dict[str, JsonValue] = {
            "acquisition": {"uid": self.uid, "channels": [*self.channels], "volumes": volumes}
        }
        outer = (_time_axis(self._volumes), ngff.OuterAxis("c", "channel"))
        return ngff.group_document(
            self.uid, self._first, self._levels, self._arrays(), ours, outer=outer
        )


def _time_axis(volumes: Mapping[tuple[int, int], VolumeRecord]) -> ngff.OuterAxis:
    """Return the time axis, by the mean interval; the volumes' own times are beside it."""
    (first, _), (last, _) = min(volumes), max(volumes)
    if first == last:
        return ngff.OuterAxis("t", "time")
    passed = volumes[max(volumes)].created - volumes[min(volumes)].created
    interval_s = passed.total_seconds() / (last - first)
    if interval_s <= 0:  # a time point was taken again, after those that follow it
        return ngff.OuterAxis("t", "time")
    return ngff.OuterAxis("t", "time", step=interval_s, unit="second")


def _match(uid: str, first: VolumeSpec, other: VolumeSpec) -> None:
    for name in ("shape", "dtype", "pixel_size_um", "step_um"):
        ours, theirs = getattr(first, name), getattr(other, name)
        if ours != theirs:
            raise UnevenSeriesError(
                uid, f"{first.uid} has {name} {ours}, and {other.uid} has {theirs}"
            )


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()
