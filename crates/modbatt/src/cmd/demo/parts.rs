//! Which app, which pack and which modules an installation consists of since one of them was exchanged: `parts.json` in the data
//! directory, `{format: 1, app, pack?, modules, lost?}`. Without that file they are as they were made.

use std::io::ErrorKind;
use std::path::PathBuf;

use lct::id::{Role, valid_component_id};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::super::data_dir::{DataDir, replace_file};
use super::super::{Failure, reason};
use super::app_key::AppKey;
use super::provision::{self, APP, PACK};

const FORMAT: u32 = 1;

/// The parts of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    format: u32,
    /// Component id of the app.
    pub app: String,
    /// Component id of the pack.
    #[serde(default = "first_pack")]
    pub pack: String,
    /// Component ids of the modules, in their places.
    pub modules: Vec<String>,
    /// The app whose host was lost, as long as the other one has not taken the pack over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

fn first_pack() -> String {
    PACK.into()
}

/// `OLD=NEW`, as it is typed.
pub fn parse_exchange(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if old != new && valid_component_id(old) && valid_component_id(new) => {
            Ok((old.into(), new.into()))
        }
        _ => Err("it is OLD=NEW with two component ids, for example module-0002=module-0004".into()),
    }
}

fn path(dir: &DataDir) -> PathBuf {
    dir.path().join("parts.json")
}

impl Parts {
    /// Reads them.
    pub fn read(dir: &DataDir) -> Result<Self, Failure> {
        let path = path(dir);
        let damaged =
            |what: String| Failure::Input(format!("{}: {what}; restore it from a copy", path.display()));
        match std::fs::read(&path) {
            Ok(bytes) => {
                let parts: Parts = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
                match parts.format {
                    FORMAT => Ok(parts),
                    other => Err(damaged(format!("it has format {other}, this build knows {FORMAT}"))),
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let made = |n: &usize| provision::is_made(dir, &provision::module_name(*n));
                let modules = (1..).take_while(made).map(provision::module_name).collect();
                Ok(Parts { format: FORMAT, app: APP.into(), pack: PACK.into(), modules, lost: None })
            }
            Err(e) => Err(damaged(reason(&e))),
        }
    }

    fn write(&self, dir: &DataDir) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(self).map_err(|e| Failure::Failed(e.to_string()))?;
        Ok(replace_file(&path(dir), &bytes)?)
    }

    /// Somebody takes the module or the pack controller `old` out and puts `new` in its place, which is made if it is not
    /// there. What was done before changes nothing.
    pub fn exchange(dir: &DataDir, old: &str, new: &str, rng: &mut impl CryptoRng) -> Result<(), Failure> {
        let mut parts = Parts::read(dir)?;
        let is_new = |name: &String| name == new;
        let there = parts.modules.iter().chain([&parts.pack]).any(is_new);
        let mut modules = parts.modules.iter_mut().map(|name| (name, Role::Module));
        let pack = std::iter::once((&mut parts.pack, Role::Pack));
        let place = modules.by_ref().chain(pack).find(|(name, _)| *name == old);
        match (place, there) {
            (None, true) => Ok(()),
            (Some((place, role)), false) => {
                if !provision::is_made(dir, new) {
                    provision::manufacture(dir, new, role, rng)?;
                }
                *place = new.into();
                parts.write(dir)
            }
            (Some(_), true) => Err(Failure::Input(format!("{old} and {new} are both in the pack"))),
            (None, false) => Err(Failure::Input(format!("{old} is neither this pack nor a module of it"))),
        }
    }

    /// The computer of the app was lost: another one, with an app of its own, stands in its place. Where that has not taken
    /// the pack over yet nothing changes.
    pub fn new_host(dir: &DataDir, app_key: &AppKey, rng: &mut impl CryptoRng) -> Result<(), Failure> {
        let mut parts = Parts::read(dir)?;
        if parts.lost.is_some() {
            return Ok(());
        }
        let number = parts.app.rsplit_once('-').and_then(|(_, n)| n.parse::<u32>().ok()).unwrap_or(1);
        let app = format!("app-{:04}", number + 1);
        app_key.store(dir, &app, &provision::manufacture_app(dir, &app, rng)?)?;
        parts.lost = Some(std::mem::replace(&mut parts.app, app));
        parts.write(dir)
    }

    /// The app has the pack, and the one before it is revoked.
    pub fn taken_over(dir: &DataDir) -> Result<(), Failure> {
        let mut parts = Parts::read(dir)?;
        parts.lost = None;
        parts.write(dir)
    }
}

/// File of the store of an app.
pub fn app_flash(app: &str) -> String {
    if app == APP { "app.flash".into() } else { format!("{app}.flash") }
}

/// Folder of what the host of an app keeps.
pub fn host_folder(app: &str) -> String {
    if app == APP { "gateway".into() } else { format!("gateway-{app}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_read_or_explained() {
        let read = parse_exchange("module-0002=module-0004").unwrap();
        assert_eq!(read, ("module-0002".to_owned(), "module-0004".to_owned()));
        for bad in ["module-0002", "module-0002=", "a=b", "module-0002=module-0002", "x y=module-0001"] {
            assert!(parse_exchange(bad).unwrap_err().contains("for example"), "{bad}");
        }
    }
}
