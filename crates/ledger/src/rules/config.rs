//! Configuration (L175 to L178): the ledger tightens by itself, an operator's signed command loosens, and where a pack has
//! another value than both know of, that stands there until somebody with the right settles it.

use alloc::{string::ToString, vec, vec::Vec};

use lct::{
    id::Role,
    sign::PublicKey,
    validation::{Event as Stated, EventKind},
};

use super::{Context, Stop, ensure};
use crate::{
    config::{PARAMETERS, Parameter},
    outcome::Event,
    records::{Account, AccountRole, Component, Direction, Ownership, Pairing, Setting, Validation, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::{CommandReference, Config},
};

/// The digest of a setting that no command is behind.
const NO_COMMAND: [u8; 32] = [0; 32];

/// Kind 47: a value for the pack.
pub(super) fn set<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    config: &Config,
) -> Result<Vec<Event>, Stop> {
    let parameter = Parameter::settable(config.parameter).ok_or(Rejection::ConfigParameter)?;
    known(state, config)?;
    let in_range = (parameter.least..=parameter.greatest).contains(&config.value);
    ensure(in_range, Rejection::ConfigRange)?;
    ensure(may_set(state, sender, config)?, Rejection::ConfigDenied)?;
    let at = key::setting(&config.cid, config.parameter);
    let before: Option<Setting> = load(state, &at)?;
    ensure(config.version == before.as_ref().map_or(0, |s| s.version), Rejection::ConfigVersion)?;
    let command = authorised(state, config, before.as_ref())?;
    // Neither what the ledger has in force nor what the pack was found with may be loosened by a word alone; where
    // nothing is known nobody can say what tightens.
    let may = |from| parameter.may_become(from, config.value);
    let tightens = before.as_ref().is_some_and(|s| may(s.value) && may(s.local));
    ensure(command.is_some() || tightens, Rejection::ConfigLoosens)?;

    let setting = next(context, sender, config, before.as_ref(), Direction::FromChain, command)?;
    let event = told("ConfigSet", config, &setting);
    state.put(at, &setting);
    Ok(vec![event])
}

/// Kind 48: the value that the pack has.
pub(super) fn report<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    config: &Config,
) -> Result<Vec<Event>, Stop> {
    ensure((1..=PARAMETERS).contains(&config.parameter), Rejection::ConfigParameter)?;
    known(state, config)?;
    let at = key::setting(&config.cid, config.parameter);
    let before: Option<Setting> = load(state, &at)?;
    let version = before.as_ref().map_or(0, |s| s.version);
    ensure(config.version <= version, Rejection::ConfigVersion)?;
    let command = authorised(state, config, before.as_ref())?;

    let mut setting = match before {
        // The first report founds the record: it is what the pack has.
        None => next(context, sender, config, None, Direction::ToChain, command)?,
        Some(before) => {
            // Newer on the pack: an operator's command, or a tighter value, becomes that of the ledger.
            let newer = config.version == version && config.value != before.value;
            let allowed = Parameter::settable(config.parameter)
                .is_none_or(|parameter| parameter.may_become(before.value, config.value));
            if newer && (command.is_some() || allowed) {
                next(context, sender, config, Some(&before), Direction::ToChain, command)?
            } else {
                // A pack that has not yet taken the ledger's value is late; one that has another is at odds with it.
                let late = config.version < version && config.value == before.local;
                let conflict = config.value != before.value && !late;
                let conflicts = before.conflicts.saturating_add(u32::from(conflict && !before.conflict));
                Setting { conflict, conflicts, ..before }
            }
        }
    };
    setting.local = config.value;
    setting.local_version = config.version;
    setting.local_ms = context.header.time_ms;
    let name = if setting.conflict { "ConfigConflict" } else { "ConfigReported" };
    let event = told(name, config, &setting);
    state.put(at, &setting);
    Ok(vec![event])
}

/// Refuses what is no pack in force.
fn known(view: &impl View, config: &Config) -> Result<(), Stop> {
    let component: Option<Component> = load(view, &key::component(&config.cid))?;
    let pack = component.is_some_and(|c| c.role == Role::Pack && !c.status.is_final());
    Ok(ensure(pack, Rejection::ConfigComponent)?)
}

/// An authority sets every pack, anybody else the own.
fn may_set(view: &impl View, sender: &PublicKey, config: &Config) -> Result<bool, Halt> {
    let account: Account =
        load(view, &key::account(sender))?.ok_or(Halt::Invariant("a sender without account"))?;
    let ownership: Option<Ownership> = load(view, &key::ownership(&config.cid))?;
    Ok(account.role == AccountRole::Authority || ownership.is_some_and(|o| o.owner == *sender))
}

/// The digest of the command behind a value, if one is named and it is one for this pack, parameter and value (L178).
fn authorised(view: &impl View, config: &Config, before: Option<&Setting>) -> Result<Option<[u8; 32]>, Stop> {
    let Some(reference) = &config.command else {
        return Ok(None);
    };
    let (digest, height) = command_of(view, config, reference)?.ok_or(Rejection::ConfigCommand)?;
    // A command speaks once: what changed the parameter since it was given is not undone by it.
    ensure(before.is_none_or(|s| height > s.height), Rejection::ConfigStale)?;
    Ok(Some(digest))
}

/// Digest of the command that a reference names, and the height at which its event was recorded.
fn command_of(
    view: &impl View,
    config: &Config,
    reference: &CommandReference,
) -> Result<Option<([u8; 32], u64)>, Halt> {
    let Ok(event) = Stated::decode(&reference.event) else {
        return Ok(None);
    };
    let (boot, seq) = event.position();
    let recorded: Option<Validation> = load(view, &key::validation(&event.cid, boot, seq))?;
    let pairing: Option<Pairing> = load(view, &key::pairing(&reference.pairing))?;
    let (Some(recorded), Some(pairing), Ok(event_digest)) = (recorded, pairing, event.digest()) else {
        return Ok(None);
    };
    let digest = reference.command().digest(&pairing.th4, reference.epoch);
    let value = config.value.to_le_bytes();
    let holds = event.kind == EventKind::Command
        && recorded.digest == event_digest
        && event.payload[..] == digest
        && (pairing.a, pairing.b) == (event.cid, config.cid)
        && pairing.in_force(recorded.time_ms)
        && reference.body.len() == 8
        && reference.body[0] == Parameter::register(config.parameter)
        && reference.body[4..] == value;
    Ok(holds.then_some((digest, recorded.height)))
}

/// The next version of a setting.
fn next(
    context: &Context<'_>,
    sender: &PublicKey,
    config: &Config,
    before: Option<&Setting>,
    direction: Direction,
    command: Option<[u8; 32]>,
) -> Result<Setting, Stop> {
    let version = before.map_or(Some(1), |s| s.version.checked_add(1)).ok_or(Rejection::ConfigVersion)?;
    Ok(Setting {
        value: config.value,
        version,
        direction,
        authority: *sender,
        command: command.unwrap_or(NO_COMMAND),
        height: context.header.height,
        time_ms: context.header.time_ms,
        tx: context.tx_id,
        local: before.map_or(config.value, |s| s.local),
        local_version: before.map_or(0, |s| s.local_version),
        local_ms: before.map_or(0, |s| s.local_ms),
        conflict: false,
        conflicts: before.map_or(0, |s| s.conflicts),
    })
}

fn told(name: &'static str, config: &Config, setting: &Setting) -> Event {
    Event::new(name)
        .with("cid", config.cid.0.as_slice())
        .with("parameter", u32::from(config.parameter))
        .with("version", setting.version)
        .with("value", setting.value.to_string().as_str())
        .with("local", setting.local.to_string().as_str())
        .with("direction", setting.direction.name())
}
