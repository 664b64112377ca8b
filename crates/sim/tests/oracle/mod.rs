//! Judges everything that a vault ever sent to its flash.

use pack::vault::Word;
use sim::flash::Operation;
use std::collections::BTreeMap;

/// No generation seals two contents, over everything that was ever sent to the flash; returns how many it saw.
pub fn no_nonce_twice(history: &[Operation]) -> usize {
    let mut seen: BTreeMap<u32, Vec<Word>> = BTreeMap::new();
    // A counter reservation is no sealed record; its words may look like a header.
    let mut reservation = None;
    let mut open: Option<(usize, usize, usize, Vec<Word>)> = None;
    let finish = |record: Vec<Word>, seen: &mut BTreeMap<u32, Vec<Word>>| {
        // Nothing is sealed before the header stands, so a header alone spends nothing.
        if record.len() < 2 {
            return;
        }
        let generation = u32::from_be_bytes(record[0][4..].try_into().unwrap());
        let known = seen.entry(generation).or_default();
        let common = known.len().min(record.len());
        assert_eq!(known[..common], record[..common], "generation {generation} sealed twice");
        if record.len() > known.len() {
            *known = record;
        }
    };
    for operation in history {
        let Operation::Program { page, word, value } = *operation else {
            reservation = None;
            if let Some((.., words)) = open.take() {
                finish(words, &mut seen);
            }
            continue;
        };
        if let Some((p, next, end, words)) = &mut open
            && (*p, *next) == (page, word)
        {
            words.push(value);
            *next += 1;
            if next == end
                && let Some((.., words)) = open.take()
            {
                finish(words, &mut seen);
            }
            continue;
        }
        if value.starts_with(b"MBC1") {
            reservation = Some((page, word));
        }
        if reservation.is_some_and(|(p, w)| p == page && (w..w + 4).contains(&word)) {
            continue;
        }
        reservation = None;
        if word >= 4 && matches!(value[0] >> 4, 0xA | 0xE) {
            if let Some((.., words)) = open.take() {
                finish(words, &mut seen);
            }
            let length = usize::from(u16::from_be_bytes([value[0] & 0x0F, value[1]]));
            open = Some((page, word + 1, word + 5 + length.div_ceil(8), vec![value]));
        }
    }
    if let Some((.., words)) = open {
        finish(words, &mut seen);
    }
    seen.len()
}
