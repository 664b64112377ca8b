//! Consistent reads of a ledger as it was after one block.

use lct::{
    Digest,
    delegation::DelegationId,
    id::{BindingId, Cid, PairingId},
    record::BatchStatement,
    sign::PublicKey,
    trust::TrustContext,
};
use ledger::{
    anchor::Handover,
    block::{Block, Certificate, Header},
    codec::Canonical,
    excerpt::Found,
    execute::Tip,
    genesis::{Genesis, Params, ValidatorSet},
    history,
    outcome::{Event, TxResult},
    proof::StateProof,
    records::{
        AccessPoint, Account, ActRecord, Anchor, Batch, Binding, Component, Consent, Delegated, EnergyRecord,
        Hop, Lct, Nonce, Ownership, Pairing, Pairings, Pool, Revocation, SigningKey, TelemetryHead, Totals,
        Validation, key,
    },
    standing::{self, Standing},
    state::load,
    tx::{Target, TxId},
};
use redb::{AccessGuard, ReadTransaction, ReadableTable, ReadableTableMetadata};

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use crate::{
    error::Error,
    past::{StateView, Undo},
    store::{
        BASE, BLOCKS, Blobs, CERTIFICATES, Committed, EVENTS, EVIDENCE, HANDOVERS, HISTORY, Head, META,
        RESULTS, SIDES, StateTable, Store, TXS, subtree,
    },
};

mod context;
mod energy;
mod governance;
mod registry;
mod trust;

pub use energy::{CycleRow, Owed};
pub use trust::{ChangeRow, History, Proof};

/// Figures of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Identity of the chain.
    pub chain_id: Digest,
    /// Height of the last block.
    pub height: u64,
    /// Blocks stored; the genesis is none.
    pub blocks: u64,
    /// Time of the last block, Unix milliseconds.
    pub time_ms: u64,
    /// Root of the state after the last block.
    pub state_root: Digest,
    /// Transactions in blocks, refused ones included.
    pub txs: u64,
    /// Refused transactions in blocks.
    pub refused: u64,
    /// Components registered.
    pub components: u64,
    /// LCTs, entity and relationship.
    pub lcts: u64,
    /// Bindings recorded.
    pub bindings: u64,
    /// Pairings completed.
    pub pairings: u64,
    /// Telemetry batches recorded.
    pub batches: u64,
    /// Telemetry records covered by batches.
    pub records: u64,
    /// Energy events recorded.
    pub energy_events: u64,
    /// Energy charged by events, mWh.
    pub energy_charged_mwh: u128,
    /// Energy discharged by events, mWh.
    pub energy_discharged_mwh: u128,
    /// Energy cycles closed.
    pub cycles_closed: u64,
}

/// A transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// Height of the block.
    pub height: u64,
    /// Index in the block.
    pub index: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it did.
    pub result: TxResult,
}

/// An event with its stable identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Height, transaction index, index in the transaction.
    pub id: (u64, u32, u32),
    /// The event.
    pub event: Event,
}

/// Some of what is asked for, in order: at most so many, behind a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<C> {
    /// What was told last; `None` begins at the beginning, or backward at the end.
    pub after: Option<C>,
    /// Most that is told.
    pub limit: usize,
    /// From the greatest to the smallest.
    pub backward: bool,
}

impl<C> Span<C> {
    /// All of it.
    #[must_use]
    pub fn all() -> Self {
        Self { after: None, limit: usize::MAX, backward: false }
    }

    /// The first `limit` behind `after`.
    #[must_use]
    pub fn of(after: Option<C>, limit: usize) -> Self {
        Self { after, limit, backward: false }
    }

    /// The last `limit` before `before`, the greatest first.
    #[must_use]
    pub fn back(before: Option<C>, limit: usize) -> Self {
        Self { after: before, limit, backward: true }
    }

    /// The same span with the cursor as the state has it.
    fn at<'a>(&self, after: Option<&'a [u8]>) -> Span<&'a [u8]> {
        Span { after, limit: self.limit, backward: self.backward }
    }
}

impl Span<&[u8]> {
    /// Whether `rest` lies behind `after` in the direction of this span.
    fn goes_on(&self, after: &[u8], rest: &[u8]) -> bool {
        if self.backward { rest < after } else { rest > after }
    }
}

/// A key of the state, with what is under it.
type Entry<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

/// The first key behind all that begin with `prefix`.
fn next_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// A consistent view of a ledger. Blocks committed later do not show.
pub struct Snapshot<'a> {
    store: &'a Store,
    now: Arc<Committed>,
    head: Head,
    /// Leads from the state of the last block to that of `head`.
    undo: Option<(u64, Undo)>,
}

impl<'a> Snapshot<'a> {
    pub(crate) fn new(store: &'a Store) -> Result<Self, Error> {
        let now = store.committed()?;
        let head = now.head;
        Ok(Self { store, now, head, undo: None })
    }

    /// The same ledger, with the state as it was at `head`.
    pub(crate) fn rewound(self, head: Head, undo: Undo) -> Self {
        let last = self.last();
        Self { head, undo: Some((last, undo)), ..self }
    }

    /// Height of the last block, wherever this snapshot stands.
    pub(crate) fn last(&self) -> u64 {
        self.undo.as_ref().map_or(self.head.tip.height, |(last, _)| *last)
    }

    /// Time of the genesis, Unix milliseconds.
    pub(crate) fn founded_ms(&self) -> Result<u64, Error> {
        Ok(self.store.genesis()?.time_ms)
    }

    /// Where the chain stood.
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.head.tip
    }

    /// Names the file in an error of the database.
    pub(crate) fn fail(&self, error: impl Into<redb::Error>) -> Error {
        self.store.fail(error)
    }

    /// Proves that the state holds `value` under `key`, or nothing.
    pub(crate) fn prove_value(&self, key: &[u8], value: Option<Vec<u8>>) -> Result<Found, Error> {
        let Head { tip, tree_version } = self.head;
        self.store.prove_found(&self.now.txn, tree_version, &tip.state_root, key, value)
    }

    /// Whether there is an event with this identity.
    pub(crate) fn has_event(&self, id: (u64, u32, u32)) -> Result<bool, Error> {
        let table = self.now.txn.open_table(EVENTS).map_err(|e| self.store.fail(e))?;
        Ok(table.get(id).map_err(|e| self.store.fail(e))?.is_some())
    }

    /// A complaint about the database file.
    pub(crate) fn damaged(&self, what: &str) -> Error {
        self.store.damaged(what)
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    pub(crate) fn txn(&self) -> &ReadTransaction {
        &self.now.txn
    }

    /// The state, for the functions of crate `ledger`.
    pub(crate) fn view(&self) -> StateView<'_> {
        StateView::new(StateTable(&self.now.state), self.undo.as_ref().map(|(_, undo)| undo))
    }

    /// The object under a state key (`spec/ledger.md`, L60).
    ///
    /// # Errors
    /// [`Error`].
    pub fn get<T: Canonical>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        Ok(load(&self.view(), key)?)
    }

    fn require<T: Canonical>(&self, key: &[u8]) -> Result<T, Error> {
        self.get(key)?.ok_or_else(|| self.store.damaged("an object of the genesis is missing"))
    }

    /// All objects whose key begins with `prefix`, by the rest of their keys.
    fn scan<T: Canonical>(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, T)>, Error> {
        self.rows_of(prefix, &Span::all())
    }

    /// The objects in a span of those whose key begins with `prefix`, by the rest of their keys, in the span's order. What
    /// is read is as long as the span, and what the blocks since this snapshot wrote.
    ///
    /// # Errors
    /// [`Error`].
    pub fn rows_of<T: Canonical>(
        &self,
        prefix: &[u8],
        span: &Span<&[u8]>,
    ) -> Result<Vec<(Vec<u8>, T)>, Error> {
        let fail = |e: redb::Error| self.store.fail(e);
        let mut undone = match &self.undo {
            None => BTreeMap::new(),
            Some((_, undo)) => undo.under(prefix).map_err(fail)?,
        };
        undone.retain(|rest, _| span.after.is_none_or(|after| span.goes_on(after, rest)));
        // Each of them takes at most one away.
        let enough = span.limit.saturating_add(undone.len());
        let mut rows: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let mut take = |entry: Result<Entry<'_>, _>| {
            let (key, value) = entry.map_err(|e: redb::StorageError| fail(e.into()))?;
            let rest = key.value().strip_prefix(prefix);
            let goes_on = rest.is_some() && rows.len() < enough;
            if let Some(rest) = rest.filter(|_| goes_on) {
                rows.insert(rest.to_vec(), Some(value.value().to_vec()));
            }
            Ok::<_, Error>(goes_on)
        };
        let at = span.after.map(|after| [prefix, after].concat());
        if span.backward {
            let end = at.or_else(|| next_prefix(prefix));
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            for entry in
                self.now.state.range::<&[u8]>((Bound::Unbounded, end)).map_err(|e| fail(e.into()))?.rev()
            {
                if !take(entry)? {
                    break;
                }
            }
        } else {
            let begin = at.as_deref().map_or(Bound::Included(prefix), Bound::Excluded);
            for entry in
                self.now.state.range::<&[u8]>((begin, Bound::Unbounded)).map_err(|e| fail(e.into()))?
            {
                if !take(entry)? {
                    break;
                }
            }
        }
        rows.append(&mut undone);
        let row = |(rest, value): (Vec<u8>, Option<Vec<u8>>)| {
            let object = T::from_bytes(&value?).map_err(|e| self.store.damaged(e));
            Some(object.map(|object| (rest, object)))
        };
        if span.backward {
            rows.into_iter().rev().filter_map(row).take(span.limit).collect()
        } else {
            rows.into_iter().filter_map(row).take(span.limit).collect()
        }
    }

    fn scan_ids<T: Canonical, const N: usize, I>(
        &self,
        prefix: &[u8],
        id: impl Fn([u8; N]) -> I,
    ) -> Result<Vec<(I, T)>, Error> {
        self.with_ids(self.scan(prefix)?, id)
    }

    fn with_ids<T, const N: usize, I>(
        &self,
        rows: Vec<(Vec<u8>, T)>,
        id: impl Fn([u8; N]) -> I,
    ) -> Result<Vec<(I, T)>, Error> {
        let bad = |_| self.store.damaged("a key of the state has the wrong length");
        rows.into_iter().map(|(key, object)| Ok((id(key.try_into().map_err(bad)?), object))).collect()
    }

    /// What a component is a side of, of one kind of entries of the state.
    fn sides_of<T: Canonical, const N: usize, I>(
        &self,
        cid: &Cid,
        kind: &[u8],
        id: impl Fn([u8; N]) -> I,
        span: &Span<[u8; N]>,
    ) -> Result<Vec<(I, T)>, Error> {
        let table = self.now.txn.open_table(SIDES).map_err(|e| self.store.fail(e))?;
        let of_kind = [&cid.0, kind].concat();
        let after = span.after.map(|after| [of_kind.as_slice(), &after].concat());
        let begin = after.as_deref().map_or(Bound::Included(of_kind.as_slice()), Bound::Excluded);
        let mut found = Vec::new();
        for entry in table.range::<&[u8]>((begin, Bound::Unbounded)).map_err(|e| self.store.fail(e))? {
            let (at, ()) = entry.map(|(at, row)| (at, row.value())).map_err(|e| self.store.fail(e))?;
            let Some(rest) = at.value().strip_prefix(of_kind.as_slice()) else { break };
            if found.len() == span.limit {
                break;
            }
            // One that came after this snapshot is not there.
            if let Some(object) = self.get(&[kind, rest].concat())? {
                found.push((rest.to_vec(), object));
            }
        }
        self.with_ids(found, id)
    }

    /// The figures of the ledger.
    ///
    /// # Errors
    /// [`Error`] when the store fails, as every query.
    pub fn status(&self) -> Result<Status, Error> {
        let (tip, t) = (self.tip(), self.totals()?);
        Ok(Status {
            chain_id: tip.chain_id,
            height: tip.height,
            blocks: self.store.blocks()?.saturating_sub(self.last() - tip.height),
            time_ms: tip.time_ms,
            state_root: tip.state_root,
            txs: t.accepted + t.refused,
            refused: t.refused,
            components: t.components,
            lcts: t.lcts,
            bindings: t.bindings,
            pairings: t.pairings,
            batches: t.batches,
            records: t.records,
            energy_events: t.energy_events,
            energy_charged_mwh: t.charged,
            energy_discharged_mwh: t.discharged,
            cycles_closed: t.cycles_closed,
        })
    }

    /// Counts and sums over the whole chain.
    ///
    /// # Errors
    /// [`Error`].
    pub fn totals(&self) -> Result<Totals, Error> {
        self.require(key::TOTALS)
    }

    /// The parameters in force.
    ///
    /// # Errors
    /// [`Error`].
    pub fn params(&self) -> Result<Params, Error> {
        self.require(key::PARAMS)
    }

    /// The validators of the next block.
    ///
    /// # Errors
    /// [`Error`].
    pub fn validators(&self) -> Result<ValidatorSet, Error> {
        self.require(key::VALIDATORS)
    }

    /// The account of a transaction signer.
    ///
    /// # Errors
    /// [`Error`].
    pub fn account(&self, signer: &PublicKey) -> Result<Option<Account>, Error> {
        self.get(&key::account(signer))
    }

    /// Last accepted nonce of a signer; 0 before the first.
    ///
    /// # Errors
    /// [`Error`].
    pub fn nonce(&self, signer: &PublicKey) -> Result<u64, Error> {
        Ok(self.get::<Nonce>(&key::nonce(signer))?.map_or(0, |n| n.last))
    }

    /// A component.
    ///
    /// # Errors
    /// [`Error`].
    pub fn component(&self, cid: &Cid) -> Result<Option<Component>, Error> {
        self.get(&key::component(cid))
    }

    /// Whose a component is; `None` while nobody took it from the manufacturer.
    ///
    /// # Errors
    /// [`Error`].
    pub fn ownership(&self, cid: &Cid) -> Result<Option<Ownership>, Error> {
        self.get(&key::ownership(cid))
    }

    /// To which other binding in the place of `binding` the owner of a component agreed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn consent(&self, cid: &Cid, binding: &BindingId) -> Result<Option<Consent>, Error> {
        self.get(&key::consent(cid, binding))
    }

    /// How a component came to its owner, first hop first.
    ///
    /// # Errors
    /// [`Error`].
    pub fn hops_of(&self, cid: &Cid) -> Result<Vec<Hop>, Error> {
        Ok(self.scan(&key::hops_of(cid))?.into_iter().map(|(_, hop)| hop).collect())
    }

    /// Where a component said last that it is found.
    ///
    /// # Errors
    /// [`Error`].
    pub fn access(&self, cid: &Cid) -> Result<Option<AccessPoint>, Error> {
        self.get(&key::access(cid))
    }

    /// Events of a component that are recorded (L115), oldest first: boot counter, number, and what is kept of it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn validations_of(&self, cid: &Cid) -> Result<Vec<(u32, u32, Validation)>, Error> {
        let position = |key: [u8; 8]| {
            let [a, b, c, d, e, f, g, h] = key;
            (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        };
        let rows = self.scan_ids(&key::validations_of(cid), position)?;
        Ok(rows.into_iter().map(|((boot, seq), validation)| (boot, seq, validation)).collect())
    }

    /// All components, by cid.
    ///
    /// # Errors
    /// [`Error`].
    pub fn components(&self) -> Result<Vec<(Cid, Component)>, Error> {
        self.scan_ids(key::COMPONENTS, Cid)
    }

    /// An LCT.
    ///
    /// # Errors
    /// [`Error`].
    pub fn lct(&self, id: &Digest) -> Result<Option<Lct>, Error> {
        self.get(&key::lct(id))
    }

    /// The LCTs a component takes part in, its entity LCT included.
    ///
    /// # Errors
    /// [`Error`].
    pub fn lcts_of(&self, cid: &Cid) -> Result<Vec<(Digest, Lct)>, Error> {
        self.sides_of(cid, key::LCTS, |id: Digest| id, &Span::all())
    }

    /// A binding.
    ///
    /// # Errors
    /// [`Error`].
    pub fn binding(&self, id: &BindingId) -> Result<Option<Binding>, Error> {
        self.get(&key::binding(id))
    }

    /// The bindings a component takes part in.
    ///
    /// # Errors
    /// [`Error`].
    pub fn bindings_of(&self, cid: &Cid) -> Result<Vec<(BindingId, Binding)>, Error> {
        self.sides_of(cid, key::BINDINGS, BindingId, &Span::all())
    }

    /// The owner of a statement signing key.
    ///
    /// # Errors
    /// [`Error`].
    pub fn signing_key(&self, key: &PublicKey) -> Result<Option<SigningKey>, Error> {
        self.get(&key::signing_key(key))
    }

    /// A pairing.
    ///
    /// # Errors
    /// [`Error`].
    pub fn pairing(&self, id: &PairingId) -> Result<Option<Pairing>, Error> {
        self.get(&key::pairing(id))
    }

    /// A delegation, and how far its holder's journal is recorded.
    ///
    /// # Errors
    /// [`Error`].
    pub fn delegation(&self, id: &DelegationId) -> Result<Option<Delegated>, Error> {
        self.get(&key::delegation(id))
    }

    /// Since when and why something is withdrawn.
    ///
    /// # Errors
    /// [`Error`].
    pub fn revocation(&self, target: &Target) -> Result<Option<Revocation>, Error> {
        self.get(&key::revocation(target))
    }

    /// The pairings of a binding that were not withdrawn (L60, `lse/`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn live_pairings(&self, binding: &BindingId) -> Result<Vec<(PairingId, Pairing)>, Error> {
        let live: Option<Pairings> = self.get(&key::pairings_of(binding))?;
        let mut pairings = Vec::new();
        for id in live.map_or_else(Vec::new, |list| list.0) {
            pairings.extend(self.pairing(&id)?.map(|pairing| (id, pairing)));
        }
        Ok(pairings)
    }

    /// The pairings a component takes part in.
    ///
    /// # Errors
    /// [`Error`].
    pub fn pairings_of(&self, cid: &Cid) -> Result<Vec<(PairingId, Pairing)>, Error> {
        self.sides_of(cid, key::PAIRINGS, PairingId, &Span::all())
    }

    /// How far a component's telemetry reaches.
    ///
    /// # Errors
    /// [`Error`].
    pub fn telemetry(&self, cid: &Cid) -> Result<Option<TelemetryHead>, Error> {
        self.get(&key::telemetry(cid))
    }

    /// The batch that covers record `seq` of a component, with its first sequence number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn batch(&self, cid: &Cid, seq: u32) -> Result<Option<(u32, Batch)>, Error> {
        let (first, last) = (key::batch(cid, 0), key::batch(cid, seq));
        let range =
            self.now.state.range(first.as_slice()..=last.as_slice()).map_err(|e| self.store.fail(e))?;
        for entry in range.rev() {
            let (key, _) = entry.map_err(|e| self.store.fail(e))?;
            // A batch never leaves the state, so only one that came after this snapshot is not there.
            let Some(batch) = self.get::<Batch>(key.value())? else { continue };
            let first = key.value().last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            let covers = seq - first < u32::from(batch.count);
            return Ok(covers.then_some((first, batch)));
        }
        Ok(None)
    }

    /// Whether the state holds this very batch: numbers and root, for which its component signed.
    pub(crate) fn records(&self, s: &BatchStatement) -> Result<bool, Error> {
        let held = self.batch(&s.cid, s.first_seq)?;
        Ok(held.is_some_and(|(first, batch)| {
            first == s.first_seq && batch.count == s.count && batch.root == s.root
        }))
    }

    /// The recorded energy events of a pack: cycle, sequence number, event.
    ///
    /// # Errors
    /// [`Error`].
    pub fn energy_events(&self, cid: &Cid) -> Result<Vec<(u32, u32, EnergyRecord)>, Error> {
        let rows = self.scan_ids(&key::energy_of(cid), |k: [u8; 8]| u64::from_be_bytes(k))?;
        Ok(rows.into_iter().map(|(k, e)| ((k >> 32) as u32, k as u32, e)).collect())
    }

    /// The anchors of a component's audit logs, by binding and number of the entry.
    ///
    /// # Errors
    /// [`Error`].
    pub fn anchors_of(&self, cid: &Cid) -> Result<Vec<(BindingId, u64, Anchor)>, Error> {
        let rows = self.scan_ids(&key::anchors_of(cid), |key: [u8; 24]| binding_and_number(&key))?;
        Ok(rows.into_iter().map(|((binding, number), anchor)| (binding, number, anchor)).collect())
    }

    /// Every delegation.
    ///
    /// # Errors
    /// [`Error`].
    pub fn delegations(&self) -> Result<Vec<(DelegationId, Delegated)>, Error> {
        self.scan_ids(key::DELEGATIONS, DelegationId)
    }

    /// Acts under a delegation, by number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn acts_of(&self, id: &DelegationId) -> Result<Vec<(u32, ActRecord)>, Error> {
        self.scan_ids(&key::acts_of(id), u32::from_be_bytes)
    }

    /// A transaction in a block.
    ///
    /// # Errors
    /// [`Error`].
    pub fn tx(&self, id: &TxId) -> Result<Option<Included>, Error> {
        let table = self.now.txn.open_table(TXS).map_err(|e| self.store.fail(e))?;
        let Some(at) = table.get(id.as_slice()).map_err(|e| self.store.fail(e))? else {
            return Ok(None);
        };
        let (height, index) = at.value();
        let block = self.block(height)?.ok_or_else(|| self.store.damaged("an indexed block is missing"))?;
        let bytes = block.txs.into_iter().nth(index as usize);
        let result = self.results(height)?.into_iter().nth(index as usize);
        let (bytes, result) =
            bytes.zip(result).ok_or_else(|| self.store.damaged("an indexed transaction is missing"))?;
        let result = TxResult::from_bytes(&result).map_err(|e| self.store.damaged(e))?;
        Ok(Some(Included { height, index, bytes, result }))
    }

    /// A block.
    ///
    /// # Errors
    /// [`Error`].
    pub fn block(&self, height: u64) -> Result<Option<Block>, Error> {
        self.by_height(BLOCKS, height)
    }

    /// The header of a block, or of the one whose state the ledger was founded with.
    ///
    /// # Errors
    /// [`Error`].
    pub fn header(&self, height: u64) -> Result<Option<Header>, Error> {
        if let Some(block) = self.block(height)? {
            return Ok(Some(block.header));
        }
        let meta = self.now.txn.open_table(META).map_err(|e| self.store.fail(e))?;
        let base = meta.get(BASE).map_err(|e| self.store.fail(e))?;
        let base = base.map(|v| Header::from_bytes(v.value()).map_err(|e| self.store.damaged(e)));
        Ok(base.transpose()?.filter(|header| header.height == height))
    }

    /// The height below which blocks may be missing, because they were removed or the ledger was founded with a state;
    /// 0 where it has all.
    ///
    /// # Errors
    /// [`Error`].
    pub fn first_whole(&self) -> Result<u64, Error> {
        let meta = self.now.txn.open_table(META).map_err(|e| self.store.fail(e))?;
        let base = meta.get(BASE).map_err(|e| self.store.fail(e))?;
        let base = base.map(|v| Header::from_bytes(v.value()).map_err(|e| self.store.damaged(e)));
        let founded = base.transpose()?.map_or(0, |header| header.height + 1);
        Ok(founded.max(self.store.pruned()?))
    }

    /// Entries of the state of the last block.
    pub(crate) fn state_len(&self) -> Result<u64, Error> {
        self.now.state.len().map_err(|e| self.store.fail(e))
    }

    /// Calls `each` with every key and value of the state, ascending.
    pub(crate) fn entries<E: From<Error>>(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let fail = |e: redb::Error| E::from(self.store.fail(e));
        let undone = self.undo.as_ref().map_or_else(|| Ok(BTreeMap::new()), |(_, undo)| undo.under(&[]));
        let mut undone = undone.map_err(fail)?.into_iter().peekable();
        for entry in self.now.state.range::<&[u8]>(..).map_err(|e| fail(e.into()))? {
            let (key, value) = entry.map_err(|e| fail(e.into()))?;
            // Deleted since, or written over.
            while let Some((key, old)) = undone.next_if(|(old, _)| old.as_slice() < key.value()) {
                old.map_or(Ok(()), |old| each(&key, &old))?;
            }
            match undone.next_if(|(old, _)| old.as_slice() == key.value()) {
                Some((key, old)) => old.map_or(Ok(()), |old| each(&key, &old))?,
                None => each(key.value(), value.value())?,
            }
        }
        for (key, old) in undone {
            old.map_or(Ok(()), |old| each(&key, &old))?;
        }
        Ok(())
    }

    /// Leaves of the tree of blocks up to `height`, in order.
    pub(crate) fn leaves(
        &self,
        height: u64,
    ) -> Result<impl Iterator<Item = Result<Digest, Error>> + use<'_>, Error> {
        let table = self.now.txn.open_table(HISTORY).map_err(|e| self.store.fail(e))?;
        Ok((0..height).map(move |index| subtree(&table, 0, index).map_err(|e| self.store.fail(e))))
    }

    /// Root of the tree of the first `height` blocks; `None` if there are not so many.
    pub(crate) fn tree_root(&self, height: u64) -> Result<Option<Digest>, Error> {
        if height > self.last() {
            return Ok(None);
        }
        let table = self.now.txn.open_table(HISTORY).map_err(|e| self.store.fail(e))?;
        let root = history::root(height, |level, index| subtree(&table, level, index));
        root.map(Some).map_err(|e| self.store.fail(e))
    }

    /// The genesis the chain was founded with.
    ///
    /// # Errors
    /// [`Error`].
    pub fn genesis(&self) -> Result<Genesis, Error> {
        self.store.genesis()
    }

    /// The certificate of a block.
    ///
    /// # Errors
    /// [`Error`].
    pub fn certificate(&self, height: u64) -> Result<Option<Certificate>, Error> {
        self.by_height(CERTIFICATES, height)
    }

    /// The results of a block's transactions, in their order.
    ///
    /// # Errors
    /// [`Error`].
    pub fn tx_results(&self, height: u64) -> Result<Vec<TxResult>, Error> {
        let results = self.results(height)?;
        results.iter().map(|r| TxResult::from_bytes(r).map_err(|e| self.store.damaged(e))).collect()
    }

    /// The results of a block's transactions, as bytes.
    pub(crate) fn results(&self, height: u64) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.by_height(RESULTS, height)?.map_or_else(Vec::new, |Blobs(results)| results))
    }

    /// The proof of a state key that was kept when block `height` was committed.
    pub(crate) fn evidence(&self, height: u64, key: &[u8]) -> Result<Option<StateProof>, Error> {
        let table = self.now.txn.open_table(EVIDENCE).map_err(|e| self.store.fail(e))?;
        let stored = table.get((height, key)).map_err(|e| self.store.fail(e))?;
        stored.map(|v| StateProof::from_bytes(v.value()).map_err(|e| self.store.damaged(e))).transpose()
    }

    /// Every change of validators proved by a header below `height`, the first one first.
    pub(crate) fn handovers(&self, height: u64) -> Result<Vec<Handover>, Error> {
        let table = self.now.txn.open_table(HANDOVERS).map_err(|e| self.store.fail(e))?;
        let mut handovers = Vec::new();
        for entry in table.range(..height).map_err(|e| self.store.fail(e))? {
            let (_, value) = entry.map_err(|e| self.store.fail(e))?;
            handovers.push(Handover::from_bytes(value.value()).map_err(|e| self.store.damaged(e))?);
        }
        Ok(handovers)
    }

    /// Up to `limit` events after the event `after`, in order; `None` starts at the beginning.
    ///
    /// # Errors
    /// [`Error`].
    pub fn events(&self, after: Option<(u64, u32, u32)>, limit: usize) -> Result<Vec<LoggedEvent>, Error> {
        use std::ops::Bound::{Excluded, Unbounded};
        let table = self.now.txn.open_table(EVENTS).map_err(|e| self.store.fail(e))?;
        let from = after.map_or(Unbounded, Excluded);
        let mut events = Vec::new();
        for entry in
            table.range::<(u64, u32, u32)>((from, Unbounded)).map_err(|e| self.store.fail(e))?.take(limit)
        {
            let (id, event) = entry.map_err(|e| self.store.fail(e))?;
            let event = Event::from_bytes(event.value()).map_err(|e| self.store.damaged(e))?;
            events.push(LoggedEvent { id: id.value(), event });
        }
        Ok(events)
    }

    /// The last event of the ledger.
    ///
    /// # Errors
    /// [`Error`].
    pub fn last_event(&self) -> Result<Option<(u64, u32, u32)>, Error> {
        let table = self.now.txn.open_table(EVENTS).map_err(|e| self.store.fail(e))?;
        Ok(table.last().map_err(|e| self.store.fail(e))?.map(|(id, _)| id.value()))
    }

    fn by_height<T: Canonical>(
        &self,
        table: redb::TableDefinition<'_, u64, &'static [u8]>,
        height: u64,
    ) -> Result<Option<T>, Error> {
        let table = self.now.txn.open_table(table).map_err(|e| self.store.fail(e))?;
        let stored = table.get(height).map_err(|e| self.store.fail(e))?;
        stored.map(|v| T::from_bytes(v.value()).map_err(|e| self.store.damaged(e))).transpose()
    }
}

/// A binding id and the number behind it.
fn binding_and_number(key: &[u8; 24]) -> (BindingId, u64) {
    let (mut binding, mut number) = ([0; 16], [0; 8]);
    binding.copy_from_slice(&key[..16]);
    number.copy_from_slice(&key[16..]);
    (BindingId(binding), u64::from_be_bytes(number))
}
