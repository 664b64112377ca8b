//! The record store of `pack::vault` on the simulated flash: power cuts at every operation, wear, damage, and what an
//! attacker finds who reads the chip.
#![allow(clippy::unwrap_used, clippy::panic)]

mod oracle;

use lct::{
    counter::Reservation,
    schedule::{Direction, Tier},
    secret::Secret,
    sign::SigningKey,
    storage::StorageKeys,
};
use oracle::no_nonce_twice;
use pack::{
    identity::{Record, key},
    lifecycle::Condition,
    vault::{BLANK, Flash, KeyStore, PAGE_WORDS, Vault, VaultError, Word},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use rand_core::{TryCryptoRng, TryRng};
use sim::flash::{Nor, Operation, Tear};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::OnceLock;

/// A source of entropy that is stuck: what must be unique may not lean on it.
struct Stuck;
impl TryRng for Stuck {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0x5A5A_5A5A)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0x5A5A_5A5A_5A5A_5A5A)
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0x5A);
        Ok(())
    }
}
impl TryCryptoRng for Stuck {}

fn identity() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::from_bytes(&[7; 32]).unwrap())
}

fn mount(nor: &mut Nor) -> Result<Vault<&mut Nor>, VaultError> {
    Vault::mount(nor, identity(), &mut Stuck)
}

fn record(key: u16, value: &[u8]) -> Record {
    Record::new(key, &[value]).unwrap()
}

fn reservation(slot: u8, sequence: u32) -> Record {
    static KEYS: OnceLock<StorageKeys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| StorageKeys::new(identity(), &Secret::new([0; 32])).unwrap());
    let reservation = Reservation {
        slot,
        tier: Tier::Pair,
        direction: Direction::Ab,
        epoch: 3,
        sequence,
        limit: 1_024 * u64::from(sequence + 1),
    };
    record(key::counter(slot, Tier::Pair), &reservation.encode(&keys.counters))
}

type Content = BTreeMap<u16, Vec<u8>>;

/// Everything that the model knows, as the vault holds it.
fn content(vault: &Vault<&mut Nor>, keys: impl IntoIterator<Item = u16>) -> Result<Content, String> {
    let mut found = Content::new();
    for key in keys {
        let value = vault.load(key).map_err(|e| format!("{key:#06x}: {e}"))?;
        if let Some(value) = value {
            found.insert(key, value.to_vec());
        }
    }
    Ok(found)
}

fn apply(model: &mut Content, step: &Record) {
    match step.key {
        key::ERASE_ALL => model.retain(|k, _| key::is_lasting(*k)),
        key if step.is_empty() => drop(model.remove(&key)),
        key => drop(model.insert(key, step.to_vec())),
    }
}

/// A flash one record short of opening the page that makes it collect the oldest.
fn nearly_full() -> (Nor, Content) {
    let mut nor = Nor::in_memory(3);
    let mut model = Content::new();
    for round in 0u32.. {
        let step = match round % 4 {
            // What was written once and stays: the first collection has to move it.
            _ if round < 8 => record(0x2040 + round as u16, &[round as u8; 200]),
            0 => record(key::BOOT, &[1, 0, 0, 0, round as u8]),
            1 => reservation(1, round),
            2 => record(0x2000 + (round % 32) as u16, &[round as u8; 70]),
            _ => record(key::session(round as u8 % 3), &[round as u8; 146]),
        };
        let before = nor.dump();
        let mut vault = mount(&mut nor).unwrap();
        vault.store(&step, &mut Stuck).unwrap();
        if vault.wear().most > 1 {
            return (before, model);
        }
        apply(&mut model, &step);
    }
    unreachable!("the ring never filled")
}

/// What happens to the nearly full flash: a page is opened and another collected, keys are erased, replaced, reserved,
/// everything is erased, and life goes on.
fn script() -> Vec<Record> {
    vec![
        record(key::BOOT, &[1, 0, 0, 1, 0]),
        record(key::session(0), &[0xA1; 146]),
        reservation(1, 900),
        record(key::session(1), &[]),
        record(key::bond(2), &[0xB2; 203]),
        record(key::ERASE_ALL, &[]),
        record(key::BOOT, &[1, 0, 0, 2, 0]),
        record(key::bond(2), &[0xB3; 203]),
    ]
}

fn keys() -> Vec<u16> {
    let own = [key::BOOT, key::SEQUENCE, key::CYCLE, key::CONDITION];
    let slots = (0..4).flat_map(|s| [key::bond(s), key::session(s), key::counter(s, Tier::Pair)]);
    own.into_iter().chain(slots).chain(0x2000..0x2020).chain(0x2040..0x2048).collect()
}

/// Runs the script with the power cut as planned, starting again after each cut; checks the content after each start
/// and at the end. Returns how many cuts happened.
fn run_with_cuts(start: &Nor, model: &Content, cuts: &[(u64, Tear)]) -> usize {
    let (steps, keys) = (script(), keys());
    let (mut cuts, mut happened) = (cuts.iter(), 0);
    let (mut model, mut step) = (model.clone(), 0);
    let mut nor = start.dump();
    nor.record_history();
    // A reservation whose record was cut leaves its epoch dead until the next one.
    let mut dead = false;
    'power: loop {
        if let Some((after, tear)) = cuts.next() {
            nor.cut_after(*after, *tear);
        }
        let Ok(mut vault) = mount(&mut nor) else {
            assert!(nor.is_off(), "only a cut stops it");
            happened += 1;
            nor.power_on();
            continue 'power;
        };
        let next = steps.get(step).map(|s| {
            let mut after = model.clone();
            apply(&mut after, s);
            after
        });
        dead |= vault.load(COUNTER).is_err();
        let visible = |k: &u16| !dead || *k != COUNTER;
        let seen = content(&vault, keys.iter().copied().filter(visible)).unwrap();
        let expected = |m: &Content| seen.iter().eq(m.iter().filter(|(k, _)| visible(k)));
        assert!(
            expected(&model) || next.as_ref().is_some_and(expected),
            "after cut {happened} of {cuts:?} before step {step}: {:x?}",
            seen.keys()
        );
        while let Some(record) = steps.get(step) {
            if vault.store(record, &mut Stuck).is_err() {
                assert!(vault.board().is_off(), "only a cut stops it");
                happened += 1;
                nor.power_on();
                continue 'power;
            }
            apply(&mut model, record);
            dead &= !(record.starts_with(b"MBC1") || record.key == key::ERASE_ALL);
            step += 1;
        }
        assert_eq!(content(&vault, keys.iter().copied()).unwrap(), model);
        assert!(!vault.is_damaged());
        drop(vault);
        no_nonce_twice(nor.history());
        return happened;
    }
}

/// The reservation of [`reservation`] for slot 1.
const COUNTER: u16 = key::counter(1, Tier::Pair);

/// Operations of the script without a cut.
fn operations(start: &Nor) -> u64 {
    let mut nor = start.dump();
    let mut vault = mount(&mut nor).unwrap();
    script().iter().for_each(|record| vault.store(record, &mut Stuck).unwrap());
    nor.operations()
}

#[test]
fn a_cut_at_every_operation_loses_nothing_that_was_promised() {
    let (start, model) = nearly_full();
    let total = operations(&start);
    let mut cuts = 0;
    for after in 0..total {
        for tear in Tear::ALL {
            cuts += run_with_cuts(&start, &model, &[(after, tear)]);
        }
    }
    covered(format_args!("cut at {total} operations, {cuts} cuts"));
    assert!(total > 400, "{total}: a page is opened, one collected, everything erased");
    assert_eq!(cuts as u64, 4 * total);
}

fn two_cuts(first: impl Iterator<Item = u64>, step: usize) -> usize {
    let (start, model) = nearly_full();
    let total = operations(&start);
    let tears = [Tear::Unreadable, Tear::Partial, Tear::Nothing];
    let mut cuts = 0;
    for after in first.take_while(|n| *n < total) {
        for second in (after as usize % step..total as usize).step_by(step) {
            let [a, b] = [after as usize % 3, second % 3].map(|i| tears[i]);
            cuts += run_with_cuts(&start, &model, &[(after, a), (second as u64, b)]);
        }
    }
    cuts
}

#[test]
fn two_cuts_in_a_row_lose_nothing_either() {
    let cuts = two_cuts((0..).step_by(5), 7);
    covered(format_args!("{cuts} cuts in pairs"));
    assert!(cuts > 8_000);
}

#[test]
#[ignore = "every pair of cuts: minutes"]
fn every_two_cuts_in_a_row() {
    covered(format_args!("{} cuts in pairs", two_cuts(0.., 1)));
}

/// A cut while the flash is prepared for the first time.
#[test]
fn the_very_first_start_may_be_cut_anywhere() {
    let mut operations = 0;
    for after in 0.. {
        for tear in Tear::ALL {
            let mut nor = Nor::in_memory(3);
            nor.cut_after(after, tear);
            let first =
                mount(&mut nor).and_then(|mut v| v.store(&record(key::BOOT, &[1, 0, 0, 0, 1]), &mut Stuck));
            if first.is_ok() {
                covered(format_args!("cut at {operations} operations"));
                assert!(operations >= 3 * 2 + 1 + 3 + 6);
                return;
            }
            nor.power_on();
            let mut vault = mount(&mut nor).unwrap();
            assert!(
                !vault.is_damaged() && vault.load(key::CONDITION).unwrap().is_none(),
                "cut {after} {tear:?}"
            );
            vault.store(&record(key::BOOT, &[1, 0, 0, 0, 2]), &mut Stuck).unwrap();
            drop(vault);
            assert_eq!(&mount(&mut nor).unwrap().load(key::BOOT).unwrap().unwrap()[..], [1, 0, 0, 0, 2]);
        }
        operations = after + 1;
    }
}

#[test]
fn the_last_value_wins_and_an_empty_one_erases() {
    let mut nor = Nor::in_memory(3);
    let mut vault = mount(&mut nor).unwrap();
    vault.store(&record(7, &[1; 256]), &mut Stuck).unwrap();
    vault.store(&record(7, &[2]), &mut Stuck).unwrap();
    vault.store(&record(8, &[3; 9]), &mut Stuck).unwrap();
    vault.store(&record(8, &[]), &mut Stuck).unwrap();
    vault.store(&reservation(1, 0), &mut Stuck).unwrap();
    vault.store(&reservation(1, 1), &mut Stuck).unwrap();
    drop(vault);
    let vault = mount(&mut nor).unwrap();
    assert_eq!(content(&vault, [7, 8, 9]).unwrap(), Content::from([(7, vec![2])]));
    assert_eq!(vault.load(COUNTER).unwrap().unwrap()[..], reservation(1, 1)[..]);
}

#[test]
fn a_reservation_of_another_device_or_place_is_not_stored() {
    let mut nor = Nor::in_memory(3);
    let mut vault = mount(&mut nor).unwrap();
    let mut forged = reservation(1, 0);
    forged.value[20] ^= 1;
    assert_eq!(vault.store(&forged, &mut Stuck), Err(VaultError::Malformed));
    let elsewhere = Record { key: key::counter(2, Tier::Pair), value: reservation(1, 0).value.clone() };
    assert_eq!(vault.store(&elsewhere, &mut Stuck), Err(VaultError::Malformed));
    assert!(vault.load(COUNTER).unwrap().is_none());
    vault.store(&reservation(1, 0), &mut Stuck).unwrap();
}

/// 10^5 writes spread over all pages, and the years that follow from them.
#[test]
fn wear_spreads_and_lasts() {
    let mut nor = Nor::in_memory(4);
    let mut vault = mount(&mut nor).unwrap();
    // What stays: a bond and a session for the app and seven modules.
    for slot in 0..8 {
        vault.store(&record(key::bond(slot), &[slot; 203]), &mut Stuck).unwrap();
        vault.store(&record(key::session(slot), &[slot; 146]), &mut Stuck).unwrap();
    }
    for n in 0..100_000u32 {
        vault.store(&reservation((n % 8) as u8, n / 8), &mut Stuck).unwrap();
    }
    let wear = vault.wear();
    assert!(wear.most - wear.least <= 1, "{wear:?}");
    // One controller with 31 modules reserves 1024 counters of its pair tiers with each record. Each module gets about
    // 1.2 sealed messages a second, so 31 modules need 131 records an hour; 32 pages share the erasures.
    let per_erase = 100_000.0 / f64::from(wear.most * 4);
    let records_a_day = 31.0 * 1.2 * 86_400.0 / 1_024.0;
    let years = 10_000.0 * 32.0 * per_erase / records_a_day / 365.0;
    covered(format_args!(
        "{wear:?}, {per_erase:.0} records per erasure, {years:.0} years at {records_a_day:.0} records a day"
    ));
    assert!(per_erase > 60.0 && years > 10.0);
    drop(vault);
    let vault = mount(&mut nor).unwrap();
    assert_eq!(vault.load(key::session(3)).unwrap().unwrap()[..], [3; 146]);
}

#[test]
fn a_full_flash_says_so_and_keeps_what_it_has() {
    let mut nor = Nor::in_memory(3);
    let mut stored = BTreeMap::new();
    let mut vault = mount(&mut nor).unwrap();
    let full =
        (0u16..200).find_map(|k| match vault.store(&record(0x3000 + k, &[k as u8; 200]), &mut Stuck) {
            Ok(()) => {
                stored.insert(0x3000 + k, vec![k as u8; 200]);
                None
            }
            Err(e) => Some(e),
        });
    assert_eq!(full, Some(VaultError::Full));
    drop(vault);
    let vault = mount(&mut nor).unwrap();
    assert!(stored.len() >= 16, "one page of two is live at least: {}", stored.len());
    assert_eq!(content(&vault, stored.keys().copied()).unwrap(), stored);
}

/// Every readable word of records that is neither blank nor zero.
fn words(nor: &Nor) -> BTreeSet<Word> {
    let all = (0..nor.pages()).flat_map(|p| (4..PAGE_WORDS).map(move |w| (p, w)));
    all.filter_map(|(p, w)| nor.read(p, w)).filter(|w| *w != BLANK && *w != [0; 8]).collect()
}

/// Words of the record under `key` that nobody else has: salt, ciphertext, tag.
fn secret_words(nor: &mut Nor, key: u16, value: &[u8], rng: &mut ChaCha20Rng) -> BTreeSet<Word> {
    let before = words(nor);
    let mut vault = Vault::mount(&mut *nor, identity(), rng).unwrap();
    vault.store(&record(key, value), rng).unwrap();
    let header_key = key.to_be_bytes();
    words(nor).difference(&before).filter(|w| w[2..4] != header_key).copied().collect()
}

#[test]
fn what_is_replaced_or_erased_is_gone_from_the_chip() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut nor = Nor::in_memory(3);
    let secret = *b"CANARY-CANARY-CANARY-CANARY-1234";
    let first = secret_words(&mut nor, key::session(0), &secret, &mut rng);
    assert!(first.len() > 4 + 2, "{}", first.len());
    assert!(first.is_subset(&words(&nor)), "positive control");
    let image = nor.to_bytes();
    let plain = |image: &[u8]| secret.windows(8).any(|w| image.windows(8).any(|i| i == w));
    assert!(!plain(&image), "sealed");

    let second = secret_words(&mut nor, key::session(0), &[9; 146], &mut rng);
    assert!(first.is_disjoint(&words(&nor)), "a replaced secret is zeroed at once");

    let lasting = secret_words(&mut nor, key::BOOT, &[1, 0, 0, 0, 9], &mut rng);
    let kek = nor.storage_key().unwrap();
    let mut vault = Vault::mount(&mut nor, identity(), &mut rng).unwrap();
    vault.store(&record(key::ERASE_ALL, &[]), &mut rng).unwrap();
    assert!(vault.load(key::session(0)).unwrap().is_none());
    assert_eq!(vault.load(key::BOOT).unwrap().unwrap()[..], [1, 0, 0, 0, 9]);
    drop(vault);
    assert!(second.is_disjoint(&words(&nor)) && lasting.is_subset(&words(&nor)));
    let image = nor.to_bytes();
    assert!(
        !image.windows(8).any(|i| kek.expose().windows(8).any(|k| k == i)),
        "the storage key is replaced"
    );
}

/// A chip whose old image is written back seals new content at the same generations: the random half of the nonce
/// keeps the two lives apart.
#[test]
fn a_restored_image_repeats_no_nonce() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let mut nor = Nor::in_memory(3);
    let old = nor.dump();
    let lives = [nor.dump(), old].map(|mut life| {
        secret_words(&mut life, key::BOOT, &[1, 0, 0, 0, 1], &mut rng);
        life.record_history();
        secret_words(&mut life, key::BOOT, &[1, 0, 0, 0, 2], &mut rng);
        life.history().to_vec()
    });
    let nonces = lives.map(|life| {
        let programs = life.iter().filter_map(|o| match o {
            Operation::Program { value, .. } => Some(*value),
            _ => None,
        });
        programs.take(2).collect::<Vec<_>>()
    });
    assert_eq!(nonces[0][0], nonces[1][0], "the same header");
    assert_ne!(nonces[0][1], nonces[1][1], "another salt");
    drop(mount(&mut nor));
}

/// Rot in a record that was whole: an error, never an older value, at every word of it.
#[test]
fn damage_is_told_and_never_hidden() {
    let mut nor = Nor::in_memory(3);
    let mut vault = mount(&mut nor).unwrap();
    vault.store(&record(key::session(0), &[1; 40]), &mut Stuck).unwrap();
    vault.store(&record(key::session(0), &[2; 40]), &mut Stuck).unwrap();
    vault.store(&record(key::bond(0), &[3; 40]), &mut Stuck).unwrap();
    drop(vault);
    let first = (4..PAGE_WORDS)
        .find(|w| nor.read(0, *w).is_some_and(|v| v[..4] == [0xA0, 40, 0x10, 0x01] && v[7] == 2))
        .unwrap();
    for word in first..first + 10 {
        for value in [None, nor.read(0, word).map(|v| v.map(|b| b ^ 0x10))] {
            let mut rotten = nor.dump();
            rotten.damage(0, word, value);
            let vault = mount(&mut rotten).unwrap();
            // The last word alone tells a cut: without it the record counts as never written.
            let told = vault.load(key::session(0)).is_err() && vault.is_damaged();
            let never_whole = word == first + 9 && vault.load(key::session(0)).unwrap().is_none();
            assert!(told || never_whole, "word {} of the record, {value:02x?}", word - first);
            assert_eq!(vault.load(key::bond(0)).unwrap().unwrap()[..], [3; 40]);
        }
    }
    let mut page = nor.dump();
    page.damage(0, 1, None);
    assert!(mount(&mut page).unwrap().load(key::session(0)).is_ok_and(|r| r.is_none()), "no page is left");
}

#[test]
fn records_of_another_device_or_storage_key_do_not_open() {
    let mut nor = Nor::in_memory(3);
    let mut vault = mount(&mut nor).unwrap();
    vault.store(&record(key::session(0), &[1; 40]), &mut Stuck).unwrap();
    vault.store(&record(key::BOOT, &[1, 0, 0, 0, 1]), &mut Stuck).unwrap();
    drop(vault);
    let mut swapped = nor.dump();
    swapped.set_storage_key(&Secret::new([8; 32])).unwrap();
    let vault = mount(&mut swapped).unwrap();
    assert!(
        vault.load(key::session(0)).is_err() && vault.load(key::BOOT).is_ok(),
        "counters follow the identity"
    );
    drop(vault);
    let other = SigningKey::from_bytes(&[8; 32]).unwrap();
    let vault = Vault::mount(&mut nor, &other, &mut Stuck).unwrap();
    assert!(vault.load(key::session(0)).is_ok() && vault.load(key::BOOT).is_err());
}

/// A tamper circuit that erases the storage key makes the device Tampered, cut or not, and for good.
#[test]
fn an_erased_storage_key_is_tampering_wherever_the_power_goes() {
    let mut fresh = Nor::in_memory(3);
    let mut vault = mount(&mut fresh).unwrap();
    vault.store(&record(key::BOOT, &[1, 0, 0, 0, 5]), &mut Stuck).unwrap();
    vault.store(&record(key::session(0), &[1; 146]), &mut Stuck).unwrap();
    drop(vault);
    fresh.erase_key().unwrap();
    let mut cuts = 0;
    for after in 0.. {
        let mut done = false;
        for tear in Tear::ALL {
            let mut nor = fresh.dump();
            nor.cut_after(after, tear);
            done = mount(&mut nor).is_ok();
            cuts += usize::from(!done);
            nor.power_on();
            let vault = mount(&mut nor).unwrap();
            assert_eq!(
                Condition::load(vault.load(key::CONDITION)),
                Condition::Tampered,
                "cut {after} {tear:?}"
            );
            assert!(vault.load(key::session(0)).unwrap().is_none());
            assert_eq!(vault.load(key::BOOT).unwrap().unwrap()[..], [1, 0, 0, 0, 5]);
        }
        if done {
            break;
        }
    }
    covered(format_args!("{cuts} cuts"));
    assert!(cuts > 80);
}

/// Seeded long test: many lives with random writes and random cuts.
#[test]
#[ignore = "10 000 random cuts: long"]
fn ten_thousand_random_cuts() {
    let mut rng = ChaCha20Rng::seed_from_u64(77);
    let mut nor = Nor::in_memory(3);
    nor.record_history();
    let mut model = Content::new();
    let mut counters: BTreeMap<u8, u32> = BTreeMap::new();
    let mut cuts = 0;
    while cuts < 10_000 {
        nor.power_on();
        nor.cut_after(rng.next_u64() % 400, Tear::ALL[(rng.next_u32() % 4) as usize]);
        let Ok(mut vault) = mount(&mut nor) else {
            cuts += 1;
            continue;
        };
        for k in keys().into_iter().filter(|k| k & 0xF00F != 0x1006) {
            assert_eq!(vault.load(k).unwrap().map(|r| r.to_vec()), model.get(&k).cloned(), "{k:#06x}");
        }
        loop {
            let all = keys();
            let k = all[rng.next_u32() as usize % all.len()];
            let step = match (k & 0xF00F, rng.next_u32() % 200) {
                (_, 0) => record(key::ERASE_ALL, &[]),
                (0x1006, _) => {
                    let slot = (k >> 4 & 3) as u8;
                    let n = counters.entry(slot).or_default();
                    *n += 1;
                    reservation(slot, *n)
                }
                (_, length) => record(k, &vec![rng.next_u32() as u8; length as usize]),
            };
            if vault.store(&step, &mut Stuck).is_err() {
                cuts += 1;
                // Old or new: what counts from here on is what the next start finds.
                drop(vault);
                nor.power_on();
                let mut after = model.clone();
                apply(&mut after, &step);
                let vault = mount(&mut nor).unwrap();
                let sealed = || keys().into_iter().filter(|k| k & 0xF00F != 0x1006);
                let found = content(&vault, sealed()).unwrap();
                let pick = |m: &Content| -> Content {
                    m.iter().filter(|(k, _)| *k & 0xF00F != 0x1006).map(|(k, v)| (*k, v.clone())).collect()
                };
                assert!(found == pick(&model) || found == pick(&after));
                model = found;
                break;
            }
            apply(&mut model, &step);
        }
    }
    covered(format_args!("{cuts} cuts, {} records sealed", no_nonce_twice(nor.history())));
}

/// Says what was covered, past the harness that keeps the output of tests that pass to itself.
fn covered(what: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // A closed stream is no reason to fail.
    let _closed = writeln!(std::io::stderr(), "power cuts: {what}");
}
