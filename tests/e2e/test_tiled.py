"""Stock tiled, server and writer, takes our documents and gives the same pixels back."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import dask
import httpx
import numpy as np
import pytest
import tifffile
from bluesky.callbacks.tiled_writer import TiledWriter
from bluesky.utils import MsgGenerator
from tiled.client import from_uri
from tiled.mimetypes import ZARR_MIMETYPE
from tiled.queries import Key

from devices import LightSheet, VolumeRequest
from gently.core.catalogue import BoundPlan
from gently.core.device_layer import DeviceLayer
from gently.core.queue import Item
from storage import new_uid
from tests.core.lab import result
from tests.demo import begin, demo_layer, ended, put_back
from tests.e2e.conftest import free_port

# bluesky calls tiled with its arguments in an order that tiled no longer likes.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The order of arguments has changed. please use append_partition:DeprecationWarning"
)
KEY = "secret"
_START_S = 60


@pytest.fixture(scope="module")
def shared_layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    with demo_layer(tmp_path_factory.mktemp("storage")) as layer:
        yield layer


@pytest.fixture
def layer(shared_layer: DeviceLayer) -> Iterator[DeviceLayer]:
    yield shared_layer
    put_back(shared_layer)


@pytest.fixture(scope="module")
def tiled_url(shared_layer: DeviceLayer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run tiled's own server, which may read our volumes and nothing else of ours."""
    folder = tmp_path_factory.mktemp("tiled")
    (folder / "files").mkdir()
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "tiled", "serve", "catalog", "--init"]
    command += ["--read", str(shared_layer.store.volumes)]
    command += ["--write", str(folder / "files")]
    command += ["--write", f"sqlite:///{(folder / 'tables.db').as_posix()}"]
    command += ["--api-key", KEY, "--port", str(port), str(folder / "catalog.db")]
    log = folder / "tiled.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_it_answers(server, f"{url}/healthz", log)
        yield url
    finally:
        server.kill()
        server.wait()


def _wait_until_it_answers(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            httpx.get(url).raise_for_status()
        except httpx.HTTPError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"tiled does not answer:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def tiled(tiled_url: str) -> Iterator[Any]:
    """Connect to tiled as its users do."""
    client = from_uri(f"{tiled_url}/api/v1", api_key=KEY)
    # dask's own threads, by which the client reads, would live as long as the process.
    with closing(client.context), dask.config.set(scheduler="synchronous"):
        yield client


def acquire(
    layer: DeviceLayer, meta: Mapping[str, Any] | None = None, **kwargs: Any
) -> tuple[str, Path]:
    """Take a volume and return its run's uid and its file."""
    item = Item(name="acquire_volume", kwargs={"exposure_ms": 1, **kwargs}, meta=meta or {})
    layer.execute(item)
    told = result(ended(layer, item))
    assert told["exit_status"] == "completed", told["msg"]
    (run_uid,) = told["run_uids"]
    return run_uid, Path(told["return_value"]["path"])


def test_the_volume_of_a_run_is_what_tifffile_reads(layer: DeviceLayer, tiled: Any) -> None:
    run_uid, path = acquire(layer, num_slices=6, step_um=0.5)
    layer.documents.replay_to(TiledWriter(tiled), run_uid)

    run = tiled[run_uid]
    array = run["primary/light_sheet"]
    expected = tifffile.imread(path)

    assert (array.shape, array.dtype) == ((1, 6, 512, 512), expected.dtype)
    assert array.chunks == ((1,), (6,), (512,), (512,))
    np.testing.assert_array_equal(array.read()[0], expected)
    np.testing.assert_array_equal(array[0, 4, 100:200, 7:300], expected[4, 100:200, 7:300])
    start, *_, stop = (document for _, document in layer.documents.replay(run_uid))
    assert run.metadata["start"].items() >= {"uid": run_uid, "item_uid": start["item_uid"]}.items()
    assert run.metadata["stop"] == stop
    assert list(run["primary"]["light_sheet_uid"].read()) == [path.stem]


def test_a_time_lapse_of_many_runs_is_found_by_what_they_share(
    layer: DeviceLayer, tiled: Any
) -> None:
    uid = new_uid()
    taken = [
        acquire(
            layer,
            {"acquisition_uid": uid, "time_point": time_point},
            num_slices=1 + 2 * time_point,
            step_um=1,
        )
        for time_point in range(3)
    ]
    other, _ = acquire(layer, num_slices=1)
    layer.documents.replay_to(TiledWriter(tiled), other, *(run_uid for run_uid, _ in taken))

    lapse = tiled.search(Key("start.acquisition_uid") == uid)

    assert list(lapse) == [run_uid for run_uid, _ in taken]
    for run_uid, path in taken:
        np.testing.assert_array_equal(
            lapse[run_uid]["primary/light_sheet"].read()[0],
            tifffile.imread(path).reshape(-1, 512, 512),
        )


def test_a_time_lapse_of_one_run_has_a_stream_a_volume(
    layer: DeviceLayer, tiled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = layer.instrument.devices["light_sheet"]
    assert isinstance(sheet, LightSheet)
    paths = []

    @bpp.stage_decorator([sheet])  # type: ignore[untyped-decorator]
    @bpp.run_decorator()  # type: ignore[untyped-decorator]
    def lapse() -> MsgGenerator[None]:
        for time_point in range(3):
            request = VolumeRequest(num_slices=3, exposure_ms=1, step_um=time_point)
            yield from bps.prepare(sheet, request, wait=True)
            yield from bps.trigger_and_read([sheet], name=f"t{time_point:04}")
            assert sheet.published
            paths.append(sheet.published["a"].path)

    monkeypatch.setattr(layer.runner, "_prepare", lambda item: BoundPlan(item.name, {}, lapse))
    told = result(ended(layer, begin(layer, "sleep", duration_s=0)))
    assert told["exit_status"] == "completed", told["msg"]
    (run_uid,) = told["run_uids"]
    layer.documents.replay_to(TiledWriter(tiled), run_uid)

    run = tiled[run_uid]

    assert list(run) == ["t0000", "t0001", "t0002"]
    for stream, path in zip(run, paths, strict=True):
        np.testing.assert_array_equal(run[f"{stream}/light_sheet"].read()[0], tifffile.imread(path))


def test_a_volume_in_ome_zarr_is_what_the_writer_does_not_take_as_we_say(
    layer: DeviceLayer, tiled: Any
) -> None:
    run_uid, _ = acquire(layer, num_slices=2, file_format="ome-zarr")
    (resource,) = (
        document for name, document in layer.documents.replay(run_uid) if name == "stream_resource"
    )
    assert resource["mimetype"] == ZARR_MIMETYPE
    with pytest.raises(ValueError, match="zarr"):
        layer.documents.replay_to(TiledWriter(tiled), run_uid)
