//! What the ledger knows of a component's logs: the keys that may sign for them, and their anchors.

use api::encoding::Hex;
use lct::id::{BindingId, Cid};
use lct::sign::PublicKey;
use node::Snapshot;

use super::super::ledger::{Ledger, failure};
use super::super::{Failure, ask};
use super::proof::Anchor;

/// What the ledger knows.
#[derive(Debug, Default)]
pub struct OnLedger {
    /// The component's key in each of its bindings; a log goes on when a binding is replaced.
    pub keys: Vec<PublicKey>,
    /// Anchors of its logs.
    pub anchors: Vec<Anchor>,
}

impl OnLedger {
    /// What `ledger` knows of `cid`.
    pub fn of(ledger: &Ledger, cid: &Cid) -> Result<Self, Failure> {
        match ledger {
            Ledger::Here(ledger) => {
                let read = ledger.read().and_then(|snapshot| Self::in_snapshot(&snapshot, cid));
                read.map_err(|e| failure(&e))
            }
            Ledger::At(client) => ask(Self::asked(client, &Hex(cid.0).to_string())),
        }
    }

    fn in_snapshot(snapshot: &Snapshot<'_>, cid: &Cid) -> Result<Self, node::Error> {
        let bindings = snapshot.bindings_of(cid)?.into_iter();
        let keys = bindings.map(|(_, b)| if b.a == *cid { b.key_a } else { b.key_b }).collect();
        let anchors = snapshot.anchors_of(cid)?.into_iter().map(|(binding, number, anchor)| Anchor {
            binding,
            key: anchor.key,
            number,
            hash: anchor.hash,
        });
        Ok(OnLedger { keys, anchors: anchors.collect() })
    }

    /// What a bridge says of the component `id` (its id or cid); nothing of one that is not registered.
    pub async fn asked(client: &api::Client, id: &str) -> Result<Self, api::ClientError> {
        let component = match client.component(id).await {
            Err(e) if e.code() == Some(api::problem::code::COMPONENT_NOT_FOUND) => return Ok(Self::default()),
            component => component?,
        };
        let anchors = client.anchors(id).await?.anchors.into_iter().map(|anchor| Anchor {
            binding: BindingId(anchor.binding_id.0),
            key: PublicKey(anchor.signing_key.0),
            number: anchor.number,
            hash: anchor.hash.0,
        });
        let keys = component.bindings.iter().map(|b| PublicKey(b.signing_key.0)).collect();
        Ok(OnLedger { keys, anchors: anchors.collect() })
    }
}
