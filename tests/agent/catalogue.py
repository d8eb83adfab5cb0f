"""A plan catalogue as the device layer serves it, with every kind of parameter."""

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gently.wire import Plan


class Side(Enum):
    A = "side_a"
    B = "side_b"


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AcquireVolume(_Arguments):
    """Acquire one volume."""

    num_slices: Annotated[int, Field(ge=1, le=10_000, description="How many slices.")] = 50
    exposure_ms: Annotated[
        float, Field(json_schema_extra={"minimum": 0.1, "maximum": 1000.0, "x-units": "ms"})
    ] = 5.0
    step_um: Annotated[float, Field(gt=0, description="From slice to slice, in µm.")] = 0.5
    center_um: float | None = None
    camera: Literal["camera", "side_camera"] = "camera"
    side: Side = Side.A
    preview: bool = True
    note: str = ""
    stages: list[Literal["xy_stage", "focus"]] = ["xy_stage", "focus"]
    label: str | None = None


class MoveStage(_Arguments):
    """Move the stage."""

    x_um: Annotated[float, Field(ge=-5000, le=5000)]
    y_um: Annotated[float, Field(ge=-5000, le=5000)]


class ReadPosition(_Arguments):
    """Read where the stages are."""


def plan(name: str, model: type[BaseModel]) -> Plan:
    reply: dict[str, Any] = {
        "name": name,
        "description": model.__doc__,
        "schema": model.model_json_schema(),
    }
    return Plan.model_validate(reply)


PLANS = {
    "acquire_volume": plan("acquire_volume", AcquireVolume),
    "move_stage": plan("move_stage", MoveStage),
    "read_position": plan("read_position", ReadPosition),
}
DEVICES = ["camera", "focus", "xy_stage"]
