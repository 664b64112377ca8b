//! What a device says of its health, and of the frames that it leaves clear.

use super::bus::frame;
use crate::input::Input;
use pack::time::{Duration, Instant};

pub mod health {
    use super::*;
    use pack::fault::FaultCode;
    use pack::health::{Alert, Health, Report};
    use pack::session::Refusal;

    pub fn seeds() -> Vec<Vec<u8>> {
        let report = [&[5, 0, 0, 0, 7, 1, 2, 1, 4, 0, 0, 0, 3, 0, 3, 0x10, 0xCC, 11][..], &[0; 44]].concat();
        let every = (0..FaultCode::ALL.len() as u8).flat_map(|code| [0, code, 0, 0, 0, 1]).collect();
        vec![
            report,
            vec![5, 2, 1, 0, 3, 0x10, 0xCC],
            every,
            (2..8).flat_map(|op| [op, 9, 1, 2, 3, 4]).collect(),
        ]
    }

    pub fn run(data: &[u8]) {
        let _report = Report::parse(data);
        if let Ok((node, alert)) = Alert::parse(data) {
            assert_eq!(alert.to_pdu(node).expect("short")[1..], *data, "one encoding only");
            assert!(FaultCode::from_code(alert.code).is_none_or(|code| code.severity() == alert.severity()));
        }
        let mut input = Input(data);
        let mut health = Health::new(input.number());
        let mut now = Instant::START;
        while !input.is_empty() {
            let op = input.byte();
            let code = FaultCode::ALL[usize::from(input.byte()) % FaultCode::ALL.len()];
            match op & 7 {
                0 => {
                    let known = health.has(code);
                    assert_eq!(health.raise(now, code, input.number()), !known, "{}", code.name());
                    assert!(health.has(code));
                }
                1 => health.end(code),
                2 => drop(health.refused_clear(now, op.into())),
                3 => {
                    let why = if op & 8 == 0 { Refusal::NotAuthentic } else { Refusal::Replayed };
                    health.not_opened(now, why);
                }
                4 => drop(health.digest(now, op >> 3, op & 64 == 0, op >> 4)),
                5 => drop(health.own_identifier(now, op.into())),
                6 => health.set_incomplete(input.number()),
                _ => {
                    now = now + Duration::from_millis(u64::from(op >> 3) * 1_000);
                    health.tick(now);
                }
            }
            assert!(health.linger_due().is_none_or(|due| due > now), "what is over has ended");
            if let Some(pdu) = health.poll_report(now).expect("it always fits") {
                let (node, read) = Report::parse(&pdu[1..]).expect("an own report");
                let shown: Vec<u16> = read.faults.iter().map(|fault| fault.code).collect();
                let active: Vec<u16> = health.active().map(|fault| fault.code as u16).collect();
                assert_eq!((node, shown, read.counters), (0, active, health.counters()));
                assert!(health.report_due() > now);
            }
            if let Some(alert) = health.poll_alert(now) {
                assert!(alert.severity() as u8 >= 3 && health.alert_due().is_none_or(|due| due > now));
            }
        }
    }
}

pub mod digest {
    use super::*;
    use pack::can::Frame;
    use pack::digest::{DigestReceiver, DigestSender, Verdict};

    pub fn seeds() -> Vec<Vec<u8>> {
        let one = |op: u8| vec![op, 0, 0x21, 4, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        vec![
            [one(0), one(0), vec![4]].concat(),
            [one(0), one(1), vec![4], one(2), vec![4]].concat(),
            [one(3), vec![5, 4], one(0), vec![4, 6, 7]].concat(),
        ]
    }

    /// Frames go over a wire that the input loses, adds and alters them on; so do the digests.
    pub fn run(data: &[u8]) {
        let mut now = Instant::START;
        let _read = DigestReceiver::new(now).check(now, data);
        let (mut sender, mut receiver) = (DigestSender::new(now), DigestReceiver::new(now));
        let (mut sent, mut heard): (Vec<Frame>, Vec<Frame>) = (Vec::new(), Vec::new());
        let mut lost = false;
        let mut input = Input(data);
        while !input.is_empty() {
            let op = input.byte();
            match op & 7 {
                0..=3 => {
                    let Some(frame) = frame(&mut input) else { continue };
                    let arrives = match op & 3 {
                        1 => None,
                        3 => super::frame(&mut input),
                        _ => Some(frame),
                    };
                    if op & 3 != 2 {
                        sender.sent(&frame);
                        sent.push(frame);
                    }
                    if let Some(frame) = arrives {
                        receiver.heard(&frame);
                        heard.push(frame);
                    }
                }
                4 | 5 => {
                    let pdu = sender.close(now).expect("few windows");
                    let was_sent = std::mem::take(&mut sent);
                    if op & 7 == 5 {
                        lost = true;
                        continue;
                    }
                    let in_step = !std::mem::take(&mut lost);
                    // What is hashed of a frame: a clear one is classical, so nothing else tells two apart.
                    let told = |frames: &[Frame]| -> Vec<_> {
                        frames.iter().map(|frame| (frame.id(), frame.data().to_vec())).collect()
                    };
                    let honest = in_step && told(&was_sent) == told(&heard);
                    let fewer = heard.len() < was_sent.len();
                    let verdict = receiver.check(now, &pdu[1..]).expect("an own digest");
                    let expected = match (honest, in_step && !fewer) {
                        (true, _) => Verdict::Verified(was_sent.len() as u16),
                        (_, true) => Verdict::Altered,
                        _ => Verdict::Unverified,
                    };
                    assert_eq!(verdict, Some(expected));
                    heard.clear();
                    assert_eq!(receiver.check(now, &pdu[1..]), Ok(None), "told twice");
                }
                6 => receiver.missed(now),
                _ => now = now + Duration::from_millis(u64::from(op >> 3) * 100),
            }
        }
    }
}
