//! The pack's status from the statuses of its modules, for a series pack (`spec/can.md`, C70).

use crate::{
    message::{
        BmsData1, BmsData2, BmsData3, BmsData5, BmsData8, BmsData9, BmsData10, BmsState, ModuleStatusAll,
        PackStatusAll, Permission, RelayState, Stamp,
    },
    module::Rating,
};

/// A healthy module.
#[derive(Clone, Copy)]
pub struct Part {
    /// Its node.
    pub node: u8,
    /// Its last status.
    pub status: ModuleStatusAll,
    /// Its rating, if it told one.
    pub rating: Option<Rating>,
}

/// What the pack knows by itself.
#[derive(Clone, Copy)]
pub struct Whole {
    /// State in force.
    pub state: RelayState,
    /// Modules with a node.
    pub modules_total: u8,
    /// Of them, those without fault.
    pub modules_active: u8,
    /// State of charge, ppm.
    pub soc_ppm: u32,
    /// Measured terminal voltage, mV.
    pub pack_mv: u32,
    /// Measured current, mA, positive charges.
    pub pack_ma: i32,
    /// Number and time of this record.
    pub stamp: Stamp,
}

/// State of charge below which a pack may only be charged, and above which it may only be discharged, ppm.
const EMPTY_PPM: u32 = 50_000;
const FULL_PPM: u32 = 950_000;

/// Extremes over healthy modules, means of their means, the narrowest limits: the current of a series pack flows
/// through every module.
pub fn pack_status(parts: impl Iterator<Item = Part>, whole: &Whole) -> PackStatusAll {
    let mut data2 = BmsData2 { soc_ppm: whole.soc_ppm, cell_min_mv: u32::MAX, ..BmsData2::default() };
    let mut data3 = BmsData3 { cell_max_mc: i32::MIN, cell_min_mc: i32::MAX, ..BmsData3::default() };
    let mut data5: Option<BmsData5> = None;
    let (mut data8, mut data9) = (BmsData8::default(), BmsData9::default());
    let (mut mv_sum, mut mc_sum, mut n) = (0u32, 0i32, 0u32);
    for part in parts {
        let (volts, temps) = (&part.status.status2, &part.status.status3);
        if volts.cell_max_mv > data2.cell_max_mv {
            (data2.cell_max_mv, data8.max_node) = (volts.cell_max_mv, part.node);
        }
        if volts.cell_min_mv < data2.cell_min_mv {
            (data2.cell_min_mv, data8.min_node) = (volts.cell_min_mv, part.node);
        }
        if temps.cell_max_mc > data3.cell_max_mc {
            (data3.cell_max_mc, data9.max_node) = (temps.cell_max_mc, part.node);
        }
        if temps.cell_min_mc < data3.cell_min_mc {
            (data3.cell_min_mc, data9.min_node) = (temps.cell_min_mc, part.node);
        }
        // A module that did not tell what it can do counts as one that can do nothing. C117
        let r = part.rating.unwrap_or(Rating { charge_ma: 0, discharge_ma: 0, end_of_charge_mv: 0 });
        let limits = data5.get_or_insert(BmsData5 {
            discharge_limit_ma: r.discharge_ma,
            charge_limit_ma: r.charge_ma,
            end_of_charge_mv: 0,
        });
        limits.discharge_limit_ma = limits.discharge_limit_ma.max(r.discharge_ma);
        limits.charge_limit_ma = limits.charge_limit_ma.min(r.charge_ma);
        limits.end_of_charge_mv = limits.end_of_charge_mv.saturating_add(r.end_of_charge_mv);
        mv_sum += volts.cell_avg_mv;
        mc_sum += temps.cell_avg_mc;
        n += 1;
    }
    match (mv_sum.checked_div(n), mc_sum.checked_div(n as i32)) {
        (Some(mv), Some(mc)) => (data2.cell_avg_mv, data3.cell_avg_mc) = (mv, mc),
        _ => {
            data2 = BmsData2 { soc_ppm: whole.soc_ppm, ..BmsData2::default() };
            data3 = BmsData3::default();
        }
    }
    let permission = match whole.state {
        RelayState::On if whole.soc_ppm < EMPTY_PPM => Permission::ChargeOnly,
        RelayState::On if whole.soc_ppm > FULL_PPM => Permission::DischargeOnly,
        RelayState::On => Permission::Both,
        _ => Permission::Neither,
    };
    PackStatusAll {
        state: BmsState {
            state: whole.state,
            soh_ppm: 1_000_000,
            permission,
            cells_balanced: false,
            balancing_active: false,
            module_fault: whole.modules_active < whole.modules_total,
            modules_total: whole.modules_total,
            modules_active: whole.modules_active,
        },
        data1: BmsData1 { voltage_mv: whole.pack_mv, current_ma: whole.pack_ma },
        data2,
        data3,
        data5: data5.unwrap_or_default(),
        data8,
        data9,
        data10: BmsData10::default(),
        pack_mv: whole.pack_mv,
        pack_ma: whole.pack_ma,
        stamp: whole.stamp,
    }
}
