"""The styles as people find them by name: in one server, or everywhere. All of it comes from memory."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise

from engine.errors import UnknownAdapterError
from engine.lora.layers import FAMILIES
from engine.types import EngineInfo, InstalledAdapter

LONGEST_NAME = 50
_COMPARED = 50
_HASH = re.compile(r"[0-9a-f]{8,64}")
_UNWRITTEN = re.compile(r"[\s_-]+")


def key_of(name: str) -> str:
    """Returns what is left of a name however it is written: "Paper-Cut" is papercut."""
    return _UNWRITTEN.sub("", name.casefold())


class Book:
    """All styles that are known, gone ones too, and those of them that can be used, by name."""

    def __init__(self, info: Callable[[], EngineInfo | None]) -> None:
        """`info` is what is known of the loaded model."""
        self._info = info
        self._known: dict[str, InstalledAdapter] = {}
        self._names = _Names(())
        self._names_for: str | None = None  # family that they are made for; None when they are old

    def replace(self, styles: Iterable[InstalledAdapter]) -> None:
        """Forgets all, and knows these."""
        self._known = {one.sha256: one for one in styles}
        self._names_for = None

    def put(self, style: InstalledAdapter) -> None:
        """Knows a style as it is now; everybody finds it so from here on."""
        self._known[style.sha256] = style
        self._names_for = None

    def get(self, sha256: str) -> InstalledAdapter | None:
        """Returns the style of a file, also one that cannot be used."""
        return self._known.get(sha256)

    def all(self) -> Iterable[InstalledAdapter]:
        """Returns every style, gone ones too."""
        return self._known.values()

    def info(self) -> EngineInfo | None:
        """Returns what is known of the loaded model."""
        return self._info()

    def names(self) -> _Names:
        """Returns the names of those that fit the loaded model and are allowed."""
        info = self._info()
        family = "" if info is None else info.family
        if self._names_for != family:
            self._names = _Names(
                one for one in self._known.values() if one.family and self.refusal(one) is None
            )
            self._names_for = family
        return self._names

    def refusal(self, style: InstalledAdapter) -> UnknownAdapterError | None:
        """Returns why the style can be used nowhere; None when it can."""
        if style.is_gone:
            return UnknownAdapterError(
                'The style "{name}" was removed. Choose another one with /styles browse.',
                name=style.name,
            )
        if not style.enabled:
            return UnknownAdapterError(
                'The style "{name}" is switched off here. Choose another one.', name=style.name
            )
        info = self._info()
        # Of a file that the operator named on the command line nobody knows it: the engine will see.
        if info is not None and style.family not in ("", info.family):
            made_for = FAMILIES.get(style.family, style.family)
            loaded = FAMILIES.get(info.family, info.family)
            return UnknownAdapterError(
                'The style "{name}" is made for {family}, and the model here is {loaded}.',
                name=style.name,
                family=made_for,
                loaded=loaded,
            )
        return None


class Shelf:
    """The styles of one place: those that its server's managers switched off are not there."""

    def __init__(self, book: Book, hidden: frozenset[str] = frozenset()) -> None:
        """`hidden` are the sha256 of those that are switched off."""
        self._book = book
        self._hidden = hidden

    def usable(self) -> list[InstalledAdapter]:
        """Returns those that fit the loaded model and are allowed, by name."""
        names = self._book.names()
        return [one for one in names.by_key.values() if one.sha256 not in self._hidden]

    def find(self, name: str) -> InstalledAdapter:
        """Returns the usable style that is called so, however it is written, or was called so before.

        Raises:
            UnknownAdapterError: There is none; the message names the nearest, or why it is hidden.
        """
        found = self._book.names().get(key_of(name))
        if found is not None and found.sha256 not in self._hidden:
            return found
        shown = " ".join(name.split())[:LONGEST_NAME]
        others = [one for one in self._book.all() if key_of(one.name) == key_of(name)]
        for one in [*([found] if found else ()), *sorted(others, key=lambda one: one.is_gone)]:
            if (refusal := self.refusal(one)) is not None:
                raise refusal
        if not self.usable():
            raise UnknownAdapterError(
                'There is no style "{name}". There are none here yet.', name=shown
            )
        if (nearest := self.nearest(name)) is not None:
            raise UnknownAdapterError(
                'There is no style "{name}". Did you mean {nearest}?', name=shown, nearest=nearest
            )
        raise UnknownAdapterError(
            'There is no style "{name}". See all of them with /styles browse.', name=shown
        )

    def matching(self, typed: str, limit: int) -> list[InstalledAdapter]:
        """Returns usable styles whose name contains what was typed.

        Those that begin with it come first; the nearest name when there is none.
        """
        wanted = key_of(typed)
        first: list[InstalledAdapter] = []
        others: list[InstalledAdapter] = []
        for key, style in self._book.names().by_key.items():
            if style.sha256 in self._hidden:
                continue
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
        return self._book.names().nearest(name, self._hidden)

    def get(self, sha256: str) -> InstalledAdapter | None:
        """Returns the style of a file, also one that cannot be used now."""
        return self._book.get(sha256)

    def name_of(self, sha256: str) -> str:
        """Returns its name, or the beginning of the hash when it is not known any more."""
        known = self._book.get(sha256)
        return known.name if known is not None else sha256[:8]

    def ever_called(self, name: str) -> list[InstalledAdapter]:
        """Returns all that are or were called so, for history: a file that changed is another style.

        The name may also be the beginning of a hash, at least 8 digits, as `name_of` writes it.
        """
        wanted, known = key_of(name), self._book.all()
        keys = {wanted}
        if _HASH.fullmatch(wanted):
            keys = {key_of(one.name) for one in known if one.sha256.startswith(wanted)}
        return [one for one in known if keys & set(map(key_of, (one.name, *one.former_names)))]

    def reason(self, style: InstalledAdapter) -> str | None:
        """Returns why the style cannot be used here; None when it can."""
        refusal = self.refusal(style)
        return None if refusal is None else str(refusal)

    def refusal(self, style: InstalledAdapter) -> UnknownAdapterError | None:
        """Returns the same as an error."""
        refusal = self._book.refusal(style)
        if refusal is None and style.sha256 in self._hidden:
            return UnknownAdapterError(
                'The style "{name}" is switched off in this server. '
                "Choose another one with /styles browse.",
                name=style.name,
            )
        return refusal


class _Names:
    """Styles by name, made once for all places."""

    def __init__(self, styles: Iterable[InstalledAdapter]) -> None:
        found = sorted(styles, key=lambda one: one.name.casefold())
        self.by_key = {key_of(one.name): one for one in found}
        self._former = {key_of(name): one for one in found for name in one.former_names}
        self._by_pair: dict[str, list[str]] = defaultdict(list)
        for key in self.by_key:
            for pair in _pairs(key):
                self._by_pair[pair].append(key)

    def get(self, key: str) -> InstalledAdapter | None:
        """Returns the style of that name, else the one that had it before."""
        return self.by_key.get(key) or self._former.get(key)

    def nearest(self, name: str, hidden: frozenset[str]) -> str | None:
        """Returns the name that is most like another one."""
        wanted = key_of(name)
        # Comparing it with thousands of names takes seconds; those that share most pairs of letters
        # are found in milliseconds.
        shared: Counter[str] = Counter()
        for pair in _pairs(wanted):
            shared.update(self._by_pair.get(pair, ()))
        likely = [key for key, _ in shared.most_common(_COMPARED + len(hidden))]
        likely = [key for key in likely if self.by_key[key].sha256 not in hidden]
        found = difflib.get_close_matches(wanted, likely, n=1, cutoff=0.5)
        return self.by_key[found[0]].name if found else None


def _pairs(key: str) -> set[str]:
    """Returns the pairs of neighbouring letters, the ends included."""
    return {"".join(pair) for pair in pairwise(f"^{key}$")}
