"""Volumes being taken, from the first frame to the published files, on a thread of their own.

One volume, or several in a row for which the controller does not pause: while the file of one is
finished, the frames of the next wait in the core's buffer.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice

from devices.errors import AcquisitionError
from devices.frames import (
    AcquiredVolume,
    FileFormat,
    FrameSink,
    OpenSink,
    ViewName,
    VolumeRequest,
)
from devices.pace import Pace
from devices.planning import Plans, drives_um, plan, plan_alike, positions_um
from devices.progress import VolumeStatus
from devices.slicing import Course, Places, Slicer, Slices
from devices.stage import Stage

__all__ = ["Order", "Parts", "Taking"]

LOGGER = logging.getLogger(__name__)
_PATIENCE_S = 10.0
"""How long the light waits for the next volume of a row to be asked for."""
_REST_S = 1.0


@dataclass(frozen=True)
class Parts:
    """With what volumes are taken; as of `LightSheet`."""

    name: str
    slicer: Slicer
    stages: tuple[Stage, ...]
    open_sink: OpenSink
    paces: Mapping[FileFormat, Pace]


@dataclass(frozen=True)
class Order:
    """A volume that was asked for, or one of each side, and the status that ends with it."""

    request: VolumeRequest
    status: VolumeStatus


Published = Callable[[Order, Plans, Mapping[ViewName, AcquiredVolume]], None]


class Taking:
    """A row of volumes, often of one; safe to use from any thread.

    Parameters
    ----------
    parts
        With what.
    published
        Is told of each that is there, on the row's thread, before its status ends.
    first
        What begins it.
    before
        The row before it, which has to have ended.
    """

    def __init__(
        self, parts: Parts, published: Published, first: Order, before: "Taking | None"
    ) -> None:
        self.error: Exception | None = None
        """What went wrong after the last status had ended."""
        self._parts = parts
        self._published = published
        self._before = before
        self._changed = threading.Condition()
        self._cancelled = threading.Event()
        self._next: Order | None = first
        self._last = first.request
        self._is_open = True
        self._row = ExitStack()
        self._slices: Slices | None = None
        self._planned: Plans = {}
        self._centers_um: Places = {}
        self._number = 0
        self._elapsed_s: dict[ViewName, float] = {}
        """When the last frame of each side was taken, in s since the cameras were started."""
        self._thread = threading.Thread(
            target=self._run, args=(first,), name=parts.name, daemon=True
        )

    def start(self) -> None:
        """Begin; whoever may have to end it has to have it by now."""
        self._thread.start()

    # ------------------------------------------------------------------ from other threads

    def awaits(self, request: VolumeRequest) -> bool:
        """Whether a request is for the volume that follows the last one at once."""
        with self._changed:
            is_open = self._is_open and not self._cancelled.is_set() and self._next is None
            return is_open and self._last.is_followed_by(request)

    def go_on(self, order: Order) -> bool:
        """Take the next volume of the row; return False if it is not what was awaited."""
        with self._changed:
            if not self.awaits(order.request):
                return False
            self._next = order
            self._changed.notify_all()
            return True

    def leave(self) -> None:
        """End it, and wait for that, if it waits for a volume that will not be asked for."""
        with self._changed:
            is_waiting = self._is_open and self._number > 0 and self._next is None
        if is_waiting:
            self.cancel()
            self.join(_REST_S)

    def cancel(self) -> None:
        """End it, without waiting for the end."""
        self._cancelled.set()
        with self._changed:
            self._changed.notify_all()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end: dark, idle, and every file closed."""
        if self._thread.ident is not None:  # it was begun
            self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    # ------------------------------------------------------------------ on its thread

    def _run(self, first: Order) -> None:
        try:
            order: Order | None = first
            while order is not None:
                if not self._came(order):
                    return
                order = self._awaited()
            self._end_early()
        except Exception as error:
            LOGGER.exception("%s: after its last volume", self._parts.name)
            self.error = error
        finally:
            with self._changed:
                self._is_open = False

    def _came(self, order: Order) -> bool:
        """Take what is ordered, and let its status end; return whether it came."""
        try:
            self._taken(order)
        except Exception as error:  # noqa: BLE001 - whatever it is, its status has to end
            LOGGER.info("%s gave up its volume: %s", self._parts.name, error)
            with self._changed:
                self._is_open = False
            if order.status.is_given_up:
                order.status.set_finished()
            else:
                order.status.set_exception(error)
            return False
        with self._changed:
            self._last, self._next = order.request, None
        order.status.set_finished()
        return True

    def _taken(self, order: Order) -> None:
        """Take what is ordered and tell of it; if that fails, the row ends in the dark."""
        try:
            volumes = self._take(order)
            self._published(order, self._planned, volumes)
        except BaseException:
            self._row.close()
            raise

    def _awaited(self) -> Order | None:
        """Wait for the next volume of the row; None if there is none, or not in time."""
        with self._changed:
            if self._last.num_following:
                self._changed.wait_for(lambda: self._next or self._cancelled.is_set(), _PATIENCE_S)
            self._is_open = self._next is not None
            return self._next

    def _end_early(self) -> None:
        """Put out the light of a row that nobody goes on with, and count what it has shone."""
        if not self._last.num_following:
            return
        try:
            self._row.close()
        finally:
            with ExitStack() as shelf:
                for planned in self._plan_next(self._last).values():
                    shelf.enter_context(self._parts.open_sink(planned)).lit()

    # ------------------------------------------------------------------ one volume

    def _take(self, order: Order) -> Mapping[ViewName, AcquiredVolume]:
        request, began = order.request, time.monotonic()
        course = None
        if self._number:
            self._planned = self._plan_next(request)
        else:
            course = self._begin(request)
        came = dict.fromkeys(request.views, 0)
        with ExitStack() as shelf:
            sinks = {
                view: shelf.enter_context(self._parts.open_sink(planned))
                for view, planned in self._planned.items()
            }
            try:
                with self._row.pop_all() as lit:
                    slices = self._slices or lit.enter_context(self._lit(request))
                    for sink in sinks.values():
                        sink.lit()
                    self._write(order, slices, sinks, came)
                    if request.num_following:
                        self._row, self._slices = lit.pop_all(), slices
            except AcquisitionError as error:
                raise _short(request, sinks, came, error) from error
            volumes = {view: sink.finish() for view, sink in sinks.items()}
        if course is not None and not request.num_following:  # it was alone
            size = sum(planned.bytes for planned in self._planned.values())
            left_out_s = time.monotonic() - began - course.seconds
            self._parts.paces[request.file_format].learn(size, left_out_s)
        self._number += 1
        return volumes

    def _begin(self, request: VolumeRequest) -> Course:
        """Make ready for the first volume of the row, in the dark; return what it comes to."""
        if self._before is not None:
            self._before.join(_REST_S)
            if self._before.is_alive:
                raise AcquisitionError(f"{self._parts.name} is still taking a volume")
            self._before = None
        slicer = self._parts.slicer
        found_um = positions_um(self._parts.stages)
        at_um = drives_um(slicer, found_um)
        slicer.check(request, at_um)
        self._centers_um = slicer.centers_um(request, at_um)
        self._planned = plan(slicer, request, self._centers_um, found_um)
        return slicer.course(request, at_um)

    def _plan_next(self, request: VolumeRequest) -> Plans:
        """Return what is planned of a volume that follows: as the first, and since when."""
        said = {
            view: {"repeat": {"number": self._number, "begun_s": self._elapsed_s[view]}}
            for view in self._planned
        }
        return plan_alike(self._planned, request, said)

    def _lit(self, request: VolumeRequest) -> AbstractContextManager[Slices]:
        return self._parts.slicer.slices(request, self._centers_um, self._planned, self._cancelled)

    def _write(
        self,
        order: Order,
        slices: Slices,
        sinks: Mapping[ViewName, FrameSink],
        came: dict[ViewName, int],
    ) -> None:
        """Write the frames of one volume of each side as they come."""
        began_s, request = dict(self._elapsed_s), order.request
        # The last one takes them to their end, where more may be done than giving a frame.
        frames = request.num_slices * len(sinks) if request.num_following else None
        for one in islice(slices, frames):
            delta_t_s = one.elapsed_s - began_s.get(one.view, 0.0)
            sinks[one.view].write(one.pixels, index=one.index, delta_t_s=delta_t_s, z_um=one.z_um)
            came[one.view] += 1
            self._elapsed_s[one.view] = one.elapsed_s
            order.status.progress(sum(came.values()))


def _short(
    request: VolumeRequest,
    sinks: Mapping[ViewName, FrameSink],
    came: Mapping[ViewName, int],
    error: AcquisitionError,
) -> AcquisitionError:
    """Say why volumes fell short, and keep what came of them if that was asked for."""
    why = str(error)
    if waited_s := sum(sink.back_pressure_s for sink in sinks.values()):
        why += f" The camera had waited {waited_s:.3g} s for the disk."
    if not any(came.values()) or request.on_short == "discard":
        return AcquisitionError(f"{why} Nothing of the volume is kept.")
    kept = [sinks[view].keep(why).uid for view, frames in came.items() if frames]
    return AcquisitionError(
        f"{why} What came is kept as the incomplete volume {' and '.join(kept)}."
    )
