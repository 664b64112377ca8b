//! Opening a database file without harm to one that is not for this build, and without a panic at one that is damaged.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase};

use crate::error::Error;

/// Does something with the database at `path`. It ends in a panic at some damage that it does not expect: damage like any
/// other, of a file that somebody can put back.
pub(crate) fn guarded<T>(path: &Path, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let done = catch_unwind(AssertUnwindSafe(act));
    done.unwrap_or_else(|_| Err(Error::corrupted(path, "the database cannot make sense of what is in it")))
}

/// Opens the database at `path`, with a cache of so many bytes, if `check` does not refuse what it says of itself: one of a
/// later build stays as it is, unless it was not closed.
pub(crate) fn open<T>(
    path: &Path,
    cache_bytes: usize,
    check: impl Fn(ReadTransaction) -> Result<T, Error>,
) -> Result<(Database, T), Error> {
    let fail = |e: redb::Error| Error::store(path, e);
    guarded(path, || {
        match Database::builder().open_read_only(path) {
            Ok(db) => drop(check(db.begin_read().map_err(|e| fail(e.into()))?)?),
            // It has to be repaired before anybody can read it.
            Err(DatabaseError::RepairAborted) => {}
            Err(e) => return Err(fail(e.into())),
        }
        let db = Database::builder().set_cache_size(cache_bytes).open(path).map_err(|e| fail(e.into()))?;
        let found = check(db.begin_read().map_err(|e| fail(e.into()))?)?;
        Ok((db, found))
    })
}

/// Opens the database at `path` for reading. One that was not closed is repaired first.
pub(crate) fn read_only(path: &Path) -> Result<ReadOnlyDatabase, Error> {
    guarded(path, || {
        let db = match Database::builder().open_read_only(path) {
            Err(DatabaseError::RepairAborted) => {
                drop(Database::open(path).map_err(|e| Error::store(path, e))?);
                Database::builder().open_read_only(path)
            }
            other => other,
        };
        db.map_err(|e| Error::store(path, e))
    })
}
