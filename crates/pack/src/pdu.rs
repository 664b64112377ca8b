//! Security PDUs: type byte first, then the body (`spec/can.md`, C30 to C37).
//!
//! They travel with E = 0 on the security bases when they authenticate themselves (handshakes, what the
//! authority signed, identities), and sealed on the same bases once a channel stands.

/// Longest PDU that a device originates or stores; certificates are longer and only read.
pub const PDU_MAX: usize = 512;

/// A PDU of a device's own making.
pub type Pdu = heapless::Vec<u8, PDU_MAX>;

/// Handshake message (`lct::handshake`, `lct::resume`).
pub const HANDSHAKE: u8 = 0x01;
/// Pairing certificate and what follows from it: `02 | certificate`, `02 81 ..`, `02 82 ..`.
pub const CERTIFICATE: u8 = 0x02;
/// Key package and what follows it: `03 | operation | ..`, see [`key_package`].
pub const KEY_PACKAGE: u8 = 0x03;
/// Proof of the printed code: `05 | step | ..`, see [`pake`].
pub const PAKE: u8 = 0x05;
/// Identity and binding: `04 | operation | ..`, see [`binding`].
pub const BINDING: u8 = 0x04;
/// Revocation list: `06 | list`; the answer is `06 81 | number held u32 | status u8`.
pub const REVOCATION: u8 = 0x06;
/// Second byte of a [`REVOCATION`] PDU that answers.
pub const REVOCATION_STATUS: u8 = 0x81;
/// Validation events: `07 | operation | ..`, see [`validation`].
pub const VALIDATION: u8 = 0x07;

/// Second byte of a [`VALIDATION`] PDU.
pub mod validation {
    /// Asks for an announce.
    pub const ASK: u8 = 0x00;
    /// `announce 90` (`lct::validation::Announce`).
    pub const ANNOUNCE: u8 = 0x01;
    /// `n u8 | event n | signature 64` (`lct::validation::Event`): the end of a pairing.
    pub const EVENT: u8 = 0x02;
    /// Sealed at pair tier, from the app: `node u8 | reason u8` has the pack end its pairing with the module there.
    pub const END: u8 = 0x03;
    /// `node u8 | with u8 | n u16 | event n | signature 64`, behind it an attestation 89 or nothing, sealed: a device's
    /// event on its way to the ledger, see [`crate::testimony`].
    pub const TOLD: u8 = 0x05;
    /// `n u16 | event n | signature 64`, sealed: asks a peer to be the witness.
    pub const WITNESS: u8 = 0x06;
    /// `node u8 | with u8 | kind u8`, sealed: asks a party to state an event of this kind, see
    /// [`crate::testimony::Asked`].
    pub const STATE: u8 = 0x07;
    /// `pairing_id 16`: the end of this pairing was taken.
    pub const TAKEN: u8 = 0x82;
    /// Answer to [`END`]: `node u8 | status u8`.
    pub const END_STATUS: u8 = 0x83;
    /// `attestation 89`, sealed: the word of the witness.
    pub const WITNESSED: u8 = 0x86;
}

/// Escalation: `08 | level u8 | reason u8 | urgency u8 | seq u32` asks, `08 81 | seq u32 | level u8` answers, see
/// [`crate::escalation`]. In clear it is a hint and no more.
pub const ESCALATION: u8 = 0x08;
/// Time, sealed: the peer's, `09 | Unix seconds u32 | milliseconds u16`, or the authority's, `09 | token 69`.
pub const TIME: u8 = 0x09;
/// Alert, sealed at pair tier: `0A | node | code u16 | detail u32`, see [`crate::health`].
pub const ALERT: u8 = 0x0A;
/// Identify: `0B 00` asks; `0B 01 | cid 16 | role | state | assurance | hardware u32 | firmware u32 | nodes u32 |
/// n u8 | component id n` answers. Bit k of `nodes` is set when node k + 1 is registered.
pub const IDENTIFY: u8 = 0x0B;
/// First sealed message of a fresh epoch, from B: `0C | epoch u32 | challenge u32`.
pub const CONFIRM: u8 = 0x0C;
/// Rotation of an epoch, sealed at pair tier: `0D | epoch u32 | nonce 16 | salt 32` asks (A), `0D | epoch u32 |
/// nonce 16` answers (B), `0D | epoch u32` is A's first message in the new epoch. Between app and pack about a module:
/// `0D | node u8` has its channel rotated, `0D | node u8 | epoch u32` says that it was.
pub const ROTATE: u8 = 0x0D;
/// Group key, sealed at pair tier: `0E | generation u32 | key 32`.
pub const GROUP_KEY: u8 = 0x0E;
/// Digest of what stayed clear, sealed at exch tier: `0F | window u32 | frames u16 | digest 32`, see
/// [`crate::digest`].
pub const DIGEST: u8 = 0x0F;
/// Signed batch: `10 | node | n u8 | statement n | signature 64`; node 0 is the sender itself.
pub const BATCH: u8 = 0x10;
/// Answer to a level-5 command: `11 | seq u32 | result u8 | next challenge u32`.
pub const COMMAND_ACK: u8 = 0x11;
/// Between app and module through the pack: `12 | node | inner PDU`.
pub const RELAY: u8 = 0x12;
/// A statement arrived and is kept: `13 | node | type of the statement | number u64`.
pub const RECEIVED: u8 = 0x13;
/// Signed energy statement of the pack: `14 | n u8 | statement n | signature 64`.
pub const ENERGY: u8 = 0x14;
/// A record that did not arrive: `15 | node | seq u32` asks, `15 | node | seq u32 | leaf 32` answers.
pub const LEAF: u8 = 0x15;
/// A module's message, forwarded by the pack after it opened it: `16 | node | base u16 | body`.
pub const FORWARD: u8 = 0x16;
/// Audit, sealed: `18 | node | part | ..`, see [`crate::journal::part`]; node 0 is the sender itself.
pub const AUDIT: u8 = 0x18;
/// Policy update: `19 | operation | ..`, see [`policy`].
pub const POLICY: u8 = 0x19;

/// Second byte of a [`POLICY`] PDU.
pub mod policy {
    /// `body | signature of the authority` asks an entity to sign.
    pub const SIGN: u8 = 0x01;
    /// `body | signature of the authority | of A | of B`.
    pub const UPDATE: u8 = 0x02;
    /// `version u32 | signature`.
    pub const SIGNED: u8 = 0x81;
    /// `version u32 | status u8`.
    pub const STATUS: u8 = 0x82;
}
/// Active faults and counters of a device, sealed at exch tier, see [`crate::health`].
pub const HEALTH: u8 = 0x1A;

/// Echo, sealed at the tier that it proves: `1B 00 | node | nonce u32` asks, `1B 01 | node | nonce u32 | generation
/// u32` answers at the same tier. Node 0 is the receiver itself; generation is that of the group key it holds, 0 for
/// none.
pub const ECHO: u8 = 0x1B;

/// Delegated controller: `1C | operation | ..`, see [`delegation`].
pub const DELEGATION: u8 = 0x1C;

/// Second byte of a [`DELEGATION`] PDU.
pub mod delegation {
    /// `delegation` (`lct::delegation::Delegation`): its holder acts from now on.
    pub const SHOW: u8 = 0x01;
    /// `revocation 103` (`lct::delegation::DelegateRevocation`).
    pub const REVOKE: u8 = 0x02;
    /// `succession 209` (`lct::succession::Succession`): another authority from now on.
    pub const SUCCEED: u8 = 0x03;
    /// Answer to [`SHOW`]: `id of the delegation 16 | status u8`.
    pub const TAKEN: u8 = 0x81;
    /// Answer to [`REVOKE`]: `id of the pairing or binding 16 | status u8`.
    pub const REVOKED: u8 = 0x82;
    /// Answer to [`SUCCEED`]: `SPK_id 8 of the authority obeyed from now on | status u8`.
    pub const SUCCEEDED: u8 = 0x83;
}

/// Signed report of metrics about the module at `node`: `1D | node | n u8 | statement n | signature 64`, see
/// [`crate::observation`].
pub const METRICS: u8 = 0x1D;

/// Second byte of a [`CERTIFICATE`] PDU that answers: `pairing_id 16 | status u8`.
pub const CERTIFICATE_STATUS: u8 = 0x81;
/// Second byte of a [`CERTIFICATE`] PDU: `pairing_id 16 | validation nonce 32 | TH4 32 | signature 64`.
pub const PAIRING_COMPLETE: u8 = 0x82;

/// Second byte of a [`BINDING`] PDU.
pub mod binding {
    /// `registration bytes` asks for the signature of the component's identity key over them.
    pub const REGISTER: u8 = 0x01;
    /// `signature 64`.
    pub const REGISTERED: u8 = 0x02;
    /// Bind request of the authority (`lct::binding::BindRequest`).
    pub const REQUEST: u8 = 0x03;
    /// `binding_id 16 | SPK 68 | attestation 64`.
    pub const KEYS: u8 = 0x04;
    /// Introduction of the partner (`lct::binding::Introduction`).
    pub const INTRODUCTION: u8 = 0x05;
    /// `binding_id 16 | status u8`.
    pub const STATUS: u8 = 0x06;
    /// `binding_id 16 | signature 64` over the binding record.
    pub const SIGNED: u8 = 0x07;
    /// Asks for the certificates.
    pub const CERTIFICATES: u8 = 0x08;
    /// `device certificate 167 | batch certificate 167 | hardware u32 | firmware u32 | capacity mWh u64 |
    /// state of charge ppm u32 | n | serial n`.
    pub const IDENTITY: u8 = 0x09;
    /// `statement` (`lct::context::Statement`): asks a pack for the signature of its identity key, by which it answers
    /// for its modules.
    pub const ANSWER_FOR: u8 = 0x0A;
    /// `H(statement) 32 | signature 64`.
    pub const ANSWERS_FOR: u8 = 0x0B;
}

/// Second byte of a [`KEY_PACKAGE`] PDU.
pub mod key_package {
    /// Clear, in a commissioning window: `key package 336` (`lct::key_package`).
    pub const PLAIN: u8 = 0x01;
    /// Sealed at dev tier: `mac 16`, the sender holds the keys of the device channel.
    pub const CONFIRM: u8 = 0x02;
    /// Sealed at dev tier: `verdict u8 | seen u8`, whether the installer found the digits of both sides equal, and
    /// whether the sender knows that the other side accepted.
    pub const COMPARED: u8 = 0x03;
    /// Clear, from the authority: `binding_id 16 | sealed key package 481` (`lct::key_package`).
    pub const SEALED: u8 = 0x04;
    /// Answer to it: `binding_id 16 | status u8`.
    pub const STATUS: u8 = 0x05;
}

/// Second byte of a [`PAKE`] PDU.
pub mod pake {
    /// `cid of the app 16 | shareP 65`.
    pub const SHARE: u8 = 0x01;
    /// `shareV 65 | confirmV 32`.
    pub const ANSWER: u8 = 0x02;
    /// `confirmP 32`.
    pub const CONFIRM: u8 = 0x03;
    /// `seconds u16`: no try is admitted for so long; 0xFFFF not before a start with the button.
    pub const LOCKED: u8 = 0x04;
}

/// Status byte of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Accepted.
    Accepted = 0,
    /// A signature, chain or commitment did not verify.
    NotAuthentic = 1,
    /// Meant for another entity or relationship.
    WrongParty = 2,
    /// Not possible in the present state.
    WrongState = 3,
    /// Not readable.
    Malformed = 4,
}

impl Status {
    /// The status with wire code `code`; unknown codes read as [`Status::Malformed`].
    pub fn from_code(code: u8) -> Status {
        match code {
            0 => Status::Accepted,
            1 => Status::NotAuthentic,
            2 => Status::WrongParty,
            3 => Status::WrongState,
            _ => Status::Malformed,
        }
    }
}

impl From<lct::Error> for Status {
    fn from(e: lct::Error) -> Self {
        match e {
            lct::Error::WrongParty => Status::WrongParty,
            lct::Error::Malformed | lct::Error::BufferTooSmall => Status::Malformed,
            lct::Error::Exhausted => Status::WrongState,
            _ => Status::NotAuthentic,
        }
    }
}

/// Second byte of an [`ECHO`] PDU.
pub mod echo {
    /// Asks.
    pub const ASK: u8 = 0;
    /// Answers.
    pub const ANSWER: u8 = 1;
}

/// Concatenates `parts` into a PDU; what does not fit 512 bytes is [`lct::Error::BufferTooSmall`].
pub fn build(parts: &[&[u8]]) -> Result<Pdu, lct::Error> {
    let mut pdu = Pdu::new();
    for part in parts {
        pdu.extend_from_slice(part).map_err(|_| lct::Error::BufferTooSmall)?;
    }
    Ok(pdu)
}
