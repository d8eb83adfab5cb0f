"""What can go wrong with a device: each error states the fact, the cause and the remedy."""

__all__ = [
    "AcquisitionError",
    "CoreError",
    "CoreTimeoutError",
    "DeviceError",
    "DoseError",
    "InstrumentError",
    "LimitError",
    "StoppedError",
]


class DeviceError(Exception):
    """Anything a device refuses or fails to do."""


class CoreError(DeviceError):
    """MMCore or an adapter refused a call; names the device label and the core's own words."""


class CoreTimeoutError(DeviceError):
    """The hardware did not answer, or did not come to rest, in the time it was given."""


class StoppedError(DeviceError):
    """The action was ended, or not begun, because a stop was asked for."""


class AcquisitionError(DeviceError):
    """Frames were lost, repeated, of the wrong shape, or did not come at all."""


class DoseError(DeviceError):
    """A volume is not begun, because it would give an embryo more light than it may have."""


class InstrumentError(DeviceError):
    """The instrument file does not describe a microscope that can be driven safely."""


class LimitError(DeviceError, ValueError):
    """A value outside the limits, or one that is no finite number.

    Parameters
    ----------
    message
        The whole sentence: device, axis, asked value, units and limits.
    field
        The axis or parameter at fault, such as ``"x"`` or ``"exposure_ms"``.
    """

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field
