"""The page shows a volume by itself, in a real browser."""

import re
from collections.abc import Callable

from playwright.sync_api import Browser, expect

from tests import API_KEY
from tests.e2e.conftest import DeviceLayers, Script, run_copilot


def test_a_volume_appears_on_the_open_page_without_a_reload(
    device_layer: DeviceLayers, copilot: Callable[[str], Script], browser: Browser
) -> None:
    layer = device_layer()
    pilot = copilot(layer.url)
    page = browser.new_page()
    try:
        page.goto(pilot.url)
        page.get_by_placeholder("Key").fill(API_KEY)
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_text("nobody has control")).to_be_visible()
        expect(page.get_by_text("acquire_volume")).to_be_visible()  # what to type, as yet
        done = run_copilot(layer.url, "acquire_volume num_slices=12 exposure_ms=3 step_um=2")
        assert done.returncode == 0, done.stderr
        with layer.client() as client:
            uid = client.volumes()[0].uid
        expect(page.get_by_text(uid).first).to_be_visible()
        middle = re.compile(rf"/api/images/{uid}\?z=6&")
        expect(page.locator("#slice")).to_have_attribute("data-shown", middle)
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("alert")).to_contain_text("everything stopped")
    finally:
        page.close()
