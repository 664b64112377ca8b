//! The implementations of P-256 that this build has, as values to loop over, and points in their two encodings.

use lct::{Digest, curve, curve::Point, secret::Secret};

pub struct Backend {
    pub name: &'static str,
    pub is_point: fn(&Point) -> bool,
    pub verify: fn(&Point, &Digest, &[u8; 64]) -> bool,
    pub public: fn(&[u8; 32]) -> Option<Point>,
    pub agree: fn(&[u8; 32], &Point) -> Option<Secret<32>>,
    pub sign_rfc6979: fn(&[u8; 32], &Digest) -> Option<[u8; 64]>,
}

macro_rules! backend {
    ($name:ident) => {
        Backend {
            name: stringify!($name),
            is_point: curve::$name::is_point,
            verify: |point, digest, signature| {
                curve::$name::VerifyingKey::parse(point).is_some_and(|key| key.verify(digest, signature))
            },
            public: |scalar| curve::$name::SigningKey::from_bytes(scalar).map(|key| key.public()),
            agree: |scalar, point| curve::$name::AgreementKey::from_bytes(scalar)?.agree(point),
            sign_rfc6979: |scalar, digest| {
                curve::$name::SigningKey::from_bytes(scalar).map(|key| key.sign_rfc6979(digest))
            },
        }
    };
}

#[cfg(not(feature = "host"))]
pub const BACKENDS: [Backend; 1] = [backend!(device)];
#[cfg(feature = "host")]
pub const BACKENDS: [Backend; 2] = [backend!(device), backend!(host)];

/// Asks every backend; they must agree.
pub fn both<T: PartialEq + std::fmt::Debug>(ask: impl Fn(&Backend) -> T) -> T {
    let mut answers = BACKENDS.iter().map(|backend| (backend.name, ask(backend)));
    let (_, first) = answers.next().unwrap();
    for (name, answer) in answers {
        assert_eq!(answer, first, "{name} disagrees");
    }
    first
}

/// `x` and `y` in the compressed form that the interfaces take; `None` when no compressed point says the same, that
/// is when a coordinate has more than 32 bytes or is not below the field's prime, or the two are not on the curve.
pub fn compressed(x: &[u8], y: &[u8]) -> Option<Point> {
    let (x, y) = (fixed(x)?, fixed(y)?);
    let point: Point = [&[2 + (y[31] & 1)][..], &x].concat().try_into().unwrap();
    let parsed =
        both(|backend| (backend.is_point)(&point)).then(|| p256::PublicKey::from_sec1_bytes(&point))?;
    use p256::elliptic_curve::sec1::ToSec1Point;
    (parsed.unwrap().to_sec1_point(false).as_bytes()[33..] == y).then_some(point)
}

/// A number as 32 bytes; `None` when it is longer.
pub fn fixed(number: &[u8]) -> Option<[u8; 32]> {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    let short = &number[zeros..];
    let mut out = [0; 32];
    out.get_mut(32usize.checked_sub(short.len())?..)?.copy_from_slice(short);
    Some(out)
}
