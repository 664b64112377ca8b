//! What a manufacturer issues: a root, batch authorities under it, device certificates under those (H7, H8).

use lct::attest::{CertificateType, DeviceCertificate, Subject};
use lct::id::{Cid, Role};
use lct::request::CertificateRequest;
use lct::secret::Secret;
use lct::sign::{PublicKey, SigningKey};
use rand_core::CryptoRng;

use crate::cmd::Failure;
use crate::cmd::send::Signatory;

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
    pub key: Signatory,
    /// What certifies it; a root certifies itself.
    pub certificate: DeviceCertificate,
}

impl Issuer {
    /// A manufacturer's root with this key.
    pub fn root(
        name: &str,
        validity: Validity,
        key: Signatory,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Failure> {
        let subject = authority(CertificateType::Root, name, validity, &key);
        let certificate = key.with(|hand| DeviceCertificate::issue(&subject, hand, rng))?;
        Ok(Issuer { key, certificate })
    }

    /// A batch authority with this key, under this root.
    pub fn batch(
        &self,
        name: &str,
        validity: Validity,
        key: Signatory,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Failure> {
        let subject = authority(CertificateType::Batch, name, validity, &key);
        let certificate = self.issue(&subject, rng)?;
        Ok(Issuer { key, certificate })
    }

    /// Certifies a device under this batch authority. `code_commit` is zero without a printed code.
    pub fn certify(
        &self,
        request: &CertificateRequest,
        validity: Validity,
        code_commit: [u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<DeviceCertificate, Failure> {
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
        self.issue(&subject, rng)
    }

    fn issue(&self, subject: &Subject, rng: &mut impl CryptoRng) -> Result<DeviceCertificate, Failure> {
        self.key.with(|hand| DeviceCertificate::issue(subject, hand, rng))
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// The scalar of the key, where it is in this process.
    pub fn scalar(&self) -> Result<Secret<32>, Failure> {
        let lies = || Failure::Input("the key lies in a token, which does not give it out".into());
        self.key.secret().map(SigningKey::to_bytes).ok_or_else(lies)
    }
}

fn authority(kind: CertificateType, name: &str, validity: Validity, key: &Signatory) -> Subject {
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
