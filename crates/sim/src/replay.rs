//! Reads the files of the battery tester exactly as the tester wrote them.
//!
//! A file starts with lines about the test, then comes one header line that names the columns, then one row per
//! sample; the last line may state the number of rows (`Total Number of Data Lines in the Database: 2209`) and is no
//! row itself. Columns are found by name, so a file with more columns, or in another order, reads the same. Bytes
//! above 0x7F (the tester writes Latin-1) may stand anywhere except inside a number that is needed.
//!
//! | column | becomes | accepted range |
//! |---|---|---|
//! | `Total Time` (s) | [`Sample::time_ms`] | 0 .. 10 000 000 s, strictly increasing |
//! | `Voltage` (V) | [`Sample::pack_mv`] | 0 .. 60 V |
//! | `Current` (A, discharge negative) | [`Sample::pack_ma`] | -655.34 .. 655.34 A |
//! | `Cell Voltage A1` .. `A6` (V) | [`Sample::cell_mv`] | 0 .. 5 V, the range of a cell monitor |
//! | `Temperature A1` .. `A3` (degC) | [`Sample::temp_mdegc`] | -40 .. 125 degC, the range of the sensor |
//!
//! Numbers go from decimal text to integers without a float in between; digits beyond the unit are rounded half away
//! from zero. Memory is bounded: a line has at most [`MAX_LINE`] bytes, a [`Replay`] at most [`MAX_ROWS`] rows, and a
//! [`Reader`] holds one line at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::reading::Reading;

/// Modules in series in the measured pack.
pub const MODULES: usize = 3;
/// Cell groups (two cells in parallel) per module of the measured pack.
pub const GROUPS_PER_MODULE: usize = 2;
/// Longest accepted line in bytes; the measured files stay below 400.
pub const MAX_LINE: usize = 4096;
/// Most rows [`Replay::open`] holds in memory (40 bytes each); the measured files have about 4000.
pub const MAX_ROWS: u64 = 1_000_000;

/// The header line has to appear within this many lines; the measured files have it on line 18.
const HEADER_WITHIN: u64 = 64;
const CELLS: usize = MODULES * GROUPS_PER_MODULE;
const TIME: &str = "Total Time";
const COUNT_LINE: &str = "Total Number of Data Lines";

/// Columns that every file must have, in the order in which [`Reader`] keeps their positions.
const REQUIRED: [&str; 3 + CELLS + MODULES] = [
    TIME,
    "Voltage",
    "Current",
    "Cell Voltage A1",
    "Cell Voltage A2",
    "Cell Voltage A3",
    "Cell Voltage A4",
    "Cell Voltage A5",
    "Cell Voltage A6",
    "Temperature A1",
    "Temperature A2",
    "Temperature A3",
];

/// One row of the file in integer units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since the start of the test.
    pub time_ms: u64,
    /// Pack voltage as the tester measured it at the pack terminals, in millivolts.
    pub pack_mv: u32,
    /// Pack current in milliamperes, positive when charging.
    pub pack_ma: i32,
    /// Voltage of the cell groups in millivolts: module 1 group 1, module 1 group 2, module 2 group 1, ...
    pub cell_mv: [u16; CELLS],
    /// Temperature of each module in thousandths of a degree Celsius.
    pub temp_mdegc: [i32; MODULES],
}

impl Sample {
    /// Writes this row as what the pack and its modules measure into `out`, reusing its memory.
    ///
    /// A module's voltage is the sum of its groups; the pack voltage stays the one measured at the terminals. The
    /// current is common, because the modules are in series (`spec/can.md`, C70).
    pub fn write_to(&self, out: &mut Reading) {
        out.pack_mv = self.pack_mv;
        out.pack_ma = self.pack_ma;
        out.resize(MODULES);
        for (index, module) in out.modules.iter_mut().enumerate() {
            let cells = &self.cell_mv[index * GROUPS_PER_MODULE..(index + 1) * GROUPS_PER_MODULE];
            module.cell_mv.clear();
            module.cell_mv.extend_from_slice(cells);
            module.temp_mdegc.clear();
            module.temp_mdegc.push(self.temp_mdegc[index]);
            module.voltage_mv = cells.iter().map(|&mv| u32::from(mv)).sum();
            module.current_ma = self.pack_ma;
        }
    }
}

/// What is known once a file has been read to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows read.
    pub rows: u64,
    /// Whether the file says itself that it is complete: the tester's end flag in the last row, or a count line.
    /// A file cut between two lines reads without error and has `false` here.
    pub complete: bool,
    /// `Watt-Hours` of the last row in milliwatt-hours (discharge negative): a reference to compare with, never an
    /// input of the product. `None` when the file has no such column.
    pub tester_mwh: Option<i64>,
    /// `Amp-Hours` of the last row in milliampere-hours, for the same use.
    pub tester_mah: Option<i64>,
}

/// Why a file cannot be replayed. Every message names the line and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be opened.
    #[error("cannot open {}: {source}; check the path", path.display())]
    Open {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed inside the file.
    #[error("line {line}: reading failed: {source}; check the disk and copy the file again")]
    Read {
        /// Line being read.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("the file is empty; give a CSV file of the battery tester")]
    Empty,
    /// No header line was found.
    #[error(
        "line {line}: no header line with the column 'Total Time' so far; this is not a module test of the \
         battery tester, give a file with one row per sample and that header"
    )]
    NotThisFormat {
        /// Last line looked at.
        line: u64,
    },
    /// The header names no such column.
    #[error("line {line}: the header has no column '{column}'; export the test again with this column")]
    MissingColumn {
        /// Line of the header.
        line: u64,
        /// Name of the column.
        column: &'static str,
    },
    /// The header names a needed column twice.
    #[error("line {line}: the header names the column '{column}' twice; remove or rename one of them")]
    DuplicateColumn {
        /// Line of the header.
        line: u64,
        /// Name of the column.
        column: &'static str,
    },
    /// A row has too few or too many fields.
    #[error(
        "line {line}: {found} fields where the header has {expected}; the row is damaged, restore or remove it"
    )]
    FieldCount {
        /// Line of the row.
        line: u64,
        /// Fields of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// A needed field holds no finite decimal number.
    #[error("line {line}, column '{column}': '{text}' is not a number; correct or remove the row")]
    NotANumber {
        /// Line of the row.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The field, shortened and made printable.
        text: String,
    },
    /// A number that the sensor cannot have measured.
    #[error(
        "line {line}, column '{column}': {text} is outside {range}, what the sensor can measure; correct or remove the row"
    )]
    OutOfRange {
        /// Line of the row.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The field, shortened and made printable.
        text: String,
        /// Accepted range with unit.
        range: &'static str,
    },
    /// A row is not later than the row before it.
    #[error(
        "line {line}, column 'Total Time': {time_ms} ms is not after the previous row ({previous_ms} ms); \
         the rows are out of order or repeated"
    )]
    TimeNotIncreasing {
        /// Line of the row.
        line: u64,
        /// Its time.
        time_ms: u64,
        /// Time of the row before.
        previous_ms: u64,
    },
    /// The file ends inside a line.
    #[error("line {line}: the file ends in the middle of this line; it was cut short, copy it again")]
    Truncated {
        /// The last line.
        line: u64,
    },
    /// The count line states another number of rows than the file has.
    #[error(
        "line {line}: the file states {stated} rows but has {found}; rows are missing or added, copy it again"
    )]
    WrongCount {
        /// The count line.
        line: u64,
        /// Rows stated.
        stated: u64,
        /// Rows read.
        found: u64,
    },
    /// Something follows the end of the data.
    #[error("line {line}: more data after the end of the rows; give one test per file")]
    AfterEnd {
        /// First line after the end.
        line: u64,
    },
    /// A header and no row.
    #[error("line {line}: no row follows the header; the file was cut short, copy it again")]
    NoRows {
        /// Line of the header.
        line: u64,
    },
    /// A line beyond [`MAX_LINE`].
    #[error(
        "line {line}: longer than {MAX_LINE} bytes; this is not a file of the battery tester, or it is damaged"
    )]
    LineTooLong {
        /// The line.
        line: u64,
    },
    /// More rows than are held in memory.
    #[error("line {line}: more than {MAX_ROWS} rows; split the file")]
    TooManyRows {
        /// First row too many.
        line: u64,
    },
}

impl ReplayError {
    /// The line (from 1) at which the file is wrong; `None` when it is about the file as a whole.
    pub fn line(&self) -> Option<u64> {
        match *self {
            Self::Open { .. } | Self::Empty => None,
            Self::Read { line, .. }
            | Self::NotThisFormat { line }
            | Self::MissingColumn { line, .. }
            | Self::DuplicateColumn { line, .. }
            | Self::FieldCount { line, .. }
            | Self::NotANumber { line, .. }
            | Self::OutOfRange { line, .. }
            | Self::TimeNotIncreasing { line, .. }
            | Self::Truncated { line }
            | Self::WrongCount { line, .. }
            | Self::AfterEnd { line }
            | Self::NoRows { line }
            | Self::LineTooLong { line }
            | Self::TooManyRows { line } => Some(line),
        }
    }
}

/// A whole file, checked to its end before anything is replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The rows, in order.
    pub samples: Vec<Sample>,
    /// What the end of the file told.
    pub summary: Summary,
}

impl Replay {
    /// Opens and checks the file at `path`.
    ///
    /// # Errors
    /// Any [`ReplayError`]; the first thing wrong in the file wins.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let file =
            File::open(path).map_err(|source| ReplayError::Open { path: path.to_path_buf(), source })?;
        Self::read(BufReader::new(file))
    }

    /// Reads and checks a whole file from `input`.
    ///
    /// # Errors
    /// Any [`ReplayError`] except [`ReplayError::Open`].
    pub fn read<R: BufRead>(input: R) -> Result<Self, ReplayError> {
        let mut reader = Reader::new(input)?;
        let mut samples = Vec::new();
        while let Some(sample) = reader.next_sample()? {
            if reader.summary.rows > MAX_ROWS {
                return Err(ReplayError::TooManyRows { line: reader.lines.number });
            }
            samples.push(sample);
        }
        Ok(Self { samples, summary: reader.summary })
    }
}

/// Reads one row at a time.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    /// Position of each column of [`REQUIRED`].
    columns: [usize; REQUIRED.len()],
    watt_hours: Option<usize>,
    amp_hours: Option<usize>,
    end_flag: Option<usize>,
    fields: usize,
    header_line: u64,
    previous_ms: Option<u64>,
    summary: Summary,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads up to and including the header line.
    ///
    /// # Errors
    /// [`ReplayError::Empty`], [`ReplayError::NotThisFormat`], a header that lacks or repeats a column, or a failure
    /// to read.
    pub fn new(input: R) -> Result<Self, ReplayError> {
        let mut lines = Lines { input, buffer: Vec::new(), number: 0, terminated: true };
        loop {
            if !lines.next()? {
                let line = lines.number;
                return Err(if line == 0 { ReplayError::Empty } else { ReplayError::NotThisFormat { line } });
            }
            if fields(&lines.buffer).any(|name| name == TIME.as_bytes()) {
                break;
            }
            if lines.number == HEADER_WITHIN {
                return Err(ReplayError::NotThisFormat { line: HEADER_WITHIN });
            }
        }
        let header_line = lines.number;
        if !lines.terminated {
            return Err(ReplayError::Truncated { line: header_line });
        }
        let find = |column: &'static str| {
            let mut found = fields(&lines.buffer).enumerate().filter(|(_, name)| *name == column.as_bytes());
            match (found.next(), found.next()) {
                (Some((index, _)), None) => Ok(index),
                (None, _) => Err(ReplayError::MissingColumn { line: header_line, column }),
                (Some(_), Some(_)) => Err(ReplayError::DuplicateColumn { line: header_line, column }),
            }
        };
        let mut columns = [0; REQUIRED.len()];
        for (slot, name) in columns.iter_mut().zip(REQUIRED) {
            *slot = find(name)?;
        }
        let optional = |name: &str| fields(&lines.buffer).position(|field| field == name.as_bytes());
        Ok(Self {
            columns,
            watt_hours: optional("Watt-Hours"),
            amp_hours: optional("Amp-Hours"),
            end_flag: optional("Data Acquisition Flag"),
            fields: fields(&lines.buffer).count(),
            header_line,
            previous_ms: None,
            summary: Summary::default(),
            ended: false,
            lines,
        })
    }

    /// The next row, or `None` at the end of a file that is whole.
    ///
    /// # Errors
    /// What is wrong with the line; reading on after an error gives `None`.
    pub fn next_sample(&mut self) -> Result<Option<Sample>, ReplayError> {
        if self.ended {
            return Ok(None);
        }
        let result = self.read_row();
        self.ended = !matches!(result, Ok(Some(_)));
        result
    }

    /// What is known so far; complete once [`Reader::next_sample`] has given `None`.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    fn read_row(&mut self) -> Result<Option<Sample>, ReplayError> {
        if !self.lines.next()? {
            return match self.summary.rows {
                0 => Err(ReplayError::NoRows { line: self.header_line }),
                _ => Ok(None),
            };
        }
        let line = self.lines.number;
        if self.lines.buffer.starts_with(COUNT_LINE.as_bytes()) {
            self.read_count(line)?;
            self.expect_end()?;
            return Ok(None);
        }
        if self.lines.is_blank() {
            self.expect_end()?;
            return match self.summary.rows {
                0 => Err(ReplayError::NoRows { line: self.header_line }),
                _ => Ok(None),
            };
        }
        let found = fields(&self.lines.buffer).count();
        if found != self.fields {
            // The last line of a whole file may lack its line end, but not its fields.
            return Err(match self.lines.terminated {
                false if found < self.fields => ReplayError::Truncated { line },
                _ => ReplayError::FieldCount { line, expected: self.fields, found },
            });
        }
        let sample = self.parse_row(line)?;
        if let Some(previous_ms) = self.previous_ms
            && sample.time_ms <= previous_ms
        {
            return Err(ReplayError::TimeNotIncreasing { line, time_ms: sample.time_ms, previous_ms });
        }
        self.previous_ms = Some(sample.time_ms);
        self.summary.rows += 1;
        Ok(Some(sample))
    }

    fn parse_row(&mut self, line: u64) -> Result<Sample, ReplayError> {
        let row = Row { line, bytes: &self.lines.buffer };
        let at = |slot: usize| (REQUIRED[slot], self.columns[slot]);
        let mut sample = Sample {
            time_ms: row.milli(at(0), 0, 10_000_000_000, "0 .. 10000000 s")?,
            pack_mv: row.milli(at(1), 0, 60_000, "0 .. 60 V")?,
            pack_ma: row.milli(at(2), -655_340, 655_340, "-655.34 .. 655.34 A")?,
            cell_mv: [0; CELLS],
            temp_mdegc: [0; MODULES],
        };
        for (index, cell) in sample.cell_mv.iter_mut().enumerate() {
            *cell = row.milli(at(3 + index), 0, 5_000, "0 .. 5 V")?;
        }
        for (index, temp) in sample.temp_mdegc.iter_mut().enumerate() {
            *temp = row.milli(at(3 + CELLS + index), -40_000, 125_000, "-40 .. 125 degC")?;
        }
        let total = |name, index: Option<usize>| {
            index
                .map(|index| row.milli((name, index), -1_000_000_000, 1_000_000_000, "-1e6 .. 1e6"))
                .transpose()
        };
        self.summary.tester_mwh = total("Watt-Hours", self.watt_hours)?;
        self.summary.tester_mah = total("Amp-Hours", self.amp_hours)?;
        self.summary.complete = self.end_flag.is_some_and(|index| row.field(index) == b"Q");
        Ok(sample)
    }

    fn read_count(&mut self, line: u64) -> Result<(), ReplayError> {
        let text = self.lines.buffer.rsplit(|&byte| byte == b':').next().unwrap_or_default();
        let stated = scaled(text.trim_ascii(), 0).and_then(|count| u64::try_from(count).ok());
        match stated {
            Some(stated) if stated == self.summary.rows && stated > 0 => {
                self.summary.complete = true;
                Ok(())
            }
            _ if !self.lines.terminated => Err(ReplayError::Truncated { line }),
            Some(stated) => Err(ReplayError::WrongCount { line, stated, found: self.summary.rows }),
            None => Err(ReplayError::NotANumber { line, column: COUNT_LINE, text: printable(text) }),
        }
    }

    /// Only blank lines may follow.
    fn expect_end(&mut self) -> Result<(), ReplayError> {
        while self.lines.next()? {
            if !self.lines.is_blank() {
                return Err(ReplayError::AfterEnd { line: self.lines.number });
            }
        }
        Ok(())
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Sample, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_sample().transpose()
    }
}

/// Lines of bounded length, without their line end.
#[derive(Debug)]
struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// Number of the line in `buffer`, from 1; 0 before the first.
    number: u64,
    /// Whether the line in `buffer` ended with a line feed.
    terminated: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line into `buffer`; `false` at the end of the input.
    fn next(&mut self) -> Result<bool, ReplayError> {
        self.buffer.clear();
        let line = self.number + 1;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(ReplayError::Read { line, source }),
            };
            if available.is_empty() {
                if self.buffer.is_empty() {
                    return Ok(false);
                }
                self.terminated = false;
                break;
            }
            let end = available.iter().position(|&byte| byte == b'\n');
            let take = end.unwrap_or(available.len());
            if self.buffer.len() + take > MAX_LINE {
                return Err(ReplayError::LineTooLong { line });
            }
            self.buffer.extend_from_slice(&available[..take]);
            self.input.consume(take + usize::from(end.is_some()));
            if end.is_some() {
                self.terminated = true;
                break;
            }
        }
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        self.number = line;
        Ok(true)
    }

    fn is_blank(&self) -> bool {
        self.buffer.trim_ascii().is_empty()
    }
}

/// One row and the way from its fields to numbers.
struct Row<'a> {
    line: u64,
    bytes: &'a [u8],
}

impl Row<'_> {
    fn field(&self, index: usize) -> &[u8] {
        fields(self.bytes).nth(index).unwrap_or_default()
    }

    /// The field in thousandths of its unit, within `min..=max` thousandths.
    fn milli<T: TryFrom<i64>>(
        &self,
        (column, index): (&'static str, usize),
        min: i64,
        max: i64,
        range: &'static str,
    ) -> Result<T, ReplayError> {
        let text = self.field(index);
        let line = self.line;
        let value =
            scaled(text, 3).ok_or_else(|| ReplayError::NotANumber { line, column, text: printable(text) })?;
        let outside = || ReplayError::OutOfRange { line, column, text: printable(text), range };
        if !(min..=max).contains(&value) {
            return Err(outside());
        }
        T::try_from(value).map_err(|_| outside())
    }
}

/// The fields of a line without the blanks around them.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// At most 32 characters of a field, Latin-1 decoded, control characters escaped.
fn printable(text: &[u8]) -> String {
    text.iter().take(32).flat_map(|&byte| char::from(byte).escape_default()).collect()
}

/// Decimal text times 10^`places` as an integer, rounded half away from zero.
///
/// Accepts an optional sign, digits with at most one point, and an optional exponent (the tester writes tiny numbers
/// as `5.76494e-042`). `None` for anything else, and for a magnitude beyond i64: "nan", "inf" and "" are no numbers.
fn scaled(text: &[u8], places: i32) -> Option<i64> {
    let (negative, unsigned) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let mut digits = 0u128;
    let mut fraction: Option<i32> = None;
    let mut any = false;
    for &byte in mantissa {
        match byte {
            b'0'..=b'9' => {
                any = true;
                digits = digits.checked_mul(10)?.checked_add(u128::from(byte - b'0'))?;
                fraction = fraction.map(|count| count + 1);
            }
            b'.' if fraction.is_none() => fraction = Some(0),
            _ => return None,
        }
    }
    if !any {
        return None;
    }
    let power = exponent - fraction.unwrap_or(0) + places;
    let magnitude = if digits == 0 {
        0
    } else if power >= 0 {
        digits.checked_mul(10u128.checked_pow(power.unsigned_abs())?)?
    } else {
        match 10u128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => digits / divisor + u128::from(digits % divisor >= divisor / 2),
            None => 0,
        }
    };
    let value = i64::try_from(magnitude).ok()?;
    Some(if negative { -value } else { value })
}

/// The digits after `e`, at most four of them.
fn exponent(text: &[u8]) -> Option<i32> {
    let digits = text.strip_prefix(b"+").or(text.strip_prefix(b"-")).unwrap_or(text);
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value, &byte| value * 10 + i32::from(byte - b'0'));
    Some(if text.starts_with(b"-") { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row fails when parsing goes through a float, truncates instead of rounding, or accepts what is no number.
    #[test]
    fn decimal_text_becomes_exact_integers() {
        let table: &[(&str, Option<i64>)] = &[
            ("24.83", Some(24_830)),
            ("4.114", Some(4_114)),
            ("-65", Some(-65_000)),
            ("-64.98", Some(-64_980)),
            ("0", Some(0)),
            ("-0", Some(0)),
            (".5", Some(500)),
            ("22.", Some(22_000)),
            ("+1.0", Some(1_000)),
            ("1.0005", Some(1_001)),
            ("-1.0005", Some(-1_001)),
            ("1.0004999999", Some(1_000)),
            ("0.0005", Some(1)),
            ("0.00049", Some(0)),
            // 8.335 * 1000 is 8334.999... in binary floating point
            ("8.335", Some(8_335)),
            ("9007199254740.993", Some(9_007_199_254_740_993)),
            ("5.76494e-042", Some(0)),
            ("1e-9999", Some(0)),
            ("0e9999", Some(0)),
            ("1.5E2", Some(150_000)),
            ("1.5e+2", Some(150_000)),
            ("", None),
            ("-", None),
            (".", None),
            ("1.2.3", None),
            ("1,5", None),
            ("0x10", None),
            ("nan", None),
            ("NaN", None),
            ("inf", None),
            ("-inf", None),
            ("1e", None),
            ("1e1e1", None),
            ("1e99999", None),
            ("1e999", None),
            ("--1", None),
            ("4 .1", None),
            ("99999999999999999999999999999999999999999", None),
        ];
        for &(text, expected) in table {
            assert_eq!(scaled(text.as_bytes(), 3), expected, "{text}");
        }
    }

    #[test]
    fn a_field_in_an_error_cannot_break_the_terminal() {
        assert_eq!(printable(b"\x1b[2J\xb0C"), "\\u{1b}[2J\\u{b0}C");
        assert_eq!(printable(&[b'7'; 4000]).len(), 32);
    }
}
