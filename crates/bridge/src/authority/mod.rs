//! The authentication controller: the only place with secrets.
//!
//! One thread owns the key, the ceremonies and the nonce of the authority's account; handlers send it jobs. So
//! every change of a ceremony is on disk before it is answered, transactions leave in order of their nonces, and
//! nothing here needs a lock. Secrets of a pairing live inside one function each (`pairing.rs`, `relation.rs`).

mod account;
mod binding;
pub(crate) mod ceremonies;
pub(crate) mod delegation;
mod displaced;
mod field;
pub mod issuance;
pub(crate) mod issue;
pub mod key;
pub mod lineage;
pub mod orders;
mod pairing;
mod policy;
mod relation;
pub mod revocation;
mod scope;
pub mod signer;
mod succession;
mod withdrawal;

pub(crate) use binding::{BindingProgress, PartyIn, registration_of};
pub(crate) use pairing::{PairingIn, PairingProgress};

use std::{collections::BTreeMap, ops::Range, path::Path, sync::Arc, thread};

use api::{
    problem::code,
    sign::{Envelope, sign},
};
use lct::{
    Digest,
    hash::sha256,
    id::{BindingId, Cid},
    lifecycle::State,
    revocation::Reason,
    sign::{PublicKey, Signature},
    spk::Spk,
};
use ledger::{
    codec::Canonical,
    records::{AccountRole, Binding, Component, Status},
    reject::Rejection,
    tx::{Body, Tx, TxId},
};
use node::{Chain, Snapshot};
use tokio::sync::{mpsc, oneshot};

use crate::{
    BridgeError, Clock,
    refusal::{Refusal, Reply},
};
use ceremonies::{Bond, Ceremonies, CeremonyError};
use key::AuthorityKey;
use lineage::Lineage;
use orders::Book;
use revocation::Issued;
use withdrawal::Withdrawals;

/// Blocks that may pass before a transaction of the authority is void.
const TX_LIFETIME: u64 = 1000;
/// Jobs that wait for the thread before callers wait too.
const QUEUE: usize = 256;

/// What the thread owns.
pub(crate) struct Core {
    key: AuthorityKey,
    spk: Spk,
    /// Signing keys of the authorities that this one followed, and why their accounts are withdrawn.
    earlier: Vec<(PublicKey, Reason)>,
    chain: Arc<Chain>,
    clock: Clock,
    roots: Vec<PublicKey>,
    ceremonies: Ceremonies,
    revocations: Issued,
    issuances: issuance::Log,
    /// For which seconds time tokens are noted.
    times: Range<u32>,
    withdrawals: Withdrawals,
    orders: Book,
    /// When the latest certificate of a binding was issued since the start (H53).
    certified: BTreeMap<BindingId, u32>,
    /// Number of the latest delegation since the start.
    delegations: u32,
}

type Job = Box<dyn FnOnce(&mut Core) + Send>;

enum Message {
    Job(Job),
    Stop,
}

/// Access to the authority's thread.
pub(crate) struct Authority {
    queue: mpsc::Sender<Message>,
    lineage: Lineage,
}

impl Authority {
    /// Starts the authority of `chain` with its key, the last of `lineage`, the ceremonies in `file` (and what was issued beside it), its revocation
    /// list in `list` and its orders in `book`.
    pub fn start(
        key: AuthorityKey,
        lineage: Option<Lineage>,
        chain: Arc<Chain>,
        clock: Clock,
        file: &Path,
        list: &Path,
        book: &Path,
    ) -> Result<(Self, thread::JoinHandle<()>), BridgeError> {
        let spk = key.public();
        let lineage = lineage.unwrap_or_else(|| Lineage::of(spk));
        succession::is_in_force(&lineage, &spk, &chain)?;
        let keys: Vec<PublicKey> = lineage.earlier().map(Spk::sign_pub).collect();
        let earlier = lineage.earlier().map(|spk| (spk.sign_pub(), lineage.reason(spk))).collect();
        let roots = chain.genesis()?.roots;
        let ceremonies = Ceremonies::open(file, chain.chain_id())?;
        let revocations = Issued::open(list, &spk.sign_pub(), &keys)?;
        let issuances = issuance::Log::open(&file.with_file_name(issuance::FILE), &chain.chain_id())?;
        let orders = Book::open(book, chain.chain_id())?;
        let mut core = Core {
            key,
            spk,
            earlier,
            chain,
            clock,
            roots,
            ceremonies,
            revocations,
            issuances,
            times: 0..0,
            withdrawals: Withdrawals::default(),
            orders,
            certified: BTreeMap::new(),
            delegations: 0,
        };
        core.go_on_after_others().map_err(BridgeError::Start)?;
        core.resume_withdrawals().map_err(BridgeError::Start)?;
        let (queue, mut jobs) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("authority".into()).spawn(move || {
            while let Some(Message::Job(job)) = jobs.blocking_recv() {
                job(&mut core);
            }
        });
        Ok((Authority { queue, lineage }, thread.map_err(BridgeError::Thread)?))
    }

    /// The authority's public keys.
    pub fn spk(&self) -> &Spk {
        self.lineage.last()
    }

    /// Which authorities it followed.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Runs `f` on the authority's thread.
    pub async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Core) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |core| {
            // The caller may have hung up.
            let _gone = answer.send(f(core));
        });
        let stopped = || Refusal::new(503, code::UNAVAILABLE, "the bridge is stopping");
        self.queue.send(Message::Job(job)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Ends the thread after the jobs before.
    pub async fn stop(&self) {
        // Already ended is as good.
        let _ended = self.queue.send(Message::Stop).await;
    }
}

impl From<CeremonyError> for Refusal {
    fn from(error: CeremonyError) -> Self {
        Refusal::unavailable(&error)
    }
}

impl Core {
    /// Unix seconds.
    fn now(&self) -> u32 {
        u32::try_from((self.clock)() / 1000).unwrap_or(u32::MAX)
    }

    /// Signs a transaction with the authority's account and submits it.
    fn submit(&self, body: Body) -> Reply<TxId> {
        let envelope = Envelope {
            chain_id: self.chain.chain_id(),
            nonce: self.chain.next_nonce(&self.spk.sign_pub())?,
            expiry_height: self.chain.tip().height + TX_LIFETIME,
        };
        let tx = self.key.sign(|key, rng| sign(body, &envelope, key, rng))?;
        Ok(self.chain.submit(tx.bytes)?)
    }

    /// The active binding of two components, and the ceremony that made it.
    fn relation(&self, snapshot: &Snapshot<'_>, a: &Cid, b: &Cid) -> Reply<(BindingId, Binding, &Bond)> {
        let (id, binding) = active_binding(snapshot, a, b)?.ok_or_else(|| {
            Refusal::new(403, code::PAIRING_DENIED, "the two components are not bound to each other")
        })?;
        let bond = self.bond(id, &binding)?;
        Ok((id, binding, bond))
    }

    /// The ceremony that made a binding of the ledger.
    fn bond(&self, id: BindingId, binding: &Binding) -> Reply<&Bond> {
        let bond = self.ceremonies.rows().bonds.get(&id);
        // The file is only trusted as far as the ledger confirms it: the record names both whole keys.
        let bond = bond.filter(|b| b.record(id).is_some_and(|r| sha256(&[&r.encode()]) == binding.record));
        bond.ok_or_else(|| {
            Refusal::new(409, code::BINDING_KEYS, "this bridge does not hold the keys of the binding")
        })
    }
}

/// Refuses an order that no active operator of the chain signed; `codes` are those of the account and of the signature.
pub(crate) fn by_operator(
    snapshot: &Snapshot<'_>,
    key: &[u8; 33],
    signature: &[u8; 64],
    order: &Digest,
    codes: [&'static str; 2],
) -> Reply<()> {
    let [denied, proof] = codes;
    let key = PublicKey::from_slice(key).map_err(|e| Refusal::format(format!("key: {e}")))?;
    let account = snapshot.account(&key)?;
    if account.is_none_or(|a| a.role != AccountRole::Operator || a.status != Status::Active) {
        let refusal = Refusal::new(403, denied, "only an operator of the chain may order this");
        return Err(refusal.detail("key: it has no active operator account"));
    }
    key.verify(order, &Signature(*signature)).map_err(|_| {
        let refusal = Refusal::new(401, proof, "the order is not the operator's");
        refusal.detail("signature: not by this key over this order")
    })
}

/// The active component with this id.
pub(crate) fn component(snapshot: &Snapshot<'_>, field: &str, id: &str) -> Reply<(Cid, Component)> {
    if !lct::id::valid_component_id(id) {
        return Err(Refusal::format(format!("{field}: 3 to 64 characters of A-Z, a-z, 0-9, _ and -")));
    }
    let cid = Cid::of(id);
    let Some(component) = snapshot.component(&cid)? else {
        let refusal = Refusal::new(404, code::COMPONENT_NOT_FOUND, "the component is not registered");
        return Err(refusal.detail(format!("{field}: {id}")));
    };
    if component.status.is_final() {
        let refusal =
            Refusal::new(410, code::COMPONENT_REVOKED, "the component's registration was withdrawn");
        return Err(refusal.detail(format!("{field}: {id}")));
    }
    // What is in the workshop can be bound; what may be done besides the ledger judges.
    if matches!(component.status, State::Pending | State::Suspended) {
        let state = component.status.name();
        return Err(Refusal::from(Rejection::ComponentState).detail(format!("{field}: {id} is {state}")));
    }
    Ok((cid, component))
}

/// Component id of a party to something that is on the ledger.
pub(crate) fn component_id(snapshot: &Snapshot<'_>, cid: &Cid) -> Reply<String> {
    let component = snapshot.component(cid)?;
    component
        .map(|c| c.component_id)
        .ok_or_else(|| Refusal::internal(&format!("component {cid} is party to an entry and not registered")))
}

/// Components A and B, refused when they are the same or in the wrong order.
fn ordered(snapshot: &Snapshot<'_>, a: (&str, &str), b: (&str, &str)) -> Reply<[(Cid, Component); 2]> {
    let (cid_a, component_a) = component(snapshot, a.0, a.1)?;
    let (cid_b, component_b) = component(snapshot, b.0, b.1)?;
    if !lct::id::is_side_a(component_a.role, cid_a, component_b.role, cid_b) {
        let refusal =
            Refusal::new(400, code::BINDING_INVALID, "the two sides are equal or in the wrong order");
        return Err(
            refusal.detail("a is the side nearer the app: lower role, of equal roles the smaller cid")
        );
    }
    Ok([(cid_a, component_a), (cid_b, component_b)])
}

pub(crate) fn active_binding(
    snapshot: &Snapshot<'_>,
    a: &Cid,
    b: &Cid,
) -> Reply<Option<(BindingId, Binding)>> {
    let between = |x: &Binding| (x.a, x.b) == (*a, *b) || (x.a, x.b) == (*b, *a);
    Ok(in_force(snapshot, a)?.find(|(_, x)| between(x)))
}

/// The bindings of a component that are in force.
fn in_force(snapshot: &Snapshot<'_>, cid: &Cid) -> Reply<impl Iterator<Item = (BindingId, Binding)>> {
    Ok(snapshot.bindings_of(cid)?.into_iter().filter(|(_, x)| x.status == Status::Active))
}

/// The accepted transaction in the block at `height` whose body `is` what is looked for.
pub(crate) fn find_tx(
    snapshot: &Snapshot<'_>,
    height: u64,
    is: impl Fn(&Body) -> bool,
) -> Reply<Option<(TxId, Body)>> {
    let Some(block) = snapshot.block(height)? else { return Ok(None) };
    for bytes in &block.txs {
        let Ok(tx) = Tx::from_bytes(bytes) else { continue };
        let id: Digest = Tx::id_of(bytes);
        if is(&tx.unsigned.body)
            && snapshot.tx(&id)?.is_some_and(|t| t.height == height && t.result.accepted())
        {
            return Ok(Some((id, tx.unsigned.body)));
        }
    }
    Ok(None)
}
