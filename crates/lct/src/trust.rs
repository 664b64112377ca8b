//! What a component says of how well another one, or itself, did over a period (`spec/ledger.md`, L198).
//!
//! Shares are in parts per million, times in Unix milliseconds.

use crate::{
    Digest, Error, codec,
    id::Cid,
    record::statement_digest,
    sign::{PublicKey, Signature, SigningKey},
};
use rand_core::CryptoRng;

/// Length bound of an encoded statement.
pub const REPORT_MAX: usize = 112;
/// One, in parts per million.
const ONE: u32 = 1_000_000;

/// In what a component is judged. The number is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TrustContext {
    /// Whatever it does.
    Operation = 1,
    /// Taking, keeping and giving energy.
    Energy = 2,
    /// Acts that can hurt somebody.
    CriticalSafety = 3,
    /// Measuring and reporting.
    Diagnostic = 4,
}

impl TrustContext {
    /// All of them, by number.
    pub const ALL: [TrustContext; 4] = [
        TrustContext::Operation,
        TrustContext::Energy,
        TrustContext::CriticalSafety,
        TrustContext::Diagnostic,
    ];

    /// The context with this number.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|p| *p as u8 == code).ok_or(Error::Malformed)
    }

    /// Word for people and APIs.
    pub fn name(self) -> &'static str {
        match self {
            TrustContext::Operation => "operation",
            TrustContext::Energy => "energy",
            TrustContext::CriticalSafety => "critical_safety",
            TrustContext::Diagnostic => "diagnostic",
        }
    }
}

/// `{0: 1, 1: observer, 2: subject, 3: context, 4: start ms, 5: end ms, 6: [efficiency, reliability, accuracy,
/// responsiveness, safety], 7: temperature, 8: load, 9: cycles}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsReport {
    /// Who says it and signs.
    pub observer: Cid,
    /// Of whom; may be the observer.
    pub subject: Cid,
    /// In what.
    pub context: TrustContext,
    /// Start of the period.
    pub start_ms: u64,
    /// End of the period, not before its start.
    pub end_ms: u64,
    /// Efficiency, reliability, accuracy, responsiveness, safety; each at most 1 000 000.
    pub metrics: [u32; 5],
    /// Mean temperature in 0.001 degC: circumstances, they move nothing.
    pub temperature: i32,
    /// Mean current of the largest allowed one, ppm.
    pub load_ppm: u32,
    /// Energy cycles so far.
    pub cycles: u32,
}

impl MetricsReport {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; REPORT_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(10)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.observer.0)?.u8(2)?.bytes(&self.subject.0)?;
            e.u8(3)?.u8(self.context as u8)?.u8(4)?.u64(self.start_ms)?.u8(5)?.u64(self.end_ms)?;
            e.u8(6)?.array(5)?;
            for metric in self.metrics {
                e.u32(metric)?;
            }
            e.u8(7)?.i32(self.temperature)?.u8(8)?.u32(self.load_ppm)?.u8(9)?.u32(self.cycles)?.ok()
        })
    }

    /// Reads the CBOR; refuses time running backwards and a metric above one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 10)?;
        codec::expect_key(d, 1)?;
        let observer = Cid(codec::bytes(d)?);
        codec::expect_key(d, 2)?;
        let subject = Cid(codec::bytes(d)?);
        codec::expect_key(d, 3)?;
        let context = TrustContext::from_code(d.u8()?)?;
        codec::expect_key(d, 4)?;
        let start_ms = d.u64()?;
        codec::expect_key(d, 5)?;
        let end_ms = d.u64()?;
        codec::expect_key(d, 6)?;
        codec::expect_array(d, 5)?;
        let mut metrics = [0; 5];
        for metric in &mut metrics {
            *metric = d.u32()?;
        }
        codec::expect_key(d, 7)?;
        let temperature = d.i32()?;
        codec::expect_key(d, 8)?;
        let load_ppm = d.u32()?;
        codec::expect_key(d, 9)?;
        let cycles = d.u32()?;
        if end_ms < start_ms || metrics.iter().any(|m| *m > ONE) {
            return Err(Error::Malformed);
        }
        Ok(MetricsReport {
            observer,
            subject,
            context,
            start_ms,
            end_ms,
            metrics,
            temperature,
            load_ppm,
            cycles,
        })
    }

    /// What the observer signs; the statement's `seq` is its end.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; REPORT_MAX];
        let n = self.encode(&mut out)?;
        Ok(statement_digest(&self.observer, self.end_ms, &out[..n]))
    }

    /// Signs with the observer's signing key.
    pub fn sign(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> Result<Signature, Error> {
        Ok(key.sign(&self.digest()?, rng))
    }

    /// Verifies an observer's signature.
    pub fn verify(&self, key: &PublicKey, sig: &Signature) -> Result<(), Error> {
        Ok(key.verify(&self.digest()?, sig)?)
    }
}
