"""How well embryos are found in pictures whose truth is known, and how long it takes.

Seeded phantoms of five kinds, 2048 × 2048 pixels, against their truth:

(a) the classical detector: recall, overlap, how many middles are within 5 µm, how many objects are
    certain, how many lie where no embryo is
(b) SAM: its outlines beside the classical ones and those that are used
(c) the seconds of either

Run: python -m benchmarks.detection [--seeds 20] [--sam tiny] [--checkpoint FILE]
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.phantoms import EMPTY, FAINT, LOW, ORDINARY, TOUCHING, Phantom, Scene
from gently.detection import Detection, Detectors, Labels, Picture, SamSetup

# From this overlap on an embryo counts as found; the middle of one counts from this nearness on.
_FOUND_IOU = 0.5
_NEAR_UM = 5.0

_SCENES = (ORDINARY, TOUCHING, LOW, FAINT, EMPTY)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One detection against the truth.

    Attributes
    ----------
    ious
        Of each embryo with the object that overlaps it most.
    off_um
        From each embryo's middle to the nearest object's, in stage coordinates.
    false
        How many objects lie where no embryo is.
    certain
        How many objects are certain.
    objects
        How many there are in all.
    """

    ious: tuple[float, ...]
    off_um: tuple[float, ...]
    false: int
    certain: int
    objects: int

    @property
    def found(self) -> int:
        """How many embryos were found."""
        return sum(iou >= _FOUND_IOU for iou in self.ious)


def judge(phantom: Phantom, detection: Detection) -> Verdict:
    """Compare a detection with the truth of the picture, which was taken at stage (0, 0)."""
    truth = [(oval.x_um, -oval.y_um) for oval in phantom.ovals]
    there = [(found.x_um, found.y_um) for found in detection.objects]
    rows = [(round(found.row_px), round(found.column_px)) for found in detection.objects]
    return Verdict(
        ious=overlaps(phantom.truth, detection.labels),
        off_um=tuple(_nearest_um(place, there) for place in truth),
        false=sum(not phantom.truth[row, column] for row, column in rows),
        certain=sum(found.certain for found in detection.objects),
        objects=len(detection.objects),
    )


def overlaps(truth: Labels, labels: Labels) -> tuple[float, ...]:
    """Return the IoU of each true object with the one that overlaps it most."""
    pairs = np.histogram2d(
        truth.ravel(), labels.ravel(), [np.arange(int(n.max()) + 2) for n in (truth, labels)]
    )[0]
    union = pairs.sum(axis=1, keepdims=True) + pairs.sum(axis=0, keepdims=True) - pairs
    ious = np.where(union > 0, pairs / np.maximum(union, 1), 0.0)
    return tuple(max(row[1:], default=0.0) for row in ious[1:].tolist())


def _nearest_um(place: tuple[float, float], others: Sequence[tuple[float, float]]) -> float:
    return min((float(np.hypot(*np.subtract(place, other))) for other in others), default=np.inf)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=20, help="pictures of each kind")
    parser.add_argument(
        "--sam", choices=["tiny", "vit_b", "vit_l", "vit_h", "none"], default="tiny"
    )
    parser.add_argument("--checkpoint", type=Path, help="without one, a large SAM is only timed")
    options = parser.parse_args()
    _classical(options.seeds)
    if options.sam == "none":
        return
    setup = SamSetup(model=options.sam, checkpoint=options.checkpoint)
    if options.sam == "tiny" or options.checkpoint:
        _sam(setup, options.seeds)
    _time_sam(setup)


def _classical(seeds: int) -> None:
    detectors = Detectors()
    seconds: list[float] = []
    _head(
        "pictures",
        "contrast/noise",
        "embryos",
        "recall",
        "IoU mean, least",
        "middles",
        "certain",
        "false",
    )
    for scene in _SCENES:
        verdicts = []
        for seed in range(seeds):
            phantom = Phantom(scene, seed)
            picture = _picture(phantom)
            began = time.perf_counter()
            detection = detectors.detect("classical", picture, {})
            seconds.append(time.perf_counter() - began)
            verdicts.append(judge(phantom, detection))
        _row(*_cells(scene, verdicts))
    print(
        f"\nclassical: {statistics.median(seconds):.2f} s a picture (most {max(seconds):.2f} s)\n"
    )


def _cells(scene: Scene, verdicts: Sequence[Verdict]) -> list[str]:
    ious = [iou for verdict in verdicts for iou in verdict.ious]
    off = [um for verdict in verdicts for um in verdict.off_um]
    cells = [f"{len(verdicts)} {scene.name}", f"{scene.contrast:g}/40", str(len(ious)), "", "", ""]
    if ious:
        recall = sum(verdict.found for verdict in verdicts) / len(ious)
        near = sum(um <= _NEAR_UM for um in off) / len(off)
        cells[3:] = [
            f"{recall:.2f}",
            f"{statistics.mean(ious):.3f}, {min(ious):.2f}",
            f"{near:.2f}",
        ]
    certain, objects, false = (
        sum(getattr(verdict, name) for verdict in verdicts)
        for name in ("certain", "objects", "false")
    )
    return [*cells, f"{certain} of {objects}", str(false)]


def _sam(setup: SamSetup, seeds: int) -> None:
    """Compare three outlines of the same objects: the classical one, SAM's, and the one used."""
    detectors = Detectors({"sam": setup})
    _head("pictures", "IoU classical", f"IoU {setup.model}", "IoU used", f"{setup.model} is used")
    for scene in _SCENES:
        ious: dict[str, list[float]] = {"classical": [], "sam": [], "used": []}
        by_sam = objects = 0
        for seed in range(seeds):
            phantom = Phantom(scene, seed)
            detection = detectors.detect("sam", _picture(phantom), {})
            if detection.fallback_reason:
                raise SystemExit(detection.fallback_reason)
            for name, labels in {**detection.masks, "used": detection.labels}.items():
                ious[name] += overlaps(phantom.truth, labels)
            by_sam += sum(found.mask == "sam" for found in detection.objects)
            objects += len(detection.objects)
        if objects:
            means = [f"{statistics.mean(of):.3f}" for of in ious.values()]
            _row(f"{seeds} {scene.name}", *means, f"{by_sam} of {objects}")


def _time_sam(setup: SamSetup) -> None:
    """Time encoding and prompting, which take as long whatever the weights are."""
    from gently.detection.sam.models import MODELS, SamPredictor  # noqa: PLC0415 - an extra

    predictor = SamPredictor(MODELS[setup.model]().to(setup.device))
    photo = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
    encode, prompt = [], []
    for _ in range(3):
        began = time.perf_counter()
        predictor.set_image(photo)
        encode.append(time.perf_counter() - began)
        for x in range(100, 600, 100):
            began = time.perf_counter()
            predictor.predict(box=np.array([x, 300, x + 150, 400]), multimask_output=False)
            prompt.append(time.perf_counter() - began)
    encode_s, box_s = statistics.median(encode), statistics.median(prompt)
    print(f"\n{setup.model} on {setup.device}: {encode_s:.2f} s a picture and {box_s:.3f} s a box")


def _picture(phantom: Phantom) -> Picture:
    return Picture(pixels=phantom.pixels, pixel_size_um=phantom.scene.pixel_size_um)


def _head(*cells: str) -> None:
    _row(*cells)
    print("|---" * len(cells) + "|")


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
