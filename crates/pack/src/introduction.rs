//! Who is there: what every entity tells about itself when asked (`spec/can.md`, C31 and C33).

use crate::{
    identity::Identity,
    pdu::{self, Pdu, binding as op},
};
use lct::{
    Error,
    codec::Fields,
    id::{Cid, Role},
};
use rand_core::CryptoRng;

/// Answer to the requests for identity that every entity gives: its certificates, and its signature over a
/// registration that speaks of itself.
pub fn answer_identity(
    own: &Identity,
    request: &[u8],
    soc_ppm: u32,
    rng: &mut impl CryptoRng,
) -> Result<Pdu, Error> {
    match *request {
        [op::CERTIFICATES] => pdu::build(&[
            &[pdu::BINDING, op::IDENTITY],
            &own.device.0,
            &own.batch.0,
            &own.hardware.to_be_bytes(),
            &own.firmware.to_be_bytes(),
            &own.capacity_mwh.to_be_bytes(),
            &soc_ppm.to_be_bytes(),
            &[own.serial.len() as u8],
            own.serial.as_bytes(),
        ]),
        [op::REGISTER, ref bytes @ ..] => {
            let registration = lct::registration::Registration::decode(bytes)?;
            let true_of_me = registration.device == own.device
                && registration.component_id == own.component_id
                && registration.serial == own.serial
                && (registration.hardware, registration.firmware, registration.capacity_mwh)
                    == (own.hardware, own.firmware, own.capacity_mwh);
            if !true_of_me {
                return Err(Error::WrongParty);
            }
            let sig = own.key.sign(&lct::registration::digest_of(bytes), rng);
            pdu::build(&[&[pdu::BINDING, op::REGISTERED], &sig.0])
        }
        _ => Err(Error::Malformed),
    }
}

/// Answer to [`pdu::IDENTIFY`]. `nodes` has bit k set when node k + 1 is registered.
pub fn identify(own: &Identity, state: u8, assurance: u8, nodes: u32) -> Result<Pdu, Error> {
    pdu::build(&[
        &[pdu::IDENTIFY, 1],
        &own.cid().0,
        &[own.role as u8, state, assurance],
        &own.hardware.to_be_bytes(),
        &own.firmware.to_be_bytes(),
        &nodes.to_be_bytes(),
        &[own.component_id.len() as u8],
        own.component_id.as_bytes(),
    ])
}

/// What [`identify`] says, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduced {
    /// Short identifier; it is the one of `component_id`.
    pub cid: Cid,
    /// Role.
    pub role: Role,
    /// Code of [`crate::lifecycle::state`].
    pub state: u8,
    /// Wire code of the assurance of its binding.
    pub assurance: u8,
    /// Hardware version.
    pub hardware: u32,
    /// Firmware version.
    pub firmware: u32,
    /// Bit k: node k + 1 is registered.
    pub nodes: u32,
    /// Full name.
    pub component_id: heapless::String<{ lct::id::COMPONENT_ID_MAX }>,
}

impl Introduced {
    /// Reads an answer after `0B 01`.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        let cid = Cid(f.array()?);
        let role = Role::from_code(f.u8()?)?;
        let (state, assurance) = (f.u8()?, f.u8()?);
        let (hardware, firmware, nodes) = (f.u32()?, f.u32()?, f.u32()?);
        let n = usize::from(f.u8()?);
        let name = core::str::from_utf8(f.slice(n)?).map_err(|_| Error::Malformed)?;
        f.end()?;
        let mut component_id = heapless::String::new();
        component_id.push_str(name).map_err(|_| Error::Malformed)?;
        if !lct::id::valid_component_id(name) || Cid::of(name) != cid {
            return Err(Error::WrongParty);
        }
        Ok(Introduced { cid, role, state, assurance, hardware, firmware, nodes, component_id })
    }
}
