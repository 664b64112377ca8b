//! Attack 27: a module that was taken over uses the key of the group, which every module has.

use super::{Attack, Defence, Tally, field::Field};
use lct::{
    schedule::{Direction, GroupKey, Tier},
    seal::{Binding, Opener, Sealer},
    secret::Secret,
};
use pack::{
    can::Bus,
    message::{Message, ModuleMaxState, RelayState},
    pdu,
    sealed_id::{Level, SealedId},
};

pub const ATTACK: Attack = Attack {
    number: 27,
    name: "group-raise",
    attacker: "a module that was taken over, with the key of its group",
    defence: Defence::GroupReduces,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(2, seed);
    let (key, generation) = group_key(&f);
    let pack = f.w.pack.identity().cid();
    // Far ahead of what the pack sent, as whoever has the key may count.
    let mut sealer = Sealer::new(&key.traffic(generation, &pack).unwrap(), 5_000, u64::MAX).unwrap();
    let id = SealedId::new(ModuleMaxState::BASE, Level::Pair, Direction::Ab, 0).unwrap();
    let binding =
        Binding { level: Level::Pair as u8, canonical_id: id.canonical().to_u32(), epoch: generation };
    let mut forge = |f: &mut Field, max: RelayState| {
        let (body, len) = ModuleMaxState { max }.encode();
        let mut out = [0; 64];
        let n = sealer.seal(&binding, &[&[ModuleMaxState::BASE as u8 & 3], &body[..len]], &mut out).unwrap();
        f.send(Bus::Can2, id, &out[..n]);
        f.w.run_for(3);
    };
    let relays = |f: &Field| [f.w.modules[0].relay(), f.w.modules[1].relay()];
    forge(&mut f, RelayState::Off);
    let off = relays(&f);
    assert_eq!(off, [RelayState::Off; 2], "any module may reduce");
    for max in [RelayState::On, RelayState::Precharge, RelayState::Standby] {
        forge(&mut f, max);
        tally.attempt(relays(&f) != off, || format!("a group frame raised relays to {:?}", relays(&f)));
    }
    f.judge(tally);
}

/// The key that module 1 was given last, out of its channel with the pack.
fn group_key(f: &Field) -> (GroupKey, u32) {
    let session = f.w.modules[0].relation().session().unwrap();
    let secret = session
        .master()
        .traffic(Tier::Pair, Direction::Ab, session.epoch(), session.channel(), None)
        .unwrap();
    let opener = Opener::new(&secret).unwrap();
    let messages = f.recorded();
    let mut texts = messages.iter().filter_map(|m| {
        let id = m.sealed?;
        let binding = Binding {
            level: id.level() as u8,
            canonical_id: id.canonical().to_u32(),
            epoch: session.epoch(),
        };
        let mut bytes = m.bytes.clone();
        Some(opener.open(&binding, &mut bytes).ok()?.1.to_vec())
    });
    let given = texts.rfind(|text| text.get(1) == Some(&pdu::GROUP_KEY) && text.len() == 38);
    let given = given.expect("the module was given a key");
    let generation = u32::from_be_bytes(given[2..6].try_into().unwrap());
    (GroupKey(Secret::from_slice(&given[6..]).unwrap()), generation)
}
