//! Bytes of a page and of a record (`spec/channel.md`, H131 and H132).
//!
//! A page begins with four words: 0 times it was erased, 1 its sequence, 2 the first generation that was not used when
//! it was opened, 3 the sequence of the oldest page that counts, which confirms the page. Each is `value u32 |
//! complement of value u32`, big-endian, so that no half-programmed word passes for another value.
//!
//! ```text
//! sealed record:  header | salt 8 | ciphertext n, zeros up to a whole word | tag 16 | 8 zeros
//! header:         kind 4 bits, length 12 bits | key u16 | generation u32
//! nonce:          generation u32 | salt 8          AAD: "modbatt1 vault" | header
//! ```

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
/// Bytes of a word, the unit of programming.
pub const WORD_LEN: usize = 8;
/// Words of a page.
pub const PAGE_WORDS: usize = PAGE_SIZE / WORD_LEN;
/// One word as read.
pub type Word = [u8; WORD_LEN];
/// A word after an erasure.
pub const BLANK: Word = [0xFF; WORD_LEN];

/// Words at the beginning of a page that hold no record.
pub(super) const HEAD_WORDS: usize = 4;
/// Word 0 of a page: how often it was erased; written right after an erasure, so it also says that it was completed.
pub(super) const ERASED: usize = 0;
/// Word 1: sequence of the page.
pub(super) const SEQUENCE: usize = 1;
/// Word 2: first unused generation at opening.
pub(super) const GENERATION: usize = 2;
/// Word 3: sequence of the oldest page that counts, written last.
pub(super) const TAIL: usize = 3;

/// Words of a record besides its ciphertext: header, salt, tag, end.
const FRAME_WORDS: usize = 5;

pub(super) fn is_blank(word: &Option<Word>) -> bool {
    *word == Some(BLANK)
}

pub(super) fn is_zero(word: &Option<Word>) -> bool {
    *word == Some([0; WORD_LEN])
}

/// `value u32 | complement u32`.
pub(super) fn number(value: u32) -> Word {
    let mut word = [0; WORD_LEN];
    word[..4].copy_from_slice(&value.to_be_bytes());
    word[4..].copy_from_slice(&(!value).to_be_bytes());
    word
}

pub(super) fn read_number(word: Option<Word>) -> Option<u32> {
    let [a, b, c, d, e, f, g, h] = word?;
    let value = u32::from_be_bytes([a, b, c, d]);
    (u32::from_be_bytes([e, f, g, h]) == !value).then_some(value)
}

/// What a sealed record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The value of a key.
    Sealed = 0xA,
    /// Nothing before it counts but what lasts.
    EraseAll = 0xE,
}

/// First word of a sealed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) length: u16,
    pub(super) key: u16,
    pub(super) generation: u32,
}

impl Header {
    pub(super) fn encode(&self) -> Word {
        let [a, b] = ((self.kind as u16) << 12 | self.length).to_be_bytes();
        let [c, d] = self.key.to_be_bytes();
        let [e, f, g, h] = self.generation.to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }

    pub(super) fn decode(word: &Word) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = *word;
        let first = u16::from_be_bytes([a, b]);
        let kind = match first >> 12 {
            0xA => Kind::Sealed,
            0xE => Kind::EraseAll,
            _ => return None,
        };
        let length = first & 0x0FFF;
        (usize::from(length) <= crate::identity::RECORD_MAX).then_some(Header {
            kind,
            length,
            key: u16::from_be_bytes([c, d]),
            generation: u32::from_be_bytes([e, f, g, h]),
        })
    }

    /// Words of the record from its header to its end.
    pub(super) fn words(&self) -> usize {
        FRAME_WORDS + usize::from(self.length).div_ceil(WORD_LEN)
    }
}

pub(super) fn nonce(generation: u32, salt: &Word) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&generation.to_be_bytes());
    nonce[4..].copy_from_slice(salt);
    nonce
}

pub(super) fn aad(header: &Word) -> [u8; 22] {
    let mut aad = [0; 22];
    aad[..14].copy_from_slice(b"modbatt1 vault");
    aad[14..].copy_from_slice(header);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Freezes the bytes: a flash written today has to be read tomorrow.
    #[test]
    fn the_bytes_of_page_words_and_headers() {
        assert_eq!(number(0x0102_0304), [1, 2, 3, 4, 0xFE, 0xFD, 0xFC, 0xFB]);
        let header = Header { kind: Kind::Sealed, length: 256, key: 0x1001, generation: 7 };
        assert_eq!(header.encode(), [0xA1, 0x00, 0x10, 0x01, 0, 0, 0, 7]);
        assert_eq!((Header::decode(&header.encode()), header.words()), (Some(header), 37));
        assert_eq!(Header { length: 0, ..header }.words(), 5);
        for bad in [BLANK, [0; 8], *b"MBC1\0\0\0\0", [0xA1, 1, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Header::decode(&bad), None, "{bad:02x?}");
        }
        assert_eq!(nonce(0x0A0B_0C0D, &[9; 8]), [0x0A, 0x0B, 0x0C, 0x0D, 9, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(aad(&[5; 8])[10..], *b"ault\x05\x05\x05\x05\x05\x05\x05\x05");
    }

    /// Programming clears bits: a word that was half programmed has ones where zeros belong.
    #[test]
    fn no_half_programmed_number_passes_for_a_number() {
        for value in [0, 1, 0x00FF_00FF, 0x8000_0001, u32::MAX] {
            let whole = number(value);
            for bit in 0..64 {
                let mut half = whole;
                half[bit / 8] |= 0x80 >> (bit % 8);
                let expected = (half == whole).then_some(value);
                assert_eq!(read_number(Some(half)), expected, "{value:08x}, bit {bit}");
            }
        }
        assert_eq!(
            (read_number(Some(BLANK)), read_number(Some([0; 8])), read_number(None)),
            (None, None, None)
        );
    }
}
