"""Settings: from a file, then the environment, then the command line; later ones win.

They are read once, by the two scripts, and handed in.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, AnyHttpUrl, Field, PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

__all__ = ["CopilotSettings", "DeviceLayerSettings", "SettingsError"]

Port = Annotated[int, Field(ge=1, le=65535)]
# It goes into file and document metadata, and is a uid of the lineage.
SessionId = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._:@+-]{0,127}$")]


def _loopback(host: str) -> str:
    if host != "localhost" and not (host.startswith("127.") and _is_address(host)):
        raise ValueError(
            "has to be a loopback address such as 127.0.0.1, since whoever reaches it may move "
            "the microscope; from another machine come through a tunnel (ssh -L)"
        )
    return host


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


class SettingsError(ValueError):
    """A setting is not what it has to be; names it, and where it may come from."""


class _Settings(BaseSettings):
    """Read ``gently.yml`` here, or the file that ``GENTLY_SETTINGS`` names; then ``GENTLY_…``."""

    model_config = SettingsConfigDict(env_prefix="GENTLY_", extra="ignore", frozen=True)

    _said: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **given: Any) -> None:
        arguments = {key: value for key, value in given.items() if value is not None}
        try:
            super().__init__(**arguments)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors()
            )
            raise SettingsError(
                f"{problems} (from {_file()}, GENTLY_… in the environment, or the command line)"
            ) from error
        # As `settings_customise_sources` has it: later ones win.
        self._said = {
            **dict.fromkeys(_from_file(), str(_file().absolute())),
            **{name: f"GENTLY_{name.upper()}" for name in EnvSettingsSource(type(self))()},
            **dict.fromkeys(arguments, "command line"),
        }

    @property
    def sources(self) -> dict[str, str]:
        """Where each setting comes from.

        ``"default"``, the path of a file, the name of an environment variable, or
        ``"command line"``.
        """
        return {name: self._said.get(name, "default") for name in type(self).model_fields}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, InitSettingsSource(settings_cls, _from_file())


class DeviceLayerSettings(_Settings):
    """What `start_device_layer.py` needs to know.

    Parameters
    ----------
    config
        The instrument: the name of one in the box, or the path of a YAML file.
    storage
        The folder under which ``volumes/`` is made.
    host, port
        Where HTTP is offered; a loopback address, because keys would cross a network unencrypted:
        from another machine come through a tunnel.
    queue_after_restart
        Whether a queue that ran when the device layer died waits for somebody to start it,
        or goes on with the next item.
    quota_per_client
        How many items one client may have that wait, run or are paused.
    sam_model, sam_checkpoint, sam_sha256, sam_device
        Which Segment Anything the detector `sam` is, the file of its weights, what the hash of that
        has to be (None accepts any), and where it computes.
    detector_memory_mb
        What the detectors' process may take; more ends it.
    """

    config: str = "twin"
    storage: Path = Path("gently-data")
    host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    port: Port = 60610
    queue_after_restart: Literal["wait", "continue"] = "wait"
    quota_per_client: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    sam_model: Literal["tiny", "vit_b", "vit_l", "vit_h"] = "vit_b"
    sam_checkpoint: Path | None = None
    sam_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    sam_device: Literal["cpu", "cuda", "mps"] = "cpu"
    detector_memory_mb: Annotated[int, Field(ge=500)] = 4_000


class CopilotSettings(_Settings):
    """What `launch_copilot.py` needs to know.

    Parameters
    ----------
    url
        Of the device layer.
    storage
        The folder with ``volumes/``; None asks the device layer.
    viz_port
        Where the viz server listens, on loopback; 0 takes any free one.
    viz
        Whether it is started.
    session
        The id of the session to begin or go on with; None makes one up, or with one command
        takes the device layer's own.
    title
        What the session is for.
    """

    url: AnyHttpUrl = AnyHttpUrl("http://127.0.0.1:60610")
    storage: Path | None = None
    viz_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    viz: bool = True
    session: SessionId | None = None
    title: str = ""


def _file() -> Path:
    return Path(os.environ.get("GENTLY_SETTINGS", "gently.yml"))


def _from_file() -> dict[str, Any]:
    """Return what the file says; one file serves both scripts, and need not be there."""
    path = _file()
    if not path.exists() and "GENTLY_SETTINGS" not in os.environ:
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}); GENTLY_SETTINGS names it"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} has to be a list of `name: value`, one a line")
    known = {name for kind in (DeviceLayerSettings, CopilotSettings) for name in kind.model_fields}
    if unknown := sorted(str(name) for name in found.keys() - known):
        raise SettingsError(
            f"{path}: {', '.join(unknown)} is no setting; known are: {', '.join(sorted(known))}"
        )
    return found
