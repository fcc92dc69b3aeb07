"""Which requests of a stream were answered, and for how long was there no answer?"""

from __future__ import annotations

__all__ = ["Answers"]


class Answers:
    """Requests are numbered from 1. Times are seconds of one clock.

    longest_gap: between two answers, counted only from when a request waited: a sender that pauses,
    as on a busy machine, makes no gap.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.longest_gap = 0.0
        self._unanswered: dict[int, float] = {}
        self._last = 0, 0.0

    @property
    def missing(self) -> int:
        """How many requests have no answer so far."""
        return len(self._unanswered)

    def ask(self, at: float) -> int:
        """A request is sent; its number."""
        self.sent += 1
        self._unanswered[self.sent] = at
        return self.sent

    def answer(self, number: int, at: float) -> None:
        """The answer to a request has come. One that was not asked, or is answered, counts not."""
        if number not in self._unanswered:
            return
        before, answered = self._last
        asked = self._unanswered.get(before + 1, self._unanswered[number])
        self.longest_gap = max(self.longest_gap, at - max(asked, answered))
        self._last = max(number, before), at
        del self._unanswered[number]
