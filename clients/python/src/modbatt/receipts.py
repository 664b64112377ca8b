"""Receipts, verified without network: the verifier is the one of the specification's model (`securelink.receipt`).

It reads the kinds 1 to 8 with all that is inside: registrations, LCTs, bindings, pairings, telemetry, energy, audit logs.
`modbatt verify` reads every kind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from securelink.cbor import decode
from securelink.primitives import Refused
from securelink.receipt import Trust, check, items, whole


class NotProved(Exception):
    """The receipt does not hold, or proves something else; the text says which check failed."""


@dataclass(frozen=True)
class Proved:
    """What a receipt proves."""

    kind: int
    height: int
    #: Block time, Unix milliseconds.
    time_ms: int
    transaction: bytes
    #: The telemetry record, if the receipt is of one.
    record: Record | None


@dataclass(frozen=True)
class Record:
    """One telemetry record (L40)."""

    cid: bytes
    seq: int
    #: When it was measured, Unix milliseconds.
    time_ms: int
    kind: int
    values: tuple[int, ...]


def trust_of(path: Path) -> Trust:
    """Reads a trust file (A42): a genesis, or the validators of a chain."""
    file = json.loads(path.read_text("utf-8"))
    validators = [(bytes.fromhex(one["key"]), int(one["power"])) for one in file["validators"]]
    return Trust(bytes.fromhex(file["chain_id"]), validators)


def verify(receipt: bytes, trust: Trust) -> Proved:
    """What `receipt` proves to whoever trusts the validators in `trust`."""
    try:
        facts = check(receipt, trust)
        part = items(items(decode(receipt[5:]), 12, 13)[11], 0, 3)
        return Proved(
            facts["kind"], facts["height"], facts["time_ms"], facts["transaction"], _record(part[0]) if part else None
        )
    except Refused as error:
        raise NotProved(str(error)) from None


def _record(data: bytes) -> Record:
    said = decode(data)
    if not isinstance(said, dict):
        raise Refused("Malformed", "record")
    values = said[5]
    if not isinstance(values, list) or not isinstance(said[1], bytes):
        raise Refused("Malformed", "record")
    return Record(said[1], whole(said[2], 32), whole(said[3]), whole(said[4], 8), tuple(int(str(v)) for v in values))
