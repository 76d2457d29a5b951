"""Which frames of a video are stored: decided while they stream by, before the length is known."""


class Thinning:
    """Decides frame by frame; call it with each (index, seconds) in order.

    Args:
        fps: keep the first frame in each period of 1/fps seconds; frames are never repeated.
        every: keep frames 0, every, 2 * every, ...
        max_frames: keep at most so many, evenly spread: whenever the limit is full, every second one of those kept is
            given up and from then on half as many are taken. A longer video keeps between half the limit and the limit.

    Example, max_frames=4, frames 0 to 9: 0 1 2 3 are kept; at 4 only 0 2 remain and 4 joins, then 6; at 8 only 0 4
    remain and 8 joins: 0 4 8.
    """

    def __init__(self, fps: float | None = None, every: int = 1, max_frames: int | None = None) -> None:
        self._fps, self._every, self._max = fps, every, max_frames
        self._seen = self._next = 0
        self._stride = 1
        self.given_up: list[int] = []
        """Positions among the frames kept so far that are to be dropped; the caller empties it."""
        self._kept = 0

    def __call__(self, index: int, seconds: float) -> bool:
        """Whether to keep this frame; `given_up` first says which earlier ones make room for it."""
        if not self._due(index, seconds):
            return False
        turn = self._seen % self._stride == 0
        if turn and self._max and self._kept == self._max:
            self.given_up = list(range(1, self._kept, 2))
            self._kept -= len(self.given_up)
            self._stride *= 2
            turn = self._seen % self._stride == 0
        self._seen += 1
        self._kept += turn
        return turn

    def _due(self, index: int, seconds: float) -> bool:
        if self._fps is None:
            return index % self._every == 0
        # A millionth of a period of grace, or frames that lie on the grid could fall to either side of it.
        if seconds * self._fps < self._next - 1e-6:
            return False
        self._next = int(seconds * self._fps + 1e-6) + 1
        return True
