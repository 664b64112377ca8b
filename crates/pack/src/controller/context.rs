//! For whom a pack answers: it signs the statement that names its modules, and no other (`spec/channel.md`, H210).

use super::*;
use lct::{
    context::{Content, Statement, entity_lct},
    hash::sha256,
};

impl Controller {
    /// The answer to a request to answer for modules.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another statement, [`Error::WrongParty`] for one about another LCT than this pack's, or one
    /// that names a module that is not bound to it.
    pub(super) fn answer_for(&self, statement: &[u8], rng: &mut impl CryptoRng) -> Result<Pdu, Error> {
        let stated = Statement::decode(statement)?;
        let Content::Witness { modules } = &stated.content else { return Err(Error::Malformed) };
        let own = &self.device.own;
        let bound = |cid: &Cid| {
            let peer =
                |s: &Slot| s.relation.revoked().is_none() && s.relation.peer().is_some_and(|p| p.0 == *cid);
            self.slots.iter().any(peer)
        };
        let mine = stated.lct == entity_lct(&stated.chain_id, &own.cid(), &own.key.public());
        if !mine || !modules.iter().all(bound) {
            return Err(Error::WrongParty);
        }
        let signature = own.key.sign(&stated.digest()?, rng);
        pdu::build(&[&[pdu::BINDING, op::ANSWERS_FOR], &sha256(&[statement]), &signature.0])
    }
}
