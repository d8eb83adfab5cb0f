"""Routes of our own about the microscope as it is now."""

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gently.api.models import Answer, Json, Nothing, OwnBody
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope

__all__ = ["INSTRUMENT_ROUTES"]


class DevicePath(OwnBody):
    """Which device."""

    name: str


class Reading(Answer):
    """What a device was read as."""

    value: Json
    timestamp: float = Field(description="Seconds since 1970.")
    units: str
    age_s: float


class DeviceReadings(Answer):
    """A device as it is now."""

    name: str
    stale: bool = Field(
        description="It did not answer: these are the last readings that there were."
    )
    error: str | None = Field(description="Why it did not.")
    readings: dict[str, Reading]


class SettingAnswer(Answer):
    """A setting, and who has set it."""

    value: Json
    source: str = Field(
        description="`default`, the path of a file, an environment variable, or `command line`."
    )


class SettingsAnswer(Answer):
    """What this device layer works with."""

    storage: str = Field(description="An absolute path on the machine of the device layer.")
    instrument: str
    session_id: str
    version: str
    mmcore: dict[str, str] = Field(description="Versions.")
    settings: dict[str, SettingAnswer] = Field(description="By name, as they were given.")


async def _read_device(call: Call[DevicePath]) -> Given:
    return await run_in_threadpool(call.layer.read_device, call.body.name)


async def _settings(call: Call[Nothing]) -> Given:
    layer = call.layer
    return {
        "storage": str(layer.store.root),
        "instrument": layer.instrument.name,
        "session_id": layer.session_id,
        "version": layer.version,
        "mmcore": layer.instrument.core.versions(),
        "settings": {
            name: {"value": value, "source": layer.settings.sources[name]}
            for name, value in layer.settings.model_dump(mode="json").items()
        },
    }


INSTRUMENT_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/devices/{name}/read",
        handler=_read_device,
        summary="Read a device now",
        scope=Scope.VIEW,
        body=DevicePath,
        answer=DeviceReadings,
        errors=(404,),
    ),
    ApiRoute(
        method="GET",
        path="/api/settings",
        handler=_settings,
        summary="Where volumes go, on which instrument, in which session; and every setting",
        scope=Scope.VIEW,
        answer=SettingsAnswer,
    ),
)
