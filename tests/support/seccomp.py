"""systemd's system call restrictions as BPF programs, read off a unit and compiled by libseccomp.

What systemd itself would load: one program for SystemCallFilter=, one for what the other options forbid by arguments.
"""

from __future__ import annotations

import ctypes
import errno
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.conftest import skip_or_fail, system_program

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQ, _MASKED_EQ = 4, 7
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000
_NAMESPACES = (0x00000080, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
_LAST_FAMILY = 46
_SET_ID = (0o4000, 0o2000)


class _Compare(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        skip_or_fail("libseccomp.so.2 is not installed: systemd brings it")
    library.seccomp_init.restype = ctypes.c_void_p
    return library


class Filter:
    """One program: ``default`` for what no rule names."""

    def __init__(self, default: int) -> None:
        self._library = _library()
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def rule(self, action: int, name: str, *compares: _Compare) -> None:
        """A system call that this machine does not have is left out, as systemd does."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        array = (_Compare * max(1, len(compares)))(*compares)
        code = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(compares), array
        )
        assert code in {0, -errno.EEXIST}, (name, code)

    def compiled(self) -> bytes:
        with tempfile.TemporaryFile() as file:
            assert self._library.seccomp_export_bpf(self._context, file.fileno()) == 0
            self._library.seccomp_release(self._context)
            file.seek(0)
            return file.read()


def option(unit: str, name: str) -> list[str]:
    """The values of an option, in their order."""
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def _sets() -> dict[str, list[str]]:
    shown = subprocess.run(
        [system_program("systemd-analyze"), "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, list[str]] = {}
    name = ""
    for line in shown.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = []
        elif line.startswith(" "):
            if name and not line.lstrip().startswith("#"):
                found[name].append(line.strip())
        elif line.strip():
            name = ""  # a heading
    return found


def _members(entries: Iterable[str], sets: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    for entry in entries:
        found |= _members(sets[entry], sets) if entry.startswith("@") else {entry}
    return found


def allowed_calls(unit: str) -> set[str]:
    """What SystemCallFilter= leaves."""
    sets, allowed = _sets(), set[str]()
    for value in option(unit, "SystemCallFilter"):
        if value.startswith("~"):
            allowed -= _members(value[1:].split(), sets)
        else:
            allowed |= _members(value.split(), sets)
    return allowed | _members(["@default"], sets)


def programs(unit: Path) -> list[bytes]:
    """The unit's restrictions, compiled."""
    text = unit.read_text()
    denied = getattr(errno, option(text, "SystemCallErrorNumber")[0])
    calls = Filter(_ERRNO | denied)
    for name in sorted(allowed_calls(text)):
        calls.rule(_ALLOW, name)
    arguments = Filter(_ALLOW)
    refuse = _ERRNO | errno.EPERM
    if option(text, "MemoryDenyWriteExecute") == ["yes"]:
        both = _PROT_WRITE | _PROT_EXEC
        arguments.rule(refuse, "mmap", _Compare(2, _MASKED_EQ, both, both))
        for name in ("mprotect", "pkey_mprotect"):
            arguments.rule(refuse, name, _Compare(2, _MASKED_EQ, _PROT_EXEC, _PROT_EXEC))
        arguments.rule(refuse, "shmat", _Compare(2, _MASKED_EQ, _SHM_EXEC, _SHM_EXEC))
    if option(text, "RestrictNamespaces") == ["yes"]:
        for flag in _NAMESPACES:
            for name in ("clone", "unshare"):
                arguments.rule(refuse, name, _Compare(0, _MASKED_EQ, flag, flag))
        arguments.rule(_ERRNO | errno.ENOSYS, "clone3")  # its flags are in memory: libraries then use clone
        arguments.rule(refuse, "setns")
    if option(text, "RestrictSUIDSGID") == ["yes"]:
        for name, position in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2)):
            for bit in _SET_ID:
                arguments.rule(refuse, name, _Compare(position, _MASKED_EQ, bit, bit))
    families = {_FAMILIES[name] for name in option(text, "RestrictAddressFamilies")[0].split()}
    for family in set(range(_LAST_FAMILY)) - families:
        arguments.rule(_ERRNO | errno.EAFNOSUPPORT, "socket", _Compare(0, _EQ, family, 0))
    return [calls.compiled(), arguments.compiled()]
