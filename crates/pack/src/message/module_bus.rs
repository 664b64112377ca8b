//! Clear messages of CAN 2, module to pack (0x500..=0x507) and pack to module (0x510..=0x51F),
//! `spec/can.md` C2 to C7.

use super::*;

messages! { Can2;
    /// Module to pack, node 0xFF (old firmware sends 0): identity of a module without node number.
    ModuleAnnouncement = "MODULE_ANNOUNCEMENT", 0x500, dlc 8, accepts 8..=8 {
        /// Firmware build.
        fw_build: u16 = "FwBuild" @ 0, 16, PLAIN;
        /// Maker code.
        manufacturer: u8 = "ManufacturerId" @ 16, 8, PLAIN;
        /// Part code.
        part: u8 = "PartId" @ 24, 8, PLAIN;
        /// Serial number; 0xBA77BABE marks an unprogrammed module.
        unique_id: u32 = "UniqueId" @ 32, 32, PLAIN;
    }

    /// Module to pack: capability.
    ModuleHardware = "MODULE_HARDWARE", 0x501, dlc 8, accepts 8..=8 {
        /// Upper current limit, mA, must not be negative.
        max_charge_ma: i32 = "MaxChargeCurrent" @ 0, 16, MA_20;
        /// Lower current limit, mA, must not be positive.
        max_discharge_ma: i32 = "MaxDischargeCurrent" @ 16, 16, MA_20;
        /// End-of-charge voltage of the string, mV.
        end_of_charge_mv: u32 = "EndOfChargeVoltage" @ 32, 16, MV_15;
        /// Hardware revision.
        hardware_version: u16 = "HardwareVersion" @ 48, 16, PLAIN;
    }

    /// Module to pack, first of the status train: relay state and string measurements.
    ModuleStatus1 = "MODULE_STATUS_1", 0x502, dlc 8, accepts 8..=8 {
        /// State in force.
        state: RelayState = "ModuleState" @ 0, 4, PLAIN;
        /// Permission; old firmware always sends 0.
        permission: Permission = "ModuleStatus" @ 4, 4, PLAIN;
        /// State of charge, ppm.
        soc_ppm: u32 = "Soc" @ 8, 8, PPM_5000;
        /// State of health, ppm.
        soh_ppm: u32 = "Soh" @ 16, 8, PPM_5000;
        /// Cells the module is configured for.
        cells_expected: u8 = "CellCountExpected" @ 24, 8, PLAIN;
        /// String current, mA, positive charges.
        current_ma: i32 = "ModuleCurrent" @ 32, 16, MA_20;
        /// String voltage, mV.
        voltage_mv: u32 = "ModuleVoltage" @ 48, 16, MV_15;
    }

    /// Module to pack, second of the status train: cell voltages.
    ModuleStatus2 = "MODULE_STATUS_2", 0x503, dlc 8, accepts 8..=8 {
        /// Lowest cell, mV.
        cell_min_mv: u32 = "CellVoltageMin" @ 0, 16, MV_1;
        /// Highest cell, mV.
        cell_max_mv: u32 = "CellVoltageMax" @ 16, 16, MV_1;
        /// Mean of the reporting cells, mV.
        cell_avg_mv: u32 = "CellVoltageAvg" @ 32, 16, MV_1;
        /// Sum of the reporting cells, mV.
        cell_sum_mv: u32 = "CellVoltageSum" @ 48, 16, MV_15;
    }

    /// Module to pack, third of the status train: cell temperatures.
    ModuleStatus3 = "MODULE_STATUS_3", 0x504, dlc 8, accepts 8..=8 {
        /// Coldest cell, m°C.
        cell_min_mc: i32 = "CellTempMin" @ 0, 16, MC_10;
        /// Hottest cell, m°C.
        cell_max_mc: i32 = "CellTempMax" @ 16, 16, MC_10;
        /// Mean of the reporting cells, m°C.
        cell_avg_mc: i32 = "CellTempAvg" @ 32, 16, MC_10;
    }

    /// Module to pack: one cell. A cell that did not report has voltage 0 and the lowest temperature.
    ModuleCellDetail = "MODULE_CELL_DETAIL", 0x505, dlc 8, accepts 8..=8 {
        /// Cell number from 0.
        cell: u8 = "CellIndex" @ 0, 8, PLAIN;
        /// Cells that reported in the last read.
        cells_reporting: u8 = "CellCountReporting" @ 8, 8, PLAIN;
        /// Temperature, m°C.
        temp_mc: i32 = "CellTemp" @ 16, 16, MC_10;
        /// Voltage, mV.
        voltage_mv: u32 = "CellVoltage" @ 32, 16, MV_1;
        /// State of charge, ppm; unreliable in old firmware.
        soc_ppm: u32 = "CellSoc" @ 48, 8, PPM_5000;
        /// State of health, ppm; unreliable in old firmware.
        soh_ppm: u32 = "CellSoh" @ 56, 8, PPM_5000;
    }

    /// Module to pack: asks for the time. Any length is accepted (C6).
    ModuleTimeRequest = "MODULE_TIME_REQUEST", 0x506, dlc 8, accepts 0..=8 {}

    /// Module to pack, fourth of the status train: health of the chain to the cell boards.
    ModuleCellCommStatus1 = "MODULE_CELL_COMM_STATUS_1", 0x507, dlc 8, accepts 8..=8 {
        /// Fewest cells heard in a read; 255 = none.
        fewest: u8 = "CellMsgsFewest" @ 0, 8, PLAIN;
        /// Most cells heard in a read.
        most: u8 = "CellMsgsMost" @ 8, 8, PLAIN;
        /// Temperature sensor faults flagged by cells.
        i2c_errors: u16 = "I2cErrorCount" @ 16, 16, PLAIN;
        /// Serial framing errors.
        framing_errors: u8 = "FramingErrorCount" @ 32, 8, PLAIN;
        /// First cell with a sensor fault; 255 = none.
        first_i2c_fault: u8 = "FirstI2cFaultCell" @ 40, 8, PLAIN;
    }

    /// Pack to module, node 0xFF: gives a node number to the module whose identity matches.
    ModuleRegistration = "MODULE_REGISTRATION", 0x510, dlc 8, accepts 8..=8 {
        /// Node number, 1..=31 assigned, 1..=32 accepted.
        node: u8 = "AssignedModuleId" @ 0, 8, PLAIN;
        /// Number of the assigning pack.
        controller: u8 = "ControllerId" @ 8, 8, PLAIN;
        /// Echo of the announcement.
        manufacturer: u8 = "ManufacturerId" @ 16, 8, PLAIN;
        /// Echo of the announcement.
        part: u8 = "PartId" @ 24, 8, PLAIN;
        /// Echo of the announcement.
        unique_id: u32 = "UniqueId" @ 32, 32, PLAIN;
    }

    /// Pack to module: asks for [`ModuleHardware`]. Old modules insist on one byte.
    ModuleHardwareRequest = "MODULE_HARDWARE_REQUEST", 0x511, dlc 1, accepts 1..=1 {}

    /// Pack to module: asks for the status train. Old modules insist on one byte.
    ModuleStatusRequest = "MODULE_STATUS_REQUEST", 0x512, dlc 1, accepts 1..=1 {}

    /// Pack to module: the relay state wanted. Sent with 4 bytes, accepted from 2 (the layout of old modules, which
    /// ends after the state; the bus voltage then reads as 0).
    ModuleStateChange = "MODULE_STATE_CHANGE", 0x514, dlc 4, accepts 2..=8 {
        /// State wanted.
        state: RelayState = "TargetState" @ 8, 4, PLAIN;
        /// Voltage of the bus on the inverter side, mV.
        hv_bus_mv: u32 = "HvBusVoltage" @ 16, 16, MV_15;
    }

    /// Pack to module: asks for one [`ModuleCellDetail`]. Old modules insist on three bytes.
    ModuleDetailRequest = "MODULE_DETAIL_REQUEST", 0x515, dlc 3, accepts 3..=3 {
        /// Cell number from 0.
        cell: u8 = "CellIndex" @ 8, 8, PLAIN;
    }

    /// Pack to all modules (node 0): wall-clock time.
    ModuleSetTime = "MODULE_SET_TIME", 0x516, dlc 8, accepts 8..=8 {
        /// Seconds since 1970-01-01 UTC, 63 bits.
        unix_time: u64 = "UnixTime" @ 0, 63, PLAIN;
        /// Whether the pack's clock has been set.
        rtc_valid: bool = "RtcValid" @ 63, 1, PLAIN;
    }

    /// Pack to all modules (node 0), every 200 ms: ceiling of the relay state, and heartbeat.
    ModuleMaxState = "MODULE_MAX_STATE", 0x517, dlc 1, accepts 1..=1 {
        /// Highest state a module may take.
        max: RelayState = "MaxState" @ 0, 4, PLAIN;
    }

    /// Pack to module: drops one module, which opens its relays.
    ModuleDeregister = "MODULE_DEREGISTER", 0x518, dlc 2, accepts 2..=2 {
        /// Number of the sending pack.
        controller: u8 = "ControllerId" @ 8, 8, PLAIN;
    }

    /// Pack to unregistered modules (node 0xFF), every 10 s: invites announcements.
    ModuleAnnounceRequest = "MODULE_ANNOUNCE_REQUEST", 0x51D, dlc 1, accepts 1..=1 {
        /// Number of the sending pack.
        controller: u8 = "ControllerId" @ 0, 8, PLAIN;
    }

    /// Pack to all modules (node 0): drops every module.
    ModuleAllDeregister = "MODULE_ALL_DEREGISTER", 0x51E, dlc 1, accepts 1..=1 {
        /// Number of the sending pack.
        controller: u8 = "ControllerId" @ 0, 8, PLAIN;
    }

    /// Pack to all modules (node 0): opens all relays at once.
    ModuleAllIsolate = "MODULE_ALL_ISOLATE", 0x51F, dlc 1, accepts 1..=1 {
        /// Number of the sending pack.
        controller: u8 = "ControllerId" @ 0, 8, PLAIN;
    }
}
