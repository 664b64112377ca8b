"""Who acts for the authority: a delegation, what its holder does, and who follows the authority."""

from __future__ import annotations

from securelink import delegation
from securelink.delegation import Delegation
from securelink.identity import SemiPublicKey
from securelink.primitives import sha256

from .inputs import Cast, Tree, shown

#: The delegate and the successor.
DELEGATE = SemiPublicKey(b"\xd2" * 32)
SUCCESSOR = SemiPublicKey(b"\xc3" * 32)
BODY = b"what the ledger is to record"


def right(cast: Cast) -> Delegation:
    """For the pack, for a day, leases of a week."""
    time = cast.i.time
    return Delegation(3, DELEGATE.object, time, time + 60, time + 86_460, 604_800, 7, (cast.cid_b,))


def ended(cast: Cast, kind: int = 3) -> bytes:
    name = delegation.delegation_id(right(cast).signed(cast.authority.sign_scalar))
    return delegation.revocation(name, kind, cast.i.pairing_id, 2, cast.i.time + 70, DELEGATE.sign_scalar)


def acts(cast: Cast) -> tuple[bytes, bytes]:
    """The first, and the one that follows it."""
    name = delegation.delegation_id(right(cast).signed(cast.authority.sign_scalar))
    first = delegation.act(name, 1, bytes(32), cast.i.time + 70, BODY, DELEGATE.sign_scalar)
    return first, delegation.act(name, 2, sha256(first), cast.i.time + 80, BODY, DELEGATE.sign_scalar)


def groups(cast: Cast) -> dict[str, Tree]:
    signed = right(cast).signed(cast.authority.sign_scalar)
    first, second = acts(cast)
    out = {
        "delegation": {
            "SPKD": DELEGATE.object,
            "packs": [cast.cid_b],
            "delegation": signed,
            "id": delegation.delegation_id(signed),
        },
        "delegate_revocation": {"revocation": ended(cast)},
        "act": {"body": BODY, "first": first, "second": second},
        "succession": {
            "seed": SUCCESSOR.seed,
            "SPK": SUCCESSOR.object,
            "succession": delegation.succession(cast.i.time, cast.authority, SUCCESSOR),
        },
    }
    return shown(out)  # type: ignore[no-any-return]
