"""The one world that the twin's devices share: axes, light, cards and sample.

It knows nothing of Micro-Manager; the devices are thin doors to it.
"""

import time
from dataclasses import dataclass

from devices.motors import Trapezoid
from devices.twin.cards import ScanCard
from devices.twin.faults import Faults
from devices.twin.geometry import UM_PER_DEG, sheets
from devices.twin.life import Condition, Life
from devices.twin.light import Light
from devices.twin.light_log import LightLog
from devices.twin.motion import Axis, Clock, EndStops, Settling
from devices.twin.optics import PIXEL_UM, Sight
from devices.twin.phantom import BOOT_FOCUS_UM, Embryo, Phantom
from devices.twin.spim import Program, Run, Side, Sweep, Trigger

__all__ = ["BOOT_HEAD_UM", "Lamp", "Pose", "World"]

_XY_LAW = Trapezoid(speed_um_s=2000, acceleration_um_s2=20_000)
_FOCUS_LAW = Trapezoid(speed_um_s=500, acceleration_um_s2=10_000)
_HEAD_LAW = Trapezoid(speed_um_s=1000, acceleration_um_s2=10_000)
_PIEZO_LAW = Settling(time_constant_s=0.003, tolerance_um=0.005)
BOOT_HEAD_UM = 100.0
"""Where the F drive holds the head at its working height."""
# Light falls on an embryo whose middle is in the middle 512 pixels of the SPIM cameras.
_HALF_VIEW_UM = 256 * PIXEL_UM


@dataclass(frozen=True)
class Pose:
    """Where everything is at one moment, as one side sees it.

    Parameters
    ----------
    x_um, y_um, focus_um
        The sample stages.
    piezo_um, galvo_deg
        Of the side.
    drawn_deg
        How far the side's beam is drawn to a sheet.
    head_um
        By how much the head is above its working height.
    """

    x_um: float
    y_um: float
    focus_um: float
    piezo_um: float
    galvo_deg: float
    drawn_deg: Sweep
    head_um: float

    @property
    def z_um(self) -> float:
        """The plane of the sample that is in focus."""
        return self.focus_um + self.head_um + self.piezo_um


@dataclass
class Lamp:
    """The LED below the sample.

    Parameters
    ----------
    is_on
        Whether it shines.
    percent
        How brightly.
    """

    is_on: bool = False
    percent: float = 50.0


class World:
    """Everything that a seed and a clock make.

    Parameters
    ----------
    seed
        Of the sample and the noise.
    clock
        The time that all share.
    light_log
        Where the light is written down; None writes nothing.
    """

    def __init__(
        self,
        seed: int,
        clock: Clock = time.perf_counter_ns,
        *,
        light_log: LightLog | None = None,
    ) -> None:
        self.seed = seed
        self.clock = clock
        self.phantom = Phantom(seed)
        self.sheets = sheets(seed)
        self.life = Life(seed, clock)
        self.light = Light(clock, light_log)
        self.lamp = Lamp()
        self.x = Axis("x", 0.0, EndStops(-10_000, 10_000), _XY_LAW, clock)
        self.y = Axis("y", 0.0, EndStops(-10_000, 10_000), _XY_LAW, clock)
        self.focus = Axis("focus", BOOT_FOCUS_UM, EndStops(-1000, 2000), _FOCUS_LAW, clock)
        self.head = Axis("F drive", BOOT_HEAD_UM, EndStops(0, 30_000), _HEAD_LAW, clock)
        self.piezos = {
            side: Axis(f"piezo {side}", 0.0, EndStops(-300, 300), _PIEZO_LAW, clock)
            for side in ("A", "B")
        }
        self.faults = Faults()
        self.scan = ScanCard(clock, self._on_run)
        self.settle()

    def pose(self, side: Side = "A", at_ns: int | None = None) -> Pose:
        """Return where everything is, or was at a time since the latest commands."""
        now = self.clock() if at_ns is None else at_ns
        run = self.scan.run
        index = None if run is None else run.slice_at(side, now)
        if run is None or index is None:
            return self._pose(side, now)
        return self._pose(side, now, run.program, index)

    def triggered_pose(self, side: Side, trigger: Trigger, at_ns: int) -> Pose:
        """Return where everything was during a slice."""
        return self._pose(side, at_ns, trigger.run.program, trigger.slice_index)

    def sight(self, side: Side, pose: Pose) -> Sight:
        """Return where a side looks from a pose."""
        return Sight(
            x_um=pose.x_um,
            y_um=pose.y_um,
            z_um=pose.focus_um + pose.head_um,
            focal_um=pose.piezo_um,
            sheet_um=self.sheets[side].sheet_um(pose.galvo_deg),
            height_um=UM_PER_DEG * pose.drawn_deg.amplitude,
            height_at_um=UM_PER_DEG * pose.drawn_deg.offset,
        )

    @property
    def embryos(self) -> tuple[Embryo, ...]:
        """The embryos as they have become, where they are now."""
        time_s = self.life.time_s()
        drift_um = self.life.drift_um(time_s)
        return tuple(embryo.at(time_s).moved(drift_um) for embryo in self.phantom.embryos)

    def condition(self, at_ns: int | None = None) -> Condition:
        """Return how the sample is, or was at a time of the last minute."""
        time_s = self.life.time_s(at_ns)
        energies: tuple[tuple[int, float], ...] = ()
        if self.life.bleaches:
            got = self.light.count(at_ns).embryos
            energies = tuple((embryo, sum(lines.values())) for embryo, lines in got.items())
        return Condition(time_s, self.life.drift_um(time_s), energies)

    def settle(self) -> None:
        """Note which embryos the light falls on, once the stage has arrived."""
        x, y = self.x.target_um, self.y.target_um
        in_view = tuple(
            index
            for index, embryo in enumerate(self.phantom.embryos)
            if abs(embryo.centre_um[0] - x) <= _HALF_VIEW_UM
            and abs(embryo.centre_um[1] - y) <= _HALF_VIEW_UM
        )
        self.light.move(in_view, max(self.x.arrives_ns, self.y.arrives_ns))

    def _pose(self, side: Side, at_ns: int, program: Program | None = None, index: int = 0) -> Pose:
        """Return where everything is; the card leads a side in a slice of its program."""
        piezo_um = program.piezo_um(side, index) if program and self._follows(side) else None
        if program is None:
            galvo_deg = self.scan.galvos[side].number("SingleAxisYOffset(deg)")
        else:
            galvo_deg = program.galvo_deg(side, index)
        return Pose(
            x_um=self.x.position_um(at_ns),
            y_um=self.y.position_um(at_ns),
            focus_um=self.focus.position_um(at_ns),
            piezo_um=self.piezos[side].position_um(at_ns) if piezo_um is None else piezo_um,
            galvo_deg=galvo_deg,
            drawn_deg=self.scan.sheet(side) if program is None else program.sheets[side],
            head_um=self.head.position_um(at_ns) - BOOT_HEAD_UM,
        )

    def _follows(self, side: Side) -> bool:
        """Whether a side's piezo goes where its card leads it."""
        return self.faults.axis("P" if side == "A" else "Q").sticks_at_um is None

    def _on_run(self, run: Run | None) -> None:
        self.light.change(run=run)
