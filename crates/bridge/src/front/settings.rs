//! Settings of a bridge that runs as a service: a file, the environment, the command line, in this order (A140).

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use config::{Config, Environment, File, FileFormat};
use serde::Deserialize;

use super::{Front, tls};
use crate::{
    access::Rate,
    compat::Profile,
    ops::{
        Watch,
        logs::{Logs, Retention},
        traces::Traces,
    },
};

/// Prefix of the variables of the environment; `MODBATT_SERVE_LISTEN` is `listen`.
pub const PREFIX: &str = "MODBATT_SERVE";

/// What can be set. Paths are taken from where the program is started.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where it listens. Outside loopback it speaks TLS and lets users in only.
    pub listen: SocketAddr,
    /// Names and addresses under which it is reached.
    pub names: Vec<String>,
    /// Speak TLS on a loopback address as well.
    pub tls: bool,
    /// Certificates in PEM; those of an authority of its own when left out.
    pub tls_certificates: Option<PathBuf>,
    /// Their key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Who certifies clients, in PEM.
    pub tls_clients: Option<PathBuf>,
    /// Requests a second of each principal.
    pub requests_per_second: NonZeroU32,
    /// Requests at once of each principal.
    pub requests_at_once: NonZeroU32,
    /// Serve clients of the older contract as well: `legacy` or `modbatt-win`, the profile of requests that name none (A150 to A158).
    pub compat: Option<String>,
    /// Who asks in calls of theirs that name no creator.
    pub default_creator: Option<String>,
    /// A switch of [`Allow`](crate::compat::Allow), and so the three behind it; [`Settings::risks`] says what each costs.
    pub allow_clear_key_halves: bool,
    /// As above.
    pub allow_unknown_creators: bool,
    /// As above; components are certified by the installation's batch authority.
    pub allow_unknown_components: bool,
    /// As above.
    pub allow_pairing_without_proofs: bool,
    /// Component ids of the apps whose gateways are expected to report; `GET /ready` fails while one does not.
    pub gateways: Vec<String>,
    /// Least room on the disk of the ledger, in MiB; with less `GET /ready` fails.
    pub disk_free_mib: u64,
    /// Where a collector of OpenTelemetry takes traces by OTLP (http, protobuf), `http://HOST:4318`; none when left out.
    pub otel_endpoint: Option<String>,
    /// Folder of the logs; `logs` in the data directory when left out.
    pub logs: Option<PathBuf>,
    /// Days that audits are kept, 1 to 3650.
    pub audit_days: usize,
    /// Most MiB (1 048 576 bytes) of all its files together, 1 to 1048576; the oldest go first.
    pub audit_mib: u64,
    /// Days that the security log is kept, 1 to 3650.
    pub security_days: usize,
    /// Most MiB (1 048 576 bytes) of all its files together, 1 to 1048576; the oldest go first.
    pub security_mib: u64,
    /// Days that the log of operation is kept, 1 to 3650.
    pub operation_days: usize,
    /// Most MiB (1 048 576 bytes) of all its files together, 1 to 1048576; the oldest go first.
    pub operation_mib: u64,
    /// Days that the debug log is kept, 0 for none.
    pub debug_days: usize,
    /// Most MiB (1 048 576 bytes) of all its files together, 1 to 1048576; the oldest go first.
    pub debug_mib: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let rate = Rate::default();
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            names: Vec::new(),
            tls: false,
            tls_certificates: None,
            tls_key: None,
            tls_clients: None,
            requests_per_second: rate.per_second,
            requests_at_once: rate.burst,
            compat: None,
            default_creator: None,
            allow_clear_key_halves: false,
            allow_unknown_creators: false,
            allow_unknown_components: false,
            allow_pairing_without_proofs: false,
            gateways: Vec::new(),
            disk_free_mib: 256,
            otel_endpoint: None,
            logs: None,
            audit_days: 365,
            audit_mib: 1024,
            security_days: 180,
            security_mib: 512,
            operation_days: 30,
            operation_mib: 512,
            debug_days: 0,
            debug_mib: 512,
        }
    }
}

/// What is wrong with the settings: which one, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl Settings {
    /// Reads the file, if one is named, then what `environment` has under [`PREFIX`], then `flags`; the later wins.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, SettingsError> {
        let fail = |e: config::ConfigError| SettingsError(e.to_string());
        let mut builder = Config::builder();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| SettingsError(format!("{}: {e}", path.display())))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        let variables = Environment::with_prefix(PREFIX)
            .source(Some(environment.into_iter().collect()))
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("names")
            .with_list_parse_key("gateways");
        builder = builder.add_source(variables);
        for (name, value) in flags {
            builder = match *name {
                "names" => builder.set_override(*name, value.split(',').collect::<Vec<_>>()),
                name => builder.set_override(name, value.clone()),
            }
            .map_err(fail)?;
        }
        let settings: Settings = builder.build().and_then(Config::try_deserialize).map_err(fail)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let refuse = |what: &str| Err(SettingsError(what.into()));
        if self.tls_certificates.is_some() != self.tls_key.is_some() {
            return refuse("tls_certificates and tls_key are given together, or neither");
        }
        if self.tls_clients.is_some() && self.tls_certificates.is_none() {
            return refuse(
                "tls_clients goes with tls_certificates; without them the bridge's own authority certifies",
            );
        }
        if self.listen.ip().is_unspecified() && self.names.is_empty() && self.tls_certificates.is_none() {
            return refuse(
                "names: say under which names and addresses clients reach the bridge, for its certificate",
            );
        }
        if self.compat.is_some() && self.older().is_none() {
            return refuse(
                "compat: it is `legacy` or `modbatt-win`; left out, only native clients are served",
            );
        }
        let without = self.risks().first().map(|(name, _)| *name);
        let without = without.or(self.default_creator.as_ref().map(|_| "default_creator"));
        if let Some(name) = without.filter(|_| self.compat.is_none()) {
            return Err(SettingsError(format!(
                "{name}: it goes with compat, which says how older clients are served"
            )));
        }
        if self.allow_pairing_without_proofs && !self.allow_unknown_components {
            return refuse("allow_pairing_without_proofs goes with allow_unknown_components");
        }
        if let Some(id) = self.gateways.iter().find(|id| !lct::id::valid_component_id(id)) {
            return Err(SettingsError(format!("gateways: {id:?} is no component id")));
        }
        if let Some(endpoint) = &self.otel_endpoint {
            Traces::check(endpoint).map_err(|e| SettingsError(e.to_string()))?;
        }
        let kept = [
            ("audit_days", self.audit_days, 1),
            ("security_days", self.security_days, 1),
            ("operation_days", self.operation_days, 1),
            ("debug_days", self.debug_days, 0),
        ];
        if let Some((name, _, least)) =
            kept.into_iter().find(|(_, days, least)| !(*least..=3650).contains(days))
        {
            return Err(SettingsError(format!("{name}: {least} to 3650 days")));
        }
        let sizes = [
            ("audit_mib", self.audit_mib),
            ("security_mib", self.security_mib),
            ("operation_mib", self.operation_mib),
            ("debug_mib", self.debug_mib),
        ];
        match sizes.into_iter().find(|(_, mib)| !(1..=1 << 20).contains(mib)) {
            Some((name, _)) => Err(SettingsError(format!("{name}: 1 to 1048576 MiB"))),
            None => Ok(()),
        }
    }

    /// The profile of older clients, if they are served.
    pub fn older(&self) -> Option<Profile> {
        let named = self.compat.as_deref().and_then(Profile::from_name);
        named.filter(|profile| *profile != Profile::Native)
    }

    /// The switches that are on, and what each risks.
    pub fn risks(&self) -> Vec<(&'static str, &'static str)> {
        let all = [
            (
                self.allow_clear_key_halves,
                "allow_clear_key_halves",
                "key halves of LCTs go out in clear, once: whoever reads the answer has the key",
            ),
            (
                self.allow_unknown_creators,
                "allow_unknown_creators",
                "whoever may call gets an operator's account by naming a creator of whom nobody heard",
            ),
            (
                self.allow_unknown_components,
                "allow_unknown_components",
                "components are made up for whoever names them, with keys that the bridge holds: no device stands behind them",
            ),
            (
                self.allow_pairing_without_proofs,
                "allow_pairing_without_proofs",
                "components that were made up are bound and paired by the bridge alone: nothing is proved by it",
            ),
        ];
        all.into_iter().filter(|(on, ..)| *on).map(|(_, name, risk)| (name, risk)).collect()
    }

    /// Whether it speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls || self.tls_certificates.is_some() || !self.listen.ip().is_loopback()
    }

    /// How it is reached. `data` is the folder in which its users and its authority are kept.
    pub fn front(&self, data: &Path) -> Front {
        let mut names = self.names.clone();
        if !self.listen.ip().is_unspecified() {
            names.push(self.listen.ip().to_string());
        }
        let tls = self.has_tls().then(|| match (&self.tls_certificates, &self.tls_key) {
            (Some(certificates), Some(key)) => tls::Identity::Files {
                certificates: certificates.clone(),
                key: key.clone(),
                clients: self.tls_clients.clone(),
            },
            _ => {
                let loopback = ["localhost", "127.0.0.1", "::1"].map(String::from);
                let names = names.iter().cloned().chain(loopback).collect();
                tls::Identity::Own { folder: data.join("tls"), names }
            }
        });
        let rate = Rate { per_second: self.requests_per_second, burst: self.requests_at_once };
        Front { users: Some(data.join("users.json")), rate, tls, names, ..Front::default() }
    }

    /// What is watched for `GET /ready`.
    pub fn watch(&self) -> Watch {
        Watch { gateways: self.gateways.clone(), disk_free_mib: self.disk_free_mib }
    }

    /// Where it logs. `data` as for [`Settings::front`].
    pub fn logs(&self, data: &Path) -> Logs {
        Logs {
            folder: self.logs.clone().unwrap_or_else(|| data.join("logs")),
            audit: Retention { days: self.audit_days, mib: self.audit_mib },
            security: Retention { days: self.security_days, mib: self.security_mib },
            operation: Retention { days: self.operation_days, mib: self.operation_mib },
            debug: Retention { days: self.debug_days, mib: self.debug_mib },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, environment: &[(&str, &str)], flags: &[(&str, String)]) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("serve.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Settings::read(Some(&file), environment, flags).map_err(|e| e.to_string())
    }

    #[test]
    fn the_later_wins() {
        assert_eq!(read("", &[], &[]).unwrap(), Settings::default());
        let text = "listen = \"127.0.0.1:1\"\naudit_days = 7\nnames = [\"a\"]\n";
        let environment = [
            ("MODBATT_SERVE_LISTEN", "127.0.0.1:2"),
            ("MODBATT_SERVE_NAMES", "b,c"),
            ("MODBATT_SERVE_GATEWAYS", "app-1,app-2"),
            ("PATH", "x"),
        ];
        let settings = read(text, &environment, &[("listen", "127.0.0.1:3".into())]).unwrap();
        assert_eq!(settings.listen.port(), 3);
        assert_eq!(settings.watch().gateways, ["app-1", "app-2"]);
        assert_eq!((settings.audit_days, settings.names), (7, vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(read(text, &environment, &[]).unwrap().listen.port(), 2);
    }

    #[test]
    fn what_cannot_be_set_is_named() {
        for (text, says) in [
            ("gateways = [\"no good\"]", "gateways: "),
            ("otel_endpoint = \"collector\"", "otel_endpoint: "),
            ("compat = \"native\"", "legacy"),
            ("allow_unknown_creators = true", "allow_unknown_creators: it goes with compat"),
            ("default_creator = \"x\"", "default_creator: it goes with compat"),
            (
                "compat = \"legacy\"\nallow_pairing_without_proofs = true",
                "goes with allow_unknown_components",
            ),
            ("lisen = \"127.0.0.1:1\"", "lisen"),
            ("listen = \"here\"", "listen"),
            ("audit_days = 0", "audit_days: 1 to 3650"),
            ("audit_mib = 0", "audit_mib: 1 to 1048576 MiB"),
            ("debug_days = 9999", "debug_days: 0 to 3650"),
            ("requests_per_second = 0", "requests_per_second"),
            ("tls_key = \"x\"", "together"),
            ("tls_clients = \"x\"", "goes with tls_certificates"),
            ("listen = \"0.0.0.0:8443\"", "names: say"),
            ("listen = [", "TOML"),
        ] {
            let said = read(text, &[], &[]).unwrap_err();
            assert!(said.to_lowercase().contains(&says.to_lowercase()), "{text}: {said}");
        }
        assert!(read("", &[("MODBATT_SERVE_LISEN", "x")], &[]).unwrap_err().contains("lisen"));
        let missing = Settings::read(Some(Path::new("/nowhere/x.toml")), [], &[]).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/x.toml"));
    }

    #[test]
    fn every_switch_that_is_on_has_its_risk() {
        let environment =
            [("MODBATT_SERVE_ALLOW_CLEAR_KEY_HALVES", "true"), ("MODBATT_SERVE_COMPAT", "modbatt-win")];
        let settings = read("allow_unknown_creators = true", &environment, &[]).unwrap();
        assert_eq!(settings.older(), Some(Profile::ModbattWin));
        let names: Vec<&str> = settings.risks().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["allow_clear_key_halves", "allow_unknown_creators"]);
        assert_eq!(Settings::default().risks(), []);
    }

    #[test]
    fn outside_loopback_there_is_always_tls() {
        let outside = read("listen = \"192.0.2.1:8443\"", &[], &[]).unwrap();
        assert!(outside.has_tls() && outside.front(Path::new("/d")).tls.is_some());
        assert!(!Settings::default().has_tls());
    }
}
