"""The routes of the bridge and their types, made from its contract by generate.py. Do not change this file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NotRequired, TypedDict, cast
from urllib.parse import quote


class AccessPoint(TypedDict):
    """Where a component said last that it is found."""

    boot: int
    device: str
    endpoint: str
    protocol: str
    seq: int


class Account(TypedDict):
    """An account that may sign transactions."""

    height: int
    next_nonce: int
    public_key: str
    role: str
    status: str


class Accounts(TypedDict):
    """Answer of `GET /governance/accounts`."""

    accounts: list[Listed]
    height: int
    next: NotRequired[str]


class Acted(TypedDict):
    """An act, and what became of it."""

    code: NotRequired[str]
    done_at: int
    error: NotRequired[str]
    kind: str
    number: int
    outcome: str
    recorded_at: int
    txhash: str


class Adopt(TypedDict):
    """Body of `POST /bindings/{id}/adopt` (A208): the keys of a binding that somebody else made."""

    a: KeptSide
    b: KeptSide
    creator: str


class Adopted(TypedDict):
    """Its answer."""

    binding_id: str
    status: str


class AgreedBinding(TypedDict):
    """An owner's consent to a binding in the place of the one that is told of."""

    partner: str
    until: int


class AnchorView(TypedDict):
    """One anchor of an audit log."""

    binding_id: str
    hash: str
    height: int
    number: int
    signing_key: str
    time: int
    txhash: str


class Anchors(TypedDict):
    """Answer of `GET /components/{id}/anchors`."""

    anchors: list[AnchorView]
    cid: str
    height: int
    next: NotRequired[str]


class AttestedKey(TypedDict):
    """A fresh relationship key and what vouches for it."""

    attestation: str
    replaces: NotRequired[Replaces]
    spk: str


class Authority(TypedDict):
    """Who issues bindings and pairings here, and on which chain."""

    chain_id: str
    genesis: str
    spk: str
    successions: list[str]


class Authorizations(TypedDict):
    """Answer of `GET /components/{id}/authorizations`."""

    authorizations: list[Authorized]
    cid: str
    component_id: str
    height: int


class Authorized(TypedDict):
    """Somebody with whom a component lets itself be paired."""

    authorization_id: str
    conditions: int
    context: str
    expires_at: int
    level: str
    partner: str


class Batch(TypedDict):
    """Body of `POST /telemetry/batches`."""

    records: list[str | Gap]
    transaction: str


class Begin(TypedDict):
    """Body of `POST /bindings`."""

    a: Party
    assurance: NotRequired[str]
    b: Party
    creator: str


class Begun(TypedDict):
    """Answer of `POST /bindings`."""

    binding_id: str
    expires_at: int
    requests: Sides_Blob
    status: str


class BindingComplete(TypedDict):
    """Body of `POST /bindings/{id}/complete`."""

    replacements: NotRequired[Sides_Option_Replacement]
    signatures: Sides_Base64Of64


class BindingView(TypedDict):
    """One binding of a component."""

    assurance: str
    binding_id: str
    created_at: int
    partner: str
    partner_id: str
    partner_role: str
    reason: NotRequired[str]
    signing_key: str
    status: str


class Bindings(TypedDict):
    """Answer of `GET /bindings`."""

    bindings: list[ListedBinding]
    height: int
    next: NotRequired[str]


class BlockView(TypedDict):
    """Answer of `GET /ledger/blocks/{height}`."""

    block_id: str
    height: int
    parent: str
    proposer: str
    result_root: str
    signed_by: list[str]
    state_root: str
    time_ms: int
    transactions: list[HeldTransaction]
    tx_root: str


class BlockchainStatus(TypedDict):
    """Answer of `GET /blockchain/status`."""

    blockchain_status: ChainStatus
    service: str
    timestamp: int


class Bound(TypedDict):
    """Answer of `POST /bindings/{id}/complete`."""

    assurance: str
    binding_id: str
    record: str
    status: str
    txhash: str


class Brief(TypedDict):
    """Answer of `GET /delegations/{id}/brief` (A205): what the holder of a delegation has to know where there is
    no network. Nothing of it is secret.
    """

    chain_id: str
    delegation: str
    height: int
    list: str
    parts: list[ToldPart]
    relations: list[KnownRelation]


class ChainStatus(TypedDict):
    """Inner object of `GET /blockchain/status`."""

    batches: int
    blocks: int
    chain_id: str
    components: int
    energy_charged_mwh: int
    energy_discharged_mwh: int
    height: int
    records: int
    state_root: str
    transactions: int
    connected: bool
    errors: list[str]
    mode: str


class Change(TypedDict):
    """One change of a tensor."""

    by: str
    cause: str
    talent: int
    temperament: int
    time: int
    training: int
    txhash: str
    voucher: str


class Check(TypedDict):
    """One thing that a bridge needs to serve."""

    error: NotRequired[str]
    name: str
    ok: bool
    state: NotRequired[str]


class Checked(TypedDict):
    """Answer of `GET /authorizations/check`."""

    a: str
    authorization: NotRequired[Authorized]
    authorized: bool
    b: str
    context: str
    height: int
    reason: NotRequired[str]


class Committed(TypedDict):
    """Answer of `GET /commitments/{commitment}`."""

    category: str
    commitment: str
    height: int
    holder: str
    manufacturer: str
    opened: list[dict[str, Any]]
    recorded_at: int
    withdrawn: bool


class CommittedPair(TypedDict):
    """Answer of `GET /commitments/pairs/{id}`."""

    a: str
    authorization_id: str
    b: str
    expires_at: int
    height: int
    holder: str
    level: str
    opened: NotRequired[dict[str, Any]]
    recorded_at: int
    rule: str
    trust_ppm: int


class Completed(TypedDict):
    """Answer of `POST /pairings/{id}/complete`."""

    pairing_id: str
    status: str
    txhash: str


class Component(TypedDict):
    """Answer of `GET /components/{id}`."""

    bindings: list[BindingView]
    capacity_mwh: int
    cid: str
    component_id: str
    component_type: str
    device_key: str
    firmware_version: int
    hardware_version: int
    height: int
    lct_id: str
    opening_soc_ppm: int
    registered_at: int
    role: str
    serial: str
    signing_keys: list[str]
    status: str


class Components(TypedDict):
    """Answer of `GET /components`."""

    components: list[ListedComponent]
    height: int
    next: NotRequired[str]


class Context(TypedDict):
    """A statement as the ledger keeps it."""

    batch: NotRequired[str]
    kind: NotRequired[Literal["profile"]]
    made: NotRequired[int]
    quality: NotRequired[dict[str, int]]
    environment: NotRequired[str]
    location: NotRequired[str]
    system: NotRequired[str]
    account: NotRequired[str]
    operations: NotRequired[int]
    packs: NotRequired[list[str]]
    modules: NotRequired[list[str]]
    charge_ma: NotRequired[int]
    discharge_ma: NotRequired[int]
    highest_mc: NotRequired[int]
    lowest_mc: NotRequired[int]
    nominal_mv: NotRequired[int]
    resistance_uohm: NotRequired[int]
    key: str
    number: int
    recorded_at: int
    statement: str
    time: int
    txhash: str


class Contexts(TypedDict):
    """Answer of `GET /lct/{id}/contexts`."""

    contexts: list[Context]
    height: int
    lct_id: str
    performance: NotRequired[Worked]
    time: int


class Create(TypedDict):
    """Body of `POST /lct/create`."""

    component_a: str
    component_b: str
    context: NotRequired[str]
    creator: str
    proxy_id: NotRequired[str]


class Created(TypedDict):
    """Answer of `POST /lct/create`. The halves are handed out once and kept nowhere."""

    component_a: str
    component_b: str
    context: str
    created_at: int
    creator: str
    device_key_half: Sides_SealedHalf
    lct_id: str
    lct_key_half: Sides_SealedHalf
    proxy_id: str
    status: str
    txhash: str


class CycleView(TypedDict):
    """An energy cycle of a pack."""

    objection: NotRequired[Objected]
    settlement: NotRequired[Settled]
    charged_mwh: int
    closed_at: NotRequired[int]
    cycle: int
    discharged_mwh: int
    end_ms: int
    events: int
    owner: NotRequired[str]
    start_ms: int


class Cycled(TypedDict):
    """Answer of `GET /energy/{id}/cycles/{number}`: a cycle, event by event."""

    objection: NotRequired[Objected]
    settlement: NotRequired[Settled]
    charged_mwh: int
    closed_at: NotRequired[int]
    cycle: int
    discharged_mwh: int
    end_ms: int
    events: int
    owner: NotRequired[str]
    start_ms: int
    cid: str
    component_id: str
    flow: list[EventView]
    height: int
    next: NotRequired[int]


class Cycles(TypedDict):
    """Answer of `GET /energy/{id}/cycles`."""

    cid: str
    component_id: str
    cycles: list[CycleView]
    height: int
    next: NotRequired[str]


class DeadLetter(TypedDict):
    """An event that was given up."""

    at: int
    error: str
    event: str
    tries: int


class Decided(TypedDict):
    """What is decided and holds from a later height on. What does not belong to its kind is absent."""

    added: NotRequired[str]
    height: int
    kind: str
    params: NotRequired[ParamsText]
    rules: NotRequired[int]
    validators: NotRequired[list[ValidatorView]]
    withdrawn: NotRequired[str]


class Delegate(TypedDict):
    """Body of `POST /delegations`."""

    creator: str
    delegate: str
    key: str
    lease_s: int
    not_after: int
    not_before: int
    operations: list[str]
    packs: list[str]
    signature: str


class Delegated(TypedDict):
    """A delegation that the ledger holds."""

    acts: list[Acted]
    delegate: str
    delegation: str
    height: int
    id: str
    last: str
    lease_s: int
    not_after: int
    not_before: int
    number: int
    operations: list[str]
    packs: list[str]
    revoked_at: NotRequired[int]


class Delegations(TypedDict):
    """Answer of `GET /delegations`."""

    delegations: list[Delegated]
    height: int
    next: NotRequired[str]


class Detailed(TypedDict):
    """Answer of `GET /health/detailed`."""

    checks: list[Check]
    disk_free_mib: NotRequired[int]
    gateways: list[Heard]
    ledger: NotRequired[LedgerStatus]
    service: str
    status: str
    timestamp: int
    uptime: int
    version: str


class EnergyAccount(TypedDict):
    """Answer of `GET /energy/{id}`."""

    adp_mwh: int
    atp_mwh: int
    cid: str
    component_id: str
    height: int
    locked_mwh: int
    minted_mwh: int
    offers: list[Offered]
    owner: NotRequired[str]
    ratio_ppm: int
    transfers: list[Flow]


class Event(TypedDict):
    """Something that a block made true."""

    data: dict[str, Any]
    event_type: str
    id: str
    timestamp: str


class EventGap(TypedDict):
    """Events are missing here: the reader asks the resources again instead of trusting that it saw everything."""

    after: NotRequired[str]
    reason: str
    resumes_at: NotRequired[str]


class EventView(TypedDict):
    """An energy event of a pack."""

    end_ms: int
    kind: str
    mwh: int
    seq: int
    start_ms: int
    txhash: str


class Events(TypedDict):
    """A page of the feed: answer of `GET /events`."""

    cursor: NotRequired[str]
    events: list[Event]
    gap: NotRequired[EventGap]
    more: bool


class Flow(TypedDict):
    """A transfer of energy between two packs."""

    begun_by: str
    given_mwh: int
    giver: str
    locked_mwh: int
    offer: NotRequired[str]
    payee: str
    payer: NotRequired[str]
    received_mwh: int
    settled_amount: NotRequired[int]
    state: str
    taker: str
    transfer: str
    until_ms: int


class Gap(TypedDict):
    """The place of a lost record in its batch."""

    leaf: str
    seq: int


class GiveScope(TypedDict):
    """Body of `POST /lct/scopes`."""

    account: str
    component_id: str
    creator: str


class Governed(TypedDict):
    """Answer of `GET /governance`."""

    chain_id: str
    decided: list[Decided]
    height: int
    params: ParamsText
    roots: list[str]
    rules: int
    time: int
    validators: list[ValidatorView]


class Graph(TypedDict):
    """Answer of `GET /mrh/{lct}`."""

    component_id: str
    cut: bool
    depth: int
    entity_lct: str
    height: int
    relationships: list[Relationship]
    time: int


class Health(TypedDict):
    """Answer of `GET /health`."""

    service: str
    status: str
    timestamp: int


class Heard(TypedDict):
    """What is known of a gateway."""

    bus: NotRequired[Literal["up", "silent"]]
    id: str
    seconds: NotRequired[int]


class HeldBinding(TypedDict):
    """A binding in force of a [`Part`]."""

    agreed: NotRequired[AgreedBinding]
    binding_id: str


class HeldTransaction(TypedDict):
    """A transaction in a block."""

    code: NotRequired[str]
    kind: NotRequired[str]
    signer: NotRequired[str]
    transaction: str
    txhash: str


class History(TypedDict):
    """Answer of `GET /components/{id}/history`."""

    authorizations: list[Authorized]
    cid: str
    component_id: str
    height: int
    states: list[Moved]
    status: str
    versions: list[Versioned]


#: One change of hands.
Hop = TypedDict(
    "Hop",
    {
        "from": "str",
        "time": "int",
        "to": "str",
        "txhash": "str",
    },
)


class Introduced(TypedDict):
    """Answer of `POST /bindings/{id}/keys`."""

    binding_id: str
    introductions: Sides_Blob
    packages: Sides_Blob
    status: str


class Issue(TypedDict):
    """Body of `POST /pairings`."""

    a: str
    b: str
    context: NotRequired[str]
    creator: str
    iv_seed: str
    salt: str
    unencrypted_allowed: NotRequired[list[int]]
    valid_days: NotRequired[int]


class Issued(TypedDict):
    """Answer of `POST /pairings`."""

    certificate: str
    complete_by: int
    expires_at: int
    pairing_id: str
    status: str


class KeptSide(TypedDict):
    """A side of a binding, as the authority keeps it."""

    access: str
    blind: NotRequired[str | None]
    component_id: str
    spk: str


class KnownRelation(TypedDict):
    """A binding in force, as far as whoever makes a pairing under it has to know it."""

    a: KeptSide
    b: KeptSide
    binding_id: str
    certificate_s: int
    certified_at: int
    policy_version: int


class Lct(TypedDict):
    """Answer of `GET /lct/{id}`."""

    component_a_id: str
    component_b_id: str
    created_at: int
    height: int
    kind: str
    lct_id: str
    operational_context: str
    pairing_status: str


class LedgerStatus(TypedDict):
    """Figures of the ledger. Energies in mWh; the largest value stands for anything above it."""

    batches: int
    blocks: int
    chain_id: str
    components: int
    energy_charged_mwh: int
    energy_discharged_mwh: int
    height: int
    records: int
    state_root: str
    transactions: int


class Letters(TypedDict):
    """Answer of `GET /webhooks/{id}`."""

    dead_letters: list[DeadLetter]
    webhook: Webhook


class Link(TypedDict):
    """A relation in force."""

    expires_at: NotRequired[int]
    id: str
    peer: str
    peer_id: str
    recorded_at: int
    relation: str


class Listed(TypedDict):
    """An account of the chain."""

    from_height: int
    public_key: str
    role: str
    status: str


class ListedBinding(TypedDict):
    """A binding that the ledger holds."""

    a: str
    assurance: str
    b: str
    binding_id: str
    created_at: int
    status: str


class ListedComponent(TypedDict):
    """A component in a list."""

    capacity_mwh: int
    cid: str
    component_id: str
    firmware_version: int
    hardware_version: int
    lct_id: str
    registered_at: int
    role: str
    serial: str
    status: str


class Login(TypedDict):
    """Body of `POST /sessions`."""

    key: str
    new_passphrase: NotRequired[str | None]
    passphrase: str
    user: str


class Market(TypedDict):
    """Answer of `GET /offers`."""

    height: int
    next: NotRequired[str]
    offers: list[Priced]
    time: int


#: A change of state.
Moved = TypedDict(
    "Moved",
    {
        "by": "str",
        "from": "str",
        "number": "int",
        "reason": "str",
        "recorded_at": "int",
        "to": "str",
        "txhash": "str",
    },
)


class Objected(TypedDict):
    """Somebody's word against a settlement to come."""

    by: str
    objected_at: int
    reason: str
    state: str
    txhash: str


class Offered(TypedDict):
    """An offer of a pack's owner."""

    from_ms: int
    least_mwh: int
    left_mwh: int
    offer: str
    price_micro_per_kwh: int
    until_ms: int
    what: str


class Order(TypedDict):
    """An order and what became of it."""

    a: str
    b: str
    expires_at: int
    id: str
    level: NotRequired[int]
    placed_at: int
    said: NotRequired[str]
    state: Literal["waiting", "done", "failed", "expired"]
    task: Literal["pair", "unpair", "rotate", "bind", "validate", "install", "take_over", "exchange"]


class Orders(TypedDict):
    """Answer of `GET /orders`: what waits, oldest first."""

    next: NotRequired[str]
    orders: list[Order]


class Outcome(TypedDict):
    """Body of `POST /orders/{id}/outcome`."""

    key: str
    said: NotRequired[str]
    signature: str
    state: Literal["waiting", "done", "failed", "expired"]


class Owed(TypedDict):
    """What became of what is owed for a cycle or transfer."""

    objection: NotRequired[Objected]
    settlement: NotRequired[Settled]


class Owner(TypedDict):
    """Whose a component is."""

    hops: list[Hop]
    key: str
    last_transfer: str


class Pairing(TypedDict):
    """Answer of `GET /pairings/{id}`."""

    a: str
    b: str
    binding_id: str
    created_at: int
    expires_at: int
    height: int
    pairing_id: str
    status: str


class PairingComplete(TypedDict):
    """Body of `POST /pairings/{id}/complete`."""

    entity_signatures: Sides_Base64Of64
    th4: str
    validation_nonce: str


class Pairings(TypedDict):
    """Answer of `GET /pairings`."""

    height: int
    next: NotRequired[str]
    pairings: list[Pairing]


class ParamsText(TypedDict):
    """Parameters of a chain (`spec/ledger.md`, L11), every one named."""

    admission: int
    max_batch_records: int
    max_block_bytes: int
    max_block_txs: int
    max_future_ms: int
    max_lcts: int
    max_lease_s: int
    max_offer_s: int
    max_transfer_s: int
    max_tx_bytes: int
    objection_s: int
    pool_tolerance_ppm: int
    price_micro_per_kwh: int
    trust: WeightsText
    witness_quorum: int


class Party(TypedDict):
    """A party of a binding."""

    access: str
    component_id: str


class Past(TypedDict):
    """A change of a tensor in its history."""

    by: str
    cause: str
    talent: int
    temperament: int
    time: int
    training: int
    txhash: str
    voucher: str
    height: NotRequired[int]
    number: int
    proof: str


class Periods(TypedDict):
    """Rotation periods (`spec/channel.md`, H110)."""

    agreement_epochs: int
    agreement_s: int
    certificate_s: int
    epoch_messages: int
    epoch_s: int
    group_s: int
    link_days: int


class Place(TypedDict):
    """Body of `POST /orders`."""

    a: str
    b: str
    creator: str
    expires_at: int
    id: str
    key: str
    level: NotRequired[int | None]
    signature: str
    task: Literal["pair", "unpair", "rotate", "bind", "validate", "install", "take_over", "exchange"]


class Policy(TypedDict):
    """Answer of `GET /policies/{binding id}` and of `POST /policies/{binding id}/signatures`."""

    a: str
    agreed: int
    b: str
    binding_id: str
    due: bool
    in_force: int
    ordered: int
    proposal: NotRequired[str]
    update: NotRequired[str]


class Priced(TypedDict):
    """An offer on the market."""

    from_ms: int
    least_mwh: int
    left_mwh: int
    offer: str
    price_micro_per_kwh: int
    until_ms: int
    what: str
    cid: str
    component_id: str


class Problem(TypedDict):
    """Why a request was refused. `code` is stable, `error` and `detail` are for people."""

    code: str
    detail: NotRequired[str]
    error: str
    retry_after: NotRequired[int]
    status: int


class Propose(TypedDict):
    """Body of `POST /policies`."""

    bindings: list[str]
    creator: str
    key: str
    periods: Periods
    signature: str
    table: str
    version: int


class Quantity(TypedDict):
    """What one quantity came to."""

    count: int
    last: NotRequired[int]
    max: int
    mean: int
    min: int
    name: str


class Ready(TypedDict):
    """Answer of `GET /ready`."""

    checks: list[Check]
    ready: bool


class Register(TypedDict):
    """Body of `POST /components/register`."""

    component_data: dict[str, Any]
    context: NotRequired[str]
    creator: str
    transaction: str


class Registered(TypedDict):
    """Answer of `POST /components/register`."""

    component_data: dict[str, Any]
    component_id: str
    component_identity: str
    context: str
    creator: str
    lct_id: str
    status: str
    txhash: str


class Relation(TypedDict):
    """The relation of a component to another one."""

    ceiling: int
    changes: list[Change]
    context: str
    count: int
    energy: bool
    level: str
    limit: int
    observations: int
    pairing_basic: bool
    pairing_critical: bool
    pairing_enhanced: bool
    score: int
    talent: int
    temperament: int
    training: int
    validity: int
    valuation: int
    value: int
    veracity: int
    binding_id: str
    peer: str


class Relations(TypedDict):
    """Answer of `GET /components/{id}/relations`."""

    access: NotRequired[AccessPoint]
    cid: str
    component_id: str
    height: int
    horizon: list[Seen]
    lct_id: str
    links: list[Link]
    owner: NotRequired[Owner]
    status: str


class Relationship(TypedDict):
    """A component that is seen."""

    cid: str
    component_id: str
    hops: int
    related_lct: str
    role: str
    tensor: NotRequired[View]
    type: str
    via: str
    weight_ppm: int


class Replaces(TypedDict):
    """What an entity that has or had a binding asks before it takes another (`lct::rebind`)."""

    binding_id: str
    nonce: str


class Report(TypedDict):
    """Body of `POST /gateways/{id}`."""

    bus: Literal["up", "silent"]


class Reported(TypedDict):
    """Answer of `POST /gateways/{id}`."""

    within: int


class Request(TypedDict):
    """A request of a queue."""

    asked_at: int
    context: str
    ended_at: NotRequired[int]
    expires_at: int
    height: int
    initiator: str
    next_at: int
    priority: str
    proxy: NotRequired[str]
    request_id: str
    sender: str
    status: str
    target: str
    tries: int
    wish: str


class RevocationEntry(TypedDict):
    """One thing that is revoked."""

    height: NotRequired[int]
    id: str
    reason: str
    time: int
    txhash: NotRequired[str]
    type: str


class Revocations(TypedDict):
    """Answer of `GET /revocations` and of `POST /revocations`."""

    entries: list[RevocationEntry]
    list: str
    next_update: int
    number: int
    this_update: int


class Revoke(TypedDict):
    """Body of `POST /revocations`."""

    creator: str
    id: str
    key: str
    reason: NotRequired[str]
    signature: str
    type: str


class Scoped(TypedDict):
    """Answer of `POST /lct/scopes`."""

    lct_id: str
    number: int
    txhash: str


class Seen(TypedDict):
    """A component in the horizon of another one."""

    cid: str
    component_id: str
    hops: int
    link: str
    via: str
    weight_ppm: int


class Series(TypedDict):
    """The records of a component over time."""

    buckets: list[SeriesBucket]
    cid: str
    complete: bool
    component_id: str
    next_ms: NotRequired[int]
    resolution: str


class SeriesBucket(TypedDict):
    """What the records of a span of time came to."""

    last_ms: int
    quantities: list[Quantity]
    records: int
    start_ms: int


class Session(TypedDict):
    """Answer of `POST /sessions`."""

    expires_at: int
    present_until: int
    role: str
    token: str


class Set(TypedDict):
    """A parameter of a pack."""

    conflict: bool
    conflicts: int
    direction: str
    local: int
    local_version: int
    name: NotRequired[str]
    parameter: int
    recorded_at: int
    txhash: str
    value: int
    version: int


class Settings(TypedDict):
    """Answer of `GET /components/{id}/config`."""

    cid: str
    component_id: str
    height: int
    settings: list[Set]


class Settled(TypedDict):
    """What is owed for a cycle or a transfer."""

    amount: int
    mwh: int
    payee: NotRequired[str]
    payer: NotRequired[str]
    price_micro_per_kwh: int
    settled_at: int
    txhash: str


class Sides_AttestedKey(TypedDict):
    """The same thing for side A and side B."""

    a: dict[str, Any]
    b: dict[str, Any]


class Sides_Base64Of64(TypedDict):
    """The same thing for side A and side B."""

    a: str
    b: str


class Sides_Blob(TypedDict):
    """The same thing for side A and side B."""

    a: str
    b: str


class Sides_Option_Replacement(TypedDict):
    """The same thing for side A and side B."""

    a: None | dict[str, Any]
    b: None | dict[str, Any]


class Sides_SealedHalf(TypedDict):
    """The same thing for side A and side B."""

    a: dict[str, Any]
    b: dict[str, Any]


class Sign(TypedDict):
    """Body of `POST /policies/{binding id}/signatures`."""

    signatures: Sides_Base64Of64
    version: int


class Standing(TypedDict):
    """Where the policy of a binding and its pairing stand. All three versions are equal when nothing is under
    way.
    """

    a: str
    agreed: int
    b: str
    binding_id: str
    due: bool
    in_force: int
    ordered: int


class Standings(TypedDict):
    """Answer of `GET /policies` and of `POST /policies`."""

    next: NotRequired[str]
    policies: list[Standing]


class StateObject(TypedDict):
    """Answer of `GET /ledger/state/{key}`."""

    excerpt: NotRequired[str]
    height: int
    state_root: str
    value: NotRequired[str]


class Statement(TypedDict):
    """One event of a component that is recorded."""

    boot: int
    event: str
    level: int
    recorded_at: int
    seq: int
    txhash: str
    witnesses: int


class Statements(TypedDict):
    """Answer of `GET /components/{id}/statements`."""

    cid: str
    component_id: str
    count: int
    height: int
    statements: list[Statement]


class Stored(TypedDict):
    """Answer of `POST /telemetry/batches`: the records are on disk, the root waits for a block."""

    gaps: int
    status: str
    stored: int
    txhash: str


class Submit(TypedDict):
    """Body of `POST /transactions`."""

    transaction: str


class TimeToken(TypedDict):
    """Answer of `GET /time-token`."""

    time: int
    token: str


class ToldPart(TypedDict):
    """A component, and who has a say in what takes the place of its bindings (A93)."""

    bindings: list[HeldBinding]
    cid: str
    owned: bool


class Transaction(TypedDict):
    """Answer of `POST /transactions` and `GET /transactions/{hash}`."""

    code: NotRequired[str]
    error: NotRequired[str]
    height: NotRequired[int]
    index: NotRequired[int]
    status: str
    txhash: str


class Transferred(TypedDict):
    """Answer of `GET /energy/transfers/{id}`."""

    begun_by: str
    given_mwh: int
    giver: str
    locked_mwh: int
    offer: NotRequired[str]
    payee: str
    payer: NotRequired[str]
    received_mwh: int
    settled_amount: NotRequired[int]
    state: str
    taker: str
    transfer: str
    until_ms: int
    objection: NotRequired[Objected]
    settlement: NotRequired[Settled]
    height: int


class Trust(TypedDict):
    """Answer of `GET /components/{id}/trust`."""

    cid: str
    component_id: str
    contexts: list[View]
    height: int
    relations: list[Relation]
    time: int


class TrustHistory(TypedDict):
    """Answer of `GET /components/{id}/trust/history`."""

    changes: list[Past]
    cid: str
    component_id: str
    context: str
    count: int
    first: int
    height: int
    next: NotRequired[int]
    relation: NotRequired[str]


class ValidatorView(TypedDict):
    """Who decides on blocks."""

    key: str
    power: int


class Versioned(TypedDict):
    """What a component said that it is built of and runs."""

    firmware: int
    hardware: int
    image: str
    number: int
    recorded_at: int
    txhash: str
    vouched: bool


class View(TypedDict):
    """What is known of a subject in a context, at the time of the answer. Shares are in ppm."""

    ceiling: int
    changes: list[Change]
    context: str
    count: int
    energy: bool
    level: str
    limit: int
    observations: int
    pairing_basic: bool
    pairing_critical: bool
    pairing_enhanced: bool
    score: int
    talent: int
    temperament: int
    training: int
    validity: int
    valuation: int
    value: int
    veracity: int


class Waiting(TypedDict):
    """Answer of `GET /components/{id}/queue`."""

    cid: str
    component_id: str
    height: int
    requests: list[Request]


class Webhook(TypedDict):
    """A web hook as it stands."""

    component: str
    cursor: NotRequired[str]
    dead: int
    delivered: int
    error: str
    id: str
    secret: NotRequired[str]
    state: str
    tries: int
    types: str
    url: str


class WebhookOrder(TypedDict):
    """Body of `POST /webhooks`."""

    action: Literal["add", "remove", "replay"]
    after: NotRequired[str]
    component: NotRequired[str]
    creator: str
    expires_at: int
    id: str
    key: str
    signature: str
    types: NotRequired[str]
    url: NotRequired[str]


class Webhooks(TypedDict):
    """Answer of `GET /webhooks`."""

    webhooks: list[Webhook]


class WeightsText(TypedDict):
    """Constants of trust (L196)."""

    baselines: list[int]
    ceilings: list[int]
    confidence: list[int]
    contexts: list[list[int]]
    gates: list[int]
    health: list[int]
    hops: list[int]
    idle: list[int]
    levels: list[int]
    limits: list[int]
    matrix: list[list[int]]
    outcomes: list[list[int]]
    quality: list[int]
    rate: list[int]
    repeats: list[int]
    t3: list[int]
    updates: list[int]
    v3: list[int]


class Worked(TypedDict):
    """What the closed cycles of a pack come to (ledger.md, L147)."""

    charged_mwh: int
    cycles: int
    discharged_mwh: int
    efficiency_ppm: NotRequired[int]
    full_cycles_milli: int


class Routes:
    """One method for each route, named after method and path."""

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        *,
        answers: Collection[int] = (200,),
    ) -> Any:
        """Sends a request. A status outside of `answers` is a refusal."""
        raise NotImplementedError

    def get_accounts_key(self, key: str, *, height: int | None = None) -> Account:
        """An account that may sign transactions, and its next nonce (A13)."""
        given = self.call("GET", f"/api/v1/accounts/{quote(str(key), safe='')}", {"height": height}, None)
        return cast("Account", given)

    def get_authority(self) -> Authority:
        """Who issues bindings and pairings here, and on which chain (A12)."""
        given = self.call("GET", "/api/v1/authority", None, None)
        return cast("Authority", given)

    def get_authorizations_check(self, *, a: str, b: str, context: str | None = None, height: int | None = None) -> Checked:
        """Whether a component lets itself be paired with another one (A125)."""
        given = self.call("GET", "/api/v1/authorizations/check", {"a": a, "b": b, "context": context, "height": height}, None)
        return cast("Checked", given)

    def get_bindings(self, *, limit: int | None = None, after: str | None = None, component: str | None = None, height: int | None = None) -> Bindings:
        """The bindings that there are (A206)."""
        given = self.call("GET", "/api/v1/bindings", {"limit": limit, "after": after, "component": component, "height": height}, None)
        return cast("Bindings", given)

    def post_bindings(self, body: Begin) -> Begun:
        """Begins a binding (A21)."""
        given = self.call("POST", "/api/v1/bindings", None, body)
        return cast("Begun", given)

    def post_bindings_id_adopt(self, id: str, body: Adopt) -> Adopted:
        """Takes the keys of a binding that somebody else made and that the ledger holds (A208)."""
        given = self.call("POST", f"/api/v1/bindings/{quote(str(id), safe='')}/adopt", None, body)
        return cast("Adopted", given)

    def post_bindings_id_complete(self, id: str, body: BindingComplete) -> Bound:
        """Completes a binding; answers once a block holds it (A23)."""
        given = self.call("POST", f"/api/v1/bindings/{quote(str(id), safe='')}/complete", None, body)
        return cast("Bound", given)

    def post_bindings_id_keys(self, id: str, body: Sides_AttestedKey) -> Introduced:
        """Takes the keys of both sides and introduces them to each other (A22)."""
        given = self.call("POST", f"/api/v1/bindings/{quote(str(id), safe='')}/keys", None, body)
        return cast("Introduced", given)

    def get_blockchain_status(self) -> BlockchainStatus:
        """Whether the ledger answers, and its figures (A11)."""
        given = self.call("GET", "/api/v1/blockchain/status", None, None)
        return cast("BlockchainStatus", given)

    def get_commitments_pairs_id(self, id: str, *, height: int | None = None) -> CommittedPair:
        """An authorisation of one committed component for another (A120)."""
        given = self.call("GET", f"/api/v1/commitments/pairs/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("CommittedPair", given)

    def get_commitments_id(self, id: str, *, height: int | None = None) -> Committed:
        """What is recorded of a component under its commitment (A120)."""
        given = self.call("GET", f"/api/v1/commitments/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("Committed", given)

    def get_components(self, *, limit: int | None = None, after: str | None = None, role: str | None = None, height: int | None = None) -> Components:
        """The components that there are (A206)."""
        given = self.call("GET", "/api/v1/components", {"limit": limit, "after": after, "role": role, "height": height}, None)
        return cast("Components", given)

    def post_components_register(self, body: Register) -> Registered:
        """Registers a component; answers once a block holds it (A14, A15)."""
        given = self.call("POST", "/api/v1/components/register", None, body)
        return cast("Registered", given)

    def get_components_id(self, id: str, *, height: int | None = None) -> Component:
        """A component and its bindings (A16)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("Component", given)

    def get_components_id_anchors(self, id: str, *, limit: int | None = None, after: str | None = None, height: int | None = None) -> Anchors:
        """The anchors of the audit logs of a component (A51)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/anchors", {"limit": limit, "after": after, "height": height}, None)
        return cast("Anchors", given)

    def get_components_id_authorizations(self, id: str, *, height: int | None = None) -> Authorizations:
        """Whom a component lets be paired with it (A125)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/authorizations", {"height": height}, None)
        return cast("Authorizations", given)

    def get_components_id_config(self, id: str, *, height: int | None = None) -> Settings:
        """The settings of a pack (A116)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/config", {"height": height}, None)
        return cast("Settings", given)

    def get_components_id_history(self, id: str, *, height: int | None = None) -> History:
        """States, versions and authorisations of a component (A115)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/history", {"height": height}, None)
        return cast("History", given)

    def get_components_id_queue(self, id: str, *, height: int | None = None) -> Waiting:
        """What waits in the queue of a component (A119)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/queue", {"height": height}, None)
        return cast("Waiting", given)

    def get_components_id_relations(self, id: str, *, height: int | None = None) -> Relations:
        """What a component is bound to and paired with, and whom it sees (A64)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/relations", {"height": height}, None)
        return cast("Relations", given)

    def get_components_id_statements(self, id: str, *, height: int | None = None) -> Statements:
        """The recorded events of a component (A66)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/statements", {"height": height}, None)
        return cast("Statements", given)

    def get_components_id_trust(self, id: str, *, height: int | None = None) -> Trust:
        """How far a component and its relations are to be relied on (A111)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/trust", {"height": height}, None)
        return cast("Trust", given)

    def get_components_id_trust_history(self, id: str, *, context: str | None = None, relation: str | None = None, after: int | None = None, height: int | None = None) -> TrustHistory:
        """Every change of a tensor from the first one on, with what made it (A163)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/trust/history", {"context": context, "relation": relation, "after": after, "height": height}, None)
        return cast("TrustHistory", given)

    def get_components_id_trust_history_number(self, id: str, number: int, *, context: str | None = None, relation: str | None = None) -> bytes:
        """What proves a change: an excerpt of the tensor as it was after the change's block (A164)."""
        given = self.call("GET", f"/api/v1/components/{quote(str(id), safe='')}/trust/history/{quote(str(number), safe='')}", {"context": context, "relation": relation}, None)
        return cast("bytes", given)

    def get_delegations(self, *, limit: int | None = None, after: str | None = None, height: int | None = None) -> Delegations:
        """Every delegation that the ledger holds (A71)."""
        given = self.call("GET", "/api/v1/delegations", {"limit": limit, "after": after, "height": height}, None)
        return cast("Delegations", given)

    def post_delegations(self, body: Delegate) -> Delegated:
        """Delegates operations of the authority; answers once a block holds it (A70)."""
        given = self.call("POST", "/api/v1/delegations", None, body)
        return cast("Delegated", given)

    def get_delegations_id(self, id: str, *, height: int | None = None) -> Delegated:
        """A delegation and what was done under it (A72)."""
        given = self.call("GET", f"/api/v1/delegations/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("Delegated", given)

    def get_delegations_id_brief(self, id: str, *, beside: str | None = None) -> Brief:
        """What the holder of a delegation has to know where there is no network (A205)."""
        given = self.call("GET", f"/api/v1/delegations/{quote(str(id), safe='')}/brief", {"beside": beside}, None)
        return cast("Brief", given)

    def get_energy_transfers_id(self, id: str, *, height: int | None = None) -> Transferred:
        """A transfer of energy, with what is owed for it (A121)."""
        given = self.call("GET", f"/api/v1/energy/transfers/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("Transferred", given)

    def get_energy_id(self, id: str, *, height: int | None = None) -> EnergyAccount:
        """The energy account of a pack, its transfers and offers (A110)."""
        given = self.call("GET", f"/api/v1/energy/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("EnergyAccount", given)

    def get_energy_id_cycles(self, id: str, *, limit: int | None = None, after: str | None = None, height: int | None = None) -> Cycles:
        """The energy cycles of a pack, with what is owed for each (A121)."""
        given = self.call("GET", f"/api/v1/energy/{quote(str(id), safe='')}/cycles", {"limit": limit, "after": after, "height": height}, None)
        return cast("Cycles", given)

    def get_energy_id_cycles_number(self, id: str, number: int, *, after: int | None = None, height: int | None = None) -> Cycled:
        """A cycle of a pack, event by event (A121)."""
        given = self.call("GET", f"/api/v1/energy/{quote(str(id), safe='')}/cycles/{quote(str(number), safe='')}", {"after": after, "height": height}, None)
        return cast("Cycled", given)

    def get_events(self, *, after: str | None = None, types: str | None = None, component: str | None = None, limit: int | None = None) -> Events:
        """What happened on the ledger, a page at a time (A183)."""
        given = self.call("GET", "/api/v1/events", {"after": after, "types": types, "component": component, "limit": limit}, None)
        return cast("Events", given)

    def post_gateways_id(self, id: str, body: Report) -> Reported:
        """A gateway says how its bus is, by the component id of its app (A129)."""
        given = self.call("POST", f"/api/v1/gateways/{quote(str(id), safe='')}", None, body)
        return cast("Reported", given)

    def get_governance(self, *, height: int | None = None) -> Governed:
        """What governs the next block, and what is decided for later (A118)."""
        given = self.call("GET", "/api/v1/governance", {"height": height}, None)
        return cast("Governed", given)

    def get_governance_accounts(self, *, limit: int | None = None, after: str | None = None, height: int | None = None) -> Accounts:
        """Every account that there is or was (A118)."""
        given = self.call("GET", "/api/v1/governance/accounts", {"limit": limit, "after": after, "height": height}, None)
        return cast("Accounts", given)

    def get_health(self) -> Health:
        """That the bridge runs (A10)."""
        given = self.call("GET", "/api/v1/health", None, None)
        return cast("Health", given)

    def get_health_detailed(self) -> Detailed:
        """Whether it can serve, for how long it has, and what it serves (A141)."""
        given = self.call("GET", "/api/v1/health/detailed", None, None)
        return cast("Detailed", given)

    def post_lct_create(self, body: Create) -> Created:
        """Creates the LCT of a relationship and hands out its sealed halves, once (A30)."""
        given = self.call("POST", "/api/v1/lct/create", None, body)
        return cast("Created", given)

    def post_lct_scopes(self, body: GiveScope) -> Scoped:
        """States that an app may do everything with the packs that it is bound to (A113)."""
        given = self.call("POST", "/api/v1/lct/scopes", None, body)
        return cast("Scoped", given)

    def get_lct_id(self, id: str, *, height: int | None = None) -> Lct:
        """An LCT (A32)."""
        given = self.call("GET", f"/api/v1/lct/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("Lct", given)

    def get_lct_id_contexts(self, id: str, *, height: int | None = None) -> Contexts:
        """What is stated in the context of an LCT (A112)."""
        given = self.call("GET", f"/api/v1/lct/{quote(str(id), safe='')}/contexts", {"height": height}, None)
        return cast("Contexts", given)

    def get_ledger_blocks_height(self, height: int) -> BlockView:
        """A block, who certified it, and what its transactions came to (A217)."""
        given = self.call("GET", f"/api/v1/ledger/blocks/{quote(str(height), safe='')}", None, None)
        return cast("BlockView", given)

    def get_ledger_state_key(self, key: str, *, height: int | None = None) -> StateObject:
        """What the state holds under a key after a block, with what proves it (A216)."""
        given = self.call("GET", f"/api/v1/ledger/state/{quote(str(key), safe='')}", {"height": height}, None)
        return cast("StateObject", given)

    def get_ledger_status(self, *, height: int | None = None) -> LedgerStatus:
        """The figures of the ledger (A11)."""
        given = self.call("GET", "/api/v1/ledger/status", {"height": height}, None)
        return cast("LedgerStatus", given)

    def get_mrh_lct(self, lct: str, *, depth: int | None = None, include_tensors: bool | None = None, height: int | None = None) -> Graph:
        """Whom a component sees, hop by hop (A122)."""
        given = self.call("GET", f"/api/v1/mrh/{quote(str(lct), safe='')}", {"depth": depth, "include_tensors": include_tensors, "height": height}, None)
        return cast("Graph", given)

    def get_offers(self, *, limit: int | None = None, after: str | None = None, what: str | None = None, height: int | None = None) -> Market:
        """The offers of everybody that stand, the cheapest first (A124)."""
        given = self.call("GET", "/api/v1/offers", {"limit": limit, "after": after, "what": what, "height": height}, None)
        return cast("Market", given)

    def get_orders(self, *, limit: int | None = None, after: str | None = None) -> Orders:
        """The orders that wait, oldest first (A62)."""
        given = self.call("GET", "/api/v1/orders", {"limit": limit, "after": after}, None)
        return cast("Orders", given)

    def post_orders(self, body: Place) -> Order:
        """Orders what is to be done with a pack (A61)."""
        given = self.call("POST", "/api/v1/orders", None, body)
        return cast("Order", given)

    def get_orders_id(self, id: str) -> Order:
        """An order and what became of it (A62)."""
        given = self.call("GET", f"/api/v1/orders/{quote(str(id), safe='')}", None, None)
        return cast("Order", given)

    def post_orders_id_outcome(self, id: str, body: Outcome) -> Order:
        """Tells what became of an order (A63)."""
        given = self.call("POST", f"/api/v1/orders/{quote(str(id), safe='')}/outcome", None, body)
        return cast("Order", given)

    def get_pairings(self, *, limit: int | None = None, after: str | None = None, component: str | None = None, height: int | None = None) -> Pairings:
        """The pairings that the ledger holds (A206)."""
        given = self.call("GET", "/api/v1/pairings", {"limit": limit, "after": after, "component": component, "height": height}, None)
        return cast("Pairings", given)

    def post_pairings(self, body: Issue) -> Issued:
        """Issues the certificate of a pairing (A24)."""
        given = self.call("POST", "/api/v1/pairings", None, body)
        return cast("Issued", given)

    def get_pairings_id(self, id: str, *, height: int | None = None) -> Pairing:
        """Where a pairing stands (A28)."""
        given = self.call("GET", f"/api/v1/pairings/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("Pairing", given)

    def post_pairings_id_complete(self, id: str, body: PairingComplete) -> Completed:
        """Completes a pairing; answers once a block holds it (A26)."""
        given = self.call("POST", f"/api/v1/pairings/{quote(str(id), safe='')}/complete", None, body)
        return cast("Completed", given)

    def get_policies(self, *, limit: int | None = None, after: str | None = None, component: str | None = None) -> Standings:
        """Where the policies of the bindings stand (A47)."""
        given = self.call("GET", "/api/v1/policies", {"limit": limit, "after": after, "component": component}, None)
        return cast("Standings", given)

    def post_policies(self, body: Propose) -> Standings:
        """Orders a policy for bindings (A49)."""
        given = self.call("POST", "/api/v1/policies", None, body)
        return cast("Standings", given)

    def get_policies_id(self, id: str) -> Policy:
        """The policy of a binding (A48)."""
        given = self.call("GET", f"/api/v1/policies/{quote(str(id), safe='')}", None, None)
        return cast("Policy", given)

    def post_policies_id_signatures(self, id: str, body: Sign) -> Policy:
        """Takes the signatures of both sides under a proposal (A50)."""
        given = self.call("POST", f"/api/v1/policies/{quote(str(id), safe='')}/signatures", None, body)
        return cast("Policy", given)

    def get_queue_id(self, id: str, *, height: int | None = None) -> Request:
        """A request of a queue, also one that waits no more (A119)."""
        given = self.call("GET", f"/api/v1/queue/{quote(str(id), safe='')}", {"height": height}, None)
        return cast("Request", given)

    def get_receipts_id(self, id: str) -> bytes:
        """The receipt of a transaction, as a file (A38)."""
        given = self.call("GET", f"/api/v1/receipts/{quote(str(id), safe='')}", None, None)
        return cast("bytes", given)

    def get_receipts_id_seq(self, id: str, seq: int) -> bytes:
        """The receipt of a telemetry record, as a file (A38)."""
        given = self.call("GET", f"/api/v1/receipts/{quote(str(id), safe='')}/{quote(str(seq), safe='')}", None, None)
        return cast("bytes", given)

    def get_revocations(self) -> Revocations:
        """The revocation list in force (A44)."""
        given = self.call("GET", "/api/v1/revocations", None, None)
        return cast("Revocations", given)

    def post_revocations(self, body: Revoke) -> Revocations:
        """Revokes; answers once the list that says so is on disk (A45)."""
        given = self.call("POST", "/api/v1/revocations", None, body)
        return cast("Revocations", given)

    def post_sessions(self, body: Login) -> Session:
        """Logs a user in, with another passphrase from here on if one is wanted (A135, A220)."""
        given = self.call("POST", "/api/v1/sessions", None, body)
        return cast("Session", given)

    def post_telemetry_batches(self, body: Batch) -> Stored:
        """Stores the records of a batch, then submits its transaction (A35)."""
        given = self.call("POST", "/api/v1/telemetry/batches", None, body)
        return cast("Stored", given)

    def get_telemetry_id_series(self, id: str, *, resolution: str, from_ms: int | None = None, to_ms: int | None = None, quantity: str | None = None) -> Series:
        """The records of a component over time, summed up (A226)."""
        given = self.call("GET", f"/api/v1/telemetry/{quote(str(id), safe='')}/series", {"resolution": resolution, "from_ms": from_ms, "to_ms": to_ms, "quantity": quantity}, None)
        return cast("Series", given)

    def get_time_token(self) -> TimeToken:
        """The time under the signature of the authority (A43)."""
        given = self.call("GET", "/api/v1/time-token", None, None)
        return cast("TimeToken", given)

    def post_transactions(self, body: Submit, *, wait: int | None = None) -> Transaction:
        """Submits a signed transaction (A33)."""
        given = self.call("POST", "/api/v1/transactions", {"wait": wait}, body)
        return cast("Transaction", given)

    def get_transactions_hash(self, hash: str) -> Transaction:
        """Where a transaction stands (A34)."""
        given = self.call("GET", f"/api/v1/transactions/{quote(str(hash), safe='')}", None, None)
        return cast("Transaction", given)

    def get_webhooks(self) -> Webhooks:
        """How far every receiver is (A189)."""
        given = self.call("GET", "/api/v1/webhooks", None, None)
        return cast("Webhooks", given)

    def post_webhooks(self, body: WebhookOrder) -> Webhook:
        """Sets up a web hook, replays events to it, or removes it (A187)."""
        given = self.call("POST", "/api/v1/webhooks", None, body)
        return cast("Webhook", given)

    def get_webhooks_id(self, id: str) -> Letters:
        """How far a receiver is, and what was given up for it (A189)."""
        given = self.call("GET", f"/api/v1/webhooks/{quote(str(id), safe='')}", None, None)
        return cast("Letters", given)

    def get_blockchain_status_at_root(self) -> BlockchainStatus:
        """Whether the ledger answers, and its figures (A11)."""
        given = self.call("GET", "/blockchain/status", None, None)
        return cast("BlockchainStatus", given)

    def get_health_at_root(self) -> Health:
        """That the bridge runs (A10)."""
        given = self.call("GET", "/health", None, None)
        return cast("Health", given)

    def get_health_detailed_at_root(self) -> Detailed:
        """Whether it can serve, for how long it has, and what it serves (A141)."""
        given = self.call("GET", "/health/detailed", None, None)
        return cast("Detailed", given)

    def get_metrics_at_root(self) -> bytes:
        """Figures for Prometheus (A142)."""
        given = self.call("GET", "/metrics", None, None)
        return cast("bytes", given)

    def get_ready_at_root(self) -> Ready:
        """Whether the bridge can serve (A141)."""
        given = self.call("GET", "/ready", None, None, answers=(200, 503))
        return cast("Ready", given)
