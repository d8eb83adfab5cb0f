"""Time that passes when it is told to."""


class ManualClock:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def wait_s(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)
