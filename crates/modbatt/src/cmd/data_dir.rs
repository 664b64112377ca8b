//! The data directory: everything one installation keeps.
//!
//! ```text
//! format         text: "modbatt data 1\nchain <chain id>\n"; written last, so a directory with it is complete
//! genesis.json   the chain's first state; also the trust file for receipts
//! ledger/        the replica's database and record files
//! keys/          private keys, readable by their owner only; who followed the authority (`authority.lineage`)
//! flash/         flash memory of simulated devices
//! contexts/      what the manufacturer stated about the devices, signed, one file each
//! audit/         logs of the devices, one file each
//! receipts/      receipts written by this program
//! run.json       address and process of the program that runs on it, while it does
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use lct::Digest;
use ledger::genesis::Genesis;
use serde_json::{Value, json};

use super::{Failure, reason};

/// Version of the layout, in the file `format`.
const VERSION: u32 = 1;
const HEAD: &str = "modbatt data ";
const FORMAT: &str = "format";
/// What [`FORMAT`] is called while the directory is being made: a directory with it may be made again.
const UNFINISHED: &str = "format.new";
const GENESIS: &str = "genesis.json";
const RUN: &str = "run.json";
const FOLDERS: [&str; 4] = ["ledger", "keys", "flash", "receipts"];
/// Longest text file that is read.
const TEXT_MAX: u64 = 4 << 20;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("there is no data directory {dir}; `modbatt demo --data-dir {dir}` makes one", dir = .0.display())]
    Missing(PathBuf),
    /// Something else than a directory is there.
    #[error("{} is not a directory; name another data directory", .0.display())]
    NotADirectory(PathBuf),
    /// The directory holds something else.
    #[error("{} is not a modbatt data directory (it has no file `format`); name another or an empty one", .0.display())]
    Foreign(PathBuf),
    /// Another version wrote it.
    #[error("{} has data format {found}, this build knows {VERSION}; use the build that made it", .path.display())]
    Version {
        /// The directory.
        path: PathBuf,
        /// Its version, as written.
        found: String,
    },
    /// It belongs to another chain.
    #[error("{} belongs to chain {found}, not to {expected}; name another data directory", .path.display())]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// Its chain.
        found: String,
        /// The chain asked for.
        expected: String,
    },
    /// A file in it is damaged.
    #[error("{} is damaged: {what}; restore it from a copy", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another process runs on it.
    #[error("{} is in use by another modbatt{}; stop that first or name another data directory", .path.display(), .run)]
    InUse {
        /// The directory.
        path: PathBuf,
        /// ` (process N at URL)` where that is known.
        run: String,
    },
    /// It must not be written.
    #[error("{} cannot be written: {what}; change its permissions or choose another place", .path.display())]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        what: String,
    },
    /// No space is left.
    #[error("the disk that holds {} is full; make room and start again", .0.display())]
    DiskFull(PathBuf),
    /// Anything else that the system refuses.
    #[error("{}: {what}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        what: String,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let sentence = error.to_string();
        match error {
            Error::InUse { .. } | Error::NotWritable { .. } | Error::DiskFull(_) | Error::Io { .. } => {
                Failure::Failed(sentence)
            }
            _ => Failure::Input(sentence),
        }
    }
}

fn system(path: &Path, e: &io::Error) -> Error {
    let path = path.to_owned();
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull(path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::NotWritable { path, what: reason(e) }
        }
        _ => Error::Io { path, what: reason(e) },
    }
}

fn damaged(path: &Path, what: impl ToString) -> Error {
    Error::Damaged { path: path.to_owned(), what: what.to_string() }
}

/// The program that runs on a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where its API answers.
    pub url: String,
    /// Its process.
    pub pid: u32,
}

/// A data directory that was found in order.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    genesis: Genesis,
    chain_id: Digest,
    /// Held by the program that runs on the directory; the system releases it however that ends.
    _lock: Option<File>,
}

impl DataDir {
    /// Opens a directory for reading; a program may be running on it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        match fs::metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(Error::Missing(path.to_owned())),
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                return Err(Error::NotADirectory(path.to_owned()));
            }
            Err(e) => return Err(system(path, &e)),
            Ok(found) if !found.is_dir() => return Err(Error::NotADirectory(path.to_owned())),
            Ok(_) => {}
        }
        let format = path.join(FORMAT);
        let stated = match read_text(&format) {
            Ok(text) => parse_format(path, &text)?,
            Err(Error::Missing(_)) => return Err(Error::Foreign(path.to_owned())),
            Err(e) => return Err(e),
        };
        let genesis_path = path.join(GENESIS);
        let text = match read_text(&genesis_path) {
            Err(Error::Missing(_)) => return Err(damaged(&genesis_path, "it is missing")),
            other => other?,
        };
        let genesis = api::genesis::from_json(&text).map_err(|e| damaged(&genesis_path, e))?;
        let chain_id = genesis.chain_id();
        if chain_id != stated {
            let (found, expected) = (hex::encode(chain_id), hex::encode(stated));
            return Err(Error::OtherChain { path: genesis_path, found, expected });
        }
        Ok(DataDir { path: path.to_owned(), genesis, chain_id, _lock: None })
    }

    /// Opens a directory to run on it, or makes one where there is none or an empty one.
    ///
    /// `genesis` is asked for the chain of a new directory; `fill` writes what else belongs into it (keys). A
    /// directory is either complete or was never begun: what an interrupted making left is made again.
    pub fn open_or_create<E: From<Error>>(
        path: &Path,
        genesis: impl FnOnce() -> Result<Genesis, E>,
        fill: impl FnOnce(&DataDir) -> Result<(), E>,
    ) -> Result<Self, E> {
        match Self::open(path) {
            Ok(mut dir) => {
                dir._lock = Some(dir.lock(FORMAT)?);
                Ok(dir)
            }
            Err(Error::Missing(_)) => Self::create(path, &genesis()?, fill),
            Err(Error::Foreign(_)) if may_become_ours(path)? => Self::create(path, &genesis()?, fill),
            Err(e) => Err(e.into()),
        }
    }

    fn create<E: From<Error>>(
        path: &Path,
        genesis: &Genesis,
        fill: impl FnOnce(&DataDir) -> Result<(), E>,
    ) -> Result<Self, E> {
        let chain_id = genesis.chain_id();
        let mut dir = DataDir { path: path.to_owned(), genesis: genesis.clone(), chain_id, _lock: None };
        fs::create_dir_all(path).map_err(|e| system(path, &e))?;
        // The lock stays with the file when it gets its final name, so nobody else makes or runs in between.
        let (unfinished, complete) = (path.join(UNFINISHED), path.join(FORMAT));
        let mut format = dir.lock(UNFINISHED)?;
        if complete.exists() {
            // Another program was faster and finished; what was locked is a new file of that name.
            fs::remove_file(&unfinished).map_err(|e| system(&unfinished, &e))?;
            return Err(dir.in_use()?.into());
        }
        let text = format!("{HEAD}{VERSION}\nchain {}\n", hex::encode(chain_id));
        let written = format.set_len(0).and_then(|()| format.write_all(text.as_bytes()));
        written.and_then(|()| format.sync_all()).map_err(|e| system(&unfinished, &e))?;
        for folder in FOLDERS {
            let folder = path.join(folder);
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(|e| system(&folder, &e))?;
            }
            fs::create_dir(&folder).map_err(|e| system(&folder, &e))?;
        }
        private_folder(&dir.keys()).map_err(|e| system(&dir.keys(), &e))?;
        let first = path.join(GENESIS);
        write_file(&first, api::genesis::to_json(genesis).as_bytes(), false)
            .map_err(|e| system(&first, &e))?;
        fill(&dir)?;
        let named = fs::rename(&unfinished, &complete).and_then(|()| sync_folder(path));
        named.map_err(|e| system(&complete, &e))?;
        dir._lock = Some(format);
        Ok(dir)
    }

    /// Locks a file of the directory, which is made if need be.
    fn lock(&self, name: &str) -> Result<File, Error> {
        let path = self.path.join(name);
        // Opened for writing: that it may be written is part of being able to run on the directory.
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(|e| system(&path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(self.in_use()?),
            Err(TryLockError::Error(e)) => Err(system(&path, &e)),
        }
    }

    fn in_use(&self) -> Result<Error, Error> {
        let run = self.run()?.map(|r| format!(" (process {} at {})", r.pid, r.url));
        Ok(Error::InUse { path: self.path.clone(), run: run.unwrap_or_default() })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// First state of the chain.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Identity of the chain.
    pub fn chain_id(&self) -> &Digest {
        &self.chain_id
    }

    /// What the validator signed last; apart from the ledger, which may be put back from a copy.
    pub fn signed(&self) -> PathBuf {
        self.path().join("validator.signed")
    }

    /// Where the replica keeps its files.
    pub fn ledger(&self) -> PathBuf {
        self.path.join("ledger")
    }

    /// Private keys.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// Flash memory of simulated devices.
    pub fn flash(&self) -> PathBuf {
        self.path.join("flash")
    }

    /// What the manufacturer stated about the devices.
    pub fn contexts(&self) -> PathBuf {
        self.path.join("contexts")
    }

    /// Logs of devices.
    pub fn audit(&self) -> PathBuf {
        self.path.join("audit")
    }

    /// Receipts.
    pub fn receipts(&self) -> PathBuf {
        self.path.join("receipts")
    }

    /// The file for the receipt called `name`.
    pub fn receipt(&self, name: &str) -> PathBuf {
        self.receipts().join(format!("{name}.receipt"))
    }

    /// The trust file that belongs to the receipts of this chain.
    pub fn trust_file(&self) -> PathBuf {
        self.path.join(GENESIS)
    }

    /// Writes a private key.
    pub fn write_key(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.keys().join(name);
        write_file(&path, bytes, true).map_err(|e| system(&path, &e))
    }

    /// Says where the program that runs on this directory answers.
    pub fn announce(&self, run: &Run) -> Result<(), Error> {
        let object = json!({ "url": run.url, "pid": run.pid });
        replace_file(&self.path.join(RUN), format!("{object}\n").as_bytes())
    }

    /// Takes back [`DataDir::announce`] when the program ends.
    pub fn retire(&self) -> Result<(), Error> {
        let path = self.path.join(RUN);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(system(&path, &e)),
            _ => Ok(()),
        }
    }

    /// Opens the directory of an installation that runs; `purpose` says what it has to run for.
    pub fn open_running(path: &Path, purpose: &str) -> Result<(Self, Run), Failure> {
        let dir = Self::open(path)?;
        let run = dir.run()?.ok_or_else(|| {
            let name = dir.path().display();
            Failure::Failed(format!("nothing runs on {name}: start it, so that {purpose}"))
        })?;
        Ok((dir, run))
    }

    /// The program that announced itself; it may have died since.
    pub fn run(&self) -> Result<Option<Run>, Error> {
        let path = self.path.join(RUN);
        let text = match read_text(&path) {
            Err(Error::Missing(_)) => return Ok(None),
            other => other?,
        };
        let read = |value: Value| {
            let url = value.get("url")?.as_str()?.to_owned();
            let pid = u32::try_from(value.get("pid")?.as_u64()?).ok()?;
            Some(Run { url, pid })
        };
        let run = serde_json::from_str(&text).ok().and_then(read);
        run.map(Some).ok_or_else(|| damaged(&path, "it does not hold `url` and `pid`"))
    }
}

/// Whether a directory without `format` is empty or holds no more than an interrupted making left.
fn may_become_ours(path: &Path) -> Result<bool, Error> {
    let mut entries = fs::read_dir(path).map_err(|e| system(path, &e))?;
    Ok(entries.next().is_none() || path.join(UNFINISHED).exists())
}

fn parse_format(path: &Path, text: &str) -> Result<Digest, Error> {
    let file = path.join(FORMAT);
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix(HEAD));
    let version = version.ok_or_else(|| damaged(&file, "its first line is not `modbatt data <version>`"))?;
    if version != VERSION.to_string() {
        return Err(Error::Version { path: path.to_owned(), found: version.chars().take(20).collect() });
    }
    let mut chain = [0; 32];
    lines
        .next()
        .and_then(|line| line.strip_prefix("chain "))
        .and_then(|id| hex::decode_to_slice(id, &mut chain).ok())
        .ok_or_else(|| damaged(&file, "its second line is not `chain <64 hex digits>`"))?;
    Ok(chain)
}

/// Reads a text file of bounded length; [`Error::Missing`] if it is not there.
fn read_text(path: &Path) -> Result<String, Error> {
    let read = || -> io::Result<Option<String>> {
        if fs::metadata(path)?.len() > TEXT_MAX {
            return Ok(None);
        }
        Ok(String::from_utf8(fs::read(path)?).ok())
    };
    match read() {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(damaged(path, "it is not a text file")),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::Missing(path.to_owned())),
        Err(e) => Err(Error::Io { path: path.to_owned(), what: reason(&e) }),
    }
}

/// Writes a file and syncs it.
fn write_file(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Replaces a file at once: readers see the old or the new content, never a part. What is no file (a terminal, a
/// pipe) is written to instead.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes, false)
}

/// Like [`replace_file`], for what only the owner may read.
pub fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes, true)
}

/// What a private file is called until it is whole. It is always the same name, so that a secret which a cut left there is found.
pub fn unfinished(path: &Path) -> PathBuf {
    beside(path, ".new")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

fn replace(path: &Path, bytes: &[u8], private: bool) -> Result<(), Error> {
    // Through a link the file it leads to is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes));
        return written.map_err(|e| system(path, &e));
    }
    let temporary = match private {
        true => unfinished(path),
        false => beside(path, &format!(".{}.new", std::process::id())),
    };
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(system(&temporary, &e)),
        _ => {}
    }
    let written = write_file(&temporary, bytes, private).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| {
        // The first failure is the one to report; what is left of the file is of no use.
        let _ = fs::remove_file(&temporary);
        system(path, &e)
    })
}

#[cfg(unix)]
fn private_folder(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

#[cfg(not(unix))]
fn private_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes the names in a folder durable.
#[cfg(unix)]
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Other systems write names through.
#[cfg(not(unix))]
pub fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::sign::SigningKey;
    use ledger::genesis::{Params, Validator};

    fn genesis(name: &str) -> Genesis {
        // The Ed25519 base point.
        let mut validator = [0x66; 32];
        validator[0] = 0x58;
        Genesis {
            name: name.into(),
            time_ms: 1_700_000_000_000,
            validators: vec![Validator { key: validator, power: 1 }],
            roots: vec![],
            authorities: vec![SigningKey::from_bytes(&[2; 32]).unwrap().public()],
            operators: vec![],
            params: Params::default(),
            accounts: vec![],
            rules: 1,
        }
    }

    fn make(path: &Path) -> DataDir {
        DataDir::open_or_create(
            path,
            || Ok::<_, Error>(genesis("one")),
            |dir| dir.write_key("root", &[7; 32]),
        )
        .unwrap()
    }

    fn again(path: &Path) -> Result<DataDir, Error> {
        DataDir::open_or_create(
            path,
            || unreachable!("the directory exists"),
            |_| unreachable!("it is filled"),
        )
    }

    /// What a cut left of a private file is not left beside it, and not written into: somebody else may have it open.
    #[cfg(unix)]
    #[test]
    fn what_a_cut_left_of_a_private_file_is_found_again() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key");
        fs::write(unfinished(&path), b"half of an old key").unwrap();
        fs::set_permissions(unfinished(&path), fs::Permissions::from_mode(0o644)).unwrap();
        replace_private(&path, b"key").unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o777, fs::read(&path).unwrap()), (0o600, b"key".to_vec()));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_directory_is_made_once_and_found_again() {
        let temp = tempfile::tempdir().unwrap();
        for path in [temp.path().to_owned(), temp.path().join("receipts/deep/new")] {
            let made = make(&path);
            assert_eq!(fs::read(made.keys().join("root")).unwrap(), [7; 32]);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
                assert_eq!((mode(&made.keys()), mode(&made.keys().join("root"))), (0o700, 0o600));
            }
            let chain = *made.chain_id();
            drop(made);
            let found = again(&path).unwrap();
            assert_eq!((found.chain_id(), found.genesis()), (&chain, &genesis("one")));
            assert!(found.ledger().is_dir() && found.flash().is_dir() && found.receipts().is_dir());
            assert_eq!(
                api::genesis::trust_from_json(&fs::read_to_string(found.trust_file()).unwrap()).unwrap(),
                genesis("one").trust()
            );
        }
    }

    #[test]
    fn an_interrupted_making_is_made_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let stop = |_: &DataDir| Err(Error::DiskFull("here".into()));
        let first = DataDir::open_or_create(&path, || Ok(genesis("lost")), stop);
        assert!(matches!(first, Err(Error::DiskFull(_))));
        assert!(matches!(DataDir::open(&path), Err(Error::Foreign(_))), "it is not usable");
        fs::write(path.join("keys/half"), "written").unwrap();
        let made = make(&path);
        assert_eq!(made.genesis(), &genesis("one"));
        assert!(!made.keys().join("half").exists(), "keys of the lost chain are gone");
        assert!(!path.join(UNFINISHED).exists());
    }

    #[test]
    fn two_programs_never_make_the_same_directory() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let made = DataDir::open_or_create(
            &path,
            || Ok(genesis("one")),
            |dir| {
                dir.write_key("root", &[1; 32])?;
                let other =
                    DataDir::open_or_create(&path, || Ok(genesis("two")), |_| unreachable!("it is locked"));
                assert!(matches!(other, Err(Error::InUse { .. })), "{other:?}");
                Ok::<_, Error>(())
            },
        );
        let made = made.unwrap();
        // As if the other had seen the empty directory before and was only now about to make it.
        let late = DataDir::create(&path, &genesis("two"), |_| unreachable!("it is complete"));
        assert!(matches!(late, Err(Error::InUse { .. })), "{late:?}");
        assert_eq!(fs::read(made.keys().join("root")).unwrap(), [1; 32]);
        assert!(matches!(again(&path), Err(Error::InUse { .. })), "the maker runs on it");
        drop(made);
        assert_eq!(again(&path).unwrap().genesis(), &genesis("one"));
    }

    #[test]
    fn only_one_program_runs_on_a_directory() {
        let temp = tempfile::tempdir().unwrap();
        let first = make(temp.path());
        let second = again(temp.path()).unwrap_err();
        assert!(second.to_string().contains("in use by another modbatt; stop"), "{second}");
        let run = Run { url: "http://127.0.0.1:5".into(), pid: 77 };
        first.announce(&run).unwrap();
        let second = again(temp.path()).unwrap_err();
        assert!(second.to_string().contains("(process 77 at http://127.0.0.1:5)"), "{second}");
        assert_eq!(DataDir::open(temp.path()).unwrap().run().unwrap(), Some(run), "reading is allowed");
        first.retire().unwrap();
        first.retire().unwrap();
        assert_eq!(first.run().unwrap(), None);
        drop(first);
        again(temp.path()).unwrap();
    }

    #[test]
    fn every_wrong_directory_gets_its_own_sentence() {
        type Spoil = fn(&Path);
        let format = |text: &str, path: &Path| fs::write(path.join(FORMAT), text).unwrap();
        let rows: [(Spoil, &str); 11] = [
            (|p| fs::remove_dir_all(p).unwrap(), "there is no data directory"),
            (
                |p| {
                    fs::remove_dir_all(p).unwrap();
                    fs::write(p, "x").unwrap()
                },
                "is not a directory",
            ),
            (|p| fs::remove_file(p.join(FORMAT)).unwrap(), "is not a modbatt data directory"),
            (
                |p| fs::write(p.join(FORMAT), [0xFF, 0xFE]).unwrap(),
                "format is damaged: it is not a text file",
            ),
            (|p| fs::remove_file(p.join(GENESIS)).unwrap(), "genesis.json is damaged: it is missing"),
            (|p| fs::write(p.join(GENESIS), "{").unwrap(), "genesis.json is damaged: not a genesis in JSON"),
            (
                |p| fs::write(p.join(GENESIS), api::genesis::to_json(&genesis("two"))).unwrap(),
                "belongs to chain",
            ),
            (
                |p| fs::write(p.join(FORMAT), "modbatt data 2\nchain 00\n").unwrap(),
                "has data format 2, this build knows 1",
            ),
            (|p| fs::write(p.join(FORMAT), "").unwrap(), "first line is not"),
            (|p| fs::write(p.join(FORMAT), "modbatt data 1\n").unwrap(), "second line is not"),
            (|p| fs::write(p.join(FORMAT), "modbatt data 1\nchain 0000\n").unwrap(), "second line is not"),
        ];
        for (spoil, expected) in rows {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("data");
            drop(make(&path));
            spoil(&path);
            let error = DataDir::open(&path).unwrap_err();
            assert!(error.to_string().contains(expected), "{expected}: {error}");
            assert!(matches!(Failure::from(error), Failure::Input(_)), "{expected}");
        }
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(again(temp.path()), Err(Error::Foreign(_))), "foreign files stay untouched");
        drop(make(&temp.path().join("data")));
        fs::write(temp.path().join("data").join(RUN), "{}").unwrap();
        assert!(matches!(
            DataDir::open(&temp.path().join("data")).unwrap().run(),
            Err(Error::Damaged { .. })
        ));
        format("modbatt data 1\n", &temp.path().join("data"));
        assert!(
            matches!(again(&temp.path().join("data")), Err(Error::Damaged { .. })),
            "never made anew over data"
        );
    }

    #[test]
    fn the_system_s_refusals_are_told_apart() {
        let full = system(Path::new("x"), &io::Error::from(ErrorKind::StorageFull));
        assert!(full.to_string().contains("the disk that holds x is full"));
        #[cfg(target_os = "linux")]
        {
            // Nobody, not even root, makes directories there.
            let refused = DataDir::open_or_create(
                Path::new("/sys/modbatt"),
                || Ok(genesis("one")),
                |_| Ok::<_, Error>(()),
            );
            assert!(matches!(refused, Err(Error::NotWritable { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("r");
        replace_file(&path, b"old").unwrap();
        replace_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::create_dir(temp.path().join("folder")).unwrap();
        assert!(replace_file(&temp.path().join("folder"), b"x").is_err());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "no temporary file is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt;
            let link = temp.path().join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            replace_file(&link, b"through").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"through");
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            replace_file(Path::new("/dev/null"), b"x").unwrap();
            assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        }
    }
}
