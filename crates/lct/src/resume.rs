//! RESUME, the symmetric handshake of every start and wake (`spec/channel.md`, H18).
//!
//! ```text
//! M1  0 version | 1 4    | 2 0 | 3 suite  | 4 chan_hint 4 | 8 boot_A u32 | 12 N_A 16        28
//! M2  0 version | 1 0x44 | 2 0 | 3 suite  | 4 boot_B u32 | 8 N_B 16 | 24 mac_B 16            40
//! M3  0 version | 1 0x84 | 2 0 | 3 status | 4 mac_A 16                                       20
//! ```
//! Freshness comes from both nonces, so a rolled-back image on one side cannot repeat a key.

use crate::{
    Digest, Error, SUITE,
    codec::Fields,
    handshake::Kind,
    hash::sha256,
    schedule::{ChannelId, MasterSecret, derive, mac16},
    secret::{Secret, equal},
};
use kept::{Defence, kept};

/// M1.
pub type Request = [u8; 28];
/// M2.
pub type Response = [u8; 40];
/// M3.
pub type Confirmation = [u8; 20];

/// The channel whose next epoch is wanted.
#[derive(Debug, Clone)]
pub struct Session<'a> {
    /// Master secret of the current epoch.
    pub master: &'a MasterSecret,
    /// The current epoch.
    pub epoch: u32,
    /// Identifier of the channel.
    pub channel: ChannelId,
}

const KIND: u8 = Kind::Resume as u8;

impl Session<'_> {
    fn key(&self) -> Result<Secret<32>, Error> {
        derive(&self.master.0, "resume key", &[&self.epoch.to_be_bytes()])
    }

    fn t1(&self, m1: &Request) -> Digest {
        sha256(&[b"modbatt1 rs", &self.channel, &self.epoch.to_be_bytes(), m1])
    }

    fn next(&self, t3: &Digest, mac_a: &[u8; 16]) -> Result<MasterSecret, Error> {
        if !kept(Defence::EpochRatchet) {
            return Ok(self.master.clone());
        }
        let next = self.epoch.checked_add(1).ok_or(Error::Exhausted)?;
        let fresh = if kept(Defence::FreshNonces) { sha256(&[t3, mac_a]) } else { [0; 32] };
        derive(&self.master.0, "resume", &[&next.to_be_bytes(), &fresh]).map(MasterSecret)
    }

    /// M1 of the A side.
    pub fn request(&self, boot: u32, nonce: &[u8; 16]) -> Request {
        let mut m1 = [0; 28];
        m1[..4].copy_from_slice(&[1, KIND, 0, SUITE]);
        m1[4..8].copy_from_slice(&self.channel[..4]);
        m1[8..12].copy_from_slice(&boot.to_be_bytes());
        m1[12..].copy_from_slice(nonce);
        m1
    }

    /// M2 of the B side.
    pub fn respond(&self, m1: &Request, boot: u32, nonce: &[u8; 16]) -> Result<Response, Error> {
        parse_request(m1)?;
        let mut m2 = [0; 40];
        m2[..4].copy_from_slice(&[1, KIND | 0x40, 0, SUITE]);
        m2[4..8].copy_from_slice(&boot.to_be_bytes());
        m2[8..24].copy_from_slice(nonce);
        let t2 = sha256(&[&self.t1(m1), &m2[..24]]);
        m2[24..].copy_from_slice(&self.mac("fin b", &t2)?);
        Ok(m2)
    }

    /// A checks M2: M3 and the next epoch's master secret.
    pub fn confirm(&self, m1: &Request, m2: &Response) -> Result<(Confirmation, MasterSecret), Error> {
        parse_response(m2)?;
        let t2 = sha256(&[&self.t1(m1), &m2[..24]]);
        if !equal(&self.mac("fin b", &t2)?, &m2[24..]) {
            return Err(Error::NotAuthentic);
        }
        let t3 = self.t3(m1, m2);
        let mac_a = self.mac("fin a", &t3)?;
        let mut m3 = [0; 20];
        m3[..4].copy_from_slice(&[1, KIND | 0x80, 0, 0]);
        m3[4..].copy_from_slice(&mac_a);
        Ok((m3, self.next(&t3, &mac_a)?))
    }

    /// B checks M3: the next epoch's master secret.
    pub fn finish(&self, m1: &Request, m2: &Response, m3: &Confirmation) -> Result<MasterSecret, Error> {
        if m3[..4] != [1, KIND | 0x80, 0, 0] {
            return Err(Error::Malformed);
        }
        let t3 = self.t3(m1, m2);
        let mac_a = self.mac("fin a", &t3)?;
        if !equal(&mac_a, &m3[4..]) {
            return Err(Error::NotAuthentic);
        }
        self.next(&t3, &mac_a)
    }

    /// T3 (H18): names the session that this run leads to.
    pub fn t3(&self, m1: &Request, m2: &Response) -> Digest {
        let t2 = sha256(&[&self.t1(m1), &m2[..24]]);
        sha256(&[&t2, &m2[24..]])
    }

    fn mac(&self, label: &str, th: &Digest) -> Result<[u8; 16], Error> {
        Ok(mac16(derive::<32>(&self.key()?, label, &[th])?.expose(), &[th]))
    }
}

/// Channel hint (first four bytes of the channel id) and boot counter of M1.
pub fn parse_request(m1: &[u8]) -> Result<([u8; 4], u32), Error> {
    let mut f = Fields::new(m1);
    if f.array()? != [1, KIND, 0, SUITE] {
        return Err(Error::Malformed);
    }
    let hint = f.array()?;
    let boot = f.u32()?;
    let _nonce: [u8; 16] = f.array()?;
    f.end()?;
    Ok((hint, boot))
}

/// Boot counter of M2.
pub fn parse_response(m2: &[u8]) -> Result<u32, Error> {
    let mut f = Fields::new(m2);
    if f.array()? != [1, KIND | 0x40, 0, SUITE] {
        return Err(Error::Malformed);
    }
    let boot = f.u32()?;
    let _nonce_and_mac: [u8; 32] = f.array()?;
    f.end()?;
    Ok(boot)
}
