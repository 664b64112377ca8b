//! The published fault codes (`spec/fault-codes.md`; `spec/can.md`, C112).
//!
//! Numbers are never given to another meaning. The list in the specification and this one are compared by a test.

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Severity {
    /// 1: worth knowing.
    Notice = 1,
    /// 2: somebody should look; everything works.
    Warning = 2,
    /// 3: a function is lost or somebody interferes.
    Fault = 3,
    /// 4: the device opened its relay, or keeps it open, by itself.
    Trip = 4,
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident = $code:literal, $severity:ident; )*) => {
        /// A fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum FaultCode { $( $(#[$doc])* $name = $code, )* }

        impl FaultCode {
            /// Every code, ascending.
            pub const ALL: &'static [FaultCode] = &[$(FaultCode::$name),*];

            /// The code with this number; a reader shows unknown numbers as such.
            pub const fn from_code(code: u16) -> Option<FaultCode> {
                match code {
                    $( $code => Some(FaultCode::$name), )*
                    _ => None,
                }
            }

            /// Name in the published list.
            pub const fn name(self) -> &'static str {
                match self { $( FaultCode::$name => stringify!($name), )* }
            }

            /// Severity.
            pub const fn severity(self) -> Severity {
                match self { $( FaultCode::$name => Severity::$severity, )* }
            }
        }
    };
}

codes! {
    /// A module did not report; detail: node.
    ModuleSilent = 0x0101, Fault;
    /// A module told a capability with wrong signs; detail: node.
    HardwareIncompatible = 0x0102, Fault;
    /// The pack lowered its state because the app was silent; detail: milliseconds of silence.
    AppSilent = 0x0103, Warning;
    /// The module opened its relay because the pack was silent; detail: milliseconds of silence.
    ControllerSilent = 0x0104, Fault;
    /// Paired, but no fresh epoch stands; detail: node, 0 for the channel between app and pack.
    ChannelLost = 0x0105, Fault;
    /// A cell above its highest voltage; detail: `cell << 16 | mV`.
    CellOverVoltage = 0x0201, Trip;
    /// A cell below its lowest voltage; detail: `cell << 16 | mV`.
    CellUnderVoltage = 0x0202, Trip;
    /// Cells that do not report; detail: how many.
    CellsMissing = 0x0203, Warning;
    /// A cell above its highest temperature; detail: thousandths of a degree, two's complement.
    OverTemperature = 0x0301, Trip;
    /// A cell below its lowest temperature; detail: thousandths of a degree, two's complement.
    UnderTemperature = 0x0302, Trip;
    /// A cell above the limit that the operator set; detail: thousandths of a degree, two's complement.
    TemperatureHigh = 0x0303, Warning;
    /// More charge current than the rating allows; detail: mA.
    ChargeOverCurrent = 0x0401, Trip;
    /// More discharge current than the rating allows; detail: mA.
    DischargeOverCurrent = 0x0402, Trip;
    /// A module of the pack tripped; detail: `node << 16 | its code`.
    ModuleTripped = 0x0501, Trip;
    /// A module states another energy than the pack counted; detail: node.
    EnergyDisputed = 0x0502, Fault;
    /// Three clear frames of classes that must be sealed were refused; detail: base of the last.
    ClearRefused = 0x0601, Fault;
    /// Somebody sends with this device's own identifier; detail: the identifier.
    OwnIdentifierSeen = 0x0602, Fault;
    /// 64 sealed messages within ten seconds did not open; detail: how many since the start.
    OpenFailures = 0x0603, Fault;
    /// Clear telemetry is not what its sender digested; detail: node, 0 for the pack.
    DigestMismatch = 0x0604, Fault;
    /// Three digest windows in a row could not be compared; detail: node, 0 for the pack.
    DigestUnverified = 0x0605, Warning;
    /// A sealed message of a class beyond its protection was refused; detail: base.
    PolicyRefused = 0x0606, Notice;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String, vec::Vec};

    /// The table of the published list: number, name, severity.
    fn published() -> Vec<(u16, String, String)> {
        let text = include_str!("../../../spec/fault-codes.md");
        let rows = text.lines().filter(|line| line.starts_with("| 0x"));
        rows.map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let number = cells[1].strip_prefix("0x").expect("filtered");
            (u16::from_str_radix(number, 16).unwrap(), cells[2].into(), cells[3].into())
        })
        .collect()
    }

    #[test]
    fn the_list_in_the_specification_is_this_list() {
        let own: Vec<(u16, String, String)> = FaultCode::ALL
            .iter()
            .map(|c| {
                let severity = format!("{} {:?}", c.severity() as u8, c.severity()).to_lowercase();
                (*c as u16, c.name().into(), severity)
            })
            .collect();
        assert!(own.is_sorted_by_key(|row| row.0), "ascending, so that a new code has one place");
        assert_eq!(published(), own);
    }

    #[test]
    fn a_number_leads_back_to_its_code() {
        for code in FaultCode::ALL {
            assert_eq!(FaultCode::from_code(*code as u16), Some(*code));
        }
        assert_eq!(FaultCode::from_code(0x0100), None);
    }
}
