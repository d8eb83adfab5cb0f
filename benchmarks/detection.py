"""How well embryos are found in pictures whose truth is known, and how long it takes.

Seeded phantoms of five kinds, 2048 × 2048 pixels: the detector, against the truth.

Run: python -m benchmarks.detection [--seeds 20]
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.phantoms import EMPTY, FAINT, LOW, ORDINARY, TOUCHING, Phantom, Scene
from gently.detection import Detection, Detectors, Labels, Picture

# From this overlap on an embryo counts as found; the middle of one counts from this nearness on.
_FOUND_IOU = 0.5
_NEAR_UM = 5.0

_HEAD = (
    "| pictures | contrast/noise | embryos | recall | IoU mean, least | middles | certain | false |"
)


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
    options = parser.parse_args()
    detectors = Detectors()
    print(_HEAD)
    print("|---" * (_HEAD.count("|") - 1) + "|")
    seconds: list[float] = []
    for scene in (ORDINARY, TOUCHING, LOW, FAINT, EMPTY):
        verdicts = []
        for seed in range(options.seeds):
            phantom = Phantom(scene, seed)
            picture = Picture(pixels=phantom.pixels, pixel_size_um=scene.pixel_size_um)
            start = time.perf_counter()
            detection = detectors.detect("classical", picture, {})
            seconds.append(time.perf_counter() - start)
            verdicts.append(judge(phantom, detection))
        print(_row(scene, verdicts))
    print(f"\nclassical: {statistics.median(seconds):.2f} s a picture (most {max(seconds):.2f} s)")


def _row(scene: Scene, verdicts: Sequence[Verdict]) -> str:
    ious = [iou for verdict in verdicts for iou in verdict.ious]
    off = [um for verdict in verdicts for um in verdict.off_um]
    objects = sum(verdict.objects for verdict in verdicts)
    certain = sum(verdict.certain for verdict in verdicts)
    false = sum(verdict.false for verdict in verdicts)
    cells = [f"{len(verdicts)} {scene.name}", f"{scene.contrast:g}/40", str(len(ious))]
    if ious:
        near = sum(um <= _NEAR_UM for um in off) / len(off)
        recall = sum(verdict.found for verdict in verdicts) / len(ious)
        cells += [f"{recall:.2f}", f"{statistics.mean(ious):.3f}, {min(ious):.2f}", f"{near:.2f}"]
    else:
        cells += ["", "", ""]
    cells += [f"{certain} of {objects}", str(false)]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
