//! Ends of pairings that a device signed (`spec/channel.md`, H158), on their way to the ledger (`spec/ledger.md`, L101).
//!
//! A device says so once, in clear, and with the key of that binding: a statement is kept for the ledger only when it
//! is verified. What arrives before the keys are known waits for them.

use crate::outbox::Job;
use lct::{
    Error,
    codec::Fields,
    id::{Cid, PairingId},
    revocation::Reason,
    sign::{PublicKey, Signature},
    validation::{Event, EventKind},
};
use std::collections::{BTreeMap, VecDeque};

/// Most statements that wait for keys: one for each relationship of a pack.
const EARLY_MAX: usize = 32;
/// Ends that are remembered of each signer. An older one that is told again is found on the ledger.
const TAKEN_MAX: usize = 64;

/// A key with which a component signs towards one partner, as the ledger has their binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// Who signs.
    pub cid: Cid,
    /// With whom it is bound.
    pub partner: Cid,
    /// Its key in that binding.
    pub key: PublicKey,
}

/// A pairing that one of its entities ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Who ended it.
    pub by: Cid,
    /// The other one.
    pub with: Cid,
    /// Which pairing.
    pub pairing: PairingId,
    /// Why.
    pub reason: Reason,
}

/// What was taken, and what waits for keys.
#[derive(Default)]
pub(crate) struct Endings {
    signers: Vec<Signer>,
    early: Vec<Vec<u8>>,
    /// The last ends that each signer stated.
    taken: BTreeMap<Cid, VecDeque<PairingId>>,
}

impl Endings {
    /// Gives the keys of app, pack and modules, and returns what waited for them.
    pub fn set_signers(&mut self, signers: Vec<Signer>) -> Vec<Vec<u8>> {
        self.signers = signers;
        std::mem::take(&mut self.early)
    }

    /// Takes `n u8 | event n | signature 64`, signed by one of those or with a key of the `field`, which the ledger does not have
    /// yet (H254). `None` for what was taken before or has to wait.
    ///
    /// # Errors
    /// [`Error`] for what is no such statement, or signed by nobody who may.
    pub fn take(
        &mut self,
        statement: &[u8],
        field: impl IntoIterator<Item = Signer>,
    ) -> Result<Option<(Ending, Job)>, Error> {
        if self.signers.is_empty() {
            if self.early.len() < EARLY_MAX && !self.early.iter().any(|known| known == statement) {
                self.early.push(statement.to_vec());
            }
            return Ok(None);
        }
        let mut f = Fields::new(statement);
        let n = usize::from(f.u8()?);
        let bytes = f.slice(n)?;
        let signature = Signature(f.array()?);
        f.end()?;
        let event = Event::decode(bytes)?;
        let (EventKind::PairingRevocation, Some((id, [reason]))) =
            (event.kind, event.payload.split_first_chunk::<16>())
        else {
            return Err(Error::Malformed);
        };
        let (pairing, reason) = (PairingId(*id), Reason::from_code(*reason)?);
        let mut signers = self.signers.iter().copied().chain(field).filter(|signer| signer.cid == event.cid);
        let signer = signers.find(|signer| event.verify(&signer.key, &signature).is_ok());
        let Signer { partner, key, .. } = signer.ok_or(Error::NotAuthentic)?;
        let ending = Ending { by: event.cid, with: partner, pairing, reason };
        let job = Job::Withdrawal { statement: bytes.to_vec(), key, signature };
        let taken = self.taken.entry(event.cid).or_default();
        if taken.contains(&pairing) {
            return Ok(None);
        }
        if taken.len() >= TAKEN_MAX {
            taken.pop_front();
        }
        taken.push_back(pairing);
        Ok(Some((ending, job)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{sign::SigningKey, validation::EVENT_MAX};
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn statement(kind: EventKind, payload: &[u8], key: &SigningKey, rng: &mut ChaCha20Rng) -> Vec<u8> {
        let event = Event::new(kind, Cid::of("pack-0001"), 3, 9, payload).unwrap();
        let signature = event.sign(key, rng).unwrap();
        let mut bytes = [0; EVENT_MAX];
        let n = event.encode(&mut bytes).unwrap();
        [&[n as u8], &bytes[..n], &signature.0].concat()
    }

    #[test]
    fn only_what_a_side_signed_is_taken_and_once() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let [to_app, to_module, other] = std::array::from_fn(|_| SigningKey::generate(&mut rng));
        let (pack, module) = (Cid::of("pack-0001"), Cid::of("module-0001"));
        let payload = [&[7; 16][..], &[Reason::Retired as u8]].concat();
        let good = statement(EventKind::PairingRevocation, &payload, &to_module, &mut rng);
        let mut endings = Endings::default();
        assert!(matches!(endings.take(&good, []), Ok(None)), "nobody is known yet");
        let signer = |partner, key: &SigningKey| Signer { cid: pack, partner, key: key.public() };
        let waited =
            endings.set_signers(vec![signer(Cid::of("app-0001"), &to_app), signer(module, &to_module)]);
        assert_eq!(waited, std::slice::from_ref(&good));
        let foreign = statement(EventKind::PairingRevocation, &payload, &other, &mut rng);
        assert!(matches!(endings.take(&foreign, []), Err(Error::NotAuthentic)));
        let binding = statement(EventKind::BindingRevocation, &payload, &to_module, &mut rng);
        assert!(matches!(endings.take(&binding, []), Err(Error::Malformed)));
        assert!(matches!(endings.take(&good[..good.len() - 1], []), Err(Error::Malformed)));
        let (ending, job) = endings.take(&good, []).unwrap().unwrap();
        let expected =
            Ending { by: pack, with: module, pairing: PairingId([7; 16]), reason: Reason::Retired };
        assert_eq!(ending, expected);
        let Job::Withdrawal { statement: event, key, signature } = job else { panic!("another job") };
        assert!(api::sign::revoke_signed(&event, &key, &signature).is_ok());
        assert!(matches!(endings.take(&good, []), Ok(None)), "once");
        // What one side says of a pairing keeps the word of the other from nobody, and what one says is bounded.
        let said = Event::new(EventKind::PairingRevocation, module, 1, 1, &payload).unwrap();
        let mut bytes = [0; EVENT_MAX];
        let n = said.encode(&mut bytes).unwrap();
        let signature = said.sign(&other, &mut rng).unwrap();
        let other_side = [&[n as u8], &bytes[..n], &signature.0].concat();
        let of_module = Signer { cid: module, partner: pack, key: other.public() };
        endings.set_signers(vec![signer(module, &to_module), of_module]);
        assert_eq!(endings.take(&other_side, []).unwrap().unwrap().0.by, module);
        for id in 0..=TAKEN_MAX as u8 {
            let payload = [&[id; 16][..], &[Reason::Retired as u8]].concat();
            let more = statement(EventKind::PairingRevocation, &payload, &to_module, &mut rng);
            endings.take(&more, []).unwrap();
        }
        assert_eq!((endings.taken[&pack].len(), endings.taken[&module].len()), (TAKEN_MAX, 1));
    }
}
