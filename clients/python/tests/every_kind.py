"""Prints a signed transaction of every kind: number of the kind, bytes in hexadecimal."""

from __future__ import annotations

from modbatt import AccountKey, Envelope, Signed, sign
from modbatt import transactions as tx

KEY, OTHER = AccountKey.from_scalar(bytes(31) + b"\x01"), AccountKey.from_scalar(bytes(31) + b"\x02")
ENVELOPE = Envelope(bytes(range(32)), nonce=7, expiry_height=1 << 40)
ID, HASH, STATEMENT = bytes(range(16)), bytes(range(32)), bytes(range(200))
SIGNATURE = KEY.sign(b"x")
SIGNED = Signed(STATEMENT, KEY.public, SIGNATURE)
PAIRED = tx.Paired(ID, ID, KEY.public, OTHER.public, HASH, HASH, HASH, 86_400, (SIGNATURE,) * 3)
TRIPLE = (SIGNATURE, SIGNATURE, SIGNATURE)
KEYS = (KEY.public, OTHER.public)
COMMAND = tx.Command(STATEMENT, ID, 1, 2, 3, 4, bytes(8))
#: How many numbers each constant of trust has, by its key (L196).
TRUST = dict(zip(range(30, 48), (3, 3, 15, 3, 4, 4, 15, 12, 3, 5, 3, 2, 4, 8, 2, 4, 4, 3), strict=True))
#: Of the form of L11; what the numbers mean is not looked at.
PARAMS: dict[int, int | list[int]] = {
    **{key: 1000 for key in range(1, 11)},
    **{key: [500] * length for key, length in TRUST.items()},
    **{key: 1000 for key in range(50, 54)},
}

BODIES: list[tx.Body] = [
    tx.register(STATEMENT, SIGNATURE),
    tx.lct_create(ID, ID, "battery_management"),
    tx.bind(STATEMENT, TRIPLE),
    tx.pair_complete(PAIRED),
    tx.telemetry_batch(SIGNED),
    tx.energy_event(SIGNED),
    tx.cycle_close(SIGNED),
    tx.checkpoint(SIGNED),
    tx.revoke_statement(SIGNED),
    *(tx.revoke(target, bytes(length), "lost") for target, (_, length) in tx.TARGETS.items()),
    tx.pair_renew(PAIRED, ID, 5, 3),
    tx.pair_use(SIGNED),
    tx.pair_modify(STATEMENT, STATEMENT, KEYS, TRIPLE),
    tx.rebind(STATEMENT, TRIPLE, STATEMENT, SIGNED),
    tx.rebind(STATEMENT, TRIPLE, STATEMENT, SIGNED, SIGNATURE),
    tx.factory_bind(STATEMENT, TRIPLE, STATEMENT),
    tx.transfer(STATEMENT, SIGNATURE, SIGNATURE),
    tx.validate(SIGNED),
    tx.validate(SIGNED, [(STATEMENT, OTHER.public)] * 5),
    tx.delegate(STATEMENT),
    tx.delegate_act(STATEMENT, tx.revoke("binding", ID)),
    tx.consent(STATEMENT, SIGNATURE),
    tx.component_state(SIGNED),
    tx.component_version(STATEMENT, SIGNATURE),
    tx.component_version(STATEMENT, SIGNATURE, (OTHER.public, SIGNATURE)),
    tx.authorization_grant(ID, ID, "battery_management", 2, "score >= 0.5"),
    tx.authorization_revoke(ID, "retired"),
    tx.anonymous_register(HASH, HASH, HASH),
    tx.anonymous_authorize(HASH, HASH, HASH, 1, 500_000),
    tx.anonymous_revoke(1, HASH, 2, 3),
    tx.anonymous_open(1, HASH, HASH, "opened: ä"),
    tx.lct_status(HASH, 2, "violation"),
    tx.lct_context(SIGNED),
    tx.queue_request(ID, ID, 1, 4, "battery_management"),
    tx.queue_process(ID),
    tx.queue_cancel(ID),
    tx.govern_account(2, OTHER.public, 1000),
    tx.govern_roots(1000, added=OTHER.public),
    tx.govern_roots(1000, added=OTHER.public, withdrawn=KEY.public, signature=SIGNATURE),
    tx.govern_params(PARAMS, 1000),
    tx.govern_validators([(HASH, 1), (bytes(32), 1 << 40)], 1000),
    tx.govern_rules(2, 1000),
    tx.config_set(ID, 1, 0, -5),
    tx.config_set(ID, 1, 7, (1 << 31) - 1, COMMAND),
    tx.config_report(ID, 8, 1, -(1 << 31)),
    tx.metrics(SIGNED),
    tx.energy_order(STATEMENT, SIGNATURE),
    tx.energy_receipt(STATEMENT, KEYS, (SIGNATURE, SIGNATURE)),
    tx.energy_release(ID),
    tx.settle(ID, 3),
    tx.settle(ID, price=tx.Agreed(STATEMENT, SIGNATURE, SIGNATURE)),
    tx.object_to(ID, 2, cycle=1),
    tx.resolve(ID, upheld=True),
]

if __name__ == "__main__":
    for body in BODIES:
        print(body.kind, sign(body, ENVELOPE, KEY).data.hex())
