//! The documented parameters of a pack (`spec/ledger.md`, L175): their ranges, and which way is the safe one.

/// What a change of a parameter means for safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// A lower value is the tighter one.
    Lower,
    /// A higher value is the tighter one.
    Higher,
    /// It is no limit.
    Neutral,
    /// Whatever its value, only an operator's command changes it.
    Locked,
}

/// A parameter that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Number; its register on the bus is 0x40 above it.
    pub id: u8,
    /// Word for people and APIs, unit last.
    pub name: &'static str,
    /// Least value.
    pub least: i32,
    /// Greatest value.
    pub greatest: i32,
    /// Which way is safe.
    pub safety: Safety,
}

/// Number of documented parameters: 1 to 18. Those that are not in [`SETTABLE`] have no documented range and are only
/// reported.
pub const PARAMETERS: u8 = 18;

/// Parameters with a documented range, by number.
pub const SETTABLE: [Parameter; 8] = [
    parameter(1, "max_charge_current_ma", 0, 200_000, Safety::Lower),
    parameter(2, "max_discharge_current_ma", 0, 300_000, Safety::Lower),
    parameter(3, "max_cell_voltage_mv", 3_000, 4_500, Safety::Lower),
    parameter(4, "min_cell_voltage_mv", 2_000, 3_500, Safety::Higher),
    parameter(7, "max_cell_temperature_cdegc", 4_000, 8_000, Safety::Lower),
    parameter(8, "min_cell_temperature_cdegc", -4_000, 0, Safety::Higher),
    parameter(10, "balance_threshold_mv", 10, 200, Safety::Neutral),
    parameter(16, "isolation_threshold_kohm", 100, 2_000, Safety::Locked),
];

const fn parameter(id: u8, name: &'static str, least: i32, greatest: i32, safety: Safety) -> Parameter {
    Parameter { id, name, least, greatest, safety }
}

impl Parameter {
    /// The settable parameter with this number.
    #[must_use]
    pub fn settable(id: u8) -> Option<Self> {
        SETTABLE.into_iter().find(|parameter| parameter.id == id)
    }

    /// Register of the parameter in 0x402 and 0x403.
    #[must_use]
    pub fn register(id: u8) -> u8 {
        0x40 + id
    }

    /// Whether it may become `to` in the place of `from` without an operator's command.
    #[must_use]
    pub fn may_become(&self, from: i32, to: i32) -> bool {
        match self.safety {
            Safety::Lower => to <= from,
            Safety::Higher => to >= from,
            Safety::Neutral => true,
            Safety::Locked => to == from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_way_is_one_or_none() {
        for p in SETTABLE {
            assert!(p.least < p.greatest && (1..=PARAMETERS).contains(&p.id), "{}", p.name);
            let ways = [p.may_become(p.greatest, p.least), p.may_become(p.least, p.greatest)];
            let expected = match p.safety {
                Safety::Lower => [true, false],
                Safety::Higher => [false, true],
                Safety::Neutral => [true, true],
                Safety::Locked => [false, false],
            };
            assert_eq!(ways, expected, "{}", p.name);
            assert!(p.may_become(p.least, p.least), "{}: what is may stay", p.name);
        }
    }
}
