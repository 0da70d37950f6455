"""How the paid server grants what may be sent: a limit a window, bit by bit or all at once."""


class Meter:
    """One limit, `granted` a window; 0: none."""

    def __init__(self, granted: int, window: float, smooth: bool, now: float) -> None:
        self.granted, self.window, self.smooth = granted, window, smooth
        self.left, self.at = float(granted), now

    def refill(self, now: float) -> None:
        """Grant what time has brought."""
        if self.smooth:
            self.left, self.at = min(self.granted, self.left + (now - self.at) * self.granted / self.window), now
        elif now - self.at >= self.window:
            self.left, self.at = self.granted, now - (now - self.at) % self.window

    def reset(self, now: float) -> float:
        """Seconds until all is granted again."""
        return (self.granted - self.left) * self.window / self.granted if self.smooth else self.window - (now - self.at)
