"""Start the device layer: the one process that owns the microscope.

It initialises the hardware once, offers plan execution over HTTP and writes every volume
to {storage}/volumes/{uid}.tif. Settings come from gently.yml (or the file that
GENTLY_SETTINGS names), then GENTLY_CONFIG, GENTLY_STORAGE, GENTLY_HOST and GENTLY_PORT in the
environment, then these arguments. Ends with 0 on Ctrl+C or a signal, with 1 and the reason if it
cannot start.

With --stop it starts nothing, and stops the microscope of the device layer that runs: every
motion, the light, the plan. It prints what was read back from each device and ends with 0 only if
all are at rest, with 1 if one is not, and with 3 if no device layer answers.
"""

import argparse
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gently import local_key
from gently.settings import DeviceLayerSettings, SettingsError

if TYPE_CHECKING:
    from gently.core.device_layer import DeviceLayer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT, SIGTERM or Ctrl+Break, or stop the one that runs; return the exit code."""
    given = vars(_parser().parse_args(arguments))
    if given.pop("stop"):
        return _stop(given)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("numcodecs").setLevel(logging.INFO)  # it tells of each codec it has
    _on_end_signals(signal.default_int_handler)
    # Imported late, so that --help answers at once.
    from devices import DeviceError  # noqa: PLC0415
    from gently.core.errors import GentlyError  # noqa: PLC0415
    from storage import StorageError  # noqa: PLC0415

    logging.getLogger().setLevel(logging.INFO)  # after the imports: one of them changes it
    # What ends a plan is in its result; bluesky would log every stop as an error.
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)
    try:
        _serve(DeviceLayerSettings(**given))
    except KeyboardInterrupt:
        return 0
    except (SettingsError, DeviceError, GentlyError, StorageError, OSError) as error:
        print(f"start_device_layer: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _stop(given: Mapping[str, Any]) -> int:
    from gently.emergency import emergency_stop  # noqa: PLC0415

    try:
        settings = DeviceLayerSettings(**given)
        host, port = settings.host, settings.port
    except SettingsError as error:
        # What the settings lack must not keep the microscope moving.
        host, port = (
            given[name] or DeviceLayerSettings.model_fields[name].default
            for name in ("host", "port")
        )
        print(f"start_device_layer: {error}; trying {host}:{port}", file=sys.stderr)  # noqa: T201
    return emergency_stop(f"http://{host}:{port}")


def _serve(settings: DeviceLayerSettings) -> None:
    from gently.api import (  # noqa: PLC0415
        ApiServer,
        bind,
        create_app,
        make_room_for_connections,
    )
    from gently.core.device_layer import DeviceLayer  # noqa: PLC0415

    # The port first: a second device layer must be refused before it touches the hardware.
    with bind(settings.host, settings.port) as listener, DeviceLayer(settings) as layer:
        app = create_app(layer, ready=lambda: print(_banner(layer), flush=True))  # noqa: T201
        try:
            streams = (layer.events, layer.console.lines)
            server = ApiServer(app, *streams, connections=make_room_for_connections())
            server.run(sockets=[listener])
        finally:
            _on_end_signals(signal.SIG_IGN)  # the microscope is put away, whatever comes


def _on_end_signals(handler: object) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # only Windows has the last
        if number := getattr(signal, name, None):
            signal.signal(number, handler)  # type: ignore[arg-type]


def _banner(layer: "DeviceLayer") -> str:
    rows = [(line.name, line.label, line.state) for line in layer.instrument.report]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    devices = "\n".join(
        f"  {name:<{widths[0]}}  {label:<{widths[1]}}  {state}" for name, label, state in rows
    )
    unavailable = "".join(
        f"\n  plan {name} is not offered: {why}"
        for name, why in layer.catalogue.unavailable.items()
    )
    url = f"http://{layer.settings.host}:{layer.settings.port}"
    python = _shown(Path(sys.executable))
    copilot, stop = f"{python} launch_copilot.py", f"{python} start_device_layer.py --stop"
    if url != "http://127.0.0.1:60610":
        copilot += f" --url {url}"
        stop += f" --host {layer.settings.host} --port {layer.settings.port}"
    return f"""
gently {layer.version}: {layer.instrument.file.description or layer.instrument.name}
{devices}{unavailable}

  listening on  {url}
  volumes go to {layer.store.volumes}
  the key is in {local_key.source()}

Next, in a second terminal:
  {copilot} --run "acquire_volume num_slices=50 exposure_ms=5"
  {copilot}        (a terminal and the viewer at http://127.0.0.1:8080)
Stop everything that moves, from any terminal:
  {stop}
Ctrl+C here ends the device layer: stages stopped, light off.
"""


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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
        help="volumes are written to DIR/volumes (default: gently-data)",
    )
    parser.add_argument("--host", metavar="H", help="loopback address (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="N", type=int, help="port to listen on (default: 60610)")
    parser.add_argument(
        "--queue-after-restart",
        choices=("wait", "continue"),
        help="what a queue that ran when the device layer died does then (default: wait)",
    )
    parser.add_argument(
        "--quota-per-client",
        metavar="N",
        type=int,
        help="how many unfinished items one client may have (default: 2000)",
    )
    parser.add_argument(
        "--stop",
        action="store_true",
        help="stop the microscope of the device layer that runs there, and start none",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
