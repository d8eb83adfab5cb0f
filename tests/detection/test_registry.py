import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from pydantic import BaseModel, JsonValue, ValidationError

from gently.detection import (
    KINDS,
    Detection,
    DetectionError,
    DetectorKind,
    Detectors,
    DetectorUnavailableError,
    OvalSettings,
    Picture,
)
from tests import REPOSITORY

BLANK = Picture(pixels=np.zeros((40, 50), np.uint16), pixel_size_um=1)


class Threshold(BaseModel):
    """What a detector of somebody else can be told."""

    above: int = 10


class Cellpose:
    """A detector of somebody else: one class, and an entry among the kinds."""

    def __init__(self, setup: BaseModel) -> None:
        self.about: dict[str, JsonValue] = {"setup": setup.model_dump()}

    def detect(self, picture: Picture, settings: Threshold) -> Detection:
        labels = (picture.pixels > settings.above).astype(np.uint16)
        return Detection(
            detector="cellpose",
            about=self.about,
            settings=settings.model_dump(),
            labels=labels,
            objects=(),
            masks={"cellpose": labels},
        )


CELLPOSE = DetectorKind(
    name="cellpose",
    summary="Cells.",
    settings=Threshold,
    maker="tests.detection.test_registry:Cellpose",
)
MISSING = replace(CELLPOSE, needs=("no_such_package",), extra="cellpose")


def test_a_detector_is_added_by_a_class_and_an_entry() -> None:
    detectors = Detectors(kinds={**KINDS, "cellpose": CELLPOSE})
    detection = detectors.detect("cellpose", BLANK, {"above": 3})
    assert detection.detector == "cellpose"
    assert detection.settings == {"above": 3}


def test_a_detector_is_made_once() -> None:
    detectors = Detectors()
    assert detectors.get("classical") is detectors.get("classical")


def test_a_detector_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(DetectionError, match="no detector 'yolo'; choose from: classical, sam"):
        Detectors().detect("yolo", BLANK, {})


@pytest.mark.parametrize(
    "wrong", [{"length_um": 0}, {"length_um": float("inf")}, {"width": 30}, {"width_um": "wide"}]
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Detectors().detect("classical", BLANK, wrong)


def test_a_detector_whose_packages_are_missing_names_the_extra() -> None:
    with pytest.raises(DetectorUnavailableError, match=r'pip install "gently\[cellpose\]"'):
        Detectors(kinds={"cellpose": MISSING}).get("cellpose")


def test_without_torch_sam_names_its_extra_and_the_classical_detector_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert KINDS["sam"].missing == ("torch",)
    with pytest.raises(DetectorUnavailableError, match=r'torch.*pip install "gently\[sam\]"'):
        Detectors().get("sam")
    detection = Detectors().detect("sam", BLANK, {})
    assert detection.detector == "classical"
    assert "gently[sam]" in detection.fallback_reason
    assert Detectors().detect("classical", BLANK, {}).fallback_reason == ""


def test_where_a_detector_cannot_be_had_its_fallback_answers_and_says_so() -> None:
    kind = replace(MISSING, settings=OvalSettings, fallback="classical")
    detection = Detectors(kinds={**KINDS, "cellpose": kind}).detect("cellpose", BLANK, {})
    assert detection.detector == "classical"
    assert "no_such_package" in detection.fallback_reason


def test_asking_for_a_detector_by_its_own_name_has_no_reason_to_give() -> None:
    assert Detectors().detect("classical", BLANK, {}).fallback_reason == ""


def test_every_extra_that_is_named_exists() -> None:
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for kind in KINDS.values():
        assert not kind.extra or f"\n{kind.extra} = [" in pyproject
        assert not kind.fallback or kind.fallback in KINDS


@pytest.mark.parametrize(
    "imports",
    [
        "gently.detection",
        "start_device_layer, gently.core.device_layer, gently.api.app",
        "launch_copilot, gently.agent.copilot, gently.visualization.server",
    ],
)
def test_no_process_but_the_detectors_loads_a_detector(imports: str) -> None:
    program = (
        f"import sys, {imports}\n"
        "print(sorted({'torch', 'segment_anything', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
