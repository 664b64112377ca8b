//! What a log proves, held against the keys, the authority and the anchors that are known (`spec/channel.md`, H126 and
//! H127; `spec/ledger.md`, L59).

use std::collections::BTreeMap;

use gateway::audit::{Log, LogRecord};
use lct::Digest;
use lct::audit::{Broken, Verifier};
use lct::id::BindingId;
use lct::journal::{Checkpoint, Gap, KeyStatement};
use lct::secret::Secret;
use lct::sign::PublicKey;

use crate::custody::authority::Openings;

/// What the ledger holds of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The binding under which it was signed.
    pub binding: BindingId,
    /// The key that signed it.
    pub key: PublicKey,
    /// Entries that it covers.
    pub number: u64,
    /// Hash of the last of them.
    pub hash: Digest,
}

/// What a log is held against.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    /// Relationship keys of the component.
    pub signers: &'a [PublicKey],
    /// Opens the first key of the chain, with which each entry is checked.
    pub authority: Option<&'a Openings>,
    /// What the ledger holds; `None` when no ledger was asked.
    pub anchors: Option<&'a [Anchor]>,
}

/// What a log proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Number of the first entry: 1, unless what came before lies with an earlier keeper.
    pub first: u64,
    /// Number of the last entry.
    pub last: u64,
    /// Entries in between that the device told to be lost.
    pub lost: u64,
    /// Signatures of checkpoints that verified.
    pub checkpoints: usize,
    /// Last entry that a verified checkpoint covers.
    pub covered: u64,
    /// The tag of each entry was checked.
    pub tags: bool,
    /// Bytes of a record that was cut by a power failure.
    pub torn: usize,
    /// A key that signs for the component was known.
    pub signer_known: bool,
    /// Last entry that an anchor on the ledger covers, 0 for none; `None` when no ledger was asked.
    pub anchored: Option<u64>,
}

/// Why a log is not what its device wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Entries are missing, repeated or out of order.
    #[error(
        "entry {expected} is missing: entry {found} stands in its place (deleted, inserted or reordered)"
    )]
    Order {
        /// What should be there.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The entry or what stands before it was changed.
    #[error("entry {0} was changed: its hash does not fit")]
    Changed(u64),
    /// The tag is not the device's.
    #[error("entry {0} was not written by the device: its tag does not fit")]
    Foreign(u64),
    /// A checkpoint tells another hash.
    #[error("an entry up to {0} was changed: the checkpoint over {0} entries tells another hash")]
    Rewritten(u64),
    /// A checkpoint covers entries that are not there.
    #[error("the log ends before entry {missing}: a checkpoint covers {covered} entries")]
    Truncated {
        /// First entry that is missing.
        missing: u64,
        /// What the checkpoint covers.
        covered: u64,
    },
    /// The ledger knows of entries that are not there.
    #[error("cut behind entry {last}: the ledger holds an anchor over {anchored} entries")]
    Cut {
        /// The last entry that is there.
        last: u64,
        /// What the anchor covers.
        anchored: u64,
    },
    /// The ledger knows of entries before the first one.
    #[error("the entries before {first} were cut off: the ledger holds an anchor over {anchored} entries")]
    Beheaded {
        /// The first entry that is there.
        first: u64,
        /// What the anchor covers.
        anchored: u64,
    },
    /// An anchor tells another hash.
    #[error("an entry up to {0} was changed: the ledger's anchor over {0} entries tells another hash")]
    Unanchored(u64),
    /// The ledger knows of a log, and none is there.
    #[error("no log goes with the ledger's anchor over {0} entries")]
    Missing(u64),
    /// A checkpoint or key statement that no known key signed.
    #[error("a {0} is not signed by the component's key")]
    Signature(&'static str),
    /// A checkpoint or key statement of another component.
    #[error("a {0} belongs to another component")]
    WrongLog(&'static str),
    /// The authority cannot open the first key.
    #[error("the first key is not sealed to this authority")]
    Key,
}

impl Finding {
    /// The entry at which the log stops being believable.
    pub fn entry(self) -> Option<u64> {
        match self {
            Finding::Order { expected, .. } => Some(expected),
            Finding::Changed(n) | Finding::Foreign(n) | Finding::Rewritten(n) | Finding::Unanchored(n) => {
                Some(n)
            }
            Finding::Truncated { missing, .. } => Some(missing),
            Finding::Cut { last, .. } => Some(last + 1),
            Finding::Beheaded { first, .. } => Some(first - 1),
            Finding::Missing(_) => Some(1),
            _ => None,
        }
    }
}

/// Checks a log as far as what is known allows.
pub fn check(log: &Log, known: &Known<'_>) -> Result<Report, Finding> {
    let first_key = first_key(log, known)?;
    let mut report = Report {
        first: 1,
        last: 0,
        lost: 0,
        checkpoints: 0,
        covered: 0,
        tags: first_key.is_some(),
        torn: log.torn,
        signer_known: !known.signers.is_empty(),
        anchored: known.anchors.map(|_| 0),
    };
    let mut verifier = Verifier::new(first_key);
    let mut hashes = BTreeMap::new();
    for record in &log.records {
        let LogRecord::Entry(link, entry) = record else { continue };
        let (count, number) = (verifier.head().0, link.number);
        if let Some(gap) = Gap::told_by(entry).filter(|gap| gap.joins(count, number)) {
            if !verifier.skip(number - 1, gap.hash) {
                return Err(Finding::Order { expected: count + 1, found: number });
            }
            match count {
                0 => report.first = number,
                _ => report.lost += number - 1 - count,
            }
        }
        verifier.entry(link, entry).map_err(|broken| match broken {
            Broken::Number { expected, found } => Finding::Order { expected, found },
            Broken::Hash(n) => Finding::Changed(n),
            Broken::Tag(n) => Finding::Foreign(n),
        })?;
        hashes.insert(number, link.hash);
    }
    report.last = verifier.head().0;
    for record in &log.records {
        let LogRecord::Checkpoint(bytes) = record else { continue };
        let point = signed(
            known.signers,
            |key| Checkpoint::open(bytes, key),
            || Checkpoint::read(bytes).map(|(point, _)| point),
        );
        let point = point.ok_or(Finding::Signature("checkpoint"))?;
        if point.cid != log.cid {
            return Err(Finding::WrongLog("checkpoint"));
        }
        let covered = point.number;
        match hashes.get(&covered) {
            Some(hash) if *hash != point.hash => return Err(Finding::Rewritten(covered)),
            None if covered > report.last => {
                return Err(Finding::Truncated { missing: report.last + 1, covered });
            }
            _ => {}
        }
        if report.signer_known {
            report.checkpoints += 1;
            report.covered = report.covered.max(covered);
        }
    }
    for anchor in known.anchors.unwrap_or_default() {
        let anchored = anchor.number;
        if !goes_with(log, anchor) {
            continue;
        }
        match hashes.get(&anchored) {
            Some(hash) if *hash != anchor.hash => return Err(Finding::Unanchored(anchored)),
            None if anchored > report.last => return Err(Finding::Cut { last: report.last, anchored }),
            None if anchored < report.first => {
                return Err(Finding::Beheaded { first: report.first, anchored });
            }
            Some(_) => report.anchored = report.anchored.max(Some(anchored)),
            // The device told that this one is lost.
            None => {}
        }
    }
    Ok(report)
}

/// An anchor that goes with none of a component's logs: one of them is gone, or all that vouched for it was removed.
pub fn missing(logs: &[&Log], anchors: &[Anchor]) -> Option<Finding> {
    let alone = anchors.iter().filter(|anchor| !logs.iter().any(|log| goes_with(log, anchor)));
    alone.map(|anchor| anchor.number).max().map(Finding::Missing)
}

/// Whether an anchor is of this log: its key vouches for the log, or nothing does.
fn goes_with(log: &Log, anchor: &Anchor) -> bool {
    let mut vouched = false;
    for record in &log.records {
        let signed = match record {
            LogRecord::Entry(..) => continue,
            LogRecord::Checkpoint(bytes) => Checkpoint::open(bytes, &anchor.key).is_ok(),
            LogRecord::Key(bytes) => KeyStatement::open(bytes, &anchor.key).is_ok(),
        };
        if signed {
            return true;
        }
        vouched = true;
    }
    !vouched
}

/// What one of `signers` signed; without any, what is written.
fn signed<T>(
    signers: &[PublicKey],
    open: impl Fn(&PublicKey) -> Result<T, lct::Error>,
    read: impl Fn() -> Result<T, lct::Error>,
) -> Option<T> {
    match signers {
        [] => read().ok(),
        keys => keys.iter().find_map(|key| open(key).ok()),
    }
}

fn first_key(log: &Log, known: &Known<'_>) -> Result<Option<Secret<32>>, Finding> {
    const WHAT: &str = "statement of the first key";
    let mut first = None;
    for record in &log.records {
        let LogRecord::Key(bytes) = record else { continue };
        let statement =
            signed(known.signers, |key| KeyStatement::open(bytes, key), || KeyStatement::read(bytes));
        let statement = statement.ok_or(Finding::Signature(WHAT))?;
        if statement.cid != log.cid {
            return Err(Finding::WrongLog(WHAT));
        }
        if let (Some(authority), None) = (known.authority, &first) {
            first = authority.first_key(&statement).map_err(|_| Finding::Key)?;
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::audit::AuditChain;
    use lct::id::Cid;
    use lct::journal::{Code, Entry, seal_first_key};
    use lct::sign::SigningKey;
    use lct::spk::SpkSecret;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    struct Made {
        log: Log,
        signer: [PublicKey; 1],
        authority: Openings,
    }

    impl Made {
        fn known(&self) -> Known<'_> {
            Known { signers: &self.signer, authority: Some(&self.authority), anchors: None }
        }

        fn anchor(&self, number: u64) -> Anchor {
            let at = self.log.records.iter().find_map(|r| match r {
                LogRecord::Entry(link, _) if link.number == number => Some(link.hash),
                _ => None,
            });
            Anchor {
                binding: BindingId([1; 16]),
                key: self.signer[0],
                number,
                hash: at.unwrap_or([0xEE; 32]),
            }
        }
    }

    /// A log that holds its key statement and no entry yet.
    struct Begun {
        rng: ChaCha20Rng,
        key: SigningKey,
        authority: SpkSecret,
        cid: Cid,
        records: Vec<LogRecord>,
        chain: AuditChain,
    }

    fn begun(seed: u64) -> Begun {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let key = SigningKey::generate(&mut rng);
        let authority = SpkSecret::generate(&mut rng).unwrap();
        let cid = Cid::of("module-0001");
        let first = Secret::random(&mut rng);
        let sealed = seal_first_key(&first, &cid, &authority.public(), &mut rng).unwrap();
        let records = vec![LogRecord::Key(KeyStatement { cid, sealed }.issue(&key, &mut rng))];
        Begun { rng, key, authority, cid, records, chain: AuditChain::new(first) }
    }

    /// A log of nine entries with a checkpoint over the first six.
    fn made() -> Made {
        let Begun { mut rng, key, authority, cid, mut records, mut chain } = begun(3);
        for i in 1..=9u8 {
            let entry = vec![1, i, 0, 0];
            records.push(LogRecord::Entry(chain.append(&entry).unwrap(), entry));
            if i == 6 {
                let (number, hash) = chain.head();
                let point = Checkpoint { cid, number, hash, time: 0 }.issue(&key, &mut rng);
                records.push(LogRecord::Checkpoint(point));
            }
        }
        let authority = authority.opening_key().clone().into();
        Made { log: Log { cid, records, torn: 0 }, signer: [key.public()], authority }
    }

    /// Places of the entries in the list of records.
    fn at(entry: usize) -> usize {
        if entry <= 6 { entry } else { entry + 1 }
    }

    #[test]
    fn every_attack_is_found_at_its_entry() {
        let m = made();
        let full = |log: &Log| check(log, &m.known());
        let good = full(&m.log).unwrap();
        assert_eq!((good.last, good.checkpoints, good.covered, good.tags), (9, 1, 6, true));
        for n in 1..=9u64 {
            let i = at(n as usize);
            let mut edited = m.log.clone();
            if let LogRecord::Entry(_, bytes) = &mut edited.records[i] {
                bytes[2] ^= 1;
            }
            assert_eq!(full(&edited), Err(Finding::Foreign(n)), "edited");
            assert_eq!(check(&edited, &Known::default()), Err(Finding::Changed(n)), "edited, nothing known");
            let mut deleted = m.log.clone();
            deleted.records.remove(i);
            if n < 9 {
                assert_eq!(full(&deleted), Err(Finding::Order { expected: n, found: n + 1 }), "deleted");
            }
            if n > 1 {
                let mut swapped = m.log.clone();
                swapped.records.swap(at(n as usize - 1), i);
                assert_eq!(full(&swapped), Err(Finding::Order { expected: n - 1, found: n }), "reordered");
            }
            // Cut after entry n, with every checkpoint that is there left in place.
            let mut cut = m.log.clone();
            cut.records.retain(|r| !matches!(r, LogRecord::Entry(link, _) if link.number > n));
            let expected = match n {
                1..6 => Err(Finding::Truncated { missing: n + 1, covered: 6 }),
                _ => Ok(n),
            };
            assert_eq!(full(&cut).map(|r| r.last), expected, "cut after {n}");
        }
    }

    /// Somebody without the device's keys rebuilds hashes from entry 4 on.
    #[test]
    fn a_rebuilt_chain_meets_its_checkpoint_and_its_tags() {
        let m = made();
        let mut forged = m.log.clone();
        let mut head = lct::audit::genesis();
        for record in &mut forged.records {
            if let LogRecord::Entry(link, bytes) = record {
                if link.number >= 4 {
                    bytes[3] = 9;
                }
                link.hash = lct::audit::link_hash(&head, link.number, bytes).unwrap();
                head = link.hash;
            }
        }
        let no_authority = Known { authority: None, ..m.known() };
        assert_eq!(check(&forged, &no_authority), Err(Finding::Rewritten(6)));
        assert_eq!(check(&forged, &m.known()), Err(Finding::Foreign(4)));
        // With neither there is nothing to hold it against, and the report says that nobody vouches.
        let unknown = check(&m.log, &Known::default()).unwrap();
        assert!(!unknown.signer_known && unknown.checkpoints == 0 && !unknown.tags);
    }

    #[test]
    fn statements_of_others_do_not_vouch() {
        let (m, other) = (made(), SpkSecret::generate(&mut ChaCha20Rng::seed_from_u64(77)).unwrap());
        let stranger = SigningKey::from_bytes(&[7; 32]).unwrap().public();
        assert_eq!(
            check(&m.log, &Known { signers: &[stranger], ..Known::default() }),
            Err(Finding::Signature("statement of the first key"))
        );
        let other = Openings::from(other.opening_key().clone());
        assert_eq!(check(&m.log, &Known { authority: Some(&other), ..Known::default() }), Err(Finding::Key));
        let mut moved = m.log.clone();
        moved.cid = Cid::of("module-0002");
        assert_eq!(check(&moved, &m.known()), Err(Finding::WrongLog("statement of the first key")));
    }

    /// What is cut behind the last checkpoint that the file has is known to the ledger.
    #[test]
    fn an_anchor_outlives_what_is_cut_from_the_file() {
        let m = made();
        let anchors = [m.anchor(6), m.anchor(9)];
        let full = |log: &Log, anchors: &[Anchor]| {
            check(log, &Known { anchors: Some(anchors), ..m.known() }).map(|r| r.anchored)
        };
        assert_eq!(full(&m.log, &anchors), Ok(Some(9)));
        assert_eq!(full(&m.log, &[]), Ok(Some(0)));
        for last in 1..9u64 {
            let mut cut = m.log.clone();
            let end = at(last as usize) + 1;
            cut.records.truncate(end);
            let anchored = if last < 6 { 6 } else { 9 };
            assert_eq!(full(&cut, &anchors), Err(Finding::Cut { last, anchored }), "cut after {last}");
            assert_eq!(
                check(&cut, &m.known()).map(|r| r.last),
                Ok(last),
                "without the ledger it looks whole"
            );
            // Whoever removes all that vouches for the file does not get rid of its anchors.
            cut.records.retain(|r| matches!(r, LogRecord::Entry(..)));
            let known = Known { anchors: Some(&anchors), ..Known::default() };
            assert_eq!(check(&cut, &known), Err(Finding::Cut { last, anchored }), "nothing vouches");
        }
        let mut other = m.anchor(7);
        other.hash[0] ^= 1;
        assert_eq!(full(&m.log, &[m.anchor(6), other]), Err(Finding::Unanchored(7)));
        // An anchor of another binding belongs to a log that is not here.
        let stranger = SigningKey::from_bytes(&[7; 32]).unwrap().public();
        let elsewhere = Anchor { key: stranger, ..m.anchor(40) };
        assert_eq!(full(&m.log, &[m.anchor(9), elsewhere.clone()]), Ok(Some(9)));
        assert_eq!(missing(&[&m.log], &[m.anchor(9), elsewhere]), Some(Finding::Missing(40)));
        assert_eq!(missing(&[&m.log], &anchors), None);
        assert_eq!(missing(&[], &anchors), Some(Finding::Missing(9)), "the file is gone");
    }

    /// A gap that the device told is no damage; the same gap that it did not tell is.
    #[test]
    fn told_gaps_hold_and_others_do_not() {
        let Begun { mut rng, key, authority, cid, mut records, mut chain } = begun(5);
        for i in 1..=5u8 {
            let entry = vec![1, i, 0, 0];
            let link = chain.append(&entry).unwrap();
            if i <= 3 {
                records.push(LogRecord::Entry(link, entry));
            }
        }
        let detail = Gap { first: 4, hash: chain.head().1 }.encode().into_iter().collect();
        let told = Entry { code: Code::EntriesLost as u8, boot: 1, uptime_s: 0, time: 0, node: 255, detail };
        let told = told.encode().unwrap();
        records.push(LogRecord::Entry(chain.append(&told).unwrap(), told.to_vec()));
        let (number, hash) = chain.head();
        records.push(LogRecord::Checkpoint(Checkpoint { cid, number, hash, time: 0 }.issue(&key, &mut rng)));
        let signer = [key.public()];
        let authority = Openings::from(authority.opening_key().clone());
        let known = Known { signers: &signer, authority: Some(&authority), anchors: None };
        let log = Log { cid, records, torn: 0 };
        let good = check(&log, &known).unwrap();
        assert_eq!((good.first, good.last, good.lost, good.covered), (1, 6, 2, 6));
        // An entry before the gap is taken out: the gap no longer joins.
        let mut shorter = log.clone();
        shorter.records.remove(3);
        assert_eq!(check(&shorter, &known), Err(Finding::Order { expected: 3, found: 6 }));
        // All of them: that is how a log at a new keeper begins, and only an anchor tells the difference.
        let mut beheaded = log.clone();
        beheaded.records.drain(1..4);
        let good = check(&beheaded, &known).unwrap();
        assert_eq!((good.first, good.last, good.lost), (6, 6, 0));
        let anchor = Anchor { binding: BindingId([1; 16]), key: signer[0], number: 3, hash: [1; 32] };
        let anchored = Known { anchors: Some(std::slice::from_ref(&anchor)), ..known };
        assert_eq!(check(&beheaded, &anchored), Err(Finding::Beheaded { first: 6, anchored: 3 }));
    }
}
