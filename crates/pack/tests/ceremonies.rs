//! Pairings, device channels, exchanges of a module and of the pack controller, what a laptop ends, successions, policies and
//! escalations, interrupted wherever they can be: power or cable, at a frame, of any party. Done again they end as if nothing had
//! happened. (The others are cut in `interruptions.rs`, `rebind.rs` and `service.rs`; `docs/tiers.md` has the list.)

use crate::{
    interruptions::{APP, MODULE, PACK, SEED, bound, commissioned, paired},
    world,
};

use lct::{
    binding::Assurance,
    delegation::{DelegateRevocation, Delegation, DelegationId},
    id::{Cid, Role},
    pake::ProverSecret,
    revocation::{Reason, Subject},
    schedule::Direction,
    secret::Secret,
    spk::SpkSecret,
    succession::Succession,
    validation::{EscalationReason, Urgency, ValidationLevel},
};
use pack::{
    app::{self, Confirming, Party},
    can::Bus,
    controller,
    identity::key,
    pdu::{self, Status, delegation as op, policy},
    relation::RelationEvent,
    sealed_id::{Class, Transport, classify},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::cell::Cell;
use world::{
    BOUND, World,
    cuts::{MEET, everywhere, started},
    policy as policies,
};

/// When the laptop left.
const LEFT: u32 = BOUND + 100;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(SEED)
}

/// Gives `to` a message and returns the status that ends its answer of this kind, if one comes.
fn given(w: &mut World, to: Option<Party>, message: &[u8], answer: [u8; 2]) -> Option<Status> {
    w.give(to, message);
    w.run_for(1_500);
    let told = w.answer(to, answer[0], answer[1])?;
    told.last().copied().map(Status::from_code)
}

// --- pairings -----------------------------------------------------------------------------------------

/// A pairing that takes the place of one in force: whoever is cut, both have the old one or both the new one once they met again,
/// by themselves (H261); and the next try makes another.
fn pairings_cut(step: usize) -> u32 {
    let flash = commissioned();
    let of = |what: &str, parties: &[usize], [a, b]: [(Option<Party>, usize); 2]| {
        everywhere(
            what,
            step,
            parties,
            || started(SEED, &flash),
            |w| {
                w.pair(a, b);
            },
            |w, at| {
                same_pairings(w, at);
                paired(w, at);
            },
        )
    };
    of("a pairing of app and pack", &[0, 1], [APP, PACK])
        + of("a pairing of pack and module", &[0, 1, 2], [PACK, MODULE])
}

/// Every channel stands, both sides of each have the same pairing, and nobody keeps another one.
fn same_pairings(w: &World, at: &str) {
    let module = w.modules[0].relation();
    let up = [w.app.relation().is_up(), w.pack.modules_up(), module.is_up()];
    assert_eq!(up, [true; 3], "{at}: channels stand without another try");
    let stored = |who: usize, record| w.flash[who].get(&record).filter(|r: &&Vec<u8>| !r.is_empty());
    let of_pack = |slot| stored(PACK.1, key::session(slot)).and_then(|r| r.get(1..17));
    let [app, module] = [w.app.relation(), module].map(|r| r.pairing_id().map(|id| id.0));
    assert_eq!(of_pack(0), app.as_ref().map(|id| &id[..]), "{at}: app and pack");
    assert_eq!(of_pack(1), module.as_ref().map(|id| &id[..]), "{at}: pack and module");
    for (who, slot) in [(APP.1, 0), (PACK.1, 0), (PACK.1, 1), (MODULE.1, 0)] {
        assert_eq!(stored(who, key::beside(key::session(slot))), None, "{at}: {who} keeps no other");
    }
}

/// H261: cut around the last message of A, frame by frame, with the power of A, of B or of both. Whether it arrived or not, both go
/// on with the same pairing.
#[test]
fn a_pairing_cut_around_the_last_message_of_a_stands_or_was_never_made() {
    let flash = commissioned();
    let (mut old, mut new) = (0, 0);
    for ([a, b], bus) in [([APP, PACK], Bus::Can1), ([PACK, MODULE], Bus::Can2)] {
        for who in [&[a.1][..], &[b.1], &[a.1, b.1]] {
            for left in (0..40).step_by(3) {
                let at = format!("{} and {}, {who:?} {left} frames after M3 began", a.1, b.1);
                let mut w = started(SEED, &flash);
                let pairing = |w: &World| match b {
                    PACK => w.app.relation().pairing_id(),
                    _ => w.modules[0].relation().pairing_id(),
                };
                let before = pairing(&w);
                let (begun, since) = (Cell::new(false), Cell::new(0));
                w.filter = Box::new(move |frame| {
                    let is_m3 = matches!(
                        classify(bus, frame),
                        Ok(Class::Security(id, Transport::Chunk { cur: 1, .. }))
                            if id.direction() == Direction::Ab && frame.data()[..3] == [pdu::HANDSHAKE, 1, 0x83]
                    );
                    begun.set(begun.get() || is_m3);
                    since.set(since.get() + u32::from(begun.get()));
                    since.get() <= left
                });
                w.pair(a, b);
                who.iter().for_each(|who| w.restart(*who));
                w.run_for(50);
                w.filter = Box::new(|_| true);
                w.run_for(MEET);
                same_pairings(&w, &at);
                match pairing(&w) == before {
                    true => old += 1,
                    false => new += 1,
                }
                w.events.clear();
                paired(&mut w, &at);
            }
        }
    }
    println!("cut around M3: {old} times the pairing before stood, {new} times the new one");
    assert!(old > 20 && new > 20, "{old}, {new}");
}

#[test]
fn a_pairing_cut_anywhere_is_made_again() {
    assert!(pairings_cut(47) > 8);
}

#[test]
#[ignore = "every frame: minutes"]
fn a_pairing_cut_at_every_frame_is_made_again() {
    assert!(pairings_cut(1) > 200);
}

// --- device channels ----------------------------------------------------------------------------------

/// The printed code leads to a device channel, in which app and pack are bound and then paired.
fn channels_cut(step: usize) -> u32 {
    let code = || ProverSecret::from_stretched(&Secret::new([7; 80])).unwrap();
    let begin = |w: &mut World| {
        let now = w.now;
        // Whoever has a channel, or is on the way to one, needs no other.
        let _under_way = w.app.begin_code(now, Cid::of("pack-0001"), &code(), &mut w.rng);
    };
    everywhere(
        "the device channel of a printed code",
        step,
        &[0, 1],
        || {
            let mut w = World::new(0, SEED);
            let record = [&[1], code().record().expose().as_slice()].concat();
            w.flash[PACK.1].insert(key::CODE, record);
            w.restart(PACK.1);
            w.run_for(20);
            w
        },
        |w| {
            begin(w);
            w.run_for(600);
        },
        |w, at| {
            let stands = (0..4).any(|_| {
                begin(w);
                w.run_for(6_000);
                w.app.bootstrap().is_up() && w.pack.bootstrap().is_up()
            });
            assert!(stands, "{at}: the channel stands");
            w.assurance = Assurance::Code;
            bound(w, APP, PACK, at);
            let done = (0..3).any(|_| {
                w.events.clear();
                w.pair(APP, PACK)
            });
            assert!(done && w.app.relation().is_up(), "{at}: paired");
        },
    )
}

#[test]
fn a_device_channel_cut_anywhere_is_made_again() {
    assert!(channels_cut(13) > 6);
}

#[test]
#[ignore = "every frame"]
fn a_device_channel_cut_at_every_frame_is_made_again() {
    assert!(channels_cut(1) > 40);
}

// --- exchanges ----------------------------------------------------------------------------------------

/// A second module is bound and paired in the place of the first one, which is revoked then.
fn modules_cut(step: usize) -> u32 {
    let other: (Option<Party>, usize) = (Some(Party::Module(2)), 3);
    let mut before = World::new(2, SEED);
    before.run_for(3_000);
    assert_eq!(before.modules[1].node(), 2);
    assert!(before.bind(APP, PACK) && before.bind(PACK, MODULE));
    assert!(before.pair(APP, PACK) && before.pair(PACK, MODULE));
    let flash = std::mem::take(&mut before.flash);
    let end = before.revokes(Cid::of("module-0001"));
    everywhere(
        "the exchange of a module",
        step,
        &[0, 1, 3],
        || {
            let mut w = World::new(2, SEED);
            w.flash = flash.clone();
            w.issued = 10;
            (0..4).for_each(|who| w.restart(who));
            w.run_for(MEET);
            assert!(w.app.relation().is_up() && w.modules[0].relation().is_up());
            w.events.clear();
            w
        },
        |w| {
            if w.bind(PACK, other) && w.pair(PACK, other) {
                given(w, PACK.0, &end, [pdu::REVOCATION, pdu::REVOCATION_STATUS]);
            }
        },
        |w, at| {
            w.events.clear();
            if w.modules[1].relation().peer().is_none() {
                bound(w, PACK, other, at);
            }
            let done = (0..3).any(|_| {
                w.events.clear();
                w.pair(PACK, other) || (w.bind(PACK, other) && w.pair(PACK, other))
            });
            assert!(done, "{at}: paired");
            let mut said = Vec::new();
            let held = (0..3).any(|_| {
                said.push(given(w, PACK.0, &end, [pdu::REVOCATION, pdu::REVOCATION_STATUS]));
                said.last() == Some(&Some(Status::Accepted))
            });
            w.run_for(3_000);
            let out = w.pack.has_revoked(Cid::of("module-0001"));
            assert!(held && out, "{at}: the old one is out ({out}): {said:?}");
            assert_eq!((w.pack.modules(), w.pack.modules_up()), (1, true), "{at}");
            assert!(w.app.relation().is_up() && w.modules[1].relation().is_up(), "{at}");
        },
    )
}

#[test]
fn an_exchange_of_a_module_cut_anywhere_goes_on() {
    assert!(modules_cut(151) > 6);
}

#[test]
#[ignore = "every frame: minutes"]
fn an_exchange_of_a_module_cut_at_every_frame_goes_on() {
    assert!(modules_cut(1) > 300);
}

/// Another controller is bound and paired with the app and the module of one that broke.
fn controllers_cut(step: usize) -> u32 {
    let flash = commissioned();
    everywhere(
        "the exchange of a pack controller",
        step,
        &[0, 1, 2],
        || {
            let mut w = World::new(1, SEED);
            w.flash = flash.clone();
            w.flash[PACK.1].clear();
            w.identities[PACK.1] = world::identity(&w.authority, "pack-0002", Role::Pack, 0, &mut rng());
            w.issued = 10;
            (0..3).for_each(|who| w.restart(who));
            w.run_for(MEET);
            w.events.clear();
            w
        },
        |w| {
            let _cut = w.bind(APP, PACK) && w.bind(PACK, MODULE) && w.pair(APP, PACK) && w.pair(PACK, MODULE);
        },
        |w, at| {
            w.events.clear();
            let pack = Some((Cid::of("pack-0002"), Role::Pack));
            if w.app.relation().peer() != pack || !w.app.relation().is_paired() {
                bound(w, APP, PACK, at);
            }
            if w.modules[0].relation().peer() != pack || !w.modules[0].relation().is_paired() {
                bound(w, PACK, MODULE, at);
            }
            paired(w, at);
            assert_eq!([w.app.relation().peer(), w.modules[0].relation().peer()], [pack; 2], "{at}");
        },
    )
}

#[test]
fn an_exchange_of_the_controller_cut_anywhere_goes_on() {
    assert!(controllers_cut(211) > 6);
}

#[test]
#[ignore = "every frame: minutes"]
fn an_exchange_of_the_controller_cut_at_every_frame_goes_on() {
    assert!(controllers_cut(1) > 600);
}

// --- what a laptop ends -------------------------------------------------------------------------------

/// A laptop ends the pairing of pack and module at both.
fn ends_cut(step: usize) -> u32 {
    let flash = commissioned();
    let laptop = SpkSecret::generate(&mut rng()).unwrap();
    let shown = |w: &World| {
        let wanted = Delegation {
            number: 1,
            delegate: laptop.public(),
            issued: LEFT,
            not_before: LEFT,
            not_after: LEFT + 86_400,
            lease_s: 7 * 86_400,
            operations: 7,
            packs: [Cid::of("pack-0001")].into_iter().collect(),
        };
        wanted.issue(w.authority.spk.signing_key(), &mut rng()).unwrap().to_vec()
    };
    let pairing = started(SEED, &flash).modules[0].relation().pairing_id().unwrap();
    // Who has ended it already has no such pairing any more.
    let end = |w: &mut World| {
        let delegation = shown(w);
        let show = [&[pdu::DELEGATION, op::SHOW], delegation.as_slice()].concat();
        let (delegation, subject) = (DelegationId::of(&delegation), Subject::Pairing(pairing));
        let statement = DelegateRevocation { delegation, subject, reason: Reason::Lost, time: LEFT + 60 };
        let bytes = statement.issue(laptop.signing_key(), &mut rng());
        let revoke = [&[pdu::DELEGATION, op::REVOKE], bytes.as_slice()].concat();
        [PACK, MODULE].map(|(party, _)| {
            let taken = given(w, party, &show, [pdu::DELEGATION, op::TAKEN]);
            (taken, given(w, party, &revoke, [pdu::DELEGATION, op::REVOKED]))
        })
    };
    everywhere(
        "what a laptop ends",
        step,
        &[0, 1, 2],
        || started(SEED, &flash),
        |w| {
            end(w);
        },
        |w, at| {
            w.events.clear();
            for (taken, ended) in end(w) {
                assert_eq!(taken, Some(Status::Accepted), "{at}: shown again");
                assert!(matches!(ended, Some(Status::Accepted | Status::WrongParty)), "{at}: {ended:?}");
            }
            assert!(!w.modules[0].relation().is_paired(), "{at}");
            assert!(w.modules[0].relation().peer().is_some(), "{at}: the binding stands");
            paired(w, at);
        },
    )
}

#[test]
fn what_a_laptop_ends_is_ended_wherever_it_was_cut() {
    assert!(ends_cut(23) > 8);
}

#[test]
#[ignore = "every frame: minutes"]
fn what_a_laptop_ends_is_ended_at_whatever_frame_it_was_cut() {
    assert!(ends_cut(1) > 60);
}

// --- another authority --------------------------------------------------------------------------------

/// Everybody is given a succession; who was cut obeys the old key or the new one, and in the end all of them the new one.
fn successions_cut(step: usize) -> u32 {
    let flash = commissioned();
    let new = SpkSecret::generate(&mut rng()).unwrap();
    let succeed = |w: &mut World| {
        let (old, key) = (w.authority.spk.clone(), new.signing_key());
        let follows =
            Succession::issue(LEFT, (&old.public(), old.signing_key()), (&new.public(), key), &mut rng());
        let message = [&[pdu::DELEGATION, op::SUCCEED], follows.as_slice()].concat();
        [APP, PACK, MODULE].map(|(party, _)| given(w, party, &message, [pdu::DELEGATION, op::SUCCEEDED]))
    };
    everywhere(
        "a succession",
        step,
        &[0, 1, 2],
        || started(SEED, &flash),
        |w| {
            succeed(w);
        },
        |w, at| {
            w.events.clear();
            assert_eq!(succeed(w), [Some(Status::Accepted); 3], "{at}: given again");
            // Whoever obeys the old key still takes nothing of the new one.
            w.delegate = Some(new.clone());
            (w.timing.created, w.timing.valid_from) = (LEFT + 500, LEFT + 500);
            paired(w, at);
        },
    )
}

#[test]
fn a_succession_cut_anywhere_is_followed_by_everybody() {
    assert!(successions_cut(11) > 8);
}

#[test]
#[ignore = "every frame: minutes"]
fn a_succession_cut_at_every_frame_is_followed_by_everybody() {
    assert!(successions_cut(1) > 30);
}

// --- policies -----------------------------------------------------------------------------------------

/// Pack and module take a policy that all three signed, and are paired under it.
fn policies_cut(step: usize) -> u32 {
    let flash = commissioned();
    let update = {
        let mut w = started(SEED, &flash);
        let wanted = policies::lowered(&w, 2);
        policies::signed(&mut w, &wanted, [PACK, MODULE])
    };
    let message = [&[pdu::POLICY, policy::UPDATE], update.as_slice()].concat();
    everywhere(
        "a policy and the pairing under it",
        step,
        &[0, 1, 2],
        || started(SEED, &flash),
        |w| {
            let taken = [MODULE, PACK].map(|(to, _)| given(w, to, &message, [pdu::POLICY, policy::STATUS]));
            if taken == [Some(Status::Accepted); 2] {
                w.policy_version = 2;
                w.pair(PACK, MODULE);
            }
        },
        |w, at| {
            for to in [MODULE, PACK] {
                assert_eq!(policies::take(w, to, &update), 0, "{at}: taken");
            }
            w.policy_version = 2;
            let done = (0..3).any(|_| {
                w.events.clear();
                w.pair(PACK, MODULE)
            });
            assert!(done, "{at}: paired under it");
            let of_module = w.modules[0].relation();
            assert_eq!((of_module.policy_in_force(), of_module.policy_agreed()), (2, 2), "{at}");
            w.run_for(3_000);
            assert!(w.app.relation().is_up() && w.modules[0].relation().is_up(), "{at}");
        },
    )
}

#[test]
fn a_policy_cut_anywhere_is_agreed_to_by_both() {
    assert!(policies_cut(61) > 6);
}

#[test]
#[ignore = "every frame: minutes"]
fn a_policy_cut_at_every_frame_is_agreed_to_by_both() {
    assert!(policies_cut(1) > 150);
}

// --- escalation ---------------------------------------------------------------------------------------

/// The pack asks its app for level 5, which signs the state in force once more. Whoever is cut: nothing stays raised for ever, and
/// nothing is in the way of the next one.
fn escalations_cut(step: usize) -> u32 {
    let flash = commissioned();
    let escalated = |w: &World| {
        let asked =
            |e: &app::Event| matches!(e, app::Event::Relation(RelationEvent::Escalated { own: false, .. }));
        w.events.iter().any(asked)
    };
    let ask = move |w: &mut World| {
        let (now, reason) = (w.now, EscalationReason::Anomaly);
        let (target, urgency) = (ValidationLevel::Command, Urgency::Immediate);
        let command = controller::Command::Escalate { node: 0, target, reason, urgency };
        // After a cut the channel may not stand yet; then nobody is asked.
        let _early = w.pack.command(now, command, &mut w.rng);
        w.run_for(100);
        if escalated(w) {
            let now = w.now;
            let _gone = w.app.confirm(now, Confirming::Escalation(reason), &mut w.rng);
        }
        w.run_for(300);
    };
    everywhere(
        "an escalation",
        step,
        &[0, 1],
        || started(SEED, &flash),
        |w| ask(w),
        |w, at| {
            w.run_for(70_000);
            let level = w.pack.escalated(0, w.now);
            assert_eq!(level, None, "{at}: it is over");
            w.events.clear();
            ask(w);
            assert!(escalated(w), "{at}: asked again");
            let confirmed = w.events.iter().any(|e| matches!(e, app::Event::Commanded(..)));
            assert!(confirmed, "{at}: and answered");
        },
    )
}

#[test]
fn an_escalation_cut_anywhere_ends_and_is_made_again() {
    assert!(escalations_cut(7) > 4);
}

#[test]
#[ignore = "every frame"]
fn an_escalation_cut_at_every_frame_ends_and_is_made_again() {
    assert!(escalations_cut(1) > 10);
}
