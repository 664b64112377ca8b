"""The revocation list."""

from __future__ import annotations

from dataclasses import dataclass

from .primitives import require, sha256, sign, u8, u16, u32, verify

MAGIC = b"MBRL"
ENTRY = 22


@dataclass(frozen=True)
class Entry:
    type: int
    id: bytes
    reason: int
    time: int

    @property
    def bytes(self) -> bytes:
        return u8(self.type) + self.id + u8(self.reason) + u32(self.time)


@dataclass(frozen=True)
class RevocationList:
    number: int
    this_update: int
    next_update: int
    prev_hash: bytes
    entries: tuple[Entry, ...]

    @property
    def unsigned(self) -> bytes:
        head = MAGIC + u32(self.number) + u32(self.this_update) + u32(self.next_update) + self.prev_hash
        return head + u16(len(self.entries)) + b"".join(entry.bytes for entry in self.entries)

    def signed(self, authority_scalar: bytes) -> bytes:
        return self.unsigned + sign(authority_scalar, b"modbatt1 crl" + self.unsigned)


def parse(data: bytes, authority_key: bytes) -> RevocationList:
    """Layout, then signature."""
    require(len(data) >= 114 and data[:4] == MAGIC, "Malformed", "head of a revocation list")
    count = int.from_bytes(data[48:50], "big")
    require(len(data) == 50 + ENTRY * count + 64, "Malformed", "length of a revocation list")
    verify(authority_key, b"modbatt1 crl" + data[:-64], data[-64:])
    number, this, following = (int.from_bytes(data[at : at + 4], "big") for at in (4, 8, 12))
    entries = []
    for at in range(50, len(data) - 64, ENTRY):
        row = data[at : at + ENTRY]
        entries.append(Entry(row[0], row[1:17], row[17], int.from_bytes(row[18:], "big")))
    return RevocationList(number, this, following, data[16:48], tuple(entries))


def list_hash(data: bytes) -> bytes:
    """What the next list names as `prev_hash`: over the whole list, signature included."""
    return sha256(data)
