//! The authorities of an installation, one after the other: the one that its devices were made for, and those that followed it
//! (A98).
//!
//! ```text
//! file = "MBAL" || 01 || SPK of the first 68 || succession 209 ..        (channel.md, H166)
//! ```
//!
//! Nothing in it is secret. Whoever replaces it decides who the authority is: as long as it is not there, or ends earlier, an
//! earlier one is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lct::{
    id::SpkId,
    spk::Spk,
    succession::{SUCCESSION_LEN, Succession},
};

use crate::durable;

const MAGIC: &[u8; 5] = b"MBAL\x01";
const SPK_LEN: usize = 68;
/// Most successions of one installation.
const SUCCESSIONS_MAX: usize = 64;
const LEN_MAX: u64 = (MAGIC.len() + SPK_LEN + SUCCESSIONS_MAX * SUCCESSION_LEN) as u64;

/// Who was the authority, and who is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    first: Spk,
    /// Each with its bytes.
    successions: Vec<(Succession, [u8; SUCCESSION_LEN])>,
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
        Lineage { first, successions: Vec::new() }
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

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as one")?;
        let (first, rest) = rest.split_at_checked(SPK_LEN).ok_or("it is too short")?;
        let (successions, rest) = rest.as_chunks::<SUCCESSION_LEN>();
        if !rest.is_empty() || !(1..=SUCCESSIONS_MAX).contains(&successions.len()) {
            return Err("it does not hold whole successions".into());
        }
        let mut line = Lineage::of(Spk::from_slice(first).map_err(|e| e.to_string())?);
        for succession in successions {
            line = line.with(succession).map_err(|e| e.to_string())?;
        }
        Ok(line)
    }

    /// The line with one more succession.
    ///
    /// # Errors
    /// [`LineageError::Foreign`], [`LineageError::Old`], [`LineageError::Full`].
    pub fn with(&self, bytes: &[u8]) -> Result<Self, LineageError> {
        let authority = self.last();
        let foreign = |why| LineageError::Foreign { authority: authority.id(), why };
        let read = Succession::open(bytes, authority).map_err(foreign)?;
        // What devices ask of it too (H166), for which the time before the first one is 0.
        if read.time <= self.successions.last().map_or(0, |(last, _)| last.time) {
            return Err(LineageError::Old(authority.id()));
        }
        if self.successions.len() >= SUCCESSIONS_MAX {
            return Err(LineageError::Full);
        }
        let bytes = bytes.try_into().map_err(|_| foreign(lct::Error::Malformed))?;
        let mut line = self.clone();
        line.successions.push((read, bytes));
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

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &self.first.0].concat();
        bytes.extend(self.successions().flatten());
        bytes
    }

    /// Whom the devices were made for.
    pub fn first(&self) -> &Spk {
        &self.first
    }

    /// The authority.
    pub fn last(&self) -> &Spk {
        self.successions.last().map_or(&self.first, |(last, _)| &last.new)
    }

    /// Who was the authority and is not any more, the first one first.
    pub fn earlier(&self) -> impl Iterator<Item = &Spk> {
        let last = *self.last();
        let all = std::iter::once(&self.first).chain(self.successions.iter().map(|(step, _)| &step.new));
        // One that came back is the authority.
        all.filter(move |spk| **spk != last)
    }

    /// The successions, in the order in which devices take them.
    pub fn successions(&self) -> impl Iterator<Item = &[u8; SUCCESSION_LEN]> {
        self.successions.iter().map(|(_, bytes)| bytes)
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
        let line = alone.with(&to_b).unwrap();
        assert!(matches!(line.with(&to_b), Err(LineageError::Foreign { .. })), "it serves once");
        assert!(matches!(line.with(&b.succession(&c, 10).unwrap()), Err(LineageError::Old(_))));
        assert!(matches!(alone.with(&b.succession(&c, 11).unwrap()), Err(LineageError::Foreign { .. })));
        let line = line.with(&b.succession(&c, 11).unwrap()).unwrap();
        assert_eq!((line.first(), line.last()), (&spk(&a), &spk(&c)));
        assert_eq!(line.earlier().copied().collect::<Vec<_>>(), [spk(&a), spk(&b)]);
        line.write(&path).unwrap();
        assert_eq!(Lineage::read(&path).unwrap().as_ref(), Some(&line));

        let back = line.with(&c.succession(&a, 12).unwrap()).unwrap();
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
            let ends_earlier = len == MAGIC.len() + SPK_LEN + SUCCESSION_LEN;
            assert_eq!(Lineage::from_bytes(&whole[..len]).is_ok(), ends_earlier, "{len}");
        }
        fs::write(&path, vec![0; LEN_MAX as usize + 1]).unwrap();
        assert!(matches!(Lineage::read(&path), Err(LineageError::Damaged { .. })));
    }
}
