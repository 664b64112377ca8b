//! Gateways that report in: the bridge sees no bus, they do (A129). Kept in memory; a start begins with nobody heard.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use api::{
    gateway::{Bus, Heard},
    problem::code,
};

use crate::refusal::{Refusal, Reply};

/// A gateway that says nothing for so long is missing.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);
/// Most gateways that are kept; who was not heard for longest goes first.
const KEPT: usize = 4_096;

/// What is watched besides the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// Component ids of the apps whose gateways are expected to report.
    pub gateways: Vec<String>,
    /// Least room on the disk of the ledger, in MiB (1 048 576 bytes).
    pub disk_free_mib: u64,
}

/// The gateways of a bridge.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    pub expected: Vec<String>,
    heard: Mutex<BTreeMap<String, (Instant, Bus)>>,
}

impl Gateways {
    /// A gateway said how its bus is.
    pub fn hear(&self, id: &str, bus: Bus, now: Instant) -> Reply<()> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() >= KEPT && !heard.contains_key(id) {
            let missing = |(_, (at, _)): &(&String, &(Instant, Bus))| now.duration_since(*at) > WITHIN;
            let oldest =
                heard.iter().filter(missing).min_by_key(|(_, (at, _))| *at).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else {
                return Err(Refusal::new(503, code::BUSY, "too many gateways report to this bridge"));
            };
            heard.remove(&oldest);
        }
        heard.insert(id.to_owned(), (now, bus));
        Ok(())
    }

    /// What is known of each that is expected or was heard.
    pub fn known(&self, now: Instant) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known: BTreeMap<&str, Heard> = BTreeMap::new();
        for id in &self.expected {
            known.insert(id, Heard { id: id.clone(), bus: None, seconds: None });
        }
        for (id, (at, bus)) in heard.iter() {
            let seconds = Some(now.duration_since(*at).as_secs());
            known.insert(id, Heard { id: id.clone(), bus: Some(*bus), seconds });
        }
        known.into_values().collect()
    }

    /// Whether everybody who is expected reports, and hears something.
    pub fn check(&self, now: Instant) -> Result<&'static str, String> {
        if self.expected.is_empty() {
            return Ok("not configured");
        }
        let known = self.known(now);
        let wrong = known.iter().filter(|gateway| self.expected.contains(&gateway.id)).find_map(|gateway| {
            let id = &gateway.id;
            match (gateway.bus, gateway.seconds) {
                (Some(bus), Some(seconds)) if seconds <= WITHIN.as_secs() => {
                    (bus == Bus::Silent).then(|| format!("the gateway of {id} hears nothing on its bus"))
                }
                (_, Some(seconds)) => Some(format!("the gateway of {id} was not heard for {seconds} s")),
                _ => Some(format!("the gateway of {id} was not heard since the bridge began")),
            }
        });
        wrong.map_or(Ok("up"), Err)
    }

    /// How many that were heard within [`WITHIN`] have this bus.
    pub fn count(&self, bus: Bus, now: Instant) -> u64 {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.values().filter(|(at, of)| *of == bus && now.duration_since(*at) <= WITHIN).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_is_up_while_everybody_expected_says_so() {
        let gateways = Gateways::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(gateways.check(start), Ok("not configured"));
        let gateways = Gateways { expected: vec!["app-1".into(), "app-2".into()], ..gateways };
        gateways.hear("app-1", Bus::Up, start).unwrap();
        gateways.hear("app-9", Bus::Silent, start).unwrap();
        assert!(gateways.check(start).unwrap_err().contains("app-2 was not heard since"));
        gateways.hear("app-2", Bus::Silent, at(1)).unwrap();
        assert!(gateways.check(at(1)).unwrap_err().contains("app-2 hears nothing"));
        gateways.hear("app-2", Bus::Up, at(2)).unwrap();
        assert_eq!(gateways.check(at(60)), Ok("up"), "who is not expected does not count");
        assert!(gateways.check(at(61)).unwrap_err().contains("app-1 was not heard for 61 s"));
        assert_eq!((gateways.count(Bus::Up, at(61)), gateways.count(Bus::Silent, at(60))), (1, 1));
        assert_eq!(gateways.known(at(61)).len(), 3);
    }

    #[test]
    fn who_is_missing_makes_room_and_nobody_else() {
        let gateways = Gateways::default();
        let start = Instant::now();
        let later = start + WITHIN + Duration::from_secs(1);
        gateways.hear("first", Bus::Up, start).unwrap();
        for n in 1..KEPT {
            gateways.hear(&format!("app-{n}"), Bus::Up, later).unwrap();
        }
        gateways.hear("another", Bus::Up, later).unwrap();
        assert!(!gateways.known(later).iter().any(|gateway| gateway.id == "first"));
        assert_eq!(gateways.hear("one too many", Bus::Up, later).unwrap_err().0.status, 503);
        gateways.hear("another", Bus::Silent, later).unwrap();
    }
}
