//! Holds every message against `spec/modbatt.dbc` and golden bodies (`spec/can.md`, C2 to C6).

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use can_dbc::{ByteOrder, Dbc, MessageId, ValueType};
use hex_literal::hex;
use proptest::prelude::*;

use super::*;

type Check = fn(&can_dbc::Message);

fn check<M: Message>(dbc: &can_dbc::Message) {
    let bus_and_base = match dbc.id {
        MessageId::Standard(raw) => (Bus::Can1, u32::from(raw)),
        MessageId::Extended(raw) => (Bus::Can2, raw >> 18),
    };
    assert_eq!((M::BUS, u32::from(M::BASE)), bus_and_base, "{}", M::NAME);
    assert_eq!(M::DLC as u64, dbc.size, "{}", M::NAME);
    assert!((M::MIN_LEN..=M::MAX_LEN).contains(&M::DLC) && M::MAX_LEN <= 8, "{}", M::NAME);
    let mut left: BTreeMap<&str, &can_dbc::Signal> =
        dbc.signals.iter().map(|signal| (signal.name.as_str(), signal)).collect();
    left.remove("Reserved");
    for field in M::FIELDS {
        let names: Vec<&str> = field.signal.split('|').collect();
        let width = if names.len() == 1 { u64::from(field.len) } else { 1 };
        for (index, name) in (0..).zip(&names) {
            let signal = left.remove(name).unwrap_or_else(|| panic!("{} has no {name}", M::NAME));
            let at = format!("{}.{name}", M::NAME);
            assert_eq!(signal.byte_order, ByteOrder::LittleEndian, "{at}");
            assert_eq!(signal.start_bit, u64::from(field.start) + index * width, "{at}");
            assert_eq!(signal.size, width, "{at}");
            let scale = field.scale;
            assert_eq!(signal.value_type == ValueType::Signed, scale.signed, "{at}");
            assert!(!scale.signed || field.len == 64, "{at}: shorter numbers would need sign extension");
            // Compared in billionths of the DBC's unit, where neither side is rounded.
            let nano = |value: f64| (value * 1e9).round() as i64;
            assert_eq!(nano(signal.factor), 1_000_000_000 / scale.per_unit * scale.num / scale.den, "{at}");
            assert_eq!(nano(signal.offset), 1_000_000_000 / scale.per_unit * scale.offset, "{at}");
        }
        assert_eq!(names.len() as u64 * width, u64::from(field.len), "{}", M::NAME);
    }
    assert!(left.is_empty(), "{} does not read {:?}", M::NAME, left.keys());
}

macro_rules! checks {
    ($($name:ident)*) => { [$((<$name as Message>::NAME, check::<$name> as Check)),*] };
}

const fn all() -> [(&'static str, Check); 41] {
    checks!(
        ModuleAnnouncement ModuleHardware ModuleStatus1 ModuleStatus2 ModuleStatus3 ModuleCellDetail
        ModuleTimeRequest ModuleCellCommStatus1 ModuleRegistration ModuleHardwareRequest ModuleStatusRequest
        ModuleStateChange ModuleDetailRequest ModuleSetTime ModuleMaxState ModuleDeregister ModuleAnnounceRequest
        ModuleAllDeregister ModuleAllIsolate
        VcuCommand VcuTime VcuReadEeprom VcuWriteEeprom VcuModuleCommand VcuKeepAlive VcuRequestModuleList
        BmsState DmcModuleState DmcModulePower DmcModuleCellVoltage DmcModuleCellTemp DmcModuleLimits
        BmsData1 BmsData2 BmsData3 BmsData5 BmsData8 BmsData9 BmsData10 BmsTimeRequest BmsEepromData
    )
}

/// Described in the DBC, not spoken: log and sector transfer, never-sent messages, old key distribution,
/// diagnostics.
fn is_out_of_scope(name: &str) -> bool {
    ["FRAME_TRANSFER_", "SD_", "KEYDIST_", "DIAG_"].iter().any(|prefix| name.starts_with(prefix))
        || ["DMC_MODULE_CELL_ID", "DMC_MODULE_ISOLATION", "DMC_MODULE_LIST"].contains(&name)
}

#[test]
fn every_layout_is_the_one_of_the_dbc() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/modbatt.dbc");
    let text = std::fs::read(path).unwrap();
    let dbc = Dbc::try_from(String::from_utf8_lossy(&text).as_ref()).unwrap();
    let mut checks: BTreeMap<&str, Check> = all().into_iter().collect();
    for message in &dbc.messages {
        match checks.remove(message.name.as_str()) {
            Some(check) => check(message),
            None => assert!(is_out_of_scope(&message.name), "{} is not implemented", message.name),
        }
    }
    assert!(checks.is_empty(), "not in the DBC: {:?}", checks.keys());
}

#[test]
fn no_pack_base_on_can_1_has_the_bit_that_marks_pack_1() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/modbatt.dbc");
    let text = std::fs::read(path).unwrap();
    let dbc = Dbc::try_from(String::from_utf8_lossy(&text).as_ref()).unwrap();
    for message in &dbc.messages {
        if let MessageId::Standard(raw) = message.id {
            assert_eq!(raw & 0x100, 0, "{}", message.name);
        }
    }
}

/// Checks a vector in both directions, with the identifier.
#[track_caller]
fn vector<M: Message + PartialEq + fmt::Debug>(message: M, node: u8, id: u32, bytes: &[u8]) {
    assert_eq!(M::decode(bytes), Ok(message), "decode");
    let message = M::decode(bytes).unwrap();
    let frame = message.frame(node).unwrap();
    assert_eq!(frame.data(), bytes, "encode");
    assert_eq!(frame.id().raw(), id);
    assert_eq!(frame.id().is_extended(), M::BUS == Bus::Can2);
}

/// Golden bodies of the module bus (C2, C4).
#[test]
fn module_bus_vectors() {
    let uid = 0x0001_2345;
    vector(
        ModuleAnnouncement { fw_build: 8278, manufacturer: 2, part: 3, unique_id: uid },
        0xFF,
        0x1400_00FF,
        &hex!("5620020345230100"),
    );
    vector(
        ModuleRegistration { node: 5, controller: 0, manufacturer: 2, part: 3, unique_id: uid },
        0xFF,
        0x1440_00FF,
        &hex!("0500020345230100"),
    );
    vector(
        ModuleHardware {
            max_charge_ma: 10_000,
            max_discharge_ma: -42_000,
            end_of_charge_mv: 51_870,
            hardware_version: 0,
        },
        5,
        0x1404_0005,
        &hex!("F481CC77820D0000"),
    );
    vector(
        ModuleStatus1 {
            state: RelayState::On,
            permission: Permission::Neither,
            soc_ppm: 800_000,
            soh_ppm: 0,
            cells_expected: 13,
            current_ma: -12_500,
            voltage_mv: 48_000,
        },
        5,
        0x1408_0005,
        &hex!("03A0000D8F7D800C"),
    );
    vector(
        ModuleStatus2 { cell_min_mv: 3_650, cell_max_mv: 3_710, cell_avg_mv: 3_690, cell_sum_mv: 47_970 },
        5,
        0x140C_0005,
        &hex!("420E7E0E6A0E7E0C"),
    );
    vector(
        ModuleStatus3 { cell_min_mc: 21_000, cell_max_mc: 24_500, cell_avg_mc: 22_750 },
        5,
        0x1410_0005,
        &hex!("D31D311F821E0000"),
    );
    vector(
        ModuleCellDetail {
            cell: 7,
            cells_reporting: 13,
            temp_mc: 23_400,
            voltage_mv: 3_688,
            soc_ppm: 0,
            soh_ppm: 0,
        },
        5,
        0x1414_0005,
        &hex!("070DC31E680E0000"),
    );
    vector(
        ModuleStateChange { state: RelayState::Standby, hv_bus_mv: 399_900 },
        5,
        0x1450_0005,
        &hex!("00012468"),
    );
    vector(ModuleMaxState { max: RelayState::On }, 0, 0x145C_0000, &hex!("03"));
}

/// Golden bodies of the vehicle bus (C2, C4).
#[test]
fn vehicle_bus_vectors() {
    vector(
        VcuCommand { state: RelayState::On, hv_bus_mv: 399_990, ..VcuCommand::default() },
        0,
        0x400,
        &hex!("03002A6800000000"),
    );
    vector(
        VcuModuleCommand {
            node: 5,
            state: RelayState::Precharge,
            hv_bus_mv: 399_990,
            ..VcuModuleCommand::default()
        },
        1,
        0x504,
        &hex!("050200002A680000"),
    );
    vector(
        BmsState {
            state: RelayState::On,
            soh_ppm: 1_000_000,
            permission: Permission::Both,
            cells_balanced: false,
            balancing_active: false,
            module_fault: true,
            modules_total: 4,
            modules_active: 3,
        },
        0,
        0x410,
        &hex!("EB4B040300000000"),
    );
    vector(
        DmcModuleState {
            node: 5,
            faults: ModuleFaults::COMMUNICATION.with(ModuleFaults::OVER_CURRENT),
            soc_ppm: 800_000,
            modules_total: 4,
            modules_active: 3,
            cells: 13,
            ..DmcModuleState::default()
        },
        0,
        0x411,
        &hex!("05004001A004030D"),
    );
    vector(BmsData1 { voltage_mv: 48_000, current_ma: -37_500 }, 0, 0x421, &hex!("00000000C003127A"));
    vector(
        BmsData2 { soc_ppm: 800_000, cell_max_mv: 3_710, cell_min_mv: 3_650, cell_avg_mv: 3_690 },
        0,
        0x422,
        &hex!("00C87E0E420E6A0E"),
    );
    vector(
        BmsData3 { cell_max_mc: 24_500, cell_min_mc: 21_000, cell_avg_mc: 22_750 },
        0,
        0x423,
        &hex!("3025C024F8240000"),
    );
    vector(VcuWriteEeprom { register: 3, data: 1 }, 0, 0x403, &hex!("0300000001000000"));
}

#[test]
fn state_change_is_read_in_both_layouts() {
    // The layout of old modules and of the emulator: `01 <state>`.
    let old = ModuleStateChange::decode(&hex!("0103")).unwrap();
    assert_eq!(old, ModuleStateChange { state: RelayState::On, hv_bus_mv: 0 });
    assert_eq!(ModuleStateChange::decode(&hex!("01F2")).unwrap().state, RelayState::Precharge);
    assert_eq!(ModuleStateChange::decode(&hex!("01")), Err(DecodeError::Length { got: 1 }));
}

#[test]
fn states_without_meaning_are_refused() {
    // 5 is the start state of old module firmware (C5).
    assert_eq!(
        ModuleStateChange::decode(&hex!("00050000")),
        Err(DecodeError::Value { signal: "TargetState" })
    );
    assert_eq!(ModuleMaxState::decode(&hex!("04")), Err(DecodeError::Value { signal: "MaxState" }));
    assert_eq!(
        ModuleStatus1::decode(&hex!("43A0000D8F7D800C")),
        Err(DecodeError::Value { signal: "ModuleStatus" })
    );
}

#[test]
fn lengths_nobody_sends_are_refused() {
    assert_eq!(ModuleStatus1::decode(&[0; 7]), Err(DecodeError::Length { got: 7 }));
    assert_eq!(ModuleMaxState::decode(&[0; 8]), Err(DecodeError::Length { got: 8 }));
    assert_eq!(ModuleStatusRequest::decode(&[]), Err(DecodeError::Length { got: 0 }));
    assert_eq!(ModuleTimeRequest::decode(&[]), Ok(ModuleTimeRequest {}));
    assert_eq!(BmsTimeRequest::decode(&[0xAB; 8]), Ok(BmsTimeRequest {}));
    assert_eq!(VcuCommand::decode(&[0; 9]), Err(DecodeError::Length { got: 9 }));
}

#[test]
fn wall_clocks_keep_flag_and_sign() {
    let set = ModuleSetTime { unix_time: u64::MAX, rtc_valid: false };
    assert_eq!(set.to_word(), u64::MAX >> 1);
    let set = ModuleSetTime { unix_time: 1_700_000_000, rtc_valid: true };
    assert_eq!(set.encode().0, hex!("00F1536500000080"));
    assert_eq!(ModuleSetTime::from_word(set.to_word()), Ok(set));
    vector(VcuTime { unix_time: -2 }, 0, 0x401, &hex!("FEFFFFFFFFFFFFFF"));
}

#[test]
fn values_between_counts_are_truncated_and_beyond_the_field_saturate() {
    let status = |current_ma, voltage_mv, soc_ppm| {
        let status = ModuleStatus1 { current_ma, voltage_mv, soc_ppm, ..ModuleStatus1::default() };
        let back = ModuleStatus1::decode(&status.encode().0).unwrap();
        (back.current_ma, back.voltage_mv, back.soc_ppm)
    };
    assert_eq!(status(19, 14, 4_999), (0, 0, 0));
    assert_eq!(status(-1, 29, 9_999), (-20, 15, 5_000));
    assert_eq!(status(i32::MAX, u32::MAX, u32::MAX), (655_340, 983_025, 1_275_000));
    assert_eq!(status(i32::MIN, 0, 0), (-655_360, 0, 0));
    let temps = BmsData3 { cell_max_mc: i32::MAX, cell_min_mc: i32::MIN, cell_avg_mc: 31 };
    let back = BmsData3::decode(&temps.encode().0).unwrap();
    assert_eq!((back.cell_max_mc, back.cell_min_mc, back.cell_avg_mc), (1_774_969, -273_000, 0));
}

#[test]
fn spare_fault_bits_do_not_become_faults() {
    assert_eq!(ModuleFaults::from_bits(32), None);
    let body = hex!("0500000800000000"); // bit 27, spare
    assert_eq!(DmcModuleState::decode(&body).unwrap().faults, ModuleFaults::NONE);
}

/// Decoding and encoding changes no bit of a field and sets no bit outside of the fields.
fn counts_survive<M: Message>(word: u64) -> Result<(), TestCaseError> {
    let used = M::FIELDS.iter().fold(0, |bits, field| bits | field.mask() << field.start);
    if let Ok(message) = M::from_word(word) {
        prop_assert_eq!(message.to_word(), word & used, "{}", M::NAME);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_count_survives_decoding_and_encoding(word: u64, state in 0u64..4, permission in 0u64..4) {
        counts_survive::<ModuleAnnouncement>(word)?;
        counts_survive::<ModuleHardware>(word)?;
        counts_survive::<ModuleStatus1>(word & !0xFF | state | permission << 4)?;
        counts_survive::<ModuleStatus2>(word)?;
        counts_survive::<ModuleStatus3>(word)?;
        counts_survive::<ModuleCellDetail>(word)?;
        counts_survive::<ModuleCellCommStatus1>(word)?;
        counts_survive::<ModuleSetTime>(word)?;
        counts_survive::<ModuleStateChange>(word & !0xF00 | state << 8)?;
        counts_survive::<VcuCommand>(word)?;
        counts_survive::<VcuTime>(word)?;
        counts_survive::<VcuModuleCommand>(word)?;
        counts_survive::<BmsState>(word)?;
        counts_survive::<DmcModuleState>(word)?;
        counts_survive::<DmcModulePower>(word)?;
        counts_survive::<DmcModuleCellTemp>(word)?;
        counts_survive::<DmcModuleLimits>(word)?;
        counts_survive::<BmsData1>(word)?;
        counts_survive::<BmsData2>(word)?;
        counts_survive::<BmsData3>(word)?;
        counts_survive::<BmsData5>(word)?;
        counts_survive::<BmsData10>(word)?;
    }
}
