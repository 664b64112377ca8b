//! Checkpoints of audit logs on their way to the ledger (`spec/ledger.md`, L58).

use crate::outbox::Job;
use lct::{
    Digest, Error,
    journal::{CHECKPOINT_LEN, Checkpoint},
    sign::PublicKey,
};
use pack::app::Party;
use std::collections::BTreeMap;

/// Who signed: a party, or the app itself.
type From = Option<Party>;

/// What was sent to the ledger, and what waits for the key that it is verified with.
#[derive(Default)]
pub(crate) struct Anchors {
    /// The last of each. A device repeats it whenever its channel comes up.
    sent: BTreeMap<From, (u64, Digest)>,
    early: BTreeMap<From, [u8; CHECKPOINT_LEN]>,
}

impl Anchors {
    /// Keeps a checkpoint until keys are known; a later one of the same log covers more.
    pub(crate) fn wait(&mut self, from: From, checkpoint: [u8; CHECKPOINT_LEN]) {
        self.early.insert(from, checkpoint);
    }

    /// What waited.
    pub(crate) fn take_early(&mut self) -> BTreeMap<From, [u8; CHECKPOINT_LEN]> {
        std::mem::take(&mut self.early)
    }

    /// The job for the outbox; `None` when this very entry was sent before.
    ///
    /// # Errors
    /// [`Error`] for what `key` did not sign.
    pub(crate) fn job(
        &mut self,
        from: From,
        checkpoint: &[u8; CHECKPOINT_LEN],
        key: PublicKey,
    ) -> Result<Option<Job>, Error> {
        let point = Checkpoint::open(checkpoint, &key)?;
        let (_, signature) = Checkpoint::read(checkpoint)?;
        let end = (point.number, point.hash);
        if self.sent.insert(from, end) == Some(end) {
            return Ok(None);
        }
        Ok(Some(Job::Checkpoint { statement: point.body().to_vec(), key, signature }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{id::Cid, sign::SigningKey};
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn each_entry_is_anchored_once_and_only_by_its_key() {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let (key, other) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
        let point =
            |number| Checkpoint { cid: Cid::of("pack-0001"), number, hash: [number as u8; 32], time: 7 };
        let mut anchors = Anchors::default();
        let mut send = |number, from, key: &SigningKey, rng: &mut ChaCha20Rng| {
            let signed = point(number).issue(key, rng);
            anchors.job(from, &signed, key.public()).map(|job| job.is_some())
        };
        let pack = Some(Party::Pack);
        let sent = [4, 4, 9, 9].map(|n| send(n, pack, &key, &mut rng));
        assert_eq!(sent, [Ok(true), Ok(false), Ok(true), Ok(false)], "signed anew each time");
        assert_eq!(send(9, None, &key, &mut rng), Ok(true), "of another log");
        let signed = point(10).issue(&key, &mut rng);
        assert_eq!(anchors.job(pack, &signed, other.public()), Err(Error::NotAuthentic));
        let Some(Job::Checkpoint { statement, signature, .. }) =
            anchors.job(pack, &signed, key.public()).unwrap()
        else {
            panic!("a forged one does not stand for the true one")
        };
        assert_eq!([&statement[..], &signature.0].concat(), signed);
    }
}
