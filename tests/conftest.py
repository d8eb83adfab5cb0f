"""What every test owes: it leaves no thread, process or file of its own behind."""

import gc
import os
import shutil
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.waiting import PATIENCE_S

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The processes of a closed tab are to end with it: no spare one, no zygote that reaps late.
    "--disable-features=SpareRendererForSitePerProcess",
    "--no-zygote",
)


def pytest_collection_finish() -> None:
    """Take what was imported by now out of what is looked through for garbage after each test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or an open file behind."""
    process = psutil.Process()
    threads = set(threading.enumerate())
    children = set(process.children(recursive=True))
    files = {entry.path for entry in process.open_files()}
    yield
    gc.collect()
    deadline = time.monotonic() + 20
    while left := _left_behind(process, threads, children, files):
        if time.monotonic() > deadline:
            pytest.fail(f"the test left behind: {', '.join(left)}")
        time.sleep(0.02)


def _left_behind(
    process: psutil.Process,
    threads: set[threading.Thread],
    children: set[psutil.Process],
    files: set[str],
) -> list[str]:
    left = [f"thread {t.name}" for t in threading.enumerate() if t not in threads]
    left += [f"process {c.pid}" for c in set(process.children(recursive=True)) - children]
    left += [f"file {f.path}" for f in process.open_files() if f.path not in files]
    return left


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a browser that is installed; without one skip, but fail in CI."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        missing = f"no browser is installed (looked for {', '.join(BROWSERS)})"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        expect.set_options(timeout=1000 * PATIENCE_S)
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()
