//! What a manufacturer issues: a root, batch authorities under it, device certificates under those (H7, H8).

use lct::attest::{CertificateType, DeviceCertificate, Subject};
use lct::id::{Cid, Role};
use lct::request::CertificateRequest;
use lct::sign::{PublicKey, SigningKey};
use rand_core::CryptoRng;

/// Seconds of a year.
pub const YEAR: u32 = 365 * 86_400;
/// A certificate begins this long before it is issued, because clocks differ.
const SKEW: u32 = 86_400;

/// From when until when, Unix seconds; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Start.
    pub not_before: u32,
    /// End.
    pub not_after: u32,
}

impl Validity {
    /// `years` from `now`.
    pub fn years(now: u32, years: u32) -> Self {
        Validity {
            not_before: now.saturating_sub(SKEW),
            not_after: now.saturating_add(years.saturating_mul(YEAR)),
        }
    }

    /// The validity that a certificate states.
    pub fn of(subject: &Subject) -> Self {
        Validity { not_before: subject.not_before, not_after: subject.not_after }
    }
}

/// An issuing key with its own certificate.
pub struct Issuer {
    /// The key.
    pub key: SigningKey,
    /// What certifies it; a root certifies itself.
    pub certificate: DeviceCertificate,
}

impl Issuer {
    /// Draws a manufacturer's root.
    pub fn root(name: &str, validity: Validity, rng: &mut impl CryptoRng) -> Self {
        let key = SigningKey::generate(rng);
        let subject = authority(CertificateType::Root, name, validity, &key);
        let certificate = DeviceCertificate::issue(&subject, &key, rng);
        Issuer { key, certificate }
    }

    /// Draws a batch authority under this root.
    pub fn batch(&self, name: &str, validity: Validity, rng: &mut impl CryptoRng) -> Self {
        let key = SigningKey::generate(rng);
        let subject = authority(CertificateType::Batch, name, validity, &key);
        let certificate = DeviceCertificate::issue(&subject, &self.key, rng);
        Issuer { key, certificate }
    }

    /// Certifies a device under this batch authority. `code_commit` is zero without a printed code.
    pub fn certify(
        &self,
        request: &CertificateRequest,
        validity: Validity,
        code_commit: [u8; 32],
        rng: &mut impl CryptoRng,
    ) -> DeviceCertificate {
        let subject = Subject {
            kind: CertificateType::Device,
            cid: request.cid,
            role: request.role,
            flags: request.flags,
            not_before: validity.not_before,
            not_after: validity.not_after,
            hw: request.hw,
            key: request.key,
            code_commit,
        };
        DeviceCertificate::issue(&subject, &self.key, rng)
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }
}

fn authority(kind: CertificateType, name: &str, validity: Validity, key: &SigningKey) -> Subject {
    Subject {
        kind,
        cid: Cid::of(name),
        role: Role::Authority,
        flags: 0,
        not_before: validity.not_before,
        not_after: validity.not_after,
        hw: [0; 8],
        key: key.public(),
        code_commit: [0; 32],
    }
}
