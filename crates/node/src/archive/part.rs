//! Parts of an archive, and the hash over all of them.

use std::io::{self, ErrorKind, Read, Write};

use lct::{Digest, hash::Hasher};

use super::{ArchiveError, kind};

const MAGIC: &[u8; 4] = b"MBLA";
const VERSION: u8 = 1;
/// Longest part; a block and a frame of records are shorter by far.
const MAX_PART: u32 = 64 << 20;

/// Writes parts.
pub(super) struct PartWriter<W> {
    out: W,
    hash: Hasher,
    bytes: u64,
}

impl<W: Write> PartWriter<W> {
    /// Begins an archive of a chain.
    pub fn new(out: W, chain_id: &Digest) -> io::Result<Self> {
        let mut writer = Self { out, hash: Hasher::new(), bytes: 0 };
        writer.put(MAGIC)?;
        writer.put(&[VERSION])?;
        writer.put(chain_id)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    pub fn part(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).ok().filter(|n| *n <= MAX_PART);
        let length = length.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "a part is too long"))?;
        self.put(&[kind])?;
        self.put(&length.to_be_bytes())?;
        self.put(payload)
    }

    /// Ends the archive; how many bytes it has.
    pub fn end(mut self) -> io::Result<u64> {
        let hash = std::mem::replace(&mut self.hash, Hasher::new()).finish();
        self.part(kind::END, &hash)?;
        self.out.flush()?;
        Ok(self.bytes)
    }
}

/// Reads parts.
pub(super) struct PartReader<R> {
    input: R,
    hash: Hasher,
    pub chain_id: Digest,
}

impl<R: Read> PartReader<R> {
    /// Reads what an archive begins with.
    pub fn new(mut input: R) -> Result<Self, ArchiveError> {
        let mut head = [0; 37];
        input.read_exact(&mut head).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => ArchiveError::NotAnArchive,
            _ => e.into(),
        })?;
        let rest = head.strip_prefix(MAGIC).ok_or(ArchiveError::NotAnArchive)?;
        match rest.split_first_chunk::<1>() {
            Some(([VERSION], chain_id)) => {
                let mut hash = Hasher::new();
                hash.update(&head);
                let chain_id = chain_id.try_into().map_err(|_| ArchiveError::NotAnArchive)?;
                Ok(Self { input, hash, chain_id })
            }
            Some(([other], _)) => Err(ArchiveError::Version(*other)),
            None => Err(ArchiveError::NotAnArchive),
        }
    }

    /// The next part; `None` after the last one, which fits.
    pub fn next(&mut self) -> Result<Option<(u8, Vec<u8>)>, ArchiveError> {
        let mut head = [0; 5];
        let cut = |e: io::Error| match e.kind() {
            ErrorKind::UnexpectedEof => ArchiveError::CutShort,
            _ => e.into(),
        };
        self.input.read_exact(&mut head).map_err(cut)?;
        let [found, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        if found > kind::END || length > MAX_PART {
            return Err(ArchiveError::Damaged("a part is of an unknown kind or too long"));
        }
        // Grows with what is there, not with what the length says.
        let mut payload = Vec::new();
        self.input.by_ref().take(length.into()).read_to_end(&mut payload)?;
        if payload.len() < length as usize {
            return Err(ArchiveError::CutShort);
        }
        if found == kind::END {
            let hash = std::mem::replace(&mut self.hash, Hasher::new()).finish();
            if payload != hash {
                return Err(ArchiveError::Damaged("its hash is not that of its content"));
            }
            return match self.input.read(&mut [0])? {
                0 => Ok(None),
                _ => Err(ArchiveError::Damaged("something follows its end")),
            };
        }
        self.hash.update(&head);
        self.hash.update(&payload);
        Ok(Some((found, payload)))
    }
}
