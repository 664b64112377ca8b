"""Key packages, the plain commissioning run with its commitment, and the run with the printed code."""

from __future__ import annotations

from securelink import handshake, key_package, pake
from securelink.handshake import COMMITMENT, DEV, HALVES, PAKE
from securelink.primitives import sha256
from securelink.schedule import derive, tier_keys

from .inputs import ROLES, Cast, Tree, run_tree, scalar, shown
from .messages import keys_tree, sealed_tree

DIGITS = "7Z3K9QXM20AB"
REL_ID = bytes(range(0xE0, 0xF0))
LCT_HALF = bytes(range(0xA0, 0xE0))
SHARE_X, SHARE_Y = scalar(0x5A5A01), scalar(0x5A5A02)


def package(cast: Cast, who: str, *, sealed: bool = False) -> key_package.KeyPackage:
    is_a = who == "a"
    own, peer = (cast.cid_a, cast.cid_b) if is_a else (cast.cid_b, cast.cid_a)
    halves = cast.halves if is_a else cast.halves[::-1]
    return key_package.KeyPackage(
        role=ROLES[who],
        kind=handshake.BIND if sealed else handshake.DEV,
        cid_self=own,
        cid_peer=peer,
        rel_id=REL_ID,
        half_self=halves[0],
        half_peer=halves[1],
        lct_half=LCT_HALF,
        salt=cast.i.salt,
        iv_seed=cast.i.iv_seed,
        rotation_days=30,
        epoch=0,
        flags=key_package.SEALED if sealed else 0,
    )


def sealed_package(cast: Cast) -> bytes:
    """For the pack, with the nonce of its bind request (H85)."""
    return key_package.seal(
        package(cast, "b", sealed=True).plain(False),
        cast.b.kem_public,
        cast.i.hpke_ephemeral_b,
        cast.i.bind_nonce_b,
        cast.authority.sign_scalar,
    )


def exchange(cast: Cast) -> pake.Exchange:
    w0, w1 = pake.stretch(DIGITS, cast.cid_b)
    x, y = (int.from_bytes(share, "big") for share in (SHARE_X, SHARE_Y))
    return pake.Exchange(w0, w1, x, y, cast.cid_a, cast.cid_b)


def groups(cast: Cast, run: pake.Exchange) -> dict[str, Tree]:
    i = cast.i
    out: dict[str, Tree] = {}
    registered = pake.registration(run.w1)
    out["pake"] = {
        "code": pake.printed(DIGITS),
        "w0": scalar(run.w0),
        "w1": scalar(run.w1),
        "L": registered,
        "code_commit": pake.code_commit(cast.cid_b, run.w0, registered),
        "x": SHARE_X,
        "y": SHARE_Y,
        "shareP": run.share_p,
        "shareV": run.share_v,
        "transcript": run.transcript,
        "K_main": sha256(run.transcript),
        "confirmV": run.confirm_v,
        "confirmP": run.confirm_p,
        "K_shared": run.shared_key,
    }
    material = handshake.key_material(PAKE, None, bytes(32), run.shared_key)
    plain = cast.run(PAKE, 0, material, bytes(32), cast.policy_hash_bind)
    out["handshake_pake"] = run_tree(plain, cast.policy_hash_bind, bytes(32))
    material = handshake.key_material(PAKE, cast.halves, i.salt, run.shared_key)
    mixed = cast.run(PAKE, HALVES, material, i.salt, cast.policy_hash)
    out["handshake_pake_halves"] = run_tree(mixed, cast.policy_hash, i.salt)
    for direction in ("ab", "ba"):
        keys = tier_keys(plain.master, "dev", direction, 0, plain.channel_id)
        out[f"tier_dev_{direction}_e0"] = {"source": "handshake_pake", **keys_tree(keys)}

    out["key_package"] = {
        "to_A": package(cast, "a").plain(True),
        "to_B": package(cast, "b").plain(False),
    }
    out["key_package_sealed"] = {
        "nonce": i.bind_nonce_b,
        "ephemeral": i.hpke_ephemeral_b,
        "info": key_package.sealed_info(cast.cid_b, cast.cid_a, i.bind_nonce_b),
        "plain": package(cast, "b", sealed=True).plain(False),
        "sealed": sealed_package(cast),
    }
    sas = commissioning_run(cast)
    out["handshake_dev_sas"] = run_tree(sas, cast.policy_hash, i.salt)
    for source, of in (("handshake_dev_sas", sas), ("handshake_pake", plain)):
        macs = {side: derive(of.master, f"key confirm {side}", of.th4, 16) for side in ("a", "b")}
        name = "key_confirm_dev" if of is sas else "key_confirm_pake"
        out[name] = {"source": source, "mac_A": macs["a"], "mac_B": macs["b"]}
        for side, direction, base in (("a", "ab", 0x40C), ("b", "ba", 0x4AC)):
            keys = tier_keys(of.master, "dev", direction, 0, of.channel_id)
            body = bytes((3, 2)) + macs[side]
            out[f"seal_{name}_{side}"] = sealed_tree(source, keys, base, "dev", direction, 0, 0, 0, body)
    keys = tier_keys(sas.master, "dev", "ab", 0, sas.channel_id)
    verdict = bytes((3, 3, 1, 0))
    out["seal_verdict"] = sealed_tree("handshake_dev_sas", keys, 0x40C, "dev", "ab", 0, 0, 1, verdict)
    return shown(out)  # type: ignore[no-any-return]


def commissioning_run(cast: Cast) -> handshake.Run:
    """Plain commissioning: halves of the clear key package, commitment M0, digits to compare."""
    material = handshake.key_material(DEV, cast.halves, cast.i.salt)
    return cast.run(DEV, COMMITMENT, material, cast.i.salt, cast.policy_hash)
