"""How much of a picture is filled by what shines: largest in the middle of an embryo."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["extent"]


def extent(picture: NDArray[Any]) -> float:
    """Return the mean of the logarithm of a picture's (y, x) counts.

    Through the depth of an oval it is a hill around its middle. The logarithm keeps single bright
    nuclei, which lie anywhere, from pulling it to their side.
    """
    return float(np.log(np.maximum(picture, 1)).mean())
