"""What must be refused: each entry one change of something good, with the reason (H39, H62).

An entry names the kind of object (`what`), what was changed, and what a reader needs besides the inputs. The model has
to refuse each for the stated reason before it is published.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from securelink import (
    announce,
    attestation,
    audit,
    binding,
    certificate,
    delegation,
    escalation,
    event,
    key_package,
    level5,
    lifecycle,
    p256,
    pake,
    revocation,
    seal,
)
from securelink.cbor import encode
from securelink.identity import APP, MODULE, PACK
from securelink.primitives import ORDER, Refused, high_s, public_of, sha256, sign, u16, u32

from . import binding as bind_set
from . import bootstrap, inputs, messages
from . import delegation as delegation_set
from . import lifecycle as life_set
from .inputs import Cast, Tree, shown


def flip(data: bytes, at: int, bit: int = 1) -> bytes:
    """One bit of one byte changed; `at` may count from the end."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def put(data: bytes, at: int, part: bytes) -> bytes:
    at %= len(data)
    return data[:at] + part + data[at + len(part) :]


class Collector:
    """Gathers entries and makes sure that the model refuses each as stated."""

    def __init__(self) -> None:
        self.entries: list[Tree] = []

    def add(self, what: str, change: str, reason: str, check: Callable[[], object], **fields: Tree) -> None:
        name = f"{what}: {change}"
        try:
            check()
        except Refused as refused:
            if refused.reason != reason:
                raise AssertionError(f"{name}: {refused} instead of {reason}") from refused
        else:
            raise AssertionError(f"{name}: not refused")
        self.entries.append(shown({"what": what, "change": change, "reason": reason, **fields}))


def entries(cast: Cast, exchange: pake.Exchange, code_commit: bytes) -> list[Tree]:
    out = Collector()
    device_certificates(out, cast, code_commit)
    certificate_requests(out, cast)
    spk_attestations(out, cast)
    introductions(out, cast, code_commit)
    runs(out, cast)
    certificates(out, cast)
    metadata(out, cast)
    sealed_messages(out, cast)
    compact_messages(out, cast)
    commands(out, cast)
    packages(out, cast)
    codes(out, cast, exchange)
    lifecycles(out, cast)
    validation(out, cast)
    escalations(out)
    logs(out, cast)
    delegations(out, cast)
    return out.entries


def device_certificates(out: Collector, cast: Cast, code_commit: bytes) -> None:
    i = cast.i
    good = bind_set.certified(cast, "b", code_commit)
    batch = bind_set.batch_certificate(cast)
    fields = bind_set.device(cast, "b", code_commit)

    def add(change: str, reason: str, device: bytes, issuer: bytes = batch, now: int = i.time) -> None:
        out.add(
            "device_certificate",
            change,
            reason,
            lambda: attestation.check_chain(device, issuer, cast.root_key, now),
            device=device,
            batch=issuer,
            root_key=cast.root_key,
            time=now,
        )

    add("high s", "NotAuthentic", put(good, 103, high_s(good[103:])))
    add("r = 0", "NotAuthentic", put(good, 103, bytes(32)))
    add("s = n", "NotAuthentic", put(good, 135, ORDER.to_bytes(32, "big")))
    add("64 zero bytes as signature", "NotAuthentic", put(good, 103, bytes(64)))
    other_hint = put(good[:103], 2, flip(good[2:4], 0))
    signed = other_hint + sign(i.batch_scalar, b"modbatt1 devcert" + other_hint)
    add("hint of another issuer, signature of the right one", "NotAuthentic", signed)
    add("another cid", "NotAuthentic", flip(good, 4))
    add("one byte short", "Malformed", good[:-1])
    add("version 2", "Malformed", put(good, 0, b"\x02"))
    add("type 13", "Malformed", put(good, 1, b"\x0d"))
    reserved = put(good[:103], 21, b"\x04")
    reserved += sign(i.batch_scalar, b"modbatt1 devcert" + reserved)
    add("reserved flag", "Malformed", reserved)
    add("a second before its period", "Expired", good, now=i.not_before - 1)
    add("the second in which it ends", "Expired", good, now=i.not_after)
    add("signed by the root, not by the batch authority", "NotAuthentic", fields.signed(i.root_scalar))
    puppet = dataclasses.replace(fields, issuer_key=fields.identity_key)
    add("a device certificate as issuer", "NotAuthentic", puppet.signed(i.identity_scalar_b), good)
    own_root = attestation.DeviceCertificate(
        attestation.BATCH,
        cast.batch_key,
        b"\x02" * 16,
        0,
        0,
        i.not_before,
        i.not_after,
        bytes(8),
        cast.batch_key,
    ).signed(i.batch_scalar)
    add("batch certificate signed by itself", "NotAuthentic", good, own_root)
    off_curve = put(good[:103], 38, b"\x02" + b"\xff" * 32)
    off_curve += sign(i.batch_scalar, b"modbatt1 devcert" + off_curve)
    add("identity key not on the curve", "InvalidKey", off_curve)


def certificate_requests(out: Collector, cast: Cast) -> None:
    good = bind_set.certificate_request(cast)

    def add(change: str, reason: str, request: bytes) -> None:
        check = attestation.check_certificate_request
        out.add("certificate_request", change, reason, lambda: check(request), request=request)

    add("one byte short", "Malformed", good[:-1])
    add("version 2", "Malformed", put(good, 0, b"\x02"))
    add("role 6", "Malformed", put(good, 1, b"\x06"))
    flags = put(good[:60], 2, b"\x04")
    add("reserved flag", "Malformed", flags + sign(cast.i.identity_scalar_b, b"modbatt1 certreq" + flags))
    add("another cid", "NotAuthentic", flip(good, 3))
    add("a key of another device", "NotAuthentic", put(good, 27, public_of(cast.i.identity_scalar_a)))
    add("high s", "NotAuthentic", put(good, 60, high_s(good[60:])))


def spk_attestations(out: Collector, cast: Cast) -> None:
    asked = bind_set.request(cast, "b")
    good = bind_set.spk_attestation(cast, "b")
    key = bind_set.device(cast, "b").identity_key
    spk = cast.b.object

    def add(change: str, reason: str, **changed: Tree) -> None:
        values = {
            "identity_key": key,
            "cid": asked.cid,
            "role": asked.role,
            "spk": spk,
            "cid_partner": asked.cid_partner,
            "nonce": asked.nonce,
            "attestation": good,
            **changed,
        }
        out.add("spk_attestation", change, reason, lambda: attestation.check_spk(**values), **values)

    add("another nonce", "NotAuthentic", nonce=flip(asked.nonce, 0))
    add("another partner", "NotAuthentic", cid_partner=cast.cid_m)
    add("another semi-public key", "NotAuthentic", spk=cast.a.object)
    add("another role", "NotAuthentic", role=MODULE)
    add("high s", "NotAuthentic", attestation=high_s(good))
    add("key for signing in hybrid form", "InvalidKey", spk=put(spk, 2, b"\x06"))
    add("suite 2", "Malformed", spk=put(spk, 1, b"\x02"))


def introductions(out: Collector, cast: Cast, code_commit: bytes) -> None:
    secret = cast.authority.sign_scalar
    asked = bind_set.request(cast, "a")
    good_request = asked.signed(secret)
    good = bind_set.introduction(cast, "a", code_commit).signed(secret)
    authority = cast.authority.sign_public

    def ask(change: str, reason: str, data: bytes, cid: bytes = asked.cid, role: int = APP) -> None:
        out.add(
            "bind_request",
            change,
            reason,
            lambda: binding.check_request(data, authority, cid, role),
            data=data,
            cid=cid,
            role=role,
        )

    ask("for another entity", "WrongParty", good_request, cid=cast.cid_m)
    ask("for another role", "WrongParty", good_request, role=PACK)
    ask("access data changed", "NotAuthentic", flip(good_request, 68))
    ask("high s", "NotAuthentic", put(good_request, -64, high_s(good_request[-64:])))
    longer = good_request[:-64] + b"\x00"
    longer += sign(secret, b"modbatt1 bind-request" + longer)
    ask("a byte after the access data", "Malformed", longer)

    def tell(change: str, reason: str, data: bytes) -> None:
        out.add(
            "introduction",
            change,
            reason,
            lambda: binding.check_introduction(data, authority, cast.root_key, asked),
            data=data,
            request=good_request,
        )

    def again(at: int, part: bytes) -> bytes:
        body = put(good[:-64], at, part)
        return body + sign(secret, b"modbatt1 bind-peer" + body)

    tell("signature of another key", "NotAuthentic", good[:-64] + sign(cast.a.sign_scalar, good[:-64]))
    tell("another binding", "WrongParty", again(1, flip(good[1:17], 0)))
    tell("for another entity", "WrongParty", again(17, cast.cid_m))
    tell("semi-public key of another", "NotAuthentic", again(367, cast.a.object))
    tell("old nonce", "NotAuthentic", again(435, flip(good[435:451], 0)))
    tell("certificate of another partner", "WrongParty", again(33, bind_set.certified(cast, "a", code_commit)))
    tell("time after the certificates", "Expired", again(579, u32(cast.i.not_after)))
    tell("assurance 4", "Malformed", again(583, b"\x04"))
    tell("one byte short", "Malformed", good[:-1])


def runs(out: Collector, cast: Cast) -> None:
    bind, pair = cast.bind_run, cast.pair_run
    sas = bootstrap.commissioning_run(cast)
    wrong_mac = put(bind.values["M2"], 57, bytes(16))

    def m2(change: str, reason: str, source: str, data: bytes) -> None:
        run = {"handshake_bind": bind, "handshake_pair": pair, "handshake_dev_sas": sas}[source]
        out.add("handshake_m2", change, reason, lambda: run.check_m2(data), source=source, message=data)

    def m3(change: str, reason: str, source: str, data: bytes) -> None:
        run = {"handshake_bind": bind, "handshake_pair": pair, "handshake_dev_sas": sas}[source]
        out.add("handshake_m3", change, reason, lambda: run.check_m3(data), source=source, message=data)

    good, last = bind.values["M2"], bind.values["M3"]
    m2("mac_B zero", "NotAuthentic", "handshake_bind", wrong_mac)
    m2("high s", "NotAuthentic", "handshake_bind", put(good, -64, high_s(good[-64:])))
    m2("nonce changed", "NotAuthentic", "handshake_bind", flip(good, 8))
    m2("boot counter changed", "NotAuthentic", "handshake_bind", flip(good, 7))
    m2("point not on the curve", "InvalidKey", "handshake_bind", put(good, 24, b"\x02" + b"\xff" * 32))
    m2("point in hybrid form", "InvalidKey", "handshake_bind", put(good, 24, b"\x06"))
    m2("other kind", "Malformed", "handshake_bind", put(good, 1, b"\x43"))
    m2("flag bit 1 set", "Malformed", "handshake_bind", put(good, 2, b"\x03"))
    m2("suite 2", "Malformed", "handshake_bind", put(good, 3, b"\x02"))
    m2("without signature", "Malformed", "handshake_bind", good[:-64])
    m2("the M2 of PAIR", "Malformed", "handshake_bind", pair.values["M2"])
    m2("high s", "NotAuthentic", "handshake_pair", put(pair.values["M2"], -64, high_s(pair.values["M2"][-64:])))
    other = dataclasses.replace(sas.b, ephemeral=inputs.scalar(0xE0B3))
    swapped = dataclasses.replace(sas, b=other)
    # The whole run of somebody in between, except that M0 had to be told before.
    m2("another ephemeral than M0 committed to", "NotAuthentic", "handshake_dev_sas", swapped.values["M2"])
    ground = dataclasses.replace(sas, b=dataclasses.replace(sas.b, nonce=b"\x1c" * 16))
    m2("another nonce than M0 committed to", "NotAuthentic", "handshake_dev_sas", ground.values["M2"])
    m3("mac_A zero", "NotAuthentic", "handshake_bind", put(last, 4, bytes(16)))
    m3("high s", "NotAuthentic", "handshake_bind", put(last, -64, high_s(last[-64:])))
    m3("status 1", "Malformed", "handshake_bind", put(last, 3, b"\x01"))
    m3("without signature", "Malformed", "handshake_bind", last[:20])
    m3("of another run", "NotAuthentic", "handshake_dev_sas", swapped.values["M3"])


def certificates(out: Collector, cast: Cast) -> None:
    cert = cast.certificate
    good = cert.bytes
    start = 20 + len(cert.metadata)
    authority = cast.authority

    def add(change: str, reason: str, data: bytes, side: str = "a") -> None:
        own, tag = (cast.a, certificate.TAG_A) if side == "a" else (cast.b, certificate.TAG_B)
        other = cast.b.id if side == "a" else cast.a.id
        out.add(
            "certificate",
            change,
            reason,
            lambda: certificate.accept(data, own, tag, other, authority.object),
            certificate=data,
            side=side,
        )

    def again(body: bytes) -> bytes:
        return body + sign(authority.sign_scalar, b"modbatt1 paircert" + body)

    body = good[:-64]
    add("high s", "NotAuthentic", put(good, -64, high_s(good[-64:])))
    add("signed by the entity itself", "NotAuthentic", body + sign(cast.a.sign_scalar, b"modbatt1 paircert" + body))
    add("a bit of section B", "NotAuthentic", flip(good, start + 186 + 80))
    add("one byte short", "Malformed", good[:-1])
    add("suite 2", "Malformed", put(good, 1, b"\x02"))
    swapped = body[:start] + b"\x0a" + body[start + 187 : start + 372] + b"\x0b" + body[start + 1 : start + 186]
    add("sections A and B swapped", "WrongParty", again(swapped + body[start + 372 :]))
    add("a bit of section A, signed again", "NotAuthentic", again(flip(body, start + 100)))
    foreign = dataclasses.replace(cert, pairing_id=bytes(16))
    add("another pairing_id than the metadata", "WrongParty", foreign.bytes)
    later = certificate.example_metadata(
        cert.pairing_id,
        ((cast.cid_a, APP, cast.i.access_a), (cast.cid_b, PACK, cast.i.access_b)),
        (cast.i.time, cast.i.time, cast.i.time + 9_999_999, 0),
        cast.i.salt,
        cast.i.iv_seed,
    )
    spliced = dataclasses.replace(cert, metadata=later).bytes
    # Metadata of one certificate, sections of another, signed by an authority that was tricked.
    mixed = spliced[: 20 + len(later)] + body[start:]
    add("metadata of another certificate", "NotAuthentic", again(mixed))


def metadata(out: Collector, cast: Cast) -> None:
    good = cast.metadata

    def add(change: str, data: bytes) -> None:
        out.add("metadata", change, "Malformed", lambda: certificate.check_metadata(data), metadata=data)

    value = certificate.check_metadata(good)
    add("a byte after the end", good + b"\x00")
    add("one byte short", good[:-1])
    add("number longer than needed", good.replace(encode(4) + encode(1), encode(4) + b"\x18\x01", 1))
    add("map of indefinite length", b"\xbf" + good[1:] + b"\xff")
    add("keys not ascending", b"\xa6" + _pairs(value, (2, 1, 3, 4, 5, 6)))
    add("a key twice", b"\xa6" + _pairs(value, (1, 2, 2, 3, 4, 5)))
    add("key 6 missing", b"\xa5" + _pairs(value, (1, 2, 3, 4, 5)))
    add("a key that nobody knows", encode({**value, 7: 0}))
    fields = value[1]
    assert isinstance(fields, dict)
    add("context 5", encode({**value, 1: {**fields, 2: 5}}))
    time = cast.i.time
    add("expires before it begins", encode({**value, 1: {**fields, 4: [time, time, time, 0]}}))
    add("unknown operation", encode({**value, 1: {**fields, 5: 8}}))
    add("17 bases", encode({**value, 1: {**fields, 6: [0x412] * 17}}))
    short: list[Tree] = [[cast.cid_a, APP, b"x" * 97], [cast.cid_b, PACK, b""]]
    add("access data of 97 bytes", encode({**value, 1: {**fields, 3: short}}))
    add("salt of 31 bytes", encode({**value, 2: bytes(31)}))
    add("a float", good[:-1] + b"\xf9\x00\x00")


def _pairs(value: dict[int, Tree], keys: tuple[int, ...]) -> bytes:
    return b"".join(encode(key) + encode(value[key]) for key in keys)


def sealed_messages(out: Collector, cast: Cast) -> None:
    ab = messages.pair_keys(cast, "pair", "ab")
    can_id = seal.identifier(0x514, 2, "ab", 5, 0)
    text = seal.plaintext(0x514, b"\x00\x03\x00\x00")

    def add(
        change: str,
        reason: str,
        message: bytes,
        identifier: int = can_id,
        *,
        epoch: int = 0,
        before: tuple[int, ...] = (),
    ) -> None:
        # A receiver takes the key of the identifier's level and of its own epoch.
        tier = {1: "exch", 2: "pair"}[identifier >> 18 & 3]
        keys = messages.pair_keys(cast, tier, "ab", epoch)
        opener = seal.Opener(keys, epoch, tier == "pair")
        accepted = [seal.seal(keys, identifier, epoch, counter, text) for counter in before]
        for earlier in accepted:
            opener.open(identifier, earlier)
        out.add(
            "sealed",
            change,
            reason,
            lambda: opener.open(identifier, message),
            source="handshake_pair",
            tier=tier,
            direction="ab",
            epoch=epoch,
            can_id=hex(seal.canonical(identifier)),
            accepted=accepted,
            message=message,
        )

    good = seal.seal(ab, can_id, 0, 20, text)
    add("28 bytes", "Malformed", good[:28])
    add("tag zero", "NotAuthentic", good[:-16] + bytes(16))
    add("last bit of the tag", "NotAuthentic", flip(good, -1))
    add("a bit of the ciphertext", "NotAuthentic", flip(good, 12))
    add("counter changed", "NotAuthentic", flip(good, 11))
    add("base4 changed", "UnknownKey", flip(good, 0))
    add("one byte longer", "NotAuthentic", good + b"\x00")
    add("one byte shorter", "NotAuthentic", good[:-1])
    add("to another module", "NotAuthentic", good, seal.identifier(0x514, 2, "ab", 6, 0))
    add("under another family of bases", "NotAuthentic", good, seal.identifier(0x510, 2, "ab", 5, 0))
    add("direction inverted", "NotAuthentic", good, seal.identifier(0x514, 2, "ba", 5, 0))
    add("level exch in the identifier", "UnknownKey", good, seal.identifier(0x514, 1, "ab", 5, 0))
    add("epoch 1 in the receiver", "UnknownKey", good, epoch=1)
    add("counter accepted before", "Replayed", good, before=(20,))
    add("counter below the last, strict tier", "Replayed", good, before=(21,))
    exch_id = seal.identifier(0x512, 1, "ab", 5, 0)
    exch = messages.pair_keys(cast, "exch", "ab")
    old = seal.seal(exch, exch_id, 0, 20, text)
    add("64 below the highest, exch tier", "Replayed", old, exch_id, before=(84,))
    for change, plain in (
        ("header bit 4", b"\x10\x00"),
        ("padding count 0", b"\x04\x01\x00"),
        ("padding count above the body", b"\x04\x00\x03"),
        ("padding not zero", b"\x04\x01\x07\x00\x03"),
        ("padded and empty", b"\x04"),
    ):
        add(change, "Malformed", seal.seal(ab, can_id, 0, 22, plain))
    stale = seal.seal(messages.pair_keys(cast, "pair", "ba"), can_id, 0, 20, text)
    add("sealed with the key of the other direction", "UnknownKey", stale)


def compact_messages(out: Collector, cast: Cast) -> None:
    keys = messages.pair_keys(cast, "exch", "ba")
    can_id = messages.COMPACT_ID
    frames = seal.compact(keys, 2, can_id, 0, 300, messages.COMPACT_BODY)
    good = b"".join(frames)

    def add(
        change: str,
        reason: str,
        message: bytes,
        *,
        bases: tuple[int, ...] = (messages.COMPACT_BASE,),
        identifier: int = can_id,
        last: int = 299,
    ) -> None:
        out.add(
            "compact",
            change,
            reason,
            lambda: seal.open_compact(keys, identifier, 0, message, bases, last),
            source="handshake_pair",
            bases=list(bases),
            can_id=hex(seal.canonical(identifier)),
            accepted=seal.seal(keys, can_id, 0, last, b"\x02"),
            message=message,
        )

    add("no base listed", "Policy", good, bases=())
    add("only a base of another family listed", "Policy", good, bases=(0x421,))
    add("last bit of the tag", "NotAuthentic", flip(good, -1))
    add("a bit of the ciphertext", "NotAuthentic", flip(good, 0))
    add("another low part of the counter", "NotAuthentic", flip(good, 9))
    add("a counter that a whole message had", "NotAuthentic", good, last=300)
    add("from another module", "NotAuthentic", good, identifier=can_id + 1)
    add("the first half as C1", "NotAuthentic", good[:8])


def commands(out: Collector, cast: Cast) -> None:
    run = cast.pair_run
    five = messages.command(cast)
    secret, public = cast.a.sign_scalar, cast.a.sign_public
    good = five.body(secret, run.th4, 0)

    def add(change: str, reason: str, body: bytes, base: int = 0x400, epoch: int = 0) -> None:
        out.add(
            "level5",
            change,
            reason,
            lambda: level5.open_body(body, base, public, run.th4, epoch),
            source="handshake_pair",
            base=base,
            epoch=epoch,
            body=body,
        )

    add("high s", "NotAuthentic", put(good, -64, high_s(good[-64:])))
    add("seq changed", "NotAuthentic", flip(good, 5))
    add("challenge changed", "NotAuthentic", flip(good, 9))
    add("time to live changed", "NotAuthentic", flip(good, 11))
    add("command changed", "NotAuthentic", flip(good, 12))
    add("another epoch", "NotAuthentic", good, epoch=1)
    add("signed by the other side", "NotAuthentic", five.body(cast.b.sign_scalar, run.th4, 0))
    other = dataclasses.replace(five, type=0x404)
    add("type is not the base", "Malformed", other.body(secret, run.th4, 0))
    long = b"\x00" * 17
    fields = u16(0x400) + u32(1) + five.challenge + u16(500) + long
    add("command of 17 bytes", "Malformed", fields + good[-64:])
    add("75 bytes", "Malformed", good[:75])


def packages(out: Collector, cast: Cast) -> None:
    good = bootstrap.package(cast, "b").plain(False)
    whole = bootstrap.package(cast, "b")

    def add(change: str, reason: str, data: bytes) -> None:
        out.add(
            "key_package",
            change,
            reason,
            lambda: key_package.check_plain(data, cast.cid_b, PACK, cast.cid_a, False),
            package=data,
        )

    add("tag zero", "NotAuthentic", put(good, 304, bytes(32)))
    add("a bit of the salt", "NotAuthentic", flip(good, 248))
    add("magic", "Malformed", flip(good, 0))
    add("version 2", "Malformed", put(good, 4, b"\x02"))
    add("reserved flag", "Malformed", put(good, 5, b"\x02"))
    add("kind 3", "Malformed", put(good, 7, b"\x03"))
    add("aead 2", "Malformed", put(good, 297, b"\x02"))
    add("epoch 1", "Malformed", put(good, 303, b"\x01"))
    add("one byte short", "Malformed", good[:-1])
    add("for another entity", "WrongParty", dataclasses.replace(whole, cid_self=cast.cid_m).plain(False))
    add("for another role", "WrongParty", dataclasses.replace(whole, role=MODULE).plain(False))
    add("another peer", "WrongParty", dataclasses.replace(whole, cid_peer=cast.cid_m).plain(False))
    for change, half in (("half all 00", bytes(64)), ("half all FF", b"\xff" * 64), ("equal halves", whole.half_peer)):
        add(change, "DegenerateKey", dataclasses.replace(whole, half_self=half).plain(False))

    sealed = bootstrap.sealed_package(cast)
    authority = cast.authority

    def closed(change: str, reason: str, data: bytes, nonce: bytes = cast.i.bind_nonce_b) -> None:
        out.add(
            "key_package_sealed",
            change,
            reason,
            lambda: key_package.open_sealed(
                data, cast.b.kem_scalar, cast.cid_b, cast.cid_a, nonce, authority.sign_public
            ),
            sealed=data,
            nonce=nonce,
        )

    def again(data: bytes) -> bytes:
        return data + sign(authority.sign_scalar, b"modbatt1 kpkg sig" + data)

    closed("high s", "NotAuthentic", put(sealed, -64, high_s(sealed[-64:])))
    closed("nonce of another binding", "NotAuthentic", sealed, flip(cast.i.bind_nonce_b, 0))
    closed("a bit of the ciphertext, signed again", "NotAuthentic", again(flip(sealed[:-64], 100)))
    closed("enc not on the curve, signed again", "InvalidKey", again(put(sealed[:-64], 1, b"\xff" * 64)))
    open_flag = key_package.seal(
        bootstrap.package(cast, "b").plain(False),
        cast.b.kem_public,
        cast.i.hpke_ephemeral_b,
        cast.i.bind_nonce_b,
        authority.sign_scalar,
    )
    closed("flag bit 0 clear inside", "Malformed", open_flag)


def codes(out: Collector, cast: Cast, exchange: pake.Exchange) -> None:
    def code(change: str, text: str, reason: str) -> None:
        out.add("printed_code", change, reason, lambda: pake.typed(text), code=text)

    code("wrong check character", "7Z3K-9QXM-20AB-S", "NotAuthentic")
    code("two digits exchanged", "7Z3K-9QMX-20AB-R", "NotAuthentic")
    code("twelve characters", "7Z3K-9QXM-20AB", "Malformed")
    code("the letter U", "7Z3K-9QXM-20AU-R", "Malformed")

    def share(change: str, reason: str, share_v: bytes, confirm_v: bytes) -> None:
        out.add(
            "pake_prover",
            change,
            reason,
            lambda: exchange.prover_checks(share_v, confirm_v),
            shareV=share_v,
            confirmV=confirm_v,
        )

    good_share, good_confirm = exchange.share_v, exchange.confirm_v
    share("confirmV zero", "NotAuthentic", good_share, bytes(32))
    share("own share reflected", "InvalidKey", exchange.share_p, good_confirm)
    share("share not on the curve", "InvalidKey", b"\x04" + b"\xff" * 64, good_confirm)
    share("share compressed", "Malformed", b"\x02" + good_share[1:33], good_confirm)
    generator = p256.encode(p256.GENERATOR)
    share("another point", "NotAuthentic", generator, good_confirm)
    wrong = pake.Exchange(exchange.w0 + 1, exchange.w1, exchange.x, exchange.y, cast.cid_a, cast.cid_b)
    share("of a verifier with another code", "NotAuthentic", wrong.share_v, wrong.confirm_v)
    out.add(
        "pake_verifier",
        "confirmP of another code",
        "NotAuthentic",
        lambda: exchange.verifier_checks(wrong.confirm_p),
        confirmP=wrong.confirm_p,
    )
    out.add(
        "pake_verifier",
        "confirmV sent back",
        "NotAuthentic",
        lambda: exchange.verifier_checks(good_confirm),
        confirmP=good_confirm,
    )


def lifecycles(out: Collector, cast: Cast) -> None:
    first, second = life_set.lists(cast)
    secret, authority = cast.authority.sign_scalar, cast.authority.sign_public
    held_first = (1, revocation.list_hash(first))
    held_second = (2, revocation.list_hash(second))

    def crl(change: str, reason: str, data: bytes, held: tuple[int, bytes] | None = held_first) -> None:
        state = {} if held is None else {"held_number": held[0], "held_hash": held[1]}
        out.add("crl", change, reason, lambda: revocation.take(data, authority, held), list=data, **state)

    def again(body: bytes) -> bytes:
        return body + sign(secret, b"modbatt1 crl" + body)

    body = second[:-64]
    crl("older than the one held", "Policy", first, held_second)
    crl("the same number", "Policy", second, held_second)
    crl("next number, another prev_hash", "Policy", again(flip(body, 16)))
    crl("high s", "NotAuthentic", put(second, -64, high_s(second[-64:])))
    crl("an entry taken out", "Malformed", second[:50] + second[72:])
    crl("an entry changed", "NotAuthentic", flip(second, 51))
    crl("signed by an entity", "NotAuthentic", body + sign(cast.a.sign_scalar, b"modbatt1 crl" + body))
    crl("number 0", "Malformed", again(put(first[:-64], 4, u32(0))), None)
    crl("type 5", "Malformed", again(put(body, 50, b"\x05")))
    crl("reason 6", "Malformed", again(put(body, 67, b"\x06")))
    crl("next_update before this_update", "Malformed", again(put(body, 12, u32(cast.i.time))))
    many = revocation.RevocationList(
        2, cast.i.time, cast.i.time, held_first[1], tuple(revocation.Entry(1, bytes(16), 0, 0) for _ in range(65))
    )
    crl("65 entries", "Malformed", many.signed(secret))

    fresh = life_set.update(cast)
    keys = (authority, cast.a.sign_public, cast.b.sign_public)

    def policy(change: str, reason: str, update: bytes, signatures: tuple[bytes, bytes, bytes], held: int = 1) -> None:
        out.add(
            "policy_update",
            change,
            reason,
            lambda: lifecycle.check_policy_update(update, signatures, keys, cast.rows, held),
            body=update,
            sigC=signatures[0],
            sigA=signatures[1],
            sigB=signatures[2],
            held=held,
        )

    def signed(update: bytes) -> tuple[bytes, bytes, bytes]:
        message = b"modbatt1 policy" + update
        scalars = (secret, cast.a.sign_scalar, cast.b.sign_scalar)
        return sign(scalars[0], message), sign(scalars[1], message), sign(scalars[2], message)

    good = signed(fresh.body)
    policy("version held already", "Policy", fresh.body, good, held=2)
    policy("signature of B missing, that of A twice", "NotAuthentic", fresh.body, (good[0], good[1], good[1]))
    policy("high s of A", "NotAuthentic", fresh.body, (good[0], high_s(good[1]), good[2]))
    for change, update in (
        ("epoch of 59 seconds", put(fresh.body, 37, u32(59))),
        ("agreement shorter than an epoch", put(fresh.body, 45, u32(43_199))),
        ("unknown minimum", put(fresh.body, 63 + 7, b"\x06")),
        ("unknown flag", put(fresh.body, 63 + 4, b"\x10")),
        ("rows not ascending", fresh.body[:63] + fresh.body[71:79] + fresh.body[63:71] + fresh.body[79:]),
        ("no row", put(fresh.body[:63], 61, u16(0))),
        ("a row missing at the end", fresh.body[:-8]),
    ):
        policy(change, "Malformed", update, signed(update))
    for change, base in (("row of the security PDUs stricter", 0x40C), ("row of the stop laxer", 0x51E)):
        rows = tuple(dataclasses.replace(row, paired=1) if row.first == base else row for row in cast.rows)
        update = dataclasses.replace(fresh, rows=rows).body
        policy(change, "Policy", update, signed(update))
    rows = tuple(row for row in cast.rows if row.first != 0x500)
    update = dataclasses.replace(fresh, rows=rows).body
    policy("row of the announcement left out", "Policy", update, signed(update))

    token = lifecycle.time_token(cast.i.time, secret)

    def time(change: str, reason: str, data: bytes) -> None:
        out.add("time_token", change, reason, lambda: lifecycle.check_time_token(data, authority), token=data)

    time("a later second", "NotAuthentic", put(token, 1, u32(cast.i.time + 1)))
    time("high s", "NotAuthentic", put(token, 5, high_s(token[5:])))
    time("signed by the peer", "NotAuthentic", lifecycle.time_token(cast.i.time, cast.a.sign_scalar))
    time("version 2", "Malformed", put(token, 0, b"\x02"))

    leave = life_set.leave(cast, cast.authority.sign_scalar)
    asked = (cast.cid_b, life_set.REBIND_NONCE, cast.i.binding_id)

    def rebind(change: str, reason: str, data: bytes, question: tuple[bytes, bytes, bytes] = asked) -> None:
        cid, nonce, old = question
        out.add(
            "rebind_token",
            change,
            reason,
            lambda: lifecycle.check_rebind_token(data, question, cast.authority.sign_public),
            token=data,
            cid=cid,
            nonce=nonce,
            binding_id_old=old,
        )

    rebind("signed by the device itself", "NotAuthentic", life_set.leave(cast, cast.b.sign_scalar))
    rebind("high s", "NotAuthentic", put(leave, 49, high_s(leave[49:])))
    rebind("nonce changed in the token", "NotAuthentic", flip(leave, 17))
    rebind("for another device", "WrongParty", leave, (cast.cid_m, *asked[1:]))
    rebind("for another question", "WrongParty", leave, (cast.cid_b, flip(asked[1], 0), asked[2]))
    rebind("for another binding", "WrongParty", leave, (*asked[:2], bytes(16)))
    rebind("version 2", "Malformed", put(leave, 0, b"\x02"))
    rebind("one byte long", "Malformed", leave + b"\x00")

    known = announce.announce(cast.b.sign_scalar, cast.cid_b, cast.i.boot_b, 7, 1)

    def told(change: str, reason: str, data: bytes, after: tuple[int, int] = (0, 0)) -> None:
        out.add(
            "announce",
            change,
            reason,
            lambda: announce.check(data, cast.b.sign_public, after),
            announce=data,
            after_boot=after[0],
            after_seq=after[1],
        )

    told("heard before", "Replayed", known, (cast.i.boot_b, 7))
    told("of an earlier start", "Replayed", known, (cast.i.boot_b + 1, 0))
    told("flags changed", "NotAuthentic", flip(known, 25))
    told("high s", "NotAuthentic", put(known, 26, high_s(known[26:])))


def validation(out: Collector, cast: Cast) -> None:
    known = life_set.events(cast)
    fault, secret = known["fault"], cast.b.sign_scalar
    after = (cast.i.boot_b, 8)

    def told(change: str, reason: str, data: bytes, signature: bytes, after: tuple[int, int] = after) -> None:
        out.add(
            "event",
            change,
            reason,
            lambda: event.check(data, signature, cast.b.sign_public, after),
            event=data,
            sigB=signature,
            after_boot=after[0],
            after_seq=after[1],
        )

    def signed(change: str, reason: str, **fields: Any) -> None:
        other = dataclasses.replace(fault, **fields)
        told(change, reason, other.bytes, other.signature(secret))

    good = fault.signature(secret)
    told("high s", "NotAuthentic", fault.bytes, high_s(good))
    told("payload changed", "NotAuthentic", fault.bytes.replace(b"cell 4", b"cell 5"), good)
    told("heard before", "Replayed", fault.bytes, good, (cast.i.boot_b, 9))
    told("of an earlier start", "Replayed", fault.bytes, good, (cast.i.boot_b + 1, 0))
    level = put(fault.bytes, 4, b"\x03")
    told("level of another type", "Malformed", level, sign(secret, event.signed_message(level, 3)))
    version = put(fault.bytes, 2, b"\x02")
    told("version 2", "Malformed", version, sign(secret, event.signed_message(version, 2)))
    signed("unknown type", "Malformed", type=0x25)
    signed("no payload", "Malformed", payload=b"")
    signed("announce with the payload of a fault", "Malformed", type=0x11)
    for kind, length in event.FIXED_LENGTHS.items():
        signed(
            f"payload of type {kind:x} a byte short", "Malformed", type=kind, payload=bytes(length - 1), escalation=None
        )
    signed("energy of a module a byte longer", "Malformed", type=event.ENERGY, payload=bytes(34), escalation=None)
    said = life_set.replacement(cast)
    own = said.signature(cast.i.identity_scalar_b)
    told("under the identity key, judged by the binding's", "NotAuthentic", said.bytes, own)
    told("level 7 signed as level 6", "NotAuthentic", said.bytes, sign(secret, event.signed_message(said.bytes, 6)))
    signed("unknown protocol", "Malformed", access=(4, "can1", ""))
    signed("no endpoint", "Malformed", access=(1, "", "0x100"))
    signed("escalation to its own level", "Malformed", escalation=(2, 1, 1))
    signed("escalation to level 8", "Malformed", escalation=(8, 1, 1))
    signed("unknown urgency", "Malformed", escalation=(5, 1, 2))

    word = life_set.attested(cast)

    app = cast.a.sign_public

    def witnessed(change: str, reason: str, data: bytes, e: event.Event = fault, key: bytes = app) -> None:
        signature = e.signature(secret)
        out.add(
            "witness",
            change,
            reason,
            lambda: event.check_attestation(data, e, signature, key),
            attestation=data,
            event=e.bytes,
            sigB=signature,
            witness_key=key,
        )

    witnessed("high s", "NotAuthentic", put(word, 25, high_s(word[25:])))
    witnessed("another time", "NotAuthentic", flip(word, 24))
    witnessed("about another event", "NotAuthentic", word, known["announce"])
    witnessed("version 2", "Malformed", put(word, 0, b"\x02"))
    own = event.attestation(cast.cid_b, cast.i.time, fault, good, secret)
    witnessed("of itself", "WrongParty", own, key=cast.b.sign_public)


def escalations(out: Collector) -> None:
    good = escalation.Request(6, 2, 1, 9).pdu

    def told(change: str, pdu: bytes) -> None:
        out.add("escalation", change, "Malformed", lambda: escalation.read(pdu), pdu=pdu)

    told("level 0", put(good, 1, b"\x00"))
    told("level 8", put(good, 1, b"\x08"))
    told("reason 4", put(good, 2, b"\x04"))
    told("urgency 2", put(good, 3, b"\x02"))
    told("a byte too many", good + b"\x00")
    told("a request cut short", good[:-1])
    told("an answer cut short", escalation.answer(9, 6)[:-1])


def logs(out: Collector, cast: Cast) -> None:
    rows = life_set.chain(cast)
    pairs = [(row["entry"], row["tag"]) for row in rows]

    def chain(change: str, entries_and_tags: list[tuple[bytes, bytes]], at: int) -> None:
        out.add(
            "audit_chain",
            change,
            "NotAuthentic",
            lambda: audit.check_chain(life_set.FIRST_KEY, entries_and_tags),
            k_1=life_set.FIRST_KEY,
            chain=[{"entry": entry, "tag": tag} for entry, tag in entries_and_tags],
            fails_at=at,
        )

    chain("an entry edited", [pairs[0], (flip(pairs[1][0], -1), pairs[1][1]), pairs[2]], 2)
    chain("an entry taken out", [pairs[0], pairs[2]], 2)
    chain("two entries exchanged", [pairs[1], pairs[0], pairs[2]], 1)
    chain("tag zero", [pairs[0], pairs[1], (pairs[2][0], bytes(16))], 3)

    digests = {row["n"]: row["hash"] for row in rows}
    good = audit.checkpoint(cast.cid_b, 3, digests[3], cast.i.time + 2, cast.b.sign_scalar)

    def point(change: str, reason: str, data: bytes, cid: bytes = cast.cid_b) -> None:
        out.add(
            "checkpoint",
            change,
            reason,
            lambda: audit.check_checkpoint(data, cast.b.sign_public, cid, digests),
            checkpoint=data,
            cid=cid,
        )

    point("high s", "NotAuthentic", put(good, -64, high_s(good[-64:])))
    point("number changed", "NotAuthentic", flip(good, 24))
    point("of another device", "WrongParty", good, cast.cid_m)
    beyond = audit.checkpoint(cast.cid_b, 4, sha256(b"later"), cast.i.time, cast.b.sign_scalar)
    point("covers an entry that is not there", "NotAuthentic", beyond)
    statement = audit.key_statement(
        cast.cid_b, life_set.FIRST_KEY, cast.authority.kem_public, life_set.LOG_EPHEMERAL, cast.b.sign_scalar
    )

    def key(change: str, reason: str, data: bytes) -> None:
        out.add(
            "key_statement",
            change,
            reason,
            lambda: audit.open_key_statement(data, cast.authority.kem_scalar, cast.b.sign_public),
            statement=data,
        )

    key("high s", "NotAuthentic", put(statement, -64, high_s(statement[-64:])))
    key("another cid", "NotAuthentic", flip(statement, 1))
    body = put(statement[:130], 1, cast.cid_a)
    key("another cid, signed again", "NotAuthentic", body + sign(cast.b.sign_scalar, b"modbatt1 logkey" + body))


def delegations(out: Collector, cast: Cast) -> None:
    secret, authority = cast.authority.sign_scalar, cast.authority.sign_public
    right = delegation_set.right(cast)
    good = right.signed(secret)

    def add(change: str, reason: str, data: bytes) -> None:
        out.add("delegation", change, reason, lambda: delegation.check(data, authority), delegation=data)

    delegate = delegation_set.DELEGATE
    add("signed by the delegate", "NotAuthentic", right.signed(delegate.sign_scalar))
    add("high s", "NotAuthentic", put(good, -64, high_s(good[-64:])))
    add("another pack", "NotAuthentic", flip(good, 91))
    changes: tuple[tuple[str, dict[str, Tree]], ...] = (
        ("number 0", {"number": 0}),
        ("signed after it begins", {"issued": right.not_before + 1}),
        ("ends when it begins", {"not_after": right.not_before}),
        ("a window of more than 30 days", {"not_after": right.not_before + 2_592_001}),
        ("a lease of 59 s", {"lease": 59}),
        ("a lease of more than 90 days", {"lease": 7_776_001}),
        ("no operation", {"operations": 0}),
        ("operation bit 3", {"operations": 15}),
        ("no pack", {"packs": ()}),
        ("nine packs", {"packs": tuple(bytes([n]) * 16 for n in range(9))}),
        ("a pack twice", {"packs": (cast.cid_b, cast.cid_b)}),
        ("packs descending", {"packs": (b"\x02" * 16, b"\x01" * 16)}),
    )
    for change, fields in changes:
        add(change, "Malformed", dataclasses.replace(right, **fields).signed(secret))
    add("version 2", "Malformed", put(good, 0, b"\x02"))
    add("one byte long", "Malformed", good + b"\x00")
    off_curve = dataclasses.replace(right, delegate=put(delegate.object, 2, b"\x02" + b"\x00" * 31 + b"\x01"))
    add("no point", "InvalidKey", off_curve.signed(secret))

    ended = delegation_set.ended(cast)
    key = delegate.sign_public

    def end(change: str, reason: str, data: bytes) -> None:
        check = lambda: delegation.check_revocation(data, key)  # noqa: E731
        out.add("delegate_revocation", change, reason, check, revocation=data)

    end("of a component", "Malformed", delegation_set.ended(cast, 1))
    end("of a delegation", "Malformed", delegation_set.ended(cast, 7))
    end("another pairing", "NotAuthentic", flip(ended, 20))
    end("high s", "NotAuthentic", put(ended, 39, high_s(ended[39:])))
    end("one byte short", "Malformed", ended[:-1])

    first, _ = delegation_set.acts(cast)

    def act(change: str, reason: str, data: bytes) -> None:
        out.add("act", change, reason, lambda: delegation.check_act(data, key), act=data)

    act("number 0", "Malformed", put(first, 17, u32(0)))
    act("another body", "NotAuthentic", flip(first, 60))
    act("one byte long", "Malformed", first + b"\x00")

    follows = delegation.succession(cast.i.time, cast.authority, delegation_set.SUCCESSOR)

    def succeed(change: str, reason: str, data: bytes) -> None:
        check = lambda: delegation.check_succession(data, cast.authority.object)  # noqa: E731
        out.add("succession", change, reason, check, succession=data)

    stranger = delegation.succession(cast.i.time, delegate, delegation_set.SUCCESSOR)
    succeed("of another authority", "WrongParty", stranger)
    succeed("signed by another authority", "NotAuthentic", put(follows, 81, stranger[81:145]))
    other = delegation.succession(cast.i.time, cast.authority, delegate)
    succeed("the successor did not sign", "NotAuthentic", put(follows, 145, other[145:]))
    succeed("one byte short", "Malformed", follows[:-1])
