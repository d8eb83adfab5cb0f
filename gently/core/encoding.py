"""JSON as it is sent and kept."""

from typing import Any

from pydantic_core import to_json

__all__ = ["encoded"]


def encoded(value: Any) -> bytes:
    """Encode plain values, and numpy's, paths and the like as what they stand for.

    Numbers that JSON has no word for become null.
    """
    found: bytes = to_json(value, inf_nan_mode="null", fallback=_plain)
    return found


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
