"""Answers of the device layer as tables and sentences for the terminal; needs `rich`."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from gently.agent.commands import BUILTINS, write
from gently.agent.queue_server_client import Completed, Ended, Failed, Outcome
from gently.core.data_store import Record, Step, Trace
from gently.wire import (
    Detection,
    Device,
    DeviceReading,
    HistoryItem,
    Item,
    Lease,
    Plan,
    PlanCall,
    PreflightReport,
    Proposal,
    Queue,
    Status,
    StopReport,
    Volume,
)


def render(verb: str, answer: Any) -> RenderableType:
    """Return the answer to a builtin command as it is shown."""
    return _RENDERERS[verb](answer)


def render_outcome(outcome: Outcome, page_url: str | None) -> Text:
    """Return how a plan ended; each of its volumes with its page, if there is one."""
    match outcome:
        case Failed(item, reason):
            return Text(f"{item.name} failed: {reason}", style="red")
        case Ended(item, how, reason):
            return Text(f"{item.name} was {how}{f': {reason}' if reason else ''}", style="yellow")
        case Completed(item, result) if result.volumes:
            done = Text(f"{item.name} is done", style="green")
            facts = (fact for volume in result.volumes for fact in _facts(volume, page_url))
            return Text("\n").join([done, *facts])
        case Completed(item, result):
            value = "" if result.return_value is None else f": {result.return_value}"
            return Text(f"{item.name} is done{value}", style="green")


def _facts(volume: Volume, page_url: str | None) -> Iterator[Text]:
    yield Text(f"  uid     {volume.uid}", style="bold")
    yield Text(f"  pixels  {_pixels(volume)}")
    yield Text(f"  file    {volume.path}")
    if page_url is not None:
        yield Text(f"  page    {page_url}#{volume.uid}")


def _pixels(volume: Volume) -> str:
    return f"{' × '.join(map(str, volume.shape))} {volume.dtype}"


def _help(answer: Mapping[str, Any]) -> RenderableType:
    plans = {name: entry for name, entry in answer.items() if isinstance(entry, Plan)}
    if len(answer) == 1:
        return _plan(*plans.values()) if plans else BUILTINS[next(iter(answer))].help
    table = Table.grid(padding=(0, 2))
    for name, verb in BUILTINS.items():
        table.add_row(Text(verb.usage(name), style="bold"), Text(verb.help))
    return Group(table, Text(), _plans(plans))


def _plans(plans: Mapping[str, Plan]) -> RenderableType:
    table = Table("plan", "what it does", "parameters", box=None)
    for plan in plans.values():
        parameters = plan.parameters.values()
        names = " ".join(p.name if p.required else f"[{p.name}]" for p in parameters)
        table.add_row(Text(plan.name, style="bold"), Text(plan.description), Text(names))
    return table


def _plan(plan: Plan) -> RenderableType:
    table = Table("parameter", "what it may be", "default", "", box=None)
    for parameter in plan.parameters.values():
        default = "(required)" if parameter.required else parameter.write(parameter.default)
        table.add_row(
            Text(parameter.name, style="bold"),
            Text(parameter.wanted()),
            Text(default),
            Text(parameter.description),
        )
    return Group(Text(f"{plan.name}: {plan.description}"), table)


def _devices(devices: Mapping[str, Device]) -> RenderableType:
    table = Table("device", "class", "can be", box=None)
    for device in devices.values():
        abilities = {
            "read": device.is_readable,
            "moved": device.is_movable,
            "flown": device.is_flyable,
        }
        can = ", ".join(verb for verb, able in abilities.items() if able)
        table.add_row(Text(device.name, style="bold"), Text(device.classname), Text(can))
    return table


def _reading(reading: DeviceReading) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name, one in reading.readings.items():
        age = "" if one.age_s is None else f"{one.age_s:.1f} s ago"
        table.add_row(Text(name, style="bold"), Text(str(one)), Text(age, style="dim"))
    if reading.stale:
        return Group(table, Text("stale: the hardware has not confirmed this", style="yellow"))
    return table


def _status(status: Status) -> RenderableType:
    runs = f", item {status.running_item_uid}" if status.running_item_uid else ""
    engine = f", RunEngine {status.re_state}" if status.re_state else ""
    return Text(
        f"{status.manager_state}{engine}{runs}; "
        f"{status.items_in_queue} waiting, {status.items_in_history} ended"
    )


def _volumes(volumes: list[Volume]) -> RenderableType:
    if not volumes:
        return Text("no volumes yet")
    table = Table(
        Column("uid", no_wrap=True), "pixels", Column("session", overflow="fold"), box=None
    )
    for volume in volumes:
        table.add_row(Text(volume.uid), Text(_pixels(volume)), Text(volume.session_id))
    return table


def _lineage(trace: Trace) -> RenderableType:
    origins: list[Tree] = []
    branch: list[Tree] = []
    for step in trace.steps:
        del branch[step.depth :]
        text = _step(step, asked=step.record.uid == trace.uid)
        tree = branch[-1].add(text) if branch else Tree(text)
        if not branch:
            origins.append(tree)
        branch.append(tree)
    return Group(*origins)


def _step(step: Step, *, asked: bool) -> Text:
    record = step.record
    line = Text.assemble(f"{record.kind} ", (record.uid, "bold reverse" if asked else "bold"))
    if said := _said(record):
        line.append(f"  {said}")
    line.append(f"  {datetime.fromisoformat(record.created).astimezone():%Y-%m-%d %H:%M:%S}", "dim")
    if len(step.parents) > 1:
        line.append(f"  of {', '.join(step.parents)}", "dim")
    if record.deleted is not None:
        line.append(f"  deleted: {record.reason}", "yellow")
    elif record.missing:
        line.append(f"  MISSING: {record.path}", "red")
    return line


def _said(record: Record) -> str:
    """Return what people call it: the title, the words that were typed, the plan, its shape."""
    known = record.metadata
    if "shape" in known and isinstance(known["shape"], list):
        return f"{' × '.join(map(str, known['shape']))} {known.get('dtype', '')}".rstrip()
    words = (known.get(key) for key in ("title", "text", "name", "plan_name"))
    return str(next(filter(None, words), ""))


def _stop(report: StopReport) -> RenderableType:
    whole, *details = report.sentences()
    style = "green" if report.success else "bold red"
    return Text("\n").join([Text(whole, style=style), *map(Text, details)])


def _preflight(report: PreflightReport) -> RenderableType:
    verdict, *details = report.sentences()
    style = "green" if report.ok else "red"
    return Text("\n").join([Text(verdict, style=style), *map(Text, details)])


def _proposal(proposal: Proposal) -> Text:
    facts = {
        "proposal": proposal.proposal_uid,
        "plan": _line(proposal.approved_item()),
        "meta": json.dumps(proposal.item.meta) if proposal.item.meta else "",
        "by": f"{proposal.by}{f' ({proposal.note})' if proposal.note else ''}",
        "state": f"{proposal.state}{_decision(proposal)}",
        "digest": proposal.digest,
    }
    lines = [f"{name:<9} {fact}" for name, fact in facts.items() if fact]
    return Text("\n".join(lines))


def _decision(proposal: Proposal) -> str:
    who = f" by {proposal.decided_by}" if proposal.decided_by else ""
    return f"{who}{f': {proposal.reason}' if proposal.reason else ''}"


def _detection(detection: Detection) -> RenderableType:
    result = detection.result
    if result is None:
        return Text(f"the detection {detection.state}: {detection.error}", style="red")
    table = Table("embryo", "x µm", "y µm", "length × width µm", "score", "", box=None)
    for each in result.objects:
        table.add_row(
            Text(each.name, style="bold"),
            f"{each.x_um:.1f}",
            f"{each.y_um:.1f}",
            f"{each.length_um:.0f} × {each.width_um:.0f}",
            f"{each.scores[each.mask]:.2f}",
            "" if each.certain else "uncertain",
        )
    said = [f"label image {detection.detection_uid}"]
    if not result.on_stage:
        said.append("the volume does not say where it was taken: counted from its middle")
    if result.fallback_reason:
        said.append(f"by the detector {result.detector}: {result.fallback_reason}")
    if result.absent:
        said.append(f"not found again: {', '.join(result.absent)}")
    return Group(table if result.objects else Text("no embryos"), Text("\n".join(said)))


def _proposals(proposals: list[Proposal]) -> RenderableType:
    if not proposals:
        return Text("nothing waits for approval")
    return Text("\n\n").join(map(_proposal, proposals))


def _control(lease: Lease) -> RenderableType:
    return Text(str(lease))


def _queue(queue: Queue) -> RenderableType:
    running = [] if queue.running_item is None else [("runs", queue.running_item)]
    rows = running + [("waits", item) for item in queue.items]
    if not rows:
        return Text("nothing runs and nothing waits")
    table = Table("", "plan", Column("item", no_wrap=True), box=None)
    for state, item in rows:
        table.add_row(Text(state), Text(_line(item)), Text(item.item_uid))
    return table


def _history(items: list[HistoryItem]) -> RenderableType:
    if not items:
        return Text("nothing has ended yet")
    table = Table.grid(padding=(0, 2))
    for item in items:
        end = item.result.time_stop
        when = "" if end is None else f"{datetime.fromtimestamp(end).astimezone():%H:%M:%S}"
        how = Text(item.result.exit_status)
        table.add_row(when, how, Text(_line(item)), Text(item.result.msg, style="dim"))
    return table


def _line(item: Item) -> str:
    """Return the item as it could be typed; its plan may be gone from the catalogue."""
    properties: dict[str, JsonValue] = {name: {} for name in item.kwargs}
    plan = Plan(name=item.name, schema={"properties": properties})
    return write(PlanCall(item.name, item.kwargs), {item.name: plan})


_RENDERERS: Final[Mapping[str, Callable[[Any], RenderableType]]] = {
    "help": _help,
    "plans": _plans,
    "devices": _devices,
    "read": _reading,
    "status": _status,
    "volumes": _volumes,
    "lineage": _lineage,
    "stop": _stop,
    "pause": _status,
    "resume": _status,
    "preflight": _preflight,
    "propose": _proposal,
    "detect": _detection,
    "proposals": _proposals,
    "approve": _proposal,
    "reject": _proposal,
    "control": _control,
    "queue": _queue,
    "history": _history,
}
