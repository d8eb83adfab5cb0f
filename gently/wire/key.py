"""The key that requests come with."""

from collections.abc import Generator
from typing import Final

import httpx

from gently import local_key
from gently.wire.errors import KeyRefused

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Key(httpx.Auth):
    """The key that was given, or that of this user on this machine; it is never shown.

    The latter goes to addresses of this machine only, and is looked for when it is needed:
    the device layer makes it when it is started for the first time.
    """

    def __init__(self, given: str | None) -> None:
        self._given = given
        self._found: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the key to a request; raises `KeyRefused` if there is one that cannot be used."""
        key = self._given
        if key is None and request.url.host in _THIS_MACHINE:
            key = self._of_this_machine()
        if key is not None:
            request.headers["Authorization"] = f"ApiKey {key}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._found = None  # there may be another by the next time

    def refused(self, request: httpx.Request, detail: str) -> KeyRefused:
        """Return what it means that the device layer does not know who asks."""
        if self._given is not None:
            which = "The key was given to the client as api_key."
        elif "Authorization" in request.headers:
            which = f"The key came from {local_key.source()}: is it that of this device layer?"
        elif request.url.host in _THIS_MACHINE:
            which = (
                f"There is no key in {local_key.path()}, and GENTLY_API_KEY gives none. The device "
                "layer makes the file when the same user starts it."
            )
        else:
            which = "The key of this machine goes to addresses of this machine only."
        return KeyRefused(f"{detail} ({which} api_key=... gives another)")

    def _of_this_machine(self) -> str | None:
        if self._found is None:
            try:
                self._found = local_key.find()
            except local_key.LocalKeyError as error:
                raise KeyRefused(str(error)) from error
        return self._found
