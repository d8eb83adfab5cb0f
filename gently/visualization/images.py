"""Pictures of the volumes on disk, found by UID alone.

Every method blocks on the file system: call them on worker threads, from as many as you like.
"""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gently.visualization.contrast import Statistics, Window, encode_png, statistics, to_8bit
from gently.visualization.memo import Memo
from gently.visualization.projections import Plane, Projections, project
from gently.visualization.query import ImageQuery, QueryError
from storage import VolumeStore

# Three projections of a 2048 × 2048 volume are about 10 MB; statistics are small.
_PROJECTIONS_KEPT = 8
_STATISTICS_KEPT = 256


@dataclass(frozen=True)
class Picture:
    """Which picture of a volume: everything that its pixels depend on, so also its identity."""

    uid: str
    view: int | Plane
    window: Window
    rows: range
    columns: range

    @property
    def etag(self) -> str:
        """The identity as an HTTP entity tag."""
        part = f"{self.rows.start}:{self.rows.stop}-{self.columns.start}:{self.columns.stop}"
        return f'"{self.uid}-{self.view}-{self.window.low}-{self.window.high}-{part}"'


class VolumeImages:
    """Draws slices and projections of the volumes in a store.

    What is dear to compute is kept for the volumes looked at last: a finished volume never changes.
    """

    def __init__(self, store: VolumeStore) -> None:
        self._store = store
        self._projections = Memo(self._project, _PROJECTIONS_KEPT)
        self._statistics = Memo(self._sample, _STATISTICS_KEPT)

    def statistics(self, uid: str) -> Statistics:
        """Return the distribution of a volume's counts."""
        return self._statistics(uid)

    def projection(self, uid: str, plane: Plane) -> NDArray[Any]:
        """Return a maximum projection; the volume is read once for all three."""
        return self._projections(uid).onto(plane)

    def picture(self, uid: str, query: ImageQuery) -> Picture:
        """Choose a picture; what is left open is the middle slice and the automatic contrast.

        Raises
        ------
        QueryError
            The volume has no such slice or part, or the window is empty.
        """
        shape = self._store.record(uid).shape
        view = query.view
        if view is None:
            view = shape[0] // 2
        if isinstance(view, int) and view >= shape[0]:
            raise QueryError({"z": f"this volume has slices 0 to {shape[0] - 1}, not {view}"})
        rows, columns = query.y.within("y", shape[1]), query.x.within("x", shape[2])
        return Picture(uid, view, self._window(uid, query.low, query.high), rows, columns)

    def draw(self, picture: Picture) -> bytes:
        """Return a picture as an 8-bit greyscale PNG."""
        if isinstance(picture.view, int):
            rows, columns = picture.rows, picture.columns
            with self._store.open(picture.uid) as volume:
                image = volume.array[
                    picture.view, rows.start : rows.stop, columns.start : columns.stop
                ]
                return encode_png(to_8bit(image, picture.window))
        return encode_png(to_8bit(self.projection(picture.uid, picture.view), picture.window))

    def _window(self, uid: str, low: float | None, high: float | None) -> Window:
        if low is None or high is None:
            automatic = self.statistics(uid).window
            low = automatic.low if low is None else low
            high = automatic.high if high is None else high
        if low >= high:
            raise QueryError({"low": f"low must be below high; they are {low:g} and {high:g}"})
        return Window(low, high)

    def _project(self, uid: str) -> Projections:
        with self._store.open(uid) as volume:
            return project(volume.record.shape, volume.slices())

    def _sample(self, uid: str) -> Statistics:
        with self._store.open(uid) as volume:
            return statistics(volume.array)
