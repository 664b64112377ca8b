"""Device certificates and attested semi-public keys (H7, H8, H47)."""

from __future__ import annotations

from dataclasses import dataclass

from .identity import parse_spk
from .primitives import public_key, public_of, require, sha256, sign, u8, u32, verify

DEVICE, BATCH, ROOT = 10, 11, 12
LENGTH = 167
REQUEST_LENGTH = 124


@dataclass(frozen=True)
class DeviceCertificate:
    """Fields of H7; `code_commit` is 32 zero bytes where no code is printed."""

    type: int
    issuer_key: bytes
    cid: bytes
    role: int
    flags: int
    not_before: int
    not_after: int
    hardware: bytes
    identity_key: bytes
    code_commit: bytes = bytes(32)

    @property
    def unsigned(self) -> bytes:
        return (
            u8(1)
            + u8(self.type)
            + hint(self.issuer_key)
            + self.cid
            + u8(self.role)
            + u8(self.flags)
            + u32(self.not_before)
            + u32(self.not_after)
            + self.hardware
            + self.identity_key
            + self.code_commit
        )

    def signed(self, issuer_scalar: bytes) -> bytes:
        return self.unsigned + sign(issuer_scalar, b"modbatt1 devcert" + self.unsigned)


def certificate_request(role: int, flags: int, cid: bytes, hardware: bytes, scalar: bytes) -> bytes:
    """What a device asks its factory for, signed by the key that it has (H145)."""
    unsigned = u8(1) + u8(role) + u8(flags) + cid + hardware + public_of(scalar)
    return unsigned + sign(scalar, b"modbatt1 certreq" + unsigned)


def check_certificate_request(data: bytes) -> None:
    require(len(data) == REQUEST_LENGTH and data[0] == 1, "Malformed", "length or version of a request")
    require(1 <= data[1] <= 5 and data[2] & ~3 == 0, "Malformed", "role or flags")
    verify(data[27:60], b"modbatt1 certreq" + data[:60], data[60:])


def hint(issuer_key: bytes) -> bytes:
    return sha256(issuer_key)[:2]


def check(data: bytes, type_wanted: int, issuer_key: bytes, now: int) -> bytes:
    """The key of a certificate, if this issuer signed it and the time is inside its period (H7, H8)."""
    require(len(data) == LENGTH and data[0] == 1, "Malformed", "length or version of a device certificate")
    require(data[21] & ~3 == 0, "Malformed", "flags")
    require(data[1] in (DEVICE, BATCH, ROOT) and data[20] <= 4, "Malformed", "type or role")
    require(data[1] == type_wanted, "NotAuthentic", "type of certificate in this place")
    require(data[2:4] == hint(issuer_key), "NotAuthentic", "hint of another issuer")
    verify(issuer_key, b"modbatt1 devcert" + data[:103], data[103:])
    not_before, not_after = int.from_bytes(data[22:26], "big"), int.from_bytes(data[26:30], "big")
    require(not_before <= now < not_after, "Expired", "outside the period")
    public_key(data[38:71])
    return data[38:71]


def check_chain(device: bytes, batch: bytes, root_key: bytes, now: int) -> bytes:
    """The identity key of a device (H8)."""
    return check(device, DEVICE, check(batch, BATCH, root_key, now), now)


def spk_message(cid: bytes, role: int, spk: bytes, cid_partner: bytes, nonce: bytes) -> bytes:
    """What the identity key signs for a semi-public key (H47)."""
    return b"modbatt1 spk-attest" + cid + u8(role) + spk + cid_partner + nonce


def check_spk(
    identity_key: bytes, cid: bytes, role: int, spk: bytes, cid_partner: bytes, nonce: bytes, attestation: bytes
) -> None:
    parse_spk(spk)
    verify(identity_key, spk_message(cid, role, spk, cid_partner, nonce), attestation)
