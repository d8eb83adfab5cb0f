"""What keeps a request to the device layer from being done; each text names its remedy."""

# These are named by the fact, as the operator meets it.
# ruff: noqa: N818

from collections.abc import Iterable

from gently.wire.replies import FieldError


class ClientError(Exception):
    """Anything that keeps a request to the device layer from being done."""


class DeviceLayerUnreachable(ClientError):
    """Nothing answers at the device layer's address, or not in time.

    Attributes
    ----------
    url : str
        The address that was tried.
    """

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(
            f"no device layer at {url}: {cause}. "
            "Start it with: python start_device_layer.py (or name another address with --url)"
        )
        self.url = url


class DeviceLayerFault(ClientError):
    """The device layer, or another program at its address, answered with nonsense or a 5xx."""


class Refused(ClientError):
    """The device layer understood the request and says no.

    Attributes
    ----------
    msg : str
        The device layer's own sentence.
    errors : tuple of FieldError
        What is wrong with each field, where the refusal is about fields.
    status_code : int
        HTTP status; the Bluesky routes refuse with 200.
    """

    def __init__(self, msg: str, errors: Iterable[FieldError] = (), status_code: int = 200) -> None:
        self.msg = msg
        self.errors = tuple(errors)
        self.status_code = status_code
        details = [f"{e.field}: {e.message}" for e in self.errors if e.message not in msg]
        super().__init__("\n  ".join([msg, *details]))
