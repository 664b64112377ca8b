//! What each transaction may do. One file per group of rules; the order of checks is that of `spec/ledger.md`: L24
//! for the envelope, L26 for statements of devices, and the table of each kind.

mod anonymous;
mod audit;
mod authorization;
mod binding;
mod config;
mod delegate;
mod energy;
mod gate;
mod govern;
mod lct_create;
mod lease;
mod lifecycle;
mod offer;
mod ownership;
mod pairing;
mod queue;
mod rebind;
mod register;
mod relation;
mod revoke;
mod settle;
mod telemetry;
mod trade;
mod trust;
mod validate;
mod withdraw;

pub use ownership::cycle_owner;

pub(crate) use govern::take_effect;
pub(crate) use telemetry::batch_recorded;

use alloc::vec::Vec;

use lct::{
    Digest,
    energy::MODULE_ENERGY_LEN,
    id::Cid,
    lifecycle::State,
    sign::PublicKey,
    validation::{Event as Validated, EventKind},
};

use crate::{
    block::Header,
    codec::{Canonical, FormatError},
    execute::require,
    genesis::Params,
    outcome::Event,
    records::{Account, AccountRole, Component, Nonce, Position, SigningKey, Status, Totals, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::{Body, Kind, Registry, Signed, Tx},
};

/// What a rule may know besides the state.
pub struct Context<'a> {
    /// Header of the block that includes the transaction.
    pub header: &'a Header,
    /// Parameters in force.
    pub params: &'a Params,
    /// Manufacturer roots in force.
    pub roots: &'a [PublicKey],
    /// Version of the rules in force.
    pub rules: u32,
    /// Identity of the transaction.
    pub tx_id: Digest,
    /// Whether the caller has verified the signature of the envelope, over these very bytes.
    pub verified: bool,
}

/// Why a transaction did not take effect.
#[derive(Debug)]
pub enum Stop {
    /// It broke a rule.
    Refused {
        /// The first check that failed.
        rejection: Rejection,
        /// The signer's nonce to record, when the envelope was in order and only the body was refused.
        nonce: Option<(PublicKey, Nonce)>,
    },
    /// The replica must stop.
    Halt(Halt),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Refused { rejection, nonce: None }
    }
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// The rule table of roles (L22): may an account of `role` send a transaction of `kind`?
///
/// An authority may send everything. An operator registers components and passes on what devices signed; the others
/// have a part of that each.
#[must_use]
pub fn allowed(role: AccountRole, kind: Kind) -> bool {
    match role {
        AccountRole::Authority => true,
        AccountRole::Operator => {
            use Kind::*;
            matches!(
                kind,
                Register
                    | Batch
                    | Energy
                    | CycleClose
                    | Checkpoint
                    | RevokeSigned
                    | Revoke
                    | PairUse
                    | FactoryBind
                    | Transfer
                    | Consent
                    | Validate
                    | DelegateAct
                    | ComponentMove
                    | ComponentVersion
                    | AuthorizationGrant
                    | AuthorizationRevoke
                    | Anonymous
                    | LctStatus
                    | LctContext
                    | QueueRequest
                    | QueueProcess
                    | QueueCancel
                    | EnergyOrder
                    | EnergyReceipt
                    | EnergyRelease
                    | Settle
                    | Object
                    | ConfigSet
                    | ConfigReport
                    | Metrics
            )
        }
        AccountRole::Manufacturer => {
            matches!(
                kind,
                Kind::Register
                    | Kind::Revoke
                    | Kind::FactoryBind
                    | Kind::Transfer
                    | Kind::ComponentMove
                    | Kind::ComponentVersion
                    | Kind::LctContext
                    | Kind::GovernRoots
            )
        }
        AccountRole::Owner => {
            use Kind::*;
            matches!(
                kind,
                RevokeSigned
                    | Revoke
                    | Transfer
                    | Consent
                    | Validate
                    | ConfigSet
                    | EnergyOrder
                    | EnergyRelease
                    | Settle
                    | Object
                    | ComponentMove
                    | ComponentVersion
                    | AuthorizationGrant
                    | AuthorizationRevoke
                    | Anonymous
                    | LctStatus
                    | LctContext
                    | QueueRequest
                    | QueueProcess
                    | QueueCancel
            )
        }
        AccountRole::Auditor => {
            matches!(kind, Kind::Checkpoint | Kind::Revoke | Kind::Validate | Kind::Object)
        }
        AccountRole::Controller => {
            use Kind::*;
            matches!(
                kind,
                Batch
                    | Energy
                    | CycleClose
                    | Checkpoint
                    | RevokeSigned
                    | Revoke
                    | PairUse
                    | Validate
                    | DelegateAct
                    | ComponentVersion
                    | LctContext
                    | QueueRequest
                    | QueueProcess
                    | QueueCancel
                    | EnergyReceipt
                    | EnergyRelease
                    | ConfigReport
                    | Metrics
            )
        }
    }
}

/// Fails with `rejection` unless `holds`.
fn ensure(holds: bool, rejection: Rejection) -> Result<(), Rejection> {
    if holds { Ok(()) } else { Err(rejection) }
}

/// What the envelope of a transaction is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The chain.
    pub chain_id: Digest,
    /// Height of the block that would include it.
    pub height: u64,
    /// Transactions of the signer that wait before this one and are not in the state yet.
    pub pending: u64,
    /// Whether the caller has verified the signature of the envelope, over these very bytes.
    pub verified: bool,
}

/// The transaction in `bytes`: size and encoding are checked.
///
/// # Errors
/// [`Rejection::TooLarge`], [`Rejection::Version`] or [`Rejection::Malformed`].
pub fn parse(params: &Params, bytes: &[u8]) -> Result<Tx, Rejection> {
    ensure(bytes.len() <= params.max_tx_bytes as usize, Rejection::TooLarge)?;
    Tx::from_bytes(bytes).map_err(|e| match e {
        FormatError::Version(_) => Rejection::Version,
        _ => Rejection::Malformed,
    })
}

/// Checks everything about a transaction except its body: chain, account, role, expiry, nonce, signature. A memory pool
/// calls it with the signer's pending count; execution with 0.
///
/// # Errors
/// [`Stop`].
pub fn admit(view: &impl View, at: &Admission, tx: &Tx) -> Result<(), Stop> {
    let t = &tx.unsigned;
    ensure(t.chain_id == at.chain_id, Rejection::OtherChain)?;
    let account: Option<Account> = load(view, &key::account(&t.signer))?;
    let account = account.filter(|a| a.in_force(at.height)).ok_or(Rejection::UnknownSigner)?;
    ensure(allowed(account.role, t.body.kind()), Rejection::RoleForbidden)?;
    ensure(at.height <= t.expiry_height, Rejection::Expired)?;
    let last = load(view, &key::nonce(&t.signer))?.map_or(0, |n: Nonce| n.last);
    let next = last.saturating_add(at.pending).saturating_add(1);
    ensure(t.nonce >= next, Rejection::NonceUsed)?;
    ensure(t.nonce == next, Rejection::NonceGap)?;
    Ok(ensure(at.verified || tx.verify().is_ok(), Rejection::EnvelopeSignature)?)
}

/// Applies one transaction; its writes are meaningless after an error.
///
/// # Errors
/// [`Stop`].
pub fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    bytes: &[u8],
) -> Result<Vec<Event>, Stop> {
    let Header { chain_id, height, .. } = *context.header;
    let at = Admission { chain_id, height, pending: 0, verified: context.verified };
    let tx = parse(context.params, bytes)?;
    admit(state, &at, &tx)?;
    let signer = tx.unsigned.signer;
    let nonce = Nonce { last: tx.unsigned.nonce };
    state.put(key::nonce(&signer), &nonce);
    body(state, context, &tx).map_err(|stop| match stop {
        Stop::Refused { rejection, .. } => Stop::Refused { rejection, nonce: Some((signer, nonce)) },
        halt @ Stop::Halt(_) => halt,
    })
}

fn body<V: View>(state: &mut Overlay<V>, context: &Context<'_>, tx: &Tx) -> Result<Vec<Event>, Stop> {
    match &tx.unsigned.body {
        Body::Register { statement, signature } => register::apply(state, context, statement, signature),
        Body::LctCreate { a, b, context: purpose } => lct_create::apply(state, context, a, b, purpose),
        Body::Bind { record, signature_a, signature_b, signature_authority } => {
            let signatures = [signature_a, signature_b, signature_authority];
            binding::apply(state, context, &tx.unsigned.signer, record, signatures)
        }
        Body::PairComplete(paired) => {
            let at_ms = context.header.time_ms;
            pairing::complete(state, context, &tx.unsigned.signer, paired, at_ms)
        }
        Body::Batch(signed) => telemetry::apply(state, context, signed),
        Body::Energy(signed) => energy::event(state, context, signed),
        Body::CycleClose(signed) => energy::close(state, context, signed),
        Body::Checkpoint(signed) => audit::apply(state, context, signed),
        Body::RevokeSigned(signed) => revoke::signed(state, context, signed),
        Body::Revoke { target, reason } => {
            revoke::ordered(state, context, &tx.unsigned.signer, target, *reason)
        }
        Body::PairRenew { paired, renews, max_uses, operations } => {
            let terms = (*max_uses, *operations);
            let at_ms = context.header.time_ms;
            lease::renew(state, context, &tx.unsigned.signer, paired, renews, terms, at_ms)
        }
        Body::PairUse(signed) => lease::used(state, context, signed),
        Body::PairModify { statement, terms, keys, signatures } => {
            lease::modify(state, context, &tx.unsigned.signer, statement, terms, keys, signatures)
        }
        body @ Body::Rebind { .. } => rebind::replace(state, context, &tx.unsigned.signer, body),
        Body::FactoryBind { record, signatures, batch } => {
            rebind::factory(state, context, record, signatures, batch)
        }
        Body::Transfer { statement, signatures } => {
            ownership::transfer(state, context, statement, signatures)
        }
        Body::Consent { statement, signature } => ownership::consent(state, context, statement, signature),
        Body::Validate { signed, witnesses } => validate::event(state, context, signed, witnesses),
        Body::Metrics(signed) => trust::report(state, context, signed),
        Body::Delegate { statement } => delegate::delegate(state, context, &tx.unsigned.signer, statement),
        Body::DelegateAct { statement, body } => delegate::act(state, context, statement, body),
        Body::Registry(body) => registry(state, context, &tx.unsigned.signer, body),
        Body::ConfigSet(config) => config::set(state, context, &tx.unsigned.signer, config),
        Body::ConfigReport(config) => config::report(state, context, &tx.unsigned.signer, config),
        Body::Govern(governance) => govern::apply(state, context, &tx.unsigned.signer, governance),
        Body::EnergyOrder { statement, signature } => trade::order(state, context, statement, signature),
        Body::EnergyReceipt { statement, keys, signatures } => {
            trade::receipt(state, context, statement, keys, signatures)
        }
        Body::EnergyRelease { transfer } => trade::release(state, context, transfer),
        Body::Settle { subject, price } => {
            settle::settle(state, context, &tx.unsigned.signer, subject, price.as_ref())
        }
        Body::Object { subject, reason } => {
            settle::object(state, context, &tx.unsigned.signer, subject, *reason)
        }
        Body::Resolve { subject, upheld } => settle::resolve(state, context, subject, *upheld),
    }
}

/// The bodies of the kinds 32 to 41.
fn registry<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    body: &Registry,
) -> Result<Vec<Event>, Stop> {
    match body {
        Registry::Move { statement, key, signature } => {
            lifecycle::moved(state, context, statement, key, signature)
        }
        Registry::Version { statement, signature, vouched } => {
            lifecycle::version(state, context, statement, signature, vouched.as_ref())
        }
        Registry::Grant { a, b, context: purpose, level, rule } => {
            let wanted = authorization::Grant { a, b, purpose, level: *level, rule };
            authorization::grant(state, context, sender, &wanted)
        }
        Registry::RevokeGrant { id, reason } => authorization::revoke(state, context, sender, id, *reason),
        Registry::Anonymous(entry) => anonymous::apply(state, context, sender, entry),
        Registry::LctStatus { id, status, reason } => {
            relation::status(state, context, sender, id, (*status, *reason))
        }
        Registry::Context { statement, key, signature } => {
            relation::stated(state, context, statement, key, signature)
        }
        Registry::Queue { initiator, target, wish, priority, proxy, context: purpose } => {
            let (wish, priority) = (*wish, *priority);
            let wanted = queue::Request { initiator, target, wish, priority, proxy, purpose };
            queue::request(state, context, sender, &wanted)
        }
        Registry::Process { cid } => queue::process(state, context, cid),
        Registry::Cancel { id, reason } => queue::cancel(state, context, sender, id, *reason),
    }
}

/// A statement's cid, digest and latest time: what the common checks of device statements need.
struct Claim {
    cid: Cid,
    digest: Digest,
    end_ms: u64,
}

/// The checks every statement of a device passes (L26): its key is in force, belongs to the component the statement
/// names, signed it, and the statement does not speak of the future. The answer is the key's record.
fn check_signed<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
    claim: &Claim,
) -> Result<SigningKey, Stop> {
    let owner: Option<SigningKey> = load(state, &key::signing_key(&signed.key))?;
    let owner = owner.ok_or(Rejection::StatementKeyUnknown)?;
    ensure(owner.status == Status::Active, Rejection::StatementKeyRevoked)?;
    ensure(owner.cid == claim.cid, Rejection::StatementSigner)?;
    signed.key.verify(&claim.digest, &signed.signature).map_err(|_| Rejection::StatementSignature)?;
    ensure(not_future(context, claim.end_ms), Rejection::StatementTime)?;
    Ok(owner)
}

/// [`check_signed`] for statements that feed sums and standings: those of a suspended component are not believed (L133).
fn check_believed<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
    claim: &Claim,
) -> Result<SigningKey, Stop> {
    let owner = check_signed(state, context, signed, claim)?;
    let component: Option<Component> = load(state, &key::component(&owner.cid))?;
    let component = component.ok_or(Halt::Invariant("a signing key without component"))?;
    ensure(component.status != State::Suspended, Rejection::ComponentSuspended)?;
    Ok(owner)
}

/// The event inside a statement, if it is of one of `kinds`, and the claim that the common checks judge.
fn event_of(
    context: &Context<'_>,
    statement: &[u8],
    kinds: &[EventKind],
    other: Rejection,
) -> Result<(Validated, Claim), Stop> {
    let event = Validated::decode(statement).map_err(|_| Rejection::StatementFormat)?;
    // What a module says itself there is in rules of version 2 only: before, no statement could hold it (L164).
    let says = event.kind == EventKind::Energy && event.payload.len() == MODULE_ENERGY_LEN;
    ensure(!says || context.rules >= 2, Rejection::StatementFormat)?;
    ensure(kinds.contains(&event.kind), other)?;
    let digest = event.digest().map_err(|_| Rejection::StatementFormat)?;
    let claim = Claim { cid: event.cid, digest, end_ms: event.time_ms.unwrap_or(0) };
    Ok((event, claim))
}

/// V4: of a component each event counts once, and none after a later one.
fn advance<V: View>(state: &mut Overlay<V>, event: &Validated) -> Result<(), Stop> {
    let last: Option<Position> = load(state, &key::position(&event.cid))?;
    let fresh = last.is_none_or(|p| event.position() > (p.boot, p.seq));
    ensure(fresh, Rejection::EventReplay)?;
    let (boot, seq) = event.position();
    state.put(key::position(&event.cid), &Position { boot, seq });
    Ok(())
}

/// The first 16 bytes of an event's payload: what it is about.
fn subject(event: &Validated) -> Result<[u8; 16], Rejection> {
    event.payload.first_chunk().copied().ok_or(Rejection::StatementFormat)
}

/// Whether a device's time is not further ahead of block time than the chain allows.
fn not_future(context: &Context<'_>, time_ms: u64) -> bool {
    time_ms <= context.header.time_ms.saturating_add(context.params.max_future_ms)
}

/// Changes the chain's totals.
fn count<V: View>(state: &mut Overlay<V>, change: impl FnOnce(&mut Totals)) -> Result<(), Halt> {
    let mut totals: Totals = require(state, key::TOTALS)?;
    change(&mut totals);
    state.put(key::TOTALS.into(), &totals);
    Ok(())
}
