//! A class table as text that a person can change: one row a line, `BASE[-BASE] FACTORY BOOTSTRAP PAIRED [FLAG ...]`.

use lct::policy::{ROWS_MAX, Rows};
use pack::policy::{A_TO_B_ONLY, COMMISSIONING_WINDOW, Entry, MAY_STAY_CLEAR, MinLevel, NEEDS_ENVELOPE};

/// Minimums by name (`spec/can.md`, C94).
const MINIMUMS: [(&str, MinLevel); 8] = [
    ("clear", MinLevel::Clear),
    ("dev", MinLevel::Dev),
    ("exch", MinLevel::Exch),
    ("pair", MinLevel::Pair),
    ("signed", MinLevel::PairSigned),
    ("bind", MinLevel::Bind),
    ("group-or-pair", MinLevel::GroupOrPair),
    ("never", MinLevel::Never),
];
const FLAGS: [(&str, u8); 4] = [
    ("may-stay-clear", MAY_STAY_CLEAR),
    ("window", COMMISSIONING_WINDOW),
    ("envelope", NEEDS_ENVELOPE),
    ("a-to-b", A_TO_B_ONLY),
];
const HEAD: &str =
    "# bases, then what a message needs in a device that is from the factory, bound, paired; flags\n";

/// Writes a table; its first line is a comment.
pub fn write(rows: &Rows) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        let [f0, f1, l0, l1, flags, minimums @ ..] = *row;
        let (first, last) = (u16::from_be_bytes([f0, f1]), u16::from_be_bytes([l0, l1]));
        let mut words = vec![if first == last {
            format!("0x{first:03X}")
        } else {
            format!("0x{first:03X}-0x{last:03X}")
        }];
        for code in minimums {
            let name = MINIMUMS.iter().find(|(_, level)| *level as u8 == code).map(|(name, _)| *name);
            words.push(name.map_or_else(|| format!("{code:#04x}"), str::to_owned));
        }
        words.extend(FLAGS.iter().filter(|(_, bit)| flags & bit != 0).map(|(name, _)| (*name).to_owned()));
        text += &words.join(" ");
        text.push('\n');
    }
    text
}

/// Reads a table; what follows a `#` is a comment.
///
/// # Errors
/// A clause that names the line and what is wrong with it.
pub fn read(text: &str) -> Result<Rows, String> {
    let mut rows = Rows::new();
    let mut next = 0;
    for (n, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let fail = |what: String| format!("line {n}: {what}");
        let entry = row(&words).map_err(fail)?;
        if entry.first < next {
            return Err(fail("its bases do not follow those of the line before".into()));
        }
        next = entry.last + 1;
        rows.push(entry.to_bytes()).map_err(|_| fail(format!("a table has at most {ROWS_MAX} rows")))?;
    }
    if rows.is_empty() { Err("it has no rows".into()) } else { Ok(rows) }
}

fn row(words: &[&str]) -> Result<Entry, String> {
    let [bases, factory, bootstrap, paired, flags @ ..] = words else {
        return Err("a row is BASE or BASE-BASE, three minimums, and flags".into());
    };
    let (first, last) = bases.split_once('-').unwrap_or((bases, bases));
    let (first, last) = (base(first)?, base(last)?);
    if last < first {
        return Err(format!("{bases} ends before it begins"));
    }
    let mut bits = 0;
    for flag in flags {
        let known = FLAGS.iter().find(|(name, _)| name == flag);
        bits |= known.ok_or_else(|| format!("{flag:?} is no flag: {}", names(FLAGS.map(|f| f.0))))?.1;
    }
    Ok(Entry {
        first,
        last,
        flags: bits,
        factory: minimum(factory)?,
        bootstrap: minimum(bootstrap)?,
        paired: minimum(paired)?,
    })
}

fn base(text: &str) -> Result<u16, String> {
    let digits = text.strip_prefix("0x").and_then(|hex| u16::from_str_radix(hex, 16).ok());
    digits.filter(|base| *base <= 0x7FF).ok_or_else(|| format!("{text:?} is no base: 0x000 to 0x7FF"))
}

fn minimum(text: &str) -> Result<MinLevel, String> {
    let known = MINIMUMS.iter().find(|(name, _)| *name == text).map(|(_, level)| *level);
    known.ok_or_else(|| format!("{text:?} is no minimum: {}", names(MINIMUMS.map(|m| m.0))))
}

fn names<const N: usize>(names: [&str; N]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pack::policies::factory_rows;

    #[test]
    fn a_table_reads_back() {
        let text = write(&factory_rows());
        assert_eq!(read(&text), Ok(factory_rows()));
        assert!(text.contains("\n0x403 clear dev signed window envelope a-to-b\n"), "{text}");
        assert!(text.contains("\n0x517 clear dev group-or-pair a-to-b\n"), "{text}");
        assert_eq!(
            read("\n  # nothing\n0x400 clear dev pair # one\n").unwrap()[..],
            [[4, 0, 4, 0, 0, 0, 1, 3]]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            ("", "no rows"),
            ("# only a comment\n", "no rows"),
            ("0x400 clear dev", "line 1: a row is"),
            ("0x400 clear dev pair\n\n400 clear dev pair", "line 3: \"400\" is no base"),
            ("0x800 clear dev pair", "\"0x800\" is no base"),
            ("0x402-0x401 clear dev pair", "ends before it begins"),
            ("0x400-0x402 clear dev pair\n0x402 clear dev pair", "line 2: its bases do not follow"),
            ("0x400 clear dev paired", "\"paired\" is no minimum: clear, dev"),
            ("0x400 clear dev pair sticky", "\"sticky\" is no flag: may-stay-clear"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text:?}: {error}");
        }
        let many: String = (0..49).map(|i| format!("0x{:03X} clear clear clear\n", 2 * i)).collect();
        assert!(read(&many).unwrap_err().starts_with("line 49: a table has at most 48"));
    }
}
