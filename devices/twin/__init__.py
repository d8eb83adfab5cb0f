"""The digital twin: a light-sheet microscope of Python devices, and the truth behind it.

The devices are loaded by label from `devices/instruments/twin.cfg`. What tests and
evaluations need beside them is here: the sample that a seed stands for, and the stamp
that frames carry.
"""

from devices.twin.phantom import Embryo, Nucleus, Phantom
from devices.twin.stamp import FrameStamp

__all__ = ["Embryo", "FrameStamp", "Nucleus", "Phantom"]
