//! What can go wrong with a replica's files, said so that an operator can act on it.

use std::path::{Path, PathBuf};

use ledger::{block::CertificateError, execute::BlockError, genesis::GenesisError, state::Halt};

/// A failure of a replica.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the ledger open.
    #[error("the ledger in {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The directory holds another chain.
    #[error("{} holds the chain {found}, not {expected}", .path.display())]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// Its chain id, hexadecimal.
        found: String,
        /// The chain id asked for, hexadecimal.
        expected: String,
    },
    /// The directory was written by another version of the format.
    #[error(
        "{} has format version {found}, that of {} build, and this build knows version {known}; nothing was changed, the build that \
         wrote it still opens it",
        .path.display(), if found < known { "an earlier" } else { "a later" }
    )]
    FormatVersion {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version of this build.
        known: u32,
    },
    /// The database lacks indexes of its last block, as one whose last blocks another build stored does (L259).
    #[error("{} lacks indexes of its last block, and who only reads it makes none; whoever opens it to run it does", .0.display())]
    Unindexed(PathBuf),
    /// There is no ledger in the directory.
    #[error("there is no ledger in {}", .0.display())]
    Missing(PathBuf),
    /// A file is damaged.
    #[error("{} is damaged: {what}", .path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk is full.
    #[error("the disk that holds {} is full; nothing that was acknowledged is lost", .0.display())]
    DiskFull(PathBuf),
    /// A write failed before, so the database refuses more until it is opened again.
    #[error("an earlier write to {} failed; the ledger must be opened again", .0.display())]
    Stopped(PathBuf),
    /// Another failure of the file system.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The genesis cannot start a chain.
    #[error("the genesis is not usable: {0}")]
    Genesis(#[from] GenesisError),
    /// The state machine stopped: store or invariant broken.
    #[error("{0}")]
    Halt(#[from] Halt),
    /// A block does not follow the tip.
    #[error("{0}")]
    Block(#[from] BlockError),
    /// A block is not certified.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// The engine's keys are not those of enough validators for this kind of engine.
    #[error("the solo engine's keys do not hold more than two thirds of the voting power")]
    NotTheValidator,
    /// The ledger lacks blocks that its validator signed: it would sign others of their heights.
    #[error(
        "the validator signed blocks up to height {signed} ({}), and this ledger ends at {height}: it was put back from an older copy, and \
         does not sign other blocks of these heights; restore the newest snapshot or export",
        .path.display()
    )]
    SignedBefore {
        /// The file that says so.
        path: PathBuf,
        /// Height of the last block signed.
        signed: u64,
        /// Height of the ledger's last block.
        height: u64,
    },
    /// The ledger holds another block at a height that its validator signed.
    #[error("the validator signed another block of height {height} ({}) than the one of this ledger: it is another history of the chain", .path.display())]
    OtherHistory {
        /// The file that says so.
        path: PathBuf,
        /// The height.
        height: u64,
    },
    /// A background task of the engine ended without an answer.
    #[error("the engine's task was interrupted")]
    Interrupted,
}

impl Error {
    /// An I/O failure at `path`; a full disk gets its own variant.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::StorageFull
            || source.kind() == std::io::ErrorKind::QuotaExceeded
        {
            Self::DiskFull(path.into())
        } else {
            Self::Io { path: path.into(), source }
        }
    }

    /// A damaged file.
    pub(crate) fn corrupted(path: &Path, what: impl ToString) -> Self {
        Self::Corrupted { path: path.into(), what: what.to_string() }
    }

    /// A failure of the database at `path`.
    pub(crate) fn store(path: &Path, error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::Locked(path.into()),
            redb::Error::PreviousIo => Self::Stopped(path.into()),
            redb::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => Self::corrupted(path, e),
            redb::Error::Io(e) => Self::io(path, e),
            other => Self::corrupted(path, other),
        }
    }
}

/// Lower-case hexadecimal of an identifier, for messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
