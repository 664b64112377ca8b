"""Files of a chain that does not exist: receipts of a record, of a binding among others and across a change of validators;
checkpoints, and what leads from one to the next."""

from __future__ import annotations

from securelink import checkpoint, ledger, receipt
from securelink.cbor import Value, decode, encode
from securelink.identity import MODULE, PACK
from securelink.primitives import Refused, public_of, sha256, sign, u8, u32, u64

from .inputs import Cast, Tree, scalar, shown

CHAIN = b"\xc1" * 32
SENDER = scalar(0x5E17)
SEEDS = [bytes([0x91 + n]) * 32 for n in range(4)]
KEYS = [ledger.validator_key(seed) for seed in SEEDS]
HEIGHT, TIME = 1000, 1_800_000_100_000


def certificate(header: bytes, seeds: list[bytes]) -> list[tuple[bytes, bytes]]:
    message = ledger.block_message(header)
    return [(ledger.validator_key(seed), ledger.validator_sign(seed, message)) for seed in seeds]


def state(cast: Cast, held: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """What the chain holds: what a receipt shows, and batches enough that there is a tree."""
    return {**{b"bat/" + cast.cid_m + u32(100 * n): u32(n) for n in range(40)}, **held}


def build(
    cast: Cast,
    body: bytes,
    held: dict[bytes, bytes],
    others: tuple[int, int],
    signers: tuple[list[bytes], bytes, bytes],
    result: Value | None = None,
    record: Value | None = None,
    handovers: list[Value] | None = None,
) -> tuple[bytes, bytes]:
    """A receipt file and the hash of its transaction: `others` before and after it in its block; who signs, who proposed
    block h, and the next one."""
    seeds, proposer, next_proposer = signers
    item, tx = ledger.signed_transaction(CHAIN, SENDER, 7, HEIGHT + 50, body)
    outcome = ledger.batch_result(receipt.fields(decode(receipt.fields(decode(body), 4)[2]), 6)) if result is None else result
    before, after = others
    txs = [ledger.leaf(sha256(bytes([n]))) for n in range(before + after)]
    results = [ledger.leaf(encode(ledger.result(0, [])))] * (before + after)
    txs.insert(before, ledger.leaf(sha256(tx)))
    results.insert(before, ledger.leaf(encode(outcome)))
    whole = state(cast, held)
    root = ledger.state_root({sha256(key): sha256(value) for key, value in whole.items()})
    fixed = (b"\x21" * 32, b"\x22" * 32, b"\x23" * 32)
    now = ledger.header(
        CHAIN, HEIGHT, TIME, proposer, fixed[0], fixed[1], ledger.tree_root(txs), fixed[2], len(txs)
    )
    next_root = sha256(b"next")
    following = ledger.header(
        CHAIN, HEIGHT + 1, TIME + 25, next_proposer, sha256(now), root, next_root, ledger.tree_root(results), 2
    )
    signatures: list[Value] = [
        [b"" if key == next_proposer else key, signature] for key, signature in certificate(following, seeds)
    ]
    parts: list[Value] = [
        CHAIN,
        item,
        before,
        b"".join(ledger.tree_path(txs, before)),
        [HEIGHT, TIME, len(txs), proposer, *fixed],
        [] if result is None else [result],
        b"".join(ledger.tree_path(results, before)),
        [TIME + 25, 2, b"" if next_proposer == proposer else next_proposer, next_root],
        signatures,
        list(held.values()),
        ledger.prove(whole, list(held)),
        record if record is not None else [],
    ]
    return receipt.MAGIC + encode(parts + ([handovers] if handovers else [])), sha256(tx)


def account() -> tuple[bytes, bytes]:
    return b"acc/" + public_of(SENDER), encode({0: 1, 1: 1, 2: 1, 3: 0})


def signing_key(key: bytes, cid: bytes, binding: bytes) -> tuple[bytes, bytes]:
    return b"key/" + key, encode({0: 1, 1: cid, 2: binding, 3: 12, 4: 1})


def of_record(cast: Cast) -> tuple[bytes, bytes]:
    first, count, at = 4_200, 5, 3
    records = [
        encode({0: 1, 1: cast.cid_m, 2: first + n, 3: TIME - 5_000 + n, 4: 1, 5: [3_650 + n, -1_200, 25]})
        for n in range(count)
    ]
    leaves = [ledger.leaf(data) for data in records]
    statement = encode(
        {0: 1, 1: cast.cid_m, 2: first, 3: count, 4: ledger.tree_root(leaves), 5: TIME - 5_000, 6: TIME - 4_996}
    )
    scalar_, key = cast.b.sign_scalar, cast.b.sign_public
    signature = sign(scalar_, b"modbatt1 led" + cast.cid_m + u64(first) + sha256(statement))
    body = encode({0: 1, 1: receipt.BATCH, 2: statement, 3: key, 4: signature})
    held = dict([signing_key(key, cast.cid_m, cast.i.binding_id)])
    record: Value = [records[at], at, b"".join(ledger.tree_path(leaves, at))]
    return build(cast, body, held, (0, 0), (SEEDS[:1], KEYS[0], KEYS[0]), record=record)


def of_binding(cast: Cast) -> tuple[bytes, bytes]:
    """Pack and module bound, the second of five transactions, certified by three of four validators."""
    pack, module = cast.a, cast.b

    def side(cid: bytes, role: int, spk: object) -> bytes:
        assert isinstance(spk, type(pack))
        return cid + u8(role) + spk.sign_public + spk.id + b"\x44" * 32

    entities = side(cast.cid_b, PACK, pack) + side(cast.cid_m, MODULE, module)
    data = u8(1) + cast.i.binding_id + entities + u32(cast.i.time) + u8(1)
    signatures = [sign(s, b"modbatt1 bindrec" + data) for s in (pack.sign_scalar, module.sign_scalar, SENDER)]
    body = encode({0: 1, 1: receipt.BIND, 2: data, **dict(enumerate(signatures, 3))})
    held = dict(
        [
            account(),
            signing_key(pack.sign_public, cast.cid_b, cast.i.binding_id),
            signing_key(module.sign_public, cast.cid_m, cast.i.binding_id),
        ]
    )
    result = ledger.result(
        0, [["BindingRecorded", [["binding_id", 1, cast.i.binding_id], ["assurance", 2, "B1"]]]]
    )
    signers = ([SEEDS[0], SEEDS[2], SEEDS[3]], KEYS[1], KEYS[2])
    return build(cast, body, held, (1, 3), signers, result)


def handover(cast: Cast, height: int) -> Value:
    """From the first validator to the second, decided for the height after this one."""
    change: Value = {0: 1, 1: 45, 2: checkpoint.validator_set(SEEDS[1:2]), 3: height + 1}
    entry = (b"nxt/" + u8(45), encode(change))
    entries = {sha256(key): sha256(value) for key, value in state(cast, dict([entry])).items()}
    head = ledger.header(
        CHAIN, height, TIME - 60_000, KEYS[0], sha256(b"499"), ledger.state_root(entries), sha256(b"tx"), sha256(b""), 0
    )
    signatures: list[Value] = [[key, signature] for key, signature in certificate(head, SEEDS[:1])]
    path = b"".join(ledger.state_path(entries, sha256(entry[0])))
    return [decode(head), {0: 1, 1: signatures}, [*entry, path]]


def included_at(file: bytes, said: bytes, height: int, block: bytes) -> bool:
    try:
        checkpoint.check_inclusion(file, said, height, block)
    except Refused:
        return False
    return True


def checkpoints(cast: Cast) -> Tree:
    """One of height 5 and one of height 11, between which the validators changed; two witnesses saw the later one."""
    blocks = [sha256(b"block" + u8(n)) for n in range(1, 12)]
    witnesses = [cast.a.sign_scalar, cast.b.sign_scalar]
    early = checkpoint.statement(CHAIN, blocks[:5], sha256(b"state 5"), SEEDS[:1])
    late = checkpoint.statement(CHAIN, blocks, sha256(b"state 11"), SEEDS[1:2])
    included = [checkpoint.inclusion(blocks, height) for height in range(1, 12)]
    for at, file in enumerate(included):
        checkpoint.check_inclusion(file, late, at + 1, blocks[at])
        for other in set(range(11)) - {at}:
            assert not included_at(file, late, other + 1, blocks[at])
            assert not included_at(file, late, at + 1, blocks[other])
    return {
        "blocks": blocks,
        "statement": late,
        "earlier": {"checkpoint_file": checkpoint.checkpoint(early, SEEDS[:1], SEEDS[:1], [])},
        "later": {"checkpoint_file": checkpoint.checkpoint(late, SEEDS[1:2], SEEDS[1:2], witnesses)},
        "succession_file": checkpoint.succession(blocks, 5, [handover(cast, 8)]),
        "inclusions": [{"inclusion_file": file} for file in included],
    }


def of_change(cast: Cast) -> tuple[bytes, bytes]:
    """A relation, certified by the validator that took over from another before."""
    body = encode({0: 1, 1: receipt.LCT, 2: cast.cid_b, 3: cast.cid_m, 4: "energy"})
    signers = (SEEDS[1:2], KEYS[1], KEYS[1])
    return build(cast, body, dict([account()]), (0, 0), signers, ledger.result(0, []), handovers=[handover(cast, 500)])


def groups(cast: Cast) -> dict[str, Tree]:
    rows = {
        "record": (of_record(cast), KEYS[:1]),
        "binding": (of_binding(cast), KEYS),
        "change": (of_change(cast), KEYS[:1]),
    }
    out: dict[str, Tree] = {}
    for name, ((file, tx), keys) in rows.items():
        trust = receipt.Trust(CHAIN, [(key, 1) for key in keys])
        facts = receipt.check(file, trust)
        # None of its bytes can be another one: every byte once, with a bit that moves from place to place.
        for at in range(5, len(file)):
            changed = file[:at] + bytes([file[at] ^ 1 << at % 8]) + file[at + 1 :]
            assert receipt.refused(changed, trust), f"{name}: byte {at}"
        out[name] = {"validators": keys, "file": file, "transaction": tx, "facts": facts}
    return shown({"receipts": {"chain": CHAIN, **out}, "checkpoints": checkpoints(cast)})  # type: ignore[no-any-return]
