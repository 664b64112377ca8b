//! Whether a ledger is what it says: all that it holds is computed once more from what validators certified (`spec/ledger.md`, L249).

use std::{fs, io, path::Path, thread};

use ledger::{anchor::Trust, genesis::Genesis, state::View};

use crate::{
    Chain, ReadOnly,
    archive::{ArchiveError, Restored, Start, restore_apart},
    error::Error,
    segments::statements,
    snapshot::Snapshot,
};

/// What was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Height of the last block.
    pub height: u64,
    /// Height of the state from which blocks were executed again; 0 for the genesis.
    pub base: u64,
    /// Entries of the state, each of them the one that executing leads to.
    pub entries: u64,
    /// Batches of records, each of them what its statement commits to.
    pub batches: u64,
    /// Those that no block holds: a crash or a refusal lies between the file and the block.
    pub unrecorded: u64,
    /// Batches of the chain whose records are not stored here.
    pub missing: u64,
}

/// Why a ledger is not what it says.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// What was computed anew is something else.
    #[error("at height {height} {what}")]
    Differs {
        /// Of the block.
        height: u64,
        /// What differs.
        what: &'static str,
    },
    /// A block, a certificate, a state or a record does not hold.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Founds a ledger in `scratch`, which is removed afterwards, from what `ledger` holds, executing every block again, and
/// compares results, state and the tree of blocks. `trust` says whose certificates count; `progress` is told heights.
///
/// A ledger without its first blocks begins with the oldest state that it keeps.
///
/// # Errors
/// The first [`VerifyError`].
pub fn verify(
    ledger: &ReadOnly,
    scratch: &Path,
    trust: &Trust,
    progress: impl FnMut(u64),
) -> Result<Verified, VerifyError> {
    let snapshot = ledger.read()?;
    let verified = again(ledger, &snapshot, scratch, trust, progress)
        .and_then(|(genesis, restored)| compare(&snapshot, scratch, &genesis, &restored));
    match fs::remove_dir_all(scratch) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(scratch, e).into()),
        _ => {}
    }
    let (base, batches, entries) = verified?;
    let mut unrecorded = 0;
    ledger.segments().each_frame(|payload, _| -> Result<(), VerifyError> {
        for s in statements(payload)? {
            if !snapshot.records(&s)? {
                unrecorded += 1;
            }
        }
        Ok(())
    })?;
    let missing = snapshot.totals()?.batches.saturating_sub(batches - unrecorded);
    Ok(Verified { height: snapshot.tip().height, base, entries, batches, unrecorded, missing })
}

/// What the ledger holds, founded once more.
fn again(
    ledger: &ReadOnly,
    snapshot: &Snapshot<'_>,
    scratch: &Path,
    trust: &Trust,
    progress: impl FnMut(u64),
) -> Result<(Genesis, Restored), VerifyError> {
    let start = match snapshot.first_whole()? {
        0 => Start::Genesis,
        _ => Start::State(snapshot.oldest()?),
    };
    let (reader, writer) = io::pipe().map_err(|e| Error::io(scratch, e))?;
    let (written, restored) = thread::scope(|scope| {
        let written = scope.spawn(move || ledger.archive(start, io::BufWriter::new(writer)));
        let restored = restore_apart(scratch, io::BufReader::new(reader), (trust, None), progress);
        (written.join(), restored)
    });
    match (written, restored) {
        (Ok(Ok(_)), Ok(restored)) => Ok((restored.genesis.clone(), restored)),
        // What cannot be read shows as a stream that is cut short; why, the reading side does not know.
        (Ok(Err(e)), Err(ArchiveError::CutShort)) | (Ok(Ok(_)), Err(e)) => Err(e.into()),
        (Ok(Err(_)), Err(e)) => Err(e.into()),
        (Ok(Err(e)), Ok(_)) => Err(e.into()),
        (Err(_), _) => Err(Error::Interrupted.into()),
    }
}

/// Compares what is stored with what was computed: the height of the first state, batches, and entries of the last state.
fn compare(
    snapshot: &Snapshot<'_>,
    scratch: &Path,
    genesis: &Genesis,
    restored: &Restored,
) -> Result<(u64, u64, u64), VerifyError> {
    let chain = Chain::open(scratch, genesis)?;
    let again = chain.read()?;
    let tip = snapshot.tip();
    let differs = |what| VerifyError::Differs { height: tip.height, what };
    if again.tip() != tip {
        return Err(differs("the stored tip is not that of the last block"));
    }
    if again.tree_root(tip.height)? != snapshot.tree_root(tip.height)? {
        return Err(differs("the stored tree of blocks is another one"));
    }
    for height in restored.base + 1..=tip.height {
        if again.results(height)? != snapshot.results(height)? {
            return Err(VerifyError::Differs { height, what: "stored results are not those of executing" });
        }
    }
    let mut entries = 0;
    snapshot.entries(|key, value| -> Result<(), VerifyError> {
        entries += 1;
        let found = again.view().get(key).map_err(Error::from)?;
        if found.as_deref() == Some(value) { Ok(()) } else { Err(differs("the stored state is another one")) }
    })?;
    if again.state_len()? != entries {
        return Err(differs("the stored state lacks entries"));
    }
    Ok((restored.base, restored.batches + restored.unrecorded, entries))
}
