//! Keeps the logs of devices as a gateway does: an entry that is not the next one is not taken, unless it tells why.

use super::World;
use lct::{
    audit::{AuditLink, Verifier, genesis, link_hash},
    journal::{Checkpoint, Code, Entry, Gap, KeyStatement},
    sign::PublicKey,
};
use pack::{
    app::{self, Party},
    journal::LogPart,
};
use std::collections::BTreeMap;

/// One chain of a device.
#[derive(Default)]
pub struct Kept {
    pub entries: Vec<(AuditLink, Vec<u8>)>,
    pub checkpoint: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
}

impl Kept {
    /// Number of the last entry.
    pub fn count(&self) -> u64 {
        self.entries.last().map_or(0, |(link, _)| link.number)
    }

    /// Entries as code and detail.
    pub fn told(&self) -> Vec<(u8, Vec<u8>)> {
        let decoded = self.entries.iter().map(|(_, bytes)| Entry::decode(bytes).unwrap());
        decoded.map(|entry| (entry.code, entry.detail.to_vec())).collect()
    }

    /// Details of the entries with `code`, in order.
    pub fn details(&self, code: Code) -> Vec<Vec<u8>> {
        self.told().into_iter().filter(|(c, _)| *c == code as u8).map(|(_, detail)| detail).collect()
    }

    /// Every entry is the device's own, and so is the checkpoint.
    pub fn verify(&self, w: &World, signer: &PublicKey) {
        let statement = KeyStatement::open(self.key.as_ref().unwrap(), signer).unwrap();
        let mut verifier = Verifier::new(Some(statement.first_key(w.authority.spk.opening_key()).unwrap()));
        for (link, entry) in &self.entries {
            if let Some(gap) = Gap::told_by(entry) {
                assert!(verifier.skip(link.number - 1, gap.hash));
            }
            verifier.entry(link, entry).unwrap();
        }
        let point = Checkpoint::open(self.checkpoint.as_ref().unwrap(), signer).unwrap();
        let covered = self.entries.iter().find(|(link, _)| link.number == point.number);
        assert_eq!(
            covered.map(|(link, _)| link.hash),
            Some(point.hash),
            "the checkpoint covers what is kept"
        );
    }
}

/// Chains of each device in the order in which they began; `None` is the app.
#[derive(Default)]
pub struct Keeper {
    pub logs: BTreeMap<Option<Party>, Vec<Kept>>,
}

impl Keeper {
    /// Lets `ms` pass and takes what devices send meanwhile.
    pub fn collect(&mut self, w: &mut World, ms: u64) {
        for _ in 0..ms.div_ceil(250) {
            w.run_for(250);
            for event in std::mem::take(&mut w.events) {
                self.hear(w, event);
            }
        }
    }

    /// Takes what is of a log.
    pub fn hear(&mut self, w: &mut World, event: app::Event) {
        if let app::Event::Log(from, part) = event {
            self.take(w, from, part);
        }
    }

    fn take(&mut self, w: &mut World, from: Option<Party>, part: LogPart) {
        let logs = self.logs.entry(from).or_default();
        if let LogPart::Key(bytes) = &part
            && logs.last().is_none_or(|log| log.key.as_ref().is_some_and(|k| k[..130] != bytes[..130]))
        {
            logs.push(Kept::default());
        }
        let Some(log) = logs.last_mut() else { return };
        let receipt = part.receipt();
        match part {
            LogPart::Entry { number, tag, entry } => {
                let head = log.entries.last().map_or(genesis(), |(link, _)| link.hash);
                let before = match Gap::told_by(&entry) {
                    Some(gap) if gap.joins(log.count(), number) => Some(gap.hash),
                    _ => (number == log.count() + 1).then_some(head),
                };
                if let Some(before) = before {
                    let hash = link_hash(&before, number, &entry).unwrap();
                    log.entries.push((AuditLink { number, hash, tag }, entry.to_vec()));
                }
                if number > log.count() {
                    return;
                }
            }
            LogPart::Checkpoint(bytes) => log.checkpoint = Some(bytes.to_vec()),
            LogPart::Key(bytes) => log.key = Some(bytes.to_vec()),
        }
        w.log_kept(from, receipt);
    }

    /// The chain that `from` writes now.
    pub fn of(&self, from: Option<Party>) -> &Kept {
        self.logs[&from].last().unwrap()
    }

    /// The key that signs for `from` now.
    pub fn signer(w: &World, from: Option<Party>) -> PublicKey {
        match from {
            None => w.app.relation().own_spk().unwrap().signing_key().public(),
            Some(Party::Pack) => w.app.relation().peer_spk().unwrap().sign_pub(),
            Some(Party::Module(node)) => {
                let module = w.modules.iter().find(|m| m.node() == node).unwrap();
                module.relation().own_spk().unwrap().signing_key().public()
            }
        }
    }
}
