"""How the device layer is spoken to: plans, answers and errors as values; connections.

`gently.client` is who speaks; what is said, and what can go wrong, is here. The only
package that imports an HTTP library.
"""

from gently.wire.control import AsyncControl, Control, Taking
from gently.wire.errors import (
    ClientError,
    ControlLost,
    DeviceLayerFault,
    DeviceLayerUnreachable,
    NotCompleted,
    QuietTooLong,
    Refused,
    StillRunning,
    WrongArguments,
)
from gently.wire.events import AsyncEventStream, EventStream, Following
from gently.wire.flows import Flow, Pause, Request, command, get, granted, read, surely, watch
from gently.wire.parameters import Parameter
from gently.wire.plans import Plan, PlanCall, Plans, did_you_mean
from gently.wire.replies import (
    Device,
    DeviceReading,
    Event,
    FieldError,
    HistoryItem,
    Item,
    ItemState,
    Lease,
    Progress,
    Queue,
    Reading,
    Reply,
    Result,
    ServerSettings,
    Status,
    StoppedDevice,
    StopReport,
    Volume,
)
from gently.wire.transport import DEFAULT_URL, AsyncTransport, Transport

__all__ = [
    "DEFAULT_URL",
    "AsyncControl",
    "AsyncEventStream",
    "AsyncTransport",
    "ClientError",
    "Control",
    "ControlLost",
    "Device",
    "DeviceLayerFault",
    "DeviceLayerUnreachable",
    "DeviceReading",
    "Event",
    "EventStream",
    "FieldError",
    "Flow",
    "Following",
    "HistoryItem",
    "Item",
    "ItemState",
    "Lease",
    "NotCompleted",
    "Parameter",
    "Pause",
    "Plan",
    "PlanCall",
    "Plans",
    "Progress",
    "Queue",
    "QuietTooLong",
    "Reading",
    "Refused",
    "Reply",
    "Request",
    "Result",
    "ServerSettings",
    "Status",
    "StillRunning",
    "StopReport",
    "StoppedDevice",
    "Taking",
    "Transport",
    "Volume",
    "WrongArguments",
    "command",
    "did_you_mean",
    "get",
    "granted",
    "read",
    "surely",
    "watch",
]
