"""What plans ask for, answered from the volumes on the shelf."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from devices import Dose
from gently.core.answers import answer_plans
from gently.detector_child import Look
from plans import Acquisition, TakenPoint
from tests.core.lab import Nothing
from tests.devices.demo import Shelf

UID = "5" * 32


@dataclass
class ShelfAnswers(Nothing):
    """Knows what lies on the shelf, and what was there before."""

    shelf: Shelf
    before: list[TakenPoint] = field(default_factory=list)
    shows: Callable[[int], Look] | None = None
    """What the n-th volume that is looked at shows, from 0."""
    looked_at: list[str] = field(default_factory=list)

    def acquisition(self, uid: str) -> Acquisition:
        return Acquisition(uid, (*self.before, *self.taken))

    def dose(self, embryo: str) -> Dose:
        volumes = Counter(point.embryo for point in self.taken)
        return Dose(light_ms=4.0 * volumes[embryo], energy_mj=None)

    def look(self, uid: str) -> Look:
        self.looked_at.append(uid)
        assert self.shows, "nobody looks"
        return self.shows(len(self.looked_at) - 1)

    @property
    def taken(self) -> list[TakenPoint]:
        found = []
        for sink in self.shelf.sinks:
            if sink.state == "published":
                labels = sink.planned.labels
                point = (labels.embryo, labels.time_point, labels.channel)
                found.append(TakenPoint(*point, begun_s=0, uid=sink.planned.uid))
        return found

    @property
    def places(self) -> list[tuple[str, int]]:
        return [(point.embryo, point.time_point) for point in self.taken]

    def answer(self, run_engine: Any) -> None:
        answer_plans(run_engine, self, lambda: UID, lambda _done_s, _of_s: None)
