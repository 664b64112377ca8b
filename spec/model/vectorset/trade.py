"""What owners order about energy, what both packs sign of a transfer, and a price that two agree on."""

from __future__ import annotations

from securelink import trade
from securelink.primitives import public_of

from .inputs import Cast, Tree, scalar, shown

CHAIN = b"\xc0" * 32
OFFER, TRANSFER = b"\x0f" * 16, b"\x7f" * 16
#: Who sells to the owner of the pack.
OTHER = scalar(0x0E0E)


def orders(cast: Cast) -> dict[str, bytes]:
    """A stands for the pack of the owner who signs, B for the other pack."""
    ms = cast.i.time * 1000
    give = (cast.cid_b, cast.i.pairing_id, 30_000, ms + 60_000)
    terms = (10_000, 1_000, 300_000, ms, ms + 3_600_000)
    fields: dict[str, tuple[int, bytes, tuple[int | bytes, ...]]] = {
        "transfer": (trade.TRANSFER, TRANSFER, give),
        "balance": (trade.BALANCE, TRANSFER, give),
        "offer_energy": (trade.OFFER_ENERGY, OFFER, terms),
        "offer_capacity": (trade.OFFER_CAPACITY, OFFER, terms),
        "accept": (trade.ACCEPT, TRANSFER, (OFFER, cast.i.pairing_id, 2**64 - 1, 0, ms + 60_000)),
        "withdraw": (trade.WITHDRAW, OFFER, ()),
    }
    return {name: trade.order(CHAIN, code, at, cast.cid_a, *rest) for name, (code, at, rest) in fields.items()}


def groups(cast: Cast) -> dict[str, Tree]:
    ms = cast.i.time * 1000
    a, b = cast.a.sign_scalar, cast.b.sign_scalar
    receipt = trade.statement(CHAIN, TRANSFER, 25_000, 24_000, ms, ms + 5_000)
    quote = trade.statement(CHAIN, cast.cid_a, 7, 250_000, public_of(OTHER))
    out = {
        "energy_order": {
            "chain": CHAIN,
            **{name: {"order": data, "signature": trade.signed_order(data, a)} for name, data in orders(cast).items()},
        },
        "energy_receipt": {
            "receipt": receipt,
            "signature_giver": trade.signed_receipt(receipt, a),
            "signature_taker": trade.signed_receipt(receipt, b),
        },
        "energy_quote": {
            "other_scalar": OTHER,
            "other": public_of(OTHER),
            "quote": quote,
            "signature_owner": trade.signed_quote(quote, a),
            "signature_other": trade.signed_quote(quote, OTHER),
        },
    }
    return shown(out)  # type: ignore[no-any-return]
