"""Lets SQLite's own writes fail: the system calls of its VFS are replaced, as its own tests do it.

Only what SQLite writes is met (its database, log and journals); it cannot tell this from a full or
broken disk. It is the library's switch for the whole process, so that tests take turns.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import ctypes.util
import errno
import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_KILL = -1  # instead of an error's number
_WRITING = ("write", "pwrite", "pwrite64", "ftruncate")

_SetCall = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_GetCall = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_Write = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t,
    *(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64),
    use_errno=True,
)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int64, use_errno=True)


class _Vfs(ctypes.Structure):
    """`struct sqlite3_vfs` of version 3, see sqlite3.h."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("path_size", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("methods", ctypes.c_void_p * 13),
        ("set_system_call", _SetCall),
        ("get_system_call", _GetCall),
    )


class Writes:
    """Counts SQLite's writes and lets some fail.

    Attributes:
        done: How many were asked for since the last `fail_at`.
        failed: How many of them failed.
    """

    def __init__(self) -> None:
        """Lets all through."""
        self.fail_at(None)

    def fail_at(self, number: int | None, *, lasting: bool = False, code: int = errno.EIO) -> None:
        """Counts anew; the write of that number (from 1) fails, or all from it on. None: none."""
        self.done = self.failed = 0
        self._number, self._lasting, self._code = number, lasting, code

    def kill_at(self, number: int) -> None:
        """Counts anew; this process is killed instead of the write of that number."""
        self.fail_at(number, code=_KILL)

    def is_refused(self) -> bool:
        """Counts one write; when it has to fail, sets errno and returns True."""
        self.done += 1
        number = self._number
        if number is None or self.done < number or (self.done > number and not self._lasting):
            return False
        if self._code == _KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        self.failed += 1
        ctypes.set_errno(self._code)
        return True


@contextmanager
def sqlite_writes() -> Iterator[Writes]:
    """Stands between SQLite and its files until the end of the block."""
    library = ctypes.CDLL(_sqlite3.__file__)
    try:
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    except AttributeError:
        pytest.skip("this Python hides its SQLite's functions")
    vfs = library.sqlite3_vfs_find(None)
    writes = Writes()
    replaced = []  # also keeps the functions from being collected
    try:
        for name in _WRITING:
            address = vfs.contents.get_system_call(vfs, name.encode())
            if address is None:  # not in this build
                continue
            call = _guarded(name, address, writes)
            replaced.append((name, call))
            pointer = ctypes.cast(call, ctypes.c_void_p)
            assert vfs.contents.set_system_call(vfs, name.encode(), pointer) == 0
        yield writes
    finally:
        for name, _ in replaced:
            vfs.contents.set_system_call(vfs, name.encode(), None)


def _guarded(name: str, address: int, writes: Writes) -> ctypes._FuncPtr:
    if name == "ftruncate":
        truncate = _Truncate(address)
        return _Truncate(lambda *args: -1 if writes.is_refused() else truncate(*args))
    write = _Write(address)  # `write` itself leaves the fourth argument unread
    return _Write(lambda *args: -1 if writes.is_refused() else write(*args))


def numbers(total: int, most: int) -> Iterator[int]:
    """Numbers from 1 to `total`, evenly spaced when they are more than `most`."""
    step = max(total / most, 1.0)
    for index in itertools.count():
        number = 1 + int(index * step)
        if number > total:
            return
        yield number
