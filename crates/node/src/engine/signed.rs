//! What a validator signed last, kept apart from the ledger: a ledger that was put back from an older copy must not sign
//! other blocks of the heights that it signed before (`spec/ledger.md`, L256).
//!
//! ```text
//! file = "MBVS" || 01 || chain id 32 || u64 height || block id 32 || u8 stage || H(everything before)[0:8]
//! ```
//!
//! It has less than a sector, which a disk writes at once or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use lct::{Digest, codec::Fields, hash::sha256};
use ledger::execute::Tip;

use crate::{Chain, error::Error};

const MAGIC: &[u8; 4] = b"MBVS";
const VERSION: u8 = 1;

/// How far a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may be signed, and nobody has seen it yet: the ledger does not hold it for certain.
    Signing = 0,
    /// The ledger holds it.
    Stored = 1,
}

/// The last block that the keys of an engine signed.
#[derive(Debug)]
pub struct Signed {
    file: File,
    path: PathBuf,
    chain_id: Digest,
    height: u64,
    block_id: Digest,
    stage: Stage,
}

impl Signed {
    /// Opens the file at `path` for the keys that certify `chain`, which goes on only where it holds what they signed. The first
    /// time it begins with the chain's last block.
    ///
    /// # Errors
    /// [`Error::SignedBefore`], [`Error::OtherHistory`], [`Error::OtherChain`], [`Error::FormatVersion`], [`Error::Corrupted`] or
    /// [`Error::Io`].
    pub fn open(path: &Path, chain: &Chain) -> Result<Self, Error> {
        let tip = chain.tip();
        let Some(mut signed) = Self::read(path, &tip.chain_id)? else {
            return Self::begin_at(path, &tip);
        };
        let (height, behind) = (signed.height, tip.height.checked_add(1) == Some(signed.height));
        if height > tip.height && !(behind && signed.stage == Stage::Signing) {
            return Err(Error::SignedBefore { path: path.into(), signed: height, height: tip.height });
        }
        let found = if height == tip.height {
            Some(tip.block_id)
        } else {
            chain.read()?.block(height)?.map(|block| block.header.id())
        };
        if found.is_some_and(|id| id != signed.block_id) {
            return Err(Error::OtherHistory { path: path.into(), height });
        }
        if height <= tip.height && signed.stage == Stage::Signing {
            // Power went before it was durable that the ledger holds the block. Others may have seen it: beside an older copy of the
            // ledger, the file must not allow another block of its height.
            signed.stage = Stage::Stored;
            signed.write(true)?;
        }
        Ok(signed)
    }

    /// Notes that everything signed may have been seen: called when a ledger that was put back from a copy is about to get its name.
    /// No file, no effect.
    ///
    /// # Errors
    /// As [`Signed::open`].
    pub fn settle(path: &Path, chain_id: &Digest) -> Result<Option<u64>, Error> {
        let Some(mut signed) = Self::read(path, chain_id)? else { return Ok(None) };
        signed.stage = Stage::Stored;
        signed.write(true)?;
        Ok(Some(signed.height))
    }

    /// Notes, durably, that a block is signed next.
    pub(crate) fn begin(&mut self, height: u64, block_id: Digest) -> Result<(), Error> {
        let again = self.stage == Stage::Signing && height == self.height;
        if height <= self.height && !again {
            let (path, signed) = (self.path.clone(), self.height);
            return Err(Error::SignedBefore { path, signed, height: height.saturating_sub(1) });
        }
        (self.height, self.block_id, self.stage) = (height, block_id, Stage::Signing);
        self.write(true)
    }

    /// Notes that the ledger holds it. The next block makes that durable, or the next [`Signed::open`].
    pub(crate) fn stored(&mut self) -> Result<(), Error> {
        self.stage = Stage::Stored;
        self.write(false)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &[VERSION], &self.chain_id].concat();
        bytes.extend_from_slice(&self.height.to_be_bytes());
        bytes.extend_from_slice(&self.block_id);
        bytes.push(self.stage as u8);
        let check = sha256(&[&bytes]);
        bytes.extend_from_slice(&check[..8]);
        bytes
    }

    fn write(&mut self, sync: bool) -> Result<(), Error> {
        let bytes = self.bytes();
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&bytes));
        let written = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        written.map_err(|e| Error::io(&self.path, e))
    }

    /// A file that begins with the last block of a chain.
    fn begin_at(path: &Path, tip: &Tip) -> Result<Self, Error> {
        let part = path.with_extension("part");
        let fail = |e| Error::io(&part, e);
        let file = File::create(&part).map_err(fail)?;
        let (chain_id, height, block_id) = (tip.chain_id, tip.height, tip.block_id);
        let mut signed = Self { file, path: path.into(), chain_id, height, block_id, stage: Stage::Stored };
        signed.write(true)?;
        fs::rename(&part, path).map_err(fail)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| Error::io(parent, e))?;
        }
        Ok(signed)
    }

    fn read(path: &Path, chain_id: &Digest) -> Result<Option<Self>, Error> {
        let bytes = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| Error::io(path, e))?,
        };
        let damaged = || Error::corrupted(path, "it does not say what the validator signed last");
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        if let Some(found) = rest.first().copied().filter(|found| *found != VERSION) {
            return Err(Error::FormatVersion {
                path: path.into(),
                found: found.into(),
                known: VERSION.into(),
            });
        }
        let (content, check) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
        if sha256(&[content])[..8] != *check {
            return Err(damaged());
        }
        let parse = || -> Result<_, lct::Error> {
            let mut f = Fields::new(content);
            let _head: [u8; 5] = f.array()?;
            let parsed: (Digest, u64, Digest, u8) = (f.array()?, f.u64()?, f.array()?, f.u8()?);
            f.end()?;
            Ok(parsed)
        };
        let (of, height, block_id, stage) = parse().map_err(|_| damaged())?;
        if of != *chain_id {
            let (found, expected) = (crate::error::hex(&of), crate::error::hex(chain_id));
            return Err(Error::OtherChain { path: path.into(), found, expected });
        }
        let stage = match stage {
            0 => Stage::Signing,
            1 => Stage::Stored,
            _ => return Err(damaged()),
        };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| Error::io(path, e))?;
        Ok(Some(Self { file, path: path.into(), chain_id: of, height, block_id, stage }))
    }
}
