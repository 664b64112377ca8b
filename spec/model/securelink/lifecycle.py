"""Time tokens, rebinding tokens, consent of owners and policy updates (H100, H147, L125, H110 to H113)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from .cbor import Value, encode
from .policy import Row
from .primitives import require, sign, u8, u16, u32, verify

#: Bases whose rows an update may not change or leave out (H113).
FIXED = (0x40C, 0x4AC, 0x50C, 0x52C, 0x500, 0x510, 0x51D, 0x406, 0x51E, 0x51F)
MINIMA = (0, 1, 2, 3, 4, 5, 0xFE, 0xFF)


def time_token(time: int, authority_scalar: bytes) -> bytes:
    """69 bytes (H100)."""
    body = u8(1) + u32(time)
    return body + sign(authority_scalar, b"modbatt1 time" + body)


def check_time_token(data: bytes, authority_key: bytes) -> int:
    require(len(data) == 69 and data[0] == 1, "Malformed", "time token")
    verify(authority_key, b"modbatt1 time" + data[:5], data[5:])
    return int.from_bytes(data[1:5], "big")


def rebind_token(cid: bytes, nonce: bytes, old: bytes, authority_scalar: bytes) -> bytes:
    """113 bytes (H147): leave for the device `cid` to replace the binding `old`."""
    body = u8(1) + cid + nonce + old
    return body + sign(authority_scalar, b"modbatt1 rebind" + body)


def consent(chain: bytes, *fields: Value) -> bytes:
    """Canonical CBOR (L125); the fields are cid, binding, cid of the partner, until ms, hop and number."""
    head: dict[int, Value] = {0: 1, 1: chain}
    return encode(head | dict(enumerate(fields, 2)))


def signed_consent(data: bytes, owner_scalar: bytes) -> bytes:
    return sign(owner_scalar, b"modbatt1 consent" + data)


def check_rebind_token(data: bytes, asked: tuple[bytes, bytes, bytes], authority_key: bytes) -> None:
    """`asked` is the cid, the nonce and the old binding of who holds the token against its question."""
    require(len(data) == 113 and data[0] == 1, "Malformed", "rebinding token")
    verify(authority_key, b"modbatt1 rebind" + data[:49], data[49:])
    require((data[1:17], data[17:33], data[33:49]) == asked, "WrongParty", "answer to another question")


@dataclass(frozen=True)
class Periods:
    """Rotation periods (H110); the defaults are those of the factory."""

    epoch: int = 86_400
    epoch_messages: int = 16_777_216
    agreement: int = 604_800
    agreement_epochs: int = 256
    certificate: int = 7_776_000
    group: int = 604_800
    link_days: int = 30

    def check(self) -> None:
        require(60 <= self.epoch <= 604_800, "Malformed", "period of an epoch")
        require(1024 <= self.epoch_messages <= 2_147_483_648, "Malformed", "messages of one key")
        require(self.epoch <= self.agreement <= 7_776_000, "Malformed", "period of the agreement")
        require(self.agreement_epochs >= 1, "Malformed", "epochs of the agreement")
        require(60 <= self.certificate <= 31_622_400, "Malformed", "period of the certificate")
        require(60 <= self.group <= 2_592_000, "Malformed", "period of the group key")

    @property
    def octets(self) -> bytes:
        head = u32(self.epoch) + u32(self.epoch_messages) + u32(self.agreement) + u16(self.agreement_epochs)
        return head + u32(self.certificate) + u32(self.group) + u16(self.link_days)

    @classmethod
    def parse(cls, data: bytes) -> Periods:
        cuts = ((0, 4), (4, 8), (8, 12), (12, 14), (14, 18), (18, 22), (22, 24))
        return cls(*(int.from_bytes(data[start:end], "big") for start, end in cuts))


@dataclass(frozen=True)
class PolicyUpdate:
    """H112."""

    version: int
    cid_a: bytes
    cid_b: bytes
    periods: Periods
    rows: tuple[Row, ...]

    @property
    def body(self) -> bytes:
        head = u8(1) + u32(self.version) + self.cid_a + self.cid_b + self.periods.octets
        return head + u16(len(self.rows)) + b"".join(row.bytes for row in self.rows)

    def signature(self, scalar: bytes) -> bytes:
        return sign(scalar, b"modbatt1 policy" + self.body)


def parse_policy_update(body: bytes, factory: tuple[Row, ...]) -> PolicyUpdate:
    """Layout, ranges, and what H113 forbids about the table."""
    require(len(body) >= 63 and body[0] == 1, "Malformed", "head of a policy update")
    count = int.from_bytes(body[61:63], "big")
    require(1 <= count <= 48 and len(body) == 63 + 8 * count, "Malformed", "length of a policy update")
    periods = Periods.parse(body[37:61])
    periods.check()
    rows = []
    for at in range(63, len(body), 8):
        raw = body[at : at + 8]
        first, last = int.from_bytes(raw[:2], "big"), int.from_bytes(raw[2:4], "big")
        rows.append(Row(first, last, *raw[4:]))
    for row in rows:
        require(row.first <= row.last, "Malformed", "row of the policy table")
        require(row.flags <= 15, "Malformed", "flags of a row")
        for code in (row.factory, row.bootstrap, row.paired):
            require(code in MINIMA, "Malformed", "minimum code")
    for before, after in itertools.pairwise(rows):
        require(before.last < after.first, "Malformed", "rows not ascending")
    for base in FIXED:
        require(_minima(rows, base) == _minima(factory, base), "Policy", f"fixed row of {base:#x}")
    return PolicyUpdate(int.from_bytes(body[1:5], "big"), body[5:21], body[21:37], periods, tuple(rows))


def _minima(rows: tuple[Row, ...] | list[Row], base: int) -> tuple[int, ...] | None:
    for row in rows:
        if row.first <= base <= row.last:
            return row.flags, row.factory, row.bootstrap, row.paired
    return None


def check_policy_update(
    body: bytes,
    signatures: tuple[bytes, bytes, bytes],
    keys: tuple[bytes, bytes, bytes],
    factory: tuple[Row, ...],
    held: int,
) -> PolicyUpdate:
    """`signatures` and `keys` of the authority, A and B; `held` is the highest version that is held."""
    update = parse_policy_update(body, factory)
    require(update.version > held, "Policy", "version not above the one held")
    for key, signature in zip(keys, signatures, strict=True):
        verify(key, b"modbatt1 policy" + body, signature)
    return update
