//! Who takes part in a run: the keys with which each signs, and where the app is found.

use gateway::Keys;
use lct::id::Cid;
use lct::validation::{Access, Protocol};
use ledger::records::Status;
use node::Chain;
use pack::app::Party;
use uuid::Uuid;

use super::super::Failure;

/// Signing keys of pack and modules, from the bindings on the ledger.
pub fn binding_keys(chain: &Chain, members: &[(Party, Cid)], app: Cid) -> Result<Keys, Failure> {
    let fail = |e: node::Error| super::super::ledger::failure(&e);
    let snapshot = chain.read().map_err(fail)?;
    let named = |cid: &Cid| match members.iter().find(|(_, of)| of == cid) {
        Some((party, _)) => Some(Some(*party)),
        None => (*cid == app).then_some(None),
    };
    let mut keys = Keys::default();
    for (party, cid) in members {
        // In force is the key of the last one that was not withdrawn; without any, the last one signed the log.
        let mut bindings = snapshot.bindings_of(cid).map_err(fail)?;
        bindings.sort_by_key(|(_, binding)| (binding.status == Status::Active, binding.height));
        for (_, binding) in bindings {
            let (key, partner) =
                if binding.a == *cid { (binding.key_a, binding.b) } else { (binding.key_b, binding.a) };
            if let Some(with) = named(&partner) {
                keys.insert(*party, with, key);
            }
        }
    }
    Ok(keys)
}

/// Where the app of this run is found: at the API, by the id of its host.
pub fn access(url: &str, host: &Uuid) -> Result<Access, Failure> {
    let long = |_| Failure::Failed(format!("the address {url} is too long to be announced"));
    Ok(Access {
        protocol: Protocol::Http,
        endpoint: url.try_into().map_err(long)?,
        device: host.to_string().as_str().try_into().map_err(long)?,
    })
}
