//! Clear messages of CAN 1, app to pack (0x400..=0x406) and pack to app (0x410..=0x441), `spec/can.md` C2
//! to C7. Positions are those the compilers of the firmware give, which differ from its comments in 0x404, 0x412,
//! 0x413, 0x414 and 0x416.

use super::*;

messages! { Can1;
    /// App to pack: state wanted of the whole pack; refreshes the watchdog.
    VcuCommand = "VCU_COMMAND", 0x400, dlc 8, accepts 8..=8 {
        /// State wanted.
        state: RelayState = "ContactorCtrl" @ 0, 2, PLAIN;
        /// Ignored by old packs.
        cell_balance: u8 = "CellBalanceCtrl" @ 2, 2, PLAIN;
        /// Ignored by old packs.
        active_iso: u8 = "HvBusActiveIsoEnable" @ 4, 2, PLAIN;
        /// Voltage of the bus on the inverter side, mV.
        hv_bus_mv: u32 = "HvBusVoltage" @ 16, 16, MV_15;
    }

    /// App to pack: wall-clock time, the answer to [`BmsTimeRequest`].
    VcuTime = "VCU_TIME", 0x401, dlc 8, accepts 8..=8 {
        /// Seconds since 1970-01-01 UTC.
        unix_time: i64 = "UnixTime" @ 0, 64, SIGNED;
    }

    /// App to pack: reads a parameter.
    VcuReadEeprom = "VCU_READ_EEPROM", 0x402, dlc 8, accepts 8..=8 {
        /// Virtual address; 1..=50 old registers, 0x40 + id the documented parameters (C8).
        register: u8 = "Register" @ 0, 8, PLAIN;
        /// Unused in a read.
        data: u32 = "Data" @ 32, 32, PLAIN;
    }

    /// App to pack: writes a parameter.
    VcuWriteEeprom = "VCU_WRITE_EEPROM", 0x403, dlc 8, accepts 8..=8 {
        /// Virtual address, as in [`VcuReadEeprom`].
        register: u8 = "Register" @ 0, 8, PLAIN;
        /// New value.
        data: u32 = "Data" @ 32, 32, PLAIN;
    }

    /// App to pack: state wanted of one module; selects direct module control.
    VcuModuleCommand = "VCU_MODULE_COMMAND", 0x404, dlc 8, accepts 8..=8 {
        /// Node.
        node: u8 = "ModuleId" @ 0, 8, PLAIN;
        /// State wanted.
        state: RelayState = "ContactorCtrl" @ 8, 2, PLAIN;
        /// Ignored by old packs.
        cell_balance: u8 = "CellBalanceCtrl" @ 10, 2, PLAIN;
        /// Ignored by old packs.
        active_iso: u8 = "HvBusActiveIso" @ 12, 2, PLAIN;
        /// Voltage of the bus on the inverter side, mV.
        hv_bus_mv: u32 = "HvBusVoltage" @ 32, 16, MV_15;
    }

    /// App to pack: refreshes the watchdog.
    VcuKeepAlive = "VCU_KEEP_ALIVE", 0x405, dlc 8, accepts 8..=8 {
        /// 0 selects pack mode, another node direct control of that module.
        node: u8 = "ModuleId" @ 0, 8, PLAIN;
    }

    /// App to pack: asks for the list of modules. Any length is accepted.
    VcuRequestModuleList = "VCU_REQUEST_MODULE_LIST", 0x406, dlc 8, accepts 0..=8 {}

    /// Pack to app, every 500 ms: pack state. Critical telemetry.
    BmsState = "BMS_STATE", 0x410, dlc 8, accepts 8..=8 {
        /// State in force.
        state: RelayState = "PackState" @ 0, 2, PLAIN;
        /// State of health of the worst module, ppm.
        soh_ppm: u32 = "Soh" @ 2, 8, PPM_4000;
        /// Permission.
        permission: Permission = "PackStatus" @ 10, 2, PLAIN;
        /// Never set by old packs.
        cells_balanced: bool = "CellsBalanced" @ 12, 1, PLAIN;
        /// Never set by old packs.
        balancing_active: bool = "BalancingActive" @ 13, 1, PLAIN;
        /// At least one registered module has a fault.
        module_fault: bool = "ModuleFault" @ 14, 1, PLAIN;
        /// Registered modules.
        modules_total: u8 = "ModulesTotal" @ 16, 8, PLAIN;
        /// Registered modules without fault.
        modules_active: u8 = "ModulesActive" @ 24, 8, PLAIN;
    }

    /// Pack to app, every 500 ms in direct module control: state of the selected module. Critical telemetry.
    DmcModuleState = "DMC_MODULE_STATE", 0x411, dlc 8, accepts 8..=8 {
        /// Node.
        node: u8 = "ModuleId" @ 0, 8, PLAIN;
        /// State in force.
        state: RelayState = "ModuleState" @ 8, 2, PLAIN;
        /// State of health, ppm.
        soh_ppm: u32 = "Soh" @ 10, 8, PPM_5000;
        /// Permission.
        permission: Permission = "ModuleStatus" @ 18, 2, PLAIN;
        /// Never set by old packs.
        cells_balanced: bool = "CellsBalanced" @ 20, 1, PLAIN;
        /// Never set by old packs.
        balancing_active: bool = "BalancingActive" @ 21, 1, PLAIN;
        /// Faults.
        faults: ModuleFaults = "FaultComms|FaultHwIncompatible|FaultOverCurrent|FaultOverTemperature|FaultOverVoltage"
            @ 22, 5, PLAIN;
        /// State of charge, ppm.
        soc_ppm: u32 = "Soc" @ 32, 8, PPM_5000;
        /// Registered modules.
        modules_total: u8 = "ModulesTotal" @ 40, 8, PLAIN;
        /// Registered modules without fault.
        modules_active: u8 = "ModulesActive" @ 48, 8, PLAIN;
        /// Cells of the module.
        cells: u8 = "CellCount" @ 56, 8, PLAIN;
    }

    /// Pack to app: voltage and current of the selected module.
    DmcModulePower = "DMC_MODULE_POWER", 0x412, dlc 8, accepts 8..=8 {
        /// Node.
        node: u8 = "ModuleId" @ 0, 8, PLAIN;
        /// Voltage, mV.
        voltage_mv: u32 = "ModuleVoltage" @ 8, 16, MV_15;
        /// Current, mA, positive charges.
        current_ma: i32 = "ModuleCurrent" @ 32, 16, MA_20;
    }

    /// Pack to app: cell voltages of the selected module.
    DmcModuleCellVoltage = "DMC_MODULE_CELL_VOLTAGE", 0x413, dlc 8, accepts 8..=8 {
        /// Node.
        node: u8 = "ModuleId" @ 0, 8, PLAIN;
        /// Highest, mV.
        cell_max_mv: u32 = "CellVoltageMax" @ 8, 16, MV_1;
        /// Lowest, mV.
        cell_min_mv: u32 = "CellVoltageMin" @ 32, 16, MV_1;
        /// Mean, mV.
        cell_avg_mv: u32 = "CellVoltageAvg" @ 48, 16, MV_1;
    }

    /// Pack to app: cell temperatures of the selected module.
    DmcModuleCellTemp = "DMC_MODULE_CELL_TEMP", 0x414, dlc 8, accepts 8..=8 {
        /// Node.
        node: u8 = "ModuleId" @ 0, 8, PLAIN;
        /// Hottest, m°C.
        cell_max_mc: i32 = "CellTempMax" @ 8, 16, MC_10;
        /// Coldest, m°C.
        cell_min_mc: i32 = "CellTempMin" @ 32, 16, MC_10;
        /// Mean, m°C.
        cell_avg_mc: i32 = "CellTempAvg" @ 48, 16, MC_10;
    }

    /// Pack to app: limits of the selected module.
    DmcModuleLimits = "DMC_MODULE_LIMITS", 0x416, dlc 8, accepts 8..=8 {
        /// Node.
        node: u8 = "ModuleId" @ 0, 8, PLAIN;
        /// Lower current limit, mA, not positive.
        discharge_limit_ma: i32 = "DischargeLimit" @ 8, 16, MA_20;
        /// Upper current limit, mA.
        charge_limit_ma: i32 = "ChargeLimit" @ 32, 16, MA_20;
        /// End-of-charge voltage, mV.
        end_of_charge_mv: u32 = "EndOfChargeVoltage" @ 48, 16, MV_15;
    }

    /// Pack to app, every 500 ms: pack voltage and current.
    BmsData1 = "BMS_DATA_1", 0x421, dlc 8, accepts 8..=8 {
        /// Pack voltage, mV.
        voltage_mv: u32 = "PackVoltage" @ 32, 16, MV_50;
        /// Pack current, mA, positive charges.
        current_ma: i32 = "PackCurrent" @ 48, 16, MA_50;
    }

    /// Pack to app, every 500 ms: charge and cell voltages.
    BmsData2 = "BMS_DATA_2", 0x422, dlc 8, accepts 8..=8 {
        /// State of charge, ppm.
        soc_ppm: u32 = "Soc" @ 0, 16, PPM_15_625;
        /// Highest cell, mV.
        cell_max_mv: u32 = "CellVoltageMax" @ 16, 16, MV_1;
        /// Lowest cell, mV.
        cell_min_mv: u32 = "CellVoltageMin" @ 32, 16, MV_1;
        /// Mean, mV.
        cell_avg_mv: u32 = "CellVoltageAvg" @ 48, 16, MV_1;
    }

    /// Pack to app, every 500 ms: cell temperatures.
    BmsData3 = "BMS_DATA_3", 0x423, dlc 8, accepts 8..=8 {
        /// Hottest cell, m°C.
        cell_max_mc: i32 = "CellTempMax" @ 0, 16, MC_31_25;
        /// Coldest cell, m°C.
        cell_min_mc: i32 = "CellTempMin" @ 16, 16, MC_31_25;
        /// Mean, m°C.
        cell_avg_mc: i32 = "CellTempAvg" @ 32, 16, MC_31_25;
    }

    /// Pack to app, every 500 ms: pack limits. Critical telemetry.
    BmsData5 = "BMS_DATA_5", 0x425, dlc 8, accepts 8..=8 {
        /// Lower current limit, mA, not positive.
        discharge_limit_ma: i32 = "DischargeLimit" @ 0, 16, MA_50;
        /// Upper current limit, mA.
        charge_limit_ma: i32 = "ChargeLimit" @ 16, 16, MA_50;
        /// End-of-charge voltage, mV.
        end_of_charge_mv: u32 = "EndOfChargeVoltage" @ 32, 16, MV_50;
    }

    /// Pack to app, every 500 ms: where the voltage extremes are.
    BmsData8 = "BMS_DATA_8", 0x428, dlc 8, accepts 8..=8 {
        /// Node of the highest cell.
        max_node: u8 = "MaxVoltageModule" @ 0, 8, PLAIN;
        /// Number of the highest cell; always 0 in old packs.
        max_cell: u8 = "MaxVoltageCell" @ 8, 8, PLAIN;
        /// Node of the lowest cell.
        min_node: u8 = "MinVoltageModule" @ 16, 8, PLAIN;
        /// Number of the lowest cell; always 0 in old packs.
        min_cell: u8 = "MinVoltageCell" @ 24, 8, PLAIN;
    }

    /// Pack to app, every 500 ms: where the temperature extremes are.
    BmsData9 = "BMS_DATA_9", 0x429, dlc 8, accepts 8..=8 {
        /// Node of the hottest cell.
        max_node: u8 = "MaxTempModule" @ 0, 8, PLAIN;
        /// Number of the hottest cell; always 0 in old packs.
        max_cell: u8 = "MaxTempCell" @ 8, 8, PLAIN;
        /// Node of the coldest cell.
        min_node: u8 = "MinTempModule" @ 16, 8, PLAIN;
        /// Number of the coldest cell; always 0 in old packs.
        min_cell: u8 = "MinTempCell" @ 24, 8, PLAIN;
    }

    /// Pack to app, every 500 ms: isolation, always 0 in old packs.
    BmsData10 = "BMS_DATA_10", 0x430, dlc 8, accepts 8..=8 {
        /// Isolation, thousandths of an ohm per volt.
        isolation_mohm_per_v: u32 = "HvBusIsolation" @ 0, 16, MOHM_PER_V;
    }

    /// Pack to app, every 500 ms until [`VcuTime`] came: asks for the time. Its content is stale in old packs and
    /// ignored.
    BmsTimeRequest = "BMS_TIME_REQUEST", 0x440, dlc 8, accepts 0..=8 {}

    /// Pack to app: a parameter read or written.
    BmsEepromData = "BMS_EEPROM_DATA", 0x441, dlc 8, accepts 8..=8 {
        /// Virtual address.
        register: u8 = "Register" @ 0, 8, PLAIN;
        /// Value.
        data: u32 = "Data" @ 32, 32, PLAIN;
    }
}
