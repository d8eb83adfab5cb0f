"""The HTTP edge of the device layer: JSON in, metadata out, on loopback."""

from gently.api.app import create_app
from gently.api.server import ApiServer, PortTakenError, bind

__all__ = ["ApiServer", "PortTakenError", "bind", "create_app"]
