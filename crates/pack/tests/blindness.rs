//! Controller-blindness shown (`spec/channel.md`, H23): the authority's own knowledge opens nothing that was
//! recorded, and the same attack with one ephemeral private key more opens that whole channel.

use crate::eavesdropper;
use crate::world;

use eavesdropper::{Link, Message, Recording, Run, attack};
use lct::{
    curve::backend::AgreementKey,
    handshake::Kind,
    schedule::derive,
    secret::Secret,
    spk::{Spk, SpkSecret},
};
use pack::{can::Bus, message::RelayState, sealed_id::Level, session::limits::Limits, time::Duration};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use std::collections::BTreeMap;
use world::World;

/// From the factory into operation, over a rotation of every channel and a start of the pack.
fn recorded(modules: usize, seed: u64, packages: bool) -> World {
    let mut w = World::new(modules, seed);
    w.packages = [packages; 2];
    w.commission();
    let limits = Limits { epoch_age: Duration::from_secs(61), ..Limits::DEFAULT };
    w.app.set_limits(limits).unwrap();
    w.pack.set_limits(limits).unwrap();
    w.modules.iter_mut().for_each(|m| m.set_limits(limits).unwrap());
    for (restart, seconds) in [(false, 75), (true, 20)] {
        if restart {
            w.restart(1);
            w.run_for(5_000);
        }
        let now = w.now;
        w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
        for _ in 0..seconds {
            w.run_for(1_000);
            w.measure(-20_000);
        }
    }
    w
}

/// Both private keys of a relationship key, as H5 makes them from its seed.
fn scalars(key: &SpkSecret) -> [[u8; 32]; 2] {
    let both = ["spk sign", "spk kem"].map(|label| {
        let wide: Secret<48> = derive(key.seed(), label, &[]).unwrap();
        reduced(wide.expose())
    });
    let Spk(public) = key.public();
    for (scalar, point) in both.iter().zip([&public[2..35], &public[35..68]]) {
        assert_eq!(AgreementKey::from_bytes(scalar).unwrap().public(), point);
    }
    both
}

/// `OS2IP(wide) mod (n - 1) + 1`, bit by bit.
fn reduced(wide: &[u8]) -> [u8; 32] {
    const LESS: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x50,
    ];
    let mut rest = [0u8; 32];
    for bit in (0..wide.len() * 8).map(|i| wide[i / 8] >> (7 - i % 8) & 1) {
        let over = rest[0] >> 7 == 1;
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
        }
        if over || rest >= LESS {
            let mut borrow = false;
            for (byte, less) in rest.iter_mut().zip(LESS).rev() {
                let (once, a) = byte.overflowing_sub(less);
                let (twice, b) = once.overflowing_sub(u8::from(borrow));
                (*byte, borrow) = (twice, a || b);
            }
        }
    }
    for byte in rest.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    rest
}

/// The ephemeral private key behind a recorded nonce and point. A role draws the nonce, then the key; the generator is
/// the test's own, so its stream is drawn again up to where the world stands now.
fn replayed(w: &World, seed: u64, (nonce, point): (&[u8], &[u8])) -> [u8; 32] {
    let mut stream = vec![0; w.rng.get_word_pos() as usize * 4];
    ChaCha20Rng::seed_from_u64(seed).fill_bytes(&mut stream);
    let at = stream.windows(16).position(|drawn| drawn == nonce).expect("the run drew its nonce");
    let scalar = stream[at + 16..at + 48].try_into().unwrap();
    assert_eq!(AgreementKey::from_bytes(&scalar).unwrap().public(), point);
    scalar
}

/// What the identifiers alone say of a channel: its link, and whether it is that of the binding.
type Address = (Link, bool);

fn address(m: &Message) -> Address {
    (m.link, m.id.level() == Level::Bind)
}

fn counted(recording: &Recording, opened: &BTreeMap<usize, u32>) -> BTreeMap<Address, usize> {
    let mut by_address = BTreeMap::new();
    opened.keys().for_each(|at| *by_address.entry(address(&recording.sealed[*at])).or_default() += 1);
    by_address
}

fn name(((bus, device), bind): Address) -> String {
    let parties = match (bus, device) {
        (Bus::Can1, _) => "app and pack".to_owned(),
        (Bus::Can2, 0) => return "group".to_owned(),
        (Bus::Can2, node) => format!("pack and module {node}"),
    };
    format!("{parties}, {}", if bind { "BIND" } else { "PAIR" })
}

#[test]
fn the_authority_opens_nothing_and_with_one_ephemeral_key_everything() {
    for (seed, packages) in [(41, false), (42, true)] {
        let w = recorded(2, seed, packages);
        let recording = Recording::of(&w.log);
        let every: BTreeMap<usize, u32> = (0..recording.sealed.len()).map(|at| (at, 0)).collect();
        let recorded = counted(&recording, &every);
        println!("device halves from the authority in BIND: {packages}");
        println!("  recorded: {} sealed messages, {} handshakes", every.len(), recording.runs.len());

        // The authority, then also the manufacturer and every key that a device keeps.
        let authority = scalars(&w.authority.spk).to_vec();
        let mut everybody = authority.clone();
        let signing =
            [&w.authority.root, &w.authority.batch].into_iter().chain(w.identities.iter().map(|i| &i.key));
        everybody.extend(signing.map(|key| *key.to_bytes().expose()));
        let relations = [w.app.relation()].into_iter().chain(w.modules.iter().map(|m| m.relation()));
        everybody.extend(relations.flat_map(|r| scalars(r.own_spk().unwrap())));
        for (who, keys) in [("authority", &authority), ("authority and all long-term keys", &everybody)] {
            let outcome = attack(&recording, &w.held, keys);
            println!("  {who}: {} masters tried, {} opened", outcome.tried, outcome.opened.len());
            assert_eq!(outcome.runs, 6, "BIND and PAIR of three relationships are attacked");
            assert!(outcome.tried >= 6 * keys.len(), "{} tried", outcome.tried);
            assert_eq!((outcome.confirmed, outcome.opened.len()), (0, 0), "{who}");
        }

        // The control: the same attack with one key more.
        let mut all = BTreeMap::new();
        let started = |run: &&Run| matches!(run.kind, Kind::Bind | Kind::Pair);
        for (turn, run) in recording.runs.iter().filter(started).enumerate() {
            let key = replayed(&w, seed, run.ephemerals()[turn % 2]);
            let outcome = attack(&recording, &w.held, &[authority.as_slice(), &[key]].concat());
            let own = (run.link, run.kind == Kind::Bind);
            let mut want = BTreeMap::from([(own, recorded[&own])]);
            let group = ((Bus::Can2, 0), false);
            if run.link.0 == Bus::Can2 && run.kind == Kind::Pair {
                want.insert(group, recorded[&group]);
            }
            let epochs = outcome.opened.iter().filter(|(at, _)| address(&recording.sealed[**at]) == own);
            let mut per_epoch: BTreeMap<u32, usize> = BTreeMap::new();
            epochs.for_each(|(_, epoch)| *per_epoch.entry(*epoch).or_default() += 1);
            let side = ["A", "B"][turn % 2];
            println!("  and the ephemeral of {side} in {}: {:?}", name(own), per_epoch.values());
            assert_eq!((outcome.confirmed, counted(&recording, &outcome.opened)), (1, want), "{}", name(own));
            // Handshake, a rotation (of PAIR) and a RESUME.
            assert!(per_epoch.len() >= if own.1 { 2 } else { 3 }, "{per_epoch:?}");
            all.extend(outcome.opened);
        }
        assert_eq!(all.len(), every.len(), "between them the six keys open the whole recording");
        assert!(every.len() > 1_000, "{} messages", every.len());
    }
}
