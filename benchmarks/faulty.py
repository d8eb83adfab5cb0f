"""Devices of the twin that misbehave when they are told to, for the benchmark of stop."""

import threading

from devices.twin.stages import FocusDrive, XYStage

__all__ = ["HangingFocus", "StubbornStage"]

_PATIENCE_S = 60


class HangingFocus(FocusDrive):
    """A focus drive that, while it hangs, answers no question about its position."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()
        self.is_asked = threading.Event()

    def get_position_um(self) -> float:
        """Return where it is, once it answers."""
        self.is_asked.set()
        self.answers.wait(_PATIENCE_S)
        return super().get_position_um()


class StubbornStage(XYStage):
    """A stage that can refuse to stop."""

    will_stop = True

    def stop(self) -> None:
        """Stay here; or go on, and say that it does."""
        if not self.will_stop:
            raise RuntimeError("the controller answers with error 21")
        super().stop()
