"""The digital twin: a light-sheet microscope of Python devices, and the truth behind it.

The devices are loaded by label from `devices/instruments/twin.cfg`. What tests and
evaluations need beside them is here. The truth that a seed stands for: the sample, where
the sides look from, where their sheets are, and what their images show of it. The truth of
a twin that runs, from its hub: `TwinHub.world`, of which `embryos` is the sample as it has
become and `light.count()` all light that reached it, and `TwinHub.faults`. `LightAccount` reads
the same of twins that are no more. And the stamp that frames carry.
"""

from devices.twin.faults import AxisFault, CameraFault, Faults
from devices.twin.geometry import VIEWS, SheetGeometry, View, sheets
from devices.twin.hub import TwinHub
from devices.twin.light import LightCount
from devices.twin.light_log import LightAccount
from devices.twin.phantom import Embryo, Nucleus, Phantom
from devices.twin.spim import Side
from devices.twin.stamp import FrameStamp
from devices.twin.truth import labels_from_below, labels_in_sheet

__all__ = [
    "VIEWS",
    "AxisFault",
    "CameraFault",
    "Embryo",
    "Faults",
    "FrameStamp",
    "LightAccount",
    "LightCount",
    "Nucleus",
    "Phantom",
    "SheetGeometry",
    "Side",
    "TwinHub",
    "View",
    "labels_from_below",
    "labels_in_sheet",
    "sheets",
]
