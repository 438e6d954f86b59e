"""Whose turn it is: which pictures share the next U-Net call."""

from __future__ import annotations

from collections.abc import Sequence

from engine.worker.jobs import JobRun, PictureRun


class Turns:
    """Sizes take turns; of one size the jobs that came first share a call."""

    def __init__(self, row_limit: int) -> None:
        """Takes the most rows of a call."""
        self._row_limit = row_limit
        self._turn = 0
        self._last: dict[tuple[int, int], int] = {}  # size to the turn of its last step

    def next_calls(self, running: Sequence[PictureRun]) -> list[list[PictureRun]]:
        """Returns the next U-Net calls: the pictures of the size whose last step is longest ago.

        There is one call, of the jobs that came first; who does not fit waits, since a second, smaller
        call would slow everybody down. Only a job that is larger than a call has several. A picture that
        is made again has calls of its own.
        """
        if not running:
            return []
        self._turn += 1
        self._last = {p.size: self._last.get(p.size, 0) for p in running}
        size = min(self._last, key=lambda s: self._last[s])
        self._last[size] = self._turn
        due = [picture for picture in running if picture.size == size]
        again = [[picture] for picture in due if picture.script is not None]
        jobs: dict[JobRun, list[PictureRun]] = {}
        for picture in due:
            if picture.script is None:
                jobs.setdefault(picture.job, []).append(picture)
        batches: list[list[PictureRun]] = [[]]
        free = self._row_limit
        for job, pictures in jobs.items():
            rows = 2 if job.is_guided else 1
            if rows * len(pictures) > free and batches[-1]:
                continue  # a smaller one may take the place until this one's turn comes
            for picture in pictures:
                if rows > free and batches[-1]:
                    batches.append([])
                    free = self._row_limit
                batches[-1].append(picture)
                free -= rows
        return [batch for batch in batches if batch] + again
