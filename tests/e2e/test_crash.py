"""The short form of `python -m tests.e2e.crash`, which crashes two hundred times."""

from pathlib import Path

from tests.e2e import crash


def test_whatever_moment_the_device_layer_dies_at_its_store_tells_the_truth(tmp_path: Path) -> None:
    tally = crash.run(tmp_path, rounds=5, seed=6, limit_s=120)
    assert tally.in_mid_volume == 5
    assert tally.volumes == tally.announced + tally.unannounced
    assert tally.volumes > 0
