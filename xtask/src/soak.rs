//! `cargo xtask soak NAME`: runs that take long, outside CI, and end with a verdict.

use anyhow::{Context, Result, bail};

use crate::load;

/// A row of the table of soaks: its name, how long it takes unless something else is said, what it does.
struct Soak {
    name: &'static str,
    minutes: u64,
    run: fn(u64) -> Result<()>,
}

const SOAKS: [Soak; 2] = [
    Soak { name: "bridge", minutes: 30, run: load::soak },
    Soak { name: "gateways", minutes: 5, run: load::gateways },
];

/// Runs the soak that `args` name.
pub fn run(args: &[String]) -> Result<()> {
    let (soak, minutes) = chosen(args)?;
    (soak.run)(minutes)
}

fn chosen(args: &[String]) -> Result<(&'static Soak, u64)> {
    let names = SOAKS.map(|soak| soak.name).join(", ");
    let (mut soak, mut minutes) = (None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--minutes" => {
                let number =
                    args.next().and_then(|text| text.parse().ok()).filter(|n| (1..=10_000).contains(n));
                minutes = Some(number.context("--minutes needs a number from 1 to 10000")?);
            }
            name if soak.is_none() => {
                let found = SOAKS.iter().find(|soak| soak.name == name);
                soak =
                    Some(found.with_context(|| format!("there is no soak `{name}`; the soaks are {names}"))?);
            }
            other => bail!("`{other}` is one too many: a soak takes its name and --minutes N"),
        }
    }
    let soak = soak.with_context(|| format!("name a soak: {names}"))?;
    Ok((soak, minutes.unwrap_or(soak.minutes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_is_named_once_and_known() {
        let chosen = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            chosen(&args).map(|(soak, minutes)| (soak.name, minutes))
        };
        assert_eq!(chosen(&["bridge"]).unwrap(), ("bridge", 30));
        assert_eq!(chosen(&["--minutes", "2", "gateways"]).unwrap(), ("gateways", 2));
        for wrong in [
            &[][..],
            &["brigde"],
            &["bridge", "bridge"],
            &["bridge", "--minutes"],
            &["bridge", "--minutes", "0"],
        ] {
            assert!(chosen(wrong).is_err(), "{wrong:?}");
        }
    }
}
