"""Recomputes every entry of `spec/vectors/secure-link.json` from its inputs and compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from securelink import audit, certificate, handshake, level5, pake, seal, transport
from securelink.identity import SemiPublicKey, cid_of
from securelink.primitives import sha256, sign
from securelink.schedule import TierKeys, derive, exchange_tag, rekey, tier_keys
from vectorset.inputs import SPEC, Cast

GOLDEN = Path(__file__).resolve().parent.parent / "vectors" / "secure-link.json"


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def recompute(golden: dict[str, Any]) -> dict[str, Any]:
    """The whole file again, from `inputs` and the parameters that a group names itself."""
    i = golden["inputs"]
    out: dict[str, Any] = {"inputs": i}
    label = golden["label"]
    okm = derive(octets(label["secret"]), label["label"], label["ctx"].encode("ascii"), label["L"])
    out["label"] = {**label, "okm": okm.hex()}

    a, b, c = (SemiPublicKey(octets(i[f"spk_seed_{who}"])) for who in "ABC")
    cid_a, cid_b = cid_of(i["component_id_A"]), cid_of(i["component_id_B"])
    out["spk"] = {
        "cidA": cid_a.hex(),
        "cidB": cid_b.hex(),
        "seedA": a.seed.hex(),
        "seedB": b.seed.hex(),
        "SPKA": a.object.hex(),
        "SPKB": b.object.hex(),
        "idA": a.id.hex(),
        "idB": b.id.hex(),
    }

    pk64 = octets(i["pk64"])
    xk = octets(i["xk"])
    salt = octets(i["salt"])
    cert = certificate.Certificate(
        pairing_id=octets(i["pairing_id"]),
        metadata=octets(i["clear_metadata"]),
        half_a=pk64[:32],
        half_b=pk64[32:],
        exchange_key=xk,
        spk_a=a.object,
        spk_b=b.object,
        authority=c,
        ephemeral_a=octets(i["hpke_ephemeral_A"]),
        ephemeral_b=octets(i["hpke_ephemeral_B"]),
        section_v_iv=octets(i["section_v_iv"]),
        validation_nonce=octets(i["validation_nonce"]),
        endpoint=i["endpoint"],
        timeout_s=i["timeout_s"],
        v_flags=i["v_flags"],
    )
    key_v, commit = certificate.section_v_keys(cert.metadata_hash, pk64, cert.pairing_id)
    whole = cert.bytes
    cert_hash = sha256(whole)
    out["cert"] = {
        "pk64": pk64.hex(),
        "xk": xk.hex(),
        "clear_metadata": cert.metadata.hex(),
        "cm_hash": cert.metadata_hash.hex(),
        "info_A": cert.info(certificate.TAG_A).hex(),
        "secA": cert.section_a.hex(),
        "secB": cert.section_b.hex(),
        "pk_commit": commit.hex(),
        "K_V": key_v.hex(),
        "secV": cert.section_v.hex(),
        "SPKC": c.object.hex(),
        "cert_len": len(whole),
        "cert": whole.hex(),
        "cert_hash": cert_hash.hex(),
    }

    policy_hash = sha256(octets(i["policy"]))
    hx_a, hx_b = (
        certificate.half_exchange(cert.metadata_hash, xk, cert.pairing_id, side, half)
        for side, half in (("a", pk64[:32]), ("b", pk64[32:]))
    )

    def side(who: str, spk: SemiPublicKey | None, hx: bytes) -> handshake.Side:
        return handshake.Side(
            cid=cid_a if who == "A" else cid_b,
            ephemeral=octets(i[f"ephemeral_{who}"]),
            nonce=octets(i[f"N_{who}"]),
            boot=i[f"boot_ctr_{who}"],
            spk=spk,
            half_exchange=hx,
        )

    pair = handshake.Run(
        handshake.PAIR,
        handshake.SIGNATURES,
        side("A", a, hx_a),
        side("B", b, hx_b),
        handshake.key_material(handshake.PAIR, (pk64[:32], pk64[32:]), salt),
        salt,
        policy_hash,
        cert_hash,
    )
    names = ("TH0", "M1", "M2", "M3", "TH1", "TH2", "DH1", "S0", "S1", "TH3", "TH4", "MS0")

    def shown(run: handshake.Run) -> dict[str, str]:
        return {name: run.values[name].hex() for name in names}

    out["handshake_pair"] = {
        "HXA": hx_a.hex(),
        "HXB": hx_b.hex(),
        "policy_hash": policy_hash.hex(),
        "salt": salt.hex(),
        "eA": i["ephemeral_A"],
        "eB": i["ephemeral_B"],
        **shown(pair),
        "chan_id": pair.channel_id.hex(),
    }
    halves = (octets(i["device_key_half_A"]), octets(i["device_key_half_B"]))
    dev, sas = (
        handshake.Run(
            handshake.DEV,
            flags,
            side("A", None, b""),
            side("B", None, b""),
            handshake.key_material(handshake.DEV, halves, salt),
            salt,
            policy_hash,
        )
        for flags in (0, handshake.COMMITMENT)
    )
    out["handshake_dev"] = {
        "device_key_half_A": halves[0].hex(),
        "device_key_half_B": halves[1].hex(),
        **shown(dev),
        "chan_id": dev.channel_id.hex(),
    }
    out["handshake_dev_sas"] = {
        "M0": sas.values["M0"].hex(),
        "SAS": sas.comparison_digits,
        **shown(sas),
        "chan_id": sas.channel_id.hex(),
    }

    def keys_shown(keys: TierKeys) -> dict[str, str]:
        return {
            "TS": keys.secret.hex(),
            "key": keys.key.hex(),
            "mac": keys.mac.hex(),
            "iv": keys.iv.hex(),
            "ckey": keys.compact_key.hex(),
        }

    tag = exchange_tag(xk)
    for tier in ("exch", "pair"):
        for direction in ("ab", "ba"):
            keys = tier_keys(pair.master, tier, direction, 0, pair.channel_id, tag if tier == "exch" else b"")
            out[f"tier_{tier}_{direction}_e0"] = keys_shown(keys)
    dev_keys = tier_keys(dev.master, "dev", "ab", 0, dev.channel_id)
    out["tier_dev_ab_e0"] = {"source": "handshake_dev", **keys_shown(dev_keys)}
    pair_keys = tier_keys(pair.master, "pair", "ab", 0, pair.channel_id)
    # The identifier of the compact groups has D = 1.
    exch_keys = tier_keys(pair.master, "exch", "ba", 0, pair.channel_id, tag)

    base, device, body = int(i["base"], 16), i["device"], octets(i["body"])
    can_id = seal.identifier(base, 2, "ab", device, 0)
    text = seal.plaintext(base, body)
    counter = golden["seal_pair_ab"]["counter"]
    sealed = seal.seal(pair_keys, can_id, 0, counter, text)
    out["seal_pair_ab"] = {
        "base11": i["base"],
        "can_id": hex(can_id),
        "can_id_canonical": hex(seal.canonical(can_id)),
        "epoch": 0,
        "source": "handshake_pair",
        "aad": seal.aad(can_id, 0, len(text)).hex(),
        "plaintext": text.hex(),
        "counter": counter,
        "sealed": sealed.hex(),
    }
    fd_id = seal.identifier(base, 2, "ab", device, 0x11)
    padded = seal.plaintext(base, body, frame=48)
    fd_counter = golden["seal_fd48"]["counter"]
    out["seal_fd48"] = {
        "can_id": hex(fd_id),
        "counter": fd_counter,
        "epoch": 0,
        "plaintext": padded.hex(),
        "sealed": seal.seal(pair_keys, fd_id, 0, fd_counter, padded).hex(),
    }
    out["frames_chunk"] = {
        "frames": [[hex(frame_id), data.hex()] for frame_id, data in transport.chunks(can_id, sealed)]
    }
    out["frames_isotp"] = {
        "can_id": hex(transport.with_transport(can_id, transport.ISO_TP)),
        "frames": [frame.hex() for frame in transport.iso_tp(sealed)],
    }
    c1, c2 = golden["compact_c1"], golden["compact_c2"]
    c1_id = int(c1["can_id"], 16)
    for name, profile, group in (("compact_c1", 1, c1), ("compact_c2", 2, c2)):
        frames = seal.compact(exch_keys, profile, c1_id, 0, group["counter"], octets(group["plaintext"]))
        out[name] = {**group, "frames": [frame.hex() for frame in frames]}

    nonce_a, nonce_b = octets(i["N_A"]), octets(i["N_B"])
    next_master = rekey(pair.master, 1, nonce_a, nonce_b, salt)
    out["rekey"] = {
        "nA": nonce_a.hex(),
        "nB": nonce_b.hex(),
        "salt": salt.hex(),
        "MS1": next_master.hex(),
        "key_pair_ab_e1": tier_keys(next_master, "pair", "ab", 1, pair.channel_id).key.hex(),
    }
    r = golden["resume"]
    resume = handshake.Resume(
        pair.channel_id, r["epoch"], pair.master, r["boot_ctr_A"], r["boot_ctr_B"], nonce_a, nonce_b
    )
    out["resume"] = {
        "boot_ctr_A": r["boot_ctr_A"],
        "boot_ctr_B": r["boot_ctr_B"],
        "epoch": r["epoch"],
        "source": "handshake_pair",
        "M1": resume.m1.hex(),
        "M2": resume.m2.hex(),
        "M3": resume.m3.hex(),
        "MS1": resume.next_master.hex(),
    }

    five = i["level5"]
    command = level5.Command(
        int(five["type"], 16), five["seq"], octets(five["challenge"]), five["ttl_ms"], octets(five["cmd"])
    )
    out["level5"] = {
        "cmd": five["cmd"],
        "digest": sha256(command.message(pair.th4, 0)).hex(),
        "sigA": command.body(a.sign_scalar, pair.th4, 0)[-64:].hex(),
    }
    complete = certificate.completion_message(cert.pairing_id, octets(i["validation_nonce"]), cert_hash, pair.th4)
    out["completion"] = {
        "digest": sha256(complete).hex(),
        "sigA": sign(a.sign_scalar, complete).hex(),
        "sigB": sign(b.sign_scalar, complete).hex(),
    }

    log = golden["audit"]
    key, digest = octets(log["k_1"]), audit.FIRST_HASH
    chain = []
    for number, row in enumerate(log["chain"], 1):
        digest = audit.entry_hash(digest, number, octets(row["entry"]))
        chain.append({"n": number, "entry": row["entry"], "hash": digest.hex(), "tag": audit.tag(key, digest).hex()})
        key = audit.next_key(key, number)
    out["audit"] = {"k_1": log["k_1"], "h_0": audit.FIRST_HASH.hex(), "chain": chain}

    nv = golden["nvrec"]
    reservation = audit.Reservation(nv["slot"], nv["tier"], nv["dir"], nv["epoch"], nv["rec_seq"], nv["ctr_limit"])
    out["nvrec"] = {**nv, "record": reservation.record(octets(nv["knv"])).hex()}
    return out


def differences(expected: Any, found: Any, path: str) -> list[str]:
    """Paths at which two trees of JSON differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        names = list(expected) + [name for name in found if name not in expected]
        return [line for name in names for line in differences(expected.get(name), found.get(name), f"{path}.{name}")]
    return [] if expected == found else [f"{path}: {found} instead of {expected}"]


def examples() -> list[str]:
    """RFC 9383 appendix C (P256-SHA256), and what the texts themselves state as numbers (H55, H82, H94)."""
    rfc = pake.Exchange(
        0xBB8E1BBCF3C48F62C08DB243652AE55D3E5586053FCA77102994F23AD95491B3,
        0x7E945F34D78785B8A3EF44D0DF5A1A97D6B3B460409A345CA7830387A74B1DBA,
        0xD1232C8E8693D02368976C174E2088851B8365D0D79A9EEE709C6A05A2FAD539,
        0x717A72348A182085109C8D3917D6C43D59B224DC6A7FC4F0483232FA6516D8B3,
        b"client",
        b"server",
        b"SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256 Test Vectors",
    )
    cast = Cast()
    app, pack = cid_of("app-0001"), cid_of("pack-0001")
    w0, w1 = pake.stretch(pake.typed("7Z3K-9QXM-20AB-R"), pack)
    x, y = (int.from_bytes(bytes([octet]) * 32, "big") for octet in (0x31, 0x32))
    run = pake.Exchange(w0, w1, x, y, app, pack)
    text = " ".join((SPEC / "channel.md").read_text("utf-8").split()) + (SPEC / "can.md").read_text("utf-8")
    stated = {
        "K_shared of H82": run.shared_key,
        "code_commit of H82": pake.code_commit(pack, w0, pake.registration(w1)),
        "policy hash of H55": cast.policy_hash_bind,
        "table hash of C94": sha256(cast.table),
    }
    wrong = [f"{name}: {value.hex()} is not in the text" for name, value in stated.items() if value.hex() not in text]
    if rfc.shared_key.hex() != "0c5f8ccd1413423a54f6c1fb26ff01534a87f893779c6e68666d772bfd91f3e7":
        wrong.append("RFC 9383 appendix C")
    return wrong


def main() -> int:
    golden = json.loads(GOLDEN.read_text("utf-8"))
    wrong = differences(golden, recompute(golden), "secure-link") + examples()
    for line in wrong:
        print(line)
    entries = sum(len(group) for name, group in golden.items() if name != "inputs")
    print(f"{len(golden) - 1} groups, {entries} entries, {len(wrong)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
