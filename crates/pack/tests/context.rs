//! For whom a pack answers on the ledger (`spec/channel.md`, H210).

use crate::world;

use lct::{
    context::{CONTEXT_MAX, Content, Signed, Statement, entity_lct},
    id::Cid,
    sign::Signature,
};
use pack::{
    app::Party,
    pdu::{self, binding as op},
};
use world::World;

const CHAIN: [u8; 32] = [9; 32];

/// What the pack signs when it is asked to answer for `content` as what is stated about `lct`.
fn asked(w: &mut World, lct: [u8; 32], content: Content) -> Option<Signed> {
    let statement = Statement { chain_id: CHAIN, lct, number: 1, content, time_ms: 1 };
    let mut bytes = [0; CONTEXT_MAX];
    let n = statement.encode(&mut bytes).unwrap();
    w.events.clear();
    w.give(Some(Party::Pack), &[&[pdu::BINDING, op::ANSWER_FOR], &bytes[..n]].concat());
    w.run_for(1_000);
    let body = w.answer(Some(Party::Pack), pdu::BINDING, op::ANSWERS_FOR)?;
    let (about, signature) = body[2..].split_first_chunk::<32>().unwrap();
    assert_eq!(*about, lct::hash::sha256(&[&bytes[..n]]));
    let signature = Signature::from_slice(signature).unwrap();
    let key = w.identities[1].key.public();
    Some(Signed::new(&bytes[..n], key, signature).expect("its identity key signed"))
}

#[test]
fn a_pack_answers_for_the_modules_that_are_bound_to_it_and_for_nothing_else() {
    let mut w = World::new(2, 41);
    w.commission();
    let own = &w.identities[1];
    let lct = entity_lct(&CHAIN, &own.cid(), &own.key.public());
    let mut modules: Vec<Cid> = w.identities[2..].iter().map(|m| m.cid()).collect();
    modules.sort_unstable();
    let witness = |modules: &[Cid]| Content::Witness { modules: modules.iter().copied().collect() };
    for named in [&modules[..], &modules[..1], &[]] {
        assert!(asked(&mut w, lct, witness(named)).is_some(), "{named:?}");
    }
    let mut more = [&modules[..], &[Cid::of("module-9999")]].concat();
    more.sort_unstable();
    assert_eq!(asked(&mut w, lct, witness(&more)), None, "one is not bound to it");
    assert_eq!(asked(&mut w, [7; 32], witness(&modules)), None, "the LCT of another");
    let text = || heapless::String::new();
    let deployment = Content::Deployment { location: text(), system: text(), environment: text() };
    assert_eq!(asked(&mut w, lct, deployment), None, "not its to say");
}
