//! The pairing certificate (`spec/channel.md`, H50 and H51).
//!
//! ```text
//! 0  version 1 | suite 1 | pairing_id 16 | cm_len u16 | clear metadata
//! A  0x0A | SPK_id_A 8 | HPKE( half_A 32 || cm_hash 32 || xk 32 )                       186 bytes
//! B  0x0B | SPK_id_B 8 | HPKE( half_B 32 || cm_hash 32 || xk 32 )                       186 bytes
//! V  0x0C | pk_commit 32 | IV 12 | n u16 | AES-256-GCM( nonce 32 | len u8 | endpoint | token 64 | timeout u16 | flags u8 )
//! sig 64, ECDSA of the authority over H("modbatt1 paircert" || all preceding)
//! ```

use crate::{
    Digest, Error, SUITE,
    aead::Aead,
    codec::{Fields, Layout},
    exchange::Side,
    hash::sha256,
    id::{PairingId, SpkId},
    schedule::{derive, extract},
    secret::{Secret, equal},
    sign::{PublicKey, Signature, Signer},
    spk::{HPKE_OVERHEAD, Spk, SpkSecret},
};
use kept::{Defence, kept};
use rand_core::CryptoRng;

/// Longest clear metadata.
pub const METADATA_MAX: usize = 512;
/// Longest endpoint in section V.
pub const ENDPOINT_MAX: usize = 128;
/// Longest certificate.
pub const CERTIFICATE_MAX: usize = 20 + METADATA_MAX + 2 * SECTION_LEN + 47 + VALIDATION_MAX + 64;
const SECTION_LEN: usize = 9 + 96 + HPKE_OVERHEAD;
const VALIDATION_MAX: usize = 32 + 1 + ENDPOINT_MAX + 64 + 2 + 1 + 16;
const SIG_LEN: usize = 64;

/// The bytes of a certificate.
pub type CertificateBytes = heapless::Vec<u8, CERTIFICATE_MAX>;

/// What the authority puts into a certificate.
pub struct Issue<'a, K> {
    /// Fresh identifier.
    pub pairing_id: PairingId,
    /// Deterministic CBOR, at most 512 bytes ([`crate::metadata`]).
    pub clear_metadata: &'a [u8],
    /// A side.
    pub spk_a: &'a Spk,
    /// B side.
    pub spk_b: &'a Spk,
    /// The authority's own object.
    pub spk_authority: &'a Spk,
    /// The authority's signing key.
    pub key: &'a K,
    /// Half of A.
    pub half_a: &'a Secret<32>,
    /// Half of B.
    pub half_b: &'a Secret<32>,
    /// Exchange key.
    pub exchange_key: &'a Secret<32>,
    /// Revealed by the completion proof.
    pub validation_nonce: &'a [u8; 32],
    /// Where to send the completion.
    pub endpoint: &'a str,
    /// Seconds until the ceremony is void.
    pub timeout_s: u16,
}

/// Issues a certificate.
pub fn issue<K: Signer>(what: &Issue<'_, K>, rng: &mut impl CryptoRng) -> Result<CertificateBytes, Error> {
    if what.clear_metadata.len() > METADATA_MAX || what.endpoint.len() > ENDPOINT_MAX {
        return Err(Error::BufferTooSmall);
    }
    let cm_hash = sha256(&[what.clear_metadata]);
    let pairing_key = crate::exchange::pairing_key(what.half_a, what.half_b)?;
    let mut cert = Layout::<CERTIFICATE_MAX>::default().put(&[
        &[1, SUITE],
        &what.pairing_id.0,
        &(what.clear_metadata.len() as u16).to_be_bytes(),
        what.clear_metadata,
    ])?;
    let ids = [what.spk_a.id(), what.spk_b.id(), what.spk_authority.id()];
    for (tag, spk, half) in [(0x0A, what.spk_a, what.half_a), (0x0B, what.spk_b, what.half_b)] {
        let mut plain = zeroize::Zeroizing::new([0; 96]);
        plain[..32].copy_from_slice(half.expose());
        plain[32..64].copy_from_slice(&cm_hash);
        plain[64..].copy_from_slice(what.exchange_key.expose());
        let info = section_info(tag, &what.pairing_id, &cm_hash, &ids);
        let mut sealed = [0; 96 + HPKE_OVERHEAD];
        spk.seal(&info, plain.as_slice(), &mut sealed, rng)?;
        cert = cert.put(&[&[tag], &spk.id().0, &sealed])?;
    }
    let secrets = ValidationKeys::new(&pairing_key, &cm_hash, &what.pairing_id)?;
    let token = what.key.sign(&token_digest(&what.pairing_id, what.validation_nonce), rng);
    let mut plain = Layout::<VALIDATION_MAX>::default()
        .put(&[
            what.validation_nonce,
            &[what.endpoint.len() as u8],
            what.endpoint.as_bytes(),
            &token.0,
            &what.timeout_s.to_be_bytes(),
            &[0],
        ])?
        .done();
    let n = plain.len() as u16;
    let mut iv = [0; 12];
    rng.fill_bytes(&mut iv);
    let (aad, mut tag) = (validation_aad(&what.pairing_id, &cm_hash), [0; 16]);
    Aead::new(&secrets.key).seal(&iv, &aad, plain.as_mut_slice(), &mut tag)?;
    cert = cert.put(&[&[0x0C], secrets.commit.expose(), &iv, &n.to_be_bytes(), &plain, &tag])?;
    let cert = cert.done();
    let sig = what.key.sign(&sha256(&[b"modbatt1 paircert", &cert]), rng);
    Ok(Layout::<CERTIFICATE_MAX>::default().put(&[&cert, &sig.0])?.done())
}

/// A certificate seen as its parts; nothing is trusted before [`Certificate::verify`].
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    bytes: &'a [u8],
    /// Identifier of the pairing.
    pub pairing_id: PairingId,
    /// Deterministic CBOR.
    pub clear_metadata: &'a [u8],
    section_a: &'a [u8],
    section_b: &'a [u8],
    /// `Derive(prk_V, "pk commit", pairing_id, 32)`.
    pub pk_commit: Digest,
    validation_iv: [u8; 12],
    validation: &'a [u8],
    signature: Signature,
}

/// What one entity's section holds.
#[derive(Debug, Clone)]
pub struct Section {
    /// This entity's half of the pairing key.
    pub half: Secret<32>,
    /// The exchange key.
    pub exchange_key: Secret<32>,
}

/// What section V holds: readable once both halves are together.
#[derive(Debug, Clone)]
pub struct Validation<'a> {
    /// Revealed by the completion proof.
    pub nonce: [u8; 32],
    /// Where to send the completion.
    pub endpoint: &'a str,
    /// The authority's signature over pairing and nonce.
    pub token: Signature,
    /// Seconds until the ceremony is void.
    pub timeout_s: u16,
}

impl<'a> Certificate<'a> {
    /// Splits `bytes`; lengths, tags and versions are checked, signatures are not.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > CERTIFICATE_MAX {
            return Err(Error::Malformed);
        }
        let mut f = Fields::new(bytes);
        if f.array()? != [1, SUITE] {
            return Err(Error::Malformed);
        }
        let pairing_id = PairingId(f.array()?);
        let cm_len = usize::from(f.u16()?);
        if cm_len > METADATA_MAX {
            return Err(Error::Malformed);
        }
        let clear_metadata = f.slice(cm_len)?;
        let section_a = f.slice(SECTION_LEN)?;
        let section_b = f.slice(SECTION_LEN)?;
        if section_a[0] != 0x0A || section_b[0] != 0x0B || f.u8()? != 0x0C {
            return Err(Error::Malformed);
        }
        let pk_commit = f.array()?;
        let validation_iv = f.array()?;
        let n = usize::from(f.u16()?) + 16;
        if n > VALIDATION_MAX {
            return Err(Error::Malformed);
        }
        let validation = f.slice(n)?;
        let signature = Signature(f.array()?);
        f.end()?;
        Ok(Certificate {
            bytes,
            pairing_id,
            clear_metadata,
            section_a,
            section_b,
            pk_commit,
            validation_iv,
            validation,
            signature,
        })
    }

    /// Verifies the authority's signature over everything.
    pub fn verify(&self, authority: &PublicKey) -> Result<(), Error> {
        if !kept(Defence::CertificateSignature) {
            return Ok(());
        }
        let signed = &self.bytes[..self.bytes.len() - SIG_LEN];
        Ok(authority.verify(&sha256(&[b"modbatt1 paircert", signed]), &self.signature)?)
    }

    /// `H(clear metadata)`.
    pub fn cm_hash(&self) -> Digest {
        sha256(&[self.clear_metadata])
    }

    /// `H(whole certificate, signature included)`.
    pub fn hash(&self) -> Digest {
        sha256(&[self.bytes])
    }

    /// SPK identifiers of A and B as named by the sections.
    pub fn spk_ids(&self) -> (SpkId, SpkId) {
        let id = |s: &[u8]| {
            let mut id = [0; 8];
            id.copy_from_slice(&s[1..9]);
            SpkId(id)
        };
        (id(self.section_a), id(self.section_b))
    }

    /// Opens this entity's section.
    pub fn open_section(&self, side: Side, secret: &SpkSecret, authority: &Spk) -> Result<Section, Error> {
        let (a, b) = self.spk_ids();
        let (tag, section, id) = match side {
            Side::A => (0x0A, self.section_a, a),
            Side::B => (0x0B, self.section_b, b),
        };
        if id != secret.public().id() {
            return Err(Error::WrongParty);
        }
        let cm_hash = self.cm_hash();
        let info = section_info(tag, &self.pairing_id, &cm_hash, &[a, b, authority.id()]);
        let mut plain = zeroize::Zeroizing::new([0; 96]);
        secret.open(&info, &section[9..], plain.as_mut_slice())?;
        if !equal(&plain[32..64], &cm_hash) {
            return Err(Error::NotAuthentic);
        }
        Ok(Section {
            half: Secret::from_slice(&plain[..32])?,
            exchange_key: Secret::from_slice(&plain[64..])?,
        })
    }

    /// What is needed once both halves are together, so that the certificate itself need not be kept.
    pub fn validation(&self) -> Result<SealedValidation, Error> {
        Ok(SealedValidation {
            pairing_id: self.pairing_id,
            cm_hash: self.cm_hash(),
            pk_commit: self.pk_commit,
            iv: self.validation_iv,
            sealed: heapless::Vec::from_slice(self.validation).map_err(|_| Error::Malformed)?,
        })
    }
}

/// Section V with its commitment, still sealed.
#[derive(Debug, Clone)]
pub struct SealedValidation {
    pairing_id: PairingId,
    cm_hash: Digest,
    pk_commit: Digest,
    iv: [u8; 12],
    sealed: heapless::Vec<u8, VALIDATION_MAX>,
}

impl SealedValidation {
    /// Checks the rebuilt pairing key against the commitment, in constant time.
    pub fn check_key(&self, pairing_key: &Secret<64>) -> Result<(), Error> {
        let keys = ValidationKeys::new(pairing_key, &self.cm_hash, &self.pairing_id)?;
        let fits = equal(keys.commit.expose(), &self.pk_commit) || !kept(Defence::KeyCommitment);
        if fits { Ok(()) } else { Err(Error::NotAuthentic) }
    }

    /// Checks the commitment, then opens section V into `buffer`.
    pub fn open<'b>(
        &self,
        pairing_key: &Secret<64>,
        authority: &PublicKey,
        buffer: &'b mut [u8; VALIDATION_MAX],
    ) -> Result<Validation<'b>, Error> {
        self.check_key(pairing_key)?;
        let keys = ValidationKeys::new(pairing_key, &self.cm_hash, &self.pairing_id)?;
        let (ct, tag) = self.sealed.split_last_chunk::<16>().ok_or(Error::Malformed)?;
        let plain = &mut buffer[..ct.len()];
        plain.copy_from_slice(ct);
        let aad = validation_aad(&self.pairing_id, &self.cm_hash);
        Aead::new(&keys.key).open(&self.iv, &aad, plain, tag)?;
        let mut f = Fields::new(plain);
        let nonce = f.array()?;
        let len = usize::from(f.u8()?);
        let endpoint = core::str::from_utf8(f.slice(len)?).map_err(|_| Error::Malformed)?;
        let token = Signature(f.array()?);
        let timeout_s = f.u16()?;
        if f.u8()? != 0 {
            return Err(Error::Malformed);
        }
        f.end()?;
        authority.verify(&token_digest(&self.pairing_id, &nonce), &token)?;
        Ok(Validation { nonce, endpoint, token, timeout_s })
    }
}

/// Room for section V of any certificate.
pub const VALIDATION_BUFFER: usize = VALIDATION_MAX;

struct ValidationKeys {
    key: Secret<32>,
    commit: Secret<32>,
}

impl ValidationKeys {
    fn new(pairing_key: &Secret<64>, cm_hash: &Digest, id: &PairingId) -> Result<Self, Error> {
        let prk = extract(cm_hash, &[pairing_key.expose()]);
        Ok(ValidationKeys {
            key: derive(&prk, "cert v", &[&id.0])?,
            commit: derive(&prk, "pk commit", &[&id.0])?,
        })
    }
}

/// `"modbatt1 cert-sec" || tag || pairing_id || cm_hash || SPK_id_A || SPK_id_B || SPK_id_AC`.
fn section_info(tag: u8, id: &PairingId, cm_hash: &Digest, spk_ids: &[SpkId; 3]) -> [u8; 90] {
    let mut info = [0; 90];
    info[..17].copy_from_slice(b"modbatt1 cert-sec");
    info[17] = tag;
    info[18..34].copy_from_slice(&id.0);
    info[34..66].copy_from_slice(cm_hash);
    for (i, spk) in spk_ids.iter().enumerate() {
        info[66 + 8 * i..74 + 8 * i].copy_from_slice(&spk.0);
    }
    info
}

fn validation_aad(id: &PairingId, cm_hash: &Digest) -> [u8; 63] {
    let mut aad = [0; 63];
    aad[..15].copy_from_slice(b"modbatt1 cert-v");
    aad[15..31].copy_from_slice(&id.0);
    aad[31..].copy_from_slice(cm_hash);
    aad
}

fn token_digest(id: &PairingId, nonce: &[u8; 32]) -> Digest {
    sha256(&[b"modbatt1 vtoken", &id.0, nonce])
}
