"""Where a detection says that objects are: on the stage only where a picture is known to lie so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gently.detection import Detectors
from gently.detector_child import Order
from gently.detector_child.values import Finding
from gently.detector_child.work import Worker
from storage import LABELS, VolumeStore, new_uid
from tests.visualization.specimen import keep

AT = {"xy_stage.x": 100.0, "xy_stage.y": -50.0}
A = [[0, 0, 0.5, 36], [0, -0.5, 0, 14], [0, 0, 0, 150]]
B = [[0, 0, 0, 100], [0, -0.5, 0, 14], [0, 0, 0.5, 86]]


@pytest.mark.parametrize(
    ("metadata", "on_stage"),
    [
        ({}, True),
        ({"view": "a", "to_stage_um": A}, True),
        ({"view": "b", "to_stage_um": B}, False),
        ({"view": "b"}, False),
    ],
)
def test_an_object_is_on_the_stage_only_if_its_picture_lies_along_it(
    tmp_path: Path, metadata: dict[str, Any], on_stage: bool
) -> None:
    y, x = np.mgrid[-64:64:0.5, -64:64:0.5]
    shines = ((x - 10) / 25) ** 2 + ((y + 8) / 15) ** 2 < 1
    pixels = (100 + 400 * shines).astype(np.uint16)
    pixels += np.random.default_rng(1).integers(0, 10, pixels.shape).astype(np.uint16)
    with VolumeStore(tmp_path) as store:
        source = keep(store, pixels[None], pixel_size_um=0.5, positions_um=AT, metadata=metadata)
        order = Order(uid=new_uid(), source_uid=source.uid, detector="classical")
        Worker(store, Detectors()).carry_out(order)
        finding = Finding.model_validate(store.record(order.uid).spec.metadata[LABELS])
    (found,) = finding.objects
    assert finding.on_stage == on_stage
    # 10 µm to the right of the middle and 8 up.
    middle = (100, -50) if on_stage else (0, 0)
    assert (found.x_um, found.y_um) == pytest.approx((middle[0] + 10, middle[1] + 8), abs=1)
