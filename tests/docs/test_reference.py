"""The reference names everything that there is, and nothing that there is not."""

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
import tifffile
from pydantic import BaseModel
from starlette.routing import BaseRoute, Mount, Route

import launch_copilot
import start_device_layer
from devices import HardwareDevice, InstrumentFile, instrument_file
from gently.agent.commands import BUILTINS
from gently.agent.run_once import Exit
from gently.api import ROUTES, SOCKETS
from gently.check import Finding, Group, LightUsed, Measured, Report, Status
from gently.check import cli as check_cli
from gently.core.detection_values import DetectionState
from gently.core.lifecycle import ItemState, Step
from gently.core.operations import cli as audit_cli
from gently.core.queue import Result
from gently.settings import CopilotSettings, DeviceLayerSettings
from gently.visualization import Door, VolumeFeed
from gently.visualization.server import create_app
from plans import ALL_PLANS
from storage import FrameInfo, VolumeRecord, VolumeSpec, VolumeStore, cli, new_uid
from tests import REPOSITORY
from tests.docs import openapi
from tests.docs.markdown import DOCS, code, rows, section
from tests.docs.reader import device_layer

REFERENCE = DOCS / "reference"
HTTP = REFERENCE / "http.md"
EVENTS = REFERENCE / "events.md"
PLANS = REFERENCE / "plans.md"
INSTRUMENT = REFERENCE / "instrument-file.md"
COMMAND_LINE = REFERENCE / "command-line.md"
VOLUME = REFERENCE / "volume-file.md"
WATCH = DOCS / "how-to" / "watch-and-audit.md"


def unquoted(table: dict[str, list[str]]) -> dict[str, list[str]]:
    return {cell.strip("`"): row for cell, row in table.items()}


# ---------------------------------------------------------------------- HTTP


def names(routes: list[BaseRoute]) -> set[str]:
    found = set()
    for route in routes:
        if isinstance(route, Mount):
            inside = [name.removeprefix("GET ") for name in names(route.routes)] or [""]
            found |= {f"GET {route.path}{name}" for name in inside}
            continue
        assert isinstance(route, Route)
        path = re.sub(r"{(\w+):\w+}", r"{\1}", route.path)
        found |= {f"{method} {path}" for method in (route.methods or set()) - {"HEAD"}}
    return found


def routes_named_under(heading: str) -> set[str]:
    words = {word for cell in rows(section(HTTP, heading)) for word in code(cell)}
    return {word for word in words if re.match(r"(GET|POST|DELETE) /", word)}


def routes_of_the_device_layer(*, dialect: bool) -> set[str]:
    return {route.name for route in ROUTES if route.dialect == dialect}


def test_every_route_of_the_dialect_is_documented() -> None:
    documented = routes_named_under("### Routes of Bluesky's dialect")
    assert documented == routes_of_the_device_layer(dialect=True)


def test_every_route_of_our_own_is_documented() -> None:
    documented = routes_named_under("### Routes of our own")
    assert documented == routes_of_the_device_layer(dialect=False)


def test_the_openapi_document_in_the_reference_is_that_of_the_twin(http: httpx.Client) -> None:
    renew = f"renew it: {sys.executable} -m tests.docs.openapi"
    found = json.loads(openapi.FILE.read_text(encoding="utf-8"))
    assert found == http.get("/api/openapi.json").json(), renew


def test_every_socket_is_documented() -> None:
    documented = code(section(HTTP, "### Routes of Bluesky's dialect"))
    assert {socket.path for socket in SOCKETS} <= documented


def test_every_route_of_the_page_is_documented(tmp_path: Path) -> None:
    app = create_app(VolumeStore(tmp_path), VolumeFeed(), Door())
    assert routes_named_under("## The page, http://127.0.0.1:8080") == names(app.routes)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with device_layer(tmp_path_factory.mktemp("device-layer")) as client:
        yield client


def test_every_key_of_the_status_is_documented(http: httpx.Client) -> None:
    documented = code(section(HTTP, "#### Status"))
    assert set(http.get("/api/status").json()) <= documented


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/api/plans/allowed", "GET /api/plans/allowed"),
        ("GET", "/api/devices/allowed", "GET /api/devices/allowed"),
        ("GET", "/api/queue/get", "GET /api/queue/get"),
        ("GET", "/api/history/get", "GET /api/history/get"),
        ("POST", "/api/re/runs", "POST /api/re/runs"),
        ("GET", "/api/volumes", "GET /api/volumes"),
        ("GET", "/api/runs", "GET /api/runs"),
        ("GET", "/api/devices/focus/read", "GET /api/devices/{name}/read"),
        ("GET", "/api/settings", "GET /api/settings"),
        ("GET", "/healthz", "GET /healthz"),
        ("GET", "/api/audit", "GET /api/audit"),
        ("POST", "/api/audit/verify", "POST /api/audit/verify"),
        ("POST", "/api/stop", "POST /api/stop"),
    ],
)
def test_every_key_of_an_answer_is_documented(
    http: httpx.Client, method: str, path: str, route: str
) -> None:
    device_layers = section(HTTP, "## The device layer, http://127.0.0.1:60610")
    (row,) = (cells for first, cells in rows(device_layers).items() if f"`{route}`" in first)
    keys = set(http.request(method, path).json()) - {"success", "msg"}
    assert keys <= code(" ".join(row))


def test_every_key_of_a_result_is_documented() -> None:
    keys = set(Result(exit_status="completed", time_start=0, time_stop=1).message())
    assert keys <= code(section(HTTP, "### Routes of Bluesky's dialect"))


def test_every_state_of_an_item_is_documented() -> None:
    assert {str(state) for state in ItemState} <= code(section(HTTP, "### Routes of our own"))


# ---------------------------------------------------------------------- events


def kinds_published() -> set[str]:
    """Find the kinds of events that the source names as such."""
    kinds = {f"item.{step}" for step in Step}
    kinds |= {f"detection.{state}" for state in DetectionState if state != "running"}
    for path in (REPOSITORY / "gently" / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"item\.[a-z]+", str(node.value)):
                kinds.add(str(node.value))
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            at = {"publish": 0, "_publish": 0, "_announce": 0, "_event": 1}.get(called)
            if at is None or len(node.args) <= at:
                continue
            if isinstance(kind := node.args[at], ast.Constant):
                kinds.add(str(kind.value))
    return kinds


def test_every_kind_of_event_is_documented() -> None:
    text = EVENTS.read_text(encoding="utf-8")
    documented = {word for cell in rows(text) for word in code(cell)}
    published = kinds_published()
    assert {"volume.published", "item.queued", "events.lost"} <= published
    assert documented == published


# ---------------------------------------------------------------------- plans


@pytest.mark.parametrize("plan", ALL_PLANS, ids=lambda plan: plan.__name__)
def test_every_parameter_of_a_plan_is_documented(plan: Any) -> None:
    documented = unquoted(rows(section(PLANS, f"## `{plan.__name__}`")))
    parameters = inspect.signature(plan).parameters
    assert list(documented) == list(parameters)
    for name, parameter in parameters.items():
        assert documented[name][1].strip("`") == _default(parameter)


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return "required"
    if type(parameter.default).__name__ == "AllDevices":
        return "all"
    return "null" if parameter.default is None else str(parameter.default)


def test_no_plan_is_documented_that_is_not_offered() -> None:
    headings = re.findall(r"^## `(\w+)`$", PLANS.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [plan.__name__ for plan in ALL_PLANS]


# ---------------------------------------------------------------------- the instrument file


def entries() -> dict[str, type[BaseModel]]:
    union = get_args(get_args(instrument_file.Entry)[0])
    kinds = {get_args(entry.model_fields["kind"].annotation)[0]: entry for entry in union}
    return {
        "## Top": InstrumentFile,
        "## `micromanager`": instrument_file.MicroManager,
        **{f"### `kind: {kind}`": entry for kind, entry in kinds.items()},
    }


@pytest.mark.parametrize("heading", entries())
def test_every_key_of_the_instrument_file_is_documented(heading: str) -> None:
    fields = {k: v for k, v in entries()[heading].model_fields.items() if k != "kind"}
    documented = unquoted(rows(section(INSTRUMENT, heading)))
    assert list(documented) == list(fields)
    for key, field in fields.items():
        default = documented[key][-1]
        if field.is_required():
            assert default == "required", key
        elif field.default not in ("", None):
            assert default == yaml_word(field.default), key
        else:
            assert default != "required", key


def yaml_word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_no_kind_of_device_is_documented_that_does_not_exist() -> None:
    headings = re.findall(r"^### `kind: .*`$", INSTRUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(headings) == {heading for heading in entries() if "kind" in heading}


# ---------------------------------------------------------------------- settings, command lines


@pytest.mark.parametrize(
    ("script", "settings", "parser"),
    [
        ("start_device_layer.py", DeviceLayerSettings, start_device_layer._parser()),
        ("launch_copilot.py", CopilotSettings, launch_copilot._parser()),
    ],
    ids=["device layer", "copilot"],
)
def test_every_setting_and_option_is_documented(
    script: str, settings: type[BaseModel], parser: Any
) -> None:
    text = section(COMMAND_LINE, f"## `{script}`")
    documented = unquoted(rows(text))
    for name, field in settings.model_fields.items():
        environment, _, default, *_ = documented[name]
        assert environment == f"`GENTLY_{name.upper()}`"
        if field.default is not None:
            assert default.strip("`").lower() == str(field.default).rstrip("/").lower()
    options = {o for action in parser._actions for o in action.option_strings} - {"-h", "--help"}
    assert {word.split()[0] for word in code(text) if word.startswith("--")} == options


def test_every_exit_code_of_the_copilot_is_documented() -> None:
    text = section(COMMAND_LINE, "## `launch_copilot.py`")
    codes = {int(cell) for cell in rows(text) if cell.isdecimal()}
    assert codes == {int(code) for code in Exit}
    assert codes == set(map(int, re.findall(r"(?<=[\s])(\d+)  \w", launch_copilot.EPILOG)))


def test_every_command_of_the_copilot_is_documented() -> None:
    text = section(COMMAND_LINE, "### Commands")
    documented = [command.strip("`").split()[0] for command in rows(text)]
    assert documented == list(BUILTINS)


def test_every_command_and_option_of_the_store_is_documented() -> None:
    text = section(COMMAND_LINE, "## `gently-store`")
    (commands,) = [a.choices for a in cli._parser()._actions if isinstance(a.choices, dict)]
    documented = [command.strip("`").split()[0] for command in rows(text)]
    assert [name for name in documented if not name.isdecimal()] == list(commands)
    options = {
        option
        for command in commands.values()
        for action in command._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    assert {word.split()[0] for word in code(text) if word.startswith("--")} == options


def test_every_command_and_option_of_the_audit_is_documented() -> None:
    text = section(COMMAND_LINE, "## `gently-audit`")
    (commands,) = [a.choices for a in audit_cli._parser()._actions if isinstance(a.choices, dict)]
    documented = [command.strip("`").split()[0] for command in rows(text)]
    assert [name for name in documented if not name.isdecimal()] == list(commands)
    options = {
        option
        for command in commands.values()
        for action in command._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    assert {word.split()[0] for word in code(text) if word.startswith("--")} == options


def test_every_option_of_the_check_and_every_key_of_its_report_is_documented() -> None:
    text = section(COMMAND_LINE, "## `gently-check`")
    options = {
        option
        for action in check_cli._parser()._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    assert {word.split()[0] for word in code(text) if word.startswith("--")} == options
    report = section(COMMAND_LINE, "### The report")
    documented = {word for cell in rows(report) for word in code(cell)}
    keys = {*Report.model_fields, *Report.model_computed_fields, *Finding.model_fields}
    assert documented == keys
    values = {str(one) for kind in (Group, Status) for one in kind}
    assert {*values, *LightUsed.model_fields, *Measured.model_fields} <= code(report)


# ---------------------------------------------------------------------- watch and audit


def test_every_metric_is_documented(http: httpx.Client) -> None:
    found = set(re.findall(r"^# TYPE (\w+)", http.get("/metrics").text, re.MULTILINE))
    table = rows(section(WATCH, "## Metrics"))
    documented = {re.sub("{.*", "", word) for cell in table for word in code(cell)}
    assert documented == {name for name in found if not name.endswith("_created")}


def test_every_check_of_the_health_is_documented(http: httpx.Client) -> None:
    checks = set(http.get("/healthz").json()["checks"])
    assert {word for cell in rows(section(WATCH, "## Health")) for word in code(cell)} == checks


def test_every_key_of_an_audit_entry_is_documented(http: httpx.Client) -> None:
    entry = http.get("/api/audit").json()["entries"][-1]
    assert set(entry) <= {word for cell in rows(section(WATCH, "## Audit")) for word in code(cell)}


# ---------------------------------------------------------------------- the volume file


@pytest.fixture
def record(tmp_path: Path) -> VolumeRecord:
    store = VolumeStore(tmp_path)
    spec = VolumeSpec(
        uid=new_uid(), shape=(2, 32, 32), dtype="uint16", pixel_size_um=1, step_um=1, exposure_ms=1
    )
    with store.create(spec) as writer:
        for index in range(2):
            info = FrameInfo(index=index, delta_t_s=0, z_um=index)
            writer.write(np.zeros((32, 32), np.uint16), info)
        return writer.finish()


def test_every_annotation_of_a_volume_is_documented(record: VolumeRecord) -> None:
    with tifffile.TiffFile(record.path) as tiff:
        root = ET.fromstring(tiff.ome_metadata or "")
    found = {
        annotation.get("Namespace"): {m.get("K") for m in annotation.findall(".//{*}M")}
        for annotation in root.findall(".//{*}MapAnnotation")
    }
    assert found
    for namespace, keys in found.items():
        text = section(VOLUME, f"## Annotation `{namespace}`")
        assert {word for cell in rows(text) for word in code(cell)} == keys


def test_everything_in_the_storage_folder_is_documented(http: httpx.Client) -> None:
    text = section(VOLUME, "## The storage folder")
    storage = Path(http.get("/api/settings").json()["storage"])
    assert {path.name for path in storage.iterdir()} <= code(text)


def test_every_key_of_a_volumes_metadata_is_documented(record: VolumeRecord) -> None:
    documented = code(section(VOLUME, "## Annotation `gently/volume`"))
    documented |= code(section(VOLUME, "## Metadata"))
    assert set(record.metadata()) <= documented


# ---------------------------------------------------------------------- explanation


def test_the_explanation_names_the_threads_of_the_device_layer(http: httpx.Client) -> None:
    table = section(DOCS / "explanation" / "architecture.md", "## Threads of the device layer")
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("devices", "storage", "gently/core")
        for path in (REPOSITORY / room).rglob("*.py")
    )
    named = set(re.findall(r'(?:Worker\(|name=f?)"([\w-]+?)[" {]', source))
    named |= {"bluesky-run-engine"}
    assert {"runner", "mmcore", "volume-writer-"} <= named
    assert all(f"`{name}" in table for name in named - {"release"}), named


def test_what_is_a_device_here_is_one_for_the_contributors() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for verb in ("check_safe", "check_value", "stop", "read"):
        assert f"`{verb}`" in text
        assert hasattr(HardwareDevice, verb)
