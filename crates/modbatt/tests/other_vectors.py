#!/usr/bin/env python3
"""Prints a vector file of the secure link with inputs of its own choice.

A second implementation, written from the design text and not from the Rust code: it needs the package
`cryptography` (48) and nothing of this repository. Its output is `other_vectors.json` beside it, on which the tests
run `modbatt selftest`. Argument: a number that selects the inputs (default 1).
"""

import hashlib
import hmac
import json
import random
import struct
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
R = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)


def u(bits, value):
    return value.to_bytes(bits // 8, "big")


def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def extract(salt, ikm):
    return mac(salt or bytes(32), ikm)


def expand(prk, info, n):
    out, block, i = b"", b"", 1
    while len(out) < n:
        block = mac(prk, block, info, bytes([i]))
        out, i = out + block, i + 1
    return out[:n]


def derive(secret, label, ctx, n):
    name = b"modbatt1 " + label.encode()
    return expand(secret, u(16, n) + bytes([len(name)]) + name + bytes([len(ctx)]) + ctx, n)


def key_of(scalar):
    return ec.derive_private_key(scalar, ec.SECP256R1())


def point(scalar, compressed=True):
    form = serialization.PublicFormat
    return key_of(scalar).public_key().public_bytes(
        serialization.Encoding.X962, form.CompressedPoint if compressed else form.UncompressedPoint
    )


def ecdh(scalar, other):
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), other)
    return key_of(scalar).exchange(ec.ECDH(), peer)


def sign(scalar, digest):
    algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
    r, s = utils.decode_dss_signature(key_of(scalar).sign(digest, algorithm))
    return u(256, r) + u(256, min(s, N - s))


def hpke_seal(ephemeral, receiver, info, plain):
    """RFC 9180, base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), receiver).public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )

    def lextract(suite, salt, label, ikm):
        return extract(salt, b"HPKE-v1" + suite + label + ikm)

    def lexpand(suite, prk, label, info, n):
        return expand(prk, u(16, n) + b"HPKE-v1" + suite + label + info, n)

    kem, suite = b"KEM\x00\x10", b"HPKE\x00\x10\x00\x01\x00\x02"
    enc = point(ephemeral, compressed=False)
    eae = lextract(kem, b"", b"eae_prk", ecdh(ephemeral, receiver))
    shared = lexpand(kem, eae, b"shared_secret", enc + receiver, 32)
    context = b"\0" + lextract(suite, b"", b"psk_id_hash", b"") + lextract(suite, b"", b"info_hash", info)
    secret = lextract(suite, shared, b"secret", b"")
    key, nonce = lexpand(suite, secret, b"key", context, 32), lexpand(suite, secret, b"base_nonce", context, 12)
    return enc + AESGCM(key).encrypt(nonce, plain, b"")


def cid(name):
    return H(b"modbatt1 cid", name.encode())[:16]


class Spk:
    def __init__(self, seed):
        scalar = lambda label: int.from_bytes(derive(seed, label, b"", 48), "big") % (N - 1) + 1
        self.sign, self.kem = scalar("spk sign"), scalar("spk kem")
        self.kem_pub = point(self.kem)
        self.object = b"\x01\x01" + point(self.sign) + self.kem_pub
        self.id = H(b"modbatt1 spk", self.object)[:8]


class Channel:
    def __init__(self, ms, chan_id, th4):
        self.ms, self.id, self.th4 = ms, chan_id, th4

    def traffic(self, tier, way, epoch, xk=b""):
        tag = mac(xk, b"modbatt1 xk")[:16] if tier == "exch" else b""
        ts = derive(self.ms, f"ts {tier} {way}", u(32, epoch) + self.id + tag, 32)
        keys = {"TS": ts}
        for label, n in (("key", 32), ("mac", 32), ("iv", 16), ("ckey", 32)):
            keys[label] = derive(ts, label, b"", n)
        return keys


def handshake(i, kind, flags, a, b, salt, psk, cert_hash=bytes(32), hx=(b"", b""), signed=False):
    spk = [H(p.object) if signed else bytes(32) for p in (a, b)]
    policy_hash = H(i["policy"])
    th0 = H(b"modbatt1 hs", bytes([kind, 1, flags]), cid(i["component_id_A"]), cid(i["component_id_B"]), *spk,
            cert_hash, policy_hash)
    eph_a, eph_b = (int.from_bytes(i[f"ephemeral_{s}"], "big") for s in "AB")
    m0 = b""
    if flags & 4:
        m0 = bytes([1, kind | 0x20, flags, 1]) + H(b"modbatt1 sas commit", point(eph_b), i["N_B"])
    m1 = bytes([1, kind, flags, 1]) + bytes(4) + u(32, i["boot_ctr_A"]) + i["N_A"] + point(eph_a) + hx[0]
    core = bytes([1, kind | 0x40, flags, 1]) + u(32, i["boot_ctr_B"]) + i["N_B"] + point(eph_b) + hx[1]
    th1 = H(th0, m0, m1)
    th2 = H(th1, core)
    dh1 = ecdh(eph_b, point(eph_a))
    s0 = extract(salt, psk)
    s1 = extract(derive(s0, "hs salt", th0, 32), dh1)
    mac_b = mac(derive(s1, "fin b", th2, 32), th2)[:16]
    sig_b = sign(b.sign, H(b"modbatt1 sig b", th2, mac_b)) if signed else b""
    th3 = H(th2, mac_b, sig_b)
    mac_a = mac(derive(s1, "fin a", th3, 32), th3)[:16]
    sig_a = sign(a.sign, H(b"modbatt1 sig a", th3, mac_a)) if signed else b""
    th4 = H(th3, mac_a, sig_a)
    out = {
        "TH0": th0, "M1": m1, "M2": core + mac_b + sig_b, "M3": bytes([1, kind | 0x80, flags, 0]) + mac_a + sig_a,
        "TH1": th1, "TH2": th2, "DH1": dh1, "S0": s0, "S1": s1, "TH3": th3, "TH4": th4,
        "MS0": derive(s1, "ms", th4, 32), "chan_id": th4[:8],
    }
    if flags & 4:
        out["M0"] = m0
        out["SAS"] = "%06d" % (int.from_bytes(derive(s1, "sas", th4, 4), "big") % 10**6)
    return out, Channel(out["MS0"], out["chan_id"], th4)


def seal(keys, can_id, level, epoch, counter, plain):
    aad = bytes([1, level]) + u(32, 0x80000000 | (can_id & 0x1FFF00FF)) + u(32, epoch) + u(16, len(plain))
    nonce = keys["iv"][:4] + u(64, counter)
    return aad, nonce + AESGCM(keys["key"]).encrypt(nonce, plain, aad)


def compact(keys, label, can_id, counter, plain):
    block = Cipher(algorithms.AES(keys["ckey"]), modes.ECB()).encryptor()
    stream = block.update(keys["iv"][:4] + u(64, counter) + u(32, 1))
    ct = bytes(x ^ y for x, y in zip(plain, stream))
    aad = b"\x01\x01" + u(32, 0x80000000 | (can_id & 0x1FFF00FF)) + u(32, 0) + u(16, len(ct))
    return ct, mac(keys["mac"], label, aad, keys["iv"][:4], u(64, counter), ct)


def build():
    rb = R.randbytes
    base, device, body = R.randrange(0x400, 0x600), R.randrange(32), rb(R.randrange(1, 20))
    i = {
        "component_id_A": "app_%d" % R.randrange(10**6), "component_id_B": "pack-%04d" % R.randrange(10**4),
        "spk_seed_A": rb(32), "spk_seed_B": rb(32), "spk_seed_C": rb(32), "salt": rb(32), "pairing_id": rb(16),
        "pk64": rb(64), "xk": rb(32), "clear_metadata": rb(R.randrange(1, 400)),
        "hpke_ephemeral_A": rb(32), "hpke_ephemeral_B": rb(32), "validation_nonce": rb(32),
        "endpoint": "https://controller.test/" + "p" * R.randrange(60), "timeout_s": R.randrange(65536),
        "v_flags": 0, "hpke_ephemeral_is": "scalar skE", "section_v_iv": rb(12), "policy": rb(R.randrange(200)),
        "ephemeral_A": rb(32), "ephemeral_B": rb(32), "N_A": rb(16), "N_B": rb(16),
        "boot_ctr_A": R.randrange(2**32), "boot_ctr_B": R.randrange(2**32),
        "device_key_half_A": rb(64), "device_key_half_B": rb(64),
        "base": hex(base), "device": device, "body": body,
        "level5": {"type": hex(R.randrange(0x400, 0x600)), "seq": R.randrange(2**32), "challenge": rb(4),
                   "ttl_ms": R.randrange(65536), "cmd": rb(R.randrange(1, 9))},
    }
    a, b, c = (Spk(i[f"spk_seed_{s}"]) for s in "ABC")
    out = {"inputs": i}

    secret, ctx, n = rb(32), rb(R.randrange(90)), R.randrange(1, 200)
    out["label"] = {"secret": secret, "label": "ts pair", "ctx": ctx, "L": n, "okm": derive(secret, "ts pair", ctx, n)}
    out["spk"] = {
        "cidA": cid(i["component_id_A"]), "cidB": cid(i["component_id_B"]), "seedA": i["spk_seed_A"],
        "seedB": i["spk_seed_B"], "SPKA": a.object, "SPKB": b.object, "idA": a.id, "idB": b.id,
    }

    # certificate
    pid, pk64, cm = i["pairing_id"], i["pk64"], i["clear_metadata"]
    cm_hash = H(cm)
    info = lambda tag: b"modbatt1 cert-sec" + tag + pid + cm_hash + a.id + b.id + c.id
    sections = {}
    for side, tag, spk, half in (("A", b"\x0a", a, pk64[:32]), ("B", b"\x0b", b, pk64[32:])):
        scalar = int.from_bytes(i[f"hpke_ephemeral_{side}"], "big")
        sections[side] = tag + spk.id + hpke_seal(scalar, spk.kem_pub, info(tag), half + cm_hash + i["xk"])
    prk = extract(cm_hash, pk64)
    k_v, commit = derive(prk, "cert v", pid, 32), derive(prk, "pk commit", pid, 32)
    token = sign(c.sign, H(b"modbatt1 vtoken", pid, i["validation_nonce"]))
    endpoint = i["endpoint"].encode()
    plain = i["validation_nonce"] + bytes([len(endpoint)]) + endpoint + token + u(16, i["timeout_s"]) + b"\0"
    sealed = AESGCM(k_v).encrypt(i["section_v_iv"], plain, b"modbatt1 cert-v" + pid + cm_hash)
    sec_v = b"\x0c" + commit + i["section_v_iv"] + u(16, len(plain)) + sealed
    cert = b"\x01\x01" + pid + u(16, len(cm)) + cm + sections["A"] + sections["B"] + sec_v
    cert += sign(c.sign, H(b"modbatt1 paircert", cert))
    cert_hash = H(cert)
    out["cert"] = {
        "pk64": pk64, "xk": i["xk"], "clear_metadata": cm, "cm_hash": cm_hash, "info_A": info(b"\x0a"),
        "secA": sections["A"], "secB": sections["B"], "pk_commit": commit, "K_V": k_v, "secV": sec_v,
        "SPKC": c.object, "cert_len": len(cert), "cert": cert, "cert_hash": cert_hash,
    }

    # handshakes
    hx = []
    for side, half in (("a", pk64[:32]), ("b", pk64[32:])):
        prk = extract(cm_hash, i["xk"])
        nonce = derive(prk, f"hx iv {side}", pid, 4) + bytes(8)
        aad = b"modbatt1 hx" + side.encode() + pid
        hx.append(nonce + AESGCM(derive(prk, f"hx {side}", pid, 32)).encrypt(nonce, half, aad))
    values, pair = handshake(i, 3, 1, a, b, i["salt"], pk64 + i["salt"], cert_hash, hx, signed=True)
    out["handshake_pair"] = values | {
        "HXA": hx[0], "HXB": hx[1], "policy_hash": H(i["policy"]), "salt": i["salt"], "eA": i["ephemeral_A"],
        "eB": i["ephemeral_B"],
    }
    halves = i["device_key_half_A"] + i["device_key_half_B"]
    values, dev = handshake(i, 1, 0, a, b, i["salt"], halves + i["salt"])
    out["handshake_dev"] = values | {k: i[k] for k in ("device_key_half_A", "device_key_half_B")}
    out["handshake_dev_sas"], sas = handshake(i, 1, 4, a, b, i["salt"], halves + i["salt"])

    # epochs
    n_a, n_b, salt = rb(16), rb(16), rb(32)
    rekeyed = Channel(derive(pair.ms, "rekey", u(32, 1) + n_a + n_b + salt, 32), pair.id, pair.th4)
    out["rekey"] = {"nA": n_a, "nB": n_b, "salt": salt, "MS1": rekeyed.ms,
                    "key_pair_ab_e1": rekeyed.traffic("pair", "ab", 1)["key"]}
    boot_a, boot_b, epoch = R.randrange(2**32), R.randrange(2**32), 1
    r0 = derive(rekeyed.ms, "resume key", u(32, epoch), 32)
    m1 = bytes([1, 4, 0, 1]) + rekeyed.id[:4] + u(32, boot_a) + i["N_A"]
    core = bytes([1, 0x44, 0, 1]) + u(32, boot_b) + i["N_B"]
    t2 = H(H(b"modbatt1 rs", rekeyed.id, u(32, epoch), m1), core)
    mac_b = mac(derive(r0, "fin b", t2, 32), t2)[:16]
    t3 = H(t2, mac_b)
    mac_a = mac(derive(r0, "fin a", t3, 32), t3)[:16]
    resumed = Channel(derive(rekeyed.ms, "resume", u(32, epoch + 1) + H(t3, mac_a), 32), pair.id, pair.th4)
    out["resume"] = {"boot_ctr_A": boot_a, "boot_ctr_B": boot_b, "epoch": epoch, "source": "rekey", "M1": m1,
                     "M2": core + mac_b, "M3": bytes([1, 0x84, 0, 0]) + mac_a, "MS1": resumed.ms}

    # traffic keys
    for tier, way in (("exch", "ab"), ("exch", "ba"), ("pair", "ab"), ("pair", "ba")):
        out[f"tier_{tier}_{way}_e0"] = pair.traffic(tier, way, 0, i["xk"])
    out["tier_dev_ab_e0"] = dev.traffic("dev", "ab", 0) | {"source": "handshake_dev"}
    out["tier_dev_ba_e0"] = sas.traffic("dev", "ba", 0) | {"source": "handshake_dev_sas"}
    out["tier_exch_ba_e1"] = rekeyed.traffic("exch", "ba", 1, i["xk"]) | {"source": "rekey"}
    out["tier_pair_ba_e2"] = resumed.traffic("pair", "ba", 2) | {"source": "resume"}

    # sealed messages: level 10, E = 1, from the A side
    can_id = ((base & 0x3FF) >> 2) << 20 | 2 << 18 | 1 << 17 | device
    plain, counter = bytes([base & 3]) + body, R.randrange(2**31)
    aad, sealed = seal(resumed.traffic("pair", "ab", 2), can_id, 2, 2, counter, plain)
    out["seal_pair_ab"] = {
        "base11": hex(base), "can_id": hex(can_id), "can_id_canonical": hex(0x80000000 | can_id), "epoch": 2,
        "source": "resume", "aad": aad, "plaintext": plain, "counter": counter, "sealed": sealed,
    }
    chunks = [sealed[at:at + 8] for at in range(0, len(sealed), 8)]
    t = lambda n: (n & 15) << 12 | (len(chunks) & 15) << 8
    out["frames_chunk"] = {"frames": [[hex(can_id | t(n + 1)), chunk] for n, chunk in enumerate(chunks)]}
    frames = [u(16, 0x1000 | len(sealed)) + sealed[:6]]
    for at in range(6, len(sealed), 7):
        frames.append(bytes([0x20 | len(frames) & 15]) + sealed[at:at + 7])
    out["frames_isotp"] = {"can_id": hex(can_id | 0xF100), "frames": frames}
    pad = 20 - len(plain)
    padded = plain
    if pad:
        padded = bytes([plain[0] | 4]) + body + bytes(pad - 1) + bytes([pad])
    counter = R.randrange(2**31)
    sealed = seal(pair.traffic("pair", "ab", 0), can_id, 2, 0, counter, padded)[1]
    out["seal_fd48"] = {"can_id": hex(can_id | 0x1100), "counter": counter, "epoch": 0, "plaintext": padded,
                        "sealed": sealed}

    # compact messages: level 01, here from the A side
    can_id = R.randrange(0x80) << 20 | 1 << 18 | 1 << 17 | R.randrange(32) | 0x1100
    keys, counter, plain = pair.traffic("exch", "ab", 0, i["xk"]), R.randrange(2**40), rb(4)
    ct, tag = compact(keys, b"modbatt1 c1", can_id, counter, plain)
    out["compact_c1"] = {"can_id": hex(can_id), "plaintext": plain, "counter": counter,
                         "frames": [u(64, counter)[7:] + ct + tag[:3]]}
    counter, plain = R.randrange(2**40), rb(8)
    ct, tag = compact(keys, b"modbatt1 c2", can_id, counter, plain)
    out["compact_c2"] = {"plaintext": plain, "counter": counter, "frames": [ct, u(64, counter)[6:] + tag[:6]]}

    # statements
    l5 = i["level5"]
    digest = H(b"modbatt1 cmd", pair.th4, u(32, 0), u(16, int(l5["type"], 16)), u(32, l5["seq"]), l5["challenge"],
               u(16, l5["ttl_ms"]), H(l5["cmd"]))
    out["level5"] = {"cmd": l5["cmd"], "digest": digest, "sigA": sign(a.sign, digest)}
    digest = H(b"modbatt1 pair-complete", pid, i["validation_nonce"], cert_hash, pair.th4)
    out["completion"] = {"digest": digest, "sigA": sign(a.sign, digest), "sigB": sign(b.sign, digest)}

    key, head = rb(32), H(b"modbatt1 log", bytes(32), u(64, 0), u(16, 0))
    out["audit"] = {"k_1": key, "h_0": head, "chain": []}
    for n in range(1, R.randrange(3, 7)):
        entry = rb(R.randrange(300))
        head = H(b"modbatt1 log", head, u(64, n), u(16, len(entry)), entry)
        out["audit"]["chain"].append({"n": n, "entry": entry, "hash": head, "tag": mac(key, head)[:16]})
        key = derive(key, "log next", u(64, n), 32)
    slot, tier, way, epoch, seq, limit = (R.randrange(m) for m in (256, 5, 2, 2**32, 2**32, 2**64))
    knv = rb(32)
    record = b"MBC1" + struct.pack(">BBBBIIQ", slot, tier, way, 0, epoch, seq, limit)
    out["nvrec"] = {"slot": slot, "tier": tier, "dir": way, "epoch": epoch, "rec_seq": seq, "ctr_limit": limit,
                    "knv": knv, "record": record + mac(knv, b"modbatt1 nv", record)[:8]}
    return out


json.dump(build(), sys.stdout, indent=1, default=bytes.hex)
print()
