//! For whom a pack answers: it signs the statement that names its modules, all of them and no other (`spec/channel.md`, H210).

use super::*;
use lct::{
    context::{Content, Statement, entity_lct},
    hash::sha256,
};

impl Controller {
    /// The answer to the app's request to answer for modules.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another statement, [`Error::WrongParty`] for one about another LCT than this pack's, or one
    /// that does not name exactly the modules that are bound to it, [`Error::Exhausted`] for a number that it gave to other
    /// modules, or that lies before one that it gave.
    pub(super) fn answer_for(&mut self, statement: &[u8], rng: &mut impl CryptoRng) -> Result<Pdu, Error> {
        let stated = Statement::decode(statement)?;
        let Content::Witness { modules } = &stated.content else { return Err(Error::Malformed) };
        let own = &self.device.own;
        let relations = || self.slots.iter().map(|slot| &slot.relation).filter(|r| r.revoked().is_none());
        let bound = || relations().filter_map(Relation::peer).map(|(cid, _)| cid);
        let all =
            bound().all(|cid| modules.contains(&cid)) && modules.iter().all(|m| bound().any(|b| b == *m));
        if !all || stated.lct != entity_lct(&stated.chain_id, &own.cid(), &own.key.public()) {
            return Err(Error::WrongParty);
        }
        let (number, digest) = (stated.number, stated.digest()?);
        // Who lost the answer says the same at another time.
        let said = (number, Statement { time_ms: 0, ..stated }.digest()?);
        if self.answered.is_some_and(|last| number < last.0 || number == last.0 && said != last) {
            return Err(Error::Exhausted);
        }
        self.answered = Some(said);
        let signature = own.key.sign(&digest, rng);
        pdu::build(&[&[pdu::BINDING, op::ANSWERS_FOR], &sha256(&[statement]), &signature.0])
    }
}
