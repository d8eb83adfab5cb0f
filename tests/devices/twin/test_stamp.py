"""A stamped frame says which it is and where it was taken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.twin import FrameStamp

lengths = st.integers(-2_000_000, 2_000_000).map(lambda nm: nm / 1000)


stamps = st.builds(
    FrameStamp,
    index=st.integers(0, 2**32 - 1),
    piezo_um=lengths,
    focus_um=lengths,
    x_um=lengths,
    y_um=lengths,
    exposure_ms=st.integers(1, 65535).map(lambda units: units / 100),
)


@given(stamp=stamps)
def test_what_is_written_is_read(stamp: FrameStamp) -> None:
    frame = np.full((2, 16), 7, np.uint16)
    stamp.write(frame)
    assert FrameStamp.read(frame) == stamp
    assert (frame[1] == 7).all()


def test_the_layout_is_the_agreed_one() -> None:
    frame = np.zeros((1, 16), np.uint16)
    FrameStamp(65537, 0.001, -0.001, 0.0, 100.0, 5.0).write(frame)
    zero = 1 << 15  # the high word of 2³¹
    pairs = [(1, 1), (1, zero), (0xFFFF, zero - 1), (0, zero), (100_000 & 0xFFFF, zero + 1)]
    words = [half for pair in pairs for half in pair]
    assert frame[0].tolist() == [0xA5A5, *words, 500, 0, 0, 0, 0]


def test_a_frame_without_a_stamp_is_refused() -> None:
    with pytest.raises(ValueError, match="FrameStamp to On"):
        FrameStamp.read(np.zeros((4, 16), np.uint16))
