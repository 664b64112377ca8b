//! Somebody who recorded both buses and holds what an authority holds (`spec/channel.md`, H23; `spec/can.md`, C20).
//!
//! Nothing here asks a role: identifiers, messages, transcripts and keys come out of the recording, of [`Held`] and of
//! the private keys given.

use lct::{
    Digest,
    certificate::Certificate,
    curve::backend::AgreementKey,
    handshake::{Context, HALVES, Kind, Request, Response, SIGNED, channel_id},
    hash::sha256,
    key_package::Parties,
    metadata::{ClearMetadata, LinkParameters, policy_hash},
    resume,
    schedule::{
        ChannelId, Direction, ExchangeTag, GroupKey, MasterSecret, Tier, TrafficSecret, derive, extract,
        mac16,
    },
    seal::{Binding, Opener},
    secret::Secret,
    sign::Signature,
    spk::Spk,
};
use pack::{
    can::{Bus, Frame},
    chunk::{Push, Reassembler},
    isotp::{Received, Receiver, ReceiverConfig},
    pdu, policy,
    sealed_id::{Class, Level, SealedId, Transport, classify},
    time::Instant,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::world::Held;

/// Bus and device number: two parties.
pub type Link = (Bus, u8);

/// A sealed message as it was on the bus.
pub struct Message {
    pub link: Link,
    pub id: SealedId,
    pub bytes: Vec<u8>,
}

/// A finished handshake.
#[derive(PartialEq)]
pub struct Run {
    pub link: Link,
    pub kind: Kind,
    pub m1: Vec<u8>,
    pub m2: Vec<u8>,
    pub m3: Vec<u8>,
}

impl Run {
    /// Nonce and ephemeral point of A and of B (H11).
    pub fn ephemerals(&self) -> [(&[u8], &[u8]); 2] {
        [(&self.m1[12..28], &self.m1[28..61]), (&self.m2[8..24], &self.m2[24..57])]
    }
}

#[derive(Default)]
pub struct Recording {
    pub sealed: Vec<Message>,
    pub runs: Vec<Run>,
}

impl Recording {
    /// Puts whole messages together and sorts them.
    pub fn of(log: &[(Instant, Bus, Frame)]) -> Self {
        let mut recording = Recording::default();
        let mut halves: HashMap<(Link, u8), [Vec<u8>; 2]> = HashMap::new();
        let mut chunks = [(); 2].map(|()| Reassembler::<64>::new());
        let mut long: HashMap<(usize, u32), Receiver<1536>> = HashMap::new();
        for (now, bus, frame) in log {
            let (canonical, transport, sealed, device) = match classify(*bus, frame) {
                Ok(Class::Sealed(id, transport)) => (id.canonical(), transport, Some(id), id.device()),
                Ok(Class::Security(id, transport)) => (id.canonical(), transport, None, id.device()),
                _ => continue,
            };
            let whole = if transport == Transport::IsoTp {
                let at = (*bus as usize, canonical.to_u32());
                let receiver = long.entry(at).or_insert_with(|| Receiver::new(ReceiverConfig::default()));
                match receiver.on_frame(*now, frame.data()) {
                    Received::Message(message) => message.to_vec(),
                    _ => continue,
                }
            } else {
                match chunks[*bus as usize].push(*now, canonical, transport, frame.data()) {
                    Push::Complete(message) => message.to_vec(),
                    _ => continue,
                }
            };
            let link = (*bus, device);
            match sealed {
                Some(id) => recording.sealed.push(Message { link, id, bytes: whole }),
                None => recording.handshake(link, &whole, &mut halves),
            }
        }
        recording
    }

    fn handshake(&mut self, link: Link, pdu: &[u8], halves: &mut HashMap<(Link, u8), [Vec<u8>; 2]>) {
        let [pdu::HANDSHAKE, message @ ..] = pdu else { return };
        let kind = match message[1] & 0x1F {
            2 => Kind::Bind,
            3 => Kind::Pair,
            4 => Kind::Resume,
            _ => return,
        };
        let half = halves.entry((link, kind as u8)).or_default();
        match message[1] & 0xE0 {
            0x00 => half[0] = message.to_vec(),
            0x40 => half[1] = message.to_vec(),
            _ => {
                let [m1, m2] = half.clone();
                let run = Run { link, kind, m1, m2, m3: message.to_vec() };
                if !self.runs.contains(&run) {
                    self.runs.push(run);
                }
            }
        }
    }
}

/// What both sides of a run had to agree on, out of what the authority gave them.
struct Agreed {
    context: Context,
    psk: Vec<u8>,
    exchange: Option<ExchangeTag>,
    /// Secrets that the authority gave out for it.
    secrets: Vec<Secret<32>>,
}

fn agreed(held: &Held) -> Vec<Agreed> {
    let context = |kind, flags, cids: [_; 2], spks: &[Spk; 2], parameters: &LinkParameters, salt| Context {
        kind,
        flags,
        cid_a: cids[0],
        cid_b: cids[1],
        spk_a: Some(spks[0]),
        spk_b: Some(spks[1]),
        cert_hash: None,
        policy_hash: policy_hash(&policy::table_bytes(), parameters),
        salt,
    };
    let suite = |iv_seed| LinkParameters { iv_seed, kdf: 1, aead: 1, rotation_days: 30 };
    let bindings = held.bindings.iter().map(|b| {
        let cids = [b.ids[0].0, b.ids[1].0];
        let Some(package) = &b.package else {
            let context = context(Kind::Bind, SIGNED, cids, &b.spks, &suite([0; 16]), [0; 32]);
            return Agreed { context, psk: vec![0; 32], exchange: None, secrets: vec![] };
        };
        let parties = Parties { own: b.ids[0], peer: b.ids[1] };
        let [a, b_half] = package.halves(&parties).unwrap();
        let (parameters, salt) = (&package.parameters, package.salt);
        let halves = [a, b_half].into_iter().flat_map(|h| h.expose().chunks(32));
        Agreed {
            context: context(Kind::Bind, SIGNED | HALVES, cids, &b.spks, parameters, salt),
            psk: [a.expose().as_slice(), b_half.expose(), &salt].concat(),
            exchange: None,
            secrets: halves.map(|part| Secret::from_slice(part).unwrap()).collect(),
        }
    });
    let certificates = held.certificates.iter().map(|c| {
        let certificate = Certificate::parse(&c.bytes).unwrap();
        let metadata = ClearMetadata::decode(certificate.clear_metadata).unwrap();
        let cids = [metadata.entities[0].cid, metadata.entities[1].cid];
        let [a, b, xk] = &c.secrets;
        let cert_hash = Some(certificate.hash());
        let parameters = suite(metadata.iv_seed);
        Agreed {
            context: Context {
                cert_hash,
                ..context(Kind::Pair, SIGNED, cids, &c.spks, &parameters, metadata.salt)
            },
            psk: [a.expose().as_slice(), b.expose(), &metadata.salt].concat(),
            exchange: Some(ExchangeTag::of(xk)),
            secrets: c.secrets.to_vec(),
        }
    });
    bindings.chain(certificates).collect()
}

/// Hashes of a run (H12), all of them public.
struct Transcript {
    th0: Digest,
    th2: Digest,
    th4: Digest,
    mac_b: [u8; 16],
}

/// The transcript, if this is the run of `context`: then both of its signatures verify (H14).
fn transcript(context: &Context, run: &Run) -> Option<Transcript> {
    Request::parse(context, &run.m1).ok()?;
    Response::parse(context, &run.m2).ok()?;
    let (spk_a, spk_b) = (context.spk_a?, context.spk_b?);
    let th0 = sha256(&[
        b"modbatt1 hs",
        &[context.kind as u8, lct::SUITE, context.flags],
        &context.cid_a.0,
        &context.cid_b.0,
        &sha256(&[&spk_a.0]),
        &sha256(&[&spk_b.0]),
        &context.cert_hash.unwrap_or_default(),
        &context.policy_hash,
    ]);
    let (core, proof_b) = run.m2.split_at(run.m2.len() - 80);
    let (mac_b, sig_b) = proof_b.split_at(16);
    let (mac_a, sig_a) = run.m3[4..].split_at(16);
    let th2 = sha256(&[&sha256(&[&th0, &run.m1]), core]);
    let th3 = sha256(&[&th2, proof_b]);
    let signed = |spk: &Spk, label: &[u8], th: &Digest, mac, sig| {
        let signature = Signature::from_slice(sig).unwrap();
        spk.sign_pub().verify(&sha256(&[label, th, mac]), &signature).is_ok()
    };
    let fits = signed(&spk_b, b"modbatt1 sig b", &th2, mac_b, sig_b)
        && signed(&spk_a, b"modbatt1 sig a", &th3, mac_a, sig_a);
    let th4 = sha256(&[&th3, &run.m3[4..]]);
    fits.then(|| Transcript { th0, th2, th4, mac_b: mac_b.try_into().unwrap() })
}

/// What an attack came to.
#[derive(Default)]
pub struct Outcome {
    /// Runs whose transcript was rebuilt, both signatures verified.
    pub runs: usize,
    /// Master secrets that were tried.
    pub tried: usize,
    /// Runs whose own confirmation (mac_B) one of the guesses met.
    pub confirmed: usize,
    /// Opened messages by their place in the recording, with the epoch of the key.
    pub opened: BTreeMap<usize, u32>,
}

/// Tries everything that can be computed from the recording, what the authority holds and `scalars` (private keys).
///
/// As agreed value each run gets every product of a private key, or of a secret taken for one, and a public point;
/// every secret itself; the coordinates of the points; nothing. As master secret also what the schedule has before
/// the agreement, and each secret itself.
pub fn attack(recording: &Recording, held: &Held, scalars: &[[u8; 32]]) -> Outcome {
    let mut outcome = Outcome::default();
    for agreed in agreed(held) {
        for run in recording.runs.iter().filter(|run| run.kind == agreed.context.kind) {
            let Some(transcript) = transcript(&agreed.context, run) else { continue };
            outcome.runs += 1;
            let channel = Channel { recording, run, agreed: &agreed, id: channel_id(&transcript.th4) };
            let masters = guesses(&agreed, run, &transcript, scalars, &mut outcome);
            outcome.tried += masters.len();
            for master in masters {
                channel.follow(master, &mut outcome.opened);
            }
        }
    }
    outcome
}

fn guesses(
    agreed: &Agreed,
    run: &Run,
    transcript: &Transcript,
    scalars: &[[u8; 32]],
    outcome: &mut Outcome,
) -> Vec<MasterSecret> {
    let spks = [agreed.context.spk_a, agreed.context.spk_b].map(Option::unwrap);
    let points: Vec<[u8; 33]> = run
        .ephemerals()
        .iter()
        .map(|(_, point)| (*point).try_into().unwrap())
        .chain(spks.iter().flat_map(|spk| [spk.sign_pub().0, spk.kem_pub().0]))
        .collect();
    let secrets = agreed.secrets.iter().map(Secret::expose);
    let keys = scalars.iter().chain(secrets.clone()).filter_map(AgreementKey::from_bytes);
    let mut agreements: Vec<Secret<32>> = keys
        .flat_map(|key| points.iter().filter_map(move |point| key.agree(point)).collect::<Vec<_>>())
        .collect();
    agreements.extend(points.iter().map(|point| Secret::from_slice(&point[1..]).unwrap()));
    agreements.extend(secrets.chain([&[0; 32]]).map(|bytes| Secret::new(*bytes)));

    let s0 = extract(&agreed.context.salt, &[&agreed.psk]);
    let salt: Secret<32> = derive(&s0, "hs salt", &[&transcript.th0]).unwrap();
    let mut roots: Vec<Secret<32>> =
        agreements.iter().map(|dh| extract(salt.expose(), &[dh.expose()])).collect();
    let confirms = |s1: &Secret<32>| {
        let key: Secret<32> = derive(s1, "fin b", &[&transcript.th2]).unwrap();
        mac16(key.expose(), &[&transcript.th2]) == transcript.mac_b
    };
    outcome.confirmed += usize::from(roots.iter().any(confirms));
    roots.extend([s0, salt]);
    let master = |root: &Secret<32>| derive(root, "ms", &[&transcript.th4]).unwrap();
    let mut masters: Vec<Secret<32>> = roots.iter().map(master).collect();
    masters.extend(roots);
    masters.extend(agreed.secrets.iter().cloned());
    masters.into_iter().map(MasterSecret).collect()
}

/// A channel whose first master secret is guessed.
struct Channel<'a> {
    recording: &'a Recording,
    run: &'a Run,
    agreed: &'a Agreed,
    id: ChannelId,
}

impl Channel<'_> {
    /// Opens what `master` opens, and goes on through every later epoch that follows from it.
    fn follow(&self, master: MasterSecret, opened: &mut BTreeMap<usize, u32>) {
        let mut known = vec![(0, master)];
        let mut at = 0;
        while let Some((epoch, master)) = known.get(at).cloned() {
            at += 1;
            for next in self.epoch(epoch, &master, opened) {
                if !known.iter().any(|(e, m)| (*e, m) == (epoch + 1, &next)) {
                    known.push((epoch + 1, next));
                }
            }
        }
    }

    /// Opens the messages of one epoch; returns the master secrets that may follow (H18, H28).
    fn epoch(
        &self,
        epoch: u32,
        master: &MasterSecret,
        opened: &mut BTreeMap<usize, u32>,
    ) -> Vec<MasterSecret> {
        let tiers: &[Tier] =
            if self.agreed.context.kind == Kind::Bind { &[Tier::Bind] } else { &[Tier::Exch, Tier::Pair] };
        let mut said: BTreeMap<(u8, bool), BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (tier, direction) in tiers.iter().flat_map(|t| [(*t, Direction::Ab), (*t, Direction::Ba)]) {
            let exchange = self.agreed.exchange.as_ref();
            let secret = master.traffic(tier, direction, epoch, &self.id, exchange).unwrap();
            let from = |m: &Message| {
                m.link == self.run.link && m.id.level() as u8 == tier.level() && m.id.direction() == direction
            };
            for text in open(self.recording, &secret, epoch, from, opened) {
                // Behind the header byte (H32).
                if let [_, kind @ (pdu::ROTATE | pdu::GROUP_KEY), body @ ..] = text.as_slice() {
                    said.entry((*kind, direction == Direction::Ab)).or_default().insert(body.to_vec());
                }
            }
        }
        let bodies = |kind, from_a| said.get(&(kind, from_a)).into_iter().flatten();
        for body in bodies(pdu::GROUP_KEY, true) {
            let generation = u32::from_be_bytes(body[..4].try_into().unwrap());
            let key = GroupKey(Secret::from_slice(&body[4..]).unwrap());
            let secret = key.traffic(generation, &self.agreed.context.cid_a).unwrap();
            let group = |m: &Message| m.link == (self.run.link.0, 0) && m.id.level() == Level::Pair;
            open(self.recording, &secret, generation, group, opened);
        }
        let mut next = Vec::new();
        for rotate in bodies(pdu::ROTATE, true).filter(|body| body.len() == 52) {
            for answer in bodies(pdu::ROTATE, false).filter(|body| body[..4] == rotate[..4]) {
                let nonces = [&rotate[4..20], &answer[4..20]].map(|n| n.try_into().unwrap());
                let salt = rotate[20..].try_into().unwrap();
                next.push(master.rekey(epoch + 1, nonces[0], nonces[1], salt).unwrap());
            }
        }
        let session = resume::Session { master, epoch, channel: self.id };
        let runs = self.recording.runs.iter().filter(|r| r.kind == Kind::Resume && r.link == self.run.link);
        next.extend(runs.filter_map(|run| {
            let (m1, m2, m3) = (run.m1.as_slice(), run.m2.as_slice(), run.m3.as_slice());
            session.finish(m1.try_into().ok()?, m2.try_into().ok()?, m3.try_into().ok()?).ok()
        }));
        next
    }
}

/// Opens the messages that `from` admits; returns their plaintexts and notes which they were.
fn open(
    recording: &Recording,
    secret: &TrafficSecret,
    epoch: u32,
    from: impl Fn(&Message) -> bool,
    opened: &mut BTreeMap<usize, u32>,
) -> Vec<Vec<u8>> {
    let opener = Opener::new(secret).unwrap();
    let claimed = recording.sealed.iter().enumerate().filter(|(_, m)| opener.claims(&m.bytes) && from(m));
    claimed
        .filter_map(|(at, m)| {
            let (level, canonical_id) = (m.id.level() as u8, m.id.canonical().to_u32());
            let mut bytes = m.bytes.clone();
            let (_, text) = opener.open(&Binding { level, canonical_id, epoch }, &mut bytes).ok()?;
            opened.insert(at, epoch);
            Some(text.to_vec())
        })
        .collect()
}
