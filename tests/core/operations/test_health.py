"""Health: what is asked, and what is said where something is not well."""

import asyncio
import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest

from gently.core.operations.health import (
    Check,
    LoopLag,
    disk_space,
    examine,
    loop_lag,
    no_problem,
)


def test_all_well_is_ok() -> None:
    found = examine({"core": lambda: Check(ok=True, detail="answers")})

    assert found.message() == {
        "status": "ok",
        "reasons": [],
        "checks": {"core": {"ok": True, "detail": "answers"}},
    }


def test_one_that_is_not_well_degrades_it_and_says_why() -> None:
    found = examine(
        {
            "core": lambda: Check(ok=True, detail="answers"),
            "disk": lambda: Check(ok=False, detail="full"),
        }
    )

    assert found.status == "degraded"
    assert found.reasons == ("disk: full",)
    assert set(found.message()["checks"]) == {"core", "disk"}


@pytest.mark.parametrize(("free", "ok"), [(5 * 10**9, True), (5 * 10**9 - 1, False)])
def test_a_disk_with_little_room_is_not_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, ok: bool
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, free))

    check = disk_space(tmp_path)

    assert check.ok is ok
    assert f"5.0 GB are free in {tmp_path}" in check.detail
    assert ok or "Move volumes elsewhere" in check.detail


def test_a_folder_that_is_gone_is_not_well(tmp_path: Path) -> None:
    check = disk_space(tmp_path / "gone")
    assert not check.ok
    assert "cannot be looked at" in check.detail


def test_what_has_a_problem_says_it() -> None:
    assert no_problem("").ok
    assert no_problem("the disk is full") == Check(ok=False, detail="the disk is full")


def test_a_loop_that_is_held_up_is_late_while_it_lasts_and_afterwards() -> None:
    lag = LoopLag(every_s=0.01)
    assert lag.seconds == 0

    async def scenario() -> tuple[float, float]:
        watch = asyncio.create_task(lag.watch())
        await asyncio.sleep(0.03)
        time.sleep(0.2)
        during = lag.seconds
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        after = lag.seconds
        watch.cancel()
        return during, after

    during, after = asyncio.run(scenario())
    assert during > 0.1
    assert after > 0.1
    assert lag.seconds < 1


def test_a_loop_that_is_very_late_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    lag = LoopLag()
    assert loop_lag(lag).ok
    monkeypatch.setattr(lag, "_due", time.monotonic() - 5)
    assert not loop_lag(lag).ok
