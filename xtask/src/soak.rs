//! `cargo xtask soak NAME`: runs that take long, outside CI, and end with a verdict.

use anyhow::{Context, Result, bail, ensure};

use crate::load;

mod ledger;

/// A row of the table of soaks: its name, and what it does with the options that follow.
struct Soak {
    name: &'static str,
    run: fn(&[String]) -> Result<()>,
}

/// What may follow `soak`.
pub const WORDS: [(&str, &str); 3] = [
    ("bridge [--minutes N]", "mixed load: does the memory stay what it was? 30 minutes"),
    ("gateways [--minutes N]", "1 000 gateways on one bridge: is what they were told so? 5 minutes"),
    ("ledger [--components N] [--records N]", "what a ledger costs at each decade of its size"),
];

const SOAKS: [Soak; 3] = [
    Soak { name: "bridge", run: |args| load::soak(minutes(args, 30)?) },
    Soak { name: "gateways", run: |args| load::gateways(minutes(args, 5)?) },
    Soak { name: "ledger", run: ledger::run },
];

/// Runs the soak that `args` name.
pub fn run(args: &[String]) -> Result<()> {
    let names = SOAKS.map(|soak| soak.name).join(", ");
    let (name, options) = args.split_first().with_context(|| format!("name a soak: {names}"))?;
    let soak = SOAKS.iter().find(|soak| soak.name == name);
    let soak = soak.with_context(|| format!("there is no soak `{name}`; the soaks are {names}"))?;
    (soak.run)(options)
}

/// How long a soak takes.
fn minutes(args: &[String], default: u64) -> Result<u64> {
    let [minutes] = numbers(args, ["--minutes"], [default])?;
    ensure!((1..=10_000).contains(&minutes), "--minutes needs a number from 1 to 10000");
    Ok(minutes)
}

/// The number that follows each of `names` in `args`, or its default; nothing else may be there.
fn numbers<const N: usize>(args: &[String], names: [&str; N], defaults: [u64; N]) -> Result<[u64; N]> {
    let mut values = defaults;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(at) = names.iter().position(|name| name == arg) else {
            bail!("`{arg}` is one too many: this soak takes {}", names.join(", "));
        };
        let value = args.next().with_context(|| format!("{arg} needs a number"))?;
        values[at] = value.parse().with_context(|| format!("{arg} needs a number, not `{value}`"))?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    #[test]
    fn a_soak_is_known_and_its_options_have_numbers() {
        let of = |args: &[&str]| numbers(&words(args), ["--a", "--b"], [1, 2]);
        assert_eq!(of(&["--b", "1000"]).unwrap(), [1, 1000]);
        for wrong in [&["--c", "1"][..], &["--a"], &["--a", "x"], &["5"]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(minutes(&[], 30).unwrap(), 30);
        assert!(minutes(&words(&["--minutes", "0"]), 30).is_err());
        for wrong in [&[][..], &["brigde"], &["bridge", "bridge"], &["bridge", "--minutes"]] {
            assert!(run(&words(wrong)).is_err(), "{wrong:?}");
        }
    }
}
