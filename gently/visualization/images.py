"""Pictures of the volumes on disk, found by UID alone.

Every method blocks on the file system: call them on worker threads, from as many as you like.
"""

from dataclasses import dataclass

from gently.visualization.contrast import Statistics, Window, encode_png, statistics, to_8bit
from gently.visualization.memo import Memo
from gently.visualization.projections import Plane, Projections, project
from gently.visualization.query import QueryError
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

    @property
    def etag(self) -> str:
        """The identity as an HTTP entity tag."""
        return f'"{self.uid}-{self.view}-{self.window.low}-{self.window.high}"'


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

    def picture(
        self, uid: str, view: int | Plane | None, low: float | None, high: float | None
    ) -> Picture:
        """Choose a picture; what is left open is the middle slice and the automatic contrast.

        Raises
        ------
        QueryError
            The volume has no such slice, or the window is empty.
        """
        slices = self._store.record(uid).shape[0]
        if view is None:
            view = slices // 2
        if isinstance(view, int) and view >= slices:
            raise QueryError({"z": f"this volume has slices 0 to {slices - 1}, not {view}"})
        if low is None or high is None:
            automatic = self.statistics(uid).window
            low = automatic.low if low is None else low
            high = automatic.high if high is None else high
        if low >= high:
            raise QueryError({"low": f"low must be below high; they are {low:g} and {high:g}"})
        return Picture(uid, view, Window(low, high))

    def draw(self, picture: Picture) -> bytes:
        """Return a picture as an 8-bit greyscale PNG."""
        if isinstance(picture.view, int):
            with self._store.open(picture.uid) as volume:
                return encode_png(to_8bit(volume.array[picture.view], picture.window))
        projection = self._projections(picture.uid).onto(picture.view)
        return encode_png(to_8bit(projection, picture.window))

    def _project(self, uid: str) -> Projections:
        with self._store.open(uid) as volume:
            return project(volume.array)

    def _sample(self, uid: str) -> Statistics:
        with self._store.open(uid) as volume:
            return statistics(volume.array)
