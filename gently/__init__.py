"""gently: the device layer of a light-sheet microscope, and the copilot that uses it."""

__version__ = "0.1.0"
