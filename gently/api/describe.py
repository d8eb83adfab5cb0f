"""Plans and devices, described as Bluesky's clients read it, with our schemas beside."""

import inspect
from collections.abc import Mapping
from typing import Any

from bluesky.protocols import Flyable, Movable, Readable
from pydantic import Field

from devices import HardwareDevice
from gently.api.models import Answer, Json
from gently.core.catalogue import Catalogue, PlanEntry

__all__ = ["DeviceDescription", "PlanDescription", "allowed_devices", "allowed_plans"]


class ParameterKind(Answer):
    """Of a parameter, in the words of Python's inspect."""

    name: str
    value: int


class ParameterAnnotation(Answer):
    """Of what type a parameter is."""

    type: str
    devices: dict[str, list[str]] | None = None
    enums: dict[str, list[Json]] | None = None


class PlanParameter(Answer):
    """A parameter of a plan, as Bluesky's clients read it."""

    name: str
    kind: ParameterKind
    annotation: ParameterAnnotation
    description: str | None = None
    default: str | None = Field(None, description="As Python writes it.")
    min: float | None = None
    max: float | None = None


class PlanDescription(Answer):
    """A plan."""

    name: str
    description: str
    module: str
    properties: dict[str, bool]
    parameters: list[PlanParameter]
    schema_: dict[str, Json] = Field(
        alias="schema", description="The JSON Schema that the arguments are validated by."
    )


class AxisLimits(Answer):
    """How far an axis may be moved."""

    low: float
    high: float
    units: str


class DeviceDescription(Answer):
    """A device."""

    classname: str
    module: str
    is_readable: bool
    is_movable: bool
    is_flyable: bool
    components: dict[str, Json]
    label: str = Field(description="In Micro-Manager.")
    limits: dict[str, AxisLimits] = Field(description="By axis, both ends allowed.")


def allowed_plans(catalogue: Catalogue) -> dict[str, Any]:
    """Return every plan, with the JSON Schema of its arguments under ``schema``."""
    return {name: _plan(entry) for name, entry in catalogue.items()}


def allowed_devices(devices: Mapping[str, HardwareDevice]) -> dict[str, Any]:
    """Return every device, with its limits and units under ``limits``."""
    return {name: _device(device) for name, device in devices.items()}


def _plan(entry: PlanEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "description": entry.description,
        "module": entry.module,
        "properties": {"is_generator": True},
        "parameters": [
            _parameter(parameter, entry.json_schema["properties"][name])
            for name, parameter in entry.signature.parameters.items()
        ],
        "schema": entry.json_schema,
    }


def _parameter(parameter: inspect.Parameter, schema: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": parameter.name,
        "kind": {"name": parameter.kind.name, "value": int(parameter.kind)},
        "annotation": {"type": _type(schema)},
    }
    if "description" in schema:
        found["description"] = schema["description"]
    if "default" in schema:
        found["default"] = repr(schema["default"])
    for theirs, ours in (("min", "minimum"), ("max", "maximum")):
        if ours in schema:
            found[theirs] = schema[ours]
    if "enum" in schema:
        kind = "devices" if "x-device" in schema else "enums"
        found["annotation"][kind] = {_type(schema): schema["enum"]}
    return found


def _type(schema: Mapping[str, Any]) -> str:
    names = {"integer": "int", "number": "float", "string": "str", "null": "None"}
    if "x-device" in schema:
        return str(schema["x-device"])
    if "enum" in schema:
        return "Choice"
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list[{_type(schema['items'])}]"
    return names.get(schema.get("type", ""), "object")


def _device(device: HardwareDevice) -> dict[str, Any]:
    limits = getattr(device, "limits", {})
    return {
        "classname": type(device).__name__,
        "module": type(device).__module__,
        "is_readable": isinstance(device, Readable),
        "is_movable": isinstance(device, Movable),
        "is_flyable": isinstance(device, Flyable),
        "components": {},
        "label": device.label,
        "limits": {
            axis: {"low": limit.low, "high": limit.high, "units": limit.units}
            for axis, limit in limits.items()
        },
    }
