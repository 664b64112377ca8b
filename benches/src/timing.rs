//! Bench `timing`: whether a comparison of secrets takes another time when it fails at its first byte than when it fails
//! at its last one, on this host (`spec/threats.md`, T32). It prints t and judges nothing.
//!
//! The method is that of dudect: both kinds of input in random order, each copied to the same place before the clock is
//! read, then Welch's t of the times below the 90th percentile, above which it is the machine that is slow. What is told
//! apart has a |t| that grows with the root of the samples; below 4.5 nothing was found. The control is a comparison
//! that ends with the first difference.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use lct::{
    aead::Aead,
    id::Cid,
    pake::{Prover, ProverSecret, STRETCHED_LEN, Verifier},
    secret::{Secret, equal},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::{Value, json};

/// Samples of an operation in a full run.
const SAMPLES: usize = 1_000_000;
/// Of the code's confirmation, each of which needs a run of its own: four multiplications of points that are not measured.
const CONFIRMATIONS: usize = 40_000;
/// Part of the samples that counts.
const COUNTED: f64 = 0.9;

/// Something that takes an input of `N` bytes and fails.
struct Operation<'a, const N: usize> {
    name: &'static str,
    /// What fails at its first byte, and what at its last one.
    inputs: [[u8; N]; 2],
    /// Calls that are timed together.
    calls: usize,
    run: &'a mut dyn FnMut(&[u8; N]) -> bool,
}

impl<const N: usize> Operation<'_, N> {
    fn row(self, samples: usize, rng: &mut ChaCha20Rng) -> Result<Value> {
        let mut times: [Vec<f64>; 2] = [(); 2].map(|()| Vec::with_capacity(samples));
        let mut place = [0; N];
        let mut passed = false;
        for _ in 0..samples {
            let kind = (rng.next_u32() & 1) as usize;
            place.copy_from_slice(black_box(&self.inputs[kind]));
            let begin = Instant::now();
            for _ in 0..self.calls {
                passed |= (self.run)(black_box(&place));
            }
            times[kind].push(begin.elapsed().as_nanos() as f64 / self.calls as f64);
        }
        ensure!(!passed, "{}: an input that must fail passed", self.name);
        let t = welch(&times);
        Ok(json!({ "operation": self.name, "samples": samples, "t": t }))
    }
}

/// Welch's t of the times below the percentile of both together.
fn welch(times: &[Vec<f64>; 2]) -> f64 {
    let mut all = times.concat();
    all.sort_by(f64::total_cmp);
    let bound = all.get((all.len() as f64 * COUNTED) as usize).copied().unwrap_or(f64::INFINITY);
    let [a, b] = times.each_ref().map(|times| {
        let counted: Vec<f64> = times.iter().copied().filter(|ns| *ns <= bound).collect();
        let n = counted.len() as f64;
        let mean = counted.iter().sum::<f64>() / n;
        let variance = counted.iter().map(|ns| (ns - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    });
    let spread = (a.1 + b.1).sqrt();
    if spread > 0.0 { (a.0 - b.0) / spread } else { 0.0 }
}

/// `right` with its first or its last byte changed.
fn wrong<const N: usize>(right: [u8; N]) -> [[u8; N]; 2] {
    let mut inputs = [right; 2];
    inputs[0][0] ^= 1;
    inputs[1][N - 1] ^= 1;
    inputs
}

/// Ends with the first byte that differs.
fn early(a: &[u8], b: &[u8]) -> bool {
    for (a, b) in a.iter().zip(b) {
        if black_box(*a) != *b {
            return false;
        }
    }
    true
}

pub fn run(quick: bool) -> Result<Value> {
    let share = if quick { 100 } else { 1 };
    let (samples, confirmations) = (SAMPLES / share, CONFIRMATIONS / share);
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let mut rows = Vec::new();
    let (mut tag, mut digest) = ([0; 16], [0; 32]);
    rng.fill_bytes(&mut tag);
    rng.fill_bytes(&mut digest);

    let mut own = |input: &[u8; 16]| equal(black_box(&tag), input);
    let compared = Operation { name: "compare 16 bytes", inputs: wrong(tag), calls: 32, run: &mut own };
    rows.push(compared.row(samples, &mut rng)?);

    let mut own = |input: &[u8; 32]| equal(black_box(&digest), input);
    let compared = Operation { name: "compare 32 bytes", inputs: wrong(digest), calls: 32, run: &mut own };
    rows.push(compared.row(samples, &mut rng)?);

    let aead = Aead::new(&Secret::random(&mut rng));
    let (mut text, mut right) = ([0xA5; 36], [0; 16]);
    aead.seal(&[7; 12], &[1; 12], &mut text, &mut right).map_err(|e| anyhow!("{e}"))?;
    // What fails is left as it was, so the same text fails again.
    let mut own = |tag: &[u8; 16]| aead.attempt(&[7; 12], &[1; 12], &mut text, tag).is_ok();
    let opened = Operation { name: "open 36 bytes", inputs: wrong(right), calls: 8, run: &mut own };
    rows.push(opened.row(samples, &mut rng)?);

    rows.push(code(confirmations, &mut rng)?);

    let mut own = |input: &[u8; 32]| early(black_box(&digest), input);
    let control = Operation { name: "control", inputs: wrong(digest), calls: 32, run: &mut own };
    rows.push(control.row(samples, &mut rng)?);
    Ok(json!({ "rows": rows, "rounds": samples, "turn": 1 }))
}

/// The verifier's judgement of a confirmation of the printed code, by the library that makes it.
fn code(samples: usize, rng: &mut ChaCha20Rng) -> Result<Value> {
    let fail = |e: lct::Error| anyhow!("{e}");
    let secret = ProverSecret::from_stretched(&Secret::<STRETCHED_LEN>::random(rng)).map_err(fail)?;
    let (record, app, pack) = (secret.record(), Cid([1; 16]), Cid([2; 16]));
    let mut times: [Vec<f64>; 2] = Default::default();
    for _ in 0..samples {
        let prover = Prover::start(&secret, &app, &pack, rng);
        let (verifier, answer) = Verifier::answer(&record, &app, &pack, prover.share(), rng).map_err(fail)?;
        let (right, _) = prover.finish(&answer).map_err(fail)?;
        let kind = (rng.next_u32() & 1) as usize;
        let place = wrong(right)[kind];
        let begin = Instant::now();
        let judged = verifier.finish(black_box(&place));
        times[kind].push(begin.elapsed().as_nanos() as f64);
        ensure!(judged.is_err(), "a wrong confirmation passed");
    }
    Ok(json!({ "operation": "confirmation of the code", "samples": samples, "t": welch(&times) }))
}
