//! Every change of a tensor since the ledger has been followed (`spec/ledger.md`, L227). The state keeps the last ones; this keeps all,
//! beside it.

use ledger::{
    codec::Canonical,
    execute::NotedChange,
    records::{Noted, Tensor},
};
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::{Bytes, TXS};

/// By the tensor's key and the number of the change, from 1.
pub(crate) const CHANGES: TableDefinition<'_, (Bytes, u64), Bytes> =
    TableDefinition::new("changes of tensors");

/// Keeps what a block changed.
pub(super) fn follow(txn: &WriteTransaction, height: u64, noted: &[NotedChange]) -> Result<(), redb::Error> {
    let mut table = txn.open_table(CHANGES)?;
    for (tensor, number, change) in noted {
        let row = Noted { height, change: *change };
        table.insert((tensor.as_slice(), *number), row.to_bytes().as_slice())?;
    }
    Ok(())
}

/// Takes in what a tensor of the state tells of its changes, where nothing is known of them, or what was before its subject was bound
/// anew.
pub(super) fn take_in(txn: &WriteTransaction, at: &[u8], tensor: &[u8]) -> Result<(), redb::Error> {
    let tensor = Tensor::from_bytes(tensor).map_err(super::index::unreadable)?;
    let (txs, mut table) = (txn.open_table(TXS)?, txn.open_table(CHANGES)?);
    for (number, change) in tensor.numbered() {
        let known = match table.get((at, number))? {
            Some(row) => Noted::from_bytes(row.value()).map_err(super::index::unreadable)?.change == *change,
            None => false,
        };
        if !known {
            let height = txs.get(change.tx.as_slice())?.map_or(0, |place| place.value().0);
            let row = Noted { height, change: *change };
            table.insert((at, number), row.to_bytes().as_slice())?;
        }
    }
    Ok(())
}
