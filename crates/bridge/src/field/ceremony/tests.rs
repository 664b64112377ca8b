//! Ceremonies of a laptop with devices that answer, and what its journal then has (`spec/channel.md`, H226 to H228).

use super::{
    super::tests::{FROM, again, delegation},
    *,
};
use api::delegation::Held;
use lct::{
    attest::{CertificateType, Subject as Attested},
    binding::BindRequest,
    sign::SigningKey,
    spk::SpkSecret,
};
use ledger::tx::Paired;
use std::{cell::Cell, path::Path};

mod codes;

const PAIR: [&str; 2] = ["pack-0001", "module-0001"];

fn spk() -> Spk {
    entropy::with(SpkSecret::generate).unwrap().unwrap().public()
}

fn kept(id: &str) -> Kept {
    Kept { component_id: id.into(), spk: Fixed(spk().0), access: format!("can:{id}"), blind: None }
}

fn brief(key: &AuthorityKey, operations: u8) -> Brief {
    let list = RevocationList {
        number: 3,
        this_update: FROM,
        next_update: FROM + 60,
        previous: [0; 32],
        entries: Default::default(),
    };
    let list = entropy::with(|rng| list.issue(&SigningKey::generate(rng), rng)).unwrap().unwrap();
    let relation = Relation {
        binding_id: Hex([5; 16]),
        a: kept(PAIR[0]),
        b: kept(PAIR[1]),
        policy_version: 1,
        certificate_s: 86_400,
        certified_at: FROM - 10,
    };
    let delegation = Blob(delegation(key, operations));
    Brief {
        height: 9,
        chain_id: Hex([1; 32]),
        delegation,
        list: Blob(list.to_vec()),
        relations: vec![relation],
        parts: vec![part(PAIR[0], &[5]), part(PAIR[1], &[5]), part("pack-0002", &[])],
    }
}

/// A component that nobody owns, with its bindings.
fn part(id: &str, bindings: &[u8]) -> Part {
    Part { cid: Hex(Cid::of(id).0), owned: false, bindings: bindings.iter().map(held).collect() }
}

fn held(n: &u8) -> Held {
    Held { binding_id: Hex([*n; 16]), agreed: None }
}

/// A process of the laptop begins, with the journal at `path` that those before left.
fn opened(key: &AuthorityKey, brief: &Brief, path: &Path) -> (Field, Ground) {
    let field = Field::open(again(key), &brief.delegation.0, path).unwrap();
    (field, Ground::new(brief, &Journal::read(path).unwrap()).unwrap())
}

/// What a device says of itself under the certificate of `id`.
fn identity(id: &str) -> Vec<u8> {
    identity_of(id, &entropy::with(SigningKey::generate).unwrap())
}

/// The same of one whose identity key is `key`.
fn identity_of(id: &str, key: &SigningKey) -> Vec<u8> {
    let issued = |kind| {
        entropy::with(|rng| {
            let subject = Attested {
                kind,
                cid: Cid::of(id),
                role: if id.starts_with("pack") { Role::Pack } else { Role::Module },
                flags: 0,
                not_before: 0,
                not_after: u32::MAX,
                hw: *b"MB-TEST1",
                key: key.public(),
                code_commit: [0; 32],
            };
            DeviceCertificate::issue(&subject, key, rng)
        })
        .unwrap()
    };
    let [device, batch] = [CertificateType::Device, CertificateType::Batch].map(issued);
    [&[pdu::BINDING, op::IDENTITY][..], &device.0, &batch.0, &[0; 20], &[2], b"SN"].concat()
}

/// Devices that accept whatever they are given, and never say that a handshake stands.
fn agreeable(who: &str, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    Ok(match message {
        [pdu::BINDING, op::CERTIFICATES] => identity(who),
        [pdu::REVOCATION, ..] => vec![pdu::REVOCATION, pdu::REVOCATION_STATUS, 0, 0, 0, 3, 0],
        [kind, ..] => vec![*kind, 0x81, 0],
        [] => Vec::new(),
    })
}

/// The same, of which modules draw keys and ask for leave in the place of the binding `named`.
fn naming(
    key: &AuthorityKey,
    named: &Cell<[u8; 16]>,
) -> impl FnMut(&str, &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let (authority, own) = (key.public().sign_pub(), entropy::with(SigningKey::generate).unwrap());
    let drawn = spk();
    move |who: &str, message: &[u8]| match message {
        [pdu::BINDING, op::CERTIFICATES] => Ok(identity_of(who, &own)),
        [pdu::BINDING, op::REQUEST, request @ ..] => {
            let request = BindRequest::open(request, &authority).unwrap();
            let ((cid, role), (partner, _)) = (request.own, request.partner);
            let digest = spk_attestation_digest(&cid, role, &drawn, &partner, &request.nonce);
            let attestation = entropy::with(|rng| own.sign(&digest, rng)).unwrap();
            let asks = who.starts_with("module");
            let question = if asks { [[9; 16], named.get()].concat() } else { Vec::new() };
            let head = [&[pdu::BINDING, op::KEYS][..], &request.binding_id.0].concat();
            Ok([&head[..], &drawn.0, &attestation.0, question.as_slice()].concat())
        }
        _ => agreeable(who, message),
    }
}

#[test]
fn nothing_is_in_the_journal_of_what_no_device_did() {
    let dir = tempfile::tempdir().unwrap();
    let key = AuthorityKey::generate().unwrap();
    let brief = brief(&key, 7);
    let path = dir.path().join("journal");
    let (mut field, mut ground) = opened(&key, &brief, &path);
    let mut pair = |ids, carry: &mut Carry<'_>| {
        let done = field.pair(&mut ground, ids, FROM + 1, &mut Way { carry, pause: Duration::ZERO });
        done.unwrap_err().to_string()
    };
    let mut rows: Vec<(&str, Box<Carry<'static>>)> = vec![
        (
            "pack-0001 was not reached with the delegation: cable",
            Box::new(|_, _| Err(NoAnswer { silent: false, why: "cable".into() })),
        ),
        (
            "does not take the delegation: not now",
            Box::new(|_, _| Ok(vec![pdu::DELEGATION, delegation::TAKEN, Status::WrongState as u8])),
        ),
        (
            "module-0001 answers something that does not fit the question for its certificates",
            Box::new(|who, m| agreeable(if m[0] == pdu::BINDING { PAIR[0] } else { who }, m)),
        ),
        (
            "pack-0001 answers something that does not fit the question for its certificates",
            Box::new(|who, m| agreeable(who, m).map(|mut a| a.drain(..a.len().min(90)).collect())),
        ),
        (
            "pack-0001 does not take the revocation list: its signature",
            Box::new(|who, m| {
                let older = vec![pdu::REVOCATION, pdu::REVOCATION_STATUS, 0, 0, 0, 2, 1];
                if m[0] == pdu::REVOCATION { Ok(older) } else { agreeable(who, m) }
            }),
        ),
        (
            "module-0001 does not take the pairing certificate: it is for somebody else",
            Box::new(
                |who, m| {
                    if m[0] == pdu::CERTIFICATE { Ok(vec![m[0], 0x81, 2]) } else { agreeable(who, m) }
                },
            ),
        ),
        ("pack-0001 does not say that the pairing certificate is done", Box::new(agreeable)),
        (
            "module-0001 answers something that does not fit the pairing certificate",
            Box::new(|who, m| match m[0] {
                pdu::CERTIFICATE => {
                    let of = if who == PAIR[0] { 1 } else { 2 };
                    Ok([&[m[0], pdu::PAIRING_COMPLETE][..], &m[3..19], &[of; 128]].concat())
                }
                _ => agreeable(who, m),
            }),
        ),
    ];
    for (words, device) in &mut rows {
        let said = pair(PAIR, device.as_mut());
        assert!(said.contains(*words), "{words}: {said}");
    }
    let nobody: &mut Carry<'static> = &mut |_, _| panic!("nobody is asked");
    assert!(pair(["pack-0009", "module-0001"], nobody).contains("is a pack that the delegation names"));
    assert!(pair(["app-0001", "pack-0001"], nobody).contains("are not bound to each other"));
    let bind = |field: &mut Field, ground: &mut Ground, ids, carry: &mut Carry<'_>| {
        let done = field.bind(ground, ids, None, FROM + 1, &mut Way { carry, pause: Duration::ZERO });
        done.unwrap_err().to_string()
    };
    let wrong = bind(&mut field, &mut ground, ["module-0001", "pack-0001"], &mut agreeable);
    assert!(wrong.contains("the side nearer the app comes first"), "{wrong}");
    let silent = bind(&mut field, &mut ground, PAIR, &mut agreeable);
    assert!(silent.contains("answers something that does not fit the request for a key"), "{silent}");
    assert_eq!((field.acts(), Journal::read(&path).unwrap().entries.len()), (0, 0));

    // To give up a binding is to end it.
    let brief = self::brief(&key, 3);
    let path = dir.path().join("other");
    let (mut field, mut ground) = opened(&key, &brief, &path);
    assert!(bind(&mut field, &mut ground, PAIR, nobody).contains("does not allow this operation"));
}

fn paired(known: &Known) -> Body {
    let none = Signature([0; 64]);
    Body::PairComplete(Paired {
        pairing_id: PairingId([7; 16]),
        binding_id: known.binding_id,
        key_a: known.sides[0].1.sign_pub(),
        key_b: known.sides[1].1.sign_pub(),
        cert_hash: [0; 32],
        nonce: [0; 32],
        th4: [0; 32],
        lease_s: 60,
        signature_a: none,
        signature_b: none,
        signature_authority: none,
    })
}

/// H227: the clock of a laptop stands behind the last certificate, and each pairing is done by a process of its own.
#[test]
fn certificates_follow_each_other_although_the_clock_of_the_laptop_is_behind() {
    let dir = tempfile::tempdir().unwrap();
    let key = AuthorityKey::generate().unwrap();
    let mut brief = brief(&key, 7);
    brief.relations[0].certified_at = FROM + 100;
    let path = dir.path().join("journal");
    for created in FROM + 101..FROM + 104 {
        let (mut field, ground) = opened(&key, &brief, &path);
        let known = ground.find(PAIR).unwrap();
        assert_eq!(known.after(FROM + 5), created);
        field.write(Operation::Pair, &paired(known), &[], FROM + 5).unwrap();
    }
}

/// What was begun and cut off is known by the next process, and is in no journal.
#[test]
fn what_was_begun_is_known_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let key = AuthorityKey::generate().unwrap();
    let right = delegation(&key, 7);
    let path = dir.path().join("journal");
    for n in 1..4 {
        let mut field = Field::open(again(&key), &right, &path).unwrap();
        let known = (1..5).filter(|id| field.began(BindingId([*id; 16])).is_some());
        assert_eq!(known.collect::<Vec<_>>(), (1..n).collect::<Vec<u8>>());
        let ends: Vec<_> = (1..n).map(|end| BindingId([end; 16])).collect();
        field.begin(BindingId([n; 16]), &ends).unwrap();
        assert_eq!(field.began(BindingId([n; 16])), Some(ends.as_slice()));
        assert_eq!(field.acts(), 0);
    }
    let beside = dir.path().join("journal.drawn");
    let whole = fs::read(&beside).unwrap();
    assert_eq!(whole.len(), 3 * 17 + (1 + 2) * 16);
    let field = Field::open(again(&key), &right, &path).unwrap();
    assert_eq!(field.began(BindingId([3; 16])).unwrap(), [BindingId([1; 16]), BindingId([2; 16])]);
    drop(field);
    fs::write(&beside, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(Field::open(again(&key), &right, &path), Err(FieldError::Drawn(_))));
    fs::remove_file(&path).unwrap();
    let field = Field::open(again(&key), &right, &path).unwrap();
    assert!(field.began(BindingId([3; 16])).is_none(), "another journal");
}

/// A registration whose proof is another component's, or an old one's, is not noted.
#[test]
fn a_registration_is_noted_with_its_own_proof_only() {
    let registration = answers::registration([1; 32], "pack-0001", &identity("pack-0001")[2..]).unwrap();
    let met = Met { id: "pack-0001".into(), cid: Cid::of("pack-0001"), role: Role::Pack, registration };
    let mut carry = |_: &str, _: &[u8]| -> Result<Vec<u8>, NoAnswer> {
        Ok([&[pdu::BINDING, op::REGISTERED][..], &[7; 64]].concat())
    };
    let said = registered(&met, &mut Way { carry: &mut carry, pause: Duration::ZERO });
    assert!(matches!(said, Err(FieldError::Misfit { .. })), "{said:?}");
}

/// H228: a module has a binding of which the brief does not tell. Whoever may not end it does not have it give way, and the id
/// of what is begun in its place is on disk before anybody is introduced.
#[test]
fn what_a_laptop_does_not_know_of_gives_way_only_where_it_may_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = AuthorityKey::generate().unwrap();
    let ids = ["pack-0001", "module-0004"];
    let named = Cell::new([9_u8; 16]);
    let mut carry = naming(&key, &named);
    for (operations, words, begun) in
        [(3, "does not allow this operation", 0), (7, "pack-0001 does not say that", 1)]
    {
        let mut brief = brief(&key, operations);
        brief.parts.push(part(ids[1], &[]));
        let path = dir.path().join(operations.to_string());
        let (mut field, mut ground) = opened(&key, &brief, &path);
        let mut way = Way { carry: &mut carry, pause: Duration::ZERO };
        let said = field.bind(&mut ground, ids, None, FROM + 1, &mut way).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
        assert_eq!((field.drawn.len(), field.acts()), (begun, 0));
        let Some(first) = field.drawn.first() else { continue };
        // Cut off here, and the module has what was begun: what that took the place of ends all the same, once.
        let lost = BindingId([9; 16]);
        assert_eq!(first.ends, [lost]);
        named.set(first.id.0);
        let mut way = Way { carry: &mut carry, pause: Duration::ZERO };
        field.bind(&mut ground, ids, None, FROM + 1, &mut way).unwrap_err();
        assert_eq!(field.drawn[1].ends, [lost]);
        field.end(Subject::Binding(lost), Reason::Superseded, FROM + 2).unwrap();
        let mut ground = Ground::new(&brief, &Journal::read(&path).unwrap()).unwrap();
        named.set(field.drawn[1].id.0);
        let mut way = Way { carry: &mut carry, pause: Duration::ZERO };
        field.bind(&mut ground, ids, None, FROM + 2, &mut way).unwrap_err();
        assert!(field.drawn[2].ends.is_empty(), "it ended");
        // Whether the ledger has what a module names in the place of what the brief tells of, this laptop cannot know.
        named.set([8; 16]);
        let mut way = Way { carry: &mut carry, pause: Duration::ZERO };
        field.bind(&mut ground, PAIR, None, FROM + 2, &mut way).unwrap_err();
        assert_eq!(field.drawn[3].ends, [BindingId([8; 16]), BindingId([5; 16])]);
    }
}

/// What the laptop did since it left counts beside what it was told, also after a restart of it.
#[test]
fn the_journal_tells_what_changed_since_the_brief() {
    let dir = tempfile::tempdir().unwrap();
    let key = AuthorityKey::generate().unwrap();
    let brief = brief(&key, 7);
    let path = dir.path().join("journal");
    let mut field = Field::open(again(&key), &brief.delegation.0, &path).unwrap();
    let ground = || Ground::new(&brief, &Journal::read(&path).unwrap()).unwrap();
    let before = ground();
    assert_eq!(before.binding(PAIR), Some(BindingId([5; 16])));
    assert_eq!(before.above("module-0001"), Some(("pack-0001", BindingId([5; 16]))));
    let (none, module) = (Signature([0; 64]), ["pack-0001", "module-0004"]);
    let made =
        Made { binding_id: Hex([6; 16]), a: kept(module[0]), b: kept(module[1]), registrations: vec![] };
    let bind =
        Body::Bind { record: vec![1], signature_a: none, signature_b: none, signature_authority: none };
    field.write(Operation::Bind, &bind, &serde_json::to_vec(&made).unwrap(), FROM + 2).unwrap();
    let after = ground();
    assert_eq!((after.binding(module), after.is_paired(module)), (Some(BindingId([6; 16])), false));
    assert_eq!((after.unpaired(module), after.unpaired(PAIR)), (Some(BindingId([6; 16])), None));
    let known = after.find(module).unwrap();
    assert_eq!(known.sides[1].1.0, made.b.spk.0);
    field.write(Operation::Pair, &paired(known), &[], FROM + 3).unwrap();
    field.end(Subject::Binding(BindingId([5; 16])), Reason::Retired, FROM + 4).unwrap();
    let last = ground();
    assert!(last.is_paired(module));
    assert_eq!(last.unpaired(module), None);
    let gone = last.gone("module-0001").unwrap();
    let ended = (gone.binding_id, gone.sides[0].as_str(), gone.reason, gone.time);
    assert_eq!(ended, (BindingId([5; 16]), "pack-0001", Reason::Retired, FROM + 4));
    assert_eq!((last.above("module-0001"), last.binding(PAIR)), (None, None));
    let given_up = Subject::Binding(last.binding(module).unwrap());
    field.end(given_up, Reason::Superseded, FROM + 5).unwrap();
    let cut = ground();
    assert_eq!(
        (cut.above("module-0004"), cut.gone("module-0004")),
        (None, None),
        "the pack may have another one"
    );
    assert!(cut.gone("module-0001").is_some());

    field.write(Operation::Bind, &bind, b"{}", FROM + 5).unwrap();
    let read = Ground::new(&brief, &Journal::read(&path).unwrap());
    assert!(matches!(read, Err(FieldError::Brief(_))), "a note that is none");
}
