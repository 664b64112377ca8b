//! Who somebody is: tokens with proofs, certificates, passphrases, and how often somebody may ask (A131 to A137).

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::{
    problem::code,
    session::{Asked, Login, PASSPHRASE_MAX, PROOF_HEADER, PROOF_WINDOW_MS, Proof, Session, token_hash},
};
use axum::{
    extract::Request,
    http::{HeaderMap, header},
};
use governor::Quota;
use lct::{Digest, hash::sha256, sign::PublicKey};

use super::{
    Known, LOCAL_OPERATOR, Means, Principal, Scope,
    limiter::{Limiter, too_many},
    strangers::{Strangers, source},
    tries::{Admitted, Tries},
    users::{User, UserFile, Users, UsersError, check_passphrase, draw_token},
};
use crate::refusal::{Refusal, Reply};

/// How long a session lasts, in seconds.
const SESSION_S: u64 = 8 * 3600;
/// How long whoever logged in counts as present, in seconds.
const PRESENCE_S: u64 = 300;
/// Most sessions at the same time.
const SESSIONS_MAX: usize = 10_000;
/// Most proofs that are remembered for each stretch of time.
const PROOFS_MAX: usize = 500_000;

/// From where a connection comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// SHA-256 of the certificate that it proved to hold.
    pub certificate: Option<Digest>,
}

/// How often one principal, or one address without one, may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

impl Default for Rate {
    fn default() -> Self {
        let n = |n: u32| NonZeroU32::MIN.saturating_add(n - 1);
        Rate { per_second: n(50), burst: n(200) }
    }
}

/// What somebody logged in to.
struct Live {
    user: String,
    /// Of the user as he logged in: the session is worth nothing once his is another one.
    bond: Digest,
    key: PublicKey,
    expires_at: u64,
    present_until: u64,
}

/// Proofs that were used, in two stretches of time; the older one is forgotten when the newer one is full of time.
#[derive(Default)]
struct Used {
    since_ms: u64,
    newer: HashSet<Digest>,
    older: HashSet<Digest>,
}

impl Used {
    fn has(&self, proof: &Digest) -> bool {
        self.older.contains(proof) || self.newer.contains(proof)
    }
}

/// What somebody showed to prove who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Nothing: he opened a connection where no users are.
    Nothing,
    /// A token, by its hash.
    Token(Digest),
    /// A certificate, by its fingerprint.
    Certificate(Digest),
}

/// Decides who somebody is.
pub(crate) struct Door {
    users: Option<Users>,
    /// When it began to remember proofs, Unix milliseconds.
    since_ms: u64,
    sessions: Mutex<HashMap<Digest, Live>>,
    used: Mutex<Used>,
    rate: Limiter,
    tries: Tries,
    strangers: Arc<Strangers>,
}

impl Door {
    /// Without `users` whoever may open a connection is the local operator.
    pub fn new(users: Option<Users>, rate: Rate, since_ms: u64) -> Self {
        let tries = Tries::open(users.as_ref().map(Users::sources));
        Door {
            users,
            since_ms,
            sessions: Mutex::default(),
            used: Mutex::default(),
            rate: Limiter::new(Quota::per_second(rate.per_second).allow_burst(rate.burst)),
            tries,
            strangers: Arc::new(Strangers::new()),
        }
    }

    /// Whether there are users; without any whoever may open a connection is the local operator.
    pub fn has_users(&self) -> Reply<bool> {
        Ok(self.users()?.is_some())
    }

    /// The users as their file has them at this moment, if there are any.
    fn users(&self) -> Reply<Option<Arc<UserFile>>> {
        let users = self.users.as_ref().map(Users::now).transpose().map_err(|e| Refusal::unavailable(&e))?;
        Ok(users.flatten())
    }

    /// Who makes the request, and what he showed; nobody where no means is shown.
    pub fn known(&self, request: &Request, peer: &Peer, now_ms: u64) -> Reply<Option<Known>> {
        let Some(users) = self.users()? else {
            return Ok(Some(Known { who: LOCAL_OPERATOR.clone(), shown: Shown::Nothing }));
        };
        let now_s = now_ms / 1000;
        if let Some(token) = bearer(request.headers())? {
            let hash = token_hash(token);
            let (principal, key) = self.holder(&users, &hash, now_s)?;
            let proof = self.prove(request, token, &hash, &key, now_ms)?;
            // After the proof is found good and new, so that who has a token without its key, or a request that was made before,
            // uses up nothing of its user's; before it is kept, so that nobody alone fills the memory of proofs.
            self.rate.count(format!("user {}", principal.name))?;
            self.first_use(proof, now_ms)?;
            return Ok(Some(Known { who: Arc::new(principal), shown: Shown::Token(hash) }));
        }
        let Some(fingerprint) = peer.certificate else { return Ok(None) };
        let who = Arc::new(certified(&users, &fingerprint, now_s)?);
        Ok(Some(Known { who, shown: Shown::Certificate(fingerprint) }))
    }

    /// Whether what was shown still stands for `principal`, with the same role and scope.
    pub fn stands(&self, principal: &Principal, shown: Shown, now_s: u64) -> Reply<bool> {
        let users = self.users()?;
        let found = match (shown, &users) {
            (Shown::Nothing, None) => return Ok(true),
            (Shown::Token(hash), Some(users)) => self.holder(users, &hash, now_s).map(|(found, _)| found),
            (Shown::Certificate(fingerprint), Some(users)) => certified(users, &fingerprint, now_s),
            _ => return Ok(false),
        };
        let same = |found: Principal| {
            (&found.name, found.role, &found.scope) == (&principal.name, principal.role, &principal.scope)
        };
        Ok(found.is_ok_and(same))
    }

    /// Whose token this is, and the key that its requests are signed with.
    fn holder(&self, users: &UserFile, hash: &Digest, now_s: u64) -> Reply<(Principal, PublicKey)> {
        let (user, key, components, present) = match self.live(hash, now_s) {
            Some((name, bond, key, present)) => {
                let same = |user: &&User| user.name == name && user.bond() == bond;
                (users.users.iter().find(same), key, None, present)
            }
            None => {
                let mut all = users.users.iter().flat_map(|u| u.tokens.iter().map(move |t| (u, t)));
                let (user, token) = all
                    .find(|(_, token)| token.hash.0 == *hash && now_s < token.expires_at)
                    .ok_or_else(unknown)?;
                (Some(user), PublicKey(token.key.0), token.components.clone(), false)
            }
        };
        let user = user.filter(|user| user.is_active(now_s)).ok_or_else(unknown)?;
        let scope = components.map_or_else(|| user.scope(), Scope::Components);
        Ok((principal(user, scope, Means::Token, present), key))
    }

    /// Whose session this is, the bond that it hangs on, its key, and whether he is present.
    fn live(&self, hash: &Digest, now_s: u64) -> Option<(String, Digest, PublicKey, bool)> {
        let mut sessions = lock(&self.sessions);
        let live = sessions.get(hash)?;
        if now_s >= live.expires_at {
            sessions.remove(hash);
            return None;
        }
        Some((live.user.clone(), live.bond, live.key, now_s < live.present_until))
    }

    /// Checks that the holder of `key` made this request, now and not before; what is returned names the proof.
    fn prove(
        &self,
        request: &Request,
        token: &str,
        hash: &Digest,
        key: &PublicKey,
        now_ms: u64,
    ) -> Reply<Digest> {
        let wrong = |what: &str| {
            Refusal::new(401, code::ACCESS_PROOF, "the proof of the token's key does not hold").detail(what)
        };
        let text = single(request.headers(), PROOF_HEADER)?
            .ok_or_else(|| wrong("a token is used with a proof of its key, in X-Modbatt-Proof"))?;
        let proof = Proof::parse(text).ok_or_else(|| wrong("it is `milliseconds.nonce.signature`"))?;
        if proof.time_ms.abs_diff(now_ms) > PROOF_WINDOW_MS {
            return Err(wrong("its time is more than 60 s from that of the bridge; set the clock"));
        }
        let uri = request.uri();
        let asked = Asked {
            method: request.method().as_str(),
            authority: crate::rest::authority(request),
            path: uri.path_and_query().map_or("/", |p| p.as_str()),
            token,
        };
        if !proof.holds(&asked, key) {
            return Err(wrong("it is not over this method, host, path, time and token"));
        }
        if proof.time_ms < self.since_ms {
            return Err(wrong(
                "it was made before this bridge started, which does not know whether it was used",
            ));
        }
        let named = sha256(&[hash, &proof.nonce]);
        if lock(&self.used).has(&named) {
            return Err(made_before());
        }
        Ok(named)
    }

    fn first_use(&self, proof: Digest, now_ms: u64) -> Reply<()> {
        let mut used = lock(&self.used);
        // A proof is taken until 60 s after its time, which may lie 60 s ahead: for 120 s after its first use.
        if now_ms.abs_diff(used.since_ms) > 2 * PROOF_WINDOW_MS {
            used.older = std::mem::take(&mut used.newer);
            used.since_ms = now_ms;
        }
        if used.has(&proof) {
            return Err(made_before());
        }
        if used.newer.len() >= PROOFS_MAX {
            return Err(too_many(Duration::from_secs(60)));
        }
        used.newer.insert(proof);
        Ok(())
    }

    /// Counts a request of `who`.
    ///
    /// The operator of this machine is not counted: there is nobody else that he could keep away; who shows a token was, with
    /// his proof.
    pub fn count(&self, who: Option<&Principal>, peer: &Peer) -> Reply<()> {
        match who {
            Some(principal) if matches!(principal.means, Means::Loopback | Means::Token) => Ok(()),
            Some(principal) => self.rate.count(format!("user {}", principal.name)),
            None => self.rate.count(format!("address {}", source(peer.address))),
        }
    }

    /// What is said of those who are not known.
    pub fn strangers(&self) -> &Arc<Strangers> {
        &self.strangers
    }

    /// Counts a try to log in; what is returned says when it is looked at.
    pub fn count_try(&self, login: &Login, peer: &Peer) -> Reply<Admitted> {
        self.tries.count(&login.user, peer.address)
    }

    /// Logs a user in. Takes some 20 ms and 19 MiB.
    pub fn log_in(&self, login: &Login, peer: &Peer, now_s: u64) -> Reply<Session> {
        let users = self.users()?.ok_or_else(|| {
            Refusal::new(
                409,
                code::ACCESS_REQUIRED,
                "no users are configured here; whoever sits at this machine may do everything",
            )
        })?;
        let key =
            PublicKey::from_slice(&login.key.0).map_err(|_| Refusal::format("key: no P-256 public key"))?;
        if login.passphrase.len() > PASSPHRASE_MAX {
            return Err(no_such_login());
        }
        let user = users.users.iter().find(|user| user.name == login.user);
        let right = check_passphrase(user, &login.passphrase);
        // What was typed as a name may be a passphrase in the wrong field.
        let named = user.map_or("nobody known", |user| user.name.as_str());
        // One that was given for once and ran out is as good as a wrong one.
        let opens = |user: &&User| {
            right && user.is_active(now_s) && user.once_until().is_none_or(|until| now_s < until)
        };
        let Some(user) = user.filter(opens) else {
            if self.strangers.heard(peer.address) {
                tracing::warn!(target: "security", user = named, from = %peer.address, "login refused");
            }
            return Err(no_such_login());
        };
        let bond = self.renew(user, login)?;
        let token = draw_token()?;
        let (expires_at, present_until) = (now_s + SESSION_S, now_s + PRESENCE_S);
        let mut sessions = lock(&self.sessions);
        sessions.retain(|_, live| now_s < live.expires_at);
        if sessions.len() >= SESSIONS_MAX {
            return Err(too_many(Duration::from_secs(60)));
        }
        let live = Live { user: user.name.clone(), bond, key, expires_at, present_until };
        sessions.insert(token_hash(&token), live);
        drop(sessions);
        self.tries
            .logged_in(&user.name, peer.address, |name| users.users.iter().any(|user| user.name == name));
        tracing::info!(target: "security", user = %user.name, from = %peer.address, "logged in");
        Ok(Session { token: token.to_string(), role: user.role.word().into(), expires_at, present_until })
    }

    /// Gives whoever proved himself the passphrase that he wants, or tells him that he needs one; what is returned is the bond of
    /// the one that he has from here on.
    fn renew(&self, user: &User, login: &Login) -> Reply<Digest> {
        let Some(wanted) = &login.new_passphrase else {
            return match user.once_until() {
                None => Ok(user.bond()),
                Some(_) => Err(Refusal::new(
                    403,
                    code::ACCESS_PASSPHRASE,
                    "this passphrase was given for once: set one of your own",
                )
                .detail("new_passphrase: it is missing")),
            };
        };
        if *wanted == login.passphrase {
            return Err(Refusal::format("new_passphrase: it is the one before"));
        }
        let Some(users) = &self.users else { return Ok(user.bond()) };
        let bond = users.set_passphrase(&user.name, &user.bond(), wanted).map_err(|e| match e {
            UsersError::Invalid(what) => Refusal::format(format!("new_passphrase: {what}")),
            UsersError::Unknown(_) | UsersError::Superseded(_) => no_such_login(),
            e => Refusal::unavailable(&e),
        })?;
        tracing::info!(target: "security", user = %user.name, "another passphrase");
        Ok(bond)
    }
}

/// Whose certificate this is.
fn certified(users: &UserFile, fingerprint: &Digest, now_s: u64) -> Reply<Principal> {
    let holds = |user: &&User| {
        let mut all = user.certificates.iter();
        all.any(|c| c.fingerprint.0 == *fingerprint && now_s < c.expires_at)
    };
    let user = users.users.iter().find(holds).filter(|user| user.is_active(now_s)).ok_or_else(unknown)?;
    Ok(principal(user, user.scope(), Means::Certificate, false))
}

fn principal(user: &User, scope: Scope, means: Means, present: bool) -> Principal {
    Principal { name: user.name.clone(), role: user.role, scope, means, present }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown() -> Refusal {
    Refusal::new(401, code::ACCESS_REQUIRED, "this token or certificate is not known here, or it ended")
}

fn no_such_login() -> Refusal {
    Refusal::new(401, code::ACCESS_REQUIRED, "there is no such user with this passphrase")
}

fn made_before() -> Refusal {
    Refusal::new(401, code::ACCESS_REPLAY, "this request was made before")
}

/// A header that stands once or not at all.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Reply<Option<&'a str>> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(Refusal::format(format!("the header {name} stands twice")));
    }
    match first.map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(Refusal::format(format!("the header {name} is not text"))),
    }
}

fn bearer(headers: &HeaderMap) -> Reply<Option<&str>> {
    let Some(text) = single(headers, header::AUTHORIZATION.as_str())? else { return Ok(None) };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
            Ok(Some(token))
        }
        _ => Err(Refusal::new(401, code::ACCESS_REQUIRED, "only `Authorization: Bearer` is taken")),
    }
}

#[cfg(test)]
mod tests {
    use lct::sign::SigningKey;

    use super::*;
    use crate::access::Role;

    fn door() -> Door {
        Door::new(None, Rate::default(), 0)
    }

    #[test]
    fn a_proof_is_taken_once_for_as_long_as_its_time_holds() {
        let door = door();
        let start = 1_000_000_000;
        let again = |at: u64, n: u8| door.first_use([n; 32], start + at).map_err(|r| r.0.code);
        assert_eq!(again(0, 1), Ok(()));
        for at in [0, 1, 60_000, 119_999, 120_000] {
            assert_eq!(again(at, 1), Err(code::ACCESS_REPLAY.to_owned()), "after {at} ms");
        }
        assert_eq!(again(120_001, 2), Ok(()));
        assert_eq!(again(120_001, 1), Err(code::ACCESS_REPLAY.to_owned()), "kept in the older stretch");
        assert_eq!(again(500_000, 3), Ok(()));
        assert_eq!(lock(&door.used).newer.len(), 1, "what is old is forgotten");
    }

    /// Who has a token without its key, or a request that was made before, takes nothing from its user.
    #[test]
    fn only_what_a_user_proved_counts_as_his() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.json");
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let thief = SigningKey::from_bytes(&[8; 32]).unwrap();
        let mut ann = User::new("ann", Role::Viewer, None).unwrap();
        let token = ann.give_token(&key.public(), u64::MAX, None).unwrap();
        let mut file = UserFile::default();
        file.add(ann).unwrap();
        file.write(&path).unwrap();
        let one = NonZeroU32::MIN;
        let door = Door::new(Some(Users::open(path).unwrap()), Rate { per_second: one, burst: one }, 0);
        let peer = Peer { address: IpAddr::from([10, 0, 0, 1]), certificate: None };
        let time_ms = 1_000_000_000;
        let ask = |key: &SigningKey, nonce: u8| {
            let asked = Asked { method: "GET", authority: "here:1", path: "/x", token: &token };
            let signature = key.sign_rfc6979(&Proof::digest(&asked, time_ms, &[nonce; 16]));
            let proof = Proof { time_ms, nonce: [nonce; 16], signature }.to_string();
            let request = Request::get("/x").header("host", "here:1").header(PROOF_HEADER, proof);
            let request = request.header("authorization", format!("Bearer {}", *token));
            let request = request.body(axum::body::Body::empty()).unwrap();
            door.known(&request, &peer, time_ms).map(drop).map_err(|refused| refused.0.code)
        };
        let refused = |code: &str| Err(code.to_owned());
        for nonce in 0..3 {
            assert_eq!(ask(&thief, nonce), refused(code::ACCESS_PROOF));
        }
        assert_eq!(ask(&key, 1), Ok(()));
        assert_eq!(ask(&key, 1), refused(code::ACCESS_REPLAY), "not one too many");
        assert_eq!(ask(&key, 2), refused(code::RATE));
    }

    #[test]
    fn one_who_asks_too_often_is_told_when_to_ask_again() {
        let one = NonZeroU32::MIN;
        let door = Door::new(None, Rate { per_second: one, burst: one }, 0);
        let peer = Peer { address: IpAddr::from([10, 0, 0, 1]), certificate: None };
        let who =
            |name: &str| Principal { name: name.into(), means: Means::Certificate, ..Principal::local() };
        assert!(door.count(Some(&who("ann")), &peer).is_ok());
        let refused = door.count(Some(&who("ann")), &peer).unwrap_err();
        assert_eq!((refused.0.status, refused.0.code.as_str()), (429, code::RATE));
        assert!(door.count(Some(&who("bob")), &peer).is_ok(), "each for himself");
        assert!(door.count(None, &peer).is_ok() && door.count(None, &peer).is_err());
        for _ in 0..1000 {
            door.count(Some(&Principal::local()), &peer).unwrap();
        }
    }
}
