"""The time-lapse: several embryos, each at its own pace, for as long as it takes."""

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import FailedStatus, Msg, MsgGenerator
from pydantic import AfterValidator, AwareDatetime, Field

from devices import (
    AcquisitionError,
    Dose,
    DoseBudget,
    DoseError,
    FocusDrive,
    Labels,
    LightSheet,
    ViewName,
    Views,
    VolumeRequest,
    XYStage,
)
from plans.acquisition import channels_of, take_volume
from plans.messages import (
    TakenPoint,
    acquisition,
    alike,
    clock,
    dose,
    look,
    seen,
    wait_until,
)
from plans.parameters import (
    AcquisitionUid,
    CompressionParameter,
    ExposureMs,
    FileFormatParameter,
    LinesParameter,
    NumSlices,
    PowersParameter,
    StepUm,
    SweepCenterUm,
    ViewParameter,
    inject,
)
from plans.refocus import Refocus
from plans.schedule import Course, Limits, Schedule
from plans.shot import Shot
from plans.values import Embryo, Rule

__all__ = ["time_lapse"]


def _distinct(embryos: list[Embryo]) -> list[Embryo]:
    names = [embryo.name for embryo in embryos]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"two embryos are called {twice[0]!r}; their volumes could not be told apart"
        )
    return embryos


def time_lapse(
    embryos: Annotated[
        list[Embryo],
        Field(min_length=1, max_length=100, description="Which, and where they are."),
        AfterValidator(_distinct),
    ],
    num_points: Annotated[
        int, Field(ge=1, le=100_000, description="How many time points of each embryo.")
    ],
    interval_s: Annotated[
        float,
        Field(
            ge=0,
            le=86_400,
            description="From one time point of an embryo to the next, in s, unless the embryo "
            "says otherwise; 0 is as fast as it goes.",
        ),
    ],
    num_slices: NumSlices = 50,
    exposure_ms: ExposureMs = 5.0,
    step_um: StepUm = 0.5,
    center_um: SweepCenterUm = None,
    acquisition_uid: AcquisitionUid = "",
    until: Annotated[
        AwareDatetime | None,
        Field(strict=False, description="Nothing is begun later, as 2027-01-31T18:00:00+01:00."),
    ] = None,
    light_budget_ms: Annotated[
        float | None,
        Field(
            ge=0,
            le=1e9,
            description="An embryo that would be lit for longer, in all it was ever lit, in ms, "
            "is left alone.",
        ),
    ] = None,
    energy_budget_mj: Annotated[
        float | None, Field(ge=0, le=1e9, description="The same of the light's energy, in mJ.")
    ] = None,
    num_failures: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="How many volumes in a row may fail and are taken again; one more, and "
            "the plan fails.",
        ),
    ] = 3,
    rules: Annotated[
        list[Rule] | None,
        Field(description="What changes the intervals, or ends an embryo, on the way."),
    ] = None,
    num_points_per_focus: Annotated[
        int | None,
        Field(
            ge=1,
            le=100_000,
            description="Before every so-many-th time point of an embryo, from its first on, the "
            "focus is looked for and the calibration follows the sheet; null never looks.",
        ),
    ] = None,
    view: ViewParameter = "a",
    lines: LinesParameter = None,
    powers_percent: PowersParameter = None,
    file_format: FileFormatParameter = "ome-tiff",
    compression: CompressionParameter = "none",
    stage: XYStage = inject("xy_stage"),
    focus: FocusDrive = inject("focus"),
    light_sheet: LightSheet = inject("light_sheet"),
) -> MsgGenerator[dict[str, Any]]:
    """Take volumes of several embryos again and again, and go on where it was broken off.

    Each volume says where the stages were read back before it; they are not read again with it: on
    a slow line to the controller that takes longer than the volume.

    Returns
    -------
    dict
        ``{acquisition_uid, num_taken, embryos: {name: {ended_by, num_time_points, num_taken,
        num_found, num_failures, interval_s, mean_interval_s, mean_late_s, most_late_s}}}``; where
        rules look at what is seen, also ``seen`` and ``num_unseen``, and where the focus is looked
        for, ``focus``. The volumes are those of the acquisition; how late each has begun is in the
        start document of its run.
    """
    found = yield from acquisition(acquisition_uid)
    shots = [Shot(line, power, view, line) for line, power in channels_of(lines, powers_percent)]
    schedule = Schedule(
        embryos,
        num_points=num_points,
        interval_s=interval_s,
        channels=tuple(channel for shot in shots for channel in shot.channels.values()),
        taken=[_as_asked(point, view, is_named=lines is not None) for point in found.points],
        now_s=(yield from clock()),
    )
    request = VolumeRequest(
        num_slices=num_slices,
        exposure_ms=exposure_ms,
        step_um=step_um,
        center_um=center_um,
        file_format=file_format,
        compression=compression,
        labels=Labels(acquisition_uid=found.uid),
    )
    lapse = _TimeLapse(
        schedule,
        shots,
        request,
        limits=Limits(
            DoseBudget(light_budget_ms, energy_budget_mj),
            until.timestamp() if until else None,
            tuple(rules or ()),
        ),
        refocus=Refocus(
            num_points_per_focus,
            light_sheet,
            replace(request, view=view, line=shots[0].line, power_percent=shots[0].power_percent),
        ),
        num_failures=num_failures,
        stage=stage,
        focus=focus,
        light_sheet=light_sheet,
    )
    yield from lapse.run()
    return {
        "acquisition_uid": found.uid,
        "num_taken": sum(course.taken for course in schedule.courses),
        "embryos": {
            course.name: {**course.report(), **lapse.refocus.report(course.name)}
            for course in schedule.courses
        },
    }


def _as_asked(point: TakenPoint, view: Views, *, is_named: bool) -> TakenPoint:
    """Return what was taken, called as here: without its line if none is asked for by name."""
    if is_named:
        return point
    return replace(point, channel=point.channel.rpartition(" ")[2] if view == "dual" else "")


@dataclass
class _TimeLapse:
    """The plan while it runs."""

    schedule: Schedule
    shots: list[Shot]
    request: VolumeRequest
    limits: Limits
    refocus: Refocus
    num_failures: int
    stage: XYStage
    focus: FocusDrive
    light_sheet: LightSheet
    failures_in_a_row: int = 0
    at: str = ""
    looking: dict[str, Any] = field(default_factory=dict)
    """By embryo, what looks at its last volume."""

    def run(self) -> MsgGenerator[None]:
        """Take what is due, until nothing will be any more."""
        while (course := self.schedule.next()) is not None:
            yield Msg("checkpoint")
            spent, next_one = yield from self._light_of(course)
            yield from self._see(course)
            course.ended_by = self.limits.end(course, spent, next_one)
            if course.ended_by:
                continue
            yield from self._go_to(course)
            yield from self.refocus.before(course)
            begun_s = yield from wait_until(course.due_s)
            if (yield from self._take_all(course, begun_s)):
                self.schedule.taken(course, begun_s, self.limits.interval_s(course, spent))
                yield from self._look_at(course)

    def _light_of(self, course: Course) -> MsgGenerator[tuple[Dose, Dose]]:
        """Return what an embryo was given, and what its next time point will take."""
        if not self.limits.look_at_light:
            return Dose(), Dose()
        spent = yield from dose(course.name)
        takes = (
            self.light_sheet.dose(self._request(course, shot, views))
            for shot, views in self._missing(course)
        )
        return spent, sum(takes, self.refocus.dose(course))

    def _look_at(self, course: Course) -> MsgGenerator[None]:
        """Have the last volume looked at, by the time the next one is due."""
        if self.limits.look_at_volumes and not course.ended_by:
            self.looking[course.name] = yield from look(course.last_uid)

    def _see(self, course: Course) -> MsgGenerator[None]:
        """Note what was seen of the last volume; that nothing was seen holds nothing up."""
        if not self.limits.look_at_volumes:
            return
        is_gone_on_with = course.seen is None and course.name not in self.looking
        if course.last_uid and is_gone_on_with:
            yield from self._look_at(course)
        if course.name in self.looking:
            course.seen = yield from seen(self.looking.pop(course.name))
            course.num_unseen += bool(course.seen.error)

    def _go_to(self, course: Course) -> MsgGenerator[None]:
        if self.at == course.name:
            return
        yield from alike(("go", self.at, course.name), lambda: self._move(course.embryo))
        self.at = course.name

    def _move(self, embryo: Embryo) -> MsgGenerator[None]:
        where: list[Any] = [self.stage, (embryo.x_um, embryo.y_um)]
        if embryo.z_um is not None:
            where += [self.focus, embryo.z_um]
        yield from bps.mv(*where)

    def _take_all(self, course: Course, begun_s: float) -> MsgGenerator[bool]:
        """Take the channels of a time point that are missing; return whether all came."""
        for shot, views in self._missing(course):
            part = partial(self._take, course, shot, views, begun_s)
            error = yield from alike(("take", course.name, shot, tuple(views)), part)
            if isinstance(error, DoseError):
                course.ended_by = f"budget: {error}"
                return False
            if error is not None:
                self._failed(course, error)
                return False
            self.failures_in_a_row = 0
            course.taken += len(views)
            came = [shot.channels[view] for view in views]
            course.missing = tuple(c for c in course.missing if c not in came)
        return True

    def _take(
        self, course: Course, shot: Shot, views: list[ViewName], begun_s: float
    ) -> MsgGenerator[AcquisitionError | DoseError | None]:
        request = self._request(course, shot, views)
        labels = request.labels
        said = {"embryo": labels.embryo, "time_point": labels.time_point, "channel": labels.channel}
        told: dict[str, Any] = {**said, "due_s": course.due_s, "late_s": course.late_s(begun_s)}
        if course.seen is not None:
            told["seen"] = asdict(course.seen)
        volume = take_volume(request, self.light_sheet, [], {"time_lapse": told})
        try:
            taken = yield from bpp.stage_wrapper(volume, [self.light_sheet])
        except FailedStatus as error:
            cause = error.args[0].exception()
            if not isinstance(cause, AcquisitionError | DoseError):
                raise
            yield from bps.close_run(exit_status="fail", reason=str(cause))
            return cause
        if shot == self.shots[0]:
            course.last_uid = taken[0]["uid"]
        return None

    def _missing(self, course: Course) -> list[tuple[Shot, list[ViewName]]]:
        """Return what is still to be taken of a time point, and from which sides."""
        found = (
            (shot, [view for view, channel in shot.channels.items() if channel in course.missing])
            for shot in self.shots
        )
        return [(shot, views) for shot, views in found if views]

    def _request(self, course: Course, shot: Shot, views: list[ViewName]) -> VolumeRequest:
        labels = replace(self.request.labels, embryo=course.name, time_point=course.time_point)
        return shot.request(replace(self.request, labels=labels), views)

    def _failed(self, course: Course, error: AcquisitionError) -> None:
        """Give the others their turn and try again; or give up."""
        course.failures += 1
        self.failures_in_a_row += 1
        if self.failures_in_a_row > self.num_failures:
            raise AcquisitionError(
                f"{self.failures_in_a_row} volumes in a row have failed, the last of "
                f"{course.name}: {error} Mend that, and go on with acquisition_uid "
                f"{self.request.labels.acquisition_uid}."
            ) from error
