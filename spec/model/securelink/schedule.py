"""Labels and the key schedule (H20 to H28)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .primitives import expand, extract, hmac, require, u8, u16, u32

TIERS = ("dev", "exch", "pair", "bind", "grp")
LEVELS = {"dev": 0, "exch": 1, "pair": 2, "bind": 3, "grp": 2}


def derive(secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """H20."""
    full = b"modbatt1 " + label.encode("ascii")
    require(len(label) <= 32 and len(context) <= 96, "Malformed", "label or context too long")
    return expand(secret, u16(length) + u8(len(full)) + full + u8(len(context)) + context, length)


@dataclass(frozen=True)
class TierKeys:
    """What one traffic secret gives (H25)."""

    secret: bytes

    @cached_property
    def key(self) -> bytes:
        return derive(self.secret, "key", b"", 32)

    @cached_property
    def mac(self) -> bytes:
        return derive(self.secret, "mac", b"", 32)

    @cached_property
    def iv(self) -> bytes:
        return derive(self.secret, "iv", b"", 16)

    @cached_property
    def compact_key(self) -> bytes:
        return derive(self.secret, "ckey", b"", 32)

    @cached_property
    def base4(self) -> bytes:
        return self.iv[:4]


def exchange_tag(exchange_key: bytes) -> bytes:
    """H26."""
    return hmac(exchange_key, b"modbatt1 xk")[:16]


def tier_keys(master: bytes, tier: str, direction: str, epoch: int, channel_id: bytes, tag: bytes = b"") -> TierKeys:
    """H24; `tag` belongs to exch and to no other tier."""
    require(tier in TIERS and direction in ("ab", "ba"), "InvalidKey", "no such tier")
    require(len(tag) == (16 if tier == "exch" else 0), "InvalidKey", "exchange tag")
    return TierKeys(derive(master, f"ts {tier} {direction}", u32(epoch) + channel_id + tag, 32))


def group_keys(group_key: bytes, generation: int, cid_pack: bytes) -> TierKeys:
    """H27: one direction, from the pack to all modules."""
    return TierKeys(derive(group_key, "ts grp ab", u32(generation) + cid_pack, 32))


def rekey(master: bytes, epoch: int, nonce_a: bytes, nonce_b: bytes, salt: bytes) -> bytes:
    """H28: the master secret of epoch `epoch`, from that of the epoch before."""
    return derive(master, "rekey", u32(epoch) + nonce_a + nonce_b + salt, 32)


def pre_master(salt: bytes, key_material: bytes, th0: bytes, shared: bytes) -> tuple[bytes, bytes]:
    """S0 and S1 of H22."""
    s0 = extract(salt, key_material)
    return s0, extract(derive(s0, "hs salt", th0, 32), shared)
