"""The copilot's terminal: a prompt with completion, progress, and a question on Ctrl+C.

Needs the extra `agent` (prompt_toolkit and rich). What is typed is understood by
`gently.agent.commands` and done by `gently.agent.queue_server_client`; this module only
asks and shows.
"""

import asyncio
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.patch_stdout import patch_stdout
from pydantic import JsonValue
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from gently.agent.commands import (
    BuiltinCommand,
    Command,
    CommandError,
    needs_catalogue,
    parse,
    suggest,
)
from gently.agent.journal import Journal, Prompt
from gently.agent.keys import ESCAPE_S, attending, stopping
from gently.agent.queue_server_client import Outcome, QueueServerClient, outcome_of
from gently.agent.rendering import render, render_outcome
from gently.client import DeviceLayerClient
from gently.core.data_store import DataStoreError, Trace
from gently.wire import ClientError, Device, Item, Plan, PlanCall
from gently.wire import Progress as PlanProgress

GREETING = (
    "gently. Type a plan, or help; Tab completes; quit leaves, and a running plan goes on.\n"
    "Esc Esc stops everything, at any moment."
)
QUESTION = "stop the microscope or leave it running? [s/l] (Enter leaves it running) "


class Copilot:
    """An interactive terminal over one device layer.

    Parameters
    ----------
    device_layer : DeviceLayerClient
        The microscope. It need not be there: what needs it says so.
    journal : Journal
        Where each line is recorded.
    trace : callable
        Returns the lineage of a uid, or raises `DataStoreError`.
    page_url, page_link : str, optional
        Where the viz page is; and by which one comes in, which is shown once.
    console : Console, optional
        Where to print.
    """

    def __init__(
        self,
        device_layer: DeviceLayerClient,
        journal: Journal,
        trace: Callable[[str], Trace],
        *,
        page_url: str | None = None,
        page_link: str | None = None,
        console: Console | None = None,
    ) -> None:
        self._device_layer = device_layer
        self._queue = QueueServerClient(device_layer, trace)
        self._journal = journal
        self._page_url = page_url
        self._page_link = page_link
        self._console = console or Console()
        self._commands: PromptSession[str] = PromptSession(key_bindings=stopping(self._stop))
        self._commands.app.ttimeoutlen = ESCAPE_S
        self._stops = threading.Lock()
        self._control = ExitStack()
        self._holder = ""
        self._question: PromptSession[str] = PromptSession()
        self._completer = CatalogueCompleter()

    def notify(self, sentence: str) -> None:
        """Show a sentence beside whatever is on the screen; from any thread."""
        self._console.print(Text(sentence, style="dim"), soft_wrap=True)

    def run(self) -> None:
        """Read and carry out commands until `quit` or the end of input."""
        self._console.print(GREETING)
        if self._page_link is not None:
            self._console.print(f"The page is at {self._page_link}", soft_wrap=True)
        with self._control:
            for line in self._lines():
                if not self._carry_out(line):
                    return

    def _lines(self) -> Iterator[str]:
        while True:
            self._refresh()
            try:
                # What other threads say meanwhile goes above the prompt.
                with patch_stdout(raw=True):
                    line = self._commands.prompt(
                        "gently> ", completer=self._completer, rprompt=self._holder
                    )
            except KeyboardInterrupt:
                self._console.print("Nothing is stopped by this: `stop` does, `quit` leaves.")
            except EOFError:
                return
            else:
                yield line

    def _refresh(self) -> None:
        """Read the catalogue anew for completion; the last one serves while nobody answers."""
        try:
            plans, devices = self._device_layer.plans(), self._device_layer.devices()
            self._completer.plans, self._completer.devices = plans, devices
            holder = self._device_layer.lease().holder
        except ClientError:
            self._holder = ""
        else:
            self._holder = f"control: {holder}" if holder else ""

    def _carry_out(self, line: str) -> bool:
        """Do what a line says, and record it; False if it says to leave."""
        prompt, item, leave = Prompt(line), None, False
        with self._explaining():
            match self._parse(line):
                case None:
                    return True
                case BuiltinCommand("quit"):
                    leave = True
                case command:
                    item = self._do(command, prompt.meta(self._journal.session_id))
        self._record(prompt, item)
        if item is not None:
            with self._explaining():
                self._follow(item)
        return not leave

    def _do(self, command: Command, meta: Mapping[str, JsonValue]) -> Item | None:
        """Carry a command out; return what it has set going."""
        match command:
            case PlanCall():
                return self._queue.submit(replace(command, meta=meta))
            case BuiltinCommand("approve", str(uid), ""):
                return self._approve(uid)
            case BuiltinCommand("approve"):
                return self._queue.approve(command)
            case BuiltinCommand("take" | "takeover" | "release" as verb):
                self._control.close()
                if verb != "release":
                    control = self._device_layer.control("copilot", take_over=verb == "takeover")
                    self._control.enter_context(control)
                self._console.print(render("control", self._device_layer.lease()))
            case BuiltinCommand(name, plan=PlanCall() as plan):
                asked = replace(command, plan=replace(plan, meta=meta))
                self._console.print(render(name, self._queue.ask(asked)), soft_wrap=True)
            case BuiltinCommand(name):
                self._console.print(render(name, self._queue.ask(command)))
        return None

    def _approve(self, proposal_uid: str) -> Item | None:
        """Show a proposal and have exactly that run, if the user says so."""
        proposal = self._device_layer.proposal(proposal_uid)
        self._console.print(render("propose", proposal), soft_wrap=True)
        if self._answer("run exactly this, now? [y/n] (Enter does not) ") not in {"y", "yes"}:
            self._console.print("Not approved; it waits on.")
            return None
        return self._device_layer.approve(proposal, execute=True).approved_item()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Tell what goes wrong, and go on with the next line."""
        try:
            yield
        except (CommandError, ClientError, DataStoreError) as error:
            self._console.print(Text(str(error), style="red"), soft_wrap=True)
        except KeyboardInterrupt:
            self._console.print("Interrupted; `status` tells whether a plan runs.")

    def _record(self, prompt: Prompt, item: Item | None) -> None:
        try:
            self._journal.record(prompt, item)
        except DataStoreError as error:
            self.notify(f"this line is not recorded in the lineage: {error}")

    def _parse(self, line: str) -> Command | None:
        """Understand a line by the catalogue of this moment; what needs none is never held up."""
        plans = self._device_layer.plans() if needs_catalogue(line) else {}
        return parse(line, plans, self._completer.devices or None)

    def _follow(self, item: Item) -> None:
        """Show the progress of a plan to its end, or until the user leaves it running."""
        while (outcome := self._watch(item)) is None:
            if not self._stop_wanted():
                self._console.print(
                    f"{item.name} goes on as item {item.item_uid}; `status` shows it, "
                    "`stop` ends it."
                )
                return
            self._stop()
        # A path or an address is copied by mouse: only the terminal may break it.
        self._console.print(render_outcome(outcome, self._page_url), soft_wrap=True)

    def _watch(self, item: Item) -> Outcome | None:
        """Show how far the plan is, to its end; None if the user does not want to see it."""
        with progress_bar(self._console) as bar:
            show = ProgressBar(bar, bar.add_task(item.name, total=None, left=""))
            return asyncio.run(attending(self._ended(item, show), self._stop))

    async def _ended(self, item: Item, show: Callable[[PlanProgress], None]) -> Outcome:
        async with self._device_layer.awaitable() as device_layer:
            return outcome_of(await device_layer.wait(item.item_uid, show, timeout_s=math.inf))

    def _stop(self) -> None:
        """Stop and tell; from any thread. Who presses the key often is told once."""
        if not self._stops.acquire(blocking=False):
            return
        try:
            with self._explaining():
                report = self._device_layer.stop("asked for in the copilot's terminal")
                self._console.print(render("stop", report))
        finally:
            self._stops.release()

    def _stop_wanted(self) -> bool:
        """Ask what Ctrl+C meant; anything but a clear "s" leaves the microscope running."""
        return self._answer(QUESTION) in {"s", "stop"}

    def _answer(self, question: str) -> str:
        """Return what the user answers; nothing, if they do not want to."""
        try:
            with patch_stdout(raw=True):
                return self._question.prompt(question).strip().lower()
        except (KeyboardInterrupt, EOFError):
            return ""


class CatalogueCompleter(Completer):
    """Completes from the catalogue last read, without asking the device layer per key.

    Attributes
    ----------
    plans, devices : dict
        By name; empty until the device layer has answered.
    """

    def __init__(self) -> None:
        self.plans: Mapping[str, Plan] = {}
        self.devices: dict[str, Device] = {}

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 (the base class has it)
    ) -> Iterable[Completion]:
        """Yield what may end the word before the cursor."""
        for suggestion in suggest(document.text_before_cursor, self.plans, self.devices):
            yield Completion(
                suggestion.text, -suggestion.replaces, display_meta=suggestion.help or None
            )


def progress_bar(console: Console) -> Progress:
    """Return the bar that shows a plan: its name, how far it is, how long it takes yet."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
    )


class ProgressBar:
    """Moves the bar as the device layer tells."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def __call__(self, progress: PlanProgress) -> None:
        """Show this progress."""
        changes: dict[str, Any] = {}
        if progress.fraction is not None:
            changes |= {"total": 1.0, "completed": progress.fraction}
        if progress.seconds_left is not None:
            changes["left"] = f"{progress.seconds_left:.0f} s left"
        self._bar.update(self._task, **changes)
