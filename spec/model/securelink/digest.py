"""The digest of frames that stayed clear (C106), and what a receiver says of it (C107)."""

from __future__ import annotations

from .primitives import require, sha256, u8, u16, u32

#: Identifier as it is hashed, with bit 31 set when it has 29 bits, and data.
Frame = tuple[int, bytes]


def frame(identifier: int, data: bytes, *, extended: bool) -> Frame:
    return identifier | (0x8000_0000 if extended else 0), data


def pdu(window: int, frames: list[Frame]) -> bytes:
    """DIGEST with its type byte, 39 bytes."""
    told = b"".join(u32(identifier) + u8(len(data)) + data for identifier, data in frames)
    return u8(0x0F) + u32(window) + u16(len(frames)) + sha256(told)


def verdict(data: bytes, expected: int, heard: list[Frame]) -> str:
    """Of a receiver that waits for window `expected`."""
    require(len(data) == 39 and data[0] == 0x0F, "Malformed", "digest")
    window, sent = int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:7], "big")
    if window < expected:
        return "ignored"
    if window == expected and pdu(window, heard) == data:
        return "proved"
    if window != expected or len(heard) < sent:
        return "not comparable"
    return "altered"
