"""The page: the worst first, nothing to fetch, nothing that is run, and it fits a telephone."""

import re

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from gently.check import Finding, Group, LightUsed, Report, Status, page
from gently.check.report import measured

HOSTILE = '<script>alert("x")</script> & "quotes"'
REPORT = Report(
    instrument="rig",
    description=HOSTILE,
    config="rig.yml",
    storage="/data",
    gently_version="1.0",
    versions={"mmcore": "12"},
    computer="scope",
    operator=HOSTILE,
    consent="asked",
    began=1.8e9,
    seconds=12.0,
    light=(LightUsed(source="lasers 488", percent=2, lit_ms=200),),
    findings=(
        Finding(
            group=Group.DEVICES,
            name="xy_stage",
            status=Status.OK,
            measured=(measured("x", 1.5, "um"), measured("label", "A" * 200)),
        ),
        Finding(group=Group.AXES, name="focus", status=Status.NOT_DONE, says="declined"),
        Finding(
            group=Group.AXES,
            name="f_drive.z",
            status=Status.FAILED,
            says=f"the drive says {HOSTILE}",
            expected="to arrive",
            source="rig.yml",
            remedy=f"Look. {HOSTILE}",
        ),
    ),
)


def test_the_page_runs_and_fetches_nothing_and_shows_what_it_was_told_as_text() -> None:
    html = page(REPORT)
    assert "<script" not in html
    assert not re.search(r"\bsrc=|href=\"[^#]|url\(|@import|\bon\w+=\"", html)
    assert html.count("&lt;script&gt;") >= 4
    assert html.index("The drive says") < html.index("<h2>Devices<")


@pytest.mark.parametrize(
    ("findings", "ended_early", "verdict"),
    [
        (REPORT.findings, "", "Something is not as it has to be"),
        (REPORT.findings[:2], "", "Nothing failed, and not all was looked at"),
        (REPORT.findings[:1], "", "All is as it has to be"),
        (REPORT.findings[:2], "it was interrupted", "The check did not come to its end"),
    ],
)
def test_the_verdict_is_true(findings: tuple[Finding, ...], ended_early: str, verdict: str) -> None:
    report = REPORT.model_copy(update={"findings": findings, "ended_early": ended_early})
    assert f"<h1>{verdict}</h1>" in page(report)


def test_it_fits_a_telephone_and_is_dark_where_that_is_wanted(browser: Browser) -> None:
    viewport: ViewportSize = {"width": 360, "height": 700}
    with browser.new_context(viewport=viewport, color_scheme="dark") as context:
        shown = context.new_page()
        shown.set_content(page(REPORT))
        expect(shown.get_by_role("heading", name="Failed")).to_be_visible()
        assert shown.evaluate("document.documentElement.scrollWidth") <= 360
        ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", ground)[:3])) < 40
        shown.close()
