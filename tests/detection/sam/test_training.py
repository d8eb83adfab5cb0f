"""The tiny SAM's training: what it learns from is right, and it is the same each time."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gently.detection.sam.models import TINY_CHECKPOINT, tiny_sam
from gently.detection.sam.training import draw_lesson, train


@pytest.fixture
def torch_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


def test_a_lesson_asks_with_boxes_around_what_it_answers() -> None:
    chance = np.random.default_rng(3)
    for _ in range(20):
        lesson = draw_lesson(chance)
        assert lesson.photo.shape == (128, 128, 3)
        assert lesson.photo.dtype == np.uint8
        assert len(lesson.boxes) == len(lesson.shares) > 0
        for (x0, y0, x1, y1), share in zip(lesson.boxes, lesson.shares, strict=True):
            rows, columns = np.nonzero(share > 0.5)
            assert rows.min() * 2 == pytest.approx(y0, abs=8)
            assert columns.min() * 2 == pytest.approx(x0, abs=8)
            assert rows.max() * 2 + 2 == pytest.approx(y1, abs=8)
            assert columns.max() * 2 + 2 == pytest.approx(x1, abs=8)


@pytest.mark.usefixtures("torch_as_before")
def test_training_twice_gives_the_same_weights() -> None:
    once, again = (train(steps=3).state_dict() for _ in range(2))
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.usefixtures("torch_as_before")
def test_training_changes_every_weight_that_a_box_needs() -> None:
    torch.manual_seed(0)
    before, after = tiny_sam().state_dict(), train(steps=3).state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    # The grid of places is fixed; points, masks and the other outlines are not asked for.
    assert all(
        name.startswith(
            (
                "prompt_encoder.pe_layer",
                "prompt_encoder.point_embeddings.0",
                "prompt_encoder.point_embeddings.1",
                "prompt_encoder.mask_downscaling",
                "prompt_encoder.not_a_point",
                "mask_decoder.output_hypernetworks_mlps",
            )
        )
        for name in still
    )


def test_the_checkpoint_is_of_the_model_that_the_training_makes() -> None:
    kept = torch.load(TINY_CHECKPOINT, weights_only=True)
    assert {name: value.shape for name, value in kept.items()} == {
        name: value.shape for name, value in tiny_sam().state_dict().items()
    }
