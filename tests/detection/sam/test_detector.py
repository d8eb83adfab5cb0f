"""SAM through its real predictor, with the weights that are in the box."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.detection import overlaps
from benchmarks.phantoms import EMPTY, FAINT, ORDINARY, TOUCHING, Phantom, Scene
from gently.detection import Detection, Detectors, Picture, SamSetup
from gently.detection.sam.models import MODELS

# The training has seen none of these: they come from another program.
UNSEEN = range(100, 104)
SAM = Detectors({"sam": SamSetup(model="tiny")})
SIZE = ((1024, 1024), 0.325)


def seen(scene: Scene, seed: int) -> tuple[Phantom, Detection]:
    phantom = Phantom(scene.resized(*SIZE), seed)
    return phantom, SAM.detect("sam", picture_of(phantom), {})


def picture_of(phantom: Phantom) -> Picture:
    return Picture(pixels=phantom.pixels, pixel_size_um=phantom.scene.pixel_size_um)


@pytest.mark.parametrize("scene", [ORDINARY, TOUCHING], ids=lambda scene: scene.name)
def test_the_outlines_of_sam_itself_are_right_on_pictures_that_it_has_not_seen(
    scene: Scene,
) -> None:
    ious: list[float] = []
    for seed in UNSEEN:
        phantom, detection = seen(scene, seed)
        ious += overlaps(phantom.truth, detection.masks["sam"])
    assert np.mean(ious) >= 0.8
    assert min(ious) >= 0.6


def test_both_outlines_are_kept_and_the_better_one_is_used() -> None:
    _, detection = seen(ORDINARY, 100)
    assert detection.masks.keys() == {"classical", "sam"}
    assert detection.objects
    for found in detection.objects:
        assert found.scores.keys() == {"classical", "sam"}
        assert found.score == max(found.scores.values())
        used = detection.masks[found.mask] == found.label
        assert np.array_equal(detection.labels == found.label, used & (detection.labels > 0))


def test_an_outline_that_is_worse_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make SAM a poor one: then it has not earned its place."""
    predictor = SAM.get("sam")._predictor  # type: ignore[attr-defined]
    predict = predictor.predict

    def poor(**given: object) -> tuple[object, ...]:
        logits, *others = predict(**given)
        return np.roll(logits, 25, axis=2), *others

    monkeypatch.setattr(predictor, "predict", poor)
    _, detection = seen(ORDINARY, 101)
    assert {found.mask for found in detection.objects} == {"classical"}
    assert np.array_equal(detection.labels, detection.masks["classical"])


def test_an_outline_that_is_better_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make SAM a perfect one, where the classical detector has drawn a disc."""
    phantom = Phantom(replace(FAINT, contrast=16).resized(*SIZE), 100)
    predictor = SAM.get("sam")._predictor  # type: ignore[attr-defined]

    def perfect(box: NDArray[np.float64], **_: object) -> tuple[object, ...]:
        x, y = round(box[[0, 2]].mean()), round(box[[1, 3]].mean())
        truth = np.where(phantom.truth == phantom.truth[y, x], 1, -1).astype(np.float32)
        return truth[None], [0.9], None

    monkeypatch.setattr(predictor, "predict", perfect)
    detection = SAM.detect("sam", picture_of(phantom), {})
    assert {found.mask for found in detection.objects} == {"sam"}
    assert max(overlaps(phantom.truth, detection.masks["classical"])) < 0.8
    assert min(overlaps(phantom.truth, detection.labels)) > 0.95


def test_the_opinion_of_the_model_is_told() -> None:
    _, detection = seen(ORDINARY, 102)
    opinions = [found.model_score for found in detection.objects]
    assert all(opinion is not None and 0.5 < opinion < 1.2 for opinion in opinions)


def test_what_the_detection_depends_on_is_told() -> None:
    _, detection = seen(EMPTY, 100)
    about = detection.about
    assert (about["model"], about["checkpoint"], about["device"]) == ("tiny", "tiny.pth", "cpu")
    assert isinstance(about["sha256"], str)
    assert len(about["sha256"]) == 64
    assert about["torch"] == torch.__version__


def test_an_empty_field_gives_nothing() -> None:
    _, detection = seen(EMPTY, 101)
    assert detection.objects == ()
    assert not detection.labels.any()
    assert not detection.masks["sam"].any()


@pytest.mark.parametrize("shape", [(1500, 700), (700, 1500), (300, 301)])
def test_labels_are_of_the_shape_of_the_picture(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    row, column = 200, 180
    inside = ((rows - row) / 75) ** 2 + ((columns - column) / 46) ** 2 <= 1
    noise = np.random.default_rng(1).normal(0, 20, shape)
    picture = Picture(
        pixels=(400 + 300 * inside + noise).astype(np.uint16),
        pixel_size_um=0.325,
        centre_um=(1000, -500),
    )
    detection = SAM.detect("sam", picture, {})
    (found,) = detection.objects
    assert detection.labels.shape == detection.masks["sam"].shape == shape
    assert np.hypot(*np.subtract(picture.place_px(found.x_um, found.y_um), (row, column))) < 6
    sam = detection.masks["sam"] == found.label
    assert (sam & inside).sum() / (sam | inside).sum() > 0.7


def test_the_same_picture_gives_the_same_detection() -> None:
    (_, once), (_, again) = seen(TOUCHING, 103), seen(TOUCHING, 103)
    assert once.objects == again.objects
    assert np.array_equal(once.masks["sam"], again.masks["sam"])


@pytest.mark.slow
def test_vit_b_runs_through_the_same_code(tmp_path: Path) -> None:
    """With random weights: it proves the size, the loading and the way, and finds nothing."""
    path = tmp_path / "vit_b.pth"
    torch.manual_seed(0)
    torch.save(MODELS["vit_b"]().state_dict(), path)
    phantom = Phantom(ORDINARY.resized((512, 512), 0.65), 100)
    picture = Picture(pixels=phantom.pixels, pixel_size_um=0.65)
    detectors = Detectors({"sam": SamSetup(model="vit_b", checkpoint=path)})
    detection = detectors.detect("sam", picture, {})
    assert (detection.detector, detection.fallback_reason) == ("sam", "")
    assert detection.about["model"] == "vit_b"
    assert len(detection.objects) == len(phantom.ovals)
    assert all(found.model_score is not None for found in detection.objects)
    assert min(overlaps(phantom.truth, detection.labels)) >= 0.8
