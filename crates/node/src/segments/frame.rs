//! Frames: what one sync makes durable, told whole from torn and from damaged (`spec/ledger.md`, L90).

use std::io::{self, Read};

use lct::{
    Digest,
    hash::{Hasher, sha256},
    record::{BATCH_MAX, BatchStatement, RECORD_MAX},
};
use ledger::{
    codec::{FormatError, Reader, Writer},
    tx::MAX_STATEMENT,
};

use super::{Entry, StoredBatch, leaves::Leaves};

const MAGIC: &[u8; 4] = b"MBSG";
/// Version of the files that are written.
pub(super) const VERSION: u8 = 2;
/// Length of what a file begins with.
pub(super) const FILE_HEADER: u64 = 37;
pub(super) const FRAME_HEADER: usize = 16;
/// Longest payload of a frame; a batch of 100 records of the longest kind has 142 000 bytes.
pub(super) const MAX_PAYLOAD: usize = 4 << 20;

/// What every payload begins with: format version, then the batches.
const PAYLOAD_BEGIN: [u8; 4] = [0xA2, 0, 1, 1];

/// What a file begins with.
pub(super) fn file_header(version: u8, chain_id: &Digest) -> Vec<u8> {
    [MAGIC.as_slice(), &[version], chain_id].concat()
}

/// The version of a file that begins with `header`, or what is wrong with it.
pub(super) fn file_version(header: &[u8], chain_id: &Digest) -> Result<u8, &'static str> {
    let Some(rest) = header.strip_prefix(MAGIC) else {
        return Err("it is not a record file");
    };
    match rest.split_first() {
        Some((version, of)) if (1..=VERSION).contains(version) => {
            if of == chain_id {
                Ok(*version)
            } else {
                Err("it holds records of another chain")
            }
        }
        _ => Err("its format version is not known to this build"),
    }
}

/// The bytes of a batch in a frame.
pub(super) fn encoded(batch: &StoredBatch) -> Vec<u8> {
    let size: usize =
        batch.entries.iter().map(|e| if let Entry::Record(r) = e { r.len() + 5 } else { 36 }).sum();
    let mut w = Writer::with_capacity(size + batch.statement.len() + 8);
    w.item(batch);
    w.into_bytes()
}

/// What a frame of batches begins with; `bytes` are those of all its batches, which follow.
pub(super) fn beginning<'a>(statements: impl ExactSizeIterator<Item = &'a [u8]>, bytes: usize) -> Vec<u8> {
    let mut w = Writer::with_capacity(FRAME_HEADER + PAYLOAD_BEGIN.len() + 3);
    w.raw(&[0; FRAME_HEADER]).raw(&PAYLOAD_BEGIN).array(statements.len());
    let mut begin = w.into_bytes();
    let length = ((begin.len() - FRAME_HEADER + bytes) as u32).to_be_bytes();
    begin[..4].copy_from_slice(&length);
    begin[4..8].copy_from_slice(&sha256(&[&length])[..4]);
    begin[8..FRAME_HEADER].copy_from_slice(&statements_check(statements));
    begin
}

/// What a frame's header says of its statements; each of them commits to its records.
fn statements_check<'a>(statements: impl Iterator<Item = &'a [u8]>) -> [u8; 8] {
    let mut hasher = Hasher::new();
    statements.for_each(|statement| hasher.update(statement));
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finish()[..8]);
    check
}

/// A batch in a frame that was read.
pub(super) struct Found {
    pub statement: BatchStatement,
    /// Records that are there.
    pub present: u64,
    /// Where it lies in the payload.
    pub from: usize,
    pub to: usize,
}

/// What stands at a place in a file.
pub(super) enum Frame {
    /// A frame's header and batches; its payload is in the buffer.
    Whole([u8; FRAME_HEADER], Vec<Found>),
    /// The end of what was written: from here on there are zeros, or nothing.
    Blank,
    /// An append that never finished: behind it there are zeros, or nothing.
    Torn,
    /// Bytes that no interrupted append leaves behind.
    Damaged,
}

/// What a disk writes at once or not at all.
const SECTOR: u64 = 512;

/// Reads the frame that begins here, at `offset` of a file of `version`, into `payload`.
pub(super) fn read_frame(file: &mut impl Read, at: (u8, u64), payload: &mut Vec<u8>) -> io::Result<Frame> {
    read(file, at, payload, true)
}

/// As [`read_frame`], for who holds one batch against its statement himself: of the others only the statements are checked.
pub(super) fn read_statements(
    file: &mut impl Read,
    at: (u8, u64),
    payload: &mut Vec<u8>,
) -> io::Result<Frame> {
    read(file, at, payload, false)
}

fn read(
    file: &mut impl Read,
    (version, offset): (u8, u64),
    payload: &mut Vec<u8>,
    roots: bool,
) -> io::Result<Frame> {
    let mut header = Vec::with_capacity(FRAME_HEADER);
    payload.clear();
    file.by_ref().take(FRAME_HEADER as u64).read_to_end(&mut header)?;
    let Ok(header) = <[u8; FRAME_HEADER]>::try_from(header.as_slice()) else {
        return Ok(if zeros(&header) { Frame::Blank } else { Frame::Torn });
    };
    let Some(size) = length(&header) else {
        // Zeros were there before the frame, and stay where a sector of it did not arrive: if that of the header is missing,
        // no more follows than the rest of this frame, and so no other one.
        file.by_ref().take(MAX_PAYLOAD as u64).read_to_end(payload)?;
        if !ends(file)? {
            return Ok(Frame::Damaged);
        }
        if zeros(&header) && zeros(payload) {
            return Ok(Frame::Blank);
        }
        let torn = missing(&header, offset) && !holds_another(payload);
        return Ok(if torn { Frame::Torn } else { Frame::Damaged });
    };
    file.by_ref().take(size as u64).read_to_end(payload)?;
    if payload.len() < size {
        return Ok(Frame::Torn);
    }
    match checked(&header, version, payload, roots) {
        Some(found) => Ok(Frame::Whole(header, found)),
        None => Ok(if ends(file)? { Frame::Torn } else { Frame::Damaged }),
    }
}

pub(super) fn zeros(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

/// Whether nothing more was written: zeros follow, if anything.
fn ends(file: &mut impl Read) -> io::Result<bool> {
    let mut part = [0; 4096];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(true),
            n if zeros(&part[..n]) => {}
            _ => return Ok(false),
        }
    }
}

/// The length of the payload that a header states, if it is one.
pub(super) fn length(header: &[u8]) -> Option<usize> {
    let (length, rest) = header.split_first_chunk::<4>()?;
    let size = u32::from_be_bytes(*length) as usize;
    (size <= MAX_PAYLOAD && rest.starts_with(&sha256(&[length])[..4])).then_some(size)
}

/// Whether the length in the header of a frame at `offset` is not readable because a sector is missing in which a part of
/// it, or of the hash over it, lies.
fn missing(header: &[u8; FRAME_HEADER], offset: u64) -> bool {
    let first = usize::try_from(SECTOR - offset % SECTOR).map_or(FRAME_HEADER, |n| n.min(FRAME_HEADER));
    let (before, after) = header.split_at(first);
    // A hash that lies in the first sector cannot be wrong for what the second one lacks.
    let second = first < 8 && zeros(after);
    second || zeros(before) && (first >= 4 || restorable(header, first))
}

/// Whether another beginning of the length, of `first` bytes that are zeros here, would fit the hash over it. A short length
/// has zeros there itself.
fn restorable(header: &[u8; FRAME_HEADER], first: usize) -> bool {
    let shift = 8 * (4 - first);
    (1..=(MAX_PAYLOAD as u32) >> shift).any(|begin| {
        let mut restored = *header;
        restored[..first].copy_from_slice(&(begin << shift).to_be_bytes()[..first]);
        length(&restored).is_some()
    })
}

/// Whether a frame begins within `bytes`.
fn holds_another(bytes: &[u8]) -> bool {
    bytes.windows(FRAME_HEADER + PAYLOAD_BEGIN.len()).any(|place| {
        let (header, payload) = place.split_at(FRAME_HEADER);
        payload == PAYLOAD_BEGIN && length(header).is_some()
    })
}

/// The batches of a payload, if it is the one that was written under this header; with `roots` their records are judged too.
fn checked(header: &[u8; FRAME_HEADER], version: u8, payload: &[u8], roots: bool) -> Option<Vec<Found>> {
    // Version 1 hashes the payload; in version 2 the statements commit to the records.
    let hashed = version == 1;
    if hashed && header[8..] != sha256(&[payload])[..8] {
        return None;
    }
    let (found, statements) = batches(payload, roots && !hashed).ok()?;
    (hashed || header[8..] == statements_check(statements.into_iter())).then_some(found)
}

/// The statements of a payload.
pub(super) fn statements(payload: &[u8]) -> Result<Vec<BatchStatement>, FormatError> {
    Ok(batches(payload, false)?.0.into_iter().map(|found| found.statement).collect())
}

/// Walks over a payload: its batches and their statements. With `rooted` the records of a batch must be those of its
/// statement.
fn batches(payload: &[u8], rooted: bool) -> Result<(Vec<Found>, Vec<&[u8]>), FormatError> {
    let r = &mut Reader::new(payload);
    r.object(2, 1)?;
    r.key(1)?;
    let n = r.array(usize::MAX)?;
    let (mut found, mut statements) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let from = payload.len() - r.left();
        let (bytes, present, root) = walk(r, rooted)?;
        let statement = BatchStatement::decode(bytes).map_err(|_| FormatError::Unexpected)?;
        if rooted && root != statement.root {
            return Err(FormatError::Unexpected);
        }
        statements.push(bytes);
        found.push(Found { statement, present, from, to: payload.len() - r.left() });
    }
    r.end()?;
    Ok((found, statements))
}

/// Walks over a batch: its statement, how many records are there, and with `rooted` their root.
fn walk<'a>(r: &mut Reader<'a>, rooted: bool) -> Result<(&'a [u8], u64, Digest), FormatError> {
    if r.array(2)? != 2 {
        return Err(FormatError::Unexpected);
    }
    let statement = r.bytes(MAX_STATEMENT)?;
    let n = r.array(BATCH_MAX.into())?;
    let mut present = 0;
    let mut leaves = Leaves::default();
    for _ in 0..n {
        if r.array(2)? != 2 {
            return Err(FormatError::Unexpected);
        }
        match r.uint()? {
            0 => {
                present += 1;
                let record = r.bytes(RECORD_MAX)?;
                if rooted {
                    leaves.record(record);
                }
            }
            1 => leaves.leaf(r.fixed()?),
            _ => return Err(FormatError::Unexpected),
        }
    }
    let root = if rooted { leaves.root() } else { [0; 32] };
    Ok((statement, present, root))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose payload has about `n` bytes.
    fn frame_of(n: usize) -> Vec<u8> {
        let bytes = vec![0x40; n];
        [beginning([b"statement".as_slice()].into_iter(), bytes.len()), bytes].concat()
    }

    fn read(bytes: &[u8], offset: u64) -> Frame {
        read_frame(&mut &bytes[..], (VERSION, offset), &mut Vec::new()).unwrap()
    }

    /// At every place of a header in its sectors, with lengths that begin with one, two and three zeros.
    #[test]
    fn a_header_is_torn_only_if_it_lacks_a_sector() {
        for size in [80, 800, 200_000] {
            let whole = frame_of(size);
            for offset in 512 - FRAME_HEADER as u64..=512 {
                // A wrong bit is no missing sector.
                for bit in 0..64 {
                    let mut bytes = whole.clone();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    assert!(
                        matches!(read(&bytes, offset), Frame::Damaged),
                        "bit {bit} of {size} at {offset}"
                    );
                }
                let border = (512 - offset) as usize;
                let parts = [0..border, border..FRAME_HEADER];
                for part in parts.into_iter().filter(|part| !part.is_empty()) {
                    let mut bytes = whole.clone();
                    bytes[part.clone()].fill(0);
                    if length(&bytes).is_some() {
                        continue;
                    }
                    assert!(matches!(read(&bytes, offset), Frame::Torn), "{part:?} of {size} at {offset}");
                    // The zeros in front of which it was written, more than any frame is long.
                    let mut before_zeros = bytes.clone();
                    before_zeros.resize(bytes.len() + 2 * MAX_PAYLOAD, 0);
                    assert!(
                        matches!(read(&before_zeros, offset), Frame::Torn),
                        "{part:?} of {size} at {offset}"
                    );
                    *before_zeros.last_mut().unwrap() = 1;
                    assert!(
                        matches!(read(&before_zeros, offset), Frame::Damaged),
                        "{part:?} of {size} at {offset}"
                    );
                    // Another frame behind it: this one was acknowledged before that was written.
                    bytes.extend_from_slice(&frame_of(100));
                    assert!(matches!(read(&bytes, offset), Frame::Damaged), "{part:?} of {size} at {offset}");
                }
            }
        }
    }

    /// Zeros are the end of what was written, however many there are, and nothing else is.
    #[test]
    fn zeros_are_no_frame() {
        for n in [0, 1, 15, 16, 17, 4_096, MAX_PAYLOAD + 20, 2 * MAX_PAYLOAD] {
            let mut bytes = vec![0; n];
            assert!(matches!(read(&bytes, 37), Frame::Blank), "{n}");
            // Not a header that is there with a wrong bit, nor what no frame of any length reaches.
            if let Some(last) = bytes.last_mut() {
                *last = 1;
                let torn = n != FRAME_HEADER && n <= MAX_PAYLOAD;
                assert_eq!(matches!(read(&bytes, 37), Frame::Torn), torn, "{n}");
            }
        }
        // A payload of which nothing arrived, between its header and other zeros.
        let mut bytes = frame_of(100)[..FRAME_HEADER].to_vec();
        bytes.resize(4_096, 0);
        assert!(matches!(read(&bytes, 37), Frame::Torn));
    }
}
