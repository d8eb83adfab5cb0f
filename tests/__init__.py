"""The tests; each folder mirrors one of the source."""

from pathlib import Path

REPOSITORY = Path(__file__).parent.parent

API_KEY = "the-key-of-the-tests"
AUTHORIZATION = {"Authorization": f"ApiKey {API_KEY}"}
