"""Calls to MMCore: whatever an adapter raises becomes an error that names the device."""

from collections.abc import Callable
from typing import TypeVar

from pymmcore_plus.experimental.unicore import UniMMCore

from devices.errors import CoreError, DeviceError

__all__ = ["translated"]

T = TypeVar("T")


def translated(mmc: UniMMCore, label: str, call: Callable[[UniMMCore], T]) -> T:
    """Make a call on behalf of `label`; raises `CoreError` for what MMCore says."""
    try:
        return call(mmc)
    except DeviceError:
        raise
    except Exception as error:  # an adapter may raise anything
        raise CoreError(f"{label}: {error}") from error
