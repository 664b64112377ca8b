//! Attack 8: parts of valid pairing certificates are exchanged, and an app whose user owns it makes a certificate of its
//! own around a token that the authority once gave.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use lct::{
    aead::Aead,
    certificate::{Certificate, Issue, issue},
    hash::sha256,
    metadata::ClearMetadata,
    schedule::{derive, extract},
    secret::Secret,
    sign::SigningKey,
};
use pack::{app::Party, pdu};

pub const ATTACK: Attack = Attack {
    number: 8,
    name: "forged-certificate",
    attacker: "malware in the app's computer with two valid certificates and every key of the app",
    defence: Defence::CertificateSignature,
    run,
};

/// Where section A, section B and section V begin behind the metadata.
const SECTION: usize = 1 + 8 + 177;

fn give(f: &mut Field, certificate: &[u8]) -> bool {
    let before = f.w.app.relation().session().map(|s| *s.th4());
    let message = [&[pdu::CERTIFICATE], certificate].concat();
    for party in [Some(Party::Pack), None] {
        f.w.give(party, &message);
        f.w.run_for(700);
    }
    f.w.run_for(300);
    f.w.app.relation().session().map(|s| *s.th4()) != before
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::commissioned(0, seed);
    assert!(f.w.pair((None, APP), (Some(Party::Pack), PACK)), "a second certificate");
    let known: Vec<_> = f.w.held.certificates.iter().map(|c| c.bytes.clone()).collect();
    let parts = |bytes: &[u8]| {
        let body = bytes.len() - 64;
        let metadata = 20 + usize::from(u16::from_be_bytes([bytes[18], bytes[19]]));
        [
            0..metadata,
            metadata..metadata + SECTION,
            metadata + SECTION..metadata + 2 * SECTION,
            metadata + 2 * SECTION..body,
            body..bytes.len(),
        ]
        .map(|range| bytes[range].to_vec())
    };
    let (old, new) = (parts(&known[0]), parts(&known[1]));
    // Every mixture of metadata, A, B, V and signature, the two old ones whole included.
    for mixture in 0..32u32 {
        let part = |n: usize| if mixture >> n & 1 == 0 { &old[n] } else { &new[n] };
        let bytes: Vec<u8> = (0..5).flat_map(|n| part(n).clone()).collect();
        let done = give(&mut f, &bytes);
        tally.attempt(done, || format!("mixture {mixture:05b} of two certificates paired"));
    }
    let swapped = [&new[0][..], &new[2], &new[1], &new[3], &new[4]].concat();
    let done = give(&mut f, &swapped);
    tally.attempt(done, || "A and B exchanged paired".into());
    for len in (0..known[1].len()).step_by(41) {
        let done = give(&mut f, &known[1][..len]);
        tally.attempt(done, || format!("a certificate cut to {len} bytes paired"));
    }
    let forged = forge(&mut f);
    let done = give(&mut f, &forged);
    tally.attempt(done, || "a certificate that the app made for itself paired".into());
    f.judge(tally);
}

/// A certificate that is younger, under the identifier and around the token of the first one, whose halves the app
/// knows from its pairing.
fn forge(f: &mut Field) -> Vec<u8> {
    let first = &f.w.held.certificates[0];
    let certificate = Certificate::parse(&first.bytes).unwrap();
    let id = certificate.pairing_id;
    let [half_a, half_b, _] = first.secrets.clone();
    let pk = lct::exchange::pairing_key(&half_a, &half_b).unwrap();
    let keys = |cm_hash: &[u8; 32]| {
        let prk = extract(cm_hash, &[pk.expose()]);
        let aad = [b"modbatt1 cert-v".as_slice(), &id.0, cm_hash].concat();
        (Aead::new(&derive(&prk, "cert v", &[&id.0]).unwrap()), aad)
    };
    // Section V: 0C | commitment 32 | IV 12 | n 2 | sealed n | tag 16.
    let split = |bytes: &[u8]| {
        let n = bytes.len() - 64;
        let metadata = 20 + usize::from(u16::from_be_bytes([bytes[18], bytes[19]]));
        (metadata + 2 * SECTION, n)
    };
    let (v, end) = split(&first.bytes);
    let (aead, aad) = keys(&certificate.cm_hash());
    let iv = first.bytes[v + 33..v + 45].try_into().unwrap();
    let mut plain = first.bytes[v + 47..end - 16].to_vec();
    aead.open(iv, &aad, &mut plain, first.bytes[end - 16..end].try_into().unwrap()).unwrap();

    let mut metadata = ClearMetadata::decode(certificate.clear_metadata).unwrap();
    metadata.timing.created += 1_000;
    let mut clear = [0; 512];
    let n = metadata.encode(&mut clear).unwrap();
    let (forger, xk) = (SigningKey::generate(&mut f.w.rng), Secret::random(&mut f.w.rng));
    let spks = [f.w.spk_of(APP, PACK), f.w.spk_of(PACK, APP)];
    let authority = f.w.authority.spk.public();
    let what = Issue {
        pairing_id: id,
        clear_metadata: &clear[..n],
        spk_a: &spks[0],
        spk_b: &spks[1],
        spk_authority: &authority,
        key: &forger,
        half_a: &half_a,
        half_b: &half_b,
        exchange_key: &xk,
        validation_nonce: &[9; 32],
        endpoint: "http://127.0.0.1/api/v1/pairings",
        timeout_s: 3600,
    };
    let mut bytes = issue(&what, &mut f.w.rng).unwrap().to_vec();
    let (v, end) = split(&bytes);
    let (aead, aad) = keys(&sha256(&[&clear[..n]]));
    assert_eq!(plain.len(), end - 16 - v - 47, "the same section with the authority's own token");
    let iv = bytes[v + 33..v + 45].try_into().unwrap();
    let mut tag = [0; 16];
    aead.seal(&iv, &aad, &mut plain, &mut tag).unwrap();
    bytes[v + 47..end - 16].copy_from_slice(&plain);
    bytes[end - 16..end].copy_from_slice(&tag);
    let signature = forger.sign(&sha256(&[b"modbatt1 paircert", &bytes[..end]]), &mut f.w.rng);
    bytes[end..].copy_from_slice(&signature.0);
    bytes
}
