//! The negatives of `spec/vectors/link-more.json`: each must be refused, for the stated reason.
//!
//! What needs a session, a window or the class table is in `crates/pack/tests/link_more.rs`; [`ELSEWHERE`] names it.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "link_more/file.rs"]
mod file;

use std::collections::BTreeMap;

use file::*;
use lct::{
    Error,
    attest::{DeviceCertificate, spk_attestation_digest, verify_chain},
    audit::{AuditLink, Verifier, genesis},
    binding::{BindRequest, Introduction},
    certificate::Certificate,
    clock::TimeToken,
    command::SignedCommand,
    delegation::{Act, DelegateRevocation, Delegation},
    exchange::Side,
    hash::sha256,
    id::{BindingId, Cid, Role},
    journal::{Checkpoint, KeyStatement},
    key_package::KeyPackage,
    metadata::ClearMetadata,
    pake::{ANSWER_LEN, Code, Prover, ProverSecret, Verifier as PakeVerifier},
    policy::Policy,
    rebind::Rebind,
    request::CertificateRequest,
    revocation::{RevocationList, hash_of},
    secret::Secret,
    sign::{PublicKey, Signature},
    spk::Spk,
    succession::Succession,
    validation::{Announce, Attestation, Event},
};

/// Kinds of object that this crate cannot judge.
const ELSEWHERE: [&str; 3] = ["sealed", "compact", "escalation"];

/// Changes of a policy update that only a reader of the class table sees (H113): `crates/pack/tests/link_more.rs`.
const TABLE: [&str; 5] = [
    "unknown minimum",
    "unknown flag",
    "row of the security PDUs stricter",
    "row of the stop laxer",
    "row of the announcement left out",
];

/// Checks that belong to who keeps the state: here the test does.
#[derive(Debug, PartialEq)]
enum Refusal {
    Lct(Error),
    Policy,
    Replayed,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Lct(error)
    }
}

fn reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Lct(error) => format!("{error:?}"),
        Refusal::Policy => "Policy".into(),
        Refusal::Replayed => "Replayed".into(),
    }
}

#[test]
fn every_negative_is_refused_for_its_reason() {
    let v = vectors();
    let mut judged: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for n in v["negatives"].as_array().unwrap() {
        let what = text(n, "what");
        *judged.entry(what).or_default() += 1;
        if ELSEWHERE.contains(&what) || (what == "policy_update" && TABLE.contains(&text(n, "change"))) {
            continue;
        }
        let found = match judge(&v, n, what) {
            Ok(()) => "accepted".into(),
            Err(refusal) => reason(&refusal),
        };
        if found != text(n, "reason") {
            wrong.push(format!("{what}, {}: {found}, not {}", text(n, "change"), text(n, "reason")));
        }
    }
    assert_eq!(wrong, [""; 0]);
    let total: usize = judged.values().sum();
    assert!(judged.len() >= 23 && total >= 280, "{judged:?}");
}

fn judge(v: &Value, n: &Value, what: &str) -> Result<(), Refusal> {
    let authority = spk(v, "C").public();
    let signer = authority.sign_pub();
    match what {
        "device_certificate" => {
            let device = DeviceCertificate::from_slice(&bytes(n, "device"))?;
            let batch = DeviceCertificate::from_slice(&bytes(n, "batch"))?;
            verify_chain(&device, &batch, &[key(n, "root_key")], Some(number(n, "time") as u32))?;
        }
        "certificate_request" => {
            CertificateRequest::open(&bytes(n, "request"))?;
        }
        "spk_attestation" => {
            let spk = Spk::from_slice(&bytes(n, "spk"))?;
            let digest = spk_attestation_digest(
                &Cid(fixed(n, "cid")),
                Role::from_code(number(n, "role") as u8)?,
                &spk,
                &Cid(fixed(n, "cid_partner")),
                &fixed(n, "nonce"),
            );
            verify(&key(n, "identity_key"), &digest, &bytes(n, "attestation"))?;
        }
        "bind_request" => {
            let request = BindRequest::open(&bytes(n, "data"), &signer)?;
            if request.own != (Cid(fixed(n, "cid")), Role::from_code(number(n, "role") as u8)?) {
                return Err(Error::WrongParty.into());
            }
        }
        "introduction" => {
            let request = BindRequest::open(&bytes(n, "request"), &signer)?;
            let introduction = Introduction::open(&bytes(n, "data"), &signer)?;
            if (introduction.binding_id, introduction.own) != (request.binding_id, request.own.0) {
                return Err(Error::WrongParty.into());
            }
            introduction.verify_partner(request.partner, &[key(v, "attestation.root_key")])?;
        }
        "handshake_m2" => {
            let stage = Stage::new(v, text(n, "source"));
            let (initiator, _) = stage.initiator();
            stage.finish_a(v, &initiator, &bytes(n, "message")).map(drop)?;
        }
        "handshake_m3" => {
            let stage = Stage::new(v, text(n, "source"));
            let (_, m1) = stage.initiator();
            let (responder, _) = stage.responder(v, &m1);
            responder.finish(&stage.context, &bytes(n, "message")).map(drop)?;
        }
        "certificate" => {
            let (side, name) = if text(n, "side") == "a" { (Side::A, "A") } else { (Side::B, "B") };
            let raw = bytes(n, "certificate");
            let certificate = Certificate::parse(&raw)?;
            certificate.verify(&signer)?;
            let metadata = ClearMetadata::decode(certificate.clear_metadata)?;
            if metadata.pairing_id != certificate.pairing_id {
                return Err(Error::WrongParty.into());
            }
            certificate.open_section(side, &spk(v, name), &authority).map(drop)?;
        }
        "metadata" => ClearMetadata::decode(&bytes(n, "metadata")).map(drop)?,
        "level5" => {
            let body = bytes(n, "body");
            let th4 = fixed(v, &format!("{}.TH4", text(n, "source")));
            let key = spk(v, "A").public().sign_pub();
            let command = SignedCommand::open(&body, &th4, number(n, "epoch") as u32, &key)?;
            if u64::from(command.base) != number(n, "base") {
                return Err(Error::Malformed.into());
            }
        }
        "key_package" => KeyPackage::decode(&bytes(n, "package"), &parties(v, "B")).map(drop)?,
        "key_package_sealed" => {
            let (parties, nonce) = (parties(v, "B"), fixed(n, "nonce"));
            KeyPackage::open(&bytes(n, "sealed"), &parties, &spk(v, "B"), &nonce, &signer).map(drop)?;
        }
        "printed_code" => Code::parse(text(n, "code")).map(drop)?,
        "pake_prover" => {
            let prover = Prover::start(&code(v), &cid(v, "A"), &cid(v, "B"), &mut Scalar(fixed(v, "pake.x")));
            let answer = [bytes(n, "shareV"), bytes(n, "confirmV")].concat();
            let answer: [u8; ANSWER_LEN] = answer.try_into().map_err(|_| Error::Malformed)?;
            prover.finish(&answer).map(drop)?;
        }
        "pake_verifier" => {
            let share = fixed(v, "pake.shareP");
            let mut y = Scalar(fixed(v, "pake.y"));
            let record = code(v).record();
            let (verifier, _) = PakeVerifier::answer(&record, &cid(v, "A"), &cid(v, "B"), &share, &mut y)?;
            verifier.finish(&fixed(n, "confirmP")).map(drop)?;
        }
        "crl" => {
            let raw = bytes(n, "list");
            let held = n.get("held_number").map(|_| number(n, "held_number") as u32);
            if held.is_some_and(|held| RevocationList::claimed_number(&raw).is_ok_and(|new| new <= held)) {
                return Err(Refusal::Policy);
            }
            let list = RevocationList::open(&raw, &signer)?;
            if held.is_some_and(|held| list.number == held + 1)
                && list.previous != fixed::<32>(n, "held_hash")
            {
                return Err(Refusal::Policy);
            }
            let first = bytes(v, "crl.first");
            assert_eq!(hash_of(&first), fixed(v, "crl.first_hash"));
        }
        "policy_update" => {
            let raw = ["body", "sigC", "sigA", "sigB"].map(|part| bytes(n, part)).concat();
            let keys = [spk(v, "A").public().sign_pub(), spk(v, "B").public().sign_pub()];
            let policy = Policy::open(&raw, &signer, |_| Ok(keys))?;
            if u64::from(policy.version) <= number(n, "held") {
                return Err(Refusal::Policy);
            }
        }
        "time_token" => TimeToken::open(&bytes(n, "token"), &signer).map(drop)?,
        "announce" => {
            let device = spk(v, "B").public().sign_pub();
            after(n, Announce::open(&bytes(n, "announce"), &device)?.position())?;
        }
        "event" => {
            let event = Event::decode(&bytes(n, "event"))?;
            event.verify(&spk(v, "B").public().sign_pub(), &Signature(fixed(n, "sigB")))?;
            after(n, event.position())?;
        }
        "witness" => {
            let attestation = Attestation::decode(&bytes(n, "attestation"))?;
            let (event, sig) = (Event::decode(&bytes(n, "event"))?, Signature(fixed(n, "sigB")));
            attestation.verify((&event, &sig), &key(n, "witness_key"))?;
        }
        "rebind_token" => {
            let asked = Rebind {
                device: Cid(fixed(n, "cid")),
                nonce: fixed(n, "nonce"),
                old: BindingId(fixed(n, "binding_id_old")),
            };
            asked.is_granted_by(&bytes(n, "token"), &signer)?;
        }
        "delegation" => drop(Delegation::open(&bytes(n, "delegation"), &signer)?),
        "delegate_revocation" | "act" => {
            let delegate = Spk::from_slice(&bytes(v, "delegation.SPKD"))?.sign_pub();
            match what {
                "act" => drop(Act::open(&bytes(n, "act"), &delegate)?),
                _ => drop(DelegateRevocation::open(&bytes(n, "revocation"), &delegate)?),
            }
        }
        "succession" => drop(Succession::open(&bytes(n, "succession"), &authority)?),
        "audit_chain" => {
            let mut verifier = Verifier::new(Some(secret(n, "k_1")));
            let mut hash = genesis();
            for (i, row) in n["chain"].as_array().unwrap().iter().enumerate() {
                let (number, entry) = (i as u64 + 1, bytes(row, "entry"));
                let length = (entry.len() as u16).to_be_bytes();
                hash = sha256(&[b"modbatt1 log", &hash, &number.to_be_bytes(), &length, &entry]);
                let link = AuditLink { number, hash, tag: fixed(row, "tag") };
                if verifier.entry(&link, &entry).is_err() {
                    assert_eq!(number, self::number(n, "fails_at"), "{}", text(n, "change"));
                    return Err(Error::NotAuthentic.into());
                }
            }
        }
        "checkpoint" => {
            let point = Checkpoint::open(&bytes(n, "checkpoint"), &spk(v, "B").public().sign_pub())?;
            if point.cid.0 != fixed(n, "cid") {
                return Err(Error::WrongParty.into());
            }
            let rows = v["audit"]["chain"].as_array().unwrap();
            let fits = |row: &&Value| {
                self::number(row, "n") == point.number && fixed::<32>(row, "hash") == point.hash
            };
            if !rows.iter().any(|row| fits(&row)) {
                return Err(Error::NotAuthentic.into());
            }
        }
        "key_statement" => {
            let statement = KeyStatement::open(&bytes(n, "statement"), &spk(v, "B").public().sign_pub())?;
            statement.first_key(spk(v, "C").opening_key()).map(drop)?;
        }
        other => panic!("nothing judges {other}"),
    }
    Ok(())
}

/// V4: the last position that this verifier saw is in the vector.
fn after(n: &Value, position: (u32, u32)) -> Result<(), Refusal> {
    let seen = (number(n, "after_boot") as u32, number(n, "after_seq") as u32);
    if position > seen { Ok(()) } else { Err(Refusal::Replayed) }
}

fn verify(key: &PublicKey, digest: &[u8; 32], signature: &[u8]) -> Result<(), Error> {
    Ok(key.verify(digest, &Signature::from_slice(signature)?)?)
}

fn code(v: &Value) -> ProverSecret {
    let mut stretched = [0; 80];
    stretched[8..40].copy_from_slice(&bytes(v, "pake.w0"));
    stretched[48..].copy_from_slice(&bytes(v, "pake.w1"));
    ProverSecret::from_stretched(&Secret::new(stretched)).unwrap()
}
