//! The way to the bridge: executes the core's requests and empties the outbox.
//!
//! Transactions are signed here with the gateway's account key; statements inside them are signed by devices. A
//! transient failure is tried again three times (1 s, 2 s, 4 s, with jitter), then the caller is told and the job
//! stays in the outbox.

mod context;

use crate::{
    collect::Entry,
    commission::{PolicyStep, Reply, Request, Signed},
    orders::{Ending, OrderId},
    outbox::Job,
};
use api::{
    Blob, Client, ClientError, Fixed, Hex, Problem,
    order::{Outcome, SAID_MAX, State, outcome_digest},
    sign::Envelope,
};
use lct::{
    Digest,
    id::{BindingId, PairingId},
    sign::SigningKey,
    validation::Event,
};
use ledger::tx::Body;
use pack::answers::DeviceKeys;
use rand_core::CryptoRng;
use std::time::Duration;

/// Tries of one request, and the first pause between them.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// Blocks for which a transaction stays valid.
const EXPIRY_BLOCKS: u64 = 10_000;
/// Label of this program in the bridge's log.
const CREATOR: &str = "gateway";

/// Why the bridge did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The bridge or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A statement that no transaction can carry.
    #[error("a statement cannot be sent: {0}")]
    Statement(#[from] lct::Error),
    /// The ledger.
    #[error("the ledger refuses it: {0}")]
    Refused(String),
    /// An answer that does not fit.
    #[error("the bridge's answer does not fit the question: {0}")]
    Answer(&'static str),
}

impl UplinkError {
    /// Whether the bridge did not answer: it is not there, or too far away, or somebody on the way speaks in its place (a proxy that
    /// does not reach it, a portal). One that refuses or is busy is there.
    pub fn is_away(&self) -> bool {
        use ClientError::{Malformed, TimedOut, Unreachable};
        matches!(self, Self::Client(Unreachable { .. } | TimedOut { .. } | Malformed { .. }))
    }

    /// Whether an owner has to agree first, which may still happen (`spec/api.md`, A93).
    pub fn is_owner_asked(&self) -> bool {
        matches!(self, Self::Client(e) if e.code() == Some(api::problem::code::REBIND_OWNER))
    }
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uploaded {
    /// Accepted by the node under this transaction.
    Accepted(Digest),
    /// The ledger has it already.
    AlreadyThere,
    /// Refused for good.
    Refused(String),
    /// Refused for good, because a key that signed it has ended.
    KeyEnded(String),
}

/// A connection with an account.
pub struct Uplink<R> {
    client: Client,
    key: SigningKey,
    chain_id: Digest,
    next_nonce: Option<(u64, u64)>,
    rng: R,
}

impl<R: CryptoRng> Uplink<R> {
    /// An uplink that signs with `key` for chain `chain_id`.
    pub fn new(client: Client, key: SigningKey, chain_id: Digest, rng: R) -> Self {
        Uplink { client, key, chain_id, next_nonce: None, rng }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    async fn signed(&mut self, body: Body) -> Result<api::sign::SignedTx, UplinkError> {
        let (nonce, height) = match self.next_nonce {
            Some(known) => known,
            None => {
                let account = self.client.account(&self.key.public()).await?;
                (account.next_nonce, account.height)
            }
        };
        let expiry_height = height + EXPIRY_BLOCKS;
        let envelope = Envelope { chain_id: self.chain_id, nonce, expiry_height };
        let tx = api::sign::sign(body, &envelope, &self.key, &mut self.rng);
        self.next_nonce = Some((nonce + 1, height));
        Ok(tx)
    }

    /// Root of the ledger's state.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn root(&self) -> Result<Digest, ClientError> {
        Ok(self.client.ledger_status().await?.state_root.0)
    }

    /// Tells the bridge how an order ended.
    ///
    /// # Errors
    /// [`ClientError`]; the order then waits on, and its ending is told again.
    pub async fn order_ended(&mut self, id: &OrderId, ending: &Ending) -> Result<(), ClientError> {
        let (state, said) = match ending {
            Ok(said) => (State::Done, printable(said)),
            Err(why) => (State::Failed, printable(why)),
        };
        let digest = outcome_digest(&self.chain_id, id, state, &said);
        let signature = self.key.sign(&digest, &mut self.rng);
        let outcome = Outcome { state, said, key: Hex(self.key.public().0), signature: Fixed(signature.0) };
        self.client.order_outcome(&Hex(*id), &outcome).await.map(drop)
    }

    /// After any failure the nonce is asked again: what was sent may or may not have been taken.
    fn forget_nonce(&mut self) {
        self.next_nonce = None;
    }

    async fn pause(&mut self, attempt: u32) {
        let jitter = u64::from(self.rng.next_u32() % 250);
        tokio::time::sleep(PAUSE * (1 << attempt) + Duration::from_millis(jitter)).await;
    }

    /// Executes a request of the core, with retries.
    pub async fn execute(&mut self, request: &Request) -> Result<Reply, UplinkError> {
        let mut attempt = 0;
        loop {
            match self.try_execute(request).await {
                Err(UplinkError::Client(e))
                    if attempt < TRIES
                        && (e.is_transient()
                            || matches!(request, Request::Register { .. } | Request::State(_))
                                && e.code().is_some_and(is_overtaken)) =>
                {
                    self.forget_nonce();
                    self.pause(attempt).await;
                    attempt += 1;
                }
                Err(UplinkError::Client(e)) if is_done(e.code()) => {
                    self.forget_nonce();
                    return Ok(Reply::Done);
                }
                Err(e) => {
                    self.forget_nonce();
                    return Err(e);
                }
                done => return done,
            }
        }
    }

    async fn try_execute(&mut self, request: &Request) -> Result<Reply, UplinkError> {
        let creator = CREATOR.to_owned();
        Ok(match request {
            Request::Register { component_id, statement, proof } => {
                let tx = self.signed(api::sign::register(statement, proof)?).await?;
                let mut shown = serde_json::Map::new();
                shown.insert("component_id".into(), component_id.as_str().into());
                let register = api::component::Register {
                    creator,
                    component_data: shown,
                    context: "manufacturing".into(),
                    transaction: Blob(tx.bytes),
                };
                self.client.register(&register).await?;
                Reply::Done
            }
            Request::BeginBinding { ids: [a, b], assurance } => {
                let party = |id: &String| api::binding::Party {
                    component_id: id.clone(),
                    access: format!("can:{id}"),
                };
                let assurance = assurance.name().to_owned();
                let begin = api::binding::Begin { creator, a: party(a), b: party(b), assurance };
                let begun = self.client.begin_binding(&begin).await?;
                let requests = [begun.requests.a.0, begun.requests.b.0];
                Reply::Begun { id: BindingId(begun.binding_id.0), requests }
            }
            Request::BindingKeys { id, keys: [a, b] } => {
                let key = |k: &DeviceKeys| api::binding::AttestedKey {
                    spk: Fixed(k.spk),
                    attestation: Fixed(k.attestation),
                    replaces: k.replaces.map(|(nonce, old)| api::binding::Replaces {
                        nonce: Fixed(nonce),
                        binding_id: Fixed(old),
                    }),
                };
                let keys = api::binding::Keys { a: key(a), b: key(b) };
                let introduced = self.client.binding_keys(&Hex(id.0), &keys).await?;
                Reply::Introduced {
                    introductions: [introduced.introductions.a.0, introduced.introductions.b.0],
                    packages: [introduced.packages.a.0, introduced.packages.b.0],
                }
            }
            Request::CompleteBinding { id, signed: [a, b] } => {
                let signatures = api::binding::Sides { a: Fixed(a.signature), b: Fixed(b.signature) };
                let word = |signed: &Signed| {
                    signed.replacement.as_ref().map(|r| api::binding::Replacement {
                        leave: Blob(r.leave.clone()),
                        statement: Blob(r.statement.clone()),
                        signature: Fixed(r.signature),
                    })
                };
                let replacements = api::binding::Sides { a: word(a), b: word(b) };
                let complete = api::binding::Complete { signatures, replacements };
                self.client.complete_binding(&Hex(id.0), &complete).await?;
                Reply::Done
            }
            Request::CreateLct { ids: [a, b] } => {
                let create = api::lct::Create {
                    creator,
                    component_a: a.clone(),
                    component_b: b.clone(),
                    context: "battery_management".into(),
                    proxy_id: String::new(),
                };
                self.client.create_lct(&create).await?;
                Reply::Done
            }
            Request::IssuePairing { ids: [a, b], salt, iv_seed } => {
                let issue = api::pairing::Issue {
                    creator,
                    a: a.clone(),
                    b: b.clone(),
                    context: api::pairing::BATTERY_MANAGEMENT.into(),
                    salt: Fixed(*salt),
                    iv_seed: Fixed(*iv_seed),
                    valid_days: api::pairing::DEFAULT_DAYS,
                    unencrypted_allowed: Vec::new(),
                };
                let issued = self.client.issue_pairing(&issue).await?;
                // Asked for after the certificate: it cannot be older than the one that is named there.
                let list = self.client.revocations().await?.list.0;
                Reply::Issued { id: PairingId(issued.pairing_id.0), certificate: issued.certificate.0, list }
            }
            Request::CompletePairing { id, nonce, th4, signatures: [a, b] } => {
                let complete = api::pairing::Complete {
                    validation_nonce: Fixed(*nonce),
                    th4: Fixed(*th4),
                    entity_signatures: api::binding::Sides { a: Fixed(*a), b: Fixed(*b) },
                };
                self.client.complete_pairing(&Hex(id.0), &complete).await?;
                Reply::Done
            }
            Request::Scope { component_id } => {
                let account = Hex(self.key.public().0);
                let scope = api::context::GiveScope { creator, component_id: component_id.clone(), account };
                self.client.give_scope(&scope).await?;
                Reply::Done
            }
            Request::Answerable { component_id } => Reply::Answerable(self.answerable(component_id).await?),
            Request::State(signed) => match self.state(signed).await? {
                Uploaded::Refused(why) | Uploaded::KeyEnded(why) => return Err(UplinkError::Refused(why)),
                Uploaded::Accepted(_) | Uploaded::AlreadyThere => Reply::Done,
            },
            Request::Policy { id } => Reply::Policy(step(self.client.policy(&Hex(id.0)).await?)?),
            Request::SignPolicy { id, version, signatures: [a, b] } => {
                let signatures = api::binding::Sides { a: Fixed(*a), b: Fixed(*b) };
                let sign = api::policy::Sign { version: *version, signatures };
                Reply::Policy(step(self.client.sign_policy(&Hex(id.0), &sign).await?)?)
            }
        })
    }

    /// Sends a job once. Transient failures are errors: the job stays where it is.
    pub async fn upload(&mut self, job: &Job) -> Result<Uploaded, UplinkError> {
        let sent = self.try_upload(job).await;
        match sent {
            Err(UplinkError::Client(ClientError::Refused(problem)))
                if !matches!(problem.status, 408 | 429 | 503 | 504) && !is_overtaken(&problem.code) =>
            {
                self.forget_nonce();
                self.refused(job, &problem.code, problem.to_string()).await
            }
            // No transaction will ever carry it, and what follows does not wait for it.
            Err(UplinkError::Statement(e)) => Ok(Uploaded::Refused(UplinkError::Statement(e).to_string())),
            Err(e) => {
                self.forget_nonce();
                Err(e)
            }
            done => done,
        }
    }

    async fn try_upload(&mut self, job: &Job) -> Result<Uploaded, UplinkError> {
        match job {
            Job::Batch { statement, key, signature, entries } => {
                let tx = self.signed(api::sign::batch(statement, key, signature)?).await?;
                let records = entries.iter().map(|e| match e {
                    Entry::Record(bytes) => api::telemetry::Entry::Record(Blob(bytes.clone())),
                    Entry::Lost(seq, leaf) => {
                        api::telemetry::Entry::Lost(api::telemetry::Gap { seq: *seq, leaf: Fixed(*leaf) })
                    }
                });
                let batch = api::telemetry::Batch { transaction: Blob(tx.bytes), records: records.collect() };
                let stored = self.client.submit_batch(&batch).await?;
                Ok(Uploaded::Accepted(stored.txhash.0))
            }
            Job::Energy { statement, key, signature } => {
                let body = match lct::energy::CycleClose::decode(statement) {
                    Ok(_) => api::sign::cycle_close(statement, key, signature)?,
                    Err(_) => api::sign::energy(statement, key, signature)?,
                };
                self.submit(body).await
            }
            Job::Statement { statement, key, signature, witness } => {
                self.submit(api::sign::stated(statement, key, signature, witness.as_slice())?).await
            }
            Job::Metrics { statement, key, signature } => {
                self.submit(api::sign::metrics(statement, key, signature)?).await
            }
            Job::Checkpoint { statement, key, signature } => {
                self.submit(api::sign::checkpoint(statement, key, signature)?).await
            }
            Job::Context(signed) => self.state(signed).await,
            Job::Withdrawal { statement, key, signature } => {
                let body = api::sign::revoke_signed(statement, key, signature)?;
                let id = Event::decode(statement)?.payload.first_chunk().map(|id| Hex(*id));
                self.withdraw(id.ok_or(lct::Error::Malformed)?, body).await
            }
        }
    }

    /// Submits the end of a pairing, unless the ledger has it: a repetition would be refused like an older event.
    async fn withdraw(&mut self, pairing: Hex<16>, body: Body) -> Result<Uploaded, UplinkError> {
        if self.client.pairing(&pairing).await?.is_revoked() {
            return Ok(Uploaded::AlreadyThere);
        }
        let tx = self.signed(body).await?;
        let sent = self.client.submit(&tx.bytes, true).await?;
        match sent.status.as_str() {
            // The authority may have been faster.
            "refused" if self.client.pairing(&pairing).await?.is_revoked() => Ok(Uploaded::AlreadyThere),
            "refused" => {
                let (code, error) = reasons(sent.code, sent.error)?;
                self.not_overtaken(&code, &error)?;
                Ok(Uploaded::Refused(format!("{code}: {error}")))
            }
            _ => Ok(Uploaded::Accepted(sent.txhash.0)),
        }
    }

    /// What the refusal of a job with `code` means.
    async fn refused(&self, job: &Job, code: &str, reason: String) -> Result<Uploaded, UplinkError> {
        let there = match job {
            // A later event of its component may have come first: whether this one is recorded only the ledger knows.
            Job::Statement { statement, .. } if code == VALIDATION_REPLAY => {
                let event = Event::decode(statement)?;
                let stated = self.client.statements(&Hex(event.cid.0).to_string()).await?.statements;
                stated.iter().any(|s| (s.boot, s.seq) == event.position())
            }
            _ => is_duplicate(code),
        };
        let ended = match job {
            // A suspended witness is refused by the same code, and has its key still: nobody signs that anew.
            Job::Statement { witness: Some((seen, by)), .. } if code == WITNESS_KEY => {
                let witness = self.client.component(&Hex(seen.witness.0).to_string()).await?;
                !witness.signing_keys.contains(&Hex(by.0))
            }
            _ => is_key_ended(code),
        };
        Ok(match there {
            true => Uploaded::AlreadyThere,
            false if ended => Uploaded::KeyEnded(reason),
            false => Uploaded::Refused(reason),
        })
    }

    /// Another program used the number of this account: the job is sent again under the next one.
    fn not_overtaken(&mut self, code: &str, error: &str) -> Result<(), UplinkError> {
        if !is_overtaken(code) {
            return Ok(());
        }
        self.forget_nonce();
        Err(ClientError::Refused(Problem::new(409, code, error)).into())
    }

    async fn submit(&mut self, body: Body) -> Result<Uploaded, UplinkError> {
        let tx = self.signed(body).await?;
        let accepted = self.client.submit(&tx.bytes, false).await?;
        Ok(Uploaded::Accepted(accepted.txhash.0))
    }

    /// What became of the accepted transaction of a job: `None` while it waits.
    pub async fn fate(&mut self, job: &Job, id: &Digest) -> Result<Option<Uploaded>, UplinkError> {
        match self.client.transaction(&Hex(*id)).await {
            Ok(t) if t.status == "included" => Ok(Some(Uploaded::Accepted(*id))),
            Ok(t) if t.status == "refused" => {
                let (code, error) = reasons(t.code, t.error)?;
                self.not_overtaken(&code, &error)?;
                self.refused(job, &code, format!("{code}: {error}")).await.map(Some)
            }
            Ok(_) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// Code and words of a refusal. Without its code it could be that of a duplicate, and no job is given up on a guess.
fn reasons(code: Option<String>, error: Option<String>) -> Result<(String, String), UplinkError> {
    code.zip(error).ok_or(UplinkError::Answer("a refusal without code or words"))
}

/// As much of `text` as an outcome may hold.
fn printable(text: &str) -> String {
    let mut said: String = text.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=SAID_MAX.min(said.len())).rev().find(|at| said.is_char_boundary(*at)).unwrap_or(0);
    said.truncate(end);
    said
}

/// What is missing until the policy that was ordered is in force.
fn step(policy: api::policy::Policy) -> Result<PolicyStep, UplinkError> {
    let api::policy::Policy { standing, proposal, update } = policy;
    match (standing.is_open(), proposal, update) {
        (false, ..) if standing.due => Ok(PolicyStep::Pair),
        (false, ..) => Ok(PolicyStep::InForce),
        (true, Some(proposal), _) => Ok(PolicyStep::Sign(proposal.0)),
        (true, None, Some(update)) => Ok(PolicyStep::Take(update.0)),
        (true, None, None) => Err(UplinkError::Answer("a policy was ordered, and there is none")),
    }
}

/// By this the ledger says that it has an event of the same component with this position or a later one.
const VALIDATION_REPLAY: &str = "W4_ERR_VALIDATION_REPLAY";

/// Whether the ledger refused only the number of a transaction, which another program with the same account used.
fn is_overtaken(code: &str) -> bool {
    matches!(code, "W4_ERR_PROTO_REPLAY" | "W4_ERR_PROTO_SEQUENCE")
}

/// By this the ledger says that the key of a witness is in force no more, or that the witness is suspended.
const WITNESS_KEY: &str = "W4_ERR_WITNESS_KEY";

/// Codes by which the ledger says that a key is in force no more: that of the signer, or that of a witness.
fn is_key_ended(code: &str) -> bool {
    code == "W4_ERR_STATEMENT_REVOKED" || code == WITNESS_KEY
}

/// Codes by which the ledger says that it has a statement already: jobs leave the outbox in order, so what does
/// not follow the last one recorded was recorded before.
fn is_duplicate(code: &str) -> bool {
    matches!(
        code,
        "W4_ERR_TELEMETRY_OVERLAP"
            | "W4_ERR_ENERGY_SEQUENCE"
            | "W4_ERR_ENERGY_CYCLE_CLOSED"
            | "W4_ERR_CYCLE_CLOSED"
            | "W4_ERR_AUDIT_EXISTS"
            | "W4_ERR_TRUST_OVERLAP"
    )
}

/// Codes by which the bridge says that a commissioning task was done before.
fn is_done(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "W4_ERR_BINDING_EXISTS"
                | "W4_ERR_BINDING_PAIR_EXISTS"
                | "W4_ERR_LCT_EXISTS"
                | "W4_ERR_PAIRING_EXISTS"
                | "W4_ERR_REGISTRY_EXISTS"
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{
        id::Cid,
        sign::{PublicKey, Signature},
        validation::{Attestation, EVENT_MAX, EventKind},
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
    use std::io::{BufRead, Write};

    /// An event at (1, seq), signed by the pack with `key`.
    fn event(
        kind: EventKind,
        seq: u32,
        payload: &[u8],
        key: &SigningKey,
        rng: &mut ChaCha20Rng,
    ) -> (Vec<u8>, Signature) {
        let event = Event::new(kind, Cid::of("pack-0001"), 1, seq, payload).unwrap();
        let mut bytes = [0; EVENT_MAX];
        let n = event.encode(&mut bytes).unwrap();
        (bytes[..n].to_vec(), event.sign(key, rng).unwrap())
    }

    /// A pack waits for a bridge that is there and busy, and not for one that is not there or cannot be reached by who answers.
    #[test]
    fn who_refuses_for_now_is_not_away() {
        let url = || "http://127.0.0.1:1".to_owned();
        for (error, away) in [
            (ClientError::Unreachable { url: url(), reason: "refused".into() }, true),
            (ClientError::TimedOut { url: url() }, true),
            (ClientError::Refused(Problem::new(429, "W4_ERR_RATE_LIMIT", "slower")), false),
            (ClientError::Refused(Problem::new(503, "W4_ERR_BUSY", "later")), false),
            (ClientError::Malformed { url: url(), reason: "no JSON".into() }, true),
        ] {
            assert_eq!(UplinkError::from(error).is_away(), away);
        }
        assert!(!UplinkError::Answer("another question").is_away());
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A bridge that refuses every transaction as older than the last of its component, and whose ledger has the event (1, 1). Each
    /// component is suspended and has one key in force.
    fn refusing_bridge(in_force: PublicKey) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                let mut request = std::io::BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                request.read_line(&mut line).unwrap();
                let (status, body) = if line.contains("/statements") {
                    let one = serde_json::json!({"event": "fault", "level": 2, "boot": 1, "seq": 1, "witnesses": 0,
                        "recorded_at": 0, "txhash": Hex([0; 32])});
                    let cid = Hex(Cid::of("pack-0001").0);
                    (
                        200,
                        serde_json::json!({"component_id": "pack-0001", "cid": cid, "height": 1, "count": 1, "statements": [one]}),
                    )
                } else if line.contains("/components/") {
                    let mut component = serde_json::json!({"component_id": "pack-0001", "cid": Hex(Cid::of("pack-0001").0),
                        "height": 1, "role": "pack", "component_type": "pack", "status": "suspended", "registered_at": 0});
                    for name in ["hardware_version", "firmware_version", "capacity_mwh", "opening_soc_ppm"] {
                        component[name] = 0.into();
                    }
                    component["serial"] = "1".into();
                    component["lct_id"] = serde_json::json!(Hex([0; 32]));
                    component["device_key"] = serde_json::json!(Hex(in_force.0));
                    component["signing_keys"] = serde_json::json!([Hex(in_force.0)]);
                    component["bindings"] = serde_json::json!([]);
                    (200, component)
                } else {
                    (409, serde_json::json!({"error": "older", "code": VALIDATION_REPLAY, "status": 409}))
                };
                let body = body.to_string();
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
                .unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                std::io::copy(&mut request, &mut std::io::sink()).unwrap();
            }
        });
        address
    }

    /// Refused as older than the last is no proof that the ledger has it: it may have been overtaken.
    #[test]
    fn an_event_that_was_overtaken_is_not_taken_for_recorded() {
        runtime().block_on(async {
            let mut rng = ChaCha20Rng::seed_from_u64(7);
            let key = SigningKey::generate(&mut rng);
            let mut job = |seq| {
                let (statement, signature) = event(EventKind::Fault, seq, b"hot", &key, &mut rng);
                Job::Statement { statement, key: key.public(), signature, witness: None }
            };
            let jobs = [job(1), job(2)];
            let client = Client::new(&refusing_bridge(key.public())).unwrap();
            let mut uplink = Uplink::new(client, key, [0; 32], rng);
            uplink.next_nonce = Some((0, 1));
            assert_eq!(uplink.upload(&jobs[0]).await.unwrap(), Uploaded::AlreadyThere);
            uplink.next_nonce = Some((0, 1));
            let lost = uplink.upload(&jobs[1]).await.unwrap();
            assert!(matches!(&lost, Uploaded::Refused(why) if why.contains(VALIDATION_REPLAY)), "{lost:?}");
            let reason = "W4_ERR_VALIDATION_REPLAY: older".to_owned();
            let payload = [&[7; 16][..], &[4]].concat();
            let (statement, signature) = event(
                EventKind::PairingRevocation,
                1,
                &payload,
                &uplink.key,
                &mut ChaCha20Rng::seed_from_u64(8),
            );
            let end = Job::Withdrawal { statement, key: uplink.key.public(), signature };
            let told = uplink.refused(&end, VALIDATION_REPLAY, reason.clone()).await.unwrap();
            assert_eq!(told, Uploaded::Refused(reason), "an end that is not recorded is not done");
        });
    }

    /// No new key follows a suspension (L133), and a device tells nothing else while it waits for one (H230).
    #[test]
    fn what_a_suspended_witness_saw_waits_for_no_key() {
        runtime().block_on(async {
            let mut rng = ChaCha20Rng::seed_from_u64(10);
            let [key, witness, before] = std::array::from_fn(|_| SigningKey::generate(&mut rng));
            let (statement, signature) = event(EventKind::Fault, 1, b"hot", &key, &mut rng);
            let stated = Event::decode(&statement).unwrap();
            let mut seen_by = |by: &SigningKey| {
                let cid = Cid::of("pack-0002");
                let seen = Attestation::sign(cid, 1, (&stated, &signature), by, &mut rng).unwrap();
                let (statement, witness) = (statement.clone(), Some((seen, by.public())));
                Job::Statement { statement, key: key.public(), signature, witness }
            };
            let jobs = [seen_by(&witness), seen_by(&before)];
            let client = Client::new(&refusing_bridge(witness.public())).unwrap();
            let uplink = Uplink::new(client, key, [0; 32], rng);
            let told = uplink.refused(&jobs[0], WITNESS_KEY, "suspended".into()).await.unwrap();
            assert_eq!(told, Uploaded::Refused("suspended".into()));
            let told = uplink.refused(&jobs[1], WITNESS_KEY, "ended".into()).await.unwrap();
            assert_eq!(told, Uploaded::KeyEnded("ended".into()));
        });
    }

    /// An operator's command sends with the same account: what it overtook is not refused, and nothing is lost.
    #[test]
    fn a_job_whose_number_was_used_by_somebody_else_is_sent_again() {
        runtime().block_on(async {
            let mut rng = ChaCha20Rng::seed_from_u64(9);
            let key = SigningKey::generate(&mut rng);
            let (statement, signature) = event(EventKind::Fault, 1, b"hot", &key, &mut rng);
            let job = Job::Statement { statement, key: key.public(), signature, witness: None };
            let mut uplink = Uplink::new(Client::new("http://127.0.0.1:9").unwrap(), key, [0; 32], rng);
            for code in ["W4_ERR_PROTO_REPLAY", "W4_ERR_PROTO_SEQUENCE"] {
                uplink.next_nonce = Some((1, 1));
                let told = uplink.not_overtaken(code, "used");
                assert!(matches!(told, Err(UplinkError::Client(e)) if !e.is_transient()), "{code}");
                assert_eq!(uplink.next_nonce, None, "{code}");
            }
            uplink.not_overtaken("W4_ERR_VALIDATION_REPLAY", "older").unwrap();
            let refused = uplink.refused(&job, "W4_ERR_STATEMENT_FORMAT", "bad".into()).await.unwrap();
            assert_eq!(refused, Uploaded::Refused("bad".into()));
            for code in ["W4_ERR_STATEMENT_REVOKED", "W4_ERR_WITNESS_KEY"] {
                let refused = uplink.refused(&job, code, "ended".into()).await.unwrap();
                assert_eq!(refused, Uploaded::KeyEnded("ended".into()));
            }
        });
    }

    /// A job that no transaction can carry is refused for good, before anybody is asked: what follows does not wait for it.
    #[test]
    fn a_job_that_cannot_be_sent_holds_up_nothing() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let key = SigningKey::generate(&mut rng);
        let (statement, signature) = event(EventKind::PairingRevocation, 1, &[2; 17], &key, &mut rng);
        let job = Job::Statement { statement, key: key.public(), signature, witness: None };
        let client = Client::new("http://127.0.0.1:9").unwrap();
        let mut uplink = Uplink::new(client, key, [0; 32], rng);
        let sent = runtime().block_on(uplink.upload(&job)).unwrap();
        assert!(matches!(&sent, Uploaded::Refused(why) if why.contains("cannot be sent")), "{sent:?}");
    }
}
