"""Who acts for the authority: delegation, a delegate's revocation and acts, succession (H160 to H166)."""

from __future__ import annotations

from dataclasses import dataclass

from .identity import SemiPublicKey, parse_spk, spk_id
from .primitives import require, sha256, sign, u8, u32, verify

PAIR, BIND, REVOKE = 1, 2, 4
WINDOW_MAX = 30 * 86_400
LEASE_MIN, LEASE_MAX = 60, 90 * 86_400
PACKS_MAX = 8
HEAD = 91


@dataclass(frozen=True)
class Delegation:
    """H160."""

    number: int
    delegate: bytes
    issued: int
    not_before: int
    not_after: int
    lease: int
    operations: int
    packs: tuple[bytes, ...]

    @property
    def unsigned(self) -> bytes:
        times = u32(self.issued) + u32(self.not_before) + u32(self.not_after) + u32(self.lease)
        head = u8(1) + u32(self.number) + self.delegate + times + u8(self.operations)
        return head + u8(len(self.packs)) + b"".join(self.packs)

    def signed(self, authority_scalar: bytes) -> bytes:
        return self.unsigned + sign(authority_scalar, b"modbatt1 delegation" + self.unsigned)


def delegation_id(data: bytes) -> bytes:
    """Over the whole delegation, signature included."""
    return sha256(data)[:16]


def check(data: bytes, authority_key: bytes) -> Delegation:
    require(len(data) >= HEAD + 64 and data[0] == 1, "Malformed", "head of a delegation")
    count = data[HEAD - 1]
    require(1 <= count <= PACKS_MAX and len(data) == HEAD + 16 * count + 64, "Malformed", "packs of a delegation")
    spk = data[5:73]
    parse_spk(spk)
    times = [int.from_bytes(data[at : at + 4], "big") for at in range(73, 89, 4)]
    issued, not_before, not_after, lease = times
    packs = tuple(data[at : at + 16] for at in range(HEAD, HEAD + 16 * count, 16))
    number, operations = int.from_bytes(data[1:5], "big"), data[89]
    require(number > 0 and 1 <= operations <= 7, "Malformed", "number or operations")
    require(issued <= not_before < not_after <= not_before + WINDOW_MAX, "Malformed", "window")
    require(LEASE_MIN <= lease <= LEASE_MAX, "Malformed", "lease")
    require(list(packs) == sorted(set(packs)), "Malformed", "packs not ascending")
    verify(authority_key, b"modbatt1 delegation" + data[:-64], data[-64:])
    return Delegation(number, spk, issued, not_before, not_after, lease, operations, packs)


def revocation(delegation: bytes, kind: int, target: bytes, reason: int, time: int, delegate_scalar: bytes) -> bytes:
    """103 bytes (H164)."""
    body = u8(1) + delegation + u8(kind) + target + u8(reason) + u32(time)
    return body + sign(delegate_scalar, b"modbatt1 delegate revoke" + body)


def check_revocation(data: bytes, delegate_key: bytes) -> None:
    require(len(data) == 103 and data[0] == 1, "Malformed", "a delegate's revocation")
    require(data[17] in (2, 3) and data[34] <= 5, "Malformed", "type or reason")
    verify(delegate_key, b"modbatt1 delegate revoke" + data[:39], data[39:])


def act(delegation: bytes, number: int, previous: bytes, time: int, body: bytes, delegate_scalar: bytes) -> bytes:
    """153 bytes (H165); `body` is what the ledger is to record."""
    head = u8(1) + delegation + u32(number) + previous + u32(time) + sha256(body)
    return head + sign(delegate_scalar, b"modbatt1 act" + head)


def check_act(data: bytes, delegate_key: bytes) -> None:
    require(len(data) == 153 and data[0] == 1 and data[17:21] != bytes(4), "Malformed", "act")
    verify(delegate_key, b"modbatt1 act" + data[:89], data[89:])


def succession(time: int, old: SemiPublicKey, new: SemiPublicKey) -> bytes:
    """209 bytes (H166)."""
    body = u8(1) + old.id + new.object + u32(time)
    message = b"modbatt1 succession" + body
    return body + sign(old.sign_scalar, message) + sign(new.sign_scalar, message)


def check_succession(data: bytes, old: bytes) -> bytes:
    """The semi-public key of who follows `old`."""
    require(len(data) == 209 and data[0] == 1, "Malformed", "succession")
    new = data[9:77]
    parse_spk(new)
    require(data[1:9] == spk_id(old), "WrongParty", "the succession of another authority")
    message = b"modbatt1 succession" + data[:81]
    verify(old[2:35], message, data[81:145])
    verify(new[2:35], message, data[145:])
    return new
