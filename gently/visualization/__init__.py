"""The viz server: shows every volume in a browser, by UID, as soon as it is on disk."""

from gently.visualization.entry import Door
from gently.visualization.feed import VolumeFeed
from gently.visualization.host import PortTakenError, VizServer
from gently.visualization.server import create_app

__all__ = ["Door", "PortTakenError", "VizServer", "VolumeFeed", "create_app"]
