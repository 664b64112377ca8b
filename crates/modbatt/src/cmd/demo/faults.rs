//! Faults that app, pack and modules have during a run (`spec/fault-codes.md`), for its figures.

use std::collections::BTreeMap;

use pack::fault::{FaultCode, Severity};
use serde_json::{Value, json};

/// Which fault of which component.
type Of = (String, u16);

struct Seen {
    severity: u8,
    active: bool,
}

/// The faults of a run.
#[derive(Default)]
pub struct Faults {
    seen: BTreeMap<Of, Seen>,
    alerts: u64,
}

impl Faults {
    /// `component` tells which faults it has now: code and severity.
    pub fn report(&mut self, component: &str, faults: impl IntoIterator<Item = (u16, u8)>) {
        self.seen.iter_mut().filter(|((name, _), _)| name == component).for_each(|(_, f)| f.active = false);
        for (code, severity) in faults {
            self.seen.insert((component.to_owned(), code), Seen { severity, active: true });
        }
    }

    /// `component` alerts. That the fault lasts only its next report says.
    pub fn alert(&mut self, component: &str, code: u16, severity: Severity) {
        self.alerts += 1;
        let of = (component.to_owned(), code);
        self.seen.entry(of).or_insert(Seen { severity: severity as u8, active: false });
    }

    /// Alerts that arrived.
    pub fn alerts(&self) -> u64 {
        self.alerts
    }

    /// Every fault of the run, for scripts.
    pub fn as_json(&self) -> Value {
        let one = |((component, code), f): (&Of, &Seen)| {
            json!({
                "component": component, "code": code, "name": name(*code), "severity": f.severity,
                "active": f.active,
            })
        };
        self.seen.iter().map(one).collect()
    }

    /// What lasts, in words.
    pub fn in_words(&self) -> String {
        let active = self.seen.iter().filter(|(_, f)| f.active);
        let named: Vec<String> = active.map(|((who, code), _)| format!("{who} {}", name(*code))).collect();
        if named.is_empty() { "no faults".into() } else { format!("faults: {}", named.join(", ")) }
    }
}

/// The published name; a number that this version does not know stays a number.
fn name(code: u16) -> String {
    FaultCode::from_code(code).map_or_else(|| format!("0x{code:04X}"), |code| code.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_and_what_was() {
        let mut faults = Faults::default();
        assert_eq!((faults.in_words().as_str(), faults.as_json()), ("no faults", json!([])));
        faults.alert("module-0001", 0x0201, Severity::Trip);
        assert_eq!(faults.in_words(), "no faults", "an alert alone says nothing of what lasts");
        faults.report("module-0001", [(0x0201, 4), (0x0FFF, 2)]);
        faults.report("pack-0001", [(0x0501, 4)]);
        let words = "faults: module-0001 CellOverVoltage, module-0001 0x0FFF, pack-0001 ModuleTripped";
        assert_eq!(faults.in_words(), words);
        faults.report("module-0001", []);
        assert_eq!(faults.in_words(), "faults: pack-0001 ModuleTripped");
        let row = |component, code, name, severity, active| json!({ "component": component, "code": code, "name": name, "severity": severity, "active": active });
        let rows = [
            row("module-0001", 0x0201, "CellOverVoltage", 4, false),
            row("module-0001", 0x0FFF, "0x0FFF", 2, false),
            row("pack-0001", 0x0501, "ModuleTripped", 4, true),
        ];
        assert_eq!(faults.as_json(), json!(rows));
        assert_eq!(faults.alerts(), 1);
    }
}
