"""The four names that segment-anything takes from torchvision, where torchvision does not import.

A torchvision that was built for CUDA does not import beside a torch for the CPU, and requiring one
would bring twenty packages of CUDA along.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

__all__ = ["provide"]

_USED = ("torchvision.ops.boxes", "torchvision.transforms.functional")


def provide() -> bool:
    """Make the four names importable, and return whether they are ours.

    The real ones are left alone where they import.
    """
    try:
        for name in _USED:
            import_module(name)
    except (ImportError, OSError, RuntimeError):  # not there, not loadable, of another torch
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _install(_USED[0], batched_nms=batched_nms, box_area=box_area)
        _install(_USED[1], resize=resize, to_pil_image=to_pil_image)
        return True
    return False


def _install(name: str, **functions: Any) -> None:
    """Put a module with these functions where imports find it, below packages that are there."""
    parent, _, child = name.rpartition(".")
    if parent and parent not in sys.modules:
        _install(parent)
    module = ModuleType(name)
    module.__path__ = []
    vars(module).update(functions)
    sys.modules[name] = module
    if parent:
        setattr(sys.modules[parent], child, module)


def to_pil_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (row, column, colour) of 8 bits as a PIL image."""
    return Image.fromarray(pixels)


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image with `size` (rows, columns), as torchvision does it for PIL images."""
    rows, columns = size
    return image.resize((columns, rows), Image.Resampling.BILINEAR)


def box_area(boxes: Any) -> Any:
    """Return the areas of boxes (x0, y0, x1, y1)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(boxes: Any, scores: Any, idxs: Any, iou_threshold: float) -> Any:
    """Return the indices of the boxes to keep, best first: none overlaps a better one of its group.

    Parameters
    ----------
    boxes
        (N, 4): x0, y0, x1, y1.
    scores, idxs
        (N,): how good each is, and which group it is of.
    iou_threshold
        More overlap than this is too much.
    """
    kept: list[int] = []
    for index in torch.argsort(scores, descending=True, stable=True).tolist():
        rivals = torch.tensor([i for i in kept if idxs[i] == idxs[index]], dtype=torch.long)
        if not (_ious(boxes[index], boxes[rivals]) > iou_threshold).any():
            kept.append(index)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def _ious(box: Any, others: Any) -> Any:
    low = torch.maximum(box[:2], others[:, :2])
    high = torch.minimum(box[2:], others[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    return common / (box_area(box[None]) + box_area(others) - common)
