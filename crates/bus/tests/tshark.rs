//! Wireshark's own reader agrees with what the recorder wrote.

use bus::pcapng::{Direction, Recorder};
use pack::can::{Bus, Frame, Id};
use pack::time::Instant;
use std::process::Command;

#[test]
fn tshark_reads_the_recording() {
    let version = Command::new("tshark").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        println!("not run: no tshark on this machine");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(folder.path(), Bus::Can2, 1_760_000_000_000_000_000).unwrap();
    let classic = |id, data: &[u8]| Frame::new_classic(id, data).unwrap();
    let fd = Frame::new_fd(Id::Extended(0x045A_1105), &[0x5A; 48]).unwrap();
    for (at, frame, direction) in [
        (0, classic(Id::Standard(0x410), &[1, 2, 3, 4, 5, 6, 7, 8]), Some(Direction::Outbound)),
        (264, classic(Id::Extended(0x1408_0005), &[0xDE, 0xAD]), Some(Direction::Inbound)),
        (1_000_528, classic(Id::Standard(0x7FF), &[]), None),
        (1_000_792, fd, Some(Direction::Inbound)),
    ] {
        recorder.record(Instant::from_micros(at), &frame, direction).unwrap();
    }
    recorder.finish().unwrap();
    // canfd.flags.brs is there for FD frames only.
    let fields = [
        "frame.time_epoch",
        "frame.interface_name",
        "frame.packet_flags_direction",
        "can.id",
        "can.flags.xtd",
        "can.len",
        "canfd.flags.brs",
        "data.data",
        "_ws.malformed",
    ];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(folder.path().join("can2.pcapng")).args(["-T", "fields", "-E", "separator=|"]);
    fields.iter().for_each(|field| _ = command.args(["-e", field]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<String>> = text.lines().map(|line| line.split('|').map(plain).collect()).collect();
    let payload = "5a".repeat(48);
    // In the order of `fields`; the last one stays empty as long as Wireshark finds nothing malformed.
    let expected = [
        ["1760000000.000000000", "can2", "2", "1040", "0", "8", "", "0102030405060708", ""],
        ["1760000000.000264000", "can2", "1", "336068613", "1", "2", "", "dead", ""],
        ["1760000001.000528000", "can2", "", "2047", "0", "0", "", "", ""],
        ["1760000001.000792000", "can2", "1", "73011461", "1", "48", "0", &payload, ""],
    ];
    assert_eq!(lines, expected, "{text}");
}

/// A field without the notation that differs between versions of tshark (hexadecimal numbers, words for flags).
fn plain(field: &str) -> String {
    match (field, field.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16))) {
        (_, Some(Ok(number))) => number.to_string(),
        ("True", _) => "1".into(),
        ("False", _) => "0".into(),
        _ => field.into(),
    }
}
