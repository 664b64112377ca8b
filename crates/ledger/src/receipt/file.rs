//! A receipt as a file (`spec/ledger.md`, L80, L231).

use alloc::{vec, vec::Vec};

use lct::{
    Digest,
    record::{BatchStatement, RECORD_MAX},
    sign::{PublicKey, Signature},
};

use super::{Following, Holding, MAGIC, MAX_LEN, Receipt, ReceiptError, RecordPart, VERSION};
use crate::{
    anchor,
    block::Certificate,
    codec::{Canonical, FormatError, Reader, Writer},
    genesis::MAX_VALIDATORS,
    outcome::TxResult,
    proof::{MAX_PROVED, MAX_VALUE, Path},
    rules::batch_recorded,
    tx::{Body, Tx, Unsigned},
};

impl Receipt {
    /// The receipt file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.push(VERSION);
        file.extend_from_slice(&self.to_bytes());
        file
    }

    /// Reads a receipt file without judging it.
    ///
    /// # Errors
    /// [`ReceiptError::NotAReceipt`], `Version`, `TooLong` or `Format`.
    pub fn from_file(file: &[u8]) -> Result<Self, ReceiptError> {
        let rest = file.strip_prefix(MAGIC).ok_or(ReceiptError::NotAReceipt)?;
        let (version, body) = rest.split_first().ok_or(ReceiptError::NotAReceipt)?;
        if *version != VERSION {
            return Err(ReceiptError::Version(*version));
        }
        if file.len() > MAX_LEN {
            return Err(ReceiptError::TooLong);
        }
        Self::from_bytes(body).map_err(ReceiptError::Format)
    }
}

/// The result that a transaction has whenever it is accepted, if its body alone decides that.
fn evident_result(tx: &Tx) -> Option<TxResult> {
    let Body::Batch(signed) = &tx.unsigned.body else { return None };
    let batch = BatchStatement::decode(&signed.statement).ok()?;
    Some(TxResult { rejection: None, events: vec![batch_recorded(&batch)] })
}

/// Opens an array of exactly `n` items.
fn array(r: &mut Reader<'_>, n: usize) -> Result<(), FormatError> {
    if r.array(n)? == n { Ok(()) } else { Err(FormatError::Unexpected) }
}

/// Appends a key, or nothing where it is `usual`.
fn put_key(w: &mut Writer, key: &[u8; 32], usual: &[u8; 32]) {
    w.bytes(if key == usual { &[] } else { key });
}

/// Reads a key written by [`put_key`].
fn read_key(r: &mut Reader<'_>, usual: &[u8; 32]) -> Result<[u8; 32], FormatError> {
    let key = match r.bytes(32)? {
        [] => return Ok(*usual),
        bytes => bytes.try_into().map_err(|_| FormatError::Unexpected)?,
    };
    if key == *usual { Err(FormatError::NotCanonical) } else { Ok(key) }
}

fn put_path(w: &mut Writer, path: &[Digest]) {
    w.item(&Path(path.to_vec()));
}

fn read_path(r: &mut Reader<'_>) -> Result<Vec<Digest>, FormatError> {
    r.item().map(|Path(digests)| digests)
}

impl Canonical for Receipt {
    fn write(&self, w: &mut Writer) {
        let (tx, block, next) = (&self.tx.unsigned, &self.block, &self.next);
        w.array(12 + usize::from(!self.handovers.is_empty()));
        w.bytes(&tx.chain_id);
        w.array(5).bytes(&tx.signer.0).uint(tx.nonce).uint(tx.expiry_height).item(&tx.body);
        w.bytes(&self.tx.signature.0).uint(self.index.into());
        put_path(w, &self.tx_path);
        w.array(7).uint(block.height).uint(block.time_ms).uint(block.tx_count.into()).bytes(&block.proposer);
        w.bytes(&block.parent).bytes(&block.state_root).bytes(&block.result_root);
        match evident_result(&self.tx).as_ref() == Some(&self.result) {
            true => w.array(0),
            false => w.array(1).item(&self.result),
        };
        put_path(w, &self.result_path);
        w.array(4).uint(next.time_ms).uint(next.tx_count.into());
        put_key(w, &next.proposer, &block.proposer);
        w.bytes(&next.tx_root).array(self.certificate.signatures.len());
        for (key, signature) in &self.certificate.signatures {
            put_key(w.array(2), key, &next.proposer);
            w.bytes(signature);
        }
        w.array(self.objects.len());
        for object in &self.objects {
            w.bytes(object);
        }
        w.item(&self.proof);
        match &self.record {
            None => w.array(0),
            Some(r) => {
                w.array(3).bytes(&r.record).uint(r.index.into());
                w.item(&Path(r.path.clone()))
            }
        };
        if !self.handovers.is_empty() {
            anchor::write_list(w, &self.handovers);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let items = r.array(13)?;
        if items < 12 {
            return Err(FormatError::Unexpected);
        }
        let chain_id = r.fixed()?;
        array(r, 5)?;
        let (signer, nonce, expiry_height) = (PublicKey(r.fixed()?), r.uint()?, r.uint()?);
        let unsigned = Unsigned { chain_id, signer, nonce, expiry_height, body: r.item()? };
        let tx = unsigned.with_signature(Signature(r.fixed()?));
        let (index, tx_path) = (r.int()?, read_path(r)?);
        array(r, 7)?;
        let block = Holding {
            height: r.uint()?,
            time_ms: r.uint()?,
            tx_count: r.int()?,
            proposer: r.fixed()?,
            parent: r.fixed()?,
            state_root: r.fixed()?,
            result_root: r.fixed()?,
        };
        let evident = evident_result(&tx);
        let result = match (r.array(1)?, evident) {
            (0, Some(evident)) => evident,
            (0, None) => return Err(FormatError::Unexpected),
            (_, evident) => {
                let result = r.item()?;
                if evident.is_some_and(|evident| evident == result) {
                    return Err(FormatError::NotCanonical);
                }
                result
            }
        };
        let result_path = read_path(r)?;
        array(r, 4)?;
        let next = Following {
            time_ms: r.uint()?,
            tx_count: r.int()?,
            proposer: read_key(r, &block.proposer)?,
            tx_root: r.fixed()?,
        };
        let n = r.array(MAX_VALIDATORS)?;
        let mut signatures = Vec::with_capacity(n);
        for _ in 0..n {
            array(r, 2)?;
            signatures.push((read_key(r, &next.proposer)?, r.fixed()?));
        }
        let n = r.array(MAX_PROVED)?;
        let objects = (0..n).map(|_| r.bytes(MAX_VALUE).map(Vec::from)).collect::<Result<_, _>>()?;
        let proof = r.item()?;
        let record = match r.array(3)? {
            0 => None,
            3 => {
                Some(RecordPart { record: r.bytes(RECORD_MAX)?.into(), index: r.int()?, path: read_path(r)? })
            }
            _ => return Err(FormatError::Unexpected),
        };
        let mut handovers = Vec::new();
        if items == 13 {
            handovers = anchor::read_list(r)?;
            // A list that is there is not empty: a receipt has one encoding.
            if handovers.is_empty() {
                return Err(FormatError::NotCanonical);
            }
        }
        let certificate = Certificate { signatures };
        Ok(Self {
            tx,
            index,
            tx_path,
            block,
            result,
            result_path,
            next,
            certificate,
            objects,
            proof,
            record,
            handovers,
        })
    }
}
