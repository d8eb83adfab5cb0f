"""How the tiny SAM came to its weights: minutes on one core, and the same file again.

It learns on ovals that are drawn here, so it knows nothing of microscopes. What it is for: the code
that a real SAM runs through can be tested where no weights can be downloaded.

Run: python -m gently.detection.sam.training tiny.pth
"""

import argparse
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from gently.detection.sam.detector import as_photo
from gently.detection.sam.models import tiny_sam

__all__ = ["Lesson", "draw_lesson", "train"]

LOGGER = logging.getLogger(__name__)

Image = NDArray[np.float32]

_PX: Final = 128
# SAM's masks have half as many pixels to a side as a picture of the tiny one.
_COARSE: Final = 2
_STEPS: Final = 2500
_PICTURES: Final = 4
_MOST_OVALS: Final = 5
_RATE: Final = 2e-3
_WARM_UP: Final = 100
# Beyond this share of a box around it an outline counts for little, since nobody will look.
_AROUND: Final = 0.3
_ELSEWHERE: Final = 0.1


@dataclass(frozen=True, eq=False)
class Lesson:
    """One picture with questions and answers.

    Attributes
    ----------
    photo
        (row, column, colour), 8 bits.
    boxes
        (N, 4): x0, y0, x1, y1 around each oval, not quite exact.
    shares
        (N, y, x): how much of each of SAM's mask pixels is in the oval.
    """

    photo: NDArray[np.uint8]
    boxes: Image
    shares: Image


def draw_lesson(chance: np.random.Generator) -> Lesson:
    """Draw ovals of any size, brightness and direction, on any background."""
    rows, columns = np.indices((_PX, _PX), dtype=np.float32)
    depths: list[Image] = []
    for _ in range(chance.integers(1, _MOST_OVALS + 1)):
        half_length = chance.uniform(5, 22)
        half_width = half_length / chance.uniform(1, 2.2)
        y, x = chance.uniform(half_length * 0.7, _PX - half_length * 0.7, 2)
        cos, sin = np.cos(angle := chance.uniform(0, np.pi)), np.sin(angle)
        along = ((columns - x) * cos + (rows - y) * sin) / half_length
        across = ((rows - y) * cos - (columns - x) * sin) / half_width
        depth = half_width * (1 - np.hypot(along, across))
        # Ovals may touch; one that would lie on another is left out.
        if not any(_covers(depth > 0, other > 0) for other in depths):
            depths.append(depth)
    pictured = _background(chance)
    for depth in depths:
        grain = 1 + chance.uniform(0, 0.2) * _pattern(chance, chance.uniform(0.6, 2))
        pictured += chance.uniform(0.5, 1) * np.clip(depth + 0.5, 0, 1) * grain
    pictured += chance.normal(0, 10 ** chance.uniform(-2.5, -0.7), pictured.shape)
    deepest = np.max(depths, axis=0)
    insides = [np.where(depth >= deepest, np.clip(depth + 0.5, 0, 1), 0) for depth in depths]
    return Lesson(
        photo=as_photo(pictured.astype(np.float32)),
        boxes=np.array([_box(inside, chance) for inside in insides], np.float32),
        shares=np.array([_coarse(inside) for inside in insides], np.float32),
    )


def train(steps: int, seed: int = 0) -> Any:
    """Return a tiny SAM that was trained; one thread, and the same weights each time."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    model = tiny_sam().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _RATE, total_steps=steps, pct_start=min(0.3, _WARM_UP / steps)
    )
    for step, lessons in enumerate(_lessons(chance, steps), start=1):
        optimizer.zero_grad()
        loss, iou = _loss(model, lessons)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        if step % 100 == 0 or step == steps:
            LOGGER.info("step %d of %d: loss %.4f, IoU %.3f", step, steps, loss.item(), iou)
    return model.eval()


def main() -> None:
    """Train, and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("output", type=Path, help="the checkpoint to write")
    parser.add_argument("--steps", type=int, default=_STEPS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    began = time.perf_counter()
    model = train(options.steps)
    torch.save(model.state_dict(), options.output)
    LOGGER.info("%s after %.0f s", options.output, time.perf_counter() - began)


def _lessons(chance: np.random.Generator, steps: int) -> Iterator[list[Lesson]]:
    for _ in range(steps):
        yield [draw_lesson(chance) for _ in range(_PICTURES)]


def _loss(model: Any, lessons: list[Lesson]) -> tuple[Any, float]:
    """Return how wrong the model is, and the mean overlap of its outlines with the right ones."""
    photos = torch.stack(
        [torch.from_numpy(lesson.photo).permute(2, 0, 1).float() for lesson in lessons]
    )
    embedded = model.image_encoder(model.preprocess(photos))
    losses, overlaps = [], []
    for image, lesson in zip(embedded, lessons, strict=True):
        sparse, dense = model.prompt_encoder(
            points=None, boxes=torch.from_numpy(lesson.boxes), masks=None
        )
        logits, opinions = model.mask_decoder(
            image_embeddings=image[None],
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        right, given = torch.from_numpy(lesson.shares), logits[:, 0]
        weights = torch.from_numpy(_weights(lesson.boxes))
        wrong = functional.binary_cross_entropy_with_logits(given, right, weights)
        sure = given.sigmoid()
        common = (sure * right).sum(dim=(1, 2))
        dice = 1 - 2 * common / (sure.sum(dim=(1, 2)) + right.sum(dim=(1, 2)) + 1e-6)
        ious = _ious(given.detach() > 0, right > 0.5)
        opinion = functional.mse_loss(opinions[:, 0], ious)
        losses.append(5 * wrong + dice.mean() + 0.2 * opinion)
        overlaps.append(float(ious.mean()))
    return torch.stack(losses).mean(), float(np.mean(overlaps))


def _ious(given: Any, right: Any) -> Any:
    union = (given | right).sum(dim=(1, 2)).clamp(min=1)
    return (given & right).sum(dim=(1, 2)) / union


def _weights(boxes: Image) -> Image:
    coarse = _PX // _COARSE
    weights = np.full((len(boxes), coarse, coarse), _ELSEWHERE, np.float32)
    for weight, (x0, y0, x1, y1) in zip(weights, boxes / _COARSE, strict=True):
        dx, dy = _AROUND * (x1 - x0), _AROUND * (y1 - y0)
        rows = slice(max(int(y0 - dy), 0), int(y1 + dy) + 1)
        columns = slice(max(int(x0 - dx), 0), int(x1 + dx) + 1)
        weight[rows, columns] = 1
    return weights


def _background(chance: np.random.Generator) -> Image:
    """Return a slope with clouds, whose contrast is between nothing and that of an oval."""
    rows, columns = np.indices((_PX, _PX), dtype=np.float32) / _PX
    slope = chance.uniform(-1, 1) * rows + chance.uniform(-1, 1) * columns
    clouds = _pattern(chance, chance.uniform(15, 40))
    background: Image = chance.uniform(0, 0.5) * slope + chance.uniform(0, 0.25) * clouds
    return background


def _pattern(chance: np.random.Generator, grain_px: float) -> Image:
    """Return a random pattern of mean 0 and standard deviation 1."""
    pattern = ndimage.gaussian_filter(chance.normal(0, 1, (_PX, _PX)), grain_px, mode="wrap")
    pattern -= pattern.mean()
    scaled: Image = (pattern / pattern.std()).astype(np.float32)
    return scaled


def _covers(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    return bool((one & other).sum() > 0.08 * min(one.sum(), other.sum()))


def _box(inside: Image, chance: np.random.Generator) -> list[float]:
    """Return a box around an oval, each side off by up to a tenth of the oval."""
    rows, columns = np.nonzero(inside > 0.5)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    dy, dx = 0.1 * (bottom - top), 0.1 * (right - left)
    off = chance.uniform(-1, 1, 4)
    return [left + off[0] * dx, top + off[1] * dy, right + off[2] * dx, bottom + off[3] * dy]


def _coarse(inside: Image) -> Image:
    n = _PX // _COARSE
    shares: Image = inside.reshape(n, _COARSE, n, _COARSE).mean(axis=(1, 3))
    return shares


if __name__ == "__main__":
    main()
