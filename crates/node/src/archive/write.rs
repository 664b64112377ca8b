//! Writing an archive from one view of a ledger, which may be running.

use std::io::Write;

use ledger::codec::{Canonical, Writer};

use super::{ArchiveError, Base, Entries, kind, part::PartWriter};
use crate::{segments::Segments, snapshot::Snapshot};

/// Bytes of state or leaves that make a part.
const PART: usize = 1 << 20;

/// What an archive begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The genesis: it holds every block.
    Genesis,
    /// The state after the block of this height, which another block must follow.
    State(u64),
}

/// What an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Height of the state that it begins with; 0 for the genesis.
    pub base: u64,
    /// Height of its last block.
    pub height: u64,
    /// Entries of the state that it begins with.
    pub entries: u64,
    /// Batches of records.
    pub batches: u64,
    /// Length.
    pub bytes: u64,
}

/// Writes the ledger that `snapshot` shows, with its records, to `out`.
///
/// # Errors
/// [`ArchiveError`].
pub fn write(
    mut snapshot: Snapshot<'_>,
    segments: &Segments,
    start: Start,
    out: impl Write,
) -> Result<Written, ArchiveError> {
    let tip = snapshot.tip();
    let mut parts = PartWriter::new(out, &tip.chain_id)?;
    parts.part(kind::GENESIS, &snapshot.genesis()?.to_bytes())?;
    let mut written = Written { base: 0, height: tip.height, entries: 0, batches: 0, bytes: 0 };
    if let Start::State(height) = start {
        snapshot = snapshot.at(height)?;
        written.base = height;
        written.entries = state(&snapshot, height, &mut parts)?;
    }
    for height in written.base + 1..=tip.height {
        let found = snapshot.block(height)?.zip(snapshot.certificate(height)?);
        let (block, certificate) = found.ok_or(ArchiveError::Pruned(height + 1))?;
        let mut w = Writer::with_capacity(1024);
        w.array(2).item(&block).item(&certificate);
        parts.part(kind::BLOCK, &w.into_bytes())?;
    }
    segments.each_frame(|payload, batches| -> Result<(), ArchiveError> {
        written.batches += batches;
        Ok(parts.part(kind::RECORDS, payload)?)
    })?;
    written.bytes = parts.end()?;
    Ok(written)
}

/// Writes the state after a block, and what a replica needs besides to go on from there.
fn state(
    snapshot: &Snapshot<'_>,
    height: u64,
    parts: &mut PartWriter<impl Write>,
) -> Result<u64, ArchiveError> {
    let header = snapshot.header(height)?.ok_or(ArchiveError::Pruned(height + 1))?;
    let next = snapshot.block(height + 1)?.ok_or(ArchiveError::NotCertifiedYet(height))?;
    let base = Base { header, result_root: next.header.result_root };
    parts.part(kind::BASE, &base.to_bytes())?;
    let mut leaves = Vec::new();
    for leaf in snapshot.leaves(height)? {
        leaves.extend_from_slice(&leaf?);
        if leaves.len() >= PART {
            parts.part(kind::LEAVES, &leaves)?;
            leaves.clear();
        }
    }
    if !leaves.is_empty() {
        parts.part(kind::LEAVES, &leaves)?;
    }
    for handover in snapshot.handovers(height + 1)? {
        parts.part(kind::HANDOVER, &handover.to_bytes())?;
    }
    let (mut entries, mut count, mut bytes) = (Entries::default(), 0, 0);
    snapshot.entries(|key, value| -> Result<(), ArchiveError> {
        entries.0.push((key.to_vec(), value.to_vec()));
        bytes += key.len() + value.len();
        count += 1;
        if bytes >= PART {
            parts.part(kind::ENTRIES, &std::mem::take(&mut entries).to_bytes())?;
            bytes = 0;
        }
        Ok(())
    })?;
    if !entries.0.is_empty() {
        parts.part(kind::ENTRIES, &entries.to_bytes())?;
    }
    Ok(count)
}
