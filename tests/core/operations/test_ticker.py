"""The ticker: each job in its own time, for ever, whatever becomes of the others."""

import logging
import threading

import pytest

from gently.core.operations.ticker import Job, Ticker


class Counted:
    def __init__(self, until: int) -> None:
        self.until = until
        self.times = 0
        self.is_done = threading.Event()

    def __call__(self) -> None:
        self.times += 1
        if self.times >= self.until:
            self.is_done.set()


def test_jobs_are_done_again_and_again() -> None:
    often, seldom = Counted(5), Counted(1)
    ticker = Ticker("watch", [Job(0.001, often), Job(3600, seldom)])
    try:
        assert often.is_done.wait(30)
    finally:
        assert ticker.close(30)
    assert seldom.times == 0


def test_a_job_that_fails_is_logged_and_done_again(caplog: pytest.LogCaptureFixture) -> None:
    done = Counted(2)

    def fail() -> None:
        done()
        raise ValueError("no disk")

    ticker = Ticker("watch", [Job(0.001, fail)])
    try:
        assert done.is_done.wait(30)
    finally:
        assert ticker.close(30)
    assert "no disk" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_a_job_that_does_not_end_is_not_waited_for() -> None:
    began, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        goes_on.wait(30)

    ticker = Ticker("watch", [Job(0.001, hang)])
    assert began.wait(30)
    assert not ticker.close(0.01)
    goes_on.set()
    assert ticker.close(30)
