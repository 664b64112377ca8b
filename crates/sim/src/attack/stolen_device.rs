//! Attack 20: whoever opens a device reads its present keys, and tries them on what was recorded before.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, MODULE, PACK},
};
use lct::{
    schedule::{Direction, Tier},
    seal::{Binding, Opener},
};
use pack::can::Bus;
use std::collections::BTreeSet;

pub const ATTACK: Attack = Attack {
    number: 20,
    name: "stolen-device",
    attacker: "a thief with the memory of every device, and a recording of both buses from before",
    defence: Defence::EpochRatchet,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    for _ in 0..3 {
        f.w.measure(-20_000);
        f.w.run_for(500);
    }
    [APP, PACK, MODULE].into_iter().for_each(|who| f.w.restart(who));
    let before = f.w.now;
    f.w.run_for(12_000);
    let recorded: Vec<_> = f.recorded().into_iter().filter(|m| m.at < before).collect();
    let relations = [f.w.app.relation(), f.w.modules[0].relation()];
    let sessions = relations.iter().flat_map(|r| [r.session(), r.bind_session()]).flatten();
    let mut keys = 0;
    for session in sessions {
        assert!(session.epoch() > 0, "the start gave it an epoch");
        for epoch in 0..session.epoch() {
            let tiers = [Tier::Exch, Tier::Pair, Tier::Bind];
            for (tier, way) in tiers.into_iter().flat_map(|t| [(t, Direction::Ab), (t, Direction::Ba)]) {
                let secret =
                    session.master().traffic(tier, way, epoch, session.channel(), session.exchange());
                let Ok(secret) = secret else { continue };
                keys += 1;
                let opener = Opener::new(&secret).unwrap();
                for message in &recorded {
                    let id = message.sealed.unwrap();
                    let (level, canonical_id) = (id.level() as u8, id.canonical().to_u32());
                    let mut bytes = message.bytes.clone();
                    let opened = opener.open(&Binding { level, canonical_id, epoch }, &mut bytes).is_ok();
                    tally.attempt(opened, || {
                        format!("{id:?} of epoch {epoch} opened with keys of {}", session.epoch())
                    });
                }
            }
        }
    }
    assert!(keys >= 8 && recorded.len() > 30, "{keys} keys, {} messages", recorded.len());
    f.judge(tally);
    one_module(tally, seed);
}

/// Every key that one module has, on what others said to each other: they share the group's key and nothing else.
fn one_module(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(2, seed);
    f.w.measure(-20_000);
    f.w.run_for(500);
    let relation = f.w.modules[0].relation();
    let own = (Bus::Can2, f.w.modules[0].node());
    let others: Vec<_> = f
        .recorded()
        .into_iter()
        .filter(|m| {
            let link = (m.bus, m.sealed.map_or(0, |id| id.device()));
            link != own && link != (Bus::Can2, 0)
        })
        .collect();
    assert!(others.iter().any(|m| m.bus == Bus::Can1) && others.iter().any(|m| m.bus == Bus::Can2));
    let all = [f.w.app.relation()].into_iter().chain(f.w.modules.iter().map(|m| m.relation()));
    let sessions = all.flat_map(|r| [r.session(), r.bind_session()]).flatten();
    let epochs: BTreeSet<u32> = sessions.map(|s| s.epoch()).collect();
    for session in [relation.session(), relation.bind_session()].into_iter().flatten() {
        let tiers = [Tier::Exch, Tier::Pair, Tier::Bind];
        for (tier, way) in tiers.into_iter().flat_map(|t| [(t, Direction::Ab), (t, Direction::Ba)]) {
            let (channel, tag, epoch) = (session.channel(), session.exchange(), session.epoch());
            let Ok(secret) = session.master().traffic(tier, way, epoch, channel, tag) else { continue };
            let opener = Opener::new(&secret).unwrap();
            for message in &others {
                let id = message.sealed.unwrap();
                let (level, canonical_id) = (id.level() as u8, id.canonical().to_u32());
                let opened = epochs.iter().any(|epoch| {
                    let epoch = *epoch;
                    opener.open(&Binding { level, canonical_id, epoch }, &mut message.bytes.clone()).is_ok()
                });
                tally.attempt(opened, || format!("{id:?} of others opened with a module's key"));
            }
        }
    }
    f.judge(tally);
}
