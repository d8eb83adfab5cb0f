"""What stands in for torchvision, and that it does only where there is none."""

import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
import torch

from gently.detection.sam.torchvision_names import batched_nms, box_area, provide


def ours() -> dict[str, ModuleType]:
    return {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] == "torchvision"
    }


@pytest.fixture
def no_torchvision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = ours()
    for name in before:
        del sys.modules[name]
    yield
    for name in ours():
        del sys.modules[name]
    sys.modules.update(before)


class Broken:
    """A torchvision that is installed, and of another torch."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.startswith("torchvision"):
            raise RuntimeError("operator torchvision::nms does not exist")


@pytest.mark.usefixtures("no_torchvision")
def test_the_names_are_there_where_torchvision_does_not_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert provide()
    functional = import_module("torchvision.transforms.functional")
    boxes = import_module("torchvision.ops.boxes")
    assert boxes.batched_nms is batched_nms
    assert boxes.box_area is box_area
    photo = np.zeros((40, 60, 3), np.uint8)
    assert np.asarray(functional.resize(functional.to_pil_image(photo), (20, 30))).shape == (
        20,
        30,
        3,
    )


@pytest.mark.usefixtures("no_torchvision")
def test_a_torchvision_that_imports_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "torchvision",
        "torchvision.ops",
        "torchvision.ops.boxes",
        "torchvision.transforms",
        "torchvision.transforms.functional",
    )
    real = {name: ModuleType(name) for name in names}
    sys.modules.update(real)
    assert not provide()
    assert ours() == real


def test_the_area_of_a_box_is_width_times_height() -> None:
    assert box_area(torch.tensor([[0, 0, 2, 3], [1, 1, 5, 2]])).tolist() == [6, 4]


def test_of_boxes_that_overlap_too_much_the_best_of_each_group_stays() -> None:
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 10], [0, 0, 10, 4]]
    )
    scores = torch.tensor([0.8, 0.9, 0.5, 0.7, 0.6])
    groups = torch.tensor([0, 0, 0, 1, 0])
    assert batched_nms(boxes, scores, groups, 0.5).tolist() == [1, 3, 4, 2]


def test_no_boxes_leave_none() -> None:
    assert batched_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0), 0.5).tolist() == []
