"""The core: catalogue, preflight, queue, runner, events, stop, and the layer that wires them."""
