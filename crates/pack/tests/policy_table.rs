//! The class table held against the text of the design, case by case: class, state, arrival (`spec/can.md`, C90 to
//! C104).
use pack::{
    can::Bus,
    gate::{self, Arrival, Denied, Standing, judge},
    pdu,
    policy::{
        DeviceState::{self, Bootstrap, Factory, Paired},
        Effect::{self, Hold, Raise, Stop},
        Protection::{self, Bind, Clear, Dev, Exch, Group, Pair, PairSigned},
        TABLE, may_stay_clear,
    },
    sealed_id::Direction::{self, Ab, Ba},
};

const ARRIVALS: [Protection; 7] = [Clear, Dev, Exch, Pair, PairSigned, Bind, Group];

/// What a word of the design's table lets in.
fn admitted(word: &str) -> &'static [Protection] {
    match word {
        "clear" => &[Clear, Dev, Exch, Pair, PairSigned, Bind],
        "dev" => &[Dev, Exch, Pair, PairSigned, Bind],
        "exch" => &[Exch, Pair, PairSigned, Bind],
        "pair" => &[Pair, PairSigned, Bind],
        "pair+L5" => &[PairSigned],
        "bind" => &[Bind],
        "FE" => &[Group, Pair, PairSigned],
        "FF" => &[],
        other => panic!("{other}"),
    }
}

type Row = (&'static str, Bus, &'static [u16], Direction, Effect, [&'static str; 3]);

const ONE: Bus = Bus::Can1;
const TWO: Bus = Bus::Can2;

/// Every row of the design's table with the precisions of its appendix, on the bus where it lives.
const ROWS: [Row; 32] = [
    ("discovery", TWO, &[0x500], Ba, Hold, ["clear", "clear", "clear"]),
    ("discovery", TWO, &[0x510, 0x51D], Ab, Hold, ["clear", "clear", "clear"]),
    ("discovery", ONE, &[0x406], Ab, Hold, ["clear", "clear", "clear"]),
    ("diagnostics", ONE, &[0x220, 0x224, 0x228], Ba, Hold, ["clear", "clear", "clear"]),
    ("parameter read", ONE, &[0x402], Ab, Hold, ["clear", "clear", "exch"]),
    (
        "telemetry",
        ONE,
        &[0x412, 0x417, 0x421, 0x423, 0x426, 0x430, 0x441],
        Ba,
        Hold,
        ["clear", "clear", "exch"],
    ),
    ("telemetry", TWO, &[0x501, 0x502, 0x505, 0x507], Ba, Hold, ["clear", "clear", "exch"]),
    ("log transfer", TWO, &[0x520, 0x522], Ab, Hold, ["clear", "clear", "exch"]),
    ("log transfer", TWO, &[0x521, 0x523], Ba, Hold, ["clear", "clear", "exch"]),
    ("critical telemetry", ONE, &[0x410, 0x411, 0x425], Ba, Hold, ["clear", "dev", "pair"]),
    ("aggregate", ONE, &[0x424], Ba, Hold, ["FF", "dev", "pair"]),
    ("aggregate", TWO, &[0x508, 0x509], Ba, Hold, ["FF", "dev", "exch"]),
    ("keep-alive", ONE, &[0x405], Ab, Hold, ["clear", "dev", "exch"]),
    ("time request", ONE, &[0x440], Ba, Hold, ["clear", "dev", "exch"]),
    ("requests", TWO, &[0x511, 0x512, 0x515], Ab, Hold, ["clear", "dev", "exch"]),
    ("time", ONE, &[0x401], Ab, Hold, ["clear", "dev", "pair"]),
    ("time", TWO, &[0x516], Ab, Hold, ["clear", "dev", "pair"]),
    ("command repeated or lowered", ONE, &[0x400, 0x404], Ab, Hold, ["clear", "dev", "pair"]),
    ("command repeated or lowered", TWO, &[0x514], Ab, Hold, ["clear", "dev", "pair"]),
    ("command that raises", ONE, &[0x400, 0x404], Ab, Raise, ["clear", "dev", "pair+L5"]),
    ("command that raises", TWO, &[0x514], Ab, Raise, ["clear", "dev", "pair+L5"]),
    ("emergency stop", ONE, &[0x400, 0x404], Ab, Stop, ["clear", "dev", "dev"]),
    ("emergency stop", TWO, &[0x514], Ab, Stop, ["clear", "dev", "dev"]),
    ("drop one module", TWO, &[0x518], Ab, Hold, ["clear", "dev", "pair"]),
    ("ceiling raised", TWO, &[0x517], Ab, Raise, ["FF", "FF", "pair+L5"]),
    ("ceiling lowered", TWO, &[0x517], Ab, Hold, ["clear", "dev", "FE"]),
    ("reduce", TWO, &[0x51E, 0x51F], Ab, Stop, ["clear", "dev", "FE"]),
    ("security", ONE, &[0x40C], Ab, Hold, ["clear", "clear", "clear"]),
    ("security", ONE, &[0x4AC], Ba, Hold, ["clear", "clear", "clear"]),
    ("security", TWO, &[0x52C], Ab, Hold, ["clear", "clear", "clear"]),
    ("security", TWO, &[0x50C], Ba, Hold, ["clear", "clear", "clear"]),
    ("sector transfer", TWO, &[0x3F0, 0x3F3], Ab, Hold, ["clear", "clear", "clear"]),
];

fn arrival(bus: Bus, base: u16, direction: Direction, protection: Protection, effect: Effect) -> Arrival {
    Arrival { bus, base, direction, protection, effect }
}

#[test]
fn every_class_in_every_state_takes_exactly_what_the_design_says() {
    let mut cases = 0;
    for (class, bus, bases, direction, effect, words) in ROWS {
        for (state, word) in [Factory, Bootstrap, Paired].into_iter().zip(words) {
            for base in bases {
                for protection in ARRIVALS {
                    let at = format!("{class} {base:x} {state:?} {protection:?} {effect:?}");
                    let judged =
                        judge(&arrival(bus, *base, direction, protection, effect), &Standing::of(state));
                    assert_eq!(judged.is_ok(), admitted(word).contains(&protection), "{at}: {judged:?}");
                    // The frame of an admitted message must not have been dropped before it was opened.
                    if judged.is_ok() && protection != Clear {
                        let level = match protection {
                            Dev => pack::sealed_id::Level::Dev,
                            Exch => pack::sealed_id::Level::Exch,
                            Bind => pack::sealed_id::Level::Bind,
                            _ => pack::sealed_id::Level::Pair,
                        };
                        let id = pack::sealed_id::SealedId::new(*base, level, direction, 0);
                        let outer = id.map(|id| gate::outer(bus, id, &Standing::of(state)));
                        assert!(outer.unwrap_or(true), "{at}: dropped by the outer check");
                    }
                    cases += 1;
                }
            }
        }
    }
    assert!(cases > 1_100, "{cases} cases");
}

#[test]
fn configuration_and_keys_need_window_and_envelope() {
    let standing =
        |state, window_open, in_envelope| Standing { window_open, in_envelope, ..Standing::of(state) };
    let write = |protection| arrival(ONE, 0x403, Ab, protection, Hold);
    let keys = |protection| arrival(ONE, 0x408, Ab, protection, Hold);
    let table = [
        (write(Clear), standing(Factory, false, true), Err(Denied::WindowClosed)),
        (write(Clear), standing(Factory, true, true), Ok(())),
        (write(Clear), standing(Factory, true, false), Err(Denied::OutsideEnvelope)),
        (write(Dev), standing(Bootstrap, false, true), Ok(())),
        (write(Dev), standing(Bootstrap, true, false), Err(Denied::OutsideEnvelope)),
        (write(Clear), standing(Bootstrap, true, true), Err(Denied::Unprotected)),
        (write(Pair), standing(Paired, true, true), Err(Denied::TooWeak)),
        (write(PairSigned), standing(Paired, false, true), Ok(())),
        (write(PairSigned), standing(Paired, false, false), Err(Denied::OutsideEnvelope)),
        (write(Clear), standing(Paired, true, true), Err(Denied::Unprotected)),
        (keys(Clear), standing(Factory, false, true), Err(Denied::WindowClosed)),
        (keys(Clear), standing(Factory, true, true), Ok(())),
        (keys(Dev), standing(Bootstrap, false, true), Ok(())),
        (keys(PairSigned), standing(Paired, false, true), Err(Denied::TooWeak)),
        (keys(Bind), standing(Paired, false, true), Ok(())),
    ];
    for (arrival, standing, expected) in table {
        assert_eq!(judge(&arrival, &standing), expected, "{arrival:?} {standing:?}");
    }
}

/// A certificate may leave telemetry clear and nothing else, and only in clear: it admits no weaker seal.
#[test]
fn what_a_certificate_lists_stays_clear_only_where_the_class_allows_it() {
    for entry in &TABLE {
        for base in entry.first..=entry.last {
            for bus in [ONE, TWO] {
                let listed = [base];
                let standing = Standing::of(Paired).with_clear(&listed);
                let direction = gate::sender(bus, base, entry).unwrap_or(Ba);
                let [without, with] = [Standing::of(Paired), standing]
                    .map(|s| judge(&arrival(bus, base, direction, Clear, Hold), &s));
                assert_eq!(
                    with.is_ok(),
                    without.is_ok() || may_stay_clear(bus, base),
                    "{bus} {base:x}: {without:?} {with:?}"
                );
                let weak = judge(&arrival(bus, base, direction, Dev, Hold), &standing);
                let strict = judge(&arrival(bus, base, direction, Dev, Hold), &Standing::of(Paired));
                assert_eq!(weak, strict, "{base:x}");
            }
        }
    }
    let other = [0x503];
    let standing = Standing::of(Paired).with_clear(&other);
    assert_eq!(judge(&arrival(TWO, 0x502, Ba, Clear, Hold), &standing), Err(Denied::Unprotected));
}

#[test]
fn unlisted_bases_other_buses_and_wrong_sides_are_refused_in_every_state() {
    for state in [Factory, Bootstrap, Paired] {
        let standing = Standing::of(state);
        for base in 0..0x800 {
            for bus in [ONE, TWO] {
                let known = pack::policy::entry(bus, base);
                for protection in ARRIVALS {
                    for side in [Ab, Ba] {
                        let judged = judge(&arrival(bus, base, side, protection, Hold), &standing);
                        match known {
                            None => assert_eq!(judged, Err(Denied::Unlisted), "{bus} {base:x}"),
                            Some(entry) if gate::sender(bus, base, entry) == Some(side.reversed()) => {
                                assert_eq!(judged, Err(Denied::WrongDirection), "{bus} {base:x}");
                            }
                            Some(_) => {}
                        }
                    }
                }
            }
        }
        for base in [0x000, 0x229, 0x40B, 0x418, 0x420, 0x431, 0x442, 0x513, 0x519, 0x524, 0x600, 0x7FF] {
            let judged = judge(&arrival(TWO, base, Ab, PairSigned, Stop), &standing);
            assert_eq!(judged, Err(Denied::Unlisted), "{base:x}");
        }
    }
}

/// The group key is known to every module: it never raises, commands or reports.
#[test]
fn a_group_frame_reduces_or_is_refused() {
    for entry in &TABLE {
        for base in entry.first..=entry.last {
            for effect in [Raise, Hold, Stop] {
                for state in [Factory, Bootstrap, Paired] {
                    for bus in [ONE, TWO] {
                        let judged = judge(&arrival(bus, base, Ab, Group, effect), &Standing::of(state));
                        let reduces = bus == TWO
                            && matches!(base, 0x517 | 0x51E | 0x51F)
                            && effect != Raise
                            && state == Paired;
                        assert_eq!(judged.is_ok(), reduces, "{base:x} {effect:?} {state:?}");
                    }
                }
            }
        }
    }
}

/// The protection of each PDU type, written again from the assignments of the design.
#[test]
fn security_pdus_need_the_tier_of_their_type() {
    let clear: &[Protection] = admitted("clear");
    let (exch, pair, dev) = (admitted("exch"), admitted("pair"), admitted("dev"));
    let both = &[Ab, Ba][..];
    let table: [(u8, &[Protection], &[Direction]); 18] = [
        (pdu::HANDSHAKE, clear, both),
        (pdu::CERTIFICATE, clear, both),
        (pdu::BINDING, clear, both),
        (pdu::TIME, pair, &[Ab]),
        (pdu::ALERT, pair, both),
        (pdu::IDENTIFY, clear, both),
        (pdu::CONFIRM, dev, &[Ba]),
        (pdu::GROUP_KEY, pair, &[Ab]),
        (pdu::DIGEST, exch, both),
        (pdu::BATCH, exch, &[Ba]),
        (pdu::COMMAND_ACK, pair, &[Ba]),
        (pdu::RECEIVED, exch, &[Ab]),
        (pdu::ENERGY, exch, &[Ba]),
        (pdu::LEAF, exch, both),
        (pdu::FORWARD, exch, &[Ba]),
        (pdu::HEALTH, exch, &[Ba]),
        (pdu::DELEGATION, clear, both),
        (pdu::METRICS, exch, &[Ba]),
    ];
    for (kind, protections, sides) in table {
        for arrived in ARRIVALS {
            for side in [Ab, Ba] {
                let expected = protections.contains(&arrived) && sides.contains(&side);
                assert_eq!(
                    gate::pdu(kind, side, arrived).is_ok(),
                    expected,
                    "{kind:02x} {arrived:?} {side:?}"
                );
            }
        }
    }
    for kind in [0x00, 0x17, 0x1E, 0x7F, 0xFF] {
        assert_eq!(gate::pdu(kind, Ab, PairSigned), Err(Denied::Unlisted));
    }
}

/// Only a clear frame of a class that could be sealed is a way round the channel.
#[test]
fn a_refusal_says_whether_somebody_goes_round_the_channel() {
    let table: [(Arrival, DeviceState, Denied); 5] = [
        (arrival(TWO, 0x514, Ab, Clear, Stop), Paired, Denied::Unprotected),
        (arrival(TWO, 0x502, Ba, Clear, Hold), Paired, Denied::Unprotected),
        (arrival(TWO, 0x508, Ba, Clear, Hold), Factory, Denied::TooWeak),
        (arrival(TWO, 0x514, Ab, Pair, Raise), Paired, Denied::TooWeak),
        (arrival(TWO, 0x514, Ab, Group, Raise), Paired, Denied::GroupRaises),
    ];
    for (arrival, state, expected) in table {
        assert_eq!(judge(&arrival, &Standing::of(state)), Err(expected), "{arrival:?}");
    }
}
