//! From factory default to paired: one task after the other, each a short exchange between the authority and
//! one or two devices (`spec/channel.md`, H45 to H55; `spec/api.md`).
//!
//! Tasks are repeatable: a device and the authority give the same answer again, so an interrupted commissioning
//! goes on with the task that was under way.

mod context;
mod policy;

pub use context::Answerable;
pub use policy::PolicyStep;

use crate::core::Error;
use lct::{
    Digest,
    binding::{Assurance, Introduction},
    codec::Fields,
    context::Signed as SignedContext,
    hash::sha256,
    id::{BindingId, PairingId, SpkId},
    registration::{REGISTRATION_MAX, Registration},
    revocation::RevocationList,
    sign::{PublicKey, Signature},
};
use pack::{
    answers::{self, Completed, DeviceKeys, status},
    app::Party,
    identity::Identity,
    introduction::Introduced,
    pdu::{self, Status, binding as op, key_package as package},
    time::{Duration, Instant},
};
use std::collections::VecDeque;

/// How long a device may take for an answer before it is asked again.
const PATIENCE: Duration = Duration::from_millis(4_000);
/// How often a device is asked.
const TRIES: u8 = 6;

/// What is noted beside the tasks that are done once all of them are.
pub const COMMISSIONED: &str = "commissioned";

/// An entity to be commissioned: this app itself (`None`), the pack, or a module.
pub type Member = Option<Party>;

/// What is to be done with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Enter it into the registry.
    Register(Member),
    /// Bind A to B.
    Bind(Member, Member),
    /// Create the relationship's LCT.
    Lct(Member, Member),
    /// Pair A with B.
    Pair(Member, Member),
    /// Have A and B sign and take the policy that was ordered for their binding (H112).
    Policy(BindingId, Member, Member),
    /// Have the authority state what this app may do.
    Scope,
    /// Have a pack state for which modules it answers.
    Answer(Member),
}

impl Task {
    /// The two whom a task of a relationship is about.
    pub fn pair(self) -> Option<[Member; 2]> {
        match self {
            Task::Register(_) | Task::Scope | Task::Answer(_) => None,
            Task::Bind(a, b) | Task::Lct(a, b) | Task::Pair(a, b) | Task::Policy(_, a, b) => Some([a, b]),
        }
    }
}

/// What an entity answers once it proved that it has its key (`spec/channel.md`, H49 and H180).
#[derive(Debug, Clone)]
pub struct Signed {
    /// Its signature over the record.
    pub signature: [u8; 64],
    /// Where the binding takes the place of another one.
    pub replacement: Option<Replacement>,
}

/// With whose leave, and by whose word, a binding takes the place of another one.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The authority's leave.
    pub leave: Vec<u8>,
    /// The device's event, under its identity key.
    pub statement: Vec<u8>,
    /// By the device.
    pub signature: [u8; 64],
}

/// What the authority is asked. Component ids name the entities.
#[derive(Debug, Clone)]
pub enum Request {
    /// Register a component: canonical registration and the component's signature over it.
    Register {
        /// Name.
        component_id: String,
        /// Canonical bytes.
        statement: Vec<u8>,
        /// Proof of possession.
        proof: lct::sign::Signature,
    },
    /// Begin a binding.
    BeginBinding {
        /// A and B.
        ids: [String; 2],
        /// How the two establish each other's identity.
        assurance: Assurance,
    },
    /// The entities' fresh keys: SPK and attestation of A and B.
    BindingKeys {
        /// Which binding.
        id: BindingId,
        /// Of A and B.
        keys: [DeviceKeys; 2],
    },
    /// The entities' signatures over the binding record.
    CompleteBinding {
        /// Which binding.
        id: BindingId,
        /// Of A and B.
        signed: [Signed; 2],
    },
    /// Create the LCT of a relationship.
    CreateLct {
        /// A and B.
        ids: [String; 2],
    },
    /// Issue a pairing certificate with this app's salt and IV seed.
    IssuePairing {
        /// A and B.
        ids: [String; 2],
        /// App-generated.
        salt: [u8; 32],
        /// App-generated.
        iv_seed: [u8; 16],
    },
    /// The entities' completion of a pairing.
    CompletePairing {
        /// Which pairing.
        id: PairingId,
        /// From section V.
        nonce: [u8; 32],
        /// Of the session.
        th4: Digest,
        /// Of A and B.
        signatures: [[u8; 64]; 2],
    },
    /// State what this app may do.
    Scope {
        /// The app.
        component_id: String,
    },
    /// For which modules a pack has to answer.
    Answerable {
        /// The pack.
        component_id: String,
    },
    /// Record a statement in the context of an LCT.
    State(Box<SignedContext>),
    /// Where the policy of a binding stands.
    Policy {
        /// Which binding.
        id: BindingId,
    },
    /// The entities' signatures under a policy.
    SignPolicy {
        /// Which binding.
        id: BindingId,
        /// Of the policy.
        version: u32,
        /// Of A and B.
        signatures: [[u8; 64]; 2],
    },
}

/// What the authority answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Done, or found done.
    Done,
    /// Requests to hand to A and B.
    Begun {
        /// Which binding.
        id: BindingId,
        /// Signed by the authority.
        requests: [Vec<u8>; 2],
    },
    /// What to hand to A and B: first the sealed device halves, then the introductions.
    Introduced {
        /// Signed by the authority.
        introductions: [Vec<u8>; 2],
        /// Sealed to the side.
        packages: [Vec<u8>; 2],
    },
    /// A certificate to hand to B and A.
    Issued {
        /// Which pairing.
        id: PairingId,
        /// Its bytes.
        certificate: Vec<u8>,
        /// A revocation list that is not older than the one that the certificate names.
        list: Vec<u8>,
    },
    /// What A and B are to sign, else what they are to take.
    Policy(PolicyStep),
    /// What a pack is to sign, unless the ledger has it.
    Answerable(Option<Answerable>),
}

/// What a task wants done next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Give a PDU to a member.
    Send(Member, Vec<u8>),
    /// Ask the authority.
    Ask(Box<Request>),
    /// The task is done.
    Finished(Task),
}

#[derive(Debug)]
enum Stage {
    Start,
    AwaitIdentity,
    AwaitProof { statement: Vec<u8> },
    AwaitReply,
    AwaitKeys { id: BindingId, keys: [Option<DeviceKeys>; 2] },
    AwaitPackages { introductions: [Vec<u8>; 2], taken: [bool; 2] },
    AwaitStatus { introductions: [Vec<u8>; 2] },
    AwaitSigned { id: BindingId, signed: [Option<Signed>; 2] },
    AwaitList { certificate: Vec<u8>, number: u32, taken: [bool; 2] },
    AwaitAccepted { certificate: Vec<u8> },
    AwaitCompleted { done: [Option<Completed>; 2] },
    AwaitPolicySigned { version: u32, signatures: [Option<[u8; 64]>; 2] },
    AwaitAnswer { wanted: Answerable },
    AwaitPolicyTaken { version: u32, taken: [bool; 2] },
}

/// Runs the tasks.
pub struct Commissioner {
    chain_id: Digest,
    members: Vec<(Member, Introduced)>,
    tasks: VecDeque<Task>,
    stage: Stage,
    outstanding: Vec<(Member, Vec<u8>)>,
    due: Option<Instant>,
    tries: u8,
    steps: VecDeque<Step>,
    identity: Identity,
    pairing: Option<PairingId>,
    binding: Option<BindingId>,
    /// What the authority allowed A and B in the binding under way.
    leaves: [Option<Vec<u8>>; 2],
    assurance: Assurance,
    /// What a device last said against the task under way.
    refused: Option<Error>,
}

impl Commissioner {
    /// Commissions `members` (without this app) whose tasks are not in `done`; app and pack are bound with `assurance`. Who joins
    /// once everybody was commissioned waits for an operator's order (A94).
    pub fn new(
        identity: Identity,
        chain_id: Digest,
        own: Introduced,
        members: Vec<(Member, Introduced)>,
        done: &[String],
        assurance: Assurance,
    ) -> Self {
        let app = None;
        let pack = Some(Party::Pack);
        let modules: Vec<Member> =
            members.iter().map(|m| m.0).filter(|m| matches!(m, Some(Party::Module(_)))).collect();
        let mut tasks = vec![Task::Register(app), Task::Register(pack)];
        tasks.extend(modules.iter().map(|m| Task::Register(*m)));
        tasks.push(Task::Bind(app, pack));
        tasks.extend(modules.iter().map(|m| Task::Bind(pack, *m)));
        tasks.push(Task::Lct(app, pack));
        tasks.extend(modules.iter().map(|m| Task::Lct(pack, *m)));
        tasks.push(Task::Pair(app, pack));
        tasks.extend(modules.iter().map(|m| Task::Pair(pack, *m)));
        tasks.extend([Task::Scope, Task::Answer(pack)]);
        let name = |m: Member| members.iter().find(|(of, _)| *of == m).map(|(_, who)| &who.component_id);
        let joined = |m: &Member| {
            name(*m).is_some_and(|name| !done.iter().any(|task| *task == format!("register {name}")))
        };
        // Another pack is bound with nobody here yet.
        let joined = |m: &Member| joined(m) || (m.is_some() && joined(&pack));
        if done.iter().any(|task| task == COMMISSIONED) {
            tasks.retain(|task| match task {
                Task::Register(m) | Task::Bind(_, m) | Task::Lct(_, m) | Task::Pair(_, m) => !joined(m),
                // In operation it is asked for at each start, and stops nothing.
                Task::Scope | Task::Answer(_) => false,
                Task::Policy(..) => true,
            });
        }
        let mut all = vec![(app, own)];
        all.extend(members);
        let mut commissioner = Commissioner {
            chain_id,
            members: all,
            tasks: VecDeque::new(),
            stage: Stage::Start,
            outstanding: Vec::new(),
            due: None,
            tries: 0,
            steps: VecDeque::new(),
            identity,
            pairing: None,
            binding: None,
            leaves: [None, None],
            assurance,
            refused: None,
        };
        let open = tasks.into_iter().filter(|t| !done.contains(&commissioner.task_name(*t)));
        commissioner.tasks = open.collect();
        commissioner
    }

    /// Stable name of a task, for progress and for the list of what is done.
    pub fn task_name(&self, task: Task) -> String {
        let name = |m| self.name(m).unwrap_or("?").to_owned();
        match task {
            Task::Register(m) => format!("register {}", name(m)),
            Task::Bind(a, b) => format!("bind {} {}", name(a), name(b)),
            Task::Lct(a, b) => format!("lct {} {}", name(a), name(b)),
            Task::Pair(a, b) => format!("pair {} {}", name(a), name(b)),
            Task::Policy(_, a, b) => format!("policy {} {}", name(a), name(b)),
            Task::Scope => format!("scope {}", name(None)),
            Task::Answer(pack) => format!("answer {}", name(pack)),
        }
    }

    /// True when nothing is left to do.
    pub fn is_finished(&self) -> bool {
        self.tasks.is_empty() && self.steps.is_empty()
    }

    /// The two that it is binding.
    pub(crate) fn binds(&self) -> Option<[Member; 2]> {
        match self.tasks.front() {
            Some(Task::Bind(a, b)) => Some([*a, *b]),
            _ => None,
        }
    }

    /// When [`Commissioner::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The next thing to do.
    pub fn poll(&mut self, now: Instant, random: &mut impl FnMut(&mut [u8])) -> Result<Option<Step>, Error> {
        if self.steps.is_empty() && matches!(self.stage, Stage::Start) {
            self.begin(now, random)?;
        }
        Ok(self.steps.pop_front())
    }

    /// Component id of a member.
    pub(crate) fn name(&self, member: Member) -> Option<&str> {
        self.members.iter().find(|(m, _)| *m == member).map(|(_, who)| who.component_id.as_str())
    }

    fn id(&self, member: Member) -> Result<String, Error> {
        self.name(member).map(str::to_owned).ok_or(Error::UnknownMember)
    }

    fn begin(&mut self, now: Instant, random: &mut impl FnMut(&mut [u8])) -> Result<(), Error> {
        let Some(task) = self.tasks.front().copied() else { return Ok(()) };
        match task {
            Task::Register(None) => {
                let own = &self.identity;
                let registration = Registration {
                    chain_id: self.chain_id,
                    device: own.device,
                    batch: own.batch,
                    component_id: own.component_id.clone(),
                    serial: own.serial.clone(),
                    hardware: own.hardware,
                    firmware: own.firmware,
                    capacity_mwh: own.capacity_mwh,
                    opening_soc_ppm: 0,
                };
                let statement = encode(&registration)?;
                let proof = own.key.sign_rfc6979(&lct::registration::digest_of(&statement));
                let component_id = own.component_id.to_string();
                self.ask(Request::Register { component_id, statement, proof });
            }
            Task::Register(member) => {
                self.stage = Stage::AwaitIdentity;
                self.send(now, vec![(member, vec![pdu::BINDING, op::CERTIFICATES])]);
            }
            Task::Bind(a, b) => {
                let ids = [self.id(a)?, self.id(b)?];
                // The code is printed on the pack only: modules are attested.
                let assurance = if a.is_none() { self.assurance } else { Assurance::Attested };
                self.ask(Request::BeginBinding { ids, assurance });
            }
            Task::Lct(a, b) => {
                let ids = [self.id(a)?, self.id(b)?];
                self.ask(Request::CreateLct { ids });
            }
            Task::Pair(a, b) => {
                let ids = [self.id(a)?, self.id(b)?];
                let (mut salt, mut iv_seed) = ([0; 32], [0; 16]);
                random(&mut salt);
                random(&mut iv_seed);
                self.ask(Request::IssuePairing { ids, salt, iv_seed });
            }
            Task::Policy(id, ..) => self.ask(Request::Policy { id }),
            Task::Scope => {
                let component_id = self.id(None)?;
                self.ask(Request::Scope { component_id });
            }
            Task::Answer(pack) => {
                let component_id = self.id(pack)?;
                self.ask(Request::Answerable { component_id });
            }
        }
        Ok(())
    }

    fn ask(&mut self, request: Request) {
        self.stage = Stage::AwaitReply;
        (self.due, self.tries) = (None, 0);
        self.outstanding.clear();
        self.steps.push_back(Step::Ask(Box::new(request)));
    }

    fn send(&mut self, now: Instant, messages: Vec<(Member, Vec<u8>)>) {
        self.tries = 0;
        self.outstanding = messages;
        self.resend(now);
    }

    fn resend(&mut self, now: Instant) {
        self.tries += 1;
        self.due = Some(now + PATIENCE);
        self.steps.extend(self.outstanding.iter().map(|(m, bytes)| Step::Send(*m, bytes.clone())));
    }

    fn heard(&mut self, from: Member) {
        self.outstanding.retain(|(m, _)| *m != from);
    }

    fn finish(&mut self) {
        if let Some(task) = self.tasks.pop_front() {
            self.steps.push_back(Step::Finished(task));
            self.answer_anew(task);
        }
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        (self.stage, self.due, self.tries, self.pairing) = (Stage::Start, None, 0, None);
        self.refused = None;
        self.outstanding.clear();
    }

    /// Asks again, or gives up; `obeys` says whom a member obeys that takes nothing from this authority.
    pub fn tick(&mut self, now: Instant, obeys: impl Fn(Member) -> Option<SpkId>) -> Result<(), Error> {
        if self.due.is_none_or(|due| due > now) {
            return Ok(());
        }
        if self.tries >= TRIES {
            if let Some(refused) = self.refused.take() {
                return Err(refused);
            }
            let Some(task) = self.tasks.front().map(|t| self.task_name(*t)) else {
                self.due = None;
                return Ok(());
            };
            let silent = self.outstanding.first().map(|(m, _)| *m);
            let who = silent.and_then(|m| self.name(m)).unwrap_or("a device").to_owned();
            return Err(match silent.and_then(obeys) {
                Some(authority) => Error::Obeys { task, who, authority },
                None => Error::Silent { task, who },
            });
        }
        self.resend(now);
        Ok(())
    }

    /// The authority's answer to the last [`Step::Ask`].
    pub fn reply(&mut self, now: Instant, reply: Reply) -> Result<(), Error> {
        let Some(task) = self.tasks.front().copied() else { return Ok(()) };
        match (reply, task) {
            (Reply::Done, _) => self.finish(),
            (Reply::Begun { id, requests }, Task::Bind(a, b)) => {
                self.binding = Some(id);
                self.stage = Stage::AwaitKeys { id, keys: [None, None] };
                let [to_a, to_b] = requests.map(|r| prefixed(&[pdu::BINDING, op::REQUEST], &r));
                self.send(now, vec![(a, to_a), (b, to_b)]);
            }
            (Reply::Introduced { introductions, packages }, Task::Bind(a, b)) => {
                let Some(id) = self.binding else { return Err(Error::UnexpectedReply) };
                let leave = |i: &Vec<u8>| Introduction::split(i).ok()?.1.map(<[u8]>::to_vec);
                self.leaves = introductions.each_ref().map(leave);
                let introductions = introductions.map(|i| prefixed(&[pdu::BINDING, op::INTRODUCTION], &i));
                let head = [&[pdu::KEY_PACKAGE, package::SEALED], id.0.as_slice()].concat();
                let [to_a, to_b] = packages.map(|p| prefixed(&head, &p));
                self.stage = Stage::AwaitPackages { introductions, taken: [false; 2] };
                self.send(now, vec![(a, to_a), (b, to_b)]);
            }
            (Reply::Issued { id, certificate, list }, Task::Pair(a, b)) => {
                self.pairing = Some(id);
                let certificate = prefixed(&[pdu::CERTIFICATE], &certificate);
                // A device refuses a certificate that names a later list than it holds (H108).
                let number = RevocationList::claimed_number(&list)?;
                let list = prefixed(&[pdu::REVOCATION], &list);
                self.stage = Stage::AwaitList { certificate, number, taken: [false; 2] };
                self.send(now, vec![(a, list.clone()), (b, list)]);
            }
            (Reply::Answerable(wanted), Task::Answer(pack)) => self.on_answerable(now, pack, wanted)?,
            (Reply::Policy(step), Task::Policy(_, a, b)) => self.policy_step(now, a, b, step)?,
            _ => return Err(Error::UnexpectedReply),
        }
        Ok(())
    }

    /// An answer of a member.
    pub fn answer(&mut self, now: Instant, from: Member, bytes: &[u8]) -> Result<(), Error> {
        let Some(task) = self.tasks.front().copied() else { return Ok(()) };
        let answered = self.on_answer(now, task, from, bytes);
        if let Err(e @ (Error::Declined { .. } | Error::Policy { .. })) = answered {
            // It may be anybody's word: the device is asked again, and believed when it never says anything else.
            self.refused = Some(e);
            return Ok(());
        }
        answered
    }

    fn on_answer(&mut self, now: Instant, task: Task, from: Member, bytes: &[u8]) -> Result<(), Error> {
        match task {
            Task::Register(member) if member == from => self.on_identity(now, from, bytes),
            Task::Bind(a, b) if from == a || from == b => self.on_binding(now, a, b, from, bytes),
            Task::Pair(a, b) if from == a || from == b => self.on_pairing(now, a, b, from, bytes),
            Task::Policy(id, a, b) if from == a || from == b => self.on_policy(id, a, b, from, bytes),
            Task::Answer(pack) if from == pack => self.on_answers_for(bytes),
            _ => Ok(()),
        }
    }

    fn on_identity(&mut self, now: Instant, from: Member, bytes: &[u8]) -> Result<(), Error> {
        match (bytes, &self.stage) {
            ([pdu::BINDING, op::IDENTITY, body @ ..], Stage::AwaitIdentity) => {
                let statement = self.statement(from, body)?;
                self.stage = Stage::AwaitProof { statement: statement.clone() };
                self.send(now, vec![(from, prefixed(&[pdu::BINDING, op::REGISTER], &statement))]);
            }
            ([pdu::BINDING, op::REGISTERED, sig @ ..], Stage::AwaitProof { statement }) => {
                let request = Request::Register {
                    component_id: self.id(from)?,
                    statement: statement.clone(),
                    proof: lct::sign::Signature::from_slice(sig)?,
                };
                self.ask(request);
            }
            _ => {}
        }
        Ok(())
    }

    fn statement(&self, from: Member, body: &[u8]) -> Result<Vec<u8>, Error> {
        encode(&answers::registration(self.chain_id, &self.id(from)?, body)?)
    }

    fn on_binding(
        &mut self,
        now: Instant,
        a: Member,
        b: Member,
        from: Member,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let side = usize::from(from == b);
        match (bytes, &mut self.stage) {
            ([pdu::BINDING, op::KEYS, body @ ..], Stage::AwaitKeys { id, keys }) => {
                let (about, drawn) = DeviceKeys::read(body)?;
                if about != *id {
                    return Ok(());
                }
                keys[side] = Some(drawn);
                let (id, both) = (*id, *keys);
                self.heard(from);
                if let [Some(ka), Some(kb)] = both {
                    self.ask(Request::BindingKeys { id, keys: [ka, kb] });
                }
            }
            (
                [pdu::KEY_PACKAGE, package::STATUS, body @ ..],
                Stage::AwaitPackages { introductions, taken },
            ) => {
                let (id, status) = status(body)?;
                if self.binding != Some(BindingId(id)) {
                    return Ok(());
                }
                taken[side] = true;
                let (all, introductions) = (*taken == [true; 2], introductions.clone());
                accepted(status, self.task_name(Task::Bind(a, b)))?;
                self.heard(from);
                if all {
                    // B first: when A begins the handshake, B must already know A's key.
                    let to_b = introductions[1].clone();
                    self.stage = Stage::AwaitStatus { introductions };
                    self.send(now, vec![(b, to_b)]);
                }
            }
            ([pdu::BINDING, op::STATUS, body @ ..], Stage::AwaitStatus { introductions }) if from == b => {
                let (id, status) = status(body)?;
                let to_a = std::mem::take(&mut introductions[0]);
                accepted(status, self.task_name(Task::Bind(a, b)))?;
                self.stage = Stage::AwaitSigned { id: BindingId(id), signed: [None, None] };
                self.send(now, vec![(a, to_a)]);
            }
            ([pdu::BINDING, op::STATUS, body @ ..], Stage::AwaitSigned { .. }) => {
                let (_, status) = status(body)?;
                accepted(status, self.task_name(Task::Bind(a, b)))?;
            }
            ([pdu::BINDING, op::SIGNED, body @ ..], Stage::AwaitSigned { id, signed }) => {
                let answer = answers::Signed::read(body)?;
                if answer.binding_id != *id {
                    return Ok(());
                }
                let word = answer.word.zip(self.leaves[side].clone());
                let replacement = word.map(|((statement, signature), leave)| Replacement {
                    leave,
                    statement: statement.to_vec(),
                    signature,
                });
                signed[side] = Some(Signed { signature: answer.signature, replacement });
                if let [Some(a), Some(b)] = &signed {
                    let (id, signed) = (*id, [a.clone(), b.clone()]);
                    self.ask(Request::CompleteBinding { id, signed });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn on_pairing(
        &mut self,
        now: Instant,
        a: Member,
        b: Member,
        from: Member,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let side = usize::from(from == b);
        match (bytes, &mut self.stage) {
            (
                [pdu::REVOCATION, pdu::REVOCATION_STATUS, body @ ..],
                Stage::AwaitList { certificate, number, taken },
            ) => {
                let mut f = Fields::new(body);
                let held = f.u32()?;
                f.u8()?;
                f.end()?;
                if held < *number {
                    return Ok(());
                }
                taken[side] = true;
                let (all, certificate) = (*taken == [true; 2], certificate.clone());
                self.heard(from);
                if all {
                    self.stage = Stage::AwaitAccepted { certificate: certificate.clone() };
                    self.send(now, vec![(b, certificate)]);
                }
            }
            (
                [pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS, body @ ..],
                Stage::AwaitAccepted { certificate },
            ) if from == b => {
                let (_, status) = status(body)?;
                let certificate = std::mem::take(certificate);
                accepted(status, self.task_name(Task::Pair(a, b)))?;
                self.stage = Stage::AwaitCompleted { done: [None, None] };
                self.send(now, vec![(a, certificate)]);
            }
            ([pdu::CERTIFICATE, pdu::PAIRING_COMPLETE, body @ ..], Stage::AwaitCompleted { done }) => {
                done[side] = Some(Completed::read(body)?);
                let [Some(by_a), Some(by_b)] = *done else { return Ok(()) };
                if !by_a.agrees_with(&by_b) {
                    return Err(Error::Disagree(self.task_name(Task::Pair(a, b))));
                }
                let Completed { pairing_id: id, nonce, th4, .. } = by_a;
                let signatures = [by_a.signature, by_b.signature];
                let request = Request::CompletePairing { id, nonce, th4, signatures };
                self.ask(request);
            }
            _ => {}
        }
        Ok(())
    }
}

fn encode(registration: &Registration) -> Result<Vec<u8>, Error> {
    let mut bytes = [0; REGISTRATION_MAX];
    let n = registration.encode(&mut bytes)?;
    Ok(bytes[..n].to_vec())
}

fn prefixed(head: &[u8], body: &[u8]) -> Vec<u8> {
    [head, body].concat()
}

fn accepted(status: Status, task: String) -> Result<(), Error> {
    match status {
        Status::Accepted => Ok(()),
        status => Err(Error::Declined { task, status }),
    }
}
