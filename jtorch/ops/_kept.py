"""Bounds for what ops keep."""


class Kept(dict):
    """What was made once and may be asked for again, at most `MOST` entries: a new one then takes the oldest's place."""

    MOST = 1024

    def __setitem__(self, key, value):
        while len(self) >= self.MOST and key not in self:
            self.pop(next(iter(self)), None)
        super().__setitem__(key, value)
