//! Signing in the place of creators (A150, A151).

use std::sync::{MutexGuard, PoisonError};

use api::{
    Hex,
    problem::code,
    sign::{Envelope, sign},
};
use lct::{
    secret::Secret,
    sign::{PublicKey, Signature},
};
use ledger::{
    reject::Rejection,
    tx::{Body, TxId, Unsigned},
};
use node::SubmitError;

use super::{Creators, Ctx};
use crate::{
    access::{Means, Role},
    authority::key::KeyError,
    entropy,
    ops::lines,
    refusal::{Refusal, Reply},
    repeat::Sent,
    routes::NotIncluded,
};

/// Blocks that may pass before a transaction is void.
const TX_LIFETIME: u64 = 1000;
/// How often an account is asked for, while other transactions and blocks come before it: two seconds and more.
const ACCOUNT_TRIES: usize = 100;

/// The account of a creator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creator {
    pub name: String,
    pub key: PublicKey,
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotAKey => Refusal::format("creator: no label, or the bridge has too many already"),
            other => Refusal::unavailable(&other),
        }
    }
}

impl Ctx {
    pub(super) fn creators(&self) -> Reply<MutexGuard<'_, Creators>> {
        // A key is added on disk first, so that a panic of another thread leaves nothing half done.
        Ok(self.compat()?.creators.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The names of all creators and their keys.
    pub(crate) fn all_creators(&self) -> Reply<Vec<Creator>> {
        let creators = self.creators()?;
        let one = |name: &str| creators.key(name).map(|k| Creator { name: name.into(), key: k.public() });
        Ok(creators.names().filter_map(one).collect())
    }

    /// The creator with this name, or who asks where a call names nobody. One without key is refused.
    pub(crate) async fn creator(&self, name: &str) -> Reply<Creator> {
        let compat = self.compat()?;
        // Who runs this machine or administers the bridge speaks for all of its creators, everybody else for himself.
        let for_all = self.who.means == Means::Loopback || self.who.role == Role::Administrator;
        let name = match (name, &compat.default_creator) {
            ("", _) if !for_all => self.who.name.as_str(),
            ("", Some(default)) => default.as_str(),
            ("", None) => return Err(Refusal::format("creator: who asks is missing")),
            (name, _) => name,
        };
        crate::extract::label("creator", name)?;
        if !for_all && name != self.who.name {
            let refusal = Refusal::new(
                403,
                code::CREATOR_DENIED,
                "the bridge signs for this creator when he asks himself",
            );
            return Err(refusal.detail(format!("creator: {name}; asked by {}", self.who.name)));
        }
        let known = self.creators()?.key(name).map(|key| key.public());
        let key = match known {
            Some(key) => key,
            None if compat.allow.unknown_creators => self.add_creator(name).await?.key,
            None => {
                let refusal =
                    Refusal::new(403, code::CREATOR_DENIED, "the bridge does not sign for this creator");
                return Err(refusal.detail(format!("creator: {name}")));
            }
        };
        let creator = Creator { name: name.into(), key };
        self.account(&creator).await?;
        Ok(creator)
    }

    /// Draws a key for a creator.
    pub(crate) async fn add_creator(&self, name: &str) -> Reply<Creator> {
        let (ctx, name) = (self.clone(), name.to_owned());
        let added = lines::blocking(move || {
            let key = ctx.creators()?.add(&name)?.public();
            tracing::warn!(creator = name, "a key was drawn for a creator");
            Ok(Creator { name, key })
        });
        added.await.map_err(|e| Refusal::internal(&e))?
    }

    /// Has the authority give a creator's key an operator's account, unless it has one.
    async fn account(&self, creator: &Creator) -> Reply<()> {
        let key = creator.key;
        let app = &self.app;
        for _ in 0..ACCOUNT_TRIES {
            // Of one state, which whoever takes in what is signed next has come to as well.
            let (account, tip) = app
                .blocking(move |chain| {
                    let snapshot = chain.read()?;
                    Ok((snapshot.account(&key)?, snapshot.tip().height))
                })
                .await?;
            if let Some(account) = account {
                // The authority would still sign for what it asks, so the bridge itself looks at the account.
                if account.status != ledger::records::Status::Active {
                    let refusal =
                        Refusal::new(403, code::CREATOR_DENIED, "the creator's account was withdrawn");
                    return Err(refusal.detail(format!("creator: {}", creator.name)));
                }
                if account.in_force(tip + 1) {
                    return Ok(());
                }
                // It was given in the last block, and one more comes by itself.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            }
            let tx = app.authority.call(move |core| core.give_account(key)).await?;
            match app.included(&tx).await {
                Ok(()) | Err(NotIncluded::Lost) => {}
                // Another transaction made a block before, or another request was faster.
                Err(NotIncluded::Refused(Refusal(p)))
                    if [Rejection::GovernHeight, Rejection::GovernExists]
                        .iter()
                        .any(|r| r.code() == p.code) => {}
                Err(why) => return Err(why.into()),
            }
        }
        Err(Refusal::new(503, code::BUSY, "the creator's account is not in force yet; try again"))
    }

    /// Signs `digest` with a creator's key.
    pub(crate) fn sign_as(&self, creator: &Creator, digest: &lct::Digest) -> Reply<Signature> {
        let creators = self.creators()?;
        let key = creators.key(&creator.name).ok_or_else(|| Refusal::internal(&"a creator lost its key"))?;
        Ok(entropy::with(|rng| key.sign(digest, rng))?)
    }

    /// The secret that a creator's commitments are keyed with.
    pub(crate) fn commitments(&self, creator: &Creator) -> Reply<Secret<32>> {
        self.creators()?.commitments(&creator.name).map_err(|e| Refusal::internal(&e))
    }

    /// Sends the transaction of a call; returns once a block holds it and it took effect. What the same call sent before, under
    /// its key, is not sent again as long as it may take effect.
    pub(crate) async fn send(&self, creator: &Creator, body: Body) -> Reply<TxId> {
        let chain_id = self.app.chain.chain_id();
        let unsigned = Unsigned { chain_id, signer: creator.key, nonce: 0, expiry_height: 0, body };
        let what = unsigned.digest();
        let body = unsigned.body;
        if let Some(sent) = self.trace.sent() {
            match self.traced(&sent.tx).await {
                Ok(()) if sent.what == what => return Ok(sent.tx),
                Ok(()) => {
                    let refusal =
                        Refusal::new(409, code::REPLAY, "this was done; its answer cannot be made again");
                    return Err(refusal.detail(format!("the transaction {} took effect", Hex(sent.tx))));
                }
                Err(why) if self.trace.sent().is_some() => return Err(why),
                Err(_) => {}
            }
        }
        let tx = self.submit(creator, body, Some(what)).await?;
        self.traced(&tx).await?;
        Ok(tx)
    }

    /// Sends a transaction that makes way for the one of a call, or one of several that are all of it, where the ledger takes
    /// no such thing twice and the call looks what is still to do: it leaves no trace of its own.
    pub(crate) async fn step(&self, creator: &Creator, body: Body) -> Reply<()> {
        let tx = self.submit(creator, body, None).await?;
        Ok(self.app.included(&tx).await?)
    }

    /// Signs and submits; with the trace of `what` it is from before anybody else has it.
    async fn submit(&self, creator: &Creator, body: Body, what: Option<lct::Digest>) -> Reply<TxId> {
        let (ctx, creator) = (self.clone(), creator.clone());
        let submit = move || -> Reply<TxId> {
            let compat = ctx.compat()?;
            let _turn = compat.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let chain = &ctx.app.chain;
            let envelope = Envelope {
                chain_id: chain.chain_id(),
                nonce: chain.next_nonce(&creator.key)?,
                expiry_height: chain.tip().height + TX_LIFETIME,
            };
            let creators = ctx.creators()?;
            let key =
                creators.key(&creator.name).ok_or_else(|| Refusal::internal(&"a creator lost its key"))?;
            let tx = entropy::with(|rng| sign(body, &envelope, key, rng))?;
            if let Some(what) = what {
                ctx.trace.set(Some(Sent { what, tx: tx.id }));
            }
            let submitted = chain.submit(tx.bytes);
            if what.is_some() && matches!(submitted, Err(SubmitError::Refused(_) | SubmitError::Full)) {
                ctx.trace.set(None);
            }
            Ok(submitted?)
        };
        lines::blocking(submit).await.map_err(|e| Refusal::internal(&e))?
    }

    /// Waits until a block holds what the trace tells of and it took effect; what will have none leaves no trace.
    async fn traced(&self, tx: &TxId) -> Reply<()> {
        let fate = self.app.included(tx).await;
        match &fate {
            Ok(()) => {}
            // A rejection by the ledger blames the caller; whatever else went wrong tells nothing of the fate.
            Err(NotIncluded::Refused(Refusal(why))) if why.status >= 500 => {}
            Err(_) => self.trace.set(None),
        }
        Ok(fate?)
    }
}
