"""The revocation list (H105, H106)."""

from __future__ import annotations

from dataclasses import dataclass

from .primitives import require, sha256, sign, u8, u16, u32, verify

MAGIC = b"MBRL"
ENTRY = 22
ENTRIES_MAX = 64
COMPONENT, BINDING, PAIRING, BATCH, DELEGATION = 1, 2, 3, 4, 7


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


def list_hash(data: bytes) -> bytes:
    """What the next list names as `prev_hash`: over the whole list, signature included."""
    return sha256(data)


def parse(data: bytes) -> RevocationList:
    """Layout and ranges (H105)."""
    require(len(data) >= 114 and data[:4] == MAGIC, "Malformed", "head of a revocation list")
    count = int.from_bytes(data[48:50], "big")
    require(count <= ENTRIES_MAX, "Malformed", "too many entries")
    require(len(data) == 50 + ENTRY * count + 64, "Malformed", "length of a revocation list")
    number, this, following = (int.from_bytes(data[at : at + 4], "big") for at in (4, 8, 12))
    require(number >= 1 and following >= this, "Malformed", "number or times")
    entries = []
    for at in range(50, len(data) - 64, ENTRY):
        row = data[at : at + ENTRY]
        require(row[0] in (COMPONENT, BINDING, PAIRING, BATCH, DELEGATION) and row[17] <= 5, "Malformed", "type or reason of an entry")
        entries.append(Entry(row[0], row[1:17], row[17], int.from_bytes(row[18:], "big")))
    return RevocationList(number, this, following, data[16:48], tuple(entries))


def take(data: bytes, authority_key: bytes, held: tuple[int, bytes] | None) -> RevocationList:
    """What a device does that holds the list `held`, as number and hash (H106)."""
    fresh = parse(data)
    if held is not None:
        require(fresh.number > held[0], "Policy", "number not above the one held")
    verify(authority_key, b"modbatt1 crl" + data[:-64], data[-64:])
    if held is not None and fresh.number == held[0] + 1:
        require(fresh.prev_hash == held[1], "Policy", "prev_hash is not that of the list held")
    return fresh
