//! Whether an introduction may lead to a binding, by the way in which the partner's identity was established
//! (`spec/channel.md`, H78).

use super::*;
use lct::{key_package::KeyPackage, rebind::Rebind};

impl Relation {
    /// The binding that a new one takes the place of: the one in force, or the one whose keys were lost.
    fn replaced(&self) -> Option<BindingId> {
        self.bond.as_ref().map(|bond| bond.binding_id).or(self.lost)
    }

    /// With whom the binding is that a new one takes the place of. Where its keys were lost, and with them who that was (H137), it
    /// is whom the request under way names.
    pub(crate) fn displaced(&self) -> Option<Cid> {
        self.replaced()?;
        let peer = self.peer().or_else(|| self.pending_bond.as_ref().map(|pending| pending.request.partner));
        peer.map(|(cid, _)| cid)
    }

    /// Rests without keys: `old` was bound here, or something that cannot be read (H137).
    pub(crate) fn lose(&mut self, old: Option<BindingId>) {
        self.erase();
        self.lost = Some(old.unwrap_or(BindingId([0; 16])));
    }

    /// Rests without the keys that it has (H137).
    pub(crate) fn rest(&mut self) {
        if let Some(old) = self.replaced() {
            self.lose(Some(old));
        }
    }

    /// Asks for leave to bind anew, where something was bound (H147).
    pub(super) fn question(&self, own: &Identity, rng: &mut impl CryptoRng) -> Option<Rebind> {
        let old = self.replaced()?;
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        Some(Rebind { device: own.cid(), nonce, old })
    }

    /// Device key halves for the binding under way, sealed by who asked for it to the key of this entity (H85). They are
    /// mixed into BIND when both sides have them.
    pub fn key_package(&mut self, body: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let (id, sealed) = body.split_first_chunk::<16>().ok_or(Error::Malformed)?;
        let pending = self.pending_bond.as_mut().filter(|p| p.request.binding_id.0 == *id);
        // Once the partner is introduced a run may be under way, which counts on what was there.
        let pending = pending.filter(|p| p.introduction.is_none()).ok_or(Error::WrongParty)?;
        let (parties, nonce) = (pending.parties(), pending.request.nonce);
        let package = KeyPackage::open(sealed, &parties, &pending.own, &nonce, &pending.issuer.sign_pub())?;
        if package.kind != Kind::Bind {
            return Err(Error::WrongParty);
        }
        pending.package = Some(package);
        let answer = [pdu::KEY_PACKAGE, pdu::key_package::STATUS];
        push(fx, Effect::ToAuthority(pdu::build(&[&answer, id, &[Status::Accepted as u8]])?))
    }
}

/// Judges an introduction whose signature, binding and addressee are right. `device` is what a device channel with
/// this partner says.
pub(super) fn judge(
    intro: &Introduction,
    partner: (Cid, Role),
    root: &lct::sign::PublicKey,
    device: Option<Offer>,
) -> Result<(), Error> {
    let assurance = intro.assurance;
    if assurance.is_attested() {
        intro.verify_partner(partner, &[*root])?;
    }
    if assurance.has_code() {
        let device = device.filter(|o| o.assurance == Assurance::Code).ok_or(Error::WrongParty)?;
        let promised = intro.device.code_commit();
        let fits = device.code_commit.is_none_or(|known| lct::secret::equal(&known, &promised));
        if assurance.is_attested() && promised != [0; 32] && !fits {
            return Err(Error::NotAuthentic);
        }
    }
    if assurance == Assurance::Plain && device.is_none() {
        return Err(Error::WrongParty);
    }
    Ok(())
}
