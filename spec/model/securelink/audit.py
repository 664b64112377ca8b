"""Audit chain, entries, statements (H60, H120 to H123) and counter reservations (H40)."""

from __future__ import annotations

from dataclasses import dataclass

from . import hpke
from .primitives import hmac, require, sha256, sign, u8, u16, u32, u64, verify
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
class Entry:
    """H120."""

    code: int
    boot: int
    uptime: int
    time: int
    node: int
    detail: bytes

    @property
    def bytes(self) -> bytes:
        head = u8(1) + u8(self.code) + u32(self.boot) + u32(self.uptime) + u32(self.time)
        return head + u8(self.node) + u8(len(self.detail)) + self.detail


def key_statement(cid: bytes, first_key: bytes, authority_kem: bytes, ephemeral: bytes, scalar: bytes) -> bytes:
    """194 bytes: the first key, sealed to the authority (H123)."""
    body = u8(1) + cid + hpke.seal(authority_kem, ephemeral, b"modbatt1 log key" + cid, first_key)
    return body + sign(scalar, b"modbatt1 logkey" + body)


def open_key_statement(data: bytes, authority_kem_scalar: bytes, public: bytes) -> bytes:
    require(len(data) == 194 and data[0] == 1, "Malformed", "key statement")
    verify(public, b"modbatt1 logkey" + data[:130], data[130:])
    return hpke.open_sealed(authority_kem_scalar, b"modbatt1 log key" + data[1:17], data[17:130])


def checkpoint(cid: bytes, number: int, digest: bytes, time: int, scalar: bytes) -> bytes:
    """125 bytes (H123)."""
    body = u8(1) + cid + u64(number) + digest + u32(time)
    return body + sign(scalar, b"modbatt1 logcheck" + body)


def check_checkpoint(data: bytes, public: bytes, cid: bytes, digests: dict[int, bytes]) -> int:
    """The number of the last entry that it covers; `digests` are the hashes of the chain by number."""
    require(len(data) == 125 and data[0] == 1, "Malformed", "checkpoint")
    verify(public, b"modbatt1 logcheck" + data[:61], data[61:])
    require(data[1:17] == cid, "WrongParty", "checkpoint of another device")
    number = int.from_bytes(data[17:25], "big")
    require(digests.get(number) == data[25:57], "NotAuthentic", "checkpoint does not fit the chain")
    return number


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
