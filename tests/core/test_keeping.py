"""What is kept of an item's end is bounded, and says so where something is left out."""

from typing import Any

import numpy as np
import pytest

from gently.core.keeping import kept_text, kept_value


def test_what_a_plan_returns_is_kept_as_plain_values() -> None:
    value = {"uid": "a", "shape": (2, 3), "mean": np.float32(1.5), "bad": float("nan")}

    assert kept_value(value) == ({"uid": "a", "shape": [2, 3], "mean": 1.5, "bad": None}, "")


def loop() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (["0123456789"] * 10_000, "130,001 bytes of JSON; 32,000 can be had"),
        (np.zeros((10_000, 10_000), np.uint8), "an array of 100,000,000 bytes"),
        (loop(), "Circular reference"),
        ("\ud800", "surrogates"),
    ],
    ids=["large", "an image", "a ring", "no unicode"],
)
def test_what_is_too_large_or_no_json_is_left_out_with_the_remedy(value: Any, says: str) -> None:
    kept, why = kept_value(value)

    assert kept is None
    assert says in why
    assert "publish data as volumes" in why


def test_a_very_long_text_keeps_its_beginning_and_its_end() -> None:
    kept = kept_text("a" * 30_000 + "z" * 30_000)

    assert kept.startswith("aaa")
    assert kept.endswith("zzz")
    assert "40,000 characters left out" in kept
    assert kept_text("short") == "short"


def test_a_text_that_utf8_has_no_bytes_for_is_kept_without_them() -> None:
    assert kept_text("caf\udce9.tif") == "caf?.tif"
