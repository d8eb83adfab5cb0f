"""Volumes that the controller takes by itself: it scans, steps, shines and triggers the cameras.

Everything is told beforehand, in the dark, and only where it differs from what the devices have
been told before: a volume like the last one costs next to nothing to make ready. One core cannot
run two independent sequences, so that both cameras are run by the adapter of several, and their
frames are told apart by their tags.
"""

import logging
import threading
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from devices.core import Core
from devices.errors import CoreTimeoutError, DeviceError, LimitError, StoppedError
from devices.frames import PlannedVolume, ViewName, VolumeRequest
from devices.lasers import Lasers
from devices.properties import Properties, Value
from devices.rows import one_after_another, rounds
from devices.scanner import IDLE, SPIM_STATE, refuse_unless_idle
from devices.slicing import Course, Places, Slice, Slices, check_sweep
from devices.sweep_watch import SweepWatch
from devices.timing import CameraClock, Timing, slice_timing
from devices.triggered_view import Calibration, TriggeredView

__all__ = ["TriggeredSlicer"]

LOGGER = logging.getLogger(__name__)
_TRIGGER_SOURCE = "TRIGGER SOURCE"
_REPEATS = "SPIMNumRepeats"


class TriggeredSlicer:
    """Lets the controller take the slices, from one side or from both, one stack each.

    Parameters
    ----------
    core, lasers, properties
        What it works with.
    views
        The sides. What belongs to the controller as a whole is told to the scanner of side a.
    both_cameras
        The label of the adapter that runs the cameras of both sides; None if there is one side.

    Raises
    ------
    LimitError
        If a sheet is wider than its scanner may turn.
    """

    repeats = True

    def __init__(
        self,
        core: Core,
        views: Mapping[ViewName, TriggeredView],
        lasers: Lasers,
        properties: Properties,
        *,
        both_cameras: str | None,
    ) -> None:
        self.views = views
        self.light = lasers
        self._core = core
        self._properties = properties
        self._both_cameras = both_cameras
        self._master = views["a"].scanner.label
        for view in views.values():
            view.check_sheet()

    def calibrate(self, view: ViewName, calibration: Calibration) -> None:
        """Use a calibration from the next volume on."""
        self.views = {**self.views, view: replace(self.views[view], calibration=calibration)}

    # ------------------------------------------------------------------ beforehand

    def check_calibrated(
        self, request: VolumeRequest, now_s: float, renewed: Collection[ViewName] = ()
    ) -> None:
        """Raise `LimitError` if slices would be lit by a calibration that has come to its end.

        Where the sheet stays, what is to be found out is where it lies: that needs none.

        Parameters
        ----------
        request
            For a volume.
        now_s
            When it would be taken, in s since 1970.
        renewed
            Sides that will have been calibrated again by then.
        """
        if request.sheet_um is not None:
            return
        for view in request.views:
            until_s = self.views[view].calibration.valid_until_s
            if until_s is not None and now_s > until_s and view not in renewed:
                until = datetime.fromtimestamp(until_s, UTC)
                raise LimitError(
                    f"the calibration of view {view} may be used until {until:%Y-%m-%d %H:%M} UTC, "
                    "and nobody knows where the sheet is after that. Calibrate again "
                    f"(calibrate_piezo_galvo view={view}).",
                    field="light_sheet",
                )

    @property
    def pace_source(self) -> str:
        """Where the times of its slices come from."""
        return "the time of a slice is the one that the controller is told"

    def timing(self, request: VolumeRequest) -> Timing:
        """Return the timing of a slice, or raise `LimitError`; asks no hardware."""
        views = [self.views[view] for view in request.views]
        clocks = [view.camera.clock() for view in views]
        slowest = CameraClock(
            readout_ms=max(clock.readout_ms for clock in clocks),
            reset_ms=max(clock.reset_ms for clock in clocks),
        )
        filter_khz = min(view.scanner.filter_khz for view in views)
        return slice_timing(request.exposure_ms, slowest, filter_khz=filter_khz)

    def centers_um(self, request: VolumeRequest, drives_um: Places) -> Places:
        """Return the middles of the volumes: what was asked for, or else where the piezos are."""
        asked_um = request.center_um
        return {v: drives_um[v] if asked_um is None else asked_um for v in request.views}

    def check(self, request: VolumeRequest, drives_um: Places) -> None:
        """Raise `LimitError` if it cannot be taken from there; asks no hardware."""
        self.light.line(request.line)
        self.light.checked_percent(request.line, self._percent(request))
        if request.step_um < 0:
            raise LimitError(
                f"the controller steps upwards, not by {request.step_um:g} µm", field="step_um"
            )
        for name, center_um in self.centers_um(request, drives_um).items():
            view = self.views[name]
            check_sweep(request, view.drive, drives_um[name], center_um)
            ends_um = request.ends_um(center_um) if request.sheet_um is None else [request.sheet_um]
            for end_um in ends_um:
                view.check_lit(request, end_um)
        self.timing(request)

    def course(self, request: VolumeRequest, drives_um: Places) -> Course:
        """Return what the drives and the light would do."""
        timing = self.timing(request)
        slices = request.num_slices * len(request.views)
        stations_um: dict[ViewName, tuple[float, ...]] = {}
        for name, center_um in self.centers_um(request, drives_um).items():
            if request.goes_somewhere:
                stations_um[name] = (*request.ends_um(center_um), drives_um[name])
        return Course(stations_um, slices * timing.slice_ms / 1000, slices * timing.laser_ms / 1000)

    def power_mw(self, request: VolumeRequest) -> float | None:
        """Return the power that is asked for, at the sample; None if nobody has measured it."""
        mw_per_percent = self.light.line(request.line).mw_per_percent
        return None if mw_per_percent is None else self._percent(request) * mw_per_percent

    # ------------------------------------------------------------------ a volume

    def arm(self, request: VolumeRequest, centers_um: Places) -> Mapping[str, Any]:
        """Tell all devices what they do not know yet, in the dark; return what is known of it.

        Raises
        ------
        LimitError
            If slices would be lit by a calibration that has come to its end.
        CoreError
            If a device has not taken what it was told.
        AcquisitionError
            If a camera does not expose as it was asked to.
        """
        self.check_calibrated(request, time.time())
        timing = self.timing(request)
        for name, center_um in centers_um.items():
            view = self.views[name]
            self._properties.write(
                view.camera.label, {"SENSOR MODE": "PROGRESSIVE", "TRIGGER ACTIVE": "EDGE"}
            )
            view.camera.expose(request.exposure_ms)
            self._properties.write(view.scanner.label, view.mirror(request, center_um))
            self._properties.write(view.drive.label, view.focus(request, center_um))
        self._properties.write(self._master, {SPIM_STATE: IDLE, **self._card(request, timing)})
        line = request.line or self.light.first
        self.light.set_percent(line, self._percent(request))
        return self._light(request, line, timing)

    @contextmanager
    def slices(
        self,
        request: VolumeRequest,
        centers_um: Places,
        planned: Mapping[ViewName, PlannedVolume],  # noqa: ARG002
        cancelled: threading.Event,
    ) -> Iterator[Slices]:
        """Start, give the slices as they come, and leave the piezos where they were."""
        views = [self.views[name] for name in request.views]
        self._core.buffer_frames(self._label(request))
        came = dict.fromkeys(request.views, 0)
        names = {self.views[name].drive: name for name in request.views}
        watch = SweepWatch(
            request,
            {drive: centers_um[name] for drive, name in names.items()},
            self.timing(request).slice_ms / 1000,
            came=lambda drive: came[names[drive]],
            goes_on=self._goes_on,
        )
        with (
            self._at_rest_afterwards(views),
            watch.watching(),
            self._lit(request, cancelled),
        ):
            for view in views:
                self._properties.write(view.camera.label, {_TRIGGER_SOURCE: "EXTERNAL"})
                self._properties.write(view.drive.label, {SPIM_STATE: "Armed"})
            with closing(self._streamed(request, centers_um, cancelled, watch, came)) as slices:
                yield slices

    def _goes_on(self) -> bool:
        return self._properties.read(self._master, SPIM_STATE) != IDLE

    def _streamed(
        self,
        request: VolumeRequest,
        centers_um: Places,
        cancelled: threading.Event,
        watch: SweepWatch,
        came: dict[ViewName, int],
    ) -> Slices:
        per_volume = request.num_slices * len(request.views)
        numbered = self._numbered(request, centers_um, cancelled, watch, came)
        with closing(numbered):
            for count, one in enumerate(one_after_another(numbered, per_volume), 1):
                if count % per_volume:
                    watch.check()
                else:
                    watch.see_through(count // per_volume)
                yield one

    def _numbered(
        self,
        request: VolumeRequest,
        centers_um: Places,
        cancelled: threading.Event,
        watch: SweepWatch,
        came: dict[ViewName, int],
    ) -> Generator[tuple[int, Slice]]:
        """Give the slices as they come, each with the number of its volume, and count them."""
        cameras = {self.views[name].camera.label: name for name in request.views}
        timing = self.timing(request)
        repeats_due = iter(self._rounds(request, timing))
        due = 0

        def start() -> None:
            nonlocal due
            if cancelled.is_set():
                raise StoppedError("the volume was stopped before its first slice")
            repeats = next(repeats_due)
            due += repeats * request.num_slices * len(cameras)
            self._properties.write(self._master, {_REPEATS: repeats})
            asked = time.monotonic()
            self._properties.begin(self._master, SPIM_STATE, "Running")
            watch.begin(asked, time.monotonic(), repeats)

        frames = self._core.frames(
            self._label(request),
            request.num_slices * (1 + request.num_following),
            exposure_ms=timing.slice_ms,
            cancelled=cancelled,
            cameras={
                self.views[name].camera.label: self.views[name].camera.frame_counter
                for name in request.views
            },
            begin=start,
        )
        with closing(frames):
            for count, frame in enumerate(frames, 1):
                name = cameras[frame.camera]
                volume, index = divmod(came[name], request.num_slices)
                came[name] += 1
                z_um = request.position_um(centers_um[name], index)
                yield volume, Slice(name, index, frame.pixels, frame.elapsed_s, z_um)
                if count == due and volume < request.num_following:
                    refuse_unless_idle(self.views["a"].scanner, self._properties)
                    start()

    @contextmanager
    def _lit(self, request: VolumeRequest, cancelled: threading.Event) -> Iterator[None]:
        """Let a line through, which shines in the controller's pulses; no line afterwards."""
        if cancelled.is_set():
            raise StoppedError(f"{self.light.name} was stopped before the light went on")
        try:
            self.light.on(request.line)
            yield
        finally:
            # Past the queue of ordinary calls: a device that hangs must not keep the light on.
            self.light.stop()
            self.light.check_safe()

    @contextmanager
    def _at_rest_afterwards(self, views: list[TriggeredView]) -> Iterator[None]:
        """Leave cameras, scanner and piezos idle; what went wrong before is what is told."""
        is_whole = False
        try:
            yield
            is_whole = True
        finally:
            if not is_whole:  # nobody knows what was taken, and what was not
                self._properties.forget()
            problems = self._put_to_rest(views)
            for problem in problems:
                LOGGER.warning("after the volume: %s", problem)
            if problems and is_whole:
                raise problems[0]

    def _rests(self, views: list[TriggeredView]) -> list[tuple[str, str, str]]:
        """Return what is told at the end, as label, property and value."""
        return [
            *((view.camera.label, _TRIGGER_SOURCE, "INTERNAL") for view in views),
            (self._master, SPIM_STATE, IDLE),
            *((view.drive.label, SPIM_STATE, IDLE) for view in views),
        ]

    def _put_to_rest(self, views: list[TriggeredView]) -> list[DeviceError]:
        """Tell all what is told at the end, though one refuses; return what went wrong."""
        problems: list[DeviceError] = []
        for label, name, value in self._rests(views):
            try:
                self._properties.write(label, {name: value})
            except CoreTimeoutError as error:
                # Each of the others would be waited for as long; it is told before the next volume.
                self._properties.forget()
                return [*problems, error]
            except DeviceError as error:
                problems.append(error)
        return problems

    # ------------------------------------------------------------------ what is told

    def _label(self, request: VolumeRequest) -> str:
        if len(request.views) > 1 and self._both_cameras is not None:
            return self._both_cameras
        return self.views[request.views[0]].camera.label

    def _percent(self, request: VolumeRequest) -> float:
        """Return the power that is asked for, or else that of the instrument file."""
        asked = request.power_percent
        return self.light.line(request.line).default_percent if asked is None else asked

    def _card(self, request: VolumeRequest, timing: Timing) -> dict[str, Value]:
        """Return what the controller is told as a whole."""
        return {
            "LaserOutputMode": "shutter + side",
            "SPIMDelayBeforeScan(ms)": timing.scan_delay_ms,
            "SPIMScanDuration(ms)": timing.scan_ms,
            "SPIMDelayBeforeLaser(ms)": timing.laser_delay_ms,
            "SPIMLaserDuration(ms)": timing.laser_ms,
            "SPIMDelayBeforeCamera(ms)": timing.camera_delay_ms,
            "SPIMCameraDuration(ms)": timing.camera_pulse_ms,
            "SPIMNumSlices": request.num_slices,
            "SPIMNumSlicesPerPiezo": 1,
            "SPIMNumSides": len(request.views),
            "SPIMFirstSide": self.views[request.views[0]].scanner.side,
            "SPIMDelayBeforeRepeat(ms)": 0.0,
            _REPEATS: self._rounds(request, timing)[0],
        }

    def _rounds(self, request: VolumeRequest, timing: Timing) -> list[int]:
        """Return how many volumes of a row the controller is told to take, each time it is told."""
        volume_s = request.num_slices * len(request.views) * timing.slice_ms / 1000
        return rounds(1 + request.num_following, volume_s)

    def _light(self, request: VolumeRequest, line: str, timing: Timing) -> dict[str, Any]:
        """Return the light of each volume: what was asked for, and what was read back."""
        percent = self.light.percent(line)
        mw_per_percent = self.light.line(line).mw_per_percent
        row = {"row": 1 + request.num_following, "round": self._rounds(request, timing)[0]}
        return {
            "line": line,
            "requested_percent": self._percent(request),
            "percent": percent,
            "power_mw": None if mw_per_percent is None else percent * mw_per_percent,
            "requested_mw": self.power_mw(request),
            "lit_ms": float(request.num_slices * timing.laser_ms),
            "slice_ms": timing.slice_ms,
            **(row if request.num_following else {}),
        }
