//! Accounts for those for whom the bridge signs (A151).

use lct::sign::PublicKey;
use ledger::{
    records::AccountRole,
    tx::{Body, Change, Governance, TxId},
};

use super::Core;
use crate::refusal::Reply;

impl Core {
    /// Has the ledger give `key` an operator's account from the soonest height on.
    pub fn give_account(&mut self, key: PublicKey) -> Reply<TxId> {
        let change = Change::Account { role: AccountRole::Operator, key };
        // The next block decides it, the one after certifies that.
        self.submit(Body::Govern(Governance { change, height: self.chain.tip().height + 3 }))
    }
}
