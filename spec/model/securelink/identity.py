"""Component ids, roles, semi-public keys (H4, H5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .primitives import ORDER, SUITE, Refused, public_key, public_of, require, sha256, u8
from .schedule import derive

AUTHORITY, APP, PACK, MODULE, SENSOR = range(5)


def cid_of(component_id: str) -> bytes:
    """H4."""
    require(re.fullmatch(r"[A-Za-z0-9_-]{3,64}", component_id) is not None, "Malformed", "component id")
    return sha256(b"modbatt1 cid" + component_id.encode("ascii"))[:16]


def a_is_first(role_1: int, cid_1: bytes, role_2: int, cid_2: bytes) -> bool:
    """Whether the first of two entities is A (H4)."""
    return (role_1, cid_1) < (role_2, cid_2)


@dataclass(frozen=True)
class SemiPublicKey:
    """The private side of one relationship: a seed and what H5 makes of it."""

    seed: bytes

    def _scalar(self, label: str) -> bytes:
        wide = int.from_bytes(derive(self.seed, label, b"", 48), "big")
        return (wide % (ORDER - 1) + 1).to_bytes(32, "big")

    @property
    def sign_scalar(self) -> bytes:
        return self._scalar("spk sign")

    @property
    def kem_scalar(self) -> bytes:
        return self._scalar("spk kem")

    @property
    def sign_public(self) -> bytes:
        return public_of(self.sign_scalar)

    @property
    def kem_public(self) -> bytes:
        return public_of(self.kem_scalar)

    @property
    def object(self) -> bytes:
        """68 bytes: `1 | suite 1 | sign_pub 33 | kem_pub 33`."""
        return u8(1) + u8(SUITE) + self.sign_public + self.kem_public

    @property
    def id(self) -> bytes:
        return spk_id(self.object)


def spk_id(spk: bytes) -> bytes:
    return sha256(b"modbatt1 spk" + spk)[:8]


def parse_spk(spk: bytes) -> tuple[bytes, bytes]:
    """The two points of a semi-public key, refused unless both are on the curve."""
    if len(spk) != 68 or spk[0] != 1 or spk[1] != SUITE:
        raise Refused("Malformed", "semi-public key")
    for point in (spk[2:35], spk[35:68]):
        public_key(point)
    return spk[2:35], spk[35:68]
