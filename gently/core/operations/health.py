"""Health: a few questions, each answered with yes or no and a sentence.

Nothing here asks the hardware. A degraded microscope still answers, and can be stopped.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Check", "Health", "LoopLag", "Probe", "disk_space", "examine", "loop_lag", "no_problem"]

LEAST_FREE_BYTES: Final = 5 * 10**9
MOST_LAG_S: Final = 1.0


@dataclass(frozen=True)
class Check:
    """The answer to one question: whether it is well, and what was found."""

    ok: bool
    detail: str


Probe = Callable[[], Check]
"""A question; answered within a second or so, from any thread."""


@dataclass(frozen=True)
class Health:
    """All answers, by what was asked about."""

    checks: Mapping[str, Check]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is not well; empty if all is."""
        return tuple(f"{name}: {c.detail}" for name, c in self.checks.items() if not c.ok)

    @property
    def status(self) -> str:
        """Return ``"ok"`` or ``"degraded"``."""
        return "degraded" if self.reasons else "ok"

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {
            "status": self.status,
            "reasons": list(self.reasons),
            "checks": {name: asdict(check) for name, check in self.checks.items()},
        }


def examine(probes: Mapping[str, Probe]) -> Health:
    """Ask all questions, one after the other."""
    return Health({name: probe() for name, probe in probes.items()})


def disk_space(folder: Path) -> Check:
    """Whether there is room for some volumes."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(ok=False, detail=f"{folder} cannot be looked at: {error}")
    detail = f"{free / 1e9:.1f} GB are free in {folder}"
    if free >= LEAST_FREE_BYTES:
        return Check(ok=True, detail=detail)
    least = f"{LEAST_FREE_BYTES / 1e9:g} GB"
    return Check(
        ok=False,
        detail=f"{detail}, less than {least}. Move volumes elsewhere, or empty the trash.",
    )


def no_problem(problem: str) -> Check:
    """Whether what names its problem has none."""
    return Check(ok=not problem, detail=problem or "is written")


def loop_lag(lag: "LoopLag") -> Check:
    """Whether the event loop that answers requests is in time."""
    late_s = lag.seconds
    return Check(ok=late_s < MOST_LAG_S, detail=f"requests are answered {late_s:.3f} s late")


class LoopLag:
    """How late an event loop is with what is due on it; read from any thread."""

    def __init__(self, every_s: float = 0.5) -> None:
        self._every_s = every_s
        self._due: float | None = None
        self._last_s = 0.0

    @property
    def seconds(self) -> float:
        """How late it was the last time, or is already now; 0 while nobody watches."""
        due = self._due
        return 0.0 if due is None else max(self._last_s, time.monotonic() - due)

    async def watch(self) -> None:
        """Watch the present loop until cancelled."""
        try:
            while True:
                self._due = time.monotonic() + self._every_s
                await asyncio.sleep(self._every_s)
                self._last_s = max(0.0, time.monotonic() - self._due)
        finally:
            self._due = None
