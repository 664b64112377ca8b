//! A bare log, SQLite and redb with the records of the product.

use std::{fs::File, io::Write, os::unix::fs::FileExt, path::Path};

use anyhow::Result;
use redb::{Database, TableDefinition};
use rusqlite::Connection;

use super::records::{Commit, Keeper, Row};

/// By what a database finds a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Its place in the log, which only grows.
    Position,
    /// Component and number.
    Id,
}

impl Key {
    fn of(self, row: &Row) -> Vec<u8> {
        match self {
            Self::Position => row.position.to_be_bytes().to_vec(),
            Self::Id => row.id.clone(),
        }
    }
}

/// Records behind one another in a file of which so many bytes were filled with zeros before.
pub struct RawLog {
    file: File,
    at: u64,
    buffer: Vec<u8>,
}

impl RawLog {
    pub fn create(path: &Path, bytes: usize) -> Result<Self> {
        let mut file = File::create_new(path)?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..bytes.div_ceil(zeros.len()) {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0, buffer: Vec::new() })
    }
}

impl Keeper for RawLog {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        self.buffer.clear();
        for row in &commit.rows {
            self.buffer.extend_from_slice(&row.record);
        }
        self.file.write_all_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.file.sync_data()?;
        Ok(())
    }
}

/// SQLite, bundled with this program.
pub struct Sqlite {
    connection: Connection,
    key: Key,
}

impl Sqlite {
    pub fn create(path: &Path, key: Key) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(match key {
            Key::Position => "CREATE TABLE r (k INTEGER PRIMARY KEY, v BLOB NOT NULL)",
            Key::Id => "CREATE TABLE r (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
        })?;
        Ok(Self { connection, key })
    }
}

impl Keeper for Sqlite {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO r (k, v) VALUES (?1, ?2)")?;
            for row in &commit.rows {
                match self.key {
                    Key::Position => insert.execute((row.position as i64, &row.record))?,
                    Key::Id => insert.execute((&row.id, &row.record))?,
                };
            }
        }
        Ok(transaction.commit()?)
    }
}

/// redb, of the version that the product uses.
pub struct Redb {
    database: Database,
    key: Key,
}

pub const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("r");

impl Redb {
    pub fn create(path: &Path, key: Key) -> Result<Self> {
        Ok(Self { database: Database::create(path)?, key })
    }
}

impl Keeper for Redb {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for row in &commit.rows {
                table.insert(self.key.of(row).as_slice(), row.record.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }
}
