"""What keeps a request to the device layer from being done; each text names its remedy."""

# These are named by the fact, as the operator meets it.
# ruff: noqa: N818

from collections.abc import Iterable

from gently.wire.replies import FieldError, ItemState


class ClientError(Exception):
    """Anything that keeps a request to the device layer from being done."""


class DeviceLayerUnreachable(ClientError):
    """Nothing answers at the device layer's address, or not in time.

    Attributes
    ----------
    url : str
        The address that was tried.
    may_be_heard : bool
        Whether somebody was there: then the request may have had its effect all the same.
    """

    def __init__(self, url: str, cause: str, *, may_be_heard: bool = False) -> None:
        super().__init__(
            f"no device layer at {url}: {cause}. "
            "Start it with: python start_device_layer.py (or name another address with --url)"
        )
        self.url = url
        self.may_be_heard = may_be_heard


class DeviceLayerFault(ClientError):
    """The device layer, or another program at its address, answered with nonsense or a 5xx."""


class Refused(ClientError):
    """The device layer understood the request and says no.

    Attributes
    ----------
    msg : str
        The device layer's own sentence.
    errors : tuple of FieldError
        What is wrong with each field, where the refusal is about fields.
    status_code : int
        HTTP status; the Bluesky routes refuse with 200.
    """

    def __init__(self, msg: str, errors: Iterable[FieldError] = (), status_code: int = 200) -> None:
        self.msg = msg
        self.errors = tuple(errors)
        self.status_code = status_code
        details = [f"{e.field}: {e.message}" for e in self.errors if e.message not in msg]
        super().__init__("\n  ".join([msg, *details]))


class KeyRefused(Refused):
    """The device layer does not know who asks; the text says where the key came from."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg, status_code=401)


class ScopeTooSmall(Refused):
    """The key is known and not good for this; the text says which scope is needed."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg, status_code=403)


class WrongArguments(ClientError):
    """A plan cannot be called like this; found by its schema, before anything was sent.

    Attributes
    ----------
    plan : str
        Its name.
    errors : tuple of FieldError
        What is wrong with each argument, and what would be right.
    """

    def __init__(self, plan: str, errors: Iterable[FieldError], takes: str) -> None:
        self.plan = plan
        self.errors = tuple(errors)
        wrong = [f"{error.field}: {error.message}" for error in self.errors]
        super().__init__("\n  ".join([f"{plan} cannot be called like this", *wrong, takes]))


class StillRunning(ClientError):
    """A plan has not ended in the time that a wait was given; it goes on.

    Attributes
    ----------
    state : ItemState
        Where it stands.
    """

    def __init__(self, state: ItemState, timeout_s: float) -> None:
        uid = state.item.item_uid
        super().__init__(
            f"{state.item.name} is still {state.state} after {timeout_s:g} s, and goes on as item "
            f"{uid}. Wait again with wait({uid!r}, timeout_s=...), or end it with stop()"
        )
        self.state = state


class NotCompleted(ClientError):
    """A plan has ended, but not by coming to its end.

    Attributes
    ----------
    state : ItemState
        How it ended, and why.
    """

    def __init__(self, state: ItemState) -> None:
        reason = state.result.msg if state.result is not None else ""
        super().__init__(
            f"{state.item.name} is {state.state}: "
            f"{reason or 'the device layer gave no reason; its log has it'} "
            f"(item {state.item.item_uid})"
        )
        self.state = state


class QuietTooLong(ClientError):
    """Nothing of the kind that an event stream is for has happened in the time given."""


class ControlLost(ClientError):
    """The client had control of the microscope and has it no more; nothing was sent."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"control of the microscope is lost: {why}. Nothing was sent; `lease()` tells who has "
            "it, `control()` takes it again"
        )
