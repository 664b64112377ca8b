//! A binding in force, and one under way.

use super::*;
use lct::key_package::{KeyPackage, Parties};
use lct::rebind::Rebind;
use lct::spk::SPK_LEN;
use lct::validation::{EVENT_MAX, Event, EventKind};

pub(super) struct Bond {
    pub(super) binding_id: BindingId,
    pub(super) peer: (Cid, Role),
    pub(super) peer_spk: Spk,
    pub(super) own: SpkSecret,
    pub(super) assurance: Assurance,
}

#[derive(Clone)]
pub(super) struct PendingBond {
    pub(super) request: BindRequest,
    /// Who asked: the authority, or its delegate.
    pub(super) issuer: Spk,
    pub(super) own: SpkSecret,
    pub(super) introduction: Option<Introduction>,
    /// The introduction came while a device channel with the partner stood.
    pub(super) shielded: bool,
    pub(super) package: Option<KeyPackage>,
    /// Asked when this binding takes the place of one that is or was in force: the authority must allow it (H147).
    pub(super) leave: Option<Rebind>,
    /// Boot counter and number of the event that says so to the ledger.
    pub(super) position: Option<(u32, u32)>,
}

impl PendingBond {
    pub(super) fn parties(&self) -> Parties {
        Parties { own: self.request.own, peer: self.request.partner }
    }

    /// What the ledger is to know where this binding, whose record has this hash, takes the place of another: the word of
    /// the device under its identity key, `n u8 | event n | signature 64` (H180). Nothing where nothing is replaced, or
    /// where the device cannot read what.
    pub(super) fn replacement(
        &self,
        own: &Identity,
        record: &Digest,
        rng: &mut impl CryptoRng,
    ) -> Result<heapless::Vec<u8, { 1 + EVENT_MAX + 64 }>, Error> {
        let old = self.leave.as_ref().map(|leave| leave.old).filter(|old| old.0 != [0; 16]);
        let Some((old, (boot, seq))) = old.zip(self.position) else { return Ok(heapless::Vec::new()) };
        let mut payload = [0; 48];
        payload[..16].copy_from_slice(&old.0);
        payload[16..].copy_from_slice(record);
        let event = Event::new(EventKind::BindingReplacement, own.cid(), boot, seq, &payload)?;
        let mut bytes = [0; EVENT_MAX];
        let n = event.encode(&mut bytes)?;
        let signature = event.sign(&own.key, rng)?;
        let length = u8::try_from(n).map_err(|_| Error::BufferTooSmall)?;
        let layout = lct::codec::Layout::default().put(&[&[length], &bytes[..n], &signature.0])?;
        Ok(layout.done())
    }

    /// Calls `f` with the pre-shared key of BIND: the device halves, or zero (H21, H83).
    pub(super) fn with_psk<T>(&self, f: impl FnOnce(&Psk<'_>) -> Result<T, Error>) -> Result<T, Error> {
        match &self.package {
            Some(package) => {
                let [a, b] = package.halves(&self.parties())?;
                f(&Psk(&[a.expose(), b.expose(), &package.salt]))
            }
            None => f(&Psk(&[&[0; 32]])),
        }
    }
}

#[derive(Clone)]
pub(super) struct PendingPair {
    pub(super) pairing_id: PairingId,
    /// Who issued the certificate: the authority, or its delegate.
    pub(super) issuer: lct::sign::PublicKey,
    pub(super) section: Section,
    pub(super) cm_hash: Digest,
    pub(super) cert_hash: Digest,
    pub(super) salt: [u8; 32],
    pub(super) policy_hash: Digest,
    pub(super) limits: Limits,
    pub(super) expires: u32,
    pub(super) issued: u32,
    pub(super) compact: heapless::Vec<u16, BASES_MAX>,
    pub(super) lease: Lease,
    pub(super) stay_clear: super::stay_clear::StayClear,
    pub(super) validation: SealedValidation,
}

impl Bond {
    pub(super) fn confirmed(pending: &PendingBond) -> Result<Self, Error> {
        let intro = pending.introduction.as_ref().ok_or(Error::WrongParty)?;
        Ok(Bond {
            binding_id: pending.request.binding_id,
            peer: pending.request.partner,
            peer_spk: intro.spk,
            own: pending.own.clone(),
            assurance: intro.assurance,
        })
    }

    /// `2 | binding_id 16 | peer cid 16 | peer role | peer SPK 68 | own SPK 68 | own seed 32 | assurance`.
    pub(super) fn encode(&self) -> Result<heapless::Vec<u8, 203>, Error> {
        let layout = lct::codec::Layout::default().put(&[
            &[2],
            &self.binding_id.0,
            &self.peer.0.0,
            &[self.peer.1 as u8],
            &self.peer_spk.0,
            &self.own.public().0,
            self.own.seed().expose(),
            &[self.assurance as u8],
        ])?;
        Ok(layout.done())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 2 {
            return Err(Error::Malformed);
        }
        let binding_id = BindingId(f.array()?);
        let peer = (Cid(f.array()?), Role::from_code(f.u8()?)?);
        let peer_spk = Spk::from_slice(f.slice(SPK_LEN)?)?;
        let public = Spk::from_slice(f.slice(SPK_LEN)?)?;
        let seed = Secret::<32>::new(f.array()?);
        if seed.is_degenerate() {
            return Err(Error::DegenerateKey);
        }
        let own = SpkSecret::from_seed(seed)?;
        let assurance = Assurance::from_code(f.u8()?)?;
        f.end()?;
        // A private half that does not fit is of no use, and a sign of a disturbed flash.
        if own.public() != public {
            return Err(Error::InvalidKey);
        }
        Ok(Bond { binding_id, peer, peer_spk, own, assurance })
    }
}

pub(super) fn binding_record(own: &Identity, pending: &PendingBond) -> Result<BindingRecord, Error> {
    let intro = pending.introduction.as_ref().ok_or(Error::WrongParty)?;
    let partner = pending.request.partner;
    let mine = (own.cid(), own.role, pending.own.public());
    let theirs = (partner.0, partner.1, intro.spk);
    let a_is_mine = is_side_a(own.role, own.cid(), partner.1, partner.0);
    let (a, b) = if a_is_mine { (mine, theirs) } else { (theirs, mine) };
    let entity = |(cid, role, spk): (Cid, Role, Spk), access_commit| BoundEntity {
        cid,
        role,
        sign_pub: spk.sign_pub(),
        spk_id: spk.id(),
        access_commit,
    };
    Ok(BindingRecord {
        binding_id: intro.binding_id,
        entities: [entity(a, intro.access_commits[0]), entity(b, intro.access_commits[1])],
        time: intro.time,
        assurance: intro.assurance,
    })
}
