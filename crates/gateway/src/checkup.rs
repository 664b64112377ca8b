//! A sealed echo on every channel: does what was agreed still open on both sides (`spec/can.md`, C130)?
//!
//! Channels are tried one after the other, so that a checkup adds a few frames at a time to a running bus.

use std::collections::VecDeque;

use lct::schedule::Tier;
use pack::{
    app::Party,
    time::{Duration, Instant},
};

/// How long an echo is waited for before it is asked again.
const PATIENCE: Duration = Duration::from_millis(500);
/// Times that a channel is asked.
const TRIES: u8 = 4;

/// What was found of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// Who answered, or did not.
    pub party: Party,
    /// The tier that was tried: to a module, on both buses.
    pub tier: Tier,
    /// From the last asking to the answer; `None` without an answer.
    pub round_trip: Option<Duration>,
    /// Generation of the group key that the party holds; 0 for none.
    pub generation: u32,
}

impl Channel {
    /// True when an echo came back.
    pub fn is_open(&self) -> bool {
        self.round_trip.is_some()
    }
}

/// An echo to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// To whom.
    pub party: Party,
    /// Sealed how.
    pub tier: Tier,
    /// Comes back with the answer.
    pub nonce: u32,
}

#[derive(Debug)]
struct Asked {
    echo: Echo,
    at: Instant,
    tries: u8,
}

/// A checkup under way.
#[derive(Debug)]
pub struct Checkup {
    waiting: VecDeque<(Party, Tier)>,
    asked: Option<Asked>,
    found: Vec<Channel>,
}

impl Checkup {
    /// Tries every tier of every party.
    pub fn new(parties: impl IntoIterator<Item = Party>, tiers: &[Tier]) -> Self {
        let waiting = parties.into_iter().flat_map(|p| tiers.iter().map(move |t| (p, *t))).collect();
        Checkup { waiting, asked: None, found: Vec::new() }
    }

    /// The next echo to send at `now`, if one is due; `nonce` is drawn for each.
    pub fn poll(&mut self, now: Instant, mut nonce: impl FnMut() -> u32) -> Option<Echo> {
        let (party, tier, tries) = match self.asked.take() {
            Some(asked) if now < asked.at + PATIENCE => {
                self.asked = Some(asked);
                return None;
            }
            Some(asked) if asked.tries < TRIES => (asked.echo.party, asked.echo.tier, asked.tries + 1),
            silent => {
                if let Some(Asked { echo: Echo { party, tier, .. }, .. }) = silent {
                    self.found.push(Channel { party, tier, round_trip: None, generation: 0 });
                }
                let (party, tier) = self.waiting.pop_front()?;
                (party, tier, 1)
            }
        };
        let echo = Echo { party, tier, nonce: nonce() };
        self.asked = Some(Asked { echo, at: now, tries });
        Some(echo)
    }

    /// An answer arrived; one that was not asked for changes nothing.
    pub fn answered(&mut self, now: Instant, echo: Echo, generation: u32) {
        if let Some(asked) = self.asked.take_if(|asked| asked.echo == echo) {
            self.found.push(Channel {
                party: echo.party,
                tier: echo.tier,
                round_trip: Some(now.saturating_since(asked.at)),
                generation,
            });
        }
    }

    /// When an echo has been waited for long enough; before the first one there is nothing to wait for.
    pub fn due(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.at + PATIENCE)
    }

    /// What was found, once every channel was tried.
    pub fn finished(&mut self) -> Option<Vec<Channel>> {
        (self.asked.is_none() && self.waiting.is_empty()).then(|| std::mem::take(&mut self.found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIES: [Party; 2] = [Party::Pack, Party::Module(3)];
    const TIERS: [Tier; 2] = [Tier::Exch, Tier::Pair];

    fn later(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    #[test]
    fn every_channel_is_tried_until_it_answers_or_was_asked_often_enough() {
        let mut checkup = Checkup::new(PARTIES, &TIERS);
        let mut nonce = 0;
        let mut asked = Vec::new();
        for ms in 0..10_000 {
            let now = later(ms);
            if let Some(echo) = checkup.poll(now, || {
                nonce += 1;
                nonce
            }) {
                asked.push(echo);
                let stray = Echo { nonce: echo.nonce + 100, ..echo };
                checkup.answered(now, stray, 7);
                checkup.answered(now, Echo { tier: Tier::Bind, ..echo }, 7);
                // The module is silent at pair tier, and loses its first echo at exch tier.
                let loses = echo.party == Party::Module(3)
                    && asked.iter().filter(|e| e.party == echo.party).count() == 1;
                if !(loses || echo.party == Party::Module(3) && echo.tier == Tier::Pair) {
                    checkup.answered(now + Duration::from_millis(4), echo, 9);
                    checkup.answered(now, echo, 1);
                }
            }
            if let Some(found) = checkup.finished() {
                let open: Vec<(Party, Tier, bool, u32)> =
                    found.iter().map(|c| (c.party, c.tier, c.is_open(), c.generation)).collect();
                assert_eq!(
                    open,
                    [
                        (Party::Pack, Tier::Exch, true, 9),
                        (Party::Pack, Tier::Pair, true, 9),
                        (Party::Module(3), Tier::Exch, true, 9),
                        (Party::Module(3), Tier::Pair, false, 0),
                    ]
                );
                assert_eq!(found[0].round_trip, Some(Duration::from_millis(4)));
                let to_silent = asked.iter().filter(|e| (e.party, e.tier) == (Party::Module(3), Tier::Pair));
                assert_eq!(to_silent.count(), usize::from(TRIES));
                let mut nonces: Vec<u32> = asked.iter().map(|e| e.nonce).collect();
                nonces.dedup();
                assert_eq!(nonces.len(), asked.len(), "each asking has its own nonce");
                return;
            }
            assert!(checkup.due().is_none_or(|due| due >= now));
        }
        panic!("it did not end");
    }
}
