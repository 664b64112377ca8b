//! What a validator signed last: an older copy of its ledger signs nothing, a crash stops nobody (L256).

use crate::world;

use std::{fs, path::Path, sync::Arc};

use lct::{Digest, hash::sha256, id::Role};
use node::{
    Chain, Error,
    archive::{ArchiveError, Start, restore, restore_announced},
    engine::{signed::Signed, solo::Solo},
};
use world::*;

const CLOCK: u64 = START_MS + 600_000;

/// The file as L256 says.
fn file(chain_id: Digest, height: u64, block_id: Digest, stage: u8) -> Vec<u8> {
    let content = [b"MBVS\x01".as_slice(), &chain_id, &height.to_be_bytes(), &block_id, &[stage]].concat();
    let check = sha256(&[&content]);
    [content.as_slice(), &check[..8]].concat()
}

fn open(dir: &Path) -> Arc<Chain> {
    Arc::new(Chain::open(dir, &genesis()).unwrap())
}

fn solo(chain: &Arc<Chain>, signed: &Path) -> Result<Solo, Error> {
    Solo::new(Arc::clone(chain), validator("v"))?.remembering(signed)
}

fn register_next(chain: &Chain, engine: &Solo) -> Result<(), Error> {
    let signer = key("authority");
    let nonce = chain.next_nonce(&signer.public()).unwrap();
    chain.submit(tx(&signer, nonce, register(&format!("module-9{nonce}"), Role::Module))).unwrap();
    engine.cut(CLOCK).map(|_| ())
}

#[test]
fn an_older_copy_signs_nothing_and_the_newest_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, signed) = (temp.path().join("ledger"), temp.path().join("validator.signed"));
    let chain = open(&dir);
    let engine = solo(&chain, &signed).unwrap();
    assert_eq!(fs::read(&signed).unwrap(), file(chain_id(), 0, chain.tip().block_id, 1), "the genesis");
    let mut copies = Vec::new();
    for height in 1..=4 {
        register_next(&chain, &engine).unwrap();
        let tip = chain.tip();
        assert_eq!(fs::read(&signed).unwrap(), file(chain_id(), height, tip.block_id, 1));
        let mut copy = Vec::new();
        chain.archive(Start::Genesis, &mut copy).unwrap();
        copies.push(copy);
    }
    let said = fs::read(&signed).unwrap();
    drop((engine, chain));
    for (copy, height) in copies.iter().zip(1..) {
        let dir = temp.path().join(format!("copy-{height}"));
        restore(&dir, copy.as_slice(), (&genesis().trust(), None), |_| ()).unwrap();
        let chain = open(&dir);
        match solo(&chain, &signed) {
            Ok(engine) if height == 4 => register_next(&chain, &engine).unwrap(),
            Err(Error::SignedBefore { signed: 4, height: ends, .. }) if height < 4 => {
                assert_eq!(ends, height)
            }
            other => panic!("{height}: {:?}", other.err()),
        }
        assert_eq!(fs::read(&signed).unwrap() == said, height < 4, "a refusal changes nothing");
        // Without what it signed it would have gone on.
        let other = temp.path().join(format!("none-{height}"));
        register_next(&chain, &solo(&chain, &other).unwrap()).unwrap();
    }
}

#[test]
fn the_file_says_who_may_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, signed) = (temp.path().join("ledger"), temp.path().join("validator.signed"));
    let chain = open(&dir);
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    register_next(&chain, &engine).unwrap();
    let first = chain.tip().block_id;
    register_next(&chain, &engine).unwrap();
    let (chain_id, second, other) = (chain_id(), chain.tip().block_id, [9; 32]);
    let asked = |bytes: &[u8]| {
        fs::write(&signed, bytes).unwrap();
        let asked = solo(&chain, &signed).err();
        assert!(asked.is_none() || fs::read(&signed).unwrap() == bytes, "a refusal changes nothing");
        asked
    };
    for (height, id, stage, what) in [
        (2, second, 1, "this ledger"),
        (2, second, 0, "cut after the block was stored"),
        (3, other, 0, "cut before the block was stored"),
        (1, first, 1, "a file that is older"),
    ] {
        let refused = asked(&file(chain_id, height, id, stage));
        assert!(refused.is_none(), "{what}: {refused:?}");
        let noted = if height <= 2 { 1 } else { stage };
        assert_eq!(fs::read(&signed).unwrap(), file(chain_id, height, id, noted), "{what}");
    }
    // The block of this height that nobody saw is signed anew, and only once.
    fs::write(&signed, file(chain_id, 3, other, 0)).unwrap();
    let engine = solo(&chain, &signed).unwrap();
    register_next(&chain, &engine).unwrap();
    assert_eq!(fs::read(&signed).unwrap(), file(chain_id, 3, chain.tip().block_id, 1));
    for (height, id, stage) in [(4, other, 1), (5, other, 0), (u64::MAX, other, 0)] {
        let refused = asked(&file(chain_id, height, id, stage));
        assert!(matches!(refused, Some(Error::SignedBefore { .. })), "{height} {stage}: {refused:?}");
    }
    for height in 1..=3 {
        let refused = asked(&file(chain_id, height, other, 1));
        assert!(matches!(refused, Some(Error::OtherHistory { .. })), "{height}: {refused:?}");
    }
    let refused = asked(&file(other, 2, second, 1));
    assert!(matches!(refused, Some(Error::OtherChain { .. })), "{refused:?}");
    let good = file(chain_id, 1, first, 1);
    for n in 0..good.len() {
        let mut bytes = good.clone();
        bytes[n] ^= 1;
        match asked(&bytes) {
            Some(Error::FormatVersion { .. }) if n == 4 => {}
            Some(Error::Corrupted { .. }) if n != 4 => {}
            other => panic!("byte {n}: {other:?}"),
        }
        assert!(matches!(asked(&good[..n]), Some(Error::Corrupted { .. })), "{n} bytes");
    }
    assert!(matches!(asked(&file(chain_id, 1, first, 2)), Some(Error::Corrupted { .. })));
}

#[test]
fn whoever_restores_takes_what_was_signed_for_seen() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, signed) = (temp.path().join("ledger"), temp.path().join("validator.signed"));
    let chain = open(&dir);
    assert_eq!(Signed::settle(&signed, &chain_id()).unwrap(), None, "nothing was signed here");
    assert!(!signed.exists());
    let ahead = file(chain_id(), 1, [9; 32], 0);
    fs::write(&signed, &ahead).unwrap();
    assert!(solo(&chain, &signed).is_ok(), "a crash, as far as anybody can tell");
    fs::write(&signed, &ahead).unwrap();
    assert_eq!(Signed::settle(&signed, &chain_id()).unwrap(), Some(1));
    assert_eq!(fs::read(&signed).unwrap(), file(chain_id(), 1, [9; 32], 1));
    assert!(matches!(solo(&chain, &signed), Err(Error::SignedBefore { .. })));
}

#[test]
fn a_restore_that_is_refused_announces_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, signed) = (temp.path().join("ledger"), temp.path().join("validator.signed"));
    let chain = open(&dir);
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    register_next(&chain, &engine).unwrap();
    let mut copy = Vec::new();
    chain.archive(Start::Genesis, &mut copy).unwrap();
    let mut damaged = copy.clone();
    damaged[copy.len() / 2] ^= 1;
    // A crash kept the second block out of the ledger.
    let ahead = file(chain_id(), 2, [9; 32], 0);
    fs::write(&signed, &ahead).unwrap();
    let attempt = |to: &Path, copy: &[u8]| {
        restore_announced(
            to,
            copy,
            (&genesis().trust(), None),
            |_| (),
            |made| {
                assert_eq!(made.height, 1);
                Signed::settle(&signed, &chain_id()).map(|found| assert_eq!(found, Some(2)))
            },
        )
    };
    let other = temp.path().join("other");
    assert!(matches!(attempt(&dir, &copy), Err(ArchiveError::Occupied(_))));
    assert!(attempt(&other, &damaged).is_err());
    assert!(attempt(&other, &copy[..copy.len() - 1]).is_err());
    assert_eq!(fs::read(&signed).unwrap(), ahead);
    assert!(solo(&chain, &signed).is_ok(), "the ledger that is there goes on");
    let unannounced = restore_announced(
        &other,
        copy.as_slice(),
        (&genesis().trust(), None),
        |_| (),
        |_| Err(Error::Interrupted),
    );
    assert!(matches!(unannounced, Err(ArchiveError::Store(Error::Interrupted))));
    assert!(!other.exists() && !temp.path().join("other.restoring").exists());
    attempt(&other, &copy).unwrap();
    assert_eq!(fs::read(&signed).unwrap(), file(chain_id(), 2, [9; 32], 1));
}
