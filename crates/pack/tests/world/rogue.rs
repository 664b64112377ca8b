//! An attacker who holds the keys of a party.

use lct::schedule::{Direction, Tier};
use pack::{
    can::Frame,
    chunk,
    sealed_id::{Level, SealedId},
    session::{Session, tier_of},
};
use std::cell::RefCell;

/// Whoever dumped the memory of a party: its keys in the present epoch, with counters far ahead.
pub struct Rogue(pub RefCell<Session>);

impl Rogue {
    /// Speaks as the owner of this session.
    pub fn of(victim: &Session) -> Self {
        Rogue::sending(victim, victim.sends())
    }

    /// Speaks as the peer of the owner of this session: both have the same keys.
    pub fn peer_of(victim: &Session) -> Self {
        let peer = match victim.sends() {
            Direction::Ab => Direction::Ba,
            Direction::Ba => Direction::Ab,
        };
        Rogue::sending(victim, peer)
    }

    fn sending(victim: &Session, sends: Direction) -> Self {
        let mut copy = Session::at_epoch(
            victim.kind(),
            *victim.th4(),
            victim.epoch(),
            victim.master().clone(),
            victim.exchange().cloned(),
            sends,
        )
        .unwrap();
        for tier in [Tier::Exch, Tier::Pair] {
            let due = copy.due(tier, 0).unwrap();
            copy.reserved(&due);
        }
        let mut out = [0; 64];
        for level in [Level::Exch, Level::Pair] {
            let id = SealedId::new(0x500, level, sends, 1).unwrap();
            for _ in 0..900 {
                copy.seal(id, 0x500, 0, &[&[0]], &mut out).unwrap();
            }
        }
        Rogue(RefCell::new(copy))
    }

    /// The frames of a short message, sealed with the next of its counters.
    pub fn seal(&self, id: SealedId, base: u16, body: &[u8]) -> Vec<Frame> {
        chunk::split(id.canonical(), &self.sealed(id, base, body)).unwrap().collect()
    }

    /// A message, sealed with the next of its counters.
    pub fn sealed(&self, id: SealedId, base: u16, body: &[u8]) -> Vec<u8> {
        let mut out = [0; 256];
        let mut session = self.0.borrow_mut();
        if let Some(due) = session.due(tier_of(id.level()), 0) {
            session.reserved(&due);
        }
        let n = session.seal(id, base, 0, &[body], &mut out).unwrap();
        out[..n].to_vec()
    }
}
