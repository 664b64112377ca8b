//! What old calls said and the ledger does not hold: labels that are echoed, ceremonies under way (A153). No secret.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};

use crate::refusal::{Refusal, Reply};

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

/// The book; each write is on disk before it returns.
pub(crate) struct Book(Database);

impl Book {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, redb::Error> {
        Book::over(Database::create(path)?)
    }

    /// A book in this database.
    pub fn over(database: Database) -> Result<Self, redb::Error> {
        let write = database.begin_write()?;
        write.open_table(ENTRIES)?;
        write.commit()?;
        Ok(Book(database))
    }

    /// Takes out of the entries below `prefix` those that are over.
    pub fn retain(&self, prefix: &str, stays: impl Fn(&[u8]) -> bool) -> Result<(), redb::Error> {
        let write = self.0.begin_write()?;
        write.open_table(ENTRIES)?.retain(|key, entry| !key.starts_with(prefix) || stays(entry))?;
        Ok(write.commit()?)
    }

    /// Writes an entry down, in the place of one under the same key.
    pub fn put(&self, key: &str, entry: &impl Serialize) -> Reply<()> {
        let bytes = serde_json::to_vec(entry).map_err(|e| Refusal::internal(&e))?;
        self.write(key, &bytes).map_err(|e| Refusal::unavailable(&e))
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<(), redb::Error> {
        let write = self.0.begin_write()?;
        write.open_table(ENTRIES)?.insert(key, bytes)?;
        Ok(write.commit()?)
    }

    /// The entry under this key.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Reply<Option<T>> {
        match self.read(key).map_err(|e| Refusal::internal(&e))? {
            Some(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Refusal::internal(&e)),
            None => Ok(None),
        }
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.0.begin_read()?.open_table(ENTRIES)?;
        Ok(table.get(key)?.map(|bytes| bytes.value().to_vec()))
    }
}
