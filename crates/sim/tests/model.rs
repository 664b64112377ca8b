//! The cell model against the measurements: those it was fitted to, and those it was not.

mod data;

use sim::cell::{Cell, Parameters};
use sim::replay::Replay;

/// Root mean square over rows and over time, and the largest, in millivolts.
struct Residual {
    rows_mv: f64,
    time_mv: f64,
    max_mv: f64,
}

/// `rows` are (time in s, current in A, voltage in V); the current of a row flowed since the row before it.
fn follow(mut cell: Cell, rows: &[(f64, f64, f64)]) -> Residual {
    let (mut squares, mut weighted, mut max) = (0.0f64, 0.0f64, 0.0f64);
    for pair in rows.windows(2) {
        let [(before, ..), (time, current, voltage)] = *pair else { unreachable!() };
        cell.step(time - before, current, 25.0);
        let off = cell.voltage() - voltage;
        squares += off * off;
        weighted += off * off * (time - before);
        max = max.max(off.abs());
    }
    let span = rows[rows.len() - 1].0 - rows[0].0;
    Residual {
        rows_mv: (squares / (rows.len() - 1) as f64).sqrt() * 1e3,
        time_mv: (weighted / span).sqrt() * 1e3,
        max_mv: max * 1e3,
    }
}

/// `Exclude,Time(s),Cycle,Loop,Loop,Loop,Step,StepTime(s),Current(A),Voltage(V),...`; currents below the resolution
/// of the rest phases are taken as none.
fn hppc(path: &std::path::Path) -> Vec<(u32, (f64, f64, f64))> {
    let text = std::fs::read_to_string(path).expect("the file was found");
    let rows = text.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |index: usize| fields[index].parse::<f64>().expect("a row of the pulse test");
        let current = if number(8).abs() < 0.05 { 0.0 } else { number(8) };
        (fields[6].parse().expect("a row of the pulse test"), (number(1), current, number(9)))
    });
    rows.collect()
}

#[test]
fn the_model_follows_the_measured_cell() {
    let Some(path) = data::leaf("cell-low-current-hppc-25c-2.csv") else {
        return;
    };
    let rows = hppc(&path);
    // Step 6 is the first discharge pulse; the row before it is the end of the rest at full charge.
    let first = rows.iter().position(|&(step, _)| step == 6).unwrap();
    let rows: Vec<_> = rows[first - 1..].iter().map(|&(_, row)| row).collect();
    let full = Cell::at_rest(Parameters::MEASURED, 1.0, 25.0);
    let residual = follow(full, &rows);
    println!(
        "pulse test, {} rows: {:.2} mV rms over rows, {:.2} mV rms over time, {:.1} mV at most",
        rows.len(),
        residual.rows_mv,
        residual.time_mv,
        residual.max_mv
    );
    assert!(residual.rows_mv < 3.6, "{}", residual.rows_mv);
    assert!(residual.time_mv < 2.6, "{}", residual.time_mv);
    assert!(residual.max_mv < 20.0, "{}", residual.max_mv);
}

/// Data the voltage model never saw: the mean of the six groups of the pack, from the charge its rest voltage tells.
/// The pack's cells have about 25 % less resistance than the single cell, which is most of the difference.
#[test]
fn the_model_predicts_the_measured_pack() {
    for (name, soc, bound_mv) in [
        ("module123-irdischarge-65ah-1_0c.csv", 0.954, 30.0),
        ("module123-irdischarge-65ah-2_0c.csv", 0.956, 85.0),
    ] {
        let Some(path) = data::leaf(name) else { return };
        let samples = Replay::open(&path).unwrap().samples;
        let mean = |mv: &[u16]| mv.iter().map(|&mv| f64::from(mv)).sum::<f64>() / 6000.0;
        let rows: Vec<_> = samples
            .iter()
            .map(|sample| {
                (sample.time_ms as f64 / 1e3, f64::from(sample.pack_ma) / 1e3, mean(&sample.cell_mv))
            })
            .collect();
        let residual = follow(Cell::at_rest(Parameters::MEASURED.parallel(2), soc, 25.0), &rows);
        println!(
            "{name}: {:.1} mV rms over rows, {:.1} mV rms over time, {:.1} mV at most",
            residual.rows_mv, residual.time_mv, residual.max_mv
        );
        assert!(residual.time_mv < bound_mv, "{name}: {}", residual.time_mv);
    }
}

#[test]
fn the_model_heats_as_the_measured_pack() {
    for name in ["module123-irdischarge-65ah-1_0c.csv", "module123-irdischarge-65ah-2_0c.csv"] {
        let Some(path) = data::leaf(name) else { return };
        let samples = Replay::open(&path).unwrap().samples;
        let mean = |temps: &[i32]| temps.iter().map(|&temp| f64::from(temp)).sum::<f64>() / 3000.0;
        let ambient = mean(&samples[0].temp_mdegc);
        let mut cell = Cell::at_rest(Parameters::MEASURED.parallel(2), 0.95, ambient);
        let mut worst = 0.0f64;
        for pair in samples.windows(2) {
            let seconds = (pair[1].time_ms - pair[0].time_ms) as f64 / 1e3;
            cell.step(seconds, f64::from(pair[1].pack_ma) / 1e3, ambient);
            worst = worst.max((cell.temperature() - mean(&pair[1].temp_mdegc)).abs());
        }
        println!("{name}: temperature {worst:.2} K off at most");
        assert!(worst < 1.5, "{name}: {worst}");
    }
}
