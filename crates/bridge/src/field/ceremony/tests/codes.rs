//! Each refusal of a laptop, with what provokes it (`spec/channel.md`, H239).

use super::*;
use crate::{
    authority::signer::{Token, TokenFailure},
    field::Place,
};
use api::delegation::{Agreed, Owned};
use lct::sign::PublicKey;
use std::collections::BTreeSet;

/// A token that was taken out.
struct Gone(PublicKey);

impl Token for Gone {
    fn public(&self) -> PublicKey {
        self.0
    }

    fn sign(&self, _: &Digest) -> Result<Signature, TokenFailure> {
        Err(TokenFailure("it was taken out".into()))
    }
}

const PAIRING: Subject = Subject::Pairing(PairingId([3; 16]));

/// A laptop in a folder of its own.
struct Bench {
    dir: tempfile::TempDir,
    key: AuthorityKey,
    brief: Brief,
}

impl Bench {
    fn new() -> Self {
        let key = AuthorityKey::generate().unwrap();
        let brief = brief(&key, 7);
        Bench { dir: tempfile::tempdir().unwrap(), key, brief }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn open(&self) -> Result<Field, FieldError> {
        Field::open(again(&self.key), &self.brief.delegation.0, &self.path())
    }

    fn laptop(&self) -> (Field, Ground) {
        opened(&self.key, &self.brief, &self.path())
    }

    /// The app and its pack are bound too.
    fn with_app(mut self) -> Self {
        let mut relation = self.brief.relations[0].clone();
        (relation.binding_id, relation.a, relation.b) = (Hex([4; 16]), kept("app-0001"), kept(PAIR[0]));
        self.brief.relations.push(relation);
        self
    }

    fn pair(&self, ids: [&str; 2], carry: &mut Carry<'_>) -> FieldError {
        let (mut field, mut ground) = self.laptop();
        let way = &mut Way { carry, pause: Duration::ZERO };
        field.pair(&mut ground, ids, FROM + 1, way).unwrap_err()
    }

    fn bind(&self, ids: [&str; 2], carry: &mut Carry<'_>) -> FieldError {
        let (mut field, mut ground) = self.laptop();
        let way = &mut Way { carry, pause: Duration::ZERO };
        field.bind(&mut ground, ids, None, FROM + 1, way).unwrap_err()
    }

    fn exchange(&self, packs: [&str; 2], carry: &mut Carry<'_>) -> FieldError {
        let (mut field, mut ground) = self.laptop();
        let way = &mut Way { carry, pause: Duration::ZERO };
        field.exchange(&mut ground, packs, FROM + 1, way).unwrap_err()
    }

    fn end(&self, subject: Subject, now: u32) -> FieldError {
        self.open().unwrap().end(subject, Reason::Lost, now).unwrap_err()
    }
}

fn nobody(_: &str, _: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    Err(NoAnswer { silent: false, why: "cable".into() })
}

fn provoked(code: &str) -> Option<FieldError> {
    let b = Bench::new();
    Some(match code {
        "W4_ERR_FIELD_DELEGATION" => {
            Field::open(again(&b.key), &b.brief.delegation.0[1..], &b.path()).unwrap_err()
        }
        "W4_ERR_FIELD_KEY" => {
            let stranger = AuthorityKey::generate().unwrap();
            Field::open(stranger, &b.brief.delegation.0, &b.path()).unwrap_err()
        }
        "W4_ERR_FIELD_JOURNAL" => {
            fs::write(b.path(), b"MBDJ").unwrap();
            b.open().unwrap_err()
        }
        "W4_ERR_FIELD_JOURNAL_IN_USE" => {
            let _first = b.open().unwrap();
            b.open().unwrap_err()
        }
        "W4_ERR_FIELD_JOURNAL_OTHER" => {
            drop(b.open().unwrap());
            Field::open(again(&b.key), &delegation(&b.key, 1), &b.path()).unwrap_err()
        }
        "W4_ERR_FIELD_JOURNAL_DAMAGED" => {
            b.open().unwrap().end(PAIRING, Reason::Lost, FROM).unwrap();
            let mut bytes = fs::read(b.path()).unwrap();
            let at = bytes.len() - 20;
            bytes[at] ^= 1;
            fs::write(b.path(), bytes).unwrap();
            b.open().unwrap_err()
        }
        "W4_ERR_FIELD_WINDOW" => b.end(PAIRING, FROM + 600),
        "W4_ERR_FIELD_CLOCK" => {
            b.open().unwrap().end(PAIRING, Reason::Lost, FROM + 5).unwrap();
            b.end(PAIRING, FROM + 4)
        }
        "W4_ERR_FIELD_OPERATION" => Bench { brief: brief(&b.key, 3), ..b }.end(PAIRING, FROM),
        "W4_ERR_FIELD_SUBJECT" => b.end(Subject::Component(Cid([1; 16])), FROM),
        "W4_ERR_FIELD_JOURNAL_FULL" => {
            let mut field = b.open().unwrap();
            field.acts = u32::MAX;
            field.end(PAIRING, Reason::Lost, FROM).unwrap_err()
        }
        "W4_ERR_FIELD_JOURNAL_UNFIT" => {
            let mut field = b.open().unwrap();
            field.file = File::open(b.path()).unwrap();
            field.end(PAIRING, Reason::Lost, FROM).unwrap_err();
            field.end(PAIRING, Reason::Lost, FROM).unwrap_err()
        }
        "W4_ERR_FIELD_BEGUN_DAMAGED" => {
            drop(b.open().unwrap());
            fs::write(b.dir.path().join("journal.drawn"), [1; 5]).unwrap();
            b.open().unwrap_err()
        }
        "W4_ERR_FIELD_SIGN" => {
            let spk = b.key.public();
            let mut field = b.open().unwrap();
            field.key = AuthorityKey::in_token(spk, Box::new(Gone(spk.sign_pub()))).unwrap();
            field.end(PAIRING, Reason::Lost, FROM).unwrap_err()
        }
        "W4_ERR_FIELD_ISSUE" => {
            let mut b = b;
            b.brief.relations[0].a.access = "x".repeat(400);
            b.pair(PAIR, &mut agreeable)
        }
        "W4_ERR_FIELD_BRIEF" => {
            drop(b.open().unwrap());
            let brief = Brief { list: Blob(vec![1]), ..b.brief.clone() };
            Ground::new(&brief, &Journal::read(&b.path()).unwrap()).unwrap_err()
        }
        "W4_ERR_FIELD_NOT_BOUND" => b.pair(["app-0001", PAIR[0]], &mut nobody),
        "W4_ERR_FIELD_ORDER" => b.bind([PAIR[1], PAIR[0]], &mut agreeable),
        "W4_ERR_FIELD_PACK" => b.pair(["pack-0009", PAIR[1]], &mut nobody),
        "W4_ERR_FIELD_SPARE" => b.exchange([PAIR[0], "pack-0009"], &mut nobody),
        "W4_ERR_FIELD_ELSEWHERE" => {
            // Another module names the binding of the one that the brief tells of.
            let named = Cell::new([5; 16]);
            b.bind([PAIR[0], "module-0004"], &mut naming(&b.key, &named))
        }
        "W4_ERR_FIELD_OWNER" => {
            let mut b = b;
            b.brief.relations[0].owners.push(Owned { component_id: PAIR[1].into(), agreed: None });
            b.bind(PAIR, &mut nobody)
        }
        "W4_ERR_FIELD_UNKNOWN" => Place::of(&b.laptop().1, "module-0009", "module-0004").unwrap_err(),
        "W4_ERR_FIELD_ITSELF" => Place::of(&b.laptop().1, PAIR[1], PAIR[1]).unwrap_err(),
        "W4_ERR_FIELD_ANSWERS" => b.with_app().exchange([PAIR[0], "pack-0002"], &mut agreeable),
        "W4_ERR_FIELD_JOURNAL_FORK" => {
            drop(b.open().unwrap());
            let journal = Journal::read(&b.path()).unwrap();
            journal.unbrought(&b.path(), (1, &[7; 32]), true).unwrap_err()
        }
        "W4_ERR_FIELD_CAUGHT_UP" => {
            let subject = Subject::Binding(BindingId([5; 16]));
            b.open().unwrap().end(subject, Reason::Lost, FROM).unwrap();
            let journal = Journal::read(&b.path()).unwrap();
            journal.unbrought(&b.path(), (0, &[0; 32]), false).unwrap_err()
        }
        "W4_ERR_FIELD_NOT_REACHED" => b.pair(PAIR, &mut nobody),
        "W4_ERR_FIELD_DECLINED" => b.pair(PAIR, &mut |_: &str, _: &[u8]| Ok(vec![pdu::DELEGATION, 0x81, 2])),
        "W4_ERR_FIELD_MISFIT" => b.bind(PAIR, &mut agreeable),
        "W4_ERR_FIELD_UNFINISHED" => b.pair(PAIR, &mut agreeable),
        "W4_ERR_FIELD_FILE" => {
            let nowhere = b.dir.path().join("no folder").join("journal");
            Field::open(again(&b.key), &b.brief.delegation.0, &nowhere).unwrap_err()
        }
        _ => return None,
    })
}

/// A code without a case here fails, one that its case does not provoke, and one that the specification does not list.
#[test]
fn every_refusal_of_a_laptop_has_its_code_and_what_provokes_it() {
    let spec = include_str!("../../../../../../spec/tiers.md");
    let listed = spec.lines().filter_map(|line| line.strip_prefix("| `FIELD_")?.split_once('`'));
    let listed: BTreeSet<_> = listed.map(|(code, _)| format!("W4_ERR_FIELD_{code}")).collect();
    let mut sentences = BTreeSet::new();
    for code in FieldError::CODES {
        let error = provoked(code).unwrap_or_else(|| panic!("{code} has no case"));
        assert_eq!(error.code(), *code, "{error}");
        assert!(error.to_string().len() > 20 && sentences.insert(error.to_string()), "{code}: {error}");
        assert!(listed.contains(*code), "{code} is not in spec/tiers.md");
    }
    assert_eq!((listed.len(), sentences.len()), (FieldError::CODES.len(), FieldError::CODES.len()));
}

/// H236: a pack that works is taken for broken where the way to it is, and its app leaves it.
#[test]
fn only_a_host_that_heard_nothing_says_that_a_pack_is_silent() {
    let b = Bench::new().with_app();
    for (silent, stopped_at) in [(false, PAIR[0]), (true, "app-0001")] {
        let mut asked = Vec::new();
        let refused = b.exchange([PAIR[0], "pack-0002"], &mut |who: &str, _: &[u8]| {
            asked.push(who.to_owned());
            Err(NoAnswer { silent: silent && who == PAIR[0], why: "cable".into() })
        });
        let FieldError::NotReached { who, .. } = refused else { panic!("{silent}: {refused}") };
        assert_eq!(who, stopped_at);
        assert_eq!(asked, [PAIR[0], "app-0001"][..1 + usize::from(silent)], "{silent}");
    }
}

/// H236: an owner agreed to one partner, until a time, in the place of one binding.
#[test]
fn an_owner_is_asked_by_what_the_brief_tells_of() {
    let mut b = Bench::new().with_app();
    let agreed = Agreed { partner_id: "pack-0002".into(), until: u64::from(FROM) + 10 };
    let owned = Owned { component_id: PAIR[1].into(), agreed: Some(agreed) };
    b.brief.relations[0].owners.push(owned);
    let (field, ground) = b.laptop();
    let module = PAIR[1];
    let of_module = BindingId([5; 16]);
    for (what, old, partner, now, agrees) in [
        ("to this", of_module, "pack-0002", FROM + 10, true),
        ("no longer", of_module, "pack-0002", FROM + 11, false),
        ("to another partner", of_module, "pack-0001", FROM, false),
        ("in the place of another binding", BindingId([6; 16]), "pack-0002", FROM, false),
    ] {
        assert_eq!(field.owners_agree(&ground, old, [partner, module], now).is_ok(), agrees, "{what}");
    }
    let free = field.owners_agree(&ground, BindingId([4; 16]), ["app-0001", "pack-0002"], FROM);
    assert!(free.is_ok(), "nobody owns the app, and who owned the old pack is not asked");
}

/// H238: devices signed with keys of a binding that the journal made and ended; between the two acts the ledger gets that.
#[test]
fn whoever_brings_a_journal_stops_before_the_end_of_what_it_made() {
    use lct::binding::{BindingRecord, BoundEntity};
    let b = Bench::new();
    let mut field = b.open().unwrap();
    let entity = |id, role| {
        let spk = spk();
        let (sign_pub, spk_id) = (spk.sign_pub(), spk.id());
        BoundEntity { cid: Cid::of(id), role, sign_pub, spk_id, access_commit: [0; 32] }
    };
    let none = Signature([0; 64]);
    for id in [[6; 16], [7; 16]] {
        let record = BindingRecord {
            binding_id: BindingId(id),
            entities: [entity(PAIR[0], Role::Pack), entity(PAIR[1], Role::Module)],
            time: FROM,
            assurance: Assurance::Attested,
        };
        let record = record.encode().to_vec();
        let bind = Body::Bind { record, signature_a: none, signature_b: none, signature_authority: none };
        field.write(Operation::Bind, &bind, &[], FROM).unwrap();
        for end in [[5; 16], id].into_iter().filter(|end| *end != [7; 16]) {
            field.end(Subject::Binding(BindingId(end)), Reason::Superseded, FROM).unwrap();
        }
    }
    drop(field);
    let journal = Journal::read(&b.path()).unwrap();
    assert_eq!(journal.entries[0].bound(), Some(BindingId([6; 16])));
    let bring = |acts: usize| {
        let last = acts.checked_sub(1).map_or([0; 32], |at| Act::hash_of(&journal.entries[at].statement));
        let (now, stop) = journal.unbrought(&b.path(), (acts, &last), true).unwrap();
        (now.len(), stop)
    };
    assert_eq!(bring(0), (2, Some(3)), "that of the brief ends at once, that of act 1 does not");
    assert_eq!(bring(2), (3, None));
    assert_eq!(bring(5), (0, None));
}
