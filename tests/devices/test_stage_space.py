"""Where voxels lie on the stage: by the axes of the file, and only where these are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from devices import InstrumentError, VolumeRequest, built_in_instruments, load_instrument_file
from devices.stage_space import ALONG_Z, Axes, to_stage_um
from tests.devices import demo

POSITIONS = {"xy_stage.x": 10.0, "xy_stage.y": 20.0, "focus.z": 150.0, "piezo.z": 0.0}
REQUEST = VolumeRequest(num_slices=5, exposure_ms=1, step_um=2)
KNOWN: dict[str, Any] = {"size_px": (3, 5), "pixel_size_um": 0.5, "positions_um": POSITIONS}


def stage_um(voxel: tuple[int, int, int], axes: Axes | None = ALONG_Z, **given: Any) -> Any:
    known = {**KNOWN, "drive": "piezo", "center_um": 7.0, **given}
    request = known.pop("request", REQUEST)
    return (np.array(to_stage_um(axes, request, **known)) @ [*voxel, 1]).tolist()


def test_the_middle_voxel_is_at_the_stage_and_where_the_drive_is_in_focus() -> None:
    assert stage_um((2, 1, 2)) == [10, 20, 157]


def test_columns_grow_with_x_rows_against_y_and_slices_with_the_drive() -> None:
    assert stage_um((3, 2, 4)) == [11, 19.5, 159]


def test_a_side_lies_as_its_axes_say() -> None:
    axes = Axes(columns=(0, 0, 1), rows=(0, -1, 0), depth=(-1, 0, 0))
    assert stage_um((2, 1, 2), axes) == [3, 20, 150]
    assert stage_um((3, 2, 4), axes) == [1, 19.5, 151]


def test_a_drive_that_is_the_focus_carries_the_sample() -> None:
    assert stage_um((2, 1, 2), drive="focus", center_um=150.0) == [10, 20, 150]


def test_where_the_sheet_stays_all_slices_show_the_place_that_it_lights() -> None:
    request = VolumeRequest(num_slices=5, exposure_ms=1, step_um=2, sheet_um=4)
    assert stage_um((0, 1, 2), request=request) == stage_um((4, 1, 2), request=request)
    assert stage_um((0, 1, 2), request=request) == [10, 20, 154]


@pytest.mark.parametrize("axis", list(POSITIONS)[:3])
def test_nothing_is_said_where_the_axes_or_a_stage_are_not_known(axis: str) -> None:
    known = {**KNOWN, "drive": "piezo", "center_um": 0.0}
    assert to_stage_um(None, REQUEST, **known) is None
    known["positions_um"] = {name: um for name, um in POSITIONS.items() if name != axis}
    assert to_stage_um(ALONG_Z, REQUEST, **known) is None


def test_a_view_b_that_nobody_has_looked_at_does_not_say_where_its_volumes_lie(
    tmp_path: Path,
) -> None:
    request = VolumeRequest(num_slices=1, exposure_ms=1, step_um=0, view="dual")
    with demo.booted(load_instrument_file(twin_with(tmp_path, None)), tmp_path) as bench:
        bench.sheet.prepare(request).wait(10)
        bench.sheet.trigger().wait(30)
        said = {s.planned.metadata["view"]: s.planned.metadata for s in bench.shelf.sinks}
    assert "to_stage_um" in said["a"]
    assert "to_stage_um" not in said["b"]


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        ({"columns": [1, 0, 0], "rows": [0, 1, 0], "depth": [0, 0.5, 0.5]}, "length 1"),
        ({"columns": [1, 0, 0], "rows": [0, 1, 0], "depth": [0, 1, 0]}, "not perpendicular"),
        ({"columns": [1, 0, 0], "rows": [0, 1, 0]}, "depth"),
    ],
)
def test_axes_that_cannot_be_are_refused(tmp_path: Path, axes: Any, why: str) -> None:
    with pytest.raises(InstrumentError, match=why):
        load_instrument_file(twin_with(tmp_path, axes))


def twin_with(folder: Path, axes: Any) -> str:
    """Return a twin whose file says other axes of view b, or none."""
    built_in = built_in_instruments()["twin"]
    said = yaml.safe_load(built_in.read_text(encoding="utf-8"))
    said["micromanager"]["config"] = str(built_in.with_suffix(".cfg").resolve())
    view = said["devices"]["light_sheet"]["views"]["b"]
    del view["axes"]
    if axes is not None:
        view["axes"] = axes
    path = folder / "twin.yml"
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return str(path)
