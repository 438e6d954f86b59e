"""The styles (LoRAs) that people may use: files of a folder or sent, checked, registered and known in memory.

A file is checked in a process of its own (`engine.lora.intake`) when it is new or has changed, one after the
other and beside everything else. What does not fit the loaded model is kept, and `reason` says why.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidRequestError, QuotaExceededError, RefusedFileError
from engine.intake.pool import Intake
from engine.interfaces import AdapterStore
from engine.lora import folders
from engine.lora.checking import CheckedLora
from engine.lora.intake import check_lora_file
from engine.lora.metadata import LoraInfo, read_metadata
from engine.pocket import LORAS_DIR
from engine.settings import Settings
from engine.style_shelf import LONGEST_NAME, Book, Shelf, key_of
from engine.types import AdapterWeight, EngineInfo, InstalledAdapter, Submission
from engine.words import N_

log = logging.getLogger(__name__)

PREVIEW_SIDE = 256  # pixels; a cell of a contact sheet
RESCAN_S = 30.0
_MIB = 2**20
_NAMELESS = "style"
_RESERVED = frozenset({"none"})  # no style at all

THERE_ALREADY = N_("The same file is there already, as the style {name!r}.")
TAKEN = N_("There is a style {name!r} already. Choose another name.")
FULL = N_(
    "There are {count:,} styles, and the limit is {limit:,}. "
    "Remove one with /admin lora remove before you add another one."
)
NOT_IN_FOLDER = N_(
    "There is no file {path!r} in the LoRA folder. Choose one from the list that appears while you type."
)
NO_URL = N_(
    "A URL is not accepted. Attach the file, or put it into the LoRA folder and name it as path."
)
BAD_NAME = N_(
    "The name of a style takes 1 to {limit} characters, without , : ; and what Discord formats with. "
    "Choose another one."
)


@dataclass(slots=True)
class Scan:
    """What a look at the folders found: names of styles, and file names with reasons."""

    added: list[str]
    gone: list[str]
    refused: dict[str, str]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person wants of a style; None is what it has, or what its file says."""

    name: str | None = None
    default_weight: float | None = None
    trigger_words: tuple[str, ...] | None = None


class Styles(Shelf):
    """The registry, and itself the shelf on which nothing is switched off.

    What is asked while somebody types comes from memory.
    """

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
        super().__init__(Book(info))
        self._store = store
        self._settings = settings
        self._intake = intake
        self._pocket_folder = pocket_folder
        self._hidden_in: dict[int, frozenset[str]] = {}
        self._refused: dict[Path, str] = {}  # stamp of a file that is not looked at again
        self._just_gone: set[str] = set()  # a job may be just about to be accepted with them
        self._scanning = asyncio.Lock()
        self._registering = asyncio.Lock()

    async def load(self) -> None:
        """Reads what is registered."""
        self._book.replace(await self._store.known())
        self._hidden_in = await self._store.hidden()

    async def run(self) -> None:
        """Looks at the folders now and then until cancelled."""
        while True:
            try:
                await self.rescan()
                keep, self._just_gone = self._just_gone, set()
                await self._store.drop_unused(keep=keep)
            except Exception:  # a full disk must not end the bot
                log.exception("The folders of styles could not be looked at")
            await asyncio.sleep(RESCAN_S)

    def here(self, guild_id: int | None) -> Shelf:
        """Returns the styles as the people of a server have them; None is a DM."""
        hidden = self._hidden_in.get(guild_id) if guild_id is not None else None
        return self if hidden is None else Shelf(self._book, hidden)

    def registered(self) -> list[InstalledAdapter]:
        """Returns all that are not gone, by name, also those that cannot be used now."""
        found = [one for one in self._book.all() if not one.is_gone]
        return sorted(found, key=lambda one: one.name.casefold())

    def named(self, name: str) -> InstalledAdapter:
        """Returns the registered style of that name, also one that cannot be used now.

        Raises:
            UnknownAdapterError: There is none.
        """
        wanted = key_of(name)
        found = next((one for one in self.registered() if key_of(one.name) == wanted), None)
        return found or self.find(name)  # which says what is wrong

    async def preview(self, sha256: str) -> bytes | None:
        """Returns a PNG of at most `PREVIEW_SIDE` pixels that shows what it does."""
        return await self._store.preview(sha256)

    async def check(self, submission: Submission) -> None:
        """Raises UnknownAdapterError when a style of the request cannot be used (any more)."""
        if submission.request.upscaler is not None:
            return  # nothing is drawn: a picture is larger also when its style is gone
        shelf = self.here(submission.destination.guild_id)
        for adapter in submission.request.adapters:
            style = self.get(adapter.sha256) or await self._store.get(adapter.sha256)
            if (refusal := shelf.refusal(style)) is not None:
                raise refusal

    # The folders.

    async def rescan(self) -> Scan:
        """Takes in new and changed files, and notes those that are gone."""
        async with self._scanning:
            places = self._folders()
            found, unreadable = await asyncio.to_thread(folders.list_files, places)
            scan = Scan([], [], {})
            of_file = {one.source: one for one in self.registered()}
            for source, one in of_file.items():
                path = Path(source)
                # A file of the embedded model is only hidden while another model is loaded.
                kept = [*unreadable, *({self._pocket_folder} - set(places))]
                if not source or path in found or any(path.is_relative_to(p) for p in kept):
                    continue
                await self._drop(one)
                scan.gone.append(one.name)
            removed = {(one.source, one.stamp) for one in self._book.all() if one.is_removed}
            for path, stamp in found.items():
                registered = of_file.get(str(path))
                if registered is not None and registered.stamp == stamp:
                    continue
                if (str(path), stamp) not in removed and self._refused.get(path) != stamp:
                    await self._take(path, stamp, registered, scan)
            self._refused = {p: stamp for p, stamp in self._refused.items() if p in found}
            if scan.added or scan.gone:
                log.info("Styles: %d new, %d gone", len(scan.added), len(scan.gone))
            return scan

    async def files(self) -> dict[str, Path]:
        """Returns the files in the operator's folder by what they are called below it."""
        folder = self._settings.lora_folder.absolute()
        found, _ = await asyncio.to_thread(folders.list_files, [folder])
        return {path.relative_to(folder).as_posix(): path for path in found}

    def _folders(self) -> list[Path]:
        info = self._book.info()
        places = [self._settings.lora_folder.absolute()]
        if info is not None and info.family == "pocket":
            places.append(self._pocket_folder)
        return places

    async def _take(
        self, path: Path, stamp: str, before: InstalledAdapter | None, scan: Scan
    ) -> None:
        try:
            if before is None:
                self.check_room()
            checked = await self._checked(path)
            same = self.get(checked.sha256)
            is_touched = before is not None and before.sha256 == checked.sha256
            if same is not None and (is_touched or same.is_removed):
                await self._store.set_source(same.sha256, str(path), stamp)
                style = dataclasses.replace(same, source=str(path), stamp=stamp)
                self._book.put(style)
                if is_touched:
                    await self._preview_from_file(style, path, read_metadata(checked.metadata))
                return
            style = await self._register(path, checked, stamp=stamp, before=before)
            if before is not None:
                scan.gone.append(before.name)
            scan.added.append(style.name)
        except QuotaExceededError as error:  # there may be room the next time
            scan.refused[path.name] = str(error)
            log.warning("The style %s is not used: %s", path, error)
        except (RefusedFileError, InvalidRequestError, OSError) as error:
            self._refused[path] = stamp
            scan.refused[path.name] = str(error)
            log.warning("The style %s is not used: %s", path, error)

    # What owners and managers do.

    def check_room(self) -> None:
        """Raises QuotaExceededError when there are as many styles as the operator wants."""
        count, limit = len(self.registered()), self._settings.max_loras
        if count >= limit:
            raise QuotaExceededError(FULL, None, count=count, limit=limit)

    async def add_sent(
        self, file: Path, wishes: Wishes, *, called: str, actor_id: int
    ) -> InstalledAdapter:
        """Checks a file that somebody sent, and registers it; it must fit the loaded model.

        Args:
            file: Where its bytes are now; they are copied.
            wishes: What it should be.
            called: Its name where it came from.
            actor_id: Who adds it.

        Raises:
            RequestError: It is not used; the message says why.
        """
        self.check_wishes(wishes)
        self.check_room()
        checked = await self._checked(file, must_fit=True)
        return await self._register(
            file, checked, wishes=wishes, stem=Path(called).stem, added_by=actor_id
        )

    async def add_from_folder(
        self, relative: str, wishes: Wishes, *, actor_id: int
    ) -> InstalledAdapter:
        """Registers a file of the operator's folder, also one that was removed before.

        Raises:
            RequestError: It is not there or not used; the message says why.
        """
        if "://" in relative:
            raise InvalidRequestError(NO_URL)
        async with self._scanning:
            path = (await self.files()).get(relative)
            if path is None:
                raise InvalidRequestError(NOT_IN_FOLDER, path=relative[:80])
            before = next((one for one in self.registered() if one.source == str(path)), None)
            self.check_wishes(wishes, but=before)
            if before is None:
                self.check_room()
            stamp = await asyncio.to_thread(folders.stamp_of, path)
            checked = await self._checked(path, must_fit=True)
            if before is not None and before.sha256 == checked.sha256:
                raise RefusedFileError(THERE_ALREADY, name=before.name)
            return await self._register(
                path, checked, wishes=wishes, stamp=stamp, before=before, added_by=actor_id
            )

    async def edit(
        self, style: InstalledAdapter, wishes: Wishes, *, actor_id: int
    ) -> InstalledAdapter:
        """Changes a style for everybody; jobs that were accepted stay as they are.

        Raises:
            RequestError: The name is not possible or taken.
        """
        self.check_wishes(wishes, but=style)
        weight, words = wishes.default_weight, wishes.trigger_words
        edited = await self._store.edit(
            style.sha256,
            name=style.name if wishes.name is None else " ".join(wishes.name.split()),
            trigger_words=style.trigger_words if words is None else words,
            default_weight=style.default_weight if weight is None else weight,
            actor_id=actor_id,
        )
        self._book.put(edited)
        return edited

    async def remove(self, style: InstalledAdapter, *, actor_id: int) -> None:
        """Takes a style away from everybody; jobs that were accepted with it are still made."""
        removed = await self._store.remove(style.sha256, actor_id=actor_id)
        self._just_gone.add(style.sha256)
        self._book.put(removed)

    async def set_hidden(
        self, guild_id: int, style: InstalledAdapter, hidden: bool, *, actor_id: int
    ) -> None:
        """Switches a style off or on in one server."""
        await self._store.set_hidden(guild_id, style.sha256, hidden, actor_id=actor_id)
        now = self._hidden_in.get(guild_id, frozenset())
        self._hidden_in[guild_id] = now | {style.sha256} if hidden else now - {style.sha256}

    def is_hidden(self, guild_id: int, style: InstalledAdapter) -> bool:
        """True when the server's managers switched the style off there."""
        return style.sha256 in self._hidden_in.get(guild_id, frozenset())

    async def set_preview(self, style: InstalledAdapter, picture: bytes) -> None:
        """Shows a style by a picture, which is checked before like any file.

        Raises:
            RefusedFileError: It is none that can be used.
        """
        png = (await self._intake.picture(picture, max_side=PREVIEW_SIDE)).png
        await self._store.set_preview(style.sha256, png)

    def check_wishes(self, wishes: Wishes, *, but: InstalledAdapter | None = None) -> None:
        """Raises InvalidRequestError for what is out of its range, and a name that another style has."""
        if wishes.default_weight is not None:
            AdapterWeight("", wishes.default_weight)
        if wishes.name is None:
            return
        name = " ".join(wishes.name.split())
        if not name or folders.name_from(name, LONGEST_NAME) != name or key_of(name) in _RESERVED:
            raise InvalidRequestError(BAD_NAME, limit=LONGEST_NAME)
        for one in self.registered():
            if key_of(one.name) == key_of(name) and (but is None or one.sha256 != but.sha256):
                raise InvalidRequestError(TAKEN, name=one.name)

    # Into the registry.

    async def _checked(self, path: Path, *, must_fit: bool = False) -> CheckedLora:
        info = self._book.info()
        family = (info.family or None) if info is not None and must_fit else None
        real = await asyncio.to_thread(path.resolve)
        max_bytes = int(self._settings.max_lora_mb * _MIB)
        return await check_lora_file(real, max_bytes=max_bytes, family=family)

    async def _register(
        self,
        path: Path,
        checked: CheckedLora,
        *,
        wishes: Wishes | None = None,
        stem: str | None = None,
        stamp: str | None = None,
        before: InstalledAdapter | None = None,
        added_by: int = 0,
    ) -> InstalledAdapter:
        """Copies a checked file and knows it from here on; `before` is what it replaces."""
        wishes = wishes or Wishes()
        info = read_metadata(checked.metadata)
        async with self._registering:  # two files that come at once get two names
            before = None if before is None else self.get(before.sha256)  # as it is now
            if before is not None and not before.is_gone:
                await self._drop(before)
                wishes = Wishes(
                    wishes.name or before.name,
                    before.default_weight
                    if wishes.default_weight is None
                    else wishes.default_weight,
                    wishes.trigger_words,
                )
            same = self.get(checked.sha256)
            if same is not None and not same.is_gone:
                raise RefusedFileError(THERE_ALREADY, name=same.name)
            self.check_wishes(wishes)
            self.check_room()
            words = wishes.trigger_words
            style = await self._store.add(
                path,
                wishes.name or self._free_name(path.stem if stem is None else stem),
                trigger_words=info.triggers if words is None else words,
                default_weight=1.0 if wishes.default_weight is None else wishes.default_weight,
                family=checked.family,
                added_by=added_by,
                description=info.description,
                stamp=stamp,
                expected=checked.sha256,
                replaces=None if before is None else before.sha256,
            )
            if before is not None:
                self._hidden_in = await self._store.hidden()
            self._book.put(style)
        await self._preview_from_file(style, path, info)
        return style

    async def _drop(self, style: InstalledAdapter) -> None:
        await self._store.set_gone(style.sha256)
        self._just_gone.add(style.sha256)
        self._book.put(dataclasses.replace(style, is_gone=True))

    async def _preview_from_file(self, style: InstalledAdapter, path: Path, info: LoraInfo) -> None:
        """Shows a style by the picture beside its file or in it; without any, by none."""
        data = await asyncio.to_thread(folders.preview_of, path) or info.thumbnail
        if data:
            try:
                await self.set_preview(style, data)
                return
            except RefusedFileError as error:
                log.warning("The preview of the style %s is not used: %s", path, error)
        await self._store.set_preview(style.sha256, None)

    def _free_name(self, stem: str) -> str:
        name = folders.name_from(stem, LONGEST_NAME - 4) or _NAMELESS
        taken = {key_of(one.name) for one in self.registered()} | _RESERVED
        candidates = [name, *(f"{name} {number}" for number in range(2, len(taken) + 3))]
        return next(one for one in candidates if key_of(one) not in taken)
