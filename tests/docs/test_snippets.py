"""What the documents tell their readers to do is done here, and what they promise is looked for."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

import pytest
import yaml

from devices import load_instrument_file
from gently.settings import CopilotSettings, DeviceLayerSettings
from tests import REPOSITORY
from tests.docs.markdown import DOCS, Block, blocks, documents
from tests.docs.reader import Reader

# Python in this one is a part of gently; another test runs it as such.
WRITE_A_PLAN = DOCS / "how-to" / "write-a-plan.md"
# README's commands install gently: CI runs them word for word.
README = REPOSITORY / "README.md"

LANGUAGES = {"json", "python", "sh", "text", "yaml"}
NEEDS_A_SHELL = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("bash") or not shutil.which("curl"),
    reason="the documents' commands are for bash and curl",
)


def all_blocks(language: str) -> list[Block]:
    return [b for document in documents() for b in blocks(document) if b.language == language]


def is_done(block: Block) -> bool:
    return block.language in ("sh", "python") and "not-run" not in block.words


def to_do() -> list[Path]:
    return [
        document
        for document in documents()
        if document not in (README, WRITE_A_PLAN) and any(map(is_done, blocks(document)))
    ]


def test_every_block_says_what_it_is() -> None:
    for document in documents():
        for block in blocks(document):
            assert block.language in LANGUAGES, f"{block}: {block.language!r}"


@NEEDS_A_SHELL
@pytest.mark.parametrize("document", to_do(), ids=lambda path: path.stem)
def test_a_document_keeps_its_promises(document: Path, tmp_path: Path) -> None:
    steps = blocks(document)
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        for block in steps:
            for word in block.words:
                if word.startswith("instrument="):
                    (tmp_path / word.removeprefix("instrument=")).write_text(
                        block.text, encoding="utf-8"
                    )
        if not any("start_device_layer.py" in block.text for block in filter(is_done, steps)):
            reader.start_device_layer()
        for block, after in zip_longest(steps, steps[1:]):
            if is_done(block):
                reader.do(block, after.text if after and after.language == "text" else None)


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_a_yaml_block_is_what_it_is_said_to_be(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (word,) = block.words
    file = tmp_path / "block.yml"
    file.write_text(block.text, encoding="utf-8")
    if word.startswith("instrument="):
        load_instrument_file(str(file))
        return
    assert word == "settings"
    monkeypatch.setenv("GENTLY_SETTINGS", str(file))
    device_layer, copilot = DeviceLayerSettings(), CopilotSettings()
    known = {**device_layer.model_dump(mode="json"), **copilot.model_dump(mode="json")}
    for key, value in yaml.safe_load(block.text).items():
        assert str(known[key]).rstrip("/") == str(value)


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_a_json_block_is_json(block: Block) -> None:
    json.loads(block.text)


@NEEDS_A_SHELL
def test_a_shell_block_that_is_not_run_is_one_all_the_same() -> None:
    for block in filter(lambda block: not is_done(block), all_blocks("sh")):
        done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stderr!r}"


def test_the_documents_install_gently_as_the_readme_does() -> None:
    in_readme = "\n".join(b.text for b in blocks(README))
    installs = [
        line
        for block in all_blocks("sh")
        if block.document != README
        for line in block.text.splitlines()
        if "pip install" in line and " -e " in line
    ]
    assert installs
    assert all(line in in_readme for line in installs)
