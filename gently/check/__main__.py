"""``python -m gently.check``."""

import sys

from gently.check import main

if __name__ == "__main__":
    sys.exit(main())
