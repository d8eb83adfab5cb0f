"""The state machine of the scan card and of the piezo cards that follow it.

A card is Idle, Armed or Running. Written to Running, the scan card takes its settings as
they are then, and is Idle again by itself after its last slice. A piezo that was Armed
sweeps in every run, until it is told to be Idle.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Literal

from devices.twin.motion import Clock
from devices.twin.settings import Setting, Settings
from devices.twin.spim import Program, Pulse, Run, Side, SliceTiming, Sweep

__all__ = ["GALVO", "PIEZO", "SCAN", "SIDES", "PiezoCard", "ScanCard", "State"]

State = Literal["Idle", "Armed", "Running"]
SIDES: tuple[Side, ...] = ("A", "B")

_PATTERNS = ("0 - Ramp", "1 - Triangle", "2 - Square", "3 - Sine")
_MODES = (
    "0 - Disabled",
    "1 - Enabled",
    "2 - Armed for TTL trigger",
    "3 - Enabled with axes synced",
)
_MOST = 65_535


def _time(name: str) -> Setting:
    """Declare a time, of which the firmware counts quarters of a millisecond."""
    return Setting(name, 0.0, limits=(0, _MOST), step=0.25)


SCAN = (
    Setting("SPIMNumSlices", 1, limits=(1, _MOST)),
    Setting("SPIMNumSlicesPerPiezo", 1, limits=(1, 100)),
    Setting("SPIMNumSides", 1, limits=(1, 2)),
    Setting("SPIMFirstSide", "A", choices=SIDES),
    Setting("SPIMNumRepeats", 1, limits=(1, _MOST)),
    _time("SPIMDelayBeforeRepeat(ms)"),
    _time("SPIMDelayBeforeSide(ms)"),
    _time("SPIMDelayBeforeScan(ms)"),
    _time("SPIMScanDuration(ms)"),
    _time("SPIMDelayBeforeLaser(ms)"),
    _time("SPIMLaserDuration(ms)"),
    _time("SPIMDelayBeforeCamera(ms)"),
    _time("SPIMCameraDuration(ms)"),
    Setting(
        "LaserOutputMode",
        "individual shutters",
        choices=("individual shutters", "shutter + side", "side + side"),
    ),
)
"""Of the card; both scanners show them."""

# What the card was told to remember: a sheet over the whole field that goes nowhere.
_SAVED_DEG = {"X": 4.0, "Y": 0.0}

GALVO = (
    Setting("BeamEnabled", "Yes", choices=("Yes", "No")),
    *(
        setting
        for axis in "XY"
        for setting in (
            Setting(
                f"SingleAxis{axis}Amplitude(deg)", _SAVED_DEG[axis], limits=(0, 20), step=0.0001
            ),
            Setting(f"SingleAxis{axis}Offset(deg)", 0.0, limits=(-10, 10), step=0.0001),
            Setting(f"SingleAxis{axis}Pattern", _PATTERNS[0], choices=_PATTERNS),
            Setting(f"SingleAxis{axis}Mode", _MODES[0], choices=_MODES),
            # With 0.4 kHz a mirror lags by about 1 ms.
            Setting(f"FilterFreq{axis}(kHz)", 0.4, limits=(0.1, 1.0)),
        )
    ),
)
"""Of one scanner, which is one side's pair of mirrors."""

PIEZO = (
    Setting("SingleAxisAmplitude(um)", 0.0, limits=(0, 600), step=0.001),
    Setting("SingleAxisOffset(um)", 0.0, limits=(-300, 300), step=0.001),
    Setting("SingleAxisPattern", _PATTERNS[0], choices=_PATTERNS),
    Setting("SingleAxisMode", _MODES[0], choices=_MODES),
    Setting("SPIMNumSlices", 1, limits=(1, _MOST)),
    Setting("MotorOnOff", "On", choices=("On", "Off")),
)
"""Of one piezo."""


class PiezoCard:
    """One side's piezo, as far as the scan card leads it."""

    def __init__(self) -> None:
        self.settings = Settings(PIEZO)
        self.is_armed = False

    @property
    def takes_part(self) -> bool:
        """Whether it sweeps in a run that begins now."""
        return self.is_armed and self.settings["MotorOnOff"] == "On"

    @property
    def sweep(self) -> Sweep:
        """Where a run takes it, in µm."""
        settings = self.settings
        return Sweep(
            settings.number("SingleAxisOffset(um)"), settings.number("SingleAxisAmplitude(um)")
        )


class ScanCard:
    """The card of both scanners: settings, state, and the run under way.

    Safe to use from any thread; nothing here waits.

    Parameters
    ----------
    clock
        The world's.
    on_run
        Is told of each run that starts, and of none (None) when one is cut.
    """

    def __init__(
        self,
        clock: Clock,
        on_run: Callable[[Run | None], None],
    ) -> None:
        self.settings = Settings(SCAN)
        self.galvos = {side: Settings(GALVO) for side in SIDES}
        self.piezos = {side: PiezoCard() for side in SIDES}
        self._clock = clock
        self._on_run = on_run
        self._lock = threading.Lock()
        self._listeners: list[SimpleQueue[Run]] = []
        self._is_armed = False
        self.run: Run | None = None
        """The latest."""

    @property
    def state(self) -> State:
        """Idle, Armed or Running."""
        if self._runs():
            return "Running"
        return "Armed" if self._is_armed else "Idle"

    def piezo_state(self, side: Side) -> State:
        """Return the state of a piezo card."""
        run = self.run
        if run is not None and self._runs() and side in run.program.piezos:
            return "Running"
        return "Armed" if self.piezos[side].is_armed else "Idle"

    def go(self, state: State) -> None:
        """Take a state that was written.

        Raises
        ------
        RuntimeError
            If a run is to begin during another.
        """
        with self._lock:
            if state == "Running":
                self._start()
                return
            if self.run is not None and self._runs():
                self.run.cut(self._clock())
                self._on_run(None)
            self._is_armed = state == "Armed"

    def listen(self) -> "SimpleQueue[Run]":
        """Return a queue that gets the run under way, if any, and each that starts."""
        heard: SimpleQueue[Run] = SimpleQueue()
        with self._lock:
            if self.run is not None and self._runs():
                heard.put(self.run)
            self._listeners.append(heard)
        return heard

    def forget(self, heard: "SimpleQueue[Run]") -> None:
        """Put no more runs into a queue."""
        with self._lock:
            self._listeners.remove(heard)

    def sheet(self, side: Side) -> Sweep:
        """Return how far the beam is drawn to a sheet, in degrees."""
        return self._sweep(side, "X")

    def program(self) -> Program:
        """Return what a run would do that began now."""
        settings = self.settings
        first: Side = "A" if settings["SPIMFirstSide"] == "A" else "B"
        both: tuple[Side, ...] = ("A", "B") if first == "A" else ("B", "A")
        per_piezo = settings.count("SPIMNumSlicesPerPiezo")
        armed = [side for side in SIDES if self.piezos[side].takes_part]
        return Program(
            timing=SliceTiming(
                scan=self._pulse("Scan", "SPIMScanDuration(ms)"),
                laser=self._pulse("Laser", "SPIMLaserDuration(ms)"),
                camera=self._pulse("Camera", "SPIMCameraDuration(ms)"),
            ),
            slices=settings.count("SPIMNumSlices") * per_piezo,
            sides=both[: settings.count("SPIMNumSides")],
            repeats=settings.count("SPIMNumRepeats"),
            before_side_ns=settings.ns("SPIMDelayBeforeSide(ms)"),
            before_repeat_ns=settings.ns("SPIMDelayBeforeRepeat(ms)"),
            slices_per_piezo=per_piezo,
            sheets={side: self.sheet(side) for side in SIDES},
            galvos={side: self._sweep(side, "Y") for side in SIDES},
            piezos={side: self.piezos[side].sweep for side in armed},
            piezo_slices={
                side: self.piezos[side].settings.count("SPIMNumSlices") for side in armed
            },
        )

    def _runs(self) -> bool:
        return self.run is not None and self.run.is_under_way(self._clock())

    def _start(self) -> None:
        if self._runs():
            raise RuntimeError(
                "the scan card is Running already; write SPIMState=Idle first, or wait for its end"
            )
        self._is_armed = False
        self.run = Run(self.program(), self._clock())
        self._on_run(self.run)
        for listener in self._listeners:
            listener.put(self.run)

    def _pulse(self, what: str, duration: str) -> Pulse:
        return Pulse(self.settings.ns(f"SPIMDelayBefore{what}(ms)"), self.settings.ns(duration))

    def _sweep(self, side: Side, axis: str) -> Sweep:
        galvo = self.galvos[side]
        return Sweep(
            galvo.number(f"SingleAxis{axis}Offset(deg)"),
            galvo.number(f"SingleAxis{axis}Amplitude(deg)"),
        )
