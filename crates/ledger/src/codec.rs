//! Deterministic CBOR (RFC 8949 section 4.2.1) for everything the ledger stores or signs (`spec/ledger.md`,
//! L1 to L3).
//!
//! Objects are maps with small ascending integer keys; key 0 is the format version. [`Reader`] accepts exactly
//! what [`Writer`] produces: shortest integers, definite lengths, no tags, floats or simple values, no bytes
//! after the end. So every object has one encoding and its hash is its identity. Reading borrows from the
//! input, allocates only what the input already holds, and never recurses.

use alloc::vec::Vec;
use core::fmt;

/// Why bytes are not a canonical object of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The input ends inside an item.
    Truncated,
    /// An item has another type or an integer is out of its range.
    Unexpected,
    /// The value is right but its encoding is not the shortest one.
    NotCanonical,
    /// Bytes follow the object.
    Trailing,
    /// The object's format version (map key 0) is not known to this build.
    Version(u64),
    /// A text, byte string or array is longer than its bound.
    TooLong,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the data ends too early"),
            Self::Unexpected => f.write_str("an item is not of the expected type or range"),
            Self::NotCanonical => f.write_str("the encoding is not canonical"),
            Self::Trailing => f.write_str("there are bytes after the end"),
            Self::Version(v) => write!(f, "format version {v} is not known to this build"),
            Self::TooLong => f.write_str("an item is longer than allowed"),
        }
    }
}

impl core::error::Error for FormatError {}

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// An object with one canonical encoding.
pub trait Canonical: Sized {
    /// Appends the encoding of `self`.
    fn write(&self, w: &mut Writer);

    /// Reads one object.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes are not exactly what [`Canonical::write`] produces.
    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError>;

    /// The encoding of `self`.
    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.into_bytes()
    }

    /// Reads an object that fills `bytes` completely.
    ///
    /// # Errors
    /// As [`Canonical::read`], and [`FormatError::Trailing`].
    fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader::new(bytes);
        let object = Self::read(&mut r)?;
        r.end()?;
        Ok(object)
    }
}

/// Appends canonical CBOR items to a buffer.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer that holds `bytes` bytes without growing.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Appends bytes as they are: items that are encoded already, or what goes before an object.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let m = major << 5;
        let b = value.to_be_bytes();
        match value {
            0..=23 => self.0.push(m | b[7]),
            24..=0xff => self.0.extend_from_slice(&[m | 24, b[7]]),
            0x100..=0xffff => {
                self.0.push(m | 25);
                self.0.extend_from_slice(&b[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                self.0.push(m | 26);
                self.0.extend_from_slice(&b[4..]);
            }
            _ => {
                self.0.push(m | 27);
                self.0.extend_from_slice(&b);
            }
        }
        self
    }

    /// Opens a map of `pairs` pairs; the caller writes keys in ascending order.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAP, pairs as u64)
    }

    /// Opens an array of `items` items.
    pub fn array(&mut self, items: usize) -> &mut Self {
        self.head(ARRAY, items as u64)
    }

    /// Writes an unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(UINT, value)
    }

    /// Writes a 128-bit unsigned integer as a byte string of 16 bytes, big-endian.
    pub fn wide(&mut self, value: u128) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(BYTES, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Writes a text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(TEXT, value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// Writes a nested object.
    pub fn item(&mut self, value: &impl Canonical) -> &mut Self {
        value.write(self);
        self
    }

    /// Opens a versioned object: a map of `pairs` pairs whose key 0 holds `version`.
    pub fn object(&mut self, pairs: usize, version: u64) -> &mut Self {
        self.map(pairs).uint(0).uint(version)
    }
}

/// Reads canonical CBOR items from a slice.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts reading at the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(*chunk)
    }

    fn head(&mut self, major: u8) -> Result<u64, FormatError> {
        let first = self.take(1)?[0];
        if first >> 5 != major {
            return Err(FormatError::Unexpected);
        }
        let info = first & 0x1f;
        let (value, least) = match info {
            0..=23 => return Ok(u64::from(info)),
            24 => (u64::from(u8::from_be_bytes(self.chunk()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.chunk()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(self.chunk()?)), 0x1_0000),
            27 => (u64::from_be_bytes(self.chunk()?), 0x1_0000_0000),
            _ => return Err(FormatError::Unexpected),
        };
        if value < least { Err(FormatError::NotCanonical) } else { Ok(value) }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`FormatError::Trailing`].
    pub fn end(&self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::Trailing) }
    }

    /// Reads a map header and returns its number of pairs.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn map(&mut self) -> Result<u64, FormatError> {
        self.head(MAP)
    }

    /// Opens a versioned object of exactly `pairs` pairs. An unknown version is reported before a wrong number
    /// of pairs, so that a newer object is not called damaged.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn object(&mut self, pairs: u64, version: u64) -> Result<(), FormatError> {
        self.object_with(pairs, pairs, version).map(|_| ())
    }

    /// Opens a versioned object whose last pair may be absent: of `least` or `least + 1` pairs. The answer is whether
    /// it is there.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn object_with_optional(&mut self, least: u64, version: u64) -> Result<bool, FormatError> {
        self.object_with(least, least + 1, version).map(|n| n > least)
    }

    /// Opens a versioned object of which some pairs may be absent: of `least` to `most`. The answer is how many there are.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn object_with(&mut self, least: u64, most: u64, version: u64) -> Result<u64, FormatError> {
        let n = self.map()?;
        self.key(0)?;
        let v = self.uint()?;
        if v != version {
            Err(FormatError::Version(v))
        } else if (least..=most).contains(&n) {
            Ok(n)
        } else {
            Err(FormatError::Unexpected)
        }
    }

    /// Reads the map key `key`.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn key(&mut self, key: u64) -> Result<(), FormatError> {
        if self.uint()? == key { Ok(()) } else { Err(FormatError::Unexpected) }
    }

    /// Reads an array header of at most `max` items.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn array(&mut self, max: usize) -> Result<usize, FormatError> {
        let n = usize::try_from(self.head(ARRAY)?).map_err(|_| FormatError::TooLong)?;
        // Every item takes at least one byte: a larger count is a lie and must not steer an allocation.
        if n > max || n > self.rest.len() { Err(FormatError::TooLong) } else { Ok(n) }
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn uint(&mut self) -> Result<u64, FormatError> {
        self.head(UINT)
    }

    /// Reads an unsigned integer that must fit `T`.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn int<T: TryFrom<u64>>(&mut self) -> Result<T, FormatError> {
        T::try_from(self.uint()?).map_err(|_| FormatError::Unexpected)
    }

    /// Reads a 128-bit integer as written by [`Writer::wide`].
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn wide(&mut self) -> Result<u128, FormatError> {
        Ok(u128::from_be_bytes(self.fixed()?))
    }

    /// Reads a byte string of at most `max` bytes.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], FormatError> {
        let n = usize::try_from(self.head(BYTES)?).map_err(|_| FormatError::TooLong)?;
        if n > max { Err(FormatError::TooLong) } else { self.take(n) }
    }

    /// Reads a byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.bytes(N)?.try_into().map_err(|_| FormatError::Unexpected)
    }

    /// Reads a text string of at most `max` bytes.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn text(&mut self, max: usize) -> Result<&'a str, FormatError> {
        let n = usize::try_from(self.head(TEXT)?).map_err(|_| FormatError::TooLong)?;
        if n > max {
            return Err(FormatError::TooLong);
        }
        core::str::from_utf8(self.take(n)?).map_err(|_| FormatError::Unexpected)
    }

    /// Reads a nested object.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn item<T: Canonical>(&mut self) -> Result<T, FormatError> {
        T::read(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads from RFC 8949, appendix A.
    #[test]
    fn integers_follow_the_rfc_table() {
        let rows: [(u64, &[u8]); 9] = [
            (0, &[0x00]),
            (23, &[0x17]),
            (24, &[0x18, 0x18]),
            (100, &[0x18, 0x64]),
            (1000, &[0x19, 0x03, 0xe8]),
            (1_000_000, &[0x1a, 0x00, 0x0f, 0x42, 0x40]),
            (1_000_000_000_000, &[0x1b, 0x00, 0x00, 0x00, 0xe8, 0xd4, 0xa5, 0x10, 0x00]),
            (u64::MAX, &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (65_536, &[0x1a, 0x00, 0x01, 0x00, 0x00]),
        ];
        for (value, bytes) in rows {
            let mut w = Writer::default();
            w.uint(value);
            assert_eq!(w.0, bytes, "{value}");
            assert_eq!(Reader::new(bytes).uint(), Ok(value));
        }
    }

    #[test]
    fn everything_but_the_one_encoding_is_refused() {
        let uint: [(&[u8], FormatError); 7] = [
            (&[0x18, 0x17], FormatError::NotCanonical),
            (&[0x19, 0x00, 0xff], FormatError::NotCanonical),
            (&[0x1a, 0, 0, 0xff, 0xff], FormatError::NotCanonical),
            (&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], FormatError::NotCanonical),
            (&[0x1f], FormatError::Unexpected),
            (&[0x20], FormatError::Unexpected),
            (&[0x19, 0x01], FormatError::Truncated),
        ];
        for (bytes, error) in uint {
            assert_eq!(Reader::new(bytes).uint(), Err(error), "{bytes:02x?}");
        }
        assert_eq!(Reader::new(&[0x5f, 0x41, 0, 0xff]).bytes(9), Err(FormatError::Unexpected), "indefinite");
        assert_eq!(
            Reader::new(&[0x5b, 255, 255, 255, 255, 255, 255, 255, 255]).bytes(9),
            Err(FormatError::TooLong)
        );
        assert_eq!(Reader::new(&[0x9a, 0x7f, 255, 255, 255]).array(usize::MAX), Err(FormatError::TooLong));
        assert_eq!(Reader::new(&[0x61, 0xff]).text(1), Err(FormatError::Unexpected), "not UTF-8");
    }

    #[test]
    fn a_newer_version_is_named_before_its_shape_is_judged() {
        let mut w = Writer::default();
        w.object(3, 7).uint(1).uint(1).uint(2).uint(2);
        assert_eq!(Reader::new(&w.0).object(2, 1), Err(FormatError::Version(7)));
    }
}
