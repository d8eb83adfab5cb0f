"""``gently-audit``: reads an audit log, also while or after the device layer runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gently.core.operations import chain
from gently.core.operations.audit import head_beside

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command; return the exit code: 0 well, 1 not, 2 not understood."""
    given = _parser().parse_args(arguments)
    kept = chain.read_head(head_beside(given.file))
    try:
        verdict = chain.verify(given.file, *filter(None, [kept, *given.head]))
    except OSError as error:
        print(f"gently-audit: {given.file} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    missing = () if kept else (f"its head is not kept beside it, in {head_beside(given.file)}",)
    for note in verdict.notes:
        print(f"note: {note}")
    for finding in (*missing, *verdict.findings):
        print(f"FOUND: {finding}")
    is_well = verdict.ok and not missing
    print(f"{verdict.head.count} entries, {'as written' if is_well else 'NOT as written'}")
    print(f"head {verdict.head}")
    return 0 if is_well else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gently-audit",
        description="Look into the audit log of a device layer.",
        epilog="Exit codes: 0 as written, 1 something was found, 2 it cannot be read.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser("verify", help="tell whether a log is what was written")
    verify.add_argument("file", type=Path, metavar="FILE", help="{storage}/audit.ndjson")
    verify.add_argument(
        "--head",
        type=_head,
        action="append",
        default=[],
        metavar="COUNT:HASH",
        help="a head noted earlier, which the log has to contain",
    )
    return parser


def _head(text: str) -> chain.Head:
    try:
        return chain.Head.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
