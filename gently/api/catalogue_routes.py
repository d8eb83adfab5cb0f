"""Bluesky's routes about what there is: plans, devices and permissions."""

from typing import Any

from pydantic import Field

from gently.api.describe import (
    DeviceDescription,
    PlanDescription,
    allowed_devices,
    allowed_plans,
)
from gently.api.models import Body, Done, Json, Nothing
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.errors import WrongStateError

__all__ = ["CATALOGUE_ROUTES"]

_PERMISSIONS = {
    "user_groups": {
        "primary": {
            "allowed_plans": [":.*"],
            "forbidden_plans": [None],
            "allowed_devices": [":.*"],
            "forbidden_devices": [None],
            "allowed_functions": [None],
            "forbidden_functions": [":.*"],
        }
    }
}
"""In the notation of Bluesky's queue server: every plan and device, and no function."""


class PermissionsBody(Body):
    """In the notation of Bluesky's queue server."""

    user_group_permissions: dict[str, Any]


class PermissionsAnswer(Done):
    """What clients may ask for."""

    user_group_permissions: dict[str, Json] = Field(
        description="Every plan and device, no function."
    )


class PlansAllowed(Done):
    """The plans that this instrument can run."""

    plans_allowed: dict[str, PlanDescription]
    plans_allowed_uid: str
    plans_unavailable: dict[str, str] = Field(
        description="The plans that this instrument cannot run, and why."
    )


class PlansExisting(Done):
    """The plans that this instrument can run."""

    plans_existing: dict[str, PlanDescription]
    plans_existing_uid: str


class DevicesAllowed(Done):
    """The devices."""

    devices_allowed: dict[str, DeviceDescription]
    devices_allowed_uid: str


class DevicesExisting(Done):
    """The devices."""

    devices_existing: dict[str, DeviceDescription]
    devices_existing_uid: str


async def _plans_allowed(call: Call[Nothing]) -> Given:
    return {
        "plans_allowed": allowed_plans(call.layer.catalogue),
        "plans_allowed_uid": call.layer.catalogue_uid,
        "plans_unavailable": call.layer.catalogue.unavailable,
    }


async def _devices_allowed(call: Call[Nothing]) -> Given:
    return {
        "devices_allowed": allowed_devices(call.layer.devices),
        "devices_allowed_uid": call.layer.catalogue_uid,
    }


async def _plans_existing(call: Call[Nothing]) -> Given:
    return {
        "plans_existing": allowed_plans(call.layer.catalogue),
        "plans_existing_uid": call.layer.catalogue_uid,
    }


async def _devices_existing(call: Call[Nothing]) -> Given:
    return {
        "devices_existing": allowed_devices(call.layer.devices),
        "devices_existing_uid": call.layer.catalogue_uid,
    }


async def _permissions_get(_: Call[Nothing]) -> Given:
    return {"user_group_permissions": _PERMISSIONS}


async def _permissions_reload(_: Call[Nothing]) -> Given:
    return {"msg": "Nothing has changed: the permissions are fixed."}


async def _permissions_set(call: Call[PermissionsBody]) -> Given:
    if call.body.user_group_permissions != _PERMISSIONS:
        raise WrongStateError(
            "Refused: the permissions are fixed. Every client may ask for every plan that the "
            "instrument can run, within the limits of its file, and for nothing else."
        )
    return {}


def _looks(path: str, **what: Any) -> ApiRoute:
    return ApiRoute(method="GET", path=path, scope=Scope.VIEW, dialect=True, **what)


def _permits(path: str, **what: Any) -> ApiRoute:
    return ApiRoute(
        method="POST",
        path=path,
        scope=Scope.ADMIN,
        answer=Done,
        locked_by="queue",
        commands=True,
        dialect=True,
        **what,
    )


CATALOGUE_ROUTES = (
    _looks(
        "/api/plans/allowed",
        handler=_plans_allowed,
        summary="The plans that this instrument can run, and the schemas of their arguments",
        answer=PlansAllowed,
    ),
    _looks(
        "/api/devices/allowed",
        handler=_devices_allowed,
        summary="The devices, and the limits of their axes",
        answer=DevicesAllowed,
    ),
    _looks(
        "/api/plans/existing",
        handler=_plans_existing,
        summary="The same plans as those allowed",
        answer=PlansExisting,
    ),
    _looks(
        "/api/devices/existing",
        handler=_devices_existing,
        summary="The same devices as those allowed",
        answer=DevicesExisting,
    ),
    _looks(
        "/api/permissions/get",
        handler=_permissions_get,
        summary="What clients may ask for, in the queue server's notation",
        answer=PermissionsAnswer,
    ),
    _permits(
        "/api/permissions/reload",
        handler=_permissions_reload,
        summary="Read the permissions again, which are fixed",
    ),
    _permits(
        "/api/permissions/set",
        handler=_permissions_set,
        summary="Refused, unless the permissions are what they are",
        body=PermissionsBody,
    ),
)
