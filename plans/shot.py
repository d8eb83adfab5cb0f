"""A shot: what is taken at once, and what its volumes are called among the channels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from devices import ViewName, Views, VolumeRequest

__all__ = ["Shot"]


@dataclass(frozen=True)
class Shot:
    """A laser line, from one side or from both at once.

    Parameters
    ----------
    line, power_percent
        Empty and None for those of the instrument.
    view
        From which side.
    name
        Of its channel; empty for the line that is used.
    """

    line: str
    power_percent: float | None
    view: Views
    name: str

    @property
    def channels(self) -> dict[ViewName, str]:
        """What the volume of each side is called among the channels."""
        if self.view == "dual":
            return {"a": f"{self.name} a".strip(), "b": f"{self.name} b".strip()}
        return {self.view: self.name}

    def request(self, volume: VolumeRequest, views: Sequence[ViewName]) -> VolumeRequest:
        """Return what asks for a volume of some of its sides; the other may be there already."""
        is_half = len(views) < len(self.channels)
        channel = self.channels[views[0]] if is_half else self.name
        return replace(
            volume,
            view=views[0] if len(views) == 1 else "dual",
            line=self.line,
            power_percent=self.power_percent,
            labels=replace(volume.labels, channel=channel),
        )
