//! Renewals while everything runs: policies that were ordered, and pairings that come to their end. One that fails stops
//! nothing; what was agreed before stands, and it is tried again as long as somebody says that it is due.

use super::*;
use crate::commission::{COMMISSIONED, Task};

/// First pause before the same two are renewed again; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// Pause before the authority is asked what could not be asked yet.
const POSTPONED: Duration = Duration::from_secs(1);
/// How long it may be put off: what waits behind it waits too.
const POSTPONED_MAX: Duration = Duration::from_secs(600);

/// Pause after statements that did not come about.
const OWED: Duration = Duration::from_secs(600);

/// What the authority is to be asked later.
pub(super) struct Postponed {
    due: Instant,
    since: Instant,
    /// Nothing while it is being asked.
    request: Option<Box<Request>>,
}

/// Pairs whose renewal did not come about: until when they are left alone, and how long that was.
pub(super) type Resting = BTreeMap<[Member; 2], (Instant, Duration)>;

impl Gateway {
    /// The authority did not do what the last [`Output::Ask`] asked for: in operation that is tried again later.
    ///
    /// # Errors
    /// [`Error::Authority`] before: without it commissioning cannot go on.
    pub fn unanswered(&mut self, now: Instant, reason: String) -> Result<(), Error> {
        self.postponed = None;
        match self.phase {
            Phase::Operating(_) => self.renewed_or_not(now, Err(Error::Authority(reason))),
            _ => Err(Error::Authority(reason)),
        }
    }

    /// What the last [`Output::Ask`] asks for cannot be asked yet, for this reason: it is asked again after a pause, and its
    /// task, with the orders that wait for it, stands as it is. After ten minutes that is as [`Gateway::unanswered`]. True
    /// for the first time.
    ///
    /// # Errors
    /// Those of [`Gateway::unanswered`].
    pub fn postpone(&mut self, now: Instant, request: Box<Request>, reason: &str) -> Result<bool, Error> {
        let since = self.postponed.as_ref().map(|p| p.since);
        if since.is_some_and(|since| now.saturating_since(since) >= POSTPONED_MAX) {
            return self.unanswered(now, format!("given up after ten minutes: {reason}")).map(|()| false);
        }
        let (due, request) = (now + POSTPONED, Some(request));
        self.postponed = Some(Postponed { due, since: since.unwrap_or(now), request });
        Ok(since.is_none())
    }

    pub(super) fn postponed_due(&self) -> Option<Instant> {
        self.postponed.as_ref().filter(|p| p.request.is_some()).map(|p| p.due)
    }

    pub(super) fn ask_postponed(&mut self, now: Instant) {
        let due = self.postponed.as_mut().filter(|p| p.due <= now);
        if let Some(request) = due.and_then(|p| p.request.take()) {
            self.outputs.push_back(Output::Ask(request));
        }
    }

    /// Bindings, with the ids of A and B, for which a policy was ordered or a new pairing is due: both entities sign and
    /// take the policy, and are paired anew. Before everybody is commissioned it changes nothing.
    pub fn renew<'a>(&mut self, now: Instant, wanted: impl IntoIterator<Item = (BindingId, [&'a str; 2])>) {
        let Phase::Operating(c) = &mut self.phase else { return };
        for (binding, ids) in wanted {
            let pair = c.pair_of(ids).filter(|p| self.resting.get(p).is_none_or(|(until, _)| *until <= now));
            if let Some(pair) = pair {
                c.renew(binding, pair);
            }
        }
    }

    /// A renewal that fails stops nothing: what was agreed before stands.
    pub(super) fn renewed_or_not(&mut self, now: Instant, done: Result<(), Error>) -> Result<(), Error> {
        if let (Err(e), Phase::Operating(c)) = (done, &mut self.phase)
            && let Some(task) = c.give_up()
        {
            let name = c.task_name(task);
            if let Task::Scope | Task::Answer(_) = task {
                self.owed = Some(self.owed.map_or(now + OWED, |due| due.min(now + OWED)));
            }
            if let Some(pair) = task.pair() {
                let before = self.resting.get(&pair).map(|(_, pause)| 2 * pause.as_millis());
                let pause = before.map_or(PAUSE, Duration::from_millis).min(PAUSE_MAX);
                self.resting.insert(pair, (now + pause, pause));
            }
            let service = &self.service;
            self.orders.given_up(&e.to_string(), |task| c.has(task) || service.has(task));
            if let Some(pair) = task.pair() {
                self.not_paired(pair, &e.to_string());
            }
            self.event(Event::NotRenewed(name, e.to_string()));
        }
        Ok(())
    }

    /// The app counts that a full handshake with the pack is due (H92).
    pub(super) fn handshake_due(&mut self) {
        self.event(Event::HandshakeDue);
        if let Phase::Operating(c) = &mut self.phase {
            c.pair_anew(None, Some(Party::Pack));
        }
    }

    /// Moves renewals on; true when there may be more to do at once.
    pub(super) fn advance_renewal(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<bool, Error> {
        let Phase::Operating(c) = &mut self.phase else { return Ok(false) };
        let done = match c.poll(now, &mut |bytes| rng.fill_bytes(bytes)) {
            Ok(None) => return Ok(false),
            Ok(Some(Step::Finished(task))) => {
                let name = c.task_name(task);
                if let (Task::Pair(..), Some(pair)) = (task, task.pair()) {
                    self.resting.remove(&pair);
                }
                if let Task::Bind(..) = task {
                    self.event(Event::Bound);
                }
                self.orders.done(&name, "");
                self.event(Event::Renewed(name));
                Ok(())
            }
            Ok(Some(step)) => self.give(now, step, rng),
            Err(e) => Err(e),
        };
        self.renewed_or_not(now, done)?;
        Ok(true)
    }

    /// When what app and pack are to have stated is asked for: with a channel to this pack, and not before what was asked earlier,
    /// when the ledger said something else, has ended.
    pub(super) fn owed_due(&self) -> Option<Instant> {
        let relation = self.app.relation();
        let pack = self.cids.get(&Party::Pack).map(|cid| (*cid, Role::Pack));
        let free = matches!(&self.phase, Phase::Operating(c) if !c.is_stating());
        self.owed.filter(|_| self.is_operating() && free && relation.peer() == pack)
    }

    pub(super) fn state_owed(&mut self, now: Instant) {
        if self.owed_due().is_some_and(|due| due <= now)
            && let Phase::Operating(c) = &mut self.phase
        {
            self.owed = None;
            c.state_anew();
        }
    }

    /// Everybody is commissioned.
    pub(super) fn operate(&mut self) {
        let searching =
            Phase::Searching { due: Instant::START, seen: BTreeMap::new(), expected: 0, asked: Vec::new() };
        self.phase = match std::mem::replace(&mut self.phase, searching) {
            Phase::Commissioning(c) => Phase::Operating(c),
            other => other,
        };
        if self.done.iter().any(|task| task == COMMISSIONED) {
            self.owed = Some(Instant::START);
        } else {
            self.done.push(COMMISSIONED.into());
            self.event(Event::TaskDone(COMMISSIONED.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::gateway;

    #[test]
    fn what_is_put_off_is_asked_again_and_not_for_ever() {
        let mut gateway = gateway();
        let request = || Box::new(Request::Policy { id: BindingId([1; 16]) });
        let mut now = Instant::START;
        assert!(gateway.postpone(now, request(), "the owner").unwrap());
        let mut asked = 0;
        let ended = loop {
            now = gateway.postponed_due().unwrap();
            gateway.ask_postponed(now);
            assert_eq!(gateway.postponed_due(), None, "asked once");
            asked += 1;
            match gateway.postpone(now, request(), "the owner") {
                Ok(first) => assert!(!first),
                Err(e) => break e,
            }
        };
        let why = "given up after ten minutes: the owner";
        assert!(matches!(&ended, Error::Authority(e) if e == why), "{ended}");
        assert_eq!(asked, 600);
        assert!(gateway.postpone(now, request(), "another").unwrap(), "that was of the other one");
    }
}
