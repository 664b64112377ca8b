"""Handshakes with an ephemeral agreement: DEV, BIND, PAIR and PAKE (H10 to H14, H21 to H23)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .identity import SemiPublicKey
from .primitives import (
    SUITE,
    ZERO_32,
    Refused,
    agree,
    hmac,
    public_of,
    require,
    sha256,
    sign,
    u8,
    u32,
    verify,
)
from .schedule import derive, pre_master

DEV, BIND, PAIR, RESUME, PAKE = 1, 2, 3, 4, 5
SIGNATURES, HALVES, COMMITMENT = 1, 2, 4


def refuse_degenerate(*halves: bytes) -> None:
    """H21: a half that is all 00, all FF or equal to another."""
    for half in halves:
        require(half != bytes(len(half)) and half != b"\xff" * len(half), "DegenerateKey", "half all 00 or all FF")
    require(len(set(halves)) == len(halves), "DegenerateKey", "equal halves")


def key_material(
    kind: int, halves: tuple[bytes, bytes] | None = None, salt: bytes = ZERO_32, shared: bytes = b""
) -> bytes:
    """The input of the key schedule per kind (H21)."""
    if halves is not None:
        refuse_degenerate(*halves)
    if kind == BIND and halves is None:
        return ZERO_32
    if kind == PAKE:
        require(len(shared) == 32, "InvalidKey", "the shared key of a PAKE run has 32 bytes")
        return shared + (b"" if halves is None else halves[0] + halves[1]) + salt
    if halves is None:
        raise Refused("InvalidKey", "this kind needs both halves")
    require(len(halves[0]) == len(halves[1]) == (32 if kind == PAIR else 64), "InvalidKey", "length of a half")
    return halves[0] + halves[1] + salt


@dataclass(frozen=True)
class Side:
    """What one side brings to a run."""

    cid: bytes
    ephemeral: bytes
    nonce: bytes
    boot: int
    spk: SemiPublicKey | None = None
    half_exchange: bytes = b""

    @property
    def spk_hash(self) -> bytes:
        return ZERO_32 if self.spk is None else sha256(self.spk.object)


def commitment(ephemeral_point: bytes, nonce: bytes) -> bytes:
    """What M0 carries."""
    return sha256(b"modbatt1 sas commit" + ephemeral_point + nonce)


@dataclass(frozen=True)
class Run:
    """One whole run, seen by somebody who knows both sides: every message and every value between."""

    kind: int
    flags: int
    a: Side
    b: Side
    material: bytes
    salt: bytes
    policy_hash: bytes
    cert_hash: bytes = ZERO_32
    values: dict[str, bytes] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        v = self.values
        signed = bool(self.flags & SIGNATURES)
        v["E_A"], v["E_B"] = public_of(self.a.ephemeral), public_of(self.b.ephemeral)
        if self.flags & COMMITMENT:
            v["M0"] = self._head(0x20) + commitment(v["E_B"], self.b.nonce)
        v["M1"] = self._head(0) + u32(0) + u32(self.a.boot) + self.a.nonce + v["E_A"] + self.a.half_exchange
        core = self._head(0x40) + u32(self.b.boot) + self.b.nonce + v["E_B"] + self.b.half_exchange
        spk_hashes = self.a.spk_hash + self.b.spk_hash if signed else ZERO_32 * 2
        v["TH0"] = sha256(
            b"modbatt1 hs"
            + u8(self.kind)
            + u8(SUITE)
            + u8(self.flags)
            + self.a.cid
            + self.b.cid
            + spk_hashes
            + self.cert_hash
            + self.policy_hash
        )
        v["TH1"] = sha256(v["TH0"] + v.get("M0", b"") + v["M1"])
        v["TH2"] = sha256(v["TH1"] + core)
        v["DH1"] = agree(self.a.ephemeral, v["E_B"])
        v["S0"], v["S1"] = pre_master(self.salt, self.material, v["TH0"], v["DH1"])
        v["mac_B"] = hmac(derive(v["S1"], "fin b", v["TH2"], 32), v["TH2"])[:16]
        v["sig_B"] = self._signature(self.b, b"modbatt1 sig b" + v["TH2"] + v["mac_B"])
        v["M2"] = core + v["mac_B"] + v["sig_B"]
        v["TH3"] = sha256(v["TH2"] + v["mac_B"] + v["sig_B"])
        v["mac_A"] = hmac(derive(v["S1"], "fin a", v["TH3"], 32), v["TH3"])[:16]
        v["sig_A"] = self._signature(self.a, b"modbatt1 sig a" + v["TH3"] + v["mac_A"])
        v["M3"] = u8(1) + u8(self.kind | 0x80) + u8(self.flags) + u8(0) + v["mac_A"] + v["sig_A"]
        v["TH4"] = sha256(v["TH3"] + v["mac_A"] + v["sig_A"])
        v["MS0"] = derive(v["S1"], "ms", v["TH4"], 32)

    def _head(self, bit: int) -> bytes:
        return u8(1) + u8(self.kind | bit) + u8(self.flags) + u8(SUITE)

    def _signature(self, side: Side, message: bytes) -> bytes:
        if not self.flags & SIGNATURES:
            return b""
        assert side.spk is not None
        return sign(side.spk.sign_scalar, message)

    @property
    def th4(self) -> bytes:
        return self.values["TH4"]

    @property
    def master(self) -> bytes:
        return self.values["MS0"]

    @property
    def channel_id(self) -> bytes:
        return self.th4[:8]

    @property
    def comparison_digits(self) -> str:
        """H23."""
        number = int.from_bytes(derive(self.values["S1"], "sas", self.th4, 4), "big")
        return f"{number % 1_000_000:06d}"

    def m2_core_length(self) -> int:
        return 57 + len(self.b.half_exchange)

    def check_m2(self, m2: bytes) -> None:
        """What A does with an M2 (H13): form, commitment, point, MAC, signature, in this order."""
        v = self.values
        core = self.m2_core_length()
        length = core + 16 + (64 if self.flags & SIGNATURES else 0)
        require(len(m2) == length and m2[:4] == self._head(0x40), "Malformed", "head or length of M2")
        point = m2[24:57]
        if self.flags & COMMITMENT:
            require(v["M0"][4:] == commitment(point, m2[8:24]), "NotAuthentic", "M2 does not fit the commitment")
        shared = agree(self.a.ephemeral, point)
        th2 = sha256(v["TH1"] + m2[:core])
        _, s1 = pre_master(self.salt, self.material, v["TH0"], shared)
        mac = m2[core : core + 16]
        require(mac == hmac(derive(s1, "fin b", th2, 32), th2)[:16], "NotAuthentic", "mac_B")
        if self.flags & SIGNATURES:
            assert self.b.spk is not None
            verify(self.b.spk.sign_public, b"modbatt1 sig b" + th2 + mac, m2[core + 16 :])

    def check_m3(self, m3: bytes) -> None:
        """What B does with an M3 (H14)."""
        v = self.values
        length = 20 + (64 if self.flags & SIGNATURES else 0)
        head = u8(1) + u8(self.kind | 0x80) + u8(self.flags) + u8(0)
        require(len(m3) == length and m3[:4] == head, "Malformed", "head or length of M3")
        require(m3[4:20] == v["mac_A"], "NotAuthentic", "mac_A")
        if self.flags & SIGNATURES:
            assert self.a.spk is not None
            verify(self.a.spk.sign_public, b"modbatt1 sig a" + v["TH3"] + m3[4:20], m3[20:])


@dataclass(frozen=True)
class Resume:
    """A RESUME run of epoch e, which makes epoch e + 1 (H18)."""

    channel_id: bytes
    epoch: int
    master: bytes
    boot_a: int
    boot_b: int
    nonce_a: bytes
    nonce_b: bytes

    @property
    def _key(self) -> bytes:
        return derive(self.master, "resume key", u32(self.epoch), 32)

    @property
    def m1(self) -> bytes:
        return bytes((1, RESUME, 0, SUITE)) + self.channel_id[:4] + u32(self.boot_a) + self.nonce_a

    @property
    def _core(self) -> bytes:
        return bytes((1, RESUME | 0x40, 0, SUITE)) + u32(self.boot_b) + self.nonce_b

    @property
    def _t2(self) -> bytes:
        t1 = sha256(b"modbatt1 rs" + self.channel_id + u32(self.epoch) + self.m1)
        return sha256(t1 + self._core)

    @property
    def _mac_b(self) -> bytes:
        return hmac(derive(self._key, "fin b", self._t2, 32), self._t2)[:16]

    @property
    def m2(self) -> bytes:
        return self._core + self._mac_b

    @property
    def _t3(self) -> bytes:
        return sha256(self._t2 + self._mac_b)

    @property
    def _mac_a(self) -> bytes:
        return hmac(derive(self._key, "fin a", self._t3, 32), self._t3)[:16]

    @property
    def m3(self) -> bytes:
        return bytes((1, RESUME | 0x80, 0, 0)) + self._mac_a

    @property
    def next_master(self) -> bytes:
        return derive(self.master, "resume", u32(self.epoch + 1) + sha256(self._t3 + self._mac_a), 32)
