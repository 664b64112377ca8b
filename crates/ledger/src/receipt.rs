//! Receipts: one file that proves what a chain accepted, without network or database
//! (`spec/ledger.md`, L80 to L86).
//!
//! ```text
//! file = "MBRC" || 02 || CBOR [
//!   chain id, [sender, nonce, expiry height, body, signature],       the transaction
//!   index, path to the transaction root,
//!   [height, time, transactions, proposer, parent, state root, result root],   the rest of header h
//!   [] or [result], path to the result root,
//!   [time, transactions, proposer or empty, transaction root],       the rest of header h + 1
//!   [[validator or empty, signature] ..],                            certificate over header h + 1
//!   [object ..], proof,                   of the state after block h, in the order of `evidence_keys`
//!   [] or [record, its index in the batch, path to the batch's root],
//!   [handover ..] ]                                                  absent when there is none
//! ```
//!
//! Nothing is said twice, and nothing that follows is said: the transaction and its path lead to the rest of header h,
//! that to the parent in header h + 1, result and objects with their paths to its roots. So there is one comparison for all
//! of it, the signatures over header h + 1: what was changed anywhere leads to a block that nobody signed.

use alloc::vec::Vec;

use lct::{
    Digest,
    hash::sha256,
    merkle::{leaf_hash, root_of_path},
};

use crate::{
    anchor::{self, Handover},
    block::{Certificate, CertificateError, Header},
    checkpoint::{Inclusion, Statement},
    codec::Canonical,
    genesis::{Validator, ValidatorSet},
    outcome::TxResult,
    proof::Multiproof,
    tx::Tx,
    verdict::{Trusted, Verdict},
};

mod error;
mod evidence;
mod facts;
mod file;

pub use crate::anchor::Trust;
pub use error::ReceiptError;
use evidence::Evidence;
pub use evidence::evidence_keys;

/// First bytes of a receipt file.
pub const MAGIC: &[u8; 4] = b"MBRC";
/// Format version, the byte after [`MAGIC`].
pub const VERSION: u8 = 2;
/// Longest receipt a verifier reads, in bytes.
pub const MAX_LEN: usize = 1 << 20;

/// The record of a batch that a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPart {
    /// Canonical bytes of the record.
    pub record: Vec<u8>,
    /// Its index in the batch.
    pub index: u32,
    /// Its path to the batch's root.
    pub path: Vec<Digest>,
}

/// The header of the block that holds the transaction, without what the transaction leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Its height.
    pub height: u64,
    /// Block time, Unix milliseconds.
    pub time_ms: u64,
    /// Number of its transactions.
    pub tx_count: u32,
    /// Ed25519 key of its proposer.
    pub proposer: [u8; 32],
    /// Identity of the block before it.
    pub parent: Digest,
    /// Root of the state after the block before it.
    pub state_root: Digest,
    /// Root of the results of the block before it.
    pub result_root: Digest,
}

/// The header of the next block, without what the first one, the result and the proven objects lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// Block time, Unix milliseconds.
    pub time_ms: u64,
    /// Number of its transactions.
    pub tx_count: u32,
    /// Ed25519 key of its proposer.
    pub proposer: [u8; 32],
    /// Root of its transactions.
    pub tx_root: Digest,
}

impl From<&Header> for Holding {
    fn from(h: &Header) -> Self {
        Self {
            height: h.height,
            time_ms: h.time_ms,
            tx_count: h.tx_count,
            proposer: h.proposer,
            parent: h.parent,
            state_root: h.state_root,
            result_root: h.result_root,
        }
    }
}

impl From<&Header> for Following {
    fn from(h: &Header) -> Self {
        Self { time_ms: h.time_ms, tx_count: h.tx_count, proposer: h.proposer, tx_root: h.tx_root }
    }
}

/// The parts of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction, and with it the chain.
    pub tx: Tx,
    /// Its index in the block.
    pub index: u32,
    /// Its path to the block's transaction root.
    pub tx_path: Vec<Digest>,
    /// The block that holds it.
    pub block: Holding,
    /// Its result.
    pub result: TxResult,
    /// The result's path to the next block's result root.
    pub result_path: Vec<Digest>,
    /// The next block.
    pub next: Following,
    /// Certificate over the header of the next block.
    pub certificate: Certificate,
    /// What the state after the block holds under [`evidence_keys`], as bytes.
    pub objects: Vec<Vec<u8>>,
    /// Its path to the state root.
    pub proof: Multiproof,
    /// The record, in a receipt for one.
    pub record: Option<RecordPart>,
    /// Every change of validators up to the next block's height, the first one first.
    pub handovers: Vec<Handover>,
}

impl Receipt {
    /// The headers to which the parts lead: of the block that holds the transaction, and of the next one.
    ///
    /// # Errors
    /// [`ReceiptError`], when the parts do not fit together.
    pub fn headers(&self) -> Result<(Header, Header), ReceiptError> {
        let Self { tx, index, block, next, .. } = self;
        let count = block.tx_count;
        let leads = |leaf, path| root_of_path(&leaf, *index, count, path);
        let tx_root = leads(leaf_hash(&tx.id()), &self.tx_path).ok_or(ReceiptError::TxPath)?;
        let header = Header {
            chain_id: tx.unsigned.chain_id,
            height: block.height,
            time_ms: block.time_ms,
            proposer: block.proposer,
            parent: block.parent,
            state_root: block.state_root,
            tx_root,
            result_root: block.result_root,
            tx_count: count,
        };
        let result = leads(leaf_hash(&self.result.to_bytes()), &self.result_path);
        let keys = evidence_keys(tx).ok_or(ReceiptError::Statement)?;
        ensure(keys.len() == self.objects.len(), ReceiptError::Evidence)?;
        let held: Vec<_> =
            keys.iter().zip(&self.objects).map(|(k, v)| (sha256(&[k]), sha256(&[v]))).collect();
        let following = Header {
            chain_id: tx.unsigned.chain_id,
            height: block.height.checked_add(1).ok_or(ReceiptError::Height)?,
            time_ms: next.time_ms,
            proposer: next.proposer,
            parent: header.id(),
            state_root: self.proof.root(&held).ok_or(ReceiptError::Evidence)?,
            tx_root: next.tx_root,
            result_root: result.ok_or(ReceiptError::ResultPath)?,
            tx_count: next.tx_count,
        };
        Ok((header, following))
    }

    /// Checks that validators signed the block `id` of `height`: those whom `trust` and the handovers lead to, or without
    /// both whoever the certificate names. How many they are, where it is known.
    fn certified(
        &self,
        id: &Digest,
        height: u64,
        trust: Option<&Trust>,
    ) -> Result<Option<usize>, ReceiptError> {
        let led = anchor::follow(&self.tx.unsigned.chain_id, trust, &self.handovers, height);
        let led = led.map_err(ReceiptError::Handover)?;
        let known = led.as_ref().map(|set| set.0.len());
        let set = led.unwrap_or_else(|| {
            let named = self.certificate.signatures.iter();
            ValidatorSet(named.map(|(key, _)| Validator { key: *key, power: 1 }).collect())
        });
        match self.certificate.verify(id, &set) {
            Ok(()) => Ok(known),
            Err(CertificateError::UnknownValidator) => Err(ReceiptError::UntrustedValidators),
            Err(e) => Err(ReceiptError::Certificate(e)),
        }
    }
}

/// Fails with `error` unless `holds`.
fn ensure(holds: bool, error: ReceiptError) -> Result<(), ReceiptError> {
    if holds { Ok(()) } else { Err(error) }
}

/// Verifies a receipt file and says what it proves.
///
/// Without `trust` the answer is [`Trusted::SignerUnknown`]: all parts agree with each other, but anyone can
/// found a chain, so nothing is known about who signed.
///
/// # Errors
/// The first [`ReceiptError`] found.
pub fn verify(file: &[u8], trust: Option<&Trust>) -> Result<Verdict, ReceiptError> {
    judge(&Receipt::from_file(file)?, trust)
}

/// Verifies a receipt file for who trusts a checkpoint after it, whoever the validators of its block were: `by` shows that the
/// history which the checkpoint certifies holds the block (L223).
///
/// # Errors
/// The first [`ReceiptError`] found; [`ReceiptError::NotInHistory`] is the last.
pub fn verify_within(file: &[u8], checkpoint: &Statement, by: &Inclusion) -> Result<Verdict, ReceiptError> {
    let receipt = Receipt::from_file(file)?;
    ensure(receipt.tx.unsigned.chain_id == checkpoint.chain_id, ReceiptError::OtherChain)?;
    let verdict = judge(&receipt, None)?;
    let (_, next) = receipt.headers()?;
    ensure(checkpoint.holds(next.height, &next.id(), by), ReceiptError::NotInHistory)?;
    // The checkpoint vouches for the block. The keys of the certificate are nobody's in particular: they are not counted.
    Ok(Verdict { trusted: Trusted::Yes, signatures: 0, validators: None, ..verdict })
}

fn judge(receipt: &Receipt, trust: Option<&Trust>) -> Result<Verdict, ReceiptError> {
    let tx = &receipt.tx;
    let chain_id = tx.unsigned.chain_id;
    ensure(trust.is_none_or(|t| t.chain_id == chain_id), ReceiptError::OtherChain)?;
    let (header, next) = receipt.headers()?;
    let validators = receipt.certified(&next.id(), next.height, trust)?;

    tx.verify().map_err(|_| ReceiptError::TxSignature)?;
    if let Some(rejection) = receipt.result.rejection {
        return Err(ReceiptError::Refused(rejection));
    }
    let evidence = Evidence::read(receipt)?;
    let proved = facts::prove(tx, header.time_ms, &evidence)?;
    let record = receipt.record.as_ref().map(|part| facts::prove_record(part, &proved)).transpose()?;
    Ok(Verdict {
        trusted: if trust.is_some() { Trusted::Yes } else { Trusted::SignerUnknown },
        chain_id,
        height: header.height,
        time_ms: header.time_ms,
        block_id: next.parent,
        tx_id: tx.id(),
        tx_index: receipt.index,
        kind: tx.unsigned.body.kind(),
        sender: tx.unsigned.signer,
        sender_role: evidence.role,
        proved,
        record,
        signatures: receipt.certificate.signatures.len(),
        validators,
    })
}
