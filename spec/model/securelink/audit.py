"""Audit chain and counter reservations (H60, H40)."""

from __future__ import annotations

from dataclasses import dataclass

from .primitives import hmac, require, sha256, u8, u16, u32, u64
from .schedule import derive


def entry_hash(before: bytes, number: int, entry: bytes) -> bytes:
    return sha256(b"modbatt1 log" + before + u64(number) + u16(len(entry)) + entry)


FIRST_HASH = entry_hash(bytes(32), 0, b"")


def next_key(key: bytes, number: int) -> bytes:
    """k_{n+1} from k_n."""
    return derive(key, "log next", u64(number), 32)


def tag(key: bytes, digest: bytes) -> bytes:
    return hmac(key, digest)[:16]


def check_chain(first_key: bytes, entries: list[tuple[bytes, bytes]]) -> bytes:
    """The hash after the last of (entry, tag); refused at the first that does not fit."""
    key, digest = first_key, FIRST_HASH
    for number, (entry, given) in enumerate(entries, 1):
        digest = entry_hash(digest, number, entry)
        require(tag(key, digest) == given, "NotAuthentic", f"entry {number}")
        key = next_key(key, number)
    return digest


@dataclass(frozen=True)
class Reservation:
    """A reservation record, 32 bytes (H40)."""

    slot: int
    tier: int
    direction: int
    epoch: int
    number: int
    limit: int

    def record(self, storage_key: bytes) -> bytes:
        head = b"MBC1" + u8(self.slot) + u8(self.tier) + u8(self.direction) + u8(0)
        body = head + u32(self.epoch) + u32(self.number) + u64(self.limit)
        return body + hmac(storage_key, b"modbatt1 nv" + body)[:8]
