"""Recordings of a bus (R1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .primitives import Refused, require


@dataclass(frozen=True)
class Frame:
    """`identifier` without the marks of its upper three bits."""

    time_ns: int
    identifier: int
    extended: bool
    fd: bool
    data: bytes


def frames(path: Path) -> Iterator[Frame]:
    """The frames of a recording, in order."""
    content = path.read_bytes()
    at = 0
    while at < len(content):
        require(at + 12 <= len(content), "Malformed", f"{path}: torn block at byte {at}")
        kind = int.from_bytes(content[at : at + 4], "little")
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        require(length >= 12 and length % 4 == 0, "Malformed", f"{path}: block length at byte {at}")
        require(at + length <= len(content), "Malformed", f"{path}: torn block at byte {at}")
        body = content[at + 8 : at + length - 4]
        at += length
        if kind == 0x0A0D0D0A:
            require(body[:4] == b"\x4d\x3c\x2b\x1a", "Malformed", f"{path}: not a little-endian pcapng")
        elif kind == 1:
            require(int.from_bytes(body[:2], "little") == 227, "Malformed", f"{path}: not a recording of CAN")
        elif kind == 6:
            yield _frame(body)


def _frame(body: bytes) -> Frame:
    high, low, captured = (int.from_bytes(body[at : at + 4], "little") for at in (4, 8, 12))
    packet = body[20 : 20 + captured]
    if len(packet) < 8 or len(packet) < 8 + packet[4]:
        raise Refused("Malformed", "short packet in a recording")
    word = int.from_bytes(packet[:4], "big")
    data = packet[8 : 8 + packet[4]]
    return Frame(high << 32 | low, word & 0x1FFFFFFF, bool(word >> 31), bool(packet[5] & 4), data)
