//! The two implementations of P-256 and of AES-256-GCM against each other (`spec/channel.md`, H140): what one makes the
//! other accepts, what one refuses the other refuses, and a key agreement gives both the same bytes.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, clippy::panic)]

use lct::{
    Digest, aead,
    curve::{Point, backend, device, host},
    hash::sha256,
    secret::Secret,
    sign::{PublicKey, Signature, SigningKey},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use std::time::Instant;

const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const FIELD: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
/// Random keys per test.
const KEYS: usize = 200;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}
fn number(hex_text: &str) -> [u8; 32] {
    hex::decode(hex_text).unwrap().try_into().unwrap()
}
/// `value + step`, modulo 2^256.
fn moved(value: [u8; 32], step: i8) -> [u8; 32] {
    let mut out = value;
    let mut carry = i16::from(step);
    for byte in out.iter_mut().rev() {
        let sum = i16::from(*byte) + carry;
        *byte = sum.rem_euclid(256) as u8;
        carry = sum.div_euclid(256);
    }
    out
}
/// `a - b` for a >= b.
fn difference(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let mut out = [0; 32];
    let mut borrow = 0;
    for i in (0..32).rev() {
        let v = i16::from(a[i]) - i16::from(b[i]) - borrow;
        borrow = i16::from(v < 0);
        out[i] = v.rem_euclid(256) as u8;
    }
    out
}
fn signature(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    [r, s].concat().try_into().unwrap()
}
fn halves(sig: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    (sig[..32].try_into().unwrap(), sig[32..].try_into().unwrap())
}
/// Both verdicts, which must be one.
fn verdict(point: &Point, digest: &Digest, sig: &[u8; 64], what: &str) -> bool {
    let verified = by_device(point, digest, sig);
    assert_eq!(verified, by_host(point, digest, sig), "{what}: the backends disagree");
    assert_eq!(verified, PublicKey(*point).verify(digest, &Signature(*sig)).is_ok(), "{what}");
    verified
}

fn by_device(point: &Point, digest: &Digest, sig: &[u8; 64]) -> bool {
    device::VerifyingKey::parse(point).is_some_and(|key| key.verify(digest, sig))
}

fn by_host(point: &Point, digest: &Digest, sig: &[u8; 64]) -> bool {
    host::VerifyingKey::parse(point).is_some_and(|key| key.verify(digest, sig))
}

#[test]
fn programs_on_a_host_use_the_host_backend() {
    let name = std::any::type_name::<backend::SigningKey>();
    assert!(name.contains("host"), "{name}");
}

#[test]
fn what_one_signs_the_other_accepts_and_every_damage_is_refused_by_both() {
    let mut rng = rng(1);
    for i in 0..KEYS {
        let key = device::SigningKey::generate(&mut rng);
        let twin = host::SigningKey::from_bytes(key.to_bytes().expose()).unwrap();
        assert_eq!(key.public(), twin.public(), "key {i}");
        assert_eq!(key.to_bytes(), twin.to_bytes(), "key {i}");
        let point = key.public();
        let digest = sha256(&[b"message", &i.to_be_bytes()]);
        let made = [
            ("device", key.sign(&digest, &mut rng)),
            ("device, RFC 6979", key.sign_rfc6979(&digest)),
            ("host", twin.sign(&digest, &mut rng)),
            ("host, RFC 6979", twin.sign_rfc6979(&digest)),
        ];
        assert_eq!(made[1].1, made[3].1, "key {i}: one deterministic signature");
        assert_ne!(made[0].1, made[1].1, "key {i}: entropy is mixed in");
        assert_ne!(made[2].1, made[1].1, "key {i}: the library draws its own nonce");
        for (who, sig) in made {
            assert!(verdict(&point, &digest, &sig, who), "key {i}, {who}");
            let bit = i % 512;
            let mut bad = sig;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!verdict(&point, &digest, &bad, "flipped bit of the signature"), "key {i}, {who}");
            let mut other = digest;
            other[bit / 16] ^= 1 << (bit % 8);
            assert!(!verdict(&point, &other, &sig, "flipped bit of the digest"), "key {i}, {who}");
            let mut mirrored = point;
            mirrored[0] ^= 1;
            assert!(!verdict(&mirrored, &digest, &sig, "the key's mirror image"), "key {i}, {who}");
        }
    }
}

#[test]
fn extreme_digests_verify_with_both() {
    let mut rng = rng(2);
    let key = device::SigningKey::generate(&mut rng);
    let twin = host::SigningKey::from_bytes(key.to_bytes().expose()).unwrap();
    let order = number(ORDER);
    for digest in [[0; 32], [0xFF; 32], order, moved(order, -1), moved(order, 1)] {
        for sig in [key.sign(&digest, &mut rng), key.sign_rfc6979(&digest), twin.sign(&digest, &mut rng)] {
            assert!(verdict(&key.public(), &digest, &sig, "extreme digest"));
        }
    }
}

#[test]
fn agreements_give_both_the_same_bytes() {
    let mut rng = rng(3);
    for i in 0..KEYS {
        let (a, b) = (Secret::<32>::random(&mut rng), Secret::<32>::random(&mut rng));
        let device = [&a, &b].map(|s| device::AgreementKey::from_bytes(s.expose()).unwrap());
        let host = [&a, &b].map(|s| host::AgreementKey::from_bytes(s.expose()).unwrap());
        for (d, h) in device.iter().zip(&host) {
            assert_eq!(d.public(), h.public(), "pair {i}");
        }
        let shared = device[0].agree(&device[1].public()).unwrap();
        assert_eq!(host[0].agree(&host[1].public()).unwrap(), shared, "pair {i}");
        assert_eq!(host[1].agree(&device[0].public()).unwrap(), shared, "pair {i}");
        assert_eq!(device[1].agree(&host[0].public()).unwrap(), shared, "pair {i}");
        // The sign of y does not reach the x coordinate: both sides of the mirror agree on it.
        let mut mirrored = device[1].public();
        mirrored[0] ^= 1;
        assert_eq!(device[0].agree(&mirrored).unwrap(), shared, "pair {i}");
        assert_eq!(host[0].agree(&mirrored).unwrap(), shared, "pair {i}");
    }
}

#[test]
fn the_same_entropy_gives_the_same_keys() {
    let (mut one, mut two) = (rng(4), rng(4));
    for i in 0..KEYS {
        let signing = (device::SigningKey::generate(&mut one), host::SigningKey::generate(&mut two));
        assert_eq!(signing.0.to_bytes(), signing.1.to_bytes(), "key {i}");
        let agreement = (device::AgreementKey::generate(&mut one), host::AgreementKey::generate(&mut two));
        assert_eq!(agreement.0.public(), agreement.1.public(), "key {i}");
    }
}

#[test]
fn scalars_at_the_edges_are_judged_alike() {
    let order = number(ORDER);
    let one = moved([0; 32], 1);
    for (scalar, good, what) in [
        ([0; 32], false, "zero"),
        (one, true, "one"),
        (moved(one, 1), true, "two"),
        (moved(order, -1), true, "n - 1"),
        (order, false, "n"),
        (moved(order, 1), false, "n + 1"),
        ([0xFF; 32], false, "2^256 - 1"),
    ] {
        let keys = (device::SigningKey::from_bytes(&scalar), host::SigningKey::from_bytes(&scalar));
        assert_eq!((keys.0.is_some(), keys.1.is_some()), (good, good), "{what}");
        assert_eq!(SigningKey::from_bytes(&scalar).is_ok(), good, "{what}");
        let agreement = (device::AgreementKey::from_bytes(&scalar), host::AgreementKey::from_bytes(&scalar));
        assert_eq!((agreement.0.is_some(), agreement.1.is_some()), (good, good), "{what}");
        let ((Some(d), Some(h)), (Some(da), Some(ha))) = (keys, agreement) else { continue };
        assert_eq!((d.public(), da.public()), (h.public(), ha.public()), "{what}");
        let digest = sha256(&[what.as_bytes()]);
        assert!(verdict(&d.public(), &digest, &h.sign_rfc6979(&digest), what));
        assert_eq!(da.agree(&d.public()).unwrap(), ha.agree(&d.public()).unwrap(), "{what}");
    }
}

/// Points that neither may take: the table of H3, and x coordinates around the field's prime.
#[test]
fn points_are_judged_alike_before_a_secret_meets_them() {
    let mut rng = rng(5);
    let secret = Secret::<32>::random(&mut rng);
    let device_key = device::AgreementKey::from_bytes(secret.expose()).unwrap();
    let host_key = host::AgreementKey::from_bytes(secret.expose()).unwrap();
    let digest = sha256(&[b"point"]);
    let sig = device::SigningKey::from_bytes(secret.expose()).unwrap().sign_rfc6979(&digest);
    let judge = |point: &Point, what: &str| {
        let good = device::is_point(point);
        assert_eq!(host::is_point(point), good, "{what}");
        assert_eq!(PublicKey::from_slice(point).is_ok(), good, "{what}");
        assert_eq!(device_key.agree(point), host_key.agree(point), "{what}");
        assert_eq!(device_key.agree(point).is_some(), good, "{what}");
        verdict(point, &digest, &sig, what);
        good
    };
    let at = |first: u8, x: [u8; 32]| -> Point { [&[first][..], &x].concat().try_into().unwrap() };

    let good = device::SigningKey::from_bytes(&[7; 32]).unwrap().public();
    let x: [u8; 32] = good[1..].try_into().unwrap();
    for first in 0..=255 {
        assert_eq!(judge(&at(first, x), "prefix"), matches!(first, 2 | 3), "prefix {first}");
    }
    assert!(!judge(&[0; 33], "identity"));
    let field = number(FIELD);
    let mut on_curve = 0;
    // x below p that are no x of a point, and x at and above p, which some libraries reduce.
    for step in -60..=60 {
        let taken = judge(&at(2, moved(field, step)), "x near p");
        assert_eq!(taken, judge(&at(3, moved(field, step)), "x near p"), "p + {step}");
        assert!(step < 0 || !taken, "p + {step} must not be reduced");
        on_curve += usize::from(taken);
    }
    assert!((15..45).contains(&on_curve), "about half of 60, not {on_curve}");
    assert!(!judge(&at(2, [0xFF; 32]), "x = 2^256 - 1"));
    let mut taken = 0;
    for _ in 0..400 {
        let x = Secret::<32>::random(&mut rng);
        taken += usize::from(judge(&at(2, *x.expose()), "random x"));
    }
    assert!((140..260).contains(&taken), "about half of 400, not {taken}");
}

/// r and s at the edges, for a key and digest of which a valid signature is known.
#[test]
fn signatures_at_the_edges_are_judged_alike() {
    let key = device::SigningKey::from_bytes(&[9; 32]).unwrap();
    let (point, digest) = (key.public(), sha256(&[b"edges"]));
    let valid = key.sign_rfc6979(&digest);
    assert!(verdict(&point, &digest, &valid, "valid"));
    let (r, s) = halves(&valid);
    let (order, zero) = (number(ORDER), [0; 32]);
    let one = moved(zero, 1);
    assert!(!verdict(&point, &digest, &signature(r, difference(order, s)), "high-s twin"));
    assert!(!verdict(&point, &digest, &signature(s, r), "r and s exchanged"));
    for edge in [zero, one, moved(order, -1), order, moved(order, 1), [0xFF; 32], number(FIELD)] {
        assert!(!verdict(&point, &digest, &signature(edge, s), "r at an edge"));
        assert!(!verdict(&point, &digest, &signature(r, edge), "s at an edge"));
        assert!(!verdict(&point, &digest, &signature(edge, edge), "both at an edge"));
    }
}

/// Prints what each operation costs with either backend; judged by nobody.
#[test]
fn cost_of_both() {
    let mut rng = rng(6);
    let device_key = device::SigningKey::generate(&mut rng);
    let host_key = host::SigningKey::from_bytes(device_key.to_bytes().expose()).unwrap();
    let (point, digest) = (device_key.public(), sha256(&[b"cost"]));
    let sig = device_key.sign_rfc6979(&digest);
    let scalar = device_key.to_bytes();
    let mut draw = rng.clone();
    type Run<'a> = &'a mut dyn FnMut();
    let rows: [(&str, Run<'_>, Run<'_>); 4] = [
        ("verify", &mut || assert!(by_device(&point, &digest, &sig)), &mut || {
            assert!(by_host(&point, &digest, &sig))
        }),
        ("sign", &mut || assert_ne!(device_key.sign(&digest, &mut rng), sig), &mut || {
            assert_ne!(host_key.sign(&digest, &mut draw), sig)
        }),
        ("key from scalar", &mut || drop(device::SigningKey::from_bytes(scalar.expose())), &mut || {
            drop(host::SigningKey::from_bytes(scalar.expose()))
        }),
        (
            "agree, key included",
            &mut || drop(device::AgreementKey::from_bytes(scalar.expose()).unwrap().agree(&point)),
            &mut || drop(host::AgreementKey::from_bytes(scalar.expose()).unwrap().agree(&point)),
        ),
    ];
    println!("{:20} {:>10} {:>10}   microseconds, best of 5 x 20", "", "device", "host");
    for (name, by_device, by_host) in rows {
        let best = |run: Run<'_>| {
            let times = (0..5).map(|_| {
                let start = Instant::now();
                (0..20).for_each(|_| run());
                start.elapsed().as_secs_f64() / 20.0 * 1e6
            });
            times.fold(f64::MAX, f64::min)
        };
        println!("{name:20} {:10.1} {:10.1}", best(by_device), best(by_host));
    }
}

/// Sizes around a block, around what is opened without the heap, and beyond.
const TEXTS: [usize; 16] = [0, 1, 15, 16, 17, 36, 64, 127, 128, 129, 285, 1_536, 2_047, 2_048, 2_049, 5_000];

#[test]
fn both_ciphers_make_and_take_the_same_bytes_and_leave_what_they_refuse() {
    let mut rng = rng(7);
    for n in TEXTS {
        for aad in [0, 1, 12, 16, 40] {
            let key = Secret::<32>::random(&mut rng);
            let (device, host) = (aead::device::Cipher::new(&key), aead::host::Cipher::new(&key));
            let mut plain = vec![0; n];
            let (mut nonce, mut bound) = ([0; 12], vec![0; aad]);
            rng.fill_bytes(&mut plain);
            rng.fill_bytes(&mut nonce);
            rng.fill_bytes(&mut bound);
            let (mut one, mut other) = (plain.clone(), plain.clone());
            let (mut tag, mut same) = ([0; 16], [0; 16]);
            assert!(device.seal(&nonce, &bound, &mut one, &mut tag), "{n} bytes, {aad} bound");
            assert!(host.seal(&nonce, &bound, &mut other, &mut same), "{n} bytes, {aad} bound");
            assert_eq!(same, tag, "{n} bytes, {aad} bound");
            assert_eq!(one, other, "{n} bytes, {aad} bound");
            assert!(n < 8 || one != plain);

            let mut wrong = vec![(tag, bound.clone(), one.clone())];
            let at = rng.next_u32() as usize;
            wrong[0].0[at % 16] ^= 1 << (at % 8);
            if let Some(byte) = bound.get(at % aad.max(1)) {
                wrong.push((tag, bound.clone(), one.clone()));
                wrong[1].1[at % aad] = byte ^ 0x80;
            }
            if n > 0 {
                wrong.push((tag, bound.clone(), one.clone()));
                wrong.last_mut().unwrap().2[at % n] ^= 4;
            }
            for (tag, bound, mut text) in wrong {
                let before = text.clone();
                assert!(!device.attempt(&nonce, &bound, &mut text, &tag), "{n} bytes, {aad} bound");
                assert!(!host.attempt(&nonce, &bound, &mut text, &tag), "{n} bytes, {aad} bound");
                assert_eq!(text, before, "{n} bytes, {aad} bound");
            }
            assert!(host.attempt(&nonce, &bound, &mut one, &tag) && one == plain, "{n} bytes");
            assert!(device.attempt(&nonce, &bound, &mut other, &tag) && other == plain, "{n} bytes");
        }
    }
}
