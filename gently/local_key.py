"""The key of this user on this machine: made once, and found by all of their programs.

``GENTLY_API_KEY`` gives it; otherwise it is in a file that only its owner can read. Who can
read that file may do everything, as whoever sits at the microscope may. ``python -m
gently.local_key`` prints the key, for a program that cannot find it by itself.
"""

import getpass
import os
import secrets
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import platformdirs

__all__ = ["LocalKeyError", "find", "obtain", "owner", "path", "source"]

KEY: Final = "GENTLY_API_KEY"
FILE: Final = "GENTLY_KEY_FILE"
LEAST_LENGTH: Final = 16
_BYTES: Final = 36
_BEING_WRITTEN_S: Final = 1.0
_HAS_MODES: Final = os.name == "posix"
"""Elsewhere the folders of a user are closed to others by themselves."""


class LocalKeyError(OSError):
    """The key cannot be had, or is none; never says what it is."""


def path() -> Path:
    """Return where the key is kept: the file that ``GENTLY_KEY_FILE`` names, or the user's own."""
    named = os.environ.get(FILE)
    if named:
        return Path(named)
    return platformdirs.user_config_path("gently", appauthor=False) / "api-key"


def source() -> str:
    """Return where the key comes from, in words."""
    return KEY if os.environ.get(KEY) else str(path())


def owner() -> str:
    """Return the name of the person whose key it is: that by which they are logged in."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # which of them depends on the version of Python
        return "operator"


def find() -> str | None:
    """Return the key; None if there is none yet.

    Raises
    ------
    LocalKeyError
        If it cannot be read, can be read by others, or is none.
    """
    if given := os.environ.get(KEY):
        return _checked(given, KEY)
    file = path()
    try:
        _refuse_if_others_can_read(file)
        return _checked(_read(file), str(file))
    except FileNotFoundError:
        return None
    except LocalKeyError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise LocalKeyError(
            f"the key in {file} cannot be read ({error}); {FILE} names another file"
        ) from error


def obtain() -> str:
    """Return the key, made if there is none yet; raises `LocalKeyError`."""
    if (key := find()) is None:
        _make(path())
        key = find()
    if key is None:
        raise LocalKeyError(f"{path()} is a link to nowhere, or was removed; {FILE} names another")
    return key


def _make(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):  # another program has just made it
            number = os.open(
                file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR
            )
            with os.fdopen(number, "w", encoding="ascii") as opened:
                opened.write(f"{secrets.token_hex(_BYTES)}\n")
    except OSError as error:
        raise LocalKeyError(
            f"no key can be kept in {file} ({error.strerror or error}); name another file with "
            f"{FILE}, or give the key itself with {KEY}"
        ) from error


def _read(file: Path) -> str:
    """Return what is in the file; one that is just being made is empty for a moment."""
    deadline = time.monotonic() + _BEING_WRITTEN_S
    while not (text := file.read_text(encoding="ascii").strip()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return text


def _refuse_if_others_can_read(file: Path) -> None:
    if _HAS_MODES and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise LocalKeyError(
            f"the key in {file} can be read or written by others: `chmod 600` it if nobody has, "
            "or delete it, and the device layer makes a new one when it is started"
        )


def _checked(key: str, where: str) -> str:
    if len(key) < LEAST_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
        raise LocalKeyError(
            f"the key in {where} has to be at least {LEAST_LENGTH} letters, digits or signs, "
            "without spaces"
        )
    return key


def main() -> int:
    """Print the key; return the exit code."""
    try:
        key = find()
    except LocalKeyError as error:
        print(f"gently.local_key: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if key is None:
        print(  # noqa: T201
            f"gently.local_key: there is no key in {path()} yet; the device layer makes it when "
            "it is started",
            file=sys.stderr,
        )
        return 1
    print(key)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
