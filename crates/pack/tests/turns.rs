//! What a pack tells all its modules: one frame where it lowers, and turns for what is repeated (`spec/can.md`, C63, C64, C67).

use crate::world::{World, keeper::Keeper};
use lct::schedule::Direction;
use pack::{
    can::{Bus, Frame},
    message::RelayState,
    sealed_id::{Class, Level, classify},
    time::Duration,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Commissioned and On.
fn raised(mut w: World) -> World {
    w.commission();
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(2_500);
    assert_eq!(w.pack.state(), RelayState::On);
    w
}

/// How many frames had arrived when each relay opened after an order to lower; those are lost that do not `pass`.
fn opened_after(w: &mut World, pass: impl Fn(&Frame) -> bool + 'static) -> Vec<u32> {
    let frames = Rc::new(Cell::new(0));
    let opened = Rc::new(RefCell::new(Vec::new()));
    let (count, heard, list) = (frames.clone(), frames, opened.clone());
    w.filter = Box::new(move |frame| {
        count.set(count.get() + 1);
        pass(frame)
    });
    w.owner = Some(Box::new(move |event| {
        if format!("{event:?}") == "Relay(Off)" {
            list.borrow_mut().push(heard.get());
        }
    }));
    let now = w.now;
    w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
    w.run_for(100);
    assert!(w.modules.iter().all(|m| m.relay() == RelayState::Off));
    opened.take()
}

/// C64, C67: one group frame reaches the last module with the first. It is lost to nobody's harm: each module is told by
/// itself behind it.
#[test]
fn a_lowered_state_reaches_all_modules_at_once_and_each_by_itself() {
    let is_command = |frame: &Frame, all: bool| match classify(Bus::Can2, frame) {
        Ok(Class::Sealed(id, _)) => {
            id.level() == Level::Pair && id.family() == 0x514 && (id.device() == 0) == all
        }
        _ => false,
    };
    for (group, own) in [(true, true), (true, false), (false, true)] {
        let mut w = raised(World::new(4, 60));
        let pass = move |f: &Frame| (group || !is_command(f, true)) && (own || !is_command(f, false));
        let opened = opened_after(&mut w, pass);
        let at_once = opened.iter().max() == opened.iter().min();
        assert_eq!((opened.len(), at_once), (4, group), "group {group}, own {own}: {opened:?}");
    }
}

/// C67, C109: what is repeated to each module leaves the bus free between two of them, so that no command waits behind
/// all of it.
#[test]
fn repetitions_and_keys_take_turns() {
    let mut w = raised(World::new(4, 61));
    // Their logs are kept before: the flow control of a long message takes no turns.
    let mut keeper = Keeper::default();
    keeper.collect(&mut w, 12_000);
    w.log.clear();
    // Two rounds of everything, an hour's time told anew among them.
    keeper.collect(&mut w, 10_000);
    let now = w.now;
    w.app.set_time(now, 1_700_003_600_000).unwrap();
    keeper.collect(&mut w, 10_000);
    let mut told = Vec::<(u64, u8)>::new();
    for (at, bus, frame) in &w.log {
        if let Ok(Class::Sealed(id, _)) = classify(*bus, frame)
            && (*bus, id.direction()) == (Bus::Can2, Direction::Ab)
            && id.device() != 0
            && told.last().is_none_or(|(_, node)| *node != id.device())
        {
            told.push((at.as_micros(), id.device()));
        }
    }
    assert!(told.len() > 4 * 20, "each module was told its state each second");
    let bursts = told.windows(3).filter(|w| w[2].0 - w[0].0 < 8_000).count();
    assert_eq!(bursts, 0, "messages to three modules follow each other");
}

/// C67: where turns come later than they are due and no round is done within a second, who waits longest is next.
#[test]
fn a_pack_that_ticks_late_leaves_nobody_out() {
    const MODULES: usize = 12;
    let mut w = raised(World::new(MODULES, 62));
    w.log.clear();
    w.late = Duration::from_millis(100);
    w.run_for(8_000);
    let mut told = [0; MODULES];
    for (_, bus, frame) in &w.log {
        if let Ok(Class::Sealed(id, _)) = classify(*bus, frame)
            && (*bus, id.direction(), id.family()) == (Bus::Can2, Direction::Ab, 0x514)
            && id.device() != 0
        {
            told[usize::from(id.device()) - 1] += 1;
        }
    }
    assert!(told.iter().all(|n| *n > 0 && *n >= told[0] - 1), "frames of commands by node: {told:?}");
}
