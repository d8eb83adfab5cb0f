"""The copilot's command line: a plan with its arguments, or one of a few builtin verbs.

Pure functions over the plan catalogue: a line becomes a command, a command becomes a line
again, and the beginning of a line becomes what may follow. Nothing here asks the device
layer, prints or needs a terminal.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from gently.wire import Parameter, Plan, PlanCall, WrongArguments, did_you_mean

ArgumentKind = Literal["none", "plan", "device", "uid", "call", "proposal"]


@dataclass(frozen=True)
class Verb:
    """A builtin command: the one thing it may or must be told, and what it does.

    Attributes
    ----------
    more : str
        What may follow the argument; empty if nothing may.
    terminal : bool
        Whether it makes sense only where the copilot stays.
    """

    help: str
    argument: ArgumentKind = "none"
    required: bool = False
    more: str = ""
    terminal: bool = False

    def usage(self, name: str) -> str:
        """Return how it is typed; what may be left out is in brackets."""
        what = {"none": "", "call": "plan name=value"}.get(self.argument, self.argument)
        argument = what if self.required or not what else f"[{what}]"
        return " ".join(filter(None, [name, argument, self.more and f"[{self.more}]"]))


BUILTINS: Final[Mapping[str, Verb]] = {
    "help": Verb("what can be typed, or all about one plan", argument="plan"),
    "plans": Verb("the plans of the microscope"),
    "devices": Verb("the devices of the microscope"),
    "read": Verb("what a device reads back now", argument="device", required=True),
    "status": Verb("what the microscope is doing"),
    "volumes": Verb("the latest volumes, newest first"),
    "detect": Verb(
        "find the embryos in a volume, also while a plan runs",
        argument="uid",
        required=True,
        more="detector",
    ),
    "lineage": Verb("where data came from and what came of it", argument="uid", required=True),
    "stop": Verb("stop every motion, turn the light off and end the plan, now"),
    "pause": Verb("pause the running plan at its next checkpoint"),
    "resume": Verb("go on with the paused plan"),
    "preflight": Verb(
        "what a plan would do, without moving anything", argument="call", required=True
    ),
    "propose": Verb("ask a person to approve a plan", argument="call", required=True),
    "proposals": Verb("what waits for approval, newest first"),
    "approve": Verb(
        "run exactly what was proposed, as it is shown",
        argument="proposal",
        required=True,
        more="digest",
    ),
    "reject": Verb("say no to a proposal", argument="proposal", required=True, more="reason"),
    "control": Verb("who has control of the microscope"),
    "take": Verb("take control: nobody else moves the microscope", terminal=True),
    "takeover": Verb("take control from the one who has it, at once", terminal=True),
    "release": Verb("give control back", terminal=True),
    "queue": Verb("the plan that runs and those that wait"),
    "history": Verb("the plans that have ended"),
    "quit": Verb("leave the copilot; a running plan goes on"),
}


_DECODER: Final = json.JSONDecoder()
_JSON_VALUE: Final = re.compile(r"(?<!\S)\w+=(?=[\[{])")
"""The name before a value that may be an object or a list of JSON."""


class CommandError(ValueError):
    """A line that is no command; the text says why and what would be one."""


class RefusedHereError(CommandError):
    """A command whose values the plan's schema forbids: the device layer would refuse it too."""


@dataclass(frozen=True)
class BuiltinCommand:
    """One of `BUILTINS`, with its argument and what follows it, if it has them."""

    name: str
    argument: str | None = None
    more: str = ""
    plan: PlanCall | None = None


Command = PlanCall | BuiltinCommand


@dataclass(frozen=True)
class Suggestion:
    """What may stand at the end of the line, and why.

    Attributes
    ----------
    text : str
        Replaces the last `replaces` characters of the line.
    help : str
        A few words about it.
    """

    text: str
    replaces: int
    help: str


def parse(
    line: str, plans: Mapping[str, Plan], devices: Iterable[str] | None = None
) -> Command | None:
    """Return the command that the line means; None for an empty line.

    Parameters
    ----------
    line : str
        As typed; quotes as in a shell. A value that is an object or a list of JSON needs none.
    plans : mapping
        The plan catalogue.
    devices : iterable of str, optional
        Names of the devices; without them, a device's name is not checked here.

    Raises
    ------
    CommandError
        If it means none.
    RefusedHereError
        If it asks for what the plan's schema forbids.
    """
    try:
        words = _words(line)
    except ValueError as error:
        raise CommandError(f"{line!r} cannot be read: {error}") from error
    if not words:
        return None
    name, *rest = words
    if name in BUILTINS:
        return _builtin(name, rest, plans, devices)
    if name in plans:
        return _call(plans[name], rest)
    raise CommandError(
        f"there is no command or plan {name!r}."
        f"{did_you_mean(name, [*BUILTINS, *plans])} Type `help` for all of them"
    )


def _words(line: str) -> list[str]:
    """Return the words of a line; raises ValueError if a quotation does not end."""
    for found in _JSON_VALUE.finditer(line):
        try:
            before = shlex.split(line[: found.start()])
            _, end = _DECODER.raw_decode(line, found.end())
        except ValueError:  # it is within quotes, or no JSON: then it is as in a shell
            continue
        return [*before, line[found.start() : end], *_words(line[end:])]
    return shlex.split(line)


def needs_catalogue(line: str) -> bool:
    """Whether `parse` needs the plans for this line; a stop never waits for them."""
    name = next(iter(line.split(maxsplit=1)), "")
    return bool(name) and (name not in BUILTINS or BUILTINS[name].argument in {"plan", "call"})


def write(command: Command, plans: Mapping[str, Plan]) -> str:
    """Return the line that `parse` reads as this command."""
    if isinstance(command, BuiltinCommand):
        line = shlex.join(filter(None, [command.name, command.argument, command.more]))
        return line if command.plan is None else f"{line} {write(command.plan, plans)}"
    parameters = plans[command.name].parameters
    arguments = [f"{key}={parameters[key].write(value)}" for key, value in command.kwargs.items()]
    return shlex.join([command.name, *arguments])


def suggest(line: str, plans: Mapping[str, Plan], devices: Iterable[str] = ()) -> list[Suggestion]:
    """Return what may complete the last word of the line, up to the cursor."""
    *before, last = re.split(r"\s+", line.lstrip())
    if not before:
        verbs = {name: verb.help for name, verb in BUILTINS.items()}
        return _beginning_with(last, verbs | {p.name: p.description for p in plans.values()})
    name, *before = before
    if name not in BUILTINS:
        return _arguments(name, before, last, plans)
    argument = BUILTINS[name].argument
    if argument == "call" and before:
        return _arguments(before[0], before[1:], last, plans)
    names = {"plan": tuple(plans), "call": tuple(plans), "device": tuple(devices)}
    return [] if before else _beginning_with(last, dict.fromkeys(names.get(argument, ()), ""))


def _arguments(
    name: str, before: Sequence[str], last: str, plans: Mapping[str, Plan]
) -> list[Suggestion]:
    """Return what may complete an argument of a plan, after those before it."""
    if name not in plans:
        return []
    parameters = plans[name].parameters
    key, equals, value = last.partition("=")
    if equals:
        return _values(parameters.get(key), value)
    given = {word.partition("=")[0] for word in before}
    free = {f"{p.name}=": p.wanted() for p in parameters.values() if p.name not in given}
    return _beginning_with(last, free)


def _builtin(
    name: str,
    rest: Sequence[str],
    plans: Mapping[str, Plan],
    devices: Iterable[str] | None,
) -> BuiltinCommand:
    verb = BUILTINS[name]
    if not rest:
        if verb.required:
            known = f": one of {', '.join(sorted(devices))}" if devices else ""
            wanted = "plan" if verb.argument == "call" else f"{verb.argument}{known}"
            raise CommandError(f"`{name}` needs a {wanted}")
        return BuiltinCommand(name)
    if verb.argument == "call":
        return BuiltinCommand(name, plan=_plan_call(rest[0], rest[1:], plans))
    argument, *more = rest
    if verb.argument == "none" or (more and not verb.more):
        takes = (
            f"takes one {verb.argument} only" if verb.argument != "none" else "takes no argument"
        )
        raise CommandError(f"`{name}` {takes}; leave {rest[-1]!r} out")
    known_names = {"plan": [*plans, *BUILTINS], "device": devices}.get(verb.argument)
    if known_names is not None and argument not in known_names:
        raise CommandError(
            f"there is no {verb.argument} {argument!r}."
            f"{did_you_mean(argument, known_names)} Type `{verb.argument}s` for all of them"
        )
    return BuiltinCommand(name, argument, " ".join(more))


def _plan_call(name: str, words: Sequence[str], plans: Mapping[str, Plan]) -> PlanCall:
    if name in plans:
        return _call(plans[name], words)
    raise CommandError(
        f"there is no plan {name!r}.{did_you_mean(name, plans)} Type `plans` for all of them"
    )


def _call(plan: Plan, words: Sequence[str]) -> PlanCall:
    parameters = plan.parameters
    kwargs: dict[str, JsonValue] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise CommandError(_needs_a_name(plan, parameters, kwargs, word))
        if key not in parameters:
            raise CommandError(
                f"{plan.name} has no parameter {key!r}.{did_you_mean(key, parameters)} "
                f"It takes {', '.join(parameters) or 'none'}"
            )
        if key in kwargs:
            raise CommandError(f"{key} is given twice")
        try:
            kwargs[key] = parameters[key].parse(text)
        except ValueError as error:
            raise CommandError(f"{key}: {error}") from error
    missing = [p for p in parameters.values() if p.required and p.name not in kwargs]
    if missing:
        wants = " and ".join(f"{p.name}, {p.wanted()}" for p in missing)
        example = " ".join([plan.name, *(f"{p.name}=…" for p in missing)])
        raise CommandError(f"{plan.name} needs {wants}. Write {example}")
    try:
        return plan(**kwargs)
    except WrongArguments as error:
        raise RefusedHereError(str(error)) from error


def _needs_a_name(
    plan: Plan, parameters: Mapping[str, Parameter], given: Iterable[str], word: str
) -> str:
    free = [name for name in parameters if name not in given]
    if not free:
        return f"{word!r} is one argument too many for {plan.name}"
    value = word.strip("=") or "…"
    return (
        f"{word!r} has no name: write name=value without spaces, "
        f"like {free[0]}={value}. {plan.name} takes {', '.join(parameters)}"
    )


def _values(parameter: Parameter | None, beginning: str) -> list[Suggestion]:
    if parameter is None:
        return []
    if parameter.entries and not parameter.values:
        return _values(parameter.entries, beginning.rpartition(",")[2])
    values = parameter.values or ((True, False) if parameter.types == ("boolean",) else ())
    return _beginning_with(beginning, dict.fromkeys(map(parameter.write, values), ""))


def _beginning_with(beginning: str, candidates: Mapping[str, str]) -> list[Suggestion]:
    return [
        Suggestion(text, len(beginning), help_)
        for text, help_ in candidates.items()
        if text.startswith(beginning)
    ]
