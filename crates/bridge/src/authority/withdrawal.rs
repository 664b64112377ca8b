//! What the authority withdraws on the ledger (A52, A65, A98; `spec/ledger.md`, L102): what its revocation list names, the
//! pairings that an operator had ended, and the accounts of the authorities that it followed.
//!
//! Nothing of it is stored here. List and orders are durable first, and the ledger says what it lacks; so whatever is
//! interrupted, nothing is lost and nothing is withdrawn twice.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use api::order::{Order, State, Task};
use lct::{
    id::Cid,
    revocation::{Reason, Subject},
};
use ledger::tx::{Target, TxId};
use node::Snapshot;

use super::{Core, active_binding};
use crate::refusal::Reply;

/// How long the authority waits for the statement of a device that ended a pairing, which says more than its own.
const GRACE: Duration = Duration::from_secs(3);

/// What the ledger is to withdraw.
#[derive(Debug, Default)]
pub(crate) struct Withdrawals(BTreeMap<Target, Withdrawal>);

#[derive(Debug, Clone, Copy)]
struct Withdrawal {
    reason: Reason,
    /// Not submitted before.
    due: Instant,
    /// Under way.
    tx: Option<TxId>,
}

impl Withdrawals {
    /// What is to be withdrawn now.
    pub fn want(&mut self, what: Target, reason: Reason) {
        self.0.entry(what).or_insert(Withdrawal { reason, due: Instant::now(), tx: None });
    }

    /// Pairings that an operator had ended, which a device may tell the ledger first.
    fn expect(&mut self, what: Target) {
        let due = Instant::now() + GRACE;
        self.0.entry(what).or_insert(Withdrawal { reason: Reason::Retired, due, tx: None });
    }
}

impl Core {
    /// What an earlier run may have left: called once, at the start.
    pub(super) fn resume_withdrawals(&mut self) -> Reply<()> {
        for (what, reason) in self.revocations.subjects() {
            self.withdrawals.want(target(what), reason);
        }
        let ended: Vec<Order> = self.orders.done(Task::Unpair).cloned().collect();
        ended.iter().try_for_each(|order| self.withdraw_pairings(order))
    }

    /// A gateway says that it ended the pairing of this order: what was in force when the order was placed is withdrawn.
    /// A pairing made since is another one.
    pub(super) fn withdraw_pairings(&mut self, order: &Order) -> Reply<()> {
        if order.task != Task::Unpair || order.state != State::Done {
            return Ok(());
        }
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let Some((id, _)) = active_binding(&snapshot, &Cid::of(&order.a), &Cid::of(&order.b))? else {
            return Ok(());
        };
        for (pairing, recorded) in snapshot.live_pairings(&id)? {
            if recorded.time_ms / 1_000 <= order.placed_at {
                self.withdrawals.expect(Target::Pairing(pairing));
            }
        }
        Ok(())
    }

    /// Submits what is due and what the ledger lacks, each once, and returns the transactions under way. `lost` are
    /// those that left the queue without a block: what they were to bring is submitted anew.
    pub fn withdraw(&mut self, lost: &[TxId]) -> Reply<Vec<TxId>> {
        let now = Instant::now();
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let due = self.withdrawals.0.iter().filter(|(_, w)| w.due <= now);
        let due: Vec<_> = due.map(|(what, w)| (*what, *w)).collect();
        let mut waiting = Vec::with_capacity(due.len());
        for (what, withdrawal) in due {
            if recorded(&snapshot, what)?.is_some() {
                self.withdrawals.0.remove(&what);
                continue;
            }
            // A certificate that nobody completed: devices refuse it by the list, and the ledger has nothing to withdraw until
            // a completion that was under way gets its block.
            if let Target::Pairing(id) = what
                && snapshot.pairing(&id)?.is_none()
            {
                continue;
            }
            let tx = match withdrawal.tx.filter(|tx| !lost.contains(tx)) {
                Some(tx) => tx,
                None => self.submit(api::sign::revoke(what, withdrawal.reason))?,
            };
            self.withdrawals.0.insert(what, Withdrawal { tx: Some(tx), ..withdrawal });
            waiting.push(tx);
        }
        Ok(waiting)
    }
}

/// Height and transaction with which the ledger withdrew something.
pub(super) fn recorded(snapshot: &Snapshot<'_>, what: Target) -> Reply<Option<(u64, TxId)>> {
    Ok(snapshot.revocation(&what)?.map(|r| (r.height, r.tx)))
}

/// What the ledger calls what a revocation list names.
pub(super) fn target(what: Subject) -> Target {
    match what {
        Subject::Component(cid) => Target::Component(cid),
        Subject::Binding(id) => Target::Binding(id),
        Subject::Pairing(id) => Target::Pairing(id),
        Subject::Batch(id) => Target::Batch(id),
        Subject::Delegation(id) => Target::Delegation(id),
    }
}
