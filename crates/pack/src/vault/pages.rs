//! The ring of pages: reading it at a start, opening a page, copying what lives, erasing.

use super::{layout::*, *};
use lct::schedule::Tier;

impl<B: Flash + KeyStore> Vault<B> {
    pub(super) fn physical(&self, sequence: u32) -> usize {
        (sequence.wrapping_sub(1) as usize) % self.board.pages()
    }

    fn number(&self, page: usize, word: usize) -> Option<u32> {
        read_number(self.board.read(page, word))
    }

    /// How often the pages were erased.
    pub fn wear(&self) -> Wear {
        let counts = (0..self.board.pages()).map(|p| self.number(p, ERASED).unwrap_or(0));
        Wear { least: counts.clone().min().unwrap_or(0), most: counts.max().unwrap_or(0) }
    }

    // --- at a start -----------------------------------------------------------------------------------

    /// Finds the pages that count and indexes their records; true when an erasure of everything is to be completed.
    pub(super) fn scan(&mut self) -> Result<bool, VaultError> {
        let pages = self.board.pages();
        for page in 0..pages {
            let head = (self.number(page, SEQUENCE), self.number(page, GENERATION), self.number(page, TAIL));
            let (Some(sequence), Some(generation), Some(tail)) = head else { continue };
            let fits = sequence > self.head
                && self.physical(sequence) == page
                && (1..=sequence).contains(&tail)
                && ((sequence - tail) as usize) < pages;
            if fits {
                (self.head, self.tail, self.generation) = (sequence, tail, generation);
            }
        }
        if self.head == 0 {
            return Ok(false);
        }
        let mut erase = false;
        for sequence in self.tail..=self.head {
            let page = self.physical(sequence);
            if self.number(page, SEQUENCE) != Some(sequence) {
                self.page_lost = true;
                continue;
            }
            self.next_word = self.scan_page(page, &mut erase)?;
        }
        Ok(erase)
    }

    /// Indexes the records of a page; returns its first free word.
    fn scan_page(&mut self, page: usize, erase: &mut bool) -> Result<usize, VaultError> {
        let base = self.number(page, GENERATION).unwrap_or(self.generation);
        let mut word = HEAD_WORDS;
        while word < PAGE_WORDS {
            let first = self.board.read(page, word);
            if is_blank(&first) {
                return Ok(word);
            }
            if first.is_some_and(|w| w.starts_with(b"MBC1")) && word + 4 <= PAGE_WORDS {
                self.scan_counter(page, word)?;
                word += 4;
                continue;
            }
            // A header beyond what one page can use up was half programmed: nothing was sealed under it.
            let header = first
                .and_then(|w| Header::decode(&w))
                .filter(|h| h.generation < base.saturating_add(PAGE_WORDS as u32))
                .filter(|h| word + h.words() <= PAGE_WORDS);
            let Some(header) = header else {
                // A header that was never sealed under is alone; the end of a record without one is damage.
                self.page_lost |= is_zero(&first);
                word += 1;
                continue;
            };
            self.generation = self.generation.max(header.generation.saturating_add(1));
            self.scan_sealed(page, word, &header, erase)?;
            word += header.words();
        }
        Ok(PAGE_WORDS)
    }

    fn scan_sealed(
        &mut self,
        page: usize,
        word: usize,
        header: &Header,
        erase: &mut bool,
    ) -> Result<(), VaultError> {
        let end = word + header.words();
        if !is_zero(&self.board.read(page, end - 1)) {
            // Never was whole. What it did write is of no use to anybody.
            return self.scrub(page, word);
        }
        // The first word that is scrubbed is the salt: from then on a record is replaced.
        if is_zero(&self.board.read(page, word + 1)) {
            return self.scrub(page, word);
        }
        match (self.open(page, word), header.kind) {
            (Ok(_), Kind::EraseAll) => {
                self.index.retain(|e| key::is_lasting(e.key));
                *erase = true;
                Ok(())
            }
            (Ok(record), Kind::Sealed) => self.supersede(record.key, page, word),
            // Either damaged, or the cut of a scrub: then a newer one follows and takes its place.
            (Err(_), _) => self.set(header.key, page, word, State::Damaged),
        }
    }

    /// The record at `word` is newer than what the index knows, which loses its content.
    pub(super) fn supersede(&mut self, key: u16, page: usize, word: usize) -> Result<(), VaultError> {
        let old = self.position(key).ok().map(|at| self.index[at]);
        self.set(key, page, word, State::Sealed)?;
        old.filter(|e| matches!(e.state, State::Sealed | State::Damaged))
            .map_or(Ok(()), |old| self.scrub(old.page.into(), old.word.into()))
    }

    fn scan_counter(&mut self, page: usize, word: usize) -> Result<(), VaultError> {
        if let Ok((record, _)) = self.counter(page, word) {
            return self.set(record.key, page, word, State::Counter);
        }
        // Torn or altered: whatever was reserved, its epoch is dead (H134).
        match self.board.read(page, word) {
            Some([_, _, _, _, slot @ 0..32, tier @ 0..5, ..]) => {
                let tiers = [Tier::Dev, Tier::Exch, Tier::Pair, Tier::Bind, Tier::Group];
                self.set(key::counter(slot, tiers[usize::from(tier)]), page, word, State::Dead)
            }
            _ => Ok(()),
        }
    }

    /// Erases every page that does not count and is not known to be erased completely.
    pub(super) fn clean(&mut self) -> Result<(), VaultError> {
        // A cut may have taken a count with it: then that page counts as worn as the most worn one.
        let most = self.wear().most;
        for page in 0..self.board.pages() {
            let counts = self.head != 0 && (self.tail..=self.head).any(|s| self.physical(s) == page);
            if !counts && !self.is_clean(page) {
                self.erase_page(page, most)?;
            }
        }
        Ok(())
    }

    fn is_clean(&self, page: usize) -> bool {
        let rest = ERASED + 1..PAGE_WORDS;
        self.number(page, ERASED).is_some() && rest.into_iter().all(|w| is_blank(&self.board.read(page, w)))
    }

    // --- writing --------------------------------------------------------------------------------------

    /// Programs a word and reads it back.
    pub(super) fn program(&mut self, page: usize, word: usize, value: Word) -> Result<(), VaultError> {
        self.board.program(page, word, value)?;
        if self.board.read(page, word) == Some(value) { Ok(()) } else { Err(VaultError::Flash) }
    }

    /// Erases a page and counts that; one whose count is lost was erased `unknown` times.
    fn erase_page(&mut self, page: usize, unknown: u32) -> Result<(), VaultError> {
        let count = self.number(page, ERASED).unwrap_or(unknown);
        self.board.erase(page)?;
        if !(0..PAGE_WORDS).all(|w| is_blank(&self.board.read(page, w))) {
            return Err(VaultError::Flash);
        }
        self.program(page, ERASED, number(count.saturating_add(1)))
    }

    /// Destroys what the record at `word` holds; its header stays, so that its generation stays known.
    pub(super) fn scrub(&mut self, page: usize, word: usize) -> Result<(), VaultError> {
        let Some(header) = self.board.read(page, word).and_then(|w| Header::decode(&w)) else {
            return Ok(());
        };
        for at in word + 1..(word + header.words()).min(PAGE_WORDS) {
            let present = self.board.read(page, at);
            if !is_zero(&present) && !is_blank(&present) {
                self.program(page, at, [0; WORD_LEN])?;
            }
        }
        Ok(())
    }

    /// Opens pages until `words` fit into the one that is written.
    pub(super) fn make_room(&mut self, words: usize) -> Result<(), VaultError> {
        for _ in 0..=self.board.pages() {
            if self.head != 0 && self.next_word + words <= PAGE_WORDS {
                return Ok(());
            }
            self.open_page(false)?;
        }
        Err(VaultError::Full)
    }

    /// Opens the next page. If it was the last erased one, or with `all`, the live records of the oldest page or of
    /// all pages move into it, and the pages that they leave are erased.
    pub(super) fn open_page(&mut self, all: bool) -> Result<(), VaultError> {
        let sequence = self.head.checked_add(1).ok_or(VaultError::Exhausted)?;
        let page = self.physical(sequence);
        self.program(page, SEQUENCE, number(sequence))?;
        self.program(page, GENERATION, number(self.generation))?;
        let live = if self.head == 0 { 0 } else { (self.head - self.tail + 1) as usize };
        let tail = match (all, live + 1 == self.board.pages()) {
            (true, _) => sequence,
            (false, true) => self.tail + 1,
            (false, false) => self.tail,
        };
        self.next_word = HEAD_WORDS;
        for old in self.tail..tail.min(self.head.saturating_add(1)) {
            self.move_live(self.physical(old), page)?;
        }
        self.program(page, TAIL, number(tail))?;
        for old in self.tail..tail.min(self.head.saturating_add(1)) {
            self.erase_page(self.physical(old), self.wear().most)?;
        }
        (self.head, self.tail) = (sequence, tail);
        Ok(())
    }

    /// Copies the live records of the oldest page, as they are, to the end of page `to`.
    fn move_live(&mut self, from: usize, to: usize) -> Result<(), VaultError> {
        let mut at = 0;
        while let Some(entry) = self.index.get(at).copied() {
            if usize::from(entry.page) != from {
                at += 1;
                continue;
            }
            let first = self.board.read(from, entry.word.into());
            let (words, empty) = match (entry.state, first.and_then(|w| Header::decode(&w))) {
                (State::Counter, _) => (COUNTER_LEN / WORD_LEN, false),
                (State::Sealed, Some(header)) => (header.words(), header.length == 0),
                // What cannot be read is not carried on; its owner was told at the start.
                _ => (0, true),
            };
            // In the oldest page an erased key has nothing older left to hide.
            if empty {
                self.index.remove(at);
                continue;
            }
            if self.next_word + words > PAGE_WORDS {
                return Err(VaultError::Full);
            }
            let start = self.next_word;
            for i in 0..words {
                let word = self.board.read(from, usize::from(entry.word) + i).ok_or(VaultError::Flash)?;
                self.program(to, start + i, word)?;
            }
            self.next_word = start + words;
            self.set(entry.key, to, start, entry.state)?;
            at += 1;
        }
        Ok(())
    }
}
