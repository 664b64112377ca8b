//! What others on the buses see of a demo: the copy of CAN 1 over UDP, and nodes of the older generation.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;
#[allow(dead_code)]
mod recording;

use std::time::Duration;

use bus::udp::{Received, UdpBus, UdpConfig};
use pack::can::Bus;
use pack::sealed_id::{Class, classify};
use process::start;

/// A whole life of a pack from manufacture to Off, recorded and copied to UDP.
#[test]
fn the_copy_of_can_1_is_what_was_recorded_and_means_nothing_to_old_nodes() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, record) = (temp.path().join("data"), temp.path().join("recorded"));
    let port = 10_000 + (std::process::id() % 20_000) as u16;
    let group = format!("239.74.163.21:{port}");
    let bus = UdpBus::join(&group.parse::<UdpConfig>().unwrap());
    assert!(bus.is_ok() || std::env::var_os("CI").is_none(), "{bus:?}");
    let listener = bus.ok().map(|mut bus| {
        std::thread::spawn(move || {
            let mut frames = Vec::new();
            // Ends when nothing has come for a while after the first frame, or nothing at all.
            let mut patience = Duration::from_secs(60);
            while let Some(received) = bus.receive(patience).unwrap() {
                match received {
                    Received::Message(message) => frames.push(*message.frame().unwrap()),
                    Received::Rejected(rejection) => panic!("{rejection:?}"),
                }
                patience = Duration::from_secs(5);
            }
            frames
        })
    });
    let (data, recorded) = (dir.to_str().unwrap(), record.to_str().unwrap());
    let arguments = ["demo", "--speed", "20", "--json", "--data-dir", data, "--record", recorded];
    let copied: &[&str] = if listener.is_some() { &["--can1-udp", &group] } else { &[] };
    let mut running = start(&[&arguments, copied].concat());
    running.wait_ready();
    running.interrupt();
    let line = running.wait().good().json();

    let (tried, taken) = recording::shown_to_old_nodes(&record);
    println!(
        "{tried} frames of the secure link are nothing to nodes of the older generation; {taken} clear ones are"
    );
    assert!(tried >= line["frames_sealed"].as_u64().unwrap() && taken > 0, "{tried} {taken} {line}");

    let Some(listener) = listener else {
        println!("not run: no multicast on this machine");
        return;
    };
    let heard = listener.join().unwrap();
    let on_wire = recording::census(&record.join("can1.pcapng"), true, false);
    println!("{} of {} frames of CAN 1 heard over UDP", heard.len(), on_wire.sealed + on_wire.clear);
    assert!(heard.len() as u64 <= on_wire.sealed + on_wire.clear);
    // Datagrams may be lost, not invented; most arrive.
    assert!(heard.len() as u64 * 2 > on_wire.sealed + on_wire.clear);
    let sealed = heard.iter().filter(|f| matches!(classify(Bus::Can1, f), Ok(Class::Sealed(..)))).count();
    assert!(sealed > 0 && sealed < heard.len());
}

/// The same pack on CAN FD buses: it becomes operational and measures, in fewer frames, nothing lost.
#[test]
fn a_pack_runs_on_can_fd() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, record) = (temp.path().join("data"), temp.path().join("recorded"));
    let (data, recorded) = (dir.to_str().unwrap(), record.to_str().unwrap());
    let mut running =
        start(&["demo", "--can-fd", "--speed", "20", "--json", "--data-dir", data, "--record", recorded]);
    running.wait_ready();
    running.interrupt();
    let line = running.wait().good().json();
    for figure in
        ["open_failures", "messages_lost", "record_gaps", "refused_jobs", "frames_clear_after_pairing"]
    {
        assert_eq!(line[figure], 0, "{figure}: {line}");
    }
    for file in ["can1.pcapng", "can2.pcapng"] {
        let lengths = recording::fd_lengths(&record.join(file));
        assert!([32, 48, 64].iter().all(|length| lengths.contains(length)), "{file}: {lengths:?}");
    }
}
