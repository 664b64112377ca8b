//! Figures for Prometheus (A142). Labels are few and fixed: no path, no name, no identifier.

use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::access::Class;

/// Upper bounds of the answers' durations, in seconds.
const SECONDS: [f64; 12] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 45.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    class: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    class: &'static str,
}

/// What is counted.
pub(crate) struct Metrics {
    answers: Family<Answered, Counter>,
    seconds: Family<Of, Histogram, fn() -> Histogram>,
    running: Gauge,
    strangers: Counter,
    recalled: Counter,
}

/// What is read when somebody asks: of the ledger, and of what it needs.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Changes under way, those whose askers have gone included.
    pub works: u64,
    pub height: u64,
    pub transactions: u64,
    pub refused: u64,
    pub records: u64,
    pub components: u64,
    /// Gateways that reported within the last minute: with a bus that is up, with a silent one.
    pub gateways: [u64; 2],
    /// Bytes, where the system says so.
    pub disk_free: Option<u64>,
}

impl Metrics {
    pub fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        Metrics {
            answers: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            running: Gauge::default(),
            strangers: Counter::default(),
            recalled: Counter::default(),
        }
    }

    /// A request began; it ends when what is returned is dropped.
    pub fn begin(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// A request was answered.
    pub fn answered(&self, class: Class, status: u16, took: Duration) {
        let class = class.word();
        self.answers.get_or_create(&Answered { class, status }).inc();
        self.seconds.get_or_create(&Of { class }).observe(took.as_secs_f64());
    }

    /// Something was refused to somebody who is not known.
    pub fn stranger(&self) {
        self.strangers.inc();
    }

    /// An answer that was kept was given again (A165).
    pub fn recalled(&self) {
        self.recalled.inc();
    }

    /// The text that Prometheus reads.
    pub fn text(&self, read: &Figures) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("modbatt_bridge");
        registry.register("answers", "Requests answered, by class and status", self.answers.clone());
        registry.register_with_unit("answer", "Time to the answer", Unit::Seconds, self.seconds.clone());
        registry.register("running", "Requests that are being answered", self.running.clone());
        let refused = "Requests refused to whoever did not prove who he is";
        registry.register("refused_strangers", refused, self.strangers.clone());
        let recalled = "Answers of the ledger that were given again before the next block";
        registry.register("recalled", recalled, self.recalled.clone());
        let gauge = |registry: &mut Registry, name: &str, help: &str, value: u64| {
            let gauge = Gauge::<i64, AtomicI64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        let counter = |registry: &mut Registry, name: &str, help: &str, value: u64| {
            let counter = Counter::<u64, AtomicU64>::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        };
        gauge(&mut registry, "works", "Changes under way, also without whoever asked", read.works);
        gauge(&mut registry, "ledger_height", "Height of the last block", read.height);
        gauge(&mut registry, "ledger_components", "Components on the ledger", read.components);
        let [up, silent] = read.gateways;
        gauge(&mut registry, "gateways_up", "Gateways that report a bus which is up", up);
        gauge(&mut registry, "gateways_silent", "Gateways that hear nothing on their bus", silent);
        if let Some(bytes) = read.disk_free {
            gauge(&mut registry, "disk_free_bytes", "Room on the disk of the ledger", bytes);
        }
        counter(&mut registry, "ledger_transactions", "Transactions in blocks", read.transactions);
        counter(&mut registry, "ledger_refused", "Transactions in blocks without effect", read.refused);
        counter(
            &mut registry,
            "ledger_records",
            "Telemetry records whose roots are on the ledger",
            read.records,
        );
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// A request that is being answered.
pub(crate) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_reads() {
        let metrics = Metrics::new();
        let running = metrics.begin();
        metrics.answered(Class::Read, 200, Duration::from_millis(3));
        metrics.answered(Class::Read, 200, Duration::from_millis(30));
        metrics.answered(Class::Critical, 403, Duration::from_millis(3));
        metrics.recalled();
        let text = metrics.text(&Figures { works: 3, height: 7, ..Figures::default() }).unwrap();
        for line in [
            "modbatt_bridge_answers_total{class=\"read\",status=\"200\"} 2",
            "modbatt_bridge_answers_total{class=\"critical\",status=\"403\"} 1",
            "modbatt_bridge_answer_seconds_bucket{le=\"0.005\",class=\"read\"} 1",
            "modbatt_bridge_running 1",
            "modbatt_bridge_recalled_total 1",
            "modbatt_bridge_works 3",
            "modbatt_bridge_ledger_height 7",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        drop(running);
        assert!(metrics.text(&Figures::default()).unwrap().contains("modbatt_bridge_running 0"));
    }
}
