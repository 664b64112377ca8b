//! `cargo xtask soak NAME`: what only shows after long or at size. No part of CI.

use anyhow::{Context, Result, bail};

mod ledger;

/// One row of the table: what is typed, and the code, which gets what follows.
struct Soak {
    name: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const SOAKS: [Soak; 1] = [Soak { name: "ledger", run: ledger::run }];

/// Runs the soak that `args` name.
pub fn run(args: &[String]) -> Result<()> {
    let names = SOAKS.map(|soak| soak.name).join(", ");
    let name = args.first().with_context(|| format!("name a soak: {names}"))?;
    let Some(soak) = SOAKS.iter().find(|soak| soak.name == name) else {
        bail!("there is no soak `{name}`; the soaks are {names}");
    };
    (soak.run)(&args[1..])
}

/// Takes the number that follows each of `names` out of `args`; nothing else may be there.
fn numbers<const N: usize>(args: &[String], names: [&str; N], defaults: [u64; N]) -> Result<[u64; N]> {
    let mut values = defaults;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(at) = names.iter().position(|name| name == arg) else {
            bail!("there is no option `{arg}`; there are {}", names.join(", "));
        };
        let value = args.next().with_context(|| format!("`{arg}` needs a number"))?;
        values[at] = value.replace('_', "").parse().with_context(|| format!("`{arg} {value}`: no number"))?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_known_and_have_numbers() {
        let words = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let of = |args: &[&str]| numbers(&words(args), ["--a", "--b"], [1, 2]);
        assert_eq!(of(&["--b", "1_000"]).unwrap(), [1, 1_000]);
        for wrong in [&["--c", "1"][..], &["--a"], &["--a", "x"], &["5"]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        assert!(run(&words(&["legder"])).is_err());
    }
}
