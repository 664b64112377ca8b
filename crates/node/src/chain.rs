//! The chain: one object that an engine drives and everyone else asks.
//!
//! An engine calls [`Chain::propose`] and [`Chain::commit`]; clients call [`Chain::submit`], [`Chain::wait`]
//! and [`Chain::read`]. Commits are serialised; reads never wait for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use lct::{Digest, id::Cid, record::BatchStatement, sign::PublicKey};
use ledger::{
    anchor::Handover,
    block::{Block, Certificate},
    codec::Canonical,
    execute::{Tip, check_block, execute_verified},
    genesis::{Genesis, Params, ValidatorSet},
    outcome::TxResult,
    receipt::{Receipt, evidence_keys},
    records::{Pending, key},
    reject::Rejection,
    rules::{Admission, Stop, admit, parse},
    state::{Overlay, View},
    tx::{Body, Kind, Tx, TxId},
};
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    archive::{self, ArchiveError, Start, Written},
    error::Error,
    mempool::{Mempool, Waiting},
    past::StateView,
    receipts::ReceiptFailure,
    segments::{Appended, SegmentError, Segments, Stored, StoredBatch},
    series::{Answer, Followed, Question, Sums},
    signatures::Verifier,
    snapshot::{Snapshot, Status},
    store::{Head, NewBlock, Store},
};

const SEGMENTS: &str = "segments";

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A block holds it.
    Included {
        /// Height of the block.
        height: u64,
        /// Index in the block.
        index: u32,
        /// What it did: a block can hold a refused transaction.
        result: TxResult,
    },
    /// It left the queue without a block.
    Dropped(Rejection),
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Blocks.
    pub blocks: u64,
    /// Record files.
    pub files: u64,
    /// Why not all that they held was summed up before (L254).
    pub unsummed: Option<String>,
}

/// Why a transaction is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Its envelope breaks a rule.
    #[error("{0}")]
    Refused(Rejection),
    /// Too many transactions wait.
    #[error("too many transactions wait for a block; try again later")]
    Full,
    /// The replica is broken or stopped.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why nothing is known about a transaction's fate.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// It neither waits nor is it in a block.
    #[error("this transaction is not known")]
    Unknown,
    /// The replica is broken or stopped.
    #[error(transparent)]
    Store(#[from] Error),
}

/// What governance may change (L160), as it holds for the next block.
struct InForce {
    params: Params,
    validators: ValidatorSet,
}

impl InForce {
    fn read(snapshot: &Snapshot<'_>) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self { params: snapshot.params()?, validators: snapshot.validators()? }))
    }
}

/// A ledger replica.
pub struct Chain {
    /// Closed before the store lets go of the directory: a successor may append from then on, and closing cuts zeros off.
    segments: Segments,
    store: Store,
    in_force: RwLock<Arc<InForce>>,
    head: RwLock<Head>,
    /// Held while a block is committed.
    committing: Mutex<()>,
    pool: Mutex<Mempool>,
    waiters: Mutex<BTreeMap<TxId, Vec<oneshot::Sender<Fate>>>>,
    verifier: Verifier,
    series: Sums,
    work: Notify,
    height: watch::Sender<u64>,
}

/// Locks a mutex. A panic elsewhere does not make what it guards wrong: every critical section here leaves its
/// data whole, because it is either replaced at once or rebuilt from the store.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chain {
    /// Opens the ledger in `dir` or founds it with `genesis`. One of another format is refused and left alone (L257).
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::OtherChain`], [`Error::FormatVersion`], [`Error::Corrupted`],
    /// [`Error::DiskFull`], [`Error::Genesis`] or [`Error::Io`].
    pub fn open(dir: &Path, genesis: &Genesis) -> Result<Self, Error> {
        let (store, head) = Store::open(dir, genesis)?;
        Self::with(dir, store, head)
    }

    /// Whether there is a ledger in `dir` that [`Chain::open`] opens instead of founding one.
    #[must_use]
    pub fn is_founded(dir: &Path) -> bool {
        Store::is_founded(dir)
    }

    /// As [`Chain::open`], for who replays blocks and calls [`Chain::settle`] after the last one.
    pub(crate) fn open_relaxed(dir: &Path, genesis: &Genesis) -> Result<Self, Error> {
        let (mut store, head) = Store::open(dir, genesis)?;
        store.relax();
        Self::with(dir, store, head)
    }

    fn with(dir: &Path, store: Store, head: Head) -> Result<Self, Error> {
        let segments = Segments::open(&dir.join(SEGMENTS), head.tip.chain_id)?;
        let in_force = InForce::read(&Snapshot::new(&store)?)?;
        Ok(Self {
            store,
            in_force: RwLock::new(in_force),
            head: RwLock::new(head),
            committing: Mutex::new(()),
            pool: Mutex::default(),
            waiters: Mutex::default(),
            verifier: Verifier::default(),
            segments,
            series: Sums::new(dir, head.tip.chain_id),
            work: Notify::new(),
            height: watch::Sender::new(head.tip.height),
        })
    }

    /// Makes all blocks durable that were replayed.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        self.store.settle()
    }

    fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next block builds on.
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.head().tip
    }

    /// Identity of the chain.
    #[must_use]
    pub fn chain_id(&self) -> Digest {
        self.tip().chain_id
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The parameters of the next block.
    #[must_use]
    pub fn params(&self) -> Params {
        self.in_force().params.clone()
    }

    /// The validators of the next block.
    #[must_use]
    pub fn validators(&self) -> ValidatorSet {
        self.in_force().validators.clone()
    }

    /// A consistent view of everything committed so far.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub fn read(&self) -> Result<Snapshot<'_>, Error> {
        Snapshot::new(&self.store)
    }

    /// The figures of the ledger.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub fn status(&self) -> Result<Status, Error> {
        self.read()?.status()
    }

    /// The genesis the chain was founded with.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub fn genesis(&self) -> Result<Genesis, Error> {
        self.store.genesis()
    }

    /// Writes the ledger as it is at this moment, records included, while it goes on.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn archive(&self, start: Start, out: impl Write) -> Result<Written, ArchiveError> {
        archive::write(self.read()?, &self.segments, start, out)
    }

    /// Forgets record files whose records are all older than `before_ms`, and blocks below height `below`, with their
    /// results, proofs and events. A block stays as long as records of it do, so that receipts of those can be issued;
    /// state and tree of blocks stay. Receipts that were issued stay what they are.
    ///
    /// Record files go also where their records cannot be summed up, which is said: on a full disk nothing else makes room.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Locked`] also when another process has the sums, which passes.
    pub fn prune(&self, below: u64, before_ms: u64) -> Result<Pruned, Error> {
        let _guard = lock(&self.committing);
        // What is forgotten was summed up before, and nobody reads files while they go.
        let mut series = self.series.keeper();
        let mut unsummed = None;
        while before_ms > 0 && unsummed.is_none() {
            match series.follow(&self.segments) {
                Ok(followed) if followed.complete => break,
                Ok(_) => {}
                Err(error @ Error::Locked(_)) => return Err(error),
                Err(error) => unsummed = Some(error.to_string()),
            }
        }
        let files = self.segments.prune(before_ms)?;
        drop(series);
        let blocks = self.store.prune(below, |block| {
            block.txs.iter().filter_map(|tx| Tx::from_bytes(tx).ok()).any(|tx| match &tx.unsigned.body {
                Body::Batch(signed) => BatchStatement::decode(&signed.statement)
                    .is_ok_and(|s| self.segments.holds_from(&s.cid, s.first_seq)),
                _ => false,
            })
        })?;
        Ok(Pruned { blocks, files, unsummed })
    }

    /// Gives room that nothing needs any more back to the disk.
    ///
    /// # Errors
    /// [`Error`].
    pub fn compact(&mut self) -> Result<(), Error> {
        self.store.compact()
    }

    /// The nonce a new transaction of `signer` needs, waiting transactions counted.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub fn next_nonce(&self, signer: &PublicKey) -> Result<u64, Error> {
        let pool = lock(&self.pool);
        let last = match pool.last_nonce(signer) {
            Some(last) => last,
            None => self.read()?.nonce(signer)?,
        };
        Ok(last.saturating_add(1))
    }

    /// Transactions that wait for a block.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.pool).len()
    }

    /// Takes a transaction into the queue after checking its envelope; its body is judged in a block. A
    /// transaction that already waits is accepted again without effect.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn submit(&self, bytes: Vec<u8>) -> Result<TxId, SubmitError> {
        let id = Tx::id_of(&bytes);
        let refuse = SubmitError::Refused;
        let in_force = self.in_force();
        let tx = parse(&in_force.params, &bytes).map_err(refuse)?;
        let signer = tx.unsigned.signer;
        // Whether it need not, or cannot, be taken in.
        let settled = |pool: &Mempool| {
            if pool.contains(&id) {
                return Some(Ok(id));
            }
            (!pool.has_room(bytes.len())).then_some(Err(SubmitError::Full))
        };
        if let Some(answer) = settled(&lock(&self.pool)) {
            return answer;
        }
        // Before the queue is locked, so that callers verify side by side. Whoever has no account is refused below
        // without this work.
        let verified = self.read()?.account(&signer)?.is_some() && self.verifier.verify(&tx);
        let mut pool = lock(&self.pool);
        if let Some(answer) = settled(&pool) {
            return answer;
        }
        // Read after the queue is locked: what a commit takes out of the queue is in the state by then.
        let snapshot = self.read()?;
        let committed = snapshot.nonce(&signer)?;
        let pending = pool.last_nonce(&signer).map_or(0, |last| last.saturating_sub(committed));
        let tip = snapshot.tip();
        let at = Admission { chain_id: tip.chain_id, height: tip.height + 1, pending, verified: true };
        admit(&snapshot.view(), &at, &tx).map_err(|stop| match stop {
            Stop::Refused { rejection, .. } => refuse(rejection),
            Stop::Halt(halt) => SubmitError::Store(halt.into()),
        })?;
        // The last check of an envelope (L24). An account that was made since it was looked for was not verified above.
        if !(verified || self.verifier.verify(&tx)) {
            return Err(refuse(Rejection::EnvelopeSignature));
        }
        let (first, full) = (pool.len() == 0, pool.fills_block(&in_force.params));
        pool.push(Waiting {
            id,
            bytes,
            signer,
            nonce: tx.unsigned.nonce,
            expiry_height: tx.unsigned.expiry_height,
        });
        let fills = !full && pool.fills_block(&in_force.params);
        drop(pool);
        // One among others that wait changes nothing for the engine, and to wake it is not for free.
        if first || fills {
            self.work.notify_one();
        }
        Ok(id)
    }

    /// Waits until a block holds the transaction or it is dropped.
    ///
    /// # Errors
    /// [`WaitError`].
    pub async fn wait(&self, id: &TxId) -> Result<Fate, WaitError> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiters).entry(*id).or_default().push(sender);
        // Looked up after registering, so that a block committed in between is not missed.
        let waits = lock(&self.pool).contains(id);
        if let Some(tx) = self.read()?.tx(id)?
            && (tx.result.accepted() || !waits)
        {
            drop(receiver);
            self.forget_waiters(id);
            return Ok(Fate::Included { height: tx.height, index: tx.index, result: tx.result });
        }
        if !waits && lock(&self.waiters).remove(id).is_some() {
            return Err(WaitError::Unknown);
        }
        receiver.await.map_err(|_| WaitError::Unknown)
    }

    /// Forgets those who no longer wait for a transaction.
    fn forget_waiters(&self, id: &TxId) {
        let mut waiters = lock(&self.waiters);
        if let Some(senders) = waiters.get_mut(id) {
            senders.retain(|s| !s.is_closed());
            if senders.is_empty() {
                waiters.remove(id);
            }
        }
    }

    /// Follows the height of the chain.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// Resolves when there may be work for the engine: since the last call a transaction arrived where none waited, or one that
    /// fills a block.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Whether the engine has a block to make: transactions wait, or the last block had some and is not yet
    /// followed by the empty block that certifies what it did (L76).
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.waiting() > 0 || self.tip().tx_count > 0
    }

    /// Whether the waiting transactions fill a block.
    #[must_use]
    pub fn is_full(&self) -> bool {
        lock(&self.pool).fills_block(&self.in_force().params)
    }

    /// Builds the next block from the waiting transactions. Its time is `now_ms`, or 1 ms after the last block's
    /// if that is not later.
    #[must_use]
    pub fn propose(&self, now_ms: u64, proposer: [u8; 32]) -> Block {
        let tip = self.tip();
        let (txs, dropped) = {
            let mut pool = lock(&self.pool);
            let dropped = pool.expire(tip.height + 1);
            (pool.select(&self.in_force().params), dropped)
        };
        for (id, rejection) in dropped {
            self.announce(&id, &Fate::Dropped(rejection));
        }
        tip.next_block(now_ms, proposer, txs)
    }

    /// Whether `block` may be decided on: what a validator asks before it signs for a block that another one proposed.
    ///
    /// # Errors
    /// [`Error::Block`].
    pub fn check(&self, block: &Block) -> Result<(), Error> {
        let in_force = self.in_force();
        Ok(check_block(&self.tip(), &in_force.params, &in_force.validators, block)?)
    }

    /// Executes a certified block and stores it, durably and at once. Committing the last block again is no
    /// error.
    ///
    /// # Errors
    /// [`Error::Block`], [`Error::Certificate`]; [`Error::Halt`] and storage errors mean the replica must stop.
    pub fn commit(&self, block: &Block, certificate: &Certificate) -> Result<Tip, Error> {
        let guard = lock(&self.committing);
        let head = self.head();
        let id = block.header.id();
        if id == head.tip.block_id && block.header.height == head.tip.height {
            return Ok(head.tip);
        }
        let in_force = self.in_force();
        check_block(&head.tip, &in_force.params, &in_force.validators, block)?;
        certificate.verify(&id, &in_force.validators)?;

        let snapshot = self.read()?;
        let handover = self.handover(&snapshot, block, certificate)?;
        let ids: Vec<_> = block.txs.iter().map(|tx| Tx::id_of(tx)).collect();
        // What waits here was verified when it came.
        let mut verified: Vec<bool> = {
            let pool = lock(&self.pool);
            ids.iter().map(|id| pool.contains(id)).collect()
        };
        self.verifier.verify_rest(&block.txs, &mut verified);
        let outcome = execute_verified(snapshot.view(), block, &verified)?;
        let update = self.store.tree_update(snapshot.txn(), &snapshot.head(), &outcome.writes)?;
        let evidence = match &update {
            None => Vec::new(),
            Some(update) => {
                let accepted = block.txs.iter().zip(&outcome.results).filter(|(_, r)| r.accepted());
                let txs = accepted.filter_map(|(bytes, _)| Tx::from_bytes(bytes).ok());
                let mut keys: BTreeSet<_> = txs.filter_map(|tx| evidence_keys(&tx)).flatten().collect();
                keys.extend(outcome.noted.iter().map(|(tensor, ..)| tensor.clone()));
                let after = after(&snapshot, &outcome.writes);
                self.store.prove(snapshot.txn(), update, &after, &keys.into_iter().collect::<Vec<_>>())?
            }
        };
        let (state_root, tree_version) =
            update.as_ref().map_or((head.tip.state_root, head.tree_version), |u| (u.root, u.version));
        let new = Head { tip: Tip::after(block, &outcome, state_root), tree_version };
        self.store.store_block(&NewBlock {
            block,
            ids: &ids,
            certificate,
            outcome: &outcome,
            update: update.as_ref(),
            evidence: &evidence,
            handover: handover.as_ref(),
            head: new,
        })?;
        drop(snapshot);

        let next = InForce::read(&self.read()?)?;
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = next;
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = new;
        lock(&self.pool).settle(&ids.iter().copied().collect());
        drop(guard);
        for (index, (id, result)) in (0..).zip(ids.iter().zip(outcome.results)) {
            self.announce(id, &Fate::Included { height: new.tip.height, index, result });
        }
        self.height.send_replace(new.tip.height);
        Ok(new.tip)
    }

    /// What proves a change of validators, in the last block of the old ones (L165).
    fn handover(
        &self,
        snapshot: &Snapshot<'_>,
        block: &Block,
        certificate: &Certificate,
    ) -> Result<Option<Handover>, Error> {
        let key = key::pending(Kind::GovernValidators);
        let Some(value) = snapshot.view().get(&key)? else {
            return Ok(None);
        };
        let decided = Pending::from_bytes(&value).map_err(|e| self.store.damaged(e))?;
        if block.header.height.checked_add(1) != Some(decided.0.height) {
            return Ok(None);
        }
        let proof = self.store.prove_at(snapshot.txn(), &snapshot.head(), &key, value)?;
        Ok(Some(Handover { header: block.header.clone(), certificate: certificate.clone(), proof }))
    }

    fn announce(&self, id: &TxId, fate: &Fate) {
        for waiter in lock(&self.waiters).remove(id).into_iter().flatten() {
            // A waiter that gave up has dropped its end.
            let _gone = waiter.send(fate.clone());
        }
    }

    /// Stores telemetry batches and returns after they are synced; see [`Segments::append`].
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn append(&self, batches: &[StoredBatch]) -> Result<Vec<Appended>, SegmentError> {
        self.segments.append(batches)
    }

    /// Figures of the record files.
    #[must_use]
    pub fn stored(&self) -> Stored {
        self.segments.stored()
    }

    /// Bytes of the record files that are acknowledged.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.segments.bytes()
    }

    /// The records of a component over time (L252 to L255), those that are on disk by now; while somebody sums up, those that
    /// are summed up.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be read or is damaged, or the sums cannot be written.
    pub fn series(&self, question: &Question) -> Result<Answer, Error> {
        self.series.ask(&self.segments, question)
    }

    /// Sums up what was stored since, so that nobody who asks waits for it.
    ///
    /// # Errors
    /// As [`Chain::series`].
    pub fn follow(&self) -> Result<Followed, Error> {
        self.series.keeper().follow(&self.segments)
    }

    /// Number of the last record of a component that a stored batch covers.
    #[must_use]
    pub fn last_stored(&self, cid: &Cid) -> Option<u32> {
        self.segments.last(cid)
    }

    /// The stored batch that covers record `seq` of a component; see [`Segments::batch`].
    ///
    /// # Errors
    /// [`Error`] when a file cannot be read or is damaged.
    pub fn stored_batch(&self, cid: &Cid, seq: u32) -> Result<Option<(BatchStatement, StoredBatch)>, Error> {
        self.segments.batch(cid, seq)
    }

    /// The receipt of a transaction.
    ///
    /// # Errors
    /// [`ReceiptFailure`].
    pub fn receipt_tx(&self, id: &TxId) -> Result<Receipt, ReceiptFailure> {
        self.read()?.receipt_tx(id)
    }

    /// The receipt of a telemetry record.
    ///
    /// # Errors
    /// [`ReceiptFailure`].
    pub fn receipt_record(&self, cid: &Cid, seq: u32) -> Result<Receipt, ReceiptFailure> {
        let snapshot = self.read()?;
        snapshot.receipt_record(&self.segments, cid, seq)
    }
}

/// The state that `writes` make of a snapshot.
fn after<'a>(snapshot: &'a Snapshot<'_>, writes: &ledger::state::Writes) -> impl View + Sync + use<'a> {
    let mut state: Overlay<StateView<'a>> = Overlay::new(snapshot.view());
    state.absorb(writes.clone());
    state
}

/// A ledger opened for reading by a process that does not run it.
pub struct ReadOnly {
    store: Store,
    segments: Segments,
    series: Sums,
}

impl ReadOnly {
    /// Opens the ledger in `dir`; with `chain_id` only if it is that chain. A ledger that was not closed
    /// properly is repaired first.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Unindexed`], and as [`Chain::open`].
    pub fn open(dir: &Path, chain_id: Option<&Digest>) -> Result<Self, Error> {
        let (store, head) = Store::open_read_only(dir)?;
        let found = head.tip.chain_id;
        if let Some(expected) = chain_id.filter(|id| **id != found) {
            let (found, expected) = (crate::error::hex(&found), crate::error::hex(expected));
            return Err(Error::OtherChain { path: dir.into(), found, expected });
        }
        let segments = Segments::open_read_only(&dir.join(SEGMENTS), found)?;
        let series = Sums::new(dir, found);
        Ok(Self { store, segments, series })
    }

    /// A view of the ledger.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub fn read(&self) -> Result<Snapshot<'_>, Error> {
        Snapshot::new(&self.store)
    }

    /// The genesis the chain was founded with.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub fn genesis(&self) -> Result<Genesis, Error> {
        self.store.genesis()
    }

    /// Writes the ledger with its records.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn archive(&self, start: Start, out: impl Write) -> Result<Written, ArchiveError> {
        archive::write(self.read()?, &self.segments, start, out)
    }

    /// The record files.
    #[must_use]
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The records of a component over time. The sums are kept beside the ledger, also by who only reads it.
    ///
    /// # Errors
    /// As [`Chain::series`].
    pub fn series(&self, question: &Question) -> Result<Answer, Error> {
        self.series.ask(&self.segments, question)
    }

    /// The receipt of a transaction.
    ///
    /// # Errors
    /// [`ReceiptFailure`].
    pub fn receipt_tx(&self, id: &TxId) -> Result<Receipt, ReceiptFailure> {
        self.read()?.receipt_tx(id)
    }

    /// The receipt of a telemetry record.
    ///
    /// # Errors
    /// [`ReceiptFailure`].
    pub fn receipt_record(&self, cid: &Cid, seq: u32) -> Result<Receipt, ReceiptFailure> {
        self.read()?.receipt_record(&self.segments, cid, seq)
    }
}
