"""Level 1: the compact announce, 90 bytes: `cid 16 | boot u32 | seq u32 | flags u16 | signature 64`."""

from __future__ import annotations

from .primitives import require, sign, u16, u32, verify

DOMAIN = b"modbatt1 l1"


def announce(scalar: bytes, cid: bytes, boot: int, seq: int, flags: int) -> bytes:
    body = cid + u32(boot) + u32(seq) + u16(flags)
    return body + sign(scalar, DOMAIN + body)


def check(data: bytes, public: bytes, after: tuple[int, int]) -> tuple[int, int]:
    """(boot, seq), which must be above the last that this verifier saw of the cid."""
    require(len(data) == 90, "Malformed", "length of an announce")
    verify(public, DOMAIN + data[:26], data[26:])
    number = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    require(number > after, "Replayed", "boot and seq")
    return number
