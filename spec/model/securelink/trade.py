"""Energy between packs: orders of owners, receipts of both packs, quotes (spec/ledger.md, L212, L214 and L216)."""

from __future__ import annotations

from .cbor import Value, encode
from .primitives import sign

TRANSFER, BALANCE, OFFER_ENERGY, OFFER_CAPACITY, ACCEPT, WITHDRAW = range(1, 7)


def statement(chain: bytes, *fields: Value) -> bytes:
    """Version, chain id, and the fields from 2 on."""
    head: dict[int, Value] = {0: 1, 1: chain}
    return encode(head | dict(enumerate(fields, 2)))


def order(chain: bytes, code: int, trade: bytes, cid: bytes, *fields: Value) -> bytes:
    return statement(chain, code, trade, cid, *fields)


def signed_order(data: bytes, owner_scalar: bytes) -> bytes:
    return sign(owner_scalar, b"modbatt1 energy-order" + data)


def signed_receipt(data: bytes, pack_scalar: bytes) -> bytes:
    return sign(pack_scalar, b"modbatt1 energy-receipt" + data)


def signed_quote(data: bytes, scalar: bytes) -> bytes:
    return sign(scalar, b"modbatt1 energy-quote" + data)
