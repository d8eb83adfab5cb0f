"""What is counted, in the form that Prometheus reads.

The registry is its own, not the library's global one. Nothing here asks the hardware.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

__all__ = ["Metrics"]

_STOP_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 9.0)


class Metrics:
    """Counters that rise as things happen, and gauges that are looked at when they are read.

    Safe from any thread.
    """

    media_type: Final = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.items = Counter(
            "gently_items", "Items that have ended", ["outcome"], registry=registry
        )
        self.volumes = Counter(
            "gently_volumes", "Volumes whose file has its name", ["status"], registry=registry
        )
        self.detections = Counter(
            "gently_detections", "Detections that have ended", ["outcome"], registry=registry
        )
        self._frames = Counter(
            "gently_frames_written", "Frames handed to the disk", registry=registry
        )
        self._bytes = Counter(
            "gently_bytes_written", "Bytes of frames handed to the disk", registry=registry
        )
        self.back_pressure = Counter(
            "gently_back_pressure_seconds",
            "Seconds for which cameras have waited for the disk",
            registry=registry,
        )
        self.stop_seconds = Histogram(
            "gently_stop_seconds",
            "From the request to stop to the last read-back",
            buckets=_STOP_BUCKETS_S,
            registry=registry,
        )
        self.followers_dropped = Counter(
            "gently_followers_dropped",
            "Followers of events that were dropped because they were slow",
            registry=registry,
        )
        self.requests_refused = Counter(
            "gently_requests_refused", "Requests answered with 4xx", ["status"], registry=registry
        )

    def gauge(self, name: str, what: str, look: Callable[[], float]) -> None:
        """Let a value be looked at whenever the metrics are read."""
        Gauge(f"gently_{name}", what, registry=self._registry).set_function(look)

    def frame_written(self, size: int) -> None:
        """Count a frame of so many bytes."""
        self._frames.inc()
        self._bytes.inc(size)

    @property
    def frames_written(self) -> int:
        """How many frames there were."""
        return int(self._registry.get_sample_value("gently_frames_written_total") or 0)

    @property
    def bytes_written(self) -> int:
        """How many bytes they had."""
        return int(self._registry.get_sample_value("gently_bytes_written_total") or 0)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
