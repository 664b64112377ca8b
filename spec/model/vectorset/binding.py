"""Device certificates, bind requests, introductions, the BIND run and its record."""

from __future__ import annotations

from securelink import attestation, binding, handshake
from securelink.handshake import HALVES, SIGNATURES
from securelink.primitives import public_of, sign
from securelink.schedule import tier_keys

from .inputs import ROLES, Cast, Tree, run_tree, shown
from .messages import confirm, keys_tree, sealed_tree


def root_certificate(cast: Cast) -> bytes:
    """The manufacturer's own, signed by itself."""
    i = cast.i
    fields = (attestation.ROOT, cast.root_key, b"\x01" * 16, 0, 0, i.not_before, i.not_after, bytes(8), cast.root_key)
    return attestation.DeviceCertificate(*fields).signed(i.root_scalar)


def batch_certificate(cast: Cast) -> bytes:
    i = cast.i
    fields = (attestation.BATCH, cast.root_key, b"\x02" * 16, 0, 0, i.not_before, i.not_after, bytes(8), cast.batch_key)
    return attestation.DeviceCertificate(*fields).signed(i.root_scalar)


def device(cast: Cast, who: str, code_commit: bytes = bytes(32)) -> attestation.DeviceCertificate:
    i = cast.i
    return attestation.DeviceCertificate(
        attestation.DEVICE,
        cast.batch_key,
        cast.cid_a if who == "a" else cast.cid_b,
        ROLES[who],
        3 if who == "b" else 0,
        i.not_before,
        i.not_after,
        i.hardware,
        public_of(i.identity_scalar_a if who == "a" else i.identity_scalar_b),
        code_commit,
    )


def request(cast: Cast, who: str) -> binding.Request:
    i = cast.i
    own, other = (cast.cid_a, cast.cid_b) if who == "a" else (cast.cid_b, cast.cid_a)
    roles = (ROLES["a"], ROLES["b"]) if who == "a" else (ROLES["b"], ROLES["a"])
    nonce = i.bind_nonce_a if who == "a" else i.bind_nonce_b
    access = i.access_b if who == "a" else i.access_a
    return binding.Request(i.binding_id, own, roles[0], other, roles[1], nonce, access)


def spk_attestation(cast: Cast, who: str) -> bytes:
    """The signature of the identity key of `who` over its own semi-public key."""
    asked = request(cast, who)
    own = cast.a if who == "a" else cast.b
    message = attestation.spk_message(asked.cid, asked.role, own.object, asked.cid_partner, asked.nonce)
    return sign(cast.i.identity_scalar_a if who == "a" else cast.i.identity_scalar_b, message)


def commits(cast: Cast) -> tuple[bytes, bytes]:
    i = cast.i
    return binding.access_commit(i.access_a, i.access_blind), binding.access_commit(i.access_b, i.access_blind)


def introduction(cast: Cast, to: str, code_commit: bytes) -> binding.Introduction:
    """What `to` is told about its partner."""
    partner = "b" if to == "a" else "a"
    asked = request(cast, partner)
    return binding.Introduction(
        binding_id=cast.i.binding_id,
        cid=cast.cid_a if to == "a" else cast.cid_b,
        partner_certificate=certified(cast, partner, code_commit),
        batch_certificate=batch_certificate(cast),
        partner_spk=(cast.a if partner == "a" else cast.b).object,
        nonce=asked.nonce,
        attestation=spk_attestation(cast, partner),
        access_commit_a=commits(cast)[0],
        access_commit_b=commits(cast)[1],
        time=cast.i.time,
    )


def certified(cast: Cast, who: str, code_commit: bytes) -> bytes:
    return device(cast, who, code_commit if who == "b" else bytes(32)).signed(cast.i.batch_scalar)


def groups(cast: Cast, code_commit: bytes) -> dict[str, Tree]:
    i = cast.i
    out: dict[str, Tree] = {}
    out["spk"] = {
        "cidA": cast.cid_a,
        "cidB": cast.cid_b,
        "SPKA": cast.a.object,
        "SPKB": cast.b.object,
        "SPKC": cast.authority.object,
        "idA": cast.a.id,
        "idB": cast.b.id,
        "idC": cast.authority.id,
    }
    out["attestation"] = {
        "root_key": cast.root_key,
        "batch_key": cast.batch_key,
        "root": root_certificate(cast),
        "batch": batch_certificate(cast),
        "device_A": certified(cast, "a", code_commit),
        "device_B": certified(cast, "b", code_commit),
        "code_commit": code_commit,
        "time": i.time,
        "spk_attestation_A": spk_attestation(cast, "a"),
        "spk_attestation_B": spk_attestation(cast, "b"),
    }
    out["bind_request"] = {
        "to_A": request(cast, "a").signed(cast.authority.sign_scalar),
        "to_B": request(cast, "b").signed(cast.authority.sign_scalar),
    }
    out["introduction"] = {
        "to_A": introduction(cast, "a", code_commit).signed(cast.authority.sign_scalar),
        "to_B": introduction(cast, "b", code_commit).signed(cast.authority.sign_scalar),
        "access_commit_A": commits(cast)[0],
        "access_commit_B": commits(cast)[1],
    }
    out["policy"] = {
        "table": cast.table,
        "policy_hash_bind": cast.policy_hash_bind,
        "policy_hash": cast.policy_hash,
    }
    bind = cast.bind_run
    out["handshake_bind"] = run_tree(bind, cast.policy_hash_bind, bytes(32))
    material = handshake.key_material(handshake.BIND, cast.halves, i.salt)
    mixed = cast.run(handshake.BIND, SIGNATURES | HALVES, material, i.salt, cast.policy_hash)
    out["handshake_bind_halves"] = run_tree(mixed, cast.policy_hash, i.salt)
    for direction in ("ab", "ba"):
        keys = tier_keys(bind.master, "bind", direction, 0, bind.channel_id)
        out[f"tier_bind_{direction}_e0"] = {"source": "handshake_bind", **keys_tree(keys)}
    body = confirm(0, bytes.fromhex("0badcafe"))
    keys = tier_keys(bind.master, "bind", "ba", 0, bind.channel_id)
    out["seal_bind_confirm"] = sealed_tree("handshake_bind", keys, 0x4AC, "bind", "ba", 0, 0, 0, body)
    out["binding_record"] = record_tree(cast)
    out["certificate_request"] = {"request": certificate_request(cast)}
    return shown(out)  # type: ignore[no-any-return]


def certificate_request(cast: Cast) -> bytes:
    """What B asked its factory for (H145)."""
    i = cast.i
    return attestation.certificate_request(ROLES["b"], 3, cast.cid_b, i.hardware, i.identity_scalar_b)


def record_tree(cast: Cast) -> Tree:
    """H49, assurance 1 (B1)."""
    a = binding.Party(cast.cid_a, ROLES["a"], cast.a.object, commits(cast)[0])
    b = binding.Party(cast.cid_b, ROLES["b"], cast.b.object, commits(cast)[1])
    data = binding.record(cast.i.binding_id, a, b, cast.i.time, 1)
    message = binding.record_message(data)
    return {
        "record": data,
        "sigA": sign(cast.a.sign_scalar, message),
        "sigB": sign(cast.b.sign_scalar, message),
        "sigC": sign(cast.authority.sign_scalar, message),
    }
