"""Trust: the constants, what a pack says of its module, and what becomes of the module's tensor."""

from __future__ import annotations

from securelink import trust
from securelink.primitives import sha256

from .inputs import Cast, Tree, shown

HOUR_MS = 3_600_000
TX = sha256(b"a transaction")


def report(cast: Cast) -> trust.Report:
    """Of a cold hour."""
    end = cast.i.time * 1000
    metrics = (812_345, 990_000, 750_001, 1_000_000, 333_333)
    return trust.Report(cast.cid_b, cast.cid_m, 3, end - HOUR_MS, end, metrics, -5_250, 250_000, 41)


def steps(cast: Cast) -> list[dict[str, Tree]]:
    """Each moves what the one before left."""
    t3: trust.T3 = (500_000, 500_000, 500_000)
    rows: list[dict[str, Tree]] = []

    def note(what: str, now: trust.T3, **given: Tree) -> trust.T3:
        rows.append({"what": what, **given, "t3": list(now), "composite": trust.composite(now)})
        return now

    seen = trust.observation(list(report(cast).metrics))
    for count in (0, 10, 11, 500, 990):
        t3 = note("observe", trust.after_observation(t3, seen, count, 600_000, trust.ONE), count=count, seen=list(seen))
    for outcome, n in ((1, 1), (2, 2), (2, 13), (3, 1), (4, 2), (5, 3)):
        t3 = note("outcome", trust.after_outcome(t3, outcome, n, 600_000), outcome=outcome, n=n)
    for quality in (812_347, 187_653, 500_001):
        t3 = note("quality", trust.after_quality(t3, quality), quality=quality)
    for months, limit in ((1, trust.ONE), (7, 555_555), (1000, 0)):
        t3 = note("idle", trust.after_idle(t3, months, limit), months=months, limit=limit)
    low = trust.after_observation(t3, (0, 0, 0), 3, 100_000, 500_000)
    note("observe_low", low, count=3, seen=[0, 0, 0])
    return rows


def tensor(cast: Cast) -> trust.Tensor:
    """After its baseline, a report, and a violation."""
    i = cast.i
    start = (i.time - 86_400) * 1000
    half: trust.T3 = (500_000, 500_000, 500_000)
    seen = trust.after_observation(half, trust.observation(list(report(cast).metrics)), 0, 600_000, trust.ONE)
    broken = trust.after_outcome(seen, 5, 1, trust.ONE)
    verified = report(cast).metrics[2] * 600_000 // trust.ONE
    changes = [
        [1, 3, bytes(16), *half, start, TX],
        [2, 1, cast.cid_b, *seen, start + HOUR_MS, TX],
        [21, 3, bytes(16), *broken, i.time * 1000, TX],
    ]
    return trust.Tensor(
        t3=broken,
        since_ms=i.time * 1000,
        limit=seen[2],
        baseline=500_000,
        observations=1,
        outcome=5,
        repeats=1,
        claims=1,
        verified=verified,
        deliveries=0,
        delivered=0,
        promised=trust.ONE,
        earned=report(cast).metrics[0],
        asked=0,
        asked_ms=0,
        from_ms=start,
        count=3,
        changes=changes,  # type: ignore[arg-type]
    )


def groups(cast: Cast) -> dict[str, Tree]:
    said = report(cast)
    out = {
        "trust_constants": {"bytes": trust.constants()},
        "trust_steps": {"steps": steps(cast)},
        "trust_report": {
            "report": said.bytes,
            "digest": sha256(said.message),
            "sigB": said.signature(cast.b.sign_scalar),
            "pdu": b"\x1d\x01" + bytes([len(said.bytes)]) + said.bytes + said.signature(cast.b.sign_scalar),
            "number": b"\x01" + said.end_ms.to_bytes(7, "big"),
        },
        "trust_tensor": {
            "seen": said.bytes,
            "tx": TX,
            "tensor": tensor(cast).bytes,
        },
    }
    return shown(out)  # type: ignore[no-any-return]
