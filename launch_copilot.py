"""Start the copilot: a terminal for the microscope, and the page that shows its volumes.

Three ways to run it: in a terminal it prompts for commands; with --run it carries out one
command and exits; with neither (started as a service) it serves the page and keeps the
lineage until it is told to end.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gently.agent.run_once import Exit, OneCommand
from gently.client import ClientError, DeviceLayerClient
from gently.core.data_store import DataStore, DataStoreError
from gently.settings import CopilotSettings, DeviceLayerSettings, SettingsError

if TYPE_CHECKING:
    from gently.agent.image_manager import ImageManager
    from gently.visualization import VolumeFeed

# The page and the store are imported where they are needed: --run stop must not wait for them.
# ruff: noqa: PLC0415

LOGGER = logging.getLogger("gently.copilot")

EPILOG = """\
Each setting comes from gently.yml (or the file that GENTLY_SETTINGS names), then from the
environment (GENTLY_URL, GENTLY_STORAGE, GENTLY_VIZ_PORT, GENTLY_VIZ), then from the command
line; later ones win.

With --run, standard output has one line of JSON for programs: what the plan returned (for a
volume {"uid": ..., "path": ..., "shape": ..., "dtype": ..., "session_id": ...}), or the answer
to a builtin command. Standard error has the rest, for people. Ctrl+C leaves the plan running.

exit code:
  0  done           2  not understood             130  interrupted; a running plan goes on
  1  failed, refused or ended early    3  no device layer at the URL

examples:
  launch_copilot.py --run "acquire_volume num_slices=50 exposure_ms=5"
  launch_copilot.py --run "acquire_volume" | jq -r .uid
  launch_copilot.py --run stop
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the copilot and return its exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = CopilotSettings(
            url=given.url, storage=given.storage, viz_port=given.viz_port, viz=given.viz
        )
        with ExitStack() as stack:
            device_layer = stack.enter_context(DeviceLayerClient(str(settings.url)))
            if given.run is not None:
                command = OneCommand(
                    device_layer, lambda uid: _images(stack, device_layer, settings).register(uid)
                )
                return command.run(given.run)
            return _stay(stack, device_layer, settings)
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
        "--run",
        metavar="COMMAND",
        help="carry out one command as typed in the terminal and exit; serves no page",
    )
    return parser


def _stay(stack: ExitStack, device_layer: DeviceLayerClient, settings: CopilotSettings) -> int:
    """Serve, follow and prompt until the user leaves, or a signal comes."""
    from gently.agent.follower import VolumeFollower
    from gently.visualization import VizServer, VolumeFeed

    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    # A service may be told to end before it has quite begun.
    ended = None if interactive else _end_signal()
    images = _images(stack, device_layer, settings)
    feed = VolumeFeed()
    page_url = None
    if settings.viz:
        page_url = stack.enter_context(VizServer(images.store, feed, settings.viz_port)).url
    if ended is None:
        return _prompt(stack, device_layer, images, feed, page_url)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    LOGGER.setLevel(logging.INFO)
    LOGGER.info("reading %s; page: %s", images.store.root, page_url or "none")
    stack.enter_context(VolumeFollower(device_layer, images, feed.announce, LOGGER.info))
    # A wait without a timeout cannot be interrupted on Windows.
    while not ended.wait(0.2):
        pass
    return Exit.DONE


def _prompt(
    stack: ExitStack,
    device_layer: DeviceLayerClient,
    images: "ImageManager",
    feed: "VolumeFeed",
    page_url: str | None,
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
    copilot = Copilot(device_layer, page_url=page_url)
    stack.enter_context(VolumeFollower(device_layer, images, feed.announce, copilot.notify))
    copilot.run()
    return Exit.DONE


def _images(
    stack: ExitStack, device_layer: DeviceLayerClient, settings: CopilotSettings
) -> "ImageManager":
    from gently.agent.image_manager import ImageManager
    from storage import VolumeStore

    root = settings.storage or _storage_of(device_layer)
    data_store = stack.enter_context(DataStore(root / "lineage.sqlite"))
    return ImageManager(VolumeStore(root), data_store)


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
