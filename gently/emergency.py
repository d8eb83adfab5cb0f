"""Stop the microscope with nothing but its address: no copilot, no hardware libraries."""

import sys
from typing import Final, TextIO

from gently.client import DeviceLayerClient
from gently.wire import ClientError, DeviceLayerUnreachable, Refused

__all__ = ["emergency_stop"]

SAFE: Final = 0
NOT_SAFE: Final = 1
NOBODY_THERE: Final = 3

BY_HAND: Final = (
    "If anything moves or a light is on, use the emergency switch of the controller, or cut the "
    "power of the stages and the lasers."
)


def emergency_stop(url: str, out: TextIO | None = None) -> int:
    """Stop every motion, turn the light off, end the plan, and print what was read back.

    Returns
    -------
    int
        0 only if every device is known to be at rest; 1 if one is not, or if the device
        layer has not stopped anything; 3 if no device layer answers.
    """
    out = out or sys.stdout
    try:
        with DeviceLayerClient(url) as device_layer:
            report = device_layer.stop("emergency stop on the command line")
    except DeviceLayerUnreachable as error:
        known = "It is not known what was stopped" if error.may_be_heard else "NOTHING WAS STOPPED"
        print(f"{known}: {error}\n{BY_HAND}", file=out)
        return NOBODY_THERE
    except Refused as error:
        print(f"NOTHING WAS STOPPED: {error}\n{BY_HAND}", file=out)
        return NOT_SAFE
    except ClientError as error:
        print(f"It is not known what was stopped: {error}\n{BY_HAND}", file=out)
        return NOT_SAFE
    print("\n".join(report.sentences()), file=out)
    if report.success:
        return SAFE
    print(BY_HAND, file=out)
    return NOT_SAFE
