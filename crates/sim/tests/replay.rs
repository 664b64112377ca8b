//! The tester's files, whole and damaged.

mod data;

use sim::reading::Reading;
use sim::replay::{MAX_LINE, Reader, Replay, ReplayError, Sample};

const ONE_C: &str = "module123-irdischarge-65ah-1_0c.csv";
const TWO_C: &str = "module123-irdischarge-65ah-2_0c.csv";

/// Figures read off the files by eye and with `awk`, not with this reader.
#[test]
fn the_measured_files_read_as_they_are() {
    let table = [
        (
            ONE_C,
            4144,
            Sample {
                time_ms: 1_000,
                pack_mv: 24_830,
                pack_ma: -20,
                cell_mv: [4114, 4166, 4165, 4128, 4156, 4164],
                temp_mdegc: [22_000, 22_000, 22_500],
            },
            Sample {
                time_ms: 3_083_000,
                pack_mv: 19_940,
                pack_ma: -64_980,
                cell_mv: [3000, 3474, 3478, 3206, 3435, 3429],
                temp_mdegc: [27_500, 29_000, 28_000],
            },
            (-1_253_750, -55_300),
        ),
        (
            TWO_C,
            2209,
            Sample {
                time_ms: 1_000,
                pack_mv: 24_910,
                pack_ma: -20,
                cell_mv: [4122, 4182, 4180, 4136, 4172, 4181],
                temp_mdegc: [25_000, 25_500, 25_000],
            },
            Sample {
                time_ms: 1_554_200,
                pack_mv: 19_660,
                pack_ma: -130_000,
                cell_mv: [3000, 3411, 3422, 3177, 3381, 3372],
                temp_mdegc: [35_000, 37_000, 36_000],
            },
            (-1_230_280, -55_390),
        ),
    ];
    for (name, rows, first, last, (mwh, mah)) in table {
        let Some(path) = data::leaf(name) else { return };
        let replay = Replay::open(&path).unwrap();
        assert_eq!(replay.samples.len(), rows, "{name}");
        assert_eq!(replay.samples.first(), Some(&first), "{name}");
        assert_eq!(replay.samples.last(), Some(&last), "{name}");
        let summary = replay.summary;
        assert_eq!((summary.rows, summary.complete), (rows as u64, true), "{name}");
        assert_eq!((summary.tester_mwh, summary.tester_mah), (Some(mwh), Some(mah)), "{name}");
    }
}

/// Column `Voltage` and column `Current` are the pack's: only then does their energy agree with the tester's own.
#[test]
fn energy_from_voltage_and_current_agrees_with_the_tester() {
    for name in [ONE_C, TWO_C] {
        let Some(path) = data::leaf(name) else { return };
        let replay = Replay::open(&path).unwrap();
        let energy: f64 = replay
            .samples
            .windows(2)
            .map(|pair| {
                let power = |sample: &Sample| f64::from(sample.pack_mv) * f64::from(sample.pack_ma) / 1e6;
                (power(&pair[0]) + power(&pair[1])) / 2.0 * (pair[1].time_ms - pair[0].time_ms) as f64
                    / 3_600.0
            })
            .sum();
        let tester = replay.summary.tester_mwh.unwrap() as f64;
        let off = energy / tester - 1.0;
        println!("{name}: {energy:.0} mWh, tester {tester} mWh, {:+.3} %", off * 100.0);
        assert!(off.abs() < 0.002, "{name}: {off}");
    }
}

/// A small file in the tester's format: preamble with Latin-1 and a carriage return, 34 columns, five rows.
fn small() -> Vec<u8> {
    let mut file = b"Test Name,small\nNotes,  25 \xb0C\r\n,\n\n".to_vec();
    file.extend_from_slice(
        b"Total Time,Cycle,Current,Voltage,Amp-Hours,Watt-Hours,User Variable #1,Cell Voltage A1,Cell Voltage A2,\
          Cell Voltage A3,Cell Voltage A4,Cell Voltage A5,Cell Voltage A6,Temperature A1,Temperature A2,\
          Temperature A3,Mode,Real Time,Data Acquisition Flag,\n",
    );
    for row in 1..=5u32 {
        file.extend_from_slice(
            format!(
                "{row}.5,1,-65,24.{row},-0.0{row},-1.{row},5.76494e-042,4.1,4.101,4.102,4.103,4.104,4.105,22,22.5,\
                 -5,DCHG,4/13/2017 7:47:36 AM, ,\n"
            )
            .as_bytes(),
        );
    }
    file
}

fn replace(file: &[u8], line: usize, from: &str, to: &str) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = file.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let target = &mut lines[line - 1];
    let at =
        target.windows(from.len()).position(|window| window == from.as_bytes()).expect("text to replace");
    target.splice(at..at + from.len(), to.bytes());
    lines.concat()
}

#[test]
fn a_small_file_reads() {
    let replay = Replay::read(&small()[..]).unwrap();
    assert_eq!(replay.samples.len(), 5);
    assert!(!replay.summary.complete, "no end flag, no count line");
    assert_eq!(
        replay.samples[2],
        Sample {
            time_ms: 3_500,
            pack_mv: 24_300,
            pack_ma: -65_000,
            cell_mv: [4100, 4101, 4102, 4103, 4104, 4105],
            temp_mdegc: [22_000, 22_500, -5_000],
        }
    );
}

#[test]
fn harmless_differences_are_accepted() {
    let small = small();
    let text = |suffix: &[u8]| [&small[..], suffix].concat();
    let whole = Replay::read(&small[..]).unwrap().samples;
    let no_line_end = small[..small.len() - 1].to_vec();
    let crlf: Vec<u8> = small.split(|&byte| byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    let count = "Total Number of Data Lines in the Database: 0000000005";
    for (what, file, complete) in [
        ("no line end after the last row", no_line_end, false),
        ("CR LF", crlf, false),
        ("blank lines at the end", text(b"\n  \n\r\n"), false),
        ("count line", text(format!("{count}\n").as_bytes()), true),
        ("count line without line end", text(count.as_bytes()), true),
        ("count line and blank lines", text(format!("{count}\n\n\n").as_bytes()), true),
        ("end flag in the last row", replace(&small, 10, "AM, ,", "AM,Q,"), true),
        ("end flag in an earlier row", replace(&small, 9, "AM, ,", "AM,Q,"), false),
        ("blanks around numbers", replace(&small, 7, ",-65,", ", -65 ,"), false),
        ("Latin-1 in a field that is not needed", replace(&small, 7, "DCHG", "\u{e4}"), false),
    ] {
        let replay = Replay::read(&file[..]).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(replay.samples, whole, "{what}");
        assert_eq!(replay.summary.complete, complete, "{what}");
    }
}

#[test]
fn columns_are_found_by_name() {
    let reordered: Vec<u8> = small()
        .split(|&byte| byte == b'\n')
        .map(|line| {
            let mut fields: Vec<&[u8]> = line.split(|&byte| byte == b',').collect();
            if fields.len() > 10 {
                fields.reverse();
                fields.push(b"more");
            }
            fields.join(&b","[..])
        })
        .collect::<Vec<_>>()
        .join(&b"\n"[..]);
    assert_eq!(Replay::read(&reordered[..]).unwrap().samples, Replay::read(&small()[..]).unwrap().samples);
}

/// Line 5 is the header, lines 6 to 10 are the rows.
#[test]
fn damage_is_reported_with_its_line() {
    let small = small();
    let change = |line, from, to| replace(&small, line, from, to);
    let text = |suffix: &str| [&small[..], suffix.as_bytes()].concat();
    let header_end = 5 + small.windows(5).position(|window| window == b"Flag,").unwrap();
    let cut_in_line = |line: usize, keep: usize| {
        let before: usize =
            small.split_inclusive(|&byte| byte == b'\n').take(line - 1).map(<[u8]>::len).sum();
        small[..before + keep].to_vec()
    };
    let mut long = small.clone();
    long.extend(std::iter::repeat_n(b'7', MAX_LINE + 1));

    type Check = fn(&ReplayError) -> bool;
    let table: Vec<(&str, Vec<u8>, Option<u64>, Check)> = vec![
        ("empty", vec![], None, |e| matches!(e, ReplayError::Empty)),
        ("prose", b"Dear reader,\nno data.\n".to_vec(), Some(2), |e| {
            matches!(e, ReplayError::NotThisFormat { .. })
        }),
        ("binary", vec![0; 100_000], Some(1), |e| matches!(e, ReplayError::LineTooLong { .. })),
        ("no header in 64 lines", b"1,2\n".repeat(500), Some(64), |e| {
            matches!(e, ReplayError::NotThisFormat { .. })
        }),
        ("preamble only", small[..20].to_vec(), Some(2), |e| matches!(e, ReplayError::NotThisFormat { .. })),
        ("missing column", change(5, "Cell Voltage A4,", "Cell Voltage B4,"), Some(5), |e| {
            matches!(e, ReplayError::MissingColumn { column: "Cell Voltage A4", .. })
        }),
        ("missing voltage", change(5, ",Voltage,", ",Voltage (V),"), Some(5), |e| {
            matches!(e, ReplayError::MissingColumn { column: "Voltage", .. })
        }),
        ("column twice", change(5, "Cycle", "Current"), Some(5), |e| {
            matches!(e, ReplayError::DuplicateColumn { column: "Current", .. })
        }),
        ("cut in the header", small[..header_end - 4].to_vec(), Some(5), |e| {
            matches!(e, ReplayError::MissingColumn { .. } | ReplayError::Truncated { .. })
        }),
        ("cut after the header", small[..=header_end].to_vec(), Some(5), |e| {
            matches!(e, ReplayError::NoRows { .. })
        }),
        (
            "count line and no rows",
            [&small[..=header_end], b"Total Number of Data Lines: 0\n"].concat(),
            Some(6),
            |e| matches!(e, ReplayError::WrongCount { .. }),
        ),
        ("short row", change(7, ",22.5,", ","), Some(7), |e| {
            matches!(e, ReplayError::FieldCount { expected: 20, found: 19, .. })
        }),
        ("long row", change(7, ",22.5,", ",22,5,"), Some(7), |e| {
            matches!(e, ReplayError::FieldCount { expected: 20, found: 21, .. })
        }),
        ("blank line between rows", change(7, "2.5", "\n2.5"), Some(8), |e| {
            matches!(e, ReplayError::AfterEnd { .. })
        }),
        (
            "text for a number",
            change(8, "4.103", "four"),
            Some(8),
            |e| matches!(e, ReplayError::NotANumber { column: "Cell Voltage A4", text, .. } if text == "four"),
        ),
        ("nothing for a number", change(8, ",-65,", ",,"), Some(8), |e| {
            matches!(e, ReplayError::NotANumber { column: "Current", .. })
        }),
        ("NaN", change(6, "24.1", "NaN"), Some(6), |e| {
            matches!(e, ReplayError::NotANumber { column: "Voltage", .. })
        }),
        ("infinity", change(6, "24.1", "-inf"), Some(6), |e| {
            matches!(e, ReplayError::NotANumber { column: "Voltage", .. })
        }),
        (
            "NUL bytes in a number",
            change(9, "22.5", "2\0.5"),
            Some(9),
            |e| matches!(e, ReplayError::NotANumber { column: "Temperature A2", text, .. } if text == "2\\u{0}.5"),
        ),
        ("lost decimal point", change(9, "4.103", "4103"), Some(9), |e| {
            matches!(e, ReplayError::OutOfRange { column: "Cell Voltage A4", .. })
        }),
        ("negative cell", change(9, "4.103", "-4.103"), Some(9), |e| {
            matches!(e, ReplayError::OutOfRange { column: "Cell Voltage A4", .. })
        }),
        ("current beyond the sensor", change(9, ",-65,", ",-656,"), Some(9), |e| {
            matches!(e, ReplayError::OutOfRange { column: "Current", .. })
        }),
        ("hotter than the sensor", change(9, ",22,", ",125.001,"), Some(9), |e| {
            matches!(e, ReplayError::OutOfRange { column: "Temperature A1", .. })
        }),
        ("negative time", change(6, "1.5,", "-1.5,"), Some(6), |e| {
            matches!(e, ReplayError::OutOfRange { column: "Total Time", .. })
        }),
        ("time stands still", change(8, "3.5,1,", "2.5,1,"), Some(8), |e| {
            matches!(e, ReplayError::TimeNotIncreasing { time_ms: 2_500, previous_ms: 2_500, .. })
        }),
        ("time goes back", change(8, "3.5,1,", "0.5,1,"), Some(8), |e| {
            matches!(e, ReplayError::TimeNotIncreasing { time_ms: 500, .. })
        }),
        ("cut in the middle of a number", cut_in_line(9, 14), Some(9), |e| {
            matches!(e, ReplayError::Truncated { .. })
        }),
        ("cut after one byte of a row", cut_in_line(10, 1), Some(10), |e| {
            matches!(e, ReplayError::Truncated { .. })
        }),
        ("too few rows", text("Total Number of Data Lines in the Database: 0000000006\n"), Some(11), |e| {
            matches!(e, ReplayError::WrongCount { stated: 6, found: 5, .. })
        }),
        ("count cut short", text("Total Number of Data Lines in the Database: 000000"), Some(11), |e| {
            matches!(e, ReplayError::Truncated { .. })
        }),
        ("count line cut short", text("Total Num"), Some(11), |e| matches!(e, ReplayError::Truncated { .. })),
        ("count is no number", text("Total Number of Data Lines in the Database: many\n"), Some(11), |e| {
            matches!(e, ReplayError::NotANumber { .. })
        }),
        ("rows after the count", text("Total Number of Data Lines: 5\n6.5,1\n"), Some(12), |e| {
            matches!(e, ReplayError::AfterEnd { .. })
        }),
        ("a line without end", long, Some(11), |e| matches!(e, ReplayError::LineTooLong { .. })),
    ];
    for (what, file, line, expected) in table {
        let error = Replay::read(&file[..]).map(|_| ()).expect_err(what);
        assert!(expected(&error), "{what}: {error:?}");
        assert_eq!(error.line(), line, "{what}: {error}");
        let message = error.to_string();
        assert!(line.is_none_or(|line| message.contains(&format!("line {line}"))), "{what}: {message}");
        assert!(!message.contains('\n'), "{what}: one sentence");
    }
}

/// A damaged bit in a measured file is found or leaves every number within the sensor's range; nothing panics. And
/// after an error the reader is at its end.
#[test]
fn cutting_a_measured_file_anywhere_is_noticed() {
    let Some(path) = data::leaf(TWO_C) else { return };
    let file = std::fs::read(path).unwrap();
    let line_starts: Vec<usize> = std::iter::once(0)
        .chain(file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1))
        .collect();
    let mut cut_inside = 0;
    for at in (1..file.len()).step_by(1009) {
        let mut reader = match Reader::new(&file[..at]) {
            Ok(reader) => reader,
            Err(error) => {
                assert!(at < line_starts[18], "at byte {at}: {error}");
                continue;
            }
        };
        let error = loop {
            match reader.next_sample() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert!(matches!(reader.next_sample(), Ok(None)));
        assert!(!reader.summary().complete, "at byte {at}");
        let line = line_starts.partition_point(|&start| start < at) as u64;
        let inside_a_number =
            file[line_starts[line as usize - 1]..at].iter().filter(|&&byte| byte == b',').count() < 33;
        match error {
            Some(error) => assert_eq!(error.line(), Some(line), "at byte {at}: {error}"),
            None => assert!(line_starts.contains(&at) || !inside_a_number, "cut at byte {at} not noticed"),
        }
        cut_inside += u32::from(inside_a_number);
    }
    assert!(cut_inside > 300);
}

#[test]
fn a_missing_file_is_named() {
    let error = Replay::open(std::path::Path::new("/no/such/file.csv")).unwrap_err();
    assert!(error.to_string().contains("/no/such/file.csv"), "{error}");
    assert_eq!(error.line(), None);
}

#[test]
fn the_cell_file_is_not_a_module_test() {
    let Some(path) = data::leaf("cell-low-current-hppc-25c-2.csv") else {
        return;
    };
    assert!(matches!(Replay::open(&path), Err(ReplayError::NotThisFormat { .. })));
}

#[test]
fn a_row_becomes_a_reading_of_three_modules() {
    let sample = Replay::read(&small()[..]).unwrap().samples[0];
    let mut reading = Reading::default();
    reading.resize(7);
    sample.write_to(&mut reading);
    assert_eq!(reading.modules.len(), 3);
    assert_eq!((reading.pack_mv, reading.pack_ma), (24_100, -65_000));
    assert_eq!(reading.modules[1].cell_mv, [4102, 4103]);
    assert_eq!(reading.modules[1].voltage_mv, 8205);
    assert_eq!(reading.modules[2].temp_mdegc, [-5_000]);
    assert_eq!(reading.modules[2].current_ma, -65_000);
}
