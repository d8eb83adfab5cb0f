"""One parameter of a plan, as its JSON Schema describes it: read from text, put into words."""

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import JsonValue, TypeAdapter

TRUTHS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
WORDS: Final = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list like [1,2]",
    "object": 'an object like {"a":1}',
    "null": "null",
}
"""How each JSON type is called."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What a plan takes under one name.

    Attributes
    ----------
    name : str
        Its keyword, with the unit in it.
    types : tuple of str
        JSON types allowed, of `WORDS`.
    values : tuple
        The only values allowed; empty if any of the types will do.
    required : bool
        Whether the plan has no default for it.
    default : JSON value
        What it is if not given.
    bounds : str
        "1 to 1000", "above 0", … or empty.
    units, description : str
        As the schema tells them, or empty.
    entries : Parameter or None
        What each entry of a list has to be, if it may be a list.
    """

    name: str
    types: tuple[str, ...]
    values: tuple[JsonValue, ...]
    required: bool
    default: JsonValue
    bounds: str
    units: str
    description: str
    entries: Self | None = None

    @classmethod
    def all_of(cls, schema: Mapping[str, Any]) -> dict[str, Self]:
        """Return the parameters of a plan by name, in the order of its signature."""
        required = schema.get("required", ())
        return {
            name: cls._of(name, fragment, schema, required=name in required)
            for name, fragment in schema.get("properties", {}).items()
        }

    @classmethod
    def _of(
        cls,
        name: str,
        fragment: Mapping[str, Any],
        schema: Mapping[str, Any],
        *,
        required: bool = False,
    ) -> Self:
        ways = _alternatives(fragment, schema)
        enumerated = [_values(way) for way in ways]
        merged = {key: value for way in reversed(ways) for key, value in way.items()} | {**fragment}
        return cls(
            name=name,
            types=tuple(dict.fromkeys(t for way in ways for t in _types(way))),
            values=tuple(v for values in enumerated for v in values) if all(enumerated) else (),
            required=required,
            default=fragment.get("default"),
            bounds=_bounds(merged),
            units=str(merged.get("x-units", "")),
            description=str(merged.get("description", "")),
            entries=cls._of(name, merged["items"], schema) if "items" in merged else None,
        )

    def parse(self, text: str) -> JsonValue:
        """Return the value that the text means for this parameter.

        Raises
        ------
        ValueError
            If it means none; the text says what is wanted.
        """
        if self.values:
            for value in self.values:
                if text == _plain(value):
                    return value
        else:
            for kind, read in READERS.items():
                if kind in self.types:
                    with contextlib.suppress(ValueError):
                        return read(text)
            if self.entries and text[:1] != "[":
                return [self.entries.parse(entry) for entry in text.split(",")]
        raise ValueError(f"{text!r} is not {self.wanted()}")

    def write(self, value: JsonValue) -> str:
        """Return the text that `parse` reads back as this value."""
        text = _plain(value)
        if isinstance(value, str) and self._reads_otherwise(text):
            return json.dumps(value)
        return text

    def _reads_otherwise(self, text: str) -> bool:
        try:
            return self.parse(text) != text
        except ValueError:
            return False

    def wanted(self) -> str:
        """Return in words what may be given: "a whole number (1 to 1000)"."""
        if self.values:
            return "one of " + ", ".join(_plain(value) for value in self.values)
        if self.entries and self.entries.values:
            return (
                f"a list, separated by commas, of {self.entries.wanted().removeprefix('one of ')}"
            )
        words = " or ".join(WORDS[kind] for kind in self.types)
        limits = " ".join(part for part in (self.bounds, self.units) if part)
        return f"{words} ({limits})" if limits else words


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _alternatives(fragment: Mapping[str, Any], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the plain schemas that a value may satisfy, references followed."""
    if "$ref" in fragment:
        target: Any = schema
        for step in fragment["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _alternatives(target, schema)
    branches = fragment.get("anyOf") or fragment.get("oneOf") or fragment.get("allOf")
    if branches is None:
        return [dict(fragment)]
    return [way for branch in branches for way in _alternatives(branch, schema)]


def _types(way: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = way.get("type", tuple(WORDS))
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _values(way: Mapping[str, Any]) -> tuple[JsonValue, ...]:
    if way.get("type") == "null":
        return (None,)
    if "const" in way:
        return (way["const"],)
    return tuple(way.get("enum", ()))


def _bounds(schema: Mapping[str, Any]) -> str:
    keys = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    low, high, above, below = (f"{schema[key]:.12g}" if key in schema else None for key in keys)
    if low is not None and high is not None:
        return f"{low} to {high}"
    lower = f"at least {low}" if low is not None else f"above {above}" if above is not None else ""
    upper = f"at most {high}" if high is not None else f"below {below}" if below is not None else ""
    return " and ".join(part for part in (lower, upper) if part)


def _integer(text: str) -> JsonValue:
    return int(text)


def _number(text: str) -> JsonValue:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _boolean(text: str) -> JsonValue:
    if text.lower() not in TRUTHS:
        raise ValueError(text)
    return TRUTHS[text.lower()]


def _null(text: str) -> JsonValue:
    if text.lower() not in {"null", "none"}:
        raise ValueError(text)
    return None


def _string(text: str) -> JsonValue:
    """Text stands for itself; quoted as in JSON it is never taken for a number or null."""
    if text.startswith('"'):
        with contextlib.suppress(ValueError):
            return str(json.loads(text))
    return text


def _array(text: str) -> JsonValue:
    return _finite(TypeAdapter(list[JsonValue]).validate_json(text))


def _object(text: str) -> JsonValue:
    return _finite(TypeAdapter(dict[str, JsonValue]).validate_json(text))


def _finite(value: JsonValue) -> JsonValue:
    json.dumps(value, allow_nan=False)
    return value


READERS: Final[Mapping[str, Callable[[str], JsonValue]]] = {
    "null": _null,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "array": _array,
    "object": _object,
    "string": _string,
}
"""From the strictest to the one that takes any text; a parameter tries its own types."""
