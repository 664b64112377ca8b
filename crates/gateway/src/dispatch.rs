//! Gives the authority's revocation list to pack and modules until each says that it holds it (`spec/channel.md`, H106).
//!
//! Answers come in clear: a false one only ends the repeating, and every renewed list is given to all again.

use lct::codec::Fields;
use pack::{
    app::Party,
    pdu,
    time::{Duration, Instant},
};
use std::collections::BTreeMap;

/// First pause before a list is given again; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// The list that is being given out.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    number: u32,
    /// The list as a PDU; empty while there is none.
    pdu: Vec<u8>,
    waiting: BTreeMap<Party, Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    due: Instant,
    pause: Duration,
}

impl Dispatch {
    /// Number of the list, 0 for none.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Begins to give list `number` to `parties`.
    pub fn begin(&mut self, now: Instant, number: u32, list: &[u8], parties: impl Iterator<Item = Party>) {
        self.number = number;
        self.pdu = [&[pdu::REVOCATION], list].concat();
        self.waiting = parties.map(|party| (party, Waiting { due: now, pause: PAUSE })).collect();
    }

    /// Gives the list, if there is one, to `party` too.
    pub fn join(&mut self, now: Instant, party: Party) {
        if self.number > 0 {
            self.waiting.entry(party).or_insert(Waiting { due: now, pause: PAUSE });
        }
    }

    /// When [`Dispatch::poll`] has something; who is `early` is given nothing yet, and everything at once afterwards.
    pub fn due(&self, early: impl Fn(Party) -> bool) -> Option<Instant> {
        self.waiting.iter().filter(|(party, _)| !early(**party)).map(|(_, w)| w.due).min()
    }

    /// Who is to be given the list now.
    pub fn poll(&mut self, now: Instant, early: impl Fn(Party) -> bool) -> Option<(Party, &[u8])> {
        let mut waiting = self.waiting.iter_mut();
        let (party, waiting) = waiting.find(|(party, w)| w.due <= now && !early(**party))?;
        waiting.due = now + waiting.pause;
        waiting.pause = Duration::from_millis(2 * waiting.pause.as_millis()).min(PAUSE_MAX);
        Some((*party, &self.pdu))
    }

    /// Takes `06 81 | number u32 | status`; anything else is not for here.
    pub fn answered(&mut self, party: Party, answer: &[u8]) {
        let mut f = Fields::new(answer);
        if let (Ok(pdu::REVOCATION), Ok(pdu::REVOCATION_STATUS), Ok(number)) = (f.u8(), f.u8(), f.u32())
            && number >= self.number
        {
            self.waiting.remove(&party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(number: u8) -> [u8; 7] {
        [pdu::REVOCATION, pdu::REVOCATION_STATUS, 0, 0, 0, number, 0]
    }

    /// Whom a list reaches from `from` to `to` seconds.
    fn given(dispatch: &mut Dispatch, from: u64, to: u64) -> Vec<(u64, Party)> {
        let mut given = Vec::new();
        for s in from..to {
            while let Some((party, pdu)) = dispatch.poll(Instant::from_millis(s * 1_000), |_| false) {
                assert_eq!(pdu[0], pdu::REVOCATION);
                given.push((s, party));
            }
        }
        given
    }

    #[test]
    fn everyone_is_given_the_list_until_it_says_so() {
        let (pack, module) = (Party::Pack, Party::Module(2));
        let mut dispatch = Dispatch::default();
        dispatch.join(Instant::START, pack);
        assert_eq!((dispatch.due(|_| false), given(&mut dispatch, 0, 9)), (None, vec![]));
        dispatch.begin(Instant::START, 5, b"list", [pack].into_iter());
        dispatch.join(Instant::START, module);
        assert_eq!(given(&mut dispatch, 0, 2), [(0, pack), (0, module)]);
        // One that holds an older list, and one that says something else, are asked again.
        dispatch.answered(pack, &answer(5));
        dispatch.answered(module, &answer(4));
        dispatch.answered(module, &answer(5)[..5]);
        dispatch.answered(module, &[pdu::BINDING, pdu::REVOCATION_STATUS, 0, 0, 0, 5, 0]);
        assert_eq!(given(&mut dispatch, 2, 15), [(2, module), (6, module), (14, module)]);
        let hour = given(&mut dispatch, 15, 20_000);
        assert!(hour.windows(2).all(|w| w[1].0 - w[0].0 <= 3_600) && hour.len() > 8, "{hour:?}");
        dispatch.answered(module, &answer(6));
        assert_eq!(dispatch.due(|_| false), None);
        dispatch.begin(Instant::START, 6, b"next", [pack, module].into_iter());
        assert_eq!(given(&mut dispatch, 0, 1).len(), 2, "a renewed list is for all");
        // Who is early is not polled, so that its pause does not grow while it is given nothing.
        dispatch.begin(Instant::START, 7, b"last", [pack, module].into_iter());
        let early = |party: Party| party == pack;
        assert_eq!(dispatch.poll(Instant::START, early).map(|(party, _)| party), Some(module));
        let later = Instant::from_millis(1_000);
        assert!(dispatch.poll(later, early).is_none() && dispatch.due(early) > Some(later));
        assert_eq!(given(&mut dispatch, 1, 2), [(1, pack)]);
    }
}
