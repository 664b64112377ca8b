//! A vector file under examination: hands out its inputs, compares its entries, remembers what was looked at.
//!
//! Entries are named by path: `resume.M1`, `inputs.level5.seq`, `frames_chunk.frames[0][1]`.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// What is wrong with one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The file and the computation disagree.
    Differs {
        /// The value in the file.
        expected: String,
        /// The value computed.
        computed: String,
        /// What else is known, for instance whether the signature in the file verifies; may be empty.
        note: String,
    },
    /// A field that vector files have is not there.
    Missing,
    /// The value has the wrong type, length, digits or range.
    Malformed(String),
    /// The library refuses the value or what follows from it.
    Refused(String),
    /// The group could not be computed because of something else.
    NotComputed(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Differs { note, .. } if note.is_empty() => f.write_str("differs"),
            Problem::Differs { note, .. } => write!(f, "differs; {note}"),
            Problem::Missing => f.write_str("missing"),
            Problem::Malformed(what) => write!(f, "malformed: {what}"),
            Problem::Refused(why) => write!(f, "refused: {why}"),
            Problem::NotComputed(why) => write!(f, "not computed: {why}"),
        }
    }
}

/// An entry that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its path.
    pub entry: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// The rest of a group cannot be computed; the reason, for [`Problem::NotComputed`].
#[derive(Debug)]
pub struct Stop(pub String);

/// A vector file under examination.
pub struct Sheet<'a> {
    root: &'a Value,
    seen: BTreeSet<String>,
    compared: BTreeSet<String>,
    findings: Vec<Finding>,
}

/// The entry at `path`.
fn find<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '[']).try_fold(root, |value, key| match key.strip_suffix(']') {
        Some(index) => value.get(index.parse::<usize>().ok()?),
        None => value.get(key),
    })
}

/// The group to which an entry belongs.
pub fn group_of(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// Paths of all values below `path` that hold no others; an empty list or object counts as one.
fn leaves(path: &str, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(key, v)| leaves(&format!("{path}{dot}{key}"), v, out));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(i, v)| leaves(&format!("{path}[{i}]"), v, out));
        }
        _ => out.push(path.to_owned()),
    }
}

/// A value as it stands in the file, without the quotes of a string.
fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// What kind of value this is.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn bytes_in(value: &Value) -> Result<Vec<u8>, String> {
    let text = value.as_str().ok_or_else(|| format!("a hex string is needed, this is {}", kind(value)))?;
    hex::decode(text).map_err(|e| match e {
        hex::FromHexError::OddLength => "odd number of hex digits".to_owned(),
        hex::FromHexError::InvalidHexCharacter { c, index } => {
            format!("`{c}` at position {} is no hex digit", index + 1)
        }
        hex::FromHexError::InvalidStringLength => "wrong length".to_owned(),
    })
}

/// A number, or a string `0x...`.
fn number_in(value: &Value) -> Result<u64, String> {
    let number = match value {
        Value::String(s) => s.strip_prefix("0x").and_then(|digits| {
            // The standard parser would take a sign.
            digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
        }),
        other => other.as_u64(),
    };
    number.ok_or_else(|| format!("{} is no whole number from 0 to 2^64 - 1", shown(value)))
}

impl<'a> Sheet<'a> {
    /// Starts the examination of a parsed file.
    pub fn new(root: &'a Value) -> Self {
        Sheet { root, seen: BTreeSet::new(), compared: BTreeSet::new(), findings: Vec::new() }
    }

    /// Computes one group; if that stops, says so under the group's name.
    pub fn group<T>(&mut self, name: &str, compute: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Option<T> {
        match compute(self) {
            Ok(value) => Some(value),
            Err(Stop(why)) => {
                self.fail(name, Problem::NotComputed(why));
                let mut below = Vec::new();
                if let Some(group) = find(self.root, name) {
                    leaves(name, group, &mut below);
                }
                self.seen.extend(below);
                None
            }
        }
    }

    /// Whether the file has an entry.
    pub fn has(&self, path: &str) -> bool {
        find(self.root, path).is_some()
    }

    /// Names of the groups.
    pub fn groups(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.root.as_object().into_iter().flat_map(|groups| groups.keys().map(String::as_str))
    }

    /// Length of a list; a missing or empty one is a finding.
    pub fn len(&mut self, path: &str) -> usize {
        match self.look(path).map(|v| (v, v.as_array().map(Vec::len))) {
            Some((_, Some(len))) if len > 0 => len,
            Some((v, _)) => {
                self.fail(path, Problem::Malformed(format!("a list with entries is needed, this is {v}")));
                0
            }
            None => 0,
        }
    }

    /// Records that an entry fails; only the first problem of an entry counts.
    pub fn fail(&mut self, path: &str, problem: Problem) {
        self.seen.insert(path.to_owned());
        if !self.findings.iter().any(|f| f.entry == path) {
            self.findings.push(Finding { entry: path.to_owned(), problem });
        }
    }

    /// Records that the library refuses an entry, and stops the group.
    pub fn refuse(&mut self, path: &str, why: impl fmt::Display) -> Stop {
        self.fail(path, Problem::Refused(why.to_string()));
        Stop(format!("{path} is refused"))
    }

    /// The value at `path`. A missing group is one finding, not one for each of its fields.
    fn look(&mut self, path: &str) -> Option<&'a Value> {
        let group = group_of(path);
        if !self.has(group) {
            self.fail(group, Problem::Missing);
            return None;
        }
        let value = find(self.root, path);
        match value {
            Some(_) => {
                self.seen.insert(path.to_owned());
            }
            None => self.fail(path, Problem::Missing),
        }
        value
    }

    fn input<T>(&mut self, path: &str, read: impl FnOnce(&'a Value) -> Result<T, String>) -> Result<T, Stop> {
        let Some(value) = self.look(path) else {
            return Err(Stop(format!("{path} is missing")));
        };
        read(value).map_err(|what| {
            self.fail(path, Problem::Malformed(what));
            Stop(format!("{path} is malformed"))
        })
    }

    /// An input of any number of bytes.
    pub fn bytes(&mut self, path: &str) -> Result<Vec<u8>, Stop> {
        self.input(path, bytes_in)
    }

    /// An input of `N` bytes.
    pub fn fixed<const N: usize>(&mut self, path: &str) -> Result<[u8; N], Stop> {
        self.input(path, |value| {
            let bytes = bytes_in(value)?;
            let len = bytes.len();
            bytes.try_into().map_err(|_| format!("{len} bytes where {N} are needed"))
        })
    }

    /// A numeric input that fits `T`.
    pub fn number<T: TryFrom<u64>>(&mut self, path: &str) -> Result<T, Stop> {
        self.input(path, |value| {
            let number = number_in(value)?;
            let bits = 8 * size_of::<T>();
            T::try_from(number).map_err(|_| format!("{number} does not fit {bits} bits"))
        })
    }

    /// A textual input.
    pub fn text(&mut self, path: &str) -> Result<&'a str, Stop> {
        self.input(path, |value| {
            value.as_str().ok_or_else(|| format!("a string is needed, this is {}", kind(value)))
        })
    }

    /// Compares an entry with computed bytes.
    pub fn same(&mut self, path: &str, computed: &[u8]) {
        self.same_or(path, computed, |_| String::new());
    }

    /// As [`Sheet::same`]; `explain` says more about a value that differs.
    pub fn same_or(&mut self, path: &str, computed: &[u8], explain: impl FnOnce(&[u8]) -> String) {
        self.compare(path, bytes_in, hex::encode(computed), |bytes| {
            if bytes == computed { Ok(()) } else { Err(explain(&bytes)) }
        });
    }

    /// Compares an entry with a computed number.
    pub fn same_number(&mut self, path: &str, computed: u64) {
        let hexadecimal = find(self.root, path).is_some_and(Value::is_string);
        let text = if hexadecimal { format!("{computed:#x}") } else { computed.to_string() };
        self.compare(
            path,
            number_in,
            text,
            |number| {
                if number == computed { Ok(()) } else { Err(String::new()) }
            },
        );
    }

    /// Compares an entry with computed text.
    pub fn same_text(&mut self, path: &str, computed: &str) {
        let read =
            |v: &'a Value| v.as_str().ok_or_else(|| format!("a string is needed, this is {}", kind(v)));
        self.compare(path, read, computed.to_owned(), |text| {
            if text == computed { Ok(()) } else { Err(String::new()) }
        });
    }

    fn compare<T>(
        &mut self,
        path: &str,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
        computed: String,
        equal: impl FnOnce(T) -> Result<(), String>,
    ) {
        let Some(value) = self.look(path) else { return };
        self.compared.insert(path.to_owned());
        match read(value).map(equal) {
            Ok(Ok(())) => {}
            Ok(Err(note)) => self.fail(path, Problem::Differs { expected: shown(value), computed, note }),
            Err(what) => self.fail(path, Problem::Malformed(what)),
        }
    }

    /// Entries that were compared with a computed value so far.
    #[cfg(test)]
    pub fn compared(&self) -> &BTreeSet<String> {
        &self.compared
    }

    /// Ends the examination.
    pub fn report(self) -> Report {
        let mut all = Vec::new();
        leaves("", self.root, &mut all);
        let mut report = Report { findings: self.findings, ..Report::default() };
        for path in &all {
            let row = report.row(group_of(path));
            row.entries += 1;
            if !self.seen.contains(path) {
                row.unknown += 1;
            }
        }
        for path in &self.compared {
            report.row(group_of(path)).compared += 1;
        }
        for finding in report.findings.clone() {
            report.row(group_of(&finding.entry)).failed += 1;
        }
        for row in &mut report.rows {
            // A group of which nothing is known is reported by its name alone.
            if row.unknown == row.entries && row.failed == 0 && row.unknown > 0 {
                report.not_checked.push(row.group.clone());
            } else {
                let unknown = all.iter().filter(|p| group_of(p) == row.group && !self.seen.contains(*p));
                report.not_checked.extend(unknown.cloned());
            }
        }
        report
    }
}

/// What an examination found about one group.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the group.
    pub group: String,
    /// Values in the file.
    pub entries: usize,
    /// Values that were compared with a computed one; the others are inputs.
    pub compared: usize,
    /// Entries that fail, those that are missing included.
    pub failed: usize,
    /// Values that no computation knows.
    pub unknown: usize,
}

/// What an examination found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// One row per group of the file or of the specification.
    pub rows: Vec<Row>,
    /// Every entry that fails.
    pub findings: Vec<Finding>,
    /// Groups and entries that no computation knows.
    pub not_checked: Vec<String>,
}

impl Report {
    fn row(&mut self, group: &str) -> &mut Row {
        let index = self.rows.iter().position(|r| r.group == group).unwrap_or_else(|| {
            self.rows.push(Row { group: group.to_owned(), ..Row::default() });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    /// Values that were compared.
    pub fn compared(&self) -> usize {
        self.rows.iter().map(|r| r.compared).sum()
    }

    /// At least one value was compared and none fails.
    pub fn good(&self) -> bool {
        self.findings.is_empty() && self.compared() > 0
    }
}
