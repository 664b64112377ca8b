//! The group key of a pack: its generations, and what a group frame may do (`spec/channel.md`, H27, H34;
//! `spec/can.md`, C109).

use crate::{
    identity::{Record, key, versioned_u32},
    message::{Message, ModuleAllDeregister, ModuleAllIsolate, ModuleMaxState, RelayState},
    policy::Effect,
    session::GroupSender,
    time::{Duration, Instant},
};
use kept::{Defence, kept};
use lct::{Error, id::Cid, policy::Rotation, schedule::GroupKey, secret::Secret};
use rand_core::CryptoRng;

/// Age at which a group key is replaced under the policy of the factory.
pub const LIFETIME: Duration = Duration::from_secs(Rotation::FACTORY.group_s as u64);
/// Shortest time between two replacements; a change of membership takes effect within it.
pub const SPACING: Duration = Duration::from_secs(1);
/// When a fresh key is given out once more, because the first giving may have been lost.
pub const REPEAT: Duration = Duration::from_millis(400);
/// Generations reserved in flash at a time.
const RESERVE: u32 = 256;

/// What a message to all modules asks for. None of it can add authority but a ceiling above the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// 0x517: the highest state that a module may take.
    Ceiling(RelayState),
    /// 0x51F: ceiling and state Off.
    Isolate,
    /// 0x51E: the registration ends.
    Deregister,
}

impl Reduction {
    /// Reads a message to all modules; `None` for another base or an unreadable body.
    pub fn read(base: u16, body: &[u8]) -> Option<Self> {
        match base {
            ModuleMaxState::BASE => ModuleMaxState::decode(body).ok().map(|m| Self::Ceiling(m.max)),
            ModuleAllIsolate::BASE => Some(Self::Isolate),
            ModuleAllDeregister::BASE => Some(Self::Deregister),
            _ => None,
        }
    }

    /// What it would change for a module with this ceiling. This is the one place that tells a reduction from a
    /// raise: a raise is never admitted from a group frame or in clear.
    pub fn effect(self, ceiling: RelayState) -> Effect {
        match self {
            Self::Ceiling(max) if max > ceiling && kept(Defence::GroupReduces) => Effect::Raise,
            Self::Ceiling(_) => Effect::Hold,
            Self::Isolate | Self::Deregister => Effect::Stop,
        }
    }
}

/// The sending side of a pack: the key in force and when the next one follows.
pub struct Group {
    pack: Cid,
    key: GroupKey,
    sender: GroupSender,
    generation: u32,
    /// First generation that is not reserved in flash.
    limit: u32,
    /// Age at which the key is replaced.
    lifetime: Duration,
    drawn: Instant,
    due: Option<Instant>,
    repeat: Option<Instant>,
}

impl Group {
    /// A fresh generation at the start of a pack, above every one before it; the record must be durable before the
    /// key is given out.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when generations are used up, [`Error::Malformed`] for a damaged record.
    pub fn start(
        pack: Cid,
        boot: u32,
        stored: Option<&[u8]>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Record), Error> {
        // A pack that never wrote the record numbered its generations with its starts.
        let first = stored.map_or(Ok(0), versioned_u32)?.max(boot);
        let limit = first.checked_add(RESERVE).ok_or(Error::Exhausted)?;
        let key = GroupKey(Secret::random(rng));
        let sender = GroupSender::new(&key.traffic(first, &pack)?, first)?;
        let group = Group {
            pack,
            key,
            sender,
            generation: first,
            limit,
            lifetime: LIFETIME,
            drawn: now,
            due: None,
            repeat: None,
        };
        Ok((group, reservation(limit)?))
    }

    /// The generation in force.
    pub fn generation(&self) -> u32 {
        self.generation
    }
    /// The key in force.
    pub fn key(&self) -> &GroupKey {
        &self.key
    }
    /// Seals with it.
    pub fn sender(&mut self) -> &mut GroupSender {
        &mut self.sender
    }

    /// Says at which age the key is replaced, from the policies in force.
    pub fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// Somebody left, or may have lost its window: the key is replaced within [`SPACING`].
    pub fn membership_changed(&mut self, now: Instant) {
        let due = now.max(self.drawn + SPACING);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When the key is replaced, or given out once more.
    pub fn due(&self) -> Instant {
        let regular = self.drawn + self.lifetime;
        [self.due, self.repeat].into_iter().flatten().fold(regular, Ord::min)
    }

    /// Replaces a key that is due.
    ///
    /// Returns what has to be stored before the new key is given out.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when generations are used up; the key in force stays.
    pub fn rotate(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<Option<Record>, Error> {
        self.due = None;
        // Tried once per period, also when nothing can be drawn any more.
        self.drawn = now;
        let next = self.generation.checked_add(1).ok_or(Error::Exhausted)?;
        let mut record = None;
        if next >= self.limit {
            let limit = self.limit.checked_add(RESERVE).ok_or(Error::Exhausted)?;
            record = Some(reservation(limit)?);
            self.limit = limit;
        }
        let key = GroupKey(Secret::random(rng));
        self.sender = GroupSender::new(&key.traffic(next, &self.pack)?, next)?;
        (self.key, self.generation) = (key, next);
        self.repeat = Some(now + REPEAT);
        Ok(record)
    }

    /// Whether the key has to be replaced now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now) || self.drawn + self.lifetime <= now
    }

    /// Whether the key in force is to be given out once more.
    pub fn take_repeat(&mut self, now: Instant) -> bool {
        self.repeat.take_if(|due| *due <= now).is_some()
    }
}

fn reservation(limit: u32) -> Result<Record, Error> {
    Record::new(key::GROUP, &[&[1], &limit.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
    use std::{collections::BTreeSet, vec::Vec};

    #[test]
    fn generations_never_return_whatever_is_restarted() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut flash: Option<Vec<u8>> = None;
        let mut seen = BTreeSet::new();
        let mut last = 0;
        for boot in 1..=6u32 {
            let now = Instant::START;
            let (mut group, record) =
                Group::start(Cid([7; 16]), boot, flash.as_deref(), now, &mut rng).unwrap();
            flash = Some(record.value.to_vec());
            for n in 0..300 {
                assert!(group.generation() > last || boot == 1 && n == 0, "boot {boot}");
                last = group.generation();
                assert!(seen.insert(last));
                if let Some(record) = group.rotate(now, &mut rng).unwrap() {
                    flash = Some(record.value.to_vec());
                }
                let reserved = versioned_u32(flash.as_deref().unwrap()).unwrap();
                assert!(group.generation() < reserved, "used before it was reserved");
            }
            last = group.generation();
            seen.insert(last);
        }
    }

    #[test]
    fn an_older_pack_continues_above_its_starts_and_the_last_generation_stays() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let cid = Cid([7; 16]);
        let (group, _) = Group::start(cid, 41, None, Instant::START, &mut rng).unwrap();
        assert_eq!(group.generation(), 41);
        let end = [&[1][..], &(u32::MAX - RESERVE).to_be_bytes()].concat();
        let (mut group, _) = Group::start(cid, 42, Some(&end), Instant::START, &mut rng).unwrap();
        for _ in 0..RESERVE - 1 {
            group.rotate(Instant::START, &mut rng).unwrap();
        }
        assert_eq!(group.generation(), u32::MAX - 1);
        assert!(group.rotate(Instant::START, &mut rng).is_err());
        assert_eq!(group.generation(), u32::MAX - 1, "the key in force stays");
    }

    #[test]
    fn a_leave_takes_effect_within_a_second_and_a_storm_of_them_once_a_second() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let (mut group, _) = Group::start(Cid([7; 16]), 1, None, Instant::START, &mut rng).unwrap();
        let mut rotations = 0;
        for ms in (0..10_000).step_by(10) {
            let now = Instant::from_millis(ms);
            group.membership_changed(now);
            assert!(group.due() <= now + SPACING);
            if group.is_due(now) {
                group.rotate(now, &mut rng).unwrap();
                rotations += 1;
            }
        }
        assert_eq!(rotations, 9);
        let last = Instant::from_millis(10_000);
        group.rotate(last, &mut rng).unwrap();
        let week = last + LIFETIME;
        assert!(!group.is_due(Instant::from_millis(week.as_millis() - 1)) && group.is_due(week));
    }

    #[test]
    fn only_a_higher_ceiling_raises() {
        use RelayState::{Off, On, Precharge, Standby};
        for ceiling in [Off, Standby, Precharge, On] {
            for max in [Off, Standby, Precharge, On] {
                let (body, len) = ModuleMaxState { max }.encode();
                let asked = Reduction::read(0x517, &body[..len]).unwrap();
                assert_eq!(asked.effect(ceiling) == Effect::Raise, max > ceiling, "{max:?} over {ceiling:?}");
            }
            assert_eq!(Reduction::Isolate.effect(ceiling), Effect::Stop);
            assert_eq!(Reduction::Deregister.effect(ceiling), Effect::Stop);
        }
        assert_eq!(Reduction::read(0x514, &[3, 0]), None);
        assert_eq!(Reduction::read(0x517, &[]), None);
    }
}
