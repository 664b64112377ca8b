//! The counter reservation record in device flash, 32 bytes = four 64-bit words (`spec/channel.md`, H40).
//!
//! `0 'MBC1' | 4 slot | 5 tier | 6 direction | 7 0 | 8 epoch u32 | 12 rec_seq u32 | 16 ctr_limit u64 |
//! 24 HMAC(K_nv, "modbatt1 nv" || bytes 0..23)[0:8]`.

use crate::{
    Error,
    codec::Fields,
    schedule::{Direction, Tier, mac},
    secret::{Secret, equal},
};

/// Length of a record in bytes.
pub const RECORD_LEN: usize = 32;

/// A reservation: counters below `limit` may be used in `epoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Index in the local channel table.
    pub slot: u8,
    /// Tier of the sending key.
    pub tier: Tier,
    /// Direction of the sending key.
    pub direction: Direction,
    /// Epoch of the sending key.
    pub epoch: u32,
    /// Increases with every record of this slot, tier and direction.
    pub sequence: u32,
    /// First counter that may not be used.
    pub limit: u64,
}

impl Reservation {
    /// The record, authenticated under the device's storage key.
    pub fn encode(&self, key: &Secret<32>) -> [u8; RECORD_LEN] {
        let mut r = [0; RECORD_LEN];
        r[..4].copy_from_slice(b"MBC1");
        r[4] = self.slot;
        r[5] = self.tier as u8;
        r[6] = self.direction as u8;
        r[8..12].copy_from_slice(&self.epoch.to_be_bytes());
        r[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        r[16..24].copy_from_slice(&self.limit.to_be_bytes());
        let tag = mac(key.expose(), &[b"modbatt1 nv", &r[..24]]);
        r[24..].copy_from_slice(&tag[..8]);
        r
    }

    /// Reads a record; a torn, foreign or altered one is [`Error::NotAuthentic`].
    pub fn decode(bytes: &[u8], key: &Secret<32>) -> Result<Self, Error> {
        let bytes: &[u8; RECORD_LEN] = bytes.try_into().map_err(|_| Error::Malformed)?;
        let tag = mac(key.expose(), &[b"modbatt1 nv", &bytes[..24]]);
        if !equal(&tag[..8], &bytes[24..]) {
            return Err(Error::NotAuthentic);
        }
        let mut f = Fields::new(bytes);
        if &f.array::<4>()? != b"MBC1" {
            return Err(Error::Malformed);
        }
        let slot = f.u8()?;
        let tier = match f.u8()? {
            0 => Tier::Dev,
            1 => Tier::Exch,
            2 => Tier::Pair,
            3 => Tier::Bind,
            4 => Tier::Group,
            _ => return Err(Error::Malformed),
        };
        let direction = match f.u8()? {
            0 => Direction::Ab,
            1 => Direction::Ba,
            _ => return Err(Error::Malformed),
        };
        if f.u8()? != 0 {
            return Err(Error::Malformed);
        }
        Ok(Reservation { slot, tier, direction, epoch: f.u32()?, sequence: f.u32()?, limit: f.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    /// A record of these bytes with the tag that belongs to them.
    fn tagged(change: impl Fn(&mut [u8; RECORD_LEN])) -> [u8; RECORD_LEN] {
        let r = Reservation {
            slot: 3,
            tier: Tier::Pair,
            direction: Direction::Ba,
            epoch: 0x0102_0304,
            sequence: 0x0506_0708,
            limit: 0x090A_0B0C_0D0E_0F10,
        };
        let mut bytes = r.encode(&Secret::new(KEY));
        change(&mut bytes);
        let tag = mac(&KEY, &[b"modbatt1 nv", &bytes[..24]]);
        bytes[24..].copy_from_slice(&tag[..8]);
        bytes
    }

    /// Codes of tier and direction are those of the layout, and no others exist, whoever made the tag.
    #[test]
    fn every_tier_and_direction_reads_as_written_and_nothing_else() {
        let key = Secret::new(KEY);
        let read = |bytes: &[u8; RECORD_LEN]| Reservation::decode(bytes, &key);
        let tiers = [Tier::Dev, Tier::Exch, Tier::Pair, Tier::Bind, Tier::Group];
        for (code, tier) in (0..).zip(tiers) {
            for (way, direction) in [(0, Direction::Ab), (1, Direction::Ba)] {
                let bytes = tagged(|b| (b[5], b[6]) = (code, way));
                let reservation = read(&bytes).unwrap();
                assert_eq!((reservation.tier, reservation.direction), (tier, direction));
                assert_eq!(reservation.encode(&key), bytes);
            }
        }
        let fits = |b: &mut [u8; RECORD_LEN]| b[0] = b'M';
        assert!(read(&tagged(fits)).is_ok());
        for (what, at, value) in
            [("magic", 0, b'm'), ("tier", 5, 5), ("direction", 6, 2), ("byte that is zero", 7, 1)]
        {
            assert_eq!(read(&tagged(|b| b[at] = value)), Err(Error::Malformed), "{what}");
        }
        assert_eq!(Reservation::decode(&tagged(fits)[..31], &key), Err(Error::Malformed));
        let other = Secret::new([8; 32]);
        assert_eq!(Reservation::decode(&tagged(fits), &other), Err(Error::NotAuthentic));
    }
}
