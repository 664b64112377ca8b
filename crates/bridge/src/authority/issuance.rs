//! What the authority issued: a log that says who had what issued for whom, written before anything leaves (A223).
//!
//! ```text
//! file  = line ..
//! line  = entry TAB signature LF        signature 64, hexadecimal, over H("modbatt1 issued" || chain id 32 || entry)
//! entry = JSON object of an Issuance, without line feeds; `previous` is H(the line before, without its LF)
//! ```
//!
//! Nothing in it is secret: of a document it has the hash.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use api::encoding::Hex;
use lct::{
    Digest,
    hash::sha256,
    id::Cid,
    sign::{PublicKey, Signature, Signer as _},
};
use serde::{Deserialize, Serialize};

use super::{Core, key::AuthorityKey};
use crate::{
    durable,
    refusal::{Refusal, Reply},
};

/// Name of the file, beside that of the ceremonies.
pub const FILE: &str = "issued.log";
/// Longest line, in bytes.
const LINE_MAX: usize = 4_096;
/// Most characters of a creator that are kept.
const WHO_MAX: usize = 128;

/// What was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The request to one side of a binding to enter into it; its id is that of the binding.
    Request,
    /// The device key halves of one side of a binding; its id is that of the binding.
    Package,
    /// A certificate for a pairing; its id names it.
    Pairing,
    /// The introduction of one side of a binding to the other; its id is that of the binding.
    Introduction,
    /// A delegation.
    Delegation,
    /// A revocation list; its id is its number.
    Revocations,
    /// A proposal of a policy for a binding, whose id is the binding's and the version.
    Policy,
    /// What an app may do; its id is the LCT's and the number of the statement.
    Scope,
    /// Time tokens of all seconds from the first to the last in its id; its document is the first of them.
    Times,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuance {
    /// From 1, without gaps.
    pub number: u64,
    /// Unix seconds.
    pub time: u32,
    /// What it is.
    pub kind: Kind,
    /// Its serial: id of what it is about, in hexadecimal, or number of a list, as [`Kind`] says.
    pub id: String,
    /// Who asked for it, as the request says.
    pub who: String,
    /// For which components, by cid.
    pub components: Vec<String>,
    /// SHA-256 of what was issued.
    pub document: Hex<32>,
    /// The authority's signing key.
    pub by: Hex<33>,
    /// SHA-256 of the line before; zeros in the first.
    pub previous: Hex<32>,
}

/// Why a log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    /// From 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Checks every line of a log of `chain_id`, and returns the entries; `known` says whether a key is one of the chain's
/// authorities. What was cut off behind the last line does not show; a last line that was not written whole counts for
/// nothing.
///
/// # Errors
/// [`Fault`].
pub fn verify(
    text: &str,
    chain_id: &Digest,
    mut known: impl FnMut(&PublicKey) -> bool,
) -> Result<Vec<Issuance>, Fault> {
    let (mut entries, mut previous) = (Vec::new(), [0; 32]);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (line, number) in whole.lines().zip(1..) {
        let fault = |what| Fault { line: number, what };
        let (entry, by) = read(line, chain_id).map_err(fault)?;
        if entry.number != number {
            return Err(fault("its number does not follow the one before"));
        }
        if entry.previous.0 != previous {
            return Err(fault("it does not follow the line before: one was changed, taken out or put in"));
        }
        if !known(&by) {
            return Err(fault("its key is that of no authority of this chain"));
        }
        previous = sha256(&[line.as_bytes()]);
        entries.push(entry);
    }
    Ok(entries)
}

/// Reads a line whose signature holds.
fn read(line: &str, chain_id: &Digest) -> Result<(Issuance, PublicKey), &'static str> {
    let (entry, signature) = line.split_once('\t').ok_or("it has no signature")?;
    let mut bytes = [0; 64];
    hex::decode_to_slice(signature, &mut bytes).map_err(|_| "its signature is none")?;
    let read: Issuance = serde_json::from_str(entry).map_err(|_| "it is no entry")?;
    let by = PublicKey::from_slice(&read.by.0).map_err(|_| "`by` is no key")?;
    by.verify(&digest(chain_id, entry), &Signature(bytes)).map_err(|_| "its signature does not hold")?;
    Ok((read, by))
}

fn digest(chain_id: &Digest, entry: &str) -> Digest {
    sha256(&[b"modbatt1 issued", chain_id, entry.as_bytes()])
}

/// Why the log of an earlier run cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum IssuanceError {
    /// Its last line is not the authority's.
    #[error("{}: its last line does not hold ({what}); `modbatt keys issued` checks it whole, move it away", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The log, open at its end.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    len: u64,
    number: u64,
    previous: Digest,
    /// Who issued last.
    by: Option<PublicKey>,
}

impl Log {
    /// Opens the log, or begins it. What a crash cut in the middle of a line was never given out, and is taken off.
    pub fn open(path: &Path, chain_id: &Digest) -> Result<Self, IssuanceError> {
        let io = |source| IssuanceError::Io { path: path.to_owned(), source };
        let damaged = |what| IssuanceError::Damaged { path: path.to_owned(), what };
        let began = !path.exists();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(io)?;
        if began {
            durable::sync_parent(path).map_err(io)?;
        }
        let all = file.metadata().map_err(io)?.len();
        // The last line and one that was cut lie within two lines of the end.
        let from = all.saturating_sub(2 * LINE_MAX as u64);
        file.seek(SeekFrom::Start(from)).map_err(io)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(io)?;
        let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
            if from > 0 {
                return Err(damaged("it is too long"));
            }
            file.set_len(0).and_then(|()| file.sync_all()).map_err(io)?;
            return Ok(Log { path: path.into(), file, len: 0, number: 0, previous: [0; 32], by: None });
        };
        let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = std::str::from_utf8(&tail[begin..end]).map_err(|_| damaged("it is no text"))?;
        let (last, by) = read(line, chain_id).map_err(damaged)?;
        let len = from + end as u64 + 1;
        if len < all {
            file.set_len(len).and_then(|()| file.sync_all()).map_err(io)?;
        }
        let previous = sha256(&[line.as_bytes()]);
        Ok(Log { path: path.into(), file, len, number: last.number, previous, by: Some(by) })
    }

    /// Whose key signed the last line, if there is one.
    pub fn by(&self) -> Option<&PublicKey> {
        self.by.as_ref()
    }

    /// Appends what `entry` makes of number, key and previous line; on disk when this returns.
    fn append(
        &mut self,
        key: &AuthorityKey,
        chain_id: &Digest,
        entry: impl FnOnce(u64, Hex<33>, Hex<32>) -> Issuance,
    ) -> Reply<()> {
        let by = Hex(key.public().sign_pub().0);
        let entry = entry(self.number + 1, by, Hex(self.previous));
        let entry = serde_json::to_string(&entry).map_err(|e| Refusal::internal(&e))?;
        let digest = digest(chain_id, &entry);
        let signature = key.sign(|key, rng| key.sign(&digest, rng))?;
        let line = format!("{entry}\t{}\n", hex::encode(signature.0));
        if line.len() > LINE_MAX {
            return Err(Refusal::internal(&"an entry of the log of issuances is too long"));
        }
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // What part of it is there would be in the way of the next one.
            let _left = self.file.set_len(self.len);
            return Err(Refusal::unavailable(&IssuanceError::Io { path: self.path.clone(), source }));
        }
        self.len += line.len() as u64;
        self.number += 1;
        self.by = Some(key.public().sign_pub());
        self.previous = sha256(&[line.trim_end().as_bytes()]);
        Ok(())
    }
}

impl Core {
    /// Notes what is about to leave; nothing that is not noted leaves.
    pub(super) fn note(
        &mut self,
        kind: Kind,
        id: String,
        (who, components): (&str, &[Cid]),
        document: &[u8],
    ) -> Reply<()> {
        let (time, chain_id) = (self.now(), self.chain.chain_id());
        self.issuances.append(&self.key, &chain_id, |number, by, previous| Issuance {
            number,
            time,
            kind,
            id,
            who: who.chars().take(WHO_MAX).collect(),
            components: components.iter().map(ToString::to_string).collect(),
            document: Hex(sha256(&[document])),
            by,
            previous,
        })
    }
}

/// Reads the log of a folder; `None` where nothing was issued.
///
/// # Errors
/// [`IssuanceError::Io`].
pub fn text_of(folder: &Path) -> Result<Option<String>, IssuanceError> {
    let path = folder.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IssuanceError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Digest = [7; 32];

    fn append(log: &mut Log, key: &AuthorityKey, id: &str) {
        let made = |number, by, previous| Issuance {
            number,
            time: 1,
            kind: Kind::Pairing,
            id: id.into(),
            who: "line\nfeed\tand tab".into(),
            components: vec![Cid::of("a").to_string()],
            document: Hex([1; 32]),
            by,
            previous,
        };
        log.append(key, &CHAIN, made).unwrap();
    }

    #[test]
    fn every_change_shows_and_a_cut_line_is_taken_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let key = AuthorityKey::generate().unwrap();
        let mut log = Log::open(&path, &CHAIN).unwrap();
        for id in ["one", "two"] {
            append(&mut log, &key, id);
        }
        drop(log);
        let mut log = Log::open(&path, &CHAIN).unwrap();
        append(&mut log, &key, "three");
        let text = text_of(dir.path()).unwrap().unwrap();
        let ids = |text: &str| {
            let entries = verify(text, &CHAIN, |by| *by == key.public().sign_pub());
            entries.map(|all| all.into_iter().map(|entry| entry.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(&text).unwrap(), ["one", "two", "three"]);

        let lines: Vec<&str> = text.lines().collect();
        let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        assert_eq!(ids(&joined(&[lines[0], lines[2]])).unwrap_err().line, 2, "taken out");
        assert_eq!(ids(&joined(&[lines[1], lines[0]])).unwrap_err().line, 1, "another order");
        assert_eq!(ids(&joined(&[lines[0], lines[0]])).unwrap_err().line, 2, "put in");
        for at in (0..text.len()).step_by(7) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(ids(&changed).is_err() || changed.lines().count() != 3, "byte {at}");
        }
        assert!(verify(&text, &[8; 32], |_| true).is_err(), "another chain");
        assert!(verify(&text, &CHAIN, |_| false).is_err(), "another authority");

        // Cut while the fourth was written.
        fs::write(&path, format!("{text}{}", &lines[0][..40])).unwrap();
        let mut log = Log::open(&path, &CHAIN).unwrap();
        append(&mut log, &key, "four");
        assert_eq!(ids(&text_of(dir.path()).unwrap().unwrap()).unwrap(), ["one", "two", "three", "four"]);
        // Cut while the first was.
        fs::write(&path, &lines[0][..40]).unwrap();
        assert_eq!(Log::open(&path, &CHAIN).unwrap().number, 0);
        fs::write(&path, "no entry\n").unwrap();
        assert!(matches!(Log::open(&path, &CHAIN), Err(IssuanceError::Damaged { .. })));
    }
}
