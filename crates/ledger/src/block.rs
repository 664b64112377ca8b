//! Blocks, their headers and the certificates that make them final (`spec/ledger.md`, L70 to L73).
//!
//! `state_root` and `result_root` of a header speak of its **parent**: a proposer need not execute what it
//! proposes, and a divergence stops a replica one block later instead of forking it. What block `h` did is
//! therefore certified by the certificate over header `h + 1`.

use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::VerifyingKey;
use lct::{Digest, hash::sha256, merkle};

use crate::{
    codec::{Canonical, FormatError, Reader, Writer},
    genesis::{MAX_VALIDATORS, ValidatorSet},
    tx::MAX_TX,
};

const VERSION: u64 = 1;

/// Most transactions any block may hold.
pub const MAX_BLOCK_TXS: usize = 0xffff;

/// A block's header; its SHA-256 is the block's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Identity of the chain.
    pub chain_id: Digest,
    /// 1 for the first block after genesis.
    pub height: u64,
    /// Block time in Unix milliseconds, strictly increasing.
    pub time_ms: u64,
    /// Ed25519 key of the validator that proposed the block.
    pub proposer: [u8; 32],
    /// Identity of the parent; the chain id for block 1.
    pub parent: Digest,
    /// Root of the state after the parent.
    pub state_root: Digest,
    /// RFC 6962 root over the leaf hashes of the transactions' ids.
    pub tx_root: Digest,
    /// RFC 6962 root over the results of the parent's transactions.
    pub result_root: Digest,
    /// Number of transactions.
    pub tx_count: u32,
}

impl Header {
    /// Identity of the block: SHA-256 of the header's canonical bytes.
    #[must_use]
    pub fn id(&self) -> Digest {
        sha256(&[&self.to_bytes()])
    }
}

impl Canonical for Header {
    fn write(&self, w: &mut Writer) {
        w.object(10, VERSION).uint(1).bytes(&self.chain_id).uint(2).uint(self.height);
        w.uint(3).uint(self.time_ms).uint(4).bytes(&self.proposer).uint(5).bytes(&self.parent);
        w.uint(6).bytes(&self.state_root).uint(7).bytes(&self.tx_root).uint(8).bytes(&self.result_root);
        w.uint(9).uint(self.tx_count.into());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(10, VERSION)?;
        let fixed = |r: &mut Reader<'_>, key| r.key(key).and_then(|()| r.fixed());
        let uint = |r: &mut Reader<'_>, key| r.key(key).and_then(|()| r.uint());
        Ok(Self {
            chain_id: fixed(r, 1)?,
            height: uint(r, 2)?,
            time_ms: uint(r, 3)?,
            proposer: fixed(r, 4)?,
            parent: fixed(r, 5)?,
            state_root: fixed(r, 6)?,
            tx_root: fixed(r, 7)?,
            result_root: fixed(r, 8)?,
            tx_count: u32::try_from(uint(r, 9)?).map_err(|_| FormatError::Unexpected)?,
        })
    }
}

/// A header and the bytes of its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// Transactions in the order of execution.
    pub txs: Vec<Vec<u8>>,
}

impl Canonical for Block {
    fn write(&self, w: &mut Writer) {
        w.object(3, VERSION).uint(1).item(&self.header).uint(2).array(self.txs.len());
        for tx in &self.txs {
            w.bytes(tx);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(3, VERSION)?;
        r.key(1)?;
        let header = r.item()?;
        r.key(2)?;
        let n = r.array(MAX_BLOCK_TXS)?;
        let txs = (0..n).map(|_| Ok(r.bytes(MAX_TX)?.to_vec())).collect::<Result<_, FormatError>>()?;
        Ok(Self { header, txs })
    }
}

/// Leaf hashes of transactions in a block: each leaf is the transaction's id.
#[must_use]
pub fn tx_leaves(txs: &[Vec<u8>]) -> Vec<Digest> {
    txs.iter().map(|tx| merkle::leaf_hash(&sha256(&[tx]))).collect()
}

/// Leaf hashes of the results of a block's transactions: each leaf is the result's bytes.
#[must_use]
pub fn result_leaves(results: &[Vec<u8>]) -> Vec<Digest> {
    results.iter().map(|r| merkle::leaf_hash(r)).collect()
}

/// Signatures of validators over a block's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Pairs of validator key and Ed25519 signature over `"modbatt1 block" || block id`.
    pub signatures: Vec<([u8; 32], [u8; 64])>,
}

/// Why a certificate does not certify a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// A signer is not in the validator set.
    UnknownValidator,
    /// A validator is counted twice.
    Duplicate,
    /// A signature does not verify.
    Signature,
    /// The signers hold no more than two thirds of the power.
    Quorum,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownValidator => "a signer of the certificate is not a validator",
            Self::Duplicate => "a validator appears twice in the certificate",
            Self::Signature => "a signature of the certificate does not verify",
            Self::Quorum => "the certificate lacks more than two thirds of the voting power",
        })
    }
}

impl core::error::Error for CertificateError {}

impl Certificate {
    /// The bytes a validator signs for the block `id`.
    #[must_use]
    pub fn message(id: &Digest) -> [u8; 46] {
        let mut message = [0; 46];
        message[..14].copy_from_slice(b"modbatt1 block");
        message[14..].copy_from_slice(id);
        message
    }

    /// Checks that more than two thirds of the set's power signed `id`.
    ///
    /// # Errors
    /// The first [`CertificateError`].
    pub fn verify(&self, id: &Digest, set: &ValidatorSet) -> Result<(), CertificateError> {
        self.certifies(&Self::message(id), set)
    }

    /// Checks that more than two thirds of the set's power signed `message`.
    ///
    /// # Errors
    /// The first [`CertificateError`].
    pub fn certifies(&self, message: &[u8], set: &ValidatorSet) -> Result<(), CertificateError> {
        let mut power = 0_u128;
        for (i, (key, signature)) in self.signatures.iter().enumerate() {
            let share = set.power(key);
            if share == 0 {
                return Err(CertificateError::UnknownValidator);
            }
            if self.signatures[..i].iter().any(|(other, _)| other == key) {
                return Err(CertificateError::Duplicate);
            }
            VerifyingKey::from_bytes(key)
                .and_then(|k| k.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)))
                .map_err(|_| CertificateError::Signature)?;
            power += u128::from(share);
        }
        if power * 3 > set.total() * 2 { Ok(()) } else { Err(CertificateError::Quorum) }
    }
}

impl Canonical for Certificate {
    fn write(&self, w: &mut Writer) {
        w.object(2, VERSION).uint(1).array(self.signatures.len());
        for (key, signature) in &self.signatures {
            w.array(2).bytes(key).bytes(signature);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(2, VERSION)?;
        r.key(1)?;
        let n = r.array(MAX_VALIDATORS)?;
        let mut signatures = Vec::with_capacity(n);
        for _ in 0..n {
            if r.array(2)? != 2 {
                return Err(FormatError::Unexpected);
            }
            signatures.push((r.fixed()?, r.fixed()?));
        }
        Ok(Self { signatures })
    }
}
