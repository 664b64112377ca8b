//! Which parts of an installation were revoked or unpaired: what the demo does not wait for.

use std::collections::BTreeSet;

use lct::id::Cid;
use lct::revocation::{RevocationList, Subject};
use lct::sign::PublicKey;
use ledger::records::Status;
use node::Chain;

use super::super::Failure;

/// The revocation list in force at the start.
pub struct Revoked(RevocationList);

impl Revoked {
    /// Reads a list of `authority`.
    pub fn read(list: &[u8], authority: &PublicKey) -> Result<Self, Failure> {
        let list = RevocationList::open(list, authority);
        list.map(Revoked).map_err(|e| Failure::Failed(format!("the bridge's revocation list: {e}")))
    }

    fn lists(&self, subject: Subject) -> bool {
        self.0.entries.iter().any(|entry| entry.subject == subject)
    }

    /// How many modules were revoked, or their bindings. `members` are the cids of pack and modules, each with its
    /// partner above; the pack first.
    ///
    /// # Errors
    /// [`Failure::Failed`] when app or pack were revoked: there is nothing left to run.
    pub fn modules(&self, chain: &Chain, members: &[(Cid, Cid)]) -> Result<usize, Failure> {
        let fail = |e: node::Error| super::super::ledger::failure(&e);
        let snapshot = chain.read().map_err(fail)?;
        let mut modules = 0;
        for (i, (cid, partner)) in members.iter().enumerate() {
            let mut out = self.lists(Subject::Component(*cid)) || self.lists(Subject::Component(*partner));
            for (id, binding) in snapshot.bindings_of(cid).map_err(fail)? {
                let ends = [binding.a, binding.b];
                out |= ends.contains(partner) && self.lists(Subject::Binding(id));
            }
            match (i, out) {
                (0, true) => {
                    return Err(Failure::Failed(
                        "app or pack, or their binding, was revoked: this installation does not run any more"
                            .into(),
                    ));
                }
                (_, true) => modules += 1,
                (_, false) => {}
            }
        }
        Ok(modules)
    }
}

/// Of `members`, each with its partner above, those whose pairing was ended and not made anew, as the ledger has it.
pub fn unpaired(chain: &Chain, members: &[(Cid, Cid)]) -> Result<BTreeSet<Cid>, Failure> {
    let fail = |e: node::Error| super::super::ledger::failure(&e);
    let snapshot = chain.read().map_err(fail)?;
    let mut unpaired = BTreeSet::new();
    for (cid, partner) in members {
        let mut bindings = snapshot.bindings_of(cid).map_err(fail)?.into_iter();
        let between = bindings.find(|(_, b)| b.status == Status::Active && [b.a, b.b].contains(partner));
        let Some((binding, _)) = between else { continue };
        let live = snapshot.live_pairings(&binding).map_err(fail)?;
        let mut all = snapshot.pairings_of(cid).map_err(fail)?.into_iter();
        // One that was never paired is still to be commissioned.
        if live.is_empty() && all.any(|(_, pairing)| pairing.binding_id == binding) {
            unpaired.insert(*cid);
        }
    }
    Ok(unpaired)
}
