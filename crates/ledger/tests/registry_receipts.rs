//! Receipts of states, versions and contexts: each holds, and none says more than the state does.

use crate::world;

use lct::{
    context::{CONTEXT_MAX, Content, Statement},
    id::{Cid, Role},
    lifecycle::{LIFECYCLE_MAX, Move, State, Version},
    revocation::Reason,
    sign::SigningKey,
};
use ledger::{
    receipt::ReceiptError,
    records::{
        Component, entity_lct_id, key as state_key,
        registry::{ContextRecord, Party, StateChange, VersionRecord},
    },
    tx::{Body, Registry, Tx, registry::Anonymous},
    verdict::Proved,
};
use world::{bench::*, proof::*, *};

fn cid() -> Cid {
    Cid::of("module-1")
}

fn moved(signer: &SigningKey, named: &SigningKey) -> Body {
    let (number, to, reason) = (1, State::Suspended, Reason::Unspecified);
    let m = Move { chain_id: chain_id(), cid: cid(), number, to, reason, time_ms: START_MS };
    let mut out = [0; LIFECYCLE_MAX];
    let n = m.encode(&mut out).unwrap();
    let signature = signer.sign_rfc6979(&m.digest().unwrap());
    Body::Registry(Registry::Move { statement: out[..n].to_vec(), key: named.public(), signature })
}

fn told(device: &SigningKey) -> Body {
    let (number, hardware, firmware) = (1, 1, 3);
    let v = Version {
        chain_id: chain_id(),
        cid: cid(),
        number,
        hardware,
        firmware,
        image: [7; 32],
        time_ms: START_MS,
    };
    let mut out = [0; LIFECYCLE_MAX];
    let n = v.encode(&mut out).unwrap();
    let signature = device.sign_rfc6979(&v.digest().unwrap());
    Body::Registry(Registry::Version { statement: out[..n].to_vec(), signature, vouched: None })
}

fn stated(signer: &SigningKey, named: &SigningKey) -> Body {
    let lct = entity_lct_id(&chain_id(), &cid(), &key("module-1").public());
    let content = Content::Deployment {
        location: "bay 4".try_into().unwrap(),
        system: "storage".try_into().unwrap(),
        environment: "indoors".try_into().unwrap(),
    };
    let s = Statement { chain_id: chain_id(), lct, number: 1, content, time_ms: START_MS };
    let mut out = [0; CONTEXT_MAX];
    let n = s.encode(&mut out).unwrap();
    let signature = signer.sign_rfc6979(&s.digest().unwrap());
    Body::Registry(Registry::Context { statement: out[..n].to_vec(), key: named.public(), signature })
}

#[test]
fn every_kind_has_a_receipt_that_holds() {
    let mut bench = Bench::running();
    let (authority, device) = (key("authority"), key("module-1"));
    let (_, proved) = prove(&mut bench, told(&device));
    assert!(matches!(&proved, Proved::Version(v) if (v.hardware, v.firmware) == (1, 3)), "{proved}");
    let (_, proved) = prove(&mut bench, stated(&authority, &authority));
    assert!(matches!(&proved, Proved::Context(s) if s.content.name() == "deployment"), "{proved}");
    let (_, proved) = prove(&mut bench, moved(&authority, &authority));
    let expected =
        Proved::State { cid: cid(), from: State::Active, to: State::Suspended, by: Party::Authority };
    assert_eq!(proved, expected);
    assert!(proved.to_string().contains("from active to suspended"), "{proved}");
    // What an account says in its own name needs no evidence besides its account.
    let register = Anonymous::Register { component: [1; 32], manufacturer: [2; 32], category: [3; 32] };
    let (_, proved) = prove(&mut bench, Body::Registry(Registry::Anonymous(register.clone())));
    assert_eq!(proved, Proved::Said(Box::new(Registry::Anonymous(register))));
}

/// The state names another transaction, or a signature inside is another's.
#[test]
fn a_receipt_says_no_more_than_the_state_holds() {
    let mut bench = Bench::running();
    bench.accept(register("module-2", Role::Module));
    let (authority, device, thief) = (key("authority"), key("module-1"), key("thief"));
    let lct = entity_lct_id(&chain_id(), &cid(), &device.public());
    let (version, _) = prove(&mut bench, told(&device));
    let (context, _) = prove(&mut bench, stated(&authority, &authority));
    let (state, _) = prove(&mut bench, moved(&authority, &authority));
    let rows = [
        (version.clone(), state_key::version(&cid(), 1)),
        (context, state_key::context_record(&lct, 2, 1)),
        (state, state_key::state_change(&cid(), 1)),
    ];
    let forged = [told(&thief), stated(&thief, &authority), moved(&thief, &authority)];
    for ((sent, row), body) in rows.into_iter().zip(forged) {
        let bytes = tx(&authority, 99, body);
        for (tx, by, expected) in [
            (&sent, [0; 32], ReceiptError::NoEffect),
            (&bytes, Tx::id_of(&bytes), ReceiptError::StatementSignature),
        ] {
            match &row[..4] {
                b"ver/" => bench.change(row.clone(), |r: &mut VersionRecord| r.tx = by),
                b"lch/" => bench.change(row.clone(), |r: &mut ContextRecord| r.tx = by),
                _ => bench.change(row.clone(), |r: &mut StateChange| r.tx = by),
            }
            assert_eq!(judge(&bench, tx.clone()), Err(expected), "{}", String::from_utf8_lossy(&row[..4]));
        }
    }
    // A version is worth the identity key that the state has.
    bench.change(state_key::version(&cid(), 1), |r: &mut VersionRecord| r.tx = Tx::id_of(&version));
    bench.change(state_key::component(&cid()), |c: &mut Component| c.device_key = thief.public());
    assert_eq!(judge(&bench, version), Err(ReceiptError::StatementSignature));
}
