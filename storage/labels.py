"""Label images: volumes that say which pixels of another volume belong to which object."""

from typing import Final

LABELS: Final = "labels"
"""The tag of every label image, and the key of what it says about its objects in its metadata."""


def labels_tag(source_uid: str) -> str:
    """Return the tag that the label images of one volume have."""
    return f"{LABELS}:{source_uid}"
