//! What a record file holds, listed beside it so that a start need not read it (`spec/ledger.md`, L247).
//!
//! ```text
//! listing = "MBSX" || 01 || chain id 32 || u64 end || batch .. || H(everything before)
//! batch   = cid 16 || u32 first seq || u32 offset || u16 index || u16 count || u16 present || u64 last ms
//! ```
//!
//! It holds nothing that the file does not: one that is missing, damaged or of another chain is not used, and the file is
//! read instead.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lct::{Digest, codec::Fields, hash::sha256, id::Cid, record::BatchStatement};

use super::{
    frame::FILE_HEADER,
    index::Place,
    table::{Row, row},
};
use crate::error::Error;

const MAGIC: &[u8; 5] = b"MBSX\x01";
/// Length of what stands before the batches.
const HEADER: usize = 5 + 32 + 8;
/// Length of a batch.
const LISTED: usize = 16 + 4 + 4 + 2 + 2 + 2 + 8;

/// A batch in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub cid: Cid,
    pub first_seq: u32,
    /// Of its frame in the file.
    pub offset: u32,
    /// In the frame.
    pub index: u16,
    pub count: u16,
    /// Records that are there.
    pub present: u16,
    /// Time of its last record, Unix milliseconds.
    pub last_ms: u64,
}

impl Listed {
    /// The `index`-th batch of the frame at `offset`; `None` where no file that was written here could have it.
    pub fn of(offset: u64, index: usize, s: &BatchStatement, present: u64) -> Option<Self> {
        Some(Self {
            cid: s.cid,
            first_seq: s.first_seq,
            offset: offset.try_into().ok()?,
            index: index.try_into().ok()?,
            count: s.count,
            present: present.try_into().ok()?,
            last_ms: s.last_ms,
        })
    }

    pub fn place(&self, file: u32) -> Place {
        let Self { first_seq, offset, index, count, .. } = *self;
        Place { first_seq, file, offset, index, count }
    }

    pub fn row(&self, file: u32) -> Row {
        row(&self.cid, &self.place(file))
    }

    fn read(bytes: &[u8; LISTED]) -> Result<Self, lct::Error> {
        let mut f = Fields::new(bytes);
        let listed = Self {
            cid: Cid(f.array()?),
            first_seq: f.u32()?,
            offset: f.u32()?,
            index: f.u16()?,
            count: f.u16()?,
            present: f.u16()?,
            last_ms: f.u64()?,
        };
        f.end()?;
        Ok(listed)
    }
}

/// The batches of a file, and how far it was whole when they were listed.
#[derive(Debug)]
pub(super) struct Listing {
    pub end: u64,
    pub listed: Vec<Listed>,
}

impl Default for Listing {
    fn default() -> Self {
        Self { end: FILE_HEADER, listed: Vec::new() }
    }
}

impl Listing {
    /// Where the listing of `file` lies.
    pub fn path(file: &Path) -> PathBuf {
        file.with_extension("listing")
    }

    /// The listing of `file`, if it has one that can be used.
    pub fn read(file: &Path, chain_id: &Digest) -> Result<Option<Self>, Error> {
        let path = Self::path(file);
        match fs::read(&path) {
            Ok(bytes) => Ok(Self::from_bytes(&bytes, chain_id)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&path, e)),
        }
    }

    fn from_bytes(bytes: &[u8], chain_id: &Digest) -> Option<Self> {
        let (content, hash) = bytes.split_last_chunk::<32>()?;
        if sha256(&[content]) != *hash {
            return None;
        }
        let (header, batches) = content.split_at_checked(HEADER)?;
        let end = header.strip_prefix(MAGIC)?.strip_prefix(chain_id.as_slice())?;
        let end = u64::from_be_bytes(end.try_into().ok()?);
        let (batches, rest) = batches.as_chunks::<LISTED>();
        let listed = batches.iter().map(Listed::read).collect::<Result<_, _>>().ok()?;
        (end >= FILE_HEADER && rest.is_empty()).then_some(Self { end, listed })
    }

    /// Writes the listing of `file`. It is not synced: what a crash leaves of it is not used.
    pub fn write(&self, file: &Path, chain_id: &Digest) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(HEADER + LISTED * self.listed.len() + 32);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(chain_id);
        bytes.extend_from_slice(&self.end.to_be_bytes());
        for one in &self.listed {
            bytes.extend_from_slice(&one.cid.0);
            bytes.extend_from_slice(&one.first_seq.to_be_bytes());
            bytes.extend_from_slice(&one.offset.to_be_bytes());
            for short in [one.index, one.count, one.present] {
                bytes.extend_from_slice(&short.to_be_bytes());
            }
            bytes.extend_from_slice(&one.last_ms.to_be_bytes());
        }
        let hash = sha256(&[&bytes]);
        bytes.extend_from_slice(&hash);
        let path = Self::path(file);
        let new = path.with_extension("listing-new");
        let written = fs::write(&new, &bytes).and_then(|()| fs::rename(&new, &path));
        written.map_err(|e| Error::io(&path, e))
    }
}
