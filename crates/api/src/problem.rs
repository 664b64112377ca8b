//! The body of every refusal: `{error, code, detail?, status, retry_after?}` (A5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was refused. `code` is stable, `error` and `detail` are for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, ToSchema)]
#[error("{error} ({code}{})", .detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct Problem {
    /// One clause in words.
    pub error: String,
    /// `W4_ERR_*`: one of [`code`] or of the ledger's rejections.
    pub code: String,
    /// What exactly, for example the field of the body and its fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The HTTP status again, for clients that only keep the body.
    pub status: u16,
    /// After how many seconds the same may be asked again; also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A refusal without detail.
    pub fn new(status: u16, code: &str, error: impl Into<String>) -> Self {
        Problem { error: error.into(), code: code.into(), detail: None, status, retry_after: None }
    }

    /// Adds what exactly was wrong.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Codes of refusals that the API itself makes; those of the ledger are in `spec/ledger.md`, L24 to L55.
pub mod code {
    /// 400: a body, path or query that does not have the documented form.
    pub const FORMAT: &str = "W4_ERR_PROTO_FORMAT";
    /// 413: the body is larger than the route allows.
    pub const SIZE: &str = "W4_ERR_PROTO_SIZE";
    /// 415: a body that is not declared as `application/json`.
    pub const MEDIA: &str = "W4_ERR_PROTO_MEDIA";
    /// 404: there is no such route.
    pub const ROUTE: &str = "W4_ERR_PROTO_ROUTE";
    /// 405: the route has other methods.
    pub const METHOD: &str = "W4_ERR_PROTO_METHOD";
    /// 408 or 504: the request or its effect took too long; what was submitted may still be included.
    pub const TIMEOUT: &str = "W4_ERR_PROTO_TIMEOUT";
    /// 504: a device does not answer its host, which looked for it on its buses.
    pub const SILENT: &str = "W4_ERR_PROTO_SILENT";
    /// 409: what the keys that would end signed is held until the journal of a laptop is brought.
    pub const HELD: &str = "W4_ERR_PROTO_HELD";
    /// 409: a ceremony was already answered with something else.
    pub const REPLAY: &str = "W4_ERR_PROTO_REPLAY";
    /// 500: the bridge's own fault; the log names it.
    pub const INTERNAL: &str = "W4_ERR_INTERNAL";
    /// 503: the ledger or the disk under it does not accept anything now.
    pub const UNAVAILABLE: &str = "W4_ERR_UNAVAILABLE";
    /// 503: too much waits already; try again later.
    pub const BUSY: &str = "W4_ERR_BUSY";
    /// 421: the request names another host than this machine.
    pub const HOST: &str = "W4_ERR_PROTO_HOST";
    /// 403: the key has no active operator account on this chain.
    pub const WEBHOOK_DENIED: &str = "W4_ERR_WEBHOOK_DENIED";
    /// 401: the operator's signature over the order does not verify.
    pub const WEBHOOK_PROOF: &str = "W4_ERR_WEBHOOK_PROOF_FAIL";
    /// 404: no such web hook.
    pub const WEBHOOK_NOT_FOUND: &str = "W4_ERR_WEBHOOK_NOT_FOUND";
    /// 403: a page of another origin opens a stream.
    pub const ORIGIN: &str = "W4_ERR_PROTO_ORIGIN";
    /// 401: nobody is named, or what names him is not known, ended, or not proved.
    pub const ACCESS_REQUIRED: &str = "W4_ERR_ACCESS_REQUIRED";
    /// 401: the proof of a token's key is not of this request, or its time is too far from the bridge's.
    pub const ACCESS_PROOF: &str = "W4_ERR_ACCESS_PROOF";
    /// 401: the proof of a token's key was used before.
    pub const ACCESS_REPLAY: &str = "W4_ERR_ACCESS_REPLAY";
    /// 429: too many requests; `Retry-After` says when the next one is taken.
    pub const RATE: &str = "W4_ERR_RATE_LIMIT";
    /// 403: the role of whoever asks may not do that.
    pub const ACCESS_ROLE: &str = "W4_ERR_ACCESS_ROLE";
    /// 403: what is asked is of level 5 or above, and nobody gave his passphrase for it.
    pub const ACCESS_PRESENCE: &str = "W4_ERR_ACCESS_PRESENCE";
    /// 403: what is asked is about a component outside the scope of whoever asks.
    pub const ACCESS_SCOPE: &str = "W4_ERR_ACCESS_SCOPE";
    /// The passphrase was given for once: the user sets one of his own first.
    pub const ACCESS_PASSPHRASE: &str = "W4_ERR_ACCESS_PASSPHRASE";
    /// 400: the transaction is of another kind than the route takes.
    pub const KIND: &str = "W4_ERR_PROTO_KIND";
    /// 404: there is no block of this height yet.
    pub const HEIGHT_FUTURE: &str = "W4_ERR_HEIGHT_FUTURE";
    /// 410: the state of this height is not kept any more.
    pub const HEIGHT_PRUNED: &str = "W4_ERR_HEIGHT_PRUNED";
    /// 404: no such component.
    pub const COMPONENT_NOT_FOUND: &str = "W4_ERR_COMPONENT_NOT_FOUND";
    /// 410: the component's registration was withdrawn.
    pub const COMPONENT_REVOKED: &str = "W4_ERR_COMPONENT_REVOKED";
    /// 409: a component with this id is registered with other data.
    pub const REGISTRY_EXISTS: &str = "W4_ERR_REGISTRY_EXISTS";
    /// 404: no such account.
    pub const ACCOUNT_NOT_FOUND: &str = "W4_ERR_ACCOUNT_NOT_FOUND";
    /// 400: a context has 1 to 64 characters of `[A-Za-z0-9_.-]`.
    pub const LCT_CONTEXT: &str = "W4_ERR_LCT_CONTEXT";
    /// 404: no such LCT.
    pub const LCT_NOT_FOUND: &str = "W4_ERR_LCT_NOT_FOUND";
    /// 404: no such binding ceremony, or it ran out.
    pub const BINDING_NOT_FOUND: &str = "W4_ERR_BINDING_NOT_FOUND";
    /// 409: the ceremony is not at this step.
    pub const BINDING_STEP: &str = "W4_ERR_BINDING_STEP";
    /// 400: sides in the wrong order, or the same component twice.
    pub const BINDING_INVALID: &str = "W4_ERR_BINDING_INVALID";
    /// 401: an attestation does not verify against the registered device key, this partner and this nonce.
    pub const ATTESTATION: &str = "W4_ERR_ATTEST_VERIFY";
    /// 409: this bridge does not hold the relationship keys of the binding.
    pub const BINDING_KEYS: &str = "W4_ERR_BINDING_KEYS";
    /// 409: the two components are bound already.
    pub const BINDING_EXISTS: &str = "W4_ERR_BINDING_PAIR_EXISTS";
    /// 409: an entity has a binding that this one may not replace.
    pub const BINDING_REPLACE: &str = "W4_ERR_BINDING_REPLACE";
    /// 409: the entity does not take the bind request, for example because the partner is on its revocation list.
    pub const BINDING_DECLINED: &str = "W4_ERR_BINDING_DECLINED";
    /// 403: the owner of the entity did not agree that another binding takes the place of the one that it has.
    pub const REBIND_OWNER: &str = "W4_ERR_REBIND_OWNER";
    /// 401: an entity's signature over the binding record does not verify.
    pub const BINDING_PROOF: &str = "W4_ERR_BINDING_PROOF_FAIL";
    /// 403: the two components are not bound.
    pub const PAIRING_DENIED: &str = "W4_ERR_PAIRING_DENIED";
    /// 404: no such pairing, or its ceremony ran out.
    pub const PAIRING_NOT_FOUND: &str = "W4_ERR_PAIRING_NOT_FOUND";
    /// 400: parameters of a pairing out of range.
    pub const PAIRING_INVALID: &str = "W4_ERR_PAIRING_INVALID";
    /// 401: the nonce is not the committed one, or a signature does not verify.
    pub const PAIRING_PROOF: &str = "W4_ERR_PAIRING_PROOF_FAIL";
    /// 403: the key has no active operator account on this chain.
    pub const REVOCATION_DENIED: &str = "W4_ERR_REVOCATION_DENIED";
    /// 401: the operator's signature over the order does not verify.
    pub const REVOCATION_PROOF: &str = "W4_ERR_REVOCATION_PROOF_FAIL";
    /// 409: the list holds as much as devices can take.
    pub const REVOCATION_FULL: &str = "W4_ERR_REVOCATION_FULL";
    /// 403: the key has no active operator account on this chain.
    pub const POLICY_DENIED: &str = "W4_ERR_POLICY_DENIED";
    /// 401: the operator's signature over the order, or an entity's over the proposal, does not verify.
    pub const POLICY_PROOF: &str = "W4_ERR_POLICY_PROOF_FAIL";
    /// 400: a period out of range, or a class table that no device takes.
    pub const POLICY_INVALID: &str = "W4_ERR_POLICY_INVALID";
    /// 409: the version is not above that of every policy ordered before.
    pub const POLICY_VERSION: &str = "W4_ERR_POLICY_VERSION";
    /// 409: no proposal of this version waits for signatures.
    pub const POLICY_STEP: &str = "W4_ERR_POLICY_STEP";
    /// 403: the key has no active operator account on this chain.
    pub const ORDER_DENIED: &str = "W4_ERR_ORDER_DENIED";
    /// 401: the operator's signature over the order or its outcome does not verify.
    pub const ORDER_PROOF: &str = "W4_ERR_ORDER_PROOF_FAIL";
    /// 403: the account that asks for a delegation is no operator.
    pub const DELEGATION_DENIED: &str = "W4_ERR_DELEGATION_DENIED";
    /// 401: the operator's signature over the wish for a delegation does not verify.
    pub const DELEGATION_PROOF: &str = "W4_ERR_DELEGATION_PROOF_FAIL";
    /// 400: a window, a lease, an operation or a pack of a delegation is out of its range.
    pub const DELEGATION_INVALID: &str = "W4_ERR_DELEGATION_INVALID";
    /// 404: the ledger holds no such delegation.
    pub const DELEGATION_NOT_FOUND: &str = "W4_ERR_DELEGATION_NOT_FOUND";
    /// 404: no such order, or it ended long ago.
    pub const ORDER_NOT_FOUND: &str = "W4_ERR_ORDER_NOT_FOUND";
    /// 409: the same is ordered and not done yet.
    pub const ORDER_WAITING: &str = "W4_ERR_ORDER_WAITING";
    /// 409: the relationship LCT exists; its key halves were handed out when it was created.
    pub const LCT_EXISTS: &str = "W4_ERR_LCT_EXISTS";
    /// 403: the bridge does not sign for this creator.
    pub const CREATOR_DENIED: &str = "W4_ERR_CREATOR_DENIED";
    /// 403: a switch that is off would have to be on; the detail names it.
    pub const SWITCHED_OFF: &str = "W4_ERR_SWITCHED_OFF";
    /// 403: trust follows from what the ledger recorded; nobody sets it.
    pub const TRUST_DERIVED: &str = "W4_ERR_TRUST_DERIVED";
    /// 404: the two were never paired, or the component never judged.
    pub const TRUST_NOT_FOUND: &str = "W4_ERR_TRUST_NOT_FOUND";
    /// 403: energy is what devices measured; nobody reports it for them.
    pub const ENERGY_MEASURED: &str = "W4_ERR_ENERGY_MEASURED";
    /// 404: no such energy cycle, or operation between packs.
    pub const ENERGY_NOT_FOUND: &str = "W4_ERR_ENERGY_NOT_FOUND";
    /// 404: no such request in a queue.
    pub const QUEUE_NOT_FOUND: &str = "W4_ERR_QUEUE_NOT_FOUND";
    /// 404: no such authorisation.
    pub const AUTHORIZATION_NOT_FOUND: &str = "W4_ERR_AUTHORIZATION_NOT_FOUND";
    /// 404: nothing stands under this commitment.
    pub const COMMITMENT_NOT_FOUND: &str = "W4_ERR_COMMITMENT_NOT_FOUND";
    /// 409: the devices have not done yet what was asked for; ask again later.
    pub const PENDING: &str = "W4_ERR_PAIRING_PENDING";
    /// 409: the devices could not do what was asked for; the detail says why.
    pub const PAIRING_FAILED: &str = "W4_ERR_PAIRING_FAILED";
    /// 404: no such transaction.
    pub const TX_NOT_FOUND: &str = "W4_ERR_TX_NOT_FOUND";
    /// 403: another authority followed this one, which signs nothing any more.
    pub const AUTHORITY_SUCCEEDED: &str = "W4_ERR_AUTHORITY_SUCCEEDED";
    /// 400: the records are not those of the batch.
    pub const TELEMETRY_RECORDS: &str = "W4_ERR_TELEMETRY_RECORDS";
    /// 404: there is nothing this receipt could prove, or the record was lost.
    pub const RECEIPT_NOT_FOUND: &str = "W4_ERR_RECEIPT_NOT_FOUND";
    /// 409: the next block, which certifies the result, is still missing; try again in a second.
    pub const RECEIPT_PENDING: &str = "W4_ERR_RECEIPT_PENDING";
}
