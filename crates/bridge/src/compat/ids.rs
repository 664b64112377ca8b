//! Identifiers as old clients take them: a word and 26 or 52 letters (A152).
//!
//! `word_` and the base32 (RFC 4648, lower case, without padding) of an identifier of the ledger or of an order, which is a
//! hash or random already. Nothing has to be looked up to read one, and none is longer than the 64 characters that the old
//! devices hold.

use crate::refusal::{Refusal, Reply};

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// `word_` and the letters of `bytes`.
pub(crate) fn id(word: &str, bytes: &[u8]) -> String {
    let mut out = String::with_capacity(word.len() + 1 + bytes.len().div_ceil(5) * 8);
    out.push_str(word);
    out.push('_');
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(LETTERS[((held >> bits) & 31) as usize]));
        }
    }
    if bits > 0 {
        out.push(char::from(LETTERS[((held << (5 - bits)) & 31) as usize]));
    }
    out
}

/// The bytes of an identifier; it may also be their hexadecimal digits.
pub(crate) fn parse<const N: usize>(field: &str, word: &str, text: &str) -> Reply<[u8; N]> {
    if let Ok(api::Hex(bytes)) = text.parse() {
        return Ok(bytes);
    }
    text.strip_prefix(word).and_then(|rest| rest.strip_prefix('_')).and_then(letters).ok_or_else(|| {
        let length = (N * 8).div_ceil(5);
        Refusal::format(format!("{field}: `{word}_` and {length} letters, or {} hexadecimal digits", 2 * N))
    })
}

fn letters<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(5) {
        return None;
    }
    let (mut out, mut filled) = ([0; N], 0);
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let value = LETTERS.iter().position(|l| *l == letter)?;
        held = (held << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *out.get_mut(filled)? = ((held >> bits) & 0xFF) as u8;
            filled += 1;
        }
    }
    // The last letter has no other bits: each identifier has one spelling.
    (filled == N && held & ((1 << bits) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (bytes, letters) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(id("x", bytes.as_bytes()), format!("x_{letters}"));
        }
    }

    #[test]
    fn one_spelling_each() {
        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8 * 15 + 3);
        let text = id("lct", &bytes);
        assert_eq!(text.len(), 4 + 26);
        assert_eq!(parse::<16>("id", "lct", &text).ok(), Some(bytes));
        assert_eq!(parse::<16>("id", "lct", &hex::encode(bytes)).ok(), Some(bytes));
        for bad in [
            text.to_uppercase(),
            text.replace("lct", "op"),
            format!("{text}a"),
            text[..text.len() - 1].to_owned(),
            format!("{}b", &text[..text.len() - 1]),
            "lct_".into(),
            "lct_é".into(),
            String::new(),
        ] {
            assert!(parse::<16>("id", "lct", &bad).is_err(), "{bad}");
        }
        let long = [0xA5; 32];
        assert_eq!(parse::<32>("id", "lct", &id("lct", &long)).ok(), Some(long));
    }
}
