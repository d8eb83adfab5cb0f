"""Start the copilot: a terminal for the microscope, and the page that shows its volumes.

Three ways to run it: in a terminal it prompts for commands; with --run it carries out one
command, with --run-file those of a file, and exits; with none of these (started as a service) it
serves the page and keeps the lineage until it is told to end.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gently.agent.journal import Journal, new_session_id, now, user
from gently.agent.run_once import Exit, OneCommand
from gently.client import DeviceLayerClient
from gently.core.data_store import DataStore, DataStoreError, Record, Trace
from gently.settings import CopilotSettings, DeviceLayerSettings, SettingsError
from gently.wire import ClientError

if TYPE_CHECKING:
    from gently.agent.image_manager import ImageManager
    from gently.visualization import VizServer, VolumeFeed

# The page and the store are imported where they are needed: --run stop must not wait for them.
# ruff: noqa: PLC0415

LOGGER = logging.getLogger("gently.copilot")

EPILOG = """\
Each setting comes from gently.yml (or the file that GENTLY_SETTINGS names), then from the
environment (GENTLY_URL, GENTLY_STORAGE, GENTLY_VIZ_PORT, GENTLY_VIZ, GENTLY_SESSION,
GENTLY_TITLE), then from the command line; later ones win.

With --run, standard output has one line of JSON for programs: what the plan returned (for a
volume {"uid": ..., "path": ..., "shape": ..., "dtype": ..., "session_id": ...}), or the answer
to a builtin command; with --run-file, one for each command. Standard error has the rest, for
people. Ctrl+C leaves the plan running.

exit code:
  0  done           2  not understood             130  interrupted; a running plan goes on
  1  failed, refused or ended early    3  no device layer at the URL

examples:
  launch_copilot.py --run "acquire_volume num_slices=50 exposure_ms=5"
  launch_copilot.py --run "acquire_volume" | jq -r .uid
  launch_copilot.py --run stop
  launch_copilot.py --run-file working-day.txt
  launch_copilot.py --run "lineage UID" | jq .lineage
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the copilot and return its exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = CopilotSettings(
            url=given.url,
            storage=given.storage,
            viz_port=given.viz_port,
            viz=given.viz,
            session=given.session,
            title=given.title,
        )
        with ExitStack() as stack:
            device_layer = stack.enter_context(DeviceLayerClient(str(settings.url)))
            records = Records(stack, device_layer, settings)
            if given.run is None and given.run_file is None:
                return _stay(stack, device_layer, records, settings)
            command = OneCommand(
                device_layer,
                register=records.register,
                trace=records.trace,
                journal=records.join_session,
                session_id=settings.session,
            )
            return (
                command.run(given.run)
                if given.run_file is None
                else command.run_file(given.run_file)
            )
    except (SettingsError, DataStoreError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return Exit.USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of the device layer (default http://127.0.0.1:60610)")
    parser.add_argument(
        "--storage",
        type=Path,
        metavar="DIR",
        help="the folder with volumes/ (default: where the device layer says that it writes)",
    )
    parser.add_argument(
        "--viz-port", type=int, metavar="N", help="of the page, on 127.0.0.1 (default 8080)"
    )
    parser.add_argument(
        "--no-viz", dest="viz", action="store_const", const=False, help="do not serve the page"
    )
    parser.add_argument(
        "--session",
        metavar="ID",
        help="to begin or go on with; files, documents and lineage carry it (default: a new one "
        "in the terminal, the device layer's own with --run)",
    )
    parser.add_argument("--title", help="of the session, for people; with --run beside --session")
    once = parser.add_mutually_exclusive_group()
    once.add_argument(
        "--run",
        metavar="COMMAND",
        help="carry out one command as typed in the terminal and exit; serves no page",
    )
    once.add_argument(
        "--run-file",
        type=Path,
        metavar="FILE",
        help="carry out the commands of a file, one a line, until one fails, and exit",
    )
    return parser


class Records:
    """Volumes and lineage of the storage folder, opened when they are first needed."""

    def __init__(
        self, stack: ExitStack, device_layer: DeviceLayerClient, settings: CopilotSettings
    ) -> None:
        self._stack = stack
        self._device_layer = device_layer
        self._settings = settings
        self._begun = now()

    @cached_property
    def root(self) -> Path:
        """The storage folder."""
        return self._settings.storage or _storage_of(self._device_layer)

    @cached_property
    def data_store(self) -> DataStore:
        """The lineage."""
        return self._stack.enter_context(DataStore(self.root / "lineage.sqlite"))

    @cached_property
    def images(self) -> "ImageManager":
        """The volumes."""
        from gently.agent.image_manager import ImageManager
        from storage import VolumeStore

        return ImageManager(VolumeStore(self.root), self.data_store)

    def register(self, uid: str) -> Record:
        """Register a volume, or raise `DataStoreError`."""
        return self.images.register(uid)

    def trace(self, uid: str) -> Trace:
        """Return the lineage of a uid, or raise `DataStoreError`."""
        return self.images.trace(uid)

    def begin_session(self) -> Journal:
        """Begin the session of the settings, or a new one, until the copilot leaves."""
        uid = self._settings.session or new_session_id()
        self.data_store.begin_session(
            uid, title=self._settings.title, who=user(), begun=self._begun
        )
        self._stack.callback(self._end_session, uid)
        return Journal(self.data_store, uid, user())

    def join_session(self) -> Journal:
        """Begin the session of the settings; without one, belong to the device layer's own."""
        if self._settings.session is not None:
            return self.begin_session()
        try:
            ongoing = self._device_layer.settings().session_id
        except ClientError:
            ongoing = None
        return Journal(self.data_store, ongoing, user())

    def _end_session(self, uid: str) -> None:
        try:
            self.data_store.end_session(uid)
        except DataStoreError as error:
            LOGGER.warning("the end of session %s is not recorded: %s", uid, error)


def _stay(
    stack: ExitStack,
    device_layer: DeviceLayerClient,
    records: Records,
    settings: CopilotSettings,
) -> int:
    """Serve, follow and prompt until the user leaves, or a signal comes."""
    from gently.agent.follower import VolumeFollower
    from gently.visualization import VizServer, VolumeFeed

    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    # A service may be told to end before it has quite begun.
    ended = None if interactive else _end_signal()
    images = records.images
    feed = VolumeFeed()
    page = None
    if settings.viz:
        page = VizServer(
            images.store,
            feed,
            settings.viz_port,
            lineage=images.trace,
            device_layer=device_layer,
        )
        stack.enter_context(page)
    if ended is None:
        return _prompt(stack, device_layer, records, feed, page)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    LOGGER.setLevel(logging.INFO)
    LOGGER.info("reading %s; page: %s", images.store.root, page.url if page else "none")
    stack.enter_context(VolumeFollower(device_layer, images, feed.announce, LOGGER.info))
    # A wait without a timeout cannot be interrupted on Windows.
    while not ended.wait(0.2):
        pass
    return Exit.DONE


def _prompt(
    stack: ExitStack,
    device_layer: DeviceLayerClient,
    records: Records,
    feed: "VolumeFeed",
    page: "VizServer | None",
) -> int:
    from gently.agent.follower import VolumeFollower

    try:
        from gently.agent.copilot import Copilot
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f'The terminal needs {error.name}: pip install "gently[agent]". '
            "Without it, --run carries out single commands.\n"
        )
        return Exit.USAGE
    images = records.images
    copilot = Copilot(
        device_layer,
        records.begin_session(),
        images.trace,
        page_url=page.url if page else None,
        page_link=page.link if page else None,
    )
    stack.enter_context(VolumeFollower(device_layer, images, feed.announce, copilot.notify))
    copilot.run()
    return Exit.DONE


def _storage_of(device_layer: DeviceLayerClient) -> Path:
    """Return where the device layer writes, or would by its settings if it were started here."""
    try:
        return device_layer.settings().storage
    except ClientError:
        storage = DeviceLayerSettings().storage
        LOGGER.warning("no device layer says where volumes go; reading %s", storage.resolve())
        return storage


def _end_signal() -> threading.Event:
    """Return what SIGINT, SIGTERM or, on Windows, Ctrl+Break sets from now on."""
    ended = threading.Event()

    def end(*_: Any) -> None:
        ended.set()

    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
        signal.signal(number, end)
    return ended


if __name__ == "__main__":
    sys.exit(main())
