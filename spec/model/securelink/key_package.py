"""The key package, in clear and sealed (H84, H85)."""

from __future__ import annotations

from dataclasses import dataclass

from . import hpke
from .handshake import BIND, DEV, PAKE, refuse_degenerate
from .primitives import extract, hmac, require, sha256, sign, u8, u16, u32, verify
from .schedule import derive

MAGIC = b"MBKP"
LENGTH = 336
SEALED = 1


@dataclass(frozen=True)
class KeyPackage:
    """What one entity gets."""

    role: int
    kind: int
    cid_self: bytes
    cid_peer: bytes
    rel_id: bytes
    half_self: bytes
    half_peer: bytes
    lct_half: bytes
    salt: bytes
    iv_seed: bytes
    rotation_days: int
    epoch: int
    flags: int = 0

    def plain(self, self_is_a: bool) -> bytes:
        """336 bytes; `self_is_a` says which of the halves is that of side A."""
        body = (
            MAGIC
            + u8(1)
            + u8(self.flags)
            + u8(self.role)
            + u8(self.kind)
            + self.cid_self
            + self.cid_peer
            + self.rel_id
            + self.half_self
            + self.half_peer
            + self.lct_half
            + self.salt
            + self.iv_seed
            + u8(1)
            + u8(1)
            + u16(self.rotation_days)
            + u32(self.epoch)
        )
        return body + package_tag(body, self_is_a)


def package_tag(body: bytes, self_is_a: bool) -> bytes:
    """Detects corruption; everybody who reads a clear package can compute it."""
    half_self, half_peer, salt = body[56:120], body[120:184], body[248:280]
    half_a, half_b = (half_self, half_peer) if self_is_a else (half_peer, half_self)
    key = derive(extract(salt, half_a + half_b + salt), "kpkg", sha256(body), 32)
    return hmac(key, body)


def check_plain(data: bytes, cid_self: bytes, role_self: int, cid_peer: bytes, self_is_a: bool) -> None:
    """In the order of H84."""
    require(len(data) == LENGTH and data[:5] == MAGIC + u8(1), "Malformed", "head or length of a key package")
    require(data[5] & ~SEALED == 0, "Malformed", "flags")
    require(data[7] in (DEV, BIND, PAKE), "Malformed", "kind")
    require(data[296:298] == b"\x01\x01" and data[300:304] == bytes(4), "Malformed", "suite or epoch")
    named = (data[6], data[8:24], data[24:40])
    require(named == (role_self, cid_self, cid_peer), "WrongParty", "key package for others")
    refuse_degenerate(data[56:120], data[120:184])
    require(package_tag(data[:304], self_is_a) == data[304:], "NotAuthentic", "tag of a key package")


def sealed_info(cid_self: bytes, cid_peer: bytes, nonce: bytes) -> bytes:
    return b"modbatt1 kpkg" + cid_self + cid_peer + nonce


def seal(plain: bytes, kem_public: bytes, ephemeral: bytes, nonce: bytes, authority_scalar: bytes) -> bytes:
    """Sealed to the device's KEM key, and the authority's signature over that."""
    sealed = hpke.seal(kem_public, ephemeral, sealed_info(plain[8:24], plain[24:40], nonce), plain)
    return sealed + sign(authority_scalar, b"modbatt1 kpkg sig" + sealed)


def open_sealed(
    data: bytes, kem_scalar: bytes, cid_self: bytes, cid_peer: bytes, nonce: bytes, authority_key: bytes
) -> bytes:
    """The package inside; it is still to be checked by [check_plain]."""
    require(len(data) == 65 + LENGTH + 16 + 64, "Malformed", "length of a sealed key package")
    verify(authority_key, b"modbatt1 kpkg sig" + data[:-64], data[-64:])
    plain = hpke.open_sealed(kem_scalar, sealed_info(cid_self, cid_peer, nonce), data[:-64])
    require(plain[5] == SEALED, "Malformed", "a sealed package says so")
    return plain
