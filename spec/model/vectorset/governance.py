"""Bodies that change the chain, and those that set and report the configuration of a pack."""

from __future__ import annotations

from securelink import govern, ledger
from securelink.cbor import Value
from securelink.event import Event
from securelink.level5 import Command
from securelink.primitives import public_of, sha256
from securelink.registry import body

from .inputs import Cast, Tree, scalar, shown

CHAIN = b"\xc0" * 32
HEIGHT = 4_321
OLD_ROOT, NEW_ROOT, OWNER = scalar(0x0101), scalar(0x0202), scalar(0x0303)
SEEDS = [bytes([0x51 + n]) * 32 for n in range(3)]
EPOCH = 2


def command(cast: Cast) -> tuple[Command, Event]:
    """The app's operator lowers the discharge current on the pack; the event that tells of it."""
    made = Command(govern.WRITE, 9, bytes.fromhex("0000004d"), 500, govern.write(2, 150_000))
    digest = sha256(made.message(cast.pair_run.values["TH4"], EPOCH))
    return made, Event(0x51, cast.cid_a, cast.i.boot_a, 7, digest)


def bodies(cast: Cast) -> dict[str, bytes]:
    old, new = public_of(OLD_ROOT), public_of(NEW_ROOT)
    changed: dict[int, Value] = {1: 2_000, 9: 3, 10: 1, 52: 310_000}
    validators: Value = [[ledger.validator_key(seed), power] for power, seed in enumerate(SEEDS, 1)]
    said, event = command(cast)
    named = govern.reference(event.bytes, cast.i.pairing_id, EPOCH, said)

    def content(kind: int, what: Value) -> bytes:
        return body(kind, what, HEIGHT)

    return {
        "account": content(govern.ACCOUNT, [4, public_of(OWNER)]),
        "root_comes": content(govern.ROOTS, govern.roots(CHAIN, HEIGHT, new, b"", None)),
        "root_goes": content(govern.ROOTS, govern.roots(CHAIN, HEIGHT, b"", old, OLD_ROOT)),
        "root_renewed": content(govern.ROOTS, govern.roots(CHAIN, HEIGHT, new, old, OLD_ROOT)),
        "params": content(govern.PARAMS, govern.params(changed)),
        "params_default": content(govern.PARAMS, govern.params({})),
        "validators": content(govern.VALIDATORS, {0: 1, 1: validators}),
        "rules": content(govern.RULES, 2),
        "config_set": body(govern.SET, cast.cid_b, 8, 3, govern.value(-1_500), []),
        "config_report": body(govern.REPORT, cast.cid_b, 18, 0, govern.value(2**31 - 1), []),
        "config_command": body(govern.SET, cast.cid_b, 2, 1, govern.value(150_000), named),
    }


def groups(cast: Cast) -> dict[str, Tree]:
    said, event = command(cast)
    return shown(  # type: ignore[no-any-return]
        {
            "governance": {
                "chain": CHAIN,
                "height": HEIGHT,
                "old_root": public_of(OLD_ROOT),
                "new_root": public_of(NEW_ROOT),
                "owner": public_of(OWNER),
                "validators": [ledger.validator_key(seed) for seed in SEEDS],
                "TH4": cast.pair_run.values["TH4"],
                "epoch": EPOCH,
                "event": event.bytes,
                "command_digest": event.payload,
                "bodies": bodies(cast),
            }
        }
    )
