"""Time, revocation, rebinding, policy updates, announces, audit."""

from __future__ import annotations

import dataclasses

from securelink import announce, audit, escalation, event, lifecycle, revocation
from securelink.primitives import sha256, u8
from securelink.revocation import Entry, RevocationList

from .binding import batch_certificate, record_tree
from .inputs import Cast, Tree, scalar, shown

# Code, least level, and the highest that an escalation asks for, of each operation (H150).
LEVELS = (
    (1, 1, 4),
    (2, 2, 4),
    (3, 3, 3),
    (4, 4, 4),
    (5, 4, 4),
    (6, 5, 7),
    (7, 5, 7),
    (8, 6, 7),
    (9, 6, 6),
    (10, 7, 7),
)
FIRST_KEY = b"\x4d" * 32
LOG_EPHEMERAL = scalar(0x3334)
REBIND_NONCE = b"\xdc" * 16
CONSENT_CHAIN = b"\xc0" * 32
# Who owns the component that agrees.
OWNER = scalar(0x0A0E)
OLD_BINDING = b"\xbd" * 16


def lists(cast: Cast) -> tuple[bytes, bytes]:
    """The first list, empty, and the second, with an entry of each type."""
    i = cast.i
    secret = cast.authority.sign_scalar
    first = RevocationList(1, i.time, i.time + 604_800, bytes(32), ()).signed(secret)
    entries = (
        Entry(revocation.COMPONENT, cast.cid_m, 1, i.time + 10),
        Entry(revocation.BINDING, i.binding_id, 2, i.time + 11),
        Entry(revocation.PAIRING, i.pairing_id, 3, i.time + 12),
        Entry(revocation.BATCH, sha256(cast.batch_key)[:16], 4, i.time + 13),
    )
    following = RevocationList(2, i.time + 100, i.time + 604_900, revocation.list_hash(first), entries)
    return first, following.signed(secret)


def update(cast: Cast) -> lifecycle.PolicyUpdate:
    """Version 2: shorter epochs, and telemetry at pair tier."""
    rows = [dataclasses.replace(row, paired=3) if row.first == 0x501 else row for row in cast.rows]
    periods = lifecycle.Periods(epoch=43_200, group=86_400)
    return lifecycle.PolicyUpdate(2, cast.cid_a, cast.cid_b, periods, tuple(rows))


def leave(cast: Cast, scalar: bytes) -> bytes:
    """For the pack, to replace its binding."""
    return lifecycle.rebind_token(cast.cid_b, REBIND_NONCE, cast.i.binding_id, scalar)


def entries(cast: Cast) -> list[bytes]:
    i = cast.i
    return [
        audit.Entry(1, i.boot_b, 0, 0, 0xFF, bytes.fromhex("00010002")).bytes,
        audit.Entry(2, i.boot_b, 5, i.time, 0, i.binding_id + b"\x01").bytes,
        audit.Entry(4, i.boot_b, 6, i.time + 1, 0, bytes(4)).bytes,
    ]


def chain(cast: Cast) -> list[dict[str, Tree]]:
    key, digest, rows = FIRST_KEY, audit.FIRST_HASH, []
    for number, entry in enumerate(entries(cast), 1):
        digest = audit.entry_hash(digest, number, entry)
        rows.append({"n": number, "entry": entry, "hash": digest, "tag": audit.tag(key, digest)})
        key = audit.next_key(key, number)
    return rows


def events(cast: Cast) -> dict[str, event.Event]:
    """One without and one with every optional field, and one that withdraws."""
    i, b = cast.i, cast.cid_b
    lct = sha256(b"an LCT")
    return {
        "announce": event.Event(event.ANNOUNCE, b, i.boot_b, 8, b"\x00\x01"),
        "fault": event.Event(
            event.FAULT,
            b,
            i.boot_b,
            9,
            b"cell 4 over 60 degC",
            access=(1, "can1", "0x100"),
            lct=lct,
            time=i.time * 1000 + 250,
            escalation=(5, 1, 1),
        ),
        "revocation": event.Event(
            event.PAIRING_REVOCATION, b, i.boot_b, 300, i.pairing_id + b"\x02", time=i.time * 1000
        ),
        **{name: event.Event(kind, b, i.boot_b, 301 + n, said) for n, (name, kind, said) in enumerate(payloads(cast))},
    }


def payloads(cast: Cast) -> list[tuple[str, int, bytes]]:
    """What each of the other types says (V3)."""
    i = cast.i
    pairing, binding = i.pairing_id, i.binding_id
    return [
        ("state_change", event.STATE_CHANGE, b"\x00\x03"),
        ("energy", event.ENERGY, sha256(b"an energy statement")),
        ("telemetry", event.TELEMETRY, sha256(b"the root of a batch")),
        ("signed_handshake", event.SIGNED_HANDSHAKE, sha256(b"TH4")),
        ("paired_handshake", event.PAIRED_HANDSHAKE, pairing + sha256(b"T3")),
        ("command", event.COMMAND, sha256(b"the digest of a command")),
        ("pairing_completion", event.PAIRING_COMPLETION, pairing + sha256(b"a completion")),
        ("pairing_modification", event.PAIRING_MODIFICATION, pairing + sha256(b"terms")),
        ("binding", event.BINDING, binding + sha256(b"a record")),
        ("binding_verification", event.BINDING_VERIFICATION, binding + sha256(b"a state of the ledger")),
        ("binding_revocation", event.BINDING_REVOCATION, binding + b"\x02"),
        ("ownership", event.OWNERSHIP, cast.cid_m + sha256(b"a transfer")),
        ("module_energy", event.ENERGY, event.module_energy(**module_energy(cast))),
    ]


def module_energy(cast: Cast) -> dict[str, int]:
    """A minute of 100 W out of a module."""
    end = cast.i.time * 1000
    return {"cycle": 3, "event": 4, "kind": 2, "start": end - 60_000, "end": end, "mwh": 1_667}


def replacement(cast: Cast) -> event.Event:
    """The new binding of B takes the place of an older one (H180)."""
    record = sha256(record_tree(cast)["record"])
    kind, said = event.BINDING_REPLACEMENT, OLD_BINDING + record
    return event.Event(kind, cast.cid_b, cast.i.boot_b, 400, said)


def signed_answer(cast: Cast) -> bytes:
    """SIGNED of B (C31) with its word, under its identity key, about what it replaces."""
    said = replacement(cast)
    word = u8(len(said.bytes)) + said.bytes + said.signature(cast.i.identity_scalar_b)
    over_record: bytes = record_tree(cast)["sigB"]
    return u8(7) + cast.i.binding_id + over_record + word


def attested(cast: Cast) -> bytes:
    """The app has seen the fault."""
    fault = events(cast)["fault"]
    signature = fault.signature(cast.b.sign_scalar)
    return event.attestation(cast.cid_a, cast.i.time * 1000 + 900, fault, signature, cast.a.sign_scalar)


def groups(cast: Cast) -> dict[str, Tree]:
    i = cast.i
    first, second = lists(cast)
    fresh = update(cast)
    rows = chain(cast)
    until, number = i.time * 1000 + 604_800_000, i.time
    agreed = lifecycle.consent(CONSENT_CHAIN, cast.cid_b, i.binding_id, cast.cid_a, until, 2, number)
    statement = audit.key_statement(cast.cid_b, FIRST_KEY, cast.authority.kem_public, LOG_EPHEMERAL, cast.b.sign_scalar)
    out = {
        "time_token": {"time": i.time, "token": lifecycle.time_token(i.time, cast.authority.sign_scalar)},
        "rebind_token": {
            "cid": cast.cid_b,
            "nonce": REBIND_NONCE,
            "binding_id_old": i.binding_id,
            "token": leave(cast, cast.authority.sign_scalar),
        },
        "consent": {
            "chain": CONSENT_CHAIN,
            "until_ms": until,
            "hop": 2,
            "number": number,
            "owner_scalar": OWNER,
            "consent": agreed,
            "signature": lifecycle.signed_consent(agreed, OWNER),
        },
        "crl": {
            "first": first,
            "first_hash": revocation.list_hash(first),
            "second": second,
            "second_hash": revocation.list_hash(second),
            "batch": batch_certificate(cast),
        },
        "policy_update": {
            "body": fresh.body,
            "sigC": fresh.signature(cast.authority.sign_scalar),
            "sigA": fresh.signature(cast.a.sign_scalar),
            "sigB": fresh.signature(cast.b.sign_scalar),
        },
        "announce": {
            "boot": i.boot_b,
            "seq": 7,
            "flags": 1,
            "announce": announce.announce(cast.b.sign_scalar, cast.cid_b, i.boot_b, 7, 1),
        },
        **{
            f"event_{name}": {
                "event": e.bytes,
                "digest": sha256(e.message),
                "sigB": e.signature(cast.b.sign_scalar),
            }
            for name, e in events(cast).items()
        },
        "module_energy": module_energy(cast),
        "signed_replacing": {
            "binding_id_old": OLD_BINDING,
            "event": replacement(cast).bytes,
            "digest": sha256(replacement(cast).message),
            "answer": signed_answer(cast),
        },
        "witness": {"time_ms": i.time * 1000 + 900, "attestation": attested(cast)},
        "escalation": {
            "request": {"target": 6, "reason": 2, "urgency": 1, "seq": 9, "pdu": escalation.Request(6, 2, 1, 9).pdu},
            "answer": {"seq": 9, "level": 6, "pdu": escalation.answer(9, 6)},
            "required": [
                {"operation": code, "levels": [escalation.required(least, most, asked) for asked in range(8)]}
                for code, least, most in LEVELS
            ],
        },
        "audit": {
            "k_1": FIRST_KEY,
            "chain": rows,
            "key_statement": statement,
            "key_statement_ephemeral": LOG_EPHEMERAL,
            "checkpoint": audit.checkpoint(cast.cid_b, 3, rows[2]["hash"], i.time + 2, cast.b.sign_scalar),
        },
    }
    return shown(out)  # type: ignore[no-any-return]
