"""The tests; each folder mirrors one of the source."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
API_KEY = "the-key-of-the-tests"
AUTHORIZATION = {"Authorization": f"ApiKey {API_KEY}"}

# Theirs and that of the processes that they start: the user's own is left alone.
os.environ["GENTLY_API_KEY"] = API_KEY
