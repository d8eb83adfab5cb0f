"""Which embryo of a time-lapse is next, when, and if at all: no messages, no clock of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from devices import Dose, DoseBudget
from plans.messages import Seen, TakenPoint
from plans.values import SIGHTS, Embryo, Rule

__all__ = ["Course", "Lateness", "Limits", "Schedule"]


@dataclass
class Lateness:
    """How punctual the time points of an embryo were; of fixed size, however many there are.

    The first says when the others are due, and so is never late.
    """

    points: int = 0
    late_s: float = 0.0
    most_late_s: float = 0.0
    first_s: float = 0.0
    last_s: float = 0.0

    def note(self, begun_s: float, late_s: float) -> None:
        """Take note of a time point, and of how late it has begun."""
        self.first_s = begun_s if self.points == 0 else self.first_s
        self.last_s = begun_s
        self.points += 1
        self.late_s += late_s
        self.most_late_s = max(self.most_late_s, late_s)

    def report(self) -> dict[str, Any]:
        """Return what is told of it; None where there is no interval yet."""
        intervals = self.points - 1
        mean_s = (self.last_s - self.first_s) / intervals if intervals > 0 else None
        return {
            "mean_interval_s": mean_s,
            "mean_late_s": self.late_s / intervals if intervals > 0 else None,
            "most_late_s": self.most_late_s,
        }


@dataclass
class Course:
    """One embryo on its way through the time points.

    Attributes
    ----------
    embryo, base_interval_s
        Which, and from one time point to the next if no rule says otherwise.
    time_point, missing
        What is due next: its number, and the channels of it that are not there.
    due_s
        When, in s since 1970.
    found, taken, failures
        How many volumes were there before, were taken, and failed.
    ended_by
        Why there is no more; empty as long as there is.
    last_uid
        Of the volume of the time point before, its first channel; empty if there is none.
    seen, num_unseen
        What was seen of it last, if it was looked at, and how often that failed.
    """

    embryo: Embryo
    base_interval_s: float
    due_s: float
    missing: tuple[str, ...]
    time_point: int = 0
    found: int = 0
    taken: int = 0
    failures: int = 0
    ended_by: str = ""
    last_uid: str = ""
    seen: Seen | None = None
    num_unseen: int = 0
    is_anchored: bool = False
    lateness: Lateness = field(default_factory=Lateness)

    @property
    def name(self) -> str:
        """The embryo's."""
        return self.embryo.name

    def late_s(self, now_s: float) -> float:
        """Return by how much the next time point is late; the first never is."""
        return max(0.0, now_s - self.due_s) if self.is_anchored else 0.0

    def report(self) -> dict[str, Any]:
        """Return what is told of it in the end."""
        return {
            "ended_by": self.ended_by,
            "num_time_points": self.time_point,
            "num_taken": self.taken,
            "num_found": self.found,
            "num_failures": self.failures,
            "interval_s": self.base_interval_s,
            **self.lateness.report(),
            **({"seen": asdict(self.seen), "num_unseen": self.num_unseen} if self.seen else {}),
        }


@dataclass(frozen=True)
class Limits:
    """What ends the course of an embryo, and what changes its interval.

    Parameters
    ----------
    budget
        The most light that an embryo may have.
    until_s
        After which nothing is begun, in s since 1970; None sets no end.
    rules
        Looked at before each time point.
    """

    budget: DoseBudget
    until_s: float | None
    rules: tuple[Rule, ...]

    @property
    def look_at_light(self) -> bool:
        """Whether the light that an embryo was given is to be known."""
        of_light = ("light_ms", "energy_mj")
        return self.budget != DoseBudget() or any(r.measure in of_light for r in self.rules)

    @property
    def look_at_volumes(self) -> bool:
        """Whether what is seen of an embryo is to be known."""
        return any(rule.measure in SIGHTS for rule in self.rules)

    def holding(self, course: Course, spent: Dose) -> list[Rule]:
        """Return the rules that hold."""
        found: dict[str, float | None] = {
            "time_point": float(course.time_point),
            "light_ms": spent.light_ms,
            "energy_mj": spent.energy_mj,
            **{name: getattr(course.seen, name, None) for name in SIGHTS},
        }
        return [rule for rule in self.rules if rule.holds(course.name, found[rule.measure])]

    def end(self, course: Course, spent: Dose, next_one: Dose) -> str:
        """Return why an embryo is to be left alone before its next time point, if it is."""
        if self.until_s is not None and course.due_s > self.until_s:
            return "until"
        if excess := self.budget.excess(spent + next_one):
            return f"budget: the next would make {excess}"
        if any(rule.is_last for rule in self.holding(course, spent)):
            return "rule"
        return ""

    def interval_s(self, course: Course, spent: Dose) -> float:
        """Return from the time point that is due to the one after it."""
        interval_s = course.base_interval_s
        for rule in self.holding(course, spent):
            interval_s *= rule.interval_factor
        return interval_s


class Schedule:
    """The embryos of a time-lapse and what is due of them.

    Parameters
    ----------
    embryos
        In the order in which they are taken if several are due.
    num_points, interval_s, channels
        How many time points, how far apart if an embryo does not say, of which channels.
    taken
        What is there already: it goes on at the first that is missing.
    now_s
        The time, in s since 1970.
    """

    def __init__(
        self,
        embryos: Sequence[Embryo],
        *,
        num_points: int,
        interval_s: float,
        channels: tuple[str, ...],
        taken: Iterable[TakenPoint],
        now_s: float,
    ) -> None:
        self._num_points = num_points
        self._channels = channels
        self._taken: dict[tuple[str, int], dict[str, TakenPoint]] = {}
        for point in taken:
            place = self._taken.setdefault((point.embryo, point.time_point), {})
            place[point.channel] = point
        self.courses = [self._begun(embryo, interval_s, now_s) for embryo in embryos]

    def next(self) -> Course | None:
        """Return whose turn it is, of several that of the one that is behind; None if all ended."""
        open_ones = (course for course in self.courses if not course.ended_by)
        return min(open_ones, key=lambda one: (one.due_s, one.time_point), default=None)

    def taken(self, course: Course, begun_s: float, interval_s: float) -> None:
        """Note that all channels of a time point were taken, the first from `begun_s` on.

        The next is due an interval after this one was; if this one was later than that, an
        interval after it has begun: what was missed is not made up for by haste.
        """
        late_s = course.late_s(begun_s)
        course.lateness.note(begun_s, late_s)
        is_on_grid = course.is_anchored and late_s <= interval_s
        course.due_s = (course.due_s if is_on_grid else begun_s) + interval_s
        course.is_anchored = interval_s > 0  # what is due at once is never late
        self._advance(course)

    def _begun(self, embryo: Embryo, interval_s: float, now_s: float) -> Course:
        own_s = interval_s if embryo.interval_s is None else embryo.interval_s
        course = Course(embryo, own_s, now_s, self._channels)
        course.time_point = -1
        self._advance(course)
        course.found = sum(len(self._there(course.name, t)) for t in range(course.time_point + 1))
        before = self._taken.get((embryo.name, course.time_point - 1), {})
        if before and (due_s := min(one.begun_s for one in before.values()) + own_s) > now_s:
            course.due_s, course.is_anchored = due_s, True
        if first := before.get(self._channels[0]):
            course.last_uid = first.uid
        return course

    def _there(self, name: str, time_point: int) -> set[str]:
        return set(self._taken.get((name, time_point), {})) & set(self._channels)

    def _advance(self, course: Course) -> None:
        """Go to the next time point of which something is missing."""
        course.missing = ()
        while not course.missing:
            course.time_point += 1
            if course.time_point >= self._num_points:
                course.ended_by = "num_points"
                return
            there = self._there(course.name, course.time_point)
            course.missing = tuple(c for c in self._channels if c not in there)
