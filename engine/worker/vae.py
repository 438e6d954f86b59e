"""The VAE both ways, one picture at a time: whole, or in tiles where the memory is too small.

diffusers' slicing is no step between the two: it splits a batch into pictures, and here is none.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from PIL import Image

from engine.worker import pixels
from engine.worker.faults import TooLarge, is_out_of_memory
from engine.worker.models import Model
from engine.worker.pixels import Decoded

T = TypeVar("T")

log = logging.getLogger(__name__)

TILE_STEPS = 3  # the VAE's own tile, a half and a quarter of its side
MIN_TILE = 8  # latents a side
WHOLE = 0


class Vae:
    """Encodes and decodes; what does not fit is tried again with freed memory, then in tiles.

    Tiles change a picture, since each is normalised by itself: with the pocket model's VAE by 1.9 grey
    levels on average, 3.6 in tiles of half the side, which shows in plain areas. So they are the last
    resort, smaller ones after larger ones, and a receipt says which were used.
    """

    def __init__(
        self,
        model: Model,
        *,
        reclaim: Callable[[], int] = lambda: 0,
        too_large: TooLarge[int] | None = None,
    ) -> None:
        """Keeps the model.

        Args:
            model: The loaded model; only its VAE is used.
            reclaim: Frees what nobody needs now.
            too_large: Remembers which sizes do not fit.
        """
        self._model = model
        self._reclaim = reclaim
        self._too_large = TooLarge[int]() if too_large is None else too_large
        vae = model.vae
        self._own = int(vae.tile_latent_min_size), int(vae.tile_sample_min_size)

    def encode(self, picture: Image.Image, tile: int | None = None) -> tuple[Any, int]:
        """Returns the distribution of latents (1, C, H/8, W/8), not scaled, and the tiles' side.

        The side is in latents, `WHOLE` without tiles; with `tile` it is just that. So it is for `decode`.

        Raises:
            BrokenPictureError: The latents are not finite.
            RuntimeError: It does not fit, see `is_out_of_memory`.
        """
        width, height = (side // self._model.vae_scale_factor for side in picture.size)
        size = height, width
        return self._run("encode", size, lambda: pixels.encode(self._model, picture), tile)

    def decode(
        self, latents: Any, tile: int | None = None, *, is_exact: bool = False
    ) -> tuple[Decoded, int]:
        """Queues the decoding of latents (1, C, H/8, W/8); returns the picture on its way, and the tiles' side.

        With `is_exact` in float32.

        Raises:
            RuntimeError: It does not fit, see `is_out_of_memory`.
        """
        height, width = latents.shape[-2:]

        def work() -> Decoded:
            return Decoded(latents, pixels.decode(self._model, latents, is_exact=is_exact))

        return self._run("decode", (height, width), work, tile)

    def _run(
        self, what: str, size: tuple[int, int], work: Callable[[], T], tile: int | None
    ) -> tuple[T, int]:
        tiles = [WHOLE, *self._tiles(max(size))] if tile is None else [tile]
        place = self._too_large.get((what, size), 0) if tile is None else 0
        has_freed = False
        while True:
            try:
                with self._tiled(tiles[place]):
                    return work(), tiles[place]
            except Exception as error:
                is_last = has_freed and place + 1 == len(tiles)
                if is_last or not is_out_of_memory(error):
                    raise
                log.warning("Out of memory: %s %dx%d latents: %s", what, *size, error)
                # Leave this block before freeing: the exception holds the frames that hold memory.
            self._reclaim()
            if has_freed:
                place += 1
                self._too_large.note((what, size), place)
            has_freed = True

    def _tiles(self, longest: int) -> list[int]:
        """Returns the sides of tiles, in latents, that split a picture."""
        sides = [self._own[0] >> step for step in range(TILE_STEPS)]
        return [side for side in sides if MIN_TILE <= side < longest]

    @contextlib.contextmanager
    def _tiled(self, side: int) -> Iterator[None]:
        vae = self._model.vae
        if side == WHOLE:
            yield
            return
        vae.enable_tiling()
        vae.tile_latent_min_size = side
        vae.tile_sample_min_size = side * self._model.vae_scale_factor
        try:
            yield
        finally:
            vae.disable_tiling()
            vae.tile_latent_min_size, vae.tile_sample_min_size = self._own
