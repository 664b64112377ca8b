//! Data directories that earlier builds wrote: `data/cycles-without-owner` is from before L224, when an energy cycle did not say whose it
//! is. Of pack-1 it holds a cycle that was closed before the pack was handed over, one that was closed afterwards, and an open one.
//!
//! Rule L226.

use crate::world;

use std::{fs, path::Path, sync::Arc};

use lct::{
    energy::{CycleClose, EnergyKind},
    id::Cid,
    sign::PublicKey,
};
use ledger::{
    records::{Cycle, NOBODY, Settlement, key as state_key},
    tx::{Body, Subject},
};
use node::{Chain, ReadOnly, Span, engine::solo::Solo};
use world::*;

const DAY_MS: u64 = 86_400_000;

fn copy(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cycles-without-owner");
    fs::create_dir(to.join("segments")).unwrap();
    for file in ["ledger.redb", "segments/segment-00000001"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[test]
fn a_cycle_that_does_not_say_whose_it_is_is_read_shown_settled_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    copy(dir.path());
    let pack = Cid::of("pack-1");
    let owners = |numbers: Vec<node::snapshot::CycleRow>| -> Vec<PublicKey> {
        numbers.into_iter().map(|row| row.cycle.owner.unwrap()).collect()
    };
    let [first, second] = ["owner-1", "owner-2"].map(|label| key(label).public());
    // Indexes of its last block are made by who opens it to run it.
    drop(Chain::open(dir.path(), &genesis()).unwrap());
    {
        let reader = ReadOnly::open(dir.path(), Some(&chain_id())).unwrap();
        let snapshot = reader.read().unwrap();
        let told = owners(snapshot.cycles_of(&pack, &Span::all()).unwrap());
        assert_eq!(
            told,
            [first, second, NOBODY],
            "by the hops and the ends of the cycles; an open one is nobody's yet"
        );
        let stored: Cycle = snapshot.get(&state_key::cycle(&pack, 1)).unwrap().unwrap();
        assert_eq!(stored.owner, None, "the fixture is what it says");
    }

    let chain = Arc::new(Chain::open(dir.path(), &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    let at_ms = chain.tip().time_ms;
    let send = |body: Body, now_ms: u64| {
        let nonce = chain.next_nonce(&key("authority").public()).unwrap();
        let id = chain.submit(tx(&key("authority"), nonce, body)).unwrap();
        engine.cut(now_ms).unwrap();
        assert_eq!(chain.read().unwrap().tx(&id).unwrap().unwrap().result.rejection, None);
    };
    let pack_key = bound_key("pack-1", "app-1");
    send(energy_with(&energy(EnergyKind::Charge, 3, 31, 500), &pack_key), at_ms + 1);
    let c = chain.read().unwrap().cycle(&pack, 3).unwrap().unwrap();
    assert_eq!((c.events, c.charged), (2, 1000));
    let close = CycleClose {
        cid: pack,
        cycle: 3,
        events: c.events,
        charged_mwh: c.charged,
        discharged_mwh: c.discharged,
        start_ms: c.start_ms,
        end_ms: c.end_ms,
    };
    send(close_with(&close, &pack_key), at_ms + 2);
    let stored: Cycle = chain.read().unwrap().get(&state_key::cycle(&pack, 3)).unwrap().unwrap();
    assert_eq!(stored.owner, Some(second), "what is closed by this build says whose it is");

    // Each bill goes to whose the cycle was.
    for (number, owner) in [(1, first), (2, second)] {
        let subject = Subject::Cycle { cid: pack, cycle: number };
        let quote = lct::trade::Quote {
            chain_id: chain_id(),
            cid: pack,
            cycle: number,
            price: 1_000_000,
            other: key("other").public(),
        };
        let label = if number == 1 { "owner-1" } else { "owner-2" };
        let price = Some(agreed(&quote, [&key(label), &key("other")]));
        send(Body::Settle { subject, price }, at_ms + 2 * DAY_MS + u64::from(number));
        let settled: Settlement =
            chain.read().unwrap().get(&state_key::settlement(&subject)).unwrap().unwrap();
        assert_eq!((settled.payer, settled.payee), (owner, key("other").public()), "cycle {number}");
    }
}
