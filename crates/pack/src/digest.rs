//! The digest of what stayed clear (`spec/can.md`, C106 to C108): once a second the sender tells, sealed, the hash of
//! the clear frames that it sent, so that a receiver notices when somebody altered, added or removed one.
//!
//! `0F | window u32 | frames u16 | digest 32`, digest = H over `identifier u32 | dlc u8 | data` of each frame in
//! order of sending, bit 31 of the identifier set when it has 29 bits.

use crate::{
    can::{Frame, Id},
    pdu::{self, Pdu},
    time::{Duration, Instant},
};
use lct::{Error, codec::Fields, hash::Hasher};

/// Length of a window.
pub const WINDOW: Duration = Duration::from_secs(1);
/// Silence of the sender after which its window counts as not comparable.
pub const SILENCE: Duration = Duration::from_secs(3);

#[derive(Clone)]
struct Frames {
    hasher: Hasher,
    count: u16,
}

impl Frames {
    fn new() -> Self {
        Frames { hasher: Hasher::new(), count: 0 }
    }

    fn add(&mut self, frame: &Frame) {
        let id = match frame.id() {
            Id::Standard(id) => u32::from(id),
            Id::Extended(id) => id | 0x8000_0000,
        };
        let data = frame.data();
        self.hasher.update(&id.to_be_bytes());
        self.hasher.update(&[data.len() as u8]);
        self.hasher.update(data);
        self.count = self.count.saturating_add(1);
    }
}

/// The sending end.
pub struct DigestSender {
    frames: Frames,
    window: u32,
    due: Instant,
}

impl DigestSender {
    /// A fresh epoch: windows count from 0.
    pub fn new(now: Instant) -> Self {
        DigestSender { frames: Frames::new(), window: 0, due: now + WINDOW }
    }

    /// When the window closes.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// A clear frame of a listed class was queued.
    pub fn sent(&mut self, frame: &Frame) {
        self.frames.add(frame);
    }

    /// Closes the window, also an empty one; its digest must leave behind the frames that it covers.
    ///
    /// # Errors
    /// [`Error::Exhausted`] after 2^32 windows.
    pub fn close(&mut self, now: Instant) -> Result<Pdu, Error> {
        let frames = core::mem::replace(&mut self.frames, Frames::new());
        let body = pdu::build(&[
            &[pdu::DIGEST],
            &self.window.to_be_bytes(),
            &frames.count.to_be_bytes(),
            &frames.hasher.finish(),
        ])?;
        self.window = self.window.checked_add(1).ok_or(Error::Exhausted)?;
        self.due = now + WINDOW;
        Ok(body)
    }
}

/// What a digest says about the frames that were heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// So many frames, each as it was sent.
    Verified(u16),
    /// Fewer frames than were sent, or a digest before this one is missing: nothing can be said.
    Unverified,
    /// As many frames or more, but not those.
    Altered,
}

/// The receiving end.
pub struct DigestReceiver {
    frames: Frames,
    expected: u32,
    last: Instant,
    unverified: u8,
}

impl DigestReceiver {
    /// A fresh epoch: windows count from 0.
    pub fn new(now: Instant) -> Self {
        DigestReceiver { frames: Frames::new(), expected: 0, last: now, unverified: 0 }
    }

    /// Windows in a row that could not be compared.
    pub fn unverified(&self) -> u8 {
        self.unverified
    }

    /// When the sender counts as silent.
    pub fn due(&self) -> Instant {
        self.last + SILENCE
    }

    /// A clear frame of a listed class was heard.
    pub fn heard(&mut self, frame: &Frame) {
        self.frames.add(frame);
    }

    /// Nothing came for [`SILENCE`]: what was heard meanwhile stays unproved.
    pub fn missed(&mut self, now: Instant) {
        self.last = now;
        self.unverified = self.unverified.saturating_add(1);
    }

    /// The digest of a window, `window u32 | frames u16 | digest 32`; `None` for one that is behind.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the sender is to blame.
    pub fn check(&mut self, now: Instant, body: &[u8]) -> Result<Option<Verdict>, Error> {
        let mut f = Fields::new(body);
        let window = f.u32()?;
        let [high, low] = f.array()?;
        let sent = u16::from_be_bytes([high, low]);
        let digest: lct::Digest = f.array()?;
        f.end()?;
        if window < self.expected {
            return Ok(None);
        }
        let complete = window == self.expected;
        let heard = core::mem::replace(&mut self.frames, Frames::new());
        (self.expected, self.last) = (window.checked_add(1).ok_or(Error::Exhausted)?, now);
        let count = heard.count;
        let verdict = if complete && count == sent && heard.hasher.finish() == digest {
            Verdict::Verified(sent)
        } else if !complete || count < sent {
            Verdict::Unverified
        } else {
            Verdict::Altered
        };
        self.unverified = match verdict {
            Verdict::Unverified => self.unverified.saturating_add(1),
            _ => 0,
        };
        Ok(Some(verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use lct::hash::sha256;
    use std::vec::Vec;

    fn frame(id: u32, data: &[u8]) -> Frame {
        Frame::new_classic(Id::Extended(id), data).unwrap()
    }

    fn frames() -> Vec<Frame> {
        (0..5u8).map(|n| frame(0x1408_0005, &[n, 1, 2, 3, 4, 5, 6, 7])).collect()
    }

    /// Sends `sent`, lets the receiver hear `heard`.
    fn verdict(sent: &[Frame], heard: &[Frame]) -> Verdict {
        let now = Instant::START;
        let (mut a, mut b) = (DigestSender::new(now), DigestReceiver::new(now));
        sent.iter().for_each(|f| a.sent(f));
        heard.iter().for_each(|f| b.heard(f));
        let body = a.close(now).unwrap();
        b.check(now, &body[1..]).unwrap().unwrap()
    }

    #[test]
    fn the_digest_is_the_hash_of_the_frames_as_written() {
        let mut sender = DigestSender::new(Instant::START);
        sender.sent(&frame(0x1408_0005, &[0xAA, 0xBB]));
        sender.sent(&Frame::new_classic(Id::Standard(0x421), &[1]).unwrap());
        let body = sender.close(Instant::START).unwrap();
        let bytes = hex!("94080005 02 AABB  00000421 01 01");
        assert_eq!(body[..7], hex!("0F 00000000 0002"));
        assert_eq!(body[7..], sha256(&[&bytes]));
        assert_eq!(sender.close(Instant::START).unwrap()[..7], hex!("0F 00000001 0000"));
    }

    #[test]
    fn what_was_altered_added_or_exchanged_is_told_from_what_was_lost() {
        let sent = frames();
        assert_eq!(verdict(&sent, &sent), Verdict::Verified(5));
        assert_eq!(verdict(&[], &[]), Verdict::Verified(0));
        for index in 0..5 {
            let mut lost = sent.clone();
            lost.remove(index);
            assert_eq!(verdict(&sent, &lost), Verdict::Unverified);
            let mut altered = sent.clone();
            altered[index] = frame(0x1408_0005, &[9, 1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(verdict(&sent, &altered), Verdict::Altered);
            let mut shorter = sent.clone();
            shorter[index] = frame(0x1408_0005, &[index as u8, 1, 2, 3, 4, 5, 6]);
            assert_eq!(verdict(&sent, &shorter), Verdict::Altered);
            let mut other_id = sent.clone();
            other_id[index] = frame(0x1408_0006, &[index as u8, 1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(verdict(&sent, &other_id), Verdict::Altered);
            let mut added = sent.clone();
            added.insert(index, frame(0x1408_0005, &[0; 8]));
            assert_eq!(verdict(&sent, &added), Verdict::Altered);
            let mut twice = sent.clone();
            twice.insert(index, sent[index]);
            assert_eq!(verdict(&sent, &twice), Verdict::Altered, "a frame repeated");
        }
        for index in 0..4 {
            let mut swapped = sent.clone();
            swapped.swap(index, index + 1);
            assert_eq!(verdict(&sent, &swapped), Verdict::Altered);
        }
    }

    #[test]
    fn windows_are_counted_so_that_a_lost_digest_is_no_alarm_and_an_old_one_nothing() {
        let now = Instant::START;
        let (mut a, mut b) = (DigestSender::new(now), DigestReceiver::new(now));
        let all = frames();
        let first = a.close(now).unwrap();
        assert_eq!(b.check(now, &first[1..]), Ok(Some(Verdict::Verified(0))));
        assert_eq!(b.check(now, &first[1..]), Ok(None), "the same again");
        for f in &all[..2] {
            a.sent(f);
            b.heard(f);
        }
        let _lost = a.close(now).unwrap();
        a.sent(&all[2]);
        b.heard(&all[2]);
        let third = a.close(now).unwrap();
        assert_eq!(b.check(now, &third[1..]), Ok(Some(Verdict::Unverified)));
        assert_eq!(b.unverified(), 1);
        a.sent(&all[3]);
        b.heard(&all[3]);
        let fourth = a.close(now).unwrap();
        assert_eq!(b.check(now, &fourth[1..]), Ok(Some(Verdict::Verified(1))), "in step again");
        assert_eq!(b.unverified(), 0);
        assert_eq!(b.check(now, &fourth[1..38]), Err(Error::Malformed));
    }
}
