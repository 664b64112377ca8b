//! The authorities of an installation, one after the other: the one that its devices were made for, and those that followed it
//! (A98).
//!
//! ```text
//! file = "MBAL" || 01 || SPK of the first 68 || ( succession 209 || reason u8 ) ..        (channel.md, H166 and H105)
//! ```
//!
//! The reason is why the account of the one that goes is withdrawn on the ledger, once and for ever.
//!
//! Nothing in it is secret. Whoever replaces it decides who the authority is: as long as it is not there, or ends earlier, an
//! earlier one is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lct::{
    id::SpkId,
    revocation::Reason,
    spk::{SPK_LEN, Spk},
    succession::{SUCCESSION_LEN, Succession},
};

use crate::durable;

const MAGIC: &[u8; 5] = b"MBAL\x01";
/// A succession and why.
const STEP_LEN: usize = SUCCESSION_LEN + 1;
/// Why an authority goes: another one took its place, or its key may be in other hands too.
pub(crate) const REASONS: [Reason; 2] = [Reason::Superseded, Reason::KeyCompromise];
/// Most successions of one installation.
const SUCCESSIONS_MAX: usize = 64;
const LEN_MAX: u64 = (MAGIC.len() + SPK_LEN + SUCCESSIONS_MAX * STEP_LEN) as u64;
const _: () = assert!(LEN_MAX as usize <= lct::backup::LINEAGE_MAX, "a backup takes every line");

/// Who was the authority, and who is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    first: Spk,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    read: Succession,
    bytes: [u8; SUCCESSION_LEN],
    reason: Reason,
}

/// Why there is no such line.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// It is not what it should be.
    #[error("{} is damaged: {what}; restore it from a copy", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The authority did not name this successor.
    #[error("it is not a succession of the authority {authority}: {why}")]
    Foreign {
        /// Who is the authority.
        authority: SpkId,
        /// What is wrong.
        why: lct::Error,
    },
    /// It is older than the last one.
    #[error(
        "it was signed no later than the succession by which {0} became the authority, and devices take no earlier one"
    )]
    Old(SpkId),
    /// It is not why an authority goes.
    #[error("an authority goes as superseded, or because of its key, not for the reason {0:?}")]
    Reason(Reason),
    /// There is no room.
    #[error("{SUCCESSIONS_MAX} successions are the most that one installation has")]
    Full,
    /// The file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Lineage {
    /// An authority that followed nobody.
    pub fn of(first: Spk) -> Self {
        Lineage { first, steps: Vec::new() }
    }

    /// Reads the file at `path`, and verifies it whole; `None` where there is none: then nobody was followed.
    ///
    /// # Errors
    /// [`LineageError::Damaged`], [`LineageError::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>, LineageError> {
        let io = |source| LineageError::Io { path: path.into(), source };
        let bytes = match fs::metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(found) if found.len() <= LEN_MAX => fs::read(path).map_err(io)?,
            Ok(_) => Vec::new(),
            Err(e) => return Err(io(e)),
        };
        let damaged = |what: String| LineageError::Damaged { path: path.into(), what };
        Self::from_bytes(&bytes).map(Some).map_err(damaged)
    }

    /// Reads the bytes of a file, and verifies them whole.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as one")?;
        let (first, rest) = rest.split_at_checked(SPK_LEN).ok_or("it is too short")?;
        let (steps, rest) = rest.as_chunks::<STEP_LEN>();
        if !rest.is_empty() || !(1..=SUCCESSIONS_MAX).contains(&steps.len()) {
            return Err("it does not hold whole successions".into());
        }
        let mut line = Lineage::of(Spk::from_slice(first).map_err(|e| e.to_string())?);
        for [succession @ .., reason] in steps {
            let reason = Reason::from_code(*reason).map_err(|e| e.to_string())?;
            line = line.with(succession, reason).map_err(|e| e.to_string())?;
        }
        Ok(line)
    }

    /// The line with one more succession, and why: one of [`Reason::Superseded`] and [`Reason::KeyCompromise`].
    ///
    /// # Errors
    /// [`LineageError::Foreign`], [`LineageError::Old`], [`LineageError::Reason`], [`LineageError::Full`].
    pub fn with(&self, bytes: &[u8], reason: Reason) -> Result<Self, LineageError> {
        let authority = self.last();
        let foreign = |why| LineageError::Foreign { authority: authority.id(), why };
        let read = Succession::open(bytes, authority).map_err(foreign)?;
        // What devices ask of it too (H166), for which the time before the first one is 0.
        if read.time <= self.time() {
            return Err(LineageError::Old(authority.id()));
        }
        if !REASONS.contains(&reason) {
            return Err(LineageError::Reason(reason));
        }
        if self.steps.len() >= SUCCESSIONS_MAX {
            return Err(LineageError::Full);
        }
        let bytes = bytes.try_into().map_err(|_| foreign(lct::Error::Malformed))?;
        let mut line = self.clone();
        line.steps.push(Step { read, bytes, reason });
        Ok(line)
    }

    /// Replaces the file at `path`: from then on its last authority is the authority.
    ///
    /// # Errors
    /// [`LineageError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), LineageError> {
        durable::replace(path, &self.to_bytes())
            .map_err(|source| LineageError::Io { path: path.into(), source })
    }

    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &self.first.0].concat();
        for step in &self.steps {
            bytes.extend(step.bytes);
            bytes.push(step.reason as u8);
        }
        bytes
    }

    /// Whom the devices were made for.
    pub fn first(&self) -> &Spk {
        &self.first
    }

    /// The authority.
    pub fn last(&self) -> &Spk {
        self.steps.last().map_or(&self.first, |last| &last.read.new)
    }

    /// When the last succession was signed, Unix seconds; 0 where nobody was followed.
    pub fn time(&self) -> u32 {
        self.steps.last().map_or(0, |last| last.read.time)
    }

    /// Who was the authority and is not any more, the first one first.
    pub fn earlier(&self) -> impl Iterator<Item = &Spk> {
        let last = *self.last();
        let all = std::iter::once(&self.first).chain(self.steps.iter().map(|step| &step.read.new));
        // One that came back is the authority.
        all.filter(move |spk| **spk != last)
    }

    /// Why the account of an earlier one is withdrawn: for its key, if that was the reason once.
    pub fn reason(&self, earlier: &Spk) -> Reason {
        let id = earlier.id();
        let mut reasons = self.steps.iter().filter(|step| step.read.old == id).map(|step| step.reason);
        reasons.find(|reason| *reason == Reason::KeyCompromise).unwrap_or(Reason::Superseded)
    }

    /// The successions, in the order in which devices take them.
    pub fn successions(&self) -> impl Iterator<Item = &[u8; SUCCESSION_LEN]> {
        self.steps.iter().map(|step| &step.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AuthorityKey;

    fn keys<const N: usize>() -> [AuthorityKey; N] {
        std::array::from_fn(|_| AuthorityKey::generate().unwrap())
    }

    /// A98: what was written is read again, every other byte is refused, and only the authority's own succession goes on.
    #[test]
    fn a_line_is_kept_whole_and_grows_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.lineage");
        assert!(Lineage::read(&path).unwrap().is_none());
        let [a, b, c] = keys();
        let spk = |key: &AuthorityKey| key.public();
        let alone = Lineage::of(spk(&a));
        assert_eq!((alone.first(), alone.last(), alone.earlier().count()), (&spk(&a), &spk(&a), 0));
        let to_b = a.succession(&b, 10).unwrap();
        let line = alone.with(&to_b, Reason::Superseded).unwrap();
        let refused = |line: &Lineage, bytes: &[u8]| line.with(bytes, Reason::Superseded).unwrap_err();
        assert!(matches!(refused(&line, &to_b), LineageError::Foreign { .. }), "it serves once");
        assert!(matches!(refused(&line, &b.succession(&c, 10).unwrap()), LineageError::Old(_)));
        let to_c = b.succession(&c, 11).unwrap();
        assert!(matches!(refused(&alone, &to_c), LineageError::Foreign { .. }));
        let line = line.with(&to_c, Reason::KeyCompromise).unwrap();
        assert_eq!(
            (line.reason(&spk(&a)), line.reason(&spk(&b))),
            (Reason::Superseded, Reason::KeyCompromise),
            "each for its own reason"
        );
        assert_eq!((line.first(), line.last()), (&spk(&a), &spk(&c)));
        assert_eq!(line.earlier().copied().collect::<Vec<_>>(), [spk(&a), spk(&b)]);
        line.write(&path).unwrap();
        assert_eq!(Lineage::read(&path).unwrap().as_ref(), Some(&line));

        let back = line.with(&c.succession(&a, 12).unwrap(), Reason::Superseded).unwrap();
        assert_eq!(
            back.earlier().copied().collect::<Vec<_>>(),
            [spk(&b), spk(&c)],
            "who came back is not gone"
        );

        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert!(Lineage::from_bytes(&bad).is_err(), "byte {at}");
        }
        for len in 0..whole.len() {
            // Cut after its first succession it is a line that ends earlier, which nobody writes.
            let ends_earlier = len == MAGIC.len() + SPK_LEN + STEP_LEN;
            assert_eq!(Lineage::from_bytes(&whole[..len]).is_ok(), ends_earlier, "{len}");
        }
        fs::write(&path, vec![0; LEN_MAX as usize + 1]).unwrap();
        assert!(matches!(Lineage::read(&path), Err(LineageError::Damaged { .. })));
    }
}
