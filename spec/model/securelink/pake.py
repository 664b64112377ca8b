"""The run with the printed code: SPAKE2+ over P-256 (RFC 9383) and what becomes of its key.

Prover is the app, which scanned the code; verifier is the pack, which holds (w0, L) and never the code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from . import p256
from .primitives import ORDER, expand, extract, hmac, require, sha256

CONTEXT = b"modbatt1 pake"
M = bytes.fromhex("02886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12f")
N = bytes.fromhex("03d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49")

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHECK_ALPHABET = ALPHABET + "*~$=U"


def stretch(code: str, cid_pack: bytes) -> tuple[int, int]:
    """w0 and w1 of the 12 characters of a code: scrypt N = 2^15, r = 8, p = 1, 80 bytes."""
    wide = hashlib.scrypt(
        code.encode("ascii"), salt=cid_pack, n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=80
    )
    return int.from_bytes(wide[:40], "big") % ORDER, int.from_bytes(wide[40:], "big") % ORDER


def registration(w1: int) -> bytes:
    """L, 65 bytes."""
    return p256.encode(p256.multiply(w1, p256.GENERATOR))


@dataclass(frozen=True)
class Exchange:
    """One run, seen by somebody who knows both sides."""

    w0: int
    w1: int
    x: int
    y: int
    prover: bytes
    verifier: bytes
    context: bytes = CONTEXT

    @property
    def share_p(self) -> bytes:
        blind = p256.multiply(self.w0, p256.decode(M))
        return p256.encode(p256.add(p256.multiply(self.x, p256.GENERATOR), blind))

    @property
    def share_v(self) -> bytes:
        blind = p256.multiply(self.w0, p256.decode(N))
        return p256.encode(p256.add(p256.multiply(self.y, p256.GENERATOR), blind))

    @property
    def transcript(self) -> bytes:
        """TT of RFC 9383 section 3.4: every part after its length, eight bytes little-endian."""
        unblinded = p256.add(p256.decode(self.share_v), p256.negate(p256.multiply(self.w0, p256.decode(N))))
        z = p256.encode(p256.multiply(self.x, unblinded))
        v = p256.encode(p256.multiply(self.w1, unblinded))
        parts = (
            self.context,
            self.prover,
            self.verifier,
            p256.encode(p256.decode(M)),
            p256.encode(p256.decode(N)),
            self.share_p,
            self.share_v,
            z,
            v,
            self.w0.to_bytes(32, "big"),
        )
        return b"".join(len(part).to_bytes(8, "little") + part for part in parts)

    @property
    def main_key(self) -> bytes:
        return sha256(self.transcript)

    @property
    def _confirmation_keys(self) -> bytes:
        return expand(extract(bytes(32), self.main_key), b"ConfirmationKeys", 64)

    @property
    def confirm_p(self) -> bytes:
        return hmac(self._confirmation_keys[:32], self.share_v)

    @property
    def confirm_v(self) -> bytes:
        return hmac(self._confirmation_keys[32:], self.share_p)

    @property
    def shared_key(self) -> bytes:
        return expand(extract(bytes(32), self.main_key), b"SharedKey", 32)


def code_commit(cid: bytes, w0: int, point_l: bytes) -> bytes:
    """What ties a printed code to a device certificate."""
    require(len(point_l) == 65, "Malformed", "length of L")
    return sha256(b"modbatt1 code" + cid + w0.to_bytes(32, "big") + point_l)
