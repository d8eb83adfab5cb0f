"""What a detection has found, over the volume that it is of."""

import io
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from gently.visualization import VizServer, VolumeFeed
from storage import LABELS, VolumeRecord, VolumeStore, labels_tag
from tests import AUTHORIZATION
from tests.visualization.specimen import embryo, keep

PIXELS = embryo((6, 48, 64))


@pytest.fixture
def viz(store: VolumeStore, feed: VolumeFeed) -> Iterator[VizServer]:
    with VizServer(store, feed, port=0) as viz:
        yield viz


@pytest.fixture
def source(store: VolumeStore) -> VolumeRecord:
    return keep(store, PIXELS, plan_name="acquire_volume")


def found_in(store: VolumeStore, source: VolumeRecord) -> VolumeRecord:
    """Keep the label image of an embryo that is certain, and of one that is not."""
    drawn = np.zeros((1, 48, 64), np.uint16)
    drawn[0, 10:20, 5:25] = 1
    drawn[0, 30:40, 40:60] = 7
    objects = [
        {"label": 1, "name": "embryo 3", "certain": True, "row_px": 14.5, "column_px": 14.5},
        {"label": 7, "name": "embryo 4", "certain": False, "row_px": 34.5, "column_px": 49.5},
    ]
    tags = (LABELS, labels_tag(source.uid))
    metadata = {LABELS: {"objects": objects, "detector": "classical"}}
    return keep(store, drawn, tags=tags, metadata=metadata, step_um=0, plan_name="detect")


def test_outlines_are_a_picture_that_is_transparent_elsewhere(
    viz: VizServer, store: VolumeStore, source: VolumeRecord
) -> None:
    labels = found_in(store, source)
    with httpx.Client(base_url=viz.url, headers=AUTHORIZATION) as http:
        (found,) = http.get(f"/api/volumes/{source.uid}/detections").json()["detections"]
        assert (found["uid"], found["objects"][0]["name"]) == (labels.uid, "embryo 3")
        response = http.get(f"/api/labels/{labels.uid}")
        picture = np.array(Image.open(io.BytesIO(response.content)).convert("RGBA"))
        again = http.get(
            f"/api/labels/{labels.uid}", headers={"if-none-match": response.headers["etag"]}
        )
        assert again.status_code == 304
        assert http.get(f"/api/labels/{source.uid}").status_code == 404
        assert "is no label image" in http.get(f"/api/labels/{source.uid}").json()["detail"]
        assert http.get("/api/labels/..%2fx").status_code == 422
        assert http.get(f"/api/volumes/{labels.uid}/detections").json() == {"detections": []}
    drawn = picture[..., 3] > 0
    expected = np.zeros_like(drawn)
    expected[10:20, 5:25] = expected[30:40, 40:60] = True
    expected[11:19, 6:24] = expected[31:39, 41:59] = False
    np.testing.assert_array_equal(drawn, expected)
    assert tuple(picture[10, 10]) != tuple(picture[30, 50])  # whether it is certain is seen


def test_the_page_lays_the_latest_detection_over_the_slice_and_takes_it_away_again(
    browser: Browser, viz: VizServer, store: VolumeStore, source: VolumeRecord
) -> None:
    with browser.new_context(viewport={"width": 1400, "height": 900}) as context:
        page = context.new_page()
        page.goto(viz.link)
        expect(page.locator("#uid")).to_have_text(source.uid)
        expect(page.locator("#overlay")).to_be_hidden()
        found_in(store, source)
        page.evaluate("dispatchEvent(new Event('focus'))")  # who comes back from the terminal
        expect(page.locator("#overlay")).to_be_visible()
        expect(page.locator("#embryo-count")).to_have_text("2")
        expect(page.locator("#overlay span")).to_have_text(["3", "4"])
        page.wait_for_function("document.getElementById('outlines').naturalWidth === 64")
        _lies_where_it_was_found(page)
        page.get_by_role("switch", name="Embryos").uncheck()
        expect(page.locator("#overlay")).to_be_hidden()
        page.locator("#slice").press("e")
        expect(page.locator("#overlay")).to_be_visible()
        page.reload()
        expect(page.locator("#overlay")).to_be_visible()
        # The label image is no volume to look at by itself.
        expect(page.locator("#volumes a")).to_have_count(1)


def _lies_where_it_was_found(page: Page) -> None:
    slice_, name = page.locator("#slice").bounding_box(), page.locator("#overlay span").first
    where = name.bounding_box()
    outlines = page.locator("#outlines").bounding_box()
    assert slice_
    assert where
    assert outlines == slice_
    middle = (where["x"] + where["width"] / 2, where["y"] + where["height"] / 2)
    assert middle == pytest.approx(
        (
            slice_["x"] + 15 / 64 * slice_["width"],
            slice_["y"] + 15 / 48 * slice_["height"],
        ),
        abs=2,
    )
