"""Pictures made again to the bit: what a receipt says of each of their calls.

A replay is a job like any other, but its rows share their calls with dead rows only, as many as there
were others (`Predictor.repeat`), and the VAE works in the tiles that it worked in then.
"""

from __future__ import annotations

from engine.errors import InvalidRequestError
from engine.receipts import Call, PictureReceipt, Receipt
from engine.types import GenerationRequest


class Script:
    """What the receipt of one picture says, read as the picture is made again."""

    def __init__(self, receipt: PictureReceipt) -> None:
        """Takes the receipt of the finished picture."""
        self._calls = list(receipt.calls)
        self._unconditional = list(receipt.unconditional)
        self._tiles = receipt.vae_tiles

    def calls(self, step: int, *, is_guided: bool) -> list[Call]:
        """Returns the calls of the picture's rows, the unconditional one first.

        Args:
            step: How many calls each row had before, over both passes.
            is_guided: The picture has an unconditional row.

        Raises:
            InvalidRequestError: The picture had fewer steps, or other rows.
        """
        logs = [self._unconditional, self._calls] if is_guided else [self._calls]
        if any(step >= len(log) for log in logs):
            raise InvalidRequestError("The receipt is of another picture: it has fewer steps.")
        return [log[step] for log in logs]

    def tile(self, number: int) -> int:
        """Returns the side of the tiles of one of the VAE's calls, in latents; 0 for whole.

        Raises:
            InvalidRequestError: There were not so many calls.
        """
        if number >= len(self._tiles):
            raise InvalidRequestError("The receipt is of another picture: it has fewer VAE calls.")
        return self._tiles[number]


def scripts_of(request: GenerationRequest, receipt: Receipt | None) -> list[Script]:
    """Returns a script for each picture; none without a receipt.

    Raises:
        InvalidRequestError: The receipt is not of these pictures.
    """
    if receipt is None:
        return []
    seeds = [request.seed_of(index) for index in range(request.num_images)]
    if [picture.seed for picture in receipt.pictures] != seeds:
        raise InvalidRequestError(
            "The receipt is of other pictures: its seeds are not the request's."
        )
    return [Script(picture) for picture in receipt.pictures]
