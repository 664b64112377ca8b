//! The end of a pairing at the wish of one of its entities, over whole devices (`spec/channel.md`, H158).

use crate::world;

use lct::{
    revocation::Reason,
    schedule::Direction,
    sign::{Signature, SigningKey},
    validation::{EVENT_MAX, Event, EventKind},
};
use pack::{
    app::{self, Party},
    can::{Bus, Frame},
    controller,
    identity::key,
    link::{Link, MESSAGE_MAX},
    message::RelayState,
    module,
    pdu::{self, validation as events},
    relation::RelationEvent,
    sealed_id::{Class, Level, SecurityId, classify},
};
use world::{World, rogue::Rogue};

const APP: (Option<Party>, usize) = (None, 0);
const PACK: (Option<Party>, usize) = (Some(Party::Pack), 1);
const MODULE: (Option<Party>, usize) = (Some(Party::Module(1)), 2);

fn commissioned(modules: usize, seed: u64) -> World {
    let mut w = World::new(modules, seed);
    w.commission();
    w.events.clear();
    w
}

/// The statement that came to the app from `party`, `None` for its own, with its signature.
fn statement(w: &mut World, party: Option<Party>) -> (Event, Signature) {
    let pdu = w.answer(party, pdu::VALIDATION, events::EVENT).expect("a statement");
    let n = usize::from(pdu[2]);
    assert_eq!(pdu.len(), 3 + n + 64);
    (Event::decode(&pdu[3..3 + n]).unwrap(), Signature::from_slice(&pdu[3 + n..]).unwrap())
}

fn signed(key: &SigningKey, kind: EventKind, w: &World, who: usize, payload: &[u8]) -> Vec<u8> {
    let event = Event::new(kind, w.identities[who].cid(), 1, 1_000, payload).unwrap();
    let signature = key.sign_rfc6979(&event.digest().unwrap());
    let mut bytes = [0; EVENT_MAX];
    let n = event.encode(&mut bytes).unwrap();
    [&[pdu::VALIDATION, events::EVENT, n as u8][..], &bytes[..n], &signature.0].concat()
}

fn ended(w: &World, who: usize, slot: u8) -> bool {
    !w.flash[who].contains_key(&key::session(slot)) && !w.flash[who].contains_key(&key::lease(slot))
}

/// Each side in turn ends a pairing: both sessions are gone from flash, the statement verifies under the binding's key,
/// a start brings nothing back, and a new pairing works.
#[test]
fn each_side_ends_its_pairing() {
    type Row = (&'static str, [(Option<Party>, usize); 2], fn(&mut World), Option<Party>, [(usize, u8); 2]);
    let rows: [Row; 4] = [
        (
            "app",
            [APP, PACK],
            |w| w.app.unpair(w.now, Reason::Retired, &mut w.rng).unwrap(),
            None,
            [(0, 0), (1, 0)],
        ),
        (
            "pack with the app",
            [APP, PACK],
            |w| {
                let command = controller::Command::Unpair { node: 0, reason: Reason::Retired };
                w.pack.command(w.now, command, &mut w.rng).unwrap();
            },
            Some(Party::Pack),
            [(0, 0), (1, 0)],
        ),
        (
            "pack with a module",
            [PACK, MODULE],
            |w| {
                let command = controller::Command::Unpair { node: 1, reason: Reason::Retired };
                w.pack.command(w.now, command, &mut w.rng).unwrap();
            },
            Some(Party::Pack),
            [(1, 1), (2, 0)],
        ),
        (
            "module",
            [PACK, MODULE],
            |w| {
                let command = module::Command::Unpair(Reason::Retired);
                w.modules[0].command(w.now, command, &mut w.rng).unwrap();
            },
            Some(Party::Module(1)),
            [(1, 1), (2, 0)],
        ),
    ];
    for (who, pair, unpair, stated_by, places) in rows {
        let mut w = commissioned(2, 500);
        let pairing = match pair[0] {
            APP => w.app.relation().pairing_id().unwrap(),
            _ => w.modules[0].relation().pairing_id().unwrap(),
        };
        let signer = match stated_by {
            None => 0,
            Some(Party::Pack) => 1,
            Some(_) => 2,
        };
        let peer = if signer == pair[0].1 { pair[1].1 } else { pair[0].1 };
        let signing = w.spk_of(signer, peer).sign_pub();
        let generation = w.pack.group_generation();
        unpair(&mut w);
        w.run_for(2_000);
        for (party, slot) in places {
            assert!(ended(&w, party, slot), "{who}: {party}");
        }
        let (event, signature) = statement(&mut w, stated_by);
        event.verify(&signing, &signature).unwrap();
        assert_eq!((event.kind, event.cid), (EventKind::PairingRevocation, w.identities[signer].cid()));
        assert_eq!(event.payload[..], [&pairing.0[..], &[Reason::Retired as u8]].concat(), "{who}");
        let left = pair[1] == MODULE;
        assert_eq!(w.pack.group_generation() > generation, left, "{who}: who left cannot read the group");
        w.restart(pair[0].1);
        w.restart(pair[1].1);
        w.run_for(15_000);
        for (party, slot) in places {
            assert!(ended(&w, party, slot), "{who}: {party} after a start");
        }
        w.events.clear();
        assert!(w.pair(pair[0], pair[1]), "{who}: paired again");
    }
}

/// The peer is not heard: the side that wants it ends it alone, and raises nothing meanwhile.
#[test]
fn silence_of_the_peer_does_not_keep_a_pairing() {
    let mut w = commissioned(1, 501);
    w.filter = Box::new(
        |f: &mut Frame| !matches!(classify(Bus::Can1, f), Ok(Class::Sealed(id, _)) if id.direction() == Direction::Ba),
    );
    let now = w.now;
    w.app.unpair(now, Reason::Lost, &mut w.rng).unwrap();
    w.run_for(1_000);
    assert!(w.app.relation().is_paired(), "it is told six times");
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(4_000);
    assert!(ended(&w, 0, 0));
    assert_eq!(w.pack.state(), RelayState::Off);
    assert!(w.pack.is_paired(), "without flow control it heard nothing, and nobody commands it");
}

/// Whoever has the keys of the channel alone ends nothing; neither does a signed statement about something else.
#[test]
fn only_a_signed_statement_about_this_pairing_ends_it() {
    let mut w = commissioned(1, 502);
    let rogue = Rogue::of(w.app.relation().session().unwrap());
    let pairing = w.app.relation().pairing_id().unwrap();
    let own = w.app.relation().own_spk().unwrap().signing_key().clone();
    let other = SigningKey::generate(&mut w.rng);
    let payload = [&pairing.0[..], &[0]].concat();
    let foreign = [&[9; 16][..], &[0]].concat();
    let modified = [&pairing.0[..], &[0; 32]].concat();
    let tries = [
        ("another key", signed(&other, EventKind::PairingRevocation, &w, 0, &payload)),
        ("another pairing", signed(&own, EventKind::PairingRevocation, &w, 0, &foreign)),
        ("another signer", signed(&own, EventKind::PairingRevocation, &w, 1, &payload)),
        ("another event", signed(&own, EventKind::PairingModification, &w, 0, &modified)),
    ];
    let good = signed(&own, EventKind::PairingRevocation, &w, 0, &payload);
    let id = SecurityId::new(Bus::Can1, Direction::Ab, 0);
    let send = |w: &mut World, message: &[u8], level: Option<Level>| {
        // Longer than chunks carry: its sender hears the flow control.
        let mut link = Link::<2>::new(Bus::Can1, Direction::Ba);
        match level {
            Some(level) => {
                let sealed = rogue.sealed(id.sealed(level), id.base(), message);
                link.send_sealed(w.now, id.sealed(level), &sealed);
            }
            None => link.send_security(w.now, id, message),
        }
        while !link.is_idle() {
            let (now, heard) = (w.now, w.log.len());
            while let Some(frame) = link.poll(now) {
                w.pack.frame(now, Bus::Can1, &frame, &mut w.rng).unwrap();
            }
            w.run_for(2);
            for (_, _, frame) in w.log[heard..].iter().filter(|(_, bus, _)| *bus == Bus::Can1) {
                link.receive(w.now, frame, |device| device == 0, &mut [0; MESSAGE_MAX]);
            }
        }
        w.run_for(100);
        !w.pack.is_paired()
    };
    for (what, message) in &tries {
        assert!(!send(&mut w, message, Some(Level::Exch)), "{what}");
    }
    assert!(!send(&mut w, &good, None), "in clear");
    assert!(send(&mut w, &good, Some(Level::Exch)), "the control");
    let told = RelationEvent::Unpaired { pairing_id: pairing, own: false };
    assert!(w.pack_events.contains(&controller::Event::Relation { node: 0, event: told }));
    assert!(!w.events.iter().any(|e| matches!(e, app::Event::Relation(RelationEvent::Unpaired { .. }))));
}
