//! Why a transaction is refused: one variant per check.
//!
//! A transaction that fails several checks reports the first: envelope, then statement, then the rules of the body, each
//! in the order of its table in `spec/ledger.md` (L24, L26, L33 to L58, L101 to L115, L199, L212 to L219). Numbers ascend in that order too, except
//! within a registration (L33) and L106, L110 and L112. Numbers and `W4_ERR_*` codes are part of
//! the public contract and are never reused.

use core::fmt;

macro_rules! rejections {
    ($($variant:ident = $number:literal, $code:literal, $text:literal;)*) => {
        /// Why a transaction is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Rejection {
            $(#[doc = $text] $variant = $number,)*
        }

        impl Rejection {
            /// All rejections by ascending number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable code of the public contract.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// One clause in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The rejection with this number, as results store it.
            #[must_use]
            pub fn from_number(number: u64) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

rejections! {
    // Envelope, checked for every transaction before its body.
    TooLarge = 1, "W4_ERR_PROTO_SIZE", "the transaction is larger than the chain allows";
    Version = 2, "W4_ERR_PROTO_VERSION", "the transaction's format version is not known";
    Malformed = 3, "W4_ERR_PROTO_FORMAT", "the transaction is not canonically encoded";
    OtherChain = 4, "W4_ERR_PROTO_CHAIN", "the transaction is for another chain";
    UnknownSigner = 5, "W4_ERR_AUTHZ_DENIED", "the signer has no account on this chain";
    RoleForbidden = 6, "W4_ERR_AUTHZ_SCOPE", "the signer's role may not send this kind of transaction";
    Expired = 7, "W4_ERR_AUTHZ_EXPIRED", "the transaction's expiry height has passed";
    NonceUsed = 8, "W4_ERR_PROTO_REPLAY", "the nonce was already used";
    NonceGap = 9, "W4_ERR_PROTO_SEQUENCE", "the nonce is not the signer's next one";
    EnvelopeSignature = 10, "W4_ERR_CRYPTO_VERIFY", "the signer's signature does not verify";
    // Statements inside a body.
    StatementFormat = 21, "W4_ERR_STATEMENT_FORMAT", "the statement is not canonically encoded or out of its ranges";
    StatementKeyUnknown = 22, "W4_ERR_CRYPTO_KEY", "no binding ever recorded this signing key";
    StatementKeyRevoked = 23, "W4_ERR_STATEMENT_REVOKED", "the signing key is revoked";
    StatementSigner = 24, "W4_ERR_STATEMENT_SIGNER", "the signing key belongs to another component";
    StatementSignature = 25, "W4_ERR_STATEMENT_VERIFY", "the device's signature does not verify";
    StatementTime = 26, "W4_ERR_STATEMENT_TIME", "the statement's time lies in the future";
    // Registration.
    RegistryChain = 40, "W4_ERR_REGISTRY_CHAIN", "the registration is for another chain";
    AttestMismatch = 44, "W4_ERR_ATTEST_MISMATCH", "the device certificate is for another component";
    AttestRole = 45, "W4_ERR_ATTEST_ROLE", "a device of this role cannot be registered";
    AttestRoot = 46, "W4_ERR_ATTEST_ROOT", "the certificate chain ends at no manufacturer root of this chain";
    AttestTime = 47, "W4_ERR_ATTEST_EXPIRED", "a certificate of the attestation is not valid at block time";
    RegistryCapacity = 48, "W4_ERR_REGISTRY_CAPACITY", "a pack needs a capacity, and no capacity exceeds 1 GWh";
    RegistryProof = 49, "W4_ERR_REGISTRY_PROOF_FAIL", "the device key did not sign the registration";
    RegistryExists = 50, "W4_ERR_REGISTRY_EXISTS", "the component is already registered";
    RegistrySerialExists = 51, "W4_ERR_REGISTRY_SERIAL_EXISTS", "the serial number is already registered";
    RegistryKeyExists = 52, "W4_ERR_REGISTRY_KEY_EXISTS", "the device key is already registered";
    AttestRevoked = 53, "W4_ERR_ATTEST_REVOKED", "the batch authority that certified the device is revoked";
    // Relationship LCTs.
    LctSelf = 60, "W4_ERR_LCT_INVALID", "a component has no relationship with itself";
    LctContext = 61, "W4_ERR_LCT_CONTEXT", "a context has 1 to 64 characters of A-Z, a-z, 0-9, _ . and -";
    LctComponent = 62, "W4_ERR_LCT_COMPONENT", "a component of the relationship is not registered";
    LctExists = 63, "W4_ERR_LCT_EXISTS", "the two components already have a relationship in this context";
    LctLimit = 64, "W4_ERR_LCT_LIMIT", "a component has no room for another relationship";
    // Bindings.
    BindingParties = 70, "W4_ERR_BINDING_INVALID", "the parties are equal or not in the order of role and id";
    BindingComponent = 71, "W4_ERR_BINDING_COMPONENT", "a party of the binding is not registered";
    BindingRole = 72, "W4_ERR_BINDING_ROLE", "a party has another role than the registry says";
    BindingTime = 73, "W4_ERR_BINDING_TIME", "the binding's time lies in the future";
    BindingExists = 74, "W4_ERR_BINDING_EXISTS", "the binding is already recorded";
    BindingPairExists = 75, "W4_ERR_BINDING_PAIR_EXISTS", "the two components already have an active binding";
    BindingKey = 76, "W4_ERR_BINDING_KEY", "a signing key of the binding is already in use";
    BindingProofA = 77, "W4_ERR_BINDING_PROOF_FAIL", "entity A did not sign the binding record";
    BindingProofB = 78, "W4_ERR_BINDING_PROOF_FAIL_B", "entity B did not sign the binding record";
    BindingAuthority = 79, "W4_ERR_BINDING_AUTHORITY", "the authority did not sign the binding record";
    BindingLimit = 80, "W4_ERR_BINDING_LIMIT", "a party of the binding has no room for another binding";
    // Pairings.
    PairingExists = 90, "W4_ERR_PAIRING_EXISTS", "the pairing is already recorded";
    PairingDenied = 91, "W4_ERR_PAIRING_DENIED", "the entities of the pairing are not bound";
    PairingBindingRevoked = 92, "W4_ERR_BINDING_REVOKED", "the binding of the pairing is revoked";
    PairingKeys = 93, "W4_ERR_PAIRING_INVALID", "the keys of the pairing are not those of its binding";
    PairingLease = 94, "W4_ERR_PAIRING_LEASE", "the lease of the pairing is zero or too long";
    PairingProofA = 95, "W4_ERR_PAIRING_PROOF_FAIL", "entity A did not sign the completion";
    PairingProofB = 96, "W4_ERR_PAIRING_PROOF_FAIL_B", "entity B did not sign the completion";
    PairingAuthority = 97, "W4_ERR_PAIRING_AUTHORITY", "the authority did not sign the completion";
    PairingLimit = 98, "W4_ERR_PAIRING_LIMIT", "the binding has no room for another pairing";
    // Telemetry batches.
    TelemetrySize = 110, "W4_ERR_TELEMETRY_SIZE", "the batch has more records than the chain allows";
    TelemetryOverlap = 113, "W4_ERR_TELEMETRY_OVERLAP", "the batch begins at or before the last recorded sequence number";
    // Energy.
    EnergyPool = 120, "W4_ERR_ENERGY_POOL", "the component has no energy pool";
    EnergyShape = 121, "W4_ERR_ENERGY_INVALID", "the event's fields do not fit its kind";
    EnergyInterval = 122, "W4_ERR_ENERGY_INTERVAL", "an event that moves energy lasts longer than zero";
    EnergyMismatch = 123, "W4_ERR_ENERGY_MISMATCH", "energy and mean power differ by more than 2 percent";
    EnergyCycleClosed = 124, "W4_ERR_ENERGY_CYCLE_CLOSED", "the event's cycle is closed";
    EnergySequence = 125, "W4_ERR_ENERGY_SEQUENCE", "the event's cycle and sequence do not follow the last event";
    EnergyOverlap = 126, "W4_ERR_ENERGY_OVERLAP", "the event begins before the last event of its cycle ended";
    EnergyAtp = 127, "W4_ERR_ENERGY_ATP", "the pool holds less charge than the event took";
    EnergyAdp = 128, "W4_ERR_ENERGY_ADP", "the pool has less room than the event charged";
    // Cycle close.
    CycleUnknown = 140, "W4_ERR_CYCLE_UNKNOWN", "the cycle has no recorded event";
    CycleClosed = 141, "W4_ERR_CYCLE_CLOSED", "the cycle is already closed";
    CycleMismatch = 142, "W4_ERR_CYCLE_MISMATCH", "the cycle's sums are not those of its recorded events";
    // Anchors of audit logs.
    AuditForked = 150, "W4_ERR_AUDIT_FORKED", "the device signed another log of this length before: two logs exist";
    AuditExists = 151, "W4_ERR_AUDIT_EXISTS", "the log is already anchored at this entry";
    AuditSequence = 152, "W4_ERR_AUDIT_SEQUENCE", "the log is already anchored at a later entry";
    // Revocation.
    RevokeShape = 160, "W4_ERR_REVOKE_INVALID", "the event withdraws nothing";
    EventReplay = 161, "W4_ERR_VALIDATION_REPLAY", "the component has signed this event or a later one before";
    RevokeUnknown = 162, "W4_ERR_REVOKE_UNKNOWN", "what is to be revoked is not recorded";
    RevokeDenied = 163, "W4_ERR_REVOKE_DENIED", "the signer has no right to revoke this";
    RevokeRepeated = 164, "W4_ERR_REVOKE_REPEATED", "it is already revoked";
    // Leases.
    PairingUnknown = 170, "W4_ERR_PAIRING_UNKNOWN", "the pairing is not recorded";
    PairingSide = 171, "W4_ERR_PAIRING_SIDE", "the signer is not the side of the pairing that may say this";
    PairingEnded = 172, "W4_ERR_PAIRING_ENDED", "the pairing is revoked or its lease has ended";
    PairingRenewed = 173, "W4_ERR_PAIRING_RENEWED", "the pairing was renewed before";
    PairingTerms = 174, "W4_ERR_PAIRING_TERMS", "the terms are not those that were signed, or out of their ranges";
    PairingUseRepeated = 175, "W4_ERR_PAIRING_USE_REPEATED", "this session is already counted";
    PairingUsedUp = 176, "W4_ERR_PAIRING_USED_UP", "the pairing has no session left";
    // Rebinding, and bindings made at the factory.
    RebindUnknown = 180, "W4_ERR_REBIND_UNKNOWN", "the binding to be replaced is not recorded";
    RebindParties = 181, "W4_ERR_REBIND_PARTIES", "old and new binding share no side, or the device is not one of the new";
    RebindToken = 182, "W4_ERR_REBIND_TOKEN", "the authority gave no leave for this device and binding";
    RebindRepeated = 183, "W4_ERR_REBIND_REPEATED", "the binding was replaced before";
    RebindProof = 184, "W4_ERR_REBIND_PROOF_FAIL", "the device's identity key did not sign the replacement";
    RebindOwner = 185, "W4_ERR_REBIND_OWNER", "the owner of the device did not approve the replacement";
    FactoryBatch = 186, "W4_ERR_FACTORY_BATCH", "a party of the binding was certified by another batch authority";
    // Ownership.
    OwnerChain = 190, "W4_ERR_OWNER_CHAIN", "the transfer is for another chain";
    OwnerComponent = 191, "W4_ERR_OWNER_COMPONENT", "the component is not registered, or revoked";
    OwnerLct = 192, "W4_ERR_OWNER_LCT", "the transfer names another entity LCT than the component's";
    OwnerDenied = 193, "W4_ERR_OWNER_DENIED", "who gives does not own the component";
    OwnerSequence = 194, "W4_ERR_OWNER_SEQUENCE", "the transfer does not follow the last one";
    OwnerSame = 195, "W4_ERR_OWNER_INVALID", "who gives and who takes are the same";
    OwnerTime = 196, "W4_ERR_OWNER_TIME", "the transfer's time lies in the future";
    OwnerProof = 197, "W4_ERR_OWNER_PROOF_FAIL", "who gives did not sign the transfer";
    OwnerProofTo = 198, "W4_ERR_OWNER_PROOF_FAIL_TO", "who takes did not sign the transfer";
    // Events with witnesses.
    WitnessQuorum = 200, "W4_ERR_WITNESS_QUORUM", "the event has fewer witnesses than the chain asks for, or more than its level has, or its pack is not among them";
    WitnessFormat = 201, "W4_ERR_WITNESS_FORMAT", "an attestation is not canonically encoded";
    WitnessSelf = 202, "W4_ERR_WITNESS_SELF", "a witness is the signer of the event, or counts twice";
    WitnessKey = 203, "W4_ERR_WITNESS_KEY", "the key of a witness is not in force for it";
    WitnessVerify = 204, "W4_ERR_WITNESS_VERIFY", "a witness's signature does not verify";
    WitnessTime = 205, "W4_ERR_WITNESS_TIME", "a witness saw the event before it was made, or in the future";
    // Events about a relation.
    ValidationRelation = 206, "W4_ERR_VALIDATION_RELATION", "the pairing or binding of the event is not recorded";
    ValidationSide = 207, "W4_ERR_VALIDATION_SIDE", "the event's signing key is not of this binding";
    ValidationEnded = 208, "W4_ERR_VALIDATION_ENDED", "the pairing or binding of the event is not in force";
    ValidationRecord = 209, "W4_ERR_VALIDATION_RECORD", "the event names another binding record than the one recorded";
    // Delegations, and acts of their holders: 220 to 224 refuse the transaction, 225 to 229 stand in the act's record.
    DelegationAuthority = 210, "W4_ERR_DELEGATION_AUTHORITY", "the sender did not sign the delegation";
    DelegationExists = 211, "W4_ERR_DELEGATION_EXISTS", "the delegation is already recorded";
    DelegationPack = 212, "W4_ERR_DELEGATION_PACK", "what the delegation names is no pack, or none of it is registered";
    DelegationTime = 213, "W4_ERR_DELEGATION_TIME", "the delegation was issued in the future";
    ActUnknown = 220, "W4_ERR_ACT_UNKNOWN", "the delegation of this act is not recorded";
    ActProof = 221, "W4_ERR_ACT_PROOF_FAIL", "the delegate did not sign this act";
    ActBody = 222, "W4_ERR_ACT_BODY", "the act is about something else";
    ActSequence = 223, "W4_ERR_ACT_SEQUENCE", "the act does not follow the last one of its delegation";
    ActTime = 224, "W4_ERR_ACT_TIME", "the act is dated before the last one, or in the future";
    ActRevoked = 225, "W4_ERR_ACT_REVOKED", "the delegation was revoked";
    ActWindow = 226, "W4_ERR_ACT_WINDOW", "the act lies outside the window of its delegation";
    ActOperation = 227, "W4_ERR_ACT_OPERATION", "the delegation does not allow this operation";
    ActScope = 228, "W4_ERR_ACT_SCOPE", "the delegation names neither of the two";
    ActGrant = 229, "W4_ERR_ACT_GRANT", "the delegate granted a longer lease than it may";
    // Consent of owners.
    ConsentChain = 232, "W4_ERR_CONSENT_CHAIN", "the consent is for another chain";
    ConsentBinding = 233, "W4_ERR_CONSENT_BINDING", "the component is no side of such a binding";
    ConsentPartner = 234, "W4_ERR_CONSENT_PARTNER", "the next partner is not registered, at its end, or the component itself";
    ConsentOwner = 235, "W4_ERR_CONSENT_OWNER", "the component has no owner, and nobody has to agree, or came by another hop to the one it has";
    ConsentTime = 236, "W4_ERR_CONSENT_TIME", "the consent ends in the past, or later than the chain allows";
    ConsentProof = 237, "W4_ERR_CONSENT_PROOF_FAIL", "the owner did not sign the consent";
    ConsentNumber = 238, "W4_ERR_CONSENT_NUMBER", "the owner gave this consent, or a later one, before";
    // States and versions of components.
    LifecycleChain = 240, "W4_ERR_LIFECYCLE_CHAIN", "the statement is for another chain";
    LifecycleComponent = 241, "W4_ERR_LIFECYCLE_COMPONENT", "the component is not registered";
    LifecycleFinal = 242, "W4_ERR_LIFECYCLE_FINAL", "the component is retired or revoked, for good";
    LifecycleSequence = 243, "W4_ERR_LIFECYCLE_SEQUENCE", "the statement does not follow the last one of this component";
    LifecycleSigner = 244, "W4_ERR_LIFECYCLE_SIGNER", "the key is no authority's, nor the owner's or manufacturer's of the component";
    LifecycleDenied = 245, "W4_ERR_LIFECYCLE_DENIED", "there is no such move, or it is not this party's, or the reason does not fit it";
    LifecycleProof = 246, "W4_ERR_LIFECYCLE_PROOF_FAIL", "the key did not sign the statement";
    ComponentSuspended = 247, "W4_ERR_COMPONENT_SUSPENDED", "the component is suspended: its statements are not believed";
    ComponentState = 248, "W4_ERR_COMPONENT_STATE", "a side of the pairing is not active";
    VersionSame = 252, "W4_ERR_VERSION_INVALID", "the registry has these versions";
    VersionVouch = 253, "W4_ERR_VERSION_VOUCH", "neither the manufacturer nor an authority vouches for this version";
    VersionProof = 254, "W4_ERR_VERSION_PROOF_FAIL", "the component did not sign its version";
    // Authorisations.
    AuthorizationParties = 255, "W4_ERR_AUTHORIZATION_INVALID", "a component needs no authorization for itself";
    AuthorizationContext = 256, "W4_ERR_AUTHORIZATION_CONTEXT", "a context has 1 to 64 characters of A-Z, a-z, 0-9, _ . and -";
    AuthorizationComponent = 257, "W4_ERR_AUTHORIZATION_COMPONENT", "a component is not registered, or not active";
    AuthorizationDenied = 258, "W4_ERR_AUTHORIZATION_DENIED", "the sender is neither an authority nor the owner";
    AuthorizationLevel = 259, "W4_ERR_AUTHORIZATION_LEVEL", "there is no such level, or it does not allow these partners";
    AuthorizationRule = 260, "W4_ERR_AUTHORIZATION_RULE", "the rule is not of the form: trust_score >= 0.7 and ..";
    AuthorizationLimit = 261, "W4_ERR_AUTHORIZATION_LIMIT", "the component gives as many authorizations as it may";
    AuthorizationUnknown = 262, "W4_ERR_AUTHORIZATION_UNKNOWN", "the authorization is not recorded";
    AuthorizationEnded = 263, "W4_ERR_AUTHORIZATION_ENDED", "the authorization was revoked or has expired";
    // What is recorded under commitments.
    AnonymousExists = 264, "W4_ERR_ANONYMOUS_EXISTS", "the commitment is recorded";
    AnonymousUnknown = 265, "W4_ERR_ANONYMOUS_UNKNOWN", "the commitment or authorization is not recorded";
    AnonymousDenied = 266, "W4_ERR_ANONYMOUS_DENIED", "somebody else recorded it";
    AnonymousEnded = 267, "W4_ERR_ANONYMOUS_ENDED", "it is withdrawn";
    AnonymousLevel = 268, "W4_ERR_ANONYMOUS_LEVEL", "there is no such level, the trust asked for does not fit it, or both are one component";
    AnonymousRevocation = 269, "W4_ERR_ANONYMOUS_REVOCATION", "scope, target, urgency or category is none";
    AnonymousRepeated = 270, "W4_ERR_ANONYMOUS_REPEATED", "it is withdrawn as soon or sooner already";
    AnonymousOpening = 271, "W4_ERR_ANONYMOUS_OPENING", "the commitment does not open to this value";
    AnonymousOpened = 272, "W4_ERR_ANONYMOUS_OPENED", "the commitment is open already";
    AnonymousValue = 273, "W4_ERR_ANONYMOUS_VALUE", "the value is none of its field";
    // LCTs after their making.
    LctUnknown = 274, "W4_ERR_LCT_UNKNOWN", "there is no such LCT, or it is that of an entity";
    LctDenied = 275, "W4_ERR_LCT_DENIED", "the sender is neither an authority nor the owner of a side";
    LctStatus = 276, "W4_ERR_LCT_STATUS", "the LCT cannot get this status";
    LctChain = 277, "W4_ERR_LCT_CHAIN", "the statement is for another chain";
    LctEnded = 278, "W4_ERR_LCT_ENDED", "the LCT is terminated";
    LctKind = 279, "W4_ERR_LCT_KIND", "this is not stated about such an LCT";
    LctSequence = 280, "W4_ERR_LCT_SEQUENCE", "the statement does not follow the last one of its kind";
    LctSigner = 281, "W4_ERR_LCT_SIGNER", "the key may not state this";
    LctValue = 282, "W4_ERR_LCT_VALUE", "what the statement names is not there";
    LctProof = 283, "W4_ERR_LCT_PROOF_FAIL", "the key did not sign the statement";
    // Queues.
    QueueInvalid = 284, "W4_ERR_QUEUE_INVALID", "wish, priority, context or parties of the request are none";
    QueueComponent = 285, "W4_ERR_QUEUE_COMPONENT", "a component of the request is not registered, or at its end";
    QueueLimit = 286, "W4_ERR_QUEUE_LIMIT", "as many requests wait for the component as may";
    QueueUnknown = 287, "W4_ERR_QUEUE_UNKNOWN", "no such request waits";
    QueueDenied = 288, "W4_ERR_QUEUE_DENIED", "the sender neither asked for this nor owns the component";
    QueueIdle = 289, "W4_ERR_QUEUE_IDLE", "nothing that waits for the component is due";
    // Governance.
    GovernInvalid = 290, "W4_ERR_GOVERN_INVALID", "the change is none, or no chain can run under it";
    GovernHeight = 291, "W4_ERR_GOVERN_HEIGHT", "a change takes effect two blocks later at the earliest";
    GovernDenied = 292, "W4_ERR_GOVERN_DENIED", "the root that goes did not sign the change";
    GovernExists = 293, "W4_ERR_GOVERN_EXISTS", "the key has or had an account, or the root is in force";
    GovernUnknown = 294, "W4_ERR_GOVERN_UNKNOWN", "the root that is to go is not in force";
    GovernLimit = 295, "W4_ERR_GOVERN_LIMIT", "there is no room for another root";
    GovernVersion = 296, "W4_ERR_GOVERN_VERSION", "the rules' version is not one above that in force";
    GovernPending = 297, "W4_ERR_GOVERN_PENDING", "a change of this kind takes effect with the next block";
    // Configuration.
    ConfigParameter = 300, "W4_ERR_CONFIG_PARAMETER", "there is no such parameter, or it cannot be set";
    ConfigComponent = 301, "W4_ERR_CONFIG_COMPONENT", "the component is not a registered pack, or is revoked";
    ConfigRange = 302, "W4_ERR_CONFIG_RANGE", "the value is out of the parameter's range";
    ConfigDenied = 303, "W4_ERR_CONFIG_DENIED", "the sender is neither an authority nor the pack's owner";
    ConfigVersion = 304, "W4_ERR_CONFIG_VERSION", "the value builds on another version than the one in force";
    ConfigCommand = 305, "W4_ERR_CONFIG_COMMAND", "no recorded command of an operator is for this pack, parameter and value";
    ConfigStale = 306, "W4_ERR_CONFIG_STALE", "the parameter changed after this command was recorded";
    ConfigLoosens = 307, "W4_ERR_CONFIG_LOOSENS", "without an operator's command a value can only tighten";
    // Reports of metrics.
    TrustSubject = 330, "W4_ERR_TRUST_SUBJECT", "the component that the report is about is not registered, or retired or revoked";
    TrustUnbound = 331, "W4_ERR_TRUST_UNBOUND", "the component that the report is about was never bound";
    TrustObserver = 332, "W4_ERR_TRUST_OBSERVER", "the observer is neither the component, nor bound to it, nor known to be another owner's";
    TrustPeriod = 333, "W4_ERR_TRUST_PERIOD", "the period of the report is shorter than the chain allows";
    TrustOverlap = 334, "W4_ERR_TRUST_OVERLAP", "the period begins before the last one reported ended, or before the component was bound";
    // Orders of owners, and transfers between packs.
    TradeChain = 360, "W4_ERR_TRADE_CHAIN", "the statement is for another chain";
    TradePack = 361, "W4_ERR_TRADE_PACK", "the pack of the order has no energy pool, or is not active";
    TradeOwner = 362, "W4_ERR_TRADE_OWNER", "the pack of the order has no owner";
    TradeProof = 363, "W4_ERR_TRADE_PROOF_FAIL", "the owner of the pack did not sign the order";
    TransferExists = 364, "W4_ERR_TRANSFER_EXISTS", "the transfer is already recorded";
    TransferSelf = 365, "W4_ERR_TRANSFER_SELF", "a pack transfers nothing to itself";
    TransferPack = 366, "W4_ERR_TRANSFER_PACK", "a pack of the transfer has no energy pool, or is not active";
    TransferPairing = 367, "W4_ERR_TRANSFER_PAIRING", "the two packs have no such pairing in force";
    TransferTime = 368, "W4_ERR_TRANSFER_TIME", "the transfer ends in the past, or lasts longer than the chain allows";
    TransferAmount = 369, "W4_ERR_TRANSFER_AMOUNT", "there is nothing to transfer, or less than was asked for at least";
    TransferAtp = 370, "W4_ERR_TRANSFER_ATP", "the giver holds less free charge than the transfer locks";
    TransferTrust = 371, "W4_ERR_TRANSFER_TRUST", "giver or taker is not trusted enough for a transfer of energy";
    PairingTrust = 372, "W4_ERR_PAIRING_TRUST", "a side is not trusted as far as an authorization of the other asks for";
    EnergyPayload = 376, "W4_ERR_ENERGY_PAYLOAD", "what a module says of its energy is not of the form of its statement";
    EnergyPooled = 377, "W4_ERR_ENERGY_POOLED", "the component has an energy pool, whose energy is stated by events of that pool";
    TransferUnknown = 380, "W4_ERR_TRANSFER_UNKNOWN", "the transfer is not recorded";
    TransferEnded = 381, "W4_ERR_TRANSFER_ENDED", "the transfer has ended";
    TransferExpired = 382, "W4_ERR_TRANSFER_EXPIRED", "the time of the transfer is over";
    TransferKey = 383, "W4_ERR_TRANSFER_KEY", "the keys are not those of giver and taker in their binding, or revoked";
    TransferProof = 384, "W4_ERR_TRANSFER_PROOF_FAIL", "the giver did not sign the receipt";
    TransferProofTaker = 385, "W4_ERR_TRANSFER_PROOF_FAIL_TAKER", "the taker did not sign the receipt";
    TransferSums = 386, "W4_ERR_TRANSFER_SUMS", "more was received than given, or more given than locked";
    TransferRoom = 387, "W4_ERR_TRANSFER_ROOM", "the taker has less room than it received";
    TransferRunning = 388, "W4_ERR_TRANSFER_RUNNING", "the time of the transfer is not over";
    // Settlement, and objections to it.
    SettleUnknown = 390, "W4_ERR_SETTLE_UNKNOWN", "the cycle or transfer is not recorded";
    SettleOpen = 391, "W4_ERR_SETTLE_OPEN", "the cycle is not closed, or nothing was transferred";
    SettleExists = 392, "W4_ERR_SETTLE_EXISTS", "it is already settled";
    SettleWindow = 393, "W4_ERR_SETTLE_WINDOW", "there is still time to object";
    SettleObjected = 394, "W4_ERR_SETTLE_OBJECTED", "there is an objection that was not dismissed";
    SettleQuote = 395, "W4_ERR_SETTLE_QUOTE", "the quote is damaged, or for something else";
    SettleOwner = 396, "W4_ERR_SETTLE_OWNER", "the pack has no owner, or quotes itself a price";
    SettleProof = 397, "W4_ERR_SETTLE_PROOF_FAIL", "the owner of the pack did not sign the quote";
    SettleProofOther = 398, "W4_ERR_SETTLE_PROOF_FAIL_OTHER", "the other one did not sign the quote";
    SettlePrice = 399, "W4_ERR_SETTLE_PRICE", "there is no price, or the amount is too large";
    ObjectionReason = 400, "W4_ERR_OBJECTION_REASON", "the reason of the objection is unknown";
    ObjectionDenied = 401, "W4_ERR_OBJECTION_DENIED", "the sender is no party to this, no authority and no auditor";
    ObjectionLate = 402, "W4_ERR_OBJECTION_LATE", "the time to object is over";
    ObjectionExists = 403, "W4_ERR_OBJECTION_EXISTS", "there is an objection already";
    ObjectionUnknown = 404, "W4_ERR_OBJECTION_UNKNOWN", "there is no objection";
    ObjectionDecided = 405, "W4_ERR_OBJECTION_DECIDED", "the objection was decided before";
    // Offers.
    OfferExists = 410, "W4_ERR_OFFER_EXISTS", "the offer is already recorded";
    OfferTerms = 411, "W4_ERR_OFFER_TERMS", "the least of an offer is 1 mWh to all of it";
    OfferWindow = 412, "W4_ERR_OFFER_WINDOW", "the offer ends before it begins or in the past, or stands longer than the chain allows";
    OfferUnknown = 413, "W4_ERR_OFFER_UNKNOWN", "the offer is not recorded";
    OfferClosed = 414, "W4_ERR_OFFER_CLOSED", "the offer was withdrawn, or the pack has another owner";
    OfferExpired = 415, "W4_ERR_OFFER_EXPIRED", "the offer does not stand at block time";
    OfferDenied = 416, "W4_ERR_OFFER_DENIED", "the offer is about another pack";
}

impl Rejection {
    /// Whether it says that somebody else was first: of two acts without knowledge of each other the one recorded first
    /// stands (L124).
    #[must_use]
    pub fn is_superseded(self) -> bool {
        use Rejection::*;
        matches!(
            self,
            BindingExists
                | BindingPairExists
                | PairingExists
                | RevokeRepeated
                | RebindRepeated
                | PairingRenewed
        )
    }

    /// The number stored in results; 0 means accepted and is no rejection.
    #[must_use]
    pub fn number(self) -> u64 {
        self as u64
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.code())
    }
}

impl core::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn numbers_ascend_and_codes_are_unique() {
        assert!(Rejection::ALL.windows(2).all(|w| w[0].number() < w[1].number()));
        let codes: BTreeSet<_> = Rejection::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Rejection::ALL.len());
        assert!(codes.iter().all(|c| c.starts_with("W4_ERR_")));
        for r in Rejection::ALL {
            assert_eq!(Rejection::from_number(r.number()), Some(*r));
        }
        assert_eq!(Rejection::from_number(0), None);
    }
}
