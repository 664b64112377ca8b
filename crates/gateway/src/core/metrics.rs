//! Reports of metrics of the pack on their way to the ledger (`spec/channel.md`, H213).

use super::*;
use lct::trust::MetricsReport;
use pack::observation::number;

impl Gateway {
    /// A report of the pack about the module at `node`. Before everybody is commissioned the ledger does not know the keys; the
    /// pack tells it again.
    pub(super) fn metrics(&mut self, node: u8, statement: &[u8], signature: Signature) {
        let settled = matches!(&self.phase, Phase::Operating(c) if c.is_finished());
        if !settled || !self.is_measuring(Party::Pack) {
            return;
        }
        let cids = [Party::Pack, Party::Module(node)].map(|party| self.cids.get(&party).copied());
        let judged = |key| Some((key, judge(statement, &key, &signature, cids)?));
        let found = self.keys_between(Some(Party::Pack), None).find_map(judged);
        match found {
            Some((key, report)) => {
                let job = Job::Metrics { statement: statement.to_vec(), key, signature };
                let number = number(node, report.end_ms);
                let by = (key, None);
                let kept = Kept { party: Some(Party::Pack), kind: pdu::METRICS, number, by, again: true };
                self.keep(job, kept);
            }
            None => self.event(Event::Contradiction(Party::Pack)),
        }
    }
}

/// The report, when the pack signed it with `key`, and it is about this module.
fn judge(
    statement: &[u8],
    key: &PublicKey,
    signature: &Signature,
    [pack, module]: [Option<lct::id::Cid>; 2],
) -> Option<MetricsReport> {
    let report = MetricsReport::decode(statement).ok()?;
    let named = pack == Some(report.observer) && module == Some(report.subject);
    (named && report.verify(key, signature).is_ok()).then_some(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{
        id::Cid,
        sign::SigningKey,
        trust::{REPORT_MAX, TrustContext},
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn only_the_packs_own_word_about_that_module_is_kept() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let [key, other] = [(); 2].map(|()| SigningKey::generate(&mut rng));
        let [pack, module] = ["pack-0001", "module-0001"].map(Cid::of);
        let report = MetricsReport {
            observer: pack,
            subject: module,
            context: TrustContext::Operation,
            start_ms: 0,
            end_ms: 3_600_000,
            metrics: [1; 5],
            temperature: 0,
            load_ppm: 0,
            cycles: 0,
        };
        let mut bytes = [0; REPORT_MAX];
        let n = report.encode(&mut bytes).unwrap();
        let signature = report.sign(&key, &mut rng).unwrap();
        let public = key.public();
        let of = |cids| judge(&bytes[..n], &public, &signature, cids);
        assert_eq!(of([Some(pack), Some(module)]), Some(report));
        assert_eq!(of([Some(module), Some(module)]), None, "another observer");
        assert_eq!(of([Some(pack), Some(pack)]), None, "about another module than that of the node");
        assert_eq!(of([Some(pack), None]), None, "of nobody known");
        assert_eq!(judge(&bytes[..n], &other.public(), &signature, [Some(pack), Some(module)]), None);
        assert_eq!(judge(&bytes[..n - 1], &public, &signature, [Some(pack), Some(module)]), None);
    }
}
