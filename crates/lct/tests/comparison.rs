//! A peer in the middle of B0 (attack 18): the digits of its two legs differ, and it cannot choose its nonces so that
//! they agree, because it is committed before it sees what it would have to fit.
#![allow(clippy::unwrap_used)]

use lct::{
    Digest,
    handshake::{
        COMMITTED, Context, Ephemeral, Established, Initiator, Kind, Message, Psk, Responder, commit,
    },
    hash::sha256,
    id::Cid,
    schedule::{derive, extract, mac16},
    sign::Signature,
};
use p256::elliptic_curve::sec1::ToSec1Point;
use rand_chacha::{ChaCha20Rng, rand_core::Rng, rand_core::SeedableRng};

const SALT: [u8; 32] = [4; 32];
const PSK: [&[u8]; 3] = [&[1; 64], &[2; 64], &SALT];
type Sign = fn(&Digest) -> Signature;

fn context(flags: u8) -> Context {
    Context {
        kind: Kind::Dev,
        flags,
        cid_a: Cid::of("app-0001"),
        cid_b: Cid::of("pack-0001"),
        spk_a: None,
        spk_b: None,
        cert_hash: None,
        policy_hash: [6; 32],
        salt: SALT,
    }
}

/// The middleman's key pair on the app's leg.
struct Middle {
    scalar: [u8; 32],
    secret: p256::SecretKey,
}

impl Middle {
    fn new() -> Self {
        Middle { scalar: [0x17; 32], secret: p256::SecretKey::from_slice(&[0x17; 32]).unwrap() }
    }
    fn ephemeral(&self, nonce: [u8; 16]) -> Ephemeral {
        Ephemeral::from_parts(&self.scalar, nonce).unwrap()
    }
    fn point(&self) -> Vec<u8> {
        self.secret.public_key().to_sec1_point(true).as_bytes().to_vec()
    }

    /// The digits that the app would show for this nonce, from H12, H22 and H23 alone: HMACs only, no agreement.
    fn digits(&self, flags: u8, m0: &[u8], m1: &[u8], nonce: &[u8; 16]) -> u32 {
        let context = context(flags);
        let th0 = sha256(&[
            b"modbatt1 hs",
            &[1, 1, flags],
            &context.cid_a.0,
            &context.cid_b.0,
            &[0; 32],
            &[0; 32],
            &[0; 32],
            &context.policy_hash,
        ]);
        let th1 = sha256(&[&th0, m0, m1]);
        let core = [&[1, 0x41, flags, 1], [0; 4].as_slice(), nonce, &self.point()].concat();
        let th2 = sha256(&[&th1, &core]);
        let app = p256::PublicKey::from_sec1_bytes(&m1[28..61]).unwrap();
        let dh = p256::ecdh::diffie_hellman(self.secret.to_nonzero_scalar(), app.as_affine());
        let s0 = extract(&SALT, &PSK);
        let s1 = extract(
            derive::<32>(&s0, "hs salt", &[&th0]).unwrap().expose(),
            &[dh.raw_secret_bytes().as_slice()],
        );
        let finished = |label, th: &Digest| mac16(derive::<32>(&s1, label, &[th]).unwrap().expose(), &[th]);
        let th3 = sha256(&[&th2, &finished("fin b", &th2)]);
        let th4 = sha256(&[&th3, &finished("fin a", &th3)]);
        u32::from_be_bytes(*derive::<4>(&s1, "sas", &[&th4]).unwrap().expose()) % 1_000_000
    }
}

/// The pack's leg, played to its end by the middleman: the digits that the pack shows.
fn leg_of_the_pack(flags: u8, rng: &mut ChaCha20Rng) -> u32 {
    let context = context(flags);
    let pack = Ephemeral::generate(rng);
    let m0 = (flags & COMMITTED != 0).then(|| commit(&context, &pack).unwrap());
    let (middle, m1) = Initiator::start(&context, Ephemeral::generate(rng), 1, None, m0.as_deref()).unwrap();
    let (pack, m2) =
        Responder::answer(&context, pack, 0, m0.as_deref(), &m1, None, &Psk(&PSK), None, rng).unwrap();
    let (m3, _) = middle.finish(&context, &m2, &Psk(&PSK), None, rng).unwrap();
    pack.finish(&context, &m3).unwrap().comparison
}

fn answer(middle: &Middle, flags: u8, m0: Option<&Message>, m1: &[u8], nonce: [u8; 16]) -> Message {
    Responder::answer_signing(
        &context(flags),
        middle.ephemeral(nonce),
        0,
        m0.map(|m| m.as_slice()),
        m1,
        None,
        &Psk(&PSK),
        None::<Sign>,
    )
    .unwrap()
    .1
}

fn finish(app: &Initiator, flags: u8, m2: &[u8]) -> Result<Established, lct::Error> {
    app.finish_signing(&context(flags), m2, &Psk(&PSK), None::<Sign>).map(|(_, done)| done)
}

/// Digits of the shortened comparison of the control, so that grinding ends soon.
const SHORT: u32 = 1_000;

#[test]
fn without_the_commitment_nonces_are_ground_until_the_digits_agree() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let target = leg_of_the_pack(0, &mut rng);
    let (app, m1) = Initiator::start(&context(0), Ephemeral::generate(&mut rng), 1, None, None).unwrap();
    let middle = Middle::new();
    let nonce = (0u128..100_000).map(u128::to_be_bytes);
    let found = nonce.clone().find(|n| middle.digits(0, &[], &m1, n) % SHORT == target % SHORT).unwrap();
    let shown = finish(&app, 0, &answer(&middle, 0, None, &m1, found)).unwrap().comparison;
    assert_eq!(shown % SHORT, target % SHORT, "the app shows what the pack shows");
}

#[test]
fn with_the_commitment_the_ground_nonce_is_refused_and_the_committed_one_differs() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let target = leg_of_the_pack(COMMITTED, &mut rng);
    let middle = Middle::new();
    let mut committed = [0; 16];
    rng.fill_bytes(&mut committed);
    let m0 = commit(&context(COMMITTED), &middle.ephemeral(committed)).unwrap();
    let (app, m1) =
        Initiator::start(&context(COMMITTED), Ephemeral::generate(&mut rng), 1, None, Some(&m0)).unwrap();
    let nonce = (0u128..100_000).map(u128::to_be_bytes);
    let found =
        nonce.clone().find(|n| middle.digits(COMMITTED, &m0, &m1, n) % SHORT == target % SHORT).unwrap();
    let refused = finish(&app, COMMITTED, &answer(&middle, COMMITTED, Some(&m0), &m1, found));
    assert_eq!(refused.err(), Some(lct::Error::NotAuthentic), "not the nonce that was committed");
    let shown = finish(&app, COMMITTED, &answer(&middle, COMMITTED, Some(&m0), &m1, committed)).unwrap();
    assert_eq!(shown.comparison, middle.digits(COMMITTED, &m0, &m1, &committed), "the model is right");
    assert_ne!(shown.comparison, target);
}

/// Over many runs the middleman hits no more often than by chance.
#[test]
fn a_committed_middleman_meets_the_digits_by_chance_only() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let middle = Middle::new();
    let mut hits = 0;
    for _ in 0..400 {
        let target = leg_of_the_pack(COMMITTED, &mut rng);
        let mut committed = [0; 16];
        rng.fill_bytes(&mut committed);
        let m0 = commit(&context(COMMITTED), &middle.ephemeral(committed)).unwrap();
        let (_, m1) =
            Initiator::start(&context(COMMITTED), Ephemeral::generate(&mut rng), 1, None, Some(&m0)).unwrap();
        hits += u32::from(middle.digits(COMMITTED, &m0, &m1, &committed) % 10 == target % 10);
    }
    // 40 expected of the last digit alone, standard deviation 6.
    assert!((16..=64).contains(&hits), "{hits} of 400");
}
