//! Who is there: the pack says which nodes have a module, and each of these says who it is.

use super::*;

/// How often the pack is asked who is there, until all modules have answered.
pub(super) const SEARCH: Duration = Duration::from_millis(500);
/// Modules that are asked at the same time, so that the answers of a whole pack do not arrive at once.
const ASKED: usize = 3;

impl Gateway {
    /// Asks modules that the pack has and that did not answer yet, a few at a time.
    pub(super) fn ask_modules(&mut self, now: Instant) -> Result<(), Error> {
        let Phase::Searching { due, seen, asked, .. } = &mut self.phase else { return Ok(()) };
        let nodes = seen.get(&Party::Pack).map_or(0, |p| p.nodes);
        for node in (1..=31).filter(|node| nodes >> (node - 1) & 1 == 1) {
            if asked.len() < ASKED && !asked.contains(&node) && !seen.contains_key(&Party::Module(node)) {
                asked.push(node);
                *due = now + SEARCH;
                self.app.send(now, Party::Module(node), &[pdu::IDENTIFY, 0])?;
            }
        }
        Ok(())
    }

    pub(super) fn identified(&mut self, now: Instant, party: Party, who: Introduced) {
        let role = if party == Party::Pack { Role::Pack } else { Role::Module };
        let Phase::Searching { seen, asked, .. } = &mut self.phase else { return };
        if who.role != role {
            return;
        }
        asked.retain(|node| Party::Module(*node) != party);
        let first = !seen.contains_key(&party);
        let before = self.cids.insert(party, who.cid);
        if before.is_none() {
            self.dispatch.join(Instant::START, party);
        }
        if before != Some(who.cid) {
            self.said.is_to_follow(now, party);
        }
        seen.insert(party, who.clone());
        let modules = seen.len() - usize::from(seen.contains_key(&Party::Pack));
        match (first, party) {
            (true, Party::Pack) => self.event(Event::Found(who)),
            (true, Party::Module(_)) => self.event(Event::Modules(modules)),
            (false, _) => {}
        }
    }
}
