//! For whom a pack answers on the ledger (`spec/channel.md`, H210).

use crate::world;

use lct::{
    context::{CONTEXT_MAX, Content, Signed, Statement, entity_lct},
    id::Cid,
    schedule::Direction,
    sign::Signature,
};
use pack::{
    app::Party,
    can::Bus,
    link::Link,
    pdu::{self, binding as op},
    sealed_id::SecurityId,
};
use world::World;

const CHAIN: [u8; 32] = [9; 32];

/// The bytes of what is stated about `lct`.
fn statement(lct: [u8; 32], number: u32, time_ms: u64, content: Content) -> Vec<u8> {
    let mut bytes = [0; CONTEXT_MAX];
    let n = Statement { chain_id: CHAIN, lct, number, content, time_ms }.encode(&mut bytes).unwrap();
    bytes[..n].to_vec()
}

/// What the pack signed since the events were cleared, if it is the statement `about`.
fn heard(w: &mut World, about: &[u8]) -> Option<Signed> {
    let body = w.answer(Some(Party::Pack), pdu::BINDING, op::ANSWERS_FOR)?;
    let (hash, signature) = body[2..].split_first_chunk::<32>().unwrap();
    assert_eq!(*hash, lct::hash::sha256(&[about]));
    let key = w.identities[1].key.public();
    Some(Signed::new(about, key, Signature::from_slice(signature).unwrap()).expect("its identity key signed"))
}

/// Whether the pack signs this statement when its app asks.
fn signs(w: &mut World, about: &[u8]) -> bool {
    w.events.clear();
    w.give(Some(Party::Pack), &[&[pdu::BINDING, op::ANSWER_FOR], about].concat());
    w.run_for(1_000);
    heard(w, about).is_some()
}

/// Commissioned, with the pack's LCT and its modules.
fn commissioned(modules: usize, seed: u64) -> (World, [u8; 32], Vec<Cid>) {
    let mut w = World::new(modules, seed);
    w.commission();
    let own = &w.identities[1];
    let lct = entity_lct(&CHAIN, &own.cid(), &own.key.public());
    let mut modules: Vec<Cid> = w.identities[2..].iter().map(|m| m.cid()).collect();
    modules.sort_unstable();
    (w, lct, modules)
}

fn witness(modules: &[Cid]) -> Content {
    Content::Witness { modules: modules.iter().copied().collect() }
}

/// Attack: with fewer modules, or none, what is left out would count on the ledger without the pack (L146).
#[test]
fn a_pack_answers_for_all_modules_that_are_bound_to_it_and_for_nothing_else() {
    let (mut w, lct, modules) = commissioned(2, 41);
    let mut more = [&modules[..], &[Cid::of("module-9999")]].concat();
    more.sort_unstable();
    for named in [&[], &modules[..1], &modules[1..], &more] {
        assert!(!signs(&mut w, &statement(lct, 1, 1, witness(named))), "{named:?}");
    }
    assert!(!signs(&mut w, &statement([7; 32], 1, 1, witness(&modules))), "the LCT of another");
    let text = || heapless::String::new();
    let deployment = Content::Deployment { location: text(), system: text(), environment: text() };
    assert!(!signs(&mut w, &statement(lct, 1, 1, deployment)), "not its to say");
    assert!(signs(&mut w, &statement(lct, 1, 1, witness(&modules))));
}

/// Attack: the statement under a number that was given already, to be brought when the modules are others.
#[test]
fn a_number_is_given_to_one_list_and_none_before_it_afterwards() {
    let (mut w, lct, modules) = commissioned(1, 42);
    for (number, time_ms, given) in
        [(3, 1, true), (2, 1, false), (3, 1, true), (3, 2, true), (4, 3, true), (3, 1, false)]
    {
        let made = statement(lct, number, time_ms, witness(&modules));
        assert_eq!(signs(&mut w, &made), given, "number {number} at {time_ms}");
    }
    let own = &w.identities[1];
    let elsewhere = entity_lct(&[8; 32], &own.cid(), &own.key.public());
    let mut bytes = [0; CONTEXT_MAX];
    let content = witness(&modules);
    let other = Statement { chain_id: [8; 32], lct: elsewhere, number: 4, content, time_ms: 3 };
    let n = other.encode(&mut bytes).unwrap();
    assert!(!signs(&mut w, &bytes[..n]), "number 4 says something else already");
}

/// Attack: somebody on the vehicle bus asks in the app's place, in clear.
#[test]
fn a_stranger_on_the_bus_gets_no_signature() {
    let (mut w, lct, modules) = commissioned(1, 43);
    let made = statement(lct, 1, 1, witness(&modules));
    let id = SecurityId::new(Bus::Can1, Direction::Ab, 0);
    let mut link = Link::<4>::new(Bus::Can1, Direction::Ba);
    w.events.clear();
    w.log.clear();
    link.send_security(w.now, id, &[&[pdu::BINDING, op::ANSWER_FOR], &made[..]].concat());
    let mut heard_log = 0;
    let mut asked = 0;
    for _ in 0..1_000 {
        while let Some(frame) = link.poll(w.now) {
            asked += 1;
            let now = w.now;
            w.pack.frame(now, Bus::Can1, &frame, &mut w.rng).unwrap();
        }
        w.run_for(1);
        for (_, bus, frame) in &w.log[heard_log..] {
            if *bus == Bus::Can1 {
                link.receive(w.now, frame, |_| true, &mut [0; pack::link::MESSAGE_MAX]);
            }
        }
        heard_log = w.log.len();
    }
    assert!(asked > made.len() / 8, "all of it was sent");
    assert!(heard(&mut w, &made).is_none());
    assert!(signs(&mut w, &made), "its app is answered");
}
