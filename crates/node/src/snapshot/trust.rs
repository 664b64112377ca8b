//! How far components are to be relied on, and every change that made it so (L227).

use ledger::{
    anchor::latest,
    excerpt::Excerpt,
    records::{Change, Noted, Tensor, TrustSubject},
};

use super::*;
use crate::{past::PastError, store::CHANGES};

/// What proves a change beyond the word of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The state after its block is proved by an excerpt ([`Snapshot::change_excerpt`]).
    Kept,
    /// The next block, which certifies it, is not there yet.
    Pending,
    /// Its block and what proved the state after it are not kept.
    Pruned,
}

/// A change of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRow {
    /// Its number, from 1.
    pub number: u64,
    /// Height of its block; 0 where this ledger does not know it.
    pub height: u64,
    /// The change.
    pub change: Change,
    /// What proves it.
    pub proof: Proof,
}

/// Some changes of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How many there were.
    pub count: u64,
    /// Number of the first that is known; those before it were made before this ledger began to keep them, or are of a past state
    /// and those that were counted after its subject was bound anew took their places.
    pub first: u64,
    /// Those asked for.
    pub changes: Vec<ChangeRow>,
}

impl Snapshot<'_> {
    /// What is known of a component at the time of the last block, in each context in which it was ever judged.
    ///
    /// # Errors
    /// [`Error`].
    pub fn standings(&self, cid: &Cid) -> Result<Vec<(TrustContext, Standing)>, Error> {
        let (weights, now_ms) = (self.params()?.trust, self.tip().time_ms);
        let mut found = Vec::new();
        for context in TrustContext::ALL {
            let standing = standing::component(&self.view(), &weights, cid, context, now_ms)?;
            found.extend(standing.map(|s| (context, s)));
        }
        Ok(found)
    }

    /// What is known of the relations of a component that were ever paired, with the other side of each.
    ///
    /// # Errors
    /// [`Error`].
    pub fn relation_standings(&self, cid: &Cid) -> Result<Vec<(BindingId, Cid, Standing)>, Error> {
        let (weights, now_ms) = (self.params()?.trust, self.tip().time_ms);
        let mut found = Vec::new();
        for (id, binding) in self.bindings_of(cid)? {
            let peer = if binding.a == *cid { binding.b } else { binding.a };
            let standing = standing::relation(&self.view(), &weights, &id, now_ms)?;
            found.extend(standing.map(|s| (id, peer, s)));
        }
        Ok(found)
    }

    /// Changes of a tensor by number, from the first one on; `None` where there is no such tensor.
    ///
    /// # Errors
    /// [`Error`].
    pub fn changes_of(
        &self,
        subject: &TrustSubject,
        context: TrustContext,
        span: &Span<u64>,
    ) -> Result<Option<History>, Error> {
        let at = key::tensor(subject, context);
        let Some(tensor) = self.get::<Tensor>(&at)? else { return Ok(None) };
        let table = self.now.txn.open_table(CHANGES).map_err(|e| self.store.fail(e))?;
        let all = (at.as_slice(), 1)..=(at.as_slice(), tensor.count);
        let mut first = tensor.count + 1;
        for row in table.range::<(&[u8], u64)>(all).map_err(|e| self.store.fail(e))? {
            let (at_number, row) = row.map_err(|e| self.store.fail(e))?;
            let (_, number) = at_number.value();
            if self.noted_then(&tensor, number, row.value())?.is_some() {
                first = number;
                break;
            }
        }
        let (from, to) = match (span.backward, span.after) {
            (_, None) => (1, tensor.count),
            (false, Some(after)) => (after.saturating_add(1), tensor.count),
            (true, Some(before)) => (1, before.saturating_sub(1).min(tensor.count)),
        };
        let mut changes = Vec::new();
        if from <= to {
            let asked = (at.as_slice(), from)..=(at.as_slice(), to);
            let mut rows = table.range::<(&[u8], u64)>(asked).map_err(|e| self.store.fail(e))?;
            while changes.len() < span.limit {
                let Some(row) = (if span.backward { rows.next_back() } else { rows.next() }) else { break };
                let (at_number, row) = row.map_err(|e| self.store.fail(e))?;
                let (_, number) = at_number.value();
                let Some(noted) = self.noted_then(&tensor, number, row.value())? else { continue };
                let Noted { height, change } = noted;
                let proof = self.proof_of_change(height, &at)?;
                changes.push(ChangeRow { number, height, change, proof });
            }
        }
        Ok(Some(History { count: tensor.count, first, changes }))
    }

    /// The change of a number as `tensor`, which is of this state, had it; `None` where it is no longer known. Who is bound anew counts
    /// from 1 again, in the rows of before: of a state from before that only the tensor itself tells, and only of its last changes.
    fn noted_then(&self, tensor: &Tensor, number: u64, row: &[u8]) -> Result<Option<Noted>, Error> {
        let noted = Noted::from_bytes(row).map_err(|e| self.store.damaged(e))?;
        if noted.height <= self.tip().height {
            return Ok(Some(noted));
        }
        let Some((_, change)) = tensor.numbered().find(|(of, _)| *of == number) else { return Ok(None) };
        let txs = self.now.txn.open_table(TXS).map_err(|e| self.store.fail(e))?;
        let place = txs.get(change.tx.as_slice()).map_err(|e| self.store.fail(e))?;
        let height = place.map_or(0, |place| place.value().0);
        Ok(Some(Noted { height, change: *change }))
    }

    fn proof_of_change(&self, height: u64, tensor: &[u8]) -> Result<Proof, Error> {
        if self.evidence(height, tensor)?.is_none() {
            return Ok(Proof::Pruned);
        }
        let next = self.now.txn.open_table(CERTIFICATES).map_err(|e| self.store.fail(e))?;
        let certified = next.get(height + 1).map_err(|e| self.store.fail(e))?.is_some();
        Ok(match (certified, height == self.last()) {
            (true, _) => Proof::Kept,
            (false, true) => Proof::Pending,
            (false, false) => Proof::Pruned,
        })
    }

    /// What proves a change: the tensor as it was after the change's block, with the last changes that it keeps (L202, L250);
    /// `None` where no change of this number is kept.
    ///
    /// # Errors
    /// [`PastError`]: [`PastError::Future`] while no block certifies it, [`PastError::Forgotten`] when its block is not kept.
    pub fn change_excerpt(
        &self,
        subject: &TrustSubject,
        context: TrustContext,
        number: u64,
    ) -> Result<Option<Excerpt>, PastError> {
        let Some(before) = number.checked_sub(1) else { return Ok(None) };
        let history = self.changes_of(subject, context, &Span::of(Some(before), 1))?;
        let row = history.and_then(|h| h.changes.into_iter().next()).filter(|row| row.number == number);
        let Some(ChangeRow { height, proof, .. }) = row else { return Ok(None) };
        let certified = match proof {
            Proof::Pending => return Err(PastError::Future { height: height + 1, tip: self.last() }),
            Proof::Pruned => None,
            Proof::Kept => self.block(height + 1)?.zip(self.certificate(height + 1)?),
        };
        let evidence = self.evidence(height, &key::tensor(subject, context))?;
        let Some(((block, certificate), proof)) = certified.zip(evidence) else {
            return Err(PastError::Forgotten { height, oldest: self.first_whole()? });
        };
        let handovers = latest(self.handovers(height + 1)?);
        Ok(Some(Excerpt { header: block.header, certificate, handovers, found: Found::Present(proof) }))
    }
}
