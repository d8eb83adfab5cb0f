from pathlib import Path

from tests import REPOSITORY
from tests.docs.markdown import DOCS, anchors, documents, links

DECISIONS = DOCS / "explanation" / "decisions"


def test_every_link_between_documents_leads_somewhere() -> None:
    dead = [
        f"{document.relative_to(REPOSITORY)}: {target}"
        for document in documents()
        for target in links(document)
        if not target.startswith("https://") and not leads_somewhere(document, target)
    ]
    assert not dead


def leads_somewhere(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (document.parent / path).resolve() if path else document
    return (
        found.is_relative_to(REPOSITORY)
        and found.exists()
        and (not anchor or anchor in anchors(found))
    )


def test_every_document_can_be_reached_from_the_index() -> None:
    reached = {DOCS / "index.md"}
    ahead = list(reached)
    while ahead:
        document = ahead.pop()
        for target in links(document):
            path = (document.parent / target.partition("#")[0]).resolve()
            if path.suffix == ".md" and path.exists() and path not in reached:
                reached.add(path)
                ahead.append(path)
    assert not set(DOCS.rglob("*.md")) - reached


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    records = sorted(DECISIONS.glob("[0-9]*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    assert set(links(DECISIONS / "README.md")) >= {record.name for record in records}


def test_a_decision_has_all_its_parts() -> None:
    for record in DECISIONS.glob("[0-9]*.md"):
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(record.name[:4])}. ")
        assert "\nStatus: " in text
        parts = [line[3:] for line in text.splitlines() if line.startswith("## ")]
        assert parts == ["Context", "Decision", "Consequences", "Rejected"], record.name
