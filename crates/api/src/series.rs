//! `GET /telemetry/{id}/series`.

use ::lct::record::RecordKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::encoding::Hex;

/// Most values of an answer, over all buckets; a single bucket may have more.
pub const VALUES_MAX: usize = 5_000;

/// Which records over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `minute`, `hour` or `day`.
    #[param(pattern = "^(minute|hour|day)$")]
    pub resolution: String,
    /// From when on, Unix milliseconds: from the span on that holds it. All that is kept where it is left out.
    pub from_ms: Option<u64>,
    /// Spans that begin before, Unix milliseconds. Up to the last one where it is left out.
    pub to_ms: Option<u64>,
    /// Name of one quantity; all where it is left out.
    pub quantity: Option<String>,
}

/// The records of a component over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// The component.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// `minute`, `hour` or `day`.
    pub resolution: String,
    /// By time; spans without records are left out.
    pub buckets: Vec<Bucket>,
    /// From when on to ask again, Unix milliseconds, where not all had room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// All records that are stored are in; otherwise ask again.
    pub complete: bool,
}

/// What the records of a span of time came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SeriesBucket)]
pub struct Bucket {
    /// Begin of the span, Unix milliseconds.
    pub start_ms: u64,
    /// Records in it.
    pub records: u32,
    /// Time of the last one, Unix milliseconds.
    pub last_ms: u64,
    /// By position in the records.
    pub quantities: Vec<Quantity>,
}

/// What one quantity came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quantity {
    /// Its name, with the unit at the end: `_mv`, `_ma`, `_ppm`, `_mc` for thousandths and `_celsius` for whole degrees.
    pub name: String,
    /// Smallest.
    pub min: i32,
    /// Largest.
    pub max: i32,
    /// Mean, rounded towards zero.
    pub mean: i32,
    /// In the last record, if that one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<i32>,
    /// Records that have it.
    pub count: u32,
}

/// What the first values of a module's record are (ledger.md, L40); voltages and temperatures of its cells follow.
const MODULE: [&str; 14] = [
    "state",
    "permission",
    "soc_ppm",
    "soh_ppm",
    "current_ma",
    "voltage_mv",
    "cell_min_mv",
    "cell_max_mv",
    "cell_mean_mv",
    "temperature_min_mc",
    "temperature_max_mc",
    "temperature_mean_mc",
    "first_cell",
    "cells",
];
/// What the values of a pack's record are.
const PACK: [&str; 17] = [
    "state",
    "permission",
    "soc_ppm",
    "soh_ppm",
    "voltage_mv",
    "current_ma",
    "cell_min_mv",
    "cell_max_mv",
    "cell_mean_mv",
    "temperature_min_mc",
    "temperature_max_mc",
    "temperature_mean_mc",
    "discharge_limit_ma",
    "charge_limit_ma",
    "modules_registered",
    "modules_active",
    "module_fault",
];

/// Name of the value at `position` in records of this kind. `cells` is how many cells each of them has, where all have as
/// many: without it nothing tells voltages of cells from their temperatures.
#[must_use]
pub fn name(kind: RecordKind, position: usize, cells: Option<usize>) -> String {
    let named = match kind {
        RecordKind::Module => MODULE.get(position).copied(),
        RecordKind::Pack => PACK.get(position).copied(),
    };
    let cell = position.wrapping_sub(MODULE.len());
    match (named, kind, cells) {
        (Some(name), ..) => name.into(),
        (None, RecordKind::Module, Some(n)) if cell < n => format!("cell_{cell}_mv"),
        (None, RecordKind::Module, Some(n)) if cell < 2 * n => format!("cell_{}_celsius", cell - n),
        _ => format!("value_{position}"),
    }
}

/// Position of the number of cells in a module's record.
pub const CELLS: usize = MODULE.len() - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_names_of_their_places() {
        for (kind, position, cells, expected) in [
            (RecordKind::Module, 5, None, "voltage_mv"),
            (RecordKind::Module, CELLS, None, "cells"),
            (RecordKind::Module, 14, Some(2), "cell_0_mv"),
            (RecordKind::Module, 15, Some(2), "cell_1_mv"),
            (RecordKind::Module, 16, Some(2), "cell_0_celsius"),
            (RecordKind::Module, 17, Some(2), "cell_1_celsius"),
            (RecordKind::Module, 18, Some(2), "value_18"),
            (RecordKind::Module, 14, None, "value_14"),
            (RecordKind::Pack, 4, None, "voltage_mv"),
            (RecordKind::Pack, 16, Some(9), "module_fault"),
            (RecordKind::Pack, 17, Some(9), "value_17"),
        ] {
            assert_eq!(name(kind, position, cells), expected);
        }
    }
}
