"""The catalogue: a plan's signature becomes the model that validates it and its JSON Schema.

Nothing is described twice. A plan that cannot be described from its signature is refused
when the catalogue is built, not when somebody calls it.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin

from bluesky.utils import MsgGenerator
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticCustomError

from devices import HardwareDevice, LimitError
from gently.core.errors import CatalogueError, FieldError, PlanRefusedError, field_errors
from plans import AllDevices, AxisOf

__all__ = ["BoundPlan", "Catalogue", "PlanEntry"]

Plan = Callable[..., MsgGenerator[Any]]
Devices = Mapping[str, HardwareDevice]


@dataclass(frozen=True)
class BoundPlan:
    """A plan with validated arguments, ready to be generated any number of times."""

    name: str
    kwargs: Mapping[str, Any]
    _plan: Plan

    def generate(self) -> MsgGenerator[Any]:
        """Return a fresh message generator."""
        return self._plan(**self.kwargs)


@dataclass(frozen=True)
class PlanEntry:
    """One plan, and the model of its arguments."""

    name: str
    description: str
    module: str
    signature: inspect.Signature
    model: type[BaseModel]
    json_schema: dict[str, Any]
    _plan: Plan

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> BoundPlan:
        """Validate the arguments and resolve the devices they name.

        Raises
        ------
        PlanRefusedError
            Names each field at fault, what is wrong with it and what is allowed.
        """
        given = self._named(list(args), kwargs)
        try:
            found = self.model.model_validate(given)
        except ValidationError as error:
            raise PlanRefusedError(
                self.name, field_errors(error, self.model.model_fields)
            ) from error
        values = {name: getattr(found, name) for name in self.model.model_fields}
        if beyond := tuple(self._beyond_limits(values)):
            raise PlanRefusedError(self.name, beyond)
        return BoundPlan(self.name, values, self._plan)

    def _beyond_limits(self, values: Mapping[str, Any]) -> Iterator[FieldError]:
        for name, mark in _axes(self.signature).items():
            device = values[mark.parameter]
            try:
                device.limits[mark.axis].check(f"{device.name}.{mark.axis}", values[name])
            except LimitError as error:
                yield FieldError(name, str(error))

    def _named(self, args: list[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        names = list(self.signature.parameters)
        if len(args) > len(names):
            problem = f"takes at most {len(names)} arguments: {', '.join(names)}"
            raise PlanRefusedError(self.name, (FieldError("args", problem),))
        given = dict(zip(names, args, strict=False))
        if twice := given.keys() & kwargs.keys():
            field = sorted(twice)[0]
            problem = "is given twice, by position and by name"
            raise PlanRefusedError(self.name, (FieldError(field, problem),))
        return {**given, **kwargs}


class Catalogue(Mapping[str, PlanEntry]):
    """Every plan that this instrument can run, by name.

    Parameters
    ----------
    plans
        Generator functions whose parameters are annotated.
    devices
        The instrument's devices; a plan whose default device is missing is left out.

    Raises
    ------
    CatalogueError
        If a plan cannot be described from its signature.
    """

    def __init__(self, plans: Iterable[Plan], devices: Devices) -> None:
        self._entries: dict[str, PlanEntry] = {}
        self.unavailable: dict[str, str] = {}
        for plan in plans:
            if plan.__name__ in self._entries or plan.__name__ in self.unavailable:
                raise CatalogueError(f"two plans are called {plan.__name__}")
            if reason := _missing_device(plan, devices):
                self.unavailable[plan.__name__] = reason
            else:
                self._entries[plan.__name__] = _describe(plan, devices)

    def __getitem__(self, name: str) -> PlanEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def bind(self, name: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> BoundPlan:
        """Validate a request for the plan `name`; see `PlanEntry.bind`."""
        if name not in self._entries:
            because = self.unavailable.get(name, f"the catalogue has: {', '.join(self)}")
            problem = f"there is no plan {name!r} here; {because}"
            raise PlanRefusedError(name, (FieldError("name", problem),))
        return self._entries[name].bind(args, kwargs)


def _missing_device(plan: Plan, devices: Devices) -> str | None:
    for parameter in _signature(plan).parameters.values():
        kind = _device_class(parameter.annotation)
        if kind is None:
            continue
        if isinstance(parameter.default, str):
            if not isinstance(devices.get(parameter.default), kind):
                return f"this instrument has no {kind.__name__} named {parameter.default!r}"
        elif not _names(kind, devices) and get_origin(parameter.annotation) is not list:
            return f"this instrument has no {kind.__name__}"
    return None


def _signature(plan: Plan) -> inspect.Signature:
    try:
        return inspect.signature(plan, eval_str=True)
    except NameError as error:
        raise CatalogueError(
            f"{plan.__name__} has an annotation that is unknown: {error}"
        ) from error


def _describe(plan: Plan, devices: Devices) -> PlanEntry:
    name = plan.__name__
    if not inspect.isgeneratorfunction(plan):
        raise CatalogueError(f"{name} is no generator function, so it is no plan")
    signature = _signature(plan)
    fields = {
        parameter.name: _field(name, parameter, signature, devices)
        for parameter in signature.parameters.values()
    }
    try:
        model = create_model(  # type: ignore[call-overload]
            name,
            __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True),
            __doc__=inspect.getdoc(plan),
            **fields,
        )
        schema = model.model_json_schema()
    except (PydanticUserError, ValueError, TypeError, NameError) as error:
        raise CatalogueError(f"{name} cannot be described from its signature: {error}") from error
    if left_out := fields.keys() - model.model_fields.keys():
        raise CatalogueError(f"{name} has a parameter of a name that is kept back: {left_out}")
    description = (inspect.getdoc(plan) or "").partition("\n\n")[0]
    if not description:
        raise CatalogueError(f"{name} has no docstring to tell a user what it does")
    return PlanEntry(name, description, plan.__module__, signature, model, schema, plan)


def _field(
    plan: str, parameter: inspect.Parameter, signature: inspect.Signature, devices: Devices
) -> tuple[Any, Any]:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise CatalogueError(
            f"{plan} does not take {parameter.name} by name ({parameter.kind.description}); "
            "a client names each argument"
        )
    if parameter.annotation is parameter.empty:
        raise CatalogueError(f"{plan} does not say of what type {parameter.name} is")
    default = ... if parameter.default is parameter.empty else parameter.default
    if (kind := _device_class(parameter.annotation)) is None:
        mark = _axes(signature).get(parameter.name)
        extra = _bounds(plan, mark, signature, devices) if mark else None
        return Annotated[parameter.annotation, Field(json_schema_extra=extra)], default
    names = _names(kind, devices)
    one = _device_annotation(kind, names, devices)
    if get_origin(parameter.annotation) is list:
        one = GenericAlias(list, (one,))
        default = names if isinstance(default, AllDevices) else default
    return Annotated[one, Field(validate_default=default is not ...)], default


def _axes(signature: inspect.Signature) -> dict[str, AxisOf]:
    """Return which parameters go to an axis of a device."""
    return {
        parameter.name: mark
        for parameter in signature.parameters.values()
        if get_origin(parameter.annotation) is Annotated
        for mark in parameter.annotation.__metadata__
        if isinstance(mark, AxisOf)
    }


def _bounds(
    plan: str, mark: AxisOf, signature: inspect.Signature, devices: Devices
) -> dict[str, Any]:
    """Return the limits of an axis for the schema: what any device of the type may be asked."""
    owner = signature.parameters.get(mark.parameter)
    kind = _device_class(owner.annotation) if owner else None
    if owner is None or kind is None or get_origin(owner.annotation) is list:
        raise CatalogueError(
            f"{plan} bounds a parameter by {mark.parameter}.{mark.axis}, but {mark.parameter} is "
            "no parameter that takes one device"
        )
    try:
        limits = {name: devices[name].limits[mark.axis] for name in _names(kind, devices)}
    except (AttributeError, KeyError) as error:
        raise CatalogueError(
            f"{plan} bounds a parameter by the axis {mark.axis!r}, which not every "
            f"{kind.__name__} has"
        ) from error
    return {
        "minimum": min(limit.low for limit in limits.values()),
        "maximum": max(limit.high for limit in limits.values()),
        "x-units": next(iter(limits.values())).units,
        "x-limits": {name: [limit.low, limit.high] for name, limit in limits.items()},
    }


def _names(kind: type[HardwareDevice], devices: Devices) -> list[str]:
    return [name for name, device in devices.items() if isinstance(device, kind)]


def _device_class(annotation: Any) -> type[HardwareDevice] | None:
    """Return the device class that an annotation asks for, one or a list of; None if neither."""
    if get_origin(annotation) is list:
        return _device_class(get_args(annotation)[0])
    is_device = isinstance(annotation, type) and issubclass(annotation, HardwareDevice)
    return annotation if is_device else None


def _device_annotation(kind: type[HardwareDevice], names: list[str], devices: Devices) -> Any:
    def resolve(value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise PydanticCustomError(
                "device",
                "has to be a {kind} of this instrument ({names})",
                {"kind": kind.__name__, "names": ", ".join(names) or "it has none"},
            )
        return devices[value]

    return Annotated[
        Any,
        BeforeValidator(resolve),
        WithJsonSchema({"type": "string", "enum": names, "x-device": kind.__name__}),
    ]
