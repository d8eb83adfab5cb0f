"""The page in a real browser."""

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    Route,
    expect,
)

from gently.client import DeviceLayerClient
from gently.visualization import VizServer, VolumeFeed
from gently.visualization.contrast import Window, statistics, to_8bit
from storage import VolumeRecord, VolumeStore
from tests import API_KEY
from tests.scripted_device_layer import ScriptedDeviceLayer
from tests.visualization.specimen import embryo, keep

PIXELS = embryo((6, 48, 64))
WINDOW = statistics(PIXELS).window


@pytest.fixture
def viz(store: VolumeStore, feed: VolumeFeed) -> Iterator[VizServer]:
    with VizServer(store, feed, port=0) as viz:
        yield viz


@pytest.fixture
def blank_of(browser: Browser) -> Iterator[Callable[[VizServer], Page]]:
    """Give an empty tab; what it fetches may only come from the viz server."""
    fetched: list[str] = []
    urls: list[str] = []

    def fetch(request: Request) -> None:
        fetched.append(request.url)

    with browser.new_context(viewport={"width": 1400, "height": 900}) as context:

        def blank(viz: VizServer) -> Page:
            urls.append(viz.url)
            page = context.new_page()
            page.on("request", fetch)
            return page

        yield blank
    assert fetched
    assert [url for url in fetched if not url.startswith(tuple(urls))] == []


@pytest.fixture
def blank(blank_of: Callable[[VizServer], Page], viz: VizServer) -> Page:
    return blank_of(viz)


@pytest.fixture
def page(blank: Page, viz: VizServer) -> Iterator[Page]:
    """Give the open page; at the end its console must be clean."""
    complaints: list[str] = []

    def say(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def throw(error: Error) -> None:
        complaints.append(str(error))

    blank.on("console", say)
    blank.on("pageerror", throw)
    blank.goto(viz.link)
    expect(connection(blank)).to_have_text("live")
    yield blank
    assert complaints == []


@pytest.fixture
def record(store: VolumeStore) -> VolumeRecord:
    return keep(store, PIXELS, plan_name="acquire_volume", session_id="monday")


def connection(page: Page) -> Locator:
    return page.locator("#connection")


def entries(page: Page) -> Locator:
    return page.locator("#volumes a")


def pixels(page: Page, canvas: str) -> NDArray[np.uint8]:
    """Return the grey values that are on a canvas."""
    data = page.locator(f"#{canvas}").evaluate(
        """canvas => {
          const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [image.height, image.width, Array.from(image.data.filter((_, i) => i % 4 == 0))];
        }"""
    )
    return np.array(data[2], np.uint8).reshape(data[:2])


def shows(page: Page, canvas: str, *words: str) -> None:
    """Wait until a canvas shows the picture whose address has these words."""
    pattern = "".join(f"(?=.*{re.escape(word)})" for word in words)
    expect(page.locator(f"#{canvas}")).to_have_attribute("data-shown", re.compile(pattern))


def test_an_empty_store_says_what_to_type(page: Page) -> None:
    expect(page.get_by_role("heading", name="No volumes yet")).to_be_visible()
    expect(page.get_by_text("acquire_volume num_slices=50 exposure_ms=5")).to_be_visible()


def test_a_volume_is_shown_from_its_middle_slice_with_its_projections(
    record: VolumeRecord, page: Page
) -> None:
    shows(page, "slice", record.uid, "z=3")
    np.testing.assert_array_equal(pixels(page, "slice"), to_8bit(PIXELS[3], rounded(WINDOW)))
    for plane, axis in {"xy": 0, "xz": 1, "yz": 2}.items():
        shows(page, plane, record.uid)
        maximum = PIXELS.max(axis=axis)
        expected = to_8bit(maximum.T if plane == "yz" else maximum, rounded(WINDOW))
        np.testing.assert_array_equal(pixels(page, plane), expected)
        assert len(np.unique(expected)) > 20
    expect(page.locator("#uid")).to_have_text(record.uid)
    expect(page.get_by_role("row", name="Shape (z y x) 6 × 48 × 64")).to_be_visible()


def rounded(window: Window) -> Window:
    """Return the nearest window that sliders of whole counts can take."""
    return Window(round(window.low), round(window.high))


def test_projections_have_the_proportions_of_the_specimen(
    store: VolumeStore, viz: VizServer, blank: Page
) -> None:
    record = keep(store, PIXELS, pixel_size_um=0.5, step_um=2.0)
    blank.goto(viz.link)
    shows(blank, "yz", record.uid)

    boxes = {plane: blank.locator(f"#{plane}").bounding_box() for plane in ("xy", "xz", "yz")}

    x_um, y_um, z_um = 64 * 0.5, 48 * 0.5, 6 * 2.0
    for plane, (width_um, height_um) in {
        "xy": (x_um, y_um),
        "xz": (x_um, z_um),
        "yz": (z_um, y_um),
    }.items():
        box = boxes[plane]
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(width_um / height_um, rel=0.03)


def test_a_new_volume_appears_by_itself(
    store: VolumeStore, feed: VolumeFeed, record: VolumeRecord, page: Page
) -> None:
    expect(entries(page)).to_have_count(1)

    new = keep(store, embryo((4, 48, 64), seed=1), plan_name="second_plan")
    feed.announce(new.metadata())

    expect(entries(page)).to_have_count(2)
    expect(entries(page).first).to_contain_text("second_plan")
    shows(page, "slice", new.uid)
    expect(page.get_by_text(f"New volume {new.uid[:8]} from second_plan")).to_be_attached()


def test_who_looks_at_one_volume_is_not_torn_away_by_a_new_one(
    store: VolumeStore, feed: VolumeFeed, record: VolumeRecord, page: Page
) -> None:
    entries(page).first.click()
    expect(page.get_by_label("Follow newest")).not_to_be_checked()
    feed.announce((new := keep(store, PIXELS)).metadata())
    expect(entries(page)).to_have_count(2)
    shows(page, "slice", record.uid)

    page.get_by_label("Follow newest").check()

    shows(page, "slice", new.uid)


def test_a_volume_that_appears_while_another_is_loading_is_shown_undisturbed(
    store: VolumeStore, feed: VolumeFeed, record: VolumeRecord, viz: VizServer, blank: Page
) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    blank.route("**/histogram", hold)
    with blank.expect_request(f"**/{record.uid}/histogram"):
        blank.goto(viz.link)
    new = keep(store, PIXELS)
    with blank.expect_request(f"**/{new.uid}/histogram"):
        feed.announce(new.metadata())

    for route in held:
        with blank.expect_response(route.request.url):
            route.continue_()

    shows(blank, "slice", new.uid, f"high={round(WINDOW.high)}")
    shows(blank, "xz", new.uid)
    expect(blank.get_by_role("alert")).to_have_count(0)


def test_the_slider_and_the_keys_and_the_wheel_change_the_slice(
    record: VolumeRecord, page: Page
) -> None:
    shows(page, "slice", "z=3")
    page.get_by_label("Slice", exact=True).fill("1")
    shows(page, "slice", "z=1")
    np.testing.assert_array_equal(pixels(page, "slice"), to_8bit(PIXELS[1], rounded(WINDOW)))
    expect(page.locator("#z-value")).to_have_text("1 / 5 · 0.50 µm")

    page.locator("#slice").focus()
    for key, z in [("ArrowRight", 2), ("End", 5), ("ArrowRight", 5), ("Home", 0)]:
        page.keyboard.press(key)
        shows(page, "slice", f"z={z}&")

    page.locator("#slice").hover()
    page.mouse.wheel(0, 120)
    shows(page, "slice", "z=1&")


def test_pressing_in_a_projection_chooses_the_slice(record: VolumeRecord, page: Page) -> None:
    shows(page, "xz", record.uid)
    box = page.locator("#xz").bounding_box()
    assert box is not None

    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 5.5 / 6)

    shows(page, "slice", "z=5&")


def test_the_contrast_changes_slice_and_projections_and_auto_brings_it_back(
    record: VolumeRecord, page: Page
) -> None:
    shows(page, "xy", record.uid)
    shows(page, "slice", record.uid)
    before = pixels(page, "slice")

    page.get_by_label("White").fill("200")

    shows(page, "slice", "high=200")
    shows(page, "xy", "high=200")
    window = Window(round(WINDOW.low), 200)
    np.testing.assert_array_equal(pixels(page, "slice"), to_8bit(PIXELS[3], window))
    np.testing.assert_array_equal(pixels(page, "xy"), to_8bit(PIXELS.max(axis=0), window))

    page.get_by_role("button", name="Auto").click()
    shows(page, "slice", f"high={round(WINDOW.high)}")
    np.testing.assert_array_equal(pixels(page, "slice"), before)


def test_the_window_never_closes(record: VolumeRecord, page: Page) -> None:
    shows(page, "slice", record.uid)

    page.get_by_label("Black").fill(str(PIXELS.max()))

    shows(page, "slice", f"low={round(WINDOW.high) - 1}&high={round(WINDOW.high)}")


def test_a_link_with_a_uid_opens_that_volume(
    store: VolumeStore, record: VolumeRecord, viz: VizServer, blank: Page
) -> None:
    keep(store, PIXELS)

    blank.goto(f"{viz.link}#{record.uid}")

    shows(blank, "slice", record.uid)
    expect(entries(blank).nth(1)).to_have_attribute("aria-current", "true")


def test_a_volume_is_opened_by_typing_its_uid(
    store: VolumeStore, record: VolumeRecord, page: Page
) -> None:
    keep(store, PIXELS)

    page.get_by_label("Open a volume by its UID").fill(f" {record.uid} ")
    page.keyboard.press("Enter")

    shows(page, "slice", record.uid)


@pytest.mark.parametrize(
    ("uid", "says"), [("../../etc/passwd", "is not a UID"), ("0" * 32, "no volume 000")]
)
def test_a_uid_that_cannot_be_opened_is_explained(
    viz: VizServer, blank: Page, uid: str, says: str
) -> None:
    blank.goto(viz.link)

    blank.get_by_label("Open a volume by its UID").fill(uid)
    blank.keyboard.press("Enter")

    expect(blank.get_by_role("alert")).to_contain_text(says)


def test_a_link_to_no_volume_is_explained_with_a_way_out(
    record: VolumeRecord, viz: VizServer, blank: Page
) -> None:
    blank.goto(f"{viz.link}#{'0' * 32}")
    expect(blank.get_by_role("alert")).to_contain_text("no volume 000")

    blank.get_by_role("link", name="Show the newest volume").click()

    shows(blank, "slice", record.uid)


def test_a_single_image_has_neither_slider_nor_projections(
    store: VolumeStore, viz: VizServer, blank: Page
) -> None:
    snap = keep(store, PIXELS[3:4], plan_name="snap", step_um=0)

    blank.goto(viz.link)

    shows(blank, "slice", snap.uid)
    expect(blank.get_by_label("Slice", exact=True)).to_be_hidden()
    expect(blank.get_by_role("heading", name="Maximum projections")).to_be_hidden()


def test_a_lost_server_is_said_and_its_return_brings_what_was_missed(
    store: VolumeStore, record: VolumeRecord, viz: VizServer, blank: Page
) -> None:
    blank.goto(viz.link)
    shows(blank, "slice", record.uid)
    before = pixels(blank, "slice")

    viz.stop()

    expect(connection(blank)).to_have_text("disconnected, retrying")
    blank.keyboard.press("ArrowRight")
    np.testing.assert_array_equal(pixels(blank, "slice"), before)

    missed = keep(store, PIXELS)
    port = int(viz.url.rsplit(":", 1)[1].strip("/"))
    with VizServer(store, VolumeFeed(), port) as again:
        # Another copilot does not know this page.
        expect(blank.get_by_placeholder("Key")).to_be_visible(timeout=15_000)
        blank.goto(again.link)
        expect(connection(blank)).to_have_text("live")
        expect(entries(blank)).to_have_count(2)
        shows(blank, "slice", missed.uid)


def test_everything_can_be_reached_with_the_tab_key(record: VolumeRecord, page: Page) -> None:
    shows(page, "xy", record.uid)
    reached = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.dataset.uid")
        )

    assert {"open-uid", "follow", record.uid, "slice", "z", "auto", "low", "high"} <= reached


# ---------------------------------------------------------------------- who may come in


def test_the_link_opens_the_page_and_leaves_nothing_secret_in_its_address(
    record: VolumeRecord, viz: VizServer, blank: Page
) -> None:
    blank.goto(f"{viz.link}#{record.uid}")
    shows(blank, "slice", record.uid)
    assert blank.url == f"{viz.url}#{record.uid}"
    assert blank.evaluate("history.length") <= 2  # the empty tab, and the page
    assert blank.evaluate("document.cookie") == "", "scripts cannot read it"


def test_without_the_link_the_page_asks_for_the_key(
    record: VolumeRecord, viz: VizServer, blank: Page
) -> None:
    blank.goto(viz.url)
    blank.get_by_placeholder("Key").fill("a guess of sixteen")
    blank.get_by_role("button", name="Enter").click()
    expect(blank.get_by_role("alert")).to_have_text("This is not the key of this machine.")
    blank.get_by_placeholder("Key").fill(API_KEY)
    blank.get_by_role("button", name="Enter").click()
    shows(blank, "slice", record.uid)
    assert blank.url == viz.url


# ---------------------------------------------------------------------- the microscope


LEASE = {"number": 7, "holder": "owl", "kind": "agent", "since": 0.0, "expires": 60.0, "note": None}


def test_the_page_says_who_has_control_and_stops_whoever_has_it(
    store: VolumeStore, feed: VolumeFeed, blank_of: Callable[[VizServer], Page]
) -> None:
    with ScriptedDeviceLayer() as server, DeviceLayerClient(server.url) as device_layer:
        server.answers["GET control"] = LEASE
        server.answers["POST stop"] = [
            {"success": True, "msg": "", "devices": {"focus": {"stopped": True}}},
            {"success": False, "msg": "", "devices": {"focus": {"stopped": False, "error": "jam"}}},
        ]
        with VizServer(store, feed, port=0, device_layer=device_layer) as viz:
            page = blank_of(viz)
            page.goto(viz.link)
            expect(page.get_by_text("owl has control")).to_be_visible()
            stop = page.get_by_role("button", name="Stop")
            stop.click()
            expect(page.get_by_role("alert")).to_contain_text("everything stopped")
            stop.click()
            expect(page.get_by_role("alert")).to_contain_text("focus did NOT stop: jam")
            asked = [body for what, body in server.asked if what == "POST stop"]
            assert asked == [{"reason": "asked for on the page"}] * 2

            server.answers["GET control"] = {**LEASE, "holder": None, "kind": None}
            expect(page.get_by_text("nobody has control")).to_be_visible()
