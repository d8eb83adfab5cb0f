"""JSON as it is sent and kept."""

from typing import Any

from pydantic_core import to_json

__all__ = ["encoded"]


def encoded(value: Any, *, most_bytes: int | None = None) -> bytes:
    """Encode plain values, and numpy's, paths and the like as what they stand for.

    Numbers that JSON has no word for become null.

    Raises
    ------
    ValueError
        If it cannot be encoded, as what contains itself, or needs more than `most_bytes`; an
        array that is larger is not even begun.
    """

    def plain(part: Any) -> Any:
        if most_bytes is not None and getattr(part, "nbytes", 0) > most_bytes:
            raise ValueError(f"it has an array of {part.nbytes:,} bytes; {most_bytes:,} can be had")
        return part.tolist() if hasattr(part, "tolist") else str(part)

    found: bytes = to_json(value, inf_nan_mode="null", fallback=plain)
    if most_bytes is not None and len(found) > most_bytes:
        raise ValueError(f"it takes {len(found):,} bytes of JSON; {most_bytes:,} can be had")
    return found
