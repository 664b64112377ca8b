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
        let (Some(base), false) = (base, self.guard.off) else {
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
