"""Trust (ledger.md, L190 to L202): the arithmetic, reports of metrics, and the record of a tensor."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import cbor
from .primitives import sha256, sign, u64

ONE = 1_000_000
T3 = tuple[int, int, int]

T3_WEIGHTS = (4000, 3000, 3000)
V3_WEIGHTS = (3000, 3500, 3500)
MATRIX = ((6000, 0, 2000, 2000, 0), (0, 6000, 2000, 2000, 0), (0, 0, 2000, 2000, 6000))
OUTCOMES = {
    1: (35_000, 15_000, 10_000),
    2: (0, 7_500, 5_000),
    3: (-10_000, 0, 0),
    4: (-20_000, -10_000, -20_000),
    5: (-50_000, 0, -100_000),
}
REPEATS = (1_000_000, 800_000, 640_000, 512_000, 409_600, 327_680, 262_144, 209_715, 167_772, 134_218, 107_374, 100_000)
HOPS = (1_000_000, 700_000, 490_000, 343_000, 240_100)
MONTH_MS = 2_592_000_000

#: The constants by their keys (L196).
CONSTANTS: dict[int, list[int]] = {
    30: list(T3_WEIGHTS),
    31: list(V3_WEIGHTS),
    32: [value for row in MATRIX for value in row],
    33: [100_000, 600_000, 1_000_000],
    34: [10, 2, 100, 2],
    35: [20_000, 10, 8, 6],
    36: [abs(value) for number in sorted(OUTCOMES) for value in OUTCOMES[number]],
    37: list(REPEATS),
    38: [MONTH_MS, 1_000, 10_000],
    39: list(HOPS),
    40: [4000, 3000, 3000],
    41: [400_000, 800_000],
    42: [500_000, 700_000, 850_000, 600_000],
    43: [0, ONE, 0, ONE, 100_000, ONE, 0, ONE],
    44: [800_000, 1_000_000],
    45: [400_000, 750_000, 400_000, 850_000],
    46: [300_000, 500_000, 500_000, 500_000],
    47: [3_600_000, 8, 10],
}


def truncated(product: int, divisor: int) -> int:
    """Division toward zero."""
    return product // divisor if product >= 0 else -(-product // divisor)


def level(value: int) -> int:
    return max(0, min(ONE, value))


def composite(t3: T3) -> int:
    return sum(w * d for w, d in zip(T3_WEIGHTS, t3, strict=True)) // 10_000


def value_composite(valuation: int, veracity: int, validity: int) -> int:
    return sum(w * d for w, d in zip(V3_WEIGHTS, (min(valuation, ONE), veracity, validity), strict=True)) // 10_000


def moved(t3: T3, deltas: T3) -> T3:
    a, b, c = (level(old + delta) for old, delta in zip(t3, deltas, strict=True))
    return a, b, c


def after_quality(t3: T3, quality: int) -> T3:
    a, b, c = (truncated(20_000 * (quality - 500_000) * f, ONE * 10) for f in (10, 8, 6))
    return moved(t3, (a, b, c))


def observation(metrics: list[int]) -> T3:
    a, b, c = (sum(w * m for w, m in zip(row, metrics, strict=True)) // 10_000 for row in MATRIX)
    return a, b, c


def after_observation(t3: T3, seen: T3, count: int, confidence: int, weight: int) -> T3:
    if 10 + count <= 20:
        r, s = 1, 2
    elif 10 + count >= 1000:
        r, s = 1, 100
    else:
        r, s = 10, 10 + count
    deltas = []
    for old, new in zip(t3, seen, strict=True):
        p = 2 if new < old else 1
        deltas.append(truncated((new - old) * confidence * weight * p * r, s * ONE * ONE))
    a, b, c = deltas
    return moved(t3, (a, b, c))


def after_outcome(t3: T3, outcome: int, n: int, confidence: int) -> T3:
    steps = OUTCOMES[outcome]
    if outcome > 2:
        return moved(t3, steps)
    repeat = REPEATS[min(n, len(REPEATS)) - 1]
    a, b, c = (step * repeat * confidence // (ONE * ONE) for step in steps)
    return moved(t3, (a, b, c))


def after_idle(t3: T3, months: int, limit: int) -> T3:
    talent, training, temperament = t3
    recovered = max(temperament, min(temperament + 10_000 * months, limit))
    return talent, level(training - 1_000 * months), level(recovered)


@dataclass(frozen=True)
class Report:
    observer: bytes
    subject: bytes
    context: int
    start_ms: int
    end_ms: int
    metrics: tuple[int, int, int, int, int]
    temperature: int
    load: int
    cycles: int

    @property
    def bytes(self) -> bytes:
        fields: dict[int, cbor.Value] = {0: 1, 1: self.observer, 2: self.subject, 3: self.context}
        fields |= {4: self.start_ms, 5: self.end_ms, 6: list(self.metrics)}
        fields |= {7: self.temperature, 8: self.load, 9: self.cycles}
        return cbor.encode(fields)

    @property
    def message(self) -> bytes:
        return b"modbatt1 led" + self.observer + u64(self.end_ms) + sha256(self.bytes)

    def signature(self, scalar: bytes) -> bytes:
        return sign(scalar, self.message)


@dataclass(frozen=True)
class Tensor:
    """Fields from 1 on (L61); wide ones are 16 bytes."""

    t3: T3
    since_ms: int
    limit: int
    baseline: int
    observations: int
    outcome: int
    repeats: int
    claims: int
    verified: int
    deliveries: int
    delivered: int
    promised: int
    earned: int
    asked: int
    asked_ms: int
    from_ms: int
    count: int
    changes: list[list[cbor.Value]] = field(default_factory=list)

    @property
    def bytes(self) -> bytes:
        def wide(value: int) -> bytes:
            return value.to_bytes(16, "big")

        values: list[cbor.Value] = [*self.t3, self.since_ms, self.limit, self.baseline, self.observations]
        values += [self.outcome, self.repeats, self.claims, wide(self.verified), self.deliveries, self.delivered]
        values += [wide(self.promised), wide(self.earned), self.asked, self.asked_ms, self.from_ms, self.count]
        values.append([list(change) for change in self.changes])
        return cbor.encode({0: 1, **dict(enumerate(values, 1))})


def constants() -> bytes:
    """As they stand among the parameters of a chain: keys and arrays, without the head of their map."""
    return b"".join(cbor.encode(key) + cbor.encode(list(values)) for key, values in CONSTANTS.items())
