"""The check: follow a plan's messages to their end, and collect all that there is to say."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
from bluesky.utils import Msg, MsgGenerator

from devices import DeviceError, Dose, DoseBudget, LimitError, Line, Pace, Use
from gently.core.answers import Answers
from gently.core.catalogue import BoundPlan
from gently.core.items import Item
from gently.core.lifecycle import ItemState
from gently.core.preflight.complaints import Ear
from gently.core.preflight.rehearsal import Rehearsal
from gently.core.preflight.report import (
    Complaint,
    Objection,
    PlannedDose,
    PreflightReport,
    PreflightSummary,
    raise_refusals,
)
from storage import memory_bytes

__all__ = ["WHOLE", "Budget", "Preflight", "Room"]

_BATCH = 256
_MOST_TO_SAY = 50
_SENT_S = 0.0005
"""What the RunEngine takes for a message, until it was measured."""


@dataclass(frozen=True)
class Budget:
    """How far a plan is followed.

    Parameters
    ----------
    steps, seconds
        At most; the first few messages are followed however long they take, so that a busy
        machine refuses what an idle one does.
    has_to_end
        Whether a plan that goes on beyond is refused.
    """

    steps: int
    seconds: float
    has_to_end: bool


_QUICK = Budget(steps=20_000, seconds=0.05, has_to_end=False)
"""Before an item is accepted: what is wrong with a plan is mostly wrong with its beginning."""
WHOLE = Budget(steps=500_000, seconds=20.0, has_to_end=True)
"""Before it runs. A plan that never ends must not be followed for ever; a day's sleep has 345,600
messages."""


class Room(Protocol):
    """Where the volumes will lie."""

    @property
    def volumes(self) -> Path:
        """The folder."""

    def free_bytes(self) -> int:
        """Return how much still fits into it."""


class Preflight:
    """Follows plans without the hardware; safe to use from any thread.

    Parameters
    ----------
    room
        Where volumes go.
    answers
        What plans may ask for.
    dose_budget
        The most light for one embryo.
    """

    def __init__(self, room: Room, answers: Answers, dose_budget: DoseBudget) -> None:
        self._room = room
        self._answers = answers
        self._dose_budget = dose_budget
        self._ear = Ear()
        self._expected: dict[str, PreflightReport] = {}
        self._paces: defaultdict[str, Pace] = defaultdict(lambda: Pace(Line(0.0, _SENT_S)))

    def check(
        self, plan: BoundPlan, budget: Budget = WHOLE, *, embryo: str = ""
    ) -> PreflightReport:
        """Follow a plan from where the microscope was read last, and say what came of it.

        Never asks the hardware: the answer holds as long as nobody else moves it.

        Parameters
        ----------
        plan
            Which.
        budget
            How far it is followed.
        embryo
            What its volumes show, where the plan does not say.
        """
        walk = _Walk(plan, budget, Rehearsal(self._answers))
        walk.go(self._ear)
        return self._report(plan, walk, self._doses(walk, embryo))

    def _doses(self, walk: "_Walk", embryo: str) -> dict[str, PlannedDose]:
        """Return the light of each embryo that is known by name, and refuse what is too much."""
        asked: defaultdict[str, Dose] = defaultdict(Dose)
        for model in walk.rehearsal.models:
            for name, dose in model.use.dose_of.items():
                asked[name or embryo] += dose
        found = {
            name: PlannedDose.of(self._answers.dose(name), asked[name]) for name in asked if name
        }
        for name, planned in found.items():
            if excess := self._dose_budget.excess(planned.total()):
                walk.refuse(
                    "embryo",
                    f"{name} would have had {excess} that one embryo may have: it was given "
                    f"{planned.spent_light_ms:.6g} ms, and this plan would take "
                    f"{planned.light_ms:.6g} ms. "
                    "Ask for less, or raise the budget in the settings",
                    step=None,
                )
        return found

    def glance(self, plan: BoundPlan, *, embryo: str = "") -> PreflightSummary:
        """Follow the beginning of a plan, and raise `PlanRefusedError` for what is wrong with it.

        Does no more than that takes: whoever submits a plan waits for it.
        """
        walk = _Walk(plan, _QUICK, Rehearsal(self._answers))
        walk.go(self._ear)
        self._doses(walk, embryo)
        if any(model.use.frames for model in walk.rehearsal.models):
            self._weigh(walk)
        raise_refusals(plan.name, walk.refusals)
        return PreflightSummary(
            ok=True,
            is_whole=walk.is_whole,
            seconds=self._seconds(plan, walk),
            warnings=walk.complaints,
        )

    def expect(self, item_uid: str, report: PreflightReport) -> None:
        """Remember what was said of an item that is about to run."""
        self._expected = {item_uid: report}

    def see(self, item: Item) -> None:
        """Learn from an item that has run through how long it took, and from no other."""
        if item.state is ItemState.RUNNING:
            return
        expected = self._expected.pop(item.item_uid, None)
        if expected and item.state is ItemState.COMPLETED and item.result and item.time_start:
            seconds = item.result.time_stop - item.time_start
            self._paces[item.name].learn(expected.steps, seconds - expected.rehearsed_s)

    def _seconds(self, plan: BoundPlan, walk: "_Walk") -> float:
        """Return how long a plan takes: its devices, and the RunEngine's part."""
        left_out_s = self._paces[plan.name].seconds(walk.messages)
        return walk.rehearsal.models.now_s + max(0.0, left_out_s)

    def _weigh(self, walk: "_Walk") -> dict[str, int]:
        """Return what a plan needs of the disk and the memory, and refuse what they have not."""
        uses = [model.use for model in walk.rehearsal.models]
        needed, free = sum(use.disk_bytes for use in uses), self._room.free_bytes()
        if needed > free:
            walk.refuse(
                "num_slices",
                f"needs {needed} bytes and {self._room.volumes} has {free} bytes free. "
                "Free space there, ask for less, or store elsewhere",
                step=None,
            )
        memory = memory_bytes(max((use.frame_bytes for use in uses), default=0))
        memory_free = psutil.virtual_memory().available
        if memory > memory_free:
            walk.refuse(
                "num_slices",
                f"needs {memory} bytes of memory for frames on their way, and {memory_free} are "
                "free. Close other programs, or read a smaller part of the camera",
                step=None,
            )
        return {
            "bytes_needed": needed,
            "bytes_free": free,
            "memory_bytes": memory,
            "memory_free_bytes": memory_free,
        }

    def _report(
        self, plan: BoundPlan, walk: "_Walk", doses: dict[str, PlannedDose]
    ) -> PreflightReport:
        weight = self._weigh(walk)
        models = walk.rehearsal.models
        uses = [model.use for model in models]
        pace = self._paces[plan.name]
        return PreflightReport(
            plan=plan.name,
            ok=not walk.refusals,
            refusals=tuple(walk.refusals),
            warnings=tuple(walk.complaints),
            steps=walk.messages,
            is_whole=walk.is_whole,
            seconds=self._seconds(plan, walk),
            rehearsed_s=models.now_s,
            sources={**dict(_sources(walk)), "plan": f"messages and documents: {pace.source}"},
            volumes=sum(use.volumes for use in uses),
            frames=sum(use.frames for use in uses),
            **weight,
            light_ms=1000 * sum(use.light_s for use in uses),
            energy_mj=_energy_mj(uses),
            doses=doses,
            dose_percent_ms=_dose(uses),
            travel_um={axis: um for use in uses for axis, um in use.travel_um.items() if um},
        )


def _energy_mj(uses: Sequence[Use]) -> float | None:
    """Return the energy of all light; None if there is some of unknown power."""
    energies = [use.energy_mj for use in uses if use.light_s]
    return None if None in energies else sum(energy for energy in energies if energy)


def _dose(uses: Sequence[Use]) -> dict[str, float]:
    """Return the light of each laser line."""
    found: dict[str, float] = {}
    for line, dose in (one for use in uses for one in use.dose_percent_ms.items()):
        found[line] = found.get(line, 0.0) + dose
    return found


def _sources(walk: "_Walk") -> Iterator[tuple[str, str]]:
    for model in walk.rehearsal.models:
        if source := model.device.pace_source:
            yield model.device.name, source


class _Walk:
    """One plan, followed step by step."""

    def __init__(self, plan: BoundPlan, budget: Budget, rehearsal: Rehearsal) -> None:
        self._plan = plan
        self._budget = budget
        self._answer: Any = None
        self._deadline = 0.0
        self._said: set[tuple[str, str]] = set()
        self.rehearsal = rehearsal
        self.refusals: list[Objection] = []
        self.complaints: list[Complaint] = []
        self.steps = 0
        self.is_whole = False

    def go(self, ear: Ear) -> None:
        """Follow the plan as far as the budget goes."""
        self._deadline = time.monotonic() + self._budget.seconds
        messages = self._plan.generate()
        goes_on = True
        while goes_on:
            with ear.listening(self.complain):
                goes_on = self._some_steps(messages)
        with ear.listening(self.complain), suppress(RuntimeError):
            messages.close()  # it may want to clean up, by messages; there is nothing to
        if self.is_whole:
            for model in self.rehearsal.models:
                model.finish()
            self._complain_of_models()
        elif self._budget.has_to_end and not self._has_said_enough:
            budget = self._budget
            self.refuse(
                "plan",
                f"does not end within {budget.steps} steps or {budget.seconds:g} s, so it was not "
                "checked to its end. Ask for less at a time",
                step=None,
            )

    @property
    def messages(self) -> int:
        """How many there were, with those that were not followed."""
        return self.steps + self.rehearsal.alikes.messages

    def refuse(self, axis: str, problem: str, *, step: int | None) -> None:
        """Note what speaks against the plan, once, with the plan's own field for the axis."""
        several = axis.replace("_", "s_", 1) if "_" in axis else f"{axis}s"  # as powers_percent
        candidates = (axis, f"{axis}_um", f"{axis}_ms", several)
        field = next((name for name in candidates if name in self._plan.kwargs), axis)
        if (field, problem) not in self._said:
            self._said.add((field, problem))
            self.refusals.append(Objection(field=field, message=problem, step=step))

    def complain(self, problem: str) -> None:
        """Note what there is to know, once."""
        if ("", problem) not in self._said and len(self.complaints) < _MOST_TO_SAY:
            self._said.add(("", problem))
            self.complaints.append(Complaint(message=problem, step=self.steps or None))

    def _complain_of_models(self) -> None:
        complaints = self.rehearsal.models.complaints
        while complaints:
            self.complain(complaints.pop(0))

    @property
    def _is_at_the_end_of_its_budget(self) -> bool:
        if self.steps >= self._budget.steps or self._has_said_enough:
            return True
        return self.steps >= _BATCH and time.monotonic() >= self._deadline

    @property
    def _has_said_enough(self) -> bool:
        return len(self.refusals) >= _MOST_TO_SAY

    def _some_steps(self, messages: MsgGenerator[Any]) -> bool:
        """Take a few steps, and return whether there may be more."""
        for _ in range(_BATCH):
            if self._is_at_the_end_of_its_budget:
                return False
            try:
                message = messages.send(self._answer)
            except StopIteration:
                self.is_whole = True
                return False
            except Exception as error:  # noqa: BLE001 - a plan may raise anything
                self.is_whole = True
                self.refuse(*_what_is_wrong(error), step=self.steps)
                return False
            self.steps += 1
            self._answer = self._play(message)
        return True

    def _play(self, message: Msg) -> Any:
        """Play a message; one that is refused has no effect, and the plan goes on."""
        try:
            answer = self.rehearsal.play(message)
        except LimitError as error:
            self.refuse(error.field, str(error), step=self.steps)
        except (DeviceError, TypeError, ValueError, AttributeError) as error:
            self.refuse("plan", str(error), step=self.steps)
        else:
            self._complain_of_models()
            return answer
        return None


def _what_is_wrong(error: Exception) -> tuple[str, str]:
    """Return what speaks against a plan that has raised an error: the field, and the sentence."""
    if isinstance(error, LimitError):
        return error.field, str(error)
    return "plan", f"{type(error).__name__}: {error}"
