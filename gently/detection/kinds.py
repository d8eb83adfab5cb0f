"""Which detectors there are, and what each can be told. Imports none of them.

The device layer reads this to check requests, without loading what the detectors need. To add
a detector: a file with a class that is a `Detector`, an entry here, and an extra in pyproject.toml.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["KINDS", "DetectorKind", "NoSetup", "OvalSettings", "SamSetup"]

Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class OvalSettings(BaseModel):
    """What is looked for: ovals of about this size.

    Parameters
    ----------
    length_um, width_um
        Of an object; an area of a third to two and a half times as much is still found.
    contrast
        Whether they are brighter than what is around them, as what fluoresces, or darker, as in
        the light of a lamp behind them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    length_um: Length = 50.0
    width_um: Length = 30.0
    contrast: Literal["bright", "dark"] = "bright"


class NoSetup(BaseModel):
    """Nothing to set up."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SamSetup(BaseModel):
    """Which SAM is loaded. Said by who runs the microscope, never by a request: it names files.

    Parameters
    ----------
    model
        The size of the network; `tiny` is in the box, and is there to prove the way.
    checkpoint
        The file with its weights; `tiny` has its own.
    sha256
        What the file's hash has to be; empty accepts any.
    device
        Where torch computes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["tiny", "vit_b", "vit_l", "vit_h"] = "vit_b"
    checkpoint: Path | None = None
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    device: Literal["cpu", "cuda", "mps"] = "cpu"


@dataclass(frozen=True, kw_only=True)
class DetectorKind:
    """One detector that can be asked for.

    Attributes
    ----------
    name
        In requests.
    summary
        One line for people.
    settings
        What a request may say.
    setup
        What the one who runs the microscope may say.
    maker
        ``module:Class``, called with the setup; imported when it is first needed.
    needs
        Packages that gently does not install by itself.
    extra
        The extra of gently that does.
    fallback
        Which detector, that takes the same settings, answers where this one cannot be had.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    setup: type[BaseModel] = NoSetup
    maker: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    fallback: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that it needs and that are not installed."""
        return tuple(name for name in self.needs if find_spec(name) is None)


_ALL = (
    DetectorKind(
        name="classical",
        summary="Bright ovals by threshold, distance and watershed; blobs where it is too faint.",
        settings=OvalSettings,
        maker="gently.detection.classical:ClassicalDetector",
    ),
    DetectorKind(
        name="sam",
        summary="Segment Anything, prompted with what the classical detector finds.",
        settings=OvalSettings,
        setup=SamSetup,
        maker="gently.detection.sam:SamDetector",
        needs=("segment_anything", "torch"),
        extra="sam",
        fallback="classical",
    ),
)

KINDS: Final = {kind.name: kind for kind in _ALL}
"""Every detector, by name."""
