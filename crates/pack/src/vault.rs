//! The record store of a device: sealed records in a ring of flash pages that survives a power cut at any word
//! (`spec/channel.md`, H130 to H135).
//!
//! The pages are a log. Page sequence s lies in page (s - 1) mod n, so that erasures spread evenly. A page is opened
//! when the last one is full; when that leaves no erased page, the live records of the oldest page are copied into
//! it first, word by word as they are, and only then is the oldest page erased. What the last word of the page's
//! head does not confirm never happened.
//!
//! **No nonce twice.** The nonce of a record is its generation (u32) and 8 random bytes. A generation is durable
//! before anything is sealed under it: the header word of a record carries it, is programmed first and read back. The
//! next generation is above every readable header and above the base that each page carries. A page that was opened
//! but not confirmed holds copies only, which seal nothing anew. So a cut at any word can at most waste a generation.
//! The random bytes protect against what no counter can see, a restored image of the whole flash.
//!
//! **Nothing old stays readable.** Once a newer record is durable the words of the one that it replaces are
//! programmed to zero, which flash of this kind allows without an erasure.

mod layout;
mod pages;

use crate::identity::{Loaded, RECORD_MAX, Record, key};
use crate::lifecycle::Condition;
use lct::{
    Error,
    counter::{RECORD_LEN as COUNTER_LEN, Reservation},
    secret::Secret,
    sign::SigningKey,
    storage::{StorageKeys, TAG_LEN, open_record, seal_record},
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

pub use layout::{BLANK, PAGE_SIZE, PAGE_WORDS, WORD_LEN, Word};
use layout::{Header, Kind};

/// Most keys that a vault holds: 32 relationships of 16 records each and what the device itself keeps.
pub const KEYS_MAX: usize = 640;
/// Fewest pages: one to write, one to read, one erased.
pub const PAGES_MIN: usize = 3;

/// The flash did not do what was asked. What it holds is known only after it is mounted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlashFailed;

/// NOR flash with error correction: pages of [`PAGE_SIZE`] bytes that are erased as a whole, words of 64 bits that are
/// programmed once, or again to zero.
pub trait Flash {
    /// Number of pages, at least [`PAGES_MIN`]; constant.
    fn pages(&self) -> usize;
    /// The word; `None` when error correction gives up, as on a word that was half programmed.
    fn read(&self, page: usize, word: usize) -> Option<Word>;
    /// Programs an erased word, or any word to zero.
    fn program(&mut self, page: usize, word: usize, value: Word) -> Result<(), FlashFailed>;
    /// Erases a page: every word reads [`BLANK`].
    fn erase(&mut self, page: usize) -> Result<(), FlashFailed>;
}

/// Where a board keeps the storage key (KEK), apart from the flash that it protects.
pub trait KeyStore {
    /// The storage key; `None` when it was never set or was erased.
    fn storage_key(&self) -> Option<Secret<32>>;
    /// Replaces it. A cut leaves the old key, the new one or none; afterwards the old one is gone.
    fn set_storage_key(&mut self, key: &Secret<32>) -> Result<(), FlashFailed>;
}

/// A board that is lent, so that it outlives its vault.
impl<B: Flash> Flash for &mut B {
    fn pages(&self) -> usize {
        (**self).pages()
    }
    fn read(&self, page: usize, word: usize) -> Option<Word> {
        (**self).read(page, word)
    }
    fn program(&mut self, page: usize, word: usize, value: Word) -> Result<(), FlashFailed> {
        (**self).program(page, word, value)
    }
    fn erase(&mut self, page: usize) -> Result<(), FlashFailed> {
        (**self).erase(page)
    }
}

impl<B: KeyStore> KeyStore for &mut B {
    fn storage_key(&self) -> Option<Secret<32>> {
        (**self).storage_key()
    }
    fn set_storage_key(&mut self, key: &Secret<32>) -> Result<(), FlashFailed> {
        (**self).set_storage_key(key)
    }
}

/// Why a vault refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultError {
    /// The flash failed; mount it again.
    Flash,
    /// Live records fill the pages.
    Full,
    /// A counter reservation that does not verify or does not belong under this key.
    Malformed,
    /// Too few pages.
    Geometry,
    /// Sequence numbers are used up: the flash is long worn out.
    Exhausted,
}

impl core::fmt::Display for VaultError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            VaultError::Flash => "the flash failed; start the device again",
            VaultError::Full => "the flash is full",
            VaultError::Malformed => "not a counter reservation of this device for this key",
            VaultError::Geometry => "too few flash pages",
            VaultError::Exhausted => "the flash is worn out",
        })
    }
}

impl core::error::Error for VaultError {}

impl From<FlashFailed> for VaultError {
    fn from(_: FlashFailed) -> Self {
        VaultError::Flash
    }
}

/// Erasures so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wear {
    /// Of the page erased least.
    pub least: u32,
    /// Of the page erased most.
    pub most: u32,
}

/// Where the newest record of a key lies.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u16,
    page: u16,
    word: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sealed,
    Counter,
    /// A counter reservation that does not verify: its epoch is dead.
    Dead,
    /// Was whole once and does not verify any more.
    Damaged,
}

/// A mounted vault.
pub struct Vault<B> {
    board: B,
    keys: StorageKeys,
    /// Ascending by key.
    index: heapless::Vec<Entry, KEYS_MAX>,
    /// Sequence of the page that is written, 0 before the first.
    head: u32,
    /// Sequence of the oldest page that counts.
    tail: u32,
    next_word: usize,
    generation: u32,
    /// A page, or the header of a record, that was whole once cannot be read: nobody knows what is missing.
    page_lost: bool,
    failed: bool,
    stored: u64,
}

impl<B: Flash + KeyStore> Vault<B> {
    /// Reads the flash of the device with this identity key, completes what a power cut interrupted, and draws a
    /// storage key where there is none.
    ///
    /// A storage key that is gone while records exist was erased by a tamper circuit: everything that it sealed is
    /// erased too and the condition becomes [`Condition::Tampered`].
    pub fn mount(board: B, identity: &SigningKey, rng: &mut impl CryptoRng) -> Result<Self, VaultError> {
        if board.pages() < PAGES_MIN {
            return Err(VaultError::Geometry);
        }
        let stored = board.storage_key();
        let kek = stored.clone().unwrap_or_else(|| Secret::random(rng));
        let keys = StorageKeys::new(identity, &kek).map_err(|_| VaultError::Malformed)?;
        let mut vault = Vault {
            board,
            keys,
            index: heapless::Vec::new(),
            head: 0,
            tail: 1,
            next_word: PAGE_WORDS,
            generation: 1,
            page_lost: false,
            failed: false,
            stored: 0,
        };
        let pending_erase = vault.scan()?;
        vault.clean()?;
        match (stored.is_none(), pending_erase) {
            (_, true) => vault.finish_erase(rng)?,
            (true, false) if vault.head == 0 => vault.board.set_storage_key(&kek)?,
            (true, false) => {
                vault.store(&Condition::Tampered.record().map_err(|_| VaultError::Malformed)?, rng)?;
                vault.erase_all(rng)?;
            }
            (false, false) => {}
        }
        Ok(vault)
    }

    /// The board, with what it holds now.
    pub fn board(&self) -> &B {
        &self.board
    }
    /// The board, for a simulation that disturbs it.
    pub fn board_mut(&mut self) -> &mut B {
        &mut self.board
    }
    /// The board of a device that is switched off.
    pub fn into_board(self) -> B {
        self.board
    }
    /// Records stored since it was mounted.
    pub fn stored(&self) -> u64 {
        self.stored
    }
    /// True when a record or a page that was whole once cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.page_lost || self.index.iter().any(|e| e.state == State::Damaged)
    }

    /// The newest value under `key`.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] when it was whole once and does not verify any more: never an older one instead.
    pub fn load(&self, key: u16) -> Loaded {
        let Some(entry) = self.position(key).ok().map(|at| self.index[at]) else {
            return if self.page_lost { Err(Error::NotAuthentic) } else { Ok(None) };
        };
        match entry.state {
            State::Damaged | State::Dead => Err(Error::NotAuthentic),
            State::Counter => self.counter(entry.page.into(), entry.word.into()).map(|(r, _)| Some(r)),
            State::Sealed => {
                let record = self.open(entry.page.into(), entry.word.into())?;
                Ok((!record.value.is_empty()).then_some(record))
            }
        }
    }

    /// Makes `record` durable: read back and verified when this returns `Ok`. After an error the old or the new value
    /// counts, and the flash has to be mounted again. [`key::ERASE_ALL`] erases everything that does not last.
    pub fn store(&mut self, record: &Record, rng: &mut impl CryptoRng) -> Result<(), VaultError> {
        if self.failed {
            return Err(VaultError::Flash);
        }
        let result = match (record.key, record.value.starts_with(b"MBC1")) {
            (key::ERASE_ALL, _) => self.erase_all(rng),
            (_, true) => self.store_counter(record),
            (_, false) => self.store_sealed(record, rng),
        };
        self.stored += u64::from(result.is_ok());
        self.failed = result.is_err_and(|e| e != VaultError::Malformed);
        result
    }

    /// Erases every record but those of [`key::is_lasting`], and the storage key.
    fn erase_all(&mut self, rng: &mut impl CryptoRng) -> Result<(), VaultError> {
        // From this record on nothing before it counts; a cut at any later point is completed at the next start.
        self.append(Kind::EraseAll, key::ERASE_ALL, &[], rng)?;
        self.finish_erase(rng)
    }

    fn finish_erase(&mut self, rng: &mut impl CryptoRng) -> Result<(), VaultError> {
        self.index.retain(|e| key::is_lasting(e.key));
        let kek = Secret::random(rng);
        self.board.set_storage_key(&kek)?;
        self.keys = self.keys.renewed(&kek).map_err(|_| VaultError::Malformed)?;
        self.page_lost = false;
        self.open_page(true)
    }

    fn store_sealed(&mut self, record: &Record, rng: &mut impl CryptoRng) -> Result<(), VaultError> {
        let known = self.position(record.key).is_ok();
        if !known && self.index.is_full() {
            return Err(VaultError::Full);
        }
        let (page, word) = self.append(Kind::Sealed, record.key, &record.value, rng)?;
        // Where the old one lies is asked only now: making room may have moved it.
        self.supersede(record.key, page, word)
    }

    /// Seals `value` at the end of the log; returns where.
    fn append(
        &mut self,
        kind: Kind,
        key: u16,
        value: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(usize, usize), VaultError> {
        let header = Header { kind, length: value.len() as u16, key, generation: self.generation };
        self.make_room(header.words())?;
        let (page, start) = (self.physical(self.head), self.next_word);
        // Durable before anything is sealed under it.
        let first = header.encode();
        self.program(page, start, first)?;
        self.generation = header.generation.checked_add(1).ok_or(VaultError::Exhausted)?;
        self.next_word = start + header.words();
        let mut salt = [0; WORD_LEN];
        rng.fill_bytes(&mut salt);
        self.program(page, start + 1, salt)?;
        let mut text = Zeroizing::new([0; RECORD_MAX]);
        let text = text.get_mut(..value.len()).ok_or(VaultError::Malformed)?;
        text.copy_from_slice(value);
        let nonce = layout::nonce(header.generation, &salt);
        let tag = seal_record(self.key_of(kind, key), &nonce, &layout::aad(&first), text)
            .map_err(|_| VaultError::Malformed)?;
        let mut at = start + 2;
        for chunk in text.chunks(WORD_LEN).chain(tag.chunks(WORD_LEN)) {
            let mut word = [0; WORD_LEN];
            word[..chunk.len()].copy_from_slice(chunk);
            self.program(page, at, word)?;
            at += 1;
        }
        // Without its last word a record never was whole: that tells a cut from damage.
        self.program(page, at, [0; WORD_LEN])?;
        Ok((page, start))
    }

    fn store_counter(&mut self, record: &Record) -> Result<(), VaultError> {
        let reservation =
            Reservation::decode(&record.value, &self.keys.counters).map_err(|_| VaultError::Malformed)?;
        if record.key != key::counter(reservation.slot, reservation.tier) {
            return Err(VaultError::Malformed);
        }
        if self.position(record.key).is_err() && self.index.is_full() {
            return Err(VaultError::Full);
        }
        self.make_room(COUNTER_LEN / WORD_LEN)?;
        let (page, start) = (self.physical(self.head), self.next_word);
        for (i, chunk) in record.value.chunks(WORD_LEN).enumerate() {
            let word = Word::try_from(chunk).map_err(|_| VaultError::Malformed)?;
            self.program(page, start + i, word)?;
            self.next_word = start + i + 1;
        }
        // Read back and verified before a counter is used.
        if self.counter(page, start).ok().map(|(_, r)| r) != Some(reservation) {
            return Err(VaultError::Flash);
        }
        self.set(record.key, page, start, State::Counter)
    }

    // --- reading --------------------------------------------------------------------------------------

    fn key_of(&self, kind: Kind, key: u16) -> &Secret<32> {
        let lasting = kind == Kind::EraseAll || key::is_lasting(key);
        if lasting { &self.keys.lasting } else { &self.keys.storage }
    }

    /// Opens the sealed record whose header is at `word`.
    fn open(&self, page: usize, word: usize) -> Result<Record, Error> {
        let first = self.board.read(page, word).ok_or(Error::NotAuthentic)?;
        let header = Header::decode(&first).ok_or(Error::NotAuthentic)?;
        let salt = self.board.read(page, word + 1).ok_or(Error::NotAuthentic)?;
        let length = usize::from(header.length);
        let mut record = Record { key: header.key, value: heapless::Vec::new() };
        record.value.resize(length, 0).map_err(|_| Error::NotAuthentic)?;
        let mut at = word + 2;
        for chunk in record.value.chunks_mut(WORD_LEN) {
            let value = self.board.read(page, at).ok_or(Error::NotAuthentic)?;
            chunk.copy_from_slice(&value[..chunk.len()]);
            at += 1;
        }
        let mut tag = [0; TAG_LEN];
        for chunk in tag.chunks_mut(WORD_LEN) {
            chunk.copy_from_slice(&self.board.read(page, at).ok_or(Error::NotAuthentic)?);
            at += 1;
        }
        let nonce = layout::nonce(header.generation, &salt);
        let key = self.key_of(header.kind, header.key);
        open_record(key, &nonce, &layout::aad(&first), &mut record.value, &tag)?;
        Ok(record)
    }

    /// The counter reservation at `word`, as a record and as read.
    fn counter(&self, page: usize, word: usize) -> Result<(Record, Reservation), Error> {
        let mut bytes = [0; COUNTER_LEN];
        for (i, chunk) in bytes.chunks_mut(WORD_LEN).enumerate() {
            chunk.copy_from_slice(&self.board.read(page, word + i).ok_or(Error::NotAuthentic)?);
        }
        let reservation = Reservation::decode(&bytes, &self.keys.counters)?;
        let key = key::counter(reservation.slot, reservation.tier);
        Ok((Record::new(key, &[&bytes])?, reservation))
    }

    // --- index ----------------------------------------------------------------------------------------

    fn position(&self, key: u16) -> Result<usize, usize> {
        self.index.binary_search_by_key(&key, |e| e.key)
    }

    fn set(&mut self, key: u16, page: usize, word: usize, state: State) -> Result<(), VaultError> {
        let entry = Entry { key, page: page as u16, word: word as u16, state };
        match self.position(key) {
            Ok(at) => self.index[at] = entry,
            Err(at) => self.index.insert(at, entry).map_err(|_| VaultError::Full)?,
        }
        Ok(())
    }
}
