"""The styles (LoRAs) that people may use: files of a folder, checked, registered and known in memory.

A file is checked in a process of its own (`engine.lora.intake`) when it is new or has changed, one after the
other and beside everything else. What does not fit the loaded model is kept, and `reason` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import difflib
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from engine.errors import InvalidRequestError, RefusedFileError, UnknownAdapterError
from engine.intake.pool import Intake
from engine.lora.checking import CheckedLora
from engine.lora.intake import check_lora_file
from engine.lora.layers import FAMILIES
from engine.lora.metadata import LoraInfo, read_metadata
from engine.pocket import LORAS_DIR
from engine.settings import Settings
from engine.types import EngineInfo, InstalledAdapter, Submission

log = logging.getLogger(__name__)

PREVIEW_SIDE = 256  # pixels; a cell of a contact sheet
RESCAN_S = 30.0
_MIB = 2**20
_LONGEST_NAME = 50
_COMPARED = 50
_PREVIEWS = (".webp", ".png", ".jpg", ".jpeg", ".preview.png")
_UNNAMED = re.compile(
    r"[\s_,:;{}()<>|*`@#\"\\]+"
)  # what has a meaning in a list of styles or in Discord
_UNWRITTEN = re.compile(r"[\s_-]+")


class AdapterStore(Protocol):
    """Remembers styles; `storage.adapters.AdapterTable`."""

    async def add(
        self,
        source: Path,
        name: str,
        *,
        trigger_words: Sequence[str] = (),
        default_weight: float = 1.0,
        family: str,
        added_by: int = 0,
        description: str = "",
        stamp: str | None = None,
        expected: str | None = None,
    ) -> InstalledAdapter:
        """Copies and registers a checked file."""

    async def get(self, sha256: str) -> InstalledAdapter:
        """Returns one, or raises UnknownAdapterError."""

    async def known(self) -> list[InstalledAdapter]:
        """Returns all of them."""

    async def set_source(self, sha256: str, source: str, stamp: str) -> None:
        """Notes where its file is now."""

    async def set_gone(self, sha256: str) -> None:
        """Notes that its file is gone."""

    async def drop_unused(self) -> int:
        """Removes copies that nobody needs any more."""

    async def set_preview(self, sha256: str, png: bytes | None) -> None:
        """Stores its preview."""

    async def preview(self, sha256: str) -> bytes | None:
        """Returns its preview."""


@dataclass(slots=True)
class Scan:
    """What a look at the folders found: names of styles, and file names with reasons."""

    added: list[str]
    gone: list[str]
    refused: dict[str, str]


def key_of(name: str) -> str:
    """Returns what is left of a name however it is written: "Paper-Cut" is papercut."""
    return _UNWRITTEN.sub("", name.casefold())


class Styles:
    """The registry. What is asked while somebody types comes from memory."""

    def __init__(
        self,
        *,
        store: AdapterStore,
        settings: Settings,
        intake: Intake,
        info: Callable[[], EngineInfo | None],
        pocket_folder: Path = LORAS_DIR,
    ) -> None:
        """Knows nothing before `load`; `info` is what is known of the model."""
        self._store = store
        self._settings = settings
        self._intake = intake
        self._info = info
        self._pocket_folder = pocket_folder
        self._known: dict[str, InstalledAdapter] = {}
        self._by_key: dict[str, InstalledAdapter] = {}
        self._by_pair: dict[str, list[str]] = {}
        self._by_key_of: str | None = None  # family that the two are made for
        self._refused: dict[Path, str] = {}  # stamp of a file that is not looked at again
        self._scanning = asyncio.Lock()

    async def load(self) -> None:
        """Reads what is registered."""
        self._known = {one.sha256: one for one in await self._store.known()}
        self._by_key_of = None

    async def run(self) -> None:
        """Looks at the folders now and then until cancelled."""
        while True:
            try:
                await self.rescan()
                await self._store.drop_unused()
            except Exception:  # a full disk must not end the bot
                log.exception("The folders of styles could not be looked at")
            await asyncio.sleep(RESCAN_S)

    async def rescan(self) -> Scan:
        """Takes in new and changed files, and notes those that are gone."""
        async with self._scanning:
            folders = self._folders()
            found, unreadable = await asyncio.to_thread(_list, folders)
            scan = Scan([], [], {})
            of_file = {one.source: one for one in self._known.values() if not one.is_gone}
            for source, one in of_file.items():
                path = Path(source)
                # A file of the embedded model is only hidden while another model is loaded.
                places = [*unreadable, *({self._pocket_folder} - set(folders))]
                if not source or path in found or any(path.is_relative_to(p) for p in places):
                    continue
                await self._drop(one, scan)
            for path, stamp in found.items():
                registered = of_file.get(str(path))
                if registered is not None and registered.stamp == stamp:
                    continue
                if self._refused.get(path) != stamp:
                    await self._take(path, stamp, registered, scan)
            self._refused = {p: stamp for p, stamp in self._refused.items() if p in found}
            if scan.added or scan.gone:
                log.info("Styles: %d new, %d gone", len(scan.added), len(scan.gone))
            return scan

    def usable(self) -> list[InstalledAdapter]:
        """Returns those that fit the loaded model and are allowed, by name."""
        return list(self._index().values())

    def find(self, name: str) -> InstalledAdapter:
        """Returns the usable style that is called so, however it is written.

        Raises:
            UnknownAdapterError: There is none; the message names the nearest, or why it is hidden.
        """
        found = self._index().get(key_of(name))
        if found is not None:
            return found
        shown = " ".join(name.split())[:_LONGEST_NAME]
        hidden = [one for one in self._known.values() if key_of(one.name) == key_of(name)]
        for one in sorted(hidden, key=lambda one: one.is_gone):
            raise UnknownAdapterError(self.reason(one) or "")
        nearest = self.nearest(name)
        hint = f" Did you mean {nearest}?" if nearest else ""
        if not self._index():
            hint = " There are none here yet."
        raise UnknownAdapterError(f'There is no style "{shown}".{hint}')

    def matching(self, typed: str, limit: int) -> list[InstalledAdapter]:
        """Returns usable styles whose name contains what was typed.

        Those that begin with it come first; the nearest name when there is none.
        """
        wanted = key_of(typed)
        first: list[InstalledAdapter] = []
        others: list[InstalledAdapter] = []
        for key, style in self._index().items():
            if key.startswith(wanted):
                first.append(style)
                if len(first) == limit:
                    break
            elif len(others) < limit and wanted in key:
                others.append(style)
        found = (first + others)[:limit]
        if not found and (nearest := self.nearest(typed)) is not None:
            found = [self.find(nearest)]
        return found

    def nearest(self, name: str) -> str | None:
        """Returns the name that a typing error most likely meant."""
        index, wanted = self._index(), key_of(name)
        # Comparing it with thousands of names takes seconds; those that share most pairs of letters
        # are found in milliseconds.
        shared: Counter[str] = Counter()
        for pair in _pairs(wanted):
            shared.update(self._by_pair.get(pair, ()))
        likely = [key for key, _ in shared.most_common(_COMPARED)]
        found = difflib.get_close_matches(wanted, likely, n=1, cutoff=0.5)
        return index[found[0]].name if found else None

    def get(self, sha256: str) -> InstalledAdapter | None:
        """Returns the style of a file, also one that cannot be used now."""
        return self._known.get(sha256)

    def name_of(self, sha256: str) -> str:
        """Returns its name, or the beginning of the hash when it is not known any more."""
        known = self._known.get(sha256)
        return known.name if known is not None else sha256[:8]

    def reason(self, style: InstalledAdapter) -> str | None:
        """Returns why the style cannot be used; None when it can."""
        if style.is_gone:
            return f'The style "{style.name}" was removed. Choose another one with /styles browse.'
        if not style.enabled:
            return f'The style "{style.name}" is switched off here. Choose another one.'
        info = self._info()
        # Of a file that the operator named on the command line nobody knows it: the engine will see.
        if info is not None and style.family not in ("", info.family):
            made_for = FAMILIES.get(style.family, style.family)
            loaded = FAMILIES.get(info.family, info.family)
            return (
                f'The style "{style.name}" is made for {made_for}, and the model here is {loaded}.'
            )
        return None

    async def preview(self, sha256: str) -> bytes | None:
        """Returns a PNG of at most `PREVIEW_SIDE` pixels that shows what it does."""
        return await self._store.preview(sha256)

    async def check(self, submission: Submission) -> None:
        """Raises UnknownAdapterError when a style of the request cannot be used any more."""
        for adapter in submission.request.adapters:
            style = self._known.get(adapter.sha256) or await self._store.get(adapter.sha256)
            if (reason := self.reason(style)) is not None:
                raise UnknownAdapterError(reason)

    def _folders(self) -> list[Path]:
        info = self._info()
        folders = [self._settings.lora_folder.absolute()]
        if info is not None and info.family == "pocket":
            folders.append(self._pocket_folder)
        return folders

    def _index(self) -> dict[str, InstalledAdapter]:
        info = self._info()
        family = "" if info is None else info.family
        if self._by_key_of != family:
            usable = [
                one for one in self._known.values() if one.family and self.reason(one) is None
            ]
            usable.sort(key=lambda one: one.name.casefold())
            self._by_key = {key_of(one.name): one for one in usable}
            self._by_pair = defaultdict(list)
            for key in self._by_key:
                for pair in _pairs(key):
                    self._by_pair[pair].append(key)
            self._by_key_of = family
        return self._by_key

    async def _take(
        self, path: Path, stamp: str, before: InstalledAdapter | None, scan: Scan
    ) -> None:
        try:
            real = await asyncio.to_thread(path.resolve)
            max_bytes = int(self._settings.max_lora_mb * _MIB)
            checked = await check_lora_file(real, max_bytes=max_bytes)
            if before is not None and before.sha256 == checked.sha256:  # only touched
                await self._store.set_source(before.sha256, str(path), stamp)
                style = dataclasses.replace(before, source=str(path), stamp=stamp)
                await self._set_preview(style, path, read_metadata(checked.metadata))
                self._put(style)
                return
            await self._register(path, stamp, before, checked, scan)
        except (RefusedFileError, InvalidRequestError, OSError) as error:
            self._refused[path] = stamp
            scan.refused[path.name] = str(error)
            log.warning("The style %s is not used: %s", path, error)

    async def _register(
        self,
        path: Path,
        stamp: str,
        before: InstalledAdapter | None,
        checked: CheckedLora,
        scan: Scan,
    ) -> None:
        if before is not None:
            await self._drop(before, scan)
        same = self._known.get(checked.sha256)
        if same is not None and not same.is_gone:
            raise RefusedFileError(f"The same file is there already, as the style {same.name!r}.")
        info = read_metadata(checked.metadata)
        style = await self._store.add(
            path,
            self._free_name(path.stem),
            trigger_words=info.triggers,
            family=checked.family,
            description=info.description,
            stamp=stamp,
            expected=checked.sha256,
        )
        await self._set_preview(style, path, info)
        self._put(style)
        scan.added.append(style.name)

    def _put(self, style: InstalledAdapter) -> None:
        self._known[style.sha256] = style
        self._by_key_of = None

    async def _drop(self, style: InstalledAdapter, scan: Scan) -> None:
        await self._store.set_gone(style.sha256)
        self._put(dataclasses.replace(style, is_gone=True))
        scan.gone.append(style.name)

    async def _set_preview(self, style: InstalledAdapter, path: Path, info: LoraInfo) -> None:
        data = await asyncio.to_thread(_read_preview, path) or info.thumbnail
        png = None
        if data:
            try:
                png = (await self._intake.picture(data, max_side=PREVIEW_SIDE)).png
            except RefusedFileError as error:
                log.warning("The preview of the style %s is not used: %s", path, error)
        await self._store.set_preview(style.sha256, png)

    def _free_name(self, stem: str) -> str:
        name = _UNNAMED.sub(" ", stem).strip()[: _LONGEST_NAME - 4].strip() or "style"
        taken = {key_of(one.name) for one in self._known.values() if not one.is_gone} | {"none"}
        candidates = [name, *(f"{name} {number}" for number in range(2, len(taken) + 3))]
        return next(one for one in candidates if key_of(one) not in taken)


def _pairs(key: str) -> set[str]:
    """Returns the pairs of neighbouring letters, the ends included."""
    return {"".join(pair) for pair in pairwise(f"^{key}$")}


def _list(folders: Iterable[Path]) -> tuple[dict[Path, str], set[Path]]:
    """Returns the files with their stamps, and the folders that cannot be read; blocks."""
    found: dict[Path, str] = {}
    unreadable: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            if folder.exists():
                unreadable.add(folder)
            continue

        def note(_: OSError, folder: Path = folder) -> None:
            unreadable.add(folder)

        for place, _, names in os.walk(folder, onerror=note):
            for name in sorted(names):
                path = Path(place, name)
                if path.suffix.casefold() == ".safetensors" and not name.startswith("."):
                    with contextlib.suppress(OSError):  # removed a moment ago
                        found[path] = _stamp(path)
    return dict(sorted(found.items())), unreadable


def _stamp(path: Path) -> str:
    parts = [path.stat(), *(p.stat() for p in _previews(path))]
    return " ".join(f"{one.st_size}:{one.st_mtime_ns}" for one in parts)


def _previews(path: Path) -> list[Path]:
    beside = (path.with_name(path.stem + ending) for ending in _PREVIEWS)
    return [one for one in beside if one.is_file()][:1]


def _read_preview(path: Path) -> bytes:
    for preview in _previews(path):
        with contextlib.suppress(OSError):
            if preview.stat().st_size <= 25 * _MIB:
                return preview.read_bytes()
    return b""
