//! The least validation level of every operation, row by row over whole devices: with less it is not done, with that
//! much it is (`spec/channel.md`, H150).

use crate::world;

use lct::{
    revocation::{Reason, RevocationList, Revoked, Subject},
    schedule::Direction,
    sign::SigningKey,
    spk::SpkSecret,
};
use pack::{
    app::Party,
    can::{Bus, Frame, Id},
    chunk, controller,
    gate::{Arrival, Standing, judge},
    level::Operation,
    message::{Message, RelayState, VcuCommand},
    pdu,
    policy::{DeviceState, Effect, Entry, MinLevel, Protection, TABLE},
    sealed_id::{Class, Level, SealedId, SecurityId, classify},
};
use world::{World, rogue::Rogue};

const APP: (Option<Party>, usize) = (None, 0);
const PACK: (Option<Party>, usize) = (Some(Party::Pack), 1);

fn commissioned(seed: u64) -> World {
    let mut w = World::new(1, seed);
    w.commission();
    w.events.clear();
    w
}

fn to_pack(w: &mut World, bus: Bus, frames: impl IntoIterator<Item = Frame>) {
    for frame in frames {
        let now = w.now;
        w.pack.frame(now, bus, &frame, &mut w.rng).unwrap();
    }
    w.run_for(20);
}

fn clear_pdu(bus: Bus, from: Direction, device: u8, message: &[u8]) -> Vec<Frame> {
    chunk::split(SecurityId::new(bus, from, device).canonical(), message).unwrap().collect()
}

fn state(w: &mut World, rogue: &Rogue, level: Level, state: RelayState) -> RelayState {
    let (body, len) = VcuCommand { state, ..VcuCommand::default() }.encode();
    let id = SealedId::new(0x400, level, Direction::Ab, 0).unwrap();
    let frames = rogue.seal(id, 0x400, &body[..len]);
    to_pack(w, Bus::Can1, frames);
    w.pack.state()
}

fn want(w: &mut World, state: RelayState) -> RelayState {
    let now = w.now;
    w.app.set_state(now, state, &mut w.rng).unwrap();
    w.run_for(1_500);
    w.pack.state()
}

/// Whether module 1 answers this frame, sealed.
fn answers(w: &mut World, frames: impl IntoIterator<Item = Frame>) -> bool {
    // Every status that the pack asks for by itself is over.
    w.run_for(300);
    w.log.clear();
    for frame in frames {
        let now = w.now;
        w.modules[0].frame(now, &frame, &mut w.rng).unwrap();
    }
    w.run_for(20);
    w.log.iter().any(|(_, bus, f)| {
        let class = classify(*bus, f);
        matches!(class, Ok(Class::Sealed(id, _)) if (id.direction(), id.family()) == (Direction::Ba, 0x508))
    })
}

fn read() -> [bool; 2] {
    let mut w = commissioned(300);
    let id = SealedId::new(0x512, Level::Exch, Direction::Ab, 1).unwrap();
    let pack = Rogue::peer_of(w.modules[0].relation().session().unwrap());
    let clear = Frame::new_classic(Id::Extended(0x512 << 18 | 1), &[0]).unwrap();
    [answers(&mut w, [clear]), answers(&mut w, pack.seal(id, 0x512, &[0]))]
}

fn report() -> [bool; 2] {
    let mut w = commissioned(301);
    let rogue = Rogue::of(w.modules[0].relation().session().unwrap());
    let alert = [pdu::ALERT, 0, 0x01, 0x01, 0, 0, 0, 9];
    let id = SecurityId::new(Bus::Can2, Direction::Ba, 1);
    let heard =
        |w: &World| w.pack_events.iter().any(|e| matches!(e, controller::Event::Alert { node: 1, .. }));
    to_pack(&mut w, Bus::Can2, clear_pdu(Bus::Can2, Direction::Ba, 1, &alert));
    let below = heard(&w);
    to_pack(&mut w, Bus::Can2, rogue.seal(id.sealed(Level::Pair), id.base(), &alert));
    [below, heard(&w)]
}

/// Without the signature of the initiator, in M3, there is no contact.
fn contact() -> [bool; 2] {
    let bound = |unsigned: bool| {
        let mut w = World::new(1, 302);
        w.run_for(3_000);
        w.filter = Box::new(move |f| {
            let m3 = f.data().starts_with(&[pdu::HANDSHAKE, 1, 0x82]);
            if unsigned && m3 {
                let mut changed = f.data().to_vec();
                changed[3] = 0;
                *f = Frame::new_classic(f.id(), &changed).unwrap();
            }
            true
        });
        w.bind(APP, PACK)
    };
    [bound(true), bound(false)]
}

/// Keys of the session before a start open nothing after it.
fn resume() -> [bool; 2] {
    let mut w = commissioned(303);
    let before = Rogue::of(w.app.relation().session().unwrap());
    w.restart(1);
    w.run_for(3_000);
    let taken = |w: &mut World, rogue: &Rogue| {
        let refused = w.pack.refused();
        let id = SealedId::new(0x405, Level::Exch, Direction::Ab, 0).unwrap();
        let now = w.now;
        for frame in rogue.seal(id, 0x405, &[0; 8]) {
            w.pack.frame(now, Bus::Can1, &frame, &mut w.rng).unwrap();
        }
        w.pack.refused() == refused
    };
    let below = taken(&mut w, &before);
    let after = Rogue::of(w.app.relation().session().unwrap());
    [below, taken(&mut w, &after)]
}

fn hold() -> [bool; 2] {
    let mut w = commissioned(304);
    assert_eq!(want(&mut w, RelayState::On), RelayState::On);
    let rogue = Rogue::of(w.app.relation().session().unwrap());
    [Level::Exch, Level::Pair]
        .map(|level| state(&mut w, &rogue, level, RelayState::Standby) == RelayState::Standby)
}

fn raise() -> [bool; 2] {
    let mut w = commissioned(305);
    let rogue = Rogue::of(w.app.relation().session().unwrap());
    let below = state(&mut w, &rogue, Level::Pair, RelayState::Standby) == RelayState::Standby;
    let mut w = commissioned(305);
    [below, want(&mut w, RelayState::Standby) == RelayState::Standby]
}

/// No role sets a parameter: the gate says what it would take, under a policy too that asks for less.
fn configure() -> [bool; 2] {
    let mut table = TABLE;
    let row = table.iter_mut().find(|row| row.first == 0x403).unwrap();
    *row = Entry { paired: MinLevel::Pair, ..*row };
    [Protection::Pair, Protection::PairSigned].map(|protection| {
        let effect = Effect::Hold;
        let arrival = Arrival { bus: Bus::Can1, base: 0x403, direction: Direction::Ab, protection, effect };
        // A policy may ask for pair only; a signed message is more than that.
        let standing = Standing { table: &table, ..Standing::of(DeviceState::Paired) };
        judge(&arrival, &standing).is_ok()
    })
}

fn pair() -> [bool; 2] {
    let mut w = World::new(1, 306);
    w.run_for(3_000);
    assert!(w.bind(APP, PACK));
    // A whole certificate, and one byte of the authority's signature wrong.
    let mut certificate = w.certificate(0, 1);
    *certificate.last_mut().unwrap() ^= 1;
    for party in [PACK.0, APP.0] {
        w.give(party, &[&[pdu::CERTIFICATE], certificate.as_slice()].concat());
        w.run_for(1_000);
    }
    let below = w.pack.is_paired() || w.app.relation().is_paired();
    [below, w.pair(APP, PACK)]
}

fn unpair() -> [bool; 2] {
    let mut w = commissioned(307);
    let entry = Revoked {
        subject: Subject::Pairing(w.app.relation().pairing_id().unwrap()),
        reason: Reason::Retired,
        time: 1,
    };
    let list = RevocationList {
        number: 1,
        this_update: 1_700_000_000,
        next_update: 1_800_000_000,
        previous: [0; 32],
        entries: heapless::Vec::from_slice(&[entry]).unwrap(),
    };
    let other = SigningKey::generate(&mut w.rng);
    let lists =
        [other, w.authority.spk.signing_key().clone()].map(|key| list.issue(&key, &mut w.rng).unwrap());
    lists.map(|list| {
        w.run_for(1_100);
        w.give(PACK.0, &[&[pdu::REVOCATION], list.as_slice()].concat());
        w.run_for(300);
        !w.pack.is_paired()
    })
}

fn bind() -> [bool; 2] {
    let mut w = World::new(1, 308);
    w.run_for(3_000);
    let other = SpkSecret::generate(&mut w.rng).unwrap();
    let own = std::mem::replace(&mut w.authority.spk, other);
    let below = w.bind(APP, PACK);
    w.authority.spk = own;
    [below, w.bind(APP, PACK)]
}

#[test]
fn each_operation_needs_its_level_and_is_done_with_it() {
    for operation in Operation::ALL {
        let done = match operation {
            Operation::Read => read(),
            Operation::Report => report(),
            Operation::Contact => contact(),
            Operation::Resume => resume(),
            Operation::Hold => hold(),
            Operation::Raise => raise(),
            Operation::Configure => configure(),
            Operation::Pair => pair(),
            Operation::Unpair => unpair(),
            Operation::Bind => bind(),
        };
        assert_eq!(done, [false, true], "{operation:?}: with less than its level, with its level");
    }
}
