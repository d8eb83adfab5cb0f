"""The sizes of SAM, and how a checkpoint becomes one of them."""

import hashlib
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from gently.detection.kinds import SamSetup
from gently.detection.sam.torchvision_names import provide
from gently.detection.values import DetectorUnavailableError

provide()  # before segment_anything is imported, which needs it

from segment_anything import SamPredictor, sam_model_registry  # noqa: E402
from segment_anything.modeling import (  # noqa: E402
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

__all__ = ["MODELS", "TINY_CHECKPOINT", "Loaded", "SamPredictor", "load", "tiny_sam"]

TINY_CHECKPOINT: Final = Path(__file__).with_name("tiny.pth")

_TINY_PX: Final = 128
_TINY_PATCH_PX: Final = 8
_TINY_WIDTH: Final = 48
_TINY_CHANNELS: Final = 32


def tiny_sam() -> Any:
    """Return an untrained SAM of 0.1 million parameters: all parts of the large ones, but small."""
    tokens = _TINY_PX // _TINY_PATCH_PX
    model = Sam(
        image_encoder=ImageEncoderViT(
            img_size=_TINY_PX,
            patch_size=_TINY_PATCH_PX,
            embed_dim=_TINY_WIDTH,
            depth=3,
            num_heads=4,
            mlp_ratio=2,
            out_chans=_TINY_CHANNELS,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=_TINY_CHANNELS,
            image_embedding_size=(tokens, tokens),
            input_image_size=(_TINY_PX, _TINY_PX),
            mask_in_chans=4,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=_TINY_CHANNELS, num_heads=4, mlp_dim=64
            ),
            transformer_dim=_TINY_CHANNELS,
            iou_head_depth=2,
            iou_head_hidden_dim=32,
        ),
    )
    return model.eval()


MODELS: Final[Mapping[str, Callable[[], Any]]] = {
    "tiny": tiny_sam,
    **{name: sam_model_registry[name] for name in ("vit_b", "vit_l", "vit_h")},
}
"""What makes an untrained model, by name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A model with its weights.

    Attributes
    ----------
    model
        The `segment_anything` model, on its device.
    checkpoint
        Where the weights are from.
    sha256
        Of that file.
    load_s
        How long it took.
    """

    model: Any
    checkpoint: Path
    sha256: str
    load_s: float


def load(setup: SamSetup) -> Loaded:
    """Load a model. Takes seconds, and memory for two copies of the weights.

    Nothing in a checkpoint is ever run: only tensors are taken from it.

    Raises
    ------
    DetectorUnavailableError
        If the checkpoint is missing, broken, of another model, not the one that was named by its
        hash, or more than weights; or if the device is not there.
    """
    began = time.perf_counter()
    path = _path(setup)
    sha256 = _sha256(path)
    if setup.sha256 and setup.sha256 != sha256:
        raise DetectorUnavailableError(
            f"the checkpoint {path} has the SHA-256 {sha256}, and not {setup.sha256} as it is set "
            "up: it is another file or was changed; get it again, or correct the setup"
        )
    model = MODELS[setup.model]()
    _fill(model, _weights(path), setup.model, path)
    try:
        model.to(setup.device)
    except (AssertionError, RuntimeError) as error:
        raise DetectorUnavailableError(
            f"torch cannot compute on {setup.device} here ({_first_line(error)}): "
            "set the device to cpu, or install a torch for it"
        ) from error
    return Loaded(model=model, checkpoint=path, sha256=sha256, load_s=time.perf_counter() - began)


def _path(setup: SamSetup) -> Path:
    if setup.checkpoint is not None:
        return setup.checkpoint
    if setup.model == "tiny":
        return TINY_CHECKPOINT
    raise DetectorUnavailableError(
        f"no checkpoint of {setup.model} is set up: download it from the segment-anything project "
        "and name the file"
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DetectorUnavailableError(
            f"the checkpoint {path} cannot be read ({error.strerror}): check the path in the setup"
        ) from error


def _weights(path: Path) -> Mapping[str, Any]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DetectorUnavailableError(
            f"the checkpoint {path} holds more than weights, or is none, and none of it was run "
            f"({_first_line(error)}): get it again from where you trust it"
        ) from error
    except (EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise DetectorUnavailableError(
            f"the checkpoint {path} is broken ({_first_line(error)}): it may not have been "
            "downloaded to its end; get it again"
        ) from error
    if not isinstance(found, dict) or not all(map(torch.is_tensor, found.values())):
        raise DetectorUnavailableError(
            f"the checkpoint {path} is not a list of weights by name; get one of segment-anything"
        )
    return found


def _fill(model: Any, weights: Mapping[str, Any], name: str, path: Path) -> None:
    """Put weights into a model, all or none."""
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in weights.items()}
    if wrong := sorted(set(wanted.items()) ^ set(given.items())):
        raise DetectorUnavailableError(
            f"the checkpoint {path} is of another model than {name}: {len(wrong)} weights differ, "
            f"the first is {wrong[0][0]}; set up the model that it is of"
        )
    model.load_state_dict(weights)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
