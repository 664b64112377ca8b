//! Tells everybody who the authority is by now, until each obeys it (`spec/channel.md`, H232, H235).
//!
//! Answers come in clear: a false one costs a message, or the repeating of it until the next start, as that of a list does.

use crate::commission::Member;
use lct::{
    codec::Fields,
    id::SpkId,
    succession::{SUCCESSION_LEN, Succession},
};
use pack::{
    pdu::{self, Status, delegation as op},
    time::{Duration, Instant},
};
use std::collections::BTreeMap;

/// First pause before somebody is told again; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// A device verifies one succession a second.
const STEP: Duration = Duration::from_millis(1_100);
/// For how long whoever was never told is waited for, with what the authority signed for others too.
const PATIENCE: Duration = Duration::from_secs(5);

/// One succession.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    old: SpkId,
    new: SpkId,
    pdu: Vec<u8>,
}

/// Who was told, and who obeys.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    line: Vec<Step>,
    waiting: BTreeMap<Member, Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Which succession it is told.
    step: usize,
    /// When it was told last.
    told: Option<Instant>,
    due: Instant,
    pause: Duration,
    since: Instant,
    /// It said where it stands.
    corrected: bool,
    /// It said that it cannot take this one now.
    refused: bool,
    /// It said that it obeys this one, who is not of this line.
    strange: Option<SpkId>,
}

impl Waiting {
    /// When it may be told again: whoever forges answers in clear is not to be worth more messages than a device that verifies.
    fn earliest(&self, now: Instant) -> Instant {
        self.told.map_or(now, |told| now.max(told + STEP))
    }
}

/// What an answer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Nothing new.
    Nothing,
    /// It obeys the authority.
    Follows,
    /// It obeys this one, whom nobody of the line followed; said once.
    Obeys(SpkId),
}

impl Follow {
    /// Begins to tell `members` of a line of successions, the oldest first; the same line again changes nothing, and is `false`.
    ///
    /// # Errors
    /// [`lct::Error::Malformed`], [`lct::Error::InvalidKey`].
    pub fn begin(
        &mut self,
        now: Instant,
        line: &[[u8; SUCCESSION_LEN]],
        members: impl IntoIterator<Item = Member>,
    ) -> Result<bool, lct::Error> {
        let line = line.iter().map(Step::read).collect::<Result<Vec<_>, _>>()?;
        let other = line != self.line;
        if other {
            self.line = line;
            self.waiting.clear();
            members.into_iter().for_each(|member| self.join(now, member));
        }
        Ok(other)
    }

    /// Tells `member` too.
    pub fn join(&mut self, now: Instant, member: Member) {
        // Whoever obeys the one before the last is the most, and whoever does not says whom it obeys.
        if let Some(step) = self.line.len().checked_sub(1) {
            let waiting = Waiting {
                step,
                told: None,
                due: now,
                pause: PAUSE,
                since: now,
                corrected: false,
                refused: false,
                strange: None,
            };
            self.waiting.insert(member, waiting);
        }
    }

    /// Something of a ceremony waits for `member` to follow: it is told soon, however long it was silent.
    pub fn hurry(&mut self, now: Instant, member: Member) {
        if let Some(waiting) = self.waiting.get_mut(&member) {
            waiting.due = waiting.due.min(now + STEP);
        }
    }

    /// Whether `member` is not known to obey the authority.
    pub fn waits(&self, member: Member) -> bool {
        self.waiting.contains_key(&member)
    }

    /// Whom `member` said that it obeys, who is nobody of this line.
    pub fn stranger(&self, member: Member) -> Option<SpkId> {
        self.waiting.get(&member).and_then(|waiting| waiting.strange)
    }

    /// Whether everybody obeys it.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether somebody may follow within a moment.
    pub fn is_young(&self, now: Instant) -> bool {
        self.waiting.values().any(|w| w.strange.is_none() && now < w.since + PATIENCE)
    }

    /// When [`Follow::poll`] has something.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|w| w.due).min()
    }

    /// Who is to be told now, and what.
    pub fn poll(&mut self, now: Instant) -> Option<(Member, &[u8])> {
        let (member, waiting) = self.waiting.iter_mut().find(|(_, w)| w.due <= now)?;
        (waiting.told, waiting.due) = (Some(now), now + waiting.pause);
        waiting.pause = Duration::from_millis(2 * waiting.pause.as_millis()).min(PAUSE_MAX);
        self.line.get(waiting.step).map(|step| (*member, step.pdu.as_slice()))
    }

    /// Takes `1C 83 | whom it obeys from now on 8 | status`; anything else is not for here.
    pub fn answered(&mut self, now: Instant, member: Member, answer: &[u8]) -> Answered {
        let Some((obeys, status)) = read(answer) else { return Answered::Nothing };
        let Some(waiting) = self.waiting.get_mut(&member) else { return Answered::Nothing };
        if self.line.last().is_some_and(|last| last.new == obeys) {
            self.waiting.remove(&member);
            return Answered::Follows;
        }
        // Of one that came back, the last that it named: what it named before, devices do not take any more.
        let Some(step) = self.line.iter().rposition(|step| step.old == obeys) else {
            return match waiting.strange.replace(obeys) {
                None => Answered::Obeys(obeys),
                Some(_) => Answered::Nothing,
            };
        };
        if waiting.step != step {
            // What belonged to another authority cost it nothing to refuse; but only its first word is believed at once.
            let at_once = status == Status::WrongParty && !std::mem::replace(&mut waiting.corrected, true);
            let verified = if status == Status::WrongParty { now } else { now + STEP };
            waiting.due = if at_once { now } else { waiting.earliest(now).max(verified) };
            (waiting.step, waiting.pause, waiting.refused) = (step, STEP, false);
        } else if status == Status::WrongState && !std::mem::replace(&mut waiting.refused, true) {
            // It verified another one just now, or does not take this one at all: soon once, then ever more slowly.
            (waiting.due, waiting.pause) = (now + STEP, STEP);
        }
        Answered::Nothing
    }
}

impl Step {
    fn read(bytes: &[u8; SUCCESSION_LEN]) -> Result<Self, lct::Error> {
        let read = Succession::claimed(bytes)?;
        let pdu = [&[pdu::DELEGATION, op::SUCCEED], bytes.as_slice()].concat();
        Ok(Step { old: read.old, new: read.new.id(), pdu })
    }
}

fn read(answer: &[u8]) -> Option<(SpkId, Status)> {
    let mut f = Fields::new(answer);
    let head = [f.u8().ok()?, f.u8().ok()?];
    let read = (SpkId(f.array().ok()?), Status::from_code(f.u8().ok()?));
    (head == [pdu::DELEGATION, op::SUCCEEDED] && f.end().is_ok()).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{APP, MODULE, PACK};
    use lct::spk::SpkSecret;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    struct Chain([SpkSecret; 4], ChaCha20Rng);

    impl Chain {
        fn new() -> Self {
            let mut rng = ChaCha20Rng::seed_from_u64(4);
            Chain(core::array::from_fn(|_| SpkSecret::generate(&mut rng).unwrap()), rng)
        }

        fn id(&self, n: usize) -> SpkId {
            self.0[n].public().id()
        }

        /// The succession from `n` to the next.
        fn step(&mut self, n: usize) -> [u8; SUCCESSION_LEN] {
            self.between(n, n + 1)
        }

        fn between(&mut self, old: usize, new: usize) -> [u8; SUCCESSION_LEN] {
            let (old, new) = (&self.0[old], &self.0[new]);
            let (old, new) = ((old.public(), old.signing_key()), (new.public(), new.signing_key()));
            Succession::issue(1, (&old.0, old.1), (&new.0, new.1), &mut self.1)
        }

        fn answer(&self, n: usize, status: Status) -> Vec<u8> {
            [&[pdu::DELEGATION, op::SUCCEEDED][..], &self.id(n).0, &[status as u8]].concat()
        }
    }

    /// Who is told what at `now`, by the number of the succession.
    fn told(follow: &mut Follow, now: Instant) -> Vec<(Member, usize)> {
        let mut all = Vec::new();
        while let Some((member, pdu)) = follow.poll(now).map(|(member, pdu)| (member, pdu.to_vec())) {
            let step = follow.line.iter().position(|step| step.pdu == pdu).unwrap();
            assert_eq!(
                (pdu[..2].to_vec(), pdu.len()),
                (vec![pdu::DELEGATION, op::SUCCEED], 2 + SUCCESSION_LEN)
            );
            all.push((member, step));
        }
        all
    }

    /// H232: the last one first, then from where the device says that it stands, in order and no faster than it verifies; and
    /// again and again who is silent.
    #[test]
    fn everybody_is_led_from_where_it_stands() {
        let mut chain = Chain::new();
        let line = [chain.step(0), chain.step(1)];
        let mut follow = Follow::default();
        follow.join(at(0), MODULE);
        assert_eq!((told(&mut follow, at(0)), follow.waits(MODULE)), (vec![], false), "nobody was succeeded");
        follow.begin(at(0), &line, [APP, PACK, MODULE]).unwrap();
        assert_eq!(told(&mut follow, at(0)), [(APP, 1), (PACK, 1), (MODULE, 1)]);
        // The app has followed before, the pack missed one, and nothing else is an answer.
        assert_eq!(follow.answered(at(10), APP, &chain.answer(2, Status::Accepted)), Answered::Follows);
        let other = [&[pdu::DELEGATION, op::TAKEN][..], &chain.id(2).0, &[0]].concat();
        assert_eq!(follow.answered(at(10), PACK, &other), Answered::Nothing);
        assert_eq!(
            follow.answered(at(10), PACK, &chain.answer(2, Status::Accepted)[..10]),
            Answered::Nothing
        );
        assert_eq!(follow.answered(at(10), PACK, &chain.answer(0, Status::WrongParty)), Answered::Nothing);
        assert_eq!(told(&mut follow, at(10)), [(PACK, 0)]);
        assert_eq!(follow.answered(at(20), PACK, &chain.answer(1, Status::Accepted)), Answered::Nothing);
        assert!(follow.waits(PACK) && !follow.waits(APP));
        assert_eq!(told(&mut follow, at(1_119)), [(MODULE, 1)], "not before the device verifies again");
        assert_eq!(told(&mut follow, at(1_120)), [(PACK, 1)]);
        assert_eq!(follow.answered(at(1_130), PACK, &chain.answer(2, Status::Accepted)), Answered::Follows);
        assert!(follow.is_young(at(4_999)) && !follow.is_young(at(5_000)), "the module is not waited for");
        let mut times = 0;
        for s in 2..100_000 {
            times += told(&mut follow, at(s * 1_000)).len();
        }
        assert!((15..60).contains(&times), "{times}");
        // The same line again, and a longer one.
        follow.begin(at(0), &line, [APP, PACK, MODULE]).unwrap();
        assert!(!follow.waits(PACK));
        let line = [line[0], line[1], chain.step(2)];
        follow.begin(at(0), &line, [APP, PACK]).unwrap();
        assert_eq!(told(&mut follow, at(0)), [(APP, 2), (PACK, 2)]);
    }

    /// H235: who obeys somebody else is said once, holds nobody up, and is told on; one that refuses for now is asked again soon.
    #[test]
    fn a_stranger_is_told_from_one_that_is_slow() {
        let mut chain = Chain::new();
        let line = [chain.step(0)];
        let mut follow = Follow::default();
        follow.begin(at(0), &line, [PACK, MODULE]).unwrap();
        told(&mut follow, at(0));
        let strange = chain.answer(3, Status::WrongParty);
        assert_eq!(follow.answered(at(1), PACK, &strange), Answered::Obeys(chain.id(3)));
        assert_eq!(follow.answered(at(2), PACK, &strange), Answered::Nothing);
        for at_ms in [500, 1_500, 3_500] {
            told(&mut follow, at(at_ms));
        }
        assert_eq!(
            follow.answered(at(3_600), MODULE, &chain.answer(0, Status::WrongState)),
            Answered::Nothing
        );
        assert_eq!(told(&mut follow, at(4_700)), [(MODULE, 0)], "not after four seconds more");
        assert_eq!(follow.answered(at(4_800), MODULE, &chain.answer(1, Status::Accepted)), Answered::Follows);
        assert!(!follow.is_young(at(4_800)) && follow.waits(PACK));
    }

    /// H232: where A named B, B named A, and A named C, who obeys A is told the last one; the first one it does not take any more, and
    /// would be led in a circle by it.
    #[test]
    fn who_came_back_is_followed_to_whom_it_named_last() {
        let mut chain = Chain::new();
        let line = [chain.between(0, 1), chain.between(1, 0), chain.between(0, 2)];
        let mut follow = Follow::default();
        follow.begin(at(0), &line, [PACK, MODULE]).unwrap();
        assert_eq!(told(&mut follow, at(0)), [(PACK, 2), (MODULE, 2)]);
        follow.answered(at(1), PACK, &chain.answer(1, Status::WrongParty));
        assert_eq!(told(&mut follow, at(1)), [(PACK, 1)]);
        follow.answered(at(2), PACK, &chain.answer(0, Status::Accepted));
        assert_eq!(told(&mut follow, at(1_102)), [(PACK, 2), (MODULE, 2)]);
        assert_eq!(follow.answered(at(1_103), PACK, &chain.answer(2, Status::Accepted)), Answered::Follows);
        // One that takes it never is asked ever more slowly, and not each second.
        let mut times = 0;
        for ms in (1_200..600_000).step_by(100) {
            if !told(&mut follow, at(ms)).is_empty() {
                times += 1;
                follow.answered(at(ms + 1), MODULE, &chain.answer(0, Status::WrongState));
            }
        }
        assert!((5..15).contains(&times), "{times}");
    }

    /// H232: whoever forges short answers draws no more long messages than one in 1.1 s, but for the first correction.
    #[test]
    fn false_answers_draw_no_more_messages_than_true_ones() {
        let mut chain = Chain::new();
        let line = [chain.step(0), chain.step(1), chain.step(2)];
        let mut follow = Follow::default();
        follow.begin(at(0), &line, [PACK]).unwrap();
        let mut times = Vec::new();
        for ms in 0..11_000 {
            times.extend(told(&mut follow, at(ms)).iter().map(|_| ms));
            follow.answered(at(ms), PACK, &chain.answer(ms as usize % 2, Status::WrongParty));
        }
        assert!((5..=12).contains(&times.len()), "{times:?}");
        assert!(times[1..].windows(2).all(|w| w[1] - w[0] >= STEP.as_millis()), "{times:?}");
    }

    /// H232: one that was silent for long is told soon when something waits for it, and no faster than it verifies.
    #[test]
    fn who_is_needed_is_told_soon() {
        let mut chain = Chain::new();
        let mut follow = Follow::default();
        follow.begin(at(0), &[chain.step(0)], [PACK]).unwrap();
        for s in 0..10_000 {
            told(&mut follow, at(s * 1_000));
        }
        let now = 10_000_000;
        assert!(follow.due().unwrap() > at(now + 60_000));
        follow.hurry(at(now), PACK);
        follow.hurry(at(now + 500), PACK);
        follow.hurry(at(now), MODULE);
        assert_eq!((told(&mut follow, at(now + 1_099)), follow.waits(MODULE)), (vec![], false));
        assert_eq!(told(&mut follow, at(now + 1_100)), [(PACK, 0)]);
    }
}
