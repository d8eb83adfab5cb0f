"""The log file: each line whole, with the item that it is about, through all rotations."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gently.core.operations import ItemStamp, LogFile, about_item, logs

LOGGER = logging.getLogger("tests.log")


def fail() -> None:
    raise ValueError("no\n2026-11-21 WARNING b00 forged: nothing happened")


@pytest.fixture
def stamp() -> ItemStamp:
    return ItemStamp()


@pytest.fixture
def log(tmp_path: Path, stamp: ItemStamp) -> Iterator[LogFile]:
    log = LogFile(tmp_path / "logs" / "device-layer.log", stamp)
    with log.attached():
        yield log


def lines(log: LogFile) -> list[str]:
    log.lines_of("", 1)  # all that was logged is written then
    begins, *found = log.path.read_text(encoding="utf-8").splitlines()
    assert begins.endswith("begins")
    return found


def test_a_line_has_its_time_with_the_zone_level_item_and_logger(log: LogFile) -> None:
    with about_item("f00"):
        LOGGER.warning("%s moved", "focus")

    (line,) = lines(log)
    time, rest = line.split(" ", 1)
    assert rest == "WARNING f00 tests.log: focus moved"
    assert "T" in time
    assert time[-6] in "+-"


def test_what_is_about_no_item_has_a_dash(log: LogFile) -> None:
    LOGGER.info("idle")
    assert lines(log)[0].endswith("INFO - tests.log: idle")


def test_each_line_of_a_traceback_says_what_it_is_about(log: LogFile) -> None:
    with about_item("f00"):
        try:
            fail()
        except ValueError:
            LOGGER.exception("it went wrong")

    found = lines(log)
    assert len(found) > 4
    assert all(" ERROR f00 tests.log: " in line for line in found)
    assert log.lines_of("f00", 100) == found
    assert log.lines_of("b00", 100) == []


def test_what_a_thread_of_a_device_says_is_about_the_item_that_runs(
    log: LogFile, stamp: ItemStamp
) -> None:
    stamp.running = "f00"
    with about_item("b00"):
        thread = threading.Thread(target=LOGGER.info, args=("from the core",))
        thread.start()
        thread.join()
        LOGGER.info("from a request")
    with about_item(""):
        LOGGER.info("from the watch")

    assert [line.split(" ")[2] for line in lines(log)] == ["f00", "b00", "-"]


def test_tasks_and_callbacks_of_a_loop_are_about_what_they_were_begun_for(log: LogFile) -> None:
    async def say() -> None:
        LOGGER.info("from a task")

    async def scenario() -> None:
        with about_item("f00"):
            task = asyncio.create_task(say())
            asyncio.get_running_loop().call_soon_threadsafe(LOGGER.info, "from a callback")
        await task

    asyncio.run(scenario())
    assert len(log.lines_of("f00", 10)) == 2


def test_the_log_of_an_item_is_gathered_from_the_old_files_too_and_the_oldest_are_dropped(
    log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log._files, "maxBytes", 2_000)
    for number in range(100):
        with about_item("f00" if number % 2 else "b00"):
            LOGGER.info("%03d %s", number, "x" * 100)

    found = log.lines_of("f00", 1_000)
    numbers = [int(line.split(": ")[1][:3]) for line in found]

    assert numbers == sorted(numbers)
    assert numbers[-1] == 99
    assert len(numbers) > 30  # more than one file holds
    assert [line.split(": ")[1][:3] for line in log.lines_of("f00", 2)] == ["097", "099"]
    assert len(list(log.path.parent.iterdir())) <= logs._OLD_FILES + 1


def test_a_folder_that_cannot_be_written_is_told_and_stops_nobody(
    tmp_path: Path, stamp: ItemStamp
) -> None:
    log = LogFile(tmp_path / "logs" / "device-layer.log", stamp)
    log.path.mkdir()  # in its way
    with log.attached():
        LOGGER.info("lost")
        log._writer.flush(5)
        assert "device-layer.log" in log.problem

        log.path.rmdir()
        LOGGER.info("kept")
        log._writer.flush(5)
        assert log.path.read_text(encoding="utf-8").endswith("kept\n")
        assert log.problem == ""


def test_it_takes_nothing_any_more_once_it_is_closed(log: LogFile) -> None:
    with LogFile(log.path.with_name("other.log"), ItemStamp()).attached():
        LOGGER.info("one")
    LOGGER.info("two")

    _, line = log.path.with_name("other.log").read_text(encoding="utf-8").splitlines()
    assert line.endswith("one")
