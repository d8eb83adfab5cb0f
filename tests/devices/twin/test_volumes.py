"""What volumes show, taken through the devices: it moves as the stages do, and is where it says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.registration import phase_cross_correlation

from devices import Calibration, ViewName, VolumeRequest, load_instrument_file
from devices.twin import Phantom, sheets
from gently.analysis import fit_focus, sharpness
from tests.devices import demo
from tests.devices.demo import Bench
from tests.devices.twin.rig import SEED

PIXEL_UM = 0.1625
FOCUS_UM = 150.0
EMBRYO = Phantom(SEED).embryos[0]
STEP_UM = 2.0
ONE = VolumeRequest(num_slices=1, exposure_ms=5, step_um=0, center_um=0, view="dual")
SWEEP = VolumeRequest(num_slices=13, exposure_ms=5, step_um=STEP_UM, center_um=0, view="dual")

Vector = NDArray[np.float64]
few = settings(max_examples=4, deadline=None)
pixels = st.integers(-50, 50)
slices = st.integers(-3, 3)


@dataclass(frozen=True)
class Taken:
    """A volume, and where it says that its voxels lie."""

    counts: NDArray[np.float32]
    to_stage_um: Vector

    def on(self, grid_um: tuple[Vector, ...]) -> NDArray[Any]:
        """Return what is at the places of a grid along x, y and z, in stage space."""
        inverse = np.linalg.inv(self.to_stage_um[:, :3])
        first = np.array([ticks[0] for ticks in grid_um])
        pitch = np.array([ticks[1] - ticks[0] for ticks in grid_um])
        found: NDArray[Any] = ndimage.affine_transform(
            self.counts,
            inverse * pitch,
            offset=inverse @ (first - self.to_stage_um[:, 3]),
            output_shape=tuple(len(ticks) for ticks in grid_um),
            order=1,
        )
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with demo.booted(load_instrument_file("twin"), tmp_path_factory.mktemp("twin")) as bench:
        yield bench


def take(bench: Bench, request: VolumeRequest) -> Mapping[ViewName, Taken]:
    bench.shelf.sinks.clear()
    bench.sheet.prepare(request).wait(10)
    bench.sheet.trigger().wait(30)
    found: dict[ViewName, Taken] = {}
    for sink in bench.shelf.sinks:
        told = sink.planned.metadata
        found[told["view"]] = Taken(sink.pixels.astype(np.float32), np.array(told["to_stage_um"]))
    return found


def go(bench: Bench, x_um: float = 0.0, y_um: float = 0.0, z_um: float = FOCUS_UM) -> None:
    both = bench.stage.set((x_um, y_um)) & bench.focus.set(z_um)
    both.wait(10)


def moved(taken: Taken, before: Taken) -> Vector:
    """Return by how many rows and columns what is seen in a slice has moved."""
    # By their correlation: phases alone would see the sensor's hot pixels, which stay.
    back, _, _ = phase_cross_correlation(
        taken.counts[0], before.counts[0], upsample_factor=10, normalization=None
    )
    found: Vector = np.asarray(back)
    return found


def moved_slices(taken: Taken, before: Taken) -> float:
    """Return by how many slices what is seen has moved, and to no side."""
    now, then = taken.counts[:, ::4, ::4], before.counts[:, ::4, ::4]
    reach = 5
    scores = [
        alike(now[max(0, by) : len(now) + min(0, by)], then[max(0, -by) : len(then) - max(0, by)])
        for by in range(-reach, reach + 1)
    ]
    best = int(np.argmax(scores))
    assert scores[best] > 0.95
    low, top, high = scores[best - 1 : best + 2]
    return best - reach + (high - low) / (2 * (2 * top - low - high))


def alike(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@few
@given(x=pixels, y=pixels)
def test_stage_plus_x_moves_the_sample_left_in_view_a_and_plus_y_moves_it_down_in_both(
    bench: Bench, x: int, y: int
) -> None:
    go(bench)
    before = take(bench, ONE)
    go(bench, x * PIXEL_UM, y * PIXEL_UM)
    assert moved(take(bench, ONE)["a"], before["a"]) == pytest.approx([y, -x], abs=0.2)
    go(bench, 0, y * PIXEL_UM)
    assert moved(take(bench, ONE)["b"], before["b"]) == pytest.approx([y, 0], abs=0.2)


@few
@given(z=st.integers(-30, 30))
def test_the_focus_up_moves_the_sample_left_in_view_b(bench: Bench, z: int) -> None:
    go(bench)
    before = take(bench, ONE)["b"]
    go(bench, z_um=FOCUS_UM + z * PIXEL_UM)
    assert moved(take(bench, ONE)["b"], before) == pytest.approx([0, -z], abs=0.2)


@few
@given(steps=slices)
def test_a_sweep_of_the_piezos_that_is_further_on_sees_everything_so_many_slices_earlier(
    bench: Bench, steps: int
) -> None:
    go(bench)
    before = take(bench, SWEEP)
    after = take(bench, replace(SWEEP, center_um=steps * STEP_UM))
    for view in ("a", "b"):
        assert moved_slices(after[view], before[view]) == pytest.approx(-steps, abs=0.2)


@few
@given(steps=slices)
def test_the_focus_moves_the_slices_of_view_a_and_the_stages_x_those_of_view_b(
    bench: Bench, steps: int
) -> None:
    go(bench)
    before = take(bench, SWEEP)
    go(bench, z_um=FOCUS_UM + steps * STEP_UM)
    assert moved_slices(take(bench, replace(SWEEP, view="a"))["a"], before["a"]) == pytest.approx(
        -steps, abs=0.2
    )
    go(bench, x_um=steps * STEP_UM)
    assert moved_slices(take(bench, replace(SWEEP, view="b"))["b"], before["b"]) == pytest.approx(
        steps, abs=0.2
    )


@pytest.mark.parametrize("view", ["a", "b"])
@few
@given(away_deg=st.floats(-0.04, 0.04))
def test_a_mirror_moves_the_lit_plane_by_its_slope_and_it_is_sharp_and_bright_in_focus_alone(
    bench: Bench, view: ViewName, away_deg: float
) -> None:
    true = sheets(SEED)["A" if view == "a" else "B"]
    lit_um = true.sheet_um(away_deg)
    center_um = round(true.offset_um)
    go(bench)
    bench.sheet.calibrate(view, Calibration(slope_um_per_deg=100, offset_um=0))
    sheet_um = 100 * away_deg  # which has the mirror at that angle
    found = take(
        bench,
        VolumeRequest(
            num_slices=17,
            exposure_ms=5,
            step_um=1,
            center_um=center_um,
            sheet_um=sheet_um,
            view=view,
        ),
    )[view]
    bench.sheet.calibrate(view, calibrated(view))
    places = [center_um + n - 8.0 for n in range(17)]
    halves = [(sharpness(one[::, :256]), sharpness(one[::, 256:])) for one in found.counts]
    assert fit_focus(places, halves).best_um == pytest.approx(lit_um, abs=0.3)
    assert places[int(found.counts.mean(axis=(1, 2)).argmax())] == pytest.approx(lit_um, abs=1)


def calibrated(view: ViewName) -> Calibration:
    true = sheets(SEED)["A" if view == "a" else "B"]
    return Calibration(slope_um_per_deg=true.slope_um_per_deg, offset_um=true.offset_um)


# ---------------------------------------------------------------------- both views of one embryo

GRID_UM = 0.5
REACH_UM = 12.0
NEAR_UM = 1.0


@pytest.fixture(scope="module")
def both(bench: Bench) -> Mapping[ViewName, NDArray[Any]]:
    """Both views, taken beside the middle, each brought by its own metadata onto one grid."""
    go(bench, 2.0, -3.0, FOCUS_UM + 1.0)
    request = VolumeRequest(num_slices=41, exposure_ms=5, step_um=0.75, center_um=1, view="dual")
    taken = take(bench, request)
    go(bench)
    return {view: one.on(GRID) for view, one in taken.items()}


GRID: tuple[Vector, ...] = tuple(
    middle + np.arange(-REACH_UM, REACH_UM + GRID_UM, GRID_UM) for middle in EMBRYO.centre_um
)


def test_both_views_of_an_embryo_coincide_by_what_their_volumes_say(
    both: Mapping[ViewName, NDArray[Any]],
) -> None:
    assert alike(both["a"], both["b"]) > 0.8
    for axis in range(3):
        assert alike(both["a"], np.flip(both["b"], axis)) < 0.6
    apart, _, _ = phase_cross_correlation(
        both["a"], both["b"], upsample_factor=10, normalization=None
    )
    assert np.abs(apart).max() <= 1


@pytest.mark.parametrize("view", ["a", "b"])
def test_each_nucleus_lies_where_it_truly_is(
    both: Mapping[ViewName, NDArray[Any]], view: ViewName
) -> None:
    smooth = ndimage.gaussian_filter(both[view], 1.2 / GRID_UM)
    peaks = peak_local_max(smooth, min_distance=3)
    seen = np.stack([ticks[peaks[:, k]] for k, ticks in enumerate(GRID)], axis=1)
    inner = REACH_UM - 3
    true = [
        one.centre_um
        for one in EMBRYO.nuclei
        if np.abs(np.subtract(one.centre_um, EMBRYO.centre_um)).max() < inner
    ]
    assert len(true) >= 5
    off_um = [float(np.linalg.norm(seen - place, axis=1).min()) for place in true]
    assert max(off_um) <= NEAR_UM
