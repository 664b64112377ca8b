#[path = "../../ledger/tests/world/mod.rs"]
mod world;
use std::{sync::Arc, path::Path};
use lct::id::Role;
use node::{*, engine::solo::Solo, segments::*};
use world::*;
#[test]
fn full() {
    let dir = Path::new("/tmp/w/small/l");
    let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    let s = key("authority");
    let send = |b| { let n = chain.next_nonce(&s.public()).unwrap(); chain.submit(tx(&s, n, b)).unwrap() };
    for b in [register("app-1", Role::App), register("pack-1", Role::Pack), register("module-1", Role::Module), bind(("app-1", Role::App), ("pack-1", Role::Pack)), bind(("pack-1", Role::Pack), ("module-1", Role::Module))] { send(b); }
    engine.drain(|| START_MS + 1000).unwrap();
    let mut seg_err = None; let mut err = None; let mut acked = 0;
    for n in 0..5000u32 {
        if seg_err.is_none() {
        let st = StoredBatch { statement: batch_bytes(&batch_statement("module-1", n*100, 100)), entries: records("module-1", n*100, 100).into_iter().map(Entry::Record).collect() };
        match chain.append(&[st]) { Ok(_) => acked = n + 1, Err(e) => { println!("segments at {n}: {e}"); seg_err = Some(e); } } }
        send(batch_with(&batch_statement("module-1", n*100, 100), &bound_key("module-1", "pack-1")));
        if let Err(e) = engine.cut(START_MS + 10_000_000_000) { println!("chain at {n}: {e:?} {e}"); err = Some(e); break; }
    }
    let tip = chain.tip();
    println!("{:?} {:?}", err.is_some(), chain.commit(&chain.propose(0, validator("v").verifying_key().to_bytes()), &engine.certify(&chain.propose(0, validator("v").verifying_key().to_bytes()))).err());
    println!("dropping"); drop(engine); drop(chain); println!("dropped");
    std::process::Command::new("mount").args(["-o","remount,size=64m","/tmp/w/small"]).status().unwrap();
    println!("remounted"); let chain = Chain::open(dir, &genesis()).unwrap(); println!("opened");
    assert_eq!(chain.tip(), tip);
    println!("acked {acked}, stored {} torn {}", chain.segments().batches(), chain.segments().torn_bytes());
    assert_eq!(chain.segments().batches() as u32, acked);
}
