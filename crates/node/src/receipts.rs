//! Receipts from what a replica stores.

use lct::{Digest, id::Cid, merkle};
use ledger::{
    anchor::latest,
    block::{result_leaves, tx_leaves},
    codec::Canonical,
    proof::Multiproof,
    receipt::{Receipt, RecordPart, evidence_keys},
    reject::Rejection,
    tx::{Tx, TxId},
};

use crate::{
    error::Error,
    segments::{Entry, Segments},
    snapshot::Snapshot,
};

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptFailure {
    /// No block holds the transaction.
    #[error("no block holds this transaction")]
    UnknownTx,
    /// The block with the batch that covers the record was removed.
    #[error("the blocks before height {0} are no longer kept, so no receipt can be made of what they hold")]
    Forgotten(u64),
    /// The transaction is in the last block; the next one certifies what it did.
    #[error("the block of height {0} is not followed by another yet, so its outcome is not certified")]
    NotCertifiedYet(u64),
    /// The chain refused the transaction.
    #[error("the chain refused this transaction: {0}")]
    Refused(Rejection),
    /// No batch on the chain covers the record.
    #[error("no recorded batch of {cid} covers record {seq}")]
    UnknownRecord {
        /// The component.
        cid: Cid,
        /// The record's number.
        seq: u32,
    },
    /// The record itself is not stored here.
    #[error("the chain covers record {seq} of {cid}, but the record is not stored here")]
    RecordMissing {
        /// The component.
        cid: Cid,
        /// The record's number.
        seq: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

fn path(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    let mut out = [[0; 32]; merkle::PATH_MAX];
    let length = merkle::path(leaves, index, &mut out)?;
    Some(out[..length].to_vec())
}

impl Snapshot<'_> {
    /// The receipt of a transaction.
    ///
    /// # Errors
    /// [`ReceiptFailure`].
    pub fn receipt_tx(&self, id: &TxId) -> Result<Receipt, ReceiptFailure> {
        let included = self.tx(id)?.ok_or(ReceiptFailure::UnknownTx)?;
        if let Some(rejection) = included.result.rejection {
            return Err(ReceiptFailure::Refused(rejection));
        }
        let height = included.height;
        let index = included.index as usize;
        let certified = self.block(height + 1)?.zip(self.certificate(height + 1)?);
        let (next, certificate) = certified.ok_or(ReceiptFailure::NotCertifiedYet(height))?;
        let lost = |what| ReceiptFailure::Store(self.damaged(what));
        let block = self.block(height)?.ok_or_else(|| lost("a block is missing"))?;
        let results = self.results(height)?;
        let tx_path = path(&tx_leaves(&block.txs), index).ok_or_else(|| lost("a transaction is missing"))?;
        let result_path = path(&result_leaves(&results), index).ok_or_else(|| lost("a result is missing"))?;
        let tx =
            Tx::from_bytes(&included.bytes).map_err(|_| lost("an accepted transaction is unreadable"))?;
        let keys = evidence_keys(&tx).ok_or_else(|| lost("an accepted statement is unreadable"))?;
        let mut evidence = Vec::with_capacity(keys.len());
        for key in keys {
            evidence.push(self.evidence(height, &key)?.ok_or_else(|| lost("a state proof is missing"))?);
        }
        let proof = Multiproof::join(&evidence).ok_or_else(|| lost("state proofs do not go together"))?;
        Ok(Receipt {
            tx,
            index: included.index,
            tx_path,
            block: (&block.header).into(),
            result: included.result,
            result_path,
            next: (&next.header).into(),
            certificate,
            objects: evidence.into_iter().map(|p| p.value).collect(),
            proof,
            record: None,
            handovers: latest(self.handovers(next.header.height)?),
        })
    }

    /// The receipt of a telemetry record.
    ///
    /// # Errors
    /// [`ReceiptFailure`].
    pub fn receipt_record(
        &self,
        segments: &Segments,
        cid: &Cid,
        seq: u32,
    ) -> Result<Receipt, ReceiptFailure> {
        let (first, batch) = self.batch(cid, seq)?.ok_or(ReceiptFailure::UnknownRecord { cid: *cid, seq })?;
        let missing = || ReceiptFailure::RecordMissing { cid: *cid, seq };
        let (statement, stored) = segments.batch(cid, seq)?.ok_or_else(missing)?;
        if statement.root != batch.root || statement.first_seq != first {
            return Err(missing());
        }
        let index = seq - first;
        let Some(Entry::Record(record)) = stored.entries.get(index as usize) else {
            return Err(missing());
        };
        let leaves: Vec<_> = stored.entries.iter().map(Entry::leaf).collect();
        let path = path(&leaves, index as usize).ok_or_else(missing)?;
        let receipt = self.receipt_tx(&batch.tx);
        let mut receipt = match (receipt, self.first_whole()?) {
            // The state knows it, so a block held it.
            (Err(ReceiptFailure::UnknownTx), first) if first > 0 => {
                return Err(ReceiptFailure::Forgotten(first));
            }
            (receipt, _) => receipt?,
        };
        receipt.record = Some(RecordPart { record: record.clone(), index, path });
        Ok(receipt)
    }
}
