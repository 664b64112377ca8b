//! Every attack is repelled, and every control succeeds: the same attack against roles without the one defence.
#![allow(clippy::unwrap_used, clippy::panic)]

use sim::attack::Attack;
use std::io::Write;

/// Attacks are run for this seed; `modbatt redteam --seed` runs them for others.
const SEED: u64 = 1;

/// One attack alone, `REDTEAM_ONLY=replay` before the command.
fn wanted(name: &str) -> bool {
    std::env::var("REDTEAM_ONLY").is_ok_and(|only| only != name)
}

#[test]
fn attacks_are_repelled_and_their_controls_succeed() {
    judged(&sim::attack::ALL, &sim_weakened::attack::ALL);
}

#[test]
#[ignore = "minutes: 2^24 nonces, 10^6 codes, 10^6 tags"]
fn attacks_of_the_size_of_the_design_are_repelled_and_their_controls_succeed() {
    judged(&sim::attack::LONG, &sim_weakened::attack::LONG);
}

fn judged(attacks: &[Attack], controls: &[sim_weakened::attack::Attack]) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    let work = || {
        while let Some(attack) = attacks.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            if wanted(attack.name) {
                continue;
            }
            let control = controls.iter().find(|a| a.name == attack.name).unwrap();
            let begun = std::time::Instant::now();
            let result = attack.run(SEED, || {});
            let defence = control.defence;
            let without = control.run(SEED, move || kept::remove(defence));
            let held = result.as_ref().is_ok_and(|tally| tally.hits == 0);
            let shown = without.as_ref().is_ok_and(|tally| tally.hits > 0);
            // A closed stream is no reason to fail.
            let _closed = writeln!(
                std::io::stderr(),
                "attack {}: {:?}; without {defence:?}: {without:?}; {:.1} s",
                attack.name,
                result,
                begun.elapsed().as_secs_f32()
            );
            if !held || !shown {
                failed.lock().unwrap().push(attack.name);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:?}");
}

/// The rows of `spec/threats.md` that name a test: number, test and control, empty where it has none.
fn rows() -> Vec<(u8, String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/threats.md");
    let text = std::fs::read_to_string(path).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let code = |cell: Option<&String>| cell.map_or("", |c| c.trim_matches('`')).to_owned();
    let rows = text.lines().filter_map(|line| {
        let cells = cells(line.strip_prefix("| T")?);
        let number = cells.first()?.parse().ok()?;
        Some((number, code(cells.get(3)), code(cells.get(4).filter(|c| c.starts_with('`')))))
    });
    rows.collect()
}

/// Threats and attacks name each other: none is only said, none only run.
#[test]
fn the_table_of_threats_is_the_list_of_attacks() {
    let attacks = sim::attack::ALL.iter();
    let attacks = attacks.map(|a| (a.number, a.name.to_owned(), format!("{:?}", a.defence)));
    let missing = sim::attack::NOT_BUILT.iter().map(|(n, name, _)| (*n, (*name).to_owned(), String::new()));
    let mut code: Vec<_> = attacks.chain(missing).collect();
    let mut table = rows();
    code.sort();
    table.sort();
    assert_eq!(code, table);
}
