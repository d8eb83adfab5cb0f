"""``gently-check``: looks over a microscope, and says what is and what is not as it has to be."""

import argparse
import io
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from devices import DeviceError
from gently.api import PortTakenError
from gently.check.bench import Step
from gently.check.page import page
from gently.check.report import Finding, Group, Report, Status
from gently.check.session import Talk, check_microscope
from gently.core.errors import GentlyError
from gently.settings import DeviceLayerSettings, SettingsError
from storage import StorageError

__all__ = ["main"]

_NAME = 42


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a microscope; return the exit code: 0 well, 1 something failed, 2 it could not run."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.ERROR)
    logging.getLogger().setLevel(logging.ERROR)  # after the imports: one of them changes it
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # no µ must break a check off
    _on_end_signals(signal.default_int_handler)
    try:
        settings = DeviceLayerSettings(
            config=given.config, storage=given.storage, host=given.host, port=given.port
        )
        folder = given.out or _folder(settings.storage)
        report = check_microscope(settings, _talk(yes=given.yes), lambda one: _keep(one, folder))
    except KeyboardInterrupt:
        print("gently-check: interrupted before anything was done", file=sys.stderr)
        return 130
    except (
        SettingsError,
        DeviceError,
        GentlyError,
        StorageError,
        PortTakenError,
        OSError,
    ) as error:
        print(f"gently-check: {error}", file=sys.stderr)
        return 2
    return int(report.has_failed or bool(report.ended_early))


def _talk(*, yes: bool) -> Talk:
    tell = _Table()
    on_end = _put_away
    if yes:
        return Talk("yes to all", lambda _step: "", tell, on_end)
    if sys.stdin.isatty():
        return Talk("asked", _ask, tell, on_end)
    why = "not asked: nobody is at a terminal, and --yes was not given"
    return Talk("nobody to ask", lambda _step: why, tell, on_end)


def _ask(step: Step) -> str:
    """Ask at the terminal; whatever is no yes is a no."""
    print(f"\n  {step.question}")
    try:
        answer = input("  [y/N] ")
    except EOFError:
        answer = ""
    return "" if answer.strip().lower() in {"y", "yes"} else "declined"


class _Table:
    """Prints each finding as it comes, under the heading of its group."""

    def __init__(self) -> None:
        self._group: Group | None = None

    def __call__(self, finding: Finding) -> None:
        with suppress(OSError):  # a terminal that is gone must not keep the rest from being done
            if finding.group is not self._group:
                self._group = finding.group
                print(f"\n{finding.group}")
            print(f"  {finding.status:<10} {finding.name:<{_NAME}} {finding.found}", flush=True)


def _keep(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.model_dump_json(indent=1), encoding="utf-8")
    (folder / "report.html").write_text(page(report), encoding="utf-8")
    with suppress(OSError):
        if report.ended_early:
            print(f"\nNOT COMPLETE: {report.ended_early}")
        for finding in report.findings:
            if finding.status is Status.FAILED:
                print(f"\nFAILED {finding.name}: {finding.found}\n  {finding.remedy}".rstrip())
        print(f"\n{', '.join(f'{n} {status}' for status, n in report.counts.items())}")
        print(f"{folder / 'report.html'}\n{folder / 'report.json'}", flush=True)


def _folder(storage: Path) -> Path:
    now = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    return storage.expanduser().resolve() / "checks" / now


def _put_away() -> None:
    """Let nothing interrupt the light from going off, and things from going back."""
    _on_end_signals(signal.SIG_IGN)


def _on_end_signals(handler: Callable[..., object] | signal.Handlers) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # only Windows has the last
        if number := getattr(signal, name, None):
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gently-check",
        description="Check a microscope. Without leave it only reads; before anything moves or "
        "shines it says what, and asks.",
        epilog="Exit codes: 0 nothing failed (what was not done is named), 1 something failed or "
        "the check ended early, 2 it could not run, 130 interrupted before it began.",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the instrument: a YAML file, or one in the box: twin (default), demo",
    )
    parser.add_argument(
        "--storage",
        metavar="DIR",
        type=Path,
        help="the storage folder (default: gently-data)",
    )
    parser.add_argument("--host", metavar="H", help="the address of --port")
    parser.add_argument(
        "--port",
        metavar="N",
        type=int,
        help="where no device layer may listen (default: 60610)",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="where report.json and report.html go (default: DIR/checks/ and date and time)",
    )
    parser.add_argument(
        "--yes", action="store_true", help="give leave to everything, without being asked"
    )
    return parser
