"""The HTTP edge of the device layer: JSON in, metadata out, on loopback."""

from gently.api.app import ROUTES, create_app
from gently.api.server import ApiServer, PortTakenError, bind, make_room_for_connections
from gently.api.sockets import SOCKETS

__all__ = [
    "ROUTES",
    "SOCKETS",
    "ApiServer",
    "PortTakenError",
    "bind",
    "create_app",
    "make_room_for_connections",
]
