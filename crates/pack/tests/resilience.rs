//! What an attacker on a bus, a lost frame or a silent partner must not achieve (`spec/channel.md`, `spec/can.md`).

use crate::world;

use lct::schedule::Direction;
use pack::{
    app::{self, Party},
    can::{Bus, Frame, Id},
    chunk,
    message::{Message, ModuleAnnounceRequest, ModuleAnnouncement, ModuleStateChange, RelayState},
    module, pdu,
    relation::RelationEvent,
    sealed_id::{Class, Level, SecurityId, Transport, classify},
};
use std::{cell::Cell, rc::Rc};
use world::World;

fn operational(modules: usize, seed: u64) -> World {
    let mut w = World::new(modules, seed);
    w.commission();
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(1_500);
    assert_eq!(w.pack.state(), RelayState::On);
    w
}

/// Frames put on a bus by somebody who is no party: every party hears them.
fn inject(w: &mut World, bus: Bus, frames: &[Frame]) {
    for f in frames {
        let now = w.now;
        w.pack.frame(now, bus, f, &mut w.rng).unwrap();
        match bus {
            Bus::Can1 => w.app.frame(now, f, &mut w.rng).unwrap(),
            Bus::Can2 => w.modules.iter_mut().for_each(|m| m.frame(now, f, &mut w.rng).unwrap()),
        }
    }
}

fn security(bus: Bus, from: Direction, device: u8, message: &[u8]) -> Vec<Frame> {
    chunk::split(SecurityId::new(bus, from, device).canonical(), message).unwrap().collect()
}

fn announcement(unique_id: u32) -> Frame {
    ModuleAnnouncement { fw_build: 1, manufacturer: 2, part: 3, unique_id }.frame(0xFF).unwrap()
}

fn sealed(frame: &Frame, bus: Bus, from: Direction) -> bool {
    matches!(classify(bus, frame), Ok(Class::Sealed(id, _)) if id.direction() == from)
}

/// Loses frames for which `lose` says so, while the returned flag is true.
fn cut(w: &mut World, lose: impl Fn(&Frame) -> bool + 'static) -> Rc<Cell<bool>> {
    let on = Rc::new(Cell::new(true));
    let flag = on.clone();
    w.filter = Box::new(move |f| !(flag.get() && lose(f)));
    on
}

fn statuses(w: &World) -> Vec<(u8, u8)> {
    let of = |e: &app::Event| match e {
        app::Event::PackStatus(s) => Some((s.state.modules_total, s.state.modules_active)),
        _ => None,
    };
    w.events.iter().filter_map(of).collect()
}

#[test]
fn forged_announcements_open_no_relay_and_renew_no_epoch_at_will() {
    let mut w = operational(2, 11);
    w.module_events.clear();
    for _ in 0..400 {
        inject(&mut w, Bus::Can2, &[announcement(0xA000_0001)]);
        w.run_for(5);
    }
    let count = |f: &dyn Fn(&module::Event) -> bool| w.module_events.iter().filter(|(_, e)| f(e)).count();
    assert_eq!(count(&|e| matches!(e, module::Event::Relay(RelayState::Off))), 0);
    assert!(count(&|e| matches!(e, module::Event::Relation(RelationEvent::ChannelUp { .. }))) <= 2);
    assert_eq!(w.modules[0].relay(), RelayState::On);
}

#[test]
fn strangers_leave_room_for_real_modules() {
    let mut w = World::new(2, 12);
    let strangers: Vec<Frame> = (0..31).map(|i| announcement(0xBAD0_0000 + i)).collect();
    inject(&mut w, Bus::Can2, &strangers);
    w.run_for(25_000);
    assert!(w.modules.iter().all(|m| m.node() != module::UNREGISTERED));
    w.restart(1);
    w.run_for(25_000);
    assert!(w.modules.iter().all(|m| m.node() != module::UNREGISTERED));
}

#[test]
fn a_paired_module_needs_authentic_frames_to_stay_on() {
    let mut w = operational(1, 13);
    let _cut = cut(&mut w, |_| true);
    for _ in 0..3 {
        let lure = ModuleAnnounceRequest { controller: 0 }.frame(0xFF).unwrap();
        let now = w.now;
        w.modules[0].frame(now, &lure, &mut w.rng).unwrap();
        w.run_for(5_000);
    }
    assert_eq!(w.modules[0].relay(), RelayState::Off);
}

#[test]
fn recorded_group_frames_stay_dead_after_a_resume() {
    let mut w = World::new(1, 14);
    w.commission();
    w.run_for(1_000);
    let group = |(_, bus, f): &(_, Bus, Frame)| {
        *bus == Bus::Can2 && matches!(classify(*bus, f), Ok(Class::Sealed(id, _)) if id.device() == 0)
    };
    let recorded: Vec<Frame> = w.log.iter().filter(|x| group(x)).map(|x| x.2).collect();
    assert!(recorded.len() >= 20, "the pack broadcast its ceiling Off while it was Off");
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(1_500);
    inject(&mut w, Bus::Can2, &[announcement(0xA000_0001)]);
    for _ in 0..60 {
        w.run_for(2);
        let now = w.now;
        for frame in &recorded {
            w.modules[0].frame(now, frame, &mut w.rng).unwrap();
        }
        assert_eq!(w.modules[0].relay(), RelayState::On);
    }
}

#[test]
fn the_app_raises_again_after_the_watchdog_tripped() {
    let mut w = operational(1, 15);
    let line = cut(&mut w, |f| sealed(f, Bus::Can1, Direction::Ab));
    w.run_for(2_000);
    assert_eq!(w.pack.state(), RelayState::Off);
    line.set(false);
    w.measure(-1_000);
    w.run_for(5_000);
    assert_eq!(w.pack.state(), RelayState::On);
}

#[test]
fn a_module_that_falls_silent_under_command_stops_nothing() {
    let mut w = World::new(2, 16);
    w.commission();
    let _cut = cut(&mut w, |f| matches!(f.id(), Id::Extended(raw) if raw & 0xFF == 1));
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    for _ in 0..100 {
        w.run_for(100);
    }
    assert_eq!(w.modules[1].relay(), RelayState::On, "the healthy one leads");
}

#[test]
fn a_channel_comes_back_when_the_cable_is_plugged_in_late() {
    let mut w = operational(1, 19);
    let line = cut(&mut w, |f| matches!(f.id(), Id::Extended(raw) if raw & 0xFF == 0));
    w.restart(0);
    w.run_for(30_000);
    line.set(false);
    w.run_for(15_000);
    assert!(w.app.relation().is_up(), "cable plugged in late");
}

#[test]
fn a_channel_comes_back_when_the_first_request_for_a_run_is_lost() {
    let mut w = operational(1, 20);
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    w.filter = Box::new(move |f| {
        let security =
            matches!(classify(Bus::Can1, f), Ok(Class::Security(id, _)) if id.direction() == Direction::Ba);
        let ask = security && f.data().starts_with(&[pdu::HANDSHAKE, 1, 0x7F]);
        count.set(count.get() + u32::from(ask));
        !(ask && count.get() == 1)
    });
    w.restart(1);
    w.run_for(10_000);
    assert!(asked.get() > 1);
    let now = w.now;
    w.app.set_time(now, 1_700_000_000_000).unwrap();
    w.run_for(100);
    w.measure(-1_000);
    w.run_for(500);
    assert!(!statuses(&w).is_empty(), "the channel carries statuses again");
}

#[test]
fn a_channel_comes_back_when_a_confirmation_is_lost_until_a_gives_up() {
    let mut w = operational(1, 40);
    let line = cut(&mut w, |f| sealed(f, Bus::Can1, Direction::Ba));
    w.restart(0);
    w.run_for(4_000);
    assert!(!w.app.relation().is_up(), "nothing confirmed the epoch");
    line.set(false);
    w.run_for(10_000);
    assert!(w.app.relation().is_up());
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(5_000);
    assert_eq!(w.pack.state(), RelayState::On);
}

#[test]
fn a_channel_comes_back_when_answers_of_a_module_are_lost_while_the_pack_starts() {
    let mut w = operational(2, 18);
    let line = cut(&mut w, |f| {
        let of_1 = |device: u8, d: Direction| device == 1 && d == Direction::Ba;
        match classify(Bus::Can2, f) {
            Ok(Class::Sealed(id, _)) => of_1(id.device(), id.direction()),
            Ok(Class::Security(id, _)) => of_1(id.device(), id.direction()),
            _ => false,
        }
    });
    w.restart(1);
    w.run_for(14_000);
    line.set(false);
    w.run_for(30_000);
    assert!(w.pack.modules_up() && w.modules[0].relation().is_up());
}

#[test]
fn commands_wait_for_the_channel_instead_of_failing() {
    let mut w = World::new(1, 17);
    w.commission();
    let _cut = cut(&mut w, |f| sealed(f, Bus::Can1, Direction::Ba));
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.restart(1);
    w.run_for(5_000);
}

#[test]
fn a_new_binding_voids_the_old_pairing_for_good() {
    let mut w = operational(1, 21);
    assert!(w.bind((None, 0), (Some(Party::Pack), 1)));
    assert!(!w.app.relation().is_paired() && !w.pack.is_paired());
    w.restart(0);
    w.restart(1);
    w.run_for(10_000);
    assert!(!w.app.relation().is_paired() && !w.pack.is_paired());
}

#[test]
fn clear_commands_stay_dead_between_binding_and_pairing() {
    let mut w = operational(1, 32);
    assert!(w.bind((Some(Party::Pack), 1), (Some(Party::Module(1)), 2)));
    let before = w.modules[0].relay();
    for state in [RelayState::Off, RelayState::On, RelayState::Off] {
        let frame = ModuleStateChange { state, hv_bus_mv: 0 }.frame(1).unwrap();
        inject(&mut w, Bus::Can2, &[frame]);
        assert_eq!(w.modules[0].relay(), before);
    }
}

#[test]
fn an_old_certificate_is_refused_also_after_a_restart() {
    let mut w = operational(1, 22);
    let cert = [&[pdu::CERTIFICATE], w.certificate(0, 1).as_slice()].concat();
    let now = w.now;
    w.app.send(now, Party::Pack, &cert).unwrap();
    w.run_for(1_000);
    let now = w.now;
    w.app.authority(now, &cert, &mut w.rng).unwrap();
    w.run_for(2_000);
    let session = *w.app.relation().session().unwrap().th4();
    w.restart(0);
    w.restart(1);
    w.run_for(5_000);
    let now = w.now;
    assert!(w.app.authority(now, &cert, &mut w.rng).is_err());
    w.app.send(now, Party::Pack, &cert).unwrap();
    w.run_for(2_000);
    assert_eq!(*w.app.relation().session().unwrap().th4(), session);
}

#[test]
fn a_forged_m3_ends_no_binding() {
    let mut w = World::new(1, 25);
    w.run_for(3_000);
    let forged = Rc::new(Cell::new(0));
    let count = forged.clone();
    w.filter = Box::new(move |f| {
        let m3 = matches!(classify(Bus::Can1, f), Ok(Class::Security(id, _)) if id.direction() == Direction::Ab)
            && f.data().starts_with(&[pdu::HANDSHAKE, 1, 0x82]);
        if m3 && count.get() == 0 {
            count.set(1);
            let mut data = f.data().to_vec();
            data[7] ^= 1;
            *f = Frame::new_classic(f.id(), &data).unwrap();
        }
        true
    });
    assert!(w.bind((None, 0), (Some(Party::Pack), 1)));
    assert_eq!(forged.get(), 1);
}

#[test]
fn nothing_unauthenticated_makes_a_role_seal_stop_or_relay() {
    let mut w = operational(1, 26);
    // The log may say once a minute that something was refused.
    let log = |key: &u16| (0x0020..0x0040).contains(key);
    let counters: Vec<_> = w.flash[1].clone().into_iter().filter(|(key, _)| !log(key)).collect();
    for _ in 0..600 {
        inject(&mut w, Bus::Can1, &security(Bus::Can1, Direction::Ab, 0, &[pdu::HANDSHAKE, 1, 0x84]));
        w.run_for(1);
    }
    let after: Vec<_> = w.flash[1].clone().into_iter().filter(|(key, _)| !log(key)).collect();
    assert_eq!(after, counters, "forged M3s cost no reservation");

    let start = w.log.len();
    let relayed = [pdu::RELAY, 1, pdu::HANDSHAKE, 1, 0x7F, 0, 1];
    inject(&mut w, Bus::Can1, &security(Bus::Can1, Direction::Ab, 0, &relayed));
    w.run_for(50);
    let on_can2 = |(_, bus, f): &&(_, Bus, Frame)| {
        *bus == Bus::Can2 && matches!(classify(*bus, f), Ok(Class::Security(..)))
    };
    assert_eq!(w.log[start..].iter().filter(on_can2).count(), 0, "a handshake was relayed");

    // Longer than any PDU of a device.
    for (bus, device) in [(Bus::Can2, 1), (Bus::Can1, 0)] {
        let id = SecurityId::new(bus, Direction::Ba, device).canonical().frame_id(Transport::IsoTp);
        let payload = [&[pdu::BINDING, 9][..], &[0; 598]].concat();
        let mut frames = vec![Frame::new_classic(id, &[&[0x12, 0x58], &payload[..6]].concat()).unwrap()];
        for (n, part) in (1u8..).zip(payload[6..].chunks(7)) {
            frames.push(Frame::new_classic(id, &[&[0x20 | (n & 15)], part].concat()).unwrap());
        }
        inject(&mut w, bus, &frames);
    }
    assert_eq!(w.pack.state(), RelayState::On);
}

#[test]
fn the_pack_knows_when_its_modules_are_gone() {
    let mut w = operational(2, 28);
    let _cut = cut(&mut w, |f| matches!(f.id(), Id::Extended(raw) if raw & 0xFF == 1));
    for _ in 0..20 {
        inject(&mut w, Bus::Can2, &security(Bus::Can2, Direction::Ba, 1, &[0xEE]));
        inject(&mut w, Bus::Can2, &[announcement(0xA000_0001)]);
        w.run_for(500);
    }
    w.events.clear();
    w.measure(-1_000);
    w.run_for(500);
    assert_eq!(statuses(&w).last(), Some(&(2, 1)), "forged frames keep no dead module alive");

    let mut w = operational(2, 29);
    let _cut = cut(&mut w, |f| matches!(f.id(), Id::Extended(raw) if matches!(raw & 0xFF, 1 | 2)));
    w.run_for(8_000);
    assert_eq!(w.pack.state(), RelayState::Standby);
}

/// One lost frame of a statement delays it; it never lets a later one overtake.
#[test]
fn statements_keep_their_order() {
    for lost in 0..12u32 {
        let mut w = operational(1, 50);
        for _ in 0..40 {
            w.run_for(1_000);
            w.measure(-65_000);
        }
        let seen = Cell::new(0u32);
        w.filter = Box::new(move |f| {
            let long = matches!(classify(Bus::Can1, f), Ok(Class::Sealed(id, Transport::IsoTp))
                if id.direction() == Direction::Ba && id.level() == Level::Exch);
            seen.set(seen.get() + u32::from(long));
            !(long && seen.get() == lost * 5 + 1)
        });
        let now = w.now;
        w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
        let mut last = 0;
        for _ in 0..60 {
            w.run_for(200);
            for event in std::mem::take(&mut w.events) {
                let now = w.now;
                match event {
                    app::Event::Energy(bytes, _) => {
                        let number = match lct::energy::EnergyEvent::decode(&bytes) {
                            Ok(e) => e.number(),
                            Err(_) => 1 << 32 | 0xFFFF_FFFF,
                        };
                        assert!(number >= last, "statement {number:#x} after {last:#x}, frame {lost} lost");
                        last = number;
                        w.app.received(now, Party::Pack, pdu::ENERGY, number).unwrap();
                    }
                    app::Event::Batch(party, s, _) => {
                        w.app.received(now, party, pdu::BATCH, u64::from(s.first_seq)).unwrap();
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(last, 1 << 32 | 0xFFFF_FFFF, "the close arrived");
        assert!(w.pack.is_settled() && w.modules[0].is_settled());
    }
}
