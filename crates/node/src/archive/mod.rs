//! A ledger in one stream: to move it, to keep a copy of it, to found another replica (`spec/ledger.md`, L243 to L246).
//!
//! ```text
//! archive  = "MBLA" || 01 || chain id 32 || part ..
//! part     = kind 1 || u32 length || payload
//! ```
//!
//! An archive begins with the genesis. It holds all blocks, or the state after one and the blocks that follow; then the
//! telemetry records; its last part is the hash of everything before it. What is read from one is checked as if an engine
//! had decided on it: blocks are executed, a state has the root that the validators of the next block certified.

mod part;
mod restore;
mod write;

use std::{io, path::PathBuf};

use lct::Digest;
use ledger::{
    anchor::HandoverError,
    block::Header,
    codec::{Canonical, FormatError, Reader, Writer},
};

use crate::{error::Error, past::PastError, segments::SegmentError};

pub use restore::{Restored, restore, restore_announced, restore_apart};
pub use write::{Start, Written, write};

/// Why an archive is not written, or nothing is restored from one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It begins otherwise.
    #[error("it is not an archive of a ledger")]
    NotAnArchive,
    /// It has another format version.
    #[error("it has format version {0}; this build knows version 1")]
    Version(u8),
    /// It is of another chain than the one that is trusted.
    #[error("it holds another chain")]
    OtherChain,
    /// It ends before its last part.
    #[error("it is cut short")]
    CutShort,
    /// Something in it is not what it has to be.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Its state is not certified by validators to whom trust leads.
    #[error("its state is not that of validators who are trusted: {0}")]
    Untrusted(&'static str),
    /// A change of validators does not hold.
    #[error("{0}")]
    Handover(#[from] HandoverError),
    /// Blocks of the beginning are not kept, so that nothing can start from the genesis.
    #[error("the blocks before height {0} are no longer kept; a snapshot begins with a state")]
    Pruned(u64),
    /// The state of this height is certified by the next block, which is not there yet.
    #[error("height {0} is not followed by a block that certifies its state")]
    NotCertifiedYet(u64),
    /// There is a ledger already.
    #[error("{} holds a ledger already", .0.display())]
    Occupied(PathBuf),
    /// A height cannot be asked for.
    #[error("{0}")]
    Past(#[from] PastError),
    /// A batch of records in it does not hold.
    #[error("{0}")]
    Records(#[from] SegmentError),
    /// The replica failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The stream failed.
    #[error("{0}")]
    Stream(#[from] io::Error),
}

/// Kinds of parts, in the order in which they may stand.
mod kind {
    /// The genesis' canonical bytes.
    pub const GENESIS: u8 = 0;
    /// A [`super::Base`].
    pub const BASE: u8 = 1;
    /// Leaves of the tree of blocks up to the base, 32 bytes each.
    pub const LEAVES: u8 = 2;
    /// A change of validators up to the base.
    pub const HANDOVER: u8 = 3;
    /// [`super::Entries`] of the state after the base, ascending over all parts.
    pub const ENTRIES: u8 = 4;
    /// `[block, certificate]`.
    pub const BLOCK: u8 = 5;
    /// The payload of a frame of a record file (L90).
    pub const RECORDS: u8 = 6;
    /// `H` of everything before this part.
    pub const END: u8 = 7;
}

/// The block whose state an archive begins with: `{0: 1, 1: header, 2: root over its results}`. The next block certifies
/// both.
struct Base {
    header: Header,
    result_root: Digest,
}

impl Canonical for Base {
    fn write(&self, w: &mut Writer) {
        w.object(3, 1).uint(1).item(&self.header).uint(2).bytes(&self.result_root);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(3, 1)?;
        r.key(1)?;
        let header = r.item()?;
        r.key(2)?;
        Ok(Self { header, result_root: r.fixed()? })
    }
}

/// Keys and values of a state: `{0: 1, 1: [key, value, key, value ..]}`.
#[derive(Default)]
struct Entries(Vec<(Vec<u8>, Vec<u8>)>);

impl Canonical for Entries {
    fn write(&self, w: &mut Writer) {
        w.object(2, 1).uint(1).array(2 * self.0.len());
        for (key, value) in &self.0 {
            w.bytes(key).bytes(value);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(2, 1)?;
        r.key(1)?;
        let n = r.array(usize::MAX)?;
        if !n.is_multiple_of(2) {
            return Err(FormatError::Unexpected);
        }
        let pair = |r: &mut Reader<'_>| Ok((r.bytes(usize::MAX)?.to_vec(), r.bytes(usize::MAX)?.to_vec()));
        (0..n / 2).map(|_| pair(r)).collect::<Result<_, FormatError>>().map(Self)
    }
}
