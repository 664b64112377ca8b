//! Members of one group in one process. Where the system has no multicast they say "not run", and fail where `CI`
//! is set.

use super::*;
use pack::can::{Frame, Id};

/// A group of this process and test alone, on the loopback interface.
fn config(test: u16) -> UdpConfig {
    let port = 10_000 + (std::process::id() % 2_000) as u16 * 10 + test;
    UdpConfig { port, interface: Interface::Address(Ipv4Addr::LOCALHOST), ..UdpConfig::default() }
}

fn members<const N: usize>(config: &UdpConfig) -> Option<[UdpBus; N]> {
    let members: Result<Vec<UdpBus>, OpenError> = (0..N).map(|_| UdpBus::join(config)).collect();
    match members {
        Ok(members) => members.try_into().ok(),
        Err(e) if std::env::var_os("CI").is_none() => {
            println!("not run: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

fn frame(n: u8) -> Message {
    Frame::new_classic(Id::Extended(0x1400_0000 + u32::from(n)), &[n; 8]).unwrap().into()
}

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(50);

#[test]
fn everybody_but_the_sender_hears_a_message() {
    let Some([mut a, mut b, mut c]) = members(&config(0)) else { return };
    for n in 0..20 {
        a.send(&frame(n), 1).unwrap();
        b.send(&frame(n | 0x80), 1).unwrap();
        assert_eq!(a.receive(LONG).unwrap(), Some(Received::Message(frame(n | 0x80))));
        assert_eq!(b.receive(LONG).unwrap(), Some(Received::Message(frame(n))));
    }
    for n in 0..20 {
        assert_eq!(c.receive(LONG).unwrap(), Some(Received::Message(frame(n))));
        assert_eq!(c.receive(LONG).unwrap(), Some(Received::Message(frame(n | 0x80))));
    }
    assert_eq!(a.receive(SHORT).unwrap(), None);
    assert_eq!(a.counters(), UdpCounters { sent: 20, received: 20, own: 20, rejected: 0 });
    assert_eq!(c.counters(), UdpCounters { sent: 0, received: 40, own: 0, rejected: 0 });
}

#[test]
fn datagrams_that_are_no_message_are_counted_and_name_their_sender() {
    let config = config(1);
    let Some([mut a]) = members(&config) else { return };
    let stranger = sending_socket(&config).unwrap();
    let from = stranger.local_addr().unwrap();
    for (bytes, reason) in [
        (&b"nonsense"[..], DatagramError::NotAMessage),
        (&[0x80; 5_000], DatagramError::TooLong),
        (&[], DatagramError::NotAMessage),
    ] {
        stranger.send(bytes).unwrap();
        assert_eq!(a.receive(LONG).unwrap(), Some(Received::Rejected(Rejection { from, reason })));
    }
    stranger.send(&encode(&frame(1), 0)).unwrap();
    assert_eq!(a.receive(LONG).unwrap(), Some(Received::Message(frame(1))));
    assert_eq!(a.counters(), UdpCounters { sent: 0, received: 1, own: 0, rejected: 3 });
}

/// Sent to this host's port and not to the group: heard by members bound to any address, not by ours.
#[cfg(unix)]
#[test]
fn what_is_not_sent_to_the_group_is_not_heard() {
    let config = config(2);
    let Some([mut a]) = members(&config) else { return };
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    stranger.send_to(&encode(&frame(1), 0), (Ipv4Addr::LOCALHOST, config.port)).unwrap();
    assert_eq!(a.receive(SHORT).unwrap(), None);
    assert_eq!(a.counters(), UdpCounters::default());
}

#[test]
fn groups_and_ports_are_separate() {
    let first = config(3);
    let other_port = config(4);
    let other_group = UdpConfig { group: Ipv4Addr::new(239, 74, 163, 3).into(), ..first };
    let Some([mut a]) = members(&first) else { return };
    let Some([mut b]) = members(&other_port) else { return };
    let Some([mut c]) = members(&other_group) else { return };
    a.send(&frame(1), 0).unwrap();
    b.send(&frame(2), 0).unwrap();
    c.send(&frame(3), 0).unwrap();
    for bus in [&mut a, &mut b, &mut c] {
        assert_eq!(bus.receive(SHORT).unwrap(), None);
        assert_eq!(bus.counters(), UdpCounters { sent: 1, received: 0, own: 1, rejected: 0 });
    }
}

#[test]
fn a_bus_is_named_by_group_and_port() {
    let named = |text: &str| text.parse::<UdpConfig>().map(|c| (c.group, c.port, c.to_string()));
    let v6: IpAddr = "ff15::1".parse().unwrap();
    for (text, group, port, shown) in [
        ("239.74.163.2", DEFAULT_GROUP, 43_113, "239.74.163.2:43113"),
        ("239.74.163.2:5000", DEFAULT_GROUP, 5_000, "239.74.163.2:5000"),
        ("ff15::1", v6, 43_113, "[ff15::1]:43113"),
        ("[ff15::1]:9", v6, 9, "[ff15::1]:9"),
    ] {
        assert_eq!(named(text), Ok((group, port, shown.to_owned())));
    }
    for text in ["", "127.0.0.1", "239.74.163.2:0", "239.74.163.2:65536", "::1", "can0", "239.74.163"] {
        assert_eq!(named(text), Err(NotAGroup), "{text}");
    }
}

#[test]
fn impossible_places_are_refused() {
    let refused = |config: UdpConfig| UdpBus::join(&config).expect_err("must not be joined").to_string();
    let loopback = UdpConfig { group: Ipv4Addr::LOCALHOST.into(), ..UdpConfig::default() };
    assert_eq!(refused(loopback), "127.0.0.1 is not a multicast address");
    let by_index = UdpConfig { interface: Interface::Index(1), ..UdpConfig::default() };
    assert!(refused(by_index).contains("IPv4 group needs an interface named by its address"));
    let nowhere =
        UdpConfig { interface: Interface::Address(Ipv4Addr::new(203, 0, 113, 7)), ..UdpConfig::default() };
    assert!(refused(nowhere).starts_with("cannot join 239.74.163.2:43113: "));
}
