"""The plan catalogue: what can be run, and a plan with its arguments, checked before it is sent."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import Field, JsonValue

from gently.wire.errors import WrongArguments
from gently.wire.parameters import Parameter
from gently.wire.replies import FieldError, Reply


@dataclass(frozen=True)
class PlanCall:
    """A plan with its arguments: what is run, queued, checked or proposed.

    Usually made by calling a plan of the catalogue, which checks the arguments.

    Attributes
    ----------
    name : str
        The plan.
    kwargs : mapping
        Its arguments.
    meta : mapping
        What its documents shall say besides, such as a `session_id`, which its files carry
        too; `dataclasses.replace(call, meta=...)` gives it.
    """

    name: str
    kwargs: Mapping[str, JsonValue] = field(default_factory=dict)
    meta: Mapping[str, JsonValue] = field(default_factory=dict)

    def item(self) -> dict[str, Any]:
        """Return it as it is sent."""
        item = {"item_type": "plan", "name": self.name, "kwargs": dict(self.kwargs)}
        return {**item, "meta": dict(self.meta)} if self.meta else item


class Plan(Reply):
    """One entry of the plan catalogue; called with arguments, it returns a `PlanCall`.

    Printed, it shows what it does and what it takes.
    """

    name: str
    description: str = ""
    json_schema: Mapping[str, JsonValue] = Field(alias="schema")
    """JSON Schema (draft 2020-12) of the plan's keyword arguments."""

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """What it takes, by name, in the order of its signature."""
        return Parameter.all_of(self.json_schema)

    def __call__(self, /, **kwargs: JsonValue) -> PlanCall:
        """Return the plan with these arguments.

        Raises
        ------
        WrongArguments
            If its schema forbids them; names each, and what is allowed.
        """
        if errors := self.wrong(kwargs):
            raise WrongArguments(self.name, errors, f"It takes {self.signature()}")
        return PlanCall(self.name, kwargs)

    def wrong(self, kwargs: Mapping[str, JsonValue]) -> list[FieldError]:
        """Return what its schema has against these arguments."""
        unknown = [
            FieldError(field=name, message=f"is no parameter.{did_you_mean(name, self.parameters)}")
            for name in kwargs
            if name not in self.parameters
        ]
        missing = [
            FieldError(field=p.name, message=f"is missing; give {p.wanted()}")
            for p in self.parameters.values()
            if p.required and p.name not in kwargs
        ]
        return unknown + missing or self._forbidden(kwargs)

    def _forbidden(self, kwargs: Mapping[str, JsonValue]) -> list[FieldError]:
        # It takes long to import, and an emergency stop calls no plan.
        from jsonschema import Draft202012Validator  # noqa: PLC0415

        found: dict[str, FieldError] = {}
        for error in Draft202012Validator(dict(self.json_schema)).iter_errors(dict(kwargs)):
            name = str(next(iter(error.path), ""))
            if (parameter := self.parameters.get(name)) is None:
                found.setdefault(name, FieldError(field=name, message=error.message))
            else:
                value = parameter.write(kwargs[name])
                message = f"{value} is refused; give {parameter.wanted()}"
                found[name] = FieldError(field=name, message=message)
        return [found[name] for name in sorted(found)]

    def signature(self) -> str:
        """Return its parameters with their defaults, in the manner of Python."""
        parts = [
            p.name if p.required else f"{p.name}={p.default!r}" for p in self.parameters.values()
        ]
        return f"{self.name}({', '.join(parts)})"

    def __repr__(self) -> str:
        lines = [
            f"  {p.name}: {p.wanted()}{f'; {p.description}' if p.description else ''}"
            for p in self.parameters.values()
        ]
        return "\n".join([self.signature(), f"  {self.description}", *lines])

    __str__ = __repr__


class Plans(Mapping[str, Plan]):
    """The plan catalogue by name; each plan is an attribute, too, and Tab completes it."""

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        self._plans = dict(plans)

    def __getitem__(self, name: str) -> Plan:
        return self._plans[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    def __len__(self) -> int:
        return len(self._plans)

    def __getattr__(self, name: str) -> Plan:
        if name.startswith("_") or name not in self._plans:
            raise AttributeError(
                f"the microscope offers no plan {name!r}.{did_you_mean(name, self)} "
                f"There are: {', '.join(self)}"
            )
        return self._plans[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._plans]

    def __repr__(self) -> str:
        return "\n".join(plan.signature() for plan in self.values())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the known words that are like this one; empty if none is."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.7)
    return f" Did you mean {' or '.join(close)}?" if close else ""
