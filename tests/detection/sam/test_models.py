"""Checkpoints: the right one loads, and a wrong one does nothing but say what it is."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gently.detection import Detectors, DetectorUnavailableError, Picture, SamSetup
from gently.detection.sam.models import TINY_CHECKPOINT, load, tiny_sam

BLANK = Picture(pixels=np.zeros((60, 70), np.uint16), pixel_size_um=1)


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self.victim, "it ran")


def tiny(checkpoint: Path) -> SamSetup:
    return SamSetup(model="tiny", checkpoint=checkpoint)


def test_the_tiny_model_is_in_the_box() -> None:
    loaded = load(SamSetup(model="tiny"))
    assert loaded.checkpoint == TINY_CHECKPOINT
    assert loaded.sha256 == hashlib.sha256(TINY_CHECKPOINT.read_bytes()).hexdigest()
    assert TINY_CHECKPOINT.stat().st_size < 1_000_000


def test_a_large_model_needs_its_checkpoint() -> None:
    with pytest.raises(DetectorUnavailableError, match="no checkpoint of vit_b"):
        load(SamSetup(model="vit_b"))


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailableError, match=r"gone\.pth cannot be read"):
        load(tiny(tmp_path / "gone.pth"))


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailableError, match="cannot be read"):
        load(tiny(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, share: float) -> None:
    whole = TINY_CHECKPOINT.read_bytes()
    path = tmp_path / "half.pth"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DetectorUnavailableError, match=r"half\.pth (is broken|holds more than)"):
        load(tiny(path))


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.pth"
    path.write_text("<!DOCTYPE html><title>404</title>", encoding="utf-8")
    with pytest.raises(DetectorUnavailableError, match=r"page\.pth"):
        load(tiny(path))


@pytest.mark.parametrize("way", ["torch", "pickle", "pickle of weights"])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, way: str) -> None:
    path, victim = tmp_path / "evil.pth", tmp_path / "victim.txt"
    if way == "torch":
        torch.save({**tiny_sam().state_dict(), "extra": Evil(victim)}, path)
    else:
        weights = {"image_encoder.pos_embed": Evil(victim)}
        path.write_bytes(pickle.dumps(Evil(victim) if way == "pickle" else weights, protocol=2))
    with pytest.raises(DetectorUnavailableError, match=r"more than weights.*none of it was run"):
        load(tiny(path))
    assert not victim.exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    weights = tiny_sam().state_dict()
    del weights["mask_decoder.iou_token.weight"]
    torch.save({**weights, "image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, path)
    with pytest.raises(DetectorUnavailableError, match="another model than tiny: 3 weights"):
        load(tiny(path))


@pytest.mark.parametrize("content", [[torch.zeros(3)], {"model": {"a": torch.zeros(3)}}, {}])
def test_a_file_of_other_values_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(DetectorUnavailableError, match=r"other\.pth is (not a list|of another)"):
        load(tiny(path))


def test_a_checkpoint_that_was_changed_is_refused_by_its_hash() -> None:
    known = hashlib.sha256(TINY_CHECKPOINT.read_bytes()).hexdigest()
    assert load(SamSetup(model="tiny", sha256=known)).sha256 == known
    with pytest.raises(DetectorUnavailableError, match="is another file or was changed"):
        load(SamSetup(model="tiny", sha256="0" * 64))


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    if (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        pytest.skip(f"there is {device}")
    with pytest.raises(DetectorUnavailableError, match=f"cannot compute on {device}"):
        load(SamSetup(model="tiny", device=device))  # type: ignore[arg-type]


def test_without_its_checkpoint_the_classical_result_is_delivered_and_marked(
    tmp_path: Path,
) -> None:
    detectors = Detectors({"sam": tiny(tmp_path / "gone.pth")})
    detection = detectors.detect("sam", BLANK, {})
    assert detection.detector == "classical"
    assert "gone.pth" in detection.fallback_reason


def test_a_checkpoint_that_comes_later_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "late.pth"
    detectors = Detectors({"sam": tiny(path)})
    assert detectors.detect("sam", BLANK, {}).fallback_reason
    path.write_bytes(TINY_CHECKPOINT.read_bytes())
    detection = detectors.detect("sam", BLANK, {})
    assert (detection.detector, detection.fallback_reason) == ("sam", "")
