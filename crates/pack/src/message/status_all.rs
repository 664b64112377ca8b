//! Aggregated messages, sealed only: MODULE_STATUS_ALL 0x508, MODULE_SCAN 0x509 (CAN 2), PACK_STATUS_ALL 0x424
//! (CAN 1); `spec/can.md`, C41 to C44. The 10-byte trailer `u32 seq | u48 time_ms` of scan and pack
//! status turns each of them into a telemetry record of its sender.
//!
//! Like the bodies they are made of, everything is little-endian.

use heapless::Vec;

use super::{
    BmsData1, BmsData2, BmsData3, BmsData5, BmsData8, BmsData9, BmsData10, BmsState, DecodeError, Message,
    ModuleCellCommStatus1, ModuleStatus1, ModuleStatus2, ModuleStatus3,
};

/// Cells one [`ModuleScan`] can hold (C42).
pub const MAX_CELLS: usize = 128;

/// Takes fixed-size pieces off the front of a body.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) =
            self.0.split_first_chunk::<N>().ok_or(DecodeError::Length { got: self.0.len() })?;
        self.0 = tail;
        Ok(*head)
    }

    fn message<M: Message>(&mut self) -> Result<M, DecodeError> {
        M::decode(&self.bytes::<8>()?)
    }

    fn stamp(&mut self) -> Result<Stamp, DecodeError> {
        let seq = u32::from_le_bytes(self.bytes()?);
        let [a, b, c, d, e, f] = self.bytes()?;
        Ok(Stamp { seq, time_ms: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) })
    }
}

/// Collects a body; the capacity always suffices, so nothing can be lost.
struct Build<const N: usize>(Vec<u8, N>);

impl<const N: usize> Build<N> {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        let fits = self.0.extend_from_slice(bytes).is_ok();
        debug_assert!(fits, "the capacity is the longest body");
        self
    }

    fn message<M: Message>(self, message: &M) -> Self {
        self.bytes(&message.to_word().to_le_bytes())
    }

    fn stamp(self, stamp: Stamp) -> Self {
        let [a, b, c, d, e, f, ..] = stamp.time_ms.min(Stamp::MAX_TIME_MS).to_le_bytes();
        self.bytes(&stamp.seq.to_le_bytes()).bytes(&[a, b, c, d, e, f])
    }
}

/// The trailer `u32 seq LE | u48 time_ms LE`: number and time of the telemetry record that this message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the record of its sender, +1 per record.
    pub seq: u32,
    /// Time of the measurement, milliseconds since 1970-01-01 UTC; sent with 48 bits, larger values saturate.
    pub time_ms: u64,
}

impl Stamp {
    /// Encoded length.
    pub const LEN: usize = 10;
    /// The latest time that can be sent (year 10889).
    pub const MAX_TIME_MS: u64 = (1 << 48) - 1;
}

/// `0x508 MODULE_STATUS_ALL`, module to pack: the bodies of 0x502, 0x503, 0x504 and 0x507 in this order, 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModuleStatusAll {
    /// 0x502.
    pub status1: ModuleStatus1,
    /// 0x503.
    pub status2: ModuleStatus2,
    /// 0x504.
    pub status3: ModuleStatus3,
    /// 0x507.
    pub comm: ModuleCellCommStatus1,
}

impl ModuleStatusAll {
    /// 11-bit base.
    pub const BASE: u16 = 0x508;
    /// Encoded length.
    pub const LEN: usize = 32;

    /// The body.
    pub fn encode(&self) -> Vec<u8, { Self::LEN }> {
        self.append(Build::new()).0
    }

    fn append<const N: usize>(&self, body: Build<N>) -> Build<N> {
        body.message(&self.status1).message(&self.status2).message(&self.status3).message(&self.comm)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Length`] unless the body has 32 bytes, [`DecodeError::Value`] for a state without meaning.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.len() != Self::LEN {
            return Err(DecodeError::Length { got: body.len() });
        }
        Self::cut(&mut Cut(body))
    }

    fn cut(cut: &mut Cut<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            status1: cut.message()?,
            status2: cut.message()?,
            status3: cut.message()?,
            comm: cut.message()?,
        })
    }
}

/// One cell in a [`ModuleScan`]: `u16 mV LE | u8 degC + 40`. A cell that did not report has 0 mV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCell {
    /// Voltage, mV.
    pub mv: u16,
    /// Temperature, whole °C, -40..=215 on the wire; other values saturate.
    pub celsius: i16,
}

/// `0x509 MODULE_SCAN`, module to pack: `u8 first | u8 count | count x (u16 mV | u8 degC + 40) |
/// MODULE_STATUS_ALL | u32 seq | u48 time_ms`, 44 + 3 x count bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleScan {
    /// Number of the first cell, from 0.
    pub first: u8,
    /// The cells, at most [`MAX_CELLS`].
    pub cells: Vec<ScanCell, MAX_CELLS>,
    /// Status of the module at the same time.
    pub status: ModuleStatusAll,
    /// Number and time of this record.
    pub stamp: Stamp,
}

impl ModuleScan {
    /// 11-bit base.
    pub const BASE: u16 = 0x509;
    /// Encoded length of a scan of [`MAX_CELLS`] cells.
    pub const MAX_LEN: usize = 2 + 3 * MAX_CELLS + ModuleStatusAll::LEN + Stamp::LEN;

    /// The body.
    pub fn encode(&self) -> Vec<u8, { Self::MAX_LEN }> {
        let mut body = Build::<{ Self::MAX_LEN }>::new().bytes(&[self.first, self.cells.len() as u8]);
        for cell in &self.cells {
            let [low, high] = cell.mv.to_le_bytes();
            body = body.bytes(&[low, high, (cell.celsius.clamp(-40, 215) + 40) as u8]);
        }
        self.status.append(body).stamp(self.stamp).0
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Length`] when the length is not that of `count` cells, [`DecodeError::Value`] when `count` is
    /// above [`MAX_CELLS`], `first + count` above 256, or a state has no meaning.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut cut = Cut(body);
        let [first, count] = cut.bytes()?;
        if usize::from(count) > MAX_CELLS || usize::from(first) + usize::from(count) > 256 {
            return Err(DecodeError::Value { signal: "count" });
        }
        let mut cells = Vec::new();
        for _ in 0..count {
            let [low, high, temp] = cut.bytes()?;
            let cell = ScanCell { mv: u16::from_le_bytes([low, high]), celsius: i16::from(temp) - 40 };
            cells.push(cell).map_err(|_| DecodeError::Value { signal: "count" })?;
        }
        let status = ModuleStatusAll::cut(&mut cut)?;
        let stamp = cut.stamp()?;
        if !cut.0.is_empty() {
            return Err(DecodeError::Length { got: body.len() });
        }
        Ok(Self { first, cells, status, stamp })
    }
}

/// `0x424 PACK_STATUS_ALL`, pack to app: the bodies of 0x410, 0x421, 0x422, 0x423, 0x425, 0x428, 0x429 and 0x430 in
/// this order (64 bytes), then `u32 pack_mV | i32 pack_mA | u32 seq | u48 time_ms`, 82 bytes.
///
/// Voltage and current are repeated because 0x421 counts in steps of 50 mV and 50 mA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackStatusAll {
    /// 0x410.
    pub state: BmsState,
    /// 0x421.
    pub data1: BmsData1,
    /// 0x422.
    pub data2: BmsData2,
    /// 0x423.
    pub data3: BmsData3,
    /// 0x425.
    pub data5: BmsData5,
    /// 0x428.
    pub data8: BmsData8,
    /// 0x429.
    pub data9: BmsData9,
    /// 0x430.
    pub data10: BmsData10,
    /// Pack voltage, mV.
    pub pack_mv: u32,
    /// Pack current, mA, positive charges.
    pub pack_ma: i32,
    /// Number and time of this record.
    pub stamp: Stamp,
}

impl PackStatusAll {
    /// 11-bit base.
    pub const BASE: u16 = 0x424;
    /// Encoded length.
    pub const LEN: usize = 82;

    /// The body.
    pub fn encode(&self) -> Vec<u8, { Self::LEN }> {
        Build::new()
            .message(&self.state)
            .message(&self.data1)
            .message(&self.data2)
            .message(&self.data3)
            .message(&self.data5)
            .message(&self.data8)
            .message(&self.data9)
            .message(&self.data10)
            .bytes(&self.pack_mv.to_le_bytes())
            .bytes(&self.pack_ma.to_le_bytes())
            .stamp(self.stamp)
            .0
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Length`] unless the body has 82 bytes.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.len() != Self::LEN {
            return Err(DecodeError::Length { got: body.len() });
        }
        let mut cut = Cut(body);
        Ok(Self {
            state: cut.message()?,
            data1: cut.message()?,
            data2: cut.message()?,
            data3: cut.message()?,
            data5: cut.message()?,
            data8: cut.message()?,
            data9: cut.message()?,
            data10: cut.message()?,
            pack_mv: u32::from_le_bytes(cut.bytes()?),
            pack_ma: i32::from_le_bytes(cut.bytes()?),
            stamp: cut.stamp()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Permission, RelayState};
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    /// The golden status bodies, joined, and a communication status.
    const STATUS: [u8; 32] = hex!(
        "03A0000D8F7D800C" "420E7E0E6A0E7E0C" "D31D311F821E0000" "0D0D000000FF0000"
    );

    #[test]
    fn module_status_is_the_four_bodies_in_order() {
        let all = ModuleStatusAll::decode(&STATUS).unwrap();
        assert_eq!(all.status1.state, RelayState::On);
        assert_eq!(all.status1.current_ma, -12_500);
        assert_eq!(all.status2.cell_max_mv, 3_710);
        assert_eq!(all.status3.cell_min_mc, 21_000);
        assert_eq!((all.comm.fewest, all.comm.first_i2c_fault), (13, 255));
        assert_eq!(all.encode()[..], STATUS);
    }

    #[test]
    fn a_scan_has_the_published_layout() {
        let mut bytes = std::vec![4, 2];
        bytes.extend(hex!("420E 3D" "0000 00")); // 3650 mV, 21 °C; silent cell
        bytes.extend(STATUS);
        bytes.extend(hex!("04030201" "665544332211"));
        let scan = ModuleScan::decode(&bytes).unwrap();
        assert_eq!(scan.first, 4);
        assert_eq!(scan.cells[0], ScanCell { mv: 3_650, celsius: 21 });
        assert_eq!(scan.cells[1], ScanCell { mv: 0, celsius: -40 });
        assert_eq!(scan.stamp, Stamp { seq: 0x0102_0304, time_ms: 0x1122_3344_5566 });
        assert_eq!(scan.encode()[..], bytes[..]);
        for len in 0..bytes.len() {
            assert!(ModuleScan::decode(&bytes[..len]).is_err(), "truncated at {len}");
        }
        bytes.push(0);
        assert!(ModuleScan::decode(&bytes).is_err());
    }

    #[test]
    fn a_count_that_lies_is_refused() {
        let with = |first: u8, count: u8| {
            let mut bytes = std::vec![first, count];
            bytes.resize(2 + 3 * usize::from(count), 0);
            bytes.extend(STATUS);
            bytes.extend([0; 10]);
            ModuleScan::decode(&bytes)
        };
        assert_eq!(with(0, 128).unwrap().encode().len(), ModuleScan::MAX_LEN);
        assert!(with(0, 129).is_err());
        assert!(with(250, 6).is_ok());
        assert!(with(250, 7).is_err());
        let mut short = std::vec![0, 94];
        short.extend(STATUS);
        assert!(ModuleScan::decode(&short).is_err());
    }

    #[test]
    fn pack_status_has_the_published_layout() {
        let bytes = hex!(
            "EB4B040300000000" "00000000C003127A" "00C87E0E420E6A0E" "3025C024F8240000"
            "D079A07F80100000" "0102030400000000" "0506070800000000" "0000000000000000"
            "31D40500" "1E6DFFFF" "07000000" "E803 0000 0000"
        );
        let all = PackStatusAll::decode(&bytes).unwrap();
        assert_eq!(all.state.permission, Permission::Both);
        assert_eq!((all.data1.voltage_mv, all.data1.current_ma), (48_000, -37_500));
        assert_eq!(all.data2.soc_ppm, 800_000);
        assert_eq!(all.data3.cell_max_mc, 24_500);
        assert_eq!(all.data5.discharge_limit_ma, 31_184 * 50 - 1_600_000);
        assert_eq!((all.data8.min_cell, all.data9.max_node), (4, 5));
        assert_eq!((all.pack_mv, all.pack_ma), (382_001, -37_602));
        assert_eq!(all.stamp, Stamp { seq: 7, time_ms: 1_000 });
        assert_eq!(all.encode()[..], bytes);
        assert!(PackStatusAll::decode(&bytes[..81]).is_err());
    }

    #[test]
    fn what_does_not_fit_saturates() {
        let mut scan = ModuleScan { stamp: Stamp { seq: 0, time_ms: u64::MAX }, ..ModuleScan::default() };
        scan.cells.push(ScanCell { mv: 1, celsius: 999 }).unwrap();
        scan.cells.push(ScanCell { mv: 1, celsius: -999 }).unwrap();
        let back = ModuleScan::decode(&scan.encode()).unwrap();
        assert_eq!(back.stamp.time_ms, Stamp::MAX_TIME_MS);
        assert_eq!((back.cells[0].celsius, back.cells[1].celsius), (215, -40));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            if let Ok(scan) = ModuleScan::decode(&bytes) {
                prop_assert_eq!(scan.cells.len(), usize::from(bytes[1]));
            }
            let _ = PackStatusAll::decode(&bytes);
            let _ = ModuleStatusAll::decode(&bytes);
        }
    }
}
