//! Files of operations for scripts: `{"ops":[{"id":"a","op":"NAME",..}]}` in, `{"results":[{"id":"a",..}]}` out, in the
//! same order. Numbers are read from their text, never through a float.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Failure, Outcome, print, reason};

/// Longest file, bytes.
const MAX_LEN: u64 = 16 << 20;
/// Decimals of a ratio: parts per million.
const PPM_DECIMALS: u32 = 6;

/// Arguments of an evaluation.
#[derive(clap::Args)]
pub struct Args {
    /// The operations, as JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Why an operation has no result.
#[derive(Debug)]
pub enum Problem {
    /// The operation is not as it must be: which field, and what is wrong with it.
    Input(String),
    /// It is well formed and cannot be done: a word for scripts, and a sentence.
    Refused(&'static str, String),
}

/// One operation. What is not asked for by the time it is evaluated is an unknown field.
pub struct Op<'a> {
    name: String,
    fields: RefCell<BTreeMap<String, &'a RawValue>>,
}

#[derive(Deserialize)]
struct Ops<'a> {
    #[serde(borrow)]
    ops: Vec<BTreeMap<String, &'a RawValue>>,
}

/// Evaluates every operation of a file and prints the results as one JSON object.
///
/// A file that is not well formed has no results at all, and the failure names operation and field. An operation that is
/// refused has the fields `error` and `message` in place of a result, and the outcome is then [`Outcome::Bad`].
pub fn run(args: &Args, evaluate: impl Fn(&Op<'_>) -> Result<Value, Problem>) -> Result<Outcome, Failure> {
    let name = args.file.display();
    let text = read(&args.file)?;
    let file: Ops<'_> = serde_json::from_str(&text).map_err(|e| {
        Failure::Input(format!(
            "{name} is no file of operations: {e}; it must be {{\"ops\":[{{\"id\":..,\"op\":..}}]}}"
        ))
    })?;
    let mut outcome = Outcome::Good;
    let mut results = Vec::with_capacity(file.ops.len());
    for (n, fields) in (1..).zip(file.ops) {
        let wrong = |id: &str, what: &str| Failure::Input(format!("{name}: operation {n}{id}: {what}"));
        let op = Op { name: String::new(), fields: RefCell::new(fields) };
        let id = op.text("id").map_err(|e| wrong("", &e))?;
        let named = format!(" (id {id:?})");
        let op = Op { name: op.text("op").map_err(|e| wrong(&named, &e))?, ..op };
        let mut result = Map::from_iter([("id".to_owned(), Value::from(id))]);
        match evaluate(&op).and_then(|value| op.ends().map(|()| value)) {
            Ok(Value::Object(fields)) => result.extend(fields),
            Ok(value) => {
                result.insert("value".into(), value);
            }
            Err(Problem::Input(what)) => return Err(wrong(&named, &what)),
            Err(Problem::Refused(word, sentence)) => {
                result.insert("error".into(), word.into());
                result.insert("message".into(), sentence.into());
                outcome = Outcome::Bad;
            }
        }
        results.push(Value::Object(result));
    }
    print(&format!("{}\n", serde_json::json!({ "results": results })))?;
    Ok(outcome)
}

fn read(path: &Path) -> Result<String, Failure> {
    let input: io::Result<Box<dyn Read>> = if path.as_os_str() == "-" {
        Ok(Box::new(io::stdin().lock()))
    } else {
        File::open(path).map(|file| Box::new(file) as Box<dyn Read>)
    };
    let mut bytes = Vec::new();
    let name = path.display();
    input
        .and_then(|input| input.take(MAX_LEN + 1).read_to_end(&mut bytes))
        .map_err(|e| Failure::Input(format!("cannot read the operations {name}: {}", reason(&e))))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(Failure::Input(format!("{name} is longer than {} MiB; split it", MAX_LEN >> 20)));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::Input(format!("{name} is no file of operations: it is not UTF-8 text")))
}

impl Op<'_> {
    /// What is to be done.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn take(&self, field: &str) -> Option<String> {
        self.fields.borrow_mut().remove(field).map(|raw| raw.get().to_owned())
    }

    fn need(&self, field: &str) -> Result<String, String> {
        self.take(field).ok_or_else(|| format!("the field {field:?} is missing"))
    }

    /// Whether a field is there and nobody asked for it yet.
    pub fn has(&self, field: &str) -> bool {
        self.fields.borrow().contains_key(field)
    }

    /// A text.
    pub fn text(&self, field: &str) -> Result<String, String> {
        let raw = self.need(field)?;
        serde_json::from_str(&raw).map_err(|_| format!("the field {field:?} must be a text, not {raw}"))
    }

    /// What `read` makes of the object in a field; it has to ask for all of its fields.
    pub fn object<T>(&self, field: &str, read: impl Fn(&Op<'_>) -> Result<T, Problem>) -> Result<T, Problem> {
        let raw = self.need(field).map_err(Problem::Input)?;
        let fields = serde_json::from_str(&raw)
            .map_err(|_| Problem::Input(format!("the field {field:?} must be an object, not {raw}")))?;
        let inner = Op { name: field.to_owned(), fields: RefCell::new(fields) };
        let value = read(&inner).and_then(|value| inner.ends().map(|()| value));
        value.map_err(|problem| match problem {
            Problem::Input(what) => Problem::Input(format!("in {field:?} {what}")),
            refused => refused,
        })
    }

    /// A whole number.
    pub fn whole(&self, field: &str) -> Result<u64, Problem> {
        let raw = self.need(field).map_err(Problem::Input)?;
        decimal(field, &raw, 0)
    }

    /// A decimal number in parts per million; digits beyond them are cut off, as everywhere in trust.
    pub fn parts(&self, field: &str) -> Result<u64, Problem> {
        let raw = self.need(field).map_err(Problem::Input)?;
        scaled(&raw, PPM_DECIMALS, Beyond::Cut)
            .map_err(|what| Problem::Input(format!("the field {field:?} {what}, not {raw}")))
    }

    /// An energy: FIELD in whole mWh, or FIELD_wh as a decimal number of Wh.
    pub fn energy(&self, field: &str) -> Result<u64, Problem> {
        let missing =
            || Problem::Input(format!("the field {field:?} (mWh) or \"{field}_wh\" (Wh) is missing"));
        self.energy_if_given(field)?.ok_or_else(missing)
    }

    /// As [`Op::energy`], of a field that may be missing.
    pub fn energy_if_given(&self, field: &str) -> Result<Option<u64>, Problem> {
        let wh = format!("{field}_wh");
        match (self.take(field), self.take(&wh)) {
            (Some(_), Some(_)) => {
                Err(Problem::Input(format!("the fields {field:?} and {wh:?} say the same twice")))
            }
            (Some(raw), None) => decimal(field, &raw, 0).map(Some),
            (None, Some(raw)) => decimal(&wh, &raw, 3).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// A ratio as a decimal number, in parts per million.
    pub fn ratio(&self, field: &str) -> Result<u32, Problem> {
        let missing = || Problem::Input(format!("the field {field:?} is missing"));
        self.ratio_if_given(field)?.ok_or_else(missing)
    }

    /// As [`Op::ratio`], of a field that may be missing.
    pub fn ratio_if_given(&self, field: &str) -> Result<Option<u32>, Problem> {
        let Some(raw) = self.take(field) else { return Ok(None) };
        let ppm = decimal(field, &raw, PPM_DECIMALS)?;
        u32::try_from(ppm)
            .map(Some)
            .map_err(|_| Problem::Input(format!("the field {field:?} is too large: {raw}")))
    }

    fn ends(&self) -> Result<(), Problem> {
        match self.fields.borrow().keys().next() {
            None => Ok(()),
            Some(field) => Err(Problem::Input(format!("{} has no field {field:?}", self.name))),
        }
    }
}

/// The number that a JSON text writes, times `10 ^ decimals`.
fn decimal(field: &str, raw: &str, decimals: u32) -> Result<u64, Problem> {
    scaled(raw, decimals, Beyond::Refused)
        .map_err(|what| Problem::Input(format!("the field {field:?} {what}, not {raw}")))
}

/// What becomes of digits behind the last place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beyond {
    Refused,
    Cut,
}

fn scaled(raw: &str, decimals: u32, beyond: Beyond) -> Result<u64, String> {
    let wanted = || match decimals {
        0 => "must be a whole number from 0 to 2^64 - 1".to_owned(),
        _ if beyond == Beyond::Cut => "must be a number from 0 on".to_owned(),
        n => format!("must be a number from 0 on with at most {n} decimals"),
    };
    let (mantissa, exponent) = match raw.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wanted())?),
        None => (raw, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(wanted());
    }
    // Zeros at the end of a fraction say nothing, so they take no place.
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let places = i64::from(exponent) + i64::from(decimals) - fraction.len() as i64;
    let zeros = |n: i64| usize::try_from(n).ok().filter(|n| *n <= 20);
    let shifted = if places >= 0 {
        zeros(places).map(|n| format!("{digits}{}", "0".repeat(n)))
    } else {
        let kept = digits.len().saturating_sub(usize::try_from(-places).unwrap_or(usize::MAX));
        let (kept, gone) = digits.split_at(kept);
        (beyond == Beyond::Cut || gone.bytes().all(|b| b == b'0')).then(|| kept.to_owned())
    };
    shifted.and_then(|s| if s.is_empty() { Some(0) } else { s.parse().ok() }).ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::{Beyond, scaled};

    #[test]
    fn numbers_come_from_their_text() {
        for (raw, decimals, expected) in [
            ("0", 0, Some(0)),
            ("18446744073709551615", 0, Some(u64::MAX)),
            ("18446744073709551616", 0, None),
            ("20.0", 0, Some(20)),
            ("2e1", 0, Some(20)),
            ("200e-1", 0, Some(20)),
            ("20.5", 0, None),
            ("-1", 0, None),
            ("0.05", 6, Some(50_000)),
            ("5E-2", 6, Some(50_000)),
            ("5e-06", 6, Some(5)),
            ("0.8000000000", 6, Some(800_000)),
            // The double nearest to it would be one less.
            ("0.290000", 6, Some(290_000)),
            ("1.000001", 6, Some(1_000_001)),
            ("0.0000001", 6, None),
            ("1e-7", 6, None),
            ("0e999999999", 6, Some(0)),
            ("1e999999999", 6, None),
            ("1e-999999999", 6, None),
            ("1e99999999999", 6, None),
            ("188.5", 3, Some(188_500)),
            ("9007199254740.993", 3, Some(9_007_199_254_740_993)),
            ("\"1\"", 0, None),
            ("null", 0, None),
            ("[1]", 0, None),
        ] {
            assert_eq!(scaled(raw, decimals, Beyond::Refused).ok(), expected, "{raw} with {decimals}");
        }
        for (raw, expected) in [
            ("0.29", Some(290_000)),
            ("0.30000000000000004", Some(300_000)),
            ("0.7999999999", Some(799_999)),
            ("9.99e-7", Some(0)),
            ("1e-999999999", Some(0)),
            ("1.2345678e1", Some(12_345_678)),
            ("-0.1", None),
            ("1e30", None),
            ("\"0.5\"", None),
        ] {
            assert_eq!(scaled(raw, 6, Beyond::Cut).ok(), expected, "{raw}");
        }
    }
}
