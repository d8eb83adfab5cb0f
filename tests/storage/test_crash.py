"""A process that dies in mid-volume, or meets a limit, leaves nothing that looks like a volume."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage import VolumeStore
from tests.storage.helpers import make_spec, names, write_volume

WRITE = """
import sys
from pathlib import Path
from storage import VolumeSpec, VolumeStore
from tests.storage.helpers import fill, make_pixels
spec = VolumeSpec.model_validate_json(sys.argv[2])
writer = VolumeStore(Path(sys.argv[1])).create(spec)
fill(writer, make_pixels(spec), range(spec.shape[0] - 1))
print("writing", flush=True)
sys.stdin.read()
"""

LIMITED = """
import resource, sys
from pathlib import Path
from storage import StorageFullError, VolumeSpec, VolumeStore
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    VolumeStore(Path(sys.argv[1])).create(VolumeSpec.model_validate_json(sys.argv[2]))
except StorageFullError as error:
    print(error)
"""


def test_a_killed_writer_leaves_only_a_part_that_the_next_one_sweeps(store: VolumeStore) -> None:
    record = write_volume(store)
    spec = make_spec(shape=(30, 64, 64))
    arguments = [str(store.root), spec.model_dump_json()]
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert names(store) == sorted([record.path.name, f"{spec.uid}.tif.part"])
    assert store.list() == [record]
    assert store.broken() == []
    assert store.sweep() == [store.volumes / f"{spec.uid}.tif.part"]
    assert write_volume(store, spec).uid == spec.uid


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
def test_a_limit_of_the_operating_system_is_known_before_the_first_frame(tmp_path: Path) -> None:
    spec = make_spec(shape=(40, 256, 256))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), spec.model_dump_json()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the volume needs" in done.stdout
    assert list((tmp_path / "volumes").iterdir()) == []
