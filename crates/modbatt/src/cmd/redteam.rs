//! `modbatt redteam`: attacks on the simulated pack, each with its control.

use super::{Failure, Outcome, print};
use serde_json::{Map, Value, json};
use sim::attack::{ALL, NOT_BUILT, Tally};
use std::fmt::Write;

/// Arguments of `modbatt redteam`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Run only this attack; the table of a full run has their names
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The same seed gives the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print JSON, one object on the last line, instead of a table
    #[arg(long)]
    json: bool,
}

/// An attack and its control, run.
struct Row {
    name: &'static str,
    attacker: &'static str,
    result: Result<Tally, String>,
    control: Result<Tally, String>,
}

impl Row {
    fn held(&self) -> bool {
        self.result.as_ref().is_ok_and(|tally| tally.hits == 0)
    }

    /// The attacker got something done. A run that broke off shows neither that nor that the attack was repelled.
    fn succeeded(&self) -> bool {
        self.result.as_ref().is_ok_and(|tally| tally.hits > 0)
    }

    fn control_succeeded(&self) -> bool {
        self.control.as_ref().is_ok_and(|tally| tally.hits > 0)
    }

    /// What is wrong with it, in sentences.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        match &self.result {
            Ok(tally) => complaints.extend(tally.achieved.iter().map(|what| format!("succeeded: {what}"))),
            Err(why) => complaints.push(format!("could not be run: {why}")),
        }
        match &self.control {
            Ok(tally) if tally.hits == 0 => {
                complaints.push("its control found nothing: the attack proves nothing".into())
            }
            Ok(_) => {}
            Err(why) => complaints.push(format!("its control could not be run: {why}")),
        }
        complaints
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| only == name);
    if !ALL.iter().any(|attack| wanted(attack.name)) {
        let names: Vec<_> = ALL.iter().map(|attack| attack.name).collect();
        let only = args.only.as_deref().unwrap_or_default();
        return Err(Failure::Input(format!("no attack is called {only}; there are {}", names.join(", "))));
    }
    let rows = rows(args.seed, wanted);
    print(&if args.json { as_json(args.seed, &rows) } else { as_table(&rows) })?;
    Ok(outcome(&rows))
}

/// Good when every attack held and every control succeeded.
fn outcome(rows: &[Row]) -> Outcome {
    let good = rows.iter().all(|row| row.held() && row.control_succeeded());
    if good { Outcome::Good } else { Outcome::Bad }
}

/// Runs the attacks that are wanted, as many at a time as there are processors.
fn rows(seed: u64, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
    let chosen: Vec<usize> = (0..ALL.len()).filter(|n| wanted(ALL[*n].name)).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(n) = chosen.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let row = row(*n, seed);
                    if let Ok(mut done) = done.lock() {
                        done.push((*n, row));
                    }
                }
            });
        }
    });
    let mut rows = done.into_inner().unwrap_or_default();
    rows.sort_by_key(|(n, _)| *n);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn row(n: usize, seed: u64) -> Row {
    let (attack, control) = (&ALL[n], &sim_weakened::attack::ALL[n]);
    let defence = control.defence;
    let control = control.run(seed, move || kept_weakened::remove(defence)).map(|tally| Tally {
        tried: tally.tried,
        achieved: tally.achieved,
        hits: tally.hits,
    });
    Row { name: attack.name, attacker: attack.attacker, result: attack.run(seed, || {}), control }
}

fn as_table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = format!(
        "{:<width$}  {:>7}  {:<9}  {:<18}  the attacker is\n",
        "attack", "tries", "result", "without defence"
    );
    for row in rows {
        let tries = row.result.as_ref().map_or(0, |tally| tally.tried);
        let word = |run: &Result<Tally, String>, nothing, something| match run {
            Ok(tally) if tally.hits == 0 => nothing,
            Ok(_) => something,
            Err(_) => "not run",
        };
        let result = word(&row.result, "held", "SUCCEEDED");
        let control = word(&row.control, "FAILED", "succeeds");
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{:<width$}  {tries:>7}  {result:<9}  {control:<18}  {}", row.name, row.attacker);
    }
    for row in rows {
        for complaint in row.complaints() {
            let _ = writeln!(text, "{}: {complaint}", row.name);
        }
    }
    for (_, name, why) in NOT_BUILT {
        let _ = writeln!(text, "not run here: {name}: {why}");
    }
    let (held, controls) =
        (rows.iter().filter(|r| r.held()).count(), rows.iter().filter(|r| r.control_succeeded()).count());
    let _ = writeln!(text, "\n{held} of {} attacks held, {controls} controls succeed", rows.len());
    text
}

fn as_json(seed: u64, rows: &[Row]) -> String {
    let one = |row: &Row| {
        json!({
            "attacker": row.attacker,
            "run": row.result.is_ok(),
            "succeeded": row.succeeded(),
            "control_succeeded": row.control_succeeded(),
            "tries": row.result.as_ref().map_or(0, |tally| tally.tried),
            "complaints": row.complaints(),
            "control_achieved": row.control.as_ref().map_or(&[][..], |tally| tally.achieved.as_slice()),
        })
    };
    let by_name: Map<String, Value> = rows.iter().map(|row| (row.name.to_owned(), one(row))).collect();
    let object = json!({
        "seed": seed,
        "attacks": rows.len(),
        "succeeded": rows.iter().filter(|row| row.succeeded()).count(),
        "controls_succeeded": rows.iter().filter(|row| row.control_succeeded()).count(),
        "by_name": by_name,
        "not_built": NOT_BUILT.map(|(_, name, _)| name),
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(result: Result<u32, &str>, control: Result<u32, &str>) -> Row {
        let tally = |run: Result<u32, &str>| {
            let tally =
                |hits| Tally { tried: 3, hits, achieved: (0..hits).map(|n| format!("thing {n}")).collect() };
            run.map(tally).map_err(str::to_owned)
        };
        Row { name: "one", attacker: "somebody", result: tally(result), control: tally(control) }
    }

    /// What is no proof is told and ends with an error: a success, a control without one, a run that broke off.
    #[test]
    fn only_a_held_attack_with_a_control_that_succeeds_is_good() {
        for (result, control, good, told) in [
            (Ok(0), Ok(2), true, None),
            (Ok(1), Ok(2), false, Some("succeeded: thing 0")),
            (Ok(0), Ok(0), false, Some("its control found nothing: the attack proves nothing")),
            (Err("no bus"), Ok(1), false, Some("could not be run: no bus")),
            (Ok(0), Err("no bus"), false, Some("its control could not be run: no bus")),
        ] {
            let rows = [row(Ok(0), Ok(1)), row(result, control)];
            assert_eq!(outcome(&rows) == Outcome::Good, good, "{result:?} {control:?}");
            assert_eq!(rows[1].complaints().first().map(String::as_str), told);
            let json: Value = serde_json::from_str(&as_json(7, &rows)).unwrap();
            let succeeded = result.is_ok_and(|hits| hits > 0);
            let controls = 1 + usize::from(control.is_ok_and(|hits| hits > 0));
            assert_eq!(
                (&json["succeeded"], &json["controls_succeeded"]),
                (&json!(usize::from(succeeded)), &json!(controls))
            );
            // Both rows have one name, and the later one stands.
            let last = &json["by_name"]["one"];
            assert_eq!(
                (&last["run"], &last["succeeded"]),
                (&json!(result.is_ok()), &json!(succeeded)),
                "{result:?}"
            );
            let table = as_table(&rows);
            assert_eq!(table.contains("SUCCEEDED"), succeeded, "{table}");
            assert_eq!(table.contains(" not run "), result.is_err() || control.is_err(), "{table}");
            assert_eq!((&json["attacks"], &json["seed"]), (&json!(2), &json!(7)));
            assert!(told.is_none_or(|told| table.contains(&format!("one: {told}"))));
        }
    }
}
