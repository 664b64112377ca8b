//! Semi-public keys: one pair of P-256 keys per relationship, one for signatures and one for agreement.
//!
//! Object, 68 bytes: `0 version = 1 | 1 suite = 1 | 2 sign_pub 33 | 35 kem_pub 33`. "Semi-public" is a rule
//! of distribution, not an assumption of security: ECDSA signatures reveal the signing half anyway.

use crate::{
    Error, SUITE,
    curve::{Point, backend::AgreementKey},
    hash::sha256,
    id::SpkId,
    schedule::derive,
    secret::Secret,
    sign::{PublicKey, SigningKey},
};
use hpke::{
    Deserializable, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256, kem::DhP256HkdfSha256,
};
use p256::elliptic_curve::{bigint::U384, sec1::ToSec1Point};
use rand_core::CryptoRng;

/// Key encapsulation of HPKE here (RFC 9180, 0x0010).
pub type HpkeKem = DhP256HkdfSha256;
/// Key derivation of HPKE here (0x0001).
pub type HpkeKdf = HkdfSha256;
/// Cipher of HPKE here (0x0002).
pub type HpkeAead = AesGcm256;

/// Bytes that HPKE adds to a plaintext: encapsulated key 65 and tag 16.
pub const HPKE_OVERHEAD: usize = 65 + 16;

/// Length of the public object in bytes.
pub const SPK_LEN: usize = 2 + 2 * 33;

/// The public object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Spk(pub [u8; SPK_LEN]);

impl core::fmt::Debug for Spk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Spk({})", self.id())
    }
}

impl Spk {
    /// Copies 68 bytes and checks version, suite and both points.
    pub fn from_slice(bytes: &[u8]) -> Result<Spk, Error> {
        let spk = Spk(bytes.try_into().map_err(|_| Error::Malformed)?);
        if spk.0[0] != 1 || spk.0[1] != SUITE {
            return Err(Error::Malformed);
        }
        PublicKey::from_slice(&spk.0[2..35])?;
        PublicKey::from_slice(&spk.0[35..])?;
        Ok(spk)
    }

    /// The object of two public keys, whose points are checked by whoever uses them.
    pub fn new(sign: &PublicKey, kem: &PublicKey) -> Spk {
        let mut spk = [0; SPK_LEN];
        spk[0] = 1;
        spk[1] = SUITE;
        spk[2..35].copy_from_slice(&sign.0);
        spk[35..].copy_from_slice(&kem.0);
        Spk(spk)
    }

    /// Verifies signatures of this relationship.
    pub fn sign_pub(&self) -> PublicKey {
        let mut k = [0; 33];
        k.copy_from_slice(&self.0[2..35]);
        PublicKey(k)
    }

    /// Receives what is sealed to the holder.
    pub fn kem_pub(&self) -> PublicKey {
        let mut k = [0; 33];
        k.copy_from_slice(&self.0[35..]);
        PublicKey(k)
    }

    /// `H("modbatt1 spk" || SPK)[0:8]`.
    pub fn id(&self) -> SpkId {
        let h = sha256(&[b"modbatt1 spk", &self.0]);
        let mut id = [0; 8];
        id.copy_from_slice(&h[..8]);
        SpkId(id)
    }

    /// Seals `plaintext` to the holder: HPKE base mode, P-256 / HKDF-SHA256 / AES-256-GCM, empty AAD.
    ///
    /// `out` receives `enc 65 || ciphertext || tag 16`; returns its length.
    pub fn seal(
        &self,
        info: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
        rng: &mut impl CryptoRng,
    ) -> Result<usize, Error> {
        #[cfg(feature = "counted")]
        crate::curve::counted::encapsulated();
        let len = plaintext.len() + HPKE_OVERHEAD;
        let out = out.get_mut(..len).ok_or(Error::BufferTooSmall)?;
        let point = p256::PublicKey::from_sec1_bytes(&self.kem_pub().0).map_err(|_| Error::InvalidKey)?;
        let key =
            HpkeKey::from_bytes(point.to_sec1_point(false).as_bytes()).map_err(|_| Error::InvalidKey)?;
        out[65..65 + plaintext.len()].copy_from_slice(plaintext);
        let (enc, tag) = hpke::single_shot_seal_inout_detached_with_rng::<HpkeAead, HpkeKdf, HpkeKem>(
            &OpModeS::Base,
            &key,
            info,
            (&mut out[65..65 + plaintext.len()]).into(),
            &[],
            rng,
        )
        .map_err(|_| Error::InvalidKey)?;
        enc.write_exact(&mut out[..65]);
        tag.write_exact(&mut out[len - 16..]);
        Ok(len)
    }
}

type HpkeKey = <HpkeKem as hpke::Kem>::PublicKey;
type HpkeSecret = <HpkeKem as hpke::Kem>::PrivateKey;
type HpkeEncapped = <HpkeKem as hpke::Kem>::EncappedKey;

/// The private half of a key agreement: opens what was sealed to its holder. Zeroised on drop, never printed.
#[derive(Clone)]
pub struct OpeningKey {
    scalar: p256::SecretKey,
    point: Point,
}

impl core::fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OpeningKey([redacted])")
    }
}

impl OpeningKey {
    /// The key with the given scalar (big-endian); refuses zero and values not below the group order.
    pub fn from_bytes(scalar: &[u8; 32]) -> Result<Self, Error> {
        let point = AgreementKey::from_bytes(scalar).ok_or(Error::InvalidKey)?.public();
        let scalar = p256::SecretKey::from_slice(scalar).map_err(|_| Error::InvalidKey)?;
        Ok(OpeningKey { scalar, point })
    }

    /// The scalar, for sealed storage.
    pub fn to_bytes(&self) -> Secret<32> {
        let bytes = zeroize::Zeroizing::new(<[u8; 32]>::from(self.scalar.to_bytes()));
        Secret::new(*bytes)
    }

    /// What is sealed to.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.point)
    }

    /// Opens what was sealed to this key (`enc 65 || ciphertext || tag 16`) into `out`; returns the length.
    pub fn open(&self, info: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        #[cfg(feature = "counted")]
        crate::curve::counted::encapsulated();
        let len = sealed.len().checked_sub(HPKE_OVERHEAD).ok_or(Error::Malformed)?;
        let out = out.get_mut(..len).ok_or(Error::BufferTooSmall)?;
        let key = HpkeSecret::from_bytes(&self.scalar.to_bytes()).map_err(|_| Error::InvalidKey)?;
        let enc = HpkeEncapped::from_bytes(&sealed[..65]).map_err(|_| Error::InvalidKey)?;
        let tag = hpke::aead::AeadTag::<HpkeAead>::from_bytes(&sealed[sealed.len() - 16..])
            .map_err(|_| Error::Malformed)?;
        out.copy_from_slice(&sealed[65..65 + len]);
        hpke::single_shot_open_inout_detached::<HpkeAead, HpkeKdf, HpkeKem>(
            &OpModeR::Base,
            &key,
            &enc,
            info,
            (&mut *out).into(),
            &[],
            &tag,
        )
        .map_err(|_| {
            zeroize::Zeroize::zeroize(out);
            Error::NotAuthentic
        })?;
        Ok(len)
    }
}

/// The private side: a 32-byte seed from which both scalars are derived.
#[derive(Clone)]
pub struct SpkSecret {
    seed: Secret<32>,
    sign: SigningKey,
    open: OpeningKey,
}

impl core::fmt::Debug for SpkSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SpkSecret([redacted])")
    }
}

impl SpkSecret {
    /// Draws a fresh pair.
    pub fn generate(rng: &mut impl CryptoRng) -> Result<Self, Error> {
        Self::from_seed(Secret::random(rng))
    }

    /// `scalar = OS2IP(Derive(seed, "spk sign" | "spk kem", "", 48)) mod (n - 1) + 1`.
    pub fn from_seed(seed: Secret<32>) -> Result<Self, Error> {
        let sign = SigningKey::from_bytes(scalar(&derive::<48>(&seed, "spk sign", &[])?)?.expose())?;
        let open = OpeningKey::from_bytes(scalar(&derive::<48>(&seed, "spk kem", &[])?)?.expose())?;
        Ok(SpkSecret { seed, sign, open })
    }

    /// The seed, for sealed storage.
    pub fn seed(&self) -> &Secret<32> {
        &self.seed
    }

    /// Signs statements of this relationship.
    pub fn signing_key(&self) -> &SigningKey {
        &self.sign
    }

    /// Opens what was sealed to the holder.
    pub fn opening_key(&self) -> &OpeningKey {
        &self.open
    }

    /// The public object.
    pub fn public(&self) -> Spk {
        Spk::new(&self.sign.public(), &self.open.public())
    }

    /// As [`OpeningKey::open`].
    pub fn open(&self, info: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        self.open.open(info, sealed, out)
    }
}

fn scalar(wide: &Secret<48>) -> Result<Secret<32>, Error> {
    // n - 1, the group order of P-256 less one, as a 384-bit number.
    const N_MINUS_1: U384 = U384::from_be_hex(concat!(
        "00000000000000000000000000000000",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550"
    ));
    let modulus = N_MINUS_1.to_nz().into_option().ok_or(Error::InvalidKey)?;
    let reduced = U384::from_be_slice(wide.expose()).rem(&modulus).wrapping_add(&U384::ONE);
    let bytes = zeroize::Zeroizing::new(reduced.to_be_bytes());
    Secret::from_slice(&bytes.as_ref()[16..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn sealed_bytes_open_only_for_the_holder_and_the_same_info() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (a, b) = (SpkSecret::generate(&mut rng).unwrap(), SpkSecret::generate(&mut rng).unwrap());
        let mut sealed = [0; 200];
        let n = a.public().seal(b"info", b"sixteen byte msg", &mut sealed, &mut rng).unwrap();
        let mut out = [0; 64];
        let m = a.open(b"info", &sealed[..n], &mut out).unwrap();
        assert_eq!(&out[..m], b"sixteen byte msg");
        assert_eq!(a.open(b"other", &sealed[..n], &mut out), Err(Error::NotAuthentic));
        assert_eq!(b.open(b"info", &sealed[..n], &mut out), Err(Error::NotAuthentic));
        assert_eq!(out[..m], [0; 16], "a failed open leaves nothing behind");
        for i in 0..n {
            let mut bad = sealed;
            bad[i] ^= 1;
            assert!(a.open(b"info", &bad[..n], &mut out).is_err(), "byte {i}");
        }
        assert!(a.open(b"info", &sealed[..80], &mut out).is_err());
    }

    #[test]
    fn foreign_objects_are_refused() {
        let good = SpkSecret::from_seed(Secret::new([3; 32])).unwrap().public();
        for i in [0, 1, 2, 35] {
            let mut bad = good;
            bad.0[i] ^= 0x80;
            assert!(Spk::from_slice(&bad.0).is_err(), "byte {i}");
        }
        assert!(Spk::from_slice(&good.0[..67]).is_err());
    }
}
