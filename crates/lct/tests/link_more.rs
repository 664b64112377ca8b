//! The vectors of `spec/vectors/link-more.json`: every group recomputed or opened.
//!
//! They were computed by the model in `spec/model`, which knows only the specification. What must be refused is in
//! `link_more_refused.rs`.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "link_more/file.rs"]
mod file;

use file::*;
use lct::{
    attest::{DeviceCertificate, key_id, spk_attestation_digest, verify_chain},
    audit::{AuditChain, Verifier},
    binding::{Assurance, BindRequest, BindingRecord, BoundEntity, Introduction},
    certificate::{Certificate, METADATA_MAX, VALIDATION_BUFFER},
    clock::TimeToken,
    command::SignedCommand,
    consent::{CONSENT_MAX, Consent},
    delegation::{Act, DelegateRevocation, Delegation, DelegationId},
    energy::ModuleEnergy,
    exchange::{Side, pairing_key},
    handshake::Kind,
    hash::sha256,
    id::{BindingId, Cid, PairingId, Role},
    journal::{Checkpoint, Entry, KeyStatement},
    key_package::KeyPackage,
    metadata::{ClearMetadata, policy_hash},
    pairing::Completion,
    pake::{Code, Prover, ProverSecret, Verifier as PakeVerifier},
    policy::Policy,
    rebind::Rebind,
    request::CertificateRequest,
    resume,
    revocation::{RevocationList, Subject, batch_id, hash_of},
    schedule::{GroupKey, MasterSecret, TrafficSecret, derive},
    seal::{Binding, Compact, Opener, Sealer},
    secret::Secret,
    sign::{Signature, SigningKey},
    spk::{Spk, SpkSecret},
    succession::Succession,
    trade::{self, Acceptance, Give, Order, TRADE_MAX, Terms, TradeId, What},
    trust::{MetricsReport, REPORT_MAX, TrustContext},
    validation::{Announce, Attestation, EVENT_MAX, Event, EventKind},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::collections::BTreeSet;

#[test]
fn identities() {
    let v = vectors();
    for (side, id) in [("A", "a"), ("B", "b")] {
        same(&Cid::of(text(&v, &format!("inputs.component_id_{id}"))).0, &v, &format!("spk.cid{side}"));
    }
    for side in ["A", "B", "C"] {
        let key = spk(&v, side).public();
        same(&key.0, &v, &format!("spk.SPK{side}"));
        same(&key.id().0, &v, &format!("spk.id{side}"));
    }
    let (root, batch) = (key(&v, "attestation.root_key"), key(&v, "attestation.batch_key"));
    let certificate = |name: &str| DeviceCertificate::from_slice(&bytes(&v, &format!("attestation.{name}")));
    assert_eq!(certificate("root").unwrap().subject().unwrap().key, root);
    let now = number(&v, "attestation.time") as u32;
    for (side, role, commit) in [("A", Role::App, [0; 32]), ("B", Role::Pack, fixed(&v, "pake.code_commit"))]
    {
        let device = certificate(&format!("device_{side}")).unwrap();
        let subject = verify_chain(&device, &certificate("batch").unwrap(), &[root], Some(now)).unwrap();
        assert_eq!((subject.cid, subject.role, subject.code_commit), (cid(&v, side), role, commit));
        assert_eq!(device.0[2..4], key_id(&batch));
        let (partner, name) = if side == "A" { (cid(&v, "B"), "a") } else { (cid(&v, "A"), "b") };
        let digest = spk_attestation_digest(
            &subject.cid,
            role,
            &spk(&v, side).public(),
            &partner,
            &fixed(&v, &format!("inputs.bind_nonce_{name}")),
        );
        let signer = SigningKey::from_bytes(&fixed(&v, &format!("inputs.identity_scalar_{name}"))).unwrap();
        assert_eq!(signer.public(), subject.key);
        same(&signer.sign_rfc6979(&digest).0, &v, &format!("attestation.spk_attestation_{side}"));
    }
}

#[test]
fn introductions_and_the_record() {
    let v = vectors();
    let authority = spk(&v, "C").public().sign_pub();
    let root = key(&v, "attestation.root_key");
    let roles = [Role::App, Role::Pack];
    for (side, own, partner, i) in [("A", "A", "B", 0), ("B", "B", "A", 1)] {
        let request = BindRequest::open(&bytes(&v, &format!("bind_request.to_{side}")), &authority).unwrap();
        assert_eq!(request.own, (cid(&v, own), roles[i]));
        assert_eq!(request.partner, (cid(&v, partner), roles[1 - i]));
        assert_eq!(request.binding_id.0, fixed(&v, "inputs.binding_id"));
        let raw = bytes(&v, &format!("introduction.to_{side}"));
        let introduction = Introduction::open(&raw, &authority).unwrap();
        assert_eq!((introduction.binding_id, introduction.own), (request.binding_id, request.own.0));
        introduction.verify_partner(request.partner, &[root]).unwrap();
        assert_eq!(introduction.spk, spk(&v, partner).public());
    }
    let entity = |side: &str, role| BoundEntity {
        cid: cid(&v, side),
        role,
        sign_pub: spk(&v, side).public().sign_pub(),
        spk_id: spk(&v, side).public().id(),
        access_commit: fixed(&v, &format!("introduction.access_commit_{side}")),
    };
    let record = BindingRecord {
        binding_id: BindingId(fixed(&v, "inputs.binding_id")),
        entities: [entity("A", Role::App), entity("B", Role::Pack)],
        time: number(&v, "inputs.time") as u32,
        assurance: Assurance::from_code(1).unwrap(),
    };
    same(&record.encode(), &v, "binding_record.record");
    for side in ["A", "B", "C"] {
        let signature = spk(&v, side).signing_key().sign_rfc6979(&record.digest());
        same(&signature.0, &v, &format!("binding_record.sig{side}"));
    }
    let (access, blind) = (bytes(&v, "inputs.access_a"), bytes(&v, "inputs.access_blind"));
    same(&sha256(&[&access, &blind]), &v, "introduction.access_commit_A");
}

#[test]
fn every_handshake_in_the_file() {
    let v = vectors();
    let names: Vec<String> =
        v.as_object().unwrap().keys().filter(|name| name.starts_with("handshake_")).cloned().collect();
    assert_eq!(names.len(), 6, "{names:?}");
    for name in &names {
        run(&v, name);
    }
    for name in ["key_confirm_dev", "key_confirm_pake"] {
        let source = text(&v, &format!("{name}.source"));
        let (master, th4) = (secret(&v, &format!("{source}.MS0")), bytes(&v, &format!("{source}.TH4")));
        for (side, label) in [("A", "key confirm a"), ("B", "key confirm b")] {
            let mac = derive::<16>(&master, label, &[&th4]).unwrap();
            same(mac.expose(), &v, &format!("{name}.mac_{side}"));
        }
    }
    same(&policy_hash(&bytes(&v, "policy.table"), &parameters([0; 16])), &v, "policy.policy_hash_bind");
    let seeded = parameters(fixed(&v, "inputs.iv_seed"));
    same(&policy_hash(&bytes(&v, "policy.table"), &seeded), &v, "policy.policy_hash");
}

#[test]
fn certificate_and_completion() {
    let v = vectors();
    let raw = bytes(&v, "cert.cert");
    let certificate = Certificate::parse(&raw).unwrap();
    let authority = spk(&v, "C").public();
    certificate.verify(&authority.sign_pub()).unwrap();
    same(&certificate.cm_hash(), &v, "cert.cm_hash");
    same(&certificate.hash(), &v, "cert.cert_hash");
    let metadata = ClearMetadata::decode(&bytes(&v, "cert.clear_metadata")).unwrap();
    assert_eq!(metadata.pairing_id.0, fixed(&v, "inputs.pairing_id"));
    let mut again = [0; METADATA_MAX];
    let n = metadata.encode(&mut again).unwrap();
    same(&again[..n], &v, "cert.clear_metadata");
    let (half_a, half_b) = halves(&v);
    for (side, name, half) in [(Side::A, "A", &half_a), (Side::B, "B", &half_b)] {
        let section = certificate.open_section(side, &spk(&v, name), &authority).unwrap();
        assert_eq!((&section.half, section.exchange_key), (half, secret(&v, "inputs.xk")));
    }
    let mut buffer = [0; VALIDATION_BUFFER];
    let pk = pairing_key(&half_a, &half_b).unwrap();
    let validation = certificate.validation().unwrap().open(&pk, &authority.sign_pub(), &mut buffer).unwrap();
    assert_eq!(validation.nonce, fixed::<32>(&v, "inputs.validation_nonce"));
    assert_eq!(validation.endpoint, text(&v, "inputs.endpoint"));

    let pair = run(&v, "handshake_pair");
    let done = Completion {
        pairing_id: PairingId(fixed(&v, "inputs.pairing_id")),
        nonce: validation.nonce,
        cert_hash: certificate.hash(),
        th4: pair.th4,
    };
    assert_eq!(done.digest(), sha256(&[&bytes(&v, "completion.message")]));
    for side in ["A", "B"] {
        let signature = spk(&v, side).signing_key().sign_rfc6979(&done.digest());
        same(&signature.0, &v, &format!("completion.sig{side}"));
    }
    let session = resume::Session { master: &pair.master, epoch: 0, channel: pair.channel_id() };
    let m1 = session.request(number(&v, "resume.boot_ctr_A") as u32, &fixed(&v, "resume.nA"));
    same(&m1, &v, "resume.M1");
    let boot = number(&v, "resume.boot_ctr_B") as u32;
    let m2 = session.respond(&m1, boot, &fixed(&v, "resume.nB")).unwrap();
    same(&m2, &v, "resume.M2");
    let (m3, master) = session.confirm(&m1, &m2).unwrap();
    same(&m3, &v, "resume.M3");
    assert_eq!(session.finish(&m1, &m2, &m3).unwrap(), master);
    same(master.0.expose(), &v, "resume.MS1");
    let nonces = (fixed(&v, "rekey.nA"), fixed(&v, "rekey.nB"));
    let rotated = pair.master.rekey(1, &nonces.0, &nonces.1, &fixed(&v, "rekey.salt")).unwrap();
    same(rotated.0.expose(), &v, "rekey.MS1");
}

fn group_secret(v: &Value) -> TrafficSecret {
    let generation = number(v, "tier_group.generation") as u32;
    let key = GroupKey(secret(v, "tier_group.group_key"));
    key.traffic(generation, &Cid(fixed(v, "tier_group.cid_pack"))).unwrap()
}

#[test]
fn every_tier_and_every_sealed_message() {
    let v = vectors();
    let (mut tiers, mut sealed) = (0, 0);
    for (name, group) in v.as_object().unwrap() {
        if name.starts_with("tier_") {
            let ts = match group.get("source") {
                None => group_secret(&v),
                Some(source) => {
                    let mut parts = name.split('_').skip(1);
                    let (tier, way) = (parts.next().unwrap(), parts.next().unwrap());
                    traffic(&v, source.as_str().unwrap(), tier, way)
                }
            };
            same(ts.0.expose(), group, "TS");
            same(ts.key().unwrap().expose(), group, "key");
            same(ts.mac_key().unwrap().expose(), group, "mac");
            same(ts.iv().unwrap().expose(), group, "iv");
            same(ts.compact_key().unwrap().expose(), group, "ckey");
            tiers += 1;
        }
        if group.get("sealed").is_some() && group.get("aad").is_some() {
            let ts = match text(group, "source") {
                "tier_group" => group_secret(&v),
                source => {
                    let (tier, way) = (text(group, "tier"), text(group, "direction"));
                    let master = match group.get("MS") {
                        Some(_) => secret(group, "MS"),
                        None => secret(&v, &format!("{source}.MS0")),
                    };
                    traffic_of(&v, source, &MasterSecret(master), tier, way, number(group, "epoch") as u32)
                }
            };
            let canonical_id = number(group, "can_id_canonical") as u32;
            let binding = Binding {
                level: (canonical_id >> 18 & 3) as u8,
                canonical_id,
                epoch: number(group, "epoch") as u32,
            };
            let plain = bytes(group, "plaintext");
            same(&binding.aad(plain.len() as u16), group, "aad");
            let counter = number(group, "counter");
            let mut out = [0; 512];
            let n = Sealer::new(&ts, counter, counter + 1)
                .unwrap()
                .seal(&binding, &[&plain], &mut out)
                .unwrap_or_else(|e| panic!("{name}: {e:?}"));
            same(&out[..n], group, "sealed");
            let (got, opened) = Opener::new(&ts).unwrap().open(&binding, &mut out[..n]).unwrap();
            assert_eq!((got, opened), (counter, plain.as_slice()), "{name}");
            sealed += 1;
        }
    }
    assert!(tiers >= 9 && sealed >= 10, "{tiers} tiers, {sealed} sealed messages");
}

#[test]
fn a_compact_message() {
    let v = vectors();
    let canonical_id = number(&v, "compact_c2.can_id_canonical") as u32;
    let binding = Binding { level: 1, canonical_id, epoch: 0 };
    let compact = Compact::new(&traffic(&v, "handshake_pair", "exch", "ba")).unwrap();
    let counter = number(&v, "compact_c2.counter");
    let frames = compact.seal2(&binding, counter, fixed(&v, "compact_c2.plaintext"));
    for (made, listed) in frames.iter().zip(v["compact_c2"]["frames"].as_array().unwrap()) {
        assert_eq!(hex::encode(made), listed.as_str().unwrap());
    }
}

#[test]
fn a_signed_command() {
    let v = vectors();
    let th4 = fixed(&v, "handshake_pair.TH4");
    let body = bytes(&v, "level5_sealed.body");
    let key = spk(&v, "A").public().sign_pub();
    let command = SignedCommand::open(&body, &th4, 0, &key).unwrap();
    assert_eq!(u64::from(command.base), number(&v, "level5_sealed.type"));
    assert_eq!(u64::from(command.seq), number(&v, "level5_sealed.seq"));
    assert_eq!(command.challenge.to_be_bytes().as_slice(), bytes(&v, "level5_sealed.challenge"));
    assert_eq!(command.command, bytes(&v, "level5_sealed.cmd"));
    let digest = command.digest(&th4, 0);
    assert_eq!(digest, sha256(&[&bytes(&v, "level5_sealed.signed")]));
    assert_eq!(spk(&v, "A").signing_key().sign_rfc6979(&digest).0, body[body.len() - 64..]);
}

#[test]
fn the_printed_code() {
    let v = vectors();
    let (app, pack) = (cid(&v, "A"), cid(&v, "B"));
    let code = Code::parse(text(&v, "pake.code")).unwrap();
    assert_eq!(code.printed(), text(&v, "pake.code"));
    // w0 and w1 stand in the file reduced: as 40 bytes with leading zeros they stay what they are.
    let mut stretched = [0; 80];
    stretched[8..40].copy_from_slice(&bytes(&v, "pake.w0"));
    stretched[48..].copy_from_slice(&bytes(&v, "pake.w1"));
    let known = ProverSecret::from_stretched(&Secret::new(stretched)).unwrap();
    let record = known.record();
    assert_eq!(record.expose()[..32], bytes(&v, "pake.w0"));
    same(&record.expose()[32..], &v, "pake.L");
    same(&record.commitment(&pack), &v, "pake.code_commit");
    let prover = Prover::start(&known, &app, &pack, &mut Scalar(fixed(&v, "pake.x")));
    same(prover.share(), &v, "pake.shareP");
    let (verifier, answer) =
        PakeVerifier::answer(&record, &app, &pack, prover.share(), &mut Scalar(fixed(&v, "pake.y"))).unwrap();
    same(&answer[..65], &v, "pake.shareV");
    same(&answer[65..], &v, "pake.confirmV");
    let (confirm, shared) = prover.finish(&answer).unwrap();
    same(&confirm, &v, "pake.confirmP");
    same(shared.expose(), &v, "pake.K_shared");
    same(verifier.finish(&confirm).unwrap().expose(), &v, "pake.K_shared");
}

#[test]
fn key_packages() {
    let v = vectors();
    for side in ["A", "B"] {
        let parties = parties(&v, side);
        let raw = bytes(&v, &format!("key_package.to_{side}"));
        let package = KeyPackage::decode(&raw, &parties).unwrap();
        assert_eq!(package.kind, Kind::Dev);
        assert_eq!(package.encode(&parties).unwrap().as_slice(), raw);
        let [a, b] = package.halves(&parties).unwrap();
        assert_eq!(a.expose(), &fixed::<64>(&v, "inputs.device_key_half_a"));
        assert_eq!(b.expose(), &fixed::<64>(&v, "inputs.device_key_half_b"));
    }
    let (nonce, authority) = (fixed(&v, "key_package_sealed.nonce"), spk(&v, "C").public().sign_pub());
    let sealed = bytes(&v, "key_package_sealed.sealed");
    let package = KeyPackage::open(&sealed, &parties(&v, "B"), &spk(&v, "B"), &nonce, &authority).unwrap();
    assert_eq!(package.kind, Kind::Bind);
    assert_eq!(package.salt, fixed(&v, "inputs.salt"));
}

#[test]
fn lifecycle_statements() {
    let v = vectors();
    let authority = spk(&v, "C").public().sign_pub();
    let token = TimeToken::open(&bytes(&v, "time_token.token"), &authority).unwrap();
    assert_eq!(u64::from(token.time), number(&v, "time_token.time"));

    let asked = Rebind {
        device: cid(&v, "B"),
        nonce: fixed(&v, "rebind_token.nonce"),
        old: BindingId(fixed(&v, "rebind_token.binding_id_old")),
    };
    asked.is_granted_by(&bytes(&v, "rebind_token.token"), &authority).unwrap();
    let made = asked.issue(spk(&v, "C").signing_key(), &mut ChaCha20Rng::seed_from_u64(1));
    assert_eq!(made[..49], bytes(&v, "rebind_token.token")[..49]);

    let (first, second) = (bytes(&v, "crl.first"), bytes(&v, "crl.second"));
    let list = RevocationList::open(&first, &authority).unwrap();
    assert_eq!((list.number, list.previous, list.entries.len()), (1, [0; 32], 0));
    same(&hash_of(&first), &v, "crl.first_hash");
    let list = RevocationList::open(&second, &authority).unwrap();
    assert_eq!((list.number, list.previous), (2, hash_of(&first)));
    let subjects: Vec<Subject> = list.entries.iter().map(|e| e.subject).collect();
    assert_eq!(
        subjects,
        [
            Subject::Component(Cid::of(text(&v, "inputs.component_id_m"))),
            Subject::Binding(BindingId(fixed(&v, "inputs.binding_id"))),
            Subject::Pairing(PairingId(fixed(&v, "inputs.pairing_id"))),
            Subject::Batch(batch_id(&key(&v, "attestation.batch_key"))),
        ]
    );

    let update = [
        bytes(&v, "policy_update.body"),
        bytes(&v, "policy_update.sigC"),
        bytes(&v, "policy_update.sigA"),
        bytes(&v, "policy_update.sigB"),
    ]
    .concat();
    let keys = [spk(&v, "A").public().sign_pub(), spk(&v, "B").public().sign_pub()];
    let policy = Policy::open(&update, &authority, |_| Ok(keys)).unwrap();
    assert_eq!((policy.version, policy.entities), (2, [cid(&v, "A"), cid(&v, "B")]));
    assert_eq!(policy.encode().unwrap().as_slice(), bytes(&v, "policy_update.body"));

    let device = spk(&v, "B").public().sign_pub();
    let mut chain = AuditChain::new(secret(&v, "audit.k_1"));
    let mut verifier = Verifier::new(Some(secret(&v, "audit.k_1")));
    for row in v["audit"]["chain"].as_array().unwrap() {
        let entry = bytes(row, "entry");
        let link = chain.append(&entry).unwrap();
        assert_eq!(link.number, number(row, "n"));
        same(&link.hash, row, "hash");
        same(&link.tag, row, "tag");
        assert_eq!(Entry::decode(&entry).unwrap().encode().unwrap().as_slice(), entry);
        verifier.entry(&link, &entry).unwrap();
    }
    let point = Checkpoint::open(&bytes(&v, "audit.checkpoint"), &device).unwrap();
    assert_eq!((point.number, point.hash), verifier.head());
    assert_eq!(point.cid, cid(&v, "B"));
    let statement = KeyStatement::open(&bytes(&v, "audit.key_statement"), &device).unwrap();
    assert_eq!(statement.first_key(spk(&v, "C").opening_key()).unwrap(), secret(&v, "audit.k_1"));

    let announce = Announce::open(&bytes(&v, "announce.announce"), &device).unwrap();
    assert_eq!(announce.cid, cid(&v, "B"));
    let told = [announce.boot, announce.seq, announce.flags.into()];
    assert_eq!(told, ["boot", "seq", "flags"].map(|n| number(&v, &format!("announce.{n}")) as u32));
}

/// Events of every type under B's key, and the app's word about one of them (V1, V3, V7).
#[test]
fn events_and_witnesses() {
    let v = vectors();
    let (device, app) = (spk(&v, "B").signing_key().public(), spk(&v, "A").signing_key().public());
    let mut kinds = BTreeSet::from([EventKind::BindingReplacement as u8]);
    for name in v.as_object().unwrap().keys().filter_map(|group| group.strip_prefix("event_")) {
        let (raw, sig) =
            (bytes(&v, &format!("event_{name}.event")), fixed(&v, &format!("event_{name}.sigB")));
        let (event, sig) = (Event::decode(&raw).unwrap(), Signature(sig));
        event.verify(&device, &sig).unwrap();
        kinds.insert(event.kind as u8);
        let mut again = [0; EVENT_MAX];
        let n = event.encode(&mut again).unwrap();
        same(&again[..n], &v, &format!("event_{name}.event"));
        assert_eq!(event.cid, cid(&v, "B"));
        same(&event.digest().unwrap(), &v, &format!("event_{name}.digest"));
        same(
            &spk(&v, "B").signing_key().sign_rfc6979(&event.digest().unwrap()).0,
            &v,
            &format!("event_{name}.sigB"),
        );
        if name == "module_energy" {
            let said = ModuleEnergy::decode(&event.payload).unwrap();
            let n = |field: &str| number(&v, &format!("module_energy.{field}"));
            let fields = [said.cycle.into(), said.event.into(), said.kind as u64];
            assert_eq!(fields, ["cycle", "event", "kind"].map(n));
            assert_eq!([said.start_ms, said.end_ms, said.mwh], ["start", "end", "mwh"].map(n));
            assert_eq!(said.encode(), *event.payload);
        }
        if name == "fault" {
            let attestation = Attestation::decode(&bytes(&v, "witness.attestation")).unwrap();
            attestation.verify((&event, &sig), &app).unwrap();
            assert_eq!(
                (attestation.witness, attestation.time_ms),
                (cid(&v, "A"), number(&v, "witness.time_ms"))
            );
        }
    }
    let all: Vec<u8> = (0..=u8::MAX).filter(|code| EventKind::from_code(*code).is_ok()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all, "a type without a vector");
}

/// SIGNED of a device that replaces its binding: the record under the new key, its word under the identity key (H49, H180).
#[test]
fn the_word_of_who_replaces() {
    let v = vectors();
    let answer = bytes(&v, "signed_replacing.answer");
    let (head, word) = answer.split_at(1 + 16 + 64);
    let record = bytes(&v, "binding_record.record");
    same(&head[1..17], &v, "inputs.binding_id");
    same(&head[17..], &v, "binding_record.sigB");
    let (length, rest) = word.split_first().unwrap();
    let (said, signature) = rest.split_at(usize::from(*length));
    same(said, &v, "signed_replacing.event");
    let key = SigningKey::from_bytes(&fixed(&v, "inputs.identity_scalar_b")).unwrap();
    let payload = [&bytes(&v, "signed_replacing.binding_id_old")[..], &sha256(&[&record])].concat();
    let boot = number(&v, "inputs.boot_b") as u32;
    let event = Event::new(EventKind::BindingReplacement, cid(&v, "B"), boot, 400, &payload).unwrap();
    let mut again = [0; EVENT_MAX];
    let n = event.encode(&mut again).unwrap();
    assert_eq!(again[..n], *said);
    same(&event.digest().unwrap(), &v, "signed_replacing.digest");
    assert_eq!(key.sign_rfc6979(&event.digest().unwrap()).0, *signature);
}

/// What a device asks its factory for (H145).
#[test]
fn a_request_for_a_certificate() {
    let v = vectors();
    let request = bytes(&v, "certificate_request.request");
    let key = SigningKey::from_bytes(&fixed(&v, "inputs.identity_scalar_b")).unwrap();
    let asked = CertificateRequest {
        role: Role::Pack,
        flags: 3,
        cid: cid(&v, "B"),
        hw: fixed(&v, "inputs.hardware"),
        key: key.public(),
    };
    assert_eq!(CertificateRequest::open(&request), Ok(asked));
    assert_eq!(asked.sign(&key, &mut ChaCha20Rng::seed_from_u64(1))[..60], request[..60]);
}

#[test]
fn who_acts_for_the_authority() {
    let v = vectors();
    let authority = spk(&v, "C");
    let key = authority.public().sign_pub();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let time = number(&v, "inputs.time") as u32;
    let signed = bytes(&v, "delegation.delegation");
    let read = Delegation::open(&signed, &key).unwrap();
    let expected = Delegation {
        number: 3,
        delegate: Spk::from_slice(&bytes(&v, "delegation.SPKD")).unwrap(),
        issued: time,
        not_before: time + 60,
        not_after: time + 86_460,
        lease_s: 604_800,
        operations: 7,
        packs: [cid(&v, "B")].into_iter().collect(),
    };
    assert_eq!(read, expected);
    let made = read.issue(authority.signing_key(), &mut rng).unwrap();
    assert_eq!(made[..made.len() - 64], signed[..signed.len() - 64]);
    let id = DelegationId::of(&signed);
    same(&id.0, &v, "delegation.id");

    let delegate = read.delegate.sign_pub();
    let ended = DelegateRevocation::open(&bytes(&v, "delegate_revocation.revocation"), &delegate).unwrap();
    let subject = Subject::Pairing(PairingId(fixed(&v, "inputs.pairing_id")));
    assert_eq!((ended.delegation, ended.subject, ended.time), (id, subject, time + 70));

    let (first, second) = (bytes(&v, "act.first"), bytes(&v, "act.second"));
    let acts = [&first, &second].map(|act| Act::open(act, &delegate).unwrap());
    let body = sha256(&[&bytes(&v, "act.body")]);
    let act = |number, previous, time| Act { delegation: id, number, previous, time, body };
    assert_eq!(acts, [act(1, [0; 32], time + 70), act(2, Act::hash_of(&first), time + 80)]);

    let follows = Succession::open(&bytes(&v, "succession.succession"), &authority.public()).unwrap();
    let successor = SpkSecret::from_seed(secret(&v, "succession.seed")).unwrap();
    same(&successor.public().0, &v, "succession.SPK");
    assert_eq!((follows.new, follows.time), (successor.public(), time));
    let made = Succession::issue(
        time,
        (&authority.public(), authority.signing_key()),
        (&successor.public(), successor.signing_key()),
        &mut rng,
    );
    assert_eq!(made[..81], bytes(&v, "succession.succession")[..81]);
}

#[test]
fn consent_of_an_owner() {
    let v = vectors();
    let agreed = Consent {
        chain_id: fixed(&v, "consent.chain"),
        cid: cid(&v, "B"),
        binding: BindingId(fixed(&v, "inputs.binding_id")),
        partner: cid(&v, "A"),
        until_ms: number(&v, "consent.until_ms"),
        hop: number(&v, "consent.hop") as u32,
        number: number(&v, "consent.number"),
    };
    let mut out = [0; CONSENT_MAX];
    let n = agreed.encode(&mut out).unwrap();
    same(&out[..n], &v, "consent.consent");
    assert_eq!(Consent::decode(&out[..n]), Ok(agreed));
    let owner = SigningKey::from_bytes(&fixed(&v, "consent.owner_scalar")).unwrap();
    same(&owner.sign_rfc6979(&agreed.digest().unwrap()).0, &v, "consent.signature");
}

#[test]
fn energy_between_packs() {
    let v = vectors();
    let (chain_id, time) = (fixed(&v, "energy_order.chain"), number(&v, "inputs.time") * 1000);
    let (cid_a, pairing) = (cid(&v, "A"), PairingId(fixed(&v, "inputs.pairing_id")));
    let (transfer, offer) = (TradeId([0x7f; 16]), TradeId([0x0f; 16]));
    let give = Give { to: cid(&v, "B"), pairing, mwh: 30_000, until_ms: time + 60_000 };
    let terms =
        Terms { mwh: 10_000, least: 1_000, price: 300_000, from_ms: time, until_ms: time + 3_600_000 };
    let accept = Acceptance { offer, pairing, most: u64::MAX, least: 0, until_ms: time + 60_000 };
    let (a, b) = (spk(&v, "A"), spk(&v, "B"));
    let signed = |digest, key: &SigningKey, path: &str| same(&key.sign_rfc6979(&digest).0, &v, path);
    let mut out = [0; TRADE_MAX];
    for (name, id, what) in [
        ("transfer", transfer, What::Transfer(give)),
        ("balance", transfer, What::Balance(give)),
        ("offer_energy", offer, What::OfferEnergy(terms)),
        ("offer_capacity", offer, What::OfferCapacity(terms)),
        ("accept", transfer, What::Accept(accept)),
        ("withdraw", offer, What::Withdraw),
    ] {
        let order = Order { chain_id, id, cid: cid_a, what };
        let n = order.encode(&mut out).unwrap();
        same(&out[..n], &v, &format!("energy_order.{name}.order"));
        signed(order.digest().unwrap(), a.signing_key(), &format!("energy_order.{name}.signature"));
    }
    let receipt = trade::Receipt {
        chain_id,
        transfer,
        given: 25_000,
        received: 24_000,
        start_ms: time,
        end_ms: time + 5_000,
    };
    let n = receipt.encode(&mut out).unwrap();
    same(&out[..n], &v, "energy_receipt.receipt");
    signed(receipt.digest().unwrap(), a.signing_key(), "energy_receipt.signature_giver");
    signed(receipt.digest().unwrap(), b.signing_key(), "energy_receipt.signature_taker");
    let other = SigningKey::from_bytes(&fixed(&v, "energy_quote.other_scalar")).unwrap();
    same(&other.public().0, &v, "energy_quote.other");
    let quote = trade::Quote { chain_id, cid: cid_a, cycle: 7, price: 250_000, other: other.public() };
    let n = quote.encode(&mut out).unwrap();
    same(&out[..n], &v, "energy_quote.quote");
    signed(quote.digest().unwrap(), a.signing_key(), "energy_quote.signature_owner");
    signed(quote.digest().unwrap(), &other, "energy_quote.signature_other");
}

#[test]
fn reports_of_metrics() {
    let v = vectors();
    let pack = spk(&v, "B");
    let pack = pack.signing_key();
    let raw = bytes(&v, "trust_report.report");
    let report = MetricsReport::decode(&raw).unwrap();
    let mut again = [0; REPORT_MAX];
    let n = report.encode(&mut again).unwrap();
    same(&again[..n], &v, "trust_report.report");
    assert_eq!(
        (report.observer, report.context, report.temperature),
        (cid(&v, "B"), TrustContext::CriticalSafety, -5_250)
    );
    same(&report.digest().unwrap(), &v, "trust_report.digest");
    same(&pack.sign_rfc6979(&report.digest().unwrap()).0, &v, "trust_report.sigB");
    report.verify(&pack.public(), &Signature(fixed(&v, "trust_report.sigB"))).unwrap();
    // Largest of everything: the bound holds.
    let largest = MetricsReport {
        start_ms: u64::MAX,
        end_ms: u64::MAX,
        metrics: [1_000_000; 5],
        temperature: i32::MIN,
        load_ppm: u32::MAX,
        cycles: u32::MAX,
        ..report
    };
    assert!(largest.encode(&mut again).unwrap() <= REPORT_MAX);
    let refused = |change: &dyn Fn(&mut MetricsReport)| {
        let mut r = report;
        change(&mut r);
        let mut out = [0; REPORT_MAX];
        let n = r.encode(&mut out).unwrap();
        MetricsReport::decode(&out[..n]).is_err()
    };
    assert!(refused(&|r| r.metrics[4] = 1_000_001), "a metric above one");
    assert!(refused(&|r| r.start_ms = r.end_ms + 1), "time that runs back");
    assert!(!refused(&|r| r.start_ms = r.end_ms));
}
