//! Serving clients of the older contract (`spec/api.md`, A150 to A158).

use bridge::{
    Bridge,
    compat::{Allow, Issuer, Profile, Settings},
    front,
};

use super::{Failure, creator, data_dir::DataDir};

/// How clients that cannot sign are served.
#[derive(Debug, Default, clap::Args)]
pub struct Older {
    /// Serve clients of the older contract, which cannot sign, beside the native ones: `legacy`, or `modbatt-win` for the Windows
    /// utility. For whom the bridge signs `modbatt creator` says
    #[arg(long, value_name = "PROFILE", value_parser = profile)]
    compat: Option<Profile>,
    /// Who asks in calls that name no creator
    #[arg(long, value_name = "NAME")]
    default_creator: Option<String>,
    /// Give key halves of an LCT in clear to whoever makes it, once: who reads the answer has the key
    #[arg(long)]
    allow_clear_key_halves: bool,
    /// Give an operator's account to whoever names a creator of whom the bridge never heard
    #[arg(long)]
    allow_unknown_creators: bool,
    /// Make a component up for whoever names one that is not there, certified by this installation's batch authority, with keys
    /// that the bridge holds: no device stands behind it
    #[arg(long)]
    allow_unknown_components: bool,
    /// Bind and pair components that were made up: nothing is proved by it but that the bridge did so
    #[arg(long)]
    allow_pairing_without_proofs: bool,
}

fn profile(text: &str) -> Result<Profile, String> {
    let old = Profile::from_name(text).filter(|profile| *profile != Profile::Native);
    old.ok_or_else(|| "it is `legacy` or `modbatt-win`".into())
}

impl Older {
    /// What the settings of a service say.
    pub fn of(settings: &front::settings::Settings) -> Self {
        Older {
            compat: settings.older(),
            default_creator: settings.default_creator.clone(),
            allow_clear_key_halves: settings.allow_clear_key_halves,
            allow_unknown_creators: settings.allow_unknown_creators,
            allow_unknown_components: settings.allow_unknown_components,
            allow_pairing_without_proofs: settings.allow_pairing_without_proofs,
        }
    }

    /// Refuses what does not go together.
    pub fn check(&self) -> Result<(), Failure> {
        let read = front::settings::Settings::read(None, [], &self.flags());
        read.map(drop).map_err(|e| Failure::Input(e.to_string()))
    }

    /// What the command line says, as settings; what it does not say, the file or the environment may.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let switches = [
            ("allow_clear_key_halves", self.allow_clear_key_halves),
            ("allow_unknown_creators", self.allow_unknown_creators),
            ("allow_unknown_components", self.allow_unknown_components),
            ("allow_pairing_without_proofs", self.allow_pairing_without_proofs),
        ];
        let on = switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "true".to_owned()));
        let profile = self.compat.map(|profile| ("compat", profile.name().to_owned()));
        let creator = self.default_creator.clone().map(|name| ("default_creator", name));
        on.chain(profile).chain(creator).collect()
    }

    /// Has `bridge` serve them, if it is to.
    pub fn serve(&self, bridge: Bridge, dir: &DataDir) -> Result<Bridge, Failure> {
        let Some(profile) = self.compat else { return Ok(bridge) };
        let issuer = self.allow_unknown_components.then(|| Issuer::open(&dir.keys().join("batch")));
        let settings = Settings {
            creators: creator::file(dir),
            book: dir.path().join("compat.redb"),
            profile,
            default_creator: self.default_creator.clone(),
            allow: Allow {
                clear_key_halves: self.allow_clear_key_halves,
                unknown_creators: self.allow_unknown_creators,
                pairing_without_proofs: self.allow_pairing_without_proofs,
            },
            unknown_components: issuer.transpose().map_err(|e| Failure::Failed(e.to_string()))?,
        };
        bridge.with_compat(settings).map_err(|e| Failure::Failed(e.to_string()))
    }
}
