//! A typed client: one method per route.
//!
//! In clear it speaks to the machine it runs on only (A7); over TLS to a bridge whose certificate authority it was given
//! (A139), and then it proves who it is with a certificate, or with a token and its key (A134). Every answer is bounded in
//! size and time. It retries nothing: [`ClientError::is_transient`] tells a caller that may.

use crate::{
    account::Account,
    authority::Authority,
    binding, commitment,
    component::{Anchors, Component, Components, Register, Registered, Relations, Statements},
    context, delegation,
    encoding::{Blob, Hex},
    energy, entity, event, governance,
    health::{BlockchainStatus, Health, LedgerStatus},
    lct, ledger, mrh, order, pairing, policy,
    problem::Problem,
    queue, receipt, registry, revocation, series, session,
    telemetry::{Batch, Stored},
    transaction::{Submit, Transaction},
    trust::{History, Trust},
    webhook,
};
use ::lct::sign::{PublicKey, SigningKey};
use reqwest::{
    Method, RequestBuilder, Url,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Names the contract that a client speaks (A154).
const PROFILE: HeaderName = HeaderName::from_static("x-client-profile");

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection is kept for the next request; the bridge itself ends one after 10 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take; the bridge itself gives up after 45 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(50);
/// How long an archive may take.
const ARCHIVE_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Longest answer that is read.
const ANSWER_MAX: usize = 2 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be used.
    #[error("{url:?} is not an address of a bridge: {reason}")]
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers there.
    #[error("the bridge at {url} cannot be reached: {reason}")]
    Unreachable {
        /// Of the request.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// No answer in time. What was asked may still have happened.
    #[error("the bridge at {url} did not answer in time")]
    TimedOut {
        /// Of the request.
        url: String,
    },
    /// The bridge refused.
    #[error("the bridge refused: {0}")]
    Refused(Problem),
    /// The answer is not what the contract says.
    #[error("the answer of {url} is not understood: {reason}")]
    Malformed {
        /// Of the request.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// Whether the same request may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } | ClientError::TimedOut { .. } => true,
            ClientError::Refused(problem) => {
                matches!(problem.status, 408 | 429 | 503 | 504)
                    || problem.code == crate::problem::code::RECEIPT_PENDING
            }
            ClientError::Address { .. } | ClientError::Malformed { .. } => false,
        }
    }

    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            ClientError::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

/// A token and the key that it is bound to.
#[derive(Clone)]
pub struct Credential {
    /// As the bridge gave it.
    pub token: String,
    /// Signs each request.
    pub key: SigningKey,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("key", &self.key.public()).finish_non_exhaustive()
    }
}

/// Whom a client trusts, and how it says who it is.
#[derive(Debug, Clone, Default)]
pub struct Access<'a> {
    /// Certificate of the bridge's authority in PEM; no other is believed. Without it only http to this machine is spoken.
    pub authority: Option<&'a str>,
    /// The client's own certificate and its key in PEM.
    pub identity: Option<&'a str>,
    /// Its token.
    pub credential: Option<Credential>,
}

/// A connection to one bridge. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    height: Option<u64>,
    credential: Option<Arc<Credential>>,
}

type Answer<T> = Result<T, ClientError>;

impl Client {
    /// A client for the bridge at `address`, for example `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`ClientError::Address`] unless it is `http` to a loopback address without path.
    pub fn new(address: &str) -> Answer<Self> {
        Self::with_access(address, &Access::default())
    }

    /// A client for the bridge at `address`, for example `https://bridge.example:8443`.
    ///
    /// # Errors
    /// [`ClientError::Address`] unless it is `https` and an authority is given, or `http` to a loopback address, and
    /// without path.
    pub fn with_access(address: &str, access: &Access<'_>) -> Answer<Self> {
        let refuse = |reason: &str| ClientError::Address { url: address.into(), reason: reason.into() };
        let base = Url::parse(address).map_err(|e| refuse(&e.to_string()))?;
        match (base.scheme(), access.authority) {
            ("https", Some(_)) => {}
            ("https", None) => return Err(refuse("https needs the certificate of the bridge's authority")),
            ("http", _) if base.host_str().is_some_and(is_loopback) => {}
            ("http", _) => {
                return Err(refuse(
                    "http is in clear and stays on this machine; use 127.0.0.1, [::1] or localhost",
                ));
            }
            _ => return Err(refuse("only http and https are spoken")),
        }
        if base.path() != "/" || base.query().is_some() || !base.username().is_empty() {
            return Err(refuse("it must end after the port"));
        }
        let mut http = reqwest::Client::builder()
            .no_proxy()
            // A bridge that serves older clients as well takes who names no profile for one of them.
            .default_headers([(PROFILE, HeaderValue::from_static("native"))].into_iter().collect())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .timeout(ANSWER_TIMEOUT);
        if let Some(pem) = access.authority {
            let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|e| refuse(&format!("the authority's certificate: {}", innermost(&e))))?;
            if roots.is_empty() {
                return Err(refuse("the authority's certificate: there is none in PEM"));
            }
            http = http.tls_certs_only(roots);
        }
        if let Some(pem) = access.identity {
            let identity = reqwest::Identity::from_pem(pem.as_bytes())
                .map_err(|e| refuse(&format!("the client's certificate: {}", innermost(&e))))?;
            http = http.identity(identity);
        }
        let http = http.build().map_err(|e| refuse(&innermost(&e)))?;
        let credential = access.credential.clone().map(Arc::new);
        Ok(Client { http, base, height: None, credential })
    }

    /// The same connection, whose reads of the state ask how it was after the block of this height (A117).
    #[must_use]
    pub fn at(self, height: Option<u64>) -> Self {
        Client { height, ..self }
    }

    /// `POST /sessions`; what comes back is used with [`Client::as_user`].
    pub async fn log_in(&self, login: &session::Login) -> Answer<session::Session> {
        self.post(&["sessions"], login).await
    }

    /// The same connection, used with a token.
    #[must_use]
    pub fn as_user(&self, credential: Credential) -> Self {
        Client { credential: Some(Arc::new(credential)), ..self.clone() }
    }

    /// `POST /gateways/{id}`, `id` being the component id of the gateway's app.
    pub async fn report_gateway(
        &self,
        id: &str,
        report: &crate::gateway::Report,
    ) -> Answer<crate::gateway::Reported> {
        self.post(&["gateways", id], report).await
    }

    /// `GET /health/detailed`.
    pub async fn health_detailed(&self) -> Answer<crate::health::Detailed> {
        self.get(&["health", "detailed"]).await
    }

    /// `GET /health`.
    pub async fn health(&self) -> Answer<Health> {
        self.get(&["health"]).await
    }

    /// `GET /blockchain/status`.
    pub async fn blockchain_status(&self) -> Answer<BlockchainStatus> {
        self.get(&["blockchain", "status"]).await
    }

    /// `GET /ledger/status`.
    pub async fn ledger_status(&self) -> Answer<LedgerStatus> {
        self.get(&["ledger", "status"]).await
    }

    /// `GET /authority`.
    pub async fn authority(&self) -> Answer<Authority> {
        self.get(&["authority"]).await
    }

    /// `GET /accounts/{key}`.
    pub async fn account(&self, key: &PublicKey) -> Answer<Account> {
        self.get(&["accounts", &key.to_string()]).await
    }

    /// `POST /components/register`; answers once a block holds the registration.
    pub async fn register(&self, request: &Register) -> Answer<Registered> {
        self.post(&["components", "register"], request).await
    }

    /// `GET /components`: all, or those of a role.
    pub async fn components(&self, role: Option<&str>) -> Answer<Components> {
        let query: Vec<_> = role.map(|role| ("role", role)).into_iter().collect();
        self.all(&["components"], &query).await
    }

    /// `GET /components/{id}`, by component id or cid.
    pub async fn component(&self, id: &str) -> Answer<Component> {
        self.get(&["components", id]).await
    }

    /// `GET /components/{id}/anchors`: what the ledger holds of a component's audit logs.
    pub async fn anchors(&self, id: &str) -> Answer<Anchors> {
        self.all(&["components", id, "anchors"], &[]).await
    }

    /// `GET /components/{id}/statements`, by component id or cid.
    pub async fn statements(&self, id: &str) -> Answer<Statements> {
        self.get(&["components", id, "statements"]).await
    }

    /// `GET /components/{id}/history`.
    pub async fn history(&self, id: &str) -> Answer<registry::History> {
        self.get(&["components", id, "history"]).await
    }

    /// `GET /components/{id}/config`.
    pub async fn config(&self, id: &str) -> Answer<registry::Settings> {
        self.get(&["components", id, "config"]).await
    }

    /// `GET /components/{id}/trust`, by component id or cid.
    pub async fn trust(&self, id: &str) -> Answer<Trust> {
        self.get(&["components", id, "trust"]).await
    }

    /// `GET /components/{id}/trust/history`: changes after the one of number `after`, in a context, of the component or of a
    /// relation of it.
    pub async fn trust_history(
        &self,
        id: &str,
        context: &str,
        relation: Option<&Hex<16>>,
        after: Option<u64>,
    ) -> Answer<History> {
        let (relation, after) = (relation.map(Hex::to_string), after.map(|after| after.to_string()));
        let more = [("relation", relation.as_deref()), ("after", after.as_deref())];
        let more = more.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<_> = [("context", context)].into_iter().chain(more).collect();
        self.get_with(&["components", id, "trust", "history"], &query).await
    }

    /// `GET /components/{id}/trust/history/{number}`: what proves a change, an excerpt (`spec/ledger.md`, L250).
    pub async fn trust_proof(
        &self,
        id: &str,
        context: &str,
        relation: Option<&Hex<16>>,
        number: u64,
    ) -> Answer<Vec<u8>> {
        let mut url = self.url(&["components", id, "trust", "history", &number.to_string()]);
        url.query_pairs_mut().append_pair("context", context);
        if let Some(relation) = relation {
            url.query_pairs_mut().append_pair("relation", &relation.to_string());
        }
        self.file_at(url).await
    }

    /// `GET /components/{id}/relations`, by component id or cid.
    pub async fn relations(&self, id: &str) -> Answer<Relations> {
        self.get(&["components", id, "relations"]).await
    }

    /// `GET /governance`.
    pub async fn governance(&self) -> Answer<governance::Governed> {
        self.get(&["governance"]).await
    }

    /// `GET /governance/accounts`.
    pub async fn accounts(&self) -> Answer<governance::Accounts> {
        self.all(&["governance", "accounts"], &[]).await
    }

    /// `GET /components/{id}/queue`.
    pub async fn queue(&self, id: &str) -> Answer<queue::Waiting> {
        self.get(&["components", id, "queue"]).await
    }

    /// `GET /queue/{request id}`.
    pub async fn queued(&self, request: &Hex<16>) -> Answer<queue::Request> {
        self.get(&["queue", &request.to_string()]).await
    }

    /// `GET /commitments/{commitment}`.
    pub async fn commitment(&self, commitment: &Hex<32>) -> Answer<commitment::Committed> {
        self.get(&["commitments", &commitment.to_string()]).await
    }

    /// `GET /commitments/pairs/{id}`.
    pub async fn committed_pair(&self, id: &Hex<32>) -> Answer<commitment::CommittedPair> {
        self.get(&["commitments", "pairs", &id.to_string()]).await
    }

    /// `GET /components/{id}/authorizations`.
    pub async fn authorizations(&self, id: &str) -> Answer<registry::Authorizations> {
        self.get(&["components", id, "authorizations"]).await
    }

    /// `GET /authorizations/check`: whether `a` lets itself be paired with `b`.
    pub async fn may_pair(&self, a: &str, b: &str, context: &str) -> Answer<registry::Checked> {
        let query = [("a", a), ("b", b), ("context", context)];
        self.get_with(&["authorizations", "check"], &query).await
    }

    /// `GET /mrh/{lct}`, to this depth, with tensors if they are wanted.
    pub async fn mrh(&self, lct: &Hex<32>, depth: u8, tensors: bool) -> Answer<mrh::Graph> {
        let (depth, tensors) = (depth.to_string(), tensors.to_string());
        let query = [("depth", depth.as_str()), ("include_tensors", &tensors)];
        self.get_with(&["mrh", &lct.to_string()], &query).await
    }

    /// `GET /energy/{id}/cycles`.
    pub async fn cycles(&self, id: &str) -> Answer<energy::Cycles> {
        self.all(&["energy", id, "cycles"], &[]).await
    }

    /// `GET /energy/{id}/cycles/{number}`, its events after `after`.
    pub async fn cycle(&self, id: &str, cycle: u32, after: Option<u32>) -> Answer<energy::Cycled> {
        let after = after.map(|seq| seq.to_string());
        let query: Vec<_> = after.iter().map(|seq| ("after", seq.as_str())).collect();
        self.get_with(&["energy", id, "cycles", &cycle.to_string()], &query).await
    }

    /// `GET /energy/transfers/{id}`.
    pub async fn transfer(&self, id: &Hex<16>) -> Answer<energy::Transferred> {
        self.get(&["energy", "transfers", &id.to_string()]).await
    }

    /// `GET /offers`: of everybody, or of `energy` or `capacity` alone.
    pub async fn offers(&self, what: Option<&str>) -> Answer<energy::Market> {
        let query: Vec<_> = what.map(|what| ("what", what)).into_iter().collect();
        self.all(&["offers"], &query).await
    }

    /// `GET /energy/{id}`, by component id or cid of a pack.
    pub async fn energy(&self, id: &str) -> Answer<energy::Account> {
        self.get(&["energy", id]).await
    }

    /// `GET /events`: a page of what happened on the ledger.
    pub async fn events(&self, query: &event::Query) -> Answer<event::Events> {
        let mut url = self.url(&["events"]);
        let limit = query.limit.map(|n| n.to_string());
        let given = [
            ("after", &query.after),
            ("types", &query.types),
            ("component", &query.component),
            ("limit", &limit),
        ];
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            url.query_pairs_mut().append_pair(name, value);
        }
        self.json(self.http.request(Method::GET, url)).await
    }

    /// `POST /webhooks`.
    pub async fn order_webhook(&self, order: &webhook::Order) -> Answer<webhook::Webhook> {
        self.post(&["webhooks"], order).await
    }

    /// `GET /webhooks`.
    pub async fn webhooks(&self) -> Answer<webhook::Webhooks> {
        self.get(&["webhooks"]).await
    }

    /// `GET /webhooks/{id}`, with the events that were given up.
    pub async fn webhook(&self, id: &Hex<16>) -> Answer<webhook::Letters> {
        self.get(&["webhooks", &id.to_string()]).await
    }

    /// `POST /bindings`.
    pub async fn begin_binding(&self, request: &binding::Begin) -> Answer<binding::Begun> {
        self.post(&["bindings"], request).await
    }

    /// `GET /bindings`: all, or those of a component.
    pub async fn bindings(&self, component: Option<&str>) -> Answer<binding::Bindings> {
        let query: Vec<_> = component.map(|id| ("component", id)).into_iter().collect();
        self.all(&["bindings"], &query).await
    }

    /// `GET /pairings`: those that the ledger holds, all or those of a component.
    pub async fn pairings(&self, component: Option<&str>) -> Answer<pairing::Pairings> {
        let query: Vec<_> = component.map(|id| ("component", id)).into_iter().collect();
        self.all(&["pairings"], &query).await
    }

    /// `POST /bindings/{id}/keys`.
    pub async fn binding_keys(&self, id: &Hex<16>, keys: &binding::Keys) -> Answer<binding::Introduced> {
        self.post(&["bindings", &id.to_string(), "keys"], keys).await
    }

    /// `POST /bindings/{id}/complete`; answers once a block holds the binding.
    pub async fn complete_binding(
        &self,
        id: &Hex<16>,
        request: &binding::Complete,
    ) -> Answer<binding::Bound> {
        self.post(&["bindings", &id.to_string(), "complete"], request).await
    }

    /// `POST /lct/create`; answers once a block holds the LCT.
    pub async fn create_lct(&self, request: &lct::Create) -> Answer<lct::Created> {
        self.post(&["lct", "create"], request).await
    }

    /// `GET /lct/{id}`.
    pub async fn lct(&self, id: &Hex<32>) -> Answer<lct::Lct> {
        self.get(&["lct", &id.to_string()]).await
    }

    /// `GET /lct/{id}/contexts`.
    pub async fn contexts(&self, lct: &Hex<32>) -> Answer<context::Contexts> {
        self.get(&["lct", &lct.to_string(), "contexts"]).await
    }

    /// `POST /lct/scopes`.
    pub async fn give_scope(&self, request: &context::GiveScope) -> Answer<context::Scoped> {
        self.post(&["lct", "scopes"], request).await
    }

    /// `POST /pairings`.
    pub async fn issue_pairing(&self, request: &pairing::Issue) -> Answer<pairing::Issued> {
        self.post(&["pairings"], request).await
    }

    /// `POST /pairings/{id}/complete`; answers once a block holds the completion.
    pub async fn complete_pairing(
        &self,
        id: &Hex<16>,
        request: &pairing::Complete,
    ) -> Answer<pairing::Completed> {
        self.post(&["pairings", &id.to_string(), "complete"], request).await
    }

    /// `GET /pairings/{id}`.
    pub async fn pairing(&self, id: &Hex<16>) -> Answer<pairing::Pairing> {
        self.get(&["pairings", &id.to_string()]).await
    }

    /// `GET /time-token`.
    pub async fn time_token(&self) -> Answer<revocation::TimeToken> {
        self.get(&["time-token"]).await
    }

    /// `GET /revocations`.
    pub async fn revocations(&self) -> Answer<revocation::Revocations> {
        self.get(&["revocations"]).await
    }

    /// `POST /delegations`; answers once a block holds it.
    pub async fn delegate(&self, request: &delegation::Delegate) -> Answer<delegation::Delegated> {
        self.post(&["delegations"], request).await
    }

    /// `GET /delegations`.
    pub async fn delegations(&self) -> Answer<delegation::Delegations> {
        self.all(&["delegations"], &[]).await
    }

    /// `GET /delegations/{id}`.
    pub async fn delegation(&self, id: &Hex<16>) -> Answer<delegation::Delegated> {
        self.get(&["delegations", &id.to_string()]).await
    }

    /// `GET /delegations/{id}/brief`, which also tells whether the components `beside` have owners.
    pub async fn brief(&self, id: &Hex<16>, beside: &[String]) -> Answer<delegation::Brief> {
        let beside = beside.join(",");
        let query: Vec<_> =
            Some(("beside", beside.as_str())).filter(|_| !beside.is_empty()).into_iter().collect();
        self.get_with(&["delegations", &id.to_string(), "brief"], &query).await
    }

    /// `POST /bindings/{id}/adopt`.
    pub async fn adopt(&self, id: &Hex<16>, request: &binding::Adopt) -> Answer<binding::Adopted> {
        self.post(&["bindings", &id.to_string(), "adopt"], request).await
    }

    /// `POST /orders`.
    pub async fn place_order(&self, request: &order::Place) -> Answer<order::Order> {
        self.post(&["orders"], request).await
    }

    /// `GET /orders`: what waits.
    pub async fn orders(&self) -> Answer<order::Orders> {
        self.all(&["orders"], &[]).await
    }

    /// `GET /orders/{id}`.
    pub async fn order(&self, id: &Hex<16>) -> Answer<order::Order> {
        self.get(&["orders", &id.to_string()]).await
    }

    /// `POST /orders/{id}/outcome`.
    pub async fn order_outcome(&self, id: &Hex<16>, request: &order::Outcome) -> Answer<order::Order> {
        self.post(&["orders", &id.to_string(), "outcome"], request).await
    }

    /// `POST /api/binding/generate-keys`, of an entity (A91).
    pub async fn generate_keys(&self, request: &entity::GenerateKeys) -> Answer<entity::GeneratedKeys> {
        let mut url = self.base.clone();
        url.set_path(entity::GENERATE_KEYS);
        self.json(self.http.request(Method::POST, url).json(request)).await
    }

    /// `POST /api/delegation/carry`, of an entity (A96).
    pub async fn carry(&self, request: &entity::Carry) -> Answer<entity::Carried> {
        let mut url = self.base.clone();
        url.set_path(entity::CARRY);
        self.json(self.http.request(Method::POST, url).json(request)).await
    }

    /// `POST /revocations`; answers once the list that says so is on disk.
    pub async fn revoke(&self, request: &revocation::Revoke) -> Answer<revocation::Revocations> {
        self.post(&["revocations"], request).await
    }

    /// `GET /policies`, of all bindings or of those of one component.
    pub async fn policies(&self, component: Option<&str>) -> Answer<policy::Standings> {
        let query: Vec<_> = component.map(|id| ("component", id)).into_iter().collect();
        self.all(&["policies"], &query).await
    }

    /// `GET /policies/{binding id}`.
    pub async fn policy(&self, binding: &Hex<16>) -> Answer<policy::Policy> {
        self.get(&["policies", &binding.to_string()]).await
    }

    /// `POST /policies`; answers once the proposals are on disk.
    pub async fn propose_policy(&self, request: &policy::Propose) -> Answer<policy::Standings> {
        self.post(&["policies"], request).await
    }

    /// `POST /policies/{binding id}/signatures`; answers once the update is on disk.
    pub async fn sign_policy(&self, binding: &Hex<16>, request: &policy::Sign) -> Answer<policy::Policy> {
        self.post(&["policies", &binding.to_string(), "signatures"], request).await
    }

    /// `POST /transactions`; with `wait` answers once a block holds it.
    pub async fn submit(&self, transaction: &[u8], wait: bool) -> Answer<Transaction> {
        let mut url = self.url(&["transactions"]);
        if wait {
            url.set_query(Some("wait=1"));
        }
        let request = Submit { transaction: Blob::from(transaction) };
        self.json(self.http.request(Method::POST, url).json(&request)).await
    }

    /// `GET /transactions/{hash}`.
    pub async fn transaction(&self, hash: &Hex<32>) -> Answer<Transaction> {
        self.get(&["transactions", &hash.to_string()]).await
    }

    /// `POST /telemetry/batches`; answers once the records are on disk.
    pub async fn submit_batch(&self, batch: &Batch) -> Answer<Stored> {
        self.post(&["telemetry", "batches"], batch).await
    }

    /// `GET /telemetry/{id}/series`: the records of a component over time, by component id or cid.
    pub async fn series(&self, id: &str, wanted: &series::Wanted) -> Answer<series::Series> {
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let (from, to) = (number(wanted.from_ms), number(wanted.to_ms));
        let optional = [("from_ms", &from), ("to_ms", &to), ("quantity", &wanted.quantity)];
        let given = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let query: Vec<_> =
            std::iter::once(("resolution", wanted.resolution.as_str())).chain(given).collect();
        self.get_with(&["telemetry", id, "series"], &query).await
    }

    /// `GET /receipts/{hash}`: the receipt file of a transaction.
    pub async fn receipt(&self, hash: &Hex<32>) -> Answer<Vec<u8>> {
        self.file(&["receipts", &hash.to_string()]).await
    }

    /// `GET /receipts/{component id}/{seq}`: the receipt file of a telemetry record.
    pub async fn record_receipt(&self, component_id: &str, seq: u32) -> Answer<Vec<u8>> {
        self.file(&["receipts", component_id, &seq.to_string()]).await
    }

    /// `GET /ledger/state/{key}`: what the state holds under a key, after the block of `height` or the last one.
    pub async fn state(&self, key: &[u8], height: Option<u64>) -> Answer<ledger::StateObject> {
        let mut url = self.url(&["ledger", "state", &hex::encode(key)]);
        url.set_query(height.map(|height| format!("height={height}")).as_deref());
        self.json(self.http.request(Method::GET, url)).await
    }

    /// `GET /ledger/blocks/{height}`.
    pub async fn block(&self, height: u64) -> Answer<ledger::BlockView> {
        self.get(&["ledger", "blocks", &height.to_string()]).await
    }

    /// `GET /ledger/archive`: gives the ledger piece by piece to `take`, from the genesis or the state after the block of
    /// `height`; ends early, without error, when `take` says `false`.
    pub async fn archive(&self, height: Option<u64>, mut take: impl FnMut(&[u8]) -> bool) -> Answer<()> {
        let mut url = self.url(&["ledger", "archive"]);
        url.set_query(height.map(|height| format!("height={height}")).as_deref());
        let shown = url.to_string();
        let fail = |e: reqwest::Error| failure(&shown, &e);
        // It takes as long as it is long.
        let (http, request) = self.http.get(url).timeout(ARCHIVE_TIMEOUT).build_split();
        let mut request = request.map_err(fail)?;
        if let Some(credential) = &self.credential {
            prove(&mut request, credential)?;
        }
        let mut answer = http.execute(request).await.map_err(fail)?;
        if !answer.status().is_success() {
            let status = answer.status();
            let body = answer.bytes().await.map_err(fail)?;
            return match serde_json::from_slice(&body) {
                Ok(problem) => Err(ClientError::Refused(problem)),
                Err(_) => {
                    let reason = format!("status {status} without a problem body");
                    Err(ClientError::Malformed { url: shown, reason })
                }
            };
        }
        while let Some(piece) = answer.chunk().await.map_err(fail)? {
            if !take(&piece) {
                break;
            }
        }
        Ok(())
    }

    /// The address of a route; segments are escaped.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.set_path(crate::PREFIX);
        // An http address always has a path that can be extended.
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }

    async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Answer<T> {
        self.get_with(segments, &[]).await
    }

    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Answer<T> {
        let mut url = self.url(segments);
        let height = self.height.map(|height| ("height", height.to_string()));
        if height.is_some() || !query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(query);
            pairs.extend_pairs(height);
        }
        self.json(self.http.request(Method::GET, url)).await
    }

    async fn post<T: DeserializeOwned>(&self, segments: &[&str], body: &impl Serialize) -> Answer<T> {
        self.json(self.http.request(Method::POST, self.url(segments)).json(body)).await
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Answer<T> {
        let (url, body) = self.send(request).await?;
        serde_json::from_slice(&body).map_err(|e| ClientError::Malformed { url, reason: e.to_string() })
    }

    async fn file(&self, segments: &[&str]) -> Answer<Vec<u8>> {
        self.file_at(self.url(segments)).await
    }

    async fn file_at(&self, url: Url) -> Answer<Vec<u8>> {
        let (url, body) = self.send(self.http.request(Method::GET, url)).await?;
        if body.len() > receipt::MAX_LEN {
            let reason = format!("{} bytes are more than any receipt has", body.len());
            return Err(ClientError::Malformed { url, reason });
        }
        Ok(body)
    }

    /// Sends a request and reads the body of a successful answer.
    async fn send(&self, request: RequestBuilder) -> Answer<(String, Vec<u8>)> {
        let (http, request) = request.build_split();
        let mut request = request
            .map_err(|e| ClientError::Address { url: self.base.to_string(), reason: innermost(&e) })?;
        if let Some(credential) = &self.credential {
            prove(&mut request, credential)?;
        }
        let url = request.url().to_string();
        let fail = |e: reqwest::Error| failure(&url, &e);
        let mut answer = http.execute(request).await.map_err(fail)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(fail)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                let reason = format!("it is longer than {ANSWER_MAX} bytes");
                return Err(ClientError::Malformed { url, reason });
            }
            body.extend_from_slice(&chunk);
        }
        if answer.status().is_success() {
            return Ok((url, body));
        }
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(ClientError::Refused(problem)),
            Err(_) => {
                let reason = format!("status {} without a problem body", answer.status());
                Err(ClientError::Malformed { url, reason })
            }
        }
    }
}

/// Adds the token, and the proof that its key made this request.
fn prove(request: &mut reqwest::Request, credential: &Credential) -> Answer<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let url = request.url();
    let refuse = |reason: &str| ClientError::Address { url: url.to_string(), reason: reason.into() };
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| refuse("the clock is not set"))?;
    // Never twice the same: not in this process, nor in another at another instant.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let parts = (since.as_nanos().to_be_bytes(), count.to_be_bytes(), std::process::id().to_be_bytes());
    let hash = ::lct::hash::sha256(&[b"modbatt1 nonce", &parts.0, &parts.1, &parts.2]);
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&hash[..16]);
    let time_ms = since.as_millis() as u64;
    let host = url.host_str().unwrap_or("");
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let asked = session::Asked {
        method: request.method().as_str(),
        authority: &authority,
        path: &path,
        token: &credential.token,
    };
    let signature = credential.key.sign_rfc6979(&session::Proof::digest(&asked, time_ms, &nonce));
    let proof = session::Proof { time_ms, nonce, signature };
    let secret = |text: String| {
        let value = HeaderValue::from_str(&text).map_err(|_| refuse("the token is none"));
        value.map(|mut value| {
            value.set_sensitive(true);
            value
        })
    };
    let (bearer, proof) = (secret(format!("Bearer {}", credential.token))?, secret(proof.to_string())?);
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request.headers_mut().insert(session::PROOF_HEADER, proof);
    Ok(())
}

/// Whether a host in an address or a `Host` header is this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn failure(url: &str, e: &reqwest::Error) -> ClientError {
    let url = url.to_string();
    if e.is_timeout() && !e.is_connect() {
        ClientError::TimedOut { url }
    } else if e.is_body() || e.is_decode() {
        ClientError::Malformed { url, reason: innermost(e) }
    } else {
        ClientError::Unreachable { url, reason: innermost(e) }
    }
}

/// The innermost cause: what lies above it repeats the address.
pub fn innermost(e: &dyn std::error::Error) -> String {
    let mut at = e;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

#[cfg(test)]
mod tests;
