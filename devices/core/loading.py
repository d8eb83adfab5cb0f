"""Loading a Micro-Manager configuration: all of it works and the light is off, or an error."""

import importlib.metadata
import importlib.util
import logging
from pathlib import Path

import mm_test_adapters
from pymmcore_plus import CMMCorePlus, DeviceInitializationState, DeviceType
from pymmcore_plus.experimental.unicore import UniMMCore

from devices.core.calls import translated
from devices.core.python import HubAwareCore
from devices.errors import CoreError, InstrumentError

__all__ = ["end_sequence", "kind", "labels", "load", "unload"]

LOGGER = logging.getLogger(__name__)


def load(config: Path, *, adapters: Path | None, buffer_mb: int) -> UniMMCore:
    """Return MMCore with every device of `config`; see `Core`."""
    _silence_library_logging()
    _check_versions(adapters)
    folder = str(adapters or mm_test_adapters.device_adapter_path())
    mmc = HubAwareCore(mm_path=folder, adapter_paths=[folder])
    try:
        _load(mmc, config if config.exists() else Path(folder) / config)
        # The light is switched by our shutter device alone, so that "off" is always deliberate.
        mmc.setAutoShutter(False)
        _put_out_the_light(mmc)
        mmc.setCircularBufferMemoryFootprint(buffer_mb)
    except BaseException:
        unload(mmc)
        raise
    return mmc


def unload(mmc: UniMMCore) -> None:
    """Put out the light and unload every device."""
    # MMCore's C++ callback thread, alive at interpreter exit, aborts the process: take it
    # away through the base class (pymmcore-plus forbids the method) before unloading.
    super(CMMCorePlus, mmc).registerCallback(None)
    _put_out_the_light(mmc)
    # MMCore refuses to unload a camera that still takes a sequence.
    for label in labels(mmc):
        if kind(mmc, label) == "Camera":
            end_sequence(mmc, label)
    mmc.unloadAllDevices()


def labels(mmc: UniMMCore) -> tuple[str, ...]:
    """Return the labels of all loaded devices."""
    return tuple(str(label) for label in mmc.getLoadedDevices() if label != "Core")


def kind(mmc: UniMMCore, label: str) -> str:
    """Return MMCore's device type of `label`, such as ``"XYStage"`` or ``"Camera"``."""
    return str(DeviceType(mmc.getDeviceType(label)).name).removesuffix("Device")


def end_sequence(mmc: UniMMCore, label: str) -> None:
    """End the sequence of a camera, or say in the log that it did not end."""
    try:
        translated(mmc, label, lambda mmc: mmc.stopSequenceAcquisition(label))
    except CoreError as error:
        LOGGER.warning("%s (its sequence may still run)", error)


def _load(mmc: UniMMCore, found: Path) -> None:
    try:
        mmc.loadSystemConfiguration(found)
    except Exception as error:  # an adapter may raise anything
        raise InstrumentError(
            f"Micro-Manager could not load {found}: {error}. "
            "Correct the file, switch the hardware on, or choose another --config."
        ) from error
    for label in labels(mmc):
        state = mmc.getDeviceInitializationState(label)
        if state != DeviceInitializationState.InitializedSuccessfully:
            raise InstrumentError(
                f"{label} in {found} is not initialised ({state.name}). "
                "See the log above for the adapter's own words."
            )


def _put_out_the_light(mmc: UniMMCore) -> None:
    """Close every shutter of the configuration, also one that no instrument file names."""
    for label in labels(mmc):
        if kind(mmc, label) == "Shutter":
            _close_shutter(mmc, label)


def _close_shutter(mmc: UniMMCore, label: str) -> None:
    try:
        translated(mmc, label, lambda mmc: mmc.setShutterOpen(label, False))  # noqa: FBT003
    except CoreError as error:
        LOGGER.warning("%s; check that its light is off", error)


def _silence_library_logging() -> None:
    # On import pymmcore-plus sets the root logger to DEBUG and opens a log of its own.
    logger = logging.getLogger("pymmcore-plus")
    for handler in tuple(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _check_versions(adapters: Path | None) -> None:
    if importlib.util.find_spec("pymmcore_nano"):
        raise InstrumentError(
            "pymmcore-nano is installed and would silently replace pymmcore, with which gently "
            "is tested. Run: pip uninstall pymmcore-nano"
        )
    if adapters is not None:
        return  # a Micro-Manager installation states its interface only when an adapter is loaded
    needs = importlib.metadata.version("pymmcore").split(".")[3]
    has = importlib.metadata.version("mm-test-adapters").split(".")[0]
    if needs != has:
        raise InstrumentError(
            f"pymmcore speaks device interface {needs}, mm-test-adapters {has}. "
            f'Run: pip install "mm-test-adapters=={needs}.*"'
        )
