"""From a picture's last step to its file: decoded by the loop's thread, all else beside it.

The loop's thread only queues the decoder's work. Waiting for it, looking whether it gave a picture, and
pasting what a mask keeps is done in the encoder's pool, while the next step runs.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable

from PIL import Image

from engine.worker import pixels
from engine.worker.encoding import Encoder
from engine.worker.inpaint import paste_kept
from engine.worker.jobs import JobRun, PictureRun
from engine.worker.pixels import Decoded, OverflowedError
from engine.worker.vae import Vae


class Finishing:
    """The pictures that have no step left, until the encoder has them or their second pass begins.

    All of it belongs to the loop's thread but `_beside`.
    """

    def __init__(
        self,
        vae: Vae,
        encoder: Encoder,
        *,
        fail: Callable[[JobRun, Exception], None],
        wake: Callable[[], None],
    ) -> None:
        """Starts empty.

        Args:
            vae: Decodes.
            encoder: Gets the finished pictures; its pool does what is done beside the loop.
            fail: Ends a job with an error.
            wake: Called from the pool when `take` has something to do.
        """
        self._vae = vae
        self._encoder = encoder
        self._fail = fail
        self._wake = wake
        self._waiting: deque[PictureRun] = deque()
        self._away: dict[PictureRun, bool] = {}  # beside the loop; True when decoded in float32
        self._back: queue.SimpleQueue[tuple[PictureRun, Image.Image | Exception | None]] = (
            queue.SimpleQueue()
        )
        self._overflowed: set[PictureRun] = set()

    @property
    def pictures(self) -> list[PictureRun]:
        """All that are here."""
        return [*self._waiting, *self._away]

    @property
    def has_work(self) -> bool:
        """True when `step` has something to do."""
        return bool(self._waiting)

    def add(self, picture: PictureRun) -> None:
        """Takes a picture whose latents are done."""
        self._waiting.append(picture)

    def step(self) -> None:
        """Queues the decoder's work for the next picture."""
        if not self._waiting:
            return
        picture = self._waiting.popleft()
        is_exact = picture in self._overflowed
        self._overflowed.discard(picture)
        if picture.job.has_ended:
            return
        try:
            decoded, tile = self._vae.decode(picture.latents, picture.tile_again, is_exact=is_exact)
        except Exception as error:
            self._fail(picture.job, error)
            return
        self._away[picture] = is_exact
        self._encoder.run(self._beside, picture, decoded, tile)

    def take(self) -> list[tuple[PictureRun, Image.Image]]:
        """Takes back what is done beside the loop.

        Returns:
            The pictures that have a second pass, with what the first one gave.
        """
        first_passes: list[tuple[PictureRun, Image.Image]] = []
        while not self._back.empty():
            picture, outcome = self._back.get()
            was_exact = self._away.pop(picture)
            if picture.job.has_ended:
                continue
            if isinstance(outcome, OverflowedError) and not was_exact:
                self._overflowed.add(picture)
                self._waiting.append(picture)
            elif isinstance(outcome, Exception):
                self._fail(picture.job, outcome)
            elif outcome is not None:
                first_passes.append((picture, outcome))
        return first_passes

    def _beside(self, picture: PictureRun, decoded: Decoded, tile: int) -> None:
        """Runs in the encoder's pool."""
        outcome: Image.Image | Exception | None = None
        try:
            image = _develop(picture, decoded, tile)
            if picture.job.request.second_pass is not None and not picture.is_second_pass:
                outcome = image
            else:
                self._encoder.add(picture, image)
        except Exception as error:
            outcome = error  # the loop's thread knows what that means for the process
        self._back.put((picture, outcome))
        self._wake()


def _develop(picture: PictureRun, decoded: Decoded, tile: int) -> Image.Image:
    """Returns the picture that was decoded in tiles of so many latents."""
    image = decoded.image()
    picture.receipt.vae_tiles.append(tile)
    job = picture.job
    if job.mask is not None and job.source is not None:
        image = paste_kept(image, pixels.decode_image(job.source), job.mask)
    return image
