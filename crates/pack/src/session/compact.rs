//! The compact profiles on the wire: routine status in one or two frames (`spec/channel.md`, H97 and H98).
//!
//! Off unless the pairing certificate lists a base. A compact message has no header byte, so the certificate names
//! exactly one base of a family, and the receiver restores that one. Only what side B reports may be compact.

use super::*;
use crate::{
    can::Bus,
    policy::{self, A_TO_B_ONLY, DeviceState, MAY_STAY_CLEAR, MinLevel},
};

/// Length of a C1 message: one frame with 4 bytes of data and a tag of 24 bits.
pub const C1_LEN: usize = 8;
/// Length of a C2 message: two frames with 8 bytes of data and a tag of 48 bits.
pub const C2_LEN: usize = 16;

/// Counts what did not verify in an epoch, and remembers that the profile is off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guard {
    failures: u32,
    span: Span,
    off: bool,
}

/// Whether a certificate may list `base`: status and telemetry of side B, never commands, requests, parameters,
/// log transfer, keys or time.
pub fn is_routine(base: u16) -> bool {
    let bus = if base < 0x500 { Bus::Can1 } else { Bus::Can2 };
    let telemetry = policy::entry(bus, base).is_some_and(|row| {
        row.flags & (MAY_STAY_CLEAR | A_TO_B_ONLY) == MAY_STAY_CLEAR
            && row.min(DeviceState::Paired) == MinLevel::Exch
    });
    telemetry && !matches!(base, 0x441 | 0x520..=0x523)
}

/// Whether a certificate's list can be obeyed: routine bases only, one of a family.
pub fn is_acceptable(bases: &[u16]) -> bool {
    let family = |base: &u16| base & 0x7FC;
    bases
        .iter()
        .enumerate()
        .all(|(i, base)| is_routine(*base) && !bases[..i].iter().any(|other| family(other) == family(base)))
}

impl Session {
    /// Allows the compact profiles for `bases`, which [`is_acceptable`] has accepted.
    pub fn allow_compact(&mut self, bases: &[u16]) -> Result<(), Error> {
        self.bases = heapless::Vec::from_slice(bases).map_err(|_| Error::BufferTooSmall)?;
        if self.kind == Kind::Pair && !self.bases.is_empty() {
            let (number, tag) = (self.current.number, self.exchange.as_ref());
            let secret =
                self.current.master.traffic(Tier::Exch, Direction::Ba, number, &self.channel, tag)?;
            self.current.compact = Some(Compact::new(&secret)?);
        }
        Ok(())
    }

    /// The bases that may travel compact.
    pub fn compact_bases(&self) -> &[u16] {
        &self.bases
    }

    /// Seals `body` of 4 or 8 bytes as compact message `base`; returns the length, 8 or 16.
    ///
    /// [`Error::WrongParty`] when the certificate does not list the base or this is side A.
    pub fn seal_compact(
        &mut self,
        id: SealedId,
        base: u16,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        if self.sends != Direction::Ba || id.level() != Level::Exch || !self.bases.contains(&base) {
            return Err(Error::WrongParty);
        }
        let epoch = self.sending_mut();
        let binding = binding(id, epoch.number);
        let way = epoch.ways.iter_mut().find(|w| w.tier == Tier::Exch).ok_or(Error::InvalidKey)?;
        let keys = epoch.compact.as_ref().ok_or(Error::InvalidKey)?;
        let wrong = |_| Error::BufferTooSmall;
        match body.len() {
            4 => {
                let text = body.try_into().map_err(wrong)?;
                let out = out.first_chunk_mut().ok_or(Error::BufferTooSmall)?;
                *out = keys.seal1(&binding, way.sealer.spend(4)?, text);
                Ok(C1_LEN)
            }
            8 => {
                let text = body.try_into().map_err(wrong)?;
                let out = out.get_mut(..C2_LEN).ok_or(Error::BufferTooSmall)?;
                let [first, second] = keys.seal2(&binding, way.sealer.spend(8)?, text);
                out[..8].copy_from_slice(&first);
                out[8..].copy_from_slice(&second);
                Ok(C2_LEN)
            }
            _ => Err(Error::BufferTooSmall),
        }
    }

    /// Opens a message of 8 or 16 bytes at level exch. Only the current epoch is tried: a tag this short proves
    /// no epoch.
    pub(super) fn open_compact<'a>(
        &mut self,
        now: Instant,
        limits: &Limits,
        id: SealedId,
        sealed: &'a mut [u8],
    ) -> Result<Opened<'a>, Refusal> {
        let base = self.bases.iter().copied().find(|b| b & 0x7FC == id.family());
        let base = base.filter(|_| id.direction() == Direction::Ba && self.sends == Direction::Ab);
        let (Some(base), false) = (base, self.guard.off && kept(Defence::CompactGuard)) else {
            return Err(Refusal::Policy);
        };
        let binding = binding(id, self.current.number);
        let way = self.current.ways.iter_mut().find(|w| w.tier == Tier::Exch).ok_or(Refusal::UnknownKey)?;
        let keys = self.current.compact.as_ref().ok_or(Refusal::UnknownKey)?;
        let last = way.window.last();
        let opened = match sealed.len() {
            C1_LEN => {
                let mut frame = [0; C1_LEN];
                frame.copy_from_slice(sealed);
                keys.open1(&binding, last, &frame).map(|(counter, text)| {
                    sealed[..4].copy_from_slice(&text);
                    (counter, 4)
                })
            }
            _ => {
                let (mut first, mut second) = ([0; 8], [0; 8]);
                first.copy_from_slice(&sealed[..8]);
                second.copy_from_slice(&sealed[8..16]);
                keys.open2(&binding, last, &[first, second]).map(|(counter, text)| {
                    sealed[..8].copy_from_slice(&text);
                    (counter, 8)
                })
            }
        };
        match opened {
            Ok((counter, n)) if way.window.admits(counter) => {
                way.window.accept(counter);
                way.opened = way.opened.saturating_add(lct::seal::blocks(n));
                Ok(Opened { base, tier: Tier::Exch, signed: false, body: &sealed[..n] })
            }
            _ => {
                let guard = &mut self.guard;
                guard.failures = guard.failures.saturating_add(1);
                let slow = guard.failures >= limits.compact_epoch_failures;
                if guard.span.count(now, limits.failure_span) >= limits.compact_failures || slow {
                    guard.off = true;
                    self.alarm = Some(Alarm::Compact);
                }
                Err(Refusal::NotAuthentic)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use rand_chacha::{
        ChaCha20Rng,
        rand_core::{Rng, SeedableRng},
    };

    const BASES: [u16; 2] = [0x502, 0x506];

    /// Side A and side B of one channel.
    fn ends() -> [Session; 2] {
        let done = Established { master: MasterSecret(Secret::new([5; 32])), th4: [6; 32], comparison: 0 };
        [Direction::Ab, Direction::Ba].map(|way| {
            let xk = Secret::new([7; 32]);
            let mut s = Session::established(Kind::Pair, &done, Some(&xk), way).unwrap();
            s.allow_compact(&BASES).unwrap();
            for tier in [Tier::Exch, Tier::Pair] {
                let due = s.due(tier, 0).unwrap();
                s.reserved(&due);
            }
            s
        })
    }

    fn id(base: u16) -> SealedId {
        SealedId::new(base, Level::Exch, Direction::Ba, 5).unwrap()
    }

    fn sealed(b: &mut Session, base: u16, body: &[u8]) -> std::vec::Vec<u8> {
        let mut out = [0; 16];
        let n = b.seal_compact(id(base), base, body, &mut out).unwrap();
        out[..n].to_vec()
    }

    fn open(a: &mut Session, now: Instant, base: u16, bytes: &[u8]) -> Result<std::vec::Vec<u8>, Refusal> {
        let mut bytes = bytes.to_vec();
        a.open(now, &Limits::DEFAULT, id(base), &mut bytes).map(|o| {
            assert_eq!((o.base, o.tier, o.signed), (base, Tier::Exch, false));
            o.body.to_vec()
        })
    }

    #[test]
    fn both_profiles_carry_their_body_once() {
        let [mut a, mut b] = ends();
        let now = Instant::START;
        for body in [&[1, 2, 3, 4][..], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            let message = sealed(&mut b, 0x502, body);
            assert_eq!(message.len(), 2 * body.len());
            assert_eq!(open(&mut a, now, 0x506, &message), Err(Refusal::NotAuthentic), "another base");
            assert_eq!(open(&mut a, now, 0x502, &message).unwrap(), body);
            assert_eq!(open(&mut a, now, 0x502, &message), Err(Refusal::NotAuthentic), "repeated");
        }
        let wide = sealed(&mut b, 0x502, &[9; 8]);
        for half in [&wide[..8], &wide[8..]] {
            assert_eq!(open(&mut a, now, 0x502, half), Err(Refusal::NotAuthentic), "C2 as C1");
        }
        assert_eq!(a.open(now, &Limits::DEFAULT, id(0x512), &mut [0; 8]), Err(Refusal::Policy), "not listed");
    }

    /// What side A sends, other levels and other lengths are never compact.
    #[test]
    fn only_side_b_speaks_compact_and_only_what_is_listed() {
        let [mut a, mut b] = ends();
        let mut out = [0; 16];
        let down = SealedId::new(0x502, Level::Exch, Direction::Ab, 5).unwrap();
        assert_eq!(a.seal_compact(down, 0x502, &[0; 8], &mut out), Err(Error::WrongParty));
        assert_eq!(b.seal_compact(id(0x504), 0x504, &[0; 8], &mut out), Err(Error::WrongParty));
        let pair = SealedId::new(0x502, Level::Pair, Direction::Ba, 5).unwrap();
        assert_eq!(b.seal_compact(pair, 0x502, &[0; 8], &mut out), Err(Error::WrongParty));
        assert_eq!(b.seal_compact(id(0x502), 0x502, &[0; 5], &mut out), Err(Error::BufferTooSmall));
        let now = Instant::START;
        assert_eq!(b.open(now, &Limits::DEFAULT, down, &mut [0; 8]), Err(Refusal::Policy));
        assert_eq!(a.open(now, &Limits::DEFAULT, pair, &mut [0; 16]), Err(Refusal::Malformed));
    }

    /// A message is opened by the side that it is for, not by the one that sealed it.
    #[test]
    fn an_own_message_that_comes_back_is_not_opened() {
        let [_, mut b] = ends();
        let message = sealed(&mut b, 0x502, &[1; 4]);
        assert_eq!(open(&mut b, Instant::START, 0x502, &message), Err(Refusal::Policy));
    }

    /// Keys of the profile exist where it may be used.
    #[test]
    fn only_a_pairing_that_lists_bases_has_compact_keys() {
        for (kind, bases, keys) in
            [(Kind::Pair, &BASES[..], true), (Kind::Pair, &[], false), (Kind::Dev, &BASES, false)]
        {
            let done =
                Established { master: MasterSecret(Secret::new([5; 32])), th4: [6; 32], comparison: 0 };
            let mut s =
                Session::established(kind, &done, Some(&Secret::new([7; 32])), Direction::Ba).unwrap();
            s.allow_compact(bases).unwrap();
            assert_eq!(s.current.compact.is_some(), keys, "{kind:?} {bases:?}");
        }
    }

    /// The last counter of all is refused like a replay: no window could remember it.
    #[test]
    fn the_end_of_counting_is_refused() {
        let [mut a, b] = ends();
        let last = u64::MAX;
        let way = &mut a.current.ways[0];
        assert_eq!(way.tier, Tier::Exch);
        way.window.accept(last - 1);
        let keys = b.current.compact.as_ref().unwrap();
        let message = keys.seal1(&binding(id(0x502), 0), last, [1; 4]);
        assert_eq!(open(&mut a, Instant::START, 0x502, &message), Err(Refusal::NotAuthentic));
    }

    /// The low bits name the smallest counter above the last one: a gap of 255 is bridged, one of 256 is not, and a
    /// message with a whole counter mends it.
    #[test]
    fn the_counter_follows_over_gaps_and_wraps() {
        let [mut a, mut b] = ends();
        let now = Instant::START;
        let lose = |b: &mut Session, n: u32| (0..n).for_each(|_| drop(sealed(b, 0x502, &[0; 4])));
        for gap in [255, 0, 1, 254, 255] {
            lose(&mut b, gap);
            let message = sealed(&mut b, 0x502, &[1; 4]);
            assert!(open(&mut a, now, 0x502, &message).is_ok(), "after {gap} lost");
        }
        lose(&mut b, 256);
        let message = sealed(&mut b, 0x502, &[1; 4]);
        assert_eq!(open(&mut a, now, 0x502, &message), Err(Refusal::NotAuthentic));
        let wide = sealed(&mut b, 0x502, &[1; 8]);
        assert!(open(&mut a, now, 0x502, &wide).is_ok(), "16 bits reach further");
        lose(&mut b, 300);
        let mut whole = [0; 40];
        let n = b.seal(id(0x502), 0x502, 0, &[&[7; 8]], &mut whole).unwrap();
        assert!(a.open(now, &Limits::DEFAULT, id(0x502), &mut whole[..n]).is_ok());
        let message = sealed(&mut b, 0x502, &[1; 4]);
        assert!(open(&mut a, now, 0x502, &message).is_ok(), "the whole counter mended it");
    }

    /// Attack 24: a million random tags are all refused; after the eighth nothing compact is looked at any more.
    #[test]
    fn a_million_guesses() {
        let [mut a, mut b] = ends();
        let mut rng = ChaCha20Rng::seed_from_u64(24);
        let mut accepted = 0;
        for n in 0..1_000_000u32 {
            let mut guess = [0; 8];
            rng.fill_bytes(&mut guess);
            match a.open(Instant::START, &Limits::DEFAULT, id(0x502), &mut guess) {
                Ok(_) => accepted += 1,
                Err(e) => assert_eq!(e, if n < 8 { Refusal::NotAuthentic } else { Refusal::Policy }),
            }
        }
        assert_eq!((accepted, a.take_alarm()), (0, Some(Alarm::Compact)));
        let message = sealed(&mut b, 0x502, &[1; 4]);
        assert_eq!(open(&mut a, Instant::START, 0x502, &message), Err(Refusal::Policy));
        // The next epoch begins with the profile on.
        for s in [&mut a, &mut b] {
            s.renew(1, MasterSecret(Secret::new([9; 32])), None).unwrap();
        }
        let due = b.due(Tier::Exch, 0).unwrap();
        b.reserved(&due);
        let message = sealed(&mut b, 0x502, &[1; 4]);
        assert!(open(&mut a, Instant::START, 0x502, &message).is_ok());
    }

    /// One guess every two seconds stays under the first threshold: the second one ends it, and until then the
    /// honest sender is heard.
    #[test]
    fn a_slow_drip_ends_after_64() {
        let [mut a, mut b] = ends();
        let mut now = Instant::START;
        for n in 0..64 {
            let message = sealed(&mut b, 0x502, &[n; 4]);
            assert!(open(&mut a, now, 0x502, &message).is_ok(), "before guess {n}");
            assert_eq!(a.take_alarm(), None);
            assert!(open(&mut a, now, 0x502, &[0xA5; 8]).is_err());
            now = now + Duration::from_secs(2);
        }
        assert_eq!(a.take_alarm(), Some(Alarm::Compact));
        let message = sealed(&mut b, 0x502, &[0; 4]);
        assert_eq!(open(&mut a, now, 0x502, &message), Err(Refusal::Policy));
    }

    /// A tag this short moves no epoch.
    #[test]
    fn a_compact_message_proves_no_epoch() {
        let [mut a, mut b] = ends();
        for (s, ahead) in [(&mut a, true), (&mut b, false)] {
            s.agree(MasterSecret(Secret::new([9; 32])), ahead).unwrap();
        }
        b.enter(None);
        let due = b.due(Tier::Exch, 0).unwrap();
        b.reserved(&due);
        let message = sealed(&mut b, 0x502, &[1; 4]);
        assert_eq!(open(&mut a, Instant::START, 0x502, &message), Err(Refusal::NotAuthentic));
        assert!(!a.take_moved() && a.next.is_some());
    }

    #[test]
    fn routine_is_status_and_telemetry() {
        let routine = (0..0x800).filter(|b| is_routine(*b));
        let want = (0x412..=0x417).chain(0x421..=0x423).chain(0x426..=0x430).chain(0x501..=0x507);
        assert!(routine.eq(want));
        assert!(is_acceptable(&[]) && is_acceptable(&[0x412, 0x502]));
        assert!(!is_acceptable(&[0x412, 0x413]) && !is_acceptable(&[0x502, 0x502]));
    }
}
