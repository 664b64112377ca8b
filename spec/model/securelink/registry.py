"""What the ledger records of components beyond their making: states, versions, contexts, authorisations, commitments,
queues (ledger.md, L131 to L153)."""

from __future__ import annotations

import hashlib
import hmac

from .cbor import Value, encode
from .primitives import sha256, u8

COMPONENT, MANUFACTURER, CATEGORY, RULE = 1, 2, 3, 4


def move(chain: bytes, cid: bytes, number: int, state: int, reason: int, time_ms: int) -> bytes:
    """L132."""
    return encode({0: 1, 1: chain, 2: cid, 3: number, 4: state, 5: reason, 6: time_ms})


def version(chain: bytes, cid: bytes, number: int, hardware: int, firmware: int, image: bytes, time_ms: int) -> bytes:
    """L134."""
    return encode({0: 1, 1: chain, 2: cid, 3: number, 4: hardware, 5: firmware, 6: image, 7: time_ms})


def context(chain: bytes, lct: bytes, kind: int, number: int, content: list[Value], time_ms: int) -> bytes:
    """L144."""
    return encode({0: 1, 1: chain, 2: lct, 3: kind, 4: number, 5: content, 6: time_ms})


def context_file(statement: bytes, key: bytes, signature: bytes) -> bytes:
    """L220."""
    return b"MBCX\x01" + len(statement).to_bytes(2, "big") + statement + key + signature


def entity_lct(chain: bytes, cid: bytes, key: bytes) -> bytes:
    """L33."""
    return sha256(b"modbatt1 lct-entity" + chain + cid + key)


def authorization_id(chain: bytes, a: bytes, b: bytes, purpose: str) -> bytes:
    """L136."""
    return sha256(b"modbatt1 authorization" + chain + a + b + purpose.encode())[:16]


def anonymous_id(chain: bytes, a: bytes, b: bytes) -> bytes:
    """L139."""
    return sha256(b"modbatt1 anonymous" + chain + a + b)


def queue_id(transaction: bytes) -> bytes:
    """L151."""
    return sha256(b"modbatt1 queue" + transaction)[:16]


def opening(secret: bytes, field: int, value: bytes) -> bytes:
    """L138."""
    return hmac.new(secret, b"modbatt1 opening" + u8(field) + value, hashlib.sha256).digest()


def commitment(shown: bytes, field: int, value: bytes) -> bytes:
    return hmac.new(shown, b"modbatt1 commitment" + u8(field) + value, hashlib.sha256).digest()


def body(kind: int, *fields: Value) -> bytes:
    """L20: version, kind, then the fields from key 2 on."""
    return encode({0: 1, 1: kind, **dict(enumerate(fields, 2))})
