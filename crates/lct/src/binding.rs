//! Binding: the authority's requests to the entities, and the record that all three sign (`spec/channel.md`, H45).

use crate::{
    Digest, Error,
    attest::{CERTIFICATE_LEN, DeviceCertificate},
    codec::{Fields, Layout},
    hash::sha256,
    id::{BindingId, Cid, Role, SpkId},
    metadata::ACCESS_MAX,
    rebind::TOKEN_LEN,
    sign::{PublicKey, Signature, Signer},
    spk::{SPK_LEN, Spk},
};
use kept::{Defence, kept};
use rand_core::CryptoRng;

/// How the identities were established, weakest first; stored, shown and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Assurance {
    /// B0: in clear inside a commissioning window.
    Plain = 0,
    /// B1: attested by the manufacturer.
    Attested = 1,
    /// B2: code printed on the pack.
    Code = 2,
    /// B1 and B2.
    AttestedAndCode = 3,
}

impl Assurance {
    /// The assurance with wire code `code`.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Ok(match code {
            0 => Assurance::Plain,
            1 => Assurance::Attested,
            2 => Assurance::Code,
            3 => Assurance::AttestedAndCode,
            _ => return Err(Error::Malformed),
        })
    }
    /// Whether the manufacturer's attestation is part of it.
    pub fn is_attested(self) -> bool {
        matches!(self, Assurance::Attested | Assurance::AttestedAndCode)
    }
    /// Whether the printed code is part of it.
    pub fn has_code(self) -> bool {
        matches!(self, Assurance::Code | Assurance::AttestedAndCode)
    }
    /// The assurance named `B0`, `B1`, `B2` or `B1+B2`, in either case.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        let all = [Assurance::Plain, Assurance::Attested, Assurance::Code, Assurance::AttestedAndCode];
        all.into_iter().find(|a| a.name().eq_ignore_ascii_case(name)).ok_or(Error::Malformed)
    }
    /// `B0`, `B1`, `B2` or `B1+B2`.
    pub fn name(self) -> &'static str {
        match self {
            Assurance::Plain => "B0",
            Assurance::Attested => "B1",
            Assurance::Code => "B2",
            Assurance::AttestedAndCode => "B1+B2",
        }
    }
}

/// Longest bind request.
pub const REQUEST_MAX: usize = 1 + 16 + 16 + 1 + 16 + 1 + 16 + 1 + ACCESS_MAX + 64;
/// Length of a peer introduction.
pub const INTRODUCTION_LEN: usize =
    1 + 16 + 16 + 2 * CERTIFICATE_LEN + SPK_LEN + 16 + 64 + 32 + 32 + 4 + 1 + 64;

/// The authority asks an entity for a fresh relationship key.
///
/// `1 | binding_id 16 | cid_self 16 | role_self | cid_partner 16 | role_partner | nonce 16 | n u8 | partner
/// access data n | sig 64`, signature of the authority over `H("modbatt1 bind-request" || preceding)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindRequest {
    /// Issued by the authority.
    pub binding_id: BindingId,
    /// The entity asked.
    pub own: (Cid, Role),
    /// Its partner.
    pub partner: (Cid, Role),
    /// Fresh; enters the entity's attestation.
    pub nonce: [u8; 16],
    /// How the partner is reached.
    pub partner_access: heapless::Vec<u8, ACCESS_MAX>,
}

impl BindRequest {
    /// The signed bytes.
    pub fn issue(
        &self,
        key: &impl Signer,
        rng: &mut impl CryptoRng,
    ) -> Result<heapless::Vec<u8, REQUEST_MAX>, Error> {
        let body = Layout::<REQUEST_MAX>::default().put(&[
            &[1],
            &self.binding_id.0,
            &self.own.0.0,
            &[self.own.1 as u8],
            &self.partner.0.0,
            &[self.partner.1 as u8],
            &self.nonce,
            &[self.partner_access.len() as u8],
            &self.partner_access,
        ])?;
        let body = body.done();
        let sig = key.sign(&sha256(&[b"modbatt1 bind-request", &body]), rng);
        Ok(Layout::default().put(&[&body, &sig.0])?.done())
    }

    /// Reads and verifies under the authority's key.
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, Error> {
        verify_tail(b"modbatt1 bind-request", bytes, authority)?;
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let binding_id = BindingId(f.array()?);
        let own = (Cid(f.array()?), Role::from_code(f.u8()?)?);
        let partner = (Cid(f.array()?), Role::from_code(f.u8()?)?);
        let nonce = f.array()?;
        let n = usize::from(f.u8()?);
        let partner_access = heapless::Vec::from_slice(f.slice(n)?).map_err(|_| Error::Malformed)?;
        let _sig: [u8; 64] = f.array()?;
        f.end()?;
        Ok(BindRequest { binding_id, own, partner, nonce, partner_access })
    }
}

pub(crate) fn verify_tail(domain: &[u8], bytes: &[u8], key: &PublicKey) -> Result<(), Error> {
    let (body, sig) = bytes.split_last_chunk::<64>().ok_or(Error::Malformed)?;
    Ok(key.verify(&sha256(&[domain, body]), &Signature(*sig))?)
}

/// The authority introduces the partner's attested relationship key.
///
/// `2 | binding_id 16 | cid_self 16 | partner device certificate 167 | batch certificate 167 | SPK 68 |
/// nonce 16 | attestation 64 | access_commit A 32 | access_commit B 32 | time u32 | assurance | sig 64`, signature of
/// the authority over `H("modbatt1 bind-peer" || preceding)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Which binding.
    pub binding_id: BindingId,
    /// The entity addressed.
    pub own: Cid,
    /// The partner's identity certificate.
    pub device: DeviceCertificate,
    /// Its issuer.
    pub batch: DeviceCertificate,
    /// The partner's relationship key.
    pub spk: Spk,
    /// The nonce that the partner was given.
    pub nonce: [u8; 16],
    /// Signature of the partner's identity key, see [`crate::attest::spk_attestation_digest`].
    pub attestation: Signature,
    /// `H(access data || blind 32)` of A and of B.
    pub access_commits: [Digest; 2],
    /// Time of the binding, Unix seconds.
    pub time: u32,
    /// How the entities are to establish each other's identity; each checks that it did.
    pub assurance: Assurance,
}

impl Introduction {
    /// The signed bytes.
    pub fn issue(
        &self,
        key: &impl Signer,
        rng: &mut impl CryptoRng,
    ) -> Result<heapless::Vec<u8, INTRODUCTION_LEN>, Error> {
        let body = Layout::<INTRODUCTION_LEN>::default().put(&[
            &[2],
            &self.binding_id.0,
            &self.own.0,
            &self.device.0,
            &self.batch.0,
            &self.spk.0,
            &self.nonce,
            &self.attestation.0,
            &self.access_commits[0],
            &self.access_commits[1],
            &self.time.to_be_bytes(),
            &[self.assurance as u8],
        ])?;
        let body = body.done();
        let sig = key.sign(&sha256(&[b"modbatt1 bind-peer", &body]), rng);
        Ok(Layout::default().put(&[&body, &sig.0])?.done())
    }

    /// Reads and verifies the authority's signature. The chain and the attestation are verified by
    /// [`Introduction::verify_partner`].
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, Error> {
        if bytes.len() != INTRODUCTION_LEN {
            return Err(Error::Malformed);
        }
        verify_tail(b"modbatt1 bind-peer", bytes, authority)?;
        let mut f = Fields::new(bytes);
        if f.u8()? != 2 {
            return Err(Error::Malformed);
        }
        Ok(Introduction {
            binding_id: BindingId(f.array()?),
            own: Cid(f.array()?),
            device: DeviceCertificate::from_slice(f.slice(CERTIFICATE_LEN)?)?,
            batch: DeviceCertificate::from_slice(f.slice(CERTIFICATE_LEN)?)?,
            spk: Spk::from_slice(f.slice(SPK_LEN)?)?,
            nonce: f.array()?,
            attestation: Signature(f.array()?),
            access_commits: [f.array()?, f.array()?],
            time: f.u32()?,
            assurance: Assurance::from_code(f.u8()?)?,
        })
    }

    /// Takes apart what an entity is sent: the introduction, and behind it the leave to replace a binding where the
    /// entity asked for one ([`crate::rebind`]).
    ///
    /// # Errors
    /// [`Error::Malformed`]: neither 648 nor 761 bytes.
    pub fn split(message: &[u8]) -> Result<(&[u8], Option<&[u8]>), Error> {
        match message.split_at_checked(INTRODUCTION_LEN) {
            Some((introduction, [])) => Ok((introduction, None)),
            Some((introduction, token)) if token.len() == TOKEN_LEN => Ok((introduction, Some(token))),
            _ => Err(Error::Malformed),
        }
    }

    /// Verifies that the manufacturer's chain names `partner`, and that the partner's identity key vouches for
    /// the relationship key towards this entity. What fails here is never stored.
    pub fn verify_partner(&self, partner: (Cid, Role), roots: &[PublicKey]) -> Result<(), Error> {
        let subject = crate::attest::verify_chain(&self.device, &self.batch, roots, Some(self.time))?;
        if (subject.cid, subject.role) != partner {
            return Err(Error::WrongParty);
        }
        let digest =
            crate::attest::spk_attestation_digest(&partner.0, partner.1, &self.spk, &self.own, &self.nonce);
        match subject.key.verify(&digest, &self.attestation) {
            Err(e) if kept(Defence::Attestation) => Err(e.into()),
            _ => Ok(()),
        }
    }
}

/// One entity in a binding record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundEntity {
    /// Who.
    pub cid: Cid,
    /// Role.
    pub role: Role,
    /// Verifies the entity's statements from now on.
    pub sign_pub: PublicKey,
    /// Names the whole relationship key.
    pub spk_id: SpkId,
    /// `H(access data || blind 32)`.
    pub access_commit: Digest,
}

/// Length of an encoded record.
pub const RECORD_LEN: usize = 1 + 16 + 2 * (16 + 1 + 33 + 8 + 32) + 4 + 1;

/// What both entities and the authority sign.
///
/// `1 | binding_id 16 | 2 x (cid 16 | role | sign_pub 33 | spk_id 8 | access_commit 32), A then B | time u32 |
/// assurance`; digest `H("modbatt1 bindrec" || bytes)`. The signing half of the relationship key is public
/// here so that anyone can verify the entity's later statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingRecord {
    /// Which binding.
    pub binding_id: BindingId,
    /// A, then B.
    pub entities: [BoundEntity; 2],
    /// Unix seconds.
    pub time: u32,
    /// How the identities were established.
    pub assurance: Assurance,
}

impl BindingRecord {
    /// The bytes.
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        let mut out = [0; RECORD_LEN];
        out[0] = 1;
        out[1..17].copy_from_slice(&self.binding_id.0);
        for (e, o) in self.entities.iter().zip(out[17..197].chunks_exact_mut(90)) {
            o[..16].copy_from_slice(&e.cid.0);
            o[16] = e.role as u8;
            o[17..50].copy_from_slice(&e.sign_pub.0);
            o[50..58].copy_from_slice(&e.spk_id.0);
            o[58..].copy_from_slice(&e.access_commit);
        }
        out[197..201].copy_from_slice(&self.time.to_be_bytes());
        out[201] = self.assurance as u8;
        out
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let binding_id = BindingId(f.array()?);
        let mut entity = || -> Result<BoundEntity, Error> {
            Ok(BoundEntity {
                cid: Cid(f.array()?),
                role: Role::from_code(f.u8()?)?,
                sign_pub: PublicKey::from_slice(f.slice(33)?)?,
                spk_id: SpkId(f.array()?),
                access_commit: f.array()?,
            })
        };
        let entities = [entity()?, entity()?];
        let record =
            BindingRecord { binding_id, entities, time: f.u32()?, assurance: Assurance::from_code(f.u8()?)? };
        f.end()?;
        let [a, b] = &record.entities;
        if !crate::id::is_side_a(a.role, a.cid, b.role, b.cid) {
            return Err(Error::WrongParty);
        }
        Ok(record)
    }

    /// What is signed.
    pub fn digest(&self) -> Digest {
        sha256(&[b"modbatt1 bindrec", &self.encode()])
    }
}
