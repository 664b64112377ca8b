"""Receipts (ledger.md, L80 to L83, L230, L231): a verifier, and what makes one from its parts.

Of the kinds it reads 1 to 8 with what is inside; of others it says so. A receipt's change of validators is followed by L165.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .cbor import Value, decode, encode
from .ledger import (
    PROVED_MAX,
    Validators,
    batch_result,
    bit,
    block_message,
    certified,
    header,
    leaf,
    path_root,
    proved_root,
    split32,
    state_leaf,
    state_node,
    transaction,
    unsigned,
)
from .primitives import Refused, require, sha256, u64, verify

MAGIC = b"MBRC\x02"
REGISTER, LCT, BIND, PAIR, BATCH, ENERGY, CLOSE, ANCHOR = range(1, 9)
#: Those whose sender only carries the word of a component (L81).
CARRIED = (5, 6, 7, 8, 16, 19, 24, 50)
ACTIVE = 1


@dataclass(frozen=True)
class Trust:
    chain: bytes
    validators: Validators


def items(value: Value, *lengths: int) -> list[Any]:
    require(isinstance(value, list) and len(value) in lengths, "Malformed", "length of a list")
    assert isinstance(value, list)
    return value


def octets(value: Value, length: int) -> bytes:
    require(isinstance(value, bytes) and len(value) == length, "Malformed", "length of a byte string")
    assert isinstance(value, bytes)
    return value


def whole(value: Value, bits: int = 64) -> int:
    require(isinstance(value, int) and 0 <= value < 1 << bits, "Malformed", "a whole number")
    assert isinstance(value, int)
    return value


def fields(value: Value, count: int) -> dict[int, Any]:
    """An object of L3 with key 0 and `count` more."""
    require(isinstance(value, dict) and list(value) == list(range(count + 1)), "Malformed", "keys of an object")
    assert isinstance(value, dict)
    require(value[0] == 1, "Malformed", "version of an object")
    return value


def unless(value: Value, usual: bytes) -> bytes:
    """A key that is empty where it is the usual one (L231)."""
    if value == b"":
        return usual
    key = octets(value, 32)
    require(key != usual, "Malformed", "a key that follows is spelled out")
    return key


def evidence_keys(signer: bytes, kind: int, body: dict[int, Any]) -> list[bytes]:
    """L81."""
    keys = [] if kind in CARRIED else [b"acc/" + signer]
    if kind == REGISTER:
        statement = fields(decode(body[2]), 9)
        keys.append(b"dev/" + certified_key(statement[2])[1])
    elif kind == BIND:
        keys += [b"key/" + side[17:50] for side in sides(body[2])]
    elif kind == PAIR:
        keys += [b"key/" + body[4], b"key/" + body[5]]
    elif kind in (BATCH, ENERGY, CLOSE, ANCHOR):
        keys.append(b"key/" + body[3])
    else:
        require(kind == LCT, "Malformed", f"kind {kind} is none of those that this model reads")
    return keys


def sides(record: bytes) -> tuple[bytes, bytes]:
    """The two sides of a binding record (L35): `cid 16 | role | signing key 33 | ..` each."""
    require(len(record) == 202 and record[0] == 1, "Malformed", "binding record")
    return record[17:107], record[107:197]


def certified_key(certificate: bytes) -> tuple[bytes, bytes]:
    """Cid and key of a device certificate (L31)."""
    require(len(certificate) == 167 and certificate[0] == 1, "Malformed", "device certificate")
    return certificate[4:20], certificate[38:71]


def content(kind: int, body: dict[int, Any], signer: bytes, objects: list[bytes]) -> None:
    """What of L82 is about the keys and signatures inside."""

    def key_of(n: int) -> bytes:
        held = fields(decode(objects[n]), 4)
        require(held[4] == ACTIVE, "NotAuthentic", "a withdrawn key")
        return octets(held[1], 16)

    if kind == REGISTER:
        held = fields(decode(objects[0]), 3)
        cid, key = certified_key(fields(decode(body[2]), 9)[2])
        require(held[2] == ACTIVE and held[1] == cid, "NotAuthentic", "a withdrawn or foreign device key")
        verify(key, b"modbatt1 register" + body[2], body[3])
    elif kind == BIND:
        for n, side in enumerate(sides(body[2])):
            require(key_of(n) == side[:16], "NotAuthentic", "a key of another component")
            verify(side[17:50], b"modbatt1 bindrec" + body[2], body[3 + n])
        verify(signer, b"modbatt1 bindrec" + body[2], body[5])
    elif kind == PAIR:
        _ = key_of(0), key_of(1)
        message = b"modbatt1 pair-complete" + body[2] + body[7] + body[6] + body[8]
        for key, signature in ((body[4], body[10]), (body[5], body[11]), (signer, body[12])):
            verify(key, message, signature)
    elif kind == ANCHOR:
        require(key_of(0) == body[2][1:17], "NotAuthentic", "a key of another component")
        verify(body[3], b"modbatt1 logcheck" + body[2], body[4])
    elif kind in (BATCH, ENERGY, CLOSE):
        statement = decode(body[2])
        require(isinstance(statement, dict) and statement.get(0) == 1, "Malformed", "statement")
        assert isinstance(statement, dict)
        cid, seq = octets(statement[1], 16), whole(statement[2])
        if kind == ENERGY:
            seq = seq << 32 | whole(statement[3], 32)
        elif kind == CLOSE:
            seq = seq << 32 | 0xFFFFFFFF
        require(key_of(0) == cid, "NotAuthentic", "a key of another component")
        verify(body[3], b"modbatt1 led" + cid + u64(seq) + sha256(body[2]), body[4])


def certificate(value: Value, usual: bytes | None = None) -> list[tuple[bytes, bytes]]:
    """Keys and signatures, as in item 8 or, without a usual key, as in L73."""
    signatures = []
    for entry in value if isinstance(value, list) else []:
        key, signature = items(entry, 2)
        known = octets(key, 32) if usual is None else unless(key, usual)
        signatures.append((known, octets(signature, 64)))
    require(isinstance(value, list) and len(signatures) <= 128, "Malformed", "certificate")
    return signatures


def follow(chain: bytes, validators: Validators | None, handovers: list[Any], height: int) -> Validators | None:
    """L165."""
    last = 0
    for entry in handovers:
        head, over, proof = items(entry, 3)
        head = fields(head, 9)
        require(head[1] == chain and last < head[2] < height, "Malformed", "handovers out of order")
        last = head[2]
        key, value, path = items(proof, 3)
        require(key == b"nxt/" + bytes([45]), "Malformed", "proof of a handover")
        given = split32(path)
        root = proved_path(key, value, given)
        decided = fields(decode(value), 3)
        matches = root == head[6] and decided[1] == 45 and decided[3] == head[2] + 1
        require(matches, "NotAuthentic", "a handover that is not proved")
        if validators is not None:
            certified(block_message(encode(head)), certificate(fields(over, 1)[1]), validators)
        validators = [(key, power) for key, power in fields(decided[2], 1)[1]]
    return validators


def proved_path(key: bytes, value: bytes, path: list[bytes]) -> bytes:
    """L63: a single proof is one of L230 with all siblings written out."""
    at = sha256(key)
    now = state_leaf(at, sha256(value))
    for i, sibling in enumerate(path):
        pair = (now, sibling)
        now = state_node(*(pair[::-1] if bit(at, len(path) - 1 - i) else pair))
    return now


def check(file: bytes, trust: Trust | None) -> dict[str, Any]:
    """Verifies a receipt file by L82; what it proves, or `Refused`."""
    require(file[:5] == MAGIC, "Malformed", "no receipt of format 2")
    require(len(file) <= 1 << 20, "Malformed", "too long")
    parts = items(decode(file[5:]), 12, 13)
    chain = octets(parts[0], 32)
    signer, nonce, expiry, body, signature = items(parts[1], 5)
    first = unsigned(chain, octets(signer, 33), whole(nonce), whole(expiry), body)
    tx = transaction(first, octets(signature, 64))
    index, holding, following = whole(parts[2], 32), items(parts[4], 7), items(parts[7], 4)
    require(isinstance(body, dict) and body.get(0) == 1, "Malformed", "body")
    kind = body[1]

    evident = batch_result(fields(decode(body[2]), 6)) if kind == BATCH else None
    (outcome,) = items(parts[5], 0, 1) or [evident]
    require(outcome is not None, "Malformed", "a result that does not follow is missing")
    require(not (parts[5] and outcome == evident), "Malformed", "a result that follows is spelled out")
    height, time_ms, count, proposer, parent, state, results = holding
    next_proposer = unless(following[2], octets(proposer, 32))
    signatures = certificate(parts[8], next_proposer)
    objects = [octets(value, len(value)) for value in items(parts[9], *range(PROVED_MAX + 1))]

    require(trust is None or trust.chain == chain, "NotAuthentic", "another chain")
    tx_root = path_root(leaf(sha256(tx)), index, whole(count, 32), split32(parts[3]))
    now = header(chain, whole(height), time_ms, proposer, parent, state, tx_root, results, count)
    keys = evidence_keys(signer, kind, body)
    require(len(keys) == len(objects), "Malformed", "number of objects")
    state_after = proved_root(parts[10], zip(keys, objects, strict=True))
    result_root = path_root(leaf(encode(outcome)), index, count, split32(parts[6]))
    after = header(
        chain, height + 1, following[0], next_proposer, sha256(now), state_after, following[3], result_root, following[1]
    )
    handovers = parts[12] if len(parts) == 13 else []
    require(len(parts) == 12 or len(handovers) > 0, "Malformed", "a list of no handovers")
    validators = follow(chain, trust.validators if trust else None, handovers, height + 1)
    if validators is None:
        validators = [(key, 1) for key, _ in signatures]
        require(bool(validators), "NotAuthentic", "nobody signed")
    certified(block_message(after), signatures, validators)

    verify(signer, b"modbatt1 tx" + first, signature)
    require(fields(outcome, 2)[1] == 0, "NotAuthentic", "the chain refused it")
    if kind not in CARRIED:
        account = fields(decode(objects.pop(0)), 3)
        require(account[2] == ACTIVE and account[3] <= height, "NotAuthentic", "the account is not in force")
    content(kind, body, signer, objects)
    facts = {"chain": chain, "kind": kind, "height": height, "time_ms": time_ms, "transaction": sha256(tx)}
    part = items(parts[11], 0, 3)
    if part:
        require(kind == BATCH, "Malformed", "a record under no batch")
        facts["seq"] = record(part, fields(decode(body[2]), 6))
    return facts


def record(part: list[Any], batch: dict[int, Any]) -> int:
    """Its number, once it is one of the batch."""
    data, index, path = part
    said = decode(data)
    require(isinstance(said, dict) and said.get(0) == 1, "Malformed", "record")
    assert isinstance(said, dict)
    placed = said[1] == batch[1] and said[2] == batch[2] + index
    require(placed, "NotAuthentic", "a record of another place")
    require(path_root(leaf(data), index, batch[3], split32(path)) == batch[4], "NotAuthentic", "not in the batch")
    return whole(said[2], 32)


def refused(file: bytes, trust: Trust | None) -> bool:
    """Whether it does not hold; nothing else than a refusal may come of any bytes."""
    try:
        check(file, trust)
    except Refused:
        return True
    return False
