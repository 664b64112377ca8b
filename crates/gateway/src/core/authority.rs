//! What the authority says without being asked: who it is by now, its list, its time. Nothing that it signed is given to whoever
//! does not obey it yet (`spec/channel.md`, H233).

use super::*;
use crate::follow::{Answered, Follow};
use lct::{
    clock::{TOKEN_LEN, TimeToken},
    succession::SUCCESSION_LEN,
};

/// How much later the authority's time is before devices are told it again, in seconds.
const TOKEN_PERIOD_S: u32 = 3_600;

/// What the authority said.
pub(super) struct Said {
    follow: Follow,
    /// What it signed that waits for the app itself to follow.
    early: (Option<Vec<u8>>, Option<[u8; TOKEN_LEN]>),
    /// Its last word about time.
    token: Option<[u8; TOKEN_LEN]>,
    /// Time of the token that devices were told last, Unix seconds.
    told: u32,
    /// They are to be told the one that there is.
    owed: bool,
    /// That everybody obeys it was told.
    told_all: bool,
}

impl Default for Said {
    /// Nobody was succeeded.
    fn default() -> Self {
        Said {
            follow: Follow::default(),
            early: (None, None),
            token: None,
            told: 0,
            owed: false,
            told_all: true,
        }
    }
}

impl Said {
    /// `party` is there.
    pub(super) fn is_to_follow(&mut self, now: Instant, party: Party) {
        self.follow.join(now, Some(party));
    }

    /// Whom `member` obeys that takes nothing from this authority.
    pub(super) fn stranger(&self, member: Member) -> Option<SpkId> {
        self.follow.stranger(member)
    }

    /// Whether ceremonies wait for those that may follow within a moment.
    pub(super) fn holds_up(&self, now: Instant) -> bool {
        self.follow.is_young(now)
    }
}

impl Gateway {
    /// Says by which successions the authority came after the one that devices were made for, the oldest first; the app, pack and
    /// modules are told until each obeys it.
    ///
    /// # Errors
    /// [`Error::Link`] for what is none.
    pub fn take_successions(&mut self, now: Instant, line: &[[u8; SUCCESSION_LEN]]) -> Result<(), Error> {
        let members = self.cids.keys().map(|party| Some(*party));
        if self.said.follow.begin(now, line, std::iter::once(None).chain(members))? {
            self.said.told_all = line.is_empty();
        }
        Ok(())
    }

    /// Takes the authority's revocation list. The app judges and keeps it first; what it took is given to pack and
    /// modules once they are commissioned. A list that is being given out already changes nothing.
    ///
    /// # Errors
    /// [`Error::Link`] for a list that the authority did not sign, or that does not follow the one held.
    pub fn take_list(&mut self, now: Instant, list: &[u8], rng: &mut impl CryptoRng) -> Result<(), Error> {
        if RevocationList::claimed_number(list)? == self.dispatch.number() {
            return Ok(());
        }
        if self.said.follow.waits(None) {
            self.said.early.0 = Some(list.to_vec());
            return Ok(());
        }
        let read = RevocationList::open(list, &self.app.identity().authority.sign_pub())?;
        self.app.authority(now, &[&[pdu::REVOCATION], list].concat(), rng)?;
        if self.app.revocation_number() != read.number {
            return Err(lct::Error::Expired.into());
        }
        self.dispatch.begin(now, read.number, list, self.cids.keys().copied());
        self.event(Event::Revocations(read.number, read.entries.len()));
        Ok(())
    }

    /// Takes the authority's word about time; devices are told every hour of it, and whenever a channel comes up.
    ///
    /// # Errors
    /// [`Error::Link`] for a token that the authority did not sign.
    pub fn take_token(&mut self, now: Instant, token: &[u8; TOKEN_LEN]) -> Result<(), Error> {
        if self.said.follow.waits(None) {
            self.said.early.1 = Some(*token);
            return Ok(());
        }
        let time = TimeToken::open(token, &self.app.identity().authority.sign_pub())?.time;
        self.said.token = Some(*token);
        self.said.owed |= time >= self.said.told.saturating_add(TOKEN_PERIOD_S);
        self.tell_time(now)
    }

    /// The channel to the pack came up: it is told what it may have missed.
    pub(super) fn owe_time(&mut self, now: Instant) -> Result<(), Error> {
        self.said.owed = true;
        self.tell_time(now)
    }

    /// Gives the pack, and by it the modules, the authority's word about time where that is owed: over a channel, and not while one
    /// of them may follow within a moment.
    pub(super) fn tell_time(&mut self, now: Instant) -> Result<(), Error> {
        let follow = &self.said.follow;
        let waits = follow.waits(Some(Party::Pack)) || follow.is_young(now);
        let may = self.said.owed && self.app.relation().is_up() && !waits;
        if let Some(token) = self.said.token.filter(|_| may) {
            self.app.time_token(now, &token)?;
            (self.said.told, self.said.owed) = (TimeToken::claimed(&token)?.time, false);
        }
        Ok(())
    }

    /// When somebody is told, or not waited for any more.
    pub(super) fn word_due(&self) -> Option<Instant> {
        self.said.follow.due()
    }

    /// Tells whom it is due.
    pub(super) fn give_successions(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        while let Some((member, pdu)) = self.said.follow.poll(now) {
            let step = Step::Send(member, pdu.to_vec());
            self.go(now, step, rng)?;
        }
        let found = !matches!(self.phase, Phase::Searching { .. });
        if found && self.said.follow.is_done() && !std::mem::replace(&mut self.said.told_all, true) {
            self.event(Event::Follow(self.app.identity().authority.id()));
        }
        Ok(())
    }

    /// Takes an answer to it; everything else is somebody else's.
    pub(super) fn succession_answered(
        &mut self,
        now: Instant,
        from: Member,
        answer: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        match self.said.follow.answered(now, from, answer) {
            Answered::Nothing => return Ok(()),
            Answered::Obeys(id) => self.event(Event::Obeys(from, id)),
            Answered::Follows => {}
        }
        if !self.said.follow.waits(None) {
            let (list, token) = std::mem::take(&mut self.said.early);
            let list = list.map_or(Ok(()), |list| self.take_list(now, &list, rng));
            let token = token.map_or(Ok(()), |token| self.take_token(now, &token));
            // As what is not put off: it is said, and the run goes on with what the app has.
            for e in [list, token].into_iter().filter_map(Result::err) {
                self.event(Event::NotTaken(e.to_string()));
            }
        }
        self.tell_time(now)
    }

    /// What the authority signed is for those who obey it; who does not yet is told again soon, and follows first.
    pub(super) fn give(&mut self, now: Instant, step: Step, rng: &mut impl CryptoRng) -> Result<(), Error> {
        match step {
            Step::Send(to, _) if self.said.follow.waits(to) => {
                self.said.follow.hurry(now, to);
                Ok(())
            }
            step => self.go(now, step, rng),
        }
    }

    pub(super) fn dispatch_due(&self) -> Option<Instant> {
        let due = self.dispatch.due(|party| self.said.follow.waits(Some(party)));
        due.filter(|_| matches!(self.phase, Phase::Operating(_)))
    }

    /// Gives the revocation list to whom it is due.
    pub(super) fn give_list(&mut self, now: Instant) -> Result<(), Error> {
        let follow = &self.said.follow;
        if matches!(self.phase, Phase::Operating(_))
            && let Some((party, pdu)) = self.dispatch.poll(now, |party| follow.waits(Some(party)))
        {
            self.app.send(now, party, pdu)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::service::tests::{at, operating},
        world::{self, PACK},
    };
    use lct::{spk::SpkSecret, succession::Succession};
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn events(gateway: &mut Gateway, now: Instant, rng: &mut ChaCha20Rng) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(output) = gateway.poll(now, rng).unwrap() {
            if let Output::Event(event) = output {
                events.push(event);
            }
        }
        events
    }

    /// H232, H233: what the new authority signed waits for the app to follow, is taken then, and goes to nobody who does not.
    #[test]
    fn the_word_of_the_new_authority_waits_for_whoever_follows_it() {
        let mut rng = ChaCha20Rng::seed_from_u64(31);
        let (old, new) = (world::authority(), SpkSecret::generate(&mut rng).unwrap());
        let keys = [&old, &new].map(|key| (key.public(), key.signing_key()));
        let step = Succession::issue(5, (&keys[0].0, keys[0].1), (&keys[1].0, keys[1].1), &mut rng);
        let list = RevocationList {
            number: 7,
            this_update: 6,
            next_update: 9,
            previous: [3; 32],
            entries: Default::default(),
        };
        let list = list.issue(new.signing_key(), &mut rng).unwrap();
        let token = TimeToken { time: 6 }.issue(new.signing_key(), &mut rng);
        let mut gateway = operating();
        gateway.tick(at(0), &mut rng).unwrap();
        events(&mut gateway, at(0), &mut rng);
        assert!(gateway.take_list(at(0), &list, &mut rng).is_err(), "nobody was succeeded");

        gateway.take_successions(at(0), &[step]).unwrap();
        gateway.take_list(at(0), &list, &mut rng).unwrap();
        gateway.take_token(at(0), &token).unwrap();
        assert_eq!(gateway.app.revocation_number(), 0);
        gateway.tick(at(0), &mut rng).unwrap();
        let told = events(&mut gateway, at(0), &mut rng);
        assert_eq!(gateway.app.identity().authority, new.public());
        assert!(told.iter().any(|event| matches!(event, Event::Revocations(7, 0))), "{told:?}");
        assert_eq!((gateway.app.revocation_number(), gateway.said.token), (7, Some(token)));
        let done = |told: &[Event]| {
            told.iter().any(|event| matches!(event, Event::Follow(id) if *id == new.public().id()))
        };
        assert!(!done(&told), "the pack does not yet");

        // The list waits for the pack, and so does what is given in a ceremony; the succession does not.
        let sent = |gateway: &mut Gateway, now: Instant, rng: &mut ChaCha20Rng| {
            let mut sent = 0;
            while let Some(output) = gateway.poll(now, rng).unwrap() {
                sent += usize::from(matches!(output, Output::Transmit(_)));
            }
            sent
        };
        gateway.give(at(0), Step::Send(PACK, vec![pdu::BINDING, 9]), &mut rng).unwrap();
        assert_eq!(sent(&mut gateway, at(0), &mut rng), 0);
        let obeys = |key: &SpkSecret| [&[pdu::DELEGATION, 0x83][..], &key.public().id().0, &[0]].concat();
        gateway.succession_answered(at(1), PACK, &obeys(&new), &mut rng).unwrap();
        gateway.succession_answered(at(1), Some(Party::Module(1)), &obeys(&new), &mut rng).unwrap();
        for s in 2..4 {
            gateway.tick(at(s), &mut rng).unwrap();
            assert_eq!(done(&events(&mut gateway, at(s), &mut rng)), s == 2, "said once");
        }
        gateway.give(at(1), Step::Send(PACK, vec![pdu::BINDING, 9]), &mut rng).unwrap();
        assert_ne!(sent(&mut gateway, at(1), &mut rng), 0);
    }

    /// H232: a list that waited for the app to follow, and that it then does not take, as one restored from an older copy, is said, and
    /// ends nothing: the time is taken, and later lists are.
    #[test]
    fn what_the_app_does_not_take_once_it_follows_ends_nothing() {
        let mut rng = ChaCha20Rng::seed_from_u64(32);
        let (old, new) = (world::authority(), SpkSecret::generate(&mut rng).unwrap());
        let keys = [&old, &new].map(|key| (key.public(), key.signing_key()));
        let step = Succession::issue(5, (&keys[0].0, keys[0].1), (&keys[1].0, keys[1].1), &mut rng);
        let mut list = |number: u32, key: &SpkSecret| {
            let list = RevocationList {
                number,
                this_update: 6,
                next_update: 9,
                previous: [3; 32],
                entries: Default::default(),
            };
            list.issue(key.signing_key(), &mut rng).unwrap()
        };
        let [first, low, next] = [list(7, &old), list(5, &new), list(9, &new)];
        let token = TimeToken { time: 6 }.issue(new.signing_key(), &mut rng);
        let mut gateway = operating();
        gateway.take_list(at(0), &first, &mut rng).unwrap();
        gateway.take_successions(at(0), &[step]).unwrap();
        gateway.take_list(at(0), &low, &mut rng).unwrap();
        gateway.take_token(at(0), &token).unwrap();
        gateway.tick(at(0), &mut rng).unwrap();
        let told = events(&mut gateway, at(0), &mut rng);
        assert_eq!(gateway.app.identity().authority, new.public());
        assert!(told.iter().any(|event| matches!(event, Event::NotTaken(_))), "{told:?}");
        assert_eq!((gateway.app.revocation_number(), gateway.said.token), (7, Some(token)));
        gateway.take_list(at(2), &next, &mut rng).unwrap();
        assert_eq!(gateway.app.revocation_number(), 9);
    }

    /// H232: what is to be given to one that was silent for long has it told soon; without that it followed only when its own pause,
    /// by then an hour, was over, and every order for it failed until then.
    #[test]
    fn an_order_for_one_that_came_back_has_it_told() {
        let mut rng = ChaCha20Rng::seed_from_u64(33);
        let (old, new) = (world::authority(), SpkSecret::generate(&mut rng).unwrap());
        let keys = [&old, &new].map(|key| (key.public(), key.signing_key()));
        let step = Succession::issue(5, (&keys[0].0, keys[0].1), (&keys[1].0, keys[1].1), &mut rng);
        let mut gateway = operating();
        gateway.take_successions(at(0), &[step]).unwrap();
        for s in 0..5_000 {
            while gateway.said.follow.poll(at(s)).is_some() {}
        }
        assert!(gateway.word_due() > Some(at(5_100)));
        gateway.give(at(5_000), Step::Send(PACK, vec![pdu::BINDING, 9]), &mut rng).unwrap();
        assert!(gateway.word_due() < Some(at(5_002)));
    }
}
