"""Transactions, built and signed offline (spec/ledger.md, L20, L21): the account key stays with its holder.

A statement of a device goes into a transaction as the exact bytes that the device signed. What the ledger asks of each
kind is in spec/ledger.md; here only the form is checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from securelink.cbor import Value, encode

from .keys import AccountKey

#: Longest statement in bytes (L21).
STATEMENT_MAX = 2048


class FormError(ValueError):
    """A field does not have its form; the text names it."""


@dataclass(frozen=True)
class Body:
    """What a transaction asks for: the number of its kind, and its fields by key from 2 on."""

    kind: int
    fields: tuple[tuple[int, Value], ...]

    def value(self) -> Value:
        return {0: 1, 1: self.kind, **dict(self.fields)}

    def to_bytes(self) -> bytes:
        """The canonical bytes, as a delegate's act carries them (L122)."""
        return encode(self.value())


@dataclass(frozen=True)
class Envelope:
    """What a transaction is bound to besides its body. `GET /accounts/{key}` tells nonce and height."""

    chain_id: bytes
    nonce: int
    expiry_height: int


@dataclass(frozen=True)
class SignedTransaction:
    """A transaction ready to be sent, and its identity."""

    data: bytes
    id: bytes


class Signed(NamedTuple):
    """A statement, the key that signed it, and the signature."""

    statement: bytes
    key: bytes
    signature: bytes


def sign(body: Body, envelope: Envelope, key: AccountKey) -> SignedTransaction:
    """Signs `body` with an account key (L20)."""
    unsigned = encode(
        {
            0: 1,
            1: _bytes("chain_id", envelope.chain_id, 32),
            2: key.public,
            3: _uint("nonce", envelope.nonce, 64),
            4: _uint("expiry_height", envelope.expiry_height, 64),
            5: body.value(),
        }
    )
    data = encode({0: 1, 1: unsigned, 2: key.sign(b"modbatt1 tx" + unsigned)})
    return SignedTransaction(data, hashlib.sha256(data).digest())


def cid(component_id: str) -> bytes:
    """The 16 bytes by which the ledger knows a component (L6)."""
    return hashlib.sha256(b"modbatt1 cid" + component_id.encode()).digest()[:16]


def _bytes(name: str, value: bytes, length: int) -> bytes:
    if len(value) != length:
        raise FormError(f"{name}: {length} bytes expected, {len(value)} given")
    return value


def _uint(name: str, value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise FormError(f"{name}: a whole number of {bits} bits expected, {value} given")
    return value


def _text(name: str, value: str, most: int) -> str:
    if len(value.encode()) > most:
        raise FormError(f"{name}: at most {most} bytes")
    return value


def _statement(name: str, value: bytes) -> bytes:
    if len(value) > STATEMENT_MAX:
        raise FormError(f"{name}: at most {STATEMENT_MAX} bytes, {len(value)} given")
    return value


def _key(name: str, value: bytes) -> bytes:
    if len(value) != 33 or value[0] not in (2, 3):
        raise FormError(f"{name}: a P-256 key of 33 bytes, compressed")
    return value


def _signature(name: str, value: bytes) -> bytes:
    return _bytes(name, value, 64)


def _body(kind: int, *fields: Value) -> Body:
    return Body(kind, tuple(enumerate(fields, start=2)))


def _signed(kind: int, signed: Signed, *more: Value) -> Body:
    statement, key, signature = signed
    return _body(
        kind, _statement("statement", statement), _key("key", key), _signature("signature", signature), *more
    )


def _signatures(signatures: Sequence[bytes], count: int) -> list[Value]:
    if len(signatures) != count:
        raise FormError(f"signatures: {count} expected, {len(signatures)} given")
    return [_signature(f"signatures[{n}]", signature) for n, signature in enumerate(signatures)]


# Components, LCTs, bindings, pairings


def register(statement: bytes, proof: bytes) -> Body:
    """Kind 1: registers a component; `proof` by its device key (L32)."""
    return _body(1, _statement("statement", statement), _signature("proof", proof))


def lct_create(a: bytes, b: bytes, context: str) -> Body:
    """Kind 2: creates the LCT of a relationship; an authority sends it."""
    return _body(2, _bytes("a", a, 16), _bytes("b", b, 16), _text("context", context, 64))


def bind(record: bytes, signatures: Sequence[bytes]) -> Body:
    """Kind 3: records a binding; signatures of A, of B and of the authority that sends it (L35)."""
    return _body(3, _statement("record", record), *_signatures(signatures, 3))


@dataclass(frozen=True)
class Paired:
    """A completed pairing with its proofs (L37): signatures of A, of B and of the authority."""

    pairing_id: bytes
    binding_id: bytes
    key_a: bytes
    key_b: bytes
    certificate_hash: bytes
    nonce: bytes
    th4: bytes
    lease_s: int
    signatures: tuple[bytes, bytes, bytes]

    def _fields(self) -> list[Value]:
        return [
            _bytes("pairing_id", self.pairing_id, 16),
            _bytes("binding_id", self.binding_id, 16),
            _key("key_a", self.key_a),
            _key("key_b", self.key_b),
            _bytes("certificate_hash", self.certificate_hash, 32),
            _bytes("nonce", self.nonce, 32),
            _bytes("th4", self.th4, 32),
            _uint("lease_s", self.lease_s, 32),
            *_signatures(self.signatures, 3),
        ]


def pair_complete(paired: Paired) -> Body:
    """Kind 4: records that a pairing was completed (L38)."""
    return _body(4, *paired._fields())


def pair_renew(paired: Paired, renews: bytes, max_uses: int, operations: int) -> Body:
    """Kind 18: records a pairing in the place of another one (L104)."""
    more = (_bytes("renews", renews, 16), _uint("max_uses", max_uses, 32), _uint("operations", operations, 8))
    return _body(18, *paired._fields(), *more)


def pair_use(signed: Signed) -> Body:
    """Kind 19: counts a session of a pairing (L105)."""
    return _signed(19, signed)


def pair_modify(statement: bytes, terms: bytes, keys: tuple[bytes, bytes], signatures: Sequence[bytes]) -> Body:
    """Kind 20: gives a pairing other terms (L106); keys of A and B, signatures of A, of B and of the authority."""
    a, b = _key("keys[0]", keys[0]), _key("keys[1]", keys[1])
    return _body(
        20, _statement("statement", statement), _statement("terms", terms), a, b, *_signatures(signatures, 3)
    )


def rebind(record: bytes, signatures: Sequence[bytes], token: bytes, replacement: Signed, owner: bytes = b"") -> Body:
    """Kind 21: records a binding in the place of another one (L110); `owner` signed too where there is one."""
    statement, key, signature = replacement
    return _body(
        21,
        _statement("record", record),
        *_signatures(signatures, 3),
        _statement("token", token),
        _statement("replacement", statement),
        _key("device key", key),
        _signature("signature of the device", signature),
        _signature("owner", owner) if owner else b"",
    )


def factory_bind(record: bytes, signatures: Sequence[bytes], certificate: bytes) -> Body:
    """Kind 22: records a binding of the factory (L112); signatures of A, of B and of the batch authority."""
    return _body(
        22, _statement("record", record), *_signatures(signatures, 3), _statement("certificate", certificate)
    )


def transfer(statement: bytes, giver: bytes, taker: bytes) -> Body:
    """Kind 23: a component changes hands (L113); signatures of who gives and who takes."""
    return _body(23, _statement("statement", statement), *_signatures((giver, taker), 2))


def consent(statement: bytes, signature: bytes) -> Body:
    """Kind 27: the owner of a component agrees to another binding of it (L125)."""
    return _body(27, _statement("statement", statement), _signature("signature", signature))


def validate(signed: Signed, witnesses: Sequence[tuple[bytes, bytes]] = ()) -> Body:
    """Kind 24: records an event with the attestations of its witnesses and their keys (L115)."""
    if len(witnesses) > 5:
        raise FormError(f"witnesses: at most 5, {len(witnesses)} given")
    attested: list[Value] = [[_statement("attestation", said), _key("witness", key)] for said, key in witnesses]
    return _signed(24, signed, attested)


def delegate(statement: bytes) -> Body:
    """Kind 25: records a delegation that the sender signed (L120)."""
    return _body(25, _statement("statement", statement))


def delegate_act(act: bytes, body: Body) -> Body:
    """Kind 26: records what a delegate did (L122)."""
    return _body(26, _statement("act", act), _statement("body", body.to_bytes()))


# Records of devices


def telemetry_batch(signed: Signed) -> Body:
    """Kind 5: records the root of a telemetry batch (L41). It is sent with its records: `Client.store_batch`."""
    return _signed(5, signed)


def energy_event(signed: Signed) -> Body:
    """Kind 6: records an energy event (L51)."""
    return _signed(6, signed)


def cycle_close(signed: Signed) -> Body:
    """Kind 7: closes an energy cycle (L55)."""
    return _signed(7, signed)


def checkpoint(signed: Signed) -> Body:
    """Kind 8: anchors an audit log (L58)."""
    return _signed(8, signed)


def metrics(signed: Signed) -> Body:
    """Kind 50: reports the metrics of a period (L198)."""
    return _signed(50, signed)


# Withdrawals

#: Codes of what can be withdrawn (L100), with the length of the identifier.
TARGETS = {
    "component": (1, 16),
    "binding": (2, 16),
    "pairing": (3, 16),
    "batch": (4, 16),
    "signing_key": (5, 33),
    "account": (6, 33),
    "delegation": (7, 16),
}
#: Reasons (H105) in the order of their codes.
REASONS = ("unspecified", "key_compromise", "lost", "superseded", "retired", "violation")


def _reason(name: str) -> int:
    if name not in REASONS:
        raise FormError(f"reason: one of {', '.join(REASONS)}")
    return REASONS.index(name)


def revoke_statement(signed: Signed) -> Body:
    """Kind 16: a side withdraws its pairing or binding (L101)."""
    return _signed(16, signed)


def revoke(target: str, identifier: bytes, reason: str = "unspecified") -> Body:
    """Kind 17: the sender withdraws something (L102); `target` is one of `TARGETS`."""
    if target not in TARGETS:
        raise FormError(f"target: one of {', '.join(TARGETS)}")
    code, length = TARGETS[target]
    return _body(17, code, _bytes("identifier", identifier, length), _reason(reason))


# What is said of components, LCTs and pairings beyond their making


def component_state(signed: Signed) -> Body:
    """Kind 32: a component goes into another state (L132)."""
    return _signed(32, signed)


def component_version(statement: bytes, signature: bytes, vouched: tuple[bytes, bytes] | None = None) -> Body:
    """Kind 33: what a component is built of and runs (L134); `vouched` is key and signature of who vouches."""
    voucher: list[Value] = []
    if vouched is not None:
        voucher = [_key("vouched key", vouched[0]), _signature("vouched signature", vouched[1])]
    return _body(33, _statement("statement", statement), _signature("signature", signature), voucher)


def authorization_grant(a: bytes, b: bytes, context: str, level: int, rule: str) -> Body:
    """Kind 34: a lets itself be paired with b, for a day (L136)."""
    more = (_text("context", context, 64), _uint("level", level, 8), _text("rule", rule, 256))
    return _body(34, _bytes("a", a, 16), _bytes("b", b, 16), *more)


def authorization_revoke(authorization_id: bytes, reason: str = "unspecified") -> Body:
    """Kind 35: an authorisation is taken back (L137)."""
    return _body(35, _bytes("authorization_id", authorization_id, 16), _reason(reason))


def anonymous_register(component: bytes, manufacturer: bytes, category: bytes) -> Body:
    """Kind 36, form 1: a component under commitments (L138)."""
    commitments = {"component": component, "manufacturer": manufacturer, "category": category}
    return _body(36, 1, *(_bytes(name, value, 32) for name, value in commitments.items()))


def anonymous_authorize(a: bytes, b: bytes, rule: bytes, level: int, trust_ppm: int) -> Body:
    """Kind 36, form 2: a component lets itself be paired with another (L138)."""
    commitments = (_bytes("a", a, 32), _bytes("b", b, 32), _bytes("rule", rule, 32))
    return _body(36, 2, *commitments, _uint("level", level, 8), _uint("trust_ppm", trust_ppm, 32))


def anonymous_revoke(scope: int, target: bytes, urgency: int, category: int) -> Body:
    """Kind 36, form 3: something is withdrawn (L138)."""
    more = (_uint("urgency", urgency, 8), _uint("category", category, 8))
    return _body(36, 3, _uint("scope", scope, 8), _bytes("target", target, 32), *more)


def anonymous_open(field: int, identifier: bytes, opening: bytes, value: str) -> Body:
    """Kind 36, form 4: a commitment is opened (L138)."""
    more = (_bytes("identifier", identifier, 32), _bytes("opening", opening, 32), _text("value", value, 256))
    return _body(36, 4, _uint("field", field, 8), *more)


def lct_status(lct: bytes, status: int, reason: str = "unspecified") -> Body:
    """Kind 37: the LCT of a relationship gets another status (L142)."""
    return _body(37, _bytes("lct", lct, 32), _uint("status", status, 8), _reason(reason))


def lct_context(signed: Signed) -> Body:
    """Kind 38: something is stated in the context of an LCT (L144)."""
    return _signed(38, signed)


def queue_request(
    initiator: bytes, target: bytes, wish: int, priority: int, context: str, proxy: bytes = bytes(16)
) -> Body:
    """Kind 39: a wish waits for a device (L151)."""
    return _body(
        39,
        _bytes("initiator", initiator, 16),
        _bytes("target", target, 16),
        _uint("wish", wish, 8),
        _uint("priority", priority, 8),
        _bytes("proxy", proxy, 16),
        _text("context", context, 64),
    )


def queue_process(component: bytes) -> Body:
    """Kind 40: what waits for a component is tried (L152)."""
    return _body(40, _bytes("component", component, 16))


def queue_cancel(request_id: bytes, reason: str = "unspecified") -> Body:
    """Kind 41: a wish is taken back (L153)."""
    return _body(41, _bytes("request_id", request_id, 16), _reason(reason))


# The chain itself


def govern_account(role: int, key: bytes, height: int) -> Body:
    """Kind 42: a key gets an account with a role of L22, from `height` on."""
    return _body(42, [_uint("role", role, 8), _key("key", key)], _uint("height", height, 64))


def govern_roots(height: int, added: bytes = b"", withdrawn: bytes = b"", signature: bytes = b"") -> Body:
    """Kind 43: a manufacturer's root comes, goes, or takes the place of another (L162)."""
    parts: list[Value] = [
        _key("added", added) if added else b"",
        _key("withdrawn", withdrawn) if withdrawn else b"",
        _signature("signature", signature) if signature else b"",
    ]
    return _body(43, parts, _uint("height", height, 64))


def govern_params(params: Mapping[int, int | Sequence[int]], height: int) -> Body:
    """Kind 44: other parameters, all of them, by their keys of L11; a constant of trust is a list (L196)."""
    values: dict[int, Value] = {}
    for key, value in params.items():
        if isinstance(value, int):
            values[key] = _uint(f"params[{key}]", value, 64)
        else:
            values[key] = [_uint(f"params[{key}]", one, 32) for one in value]
    return _body(44, {0: 1, **values}, _uint("height", height, 64))


def govern_validators(validators: Sequence[tuple[bytes, int]], height: int) -> Body:
    """Kind 45: other validators: Ed25519 key and power of each (L11)."""
    members: list[Value] = [[_bytes("validator", key, 32), _uint("power", power, 64)] for key, power in validators]
    return _body(45, {0: 1, 1: members}, _uint("height", height, 64))


def govern_rules(version: int, height: int) -> Body:
    """Kind 46: other rules (L164)."""
    return _body(46, _uint("version", version, 32), _uint("height", height, 64))


# Configuration


class Command(NamedTuple):
    """Names a command whose event the ledger holds, with what its digest was made of (L178)."""

    event: bytes
    pairing_id: bytes
    epoch: int
    seq: int
    challenge: int
    ttl_ms: int
    body: bytes


def _config(
    kind: int, component: bytes, parameter: int, version: int, value: int, command: Command | None
) -> Body:
    if not -(1 << 31) <= value < 1 << 31:
        raise FormError(f"value: a whole number of 32 bits with sign, {value} given")
    named: list[Value] = []
    if command is not None:
        named = [
            _statement("event", command.event),
            _bytes("pairing_id", command.pairing_id, 16),
            _uint("epoch", command.epoch, 32),
            _uint("seq", command.seq, 32),
            _uint("challenge", command.challenge, 32),
            _uint("ttl_ms", command.ttl_ms, 16),
            command.body,
        ]
    return _body(
        kind,
        _bytes("component", component, 16),
        _uint("parameter", parameter, 8),
        _uint("version", version, 32),
        value.to_bytes(4, "big", signed=True),
        named,
    )


def config_set(
    component: bytes, parameter: int, version: int, value: int, command: Command | None = None
) -> Body:
    """Kind 47: gives a parameter of a pack another value (L176); `version` is the one it builds on."""
    return _config(47, component, parameter, version, value, command)


def config_report(
    component: bytes, parameter: int, version: int, value: int, command: Command | None = None
) -> Body:
    """Kind 48: tells which value a parameter of a pack has (L177)."""
    return _config(48, component, parameter, version, value, command)


# Energy


def energy_order(statement: bytes, signature: bytes) -> Body:
    """Kind 56: an owner's order about the energy of its pack (L212)."""
    return _body(56, _statement("statement", statement), _signature("signature", signature))


def energy_receipt(statement: bytes, keys: tuple[bytes, bytes], signatures: tuple[bytes, bytes]) -> Body:
    """Kind 57: both packs of a transfer say what flowed (L214); the giver's key and signature first."""
    giver, taker = _key("giver", keys[0]), _key("taker", keys[1])
    return _body(57, _statement("statement", statement), giver, taker, *_signatures(signatures, 2))


def energy_release(transfer_id: bytes) -> Body:
    """Kind 58: ends a transfer whose time is over (L215)."""
    return _body(58, _bytes("transfer_id", transfer_id, 16))


class Agreed(NamedTuple):
    """A price that the owner of a pack and another one signed (L216)."""

    quote: bytes
    owner: bytes
    other: bytes


def _subject(identifier: bytes, cycle: int) -> tuple[Value, Value]:
    """A cycle of a pack, from 1; or a transfer, with cycle 0."""
    return _bytes("identifier", identifier, 16), _uint("cycle", cycle, 32)


def settle(identifier: bytes, cycle: int = 0, price: Agreed | None = None) -> Body:
    """Kind 59: says what is owed for a cycle of a pack, or for a transfer (L216)."""
    agreed: list[Value] = []
    if price is not None:
        signatures = _signatures((price.owner, price.other), 2)
        agreed = [_statement("quote", price.quote), *signatures]
    return _body(59, *_subject(identifier, cycle), agreed)


def object_to(identifier: bytes, reason: int, cycle: int = 0) -> Body:
    """Kind 60: objects to a settlement that is to come (L217)."""
    return _body(60, *_subject(identifier, cycle), _uint("reason", reason, 8))


def resolve(identifier: bytes, upheld: bool, cycle: int = 0) -> Body:
    """Kind 61: decides an objection (L217)."""
    return _body(61, *_subject(identifier, cycle), int(upheld))


#: What builds a body of each kind; kind 36 has four forms.
BUILDERS: dict[int, tuple[Callable[..., Body], ...]] = {
    1: (register,),
    2: (lct_create,),
    3: (bind,),
    4: (pair_complete,),
    5: (telemetry_batch,),
    6: (energy_event,),
    7: (cycle_close,),
    8: (checkpoint,),
    16: (revoke_statement,),
    17: (revoke,),
    18: (pair_renew,),
    19: (pair_use,),
    20: (pair_modify,),
    21: (rebind,),
    22: (factory_bind,),
    23: (transfer,),
    24: (validate,),
    25: (delegate,),
    26: (delegate_act,),
    27: (consent,),
    32: (component_state,),
    33: (component_version,),
    34: (authorization_grant,),
    35: (authorization_revoke,),
    36: (anonymous_register, anonymous_authorize, anonymous_revoke, anonymous_open),
    37: (lct_status,),
    38: (lct_context,),
    39: (queue_request,),
    40: (queue_process,),
    41: (queue_cancel,),
    42: (govern_account,),
    43: (govern_roots,),
    44: (govern_params,),
    45: (govern_validators,),
    46: (govern_rules,),
    47: (config_set,),
    48: (config_report,),
    50: (metrics,),
    56: (energy_order,),
    57: (energy_receipt,),
    58: (energy_release,),
    59: (settle,),
    60: (object_to,),
    61: (resolve,),
}
