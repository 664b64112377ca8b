//! Edges: the longest that is taken and one more, the first and the last second, and each of several conditions broken
//! alone. A comparison that is off by one, or two conditions joined the wrong way, shows at an edge only.

#![allow(clippy::unwrap_used, clippy::panic)]

use lct::{
    Digest, Error,
    attest::{CertificateType, DeviceCertificate, Subject, verify_batch},
    audit::{GAP_MAX, Verifier},
    certificate::{CERTIFICATE_MAX, Certificate, ENDPOINT_MAX, Issue, METADATA_MAX, issue},
    codec::check_canonical,
    command::{COMMAND_MAX, SignedCommand},
    exchange::pairing_key,
    handshake::{COMMITTED, Context, Ephemeral, HalfExchange, Initiator, Kind, Psk, Responder, commit},
    id::{Cid, PairingId, Role, is_side_a},
    policy::{Policy, Rotation},
    record::{Record, RecordKind},
    resume::{Session, parse_request, parse_response},
    schedule::{MasterSecret, derive},
    secret::Secret,
    sign::{Signature, SigningKey},
    spk::SpkSecret,
    trust::{MetricsReport, TrustContext},
    validation::{Announce, Event, EventKind},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(47)
}

/// H8: a certificate holds from its first second to the one before its end.
#[test]
fn a_certificate_holds_from_its_first_second_to_its_last() {
    let root = SigningKey::generate(&mut rng());
    let subject = Subject {
        kind: CertificateType::Batch,
        cid: Cid([1; 16]),
        role: Role::Module,
        flags: 0,
        not_before: 100,
        not_after: 200,
        hw: [0; 8],
        key: SigningKey::from_bytes(&[5; 32]).unwrap().public(),
        code_commit: [0; 32],
    };
    let batch = DeviceCertificate::issue(&subject, &root, &mut rng());
    for (now, holds) in [(99, false), (100, true), (199, true), (200, false)] {
        let verified = verify_batch(&batch, &[root.public()], Some(now));
        assert_eq!(verified.map(|_| ()), if holds { Ok(()) } else { Err(Error::Expired) }, "{now}");
    }
}

/// H127: a verifier follows the longest gap and not one entry more, counted from where it is.
#[test]
fn a_gap_is_counted_from_the_last_entry_that_fitted() {
    for from in [0, 5] {
        let at = || {
            let mut verifier = Verifier::new(None);
            assert!(verifier.skip(from, [1; 32]));
            verifier
        };
        assert!(!at().skip(from + GAP_MAX + 1, [2; 32]), "one more than {from} + {GAP_MAX}");
        assert!(at().skip(from + GAP_MAX, [2; 32]), "{from} + {GAP_MAX}");
        assert!(at().skip(from, [2; 32]), "no entry is missing");
    }
}

/// The parties of a pairing certificate and what is in it.
struct Pairing {
    parties: [SpkSecret; 3],
    halves: [Secret<32>; 2],
}

impl Pairing {
    fn new() -> Self {
        let party = |seed| SpkSecret::from_seed(Secret::new([seed; 32])).unwrap();
        Pairing { parties: [1, 2, 3].map(party), halves: [4, 5].map(|b| Secret::new([b; 32])) }
    }

    fn issue(&self, metadata: usize, endpoint: usize) -> Result<Vec<u8>, Error> {
        let [a, b, authority] = &self.parties;
        let made = Issue {
            pairing_id: PairingId([6; 16]),
            clear_metadata: &vec![0xA5; metadata],
            spk_a: &a.public(),
            spk_b: &b.public(),
            spk_authority: &authority.public(),
            key: authority.signing_key(),
            half_a: &self.halves[0],
            half_b: &self.halves[1],
            exchange_key: &Secret::new([7; 32]),
            validation_nonce: &[8; 32],
            endpoint: &"e".repeat(endpoint),
            timeout_s: 9,
        };
        issue(&made, &mut rng()).map(|bytes| bytes.to_vec())
    }
}

/// H50, H51: the longest certificate that can be issued can be read, and no longer one is issued.
#[test]
fn the_longest_pairing_certificate_is_issued_and_read() {
    let pairing = Pairing::new();
    let longest = pairing.issue(METADATA_MAX, ENDPOINT_MAX).unwrap();
    assert_eq!(longest.len(), CERTIFICATE_MAX);
    let read = Certificate::parse(&longest).unwrap();
    read.verify(&pairing.parties[2].public().sign_pub()).unwrap();
    assert_eq!(read.clear_metadata.len(), METADATA_MAX);
    for (metadata, endpoint) in [(METADATA_MAX + 1, 1), (1, ENDPOINT_MAX + 1)] {
        assert_eq!(pairing.issue(metadata, endpoint), Err(Error::BufferTooSmall), "{metadata} {endpoint}");
    }
}

/// H51: each section has its tag; one of another side in its place is refused.
#[test]
fn each_section_of_a_pairing_certificate_has_its_own_tag() {
    let whole = Pairing::new().issue(8, 8).unwrap();
    let sections: Vec<usize> = (0..whole.len() - 1)
        .filter(|at| {
            let mut changed = whole.clone();
            changed[*at] ^= 0xFF;
            Certificate::parse(&changed).is_err()
        })
        .collect();
    // Version, suite, and the length of the metadata begin it; behind them come the three tags and a length.
    let (a, b, v) = (20 + 8, 20 + 8 + 186, 20 + 8 + 2 * 186);
    let n = v + 1 + 32 + 12;
    assert_eq!(sections, [0, 1, 18, 19, a, b, v, n, n + 1]);
}

/// A container nested more deeply than is read is refused whatever it is nested in: a reader that follows it without end
/// runs out of stack.
#[test]
fn maps_nest_no_deeper_than_arrays() {
    let nested = |head: &[u8], tail: &[u8], depth: usize| {
        let mut bytes = head.repeat(depth);
        bytes.push(0);
        bytes.extend(tail.repeat(depth));
        check_canonical(&bytes)
    };
    for (name, head, tail) in
        [("array", &[0x81][..], &[][..]), ("value", &[0xA1, 0x01], &[]), ("key", &[0xA1], &[0x00])]
    {
        assert_eq!(nested(head, tail, 8), Ok(()), "{name}");
        assert_eq!(nested(head, tail, 9), Err(Error::Malformed), "{name}");
    }
}

/// H36: the longest command that is signed can be opened.
#[test]
fn the_longest_signed_command_opens() {
    let key = SigningKey::generate(&mut rng());
    let body = [0xA5; COMMAND_MAX];
    let command = SignedCommand { base: 0x514, seq: 1, challenge: 2, ttl_ms: 3, command: &body };
    let signed = command.sign(&[4; 32], 5, &key, &mut rng()).unwrap();
    assert_eq!(SignedCommand::open(&signed, &[4; 32], 5, &key.public()).unwrap().command, body);
}

/// H84: each half that gives nothing away is refused, and two that are the same.
#[test]
fn a_degenerate_half_on_either_side_makes_no_key() {
    let [good, other, zero] = [7, 9, 0].map(|b| Secret::new([b; 32]));
    for (a, b) in [(&zero, &good), (&good, &zero), (&good, &good)] {
        assert_eq!(pairing_key(a, b).err(), Some(Error::DegenerateKey));
    }
    assert!(pairing_key(&good, &other).is_ok());
}

fn context(kind: Kind, flags: u8) -> Context {
    Context {
        kind,
        flags,
        cid_a: Cid([1; 16]),
        cid_b: Cid([2; 16]),
        spk_a: None,
        spk_b: None,
        cert_hash: None,
        policy_hash: [3; 32],
        salt: [0; 32],
    }
}

/// H11: a pairing without its half, a half in another handshake, and a commitment that is missing or was not agreed
/// on end a handshake on either side, each by itself.
#[test]
fn a_handshake_has_exactly_the_parts_of_its_kind() {
    const HALF: HalfExchange = [0; core::mem::size_of::<HalfExchange>()];
    let ephemeral = || Ephemeral::generate(&mut rng());
    let none = None::<fn(&Digest) -> Signature>;
    for (kind, flags) in [(Kind::Pair, 0), (Kind::Pair, COMMITTED), (Kind::Dev, 0), (Kind::Dev, COMMITTED)] {
        let context = context(kind, flags);
        let m0 = commit(&context, &ephemeral()).unwrap();
        let parts = |half: bool, committed: bool| (half.then_some(&HALF), committed.then_some(m0.as_slice()));
        let own = (kind == Kind::Pair, flags == COMMITTED);
        let start = |(half, m0)| Initiator::start(&context, ephemeral(), 1, half, m0).map(|(_, m1)| m1);
        let m1 = start(parts(own.0, own.1)).unwrap();
        for wrong in [(!own.0, own.1), (own.0, !own.1)] {
            let (half, m0) = parts(wrong.0, wrong.1);
            assert_eq!(start((half, m0)), Err(Error::Malformed), "{kind:?} {flags} {wrong:?}");
            let answer =
                Responder::answer_signing(&context, ephemeral(), 1, m0, &m1, half, &Psk(&[&[7; 32]]), none);
            assert_eq!(answer.err(), Some(Error::Malformed), "{kind:?} {flags} {wrong:?}, answered");
        }
    }
}

/// H4: of two entities exactly one is the A side, and nobody is to itself.
#[test]
fn nobody_is_the_a_side_of_itself() {
    let (pack, module) = ((Role::Pack, Cid([1; 16])), (Role::Module, Cid([1; 16])));
    assert!(is_side_a(pack.0, pack.1, module.0, module.1));
    assert!(!is_side_a(module.0, module.1, pack.0, pack.1));
    assert!(!is_side_a(pack.0, pack.1, pack.0, pack.1));
}

/// H110: the shortest and longest periods, and the last base that there is.
#[test]
fn periods_and_rows_of_a_policy_end_where_the_table_says() {
    let r = Rotation::FACTORY;
    for (name, rotation, taken) in [
        ("shortest epoch", Rotation { epoch_s: 60, ..r }, true),
        ("too short an epoch", Rotation { epoch_s: 59, ..r }, false),
        ("longest epoch", Rotation { epoch_s: 7 * 86_400, ..r }, true),
        ("too long an epoch", Rotation { epoch_s: 7 * 86_400 + 1, agreement_s: 90 * 86_400, ..r }, false),
        ("longest time to agree", Rotation { agreement_s: 90 * 86_400, ..r }, true),
        ("too long a time to agree", Rotation { agreement_s: 90 * 86_400 + 1, ..r }, false),
        ("one epoch", Rotation { agreement_epochs: 1, ..r }, true),
        ("no epoch", Rotation { agreement_epochs: 0, ..r }, false),
    ] {
        assert_eq!(Rotation::from_bytes(&rotation.to_bytes()).is_ok(), taken, "{name}");
    }
    let of = |last: u16| Policy {
        version: 2,
        entities: [Cid([1; 16]), Cid([2; 16])],
        rotation: Rotation::FACTORY,
        rows: [[0x07, 0xFE, (last >> 8) as u8, last as u8, 0, 0, 1, 3]].into_iter().collect(),
    };
    assert_eq!(Policy::decode(&of(0x7FF).encode().unwrap()), Ok(of(0x7FF)));
    assert_eq!(Policy::decode(&of(0x800).encode().unwrap()), Err(Error::Malformed));
}

/// A record is written as it is read, and its place is found without reading its values, the largest and the smallest among
/// them, and as many as there may be.
#[test]
fn a_record_is_placed_whatever_its_values_are() {
    let most = [i32::MIN; lct::record::VALUES_MAX];
    for values in [&[i32::MIN, -1, 0, i32::MAX][..], &most] {
        let record = Record {
            cid: Cid([9; 16]),
            seq: 7,
            time_ms: 1_700_000_000_000,
            kind: RecordKind::Pack,
            values: values.iter().copied().collect(),
        };
        let mut out = [0; lct::record::RECORD_MAX];
        let n = record.encode(&mut out).unwrap();
        assert_eq!(Record::decode(&out[..n]), Ok(record.clone()));
        assert_eq!(Record::place(&out[..n]), Ok((record.cid, record.seq, record.time_ms)));
    }
}

/// H18: who hears a request knows whose channel is meant and how often its sender started, and who hears the answer knows
/// the latter.
#[test]
fn resume_tells_channel_and_boots() {
    let session =
        Session { master: &MasterSecret(Secret::new([1; 32])), epoch: 2, channel: [3, 4, 5, 6, 7, 8, 9, 10] };
    let m1 = session.request(0x0102_0304, &[5; 16]);
    assert_eq!(parse_request(&m1), Ok(([3, 4, 5, 6], 0x0102_0304)));
    let m2 = session.respond(&m1, 0x0506_0708, &[6; 16]).unwrap();
    assert_eq!(parse_response(&m2), Ok(0x0506_0708));
    assert_eq!(parse_request(&m1[..27]), Err(Error::Malformed));
    assert_eq!(parse_response(&m2[..39]), Err(Error::Malformed));
}

/// H20: labels and contexts up to their lengths, and no longer ones.
#[test]
fn the_longest_label_and_context_derive() {
    let secret = Secret::new([1; 32]);
    let of = |label: usize, context: usize| {
        derive::<32>(&secret, &"l".repeat(label), &[&vec![2; context]]).map(|_| ())
    };
    assert_eq!(of(32, 96), Ok(()));
    assert_eq!(of(33, 96), Err(Error::BufferTooSmall));
    assert_eq!(of(32, 97), Err(Error::BufferTooSmall));
}

/// A report counts under the key of its observer alone, and as it was signed.
#[test]
fn a_report_of_metrics_verifies_under_its_observer_only() {
    let [own, other] = [1, 2].map(|b| SigningKey::from_bytes(&[b; 32]).unwrap());
    let report = MetricsReport {
        observer: Cid([1; 16]),
        subject: Cid([2; 16]),
        context: TrustContext::Energy,
        start_ms: 1,
        end_ms: 2,
        metrics: [1_000_000, 0, 3, 4, 5],
        temperature: -6,
        load_ppm: 7,
        cycles: 8,
    };
    let signature = report.sign(&own, &mut rng()).unwrap();
    assert_eq!(report.verify(&own.public(), &signature), Ok(()));
    assert_eq!(report.verify(&other.public(), &signature), Err(Error::NotAuthentic));
    let better = MetricsReport { metrics: [1_000_000; 5], ..report };
    assert_eq!(better.verify(&own.public(), &signature), Err(Error::NotAuthentic));
}

/// V4: boot counter first, then the number.
#[test]
fn events_and_announcements_are_ordered_by_boot_and_number() {
    let event = Event::new(EventKind::Fault, Cid([1; 16]), 3, 9, b"over temperature").unwrap();
    let announce = Announce { cid: Cid([1; 16]), boot: 4, seq: 8, flags: 0 };
    assert_eq!((event.position(), announce.position()), ((3, 9), (4, 8)));
}
