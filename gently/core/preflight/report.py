"""What a preflight has found, as it is answered over HTTP."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from gently.core.errors import FieldError, PlanRefusedError

__all__ = ["Complaint", "Objection", "PreflightReport", "PreflightSummary", "raise_refusals"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Objection(_Answer):
    """One reason for which a plan must not run."""

    field: str = Field(description="The parameter at fault; `plan` where none is.")
    message: str
    step: int | None = Field(default=None, description="The number of the message, from 1.")


class Complaint(_Answer):
    """Something to know about a plan that may run all the same."""

    message: str
    step: int | None = Field(default=None, description="The number of the message, from 1.")


class PreflightSummary(_Answer):
    """What a preflight has found, in short; `POST /api/plans/preflight` tells all of it."""

    ok: bool = Field(description="Whether nothing speaks against it.")
    is_whole: bool = Field(description="Whether it was followed to its end, in the time there was.")
    seconds: float = Field(description="Estimate of how long it takes, as far as it was followed.")
    warnings: list[Complaint] = Field(description="What the plan complains of.")


class PreflightReport(_Answer):
    """What a plan would do, as far as it was followed."""

    plan: str
    ok: bool = Field(description="Whether nothing speaks against it.")
    refusals: tuple[Objection, ...] = Field(default=(), description="All that speaks against it.")
    warnings: tuple[Complaint, ...] = Field(default=(), description="What the plan complains of.")
    steps: int = Field(default=0, description="Messages that the plan has sent.")
    is_whole: bool = Field(default=False, description="Whether it was followed to its end.")
    seconds: float = Field(default=0.0, description="Estimate of how long it takes.")
    rehearsed_s: float = Field(
        default=0.0, description="Of these, what the devices and the plan's own pauses take."
    )
    sources: dict[str, str] = Field(
        default_factory=dict, description="Where the times come from, by device."
    )
    volumes: int = 0
    frames: int = 0
    bytes_needed: int = Field(default=0, description="On the disk, for the pixels of all volumes.")
    bytes_free: int = Field(default=0, description="On the disk, now.")
    memory_bytes: int = Field(
        default=0, description="In memory, for the largest frames on their way."
    )
    memory_free_bytes: int = Field(default=0, description="In memory, now.")
    light_ms: float = Field(default=0.0, description="For how long the sample is illuminated.")
    energy_mj: float | None = Field(
        default=None, description="Light onto the sample; null where its power is not known."
    )
    dose_percent_ms: dict[str, float] = Field(
        default_factory=dict, description="Light by laser line: power in percent × ms."
    )
    travel_um: dict[str, float] = Field(
        default_factory=dict, description="How far each axis goes, by `device.axis`."
    )

    @classmethod
    def refused(cls, plan: str, errors: Iterable[FieldError], bytes_free: int) -> "PreflightReport":
        """Return the report on a plan that could not be begun: its arguments are wrong."""
        refusals = tuple(Objection(field=e.field, message=e.message) for e in errors)
        return cls(plan=plan, ok=False, refusals=refusals, bytes_free=bytes_free)

    def raise_refusals(self) -> None:
        """Raise `PlanRefusedError` with all that speaks against the plan, if anything does."""
        raise_refusals(self.plan, self.refusals)


def raise_refusals(plan: str, refusals: Iterable[Objection]) -> None:
    """Raise `PlanRefusedError` with all that speaks against a plan, if anything does."""
    if errors := tuple(FieldError(r.field, _sentence(r)) for r in refusals):
        raise PlanRefusedError(plan, errors)


def _sentence(refusal: Objection) -> str:
    return refusal.message if refusal.step is None else f"{refusal.message} (step {refusal.step})"
