//! Founding a replica from an archive.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use lct::record::BatchStatement;
use ledger::{
    anchor::{Handover, Trust, follow},
    block::{Block, Certificate},
    checkpoint::Statement,
    codec::{Canonical, FormatError, Reader},
    genesis::Genesis,
};

use super::{ArchiveError, Base, Entries, kind, part::PartReader};
use crate::{
    Chain,
    error::Error,
    segments::{SegmentError, StoredBatch},
    store::{Founding, Store},
};

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The chain's genesis.
    pub genesis: Genesis,
    /// Height of the state that the archive began with; 0 for the genesis.
    pub base: u64,
    /// Height of the last block.
    pub height: u64,
    /// Root of the state after it.
    pub state_root: lct::Digest,
    /// Batches of records that the chain holds.
    pub batches: u64,
    /// Batches that no block of the archive holds, so that nobody signed for them. They are not restored.
    pub unrecorded: u64,
}

/// Founds the ledger in `dir`, which must not hold one, from an archive. It appears there only when it is whole.
///
/// `trust` says whose certificates count: the genesis or a checkpoint of the chain; `statement` is that of the checkpoint.
/// `progress` is told heights.
///
/// # Errors
/// [`ArchiveError`]; then `dir` holds what it held.
pub fn restore(
    dir: &Path,
    archive: impl Read,
    (trust, statement): (&Trust, Option<&Statement>),
    progress: impl FnMut(u64),
) -> Result<Restored, ArchiveError> {
    restore_announced(dir, archive, (trust, statement), progress, |_| Ok(()))
}

/// As [`restore`]; `announce` is told what was restored when all of it was read and found good, just before the ledger gets its name.
/// Where it fails, nothing is restored.
///
/// # Errors
/// [`ArchiveError`], and what `announce` fails with.
pub fn restore_announced(
    dir: &Path,
    archive: impl Read,
    (trust, statement): (&Trust, Option<&Statement>),
    progress: impl FnMut(u64),
    announce: impl FnOnce(&Restored) -> Result<(), Error>,
) -> Result<Restored, ArchiveError> {
    let occupied = || ArchiveError::Occupied(dir.into());
    let is_empty = |dir: &Path| match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(Error::io(dir, e)),
    };
    if !is_empty(dir)? {
        return Err(occupied());
    }
    let apart = apart(dir);
    let restored = restore_apart(&apart, archive, (trust, statement), progress);
    let restored = restored.inspect_err(|_| {
        // What failed is the error to report; what is left is made anew by the next attempt.
        let _left = fs::remove_dir_all(&apart);
    })?;
    match fs::remove_dir(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(dir, e).into()),
        _ => {}
    }
    // Behind everything that can refuse: what is announced holds even if nothing is restored.
    if let Err(e) = announce(&restored) {
        let _left = fs::remove_dir_all(&apart);
        return Err(e.into());
    }
    fs::rename(&apart, dir).map_err(|e| Error::io(dir, e))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::File::open(parent).and_then(|d| d.sync_all()).map_err(|e| Error::io(parent, e))?;
    }
    Ok(restored)
}

/// Where a ledger is made that will be called `dir`.
fn apart(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    dir.with_file_name(name)
}

/// As [`restore`], in a directory that is emptied first and left as it is found after a failure: to see whether an archive
/// holds.
///
/// # Errors
/// [`ArchiveError`].
pub fn restore_apart(
    dir: &Path,
    archive: impl Read,
    (trust, statement): (&Trust, Option<&Statement>),
    mut progress: impl FnMut(u64),
) -> Result<Restored, ArchiveError> {
    let mut parts = PartReader::new(archive)?;
    if parts.chain_id != trust.chain_id {
        return Err(ArchiveError::OtherChain);
    }
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(dir, e).into()),
        _ => {}
    }
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    let damaged = |_: FormatError| ArchiveError::Damaged("a part cannot be read");
    let Some((kind::GENESIS, genesis)) = parts.next()? else {
        return Err(ArchiveError::Damaged("it does not begin with a genesis"));
    };
    let genesis = Genesis::from_bytes(&genesis).map_err(damaged)?;
    if genesis.chain_id() != trust.chain_id {
        return Err(ArchiveError::OtherChain);
    }
    let mut next = parts.next()?;
    let mut base = 0;
    if let Some((kind::BASE, bytes)) = &next {
        let of = Base::from_bytes(bytes).map_err(damaged)?;
        base = of.header.height;
        next = found(dir, &genesis, &of, trust, &mut parts)?;
    }
    let chain = Chain::open_relaxed(dir, &genesis)?;
    let (mut last, mut batches, mut unrecorded) = (kind::BLOCK, 0, 0);
    while let Some((kind, bytes)) = next {
        if kind < last {
            return Err(ArchiveError::Damaged("a part stands where it does not belong"));
        }
        last = kind;
        if kind == kind::BLOCK {
            let (block, certificate) = certified(&bytes).map_err(damaged)?;
            chain.commit(&block, &certificate)?;
            progress(block.header.height);
        } else {
            // All blocks were executed: the state says which batches somebody signed for.
            let snapshot = chain.read()?;
            let mut recorded = Vec::new();
            for stored in StoredBatch::of_frame(&bytes).map_err(damaged)? {
                let s = BatchStatement::decode(&stored.statement).map_err(|_| SegmentError::Statement)?;
                if snapshot.records(&s)? {
                    recorded.push(stored);
                } else {
                    // It is left out, and still has to be what its statement says: anything else is damage.
                    stored.check()?;
                    unrecorded += 1;
                }
            }
            batches += recorded.len() as u64;
            chain.append(&recorded)?;
        }
        next = parts.next()?;
    }
    let tip = chain.tip();
    if base > 0 && tip.height <= base {
        return Err(ArchiveError::NotCertifiedYet(base));
    }
    if let Some(statement) = statement {
        let agrees = chain.read()?.tree_root(statement.height)? == Some(statement.tree_root);
        if !agrees {
            return Err(ArchiveError::Untrusted("its blocks are not those of the checkpoint"));
        }
    }
    chain.settle()?;
    Ok(Restored { genesis, base, height: tip.height, state_root: tip.state_root, batches, unrecorded })
}

/// A block and its certificate.
fn certified(bytes: &[u8]) -> Result<(Block, Certificate), FormatError> {
    let mut r = Reader::new(bytes);
    if r.array(2)? != 2 {
        return Err(FormatError::Unexpected);
    }
    let certified = (r.item()?, r.item()?);
    r.end()?;
    Ok(certified)
}

/// Founds a ledger with the state that follows, and gives the part behind it.
fn found(
    dir: &Path,
    genesis: &Genesis,
    base: &Base,
    trust: &Trust,
    parts: &mut PartReader<impl Read>,
) -> Result<Option<(u8, Vec<u8>)>, ArchiveError> {
    if base.header.chain_id != trust.chain_id {
        return Err(ArchiveError::OtherChain);
    }
    if base.header.height.saturating_add(1) < trust.height {
        return Err(ArchiveError::Untrusted("it is older than the checkpoint"));
    }
    let damaged = |_: FormatError| ArchiveError::Damaged("a part cannot be read");
    let mut founding: Founding = Store::begin(dir, genesis)?;
    let (mut handovers, mut last_key, mut last) = (Vec::new(), Vec::new(), kind::BASE);
    let next = loop {
        let Some((kind, bytes)) = parts.next()? else { break None };
        if kind < last {
            return Err(ArchiveError::Damaged("a part stands where it does not belong"));
        }
        last = kind;
        match kind {
            kind::LEAVES => {
                let (leaves, rest) = bytes.as_chunks::<32>();
                if !rest.is_empty() || founding.leaves() + leaves.len() as u64 > base.header.height {
                    return Err(ArchiveError::Damaged("its tree of blocks has another size"));
                }
                founding.put_leaves(leaves)?;
            }
            kind::HANDOVER => handovers.push(Handover::from_bytes(&bytes).map_err(damaged)?),
            kind::ENTRIES => {
                let Entries(entries) = Entries::from_bytes(&bytes).map_err(damaged)?;
                for (key, _) in &entries {
                    if *key <= last_key {
                        return Err(ArchiveError::Damaged("its state is not in order"));
                    }
                    last_key.clone_from(key);
                }
                founding.put_entries(entries)?;
            }
            _ => break Some((kind, bytes)),
        }
    };
    let leaf = ledger::history::leaf(&base.header.id());
    if founding.leaves() != base.header.height || founding.last_leaf() != Some(leaf) {
        return Err(ArchiveError::Damaged("its tree of blocks does not end with its block"));
    }
    let store = founding.finish(&base.header, base.result_root, &handovers)?;
    // Whoever certifies the next block certifies this state; here is who that has to be.
    let certifying = follow(&trust.chain_id, Some(trust), &handovers, base.header.height + 1)?;
    if certifying != Some(store.validators()?) {
        return Err(ArchiveError::Untrusted("it names other validators than those to whom trust leads"));
    }
    Ok(next)
}
