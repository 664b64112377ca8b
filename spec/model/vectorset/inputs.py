"""The inputs of the published vectors, and how a tree of values becomes JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from securelink import certificate, handshake, policy
from securelink.identity import APP, MODULE, PACK, SemiPublicKey, cid_of
from securelink.primitives import public_of, sha256

SPEC = Path(__file__).resolve().parent.parent.parent

Tree = Any


def shown(value: Tree) -> Tree:
    """Bytes as hexadecimal digits; the rest as it is."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return value


def scalar(number: int) -> bytes:
    return number.to_bytes(32, "big")


@dataclass(frozen=True)
class Inputs:
    """A manufacturer, an authority, an app (A), a pack (B of the app, A of the module) and a module."""

    component_id_a: str = "app-0001"
    component_id_b: str = "pack-0001"
    component_id_m: str = "module-0005"
    root_scalar: bytes = scalar(0x7001)
    batch_scalar: bytes = scalar(0x7002)
    identity_scalar_a: bytes = scalar(0x70A0)
    identity_scalar_b: bytes = scalar(0x70B0)
    spk_seed_a: bytes = b"\xa2" * 32
    spk_seed_b: bytes = b"\xb2" * 32
    spk_seed_c: bytes = b"\xc2" * 32
    ephemeral_a: bytes = scalar(0xE0A2)
    ephemeral_b: bytes = scalar(0xE0B2)
    hpke_ephemeral_a: bytes = scalar(0x1112)
    hpke_ephemeral_b: bytes = scalar(0x2223)
    nonce_a: bytes = b"\x1a" * 16
    nonce_b: bytes = b"\x1b" * 16
    boot_a: int = 3
    boot_b: int = 12
    salt: bytes = bytes(range(0x40, 0x60))
    iv_seed: bytes = bytes(range(0x60, 0x70))
    pairing_id: bytes = bytes.fromhex("5a5b5c5d5e5f60616263646566676869")
    binding_id: bytes = bytes.fromhex("b0b1b2b3b4b5b6b7b8b9babbbcbdbebf")
    pk64: bytes = bytes(range(0x80, 0xC0))
    xk: bytes = b"\x6d" * 32
    device_key_half_a: bytes = bytes(range(0x00, 0x40))
    device_key_half_b: bytes = bytes(range(0x20, 0x60))
    access_a: bytes = b"app:front-desk"
    access_b: bytes = b"pack:bay-7"
    access_blind: bytes = b"\x33" * 32
    bind_nonce_a: bytes = b"\xda" * 16
    bind_nonce_b: bytes = b"\xdb" * 16
    validation_nonce: bytes = b"\x78" * 32
    section_v_iv: bytes = b"\x09" * 12
    endpoint: str = "https://ac.example/v1/pair"
    timeout_s: int = 600
    hardware: bytes = b"HW-00042"
    time: int = 1_800_000_000
    not_before: int = 1_790_000_000
    not_after: int = 1_900_000_000

    def tree(self) -> Tree:
        return shown({name: getattr(self, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Cast:
    """The entities, and what all areas share."""

    i: Inputs = field(default_factory=Inputs)

    @property
    def cid_a(self) -> bytes:
        return cid_of(self.i.component_id_a)

    @property
    def cid_b(self) -> bytes:
        return cid_of(self.i.component_id_b)

    @property
    def cid_m(self) -> bytes:
        return cid_of(self.i.component_id_m)

    @property
    def a(self) -> SemiPublicKey:
        return SemiPublicKey(self.i.spk_seed_a)

    @property
    def b(self) -> SemiPublicKey:
        return SemiPublicKey(self.i.spk_seed_b)

    @property
    def authority(self) -> SemiPublicKey:
        return SemiPublicKey(self.i.spk_seed_c)

    @property
    def root_key(self) -> bytes:
        return public_of(self.i.root_scalar)

    @property
    def batch_key(self) -> bytes:
        return public_of(self.i.batch_scalar)

    @property
    def rows(self) -> tuple[policy.Row, ...]:
        """The factory table, read from C90."""
        text = (SPEC / "can.md").read_text("utf-8")
        part = text[text.index("**C90.**") : text.index("**C91.**")]
        return tuple(policy.parse_rows(part))

    @property
    def table(self) -> bytes:
        return policy.table_bytes(list(self.rows))

    @property
    def policy_hash_bind(self) -> bytes:
        return policy.policy_hash(self.table, bytes(16))

    @property
    def policy_hash(self) -> bytes:
        """With the iv_seed of these inputs: of the pairing, and of a run with a key package."""
        return policy.policy_hash(self.table, self.i.iv_seed)

    def side(self, who: str, *, signed: bool = True, half_exchange: bytes = b"") -> handshake.Side:
        is_a = who == "a"
        return handshake.Side(
            cid=self.cid_a if is_a else self.cid_b,
            ephemeral=self.i.ephemeral_a if is_a else self.i.ephemeral_b,
            nonce=self.i.nonce_a if is_a else self.i.nonce_b,
            boot=self.i.boot_a if is_a else self.i.boot_b,
            spk=(self.a if is_a else self.b) if signed else None,
            half_exchange=half_exchange,
        )

    def run(self, kind: int, flags: int, material: bytes, salt: bytes, policy_hash: bytes) -> handshake.Run:
        signed = bool(flags & handshake.SIGNATURES)
        a, b = (self.side(who, signed=signed) for who in "ab")
        return handshake.Run(kind, flags, a, b, material, salt, policy_hash)

    @property
    def halves(self) -> tuple[bytes, bytes]:
        return self.i.device_key_half_a, self.i.device_key_half_b

    @property
    def metadata(self) -> bytes:
        t = self.i.time
        return certificate.example_metadata(
            self.i.pairing_id,
            ((self.cid_a, APP, self.i.access_a), (self.cid_b, PACK, self.i.access_b)),
            (t, t, t + 7_776_000, 0),
            self.i.salt,
            self.i.iv_seed,
        )

    @property
    def certificate(self) -> certificate.Certificate:
        return certificate.Certificate(
            pairing_id=self.i.pairing_id,
            metadata=self.metadata,
            half_a=self.i.pk64[:32],
            half_b=self.i.pk64[32:],
            exchange_key=self.i.xk,
            spk_a=self.a.object,
            spk_b=self.b.object,
            authority=self.authority,
            ephemeral_a=self.i.hpke_ephemeral_a,
            ephemeral_b=self.i.hpke_ephemeral_b,
            section_v_iv=self.i.section_v_iv,
            validation_nonce=self.i.validation_nonce,
            endpoint=self.i.endpoint,
            timeout_s=self.i.timeout_s,
        )

    @property
    def bind_run(self) -> handshake.Run:
        material = handshake.key_material(handshake.BIND)
        return self.run(handshake.BIND, handshake.SIGNATURES, material, bytes(32), self.policy_hash_bind)

    @property
    def pair_run(self) -> handshake.Run:
        cert = self.certificate
        halves = (cert.half_a, cert.half_b)
        exchange = [
            certificate.half_exchange(cert.metadata_hash, cert.exchange_key, cert.pairing_id, side, half)
            for side, half in zip("ab", halves, strict=True)
        ]
        return handshake.Run(
            handshake.PAIR,
            handshake.SIGNATURES,
            self.side("a", half_exchange=exchange[0]),
            self.side("b", half_exchange=exchange[1]),
            handshake.key_material(handshake.PAIR, halves, self.i.salt),
            self.i.salt,
            self.policy_hash,
            sha256(cert.bytes),
        )


ROLES = {"a": APP, "b": PACK, "m": MODULE}
RUN_VALUES = ("TH0", "M1", "M2", "M3", "TH1", "TH2", "DH1", "S0", "S1", "TH3", "TH4", "MS0")


def run_tree(run: handshake.Run, policy_hash: bytes, salt: bytes) -> Tree:
    first = {"M0": run.values["M0"], "SAS": run.comparison_digits} if "M0" in run.values else {}
    head = {"kind": run.kind, "flags": run.flags, "policy_hash": policy_hash, "salt": salt}
    values = {name: run.values[name] for name in RUN_VALUES}
    return shown({**head, **first, **values, "chan_id": run.channel_id})
