//! With which keys app, pack and modules sign, as the ledger has their bindings.

use gateway::Signer;
use lct::id::Cid;
use ledger::records::Status;
use node::Chain;

use super::super::Failure;

/// Keys with which these components sign towards each other, from the bindings in force on the ledger.
pub fn signers(chain: &Chain, components: &[(String, Cid)]) -> Result<Vec<Signer>, Failure> {
    let fail = |e: node::Error| super::super::ledger::failure(&e);
    let snapshot = chain.read().map_err(fail)?;
    let mut signers = Vec::new();
    for (_, cid) in components {
        for (_, b) in snapshot.bindings_of(cid).map_err(fail)? {
            let (partner, key) = if b.a == *cid { (b.b, b.key_a) } else { (b.a, b.key_b) };
            if b.status == Status::Active {
                signers.push(Signer { cid: *cid, partner, key });
            }
        }
    }
    Ok(signers)
}
