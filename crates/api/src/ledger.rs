//! `GET /ledger/state/{key}`, `GET /ledger/blocks/{height}`, `GET /ledger/archive` (A216 to A218).

use ::ledger::{
    block::{Block, Certificate},
    codec::Canonical,
    outcome::TxResult,
    tx::Tx,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::{Blob, Hex};

/// Media type of an archive.
pub const ARCHIVE: &str = "application/vnd.modbatt.archive";
/// Longest state key, in bytes.
pub const KEY_MAX: usize = 128;

/// Answer of `GET /ledger/state/{key}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateObject {
    /// The block after which the state was so.
    pub height: u64,
    /// Root of that state.
    pub state_root: Hex<32>,
    /// The object under the key, canonical bytes; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Blob>,
    /// The excerpt (spec/ledger.md, L250) that proves it; absent until the next block certifies the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Blob>,
}

/// Answer of `GET /ledger/blocks/{height}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockView {
    /// Its height.
    pub height: u64,
    /// SHA-256 of its header.
    pub block_id: Hex<32>,
    /// Block time, Unix milliseconds.
    pub time_ms: u64,
    /// The block before.
    pub parent: Hex<32>,
    /// Who proposed it.
    pub proposer: Hex<32>,
    /// Root of the state after the block before.
    pub state_root: Hex<32>,
    /// Root over its transactions.
    pub tx_root: Hex<32>,
    /// Root over the results of the block before.
    pub result_root: Hex<32>,
    /// Validators that signed it.
    pub signed_by: Vec<Hex<32>>,
    /// Its transactions in their order.
    pub transactions: Vec<HeldTransaction>,
}

/// A transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldTransaction {
    /// SHA-256 of its bytes.
    pub txhash: Hex<32>,
    /// Name of its kind; absent where its bytes are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Key of its signer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Hex<33>>,
    /// `W4_ERR_*` of a refused one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its bytes.
    pub transaction: Blob,
}

impl BlockView {
    /// A block, who certified it, and what its transactions came to.
    #[must_use]
    pub fn of(block: &Block, certificate: &Certificate, results: &[TxResult]) -> Self {
        let h = &block.header;
        let held = |(bytes, result): (&Vec<u8>, &TxResult)| {
            let tx = Tx::from_bytes(bytes).ok();
            HeldTransaction {
                txhash: Hex(Tx::id_of(bytes)),
                kind: tx.as_ref().map(|tx| tx.unsigned.body.kind().name().into()),
                signer: tx.map(|tx| Hex(tx.unsigned.signer.0)),
                code: result.rejection.map(|r| r.code().into()),
                transaction: Blob::from(bytes.as_slice()),
            }
        };
        Self {
            height: h.height,
            block_id: Hex(h.id()),
            time_ms: h.time_ms,
            parent: Hex(h.parent),
            proposer: Hex(h.proposer),
            state_root: Hex(h.state_root),
            tx_root: Hex(h.tx_root),
            result_root: Hex(h.result_root),
            signed_by: certificate.signatures.iter().map(|(key, _)| Hex(*key)).collect(),
            transactions: block.txs.iter().zip(results).map(held).collect(),
        }
    }
}
