//! A bridge over a real replica in a temporary folder, real loopback sockets, and devices made of `lct`.
#![allow(dead_code)] // Each test binary uses its part.
#![allow(clippy::unwrap_used, clippy::panic)] // A failed step of a fixture fails the test.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use api::{
    Blob, Client, Fixed, Hex, Problem,
    binding::{self, AttestedKey, Party, Sides},
    component::{Register, Registered},
    delegation::{self, Delegate},
    pairing,
    revocation::{Revoke, kind_and_id, order_digest, reason_name},
    sign::{Envelope, SignedTx, sign},
};
use bridge::{
    AuthorityKey, Bridge, Config, Front,
    compat::{Allow, Creators, Issuer, Profile, Settings},
    events::webhooks::Pace,
};
use getrandom::{SysRng, rand_core::UnwrapErr};
use lct::{
    Digest,
    attest::{CertificateType, DeviceCertificate, Subject, spk_attestation_digest},
    binding::{Assurance, BindRequest, BindingRecord, BoundEntity, Introduction},
    certificate::{Certificate, VALIDATION_BUFFER},
    delegation::Delegation,
    exchange::{Side, pairing_key},
    id::{BindingId, Cid, PairingId, Role},
    pairing::Completion,
    record::{BATCH_STATEMENT_MAX, BatchStatement, RECORD_MAX, Record, RecordKind},
    registration::{REGISTRATION_MAX, Registration},
    revocation::{Reason, Subject as Revoked},
    secret::Secret,
    sign::{Signature, SigningKey},
    spk::{Spk, SpkSecret},
};
use ledger::{
    execute::RULES,
    genesis::{Genesis, Params, Validator},
    receipt::Trust,
    tx::Body,
};
use node::{
    Chain,
    engine::solo::{self, Solo},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// Start of the simulated time, Unix milliseconds.
pub const START_MS: u64 = 1_750_000_000_000;

pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// The manufacturer: root, batch authority, and its pen.
pub struct Factory {
    pub root: SigningKey,
    pub batch: SigningKey,
    batch_cert: DeviceCertificate,
}

impl Factory {
    pub fn new() -> Self {
        let (root, batch) = (SigningKey::generate(&mut rng()), SigningKey::generate(&mut rng()));
        let subject = subject(CertificateType::Batch, "batch-0001", Role::Authority, &batch);
        let batch_cert = DeviceCertificate::issue(&subject, &root, &mut rng());
        Factory { root, batch, batch_cert }
    }

    pub fn device(&self, id: &str, role: Role) -> Device {
        let key = SigningKey::generate(&mut rng());
        let cert = DeviceCertificate::issue(
            &subject(CertificateType::Device, id, role, &key),
            &self.batch,
            &mut rng(),
        );
        Device { id: id.into(), cid: Cid::of(id), role, key, cert, batch: self.batch_cert }
    }
}

fn subject(kind: CertificateType, id: &str, role: Role, key: &SigningKey) -> Subject {
    let start = (START_MS / 1000) as u32;
    Subject {
        kind,
        cid: Cid::of(id),
        role,
        flags: 0,
        not_before: start - 1000,
        not_after: start + 200 * 86_400,
        hw: *b"MB-TEST1",
        key: key.public(),
        code_commit: [0; 32],
    }
}

/// A device with its identity.
pub struct Device {
    pub id: String,
    pub cid: Cid,
    pub role: Role,
    pub key: SigningKey,
    pub cert: DeviceCertificate,
    pub batch: DeviceCertificate,
}

impl Device {
    pub fn registration(&self, chain_id: Digest) -> Registration {
        Registration {
            chain_id,
            device: self.cert,
            batch: self.batch,
            component_id: self.id.as_str().try_into().unwrap(),
            serial: format!("SN-{}", self.id).as_str().try_into().unwrap(),
            hardware: 3,
            firmware: 7,
            capacity_mwh: if self.role == Role::Pack { 50_000_000 } else { 0 },
            opening_soc_ppm: 500_000,
        }
    }

    /// The signed statement as a transaction body.
    pub fn register_body(&self, registration: &Registration) -> Body {
        let mut bytes = [0; REGISTRATION_MAX];
        let n = registration.encode(&mut bytes).unwrap();
        let proof = self.key.sign(&registration.digest().unwrap(), &mut rng());
        api::sign::register(&bytes[..n], &proof).unwrap()
    }

    /// Answers a bind request: a fresh relationship key and its attestation.
    pub fn answer(&self, request: &BindRequest) -> (SpkSecret, AttestedKey) {
        let secret = SpkSecret::generate(&mut rng()).unwrap();
        (secret.clone(), self.attest(&secret.public(), &request.partner.0, &request.nonce))
    }

    pub fn attest(&self, spk: &Spk, partner: &Cid, nonce: &[u8; 16]) -> AttestedKey {
        let digest = spk_attestation_digest(&self.cid, self.role, spk, partner, nonce);
        AttestedKey {
            spk: Fixed(spk.0),
            attestation: Fixed(self.key.sign(&digest, &mut rng()).0),
            replaces: None,
        }
    }
}

/// Two bound devices as they see each other.
pub struct Bonded {
    pub id: BindingId,
    pub keys: [SpkSecret; 2],
    pub record: BindingRecord,
}

/// What both devices hold after opening a certificate together.
pub struct Opened {
    pub pairing_id: PairingId,
    pub cert_hash: Digest,
    pub nonce: [u8; 32],
    /// Halves of A and B, exchange key, pairing key.
    pub secrets: Vec<Vec<u8>>,
}

/// An answer as it came over the wire.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {} {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub fn json<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// A running bridge and what is needed to use it.
pub struct World {
    pub dir: tempfile::TempDir,
    pub factory: Factory,
    pub genesis: Genesis,
    pub operator: SigningKey,
    pub authority: Spk,
    /// Bytes of the authority's key file.
    pub authority_key: Vec<u8>,
    /// Whom it followed.
    pub lineage: Option<bridge::Lineage>,
    pub client: Client,
    pub address: String,
    pub http: reqwest::Client,
    pub chain: Arc<Chain>,
    /// Every answer of [`World::call`].
    pub answers: Mutex<Vec<Answer>>,
    validator: ed25519_dalek::SigningKey,
    /// How clients that cannot sign are served.
    pub compat: Option<(Profile, Allow)>,
    /// Whether the bridge has the batch authority's key, to make components up.
    pub speaks: bool,
    /// How it is reached, and by whom.
    pub front: Front,
    /// Milliseconds by which the simulated clock was set forward.
    skew: Arc<AtomicU64>,
    running: Option<Running>,
}

struct Running {
    clock: bridge::Clock,
    stop_bridge: oneshot::Sender<()>,
    bridge: JoinHandle<()>,
    engine: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl World {
    /// A bridge that serves clients of the older contract, for the creators `alice` and `bob`.
    pub async fn old(profile: Profile, allow: Allow) -> World {
        World::with(Some((profile, allow))).await
    }

    /// The same; it makes components up and speaks for them.
    pub async fn speaking(profile: Profile, allow: Allow) -> World {
        let mut world = World::old(profile, allow).await;
        world.speaks = true;
        world.restart().await;
        world
    }

    /// The same on a chain where packs trade energy before anything is known of them.
    pub async fn trading(profile: Profile) -> World {
        let mut params = Params::default();
        params.trust.gates[3] = 0;
        World::on(params, Some((profile, Allow::default()))).await
    }

    pub async fn new() -> World {
        World::with(None).await
    }

    /// A bridge that is reached through `front`.
    pub async fn behind(front: Front) -> World {
        let mut world = World::new().await;
        world.front = front;
        world.restart().await;
        world
    }

    /// The key of the batch authority as the bridge reads it.
    fn issuer(&self) -> Issuer {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.dir.path().join("batch");
        let key = self.factory.batch.to_bytes();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        file.write_all(&[key.expose().as_slice(), &self.factory.batch_cert.0].concat()).unwrap();
        Issuer::open(&path).unwrap()
    }

    /// What the file of the creators holds.
    pub fn creators(&self) -> Creators {
        Creators::open(&self.dir.path().join("creators.keys")).unwrap()
    }

    async fn with(compat: Option<(Profile, Allow)>) -> World {
        World::on(Params::default(), compat).await
    }

    async fn on(params: Params, compat: Option<(Profile, Allow)>) -> World {
        let dir = tempfile::tempdir().unwrap();
        let factory = Factory::new();
        let operator = SigningKey::generate(&mut rng());
        let key = AuthorityKey::generate().unwrap();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let validator = ed25519_dalek::SigningKey::from_bytes(&seed);
        let genesis = Genesis {
            name: "bridge test".into(),
            time_ms: START_MS - 1,
            validators: vec![Validator { key: validator.verifying_key().to_bytes(), power: 1 }],
            roots: vec![factory.root.public()],
            authorities: vec![key.public().sign_pub()],
            operators: vec![operator.public()],
            params,
            accounts: vec![],
            rules: RULES,
        };
        let chain = Arc::new(Chain::open(&dir.path().join("ledger"), &genesis).unwrap());
        let mut world = World {
            authority: key.public(),
            authority_key: key.to_bytes().unwrap().to_vec(),
            lineage: None,
            client: Client::new("http://127.0.0.1:1").unwrap(),
            address: String::new(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            answers: Mutex::default(),
            compat,
            speaks: false,
            front: Front::default(),
            skew: Arc::default(),
            running: None,
            dir,
            factory,
            genesis,
            operator,
            chain,
            validator,
        };
        if world.compat.is_some() {
            let mut creators = world.creators();
            creators.add("alice").unwrap();
            creators.add("bob").unwrap();
        }
        world.start().await;
        world
    }

    pub fn ceremonies(&self) -> std::path::PathBuf {
        self.dir.path().join("ceremonies")
    }

    pub fn orders(&self) -> std::path::PathBuf {
        self.dir.path().join("orders.json")
    }

    pub fn revocations(&self) -> std::path::PathBuf {
        self.dir.path().join("revocations")
    }

    fn clock(&self) -> bridge::Clock {
        let (skew, began) = (self.skew.clone(), Instant::now());
        let base = self.skew.load(Ordering::SeqCst);
        // A restart does not set the clock back.
        skew.store(base + 1, Ordering::SeqCst);
        Arc::new(move || START_MS + began.elapsed().as_millis() as u64 + skew.load(Ordering::SeqCst))
    }

    pub fn advance(&self, ms: u64) {
        self.skew.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the clock back, as a simulation that ran ahead does at its next start.
    pub fn set_back(&self, ms: u64) {
        self.skew.fetch_sub(ms, Ordering::SeqCst);
    }

    pub fn now_s(&self) -> u32 {
        ((START_MS + self.skew.load(Ordering::SeqCst)) / 1000) as u32
    }

    async fn start(&mut self) {
        let clock = self.clock();
        let bridge = Bridge::open(Config {
            chain: self.chain.clone(),
            clock: clock.clone(),
            key: AuthorityKey::from_bytes(&self.authority_key).unwrap(),
            lineage: self.lineage.clone(),
            ceremonies: self.ceremonies(),
            revocations: self.revocations(),
            orders: self.orders(),
            webhooks: self.dir.path().join("webhooks.redb"),
        })
        .unwrap()
        .with_pace(Pace { pause: Duration::from_millis(20), tries: 4, answer: Duration::from_secs(1) })
        .behind(&self.front)
        .unwrap();
        let bridge = match self.compat {
            None => bridge,
            Some((profile, allow)) => bridge
                .with_compat(Settings {
                    creators: self.dir.path().join("creators.keys"),
                    book: self.dir.path().join("compat.redb"),
                    profile,
                    default_creator: Some("alice".into()),
                    allow,
                    unknown_components: self.speaks.then(|| self.issuer()),
                })
                .unwrap(),
        };
        assert_eq!(bridge.authority(), self.authority);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = format!("http://{}", listener.local_addr().unwrap());
        self.client = Client::new(&self.address).unwrap();
        let (stop_bridge, stopped) = oneshot::channel();
        let bridge = tokio::spawn(async move {
            bridge.serve(listener, async { drop(stopped.await) }).await.unwrap();
        });
        self.running = Some(Running { clock, stop_bridge, bridge, engine: None });
        self.go_on();
    }

    /// Makes blocks, after a start or [`World::stand_still`].
    pub fn go_on(&mut self) {
        let solo = Solo::new(self.chain.clone(), self.validator.clone()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let config = solo::Config { min_gap: std::time::Duration::from_millis(2) };
        let running = self.running.as_mut().unwrap();
        let clock = running.clock.clone();
        let engine = tokio::spawn(async move {
            solo.run(config, move || clock(), async { drop(stopped.await) }).await.unwrap();
        });
        running.engine = Some((stop, engine));
    }

    /// Makes no further block: what waits for one waits.
    pub async fn stand_still(&mut self) {
        let (stop, engine) = self.running.as_mut().unwrap().engine.take().unwrap();
        stop.send(()).unwrap();
        engine.await.unwrap();
    }

    /// Begins the end of the bridge; what is returned ends with it.
    pub fn end(&mut self) -> JoinHandle<()> {
        let Running { clock, stop_bridge, bridge, engine } = self.running.take().unwrap();
        stop_bridge.send(()).unwrap();
        let (stop_bridge, _) = oneshot::channel();
        self.running = Some(Running { clock, stop_bridge, bridge: tokio::spawn(async {}), engine });
        bridge
    }

    /// Stops bridge and engine.
    pub async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        // Ended before is as good.
        let _ended = running.stop_bridge.send(());
        running.bridge.await.unwrap();
        if let Some((stop, engine)) = running.engine {
            stop.send(()).unwrap();
            engine.await.unwrap();
        }
    }

    /// Stops everything, reopens ledger and bridge from disk.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// After [`World::stop`]: reopens ledger and bridge from disk.
    pub async fn resume(&mut self) {
        self.advance(1000);
        let dir = self.dir.path().join("ledger");
        // Connections of the old bridge let go of the ledger when they see its end.
        self.http = reqwest::Client::builder().no_proxy().build().unwrap();
        self.client = Client::new("http://127.0.0.1:1").unwrap();
        let old = Arc::downgrade(&self.chain);
        self.chain = self.placeholder();
        for _ in 0..500 {
            if old.strong_count() == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(old.strong_count(), 0, "something of the stopped bridge still holds the ledger");
        self.chain = Arc::new(Chain::open(&dir, &self.genesis).unwrap());
        self.start().await;
    }

    fn placeholder(&self) -> Arc<Chain> {
        Arc::new(Chain::open(&self.dir.path().join("placeholder"), &self.genesis).unwrap())
    }

    pub fn trust(&self) -> Trust {
        self.genesis.trust()
    }

    /// One request over the wire.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let headers = answer.headers().iter();
        let headers = headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_string())).collect();
        let status = answer.status().as_u16();
        let answer = Answer { status, headers, body: answer.bytes().await.unwrap().to_vec() };
        self.answers.lock().unwrap().push(answer.clone());
        answer
    }

    pub async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        let request = self.http.post(format!("{}/api/v1{path}", self.address)).json(body);
        self.send(request.header("x-client-profile", "native")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}/api/v1{path}", self.address));
        self.send(request.header("x-client-profile", "native")).await
    }

    /// Signs a body as the operator.
    pub async fn tx(&self, body: Body) -> SignedTx {
        self.tx_by(&self.operator, body).await
    }

    pub async fn tx_by(&self, key: &SigningKey, body: Body) -> SignedTx {
        let nonce = self.chain.next_nonce(&key.public()).unwrap();
        self.tx_nonce(key, body, nonce)
    }

    pub fn tx_nonce(&self, key: &SigningKey, body: Body, nonce: u64) -> SignedTx {
        let expiry_height = self.chain.tip().height + 100;
        let envelope = Envelope { chain_id: self.chain.chain_id(), nonce, expiry_height };
        sign(body, &envelope, key, &mut rng())
    }

    pub async fn register_request(&self, device: &Device) -> Register {
        let registration = device.registration(self.chain.chain_id());
        let tx = self.tx(device.register_body(&registration)).await;
        Register {
            creator: "fitter".into(),
            component_data: [("colour".to_string(), "green".into())].into_iter().collect(),
            context: "workshop".into(),
            transaction: Blob(tx.bytes),
        }
    }

    pub async fn register(&self, device: &Device) -> Registered {
        let request = self.register_request(device).await;
        self.post("/components/register", &request).await.json()
    }

    pub fn begin_request(&self, a: &Device, b: &Device) -> binding::Begin {
        let party = |d: &Device| Party { component_id: d.id.clone(), access: format!("can1:{}", d.id) };
        binding::Begin { creator: "fitter".into(), a: party(a), b: party(b), assurance: "B1".into() }
    }

    /// Begins a binding and opens both requests as the devices do.
    pub async fn begin(&self, a: &Device, b: &Device) -> (BindingId, [BindRequest; 2]) {
        self.begin_as(a, b, Assurance::Attested).await
    }

    pub async fn begin_as(
        &self,
        a: &Device,
        b: &Device,
        assurance: Assurance,
    ) -> (BindingId, [BindRequest; 2]) {
        let request = binding::Begin { assurance: assurance.name().into(), ..self.begin_request(a, b) };
        let begun: binding::Begun = self.post("/bindings", &request).await.json();
        let open = |blob: &Blob| BindRequest::open(&blob.0, &self.authority.sign_pub()).unwrap();
        let requests = [open(&begun.requests.a), open(&begun.requests.b)];
        for (request, own, partner) in [(&requests[0], a, b), (&requests[1], b, a)] {
            assert_eq!((request.own, request.partner), ((own.cid, own.role), (partner.cid, partner.role)));
            assert_eq!(request.partner_access.as_slice(), format!("can1:{}", partner.id).as_bytes());
            assert_eq!(request.binding_id.0, begun.binding_id.0);
        }
        assert_ne!(requests[0].nonce, requests[1].nonce);
        (BindingId(begun.binding_id.0), requests)
    }

    /// Sends both keys, checks both introductions as the devices do, and makes the record they sign.
    pub async fn introduce(&self, a: &Device, b: &Device) -> Bonded {
        self.introduce_anew(a, b, None).await.0
    }

    /// What both answer to the requests of a ceremony, B with its question about `old`.
    pub fn answers(
        &self,
        [a, b]: [&Device; 2],
        requests: &[BindRequest; 2],
        old: Option<BindingId>,
    ) -> ([SpkSecret; 2], binding::Keys) {
        let (key_a, attested_a) = a.answer(&requests[0]);
        let (key_b, attested_b) = b.answer(&requests[1]);
        let replaces = old.map(|old| binding::Replaces { nonce: Fixed([6; 16]), binding_id: Fixed(old.0) });
        ([key_a, key_b], Sides { a: attested_a, b: binding::AttestedKey { replaces, ..attested_b } })
    }

    /// The same; B asks whether it may have another binding than `replaces`, and gets leave.
    pub async fn introduce_anew(&self, a: &Device, b: &Device, old: Option<BindingId>) -> (Bonded, Vec<u8>) {
        self.introduce_as(a, b, old, Assurance::Attested).await
    }

    pub async fn introduce_as(
        &self,
        a: &Device,
        b: &Device,
        old: Option<BindingId>,
        assurance: Assurance,
    ) -> (Bonded, Vec<u8>) {
        let (id, requests) = self.begin_as(a, b, assurance).await;
        let ([key_a, key_b], keys) = self.answers([a, b], &requests, old);
        let introduced: binding::Introduced = self.post(&format!("/bindings/{id}/keys"), &keys).await.json();
        let open = |blob: &Blob| {
            let (introduction, _) = Introduction::split(&blob.0).unwrap();
            Introduction::open(introduction, &self.authority.sign_pub()).unwrap()
        };
        let (to_a, to_b) = (open(&introduced.introductions.a), open(&introduced.introductions.b));
        let roots = [self.factory.root.public()];
        to_a.verify_partner((b.cid, b.role), &roots).unwrap();
        to_b.verify_partner((a.cid, a.role), &roots).unwrap();
        assert_eq!((to_a.own, to_a.spk), (a.cid, key_b.public()));
        assert_eq!((to_b.own, to_b.spk), (b.cid, key_a.public()));
        assert_eq!((to_a.access_commits, to_a.time), (to_b.access_commits, to_b.time));
        let entity = |d: &Device, key: &SpkSecret, commit| BoundEntity {
            cid: d.cid,
            role: d.role,
            sign_pub: key.public().sign_pub(),
            spk_id: key.public().id(),
            access_commit: commit,
        };
        let [commit_a, commit_b] = to_a.access_commits;
        let record = BindingRecord {
            binding_id: id,
            entities: [entity(a, &key_a, commit_a), entity(b, &key_b, commit_b)],
            time: to_a.time,
            assurance,
        };
        let leave = Introduction::split(&introduced.introductions.b.0).unwrap().1.map(<[u8]>::to_vec);
        (Bonded { id, keys: [key_a, key_b], record }, leave.unwrap_or_default())
    }

    pub fn record_signatures(&self, bonded: &Bonded) -> Sides<Fixed<64>> {
        let sign = |key: &SpkSecret| Fixed(key.signing_key().sign(&bonded.record.digest(), &mut rng()).0);
        Sides { a: sign(&bonded.keys[0]), b: sign(&bonded.keys[1]) }
    }

    pub async fn bind(&self, a: &Device, b: &Device) -> Bonded {
        let bonded = self.introduce(a, b).await;
        let request = binding::Complete::first(self.record_signatures(&bonded));
        let bound: binding::Bound =
            self.post(&format!("/bindings/{}/complete", bonded.id), &request).await.json();
        assert_eq!((bound.status.as_str(), bound.assurance.as_str()), ("bound", "B1"));
        assert_eq!(bound.record.0, bonded.record.encode());
        bonded
    }

    pub fn issue_request(&self, a: &Device, b: &Device) -> pairing::Issue {
        pairing::Issue {
            creator: "fitter".into(),
            a: a.id.clone(),
            b: b.id.clone(),
            context: pairing::BATTERY_MANAGEMENT.into(),
            salt: Fixed([0x11; 32]),
            iv_seed: Fixed([0x22; 16]),
            valid_days: 90,
            unencrypted_allowed: vec![0x500],
        }
    }

    /// Issues a certificate and opens it as both devices together do.
    pub async fn pair(&self, a: &Device, b: &Device, bonded: &Bonded) -> Opened {
        let issued: pairing::Issued = self.post("/pairings", &self.issue_request(a, b)).await.json();
        self.open_certificate(&issued.certificate.0, bonded)
    }

    pub fn open_certificate(&self, bytes: &[u8], bonded: &Bonded) -> Opened {
        let certificate = Certificate::parse(bytes).unwrap();
        certificate.verify(&self.authority.sign_pub()).unwrap();
        let a = certificate.open_section(Side::A, &bonded.keys[0], &self.authority).unwrap();
        let b = certificate.open_section(Side::B, &bonded.keys[1], &self.authority).unwrap();
        assert_eq!(a.exchange_key, b.exchange_key);
        let key = pairing_key(&a.half, &b.half).unwrap();
        let mut buffer = [0; VALIDATION_BUFFER];
        let validation =
            certificate.validation().unwrap().open(&key, &self.authority.sign_pub(), &mut buffer).unwrap();
        Opened {
            pairing_id: certificate.pairing_id,
            cert_hash: certificate.hash(),
            nonce: validation.nonce,
            secrets: vec![
                a.half.expose().to_vec(),
                b.half.expose().to_vec(),
                a.exchange_key.expose().to_vec(),
                key.expose().to_vec(),
            ],
        }
    }

    pub fn completion(&self, opened: &Opened, bonded: &Bonded) -> pairing::Complete {
        self.completion_with(opened, bonded, |_| ())
    }

    /// A completion whose signed content `change` spoils.
    pub fn completion_with(
        &self,
        opened: &Opened,
        bonded: &Bonded,
        change: impl FnOnce(&mut Completion),
    ) -> pairing::Complete {
        let mut completion = Completion {
            pairing_id: opened.pairing_id,
            nonce: opened.nonce,
            cert_hash: opened.cert_hash,
            th4: [0x44; 32],
        };
        change(&mut completion);
        let sign = |key: &SpkSecret| Fixed(key.signing_key().sign(&completion.digest(), &mut rng()).0);
        pairing::Complete {
            validation_nonce: Fixed(completion.nonce),
            th4: Fixed(completion.th4),
            entity_signatures: Sides { a: sign(&bonded.keys[0]), b: sign(&bonded.keys[1]) },
        }
    }

    /// Registered, bound and paired: app and pack.
    pub async fn commissioned(&self) -> (Device, Device, Bonded) {
        let app = self.factory.device("app-0001", Role::App);
        let pack = self.factory.device("pack-0001", Role::Pack);
        self.register(&app).await;
        self.register(&pack).await;
        let bonded = self.bind(&app, &pack).await;
        (app, pack, bonded)
    }

    /// Has the operator revoke something.
    pub async fn revoke(&self, what: Revoked, why: Reason) -> Answer {
        self.post("/revocations", &order(self, &self.operator, what, why)).await
    }

    /// Waits for the receipt of the last thing that happened.
    /// An order of the operator that `delegate` may pair, bind and revoke for a pack, from a minute on for a day.
    pub fn delegation_order(&self, packs: &[&str], delegate: &Spk) -> Delegate {
        let now = self.now_s() + 60;
        let mut cids: Vec<_> = packs.iter().map(|pack| Cid::of(pack)).collect();
        cids.sort();
        let wanted = Delegation {
            number: 1,
            delegate: *delegate,
            issued: now,
            not_before: now,
            not_after: now + 86_400,
            lease_s: 86_400,
            operations: 7,
            packs: cids.into_iter().collect(),
        };
        let digest = delegation::order_digest(&self.chain.chain_id(), &wanted);
        Delegate {
            creator: "test".into(),
            delegate: Fixed(delegate.0),
            not_before: now,
            not_after: now + 86_400,
            lease_s: 86_400,
            operations: ["pair", "bind", "revoke"].map(String::from).into(),
            packs: packs.iter().map(|pack| (*pack).into()).collect(),
            key: Hex(self.operator.public().0),
            signature: Fixed(self.operator.sign(&digest, &mut rng()).0),
        }
    }

    pub async fn receipt(&self, path: &str) -> Vec<u8> {
        for _ in 0..500 {
            let answer = self.get(path).await;
            if answer.status == 200 {
                assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
                return answer.body;
            }
            assert_eq!(answer.problem().code, "W4_ERR_RECEIPT_PENDING");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no receipt at {path}");
    }
}

/// An order by `key` to revoke something.
pub fn order(world: &World, key: &SigningKey, what: Revoked, why: Reason) -> Revoke {
    let (kind, id) = kind_and_id(what);
    let signature = key.sign(&order_digest(&world.chain.chain_id(), what, why), &mut rng());
    Revoke {
        creator: "test".into(),
        kind: kind.into(),
        id: Hex(id),
        reason: reason_name(why).into(),
        key: Hex(key.public().0),
        signature: Fixed(signature.0),
    }
}

/// `count` records of `cid` from `first`, one per second, ending now.
pub fn records(cid: Cid, first: u32, count: u32, now_s: u32) -> Vec<Record> {
    let record = |i: u32| Record {
        cid,
        seq: first + i,
        time_ms: u64::from(now_s - count + i) * 1000,
        kind: RecordKind::Pack,
        values: [first as i32, i as i32, -7].into_iter().collect(),
    };
    (0..count).map(record).collect()
}

pub fn encoded(record: &Record) -> Vec<u8> {
    let mut out = [0; RECORD_MAX];
    let n = record.encode(&mut out).unwrap();
    out[..n].to_vec()
}

/// The batch statement over `records` and its signed body.
pub fn batch_body(records: &[Record], key: &SigningKey) -> (BatchStatement, Body) {
    let leaves: Vec<_> = records.iter().map(|r| r.leaf().unwrap()).collect();
    let statement = BatchStatement {
        cid: records[0].cid,
        first_seq: records[0].seq,
        count: records.len() as u16,
        root: lct::merkle::root(&leaves),
        first_ms: records[0].time_ms,
        last_ms: records[records.len() - 1].time_ms,
    };
    let mut bytes = [0; BATCH_STATEMENT_MAX];
    let n = statement.encode(&mut bytes).unwrap();
    let signature = statement.sign(key, &mut rng()).unwrap();
    (statement, api::sign::batch(&bytes[..n], &key.public(), &signature).unwrap())
}

/// All files under `dir`.
pub fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// A wrong signature of the right form.
pub fn foreign_signature() -> Signature {
    SigningKey::generate(&mut rng()).sign(&[9; 32], &mut rng())
}

pub fn fresh_spk() -> SpkSecret {
    SpkSecret::from_seed(Secret::random(&mut rng())).unwrap()
}

/// Sends bytes over a connection of their own, and returns what comes back until its end.
pub fn talk(address: &str, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for part in parts {
        // A server that has seen enough hangs up.
        let _closed = stream.write_all(part);
    }
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Where product code of this process has panicked since the first call: a server answers on after it, so it is looked for.
pub fn panics() -> Vec<String> {
    static SEEN: OnceLock<Arc<Mutex<Vec<String>>>> = OnceLock::new();
    let seen = SEEN.get_or_init(|| {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (all, before) = (seen.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            if !place.contains("tests/") {
                all.lock().unwrap().push(place);
            }
            before(panic);
        }));
        seen
    });
    seen.lock().unwrap().clone()
}
