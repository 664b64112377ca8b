"""Sealed messages of every tier: control PDUs, group frames, a signed command in frames, a digest of clear frames."""

from __future__ import annotations

from securelink import digest, level5, seal, transport
from securelink.primitives import u8, u32
from securelink.schedule import TierKeys, exchange_tag, group_keys, rekey, tier_keys

from .inputs import Cast, Tree, shown

LEVEL_OF = {"dev": 0, "exch": 1, "pair": 2, "bind": 3, "grp": 2}
GENERATION = 12
GROUP_KEY = bytes(range(0xC0, 0xE0))
COMPACT_BASE = 0x502
COMPACT_ID = seal.identifier(COMPACT_BASE, 1, "ba", 5, 0)
COMPACT_BODY = bytes.fromhex("33a0c80280ffe803")
CHALLENGE = bytes.fromhex("c0ffee02")


def keys_tree(keys: TierKeys) -> Tree:
    return shown({"TS": keys.secret, "key": keys.key, "mac": keys.mac, "iv": keys.iv, "ckey": keys.compact_key})


def sealed_tree(
    source: str,
    keys: TierKeys,
    base: int,
    tier: str,
    direction: str,
    device: int,
    epoch: int,
    counter: int,
    body: bytes,
    *,
    signed: bool = False,
    fd: int | None = None,
) -> dict[str, Tree]:
    """One sealed message with everything between plaintext and frames."""
    can_id = seal.identifier(base, LEVEL_OF[tier], direction, device, 0)
    text = seal.plaintext(base, body, level5=signed, frame=fd)
    message = seal.seal(keys, can_id, epoch, counter, text)
    tree = {
        "source": source,
        "base11": hex(base),
        "tier": tier,
        "direction": direction,
        "can_id_canonical": hex(seal.canonical(can_id)),
        "epoch": epoch,
        "aad": seal.aad(can_id, epoch, len(text)),
        "body": body,
        "plaintext": text,
        "counter": counter,
        "sealed": message,
    }
    if fd is not None:
        tree["frames"] = [[hex(transport.with_transport(can_id, 0x11)), message]]
    elif len(message) <= 128:
        tree["frames"] = [[hex(frame_id), data] for frame_id, data in transport.chunks(can_id, message)]
    else:
        whole = hex(transport.with_transport(can_id, transport.ISO_TP))
        tree["frames"] = [[whole, data] for data in transport.iso_tp(message)]
    return shown(tree)  # type: ignore[no-any-return]


def confirm(epoch: int, challenge: bytes) -> bytes:
    """CONFIRM with its type byte (H16)."""
    return u8(0x0C) + u32(epoch) + challenge


def command(cast: Cast) -> level5.Command:
    """0x400 with On, from the app to the pack."""
    return level5.Command(0x400, 1, CHALLENGE, 500, bytes.fromhex("0300000000000000"))


def pair_keys(cast: Cast, tier: str, direction: str, epoch: int = 0) -> TierKeys:
    """Of the epoch that `epoch` would be if the master secret were the same."""
    run = cast.pair_run
    tag = exchange_tag(cast.i.xk) if tier == "exch" else b""
    return tier_keys(run.master, tier, direction, epoch, run.channel_id, tag)


def clear_frames() -> list[digest.Frame]:
    """What a pack and a module may leave clear."""
    return [
        digest.frame(0x421, bytes.fromhex("0102030405060708"), extended=False),
        digest.frame(0x502 << 18 | 5, bytes.fromhex("33a0c80280ffe803"), extended=True),
        digest.frame(0x428, bytes.fromhex("11"), extended=False),
    ]


def digests() -> Tree:
    """Two windows, and what a receiver that waits for window 0 says of them."""
    sent = clear_frames()
    first, second = digest.pdu(0, sent), digest.pdu(1, [])
    altered = [sent[0], (sent[1][0], sent[1][1][:-1] + b"\x04"), sent[2]]
    as_extended = [(sent[0][0] | 0x8000_0000, sent[0][1]), *sent[1:]]
    cases = (
        ("as sent", first, 0, sent),
        ("one frame lost", first, 0, sent[:2]),
        ("one byte altered", first, 0, altered),
        ("11-bit identifier taken for one of 29 bits", first, 0, as_extended),
        ("two frames exchanged", first, 0, [sent[1], sent[0], sent[2]]),
        ("one frame added", first, 0, [*sent, sent[0]]),
        ("one lost and one altered", first, 0, altered[:2]),
        ("the digest before it missing", second, 0, []),
        ("an earlier window", first, 1, sent),
    )
    return {
        "windows": [{"clear": sent, "pdu": first}, {"clear": [], "pdu": second}],
        "verdicts": [
            {"change": change, "pdu": data, "expected": window, "heard": heard, "verdict": told}
            for change, data, window, heard in cases
            for told in [digest.verdict(data, window, heard)]
        ],
    }


def groups(cast: Cast) -> dict[str, Tree]:
    run = cast.pair_run
    out: dict[str, Tree] = {}
    for tier in ("exch", "pair"):
        for direction in ("ab", "ba"):
            keys = keys_tree(pair_keys(cast, tier, direction))
            out[f"tier_{tier}_{direction}_e0"] = {"source": "handshake_pair", **keys}
    ab, ba = (pair_keys(cast, "pair", direction) for direction in ("ab", "ba"))
    exch = pair_keys(cast, "exch", "ba")

    five = command(cast)
    body = five.body(cast.a.sign_scalar, run.th4, 0)
    out["level5_sealed"] = {
        "type": hex(five.type),
        "seq": five.seq,
        "challenge": five.challenge,
        "ttl_ms": five.ttl_ms,
        "cmd": five.command,
        "signed": five.message(run.th4, 0),
        **sealed_tree("handshake_pair", ab, 0x400, "pair", "ab", 0, 0, 5, body, signed=True),
    }
    answer = level5.answer(five.seq, 0, bytes.fromhex("c0ffee03"))
    out["level5_answer"] = sealed_tree("handshake_pair", ba, 0x4AC, "pair", "ba", 0, 0, 1, answer)
    out["control_confirm"] = sealed_tree("handshake_pair", ba, 0x4AC, "pair", "ba", 0, 0, 0, confirm(0, CHALLENGE))
    time = u8(9) + u32(cast.i.time) + (250).to_bytes(2, "big")
    out["control_time"] = sealed_tree("handshake_pair", ab, 0x40C, "pair", "ab", 0, 0, 6, time)
    # A module is asked for nothing here: the keys of the app's channel stand in for those of a module's.
    key = u8(0x0E) + u32(GENERATION) + GROUP_KEY
    out["control_group_key"] = sealed_tree("handshake_pair", ab, 0x52C, "pair", "ab", 5, 0, 7, key)
    status = bytes(range(82))
    out["seal_pack_status"] = sealed_tree("handshake_pair", ba, 0x424, "pair", "ba", 0, 0, 2, status)
    scan = u8(0) + u8(34) + bytes(102) + bytes(range(42))
    out["seal_scan_iso_tp"] = sealed_tree("handshake_pair", exch, 0x509, "exch", "ba", 5, 0, 0, scan)
    out["seal_fd64"] = sealed_tree(
        "handshake_pair", exch, 0x508, "exch", "ba", 5, 0, 1, bytes(range(0x20, 0x40)), fd=64
    )
    out["digest"] = digests()
    told = digest.pdu(0, clear_frames())
    out["seal_digest"] = sealed_tree("handshake_pair", exch, 0x4AC, "exch", "ba", 0, 0, 2, told)

    grp = group_keys(GROUP_KEY, GENERATION, cast.cid_b)
    out["tier_group"] = {
        "group_key": GROUP_KEY,
        "generation": GENERATION,
        "cid_pack": cast.cid_b,
        **keys_tree(grp),
    }
    out["seal_group"] = sealed_tree("tier_group", grp, 0x517, "grp", "ab", 0, GENERATION, 9, b"\x01")
    salt = b"\x5a" * 32
    master = rekey(run.master, 1, cast.i.nonce_a, cast.i.nonce_b, salt)
    rotate = u8(0x0D) + u32(1) + cast.i.nonce_a + salt
    out["control_rotate"] = sealed_tree("handshake_pair", ab, 0x40C, "pair", "ab", 0, 0, 8, rotate)
    rotate_ack = u8(0x0D) + u32(1) + cast.i.nonce_b
    out["control_rotate_ack"] = sealed_tree("handshake_pair", ba, 0x4AC, "pair", "ba", 0, 0, 3, rotate_ack)
    next_ab, next_ba = (tier_keys(master, "pair", direction, 1, run.channel_id) for direction in ("ab", "ba"))
    rotated = u8(0x0D) + u32(1)
    for name, keys, base, direction, body in (
        ("control_rotated", next_ab, 0x40C, "ab", rotated),
        ("control_confirm_e1", next_ba, 0x4AC, "ba", confirm(1, CHALLENGE)),
    ):
        tree = sealed_tree("handshake_pair", keys, base, "pair", direction, 0, 1, 0, body)
        out[name] = {**tree, "MS": master}
    out["compact_c2"] = {
        "source": "handshake_pair",
        "base11": hex(COMPACT_BASE),
        "can_id_canonical": hex(seal.canonical(COMPACT_ID)),
        "plaintext": COMPACT_BODY,
        "counter": 300,
        "frames": seal.compact(exch, 2, COMPACT_ID, 0, 300, COMPACT_BODY),
    }
    out["rekey"] = {
        "source": "handshake_pair",
        "epoch": 1,
        "nA": cast.i.nonce_a,
        "nB": cast.i.nonce_b,
        "salt": salt,
        "MS1": master,
        "key_pair_ab_e1": tier_keys(master, "pair", "ab", 1, run.channel_id).key,
    }
    return shown(out)  # type: ignore[no-any-return]
