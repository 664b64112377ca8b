//! Sums against the records they are of, also after damage and power cuts (L252 to L255).

use std::io;

use lct::{
    merkle,
    record::{BATCH_STATEMENT_MAX, BatchStatement, RECORD_MAX},
};

use super::*;
use crate::store::power::{Disk, cut_images};

const CHAIN: Digest = [7; 32];
const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;
const START: u64 = 20_000 * DAY;

/// Value `n` of record `seq`.
fn value(seq: u32, n: u32) -> i32 {
    seq.wrapping_mul(2_654_435_761).rotate_left(n * 7).cast_signed() >> (n * 5)
}

/// Records from `first` on, at these times, as a batch of the component.
fn batch(cid: u8, first: u32, times: &[u64]) -> StoredBatch {
    let cid = Cid([cid; 16]);
    let records: Vec<Vec<u8>> = (first..)
        .zip(times)
        .map(|(seq, time_ms)| {
            let values = (0..3 + seq % 2).map(|n| value(seq, n)).collect();
            let mut out = [0; RECORD_MAX];
            let record = Record { cid, seq, time_ms: *time_ms, kind: RecordKind::Module, values };
            let n = record.encode(&mut out).unwrap();
            out[..n].to_vec()
        })
        .collect();
    let leaves: Vec<_> = records.iter().map(|record| merkle::leaf_hash(record)).collect();
    let (first_ms, last_ms) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
    let count = times.len() as u16;
    let s = BatchStatement { cid, first_seq: first, count, root: merkle::root(&leaves), first_ms, last_ms };
    let mut out = [0; BATCH_STATEMENT_MAX];
    let n = s.encode(&mut out).unwrap();
    StoredBatch { statement: out[..n].to_vec(), entries: records.into_iter().map(Entry::Record).collect() }
}

/// A ledger's record files and who sums them up.
struct World {
    dir: tempfile::TempDir,
    segments: Segments,
    keeper: Keeper,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::open(&dir.path().join("segments"), CHAIN).unwrap();
        let keeper = Keeper::new(dir.path(), CHAIN);
        Self { dir, segments, keeper }
    }

    /// Appends 20 batches of two components: records every 47 s, every fourth batch three days late.
    fn fill(&self, from: u32) {
        for n in from..from + 20 {
            let late = if n % 4 == 3 { 3 * DAY } else { 0 };
            let times: Vec<u64> =
                (0..10).map(|i| START + 4 * DAY + u64::from(n * 10 + i) * 47_000 - late).collect();
            self.segments.append(&[batch(1, n * 10, &times), batch(2, n * 10, &times[..5])]).unwrap();
        }
    }

    fn follow(&mut self) -> Option<Anew> {
        let Followed { complete, anew } = self.keeper.follow(&self.segments).unwrap();
        assert!(complete);
        anew
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join(FILE)
    }

    /// All that sums hold that are made of the files in one step.
    fn afresh(&self) -> Vec<(Key, Vec<u8>)> {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(dir.path(), CHAIN);
        assert_eq!(
            keeper.follow(&self.segments).unwrap(),
            Followed { complete: true, anew: Some(Anew::Missing) }
        );
        dump(keeper.open.as_ref().unwrap())
    }

    fn dump(&self) -> Vec<(Key, Vec<u8>)> {
        dump(self.keeper.open.as_ref().unwrap())
    }

    fn question(resolution: Resolution) -> Question {
        Question { cid: Cid([1; 16]), resolution, from_ms: 0, to_ms: u64::MAX, limit: usize::MAX }
    }
}

/// Every key with its bytes.
fn dump(series: &Series) -> Vec<(Key, Vec<u8>)> {
    let table = series.db.begin_read().unwrap().open_table(BUCKETS).unwrap();
    let all = table.range::<Key>(..).unwrap();
    all.map(|entry| entry.map(|(key, bytes)| (key.value(), bytes.value().to_vec())).unwrap()).collect()
}

#[test]
fn sums_are_those_of_the_records() {
    let mut world = World::new();
    world.fill(0);
    let whole = world.keeper.ask(&world.segments, &World::question(Resolution::Day)).unwrap();
    // Component 1 has 150 records within the last day but one, and 50 three days before.
    let of = |late: bool| (0..200_u32).filter(move |seq| (seq / 10 % 4 == 3) == late);
    assert_eq!(whole.buckets.len(), 2);
    for ((begin, bucket), late) in whole.buckets.iter().zip([true, false]) {
        assert_eq!(*begin, START + if late { DAY } else { 4 * DAY });
        let last = of(late).next_back().unwrap();
        let time = START + 4 * DAY + u64::from(last) * 47_000 - if late { 3 * DAY } else { 0 };
        assert_eq!((bucket.records as usize, bucket.last_ms), (of(late).count(), time));
        for n in 0..4 {
            let has = |seq: &u32| n < 3 + seq % 2;
            let values: Vec<i64> = of(late).filter(has).map(|seq| value(seq, n).into()).collect();
            let figure = bucket.values[n as usize];
            assert_eq!(i64::from(figure.min), *values.iter().min().unwrap(), "{n}");
            assert_eq!(i64::from(figure.max), *values.iter().max().unwrap(), "{n}");
            assert_eq!((figure.sum, figure.count as usize), (values.iter().sum(), values.len()), "{n}");
            assert_eq!(figure.last, has(&last).then(|| value(last, n)), "{n}");
        }
    }
    // A part of it, and a page at a time.
    let minutes =
        |from_ms, to_ms, limit| Question { from_ms, to_ms, limit, ..World::question(Resolution::Minute) };
    let all = world.keeper.ask(&world.segments, &minutes(START + 4 * DAY, u64::MAX, usize::MAX)).unwrap();
    assert_eq!(all.buckets.iter().map(|(_, bucket)| bucket.records).sum::<u32>(), 150);
    let (mut from, mut pages) = (Some(START + 4 * DAY + 1), Vec::new());
    while let Some(from_ms) = from {
        let page = world.keeper.ask(&world.segments, &minutes(from_ms, u64::MAX, 40)).unwrap();
        assert!(page.buckets.iter().map(|(_, bucket)| bucket.values.len()).sum::<usize>() <= 40);
        pages.extend(page.buckets);
        from = page.next_ms;
    }
    assert_eq!(pages, all.buckets, "from within the first minute on");
    let none = world.keeper.ask(&world.segments, &minutes(START + 4 * DAY, START + 4 * DAY, 9)).unwrap();
    assert_eq!(none.buckets, []);
    let first =
        world.keeper.ask(&world.segments, &minutes(START + 4 * DAY, START + 4 * DAY + MINUTE, 1)).unwrap();
    assert_eq!((first.buckets.len(), first.buckets[0].1.records), (1, 2), "a single one, whatever the limit");
}

#[test]
fn how_often_the_files_are_followed_does_not_show() {
    let mut world = World::new();
    let mut anew = Vec::new();
    for n in 0..5 {
        world.fill(n * 20);
        anew.push(world.follow());
        if n % 2 == 1 {
            world.keeper = Keeper::new(world.dir.path(), CHAIN);
        }
    }
    assert_eq!(anew, [Some(Anew::Missing), None, None, None, None]);
    assert_eq!(world.dump(), world.afresh());
    // Who opens the files anew goes on as well.
    drop(world.segments);
    world.segments = Segments::open(&world.dir.path().join("segments"), CHAIN).unwrap();
    world.fill(100);
    assert_eq!(world.follow(), None);
    assert_eq!(world.dump(), world.afresh());
}

#[test]
fn what_is_kept_of_a_component_is_bounded() {
    let mut world = World::new();
    // Eight hours and a minute apart, over seven years; some come a month late.
    const APART: u64 = 481 * MINUTE;
    for n in 0..20_u32 {
        let of = |b: u32| {
            let late = if b % 7 == 3 { 31 * DAY } else { 0 };
            batch(
                1,
                b * 20,
                &(0..20).map(|i| START + u64::from(b * 20 + i) * APART - late).collect::<Vec<_>>(),
            )
        };
        world.segments.append(&(n * 20..n * 20 + 20).map(of).collect::<Vec<_>>()).unwrap();
        if n % 5 == 0 {
            world.follow();
        }
    }
    world.follow();
    for resolution in Resolution::ALL {
        let answer = world.keeper.ask(&world.segments, &World::question(resolution)).unwrap();
        let last = answer.buckets.last().unwrap().0;
        assert_eq!(last, resolution.begin(START + 7_999 * APART), "{resolution:?}");
        let all: BTreeSet<u64> = (0..8_000_u64)
            .map(|seq| START + seq * APART - if seq / 20 % 7 == 3 { 31 * DAY } else { 0 })
            .map(|time| resolution.begin(time))
            .collect();
        let expected = all.iter().skip(all.len() - resolution.kept());
        assert!(answer.buckets.iter().map(|(begin, _)| begin).eq(expected), "{resolution:?}");
    }
    assert_eq!(world.dump(), world.afresh());
}

#[test]
fn a_damaged_file_is_set_aside_and_made_anew() {
    let mut world = World::new();
    world.fill(0);
    world.follow();
    let whole = world.dump();
    world.keeper.open = None;
    let good = fs::read(world.file()).unwrap();
    let (mut set_aside, mut missing) = (0, 0);
    for at in (0..good.len()).step_by(good.len() / 24) {
        let mut bytes = good.clone();
        bytes[at..(at + 96).min(good.len())].fill(0xA5);
        fs::write(world.file(), &bytes).unwrap();
        // Whoever reads everything finds what is damaged of it.
        let mut anew = Vec::from_iter(world.follow());
        for resolution in Resolution::ALL {
            for cid in [1, 2] {
                let question = Question { cid: Cid([cid; 16]), ..World::question(resolution) };
                anew.extend(world.keeper.ask(&world.segments, &question).unwrap().followed.anew);
            }
        }
        assert!(anew.len() <= 1, "byte {at}: {anew:?}");
        if world.dump() != whole {
            // Keys of the tree itself: what they led to is missing, and nothing that is told is wrong.
            assert!(anew.is_empty(), "byte {at}: {anew:?}");
            let told = world.dump();
            let mut known = told.iter().filter(|(key, _)| whole.iter().any(|(k, _)| k == key));
            assert!(known.all(|entry| whole.contains(entry)), "byte {at}");
            missing += 1;
            world.keeper.open = None;
            continue;
        }
        if let Some(Anew::Unusable { aside, what }) = anew.first() {
            assert!(aside.exists() && !what.is_empty());
            set_aside += 1;
        }
        world.keeper.open = None;
    }
    assert!(set_aside > 3 && missing < 3, "{set_aside}, {missing}");
    for (n, bytes) in [b"".as_slice(), b"nothing of ours", &good[..good.len() / 2]].into_iter().enumerate() {
        fs::write(world.file(), bytes).unwrap();
        assert!(matches!(world.follow(), Some(Anew::Unusable { .. })), "{n}");
        assert_eq!(world.dump(), whole, "{n}");
        world.keeper.open = None;
    }
    // Killed before it was whole, at any length: nothing was there that could be damaged.
    for len in [0, 1, 100, 4_096, good.len() / 2, good.len()] {
        world.keeper.open = None;
        fs::remove_file(world.file()).unwrap();
        fs::write(world.file().with_extension("part"), &good[..len]).unwrap();
        assert_eq!(world.follow(), Some(Anew::Missing), "{len}");
        assert_eq!(world.dump(), whole, "{len}");
    }
    // Damage in a bucket of which nothing tells before it is read.
    let series = world.keeper.open.as_ref().unwrap();
    let key = whole[0].0;
    series
        .write(Durability::Immediate, |txn| {
            txn.open_table(BUCKETS)?.insert(key, &[1_u8][..]).map(drop).map_err(Into::into)
        })
        .unwrap();
    let answer = world.keeper.ask(&world.segments, &World::question(Resolution::Minute)).unwrap();
    assert!(matches!(answer.followed.anew, Some(Anew::Unusable { .. })));
    assert_eq!(world.dump(), whole);
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let mut world = World::new();
    world.fill(0);
    world.follow();
    // Another process has it.
    let mut other = Keeper::new(world.dir.path(), CHAIN);
    assert!(matches!(other.follow(&world.segments), Err(Error::Locked(_))));
    // A later build wrote it.
    let series = world.keeper.open.take().unwrap();
    let of = [&[FORMAT + 1], CHAIN.as_slice()].concat();
    series
        .write(Durability::Immediate, |txn| {
            txn.open_table(META)?.insert("of", of.as_slice()).map(drop).map_err(Into::into)
        })
        .unwrap();
    drop(series);
    let newer = fs::read(world.file()).unwrap();
    let same = |file: &Path| fs::read(file).unwrap() == newer;
    let refused = world.keeper.follow(&world.segments).unwrap_err();
    assert!(matches!(refused, Error::FormatVersion { found: 2, known: 1, .. }), "{refused}");
    assert!(same(&world.file()), "and is as it was");
    // Sums of another chain are no damage of this one's, and are not lost.
    let other = Keeper::new(world.dir.path(), [8; 32]).follow(&world.segments);
    assert!(matches!(other, Err(Error::FormatVersion { .. })), "{other:?}");
    fs::remove_file(world.file()).unwrap();
    world.follow();
    world.keeper.open = None;
    let mut other = Keeper::new(world.dir.path(), [8; 32]);
    let anew = other.with(|_| Ok(Some(()))).unwrap().1;
    assert!(matches!(anew, Some(Anew::Unusable { aside, .. }) if aside.exists()));
}

#[test]
fn sums_of_other_files_are_made_anew() {
    let mut world = World::new();
    world.fill(0);
    world.follow();
    let path = world.dir.path().join("segments");
    // A copy of earlier files was put back, and the ledger went on from there.
    drop(world.segments);
    fs::remove_dir_all(&path).unwrap();
    world.segments = Segments::open(&path, CHAIN).unwrap();
    let whole = world.dump();
    let Some(Anew::OtherRecords { aside }) = world.follow() else { panic!("shorter files") };
    assert_eq!(world.dump(), []);
    // What only they hold is not lost.
    let kept = Series { db: Arc::new(Database::open(&aside).unwrap()), path: aside };
    assert_eq!(dump(&kept), whole);
    drop(kept);
    world.fill(0);
    world.follow();
    drop(world.segments);
    fs::remove_dir_all(&path).unwrap();
    world.segments = Segments::open(&path, CHAIN).unwrap();
    world.fill(40);
    world.fill(60);
    let anew = world.follow();
    assert!(matches!(anew, Some(Anew::OtherRecords { .. })), "longer files with other frames: {anew:?}");
    assert_eq!(world.dump(), world.afresh());
}

#[test]
fn a_time_far_ahead_takes_the_place_of_one_bucket() {
    let mut world = World::new();
    world.fill(0);
    world.follow();
    let before = world.dump();
    world.segments.append(&[batch(1, 200, &[START + 20_000 * DAY])]).unwrap();
    world.fill(30);
    world.follow();
    let after = world.dump();
    assert_eq!(after, world.afresh());
    assert!(before.iter().all(|(key, _)| after.iter().any(|(other, _)| other == key)));
}

#[test]
fn a_write_that_failed_is_not_the_last_one() {
    let mut world = World::new();
    world.fill(0);
    world.follow();
    let file = world.file();
    let elsewhere = world.dir.path().join("segments");
    let full = io::ErrorKind::Other;
    for (error, closes) in [
        (Error::DiskFull(file.clone()), true),
        (Error::Stopped(file.clone()), true),
        (Error::Io { path: file, source: full.into() }, true),
        (Error::Io { path: elsewhere, source: full.into() }, false),
    ] {
        let (what, mut error) = (error.to_string(), Some(error));
        let failed = world.keeper.with(|_| error.take().map_or(Ok(Some(())), Err));
        assert!(failed.is_err(), "{what}");
        assert_eq!(world.keeper.open.is_none(), closes, "{what}");
        assert_eq!(world.follow(), None, "{what}");
    }
    assert_eq!(world.dump(), world.afresh());
}

#[test]
fn who_asks_does_not_wait_for_who_sums_up() {
    let world = World::new();
    world.fill(0);
    let sums = Sums::new(world.dir.path(), CHAIN);
    let ask = || {
        let answer = sums.ask(&world.segments, &World::question(Resolution::Day)).unwrap();
        (answer.buckets.iter().map(|(_, bucket)| bucket.records).sum::<u32>(), answer.followed.complete)
    };
    let at_work = sums.keeper();
    assert_eq!(ask(), (0, false), "nothing is open yet");
    drop(at_work);
    assert_eq!(ask(), (200, true));
    let at_work = sums.keeper();
    assert_eq!(ask(), (200, true), "nothing came since");
    world.fill(20);
    assert_eq!(ask(), (200, false));
    drop(at_work);
    assert_eq!(ask(), (400, true));
}

#[test]
fn a_step_is_bounded_by_what_it_holds() {
    let record = |seq: u32, apart: u64| Record {
        cid: Cid([1; 16]),
        seq,
        time_ms: START + u64::from(seq) * apart,
        kind: RecordKind::Module,
        values: std::iter::repeat_n(i32::MIN, lct::record::VALUES_MAX).collect(),
    };
    for (apart, by_values) in [(DAY, true), (0, false)] {
        let (mut step, mut seq) = (Step::default(), 0);
        while !step.is_full() {
            step.add(&record(seq, apart));
            seq += 1;
        }
        let held: usize = step.sums.values().map(|sum| sum.values.len()).sum();
        assert_eq!((held, held >= STEP_VALUES), (step.values, by_values));
        assert!(held < STEP_VALUES + 3 * lct::record::VALUES_MAX && step.records <= STEP);
    }
}

/// Power goes at every operation of a disk: what comes up is followed on to the same sums.
fn cuts(steps: u32, images: u32) {
    let world = World::new();
    let disk = Disk::default();
    let open = |disk: &Disk| Database::builder().set_cache_size(1 << 20).create_with_backend(disk.clone());
    let path = Path::new("disk");
    let series = Series::begin(open(&disk).unwrap(), path, &CHAIN).unwrap();
    let first = disk.operations();
    for n in 0..steps {
        world.fill(n * 20);
        assert_eq!(series.follow(&world.segments).unwrap(), Some(true));
    }
    let (log, expected) = (disk.log(), world.afresh());
    let mut count = 0;
    cut_images(&log, first, images, |image, done, n| {
        let what = format!("cut after {done}, image {n}");
        let db = open(&Disk::of(image)).unwrap_or_else(|e| panic!("{what}: {e}"));
        identify(&db.begin_read().unwrap(), (path, &CHAIN)).unwrap_or_else(|e| panic!("{what}: {e}"));
        let series = Series { db: Arc::new(db), path: path.into() };
        assert_eq!(series.follow(&world.segments).unwrap(), Some(true), "{what}");
        assert!(dump(&series) == expected, "{what}");
        count += 1;
    });
    println!("{count} power cuts while records were summed up: nothing lost, nothing counted twice");
    assert!(count > 50);
}

#[test]
fn power_may_go_at_every_operation() {
    cuts(2, 4);
}

#[test]
#[ignore = "thousands of cuts; a smaller share is among the usual tests"]
fn power_may_go_at_every_operation_of_many_steps() {
    cuts(30, 16);
}
