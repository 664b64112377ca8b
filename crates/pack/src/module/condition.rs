//! What a module is, and what is left of it when its keys go.

use super::*;

impl Module {
    /// In what condition this device is.
    pub fn condition(&self) -> Condition {
        self.device.condition()
    }

    /// Nothing secret stays in memory; the module registers anew.
    pub(super) fn forget_keys(&mut self, now: Instant) -> Result<(), Error> {
        self.relation.erase();
        (self.group, self.report_due) = (None, None);
        self.unregister(now)
    }

    pub(super) fn hardware(&self) -> ModuleHardware {
        ModuleHardware {
            max_charge_ma: self.rating.charge_ma,
            max_discharge_ma: self.rating.discharge_ma,
            end_of_charge_mv: self.rating.end_of_charge_mv,
            hardware_version: self.device.own.hardware as u16,
        }
    }
}
