//! The format against bytes that python-can 4.6.1 made, and against everything that is no message.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// What python-can's `pack_message` gives for `timestamp = 1.5`: text of the keys, hexadecimal of the values.
fn python(id: &str, flags: [bool; 3], dlc: &str, data: &str, fd: [bool; 3]) -> Vec<u8> {
    let key = |name: &str| {
        let head = 0xA0 | name.len();
        format!("{head:02x}") + &name.bytes().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let flag = |set: bool| if set { "c3" } else { "c2" };
    let text = [
        "8b".to_owned(),
        key("timestamp") + "cb3ff8000000000000",
        key("arbitration_id") + id,
        key("is_extended_id") + flag(flags[0]),
        key("is_remote_frame") + flag(flags[1]),
        key("is_error_frame") + flag(flags[2]),
        key("channel") + "c0",
        key("dlc") + dlc,
        key("data") + data,
        key("is_fd") + flag(fd[0]),
        key("bitrate_switch") + flag(fd[1]),
        key("error_state_indicator") + flag(fd[2]),
    ];
    unhex(&text.concat())
}

#[test]
fn the_bytes_are_those_of_python_can() {
    let classic = |id, data: &[u8]| Message::from(Frame::new_classic(id, data).unwrap());
    let fd: Vec<u8> = (0..12).collect();
    let no = [false; 3];
    let table = [
        (classic(Id::Standard(0x123), &[1, 2, 3]), python("cd0123", no, "03", "c403010203", no)),
        (
            Message::Data {
                frame: Frame::new_fd(Id::Extended(0x045A_1505), &fd).unwrap(),
                bit_rate_switch: true,
                error_passive: true,
            },
            python("ce045a1505", [true, false, false], "0c", "c40c000102030405060708090a0b", [true; 3]),
        ),
        (
            Message::Remote { id: Id::Standard(0x7FF), length: 4 },
            python("cd07ff", [false, true, false], "04", "c400", no),
        ),
        (
            Message::Error(Frame::new_classic(Id::Extended(0x88), &[0; 8]).unwrap()),
            python("cc88", [true, false, true], "08", "c4080000000000000000", no),
        ),
    ];
    for (message, bytes) in table {
        assert_eq!(encode(&message, 1_500_000), bytes, "{message:?}");
        assert_eq!(decode(&bytes), Ok(message));
    }
    // In full, so that a slip in the helper above cannot hide.
    let whole = unhex(concat!(
        "8ba974696d657374616d70cb3ff8000000000000ae6172626974726174696f6e5f6964cd0123ae69735f657874656e6465645f6964",
        "c2af69735f72656d6f74655f6672616d65c2ae69735f6572726f725f6672616d65c2a76368616e6e656cc0a3646c6303a464617461",
        "c403010203a569735f6664c2ae626974726174655f737769746368c2b56572726f725f73746174655f696e64696361746f72c2"
    ));
    assert_eq!(encode(&classic(Id::Standard(0x123), &[1, 2, 3]), 1_500_000), whole);
}

/// A map written by the same library from JSON, for the shapes that other writers may choose.
fn map(value: Value) -> Vec<u8> {
    rmp_serde::to_vec_named(&value).unwrap()
}

#[test]
fn what_other_writers_leave_out_or_add_is_read() {
    let expected = Message::from(Frame::new_classic(Id::Standard(0x123), &[1, 2]).unwrap());
    let full = json!({"arbitration_id": 0x123, "is_extended_id": false, "data": [1, 2]});
    for (key, value) in [
        ("timestamp", json!(3)),
        ("timestamp", json!(-1.5)),
        ("dlc", json!(2)),
        ("dlc", Value::Null),
        ("channel", json!("vcan0")),
        ("channel", json!(3)),
        ("channel", Value::Null),
        ("is_rx", json!(true)),
        ("is_fd", json!(false)),
    ] {
        let mut object = full.clone();
        object[key] = value;
        assert_eq!(decode(&map(object.clone())), Ok(expected), "{object}");
    }
    // The default of python-can is a 29-bit identifier without data.
    let bare = Message::from(Frame::new_classic(Id::Extended(7), &[]).unwrap());
    assert_eq!(decode(&map(json!({"arbitration_id": 7}))), Ok(bare));
}

#[test]
fn everything_else_is_refused_with_its_reason() {
    use DatagramError::*;
    let id_too_wide = Frame(FrameError::IdTooWide);
    let with = |key: &str, value: Value| {
        let mut object = json!({"arbitration_id": 0x123, "is_extended_id": false, "data": [1, 2], "dlc": 2});
        object[key] = value;
        map(object)
    };
    let without = |key: &str| {
        let mut object = json!({"arbitration_id": 0x123, "is_extended_id": false});
        object.as_object_mut().unwrap().remove(key);
        map(object)
    };
    let good = with("dlc", json!(2));
    assert!(decode(&good).is_ok());
    let table: Vec<(Vec<u8>, DatagramError)> = vec![
        (vec![], NotAMessage),
        (vec![0xC0], NotAMessage),
        (vec![0x80], NotAMessage),
        (b"hello".to_vec(), NotAMessage),
        (without("arbitration_id"), NotAMessage),
        (with("mac", json!(1)), NotAMessage),
        (with("arbitration_id", json!("123")), NotAMessage),
        (with("arbitration_id", json!(-1)), NotAMessage),
        (with("arbitration_id", json!(1u64 << 32)), NotAMessage),
        (with("data", json!([256])), NotAMessage),
        (with("data", json!([[1]])), NotAMessage),
        (with("data", json!("ab")), NotAMessage),
        (with("channel", json!([1])), NotAMessage),
        (with("is_fd", json!(1)), NotAMessage),
        (map(json!([1.5, 0x123, false, false, false, null, 0, [], false, false, false])), NotAMessage),
        ([good.clone(), vec![0]].concat(), Trailing),
        ([good.clone(), good.clone()].concat(), Trailing),
        (with("arbitration_id", json!(0x800)), id_too_wide),
        (with("arbitration_id", json!(0x1_0123)), id_too_wide),
        (map(json!({"arbitration_id": 1 << 29})), id_too_wide),
        (with("dlc", json!(3)), Length),
        (with("dlc", json!(u32::MAX)), Length),
        (map(json!({"arbitration_id": 1, "data": vec![0; 9]})), Frame(FrameError::TooLong)),
        (
            map(json!({"arbitration_id": 1, "data": vec![0; 13], "is_fd": true})),
            Frame(FrameError::NotAnFdLength),
        ),
        (
            map(json!({"arbitration_id": 1, "data": vec![0; 65], "is_fd": true})),
            Frame(FrameError::NotAnFdLength),
        ),
        (with("bitrate_switch", json!(true)), Flags),
        (with("error_state_indicator", json!(true)), Flags),
        (map(json!({"arbitration_id": 1, "is_remote_frame": true, "is_error_frame": true})), Flags),
        (map(json!({"arbitration_id": 1, "is_remote_frame": true, "is_fd": true})), Flags),
        (map(json!({"arbitration_id": 1, "is_error_frame": true, "is_fd": true})), Flags),
        (map(json!({"arbitration_id": 1, "is_remote_frame": true, "dlc": 9})), Length),
        (vec![0xDC; MAX_LEN + 1], TooLong),
    ];
    for (bytes, reason) in table {
        assert_eq!(decode(&bytes), Err(reason), "{bytes:02x?}");
    }
    let entry = [&[0xAE][..], b"arbitration_id", &[7]].concat();
    assert!(decode(&[&[0x81][..], &entry].concat()).is_ok());
    assert_eq!(decode(&[&[0x82][..], &entry, &entry].concat()), Err(NotAMessage), "the same key twice");
    for cut in 0..good.len() {
        assert!(decode(&good[..cut]).is_err(), "{cut}");
    }
}

/// Neither nesting as deep as a datagram allows nor lengths that promise gigabytes do any harm.
#[test]
fn hostile_datagrams_cost_nothing() {
    let key = |name: &str| [&[0xA0 | name.len() as u8], name.as_bytes()].concat();
    for name in ["channel", "data", "timestamp", "unknown"] {
        let deep = [vec![0x81], key(name), vec![0x91; MAX_LEN - 16]].concat();
        assert_eq!(decode(&deep), Err(DatagramError::NotAMessage), "{name}");
        for huge in [
            &[0xC6, 0xFF, 0xFF, 0xFF, 0xFF][..],
            &[0xDD, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0xDB, 0x7F, 0xFF, 0xFF, 0xFF],
        ] {
            let bytes = [&[0x81][..], &key(name), huge].concat();
            assert_eq!(decode(&bytes), Err(DatagramError::NotAMessage), "{name}");
        }
    }
    assert_eq!(decode(&[0xDF, 0xFF, 0xFF, 0xFF, 0xFF]), Err(DatagramError::NotAMessage));
}

fn any_message() -> impl Strategy<Value = Message> {
    let id = prop_oneof![
        (0..=Id::MAX_STANDARD).prop_map(Id::Standard),
        (0..=Id::MAX_EXTENDED).prop_map(Id::Extended)
    ];
    (id, 0usize..16, any::<[u8; 64]>(), 0u8..4, any::<bool>(), any::<bool>()).prop_map(
        |(id, code, bytes, kind, bit_rate_switch, error_passive)| {
            let lengths = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64];
            let classic = frame_of(Frame::new_classic(id, &bytes[..code.min(8)]));
            match kind {
                0 => Message::Data {
                    frame: frame_of(Frame::new_fd(id, &bytes[..lengths[code]])),
                    bit_rate_switch,
                    error_passive,
                },
                1 => Message::Remote { id, length: code.min(8) as u8 },
                2 => Message::Error(classic),
                _ => classic.into(),
            }
        },
    )
}

fn frame_of(frame: Result<Frame, FrameError>) -> Frame {
    frame.expect("a frame that exists")
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in any_message(), time in 0u64..1 << 52) {
        prop_assert_eq!(decode(&encode(&message, time)), Ok(message));
    }

    /// A flipped bit or foreign bytes give a message or a reason; a message read is one that exists on a bus.
    #[test]
    fn damaged_datagrams_do_no_harm(
        message in any_message(), at in any::<prop::sample::Index>(), bit in 0u8..8, tail in any::<[u8; 3]>(), cut: bool
    ) {
        let mut bytes = encode(&message, 1);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if cut {
            bytes.truncate(at);
            bytes.extend(tail);
        }
        if let Ok(read) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&read, 0)), Ok(read));
        }
    }
}
