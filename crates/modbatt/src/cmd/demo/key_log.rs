//! The key log of a simulated pack (`spec/recording.md`, R2 and R3): what opens the recording of a run.
//!
//! Nothing is asked of the roles. Whoever simulates a device also plays its flash, and the flash holds the secrets of
//! its channels; this module reads the records of the pack controller, which is an end of every channel of the world.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use lct::id::{Cid, is_side_a};
use pack::controller::MODULES_MAX;
use pack::identity::Identity;
use pack::relation::Relation;
use pack::session::Session;
use pack::vault::Vault;
use sim::flash::Nor;
use zeroize::Zeroizing;

use super::super::{Failure, reason};

/// First line of a key log.
const HEADER: &str = "modbatt-key-log 1\n";

/// A key log that is being written.
pub struct KeyLog {
    path: PathBuf,
    file: File,
    /// Channel and epoch of every line.
    written: BTreeSet<([u8; 8], u32)>,
    /// [`Vault::stored`] when the records were last read.
    seen: u64,
}

impl KeyLog {
    /// Creates the file, readable by its owner only.
    ///
    /// # Errors
    /// Where the file cannot be created; one that exists is never overwritten.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Failure::Input(format!(
                "{} exists; a key log is not overwritten, remove it or name another file",
                path.display()
            )),
            _ => Failure::Input(format!("the key log {}: {}", path.display(), reason(&e))),
        })?;
        file.write_all(HEADER.as_bytes())
            .map_err(|e| Failure::Failed(format!("the key log {}: {}", path.display(), reason(&e))))?;
        Ok(KeyLog { path: path.to_owned(), file, written: BTreeSet::new(), seen: 0 })
    }

    /// Writes the epochs that the records hold and the log does not.
    ///
    /// # Errors
    /// When a record cannot be read or the line cannot be written.
    pub fn update(&mut self, own: &Identity, flash: &Vault<Nor>) -> Result<(), Failure> {
        if flash.stored() == self.seen {
            return Ok(());
        }
        self.seen = flash.stored();
        for slot in 0..=MODULES_MAX as u8 {
            let mut relation = Relation::new(slot);
            relation
                .restore(own, |key| flash.load(key))
                .map_err(|e| Failure::Failed(format!("record of the pack's relation {slot}: {e}")))?;
            let Some((peer, role)) = relation.peer() else { continue };
            let cids = if is_side_a(own.role, own.cid(), role, peer) {
                [own.cid(), peer]
            } else {
                [peer, own.cid()]
            };
            for session in relation.stored_sessions() {
                self.line(session, &cids)?;
            }
        }
        Ok(())
    }

    /// Writes the line of a session, if it is not there yet.
    fn line(&mut self, session: &Session, cids: &[Cid; 2]) -> Result<(), Failure> {
        if !self.written.insert((*session.channel(), session.epoch())) {
            return Ok(());
        }
        let mut secret = Zeroizing::new([0u8; 64]);
        let mut tag = Zeroizing::new([b'-'; 32]);
        let mut tag_digits = 1;
        encode(session.master().0.expose(), secret.as_mut_slice());
        if let Some(exchange) = session.exchange() {
            encode(exchange.0.expose(), tag.as_mut_slice());
            tag_digits = 32;
        }
        let head = format!(
            "{} {} {} {} {} ",
            hex::encode(session.channel()),
            session.epoch(),
            session.kind() as u8,
            hex::encode(cids[0].0),
            hex::encode(cids[1].0)
        );
        let parts: [&[u8]; 5] =
            [head.as_bytes(), secret.as_slice(), b" ", &tag.as_slice()[..tag_digits], b"\n"];
        for part in parts {
            self.file.write_all(part).map_err(|e| {
                Failure::Failed(format!("the key log {}: {}", self.path.display(), reason(&e)))
            })?;
        }
        Ok(())
    }
}

/// Hexadecimal digits of `bytes`, two each, without a copy on the heap.
fn encode(bytes: &[u8], digits: &mut [u8]) {
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = char::from_digit(u32::from(nibble), 16).map_or(b'?', |c| c as u8);
        }
    }
}
