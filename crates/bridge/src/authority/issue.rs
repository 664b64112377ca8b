//! What is signed in a ceremony: by the authority, and in its place by a delegate (`spec/channel.md`, H162). Secrets of a
//! pairing or a binding are drawn and sealed here, and forgotten: what remains are hashes.

use lct::{
    Digest,
    attest::DeviceCertificate,
    binding::{Assurance, BindRequest, BindingRecord, BoundEntity, Introduction},
    certificate::{Certificate, Issue, METADATA_MAX},
    handshake::Kind,
    hash::sha256,
    id::{BindingId, Cid, Role},
    key_package::{KeyPackage, Parties},
    metadata::{ClearMetadata, LinkParameters},
    pairing::nonce_commitment,
    secret::Secret,
    spk::Spk,
};
use rand_core::{CryptoRng, Rng};

use super::{
    ceremonies::{CEREMONY_S, Introduced, Side},
    key::AuthorityKey,
    signer::SignError,
};
use crate::refusal::Refusal;

/// Where devices are told to send the completion; the app knows the bridge's address itself.
const ENDPOINT: &str = "/api/v1/pairings";

/// Why a document of a ceremony is not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unissued {
    /// There is no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A part is too long, or a key is none.
    #[error(transparent)]
    Build(#[from] lct::Error),
}

impl From<Unissued> for Refusal {
    fn from(error: Unissued) -> Self {
        match error {
            Unissued::Sign(e) => e.into(),
            Unissued::Build(e) => Refusal::internal(&e),
        }
    }
}

impl Side {
    /// A side of a new ceremony with the blind of its commitment; nonce and blind are fresh.
    pub fn draw(cid: Cid, role: Role, access: &[u8], rng: &mut impl CryptoRng) -> (Self, Secret<32>) {
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let blind = Secret::random(rng);
        let commit = commitment(access, blind.expose());
        (Side { cid, role, access: access.into(), nonce, commit }, blind)
    }
}

/// By which a binding's record commits to access data (H48).
pub(crate) fn commitment(access: &[u8], blind: &[u8; 32]) -> Digest {
    sha256(&[access, blind])
}

/// Asks `own` for a key of its relationship with `partner` (H46).
pub(crate) fn request(
    key: &AuthorityKey,
    binding_id: BindingId,
    own: &Side,
    partner: &Side,
) -> Result<Vec<u8>, Unissued> {
    let request = BindRequest {
        binding_id,
        own: (own.cid, own.role),
        partner: (partner.cid, partner.role),
        nonce: own.nonce,
        partner_access: partner.access.as_slice().try_into().map_err(|_| lct::Error::BufferTooSmall)?,
    };
    Ok(key.sign(|key, rng| request.issue(key, rng))??.to_vec())
}

/// Fresh device key halves, sealed to each side (H85). They are not kept: asked again, both sides get others.
pub(crate) fn packages(
    key: &AuthorityKey,
    sides: &[Side; 2],
    introduced: &Introduced,
) -> Result<[Vec<u8>; 2], Unissued> {
    let [a, b] = sides;
    let parties = Parties { own: (a.cid, a.role), peer: (b.cid, b.role) };
    let sealed = key.sign(|key, rng| {
        let (mut relation, mut salt, mut iv_seed) = ([0; 16], [0; 32], [0; 16]);
        rng.fill_bytes(&mut relation);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut iv_seed);
        // The LCT's halves go their own way (A30).
        let no_lct_half = || Secret::new([0; 64]);
        let of_a = KeyPackage {
            kind: Kind::Bind,
            relation,
            half_own: Secret::random(rng),
            half_peer: Secret::random(rng),
            lct_half: no_lct_half(),
            salt,
            parameters: LinkParameters { iv_seed, kdf: 1, aead: 1, rotation_days: 30 },
            epoch: 0,
        };
        let of_b = of_a.for_peer(no_lct_half());
        let [(spk_a, _), (spk_b, _)] = &introduced.keys;
        let a = of_a.seal(&parties, spk_a, &sides[0].nonce, key, rng)?;
        let b = of_b.seal(&parties.swapped(), spk_b, &sides[1].nonce, key, rng)?;
        Ok::<_, lct::Error>([a.to_vec(), b.to_vec()])
    })?;
    Ok(sealed?)
}

/// What introduces the other side to the side `own`, 0 or 1; `certificates` are those of the other side (H48).
pub(crate) fn introduction(
    binding_id: BindingId,
    sides: &[Side; 2],
    own: usize,
    (device, batch): (DeviceCertificate, DeviceCertificate),
    introduced: &Introduced,
    assurance: Assurance,
) -> Introduction {
    let partner = 1 - own;
    let (spk, attestation) = introduced.keys[partner];
    Introduction {
        binding_id,
        own: sides[own].cid,
        device,
        batch,
        spk,
        nonce: sides[partner].nonce,
        attestation,
        access_commits: sides.each_ref().map(|side| side.commit),
        time: introduced.time,
        assurance,
    }
}

/// The record that both entities and whoever issued the ceremony sign (H49).
pub(crate) fn record(
    binding_id: BindingId,
    sides: &[Side; 2],
    introduced: &Introduced,
    assurance: Assurance,
) -> BindingRecord {
    let entity = |i: usize| BoundEntity {
        cid: sides[i].cid,
        role: sides[i].role,
        sign_pub: introduced.keys[i].0.sign_pub(),
        spk_id: introduced.keys[i].0.id(),
        access_commit: sides[i].commit,
    };
    let entities = [entity(0), entity(1)];
    BindingRecord { binding_id, entities, time: introduced.time, assurance }
}

/// What remains of a certificate once it is issued.
pub(crate) struct Remains {
    pub certificate: Vec<u8>,
    pub cert_hash: Digest,
    /// Of the validation nonce.
    pub commitment: Digest,
}

/// Draws the secrets of a pairing, seals them into a certificate, and forgets them: they are zeroised when this function
/// returns, and only hashes remain (H51).
pub(crate) fn certificate(
    key: &AuthorityKey,
    metadata: &ClearMetadata,
    spks: &[Spk; 2],
) -> Result<Remains, Unissued> {
    let mut clear = [0; METADATA_MAX];
    let n = metadata.encode(&mut clear)?;
    let (pairing_id, spk_authority) = (metadata.pairing_id, key.public());
    let issued = key.sign(|key, rng| {
        let [half_a, half_b, exchange_key] = [(); 3].map(|()| Secret::<32>::random(rng));
        let nonce = Secret::<32>::random(rng);
        let certificate = lct::certificate::issue(
            &Issue {
                pairing_id,
                clear_metadata: &clear[..n],
                spk_a: &spks[0],
                spk_b: &spks[1],
                spk_authority: &spk_authority,
                key,
                half_a: &half_a,
                half_b: &half_b,
                exchange_key: &exchange_key,
                validation_nonce: nonce.expose(),
                endpoint: ENDPOINT,
                timeout_s: CEREMONY_S as u16,
            },
            rng,
        )?;
        Ok::<_, lct::Error>((certificate, nonce_commitment(nonce.expose(), &pairing_id)))
    })?;
    let (certificate, commitment) = issued?;
    let cert_hash = Certificate::parse(&certificate)?.hash();
    Ok(Remains { certificate: certificate.to_vec(), cert_hash, commitment })
}
