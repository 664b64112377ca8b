//! The flash of a simulated device: NOR pages with error correction and the key store beside them, as
//! [`pack::vault`] expects them, in memory or in a file, with power cuts at any operation.
//!
//! A file holds a whole device and is readable by its owner only:
//!
//! ```text
//! 0 "MBNOR1\0\0" | 8 pages u32 | 12 state of the key: 0xFF none, 1 set, 0 erased | 13 zeros 3 | 16 storage key 32 |
//! 48 zeros 16 | 64 words, 8 bytes each | one bit per word, most significant first: error correction gives up
//! ```
//!
//! Every operation reaches the file when it returns; [`Nor::sync`] makes what was written durable, and an erasure does
//! so before it begins, so that what replaces a page is on the disk before the page is gone.

use lct::secret::Secret;
use lct::sign::SigningKey;
use pack::identity::Record;
use pack::vault::{BLANK, Flash, FlashFailed, KeyStore, PAGE_WORDS, Vault, WORD_LEN, Word};
use rand_core::CryptoRng;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// Pages of a pack controller: 128 KiB hold 31 modules and wear out in decades.
pub const CONTROLLER_PAGES: usize = 32;
/// Pages of a module and of an app's store, 32 KiB.
pub const MODULE_PAGES: usize = 8;

const MAGIC: [u8; 8] = *b"MBNOR1\0\0";
const HEADER: usize = 64;
const KEY_SET: u8 = 1;
const KEY_NONE: u8 = 0xFF;
const KEY_ERASED: u8 = 0;

/// Why a flash cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The file system refused.
    #[error("flash {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another part of this one, has it open.
    #[error("flash {} is in use by another process; stop that one first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Not a flash of this version.
    #[error(
        "flash {} was written by another version of this program and cannot be carried over; \
         move the data directory away and commission anew",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// A flash of this version with another size than its header says.
    #[error("flash {} is damaged: {size} bytes instead of {expected}; restore the file from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The size of a flash with so many pages.
        expected: u64,
    },
    /// The record store in it.
    #[error("flash{}: {source}", path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default())]
    Vault {
        /// The file, if it is one.
        path: Option<PathBuf>,
        /// What the store said.
        source: pack::vault::VaultError,
    },
}

/// What an operation leaves behind when the power goes while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Nothing happened yet.
    Nothing,
    /// A word: error correction gives up on it. A page: its first half is erased.
    Unreadable,
    /// A word: some bits were not cleared yet, and error correction does not notice. A page: a mixture of old, erased
    /// and unreadable words.
    Partial,
    /// It was finished.
    Complete,
}

impl Tear {
    /// Every way.
    pub const ALL: [Tear; 4] = [Tear::Nothing, Tear::Unreadable, Tear::Partial, Tear::Complete];
}

/// One operation, whether or not it was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// This value was to be programmed.
    Program {
        /// Page.
        page: usize,
        /// Word in the page.
        word: usize,
        /// Value.
        value: Word,
    },
    /// This page was to be erased.
    Erase {
        /// Page.
        page: usize,
    },
    /// The storage key was to be replaced.
    SetKey,
    /// The power came back after a cut.
    PowerOn,
}

#[derive(Debug)]
struct Medium {
    path: PathBuf,
    file: File,
}

/// A simulated flash with its key store.
#[derive(Debug)]
pub struct Nor {
    /// `None` where error correction gives up.
    words: Vec<Option<Word>>,
    key_state: u8,
    key: Secret<32>,
    medium: Option<Medium>,
    cut: Option<(u64, Tear)>,
    off: bool,
    operations: u64,
    history: Option<Vec<Operation>>,
}

impl Nor {
    /// A new flash in memory.
    pub fn in_memory(pages: usize) -> Self {
        Nor {
            words: vec![Some(BLANK); pages * PAGE_WORDS],
            key_state: KEY_NONE,
            key: Secret::new([0; 32]),
            medium: None,
            cut: None,
            off: false,
            operations: 0,
            history: None,
        }
    }

    /// Opens the flash at `path` and creates it with `pages` pages when it is not there.
    ///
    /// # Errors
    /// Any [`FlashError`] about files.
    pub fn open(path: &Path, pages: usize) -> Result<Self, FlashError> {
        let at = |source| FlashError::Io { path: path.to_path_buf(), source };
        let mut file =
            private().read(true).write(true).create(true).truncate(false).open(path).map_err(at)?;
        lock(&file, path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at)?;
        let mut nor = match bytes.is_empty() {
            true => Nor::in_memory(pages),
            false => Self::from_bytes(&bytes, path)?,
        };
        if bytes.is_empty() {
            file.write_all(&nor.to_bytes()).and_then(|()| file.sync_all()).map_err(at)?;
            sync_folder(path).map_err(at)?;
        }
        bytes.zeroize();
        nor.medium = Some(Medium { path: path.to_path_buf(), file });
        Ok(nor)
    }

    fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, FlashError> {
        let path = path.to_path_buf();
        let Some((head, body)) = bytes.split_first_chunk::<HEADER>().filter(|(h, _)| h[..8] == MAGIC) else {
            return Err(FlashError::Version { path });
        };
        let pages = u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let words = pages.saturating_mul(PAGE_WORDS);
        let expected = (HEADER as u64) + words as u64 * WORD_LEN as u64 + words as u64 / 8;
        if bytes.len() as u64 != expected || !matches!(head[12], KEY_NONE | KEY_SET | KEY_ERASED) {
            return Err(FlashError::Damaged { path, size: bytes.len() as u64, expected });
        }
        let (values, lost) = body.split_at(words * WORD_LEN);
        let mut nor = Nor::in_memory(pages);
        for (i, (word, value)) in nor.words.iter_mut().zip(values.chunks_exact(WORD_LEN)).enumerate() {
            let readable = lost[i / 8] << (i % 8) & 0x80 == 0;
            *word = value.try_into().ok().filter(|_| readable);
        }
        nor.key_state = head[12];
        nor.key = Secret::from_slice(&head[16..48]).unwrap_or(nor.key);
        Ok(nor)
    }

    /// What a dump of this flash shows, as a flash of its own in memory: powered on, without history.
    pub fn dump(&self) -> Self {
        let mut dump = Nor::in_memory(self.words.len() / PAGE_WORDS);
        (dump.words, dump.key_state, dump.key) = (self.words.clone(), self.key_state, self.key.clone());
        dump
    }

    /// The content, as a file holds it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header().to_vec();
        bytes.extend(self.words.iter().flat_map(|w| w.unwrap_or([0; WORD_LEN])));
        let mut lost = vec![0u8; self.words.len() / 8];
        for (i, _) in self.words.iter().enumerate().filter(|(_, w)| w.is_none()) {
            lost[i / 8] |= 0x80 >> (i % 8);
        }
        bytes.extend(lost);
        bytes
    }

    fn header(&self) -> [u8; HEADER] {
        let mut head = [0; HEADER];
        head[..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&((self.words.len() / PAGE_WORDS) as u32).to_be_bytes());
        head[12] = self.key_state;
        head[16..48].copy_from_slice(self.key.expose());
        head
    }

    /// The file, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        self.medium.as_ref().map(|m| m.path.as_path())
    }

    /// Makes everything durable.
    pub fn sync(&mut self) -> Result<(), FlashFailed> {
        self.medium.as_ref().map_or(Ok(()), |m| m.file.sync_data()).map_err(|_| FlashFailed)
    }

    // --- disturbances ---------------------------------------------------------------------------------

    /// Cuts the power: `operations` more succeed, the next one ends as `tear` says, and everything after it fails.
    pub fn cut_after(&mut self, operations: u64, tear: Tear) {
        self.cut = Some((operations, tear));
    }
    /// Power comes back.
    pub fn power_on(&mut self) {
        (self.cut, self.off) = (None, false);
        if let Some(history) = &mut self.history {
            history.push(Operation::PowerOn);
        }
    }
    /// True after a cut.
    pub fn is_off(&self) -> bool {
        self.off
    }
    /// Operations begun so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }
    /// Remembers every operation from now on.
    pub fn record_history(&mut self) {
        self.history.get_or_insert_default();
    }
    /// What was remembered.
    pub fn history(&self) -> &[Operation] {
        self.history.as_deref().unwrap_or_default()
    }
    /// Damages a word: `None` makes it unreadable.
    pub fn damage(&mut self, page: usize, word: usize, value: Option<Word>) {
        self.words[page * PAGE_WORDS + word] = value;
    }
    /// A tamper circuit erases the storage key.
    pub fn erase_key(&mut self) -> Result<(), FlashFailed> {
        (self.key_state, self.key) = (KEY_ERASED, Secret::new([0; 32]));
        self.write_at(0, &self.header())
    }

    /// How the operation that begins now ends.
    fn begin(&mut self, operation: Operation) -> Result<Tear, FlashFailed> {
        if self.off {
            return Err(FlashFailed);
        }
        self.operations += 1;
        if let Some(history) = &mut self.history {
            history.push(operation);
        }
        match &mut self.cut {
            Some((0, tear)) => {
                self.off = true;
                Ok(*tear)
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(Tear::Complete)
            }
            None => Ok(Tear::Complete),
        }
    }

    fn end(&self) -> Result<(), FlashFailed> {
        if self.off { Err(FlashFailed) } else { Ok(()) }
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FlashFailed> {
        let Some(medium) = &mut self.medium else { return Ok(()) };
        let written = medium.file.seek(SeekFrom::Start(offset)).and_then(|_| medium.file.write_all(bytes));
        written.map_err(|_| FlashFailed)
    }

    /// Writes the words from `first` on to the file, and their bits where one of them is or was unreadable.
    fn write_words(&mut self, first: usize, count: usize, marks: bool) -> Result<(), FlashFailed> {
        if self.medium.is_none() {
            return Ok(());
        }
        let range = &self.words[first..first + count];
        let values: Vec<u8> = range.iter().flat_map(|w| w.unwrap_or([0; WORD_LEN])).collect();
        self.write_at((HEADER + first * WORD_LEN) as u64, &values)?;
        if !marks {
            return Ok(());
        }
        let (low, high) = (first / 8, (first + count).div_ceil(8));
        let eights = self.words[low * 8..high * 8].chunks(8);
        let bits: Vec<u8> =
            eights.map(|eight| eight.iter().fold(0, |b, w| b << 1 | u8::from(w.is_none()))).collect();
        let map = HEADER + self.words.len() * WORD_LEN;
        self.write_at((map + low) as u64, &bits)
    }
}

impl Flash for Nor {
    fn pages(&self) -> usize {
        self.words.len() / PAGE_WORDS
    }

    fn read(&self, page: usize, word: usize) -> Option<Word> {
        self.words.get(page * PAGE_WORDS + word).copied().flatten()
    }

    fn program(&mut self, page: usize, word: usize, value: Word) -> Result<(), FlashFailed> {
        let at = page * PAGE_WORDS + word;
        let old = *self.words.get(at).ok_or(FlashFailed)?;
        if old != Some(BLANK) && value != [0; WORD_LEN] {
            return Err(FlashFailed);
        }
        let tear = self.begin(Operation::Program { page, word, value })?;
        self.words[at] = match tear {
            Tear::Nothing => old,
            Tear::Unreadable => None,
            // Programming clears bits: those of every second position are not cleared yet.
            Tear::Partial => {
                let mut half = value;
                let before = old.unwrap_or(BLANK);
                half.iter_mut().zip(before).for_each(|(new, old)| *new |= old & 0x55);
                Some(half)
            }
            Tear::Complete => Some(value),
        };
        let marks = old.is_none() || self.words[at].is_none();
        self.write_words(at, 1, marks)?;
        self.end()
    }

    fn erase(&mut self, page: usize) -> Result<(), FlashFailed> {
        let range = page * PAGE_WORDS..(page + 1) * PAGE_WORDS;
        let tear = self.begin(Operation::Erase { page })?;
        let words = self.words.get_mut(range.clone()).ok_or(FlashFailed)?;
        if words.iter().all(|w| *w == Some(BLANK)) {
            return self.end();
        }
        // What takes the page's place must be on the disk before the page is gone.
        self.sync()?;
        for (i, word) in self.words[range.clone()].iter_mut().enumerate() {
            let seven = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61;
            *word = match (tear, seven) {
                (Tear::Nothing, _) => *word,
                (Tear::Unreadable, _) if i >= PAGE_WORDS / 2 => *word,
                (Tear::Partial, 0..=2) => *word,
                (Tear::Partial, 3..=4) => None,
                _ => Some(BLANK),
            };
        }
        self.write_words(range.start, PAGE_WORDS, true)?;
        self.end()
    }
}

impl KeyStore for Nor {
    fn storage_key(&self) -> Option<Secret<32>> {
        (self.key_state == KEY_SET).then(|| self.key.clone())
    }

    fn set_storage_key(&mut self, key: &Secret<32>) -> Result<(), FlashFailed> {
        match self.begin(Operation::SetKey)? {
            Tear::Nothing => {}
            Tear::Unreadable | Tear::Partial => {
                (self.key_state, self.key) = (KEY_ERASED, Secret::new([0; 32]));
            }
            Tear::Complete => (self.key_state, self.key) = (KEY_SET, key.clone()),
        }
        self.write_at(0, &self.header())?;
        self.end()
    }
}

/// Mounts the record store of the device with this identity key and makes what that wrote durable.
///
/// # Errors
/// [`FlashError::Vault`].
pub fn mount(nor: Nor, identity: &SigningKey, rng: &mut impl CryptoRng) -> Result<Vault<Nor>, FlashError> {
    let path = nor.path().map(Path::to_path_buf);
    let mounted = Vault::mount(nor, identity, rng).and_then(|mut vault| {
        vault.board_mut().sync()?;
        Ok(vault)
    });
    mounted.map_err(|source| FlashError::Vault { path, source })
}

/// Stores a record, durable when this returns `Ok`.
///
/// # Errors
/// [`FlashError::Vault`]: the flash has to be mounted again.
pub fn keep(vault: &mut Vault<Nor>, record: &Record, rng: &mut impl CryptoRng) -> Result<(), FlashError> {
    let stored = vault.store(record, rng).and_then(|()| Ok(vault.board_mut().sync()?));
    stored.map_err(|source| FlashError::Vault { path: vault.board().path().map(Path::to_path_buf), source })
}

fn lock(file: &File, path: &Path) -> Result<(), FlashError> {
    let path = path.to_path_buf();
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => FlashError::InUse { path },
        TryLockError::Error(source) => FlashError::Io { path, source },
    })
}

/// Options for a file that only its owner may read.
fn private() -> OpenOptions {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a new entry of the folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    // Elsewhere a folder cannot be opened as a file; the entry itself is journalled.
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    const VALUE: Word = [1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn a_word_is_programmed_once_or_again_to_zero() {
        let mut nor = Nor::in_memory(3);
        nor.program(1, 5, VALUE).unwrap();
        assert_eq!(nor.program(1, 5, [9; 8]), Err(FlashFailed));
        assert_eq!(nor.read(1, 5), Some(VALUE));
        nor.program(1, 5, [0; 8]).unwrap();
        assert_eq!((nor.read(1, 5), nor.read(1, 4)), (Some([0; 8]), Some(BLANK)));
        nor.erase(1).unwrap();
        assert_eq!(nor.read(1, 5), Some(BLANK));
        assert_eq!(nor.operations(), 3);
    }

    #[test]
    fn every_tear_of_a_word_and_of_a_page() {
        let half = VALUE.map(|b| b | 0x55);
        for (tear, expected) in [
            (Tear::Nothing, Some(BLANK)),
            (Tear::Unreadable, None),
            (Tear::Partial, Some(half)),
            (Tear::Complete, Some(VALUE)),
        ] {
            let mut nor = Nor::in_memory(3);
            nor.cut_after(1, tear);
            nor.program(0, 0, VALUE).unwrap();
            assert_eq!(nor.program(0, 1, VALUE), Err(FlashFailed));
            assert_eq!((nor.read(0, 0), nor.read(0, 1)), (Some(VALUE), expected), "{tear:?}");
            assert_eq!(nor.program(0, 2, VALUE), Err(FlashFailed), "the power is off");
            nor.power_on();
            nor.program(0, 1, [0; 8]).unwrap();
            nor.program(0, 2, VALUE).unwrap();
        }
        for (tear, old, erased) in [
            (Tear::Nothing, 512, 0),
            (Tear::Unreadable, 256, 256),
            (Tear::Partial, 192, 192),
            (Tear::Complete, 0, 512),
        ] {
            let mut nor = Nor::in_memory(3);
            (0..PAGE_WORDS).for_each(|w| nor.program(2, w, VALUE).unwrap());
            nor.cut_after(0, tear);
            assert_eq!(nor.erase(2), Err(FlashFailed));
            let words: Vec<_> = (0..PAGE_WORDS).map(|w| nor.read(2, w)).collect();
            let count = |v| words.iter().filter(|w| **w == v).count();
            assert!(count(Some(VALUE)).abs_diff(old) <= 2, "{tear:?}: {}", count(Some(VALUE)));
            assert!(count(Some(BLANK)).abs_diff(erased) <= 2, "{tear:?}: {}", count(Some(BLANK)));
        }
    }

    #[test]
    fn a_file_holds_words_tears_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.flash");
        let mut nor = Nor::open(&path, 4).unwrap();
        assert!(nor.storage_key().is_none());
        nor.program(0, 0, VALUE).unwrap();
        nor.program(3, 511, VALUE).unwrap();
        nor.set_storage_key(&Secret::new([7; 32])).unwrap();
        nor.cut_after(0, Tear::Unreadable);
        assert!(nor.program(2, 9, VALUE).is_err());
        let before = nor.to_bytes();
        assert!(matches!(Nor::open(&path, 4), Err(FlashError::InUse { .. })));
        drop(nor);
        assert_eq!(std::fs::read(&path).unwrap(), before, "each operation reached the file");
        let mut nor = Nor::open(&path, 99).unwrap();
        assert_eq!((nor.pages(), nor.read(0, 0), nor.read(3, 511)), (4, Some(VALUE), Some(VALUE)));
        assert_eq!((nor.read(2, 9), nor.read(2, 8)), (None, Some(BLANK)));
        assert_eq!(nor.storage_key(), Some(Secret::new([7; 32])));
        nor.program(2, 9, [0; 8]).unwrap();
        nor.erase_key().unwrap();
        drop(nor);
        let nor = Nor::open(&path, 4).unwrap();
        assert_eq!((nor.read(2, 9), nor.storage_key()), (Some([0; 8]), None), "the mark of the tear is gone");
    }

    /// Records of a device: two values of one, of which the second counts, one that is long, and one that is erased.
    fn records() -> Vec<Record> {
        [
            (0x101, vec![1; 40]),
            (0x102, vec![1, 2, 3]),
            (0x101, vec![1, 9]),
            (0x103, vec![5; 200]),
            (0x102, vec![]),
        ]
        .into_iter()
        .map(|(key, value)| Record { key, value: value.into_iter().collect() })
        .collect()
    }

    fn mounted(path: &Path) -> Vault<Nor> {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([3; 32]);
        let nor = Nor::open(path, MODULE_PAGES).unwrap();
        mount(nor, &SigningKey::from_bytes(&[5; 32]).unwrap(), &mut rng).unwrap()
    }

    /// `formats/module.flash` is what [`records`] left when the file, and the store of records in it, got the formats that they
    /// have.
    #[test]
    fn a_flash_of_this_format_opens_with_its_records() {
        let folder = tempfile::tempdir().unwrap();
        let (path, anew) = (folder.path().join("module.flash"), folder.path().join("anew.flash"));
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats/module.flash"), &path)
            .unwrap();
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([4; 32]);
        let (mut kept, mut other) = (mounted(&path), mounted(&anew));
        records().iter().for_each(|record| keep(&mut other, record, &mut rng).unwrap());
        for key in 0x100..0x105 {
            let load = |vault: &Vault<Nor>| vault.load(key).unwrap().map(|record| record.value.clone());
            assert_eq!(load(&kept), load(&other), "{key:#x}");
        }
        assert!(!kept.is_damaged());
        keep(&mut kept, &records()[1], &mut rng).unwrap();
        drop(kept);
        assert_eq!(mounted(&path).load(0x102).unwrap().unwrap().value, records()[1].value);
    }

    #[test]
    fn another_format_says_what_to_do_and_another_size_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.flash");
        // A record of the log that the first version kept.
        std::fs::write(&path, [1, 0x12, 0x34, 0, 3, 0x5D, 0x4F, b'a', b'b', b'c', 0xC0, 0xFC, 0x9D, 0x57])
            .unwrap();
        let error = Nor::open(&path, 4).unwrap_err();
        assert!(matches!(error, FlashError::Version { .. }));
        assert!(error.to_string().contains("commission anew"), "{error}");
        let mut bytes = Nor::in_memory(4).to_bytes();
        bytes.pop();
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Nor::open(&path, 4), Err(FlashError::Damaged { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.flash");
        let _nor = Nor::open(&path, 3).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
