//! `cargo xtask soak ledger`: what a ledger costs at each decade of its size, as a table and a plot in `docs/`.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::numbers;
use crate::{bench, shell};

const TABLE: &str = "docs/soak-ledger.md";
const PLOT: &str = "docs/soak-ledger.svg";

/// A line of the plot: a figure that is the cost of one operation.
struct Line {
    figure: &'static str,
    label: &'static str,
    colour: &'static str,
    /// To microseconds.
    scale: f64,
}

const fn line(figure: &'static str, label: &'static str, colour: &'static str, scale: f64) -> Line {
    Line { figure, label, colour, scale }
}

const LINES: [Line; 7] = [
    line("register_us", "registration, in a block", "#b30000", 1.0),
    line("read_proof_us", "component with proof", "#7b3294", 1.0),
    line("series_us", "days of a component", "#1a6b54", 1.0),
    line("read_record_us", "stored record, checked", "#c77700", 1.0),
    line("append_us", "record appended", "#00539c", 1.0),
    line("read_us", "component", "#444444", 1.0),
    line("lookup_ns", "last record's number", "#8a8a00", 0.001),
];

/// Columns of the table: figure, heading, digits behind the point.
const COLUMNS: [(&str, &str, usize); 17] = [
    ("components", "components", 0),
    ("records", "records", 0),
    ("register_us", "registration us", 0),
    ("append_us", "append us", 2),
    ("lookup_ns", "lookup ns", 0),
    ("read_us", "read us", 2),
    ("read_proof_us", "proof us", 1),
    ("read_record_us", "record us", 1),
    ("series_us", "series us", 1),
    ("followed_us", "summing up us", 0),
    ("bytes_per_component", "index B", 0),
    ("resident_mb", "memory MB", 1),
    ("ready_ms", "restart ms", 1),
    ("state_bytes_per_component", "state B", 0),
    ("record_bytes", "record B", 0),
    ("series_bytes_per_component", "sums B", 0),
    ("seconds", "took s", 0),
];

/// Fills a ledger and writes table and plot.
pub fn run(args: &[String]) -> Result<()> {
    let [components, records] = numbers(args, ["--components", "--records"], [1_000_000, 10_000_000])?;
    ensure!(components > 0 && records >= components, "at least one component, and a record of each");
    let typed = format!("cargo xtask soak ledger --components {components} --records {records}");
    let compiler = shell::output_of(Command::new("rustc").arg("--version").current_dir(shell::root()))?;
    let mut command = Command::new(bench::portable()?);
    command.args(["ledger-soak", &components.to_string(), &records.to_string()]).stdout(Stdio::piped());
    let mut program = command.spawn().context("the program of the benches cannot be started")?;
    let lines = BufReader::new(program.stdout.take().context("it has an output")?).lines();
    let mut rows = Vec::new();
    for line in lines {
        rows.push(serde_json::from_str(&line?).context("the soak did not print JSON")?);
        // After every size, so that a run that is ended early has what it measured.
        fs::write(shell::root().join(TABLE), table(&typed, compiler.trim(), &rows)).context(TABLE)?;
        fs::write(shell::root().join(PLOT), plot(&rows)).context(PLOT)?;
    }
    let status = program.wait()?;
    ensure!(status.success(), "the soak failed ({status})");
    println!("wrote {TABLE} and {PLOT}");
    Ok(())
}

fn figure(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or(f64::NAN)
}

fn table(typed: &str, compiler: &str, rows: &[Value]) -> String {
    let mut text = format!(
        "# A ledger that grows\n\nMade by `{typed}` with {compiler}; nothing here is written by hand.\n\n\
         ![cost of an operation by components](soak-ledger.svg)\n\n"
    );
    let heads = COLUMNS.map(|(_, head, _)| head).join(" | ");
    let _written = writeln!(text, "| {heads} |\n|{}", "---:|".repeat(COLUMNS.len()));
    for row in rows {
        let cells: Vec<String> =
            COLUMNS.iter().map(|(name, _, digits)| format!("{:.digits$}", figure(row, name))).collect();
        let _written = writeln!(text, "| {} |", cells.join(" | "));
    }
    text + "\nTime of an operation is CPU time: of all threads for registration (a transaction with four signatures taken in, executed in a \
        block of up to 10 000 and stored), append (a record of a batch, checked, hashed and synced) and summing up (everything that is new at this \
        size, once); of the thread for the others, for random components, medians. `lookup`: number of the last stored record. `read`: a snapshot \
        and the component. `proof`: with its path in the state tree. `record`: a batch read from its file and checked. `series`: the days of a \
        component. `index`: what an open ledger has allocated, over the components. `memory`: resident in a program that opened the ledger and checked \
        1000 proofs. `restart`: from its start until then, by the clock. `state`: `ledger.redb` with blocks, results and indexes, `sums`: \
        `series.redb`, both over the components; `record`: the record files over the records. Who reads the plot: a flat line costs the same at any \
        size, one that rises as slowly as these grows with the logarithm.\n"
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;

/// Both axes by decades, so that a cost that grows with the size is a slope of one.
fn plot(rows: &[Value]) -> String {
    let decades = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        (low.log10().floor(), high.log10().ceil())
    };
    let sizes = || rows.iter().map(|row| figure(row, "components"));
    let (x0, x1) = decades(&mut sizes());
    let costs = LINES.iter().flat_map(|line| rows.iter().map(|row| figure(row, line.figure) * line.scale));
    let (y0, y1) = decades(&mut costs.into_iter());
    let x = |value: f64| LEFT + (value.log10() - x0) / (x1 - x0).max(1.0) * (WIDTH - LEFT - RIGHT);
    let y =
        |value: f64| HEIGHT - BOTTOM - (value.log10() - y0) / (y1 - y0).max(1.0) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    let text = |svg: &mut String, at: (f64, f64), anchor: &str, colour: &str, words: &str| {
        let _written = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>",
            at.0, at.1
        );
    };
    let grid = |svg: &mut String, from: (f64, f64), to: (f64, f64)| {
        let _written = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#dddddd\"/>",
            from.0, from.1, to.0, to.1
        );
    };
    let steps =
        |from: f64, to: f64| (0..=(to - from).max(0.0) as i32).map(move |n| 10_f64.powi(from as i32 + n));
    for decade in steps(x0, x1) {
        grid(&mut svg, (x(decade), TOP), (x(decade), HEIGHT - BOTTOM));
        text(&mut svg, (x(decade), HEIGHT - BOTTOM + 18.0), "middle", "#222222", &decade.to_string());
    }
    for decade in steps(y0, y1) {
        grid(&mut svg, (LEFT, y(decade)), (WIDTH - RIGHT, y(decade)));
        text(&mut svg, (LEFT - 8.0, y(decade) + 4.0), "end", "#222222", &decade.to_string());
    }
    text(&mut svg, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0), "middle", "#222222", "components");
    text(&mut svg, (LEFT, TOP - 12.0), "middle", "#222222", "us of CPU");
    // Labels of lines that end close to each other would stand on each other.
    let mut labels = Vec::new();
    for line in &LINES {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .map(|row| (figure(row, "components"), figure(row, line.figure) * line.scale))
            .filter(|(_, cost)| *cost > 0.0)
            .map(|(size, cost)| (x(size), y(cost)))
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _written = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
            path.join(" "),
            line.colour
        );
        for (x, y) in &points {
            let _written =
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>", line.colour);
        }
        labels.extend(points.last().map(|end| (end.1, line)));
    }
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = TOP;
    for (at, line) in labels {
        let at = (at + 4.0).max(free);
        text(&mut svg, (WIDTH - RIGHT + 12.0, at), "start", line.colour, line.label);
        free = at + 15.0;
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_size_is_a_row_and_a_point_of_each_line() {
        let row = |components: u64, cost: f64| {
            let mut row = json!({ "components": components });
            for (name, ..) in COLUMNS.iter().skip(1) {
                row[*name] = cost.into();
            }
            row
        };
        let rows = [row(1_000, 2.0), row(10_000, 20.0), row(100_000, 200.0)];
        let svg = plot(&rows);
        assert_eq!(svg.matches("<circle").count(), 3 * LINES.len());
        // A cost that grows with the size is a straight line, from the first decade to the last.
        let first = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let points: Vec<(f64, f64)> = first
            .split(' ')
            .map(|point| {
                point.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap()
            })
            .collect();
        let rise = |n: usize| (points[n + 1].1 - points[n].1) / (points[n + 1].0 - points[n].0);
        assert!((rise(0) - rise(1)).abs() < 0.01 && rise(0) < 0.0, "{points:?}");
        let table = table("typed", "rustc 1", &rows);
        assert_eq!(table.lines().filter(|line| line.starts_with("| 1")).count(), 3);
        assert!(table.contains("`typed` with rustc 1"));
    }
}
