"""A check from its beginning to its end: it owns the microscope as a device layer does."""

import os
import platform
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from devices import DeviceError, Instrument, InstrumentFile, load_instrument_file
from gently import __version__, local_key
from gently.api import bind
from gently.check.bench import Bench, Shelf, Step
from gently.check.checkup import Checkup
from gently.check.report import Finding, Group, Report, Status
from gently.core.calibrations import Calibrations
from gently.core.operations import Action, AuditLog
from gently.settings import DeviceLayerSettings
from storage import StoreLock

__all__ = ["Talk", "check_microscope"]


@dataclass(frozen=True)
class Talk:
    """Who is asked and told.

    Parameters
    ----------
    consent
        Who gives leave.
    refusal
        Asks for leave; returns why a step is not to be done, and nothing if it is.
    tell
        Hears of each finding at once.
    on_end
        Called when no more is done but putting back, which nothing is to interrupt.
    """

    consent: Literal["yes to all", "asked", "nobody to ask"]
    refusal: Callable[[Step], str]
    tell: Callable[[Finding], None] = lambda _finding: None
    on_end: Callable[[], None] = lambda: None


def check_microscope(
    settings: DeviceLayerSettings, talk: Talk, keep: Callable[[Report], None]
) -> Report:
    """Check the microscope that settings describe; nobody else can use it meanwhile.

    Parameters
    ----------
    settings
        As of a device layer, which must not run.
    talk
        Who is asked and told.
    keep
        Takes the report, before the hardware is unloaded.

    Raises
    ------
    PortTakenError, StoreLockedError
        If a device layer runs there; names it.
    InstrumentError
        If the instrument file cannot be used.
    GentlyError, StorageError
        If the storage folder cannot be used.
    """
    file = load_instrument_file(settings.config)
    root = settings.storage.expanduser().resolve()
    with ExitStack() as undo:
        undo.enter_context(bind(settings.host, settings.port))
        undo.enter_context(StoreLock(root, {"pid": os.getpid(), "program": "gently-check"}))
        audit = undo.enter_context(AuditLog(root / "audit.ndjson"))
        audit.record(_action("start", settings, talk))
        undo.callback(lambda: audit.record(_action("end", settings, talk)))
        made = _Making(settings, file, root, talk, time.time())
        try:
            calibrations = Calibrations(root / "calibrations.json", file.name)
            shelf = Shelf()
            instrument = Instrument(file, open_sink=shelf.open)
        except DeviceError as error:
            report = made.report((_not_started(error),), ended_early="the instrument did not start")
            talk.tell(report.findings[0])
            keep(report)
            return report
        undo.callback(instrument.close)
        calibrations.apply(instrument.devices)
        bench = Bench(instrument, shelf, calibrations, root)
        checkup = Checkup(bench, refusal=talk.refusal, tell=talk.tell, on_end=talk.on_end)
        checkup.run()
        report = made.report(
            tuple(checkup.findings),
            ended_early=checkup.ended_early,
            light=shelf.light,
            versions=instrument.core.versions(),
        )
        keep(report)
    return report


@dataclass(frozen=True)
class _Making:
    """What is known of a report when the check begins."""

    settings: DeviceLayerSettings
    file: InstrumentFile
    root: Path
    talk: Talk
    began: float

    def report(self, findings: tuple[Finding, ...], **more: Any) -> Report:
        """Return the report."""
        return Report(
            instrument=self.file.name,
            description=self.file.description,
            config=self.settings.config,
            storage=str(self.root),
            gently_version=__version__,
            computer=platform.node(),
            operator=local_key.owner(),
            consent=self.talk.consent,
            began=self.began,
            seconds=time.time() - self.began,
            findings=findings,
            **{"versions": {}, **more},
        )


def _not_started(error: DeviceError) -> Finding:
    return Finding(
        group=Group.START,
        name="instrument",
        status=Status.FAILED,
        says=str(error),
        expected="every device of the instrument file loaded, of its kind, answering, and dark",
        source="the instrument file, and the .cfg file that it names",
        remedy="Mend what is named, then check again; nothing was moved.",
    )


def _action(what: str, settings: DeviceLayerSettings, talk: Talk) -> Action:
    return Action(
        what=f"check: {what}",
        name=local_key.owner(),
        kind="person",
        origin=f"pid {os.getpid()}",
        detail=f"{settings.config}, consent: {talk.consent}",
    )
