"""The order of a check, and what it does whatever comes."""

import logging
from collections.abc import Callable, Iterator
from itertools import chain

from devices import DeviceError, LimitError
from gently.check.afterwards import Whereabouts, put_back, whereabouts
from gently.check.axes import axes
from gently.check.bench import Bench, Step
from gently.check.directions import directions
from gently.check.lamps import lamps
from gently.check.readings import readings
from gently.check.report import Finding, Group, Status
from gently.check.stopping import stopping
from gently.check.sweeps import sweeps
from gently.check.volumes import volumes
from gently.core.stop import stop_devices

__all__ = ["Checkup"]

LOGGER = logging.getLogger(__name__)
_ACTS = (axes, lamps, directions, sweeps, volumes, stopping)


class Checkup:
    """Checks an instrument: reads all, and does what it is given leave to.

    Parameters
    ----------
    bench
        With the instrument, which nobody else uses meanwhile.
    refusal
        Asks for leave; returns why a step is not to be done, and nothing if it is.
    tell
        Hears of each finding at once.
    on_end
        Called when no more is done but putting back, which nothing is to interrupt.
    """

    def __init__(
        self,
        bench: Bench,
        *,
        refusal: Callable[[Step], str],
        tell: Callable[[Finding], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.findings: list[Finding] = []
        self.ended_early = ""
        self._bench = bench
        self._refusal = refusal
        self._tell = tell
        self._on_end = on_end

    def run(self) -> None:
        """Check, and leave everything as it was found; raises nothing."""
        before: Whereabouts = {}
        ahead: list[Step] = []
        try:
            self._add(readings(self._bench))
            before = whereabouts(self._bench)
            ahead = list(chain.from_iterable(act(self._bench) for act in _ACTS))
            while ahead:
                self._add(self._done(ahead[0]))
                ahead.pop(0)
        except KeyboardInterrupt:
            self.ended_early = "it was interrupted"
        except Exception as error:
            LOGGER.exception("the check broke off")
            self.ended_early = f"it broke off: {type(error).__name__}: {error}"
        self._on_end()
        if self.ended_early:
            self._add(self._come_to_rest())
            self._add(_not_done(step, self.ended_early) for step in ahead)
        self._add(put_back(self._bench, before))

    def _add(self, findings: Iterator[Finding]) -> None:
        for finding in findings:
            self.findings.append(finding)
            self._tell(finding)

    def _done(self, step: Step) -> Iterator[Finding]:
        if why := self._why_not(step) or self._refusal(step):
            yield _not_done(step, why)
            return
        try:
            yield from step.run()
        except LimitError as error:  # it says nothing against the hardware
            yield _not_done(step, str(error))
        except DeviceError as error:
            yield Finding(
                group=step.group,
                name=step.name,
                status=Status.FAILED,
                says=str(error),
                remedy="Look at the device that is named, then check again.",
            )

    def _why_not(self, step: Step) -> str:
        """Return which device has failed before, without which this is not safe to do."""
        failed = {one.device for one in self.findings if one.status is Status.FAILED}
        if wrong := [name for name in step.needs if name in failed]:
            return f"{' and '.join(dict.fromkeys(wrong))} failed before"
        if not step.is_lit:
            return ""
        lights = [one.name for one in self._bench.lights if one.name in failed]
        if lights:
            return f"{' and '.join(lights)} failed before, and no light is used any more"
        return ""

    def _come_to_rest(self) -> Iterator[Finding]:
        """Stop what may be under way, and yield what did not stop."""
        found = stop_devices(self._bench.instrument)
        self._bench.instrument.core.release()
        for name, after in found.items():
            if not after.stopped:
                yield Finding(
                    group=Group.AFTERWARDS,
                    name=f"{name} stopped",
                    status=Status.FAILED,
                    says=after.error or "",
                    remedy="Use the emergency switch of its controller.",
                )


def _not_done(step: Step, why: str) -> Finding:
    return Finding(
        group=step.group,
        name=step.name,
        status=Status.NOT_DONE,
        says=why,
        expected=step.question,
    )
