//! Each refusal of a laptop, with what provokes it (`spec/channel.md`, H239).

use super::*;
use crate::{
    authority::signer::{Token, TokenFailure},
    field::Place,
};
use api::delegation::Agreed;
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
        self.brief.parts[0].bindings.push(held(&4));
        self.brief.parts.push(part("app-0001", &[4]));
        self
    }

    /// The brief tells of it that it has an owner, and to what he agreed in the place of the bindings that it has.
    fn owned(mut self, id: &str, agreed: Option<Agreed>) -> Self {
        let part = self.brief.parts.iter_mut().find(|part| part.cid.0 == Cid::of(id).0).unwrap();
        part.owned = true;
        part.bindings.iter_mut().for_each(|held| held.agreed.clone_from(&agreed));
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
        "W4_ERR_FIELD_OWNER" => b.owned(PAIR[1], None).bind(PAIR, &mut nobody),
        "W4_ERR_FIELD_OWNER_UNKNOWN" => {
            // It has a binding of which nobody told.
            let named = Cell::new([9; 16]);
            b.bind([PAIR[0], "module-0004"], &mut naming(&b.key, &named))
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

/// H236, H256: an owner agreed to one partner, until a time, in the place of one binding.
#[test]
fn an_owner_is_asked_by_what_the_brief_tells_of() {
    let agreed = Agreed { partner: Hex(Cid::of("pack-0002").0), until: u64::from(FROM) + 10 };
    let mut b = Bench::new().with_app().owned(PAIR[1], Some(agreed)).owned("pack-0002", None);
    // A module of another pack, which a factory bound.
    b.brief.parts.push(part("module-0004", &[7]));
    let b = b.owned("module-0004", None);
    let (_, mut ground) = b.laptop();
    let [of_app, of_pair, of_factory, unknown] = [4, 5, 7, 6].map(|n| BindingId([n; 16]));
    let (free, owner, whose) = (None, Some("W4_ERR_FIELD_OWNER"), Some("W4_ERR_FIELD_OWNER_UNKNOWN"));
    let made = Made {
        binding_id: Hex([8; 16]),
        a: kept("pack-0002"),
        b: kept("module-0005"),
        registrations: vec![],
    };
    ground.made(&made).unwrap();
    for (what, old, pair, now, refused) in [
        ("to this", of_pair, ["pack-0002", PAIR[1]], FROM + 10, free),
        ("no longer", of_pair, ["pack-0002", PAIR[1]], FROM + 11, owner),
        ("to another partner", of_pair, PAIR, FROM, owner),
        ("in the place of another binding", unknown, ["pack-0002", PAIR[1]], FROM, owner),
        ("whose keys the bridge does not have", of_factory, [PAIR[0], "module-0004"], FROM, owner),
        ("who owned the old pack is not asked", of_app, ["app-0001", "pack-0002"], FROM, free),
        ("nobody owns either", unknown, ["app-0001", PAIR[0]], FROM, free),
        ("nobody told of the part", unknown, [PAIR[0], "module-0009"], FROM, whose),
        (
            "made here, and anew between the same two",
            BindingId([8; 16]),
            ["pack-0002", "module-0005"],
            FROM,
            owner,
        ),
        ("made here, and to another partner", BindingId([8; 16]), [PAIR[0], "module-0005"], FROM, whose),
    ] {
        let said = ground.owners_agree(old, pair, now).err();
        assert_eq!(said.as_ref().map(FieldError::code), refused, "{what}");
    }
    let (_, mut ground) = Bench::new().laptop();
    ground.made(&made).unwrap();
    let anew = ground.owners_agree(BindingId([8; 16]), ["pack-0002", "module-0005"], FROM);
    assert!(anew.is_ok(), "nobody owns the pack, and nobody else ever bound the module");
}

/// H256: a module of an owner was bound at the factory, and the bridge never had those keys: it names that binding, or cannot read
/// which one it was, and stays with its pack. Its owner's consent to the other pack is enough.
#[test]
fn what_the_bridge_has_no_keys_of_is_not_taken_from_its_owner() {
    let ids = ["pack-0002", "module-0004"];
    let agreed = Agreed { partner: Hex(Cid::of(ids[0]).0), until: u64::from(FROM) + 10 };
    for (named, agreed, code) in [
        ([7; 16], None, "W4_ERR_FIELD_OWNER"),
        ([0; 16], None, "W4_ERR_FIELD_OWNER"),
        ([7; 16], Some(agreed), "W4_ERR_FIELD_UNFINISHED"),
    ] {
        let mut b = Bench::new();
        b.brief.parts[0].bindings.push(held(&7));
        b.brief.parts.push(part(ids[1], &[7]));
        let b = b.owned(ids[1], agreed);
        let said = b.bind(ids, &mut naming(&b.key, &Cell::new(named)));
        assert_eq!(said.code(), code, "{named:?}: {said}");
        let begun = fs::read(b.dir.path().join("journal.drawn")).map_or(0, |bytes| bytes.len());
        assert_eq!(begun > 0, code == "W4_ERR_FIELD_UNFINISHED", "nothing was begun");
    }
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
