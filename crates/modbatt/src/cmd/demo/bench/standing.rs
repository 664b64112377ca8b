//! How everybody stands: who lacks its keys or its channel, and with which keys each signs as the ledger has them.

use std::collections::BTreeSet;
use std::time::Duration as WallDuration;

use gateway::{Job, Keys};
use lct::context::Statement;
use lct::id::{Cid, Role};
use pack::app::Party;
use pack::identity::Identity;
use pack::lifecycle::Condition;
use pack::module::Module;
use pack::relation::Relation;

use super::super::super::Failure;
use super::super::super::audit::SIGNERS;
use super::super::super::data_dir::replace_file;
use super::super::super::factory::context::in_folder;
use super::super::members::binding_keys;
use super::super::say;
use super::super::signers::signers;
use super::{Live, WAITING};

/// Longest time on the wall that the ledger may take for what waits before keys end.
const UPLOAD_LIMIT: WallDuration = WallDuration::from_secs(20);

impl Live<'_> {
    /// Waits until everything that was signed is on the ledger, as it must be before a new binding ends the keys (H181);
    /// false when that takes too long.
    pub(super) async fn is_uploaded(&self) -> Result<bool, Failure> {
        let begun = std::time::Instant::now();
        let depth = || self.outbox.depth().map_err(|e| Failure::Failed(e.to_string()));
        while depth()?.0 > 0 {
            if begun.elapsed() >= UPLOAD_LIMIT {
                return Ok(false);
            }
            tokio::time::sleep(WAITING).await;
        }
        Ok(true)
    }

    /// Gives the gateway the keys with which everybody signs, as the ledger has the bindings. Whom it has registered since,
    /// its manufacturer's word follows.
    pub(super) fn learn_keys(&mut self) -> Result<(), Failure> {
        let members = self.gateway.members();
        let keys = binding_keys(&self.chain, &members, self.gateway.app().identity().cid())?;
        self.write_signers(&members, &keys)?;
        self.gateway.set_keys(keys);
        self.gateway.set_signers(signers(&self.chain, &self.components)?);
        self.bring_contexts()
    }

    /// Says what of the time before a takeover is not on the ledger.
    pub(super) fn say_gap(&mut self, job: &Job) {
        if let Some((cid, when)) = self.before.gap(job) {
            let name = self.names.get(&cid).map_or_else(|| cid.to_string(), Clone::clone);
            say(&format!(
                "the ledger has nothing of {name} {when}: it was not measured, or the lost computer had it and nobody else"
            ));
        }
    }

    /// What the manufacturer stated about devices that the ledger has goes there too, once.
    fn bring_contexts(&mut self) -> Result<(), Failure> {
        let ledger = self.chain.read().map_err(|e| Failure::Failed(e.to_string()))?;
        for (name, signed) in in_folder(&self.dir.contexts())? {
            let task = format!("context {name}");
            let stated = Statement::decode(&signed.statement).map_err(|e| Failure::Failed(e.to_string()))?;
            let known = ledger.lct(&stated.lct).map_err(|e| Failure::Failed(e.to_string()))?.is_some();
            if known && !self.tasks.done.contains(&task) {
                let job = Job::Context(Box::new(signed));
                let kept = self.outbox.keep(&job).map_err(|e| Failure::Failed(e.to_string()))?;
                if kept.is_some() {
                    self.tasks.add(&task)?;
                }
            }
        }
        Ok(())
    }

    /// Whose signatures the logs are to be held against, as the ledger has the bindings.
    pub(super) fn write_signers(&self, members: &[(Party, Cid)], keys: &Keys) -> Result<(), Failure> {
        let mut signers = serde_json::Map::new();
        for (party, cid) in members {
            if let Some(key) = keys.of(*party) {
                signers.insert(cid.to_string(), key.to_string().into());
            }
        }
        let app = self.gateway.app();
        if let Some(own) = app.relation().own_spk() {
            let key = own.signing_key().public().to_string();
            signers.insert(app.identity().cid().to_string(), key.into());
        }
        let path = self.dir.audit().join(SIGNERS);
        replace_file(&path, serde_json::Value::from(signers).to_string().as_bytes())
            .map_err(|e| Failure::Failed(e.to_string()))
    }

    /// Everybody's condition.
    pub(super) fn conditions(&self) -> impl Iterator<Item = (&Identity, Condition)> {
        let (app, pack) = (self.gateway.app(), self.world.pack());
        let devices = [(app.identity(), app.condition()), (pack.identity(), pack.condition())];
        devices.into_iter().chain(self.world.modules().map(|m| (m.identity(), m.condition())))
    }

    /// Who cannot read its keys (H137).
    pub(super) fn lost(&self) -> BTreeSet<Cid> {
        let lost = self.conditions().filter(|(_, c)| *c == Condition::KeyLost);
        lost.map(|(identity, _)| identity.cid()).collect()
    }

    /// Who was paired, and is not, where nobody withdrew that: binding anew ended the old pairing, and was cut off before
    /// the new one (H180).
    pub(super) fn unfinished(&self) -> BTreeSet<Cid> {
        let pack = self.world.pack();
        // Who is paired with a pack that was taken out is not paired with this one.
        let own = Some((pack.identity().cid(), Role::Pack));
        let paired = |relation: &Relation| relation.is_paired() && relation.peer() == own;
        let relations = [(pack.identity().cid(), paired(self.gateway.app().relation()))];
        let modules = self.world.modules().map(|m| (m.identity().cid(), paired(m.relation())));
        let missing = relations.into_iter().chain(modules).filter(|(_, paired)| !paired).map(|(cid, _)| cid);
        let withdrawn = |cid: &Cid| self.unpaired.contains(cid) || pack.has_revoked(*cid);
        missing.filter(|cid| self.gateway.is_commissioned() && !withdrawn(cid)).collect()
    }

    /// Says who needs what before it takes part, and by which command it gets that.
    pub(super) fn say_who_waits(&self) {
        let (lost, unfinished) = (self.lost(), self.unfinished());
        let name = |of: Cid| {
            let known = self.components.iter().find(|(_, cid)| *cid == of);
            known.map_or_else(|| of.to_string(), |(name, _)| name.clone())
        };
        for name in lost.iter().copied().map(name) {
            say(&format!("{name} cannot read its keys: `modbatt recover {name}` gives it new ones"));
        }
        let (app, pack) = (self.gateway.app().identity().cid(), self.world.pack().identity().cid());
        let exchanged = self.is_exchanged();
        for cid in unfinished.difference(&lost).copied() {
            let (own, partner) = (name(cid), name(if cid == pack { app } else { pack }));
            match (exchanged, cid == pack) {
                // It is the pack that needs its place.
                (true, false) => {}
                (true, true) => say(&format!(
                    "{own} is in the place of another pack controller: `modbatt replace OLD {own}` gives it that place"
                )),
                (false, _) if !self.tasks.done.contains(&format!("register {own}")) => {
                    say(&format!(
                        "{own} is no part of this pack yet: `modbatt replace OLD {own}` takes it in"
                    ));
                }
                (false, _) => say(&format!(
                    "{own} was bound anew and not paired yet: `modbatt bind {partner} {own}` goes on, \
                     unless an order for it waits"
                )),
            }
        }
        if lost.is_empty() && unfinished.is_empty() {
            say("every channel is up");
        }
    }

    /// Whether the app is bound with another pack than the one that is there.
    pub(super) fn is_exchanged(&self) -> bool {
        let peer = self.gateway.app().relation().peer();
        self.gateway.is_commissioned() && peer != Some((self.world.pack().identity().cid(), Role::Pack))
    }

    /// Whether there is a channel to a pack that has its keys, and a module that it can switch.
    pub(super) fn may_switch_on(&self) -> bool {
        let sound = self.world.pack().condition() == Condition::Sound;
        sound && self.gateway.is_operating() && self.world.modules().any(|m| m.relation().is_up())
    }

    /// Whether everybody is there, and up who is paired.
    pub(super) fn is_up(&self, modules: usize) -> bool {
        let pack = self.world.pack();
        let (lost, unfinished) = (self.lost(), self.unfinished());
        if [&self.unpaired, &lost, &unfinished].iter().all(|those| those.is_empty()) {
            return self.gateway.is_operating() && pack.modules() == modules && pack.modules_up();
        }
        let (app, own) = (self.gateway.app(), pack.identity().cid());
        let pack_lost = lost.contains(&own);
        let app_is_up = app.relation().is_up()
            || self.unpaired.contains(&own)
            || unfinished.contains(&own)
            || pack_lost
            || lost.contains(&app.identity().cid());
        let is_up = |m: &Module| {
            let cid = m.identity().cid();
            let away = [&self.unpaired, &lost, &unfinished].iter().any(|those| those.contains(&cid));
            m.relation().is_up() || away || pack_lost || pack.has_revoked(cid)
        };
        self.gateway.is_commissioned()
            // The place of a module that was taken out is kept until it is revoked.
            && (pack_lost || pack.modules() >= modules)
            && app_is_up
            && self.world.modules().all(is_up)
    }
}
