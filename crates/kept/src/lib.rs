//! The defences of the link that an attack has a control for, by name.
//!
//! At each of them stands `kept(Defence::…)`. Here that is the constant `true`: nothing, neither a feature nor a flag
//! of the compiler, makes a product without one of them. `weakened/` compiles the same sources against another
//! function of the same name that can be told to answer `false`, so that an attack can be shown to find what it looks
//! for (`spec/threats.md`).
#![no_std]
#![forbid(unsafe_code)]

/// A defence whose removal is the control of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defence {
    /// Counters that were seen are not accepted again (H38).
    ReplayWindow,
    /// After a start nothing is sealed or opened before RESUME gave a fresh epoch (H43).
    FreshEpoch,
    /// The tag of a sealed message is checked (H38).
    Tag,
    /// Each direction has keys of its own (H24).
    DirectionKeys,
    /// The epoch before is opened for a short time only (H90).
    GracePeriod,
    /// The identifier is bound into a sealed message (H31).
    BoundIdentifier,
    /// A class of message is refused with less protection than its row of the table asks for (C101).
    LeastProtection,
    /// The authority's signature over a pairing certificate (H53).
    CertificateSignature,
    /// CBOR is taken in its one deterministic form (H50).
    OneEncoding,
    /// Both nonces enter the keys of a RESUME (H18).
    FreshNonces,
    /// A key is used for so many messages and blocks and no more (H35).
    KeyLimit,
    /// An epoch is renewed once its keys protected so many messages and blocks, long before they may not go on (H91).
    EarlyRenewal,
    /// Requests for escalation are judged three times a minute (H154).
    EscalationRate,
    /// A peer gets one new run of a handshake a second (H15).
    RunSpacing,
    /// A revocation list replaces only one with a lower number (H106).
    ListNumber,
    /// A peer moves judged time by an hour at most (H101).
    PeerCredit,
    /// A pairing is used so often as its certificate says (H104).
    UseLimit,
    /// A batch authority is under the pinned root (H48).
    PinnedRoot,
    /// A device's identity key vouches for its relationship key (H47).
    Attestation,
    /// B is committed to its ephemeral key before it sees that of A (H75).
    Commitment,
    /// An ephemeral agreement enters the master secret (H22).
    EphemeralAgreement,
    /// The secret of an epoch cannot be computed from that of a later one (H28).
    EpochRatchet,
    /// Tries at the printed code are counted, and the count outlives a start (H77).
    TryLimit,
    /// Both shares of a proof of the printed code are drawn for that proof (H80).
    FreshShares,
    /// What is no point of P-256 is refused (H3).
    PointsOfTheCurve,
    /// The rebuilt pairing key must be the one that the certificate commits to (H14).
    KeyCommitment,
    /// Compact messages are off after so many that did not verify (H98).
    CompactGuard,
    /// A buffer that was silent longest is given up for a new message (C22).
    BufferEviction,
    /// Records in flash are sealed (H132).
    SealedStorage,
    /// A group frame raises nothing (C109).
    GroupReduces,
    /// Entries of a log carry the tag of a key that is gone (H60).
    LogTag,
    /// A change of the policy is signed by the authority and by both ends of the binding (H112).
    PolicySignatures,
    /// The names of both parties enter the transcript (H12).
    NamedParties,
    /// The authority's signature over a sealed key package (H85).
    PackageSignature,
}

/// Whether `defence` stands: always.
#[inline(always)]
pub const fn kept(_defence: Defence) -> bool {
    true
}
