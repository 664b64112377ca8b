//! A corrupted flash, on request: the keys of a component's relationships cannot be read any more (`spec/channel.md`, H137).

use std::path::Path;

use lct::id::Role;
use pack::identity::{Identity, Record, key};
use rand_chacha::ChaCha20Rng;
use sim::flash::{self, CONTROLLER_PAGES, MODULE_PAGES, Nor};

use super::super::Failure;
use super::parts::app_flash;

/// Spoils what the one of `all` with the id `name` stores about its bindings, in its flash in `folder`.
pub fn keys<'a>(
    all: impl IntoIterator<Item = &'a Identity>,
    name: &str,
    folder: &Path,
    rng: &mut ChaCha20Rng,
) -> Result<(), Failure> {
    let own = all.into_iter().find(|own| own.component_id == name);
    let own = own.ok_or_else(|| Failure::Input(format!("{name} is no component of this installation")))?;
    let (file, pages, slots) = match own.role {
        Role::App => (app_flash(name), MODULE_PAGES, 0),
        Role::Pack => (format!("{name}.flash"), CONTROLLER_PAGES, 31),
        _ => (format!("{name}.flash"), MODULE_PAGES, 0),
    };
    let fail = |e: String| Failure::Failed(format!("store of {name}: {e}"));
    let opened = Nor::open(&folder.join(file), pages).and_then(|nor| flash::mount(nor, &own.key, rng));
    let mut vault = opened.map_err(|e| fail(e.to_string()))?;
    for slot in 0..=slots {
        let bond = key::bond(slot);
        if vault.load(bond).is_ok_and(|record| record.is_some_and(|record| !record.is_empty())) {
            // No layout that a device knows: not even the number of the binding is left.
            let spoiled = Record::new(bond, &[&[0]]).map_err(|e| fail(e.to_string()))?;
            flash::keep(&mut vault, &spoiled, rng).map_err(|e| fail(e.to_string()))?;
        }
    }
    Ok(())
}
