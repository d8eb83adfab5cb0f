"""The tests; each folder mirrors one of the source."""

from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
