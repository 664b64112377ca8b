"""The printed code and its run: SPAKE2+ over P-256 (H80 to H82, RFC 9383).

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


def printed(digits: str) -> str:
    """The form on the label: three groups of four and the check character (H80)."""
    number = 0
    for digit in digits:
        number = 32 * number + ALPHABET.index(digit)
    groups = (digits[:4], digits[4:8], digits[8:], CHECK_ALPHABET[number % 37])
    return "-".join(groups)


def typed(text: str) -> str:
    """The 12 digits of what somebody typed, if its check character fits (H80)."""
    code = text.upper().replace("-", "").replace(" ", "")
    code = code.replace("I", "1").replace("L", "1").replace("O", "0")
    require(len(code) == 13, "Malformed", "length of a code")
    require(all(digit in ALPHABET for digit in code[:12]), "Malformed", "digit of a code")
    require(printed(code[:12]).replace("-", "") == code, "NotAuthentic", "check character")
    return code[:12]


def stretch(digits: str, cid_pack: bytes) -> tuple[int, int]:
    """w0 and w1 of the 12 digits of a code (H81)."""
    wide = hashlib.scrypt(digits.encode("ascii"), salt=cid_pack, n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=80)
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

    def prover_checks(self, share_v: bytes, confirm_v: bytes) -> None:
        """What the prover does with shareV and confirmV (H82)."""
        require(len(share_v) == 65 and len(confirm_v) == 32, "Malformed", "length of a share")
        p256.decode(share_v)
        require(share_v != self.share_p, "InvalidKey", "own share came back")
        # A share of somebody else leads to another transcript; this model knows that of its own run.
        require((share_v, confirm_v) == (self.share_v, self.confirm_v), "NotAuthentic", "confirmV")

    def verifier_checks(self, confirm_p: bytes) -> None:
        require(len(confirm_p) == 32, "Malformed", "length of confirmP")
        require(confirm_p == self.confirm_p, "NotAuthentic", "confirmP")

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
    """What ties a printed code to a device certificate (H81)."""
    require(len(point_l) == 65, "Malformed", "length of L")
    return sha256(b"modbatt1 code" + cid + w0.to_bytes(32, "big") + point_l)
