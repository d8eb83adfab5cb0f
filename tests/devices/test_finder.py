"""The finder: what it is asked is looked for by others, and can be given up."""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, get_args

import pytest

from devices import AcquisitionError, Finder, FindRequest, LimitError
from gently.detection import KINDS
from plans.detection import DetectorName
from tests.core.bench import NO_CORE

REQUEST = FindRequest(uid="v1")
FOUND = {"detection_uid": "d1", "objects": [{"name": "embryo 1"}]}


class Looking:
    def __init__(self) -> None:
        self.outcome: Future[Mapping[str, Any]] = Future()
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.outcome.set_exception(RuntimeError("it was cancelled"))


@pytest.fixture
def searches() -> list[Looking]:
    return []


@pytest.fixture
def finder(searches: list[Looking]) -> Finder:
    def search(request: FindRequest) -> Looking:
        assert request is REQUEST
        searches.append(Looking())
        return searches[-1]

    return Finder("finder", core=NO_CORE, detectors=("classical",), search=search)


def test_what_was_found_is_had_by_the_uid_that_is_read(
    finder: Finder, searches: list[Looking]
) -> None:
    finder.prepare(REQUEST)
    status = finder.trigger()
    assert not status.done
    searches[0].outcome.set_result(FOUND)
    status.wait(30)
    readings = {key: reading["value"] for key, reading in finder.read().items()}
    assert readings == {"finder_detection": "d1", "finder_objects": 1}
    assert finder.found("d1") == FOUND
    assert finder.found("")["objects"] == finder.found("d0")["objects"] == []


def test_a_search_that_fails_fails_the_plan(finder: Finder, searches: list[Looking]) -> None:
    finder.prepare(REQUEST)
    status = finder.trigger()
    searches[0].outcome.set_exception(RuntimeError("it died"))
    with pytest.raises(RuntimeError, match="it died"):
        status.wait(30)


def test_a_search_is_given_up_without_an_error_by_the_next_one_and_by_unstage(
    finder: Finder, searches: list[Looking]
) -> None:
    finder.stage()
    finder.prepare(REQUEST)
    statuses = [finder.trigger(), finder.trigger()]
    finder.unstage()
    for status in statuses:
        status.wait(30)
    assert [search.is_cancelled for search in searches] == [True, True]
    with pytest.raises(AcquisitionError, match="before it was prepared"):
        finder.trigger()


def test_nobody_unknown_is_asked_and_nothing_is_set(finder: Finder) -> None:
    with pytest.raises(LimitError, match="choose from: classical"):
        finder.prepare(FindRequest(uid="v1", detector="guess"))
    with pytest.raises(LimitError):
        finder.check_value(1)


def test_a_plan_can_ask_every_detector_that_there_is() -> None:
    assert get_args(DetectorName) == tuple(KINDS)
