"""What both ends of the connection to the detectors' process agree on."""

from typing import Any, Final

__all__ = ["CLOSED", "OUT_OF_MEMORY"]

CLOSED: Final[dict[str, Any]] = {
    "allow_pickle": False,
    "allow_public_attrs": False,
    "allow_safe_attrs": False,
    "allow_setattr": False,
    "allow_delattr": False,
    "include_local_traceback": False,
    "import_custom_exceptions": False,
    "instantiate_custom_exceptions": False,
    "sync_request_timeout": None,
}
"""RPyC's settings: the other side may call what is exposed, and do nothing else."""

OUT_OF_MEMORY: Final = 3
"""The exit status of a process that was refused memory."""
