"""``gently-store``: look after a folder of volumes from a terminal, with no device layer needed.

Exit codes: 0, it was done and all is well; 1, something asked for is not there, damaged or could
not be done; 2, the command line is wrong.
"""

import argparse
import getpass
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, get_args

from pydantic import JsonValue
from tqdm import tqdm

from storage.errors import BrokenVolumeError, StorageError
from storage.export import export_imagej, export_ome_zarr, export_series
from storage.inventory import BrokenFile, Refreshed
from storage.store import VolumeStore
from storage.values import Status, VolumeRecord

_PAGE: Final = 1000
_EXPORTS: Final = {"ome-zarr": export_ome_zarr, "imagej": export_imagej}


class _Bar(tqdm):
    """A bar that needs no thread to watch over it."""

    monitor_interval = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command found: for programs, for people, and whether all is well."""

    value: JsonValue
    text: Iterable[str]
    good: bool = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    try:
        with VolumeStore(options.store) as store:
            answer: Answer = options.run(store, options)
            if options.json:
                print(json.dumps(answer.value, indent=1))
            else:
                for line in answer.text:
                    print(line)
    except KeyboardInterrupt:
        return 130
    except (StorageError, OSError) as error:
        print(f"gently-store: {error}", file=sys.stderr)
        return 1
    return 0 if answer.good else 1


# ---------------------------------------------------------------------- commands


def _list(store: VolumeStore, options: argparse.Namespace) -> Answer:
    with _bar("reading volumes") as progress:
        store.refresh(progress)
    records = store.query(
        session=options.session,
        embryo=options.embryo,
        acquisition=options.acquisition,
        plan=options.plan,
        tag=options.tag,
        since=options.since,
        until=options.until,
        status=options.status,
        limit=options.limit,
        after=options.after,
    )
    broken = store.broken()
    return Answer(
        value={
            "volumes": [record.metadata() for record in records],
            "broken": _broken_value(broken),
        },
        text=[*map(_line, records), *_broken_text(broken)],
    )


def _show(store: VolumeStore, options: argparse.Namespace) -> Answer:
    record = store.record(options.uid)
    value: dict[str, JsonValue] = {**record.metadata(), "metadata": record.spec.metadata}
    return Answer(value=value, text=_table(value))


def _verify(store: VolumeStore, options: argparse.Namespace) -> Answer:
    problems: list[BrokenFile] = []
    verified = 0
    if options.all:
        problems += store.broken()
        uids: Iterable[str] = _every_uid(store)
        total = store.stats().volumes
    else:
        uids, total = options.uid, len(options.uid)
    with _bar("verifying") as progress:
        for done, uid in enumerate(uids, start=1):
            try:
                store.verify(uid)
                verified += 1
            except BrokenVolumeError as error:
                problems.append(BrokenFile(path=error.path, reason=error.reason))
            progress(done, max(done, total))
    return Answer(
        value={"verified": verified, "broken": _broken_value(problems)},
        text=[*_broken_text(problems), f"{verified} as they were written, {len(problems)} broken"],
        good=not problems,
    )


def _rebuild(store: VolumeStore, _: argparse.Namespace) -> Answer:
    cpu = time.process_time()
    with _bar("reading volumes") as progress:
        found = store.rebuild(progress)
    busy = (time.process_time() - cpu) / found.seconds
    told = f"{found.files} files in {found.seconds:.1f} s: {_rate(found):.0f}/s"
    told += f", processor {busy:.0%} busy; {len(found.broken)} broken"
    return Answer(
        value={
            "files": found.files,
            "seconds": round(found.seconds, 3),
            "files_per_s": round(_rate(found), 1),
            "processor_busy": round(busy, 3),
            "broken": _broken_value(found.broken),
        },
        text=[*_broken_text(found.broken), told],
    )


def _export(store: VolumeStore, options: argparse.Namespace) -> Answer:
    if options.acquisition:
        return _each([options.acquisition], lambda uid: _export_series(store, uid, options.to))

    def copy(uid: str) -> str:
        with store.open(uid) as volume, _bar(f"copying {uid}", unit="part") as progress:
            return f"is copied to {_EXPORTS[options.form](volume, options.to, progress)}"

    return _each(options.uid, copy)


def _export_series(store: VolumeStore, uid: str, folder: Path) -> str:
    with _bar(f"copying {uid}", unit="volume") as progress:
        return f"is copied to {export_series(store.series(uid), store.open, folder, progress)}"


def _trash(store: VolumeStore, options: argparse.Namespace) -> Answer:
    by = options.by or getpass.getuser()
    return _each(options.uid, lambda uid: store.trash(uid, reason=options.reason, by=by).told())


def _restore(store: VolumeStore, options: argparse.Namespace) -> Answer:
    return _each(options.uid, lambda uid: f"is {store.restore(uid)} again")


def _empty_trash(store: VolumeStore, options: argparse.Namespace) -> Answer:
    emptied = store.empty_trash(timedelta(days=options.older_than))
    return Answer(
        value={"deleted": [note.model_dump(mode="json") for note in emptied]},
        text=[*(f"{note.uid} {note.told()}" for note in emptied), f"{len(emptied)} deleted"],
    )


def _stats(store: VolumeStore, _: argparse.Namespace) -> Answer:
    with _bar("reading volumes") as progress:
        store.refresh(progress)
    stats, free = store.stats(), shutil.disk_usage(store.root).free
    value: dict[str, JsonValue] = {
        "folder": str(store.root),
        "volumes": stats.volumes,
        "bytes": stats.bytes,
        "incomplete": stats.incomplete,
        "sessions": stats.sessions,
        "oldest": _iso(stats.oldest),
        "newest": _iso(stats.newest),
        "trashed": stats.trashed,
        "trashed_bytes": stats.trashed_bytes,
        "broken": stats.broken,
        "bytes_free": free,
    }
    shown = {key: _size(number) for key, number in value.items() if "bytes" in key}
    return Answer(value=value, text=_table(value | shown))


# ---------------------------------------------------------------------- beneath


def _each(uids: Sequence[str], act: Callable[[str], str]) -> Answer:
    """Act on each UID; one that fails does not stop the rest."""
    done: dict[str, JsonValue] = {}
    failed: dict[str, JsonValue] = {}
    for uid in uids:
        try:
            done[uid] = act(uid)
        except StorageError as error:
            failed[uid] = str(error)
    text = [f"{uid} {told}" for uid, told in done.items()]
    text += [f"not done: {told}" for told in failed.values()]
    return Answer(value={"done": done, "failed": failed}, text=text, good=not failed)


def _every_uid(store: VolumeStore) -> Iterator[str]:
    after = None
    while page := store.query(limit=_PAGE, after=after):
        yield from (record.uid for record in page)
        after = page[-1].uid


@contextmanager
def _bar(what: str, unit: str = "file") -> Iterator[Callable[[int, int], None]]:
    """Show progress where a person looks on, and leave no trace of it."""
    with _Bar(desc=what, unit=unit, file=sys.stderr, leave=False, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def _line(record: VolumeRecord) -> str:
    spec = record.spec
    return (
        f"{spec.uid}  {record.created:%Y-%m-%d %H:%M:%S}  {'x'.join(map(str, spec.shape)):>14} "
        f"{spec.dtype:<7} {_size(spec.volume_bytes):>9}  {spec.plan_name}  {spec.session_id}"
    )


def _table(value: Mapping[str, JsonValue]) -> list[str]:
    width = max(map(len, value))
    return [
        f"{key:<{width}}  {item if isinstance(item, str) else json.dumps(item)}"
        for key, item in value.items()
    ]


def _broken_value(broken: Iterable[BrokenFile]) -> list[JsonValue]:
    return [{"path": str(file.path), "reason": file.reason} for file in broken]


def _broken_text(broken: Iterable[BrokenFile]) -> list[str]:
    return [f"broken: {file.path}: {file.reason}" for file in broken]


def _iso(when: datetime | None) -> str | None:
    return when.isoformat(timespec="seconds") if when else None


def _rate(found: Refreshed) -> float:
    return found.files / found.seconds


def _size(number: JsonValue) -> str:
    size = float(number) if isinstance(number, int) else 0.0
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _folder(text: str) -> Path:
    folder = Path(text).expanduser()
    if not (folder / "volumes").is_dir():
        raise argparse.ArgumentTypeError(f"{folder} is no store: it has no folder 'volumes'")
    return folder


def _time(text: str) -> datetime:
    try:
        time_given = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no ISO time, like 2026-11-05T14:30"
        ) from error
    return time_given if time_given.tzinfo else time_given.astimezone(UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gently-store",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., Answer], what: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what, description=what)
        given = os.environ.get("GENTLY_STORAGE")
        added.add_argument(
            "--store",
            metavar="DIR",
            type=_folder,
            default=given,
            required=given is None,
            help="the storage folder (default: what GENTLY_STORAGE says)",
        )
        added.add_argument("--json", action="store_true", help="print one JSON value")
        added.set_defaults(run=run)
        return added

    _add_list(command("list", _list, "list volumes, the newest first"))
    show = command("show", _show, "tell all that a volume's file says of itself")
    show.add_argument("uid", metavar="UID")
    verify = command("verify", _verify, "read pixels back and match them with their checksums")
    which = verify.add_mutually_exclusive_group(required=True)
    which.add_argument("uid", metavar="UID", nargs="*", default=[])
    which.add_argument("--all", action="store_true", help="every volume")
    command("rebuild", _rebuild, "make the index again, from the files alone")
    export = command("export", _export, "copy volumes for other programs")
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument("uid", metavar="UID", nargs="*", default=[])
    what.add_argument("--acquisition", metavar="UID", help="its volumes, as one OME-Zarr")
    export.add_argument("--to", metavar="DIR", type=Path, required=True, help="made if need be")
    export.add_argument(
        "--form",
        choices=_EXPORTS,
        default="ome-zarr",
        help="a folder of OME-Zarr with coarser levels, or a stack for ImageJ and Fiji",
    )
    trash = command("trash", _trash, "put volumes into the trash")
    trash.add_argument("uid", metavar="UID", nargs="+")
    trash.add_argument("--reason", metavar="WHY", required=True)
    trash.add_argument("--by", metavar="NAME", help="who does it (default: the user)")
    restore = command("restore", _restore, "take volumes out of the trash")
    restore.add_argument("uid", metavar="UID", nargs="+")
    empty = command("empty-trash", _empty_trash, "delete for good what lies in the trash")
    empty.add_argument("--older-than", metavar="DAYS", type=float, required=True)
    command("stats", _stats, "tell how much is in the store")
    return parser


def _add_list(parser: argparse.ArgumentParser) -> None:
    for name in ("session", "embryo", "acquisition", "plan", "tag"):
        parser.add_argument(f"--{name}", metavar=name.upper())
    parser.add_argument("--since", metavar="TIME", type=_time, help="ISO; local without a zone")
    parser.add_argument("--until", metavar="TIME", type=_time)
    parser.add_argument("--status", choices=get_args(Status), default="complete")
    parser.add_argument("-n", "--limit", metavar="N", type=int, default=20, help="default: 20")
    parser.add_argument("--after", metavar="UID", help="the next page: the last UID of this one")


if __name__ == "__main__":
    sys.exit(main())
