//! A ledger whose database has an earlier layout: its blocks are executed once more into one of this build's
//! (`spec/ledger.md`, L257).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ledger::{
    block::{Block, Certificate},
    codec::Canonical,
    genesis::Genesis,
};
use redb::{ReadTransaction, ReadableDatabase};

use super::{BLOCKS, CERTIFICATES, FILE, META, file};
use crate::{
    Chain,
    error::{Error, hex},
};

/// Makes a database of this layout of the one of version `found` in `dir`, which is kept beside it. Records need nothing.
///
/// # Errors
/// [`Error::NotMigrated`] where its blocks do not lead to what they certify under the rules of this build, and as
/// [`Chain::open`]; then the ledger is as it was.
pub(crate) fn migrate(dir: &Path, genesis: &Genesis, found: u32) -> Result<(), Error> {
    let (path, apart) = (dir.join(FILE), dir.join("migrating"));
    remove(&apart)?;
    let made = execute(&path, &apart, genesis, found);
    if let Err(e) = made {
        // What failed is the error to report; what is left is removed by the next attempt.
        let _left = remove(&apart);
        return Err(e);
    }
    // Under both names for a moment: whenever power goes there is a ledger.
    let kept = kept(&path, found);
    match fs::remove_file(&kept) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(&kept, e)),
        _ => {}
    }
    fs::hard_link(&path, &kept).map_err(|e| Error::io(&kept, e))?;
    fs::rename(apart.join(FILE), &path).map_err(|e| Error::io(&path, e))?;
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(dir, e))?;
    remove(&apart)
}

/// Where the database of the earlier layout stays.
fn kept(path: &Path, found: u32) -> PathBuf {
    path.with_extension(format!("version-{found}"))
}

fn remove(apart: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(apart) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(apart, e)),
        _ => Ok(()),
    }
}

/// Executes the blocks of the database at `path` in a ledger that is founded `apart`.
fn execute(path: &Path, apart: &Path, genesis: &Genesis, found: u32) -> Result<(), Error> {
    let fail = |e: redb::Error| Error::store(path, e);
    let db = file::read_only(path)?;
    let txn = db.begin_read().map_err(|e| fail(e.into()))?;
    let (of, expected) = (chain_of(&txn).map_err(fail)?, genesis.chain_id());
    if of != expected {
        let (found, expected) = (hex(&of), hex(&expected));
        return Err(Error::OtherChain { path: path.into(), found, expected });
    }
    let chain = Chain::open_relaxed(apart, genesis)?;
    let blocks = txn.open_table(BLOCKS).map_err(|e| fail(e.into()))?;
    let certificates = txn.open_table(CERTIFICATES).map_err(|e| fail(e.into()))?;
    for entry in blocks.range(1..).map_err(|e| fail(e.into()))? {
        let (height, block) = entry.map_err(|e| fail(e.into()))?;
        let height = height.value();
        let refuse = |why: String| Error::NotMigrated { path: path.into(), found, height, why };
        let certificate = certificates.get(height).map_err(|e| fail(e.into()))?;
        let certificate = certificate.ok_or_else(|| refuse("it has no certificate".into()))?;
        let block = Block::from_bytes(block.value()).map_err(|e| refuse(e.to_string()))?;
        let certificate = Certificate::from_bytes(certificate.value()).map_err(|e| refuse(e.to_string()))?;
        chain.commit(&block, &certificate).map_err(|e| match e {
            Error::Block(_) | Error::Certificate(_) | Error::Halt(_) => refuse(e.to_string()),
            other => other,
        })?;
    }
    chain.settle()
}

/// The chain that a database says it holds.
fn chain_of(txn: &ReadTransaction) -> Result<Vec<u8>, redb::Error> {
    let chain = txn.open_table(META)?.get("chain")?;
    Ok(chain.map(|of| of.value().to_vec()).unwrap_or_default())
}
