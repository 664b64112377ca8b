//! Signatures of envelopes: verified on all cores, under keys that stay in the form that verifies.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use lct::sign::{PublicKey, VerifyingKey};
use ledger::{codec::Canonical, tx::Tx};

use crate::cores;

/// Keys of a generation; two are kept.
const GENERATION: usize = 2048;
/// Fewest verifications that are worth a thread.
const LEAST: usize = 16;

/// Senders' keys, those that were used last.
#[derive(Default)]
struct Keys {
    young: HashMap<PublicKey, Arc<VerifyingKey>>,
    old: HashMap<PublicKey, Arc<VerifyingKey>>,
}

/// Verifies envelopes.
#[derive(Default)]
pub(crate) struct Verifier(RwLock<Keys>);

impl Verifier {
    /// Whether the signature of the envelope is its signer's.
    pub fn verify(&self, tx: &Tx) -> bool {
        let digest = tx.unsigned.digest();
        self.key(&tx.unsigned.signer).is_some_and(|key| key.verify(&digest, &tx.signature).is_ok())
    }

    /// Verifies those of `txs` that are not verified yet.
    pub fn verify_rest(&self, txs: &[Vec<u8>], verified: &mut [bool]) {
        let rest: Vec<usize> = (0..txs.len()).filter(|i| !verified[*i]).collect();
        let verdicts =
            cores::map(&rest, LEAST, |i| Tx::from_bytes(&txs[*i]).is_ok_and(|tx| self.verify(&tx)));
        for (i, verdict) in rest.into_iter().zip(verdicts) {
            verified[i] = verdict;
        }
    }

    fn key(&self, signer: &PublicKey) -> Option<Arc<VerifyingKey>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.young.get(signer) {
            return Some(Arc::clone(key));
        }
        let aged = keys.old.get(signer).cloned();
        drop(keys);
        let key = match aged {
            Some(key) => key,
            None => Arc::new(signer.expand()?),
        };
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.young.len() >= GENERATION {
            keys.old = mem::take(&mut keys.young);
        }
        keys.young.insert(*signer, Arc::clone(&key));
        Some(key)
    }
}
