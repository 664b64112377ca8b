//! What `spec/vectors/link-more.json` says of sessions, frames and the class table.
//!
//! Signatures, handshakes and statements of the same file are in `crates/lct/tests/link_more.rs`.

use lct::{
    handshake::Kind,
    policy::Policy,
    schedule::{Direction, ExchangeTag, MasterSecret},
    secret::Secret,
    validation::{EscalationReason, Urgency, ValidationLevel},
};
use pack::{
    can::{Bus, Frame, Id},
    chunk,
    digest::{DigestReceiver, DigestSender, Verdict},
    escalation::{Message, Request},
    isotp::{Received, Receiver, ReceiverConfig},
    level::{Operation, required},
    policies::{Reason, factory_rows, read_table},
    policy,
    sealed_id::{Class, SealedId, Transport, classify},
    session::{Refusal, Session, limits::Limits},
    time::Instant,
};
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/link-more.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
fn text<'a>(v: &'a Value, name: &str) -> &'a str {
    v[name].as_str().unwrap_or_else(|| panic!("no entry {name}"))
}
fn bytes(v: &Value, name: &str) -> Vec<u8> {
    hex(text(v, name))
}
fn hex(digits: &str) -> Vec<u8> {
    assert_eq!(digits.len() % 2, 0);
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}
fn fixed<const N: usize>(v: &Value, name: &str) -> [u8; N] {
    bytes(v, name).try_into().unwrap()
}
/// Numbers of identifiers stand as `0x`..., others as numbers.
fn number(v: &Value, name: &str) -> u64 {
    match &v[name] {
        Value::String(digits) => u64::from_str_radix(digits.trim_start_matches("0x"), 16).unwrap(),
        n => n.as_u64().unwrap(),
    }
}
fn sealed_id(canonical: u64) -> SealedId {
    let raw = canonical as u32 & 0x1FFF_FFFF | 0x1100;
    SealedId::parse(Id::Extended(raw)).unwrap().0
}

/// The receiving end of a channel of the file, in an epoch with another master secret if one is given.
fn receiver(v: &Value, source: &str, direction: &str, epoch: u32, master: Option<[u8; 32]>) -> Session {
    let run = &v[source];
    let kind = match number(run, "kind") {
        1 => Kind::Dev,
        2 => Kind::Bind,
        3 => Kind::Pair,
        5 => Kind::Pake,
        other => panic!("kind {other}"),
    };
    let exchange = (kind == Kind::Pair).then(|| ExchangeTag::of(&Secret::new(fixed(&v["inputs"], "xk"))));
    let master = MasterSecret(Secret::new(master.unwrap_or_else(|| fixed(run, "MS0"))));
    let sends = if direction == "ab" { Direction::Ba } else { Direction::Ab };
    Session::at_epoch(kind, fixed(run, "TH4"), epoch, master, exchange, sends).unwrap()
}

#[test]
fn sealed_messages_open_and_travel_as_stated() {
    let v = vectors();
    let (mut opened, mut chunks, mut long) = (0, 0, 0);
    for (name, group) in v.as_object().unwrap() {
        let Some(frames) = group.get("frames").filter(|_| group.get("sealed").is_some()) else { continue };
        let frames = frames.as_array().unwrap();
        let id = sealed_id(number(group, "can_id_canonical"));
        let (sealed, base) = (bytes(group, "sealed"), number(group, "base11") as u16);
        let canonical = number(group, "can_id_canonical") as u32;
        assert_eq!(SealedId::new(base, id.level(), id.direction(), id.device()), Ok(id), "{name}");
        assert_eq!(id.canonical().to_u32(), canonical, "{name}");
        if text(group, "source") != "tier_group" {
            let master = group.get("MS").map(|_| fixed(group, "MS"));
            let epoch = number(group, "epoch") as u32;
            let mut session = receiver(&v, text(group, "source"), text(group, "direction"), epoch, master);
            let mut copy = sealed.clone();
            let message = session.open(Instant::START, &Limits::DEFAULT, id, &mut copy).unwrap();
            assert_eq!((message.base, message.body), (base, bytes(group, "body").as_slice()), "{name}");
            assert_eq!(message.signed, name == "level5_sealed");
            opened += 1;
        }
        let listed: Vec<(Id, Vec<u8>)> = frames
            .iter()
            .map(|f| {
                let raw = u32::from_str_radix(f[0].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
                (Id::Extended(raw), hex(f[1].as_str().unwrap()))
            })
            .collect();
        if sealed.len() <= chunk::MAX_LEN && listed.len() > 1 {
            let split = chunk::split(id.canonical(), &sealed).unwrap();
            let made: Vec<_> = split.map(|f| (f.id(), f.data().to_vec())).collect();
            assert_eq!(made, listed, "{name}");
            chunks += 1;
        } else if listed.len() > 1 {
            let mut receiver = Receiver::<512>::new(ReceiverConfig::default());
            let (last, first) = listed.split_last().unwrap();
            for (id, data) in first {
                assert_eq!(classify(Bus::Can2, &Frame::new_classic(*id, data).unwrap()), {
                    Ok(Class::Sealed(sealed_id(u64::from(canonical)), Transport::IsoTp))
                });
                assert_eq!(receiver.on_frame(Instant::START, data), Received::Pending);
            }
            assert_eq!(receiver.on_frame(Instant::START, &last.1), Received::Message(&sealed), "{name}");
            long += 1;
        } else {
            let (id, data) = &listed[0];
            let frame = Frame::new_fd(*id, data).unwrap();
            let expected = Class::Sealed(sealed_id(u64::from(canonical)), Transport::Single);
            assert_eq!((classify(Bus::Can2, &frame), data), (Ok(expected), &sealed), "{name}");
        }
    }
    assert!(opened >= 8 && chunks >= 7 && long >= 1, "{opened} opened, {chunks} in chunks, {long} by ISO-TP");
}

#[test]
fn sealed_messages_are_refused_for_their_reason() {
    let v = vectors();
    let mut seen = 0;
    for n in v["negatives"].as_array().unwrap().iter().filter(|n| n["what"] == "sealed") {
        let id = sealed_id(number(n, "can_id"));
        let mut session =
            receiver(&v, text(n, "source"), text(n, "direction"), number(n, "epoch") as u32, None);
        let mut open = |message: &mut [u8]| {
            session.open(Instant::START, &Limits::DEFAULT, id, message).map(|_| ()).map_err(|refusal| {
                match refusal {
                    Refusal::Malformed => "Malformed",
                    Refusal::UnknownKey => "UnknownKey",
                    Refusal::Replayed => "Replayed",
                    Refusal::NotAuthentic => "NotAuthentic",
                    Refusal::Policy => "Policy",
                }
            })
        };
        for earlier in n["accepted"].as_array().unwrap() {
            open(&mut hex(earlier.as_str().unwrap())).unwrap();
        }
        assert_eq!(open(&mut bytes(n, "message")), Err(text(n, "reason")), "{}", text(n, "change"));
        seen += 1;
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn compact_messages_open_only_where_listed() {
    let v = vectors();
    let (good, id) = (&v["compact_c2"], sealed_id(number(&v["compact_c2"], "can_id_canonical")));
    let mut session = receiver(&v, "handshake_pair", "ba", 0, None);
    session.allow_compact(&[number(good, "base11") as u16]).unwrap();
    let mut message: Vec<u8> =
        good["frames"].as_array().unwrap().iter().flat_map(|f| hex(f.as_str().unwrap())).collect();
    let opened = session.open(Instant::START, &Limits::DEFAULT, id, &mut message).unwrap();
    assert_eq!((opened.base, opened.body), (0x502, bytes(good, "plaintext").as_slice()));

    let mut seen = 0;
    for n in v["negatives"].as_array().unwrap().iter().filter(|n| n["what"] == "compact") {
        let mut session = receiver(&v, text(n, "source"), "ba", 0, None);
        let bases: Vec<u16> =
            n["bases"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as u16).collect();
        session.allow_compact(&bases).unwrap();
        let whole = sealed_id(number(good, "can_id_canonical"));
        let mut accepted = bytes(n, "accepted");
        session.open(Instant::START, &Limits::DEFAULT, whole, &mut accepted).unwrap();
        let id = sealed_id(number(n, "can_id"));
        let mut message = bytes(n, "message");
        let refused = session.open(Instant::START, &Limits::DEFAULT, id, &mut message);
        assert_eq!(format!("{:?}", refused.unwrap_err()), text(n, "reason"), "{}", text(n, "change"));
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
}

/// C106 and C107: each digest is made from its frames, and judged by a receiver that heard what the case says.
#[test]
fn digests_of_clear_frames() {
    let v = vectors();
    let frames = |list: &Value| -> Vec<Frame> {
        let one = |f: &Value| {
            let raw = f[0].as_u64().unwrap() as u32;
            let id = if raw >> 31 == 0 { Id::Standard(raw as u16) } else { Id::Extended(raw & 0x1FFF_FFFF) };
            Frame::new_classic(id, &hex(f[1].as_str().unwrap())).unwrap()
        };
        list.as_array().unwrap().iter().map(one).collect()
    };
    let mut sender = DigestSender::new(Instant::START);
    for window in v["digest"]["windows"].as_array().unwrap() {
        frames(&window["clear"]).iter().for_each(|frame| sender.sent(frame));
        assert_eq!(sender.close(Instant::START).unwrap().as_slice(), bytes(window, "pdu"));
    }
    assert_eq!(bytes(&v["seal_digest"], "body"), bytes(&v["digest"]["windows"][0], "pdu"));
    let mut verdicts = Vec::new();
    for case in v["digest"]["verdicts"].as_array().unwrap() {
        let mut receiver = DigestReceiver::new(Instant::START);
        // Empty windows bring the receiver to the one that it waits for.
        let mut sender = DigestSender::new(Instant::START);
        for _ in 0..number(case, "expected") {
            let empty = sender.close(Instant::START).unwrap();
            assert_eq!(receiver.check(Instant::START, &empty[1..]), Ok(Some(Verdict::Verified(0))));
        }
        frames(&case["heard"]).iter().for_each(|frame| receiver.heard(frame));
        let told = match receiver.check(Instant::START, &bytes(case, "pdu")[1..]).unwrap() {
            None => "ignored",
            Some(Verdict::Verified(_)) => "proved",
            Some(Verdict::Unverified) => "not comparable",
            Some(Verdict::Altered) => "altered",
        };
        assert_eq!(told, text(case, "verdict"), "{}", text(case, "change"));
        verdicts.push(told);
    }
    for verdict in ["ignored", "proved", "not comparable", "altered"] {
        assert!(verdicts.contains(&verdict), "{verdict}");
    }
}

#[test]
fn the_class_table_is_the_one_of_the_specification() {
    let v = vectors();
    assert_eq!(policy::table_bytes().as_slice(), bytes(&v["policy"], "table"));
}

/// H113: what a reader of the class table refuses, for its reason; the table of the update itself is taken.
#[test]
fn tables_of_updates_are_judged() {
    let v = vectors();
    let judge = |n: &Value| {
        let update = Policy::decode(&bytes(n, "body"))?;
        read_table(&update.rows)
    };
    assert!(judge(&v["policy_update"]).is_ok());
    let mut refused = Vec::new();
    for n in v["negatives"].as_array().unwrap().iter().filter(|n| n["what"] == "policy_update") {
        let change = text(n, "change");
        match (judge(n), text(n, "reason")) {
            (Err(Reason::Malformed), "Malformed") | (Err(Reason::FixedRow), "Policy") => refused.push(change),
            // Versions and signatures are for `Policy::open` and the device.
            (Ok(_), "NotAuthentic") => {}
            (Ok(_), "Policy") if change == "version held already" => {}
            (judged, reason) => panic!("{change}: {judged:?}, not {reason}"),
        }
    }
    for change in [
        "unknown minimum",
        "unknown flag",
        "row of the security PDUs stricter",
        "row of the stop laxer",
        "row of the announcement left out",
    ] {
        assert!(refused.contains(&change), "{change}");
    }
    let rows = factory_rows().concat();
    assert_eq!(bytes(&v["policy"], "table")[2..], rows);
}

#[test]
fn escalation() {
    let v = vectors();
    let group = &v["escalation"];
    let request = Message::Ask(Request {
        target: ValidationLevel::Pairing,
        reason: EscalationReason::Threat,
        urgency: Urgency::Immediate,
        seq: number(&group["request"], "seq") as u32,
    });
    let answer = Message::Answer {
        seq: number(&group["answer"], "seq") as u32,
        level: number(&group["answer"], "level") as u8,
    };
    for (message, name) in [(request, "request"), (answer, "answer")] {
        let pdu = bytes(&group[name], "pdu");
        assert_eq!(message.to_pdu().unwrap()[..], pdu, "{name}");
        assert_eq!(Message::parse(&pdu[1..]), Ok(message), "{name}");
    }
    let rows = group["required"].as_array().unwrap();
    assert_eq!(rows.len(), Operation::ALL.len());
    for (operation, row) in Operation::ALL.into_iter().zip(rows) {
        assert_eq!(operation as u64, number(row, "operation"));
        for (asked, level) in row["levels"].as_array().unwrap().iter().enumerate() {
            let asked = ValidationLevel::from_code(asked as u8).ok();
            assert_eq!(required(operation, asked) as u64, level.as_u64().unwrap(), "{operation:?} {asked:?}");
        }
    }
    let negatives: Vec<&Value> =
        v["negatives"].as_array().unwrap().iter().filter(|n| n["what"] == "escalation").collect();
    assert_eq!(negatives.len(), 7);
    for n in negatives {
        let refused = Message::parse(&bytes(n, "pdu")[1..]).map_err(|e| format!("{e:?}"));
        assert_eq!(refused, Err(text(n, "reason").to_string()), "{}", text(n, "change"));
    }
}

/// A report of metrics on the bus, and the number by which it is acknowledged (H213).
#[test]
fn reports_of_metrics() {
    let v = &vectors()["trust_report"];
    let (pdu, statement) = (bytes(v, "pdu"), bytes(v, "report"));
    let head = [pack::pdu::METRICS, 1, statement.len() as u8];
    assert_eq!(pdu, [&head[..], &statement, &bytes(v, "sigB")].concat());
    let report = lct::trust::MetricsReport::decode(&statement).unwrap();
    let number = u64::from_be_bytes(fixed(v, "number"));
    assert_eq!(pack::observation::number(1, report.end_ms), number);
}
