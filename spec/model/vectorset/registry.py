"""What becomes of components on the ledger: statements, commitments, ids, and a body of each kind from 32 to 41."""

from __future__ import annotations

from securelink import registry
from securelink.cbor import Value
from securelink.primitives import public_of, sha256, sign

from .inputs import Cast, Tree, shown

CHAIN = b"\xc4" * 32
SECRET = b"\x5e" * 32
TRANSACTION = b"\x71" * 32
IMAGE = b"\x1f" * 32
RULE = "trust_score >= 0.7 and trust_score < 0.95"


def groups(cast: Cast) -> dict[str, Tree]:
    time_ms = cast.i.time * 1000
    maker, device = cast.i.batch_scalar, cast.i.identity_scalar_b
    app, pack, module = cast.cid_a, cast.cid_b, cast.cid_m
    lct = registry.entity_lct(CHAIN, pack, public_of(device))
    moved = registry.move(CHAIN, pack, 1, 5, 0, time_ms)
    told = registry.version(CHAIN, pack, 2, 7, 70_000, IMAGE, time_ms)
    contents: dict[int, list[Value]] = {
        1: [cast.i.time, "B-7", [["capacity_mwh", 512_000], ["spread_uv", -12]]],
        2: ["bay 4", "storage", ""],
        4: [5, [pack], public_of(maker)],
        5: [[module]],
        6: [48_000, 65_000, 200_000, 900, -20_000, 60_000],
    }
    stated = {kind: registry.context(CHAIN, lct, kind, 1, content, time_ms) for kind, content in contents.items()}
    values = {
        registry.COMPONENT: cast.i.component_id_b,
        registry.MANUFACTURER: "cells-inc",
        registry.CATEGORY: "pack",
        registry.RULE: RULE,
    }
    openings = {f: registry.opening(SECRET, f, v.encode()) for f, v in values.items()}
    commits = {f: registry.commitment(openings[f], f, v.encode()) for f, v in values.items()}
    other = b"\x0b" * 32
    grant_id = registry.authorization_id(CHAIN, pack, module, "energy")
    pair_id = registry.anonymous_id(CHAIN, commits[1], other)
    request_id = registry.queue_id(TRANSACTION)
    signed = {
        "move": sign(maker, b"modbatt1 lifecycle" + moved),
        "version": sign(device, b"modbatt1 version" + told),
        "vouched": sign(maker, b"modbatt1 version" + told),
        "context": sign(device, b"modbatt1 context" + stated[5]),
    }
    bodies = {
        "move": registry.body(32, moved, public_of(maker), signed["move"]),
        "version": registry.body(33, told, signed["version"], []),
        "version_vouched": registry.body(33, told, signed["version"], [public_of(maker), signed["vouched"]]),
        "grant": registry.body(34, pack, module, "energy", 2, RULE),
        "revoke_grant": registry.body(35, grant_id, 3),
        "anonymous_register": registry.body(36, 1, commits[1], commits[2], commits[3]),
        "anonymous_authorize": registry.body(36, 2, commits[1], other, commits[4], 3, 900_000),
        "anonymous_revoke": registry.body(36, 3, 2, commits[2], 3, 1),
        "anonymous_open": registry.body(36, 4, registry.RULE, pair_id, openings[4], RULE),
        "lct_status": registry.body(37, lct, 4, 5),
        "context": registry.body(38, stated[5], public_of(device), signed["context"]),
        "queue": registry.body(39, pack, module, 1, 4, app, "energy"),
        "process": registry.body(40, pack),
        "cancel": registry.body(41, request_id, 0),
    }
    out = {
        "registry": {
            "chain_id": CHAIN,
            "device_key": public_of(device),
            "maker_key": public_of(maker),
            "lct": lct,
            "image": IMAGE,
            "rule": RULE,
            "move": moved,
            "version": told,
            "contexts": [stated[kind] for kind in sorted(stated)],
            "context_file": registry.context_file(stated[5], public_of(device), signed["context"]),
            "answers_for": b"\x04\x0b" + sha256(stated[5]) + signed["context"],
            "authorization_id": grant_id,
            "anonymous_id": pair_id,
            "other_commitment": other,
            "transaction": TRANSACTION,
            "queue_id": request_id,
            "bodies": bodies,
        },
        "commitments": {
            "secret": SECRET,
            "values": [values[field] for field in sorted(values)],
            "openings": [openings[field] for field in sorted(openings)],
            "commitments": [commits[field] for field in sorted(commits)],
        },
    }
    return shown(out)  # type: ignore[no-any-return]
