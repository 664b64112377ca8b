//! What devices write into their logs, read back by their keeper (`spec/channel.md`, H120 to H127).

use crate::world;

use lct::{
    id::Cid,
    journal::{Checkpoint, Code, Gap},
    pake::ProverSecret,
    secret::Secret,
};
use pack::{
    app::{self, Party},
    can::{Bus, Frame, Id},
    controller,
    identity::key,
    journal::LogPart,
    lifecycle::Condition,
    module,
};
use world::{
    World,
    keeper::{Keeper, Kept},
};

const PACK: usize = 1;
const MODULE: usize = 2;
const FIRST: Option<Party> = Some(Party::Module(1));

fn commissioned(modules: usize, seed: u64) -> (World, Keeper) {
    let mut w = World::new(modules, seed);
    w.commission();
    let mut keeper = Keeper::default();
    keeper.collect(&mut w, 12_000);
    (w, keeper)
}

fn bind_and_pair(w: &mut World) {
    let (pack, module) = ((Some(Party::Pack), PACK), (Some(Party::Module(1)), MODULE));
    assert!(w.bind(pack, module) && w.pair(pack, module));
}

fn command(w: &mut World, command: module::Command) {
    let now = w.now;
    w.modules[0].command(now, command, &mut w.rng).unwrap();
}

/// 19, 20 and 21: what strangers and the button did before there was anybody to tell.
#[test]
fn a_pack_tells_its_window_and_the_wrong_codes_once_it_is_bound() {
    let mut w = World::new(0, 60);
    let secret = |byte: u8| ProverSecret::from_stretched(&Secret::new([byte; 80])).unwrap();
    w.flash[PACK].insert(key::CODE, [&[1], secret(7).record().expose().as_slice()].concat());
    w.restart(PACK);
    let now = w.now;
    w.pack.command(now, controller::Command::Button, &mut w.rng).unwrap();
    w.run_for(601_000);
    for _ in 0..5 {
        let now = w.now;
        w.app.begin_code(now, Cid::of("pack-0001"), &secret(8), &mut w.rng).unwrap();
        w.run_for(1_500);
    }
    w.commission();
    let mut keeper = Keeper::default();
    keeper.collect(&mut w, 10_000);
    let log = keeper.of(Some(Party::Pack));
    assert_eq!(log.details(Code::WindowOpened), [600u16.to_be_bytes()]);
    assert_eq!(log.details(Code::WindowClosed), [[0u8; 0]]);
    assert_eq!(log.details(Code::LockedOut), [[5]], "four tries cost nothing");
    log.verify(&w, &Keeper::signer(&w, Some(Party::Pack)));
}

fn tells(log: &Kept, code: Code) -> usize {
    log.told().iter().position(|(c, _)| *c == code as u8).unwrap_or_else(|| panic!("no {code:?}"))
}

/// 22 and 24: nobody hears a tampered device, and what it wrote is not for its next owner; that it is missing is told.
#[test]
fn after_a_reset_the_log_goes_on_behind_a_gap_that_it_tells() {
    for restarts in [0, 2] {
        let (mut w, mut keeper) = commissioned(1, 61);
        let old = keeper.of(FIRST).count();
        command(&mut w, module::Command::Tamper);
        keeper.collect(&mut w, 2_000);
        for _ in 0..restarts {
            w.restart(MODULE);
            keeper.collect(&mut w, 3_000);
        }
        assert_eq!(keeper.of(FIRST).count(), old);
        command(&mut w, module::Command::FactoryReset);
        keeper.collect(&mut w, 14_000);
        w.restart(MODULE);
        w.run_for(3_000);
        bind_and_pair(&mut w);
        keeper.collect(&mut w, 12_000);
        assert_eq!(keeper.logs[&FIRST].len(), 1, "one chain");
        let log = keeper.of(FIRST);
        log.verify(&w, &Keeper::signer(&w, FIRST));
        let at = tells(log, Code::EntriesLost);
        let codes: Vec<u8> = log.told()[at..].iter().map(|(code, _)| *code).take(3).collect();
        assert_eq!(codes, [29, 24, 22], "lost, reset, and from what condition");
        assert_eq!(log.details(Code::EntriesLost)[0][..8], (old + 1).to_be_bytes());
        // The reaction, and a start in that condition each time, stood in the gap.
        assert!(log.entries[at].0.number > old + 1 + 2 * restarts, "{restarts} restarts");
        assert!(log.details(Code::Started).len() == 2, "before the tamper, and after the reset");
    }
}

/// A keeper that never heard of the device begins with what it is told, and verifies from there.
#[test]
fn the_next_owner_begins_where_the_reset_was_told() {
    let (mut w, old) = commissioned(1, 62);
    command(&mut w, module::Command::FactoryReset);
    w.run_for(15_000);
    bind_and_pair(&mut w);
    let mut keeper = Keeper::default();
    keeper.collect(&mut w, 12_000);
    let log = keeper.of(FIRST);
    let gap = Gap::told_by(&log.entries[0].1).unwrap();
    let (last, _) = old.of(FIRST).entries.last().unwrap();
    assert_eq!((gap.first, gap.hash), (last.number + 1, last.hash), "nothing is missing, all is elsewhere");
    assert_eq!(log.entries[0].0.number, last.number + 1);
    assert_eq!(log.told()[1].0, Code::FactoryReset as u8);
    assert!(log.details(Code::Tampered).is_empty());
    log.verify(&w, &Keeper::signer(&w, FIRST));
}

/// 23: keys that cannot be read cost a channel, not the log.
#[test]
fn a_device_that_lost_keys_says_so_in_the_same_chain() {
    let (mut w, mut keeper) = commissioned(1, 63);
    w.flash[MODULE].get_mut(&key::bond(0)).unwrap().truncate(100);
    w.restart(MODULE);
    assert_eq!(w.modules[0].condition(), Condition::KeyLost);
    keeper.collect(&mut w, 15_000);
    assert!(keeper.of(FIRST).details(Code::KeyLost).is_empty(), "it has no channel");
    bind_and_pair(&mut w);
    keeper.collect(&mut w, 12_000);
    assert_eq!(keeper.logs[&FIRST].len(), 1);
    assert_eq!(keeper.of(FIRST).details(Code::KeyLost), [[0u8; 0]]);
    keeper.of(FIRST).verify(&w, &Keeper::signer(&w, FIRST));
}

/// H127: entries that are lost with their flash page are told; their keeper could take nothing after them otherwise.
#[test]
fn lost_entries_are_told() {
    let (mut w, mut keeper) = commissioned(1, 64);
    let old = keeper.of(FIRST).count();
    // Nobody takes what the module writes while the pack is silent.
    w.filter = Box::new(|_| false);
    w.restart(MODULE);
    w.run_for(2_000);
    for block in 0..8 {
        w.flash[MODULE].remove(&key::audit(block));
    }
    w.restart(MODULE);
    w.filter = Box::new(|_| true);
    keeper.collect(&mut w, 25_000);
    let log = keeper.of(FIRST);
    let at = tells(log, Code::EntriesLost);
    assert_eq!(log.entries[at - 1].0.number, old);
    assert!(log.entries[at].0.number > old + 1);
    assert_eq!(log.told()[at + 1].0, Code::Started as u8);
    log.verify(&w, &Keeper::signer(&w, FIRST));

    // Without its head nothing of the log is left, and the device knows that it lost a counter.
    w.flash[MODULE].insert(key::AUDIT_HEAD, vec![9]);
    w.restart(MODULE);
    assert_eq!(w.modules[0].condition(), Condition::KeyLost);
    command(&mut w, module::Command::FactoryReset);
    w.run_for(15_000);
    bind_and_pair(&mut w);
    keeper.collect(&mut w, 12_000);
    assert_eq!(keeper.logs[&FIRST].len(), 2, "another chain with a first key of its own");
    let log = keeper.of(FIRST);
    assert_eq!(log.told()[0].0, Code::EntriesLost as u8);
    log.verify(&w, &Keeper::signer(&w, FIRST));
}

/// H124: a keeper that has no disk for a while hears key statement and checkpoint again; one that has them does not.
#[test]
fn what_a_keeper_has_is_told_no_more_and_what_it_has_not_again() {
    let (mut w, mut keeper) = commissioned(1, 67);
    w.restart(MODULE);
    w.run_for(14_000);
    let told = |w: &World| {
        let parts = w.events.iter().filter_map(|e| match e {
            app::Event::Log(from, part) if *from == FIRST => Some(part.clone()),
            _ => None,
        });
        parts.collect::<Vec<_>>()
    };
    let heard = told(&w);
    assert!(heard.len() >= 2, "told again: {heard:?}");
    assert!(heard.iter().all(|part| matches!(part, LogPart::Key(_))), "one thing at a time: {heard:?}");
    keeper.collect(&mut w, 12_000);
    keeper.of(FIRST).verify(&w, &Keeper::signer(&w, FIRST));
    let covered = Checkpoint::read(keeper.of(FIRST).checkpoint.as_ref().unwrap()).unwrap().0.number;
    assert_eq!(covered, keeper.of(FIRST).count());
    w.run_for(20_000);
    assert_eq!(told(&w), [], "nothing is told twice");

    // The next checkpoint is not kept the first time.
    w.restart(MODULE);
    let mut lost = None;
    for _ in 0..60 {
        w.run_for(250);
        for event in std::mem::take(&mut w.events) {
            match event {
                app::Event::Log(from, LogPart::Checkpoint(bytes)) if from == FIRST && lost.is_none() => {
                    lost = Some(Checkpoint::read(&bytes).unwrap().0.number);
                }
                event => keeper.hear(&mut w, event),
            }
        }
    }
    let point = Checkpoint::read(keeper.of(FIRST).checkpoint.as_ref().unwrap()).unwrap().0.number;
    assert!(lost.is_some_and(|lost| lost > covered && point >= lost), "{lost:?} came again: {point}");
}

/// 26: pack and modules write which generation they hold.
#[test]
fn a_group_key_is_told_by_who_draws_it_and_by_who_gets_it() {
    let (mut w, mut keeper) = commissioned(2, 65);
    let first = w.pack.group_generation();
    // A module that starts anew may have lost the window of what it heard: the key is replaced.
    w.restart(MODULE);
    keeper.collect(&mut w, 20_000);
    let now = w.pack.group_generation();
    assert!(now > first);
    for from in [Some(Party::Pack), FIRST, Some(Party::Module(2))] {
        let told = keeper.of(from).details(Code::GroupKey);
        assert_eq!(told.last().map(Vec::as_slice), Some(&now.to_be_bytes()[..]), "{from:?}");
        assert!(told.windows(2).all(|w| w[0] < w[1]), "{from:?}: each generation once");
    }
}

/// 27 and 8: a flood in clear is one entry, and the number of those that were left out is exact.
#[test]
fn a_flood_in_clear_is_told_once_and_counted() {
    let (mut w, mut keeper) = commissioned(1, 66);
    const FLOOD: u32 = 50;
    for _ in 0..FLOOD {
        let frame = Frame::new_classic(Id::Standard(0x400), &[0; 8]).unwrap();
        let now = w.now;
        w.pack.frame(now, Bus::Can1, &frame, &mut w.rng).unwrap();
        w.run_for(10);
    }
    keeper.collect(&mut w, 70_000);
    let log = keeper.of(Some(Party::Pack));
    assert_eq!(log.details(Code::ClearRefused), [0x400u16.to_be_bytes()]);
    let suppressed = log.details(Code::Suppressed);
    let sum: u32 = suppressed.iter().map(|d| u32::from_be_bytes(d.as_slice().try_into().unwrap())).sum();
    assert_eq!(sum, FLOOD - 1, "{suppressed:?}");
}
