//! The published vectors of the secure link (`spec/vectors/secure-link.json`), entry by entry.
//!
//! They were computed by an independent implementation; every derived value in the file is compared, every
//! signature is verified and reproduced, every sealed section is opened.

#![allow(clippy::unwrap_used, clippy::panic)]

use lct::{
    Digest,
    audit::AuditChain,
    certificate::{Certificate, VALIDATION_BUFFER},
    command::SignedCommand,
    counter::Reservation,
    exchange::{Side, open_half, pairing_key, seal_half},
    handshake::{self, COMMITTED, Context, Ephemeral, Established, Initiator, Kind, Psk, Responder, SIGNED},
    hash::sha256,
    id::{Cid, PairingId},
    pairing::Completion,
    resume,
    schedule::{Direction, ExchangeTag, MasterSecret, Tier, TrafficSecret, derive},
    seal::{Binding, Compact, Opener, Sealer},
    secret::Secret,
    spk::SpkSecret,
};
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/secure-link.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
fn at<'a>(v: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(v, |v, key| v.get(key).unwrap_or_else(|| panic!("no entry {path}")))
}
fn bytes(v: &Value, path: &str) -> Vec<u8> {
    hex::decode(at(v, path).as_str().unwrap()).unwrap()
}
fn fixed<const N: usize>(v: &Value, path: &str) -> [u8; N] {
    bytes(v, path).try_into().unwrap()
}
fn number(v: &Value, path: &str) -> u64 {
    match at(v, path) {
        Value::String(s) => u64::from_str_radix(s.trim_start_matches("0x"), 16).unwrap(),
        n => n.as_u64().unwrap(),
    }
}
fn secret<const N: usize>(v: &Value, path: &str) -> Secret<N> {
    Secret::new(fixed(v, path))
}
fn same(got: &[u8], v: &Value, path: &str) {
    assert_eq!(hex::encode(got), at(v, path).as_str().unwrap(), "{path}");
}
fn spk(v: &Value, which: &str) -> SpkSecret {
    SpkSecret::from_seed(secret(v, &format!("inputs.spk_seed_{which}"))).unwrap()
}
fn pairing_id(v: &Value) -> PairingId {
    PairingId(fixed(v, "inputs.pairing_id"))
}
fn halves(v: &Value) -> (Secret<32>, Secret<32>) {
    let pk: [u8; 64] = fixed(v, "inputs.pk64");
    (Secret::from_slice(&pk[..32]).unwrap(), Secret::from_slice(&pk[32..]).unwrap())
}

#[test]
fn label() {
    let v = vectors();
    let okm =
        derive::<32>(&secret(&v, "label.secret"), at(&v, "label.label").as_str().unwrap(), &[]).unwrap();
    same(okm.expose(), &v, "label.okm");
}

#[test]
fn semi_public_keys() {
    let v = vectors();
    for side in ["A", "B"] {
        let id = at(&v, &format!("inputs.component_id_{side}")).as_str().unwrap();
        same(&Cid::of(id).0, &v, &format!("spk.cid{side}"));
        let key = spk(&v, side).public();
        same(&key.0, &v, &format!("spk.SPK{side}"));
        same(&key.id().0, &v, &format!("spk.id{side}"));
    }
    same(&spk(&v, "C").public().0, &v, "cert.SPKC");
}

#[test]
fn certificate() {
    let v = vectors();
    let raw = bytes(&v, "cert.cert");
    let cert = Certificate::parse(&raw).unwrap();
    let authority = spk(&v, "C").public();
    cert.verify(&authority.sign_pub()).unwrap();
    same(&cert.cm_hash(), &v, "cert.cm_hash");
    same(&cert.hash(), &v, "cert.cert_hash");
    same(&cert.pk_commit, &v, "cert.pk_commit");
    let (half_a, half_b) = halves(&v);
    for (side, name, half) in [(Side::A, "A", &half_a), (Side::B, "B", &half_b)] {
        let section = cert.open_section(side, &spk(&v, name), &authority).unwrap();
        assert_eq!(&section.half, half);
        assert_eq!(section.exchange_key, secret(&v, "inputs.xk"));
        assert!(cert.open_section(side.other(), &spk(&v, name), &authority).is_err(), "wrong side opened");
    }
    let pk = pairing_key(&half_a, &half_b).unwrap();
    let mut buffer = [0; VALIDATION_BUFFER];
    let validation = cert.validation().unwrap().open(&pk, &authority.sign_pub(), &mut buffer).unwrap();
    assert_eq!(validation.nonce, fixed::<32>(&v, "inputs.validation_nonce"));
    assert_eq!(validation.endpoint, at(&v, "inputs.endpoint").as_str().unwrap());
    assert_eq!(u64::from(validation.timeout_s), number(&v, "inputs.timeout_s"));
    let swapped = pairing_key(&half_b, &half_a).unwrap();
    assert!(cert.validation().unwrap().check_key(&swapped).is_err(), "halves in the wrong order");
    for cut in 0..raw.len() {
        assert!(Certificate::parse(&raw[..cut]).is_err(), "cut at {cut}");
    }
    for i in 0..raw.len() {
        let mut bad = raw.clone();
        bad[i] ^= 1;
        let accepted = Certificate::parse(&bad).and_then(|c| c.verify(&authority.sign_pub()));
        assert!(accepted.is_err(), "byte {i}");
    }
}

#[test]
fn issued_certificates_open_on_both_sides() {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
    let v = vectors();
    let (a, b, c) = (spk(&v, "A"), spk(&v, "B"), spk(&v, "C"));
    let (half_a, half_b) = halves(&v);
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let raw = lct::certificate::issue(
        &lct::certificate::Issue {
            pairing_id: pairing_id(&v),
            clear_metadata: &bytes(&v, "inputs.clear_metadata"),
            spk_a: &a.public(),
            spk_b: &b.public(),
            spk_authority: &c.public(),
            key: c.signing_key(),
            half_a: &half_a,
            half_b: &half_b,
            exchange_key: &secret(&v, "inputs.xk"),
            validation_nonce: &[7; 32],
            endpoint: "https://ac.example/v1/pair",
            timeout_s: 9,
        },
        &mut rng,
    )
    .unwrap();
    assert_eq!(raw.len(), number(&v, "cert.cert_len") as usize);
    let cert = Certificate::parse(&raw).unwrap();
    cert.verify(&c.public().sign_pub()).unwrap();
    let section = cert.open_section(Side::B, &b, &c.public()).unwrap();
    assert_eq!(section.half, half_b);
    let mut buffer = [0; VALIDATION_BUFFER];
    let pk = pairing_key(&half_a, &half_b).unwrap();
    assert_eq!(
        cert.validation().unwrap().open(&pk, &c.public().sign_pub(), &mut buffer).unwrap().nonce,
        [7; 32]
    );
}

struct Run {
    context: Context,
    established: Established,
}

fn established(e: &Established, v: &Value, group: &str) {
    same(&e.th4, v, &format!("{group}.TH4"));
    same(e.master.0.expose(), v, &format!("{group}.MS0"));
    same(&e.channel_id(), v, &format!("{group}.chan_id"));
}

fn pair(v: &Value) -> Run {
    let (a, b) = (spk(v, "A"), spk(v, "B"));
    let context = Context {
        kind: Kind::Pair,
        flags: SIGNED,
        cid_a: Cid(fixed(v, "spk.cidA")),
        cid_b: Cid(fixed(v, "spk.cidB")),
        spk_a: Some(a.public()),
        spk_b: Some(b.public()),
        cert_hash: Some(fixed(v, "cert.cert_hash")),
        policy_hash: sha256(&[&bytes(v, "inputs.policy")]),
        salt: fixed(v, "inputs.salt"),
    };
    same(&context.policy_hash, v, "handshake_pair.policy_hash");
    let (half_a, half_b) = halves(v);
    let (xk, cm, id) = (secret(v, "inputs.xk"), fixed::<32>(v, "cert.cm_hash"), pairing_id(v));
    let hx_a = seal_half(Side::A, &half_a, &xk, &cm, &id).unwrap();
    let hx_b = seal_half(Side::B, &half_b, &xk, &cm, &id).unwrap();
    same(&hx_a, v, "handshake_pair.HXA");
    same(&hx_b, v, "handshake_pair.HXB");
    assert_eq!(open_half(Side::A, &hx_a, &xk, &cm, &id).unwrap(), half_a);
    assert!(open_half(Side::B, &hx_a, &xk, &cm, &id).is_err());
    let psk_parts = [half_a.expose().as_slice(), half_b.expose(), &context.salt];
    let psk = Psk(&psk_parts);
    let eph = |side: &str| {
        Ephemeral::from_parts(
            &fixed(v, &format!("inputs.ephemeral_{side}")),
            fixed(v, &format!("inputs.N_{side}")),
        )
        .unwrap()
    };
    let boot = |side: &str| number(v, &format!("inputs.boot_ctr_{side}")) as u32;
    let (initiator, m1) = Initiator::start(&context, eph("A"), boot("A"), Some(&hx_a), None).unwrap();
    same(&m1, v, "handshake_pair.M1");
    let (responder, m2) = Responder::answer_signing(
        &context,
        eph("B"),
        boot("B"),
        None,
        &m1,
        Some(&hx_b),
        &psk,
        Some(|d: &Digest| b.signing_key().sign_rfc6979(d)),
    )
    .unwrap();
    same(&m2, v, "handshake_pair.M2");
    let (m3, of_a) = initiator
        .finish_signing(&context, &m2, &psk, Some(|d: &Digest| a.signing_key().sign_rfc6979(d)))
        .unwrap();
    same(&m3, v, "handshake_pair.M3");
    let of_b = responder.finish(&context, &m3).unwrap();
    assert_eq!(of_a.th4, of_b.th4);
    established(&of_b, v, "handshake_pair");
    Run { context, established: of_a }
}

fn dev(v: &Value, group: &str, flags: u8) -> Run {
    let context = Context {
        kind: Kind::Dev,
        flags,
        cid_a: Cid(fixed(v, "spk.cidA")),
        cid_b: Cid(fixed(v, "spk.cidB")),
        spk_a: None,
        spk_b: None,
        cert_hash: None,
        policy_hash: sha256(&[&bytes(v, "inputs.policy")]),
        salt: fixed(v, "inputs.salt"),
    };
    let (a, b): ([u8; 64], [u8; 64]) =
        (fixed(v, "inputs.device_key_half_A"), fixed(v, "inputs.device_key_half_B"));
    let psk_parts = [a.as_slice(), &b, &context.salt];
    let psk = Psk(&psk_parts);
    let eph = |side: &str| {
        Ephemeral::from_parts(
            &fixed(v, &format!("inputs.ephemeral_{side}")),
            fixed(v, &format!("inputs.N_{side}")),
        )
        .unwrap()
    };
    let none = None::<fn(&Digest) -> lct::sign::Signature>;
    let m0 = (flags & COMMITTED != 0).then(|| handshake::commit(&context, &eph("B")).unwrap());
    if let Some(m0) = &m0 {
        same(m0, v, &format!("{group}.M0"));
    }
    let (initiator, m1) =
        Initiator::start(&context, eph("A"), number(v, "inputs.boot_ctr_A") as u32, None, m0.as_deref())
            .unwrap();
    same(&m1, v, &format!("{group}.M1"));
    let (responder, m2) = Responder::answer_signing(
        &context,
        eph("B"),
        number(v, "inputs.boot_ctr_B") as u32,
        m0.as_deref(),
        &m1,
        None,
        &psk,
        none,
    )
    .unwrap();
    same(&m2, v, &format!("{group}.M2"));
    let (m3, of_a) = initiator.finish_signing(&context, &m2, &psk, none).unwrap();
    same(&m3, v, &format!("{group}.M3"));
    let of_b = responder.finish(&context, &m3).unwrap();
    assert_eq!((of_a.th4, of_a.comparison), (of_b.th4, of_b.comparison));
    established(&of_b, v, group);
    if flags & COMMITTED != 0 {
        assert_eq!(format!("{:06}", of_a.comparison), at(v, &format!("{group}.SAS")).as_str().unwrap());
    }
    Run { context, established: of_a }
}

#[test]
fn handshakes() {
    let v = vectors();
    pair(&v);
    dev(&v, "handshake_dev", 0);
    dev(&v, "handshake_dev_sas", COMMITTED);
}

#[test]
fn a_broken_handshake_never_establishes() {
    let v = vectors();
    let run = dev(&v, "handshake_dev_sas", COMMITTED);
    let eph = |side: &str| {
        Ephemeral::from_parts(
            &fixed(&v, &format!("inputs.ephemeral_{side}")),
            fixed(&v, &format!("inputs.N_{side}")),
        )
        .unwrap()
    };
    let psk_bytes = [1u8; 160];
    let psk_parts = [psk_bytes.as_slice()];
    let none = None::<fn(&Digest) -> lct::sign::Signature>;
    let m0 = handshake::commit(&run.context, &eph("A")).unwrap();
    let (initiator, m1) = Initiator::start(&run.context, eph("A"), 1, None, Some(&m0)).unwrap();
    let (_, m2) =
        Responder::answer_signing(&run.context, eph("B"), 1, Some(&m0), &m1, None, &Psk(&psk_parts), none)
            .unwrap();
    assert!(
        initiator.finish_signing(&run.context, &m2, &Psk(&psk_parts), none).is_err(),
        "B opened another key than it committed to"
    );
    let m1 = bytes(&v, "handshake_dev.M1");
    let plain = dev(&v, "handshake_dev", 0);
    for i in 0..4 {
        let mut bad = m1.clone();
        bad[i] ^= 1;
        assert!(handshake::Request::parse(&plain.context, &bad).is_err(), "head byte {i}");
    }
    for n in 0..m1.len() {
        assert!(handshake::Request::parse(&plain.context, &m1[..n]).is_err(), "cut at {n}");
    }
}

fn traffic(v: &Value, name: &str, epoch: u32, master: &MasterSecret, channel: &[u8; 8]) -> TrafficSecret {
    let mut parts = name.split('_').skip(1);
    let tier = match parts.next().unwrap() {
        "exch" => Tier::Exch,
        "pair" => Tier::Pair,
        "dev" => Tier::Dev,
        other => panic!("tier {other}"),
    };
    let direction = if parts.next().unwrap() == "ab" { Direction::Ab } else { Direction::Ba };
    let tag = ExchangeTag::of(&secret(v, "inputs.xk"));
    master.traffic(tier, direction, epoch, channel, Some(&tag)).unwrap()
}

#[test]
fn tier_keys() {
    let v = vectors();
    let (pair, dev) = (pair(&v).established, dev(&v, "handshake_dev", 0).established);
    let mut seen = 0;
    for (name, _) in v.as_object().unwrap().iter().filter(|(k, _)| k.starts_with("tier_")) {
        let run = if name.contains("_dev_") { &dev } else { &pair };
        let ts = traffic(&v, name, 0, &run.master, &run.channel_id());
        same(ts.0.expose(), &v, &format!("{name}.TS"));
        same(ts.key().unwrap().expose(), &v, &format!("{name}.key"));
        same(ts.mac_key().unwrap().expose(), &v, &format!("{name}.mac"));
        same(ts.iv().unwrap().expose(), &v, &format!("{name}.iv"));
        same(ts.compact_key().unwrap().expose(), &v, &format!("{name}.ckey"));
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} tiers in the file");
}

#[test]
fn sealed_messages() {
    let v = vectors();
    let run = pair(&v).established;
    let ts = traffic(&v, "tier_pair_ab_e0", 0, &run.master, &run.channel_id());
    for group in ["seal_pair_ab", "seal_fd48"] {
        let id = number(&v, &format!("{group}.can_id")) as u32;
        let binding = Binding { level: 2, canonical_id: 0x8000_0000 | (id & 0x1FFF_00FF), epoch: 0 };
        let text = bytes(&v, &format!("{group}.plaintext"));
        if group == "seal_pair_ab" {
            same(&binding.aad(text.len() as u16), &v, "seal_pair_ab.aad");
            assert_eq!(
                u64::from(binding.canonical_id),
                number(&v, "seal_pair_ab.can_id_canonical") | 0x8000_0000
            );
        }
        let counter = number(&v, &format!("{group}.counter"));
        let mut out = [0; 128];
        let n = Sealer::new(&ts, counter, counter + 1).unwrap().seal(&binding, &[&text], &mut out).unwrap();
        same(&out[..n], &v, &format!("{group}.sealed"));
        let (got, plain) = Opener::new(&ts).unwrap().open(&binding, &mut out[..n]).unwrap();
        assert_eq!((got, plain), (counter, text.as_slice()));
    }
}

#[test]
fn compact_profiles() {
    let v = vectors();
    let run = pair(&v).established;
    let ts = traffic(&v, "tier_exch_ba_e0", 0, &run.master, &run.channel_id());
    let compact = Compact::new(&ts).unwrap();
    let id = number(&v, "compact_c1.can_id") as u32;
    let binding = Binding { level: 1, canonical_id: 0x8000_0000 | (id & 0x1FFF_00FF), epoch: 0 };
    let (c1, c2) = (number(&v, "compact_c1.counter"), number(&v, "compact_c2.counter"));
    let frame = compact.seal1(&binding, c1, fixed(&v, "compact_c1.plaintext"));
    assert_eq!(hex::encode(frame), at(&v, "compact_c1.frames")[0].as_str().unwrap());
    let frames = compact.seal2(&binding, c2, fixed(&v, "compact_c2.plaintext"));
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!(hex::encode(frame), at(&v, "compact_c2.frames")[i].as_str().unwrap());
    }
    assert_eq!(compact.open1(&binding, Some(c1 - 1), &frame).unwrap().0, c1);
    assert!(compact.open1(&binding, Some(c1), &frame).is_err(), "replay of a compact frame");
    assert_eq!(
        compact.open2(&binding, Some(c2 - 1), &frames).unwrap(),
        (c2, fixed(&v, "compact_c2.plaintext"))
    );
    assert!(compact.open2(&binding, Some(c2), &frames).is_err());
}

#[test]
fn rekey_and_resume() {
    let v = vectors();
    let run = pair(&v).established;
    let next = run
        .master
        .rekey(1, &fixed(&v, "rekey.nA"), &fixed(&v, "rekey.nB"), &fixed(&v, "rekey.salt"))
        .unwrap();
    same(next.0.expose(), &v, "rekey.MS1");
    let ts = traffic(&v, "tier_pair_ab", 1, &next, &run.channel_id());
    same(ts.key().unwrap().expose(), &v, "rekey.key_pair_ab_e1");

    let session = resume::Session { master: &run.master, epoch: 0, channel: run.channel_id() };
    let m1 = session.request(number(&v, "resume.boot_ctr_A") as u32, &fixed(&v, "inputs.N_A"));
    same(&m1, &v, "resume.M1");
    let m2 = session.respond(&m1, number(&v, "resume.boot_ctr_B") as u32, &fixed(&v, "inputs.N_B")).unwrap();
    same(&m2, &v, "resume.M2");
    let (m3, of_a) = session.confirm(&m1, &m2).unwrap();
    same(&m3, &v, "resume.M3");
    let of_b = session.finish(&m1, &m2, &m3).unwrap();
    assert_eq!(of_a, of_b);
    same(of_a.0.expose(), &v, "resume.MS1");
    for i in 0..m2.len() {
        let mut bad = m2;
        bad[i] ^= 1;
        assert!(session.confirm(&m1, &bad).is_err(), "M2 byte {i}");
    }
    for i in 0..m3.len() {
        let mut bad = m3;
        bad[i] ^= 1;
        assert!(session.finish(&m1, &m2, &bad).is_err(), "M3 byte {i}");
    }
    let rolled_back = resume::Session { epoch: 1, ..session };
    assert!(rolled_back.confirm(&m1, &m2).is_err(), "another epoch");
}

#[test]
fn level_5_and_completion() {
    let v = vectors();
    let run = pair(&v).established;
    let (a, b) = (spk(&v, "A"), spk(&v, "B"));
    let cmd = bytes(&v, "inputs.level5.cmd");
    let command = SignedCommand {
        base: number(&v, "inputs.level5.type") as u16,
        seq: number(&v, "inputs.level5.seq") as u32,
        challenge: u32::from_be_bytes(fixed(&v, "inputs.level5.challenge")),
        ttl_ms: number(&v, "inputs.level5.ttl_ms") as u16,
        command: &cmd,
    };
    let digest = command.digest(&run.th4, 0);
    same(&digest, &v, "level5.digest");
    same(&a.signing_key().sign_rfc6979(&digest).0, &v, "level5.sigA");
    let done = Completion {
        pairing_id: pairing_id(&v),
        nonce: fixed(&v, "inputs.validation_nonce"),
        cert_hash: fixed(&v, "cert.cert_hash"),
        th4: run.th4,
    };
    same(&done.digest(), &v, "completion.digest");
    let (sig_a, sig_b) =
        (a.signing_key().sign_rfc6979(&done.digest()), b.signing_key().sign_rfc6979(&done.digest()));
    same(&sig_a.0, &v, "completion.sigA");
    same(&sig_b.0, &v, "completion.sigB");
    let (pa, pb) = (a.public().sign_pub(), b.public().sign_pub());
    done.verify((&pa, &sig_a), (&pb, &sig_b)).unwrap();
    assert!(done.verify((&pa, &sig_b), (&pb, &sig_a)).is_err());
}

#[test]
fn audit_and_counter_records() {
    let v = vectors();
    same(&lct::audit::genesis(), &v, "audit.h_0");
    let mut chain = AuditChain::new(secret(&v, "audit.k_1"));
    for entry in at(&v, "audit.chain").as_array().unwrap() {
        let link = chain.append(&bytes(entry, "entry")).unwrap();
        assert_eq!(link.number, number(entry, "n"));
        same(&link.hash, entry, "hash");
        same(&link.tag, entry, "tag");
    }
    let key = secret(&v, "nvrec.knv");
    let reservation = Reservation {
        slot: number(&v, "nvrec.slot") as u8,
        tier: Tier::Pair,
        direction: Direction::Ab,
        epoch: number(&v, "nvrec.epoch") as u32,
        sequence: number(&v, "nvrec.rec_seq") as u32,
        limit: number(&v, "nvrec.ctr_limit"),
    };
    let record = reservation.encode(&key);
    same(&record, &v, "nvrec.record");
    assert_eq!(Reservation::decode(&record, &key), Ok(reservation));
    for i in 0..record.len() {
        let mut torn = record;
        torn[i] ^= 0x40;
        assert!(Reservation::decode(&torn, &key).is_err(), "byte {i}");
    }
}
