"""What a browser says of a request: which page makes it, and the password that was typed in."""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["basic_password", "is_foreign"]


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another page than one of the same address makes this request.

    Browsers send cookies and passwords with the requests of any page; programs that are no
    browsers say nothing.
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def basic_password(given: str) -> str | None:
    """Return the password of what follows ``Basic``; None if it is not in that form."""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None
