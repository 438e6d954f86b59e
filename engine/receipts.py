"""Receipts: what makes a picture again to the bit, together with its request.

Who shares a call with a row does not change the row's bits, but how many rows there are does, and with
several threads also its place among them: libraries split their sums by shapes. So of each step a
receipt tells the shape of the call. A replay (`engine.worker.replay`) makes calls of these shapes out
of the picture's own row and dead ones.

A receipt is JSON: it travels in the frame `done` and is stored with the generation. In a picture's file
is a part of it, see `png_text`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from engine import protocol
from engine.errors import InvalidRequestError
from engine.types import EngineInfo, GenerationRequest

PNG_KEY = "easel"
"""The text chunk of a PNG with its receipt."""

MAX_STEPS = 1000  # U-Net calls of a picture; none has so many
MAX_ROWS = 256  # of a call; a forged receipt must not fill the memory


@dataclass(frozen=True, slots=True)
class Call:
    """The U-Net call that a row ran in: what its last bits depend on besides its own numbers.

    Attributes:
        rows: Rows of the call, of the part where it was split for memory; with dead ones.
        place: The row's own among them.
        tokens: Of each row's text.
        controls: By kind, of each ControlNet that guided the row: the rows of its call, and the row's
            place among them.
        adapters: How its LoRAs were added: (rows with the same ones, its place among them) where these
            are multiplied together, (rank,) where those of all rows are padded to one; () without.
    """

    rows: int
    place: int
    tokens: int
    controls: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    adapters: tuple[int, ...] = ()

    def packed(self) -> list[Any]:
        """Returns it as JSON, without what is left out most often."""
        values = [self.rows, self.place, self.tokens, dict(self.controls), list(self.adapters)]
        while not values[-1]:
            values.pop()
        return values


class CallLog:
    """The calls that one row of a picture ran in, step after step; equal ones are counted together."""

    def __init__(self) -> None:
        """Starts without a step."""
        self._runs: list[tuple[int, Call]] = []

    def __len__(self) -> int:
        """Returns the number of steps."""
        return sum(steps for steps, _ in self._runs)

    def __iter__(self) -> Iterator[Call]:
        """Yields the call of each step."""
        for steps, call in self._runs:
            for _ in range(steps):
                yield call

    def add(self, call: Call, steps: int = 1) -> None:
        """Adds the next step, or several that had equal calls."""
        if self._runs and self._runs[-1][1] == call:
            steps += self._runs.pop()[0]
        self._runs.append((steps, call))

    def packed(self) -> list[list[Any]]:
        """Returns JSON: of each run of equal calls [steps, rows, place, tokens, controls, adapters].

        The last two are left out where they are empty.
        """
        return [[steps, *call.packed()] for steps, call in self._runs]

    @classmethod
    def unpack(cls, data: Sequence[Sequence[Any]]) -> CallLog:
        """Returns what `packed` gave. Raises ValueError and the like when that is damaged."""
        log = cls()
        for run in data:
            steps, rows, place, tokens = map(int, run[:4])
            controls = run[4] if len(run) > 4 else {}
            adapters = run[5] if len(run) > 5 else ()
            spots = {str(kind): _spot(*spot) for kind, spot in controls.items()}
            if steps < 1 or tokens < 1 or len(log) + steps > MAX_STEPS:
                raise ValueError(f"{steps} steps of {tokens} tokens")
            log.add(Call(*_spot(rows, place), tokens, spots, tuple(map(int, adapters))), steps)
        return log


@dataclass(slots=True)
class PictureReceipt:
    """How one picture was made.

    Attributes:
        seed: Its own.
        calls: Those of its conditional row, over both passes.
        unconditional: Those of its other row; empty without guidance.
        vae_tiles: The side of the tiles, in latents, of each of the VAE's calls for it; 0 for whole.
        stepped_by: "table" or "scheduler": which arithmetic took the sampler's steps, see
            `engine.worker.steps`. "" of a picture that was only made larger.
    """

    seed: int
    calls: CallLog = field(default_factory=CallLog)
    unconditional: CallLog = field(default_factory=CallLog)
    vae_tiles: list[int] = field(default_factory=list)
    stepped_by: str = ""

    def packed(self) -> dict[str, Any]:
        """Returns it as JSON, without what is empty."""
        values = {
            "seed": self.seed,
            "calls": self.calls.packed(),
            "unconditional": self.unconditional.packed(),
            "vae_tiles": self.vae_tiles,
            "stepped_by": self.stepped_by,
        }
        return {name: value for name, value in values.items() if value or name == "seed"}

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> PictureReceipt:
        """Returns what `packed` gave. Raises ValueError and the like when that is damaged."""
        return cls(
            int(data["seed"]),
            CallLog.unpack(data.get("calls", ())),
            CallLog.unpack(data.get("unconditional", ())),
            [int(side) for side in data.get("vae_tiles", ())],
            str(data.get("stepped_by", "")),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """How the pictures of a job were made.

    Attributes:
        model: Its name.
        model_hash: As in `EngineInfo`.
        machine: What stands for the kind of machine and the libraries, see `machine_of`.
        pictures: Of each picture, in order.
        controlnets: By kind the first 10 hex digits of the sha256 of the ControlNets' files.
        versions: Library name to version. This and what follows is told to the operator, and not in
            pictures' files.
        dtype: Of the U-Net.
        device: torch device.
        device_name: For people.
        upscaler: As `controlnets`, of the learned upscaler's file; "" without one. In pictures' files, too.
    """

    model: str
    model_hash: str
    machine: str
    pictures: tuple[PictureReceipt, ...]
    controlnets: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    dtype: str = ""
    device: str = ""
    device_name: str = ""
    upscaler: str = ""

    def packed(self) -> dict[str, Any]:
        """Returns it as JSON, without what is empty."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["pictures"] = [picture.packed() for picture in self.pictures]
        return {name: value for name, value in values.items() if value}

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> Receipt:
        """Returns what `packed` gave.

        Raises:
            InvalidRequestError: It is damaged, or from before receipts could be replayed.
        """
        try:
            return cls(
                str(data["model"]),
                str(data["model_hash"]),
                str(data.get("machine", "")),
                tuple(PictureReceipt.unpack(picture) for picture in data["pictures"]),
                controlnets=dict(data.get("controlnets", {})),
                upscaler=str(data.get("upscaler", "")),
                versions=dict(data.get("versions", {})),
                dtype=str(data.get("dtype", "")),
                device=str(data.get("device", "")),
                device_name=str(data.get("device_name", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidRequestError(
                "The receipt cannot be used: it is damaged, or of another version of Easel."
            ) from error


def machine_of(info: EngineInfo) -> str:
    """Returns 8 hex digits that are the same where the same receipt gives the same bits.

    They stand for device, threads, dtype and library versions, of which a public picture says nothing.
    """
    facts = [info.device_name, info.dtype, sorted(info.versions.items())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


def png_text(request: GenerationRequest, receipt: Receipt, index: int) -> str:
    """Returns what a picture's file carries so that it can be replayed from nothing else: ASCII, JSON.

    That is some hundred bytes, compressed. Everybody can read it, so it tells what the A1111 text tells
    anyway, the sizes of the calls, and of the machine only `Receipt.machine`.
    """
    own = replace(request, seed=request.seed_of(index), num_images=1)
    left_out = {
        one.name: one.default if one.default is not MISSING else None for one in fields(own)
    }
    packed = {
        name: value
        for name, value in protocol.pack(own).items()
        if value not in (left_out[name], [])
    }
    public = Receipt(
        receipt.model, receipt.model_hash, receipt.machine, (receipt.pictures[index],),
        receipt.controlnets, upscaler=receipt.upscaler,
    )  # fmt: skip
    return json.dumps({"request": packed, "receipt": public.packed()}, separators=(",", ":"))


def read_recipe(text: str) -> tuple[GenerationRequest, Receipt]:
    """Returns request and receipt of `png_text`, or of an entry of /history's export.

    Raises:
        InvalidRequestError: It is neither.
    """
    try:
        data = json.loads(text)
        packed = data.get("request", data)
        known = {one.name for one in fields(GenerationRequest)}
        request = protocol.unpack(
            GenerationRequest, {name: value for name, value in packed.items() if name in known}
        )
        receipt = Receipt.unpack(data["receipt"])
    except (ValueError, KeyError, TypeError, AttributeError, protocol.ProtocolError) as error:
        raise InvalidRequestError(
            "There is no receipt of Easel's in it: neither request nor calls can be read."
        ) from error
    if len(receipt.pictures) != request.num_images:
        raise InvalidRequestError(
            "The receipt has {count} pictures, its request has {wanted}.",
            count=len(receipt.pictures),
            wanted=request.num_images,
        )
    return request, receipt


def _spot(rows: int, place: int) -> tuple[int, int]:
    if not 0 <= place < rows <= MAX_ROWS:
        raise ValueError(f"place {place} of {rows} rows")
    return int(rows), int(place)
