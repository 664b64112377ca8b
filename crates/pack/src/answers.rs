//! What entities answer in the ceremonies of registration, binding and pairing, as read (`spec/can.md`, C31 and C32). Each
//! function takes an answer without its type and operation.

use crate::pdu::Status;
use lct::{
    Digest, Error,
    attest::{CERTIFICATE_LEN, DeviceCertificate},
    codec::Fields,
    id::{BindingId, PairingId},
    registration::Registration,
    spk::SPK_LEN,
};

/// What an entity answers to a bind request (`spec/channel.md`, H47 and H147).
#[derive(Debug, Clone, Copy)]
pub struct DeviceKeys {
    /// Its fresh relationship key, 68 bytes.
    pub spk: [u8; SPK_LEN],
    /// What vouches for it.
    pub attestation: [u8; 64],
    /// Nonce and number of the binding that this one takes the place of, where there is or was one.
    pub replaces: Option<([u8; 16], [u8; 16])>,
}

impl DeviceKeys {
    /// Reads `binding_id 16 | SPK 68 | attestation 64 [| nonce 16 | binding_id_old 16]`.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the device is to blame.
    pub fn read(body: &[u8]) -> Result<(BindingId, Self), Error> {
        let mut f = Fields::new(body);
        let (id, spk, attestation) = (BindingId(f.array()?), f.array()?, f.array()?);
        let replaces = match f.rest() {
            [] => None,
            question => {
                let mut f = Fields::new(question);
                let asked = (f.array()?, f.array()?);
                f.end()?;
                Some(asked)
            }
        };
        Ok((id, DeviceKeys { spk, attestation, replaces }))
    }
}

/// What an entity answers once it proved that it has its key (H49 and H180).
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Which binding.
    pub binding_id: BindingId,
    /// Its signature over the record.
    pub signature: [u8; 64],
    /// Where the binding takes the place of another one: its event, and its signature over that.
    pub word: Option<(&'a [u8], [u8; 64])>,
}

impl<'a> Signed<'a> {
    /// Reads `binding_id 16 | signature 64 [| n u8 | event n | signature 64]`.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the device is to blame.
    pub fn read(body: &'a [u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        let (binding_id, signature) = (BindingId(f.array()?), f.array()?);
        let word = match f.rest() {
            [] => None,
            word => {
                let mut f = Fields::new(word);
                let n = usize::from(f.u8()?);
                let word = (f.slice(n)?, f.array()?);
                f.end()?;
                Some(word)
            }
        };
        Ok(Signed { binding_id, signature, word })
    }
}

/// What an entity answers when its pairing stands (H54).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completed {
    /// Which pairing.
    pub pairing_id: PairingId,
    /// From section V of the certificate.
    pub nonce: [u8; 32],
    /// Of the session.
    pub th4: Digest,
    /// By the entity's relationship key.
    pub signature: [u8; 64],
}

impl Completed {
    /// Reads `pairing_id 16 | nonce 32 | TH4 32 | signature 64`.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the device is to blame.
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        let read = Completed {
            pairing_id: PairingId(f.array()?),
            nonce: f.array()?,
            th4: f.array()?,
            signature: f.array()?,
        };
        f.end()?;
        Ok(read)
    }

    /// Whether both name the same session of the same pairing; the signatures may differ.
    pub fn agrees_with(&self, other: &Completed) -> bool {
        (self.pairing_id, self.nonce, self.th4) == (other.pairing_id, other.nonce, other.th4)
    }
}

/// The registration that follows from what `component_id` says of itself: `device certificate 167 | batch certificate 167 |
/// hardware u32 | firmware u32 | capacity mWh u64 | state of charge ppm u32 | n | serial n`.
///
/// # Errors
/// [`Error::Malformed`]: the device is to blame, or the name is none.
pub fn registration(chain_id: Digest, component_id: &str, body: &[u8]) -> Result<Registration, Error> {
    let mut f = Fields::new(body);
    let device = DeviceCertificate::from_slice(f.slice(CERTIFICATE_LEN)?)?;
    let batch = DeviceCertificate::from_slice(f.slice(CERTIFICATE_LEN)?)?;
    let (hardware, firmware, capacity_mwh, opening_soc_ppm) = (f.u32()?, f.u32()?, f.u64()?, f.u32()?);
    let n = usize::from(f.u8()?);
    let serial = core::str::from_utf8(f.slice(n)?).map_err(|_| Error::Malformed)?;
    f.end()?;
    Ok(Registration {
        chain_id,
        device,
        batch,
        component_id: component_id.try_into().map_err(|_| Error::Malformed)?,
        serial: serial.try_into().map_err(|_| Error::Malformed)?,
        hardware,
        firmware,
        capacity_mwh,
        opening_soc_ppm,
    })
}

/// Reads `id 16 | status`.
///
/// # Errors
/// [`Error::Malformed`].
pub fn status(body: &[u8]) -> Result<([u8; 16], Status), Error> {
    let mut f = Fields::new(body);
    let id = f.array()?;
    let status = Status::from_code(f.u8()?);
    f.end()?;
    Ok((id, status))
}
