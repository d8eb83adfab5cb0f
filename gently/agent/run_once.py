"""One command, or a file of them, without a terminal: for a shell, a script, a cron job.

What a program wants goes to standard output, as one line of JSON: the value that the plan
returned (for a volume `{"uid": …, "path": …, "shape": …, "dtype": …, "session_id": …}`), or
the answer to a builtin command; of a file, one line for each of its commands. What a person
wants goes to standard error: progress, the uid, refusals with their remedy. The exit code tells
what became of it.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import TextIO

from pydantic_core import to_jsonable_python

from gently.agent.commands import (
    BuiltinCommand,
    Command,
    CommandError,
    RefusedHereError,
    needs_catalogue,
    parse,
)
from gently.agent.journal import Journal, Prompt
from gently.agent.queue_server_client import Completed, Ended, Failed, QueueServerClient
from gently.client import DeviceLayerClient
from gently.core.data_store import DataStoreError, Trace
from gently.wire import (
    ClientError,
    DeviceLayerUnreachable,
    Item,
    PlanCall,
    PreflightReport,
    Progress,
    StopReport,
)


class Exit(IntEnum):
    """What the exit code of `launch_copilot.py` means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class OneCommand:
    """Runs one command line, or those of a file, against the device layer.

    Parameters
    ----------
    device_layer : DeviceLayerClient
        Where it runs.
    register : callable
        Registers the volume of a uid, or raises `DataStoreError`.
    trace : callable
        Returns the lineage of a uid, or raises `DataStoreError`.
    journal : callable
        Opens the journal of the commands, or raises `DataStoreError`; called when the command
        has been carried out or its plan accepted, since nobody waits for it.
    session_id : str, optional
        The session of what the command acquires; the device layer's own, if none is given.
    out, err : text streams
        For programs, and for people.
    """

    def __init__(
        self,
        device_layer: DeviceLayerClient,
        register: Callable[[str], object],
        trace: Callable[[str], Trace],
        journal: Callable[[], Journal],
        session_id: str | None = None,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self._device_layer = device_layer
        self._queue = QueueServerClient(device_layer, trace)
        self._register = register
        self._journal = journal
        self._session_id = session_id
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    def run(self, line: str) -> Exit:
        """Run the command to its end; the first Ctrl+C leaves a plan running.

        It is recorded in the lineage, unless nobody was there to hear it.
        """
        prompt = Prompt(line)
        try:
            return self._run(prompt)
        except DeviceLayerUnreachable as error:
            self._say(str(error))
            return Exit.UNREACHABLE
        except (CommandError, ClientError, DataStoreError) as error:
            self._say(str(error))
            self._record(prompt)
            usage = isinstance(error, CommandError) and not isinstance(error, RefusedHereError)
            return Exit.USAGE if usage else Exit.FAILED
        except KeyboardInterrupt:
            self._say("interrupted; `--run status` tells whether a plan runs")
            return Exit.INTERRUPTED

    def run_file(self, path: Path) -> Exit:
        """Run the commands of a file one after the other, until one is not done.

        One a line; empty lines and those that begin with # are left out. None is run unless all
        of them are understood.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self._say(f"{path} cannot be read: {error}")
            return Exit.USAGE
        commands = {
            f"{path}:{number}": line
            for number, line in enumerate(map(str.strip, lines), 1)
            if line and not line.startswith("#")
        }
        if (found := self._understood(commands)) is not Exit.DONE:
            return found
        for done, (place, line) in enumerate(commands.items()):
            self._say(f"{place}: {line}")
            if (found := self.run(line)) is not Exit.DONE:
                self._say(f"{place}: ended here; {len(commands) - done - 1} commands were not run")
                return found
        return Exit.DONE

    def _understood(self, commands: Mapping[str, str]) -> Exit:
        """Say of each command why it cannot be run, where that is known beforehand."""
        found = Exit.DONE if commands else Exit.USAGE
        for place, line in commands.items():
            try:
                self._parse(line)
            except DeviceLayerUnreachable as error:
                self._say(str(error))
                return Exit.UNREACHABLE
            except (CommandError, ClientError) as error:
                self._say(f"{place}: {error}")
                is_refused = isinstance(error, RefusedHereError | ClientError)
                found = max(found, Exit.FAILED if is_refused else Exit.USAGE)
        if not commands:
            self._say("there is no command in the file")
        elif found is not Exit.DONE:
            self._say("nothing was run")
        return found

    def _run(self, prompt: Prompt) -> Exit:
        match self._parse(prompt.text):
            case BuiltinCommand("approve") as approval:
                item = self._queue.approve(approval)
                self._record(prompt, item)
                return self._follow(item)
            case BuiltinCommand() as builtin:
                answer = self._queue.ask(builtin)
                self._answer(answer)
                self._record(prompt)
                return Exit.FAILED if _says_no(answer) else Exit.DONE
            case PlanCall() as plan:
                item = self._queue.submit(replace(plan, meta=prompt.meta(self._session_id)))
                self._record(prompt, item)
                return self._follow(item)

    def _record(self, prompt: Prompt, item: Item | None = None) -> None:
        try:
            self._journal().record(prompt, item)
        except DataStoreError as error:
            self._say(f"the command is not recorded in the lineage: {error}")

    def _parse(self, line: str) -> Command:
        plans = self._device_layer.plans() if needs_catalogue(line) else {}
        command = parse(line, plans)
        if command is None:
            raise CommandError("--run needs a command, like --run status; --run help lists them")
        return command

    def _follow(self, item: Item) -> Exit:
        self._say(f"{item.name}: item {item.item_uid}")
        try:
            outcome = self._queue.follow(item.item_uid, _EachTenth(item.name, self._say))
        except KeyboardInterrupt:
            self._say(
                f"interrupted: {item.name} goes on as item {item.item_uid}. "
                "Stop it with: python launch_copilot.py --run stop"
            )
            return Exit.INTERRUPTED
        match outcome:
            case Completed():
                self._completed(outcome)
                return Exit.DONE
            case Failed(reason=reason):
                self._say(f"{item.name} failed: {reason}")
            case Ended(how=how, reason=reason):
                self._say(f"{item.name} was {how}{f': {reason}' if reason else ''}")
        return Exit.FAILED

    def _completed(self, outcome: Completed) -> None:
        for volume in outcome.result.volumes:
            self._say(f"uid {volume.uid}: {volume.shape} {volume.dtype} in {volume.path}")
            try:
                self._register(volume.uid)
            except DataStoreError as error:
                # The volume is there all the same: a copilot that sees the folder catches up.
                self._say(f"the volume is published but not registered: {error}")
        self._answer(outcome.result.return_value)

    def _answer(self, answer: object) -> None:
        if isinstance(answer, Trace):
            answer = answer.to_json()
        print(json.dumps(to_jsonable_python(answer, by_alias=True)), file=self._out, flush=True)

    def _say(self, sentence: str) -> None:
        print(sentence, file=self._err, flush=True)


def _says_no(answer: object) -> bool:
    match answer:
        case StopReport(success=False) | PreflightReport(ok=False):
            return True
    return False


class _EachTenth:
    """Says the progress whenever another tenth is done."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._tenths = 0

    def __call__(self, progress: Progress) -> None:
        tenths = int(10 * (progress.fraction or 0))
        if tenths > self._tenths:
            self._tenths = tenths
            left = progress.seconds_left
            self._say(
                f"{self._name}: {10 * tenths} %{f', {left:.0f} s left' if left is not None else ''}"
            )
