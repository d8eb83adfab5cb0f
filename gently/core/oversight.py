"""Oversight: looks after the device layer while it runs, and says how it is.

On a thread of its own, now and then: positions are told, and once a minute a line and an event
about the cameras, the disk, the memory and the delay of requests. The hardware is asked while
nothing runs, and never otherwise.
"""

import logging
import shutil
import time
from pathlib import Path
from typing import Final

import psutil

from devices import Camera, DeviceError, Instrument, Stage
from gently.core.detections import Detections
from gently.core.events import EventLog
from gently.core.operations import (
    AuditLog,
    Check,
    Health,
    Job,
    LogFile,
    LoopLag,
    Metrics,
    Probe,
    Ticker,
    disk_space,
    examine,
    loop_lag,
    no_problem,
)
from gently.core.positions import PositionBoard
from gently.core.queue import PlanQueue
from gently.core.runner import Runner

__all__ = ["Oversight"]

LOGGER = logging.getLogger(__name__)
_TELL_S: Final = 0.2
_ASK_S: Final = 10.0
_HEALTH_S: Final = 60.0
_CORE_S: Final = 1.0
_END_S: Final = 6.0


class Oversight:
    """Health, metrics and positions of one device layer, and the thread that looks after them.

    Parameters
    ----------
    root
        The storage folder.
    instrument, queue, runner, detections, events, metrics, audit, log
        What is looked after; they outlive it.
    """

    def __init__(
        self,
        root: Path,
        *,
        instrument: Instrument,
        queue: PlanQueue,
        runner: Runner,
        detections: Detections,
        events: EventLog,
        metrics: Metrics,
        audit: AuditLog,
        log: LogFile,
    ) -> None:
        self._root = root
        self._instrument = instrument
        self._queue = queue
        self._runner = runner
        self._events = events
        self._audit = audit
        self._process = psutil.Process()
        self.loop_lag = LoopLag()
        """Of the event loop that answers requests; whoever runs it lets it be watched."""
        self.metrics = metrics
        self._add_gauges()
        devices = instrument.devices.values()
        stages = [device for device in devices if isinstance(device, Stage)]
        self._cameras = [device for device in devices if isinstance(device, Camera)]
        self._camera_checks: dict[str, Check] = {}
        self._written = (time.monotonic(), 0, 0)
        self._positions = PositionBoard(stages, events.publish)
        self._probes: dict[str, Probe] = {
            "core": self._core_answers,
            "stages": self._stages_answer,
            "cameras": self._cameras_answer,
            "light": self._lights_are_out,
            "runner": self._runner_lives,
            "detector": detections.health,
            "requests": lambda: loop_lag(self.loop_lag),
            "disk": lambda: disk_space(root),
            "audit": lambda: no_problem(audit.problem),
            "log": lambda: no_problem(log.problem),
        }
        self._ticker = Ticker(
            "oversight",
            [
                Job(_TELL_S, self._positions.catch_up),
                Job(_ASK_S, self._ask_stages),
                Job(_HEALTH_S, self.report),
            ],
        )

    def close(self) -> None:
        """End the thread. Idempotent."""
        if not self._ticker.close(_END_S):
            LOGGER.warning("a look at the hardware does not return; leaving it to the system")

    def health(self) -> Health:
        """Ask how everything is; takes a second at most. Asks no hardware."""
        return examine(self._probes)

    def report(self) -> None:
        """Look at the cameras, and say how everything is, in the log and as an event."""
        frames_per_s, bytes_per_s = self._rates()
        self._look_at_cameras(is_delivering=frames_per_s > 0)
        health, free = self.health(), shutil.disk_usage(self._root).free
        memory, lag_s = self._process.memory_info().rss, self.loop_lag.seconds
        cameras = {name: check.detail for name, check in self._camera_checks.items()}
        LOGGER.log(
            logging.WARNING if health.reasons else logging.INFO,
            "health: %s; %s; %.1f GB free, %.0f frames/s and %.1f MB/s written; memory %.0f MB; "
            "requests %.3f s late",
            "; ".join((health.status, *health.reasons)),
            "; ".join(f"{name} {detail}" for name, detail in cameras.items()),
            free / 1e9,
            frames_per_s,
            bytes_per_s / 1e6,
            memory / 1e6,
            lag_s,
        )
        self._events.publish(
            "health",
            status=health.status,
            reasons=list(health.reasons),
            cameras=cameras,
            disk_free_bytes=free,
            frames_per_s=frames_per_s,
            write_bytes_per_s=bytes_per_s,
            memory_bytes=memory,
            loop_lag_s=lag_s,
            audit_head=str(self._audit.head),
        )

    # ------------------------------------------------------------------ what is asked

    def _core_answers(self) -> Check:
        if self._instrument.core.answers(_CORE_S):
            return Check(ok=True, detail="its thread answers")
        detail = (
            f"its thread has not answered for {_CORE_S:g} s: a call to the hardware does not "
            "return. Check power and cables; if it stays so, restart the device layer."
        )
        return Check(ok=False, detail=detail)

    def _runner_lives(self) -> Check:
        if self._runner.is_alive:
            return Check(ok=True, detail=f"its thread lives; the RunEngine is {self._runner.state}")
        return Check(ok=False, detail="its thread has ended. Restart the device layer.")

    def _stages_answer(self) -> Check:
        silent = self._positions.silent
        if not silent:
            return Check(ok=True, detail="answered when they were asked last")
        detail = f"{', '.join(silent)} did not answer when asked last. Check power and cables."
        return Check(ok=False, detail=detail)

    def _lights_are_out(self) -> Check:
        lit = [light.name for light in self._instrument.lights if light.may_shine]
        if not lit:
            return Check(ok=True, detail="was out when it was put out last")
        detail = f"{', '.join(lit)} may still shine: not seen to go out. Switch off by hand."
        return Check(ok=False, detail=detail)

    def _cameras_answer(self) -> Check:
        checks = self._camera_checks
        detail = "; ".join(f"{name} {check.detail}" for name, check in checks.items())
        ok = all(check.ok for check in checks.values())
        return Check(ok=ok, detail=detail or "not looked at yet")

    # ------------------------------------------------------------------ now and then

    def _ask_stages(self) -> None:
        if self._queue.running is None:
            self._positions.ask()

    def _look_at_cameras(self, *, is_delivering: bool) -> None:
        for camera in self._cameras:
            if is_delivering:
                check = Check(ok=True, detail="delivers frames")
            elif self._queue.running is not None:
                continue  # what was found last stays what is known
            else:
                check = _asked(camera)
            self._camera_checks[camera.name] = check

    def _rates(self) -> tuple[float, float]:
        """Return the frames and the bytes per second that were written since the last call."""
        then, frames, size = self._written
        self._written = now = (
            time.monotonic(),
            self.metrics.frames_written,
            self.metrics.bytes_written,
        )
        seconds = max(now[0] - then, 1e-3)
        return (now[1] - frames) / seconds, (now[2] - size) / seconds

    def _add_gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("queue_length", "Items that wait", lambda: len(self._queue.snapshot().waiting))
        gauge("event_followers", "Who follows the events", lambda: self._events.followers)
        gauge("loop_lag_seconds", "Delay of requests", lambda: self.loop_lag.seconds)
        gauge(
            "disk_free_bytes",
            "Free where the volumes go",
            lambda: shutil.disk_usage(self._root).free,
        )
        gauge("memory_bytes", "Of this process", lambda: self._process.memory_info().rss)
        gauge("runner_alive", "Whether plans can be run", lambda: self._runner.is_alive)
        gauge("audit_entries", "Entries of the audit log", lambda: self._audit.head.count)


def _asked(camera: Camera) -> Check:
    try:
        ((_, reading),) = camera.readback().items()
    except DeviceError as error:
        return Check(ok=False, detail=f"does not answer: {error}")
    return Check(ok=True, detail=f"answers: exposure {reading['value']:g} {reading['units']}")
