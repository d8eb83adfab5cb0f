"""The documentation page, in a real browser without scripts and without a network."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, expect

from gently.api import ROUTES
from tests import API_KEY

SLICES = "How many slices a volume has; 1 is a picture."


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, served: httpx.Client, asked: list[str]) -> Iterator[Page]:
    context = browser.new_context(
        java_script_enabled=False, http_credentials={"username": "", "password": API_KEY}
    )
    page = context.new_page()

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.goto(f"{served.base_url}/api/docs")
    yield page
    context.close()


def test_it_shows_every_route_and_needs_nothing_else(page: Page, asked: list[str]) -> None:
    shown = " ".join(page.locator("main summary").all_inner_texts())
    for route in ROUTES:
        if "{plan}" not in route.path:
            assert re.search(rf"{route.method}\s+{re.escape(route.template)}\s", shown), route.name
    assert asked == [page.url]


def test_a_route_opens_to_what_it_takes_and_answers(page: Page) -> None:
    route = page.locator("#post_plans_acquire_volume_execute")
    expect(route.get_by_text(SLICES)).to_be_hidden()

    route.locator("summary").click()

    expect(route.get_by_text(SLICES)).to_be_visible()
    expect(route.get_by_text("integer, 1 to 10000, default 50")).to_be_visible()
    expect(route.get_by_role("link", name="QueuedItem")).to_be_visible()


def test_every_link_on_it_leads_somewhere(page: Page) -> None:
    targets = set(page.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))"))
    ids = set(page.locator("[id]").evaluate_all("all => all.map(place => place.id)"))
    assert {target for target in targets if not target.startswith("#")} == {"/api/openapi.json"}
    assert {target[1:] for target in targets if target.startswith("#")} <= ids


def test_it_fits_a_narrow_window(page: Page) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    box = page.locator("main").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["width"] <= 420
