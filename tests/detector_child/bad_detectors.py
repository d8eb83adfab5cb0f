"""Detectors as they must not be. Only the tests' own process of detectors knows them."""

import mmap
import os
import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue

from gently.detection import Detection, DetectorKind, NoSetup, Picture
from gently.detection.kinds import KINDS as GOOD


class BadSettings(BaseModel):
    """What goes wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    does: Literal["hang", "eat slowly", "ask for too much", "die", "nothing"] = "nothing"


class BadDetector:
    """Does what the settings say, and finds nothing."""

    def __init__(self, setup: NoSetup) -> None:
        pass

    @property
    def about(self) -> Mapping[str, JsonValue]:
        return {"is": "bad"}

    def detect(self, picture: Picture, settings: BadSettings) -> Detection:
        eaten: list[Any] = []
        match settings.does:
            case "hang":
                time.sleep(600)
            case "eat slowly":  # what it shares is no data of its own: no system refuses it
                while True:
                    piece = mmap.mmap(-1, 1 << 24)
                    piece.write(bytes(1 << 24))
                    eaten.append(piece)
                    time.sleep(0.005)
            case "ask for too much":
                eaten.append(np.ones(1 << 34))
            case "die":
                os.abort()
        labels = np.zeros(picture.shape, np.uint16)
        return Detection(
            detector="bad",
            about=self.about,
            settings={},
            labels=labels,
            objects=(),
            masks={"bad": labels},
        )


_BAD = DetectorKind(
    name="bad",
    summary="Goes wrong.",
    settings=BadSettings,
    maker="tests.detector_child.bad_detectors:BadDetector",
)
KINDS = {**GOOD, "bad": _BAD}
