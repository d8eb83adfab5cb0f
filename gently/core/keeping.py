"""What is kept of an item's end: bounded, so that no plan fills the queue's file or its history."""

from typing import Any, Final

from pydantic_core import from_json

from gently.core.encoding import encoded

__all__ = ["kept_text", "kept_value"]

_MOST_BYTES: Final = 32_000
_MOST_CHARACTERS: Final = 20_000


def kept_value(value: Any) -> tuple[Any, str]:
    """Return what a plan has returned as plain values, and why not if it is not kept."""
    try:
        content = encoded(value, most_bytes=_MOST_BYTES)
    except ValueError as error:
        return None, (
            f"What the plan returned is not kept: {error}. Let it return uids and short summaries, "
            "and publish data as volumes."
        )
    return from_json(content), ""


def kept_text(text: str) -> str:
    """Return a text, without its middle if it is very long, nor what UTF-8 has no bytes for."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) <= _MOST_CHARACTERS:
        return text
    half = _MOST_CHARACTERS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
