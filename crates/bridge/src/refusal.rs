//! From what went wrong to a status, a code and words (A5).
//!
//! What the caller did wrong is said in detail; what went wrong here goes to the log, and the caller learns only
//! that it did and whether trying again may help.

use api::{Problem, problem::code};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ledger::reject::Rejection;
use node::{
    SubmitError, chain::WaitError, past::PastError, receipts::ReceiptFailure, segments::SegmentError,
};

/// A refused request.
#[derive(Debug)]
pub struct Refusal(pub Problem);

/// Result of a handler.
pub(crate) type Reply<T> = Result<T, Refusal>;

/// Longest detail that is repeated to a caller.
const DETAIL_MAX: usize = 400;

impl Refusal {
    /// A refusal with a detail.
    pub(crate) fn new(status: u16, code: &str, error: &str) -> Self {
        Refusal(Problem::new(status, code, error))
    }

    /// Adds what exactly was wrong.
    pub(crate) fn detail(self, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((at, _)) = detail.char_indices().nth(DETAIL_MAX) {
            detail.truncate(at);
        }
        Refusal(self.0.with_detail(detail))
    }

    /// Says after how many seconds the same may be asked again.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// A body, path or query without the documented form.
    pub(crate) fn format(detail: impl Into<String>) -> Self {
        Self::new(400, code::FORMAT, "the request does not have the documented form").detail(detail)
    }

    /// Our own fault: the log names it, the answer does not.
    pub(crate) fn internal(what: &dyn std::fmt::Display) -> Self {
        tracing::error!("{what}");
        Self::new(500, code::INTERNAL, "the bridge failed; its log says why")
    }

    /// Something under us does not work now.
    pub(crate) fn unavailable(what: &dyn std::fmt::Display) -> Self {
        tracing::error!("{what}");
        Self::new(503, code::UNAVAILABLE, "the bridge cannot store anything now; its log says why")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let wait = self.0.retry_after.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1));
        let mut response = (status, axum::Json(&self.0)).into_response();
        response.extensions_mut().insert(self.0);
        if let Some(seconds) = wait {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Refusal::new(status(rejection), rejection.code(), rejection.text())
    }
}

impl From<node::Error> for Refusal {
    fn from(error: node::Error) -> Self {
        match error {
            node::Error::DiskFull(_) | node::Error::Io { .. } => Refusal::unavailable(&error),
            other => Refusal::internal(&other),
        }
    }
}

impl From<PastError> for Refusal {
    fn from(error: PastError) -> Self {
        let text = error.to_string();
        match error {
            PastError::Future { .. } => {
                Refusal::new(404, code::HEIGHT_FUTURE, "there is no block of this height yet").detail(text)
            }
            PastError::Forgotten { .. } => {
                Refusal::new(410, code::HEIGHT_PRUNED, "the state of this height is not kept").detail(text)
            }
            PastError::Store(e) => e.into(),
        }
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(rejection) => rejection.into(),
            SubmitError::Full => {
                Refusal::new(503, code::BUSY, "too many transactions wait for a block; try again later")
            }
            SubmitError::Store(e) => e.into(),
        }
    }
}

impl From<WaitError> for Refusal {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Unknown => tx_not_found(),
            WaitError::Store(e) => e.into(),
        }
    }
}

/// A receipt that the next blocks will make possible.
pub(crate) fn receipt_pending() -> Refusal {
    Refusal::new(409, code::RECEIPT_PENDING, "a block is still missing; try again in a second")
}

/// No such transaction.
pub(crate) fn tx_not_found() -> Refusal {
    Refusal::new(404, code::TX_NOT_FOUND, "the transaction neither waits nor is it in a block")
}

impl From<SegmentError> for Refusal {
    fn from(error: SegmentError) -> Self {
        let text = error.to_string();
        match error {
            SegmentError::Store(e) => e.into(),
            SegmentError::Overlap { .. } => Rejection::TelemetryOverlap.into(),
            SegmentError::Statement
            | SegmentError::Count { .. }
            | SegmentError::Record(_)
            | SegmentError::Root => {
                Refusal::new(400, code::TELEMETRY_RECORDS, "the records are not those of the batch")
                    .detail(text)
            }
        }
    }
}

impl From<ReceiptFailure> for Refusal {
    fn from(error: ReceiptFailure) -> Self {
        let text = error.to_string();
        match error {
            ReceiptFailure::Store(e) => e.into(),
            ReceiptFailure::NotCertifiedYet(_) => receipt_pending().detail(text),
            ReceiptFailure::UnknownTx
            | ReceiptFailure::Forgotten(_)
            | ReceiptFailure::Refused(_)
            | ReceiptFailure::UnknownRecord { .. }
            | ReceiptFailure::RecordMissing { .. } => {
                Refusal::new(404, code::RECEIPT_NOT_FOUND, "there is nothing to prove").detail(text)
            }
        }
    }
}

impl From<crate::events::webhooks::OutboxError> for Refusal {
    fn from(error: crate::events::webhooks::OutboxError) -> Self {
        Refusal::unavailable(&error)
    }
}

impl From<crate::entropy::NoEntropy> for Refusal {
    fn from(error: crate::entropy::NoEntropy) -> Self {
        Refusal::unavailable(&error)
    }
}

impl From<crate::authority::signer::SignError> for Refusal {
    fn from(error: crate::authority::signer::SignError) -> Self {
        Refusal::unavailable(&error)
    }
}

/// The HTTP status of a ledger's rejection: who has to do what about it.
pub(crate) fn status(rejection: Rejection) -> u16 {
    use Rejection as R;
    match rejection {
        R::TooLarge => 413,
        R::Version | R::Malformed | R::OtherChain | R::NonceGap => 400,
        R::StatementFormat
        | R::StatementKeyUnknown
        | R::RegistryChain
        | R::AttestMismatch
        | R::AttestRole => 400,
        R::RevokeShape | R::PairingTerms | R::RebindParties | R::OwnerChain | R::OwnerComponent => 400,
        R::ValidationRecord
        | R::OwnerLct
        | R::OwnerSame
        | R::WitnessQuorum
        | R::WitnessFormat
        | R::WitnessSelf => 400,
        R::RebindProof | R::RebindOwner | R::OwnerProof | R::OwnerProofTo | R::WitnessVerify => 401,
        R::RegistryCapacity | R::LctSelf | R::LctContext | R::LctComponent => 400,
        R::BindingParties | R::BindingComponent | R::BindingRole | R::BindingKey => 400,
        R::PairingKeys | R::PairingLease | R::TelemetrySize => 400,
        R::EnergyPool | R::EnergyShape | R::EnergyInterval | R::EnergyMismatch => 400,
        R::EnergyPayload | R::EnergyPooled => 400,
        R::UnknownSigner | R::Expired | R::EnvelopeSignature | R::StatementSignature => 401,
        R::AttestRoot | R::AttestTime | R::AttestRevoked | R::RegistryProof => 401,
        R::BindingProofA | R::BindingProofB | R::BindingAuthority => 401,
        R::PairingProofA | R::PairingProofB | R::PairingAuthority => 401,
        R::RoleForbidden | R::StatementSigner | R::PairingDenied => 403,
        R::RevokeDenied | R::PairingSide | R::RebindToken | R::FactoryBatch | R::OwnerDenied => 403,
        R::WitnessKey | R::ValidationSide => 403,
        R::NonceUsed | R::RegistryExists | R::RegistrySerialExists | R::RegistryKeyExists => 409,
        R::LctExists | R::LctLimit | R::BindingExists | R::BindingPairExists | R::PairingExists => 409,
        R::TelemetryOverlap | R::EnergySequence | R::EnergyOverlap | R::EnergyAtp | R::EnergyAdp => 409,
        R::BindingLimit | R::PairingLimit | R::EventReplay | R::RevokeRepeated => 409,
        R::PairingRenewed | R::PairingUseRepeated | R::RebindRepeated | R::OwnerSequence => 409,
        R::EnergyCycleClosed | R::CycleClosed | R::CycleMismatch => 409,
        R::AuditForked | R::AuditExists | R::AuditSequence => 409,
        R::StatementKeyRevoked | R::PairingBindingRevoked | R::PairingEnded | R::PairingUsedUp => 410,
        R::ValidationEnded => 410,
        R::ValidationRelation | R::CycleUnknown | R::RevokeUnknown | R::PairingUnknown | R::RebindUnknown => {
            404
        }
        R::ConsentChain | R::ConsentTime => 400,
        R::ConsentProof => 401,
        R::ConsentNumber => 409,
        R::ConsentOwner => 403,
        R::ConsentBinding | R::ConsentPartner => 404,
        R::DelegationPack | R::ActBody => 400,
        R::DelegationAuthority | R::ActProof => 401,
        R::ActOperation | R::ActScope | R::ActGrant => 403,
        R::ActUnknown => 404,
        R::DelegationExists | R::ActSequence => 409,
        R::ActRevoked => 410,
        R::DelegationTime | R::ActTime | R::ActWindow => 422,
        R::LifecycleChain | R::LifecycleComponent | R::VersionSame => 400,
        R::LifecycleSigner | R::LifecycleProof | R::VersionVouch | R::VersionProof => 401,
        R::LifecycleDenied => 403,
        R::LifecycleSequence | R::ComponentSuspended | R::ComponentState => 409,
        R::LifecycleFinal => 410,
        R::AuthorizationParties | R::AuthorizationContext | R::AuthorizationComponent => 400,
        R::AuthorizationLevel | R::AuthorizationRule => 400,
        R::AnonymousLevel | R::AnonymousRevocation | R::AnonymousOpening | R::AnonymousValue => 400,
        R::LctChain | R::LctKind | R::LctValue | R::QueueInvalid | R::QueueComponent => 400,
        R::LctSigner | R::LctProof => 401,
        R::AuthorizationDenied | R::AnonymousDenied | R::LctDenied | R::QueueDenied => 403,
        R::AuthorizationUnknown | R::AnonymousUnknown | R::LctUnknown | R::QueueUnknown => 404,
        R::AuthorizationLimit | R::AnonymousExists | R::AnonymousRepeated | R::AnonymousOpened => 409,
        R::LctStatus | R::LctSequence | R::QueueLimit | R::QueueIdle => 409,
        R::AuthorizationEnded | R::AnonymousEnded | R::LctEnded => 410,
        R::GovernInvalid | R::GovernVersion => 400,
        R::ConfigParameter | R::ConfigComponent | R::ConfigRange => 400,
        R::GovernDenied | R::ConfigDenied | R::ConfigLoosens => 403,
        R::ConfigCommand => 404,
        R::ConfigVersion | R::ConfigStale => 409,
        R::GovernUnknown => 404,
        R::GovernExists | R::GovernLimit | R::GovernPending => 409,
        R::GovernHeight => 422,
        R::TradeChain | R::TransferSelf | R::TransferAmount | R::TransferSums => 400,
        R::SettleQuote | R::SettlePrice | R::ObjectionReason | R::OfferTerms => 400,
        R::TradeProof | R::TransferProof | R::TransferProofTaker => 401,
        R::TransferKey | R::SettleProof | R::SettleProofOther => 401,
        R::ObjectionDenied | R::OfferDenied | R::TransferTrust | R::PairingTrust => 403,
        R::TradePack | R::TradeOwner | R::TransferPack | R::TransferPairing | R::TransferUnknown => 404,
        R::SettleUnknown | R::SettleOwner | R::ObjectionUnknown | R::OfferUnknown => 404,
        R::TransferExists | R::TransferAtp | R::TransferEnded | R::TransferRoom | R::TransferRunning => 409,
        R::SettleOpen | R::SettleExists | R::SettleWindow | R::SettleObjected => 409,
        R::ObjectionExists | R::ObjectionDecided | R::OfferExists => 409,
        R::OfferClosed | R::OfferExpired | R::TransferExpired => 410,
        R::TransferTime | R::ObjectionLate | R::OfferWindow => 422,
        R::TrustSubject | R::TrustUnbound | R::TrustPeriod => 400,
        R::TrustObserver => 403,
        R::TrustOverlap => 409,
        R::StatementTime | R::BindingTime | R::OwnerTime | R::WitnessTime => 422,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rejection_blames_the_caller() {
        for rejection in Rejection::ALL {
            let s = status(*rejection);
            assert!((400..500).contains(&s), "{rejection:?} -> {s}");
        }
    }

    #[test]
    fn our_faults_do_not_travel() {
        let secret_path = std::path::PathBuf::from("/var/lib/x");
        let Refusal(problem) = node::Error::Corrupted { path: secret_path, what: "y".into() }.into();
        assert_eq!(problem.status, 500);
        assert!(!serde_json::to_string(&problem).unwrap().contains("/var"));
    }

    #[test]
    fn details_are_bounded() {
        let Refusal(problem) = Refusal::format("é".repeat(5000));
        assert_eq!(problem.detail.unwrap().chars().count(), DETAIL_MAX);
    }
}
