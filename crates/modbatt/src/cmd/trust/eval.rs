//! `modbatt trust eval`: operations on tensors, under the default weights of a chain (`spec/ledger.md`, L190 to L196).

use ledger::trust::{
    Outcome as Act, Ppm, T3, V3, Weights, decay, health, outcome,
    update::{Evidence, Metrics},
};
use serde_json::{Value, json};

use super::super::eval::{self, Op, Problem};
use super::super::{Failure, Outcome};

const DAY_MS: u64 = 86_400_000;

/// What the operations are, as part of `--help`.
pub const OPERATIONS: &str = "\
FILE is {\"ops\":[{\"id\":\"a\",\"op\":\"t3_composite\",\"talent\":0.9,\"training\":0.8,\"temperament\":0.7}]},
the answer {\"results\":[{\"id\":\"a\",\"ppm\":810000}]}.

Shares are decimal numbers from 0 to 1, read digit by digit and cut off after six decimals; results are in parts per
million. Fields in [] may be missing.
A T3 is {\"talent\", \"training\", \"temperament\"}.

  op            takes                                            gives
  t3_composite  talent, training, temperament                    ppm
  v3_composite  valuation (may exceed 1), veracity, validity     ppm
  t3_update     t3, quality                                      a T3 in ppm
  decay         t3, months (or days), [recovers_to = 1]          a T3 in ppm
  repeat        n (1 is the first), [value = 1]                  ppm
  hops          hops, [value = 1]                                ppm
  observe       t3, metrics {efficiency, reliability, accuracy,  a T3 in ppm
                responsiveness, safety}, [count = 0],
                [confidence = 1], [weight = 1]
  outcome       t3, outcome (novel_success, standard_success,    a T3 in ppm
                expected_failure, unexpected_failure,
                violation), [n = 1], [confidence = 1]
  health        t3, v3, energy_ratio (each a share)              ppm";

/// Evaluates the file.
pub fn run(args: &eval::Args) -> Result<Outcome, Failure> {
    let weights = Weights::default();
    eval::run(args, |op| answer(&weights, op))
}

fn answer(weights: &Weights, op: &Op<'_>) -> Result<Value, Problem> {
    Ok(match op.name() {
        "t3_composite" => parts(tensor(op)?.composite(weights)),
        "v3_composite" => {
            let valuation = op.parts("valuation")?;
            let (veracity, validity) = (share(op, "veracity")?, share(op, "validity")?);
            parts(V3 { valuation, veracity, validity }.composite(weights))
        }
        "t3_update" => dimensions(t3(op)?.after_quality(share(op, "quality")?, weights)),
        "decay" => {
            let before = t3(op)?;
            let months = match op.has("days") {
                true => decay::months(0, op.whole("days")?.saturating_mul(DAY_MS), weights).0,
                false => op.whole("months")?,
            };
            dimensions(before.after_idle(months, share_or_one(op, "recovers_to")?, weights))
        }
        "repeat" => {
            let n = op.whole("n")?;
            if n == 0 {
                return Err(Problem::Input("the field \"n\" counts from 1".into()));
            }
            parts(share_or_one(op, "value")?.of(outcome::repeat(narrow(n), weights)))
        }
        "hops" => {
            let left = decay::hops(narrow(op.whole("hops")?), weights);
            parts(share_or_one(op, "value")?.of(left))
        }
        "observe" => {
            let before = t3(op)?;
            let seen = op.object("metrics", metrics)?.observation(weights);
            let count = if op.has("count") { op.whole("count")? } else { 0 };
            let confidence = share_or_one(op, "confidence")?;
            let evidence = Evidence { count, confidence, weight: share_or_one(op, "weight")? };
            dimensions(before.after_observation(&seen, &evidence, weights))
        }
        "outcome" => {
            let before = t3(op)?;
            let word = op.text("outcome").map_err(Problem::Input)?;
            let act = (1..=5).filter_map(Act::from_number).find(|act| act.name() == word);
            let act = act.ok_or_else(|| {
                Problem::Input(format!("the field \"outcome\" names no outcome of the table: {word:?}"))
            })?;
            let n = if op.has("n") { op.whole("n")? } else { 1 };
            dimensions(before.after_outcome(act, narrow(n), share_or_one(op, "confidence")?, weights))
        }
        "health" => {
            let (t3, v3) = (share(op, "t3")?, share(op, "v3")?);
            parts(health::health(t3, v3, share(op, "energy_ratio")?, weights))
        }
        other => {
            return Err(Problem::Input(format!(
                "there is no operation {other:?}; there are t3_composite, v3_composite, t3_update, decay, repeat, hops, \
                 observe, outcome and health"
            )));
        }
    })
}

fn parts(share: Ppm) -> Value {
    json!({ "ppm": share.get() })
}

fn dimensions(t3: T3) -> Value {
    let [talent, training, temperament] = t3.dimensions().map(Ppm::get);
    json!({ "talent": talent, "training": training, "temperament": temperament })
}

/// Counts beyond 32 bits are like the largest one: every table ended long before.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn share(op: &Op<'_>, field: &str) -> Result<Ppm, Problem> {
    let found = u32::try_from(op.parts(field)?).ok().and_then(Ppm::new);
    found.ok_or_else(|| Problem::Input(format!("the field {field:?} must be at most 1")))
}

fn share_or_one(op: &Op<'_>, field: &str) -> Result<Ppm, Problem> {
    if op.has(field) { share(op, field) } else { Ok(Ppm::ONE) }
}

/// The dimensions of a T3 among the fields of `op`.
fn tensor(op: &Op<'_>) -> Result<T3, Problem> {
    let (talent, training) = (share(op, "talent")?, share(op, "training")?);
    Ok(T3 { talent, training, temperament: share(op, "temperament")? })
}

/// The field `t3`.
fn t3(op: &Op<'_>) -> Result<T3, Problem> {
    op.object("t3", tensor)
}

fn metrics(op: &Op<'_>) -> Result<Metrics, Problem> {
    Ok(Metrics {
        efficiency: share(op, "efficiency")?,
        reliability: share(op, "reliability")?,
        accuracy: share(op, "accuracy")?,
        responsiveness: share(op, "responsiveness")?,
        safety: share(op, "safety")?,
    })
}
