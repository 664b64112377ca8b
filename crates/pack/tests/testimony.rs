//! Statements over whole devices: who signs what, who is the witness, and that each is told until it is kept
//! (`spec/channel.md`, H170 to H174).

use crate::world;

use lct::{
    id::Cid,
    sign::PublicKey,
    validation::{Access, Event, EventKind, Protocol, ValidationLevel},
};
use pack::{
    app::{self, Confirming, Party},
    controller,
    message::RelayState,
    module::{self, Measurement},
    pdu,
    relation::RelationEvent,
    testimony::{Asked, Told},
};
use world::World;

/// What was told since the last call.
fn told(w: &mut World) -> Vec<(Option<Party>, Told)> {
    let of = |e: app::Event| match e {
        app::Event::Told(from, told) => Some((from, told)),
        _ => None,
    };
    std::mem::take(&mut w.events).into_iter().filter_map(of).collect()
}

/// The key under which a statement must verify.
fn key(w: &World, from: Option<Party>, with: u8) -> PublicKey {
    let place = |node: u8| w.modules.iter().position(|m| m.node() == node).unwrap() + 2;
    let spk = match (from, with) {
        (None, _) => w.spk_of(0, 1),
        (Some(Party::Pack), 0) => w.spk_of(1, 0),
        (Some(Party::Pack), node) => w.spk_of(1, place(node)),
        (Some(Party::Module(node)), _) => w.spk_of(place(node), 1),
    };
    spk.sign_pub()
}

/// Verifies signer and witness of a statement.
fn verified(w: &World, from: Option<Party>, told: &Told) -> Event {
    let event = told.signed.decode().unwrap();
    event.verify(&key(w, from, told.with), &told.signed.signature).unwrap();
    let level2 = event.level() as u8 == 2;
    assert_eq!(told.attestation.is_some(), level2, "{:?}", event.kind);
    if let Some(word) = &told.attestation {
        let by = if from == Some(Party::Pack) { Party::Module(told.with) } else { Party::Pack };
        let spk = key(w, Some(by), 0);
        word.verify((&event, &told.signed.signature), &spk).unwrap();
    }
    event
}

fn place(protocol: Protocol, endpoint: &str, device: &str) -> Option<Access> {
    let [endpoint, device] = [endpoint, device];
    Some(Access { protocol, endpoint: endpoint.try_into().unwrap(), device: device.try_into().unwrap() })
}

/// Every side states each binding and pairing of its own, once, and where it is found; each signs with the key of the
/// relation that it speaks of, and its numbers ascend.
#[test]
fn what_stands_is_stated_by_both_sides() {
    let mut w = World::new(2, 500);
    w.app.set_access(place(Protocol::Http, "http://127.0.0.1:80", "host").unwrap());
    w.commission();
    w.run_for(20_000);
    let all = told(&mut w);
    let mut count = std::collections::BTreeMap::<(Option<Party>, EventKind), usize>::new();
    let mut last = std::collections::BTreeMap::<Cid, (u32, u32)>::new();
    for (from, told) in &all {
        let event = verified(&w, *from, told);
        *count.entry((*from, event.kind)).or_default() += 1;
        let before = last.insert(event.cid, event.position());
        assert!(before < Some(event.position()), "{from:?} {event:?}");
        let found = match (event.kind, from) {
            (EventKind::Announce, None) => place(Protocol::Http, "http://127.0.0.1:80", "host"),
            (EventKind::Announce, Some(Party::Pack)) => place(Protocol::Can, "can1", "0"),
            (EventKind::Announce, Some(Party::Module(node))) => {
                place(Protocol::Can, "can2", &node.to_string())
            }
            _ => None,
        };
        assert_eq!(event.access, found, "{:?}", event.kind);
    }
    for (from, relations) in
        [(None, 1), (Some(Party::Pack), 3), (Some(Party::Module(1)), 1), (Some(Party::Module(2)), 1)]
    {
        let of = |kind| count.get(&(from, kind)).copied().unwrap_or(0);
        let stated =
            [EventKind::BindingEstablishment, EventKind::PairingCompletion, EventKind::Announce].map(of);
        assert_eq!(stated, [relations, relations, 1], "{from:?}");
    }
    assert!(w.pack.is_settled() && w.modules.iter().all(|m| m.is_settled()));
    // A start is announced again, and nothing else is stated again.
    w.restart(2);
    w.run_for(20_000);
    let again: Vec<_> = told(&mut w).iter().map(|(from, t)| (*from, verified(&w, *from, t).kind)).collect();
    assert_eq!(again, [(Some(Party::Module(1)), EventKind::Announce)]);
}

/// The pack is the witness of what its modules state, a module of what the pack states.
#[test]
fn changes_of_state_have_a_witness() {
    let mut w = World::new(2, 501);
    w.commission();
    w.run_for(20_000);
    told(&mut w);
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.measure(0);
    w.run_for(20_000);
    let all = told(&mut w);
    let changes: Vec<(Option<Party>, u8)> = all
        .iter()
        .map(|(from, t)| (*from, verified(&w, *from, t)))
        .filter(|(_, e)| e.kind == EventKind::StateChange)
        .map(|(from, e)| (from, e.payload[1]))
        .collect();
    for party in [Party::Pack, Party::Module(1), Party::Module(2)] {
        let last = changes.iter().rfind(|(from, _)| *from == Some(party));
        assert_eq!(last.map(|(_, to)| *to), Some(RelayState::On as u8), "{party:?}: {changes:?}");
    }
    // The energy that flowed.
    for _ in 0..130 {
        w.measure(-60_000);
        w.run_for(1_000);
        let energy: Vec<_> = w
            .events
            .iter()
            .filter_map(|e| match e {
                app::Event::Energy(statement, _) => Some(statement.clone()),
                _ => None,
            })
            .collect();
        for statement in energy {
            let event = lct::energy::EnergyEvent::decode(&statement).unwrap();
            let (now, number) = (w.now, event.number());
            w.app.received(now, Party::Pack, pdu::ENERGY, number).unwrap();
        }
        w.events.retain(|e| matches!(e, app::Event::Told(..)));
    }
    let all = told(&mut w);
    let energy = all.iter().filter(|(from, t)| verified(&w, *from, t).kind == EventKind::Energy).count();
    assert!(energy >= 2, "opening and the first minutes: {energy}");
    assert_eq!(w.pack.statements_lost(), 0);
}

/// What nobody keeps is told again, the same bytes; what follows waits.
#[test]
fn a_statement_is_told_until_it_is_kept() {
    let mut w = World::new(1, 502);
    w.keeps_statements = false;
    w.commission();
    w.run_for(10_000);
    let of = |all: &[(Option<Party>, Told)], party| -> Vec<Told> {
        all.iter().filter(|(from, _)| *from == Some(party)).map(|(_, t)| t.clone()).collect()
    };
    let all = told(&mut w);
    for party in [Party::Pack, Party::Module(1)] {
        let same = of(&all, party);
        assert!(same.len() > 2 && same.windows(2).all(|pair| pair[0] == pair[1]), "{party:?}: {same:?}");
        assert_eq!(same[0].signed.decode().unwrap().kind, EventKind::BindingEstablishment);
    }
    assert!(!w.pack.is_settled() && !w.modules[0].is_settled());
    let first = of(&all, Party::Module(1)).remove(0);
    w.statement_kept(Some(Party::Module(1)), &first);
    w.run_for(5_000);
    let next = of(&told(&mut w), Party::Module(1)).pop().unwrap();
    assert_eq!(next.signed.decode().unwrap().kind, EventKind::PairingCompletion);
    // A party is asked for its presence and for its binding; of what it is asked only half of its room is filled.
    w.keeps_statements = true;
    w.run_for(10_000);
    told(&mut w);
    let now = w.now;
    w.app.ask_statement(now, Some(Party::Module(1)), &Asked::Presence).unwrap();
    w.app.ask_statement(now, Some(Party::Pack), &Asked::Verification(0, [7; 32])).unwrap();
    w.run_for(5_000);
    let asked: Vec<_> = told(&mut w).iter().map(|(from, t)| (*from, verified(&w, *from, t))).collect();
    let found = |party, kind| asked.iter().find(|(from, e)| *from == Some(party) && e.kind == kind);
    assert!(found(Party::Module(1), EventKind::Announce).is_some());
    let (_, event) = found(Party::Pack, EventKind::BindingVerification).unwrap();
    let (binding, _) = w.app.relation().binding().unwrap();
    assert_eq!(event.payload.as_slice(), [binding.0.as_slice(), &[7; 32]].concat());
}

/// A measurement whose hottest cell has `mc`.
fn heat(w: &mut World, module: usize, mc: i32) {
    let cells = [3_901, 3_902].map(|mv| pack::message::ScanCell { mv, celsius: (mc / 1_000) as i16 });
    let cells = heapless::Vec::from_slice(&cells).unwrap();
    let measurement = Measurement { cells, current_ma: 0, temperature_mc: [mc - 500, mc, mc - 200] };
    let now = w.now;
    w.modules[module].command(now, module::Command::Measure(measurement), &mut w.rng).unwrap();
}

/// Lets time pass; the app does what a gateway has it do. Returns what was asked between app and pack.
fn served(w: &mut World, ms: u64) -> Vec<(ValidationLevel, bool)> {
    let mut asked = Vec::new();
    for _ in 0..ms / 100 {
        let before = w.events.len();
        w.run_for(100);
        let news: Vec<app::Event> = w.events[before..].to_vec();
        for event in news {
            if let app::Event::Relation(RelationEvent::Escalated { target, reason, own, .. }) = event {
                asked.push((target, own));
                let now = w.now;
                if own {
                    w.app.ask_statement(now, None, &Asked::Verification(0, [7; 32])).unwrap();
                } else {
                    w.app.confirm(now, Confirming::Escalation(reason), &mut w.rng).unwrap();
                }
            }
        }
    }
    asked
}

/// H175 and H176: telemetry beyond the limit, a command at level 5, bindings at level 7.
#[test]
fn heat_leads_from_telemetry_over_a_command_to_the_bindings() {
    use ValidationLevel::{Binding, Command};
    let mut w = World::new(2, 504);
    w.commission();
    w.modules.iter_mut().for_each(|m| m.set_temperature_limit(Some(35_000)));
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(20_000);
    assert_eq!(w.pack.state(), RelayState::On);
    heat(&mut w, 0, 35_000);
    assert_eq!(served(&mut w, 2_000), [], "at the limit, not beyond it");
    told(&mut w);
    heat(&mut w, 0, 35_001);
    assert_eq!(served(&mut w, 10_000), [(Command, false), (Binding, true)]);
    let now = w.now;
    assert_eq!((w.pack.escalated(1, now), w.pack.escalated(0, now)), (Some(Command), Some(Binding)));
    let all = told(&mut w);
    let of = |kind: EventKind| -> Vec<(Option<Party>, Event)> {
        let events = all.iter().map(|(from, t)| (*from, verified(&w, *from, t)));
        events.filter(|(_, e)| e.kind == kind).collect()
    };
    let [(Some(Party::Module(1)), fault)] = &of(EventKind::Fault)[..] else { panic!("one fault") };
    assert_eq!(fault.payload.as_slice(), [&[3, 3][..], &35_001i32.to_be_bytes()].concat());
    assert_eq!(fault.escalation.map(|x| x.target), Some(Command));
    let [(None, command)] = &of(EventKind::Command)[..] else { panic!("one command") };
    assert_eq!(command.escalation.map(|x| x.target), Some(Binding));
    assert_eq!(of(EventKind::BindingVerification).len(), 1);
    // Nothing was switched, and nothing that is asked for gets less before its time.
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::On, RelayState::On));
    let mut level = w.pack.escalated(0, w.now);
    for _ in 0..45 {
        heat(&mut w, 0, 36_000);
        served(&mut w, 1_000);
        assert!(w.pack.escalated(0, w.now) >= level);
        level = w.pack.escalated(0, w.now);
    }
    served(&mut w, 120_000);
    assert_eq!(w.pack.escalated(0, w.now), None, "it ends with time");
}

/// A temperature that swings about the limit: each time is a fault, and three of them in a minute ask for more.
#[test]
fn a_swinging_temperature_asks_three_times_a_minute() {
    let mut w = World::new(1, 505);
    w.commission();
    w.modules[0].set_temperature_limit(Some(35_000));
    w.run_for(20_000);
    told(&mut w);
    w.pack_events.clear();
    for _ in 0..10 {
        heat(&mut w, 0, 36_000);
        served(&mut w, 2_500);
        heat(&mut w, 0, 31_000);
        served(&mut w, 2_500);
    }
    served(&mut w, 5_000);
    let heard = w.pack_events.iter().filter(|e| {
        let escalated = |e: &RelationEvent| matches!(e, RelationEvent::Escalated { own: false, .. });
        matches!(e, controller::Event::Relation { node: 1, event } if escalated(event))
    });
    assert_eq!(heard.count(), 3);
    let all = told(&mut w);
    let faults = all.iter().map(|(from, t)| verified(&w, *from, t)).filter(|e| e.kind == EventKind::Fault);
    let asking: Vec<bool> = faults.map(|e| e.escalation.is_some()).collect();
    assert_eq!(asking.len(), 10, "none is lost");
    assert_eq!(asking.iter().filter(|asks| **asks).count(), 3);
}

/// H190: what each side states when it is asked, under which key; nobody's state changes for it.
#[test]
fn a_party_states_what_it_is_asked_for() {
    let mut w = World::new(2, 506);
    w.commission();
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.measure(0);
    w.run_for(20_000);
    let on = |w: &World| (w.pack.state(), w.modules[0].relay(), w.modules[1].relay());
    assert_eq!(on(&w), (RelayState::On, RelayState::On, RelayState::On));
    let (pack, module) = (Some(Party::Pack), Some(Party::Module(2)));
    use EventKind::*;
    let root = [7; 32];
    let cases = [
        (None, Asked::Presence, Announce, None),
        (module, Asked::Presence, Announce, Some(0)),
        (pack, Asked::State, StateChange, None),
        (module, Asked::State, StateChange, Some(0)),
        (None, Asked::Handshake(0), SignedHandshake, Some(0)),
        (pack, Asked::Handshake(0), SignedHandshake, Some(0)),
        (pack, Asked::Handshake(2), SignedHandshake, Some(2)),
        (module, Asked::Handshake(0), SignedHandshake, Some(0)),
        (pack, Asked::Session, PairedHandshake, Some(0)),
        (module, Asked::Session, PairedHandshake, Some(0)),
        (pack, Asked::Command(2), Command, Some(2)),
        (None, Asked::Verification(0, root), BindingVerification, Some(0)),
        (pack, Asked::Verification(0, root), BindingVerification, Some(0)),
        (pack, Asked::Verification(2, root), BindingVerification, Some(2)),
        (module, Asked::Verification(0, root), BindingVerification, Some(0)),
    ];
    let relations = |w: &World, from, with| match (from, with) {
        (None, _) | (Some(Party::Pack), 0) => w.app.relation().binding().unwrap().0,
        _ => w.modules.iter().find(|m| m.node() == 2).unwrap().relation().binding().unwrap().0,
    };
    for (from, asked, kind, with) in cases {
        told(&mut w);
        let epochs = |w: &World| {
            let modules = w.modules.iter().map(|m| m.relation().session().unwrap().epoch());
            modules.chain([w.app.relation().session().unwrap().epoch()]).sum::<u32>()
        };
        let before = epochs(&w);
        let now = w.now;
        // Asked twice while it waits: stated once.
        w.app.ask_statement(now, from, &asked).unwrap();
        w.app.ask_statement(now, from, &asked).unwrap();
        w.run_for(6_000);
        let all = told(&mut w);
        let found: Vec<_> =
            all.iter().filter(|(by, t)| *by == from && t.signed.decode().unwrap().kind == kind).collect();
        let [(by, one)] = found[..] else { panic!("{asked:?} of {from:?}: {all:?}") };
        let event = verified(&w, *by, one);
        assert!(with.is_none_or(|with| one.with == with), "{asked:?} of {from:?}: {one:?}");
        let fresh = kind == PairedHandshake;
        assert_eq!(epochs(&w), before + u32::from(fresh), "{asked:?} of {from:?}");
        match kind {
            StateChange => assert_eq!(event.payload.as_slice(), [RelayState::On as u8; 2]),
            BindingVerification => {
                assert_eq!(
                    event.payload.as_slice(),
                    [relations(&w, from, one.with).0.as_slice(), &root].concat()
                );
            }
            SignedHandshake => {
                let relation = match (from, one.with) {
                    (None, _) | (Some(Party::Pack), 0) => w.app.relation(),
                    _ => w.modules.iter().find(|m| m.node() == 2).unwrap().relation(),
                };
                assert_eq!(event.payload.as_slice(), relation.bind_session().unwrap().th4());
            }
            _ => {}
        }
        w.run_for(3_000);
        assert_eq!(on(&w), (RelayState::On, RelayState::On, RelayState::On), "{asked:?} of {from:?}");
    }
    // What a side does not state is refused and stated by nobody: A counts no sessions, an app has no witness.
    told(&mut w);
    let now = w.now;
    for asked in [Asked::Session, Asked::State] {
        assert_eq!(w.app.ask_statement(now, None, &asked), Err(lct::Error::WrongParty), "{asked:?}");
    }
    w.app.ask_statement(now, module, &Asked::Command(0)).unwrap();
    w.app.ask_statement(now, pack, &Asked::Command(9)).unwrap();
    w.app.ask_statement(now, module, &Asked::Handshake(1)).unwrap();
    w.run_for(6_000);
    assert_eq!(told(&mut w), []);
}
