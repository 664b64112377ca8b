//! What changes a device's standing: time, revocations, policy, its log, its flash.

use crate::fixture::{AUTHORITY, SIDE_A, SIDE_B, cid_a, cid_b, rng, signed};
use crate::input::Input;
use lct::secret::Secret;
use pack::identity::Record;

pub mod lifecycle {
    use super::*;
    use lct::clock::TimeToken;
    use lct::policy::{Policy, Rotation, digest_of};
    use lct::rebind::Rebind;
    use lct::revocation::{Reason, RevocationList, Revoked, Subject};
    use lct::sign::Signature;
    use pack::time::Instant;

    pub fn seeds() -> Vec<Vec<u8>> {
        let list = RevocationList {
            number: 2,
            this_update: 1,
            next_update: 2,
            previous: [3; 32],
            entries: heapless::Vec::from_slice(&[Revoked {
                subject: Subject::Component(cid_a()),
                reason: Reason::Lost,
                time: 1,
            }])
            .expect("short"),
        };
        let list = list.issue(AUTHORITY.signing_key(), &mut rng()).expect("fits");
        let head =
            [&[1][..], &2u32.to_be_bytes(), &cid_a().0, &cid_b().0, &Rotation::FACTORY.to_bytes()].concat();
        let row = [0x04, 0, 0x04, 0, 0, 0, 1, 3];
        let policy = [&head[..], &[0, 1], &row].concat();
        let leave = [&[1][..], &cid_a().0, &[5; 32]].concat();
        vec![list[..list.len() - 64].to_vec(), vec![1, 0, 0, 0, 9], leave, policy]
    }

    pub fn run(data: &[u8]) {
        let key = AUTHORITY.public().sign_pub();
        let sign = |domain: &[u8]| signed(AUTHORITY.signing_key(), domain, data);
        let _claims = (TimeToken::claimed(data), RevocationList::claimed_number(data));
        if let Ok(token) = TimeToken::open(&sign(b"modbatt1 time"), &key) {
            assert_eq!(token.issue(AUTHORITY.signing_key(), &mut rng())[..5], *data, "one encoding only");
        }
        if let Ok(leave) = Rebind::open(&sign(b"modbatt1 rebind"), &key) {
            let again = leave.issue(AUTHORITY.signing_key(), &mut rng());
            assert_eq!(again[..again.len() - 64], *data, "one encoding only");
            assert_eq!(leave.is_granted_by(&again, &key), Ok(()));
        }
        if let Ok(list) = RevocationList::open(&sign(b"modbatt1 crl"), &key) {
            let again = list.issue(AUTHORITY.signing_key(), &mut rng()).expect("what was read fits");
            assert_eq!(again[..again.len() - 64], *data, "one encoding only");
        }
        let mut held = pack::revocations::Revocations::restore(|_| None).expect("nothing is held");
        let _taken = held.take(Instant::START, &sign(b"modbatt1 crl"), &key);
        let _restored = pack::revocations::Revocations::restore(|key| Record::new(key, &[data]).ok());
        if let Ok(policy) = Policy::decode(data) {
            assert_eq!(policy.encode().expect("what was read fits")[..], *data, "one encoding only");
            let digest = digest_of(data);
            let sigs = [&AUTHORITY, &SIDE_A, &SIDE_B].map(|side| side.signing_key().sign_rfc6979(&digest));
            let [Signature(by_authority), Signature(by_a), Signature(by_b)] = sigs;
            Policy::open_request(&[data, &by_authority].concat(), &key).expect("it was signed");
            let all = [data, &by_authority, &by_a, &by_b].concat();
            let keys = [SIDE_A.public().sign_pub(), SIDE_B.public().sign_pub()];
            let _opened = Policy::open(&all, &key, |_| Ok(keys));
        }
    }
}

pub mod delegation {
    use super::*;
    use lct::delegation::{Act, DelegateRevocation, Delegation, DelegationId};
    use lct::spk::Spk;
    use lct::succession::Succession;

    pub fn seeds() -> Vec<Vec<u8>> {
        let right = Delegation {
            number: 1,
            delegate: SIDE_B.public(),
            issued: 1,
            not_before: 1,
            not_after: 9,
            lease_s: 60,
            operations: 7,
            packs: heapless::Vec::from_slice(&[cid_b()]).expect("short"),
        };
        let right = right.issue(AUTHORITY.signing_key(), &mut rng()).expect("in its ranges");
        let ended = [&[1][..], &[2; 16], &[3], &[4; 16], &[1], &[0; 4]].concat();
        let act = [&[1][..], &[2; 16], &1u32.to_be_bytes(), &[0; 32], &[0; 4], &[5; 32]].concat();
        let follows = Succession::issue(1, (&AUTHORITY.public(), AUTHORITY.signing_key()), (&SIDE_B.public(), SIDE_B.signing_key()), &mut rng());
        vec![right[..right.len() - 64].to_vec(), ended, act, follows.to_vec(), follows[..81].to_vec()]
    }

    pub fn run(data: &[u8]) {
        let (authority, delegate) = (AUTHORITY.public(), SIDE_B.public().sign_pub());
        let by = |key: &lct::spk::SpkSecret, domain: &[u8]| signed(key.signing_key(), domain, data);
        let _read = (Delegation::read(data), Act::read(data), DelegationId::of(data));
        if let Ok(right) = Delegation::open(&by(&AUTHORITY, b"modbatt1 delegation"), &authority.sign_pub()) {
            let again = right.issue(AUTHORITY.signing_key(), &mut rng()).expect("what was read fits");
            assert_eq!(again[..again.len() - 64], *data, "one encoding only");
            let times = [right.not_before, right.not_after.wrapping_sub(1), right.not_after];
            assert_eq!(times.map(|t| right.holds_at(t)), [true, true, false]);
        }
        if let Ok(ended) = DelegateRevocation::open(&by(&SIDE_B, b"modbatt1 delegate revoke"), &delegate) {
            let again = ended.issue(SIDE_B.signing_key(), &mut rng());
            assert_eq!(again[..again.len() - 64], *data, "one encoding only");
        }
        if let Ok(act) = Act::open(&by(&SIDE_B, b"modbatt1 act"), &delegate) {
            let again = act.issue(SIDE_B.signing_key(), &mut rng());
            assert_eq!(again[..again.len() - 64], *data, "one encoding only");
        }
        let both =
            [&by(&AUTHORITY, b"modbatt1 succession")[..], &by(&SIDE_B, b"modbatt1 succession")[data.len()..]];
        for bytes in [data, &both.concat()] {
            if let Ok(follows) = Succession::open(bytes, &authority) {
                let known: Spk = follows.new;
                assert_eq!(
                    (follows.old, known),
                    (authority.id(), SIDE_B.public()),
                    "only who signed follows"
                );
            }
        }
    }
}

pub mod escalation {
    use super::*;
    use pack::escalation::{Escalation, Message};
    use pack::time::{Duration, Instant};

    pub fn seeds() -> Vec<Vec<u8>> {
        vec![vec![7, 6, 2, 1, 0, 0, 0, 1, 7, 5, 1, 0, 0, 0, 0, 2], vec![6, 0x81, 0, 0, 0, 1, 6]]
    }

    /// A row of messages of a peer, some seconds apart: whatever they say, nothing that is asked for gets less.
    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        let (mut state, mut now) = (Escalation::default(), Instant::START);
        while !input.0.is_empty() {
            let n = usize::from(input.byte()).min(input.0.len());
            let (message, rest) = input.0.split_at(n);
            input.0 = rest;
            let Ok(read) = Message::parse(message) else { continue };
            assert_eq!(read.to_pdu().expect("short")[1..], *message, "one encoding only");
            let before = state.level(now);
            match read {
                Message::Ask(request) => drop(state.heard(now, &request)),
                Message::Answer { seq, .. } => state.answered(seq),
            }
            assert!(state.level(now) >= before, "a message lowered the level");
            now = now + Duration::from_secs(u64::from(n as u8 & 3));
        }
    }
}

pub mod audit {
    use super::*;
    use lct::audit::AuditChain;
    use lct::journal::{Checkpoint, Entry, Gap, KeyStatement};

    pub fn seeds() -> Vec<Vec<u8>> {
        let point = [&[1][..], &cid_a().0, &1u64.to_be_bytes(), &[2; 32], &3u32.to_be_bytes()].concat();
        let statement = [&[1][..], &cid_a().0, &[4; 32 + lct::spk::HPKE_OVERHEAD]].concat();
        let gap = [&[1, 29, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 8, 255, 40][..], &7u64.to_be_bytes(), &[5; 32]]
            .concat();
        let torn = vec![1, 5, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 8, 255, 3, 1];
        vec![torn, vec![1; 16], point, statement, gap]
    }

    pub fn run(data: &[u8]) {
        let key = AUTHORITY.public().sign_pub();
        if let Ok(entry) = Entry::decode(data) {
            assert_eq!(entry.encode().expect("what was read fits")[..], *data, "one encoding only");
            let mut chain = AuditChain::restore(7, [1; 32], Secret::new([2; 32]));
            let _appended = chain.append(data);
        }
        if let Some(gap) = Gap::told_by(data) {
            let (count, number) = (gap.first.saturating_sub(1), gap.first);
            assert_eq!(gap.joins(count, number), number > count, "what tells that nothing is missing");
            assert!(!gap.joins(number, number), "no entry stands behind itself");
        }
        let _read = (Checkpoint::read(data), KeyStatement::read(data));
        let _point = Checkpoint::open(&signed(AUTHORITY.signing_key(), b"modbatt1 logcheck", data), &key);
        for domain in [&b"modbatt1 logkey"[..], b"modbatt1 log key"] {
            let _statement = KeyStatement::open(&signed(AUTHORITY.signing_key(), domain, data), &key);
        }
    }
}

pub mod flash {
    use super::*;
    use lct::counter::Reservation;
    use pack::app::App;
    use pack::controller::Controller;
    use pack::module::{Module, Rating};

    /// Records of flash as a world left them, with one of them damaged by the input.
    pub fn seeds() -> Vec<Vec<u8>> {
        (0..12).map(|key| vec![1, key, 0, 0, 4, 1, 2, 3, 4]).chain([vec![0; 40], vec![2, 0]]).collect()
    }

    pub fn run(data: &[u8]) {
        let _reservation = Reservation::decode(data, &Secret::new([1; 32]));
        let _number = pack::identity::versioned_u32(data);
        let _boot = pack::identity::next_boot(Some(data));
        crate::targets::roles::with_world(|world, kept| {
            let mut input = Input(data);
            let who = usize::from(input.byte()) % kept.len();
            let mut flash = kept[who].clone();
            let keys: Vec<u16> = flash.keys().copied().collect();
            let at = keys[usize::from(input.byte()) % keys.len()];
            let record = flash.entry(at).or_default();
            match input.byte() & 3 {
                0 => *record = input.slice().to_vec(),
                1 => record.truncate(usize::from(input.byte())),
                2 => record.extend_from_slice(input.slice()),
                _ => {
                    let at = usize::from(input.byte()) % record.len().max(1);
                    let mask = input.byte();
                    if let Some(byte) = record.get_mut(at) {
                        *byte ^= mask;
                    }
                }
            }
            let load = |key: u16| flash.get(&key).map(|value| Record::new(key, &[value])).transpose();
            let (own, now, mut rng) = (world.identities[who].clone(), world.now, rng());
            let rating = Rating { charge_ma: 65_000, discharge_ma: -200_000, end_of_charge_mv: 8_300 };
            // A role may refuse to start from damaged flash; it may not panic.
            let _started = match who {
                0 => App::start(own, 0, load, now, &mut rng).is_ok(),
                1 => Controller::start(own, 0, load, now, &mut rng).is_ok(),
                _ => Module::start(own, rating, load, now, &mut rng).is_ok(),
            };
        });
    }
}

pub mod vault {
    use super::*;
    use pack::vault::{BLANK, Flash, FlashFailed, KeyStore, PAGE_WORDS, Vault, Word};
    use std::sync::LazyLock;

    const PAGES: usize = 3;

    /// Three pages and a storage key.
    #[derive(Clone)]
    struct Board {
        words: Vec<Word>,
        key: Option<Secret<32>>,
    }

    impl Flash for Board {
        fn pages(&self) -> usize {
            PAGES
        }
        fn read(&self, page: usize, word: usize) -> Option<Word> {
            self.words.get(page * PAGE_WORDS + word).copied()
        }
        fn program(&mut self, page: usize, word: usize, value: Word) -> Result<(), FlashFailed> {
            *self.words.get_mut(page * PAGE_WORDS + word).ok_or(FlashFailed)? = value;
            Ok(())
        }
        fn erase(&mut self, page: usize) -> Result<(), FlashFailed> {
            self.words.get_mut(page * PAGE_WORDS..(page + 1) * PAGE_WORDS).ok_or(FlashFailed)?.fill(BLANK);
            Ok(())
        }
    }

    impl KeyStore for Board {
        fn storage_key(&self) -> Option<Secret<32>> {
            self.key.clone()
        }
        fn set_storage_key(&mut self, key: &Secret<32>) -> Result<(), FlashFailed> {
            self.key = Some(key.clone());
            Ok(())
        }
    }

    const KEYS: [u16; 4] = [1, 2, 0x1000, 0x1001];

    /// A board with a few records, each stored twice.
    static FILLED: LazyLock<Board> = LazyLock::new(|| {
        let blank = Board { words: vec![BLANK; PAGES * PAGE_WORDS], key: None };
        let mut rng = rng();
        let mut vault = Vault::mount(blank, AUTHORITY.signing_key(), &mut rng).expect("a blank board");
        for (i, key) in KEYS.into_iter().chain(KEYS).enumerate() {
            let record = Record::new(key, &[&[1, i as u8, 2, 3, 4]]).expect("short");
            vault.store(&record, &mut rng).expect("the flash works");
        }
        vault.board().clone()
    });

    pub fn seeds() -> Vec<Vec<u8>> {
        (0..24).map(|word| vec![0, word, 1, 1, word, 0, 2, word, 9]).chain([vec![3, 3, 3], vec![]]).collect()
    }

    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        let mut board = FILLED.clone();
        let mut rng = rng();
        while !input.is_empty() {
            let op = input.byte();
            // Most damage goes where something is written.
            let at = usize::from(op >> 4 & 3) * PAGE_WORDS + usize::from(input.byte());
            let Some(word) = board.words.get_mut(at) else { continue };
            match op & 3 {
                0 => word[usize::from(op >> 6)] ^= input.byte(),
                1 => *word = [input.byte(); 8],
                2 => *word = input.array(),
                _ => *word = [0; 8],
            }
        }
        let touched = board.words != FILLED.words;
        let Ok(mut vault) = Vault::mount(board, AUTHORITY.signing_key(), &mut rng) else { return };
        for (i, key) in KEYS.into_iter().enumerate() {
            let newest = [1, 4 + i as u8, 2, 3, 4];
            match vault.load(key) {
                Ok(Some(record)) => assert!(touched || record.value == newest),
                Ok(None) | Err(_) => assert!(touched, "an honest board"),
            }
        }
        let record = Record::new(3, &[&[1, 7]]).expect("short");
        if vault.store(&record, &mut rng).is_ok() {
            assert!(vault.load(3).is_ok_and(|read| read.is_some_and(|read| read.value == record.value)));
        }
    }
}

pub mod backup {
    use super::*;
    use lct::backup::{Backup, KEYS_MAX, Named, Public, Set, Share};
    use std::sync::LazyLock;

    const SET: Set = Set { id: [4; 16], threshold: 3, shares: 5 };

    static SEALED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let share = Share::seal((SET, 2), &key(), &SIDE_A.public(), &mut rng()).expect("it can be");
        share.to_bytes().to_vec()
    });

    fn key() -> Secret<32> {
        Secret::new([6; 32])
    }

    pub fn seeds() -> Vec<Vec<u8>> {
        let named = |name: &str, public| Named { name: name.try_into().expect("short"), public };
        let signing = AUTHORITY.signing_key();
        let keys = [
            named("authority", Public::Spk(AUTHORITY.public())),
            named("root", Public::Signing(signing.public().0)),
        ];
        let secrets = [AUTHORITY.seed().clone(), signing.to_bytes()];
        let keys: heapless::Vec<_, KEYS_MAX> = keys.into_iter().collect();
        let sealed = |lineage: &[u8]| {
            let backup = Backup { set: SET, time: 1, keys: keys.clone(), lineage };
            backup.seal(&secrets, &key()).expect("each beside its public key").to_vec()
        };
        vec![sealed(b""), sealed(b"who followed whom"), SEALED.clone()]
    }

    pub fn run(data: &[u8]) {
        if let Ok(backup) = Backup::read(data) {
            let _known = Backup::is_opened_by(data, &key()).expect("it was read");
            if let Ok(secrets) = Backup::open(data, &key()) {
                let again = backup.seal(&secrets, &key()).expect("what was opened can be sealed");
                assert_eq!(again[..], *data, "one encoding only");
            }
        }
        if let Ok(share) = Share::read(data) {
            assert_eq!(share.to_bytes()[..], *data, "one encoding only");
            let opened = share.open(&SIDE_A.public(), SIDE_A.opening_key());
            assert!(opened.is_err() || data == SEALED.as_slice(), "nobody else sealed to it");
        }
    }
}
