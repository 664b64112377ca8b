//! What the state holds: keys of the tables and the objects under them (`spec/ledger.md`, L60 and L61).
//!
//! A state key is a table prefix of four ASCII bytes followed by fixed-length fields, so keys of one table sort
//! by their fields and no key is a prefix of another table's. The state tree commits to SHA-256 of key and value.

use alloc::{string::String, vec::Vec};

use lct::{
    Digest,
    delegation::DelegationId,
    hash::sha256,
    id::{BindingId, Cid, PairingId, Role},
    lifecycle::State,
    sign::PublicKey,
    trade::TradeId,
};

use crate::{
    authorization::MAX_RULE,
    codec::{Canonical, FormatError, Reader, Writer},
    tx::{MAX_STATEMENT, Subject, Target},
};

const VERSION: u64 = 1;
/// Key, name and type of a field.
pub type FieldName = (u64, &'static str, &'static str);
/// Longest text stored, in bytes.
const MAX_TEXT: usize = MAX_RULE;

#[macro_use]
mod declare;
pub mod key;

/// How one field is encoded. Implemented for the field types of state objects only.
trait Field: Sized {
    fn put(&self, w: &mut Writer);
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError>;
}

macro_rules! fields {
    (uint: $($t:ty),*) => {$(
        impl Field for $t {
            fn put(&self, w: &mut Writer) { w.uint(u64::from(*self)); }
            fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> { r.int() }
        }
    )*};
    (bytes: $($t:ident),*) => {$(
        impl Field for $t {
            fn put(&self, w: &mut Writer) { w.bytes(&self.0); }
            fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> { Ok($t(r.fixed()?)) }
        }
    )*};
}

fields!(uint: u8, u16, u32, u64);
fields!(bytes: Cid, BindingId, PairingId, PublicKey, TradeId);

impl Field for u128 {
    fn put(&self, w: &mut Writer) {
        w.wide(*self);
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.wide()
    }
}

impl Field for Digest {
    fn put(&self, w: &mut Writer) {
        w.bytes(self);
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.fixed()
    }
}

impl Field for bool {
    fn put(&self, w: &mut Writer) {
        w.uint(u64::from(*self));
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        match r.uint()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FormatError::Unexpected),
        }
    }
}

/// A statement as it was signed.
impl Field for Vec<u8> {
    fn put(&self, w: &mut Writer) {
        w.bytes(self);
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(r.bytes(MAX_STATEMENT)?.into())
    }
}

impl Field for String {
    fn put(&self, w: &mut Writer) {
        w.text(self);
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(r.text(MAX_TEXT)?.into())
    }
}

impl Field for Role {
    fn put(&self, w: &mut Writer) {
        w.uint(u64::from(*self as u8));
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        Role::from_code(r.int()?).map_err(|_| FormatError::Unexpected)
    }
}

impl Field for State {
    fn put(&self, w: &mut Writer) {
        w.uint(u64::from(*self as u8));
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        Self::from_code(r.int()?).map_err(|_| FormatError::Unexpected)
    }
}

mod config;
mod governance;
mod trade;
mod trust;

pub use config::{Direction, Setting};
pub use governance::{Pending, RulesVersion};
pub use trade::*;
pub use trust::*;

codes! {
    /// What an account may send; see `rules::allowed`.
    AccountRole {
        /// An authentication controller.
        Authority = 1 "authority",
        /// A gateway or app account.
        Operator = 2 "operator",
        /// A manufacturer: registers what it made, and renews its roots.
        Manufacturer = 3 "manufacturer",
        /// An owner of components.
        Owner = 4 "owner",
        /// Watches: anchors logs and witnesses events.
        Auditor = 5 "auditor",
        /// A pack controller with an account of its own: passes on what devices signed.
        Controller = 6 "controller",
    }
}

codes! {
    /// Whether something still holds.
    Status {
        /// In force.
        Active = 1 "active",
        /// Withdrawn, for good.
        Revoked = 2 "revoked",
    }
}

codes! {
    /// Whether an LCT holds. That of an entity follows its component (L131).
    LctStatus {
        /// In force.
        Active = 1 "active",
        /// Ended, for good.
        Terminated = 2 "terminated",
        /// Not in force yet.
        Pending = 3 "pending",
        /// Out of force for a while.
        Suspended = 4 "suspended",
    }
}

object! {
    /// An account that may sign transactions.
    Account {
        /// What it may send.
        role: AccountRole = 1,
        /// Whether it still may.
        status: Status = 2,
        /// Height from which it holds the role.
        from_height: u64 = 3,
    }
}

impl Account {
    /// Whether its key may sign transactions of a block of `height`.
    #[must_use]
    pub fn in_force(&self, height: u64) -> bool {
        self.status == Status::Active && self.from_height <= height
    }
}

object! {
    /// Last accepted nonce of a signer.
    Nonce {
        /// 0 before the first transaction.
        last: u64 = 1,
    }
}

object! {
    /// A registered component.
    Component {
        /// The id it was registered under.
        component_id: String = 1,
        /// Manufacturer's serial number.
        serial: String = 2,
        /// Role its device certificate states.
        role: Role = 3,
        /// Device identity key.
        device_key: PublicKey = 4,
        /// Hardware version.
        hw: u32 = 5,
        /// Firmware version.
        fw: u32 = 6,
        /// Attested nominal capacity in mWh; 0 when the component stores no energy.
        capacity_mwh: u64 = 7,
        /// Attested state of charge at registration, ppm.
        opening_soc_ppm: u32 = 8,
        /// Identity of its entity LCT.
        lct: Digest = 9,
        /// What became of it since.
        status: State = 10,
        /// Height of registration.
        height: u64 = 11,
        /// Block time of registration, Unix milliseconds.
        time_ms: u64 = 12,
        /// Relationship LCTs it takes part in.
        lcts: u32 = 13,
        /// Active bindings it takes part in.
        bindings: u32 = 14,
    }
}

object! {
    /// Owner of a device identity key.
    DeviceKey {
        /// The component.
        cid: Cid = 1,
        /// Whether the key still speaks for it.
        status: Status = 2,
        /// Height of registration.
        from_height: u64 = 3,
    }
}

object! {
    /// A linked context token. An entity LCT has `a == b` and an empty context.
    Lct {
        /// First component (smaller cid).
        a: Cid = 1,
        /// Second component.
        b: Cid = 2,
        /// What it is for.
        context: String = 3,
        /// Whether it holds.
        status: LctStatus = 4,
        /// Height of creation.
        height: u64 = 5,
        /// Block time of creation, Unix milliseconds.
        time_ms: u64 = 6,
    }
}

object! {
    /// A binding of two components.
    Binding {
        /// Side A.
        a: Cid = 1,
        /// Side B.
        b: Cid = 2,
        /// Signing key of A in this binding.
        key_a: PublicKey = 3,
        /// Signing key of B in this binding.
        key_b: PublicKey = 4,
        /// Assurance reached (0 B0, 1 B1, 2 B2, 3 B1 and B2).
        assurance: u8 = 5,
        /// SHA-256 of the binding record.
        record: Digest = 6,
        /// Whether it holds.
        status: Status = 7,
        /// Height of recording.
        height: u64 = 8,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 9,
        /// Completed pairings under it.
        pairings: u32 = 10,
    }
}

object! {
    /// A signing key that a binding put into force.
    SigningKey {
        /// The component it speaks for.
        cid: Cid = 1,
        /// The binding it belongs to.
        binding_id: BindingId = 2,
        /// Height from which it is in force.
        from_height: u64 = 3,
        /// Whether it still is.
        status: Status = 4,
    }
}

object! {
    /// A completed pairing: a lease.
    Pairing {
        /// The binding it rests on.
        binding_id: BindingId = 1,
        /// Side A.
        a: Cid = 2,
        /// Side B.
        b: Cid = 3,
        /// SHA-256 of the pairing certificate.
        cert_hash: Digest = 4,
        /// Transcript hash of the handshake.
        th4: Digest = 5,
        /// Whether it was withdrawn.
        status: Status = 6,
        /// Height of recording.
        height: u64 = 7,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 8,
        /// Block time at which the lease ends, Unix milliseconds.
        expires_ms: u64 = 9,
    }
}

object! {
    /// What a pairing allows and how often it was used. Absent for one completed without terms: no limit, everything.
    Usage {
        /// Sessions allowed; 0 without limit.
        max_uses: u32 = 1,
        /// Bit 0 read, bit 1 write, bit 2 execute.
        operations: u8 = 2,
        /// Sessions counted.
        uses: u32 = 3,
        /// T3 of the last session counted; zero before the first.
        last: Digest = 4,
        /// The pairing that this one renews; zero for none.
        renews: PairingId = 5,
        /// The pairing that renews this one; zero for none.
        renewed_by: PairingId = 6,
    }
}

/// No pairing, where a [`Usage`] names one.
pub const NO_PAIRING: PairingId = PairingId([0; 16]);

impl Usage {
    /// Of a pairing that was completed without terms.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            max_uses: 0,
            operations: 7,
            uses: 0,
            last: [0; 32],
            renews: NO_PAIRING,
            renewed_by: NO_PAIRING,
        }
    }
}

impl Pairing {
    /// Whether it is a lease at `now_ms` of block time. A withdrawn binding withdraws its pairings.
    #[must_use]
    pub fn in_force(&self, now_ms: u64) -> bool {
        self.status == Status::Active && now_ms < self.expires_ms
    }
}

object! {
    /// That and when something was withdrawn (L101).
    Revocation {
        /// `lct::revocation::Reason` code.
        reason: u8 = 1,
        /// Height of recording.
        height: u64 = 2,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 3,
        /// Transaction that withdrew it.
        tx: Digest = 4,
    }
}

object! {
    /// Whose a component is.
    Ownership {
        /// Key of the owner.
        owner: PublicKey = 1,
        /// Hops so far.
        hops: u32 = 2,
        /// `lct::ownership::hash_of` the last one.
        last: Digest = 3,
        /// Height of the last one.
        from_height: u64 = 4,
    }
}

object! {
    /// To which other binding the owner of a component agreed.
    Consent {
        /// Who owned it then.
        owner: PublicKey = 1,
        /// With whom the next binding is.
        partner: Cid = 2,
        /// Until when it may be recorded, Unix milliseconds of block time.
        until_ms: u64 = 3,
        /// Transaction that recorded it.
        tx: Digest = 4,
        /// Hop with which that owner came by the component.
        hop: u32 = 5,
        /// The owner's number of it.
        number: u64 = 6,
    }
}

impl Consent {
    /// Whether it allows a binding with `partner` at this block time, of a component of which this is the ownership.
    #[must_use]
    pub fn allows(&self, ownership: &Ownership, partner: &Cid, time_ms: u64) -> bool {
        (self.hop, self.partner) == (ownership.hops, *partner) && time_ms <= self.until_ms
    }
}

object! {
    /// One change of hands.
    Hop {
        /// Who gave.
        from: PublicKey = 1,
        /// Who took.
        to: PublicKey = 2,
        /// `lct::ownership::hash_of` the statement.
        statement: Digest = 3,
        /// When both signed, Unix milliseconds.
        time_ms: u64 = 4,
        /// Transaction that recorded it.
        tx: Digest = 5,
    }
}

object! {
    /// An event that a component signed, with what its witnesses made of it.
    Validation {
        /// `lct::validation::EventKind` code; its upper four bits are the level.
        kind: u8 = 1,
        /// Digest that the signer signed.
        digest: Digest = 2,
        /// Witnesses.
        witnesses: u8 = 3,
        /// Height of recording.
        height: u64 = 4,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 5,
        /// Transaction that recorded it.
        tx: Digest = 6,
    }
}

object! {
    /// Where a component said last that it is found.
    AccessPoint {
        /// `lct::validation::Protocol` code.
        protocol: u8 = 1,
        /// Endpoint.
        endpoint: String = 2,
        /// Device at the endpoint.
        device: String = 3,
        /// Boot counter of the event that said so.
        boot: u32 = 4,
        /// Number of that event.
        seq: u32 = 5,
        /// Height of recording.
        height: u64 = 6,
    }
}

object! {
    /// The last event that a component signed (`spec/tiers.md`, V4).
    Position {
        /// Its boot counter.
        boot: u32 = 1,
        /// Its number within the boot.
        seq: u32 = 2,
    }
}

object! {
    /// How far a component's telemetry reaches.
    TelemetryHead {
        /// Last recorded sequence number.
        last_seq: u32 = 1,
        /// Batches recorded.
        batches: u64 = 2,
        /// Records recorded.
        records: u64 = 3,
        /// End of the last batch, device time in Unix milliseconds.
        last_ms: u64 = 4,
    }
}

object! {
    /// A recorded telemetry batch.
    Batch {
        /// Number of records: sequence numbers `first_seq .. first_seq + count`.
        count: u16 = 1,
        /// RFC 6962 root over the records.
        root: Digest = 2,
        /// First record's time, Unix milliseconds.
        first_ms: u64 = 3,
        /// Last record's time, Unix milliseconds.
        last_ms: u64 = 4,
        /// The signing key.
        key: PublicKey = 5,
        /// Transaction that recorded it.
        tx: Digest = 6,
        /// Height of recording.
        height: u64 = 7,
    }
}

object! {
    /// A pack's energy account, mWh. `atp` is charged, `adp` is room, `locked` is charged and promised to other packs.
    ///
    /// Invariants: `atp + adp + locked == minted` and
    /// `charged + untracked_charged + received - discharged - untracked_discharged - sent == atp + locked`.
    Pool {
        /// Minted at the first binding: attested capacity.
        minted: u64 = 1,
        /// Charged energy the pack holds.
        atp: u64 = 2,
        /// Room for charge.
        adp: u64 = 3,
        /// Sum of charge events.
        charged: u128 = 4,
        /// Sum of discharge events.
        discharged: u128 = 5,
        /// Charge that no event recorded: found at an opening, or implied by a discharge beyond `atp`.
        untracked_charged: u128 = 6,
        /// Discharge that no event recorded.
        untracked_discharged: u128 = 7,
        /// Cycle of the last event.
        last_cycle: u32 = 8,
        /// Sequence number of the last event.
        last_seq: u32 = 9,
        /// Events recorded.
        events: u64 = 10,
        /// Charged energy that transfers hold.
        locked: u64 = 11,
        /// Sum of what was given to other packs.
        sent: u128 = 12,
        /// Sum of what came from other packs.
        received: u128 = 13,
        /// Transfers begun, of either direction.
        transfers: u64 = 14,
    }
}

impl Pool {
    /// An empty pool of this capacity.
    #[must_use]
    pub fn empty(minted: u64) -> Self {
        Self {
            minted,
            atp: 0,
            adp: minted,
            charged: 0,
            discharged: 0,
            untracked_charged: 0,
            untracked_discharged: 0,
            last_cycle: 0,
            last_seq: 0,
            events: 0,
            locked: 0,
            sent: 0,
            received: 0,
            transfers: 0,
        }
    }

    /// Whether the invariants of the account hold.
    #[must_use]
    pub fn conserves(&self) -> bool {
        let sum = |a: u128, b: u128, c: u128| a.checked_add(b)?.checked_add(c);
        let came = sum(self.charged, self.untracked_charged, self.received);
        let went = sum(self.discharged, self.untracked_discharged, self.sent);
        let stored = u128::from(self.atp) + u128::from(self.locked);
        stored + u128::from(self.adp) == u128::from(self.minted)
            && matches!((came, went), (Some(c), Some(w)) if c.checked_sub(w) == Some(stored))
    }
}

object! {
    /// Sums of one energy cycle.
    Cycle {
        /// Events of all kinds.
        events: u32 = 1,
        /// Sum of charge events, mWh.
        charged: u64 = 2,
        /// Sum of discharge events, mWh.
        discharged: u64 = 3,
        /// Start of the first event, Unix milliseconds.
        start_ms: u64 = 4,
        /// End of the last event, Unix milliseconds.
        end_ms: u64 = 5,
        /// Energy booked as untracked because events exceeded the pool, mWh; bounded by the tolerance.
        excess: u64 = 6,
        /// Block time of its close, Unix milliseconds; 0 while it is open.
        closed_ms: u64 = 7,
    } and perhaps {
        /// Who owned the pack when the last event ended, as it was known at the close (L224); [`NOBODY`] before that and where
        /// nobody did. A cycle that was closed by a build without L224 has none (L226).
        owner: PublicKey = 8,
    }
}

object! {
    /// A recorded energy event.
    EnergyRecord {
        /// `lct::energy::EnergyKind` code.
        kind: u8 = 1,
        /// Energy in mWh.
        mwh: u64 = 2,
        /// Start, Unix milliseconds.
        start_ms: u64 = 3,
        /// End, Unix milliseconds.
        end_ms: u64 = 4,
        /// Transaction that recorded it.
        tx: Digest = 5,
    }
}

object! {
    /// How far a component's audit log is anchored under one binding.
    LogHead {
        /// Number of the last entry that an anchor covers.
        last: u64 = 1,
        /// Anchors recorded.
        anchors: u64 = 2,
    }
}

object! {
    /// An anchor of an audit log: what the device signed about its first entries.
    Anchor {
        /// Hash of the entry with the anchor's number.
        hash: Digest = 1,
        /// The device's time, Unix seconds; 0 when it did not know.
        time: u32 = 2,
        /// The signing key.
        key: PublicKey = 3,
        /// Transaction that recorded it.
        tx: Digest = 4,
        /// Height of recording.
        height: u64 = 5,
    }
}

object! {
    /// Counts and sums over the whole chain.
    Totals {
        /// Registered components.
        components: u64 = 1,
        /// LCTs, entity and relationship.
        lcts: u64 = 2,
        /// Bindings.
        bindings: u64 = 3,
        /// Completed pairings.
        pairings: u64 = 4,
        /// Telemetry batches.
        batches: u64 = 5,
        /// Telemetry records covered by batches.
        records: u64 = 6,
        /// Energy events.
        energy_events: u64 = 7,
        /// Accepted transactions.
        accepted: u64 = 8,
        /// Refused transactions in blocks.
        refused: u64 = 9,
        /// Minted energy of all pools, mWh.
        minted: u128 = 10,
        /// ATP of all pools, mWh.
        atp: u128 = 11,
        /// Sum of charge events, mWh.
        charged: u128 = 12,
        /// Sum of discharge events, mWh.
        discharged: u128 = 13,
        /// Untracked charge, mWh.
        untracked_charged: u128 = 14,
        /// Untracked discharge, mWh.
        untracked_discharged: u128 = 15,
        /// Closed energy cycles.
        cycles_closed: u64 = 16,
        /// Charged energy that transfers hold, mWh.
        locked: u128 = 17,
        /// What left a pack in transfers and reached no other, mWh.
        lost: u128 = 18,
        /// Transfers that both packs signed.
        transfers: u64 = 19,
        /// Offers.
        offers: u64 = 20,
        /// Settlements.
        settlements: u64 = 21,
    }
}

impl Totals {
    /// The totals of an empty chain.
    #[must_use]
    pub fn zero() -> Self {
        Self {
            components: 0,
            lcts: 0,
            bindings: 0,
            pairings: 0,
            batches: 0,
            records: 0,
            energy_events: 0,
            accepted: 0,
            refused: 0,
            minted: 0,
            atp: 0,
            charged: 0,
            discharged: 0,
            untracked_charged: 0,
            untracked_discharged: 0,
            cycles_closed: 0,
            locked: 0,
            lost: 0,
            transfers: 0,
            offers: 0,
            settlements: 0,
        }
    }
}

object! {
    /// A delegation, and how far its holder's journal is recorded.
    Delegated {
        /// `lct::delegation::Delegation` bytes.
        statement: Vec<u8> = 1,
        /// Height of the block that recorded it.
        height: u64 = 2,
        /// Time of that block, Unix milliseconds.
        time_ms: u64 = 3,
        /// Acts recorded.
        acts: u32 = 4,
        /// `H(act)` of the last one, zero before the first.
        last: Digest = 5,
        /// When the last one was done, Unix seconds; before the first the beginning of the window.
        last_time: u32 = 6,
        /// The authority that signed it.
        authority: PublicKey = 7,
    }
}

object! {
    /// An act of a delegate, and what became of it.
    ActRecord {
        /// Kind of its body.
        kind: u8 = 1,
        /// 0 for what took effect, otherwise the number of the rejection.
        outcome: u64 = 2,
        /// When it was done, Unix seconds.
        done: u32 = 3,
        /// Height of the block that recorded it.
        height: u64 = 4,
        /// Time of that block, Unix milliseconds.
        time_ms: u64 = 5,
        /// The transaction.
        tx: Digest = 6,
    }
}

/// Most bindings in force of one component.
pub const MAX_BINDINGS: usize = 48;
/// Most pairings in force of one binding.
pub const MAX_PAIRINGS: usize = 8;

/// Declares a state object that is one list: `{0: 1, 1: [item ..]}`.
macro_rules! list {
    ($(#[$meta:meta])* $name:ident of $item:ident, at most $max:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub Vec<$item>);

        impl Canonical for $name {
            fn write(&self, w: &mut Writer) {
                w.object(2, VERSION).uint(1).array(self.0.len());
                for item in &self.0 {
                    w.bytes(&item.0);
                }
            }

            fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
                r.object(2, VERSION)?;
                r.key(1)?;
                let n = r.array($max)?;
                (0..n).map(|_| Ok($item(r.fixed()?))).collect::<Result<_, FormatError>>().map(Self)
            }
        }
    };
}

list! {
    /// Manufacturer roots in force.
    Roots of PublicKey, at most crate::genesis::MAX_KEYS
}

list! {
    /// Bindings in force of a component, oldest first.
    Bindings of BindingId, at most MAX_BINDINGS
}

list! {
    /// Pairings of a binding, oldest first.
    Pairings of PairingId, at most MAX_PAIRINGS
}

// Behind the macros that its objects are declared with.
pub mod registry;

/// Identity of a component's entity LCT: `H("modbatt1 lct-entity" || chain id || cid || device key)`.
#[must_use]
pub fn entity_lct_id(chain_id: &Digest, cid: &Cid, device_key: &PublicKey) -> Digest {
    lct::context::entity_lct(chain_id, cid, device_key)
}

/// Identity of a relationship LCT: `H("modbatt1 lct-pair" || chain id || smaller cid || larger cid || context)`.
/// The order of the components does not matter, so one pair has one LCT per context.
#[must_use]
pub fn pair_lct_id(chain_id: &Digest, a: &Cid, b: &Cid, context: &str) -> Digest {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    sha256(&[b"modbatt1 lct-pair", chain_id, &low.0, &high.0, context.as_bytes()])
}
