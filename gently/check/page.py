"""The report as one page: no script, nothing to fetch; for a phone, in the dark, on paper."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from html import escape
from importlib.resources import files

from gently.check.report import Finding, Group, Report, Status, counts

__all__ = ["page"]

_ORDER = (Status.FAILED, Status.ATTENTION, Status.OK, Status.NOT_DONE)
_URGENT = (Status.FAILED, Status.ATTENTION)
_VERDICTS = {
    Status.FAILED: "Something is not as it has to be",
    Status.ATTENTION: "Nothing failed; look at what is marked",
    Status.OK: "All is as it has to be",
    Status.NOT_DONE: "Nothing failed, and not all was looked at",
}


def page(report: Report) -> str:
    """Return the report as HTML."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    style = (files("gently.check") / "page.css").read_text(encoding="utf-8")
    title = f"{report.instrument}: check of {_time(report)}"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>"
    yield from _head(report)
    yield from _overview(report)
    yield from _urgent(report)
    for group in Group:
        found = [one for one in report.findings if one.group is group]
        if found:
            yield from _group(group, found)
    yield from _foot(report)
    yield "</main>\n</body>\n</html>"


def _head(report: Report) -> Iterator[str]:
    worst = _worst(report.findings)
    verdict = "The check did not come to its end" if report.ended_early else _VERDICTS[worst]
    state = Status.FAILED if report.ended_early else worst
    yield f'<header class="{_class(state)}">'
    yield f"<p class=what>gently-check · {escape(report.instrument)}</p>"
    yield f"<h1>{escape(verdict)}</h1>"
    if report.ended_early:
        yield f"<p>{escape(_sentence(report.ended_early))}</p>"
    yield f"<p>{escape(report.description)}</p>"
    yield "<ul class=counts>"
    for status in _ORDER:
        number = report.counts[str(status)]
        none = "" if number else " none"
        yield f'<li class="{_class(status)}{none}"><b>{number}</b> {escape(status)}</li>'
    yield "</ul>"
    yield f"<p class=dim>{escape(_time(report))}, {report.seconds:.0f} s, by "
    yield f"{escape(report.operator)} on {escape(report.computer)}. {_leave(report)}</p>"
    yield "</header>"


def _leave(report: Report) -> str:
    return {
        "yes to all": "Leave was given to everything beforehand.",
        "asked": "Leave was asked for before anything moved or shone.",
        "nobody to ask": "Nobody was there to give leave: nothing moved, and no light went on.",
    }[report.consent]


def _overview(report: Report) -> Iterator[str]:
    """Yield a line for each group, which leads to it."""
    yield "<nav>"
    for group in Group:
        found = [one for one in report.findings if one.group is group]
        if not found:
            continue
        worst = _worst(found)
        numbers = counts(found)
        said = ", ".join(f"{numbers[one]} {one}" for one in _ORDER if numbers[one])
        yield f'<a class="{_class(worst)}" href="#{_anchor(group)}">'
        yield f"<b>{escape(_sentence(group))}</b> <span>{escape(said)}</span></a>"
    yield "</nav>"


def _urgent(report: Report) -> Iterator[str]:
    """Yield what somebody has to look at, the worst first, with what to do."""
    for status, heading in ((Status.FAILED, "Failed"), (Status.ATTENTION, "Needs a look")):
        found = [one for one in report.findings if one.status is status]
        if not found:
            continue
        yield f'<section class="urgent {_class(status)}">\n<h2>{heading}</h2>'
        for one in found:
            yield f"<article>\n<h3>{escape(one.name)} <span class=dim>{one.group}</span></h3>"
            if one.says:
                yield f"<p>{escape(_sentence(one.says))}</p>"
            yield from _measured(one)
            yield from _expected(one)
            if one.remedy:
                yield f"<p class=remedy>{escape(one.remedy)}</p>"
            yield "</article>"
        yield "</section>"


def _group(group: Group, found: list[Finding]) -> Iterator[str]:
    heading = escape(_sentence(group))
    yield f'<section id="{_anchor(group)}">\n<h2>{heading}</h2>\n<ul class=findings>'
    for one in found:
        yield f'<li class="{_class(one.status)}"><span class=status>{escape(one.status)}</span>'
        yield f"<h3>{escape(one.name)}</h3><div>"
        if one.says:
            yield f"<p>{escape(_sentence(one.says))}</p>"
        yield from _measured(one)
        yield from _expected(one)
        yield "</div></li>"
    yield "</ul>\n</section>"


def _measured(finding: Finding) -> Iterator[str]:
    if finding.measured:
        yield "<dl>"
        for one in finding.measured:
            value = str(one).removeprefix(one.name).strip()
            yield f"<div><dt>{escape(one.name)}</dt><dd>{escape(value)}</dd></div>"
        yield "</dl>"


def _expected(finding: Finding) -> Iterator[str]:
    if finding.expected:
        label = "would" if finding.status is Status.NOT_DONE and not finding.source else "expected"
        source = f" <span>({escape(finding.source)})</span>" if finding.source else ""
        yield f"<p class=expected><b>{label}</b> {escape(finding.expected)}{source}</p>"


def _foot(report: Report) -> Iterator[str]:
    yield "<footer>"
    if report.light:
        lit = "; ".join(
            f"{one.source}{'' if one.percent is None else f' at {one.percent:g} %'}: "
            f"{one.lit_ms:.0f} ms"
            for one in report.light
        )
        yield f"<p><b>Light that the sample got:</b> {escape(lit)}</p>"
    else:
        yield "<p><b>Light that the sample got:</b> none</p>"
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    yield f"<p>{escape(report.config)} · {escape(report.storage)} · gently "
    yield f"{escape(report.gently_version)}{escape(f', {versions}' if versions else '')} · "
    yield f"form {report.version}, as in report.json</p>\n</footer>"


def _worst(findings: Iterable[Finding]) -> Status:
    """Return the worst status; what was not done is worse than what is well."""
    found = {one.status for one in findings}
    return next(one for one in (*_URGENT, Status.NOT_DONE, Status.OK) if one in found)


def _anchor(group: Group) -> str:
    return str(group).replace(" ", "-")


def _class(status: Status) -> str:
    return str(status).replace(" ", "-")


def _time(report: Report) -> str:
    return f"{datetime.fromtimestamp(report.began).astimezone():%Y-%m-%d %H:%M}"


def _sentence(text: str) -> str:
    """Return a text with a capital, unless it begins with the name of a device."""
    first = text.partition(" ")[0]
    return text if "_" in first or "." in first or ":" in first else text[:1].upper() + text[1:]
