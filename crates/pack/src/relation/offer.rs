//! Whether an introduction may lead to a binding, by the way in which the partner's identity was established
//! (`spec/channel.md`, H78 and H79).

use super::*;
use crate::assurance::{Operation, permits};

/// Judges an introduction whose signature, binding and addressee are right. `device` is what a device channel with
/// this partner says, `bound` whether a binding is in force.
pub(super) fn judge(
    intro: &Introduction,
    partner: (Cid, Role),
    root: &lct::sign::PublicKey,
    device: Option<Offer>,
    bound: bool,
) -> Result<(), Error> {
    let assurance = intro.assurance;
    // What was open to anybody on the bus never takes the place of a binding.
    if bound && !permits(assurance, Operation::Rebind) {
        return Err(Error::WrongParty);
    }
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
