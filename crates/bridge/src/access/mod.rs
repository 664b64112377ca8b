//! Who asks, and whether he may (A130 to A133).
//!
//! A [`Principal`] is made once per request, before any handler runs, and `gate` is the one place that holds it
//! against the [`Class`] of what is asked. Handlers extract it where a name counts (`creator`); none of them decides.

pub(crate) mod door;
pub(crate) mod gate;
mod limiter;
pub(crate) mod methods;
pub(crate) mod pass;
pub(crate) mod strangers;
mod tries;
pub mod users;

pub use door::Rate;

use std::{
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use axum::{
    extract::FromRequestParts,
    http::{Method, request::Parts},
};
use lct::id::Cid;
use serde::{Deserialize, Serialize};

/// Name of [`Principal::local`].
pub(crate) const LOCAL: &str = "local";

/// What somebody may do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and sends what others signed.
    Operator,
    /// What an operator may, and registers, binds and pairs.
    Technician,
    /// Reads, revokes, and sets what keys and messages need.
    Security,
    /// Everything.
    Administrator,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 5] =
        [Role::Viewer, Role::Operator, Role::Technician, Role::Security, Role::Administrator];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Technician => "technician",
            Role::Security => "security",
            Role::Administrator => "administrator",
        }
    }

    /// Whether the role has this class.
    pub fn has(self, class: Class) -> bool {
        match class {
            Class::Public | Class::Read => true,
            Class::Write => matches!(self, Role::Operator | Role::Technician | Role::Administrator),
            Class::Infrastructure => matches!(self, Role::Technician | Role::Administrator),
            Class::Critical => matches!(self, Role::Security | Role::Administrator),
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| format!("a role is one of {}", Role::ALL.map(Role::word).join(", ")))
    }
}

/// Unix milliseconds by the clock on the wall: users, tokens and proofs are made by it, also where the ledger's time is a
/// simulated one.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Says nothing about anybody; needs no principal.
    Public,
    /// Changes nothing.
    Read,
    /// Sends what somebody signed: transactions, telemetry, energy.
    Write,
    /// Registers, binds, pairs: what makes an installation.
    Infrastructure,
    /// Level 5 and above: orders to devices, revocations, policies, delegations. Needs presence.
    Critical,
}

/// Says of no component and of nobody whether the bridge serves.
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";
/// Segments below which a change is of level 5 and above.
const CRITICAL: [&str; 5] = ["orders", "revocations", "policies", "delegations", "webhooks"];
/// Segments below which a change is one of the installation.
const INFRASTRUCTURE: [&str; 13] = [
    "authorization",
    "binding",
    "bindings",
    "broadcasts",
    "component",
    "components",
    "entities",
    "lct",
    "pairing",
    "pairings",
    "queue",
    "tensors",
    "witnessing",
];

impl Class {
    /// Its word in logs and figures.
    pub fn word(self) -> &'static str {
        match self {
            Class::Public => "public",
            Class::Read => "read",
            Class::Write => "write",
            Class::Infrastructure => "infrastructure",
            Class::Critical => "critical",
        }
    }

    /// What a request with this method and path is about. What is not known here is a change, so that a route that
    /// was forgotten is refused to readers rather than open to all.
    pub fn of(method: &Method, path: &str) -> Class {
        if let Some(asks) = methods::asks(path) {
            return Class::of(&asks.method, asks.path);
        }
        if path == GRPC_HEALTH {
            return Class::Public;
        }
        // What describes the service, and what the service does not have.
        if path.starts_with("/grpc.") {
            return Class::Read;
        }
        if methods::is_of_service(path) {
            return Class::Critical;
        }
        let resource = match path.strip_prefix(api::PREFIX) {
            Some(rest) => rest.split('/').nth(1).unwrap_or(""),
            None => path.split(['/', '?']).find(|s| !s.is_empty()).unwrap_or(""),
        };
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        match resource {
            "health" if reads && !path.ends_with("/detailed") => Class::Public,
            "ready" if reads => Class::Public,
            // Proves who he is in its body.
            "sessions" if method == Method::POST => Class::Public,
            // Whole keys of an installation, for whoever goes there to bind and pair (A205).
            "delegations" if path.ends_with("/brief") => Class::Infrastructure,
            _ if reads => Class::Read,
            // What became of an order is reported by whoever carried it out.
            "orders" | "policies" if path.ends_with("/outcome") || path.ends_with("/signatures") => {
                Class::Infrastructure
            }
            _ if CRITICAL.contains(&resource) || path.to_ascii_lowercase().contains("revo") => {
                Class::Critical
            }
            // What is set or taken away there may be an end.
            "lct" | "authorization" if *method != Method::POST => Class::Critical,
            _ if INFRASTRUCTURE.contains(&resource) => Class::Infrastructure,
            _ => Class::Write,
        }
    }
}

/// Which components somebody may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    /// Every one.
    #[default]
    All,
    /// These, by component id.
    Components(Vec<String>),
}

impl Scope {
    /// Whether `id`, a component id or a cid, is within.
    pub fn covers(&self, id: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Components(ids) => {
                ids.iter().any(|own| own == id || Cid::of(own).to_string().eq_ignore_ascii_case(id))
            }
        }
    }
}

/// How somebody proved who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Not at all: a process of this machine, while no users are configured.
    Loopback,
    /// The certificate of his connection.
    Certificate,
    /// A token, and the key that it is bound to.
    Token,
}

/// Whoever makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// His name; `local` for [`Means::Loopback`].
    pub name: String,
    /// What he may do at all.
    pub role: Role,
    /// With which components.
    pub scope: Scope,
    /// How he proved it.
    pub means: Means,
    /// Whether he is known to sit there: he gave his passphrase within the last minutes.
    pub present: bool,
}

/// Why a principal may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// His role lacks the class.
    #[error("this role may not do that")]
    Role,
    /// It is of level 5 or above, and nobody gave a passphrase.
    #[error("this needs the presence of a person: log in with the passphrase first")]
    Presence,
    /// It names a component that is not his.
    #[error("this is about a component outside the scope of the token")]
    Scope,
}

impl Principal {
    /// The operator of this machine, while no users are configured: whoever may open a loopback connection.
    pub fn local() -> Self {
        Principal {
            name: LOCAL.into(),
            role: Role::Administrator,
            scope: Scope::All,
            means: Means::Loopback,
            present: true,
        }
    }

    /// Whether he may do what is of this class at all.
    ///
    /// # Errors
    /// [`Denied::Role`], [`Denied::Presence`].
    pub fn may(&self, class: Class) -> Result<(), Denied> {
        if !self.role.has(class) {
            Err(Denied::Role)
        } else if class == Class::Critical && !self.present {
            Err(Denied::Presence)
        } else {
            Ok(())
        }
    }
}

/// Who sits at this machine: the same for each of his requests.
static LOCAL_OPERATOR: LazyLock<Arc<Principal>> = LazyLock::new(|| Arc::new(Principal::local()));

/// The principal of the request, and what he showed, as [`gate`] left it there.
#[derive(Clone)]
pub(crate) struct Known {
    pub who: Arc<Principal>,
    pub shown: door::Shown,
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = crate::Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, crate::Refusal> {
        match parts.extensions.get::<Known>() {
            Some(Known { who, .. }) => Ok(Principal::clone(who)),
            None => Err(crate::Refusal::internal(&"a route that needs a principal lies outside the gate")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_is_about() {
        for (method, path, class) in [
            (Method::GET, "/health", Class::Public),
            (Method::GET, "/api/v1/health", Class::Public),
            (Method::GET, "/health/detailed", Class::Read),
            (Method::GET, "/ready", Class::Public),
            (Method::POST, "/health", Class::Write),
            (Method::GET, "/metrics", Class::Read),
            (Method::GET, "/api/v1/delegations/00", Class::Read),
            (Method::GET, "/api/v1/delegations/00/brief", Class::Infrastructure),
            (Method::POST, "/api/v1/delegations", Class::Critical),
            (Method::POST, "/api/v1/sessions", Class::Public),
            (Method::GET, "/api/v1/components/abc", Class::Read),
            (Method::POST, "/api/v1/components/register", Class::Infrastructure),
            (Method::POST, "/components/register", Class::Infrastructure),
            (Method::POST, "/api/v1/components/revocation-anonymous", Class::Critical),
            (Method::DELETE, "/api/v1/pairing/revoke", Class::Critical),
            (Method::POST, "/api/v1/bindings/00/complete", Class::Infrastructure),
            (Method::POST, "/api/v1/orders", Class::Critical),
            (Method::POST, "/api/v1/orders/00/outcome", Class::Infrastructure),
            (Method::POST, "/api/v1/policies", Class::Critical),
            (Method::POST, "/api/v1/policies/00/signatures", Class::Infrastructure),
            (Method::POST, "/api/v1/revocations", Class::Critical),
            (Method::POST, "/api/v1/transactions", Class::Write),
            (Method::POST, "/api/v1/telemetry/batches", Class::Write),
            (Method::DELETE, "/api/v1/whatever/comes", Class::Write),
            (Method::POST, "/api_bridge.v1.APIBridgeService/GetComponent", Class::Read),
            (Method::POST, "/api_bridge.v1.APIBridgeService/VerifyComponent", Class::Infrastructure),
            (Method::POST, "/api_bridge.v1.APIBridgeService/RegisterComponent", Class::Infrastructure),
            (Method::POST, "/api_bridge.v1.APIBridgeService/CancelRequest", Class::Infrastructure),
            (Method::POST, "/api_bridge.v1.APIBridgeService/RevokePairing", Class::Critical),
            (Method::POST, "/api_bridge.v1.APIBridgeService/UpdateLCTStatus", Class::Critical),
            (Method::POST, "/api_bridge.v1.APIBridgeService/UpdateAuthorization", Class::Critical),
            (Method::POST, "/api_bridge.v1.APIBridgeService/CreateEnergyOperation", Class::Write),
            (Method::POST, "/api_bridge.v1.APIBridgeService/StreamEvents", Class::Read),
            (Method::POST, "/api_bridge.v1.APIBridgeService/GetEverything", Class::Critical),
            (Method::GET, "/api_bridge.v1.APIBridgeService/GetEverything", Class::Critical),
            (Method::POST, "/api_bridge.v2.APIBridgeService/GetComponent", Class::Critical),
            (Method::POST, "/grpc.health.v1.Health/Check", Class::Public),
            (Method::POST, "/grpc.health.v1.Health/Watch", Class::Read),
            (Method::POST, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Class::Read),
            (Method::GET, "/proto/api_bridge.proto", Class::Read),
            (Method::GET, "/openapi.json", Class::Read),
            (Method::POST, "/APIBridgeService/GetLCT", Class::Read),
            (Method::POST, "/APIBridgeService/InitiatePairing", Class::Infrastructure),
            (Method::POST, "/APIBridgeService/RevokePairing", Class::Critical),
            (Method::POST, "/APIBridgeService/UpdateLCTStatus", Class::Critical),
            (Method::POST, "/APIBridgeService/Everything", Class::Critical),
            (Method::PUT, "/lct/abc/status", Class::Critical),
            (Method::DELETE, "/api/v1/authorization/abc", Class::Critical),
            (Method::POST, "/api/v1/authorization/pairing", Class::Infrastructure),
            (Method::POST, "/api/v1/witnessing", Class::Infrastructure),
            (Method::POST, "/api/v1/webhooks", Class::Critical),
        ] {
            assert_eq!(Class::of(&method, path), class, "{method} {path}");
        }
    }

    #[test]
    fn who_may_do_what() {
        use Class::{Critical, Infrastructure, Public, Read, Write};
        for (role, classes) in [
            (Role::Viewer, vec![Public, Read]),
            (Role::Operator, vec![Public, Read, Write]),
            (Role::Technician, vec![Public, Read, Write, Infrastructure]),
            (Role::Security, vec![Public, Read, Critical]),
            (Role::Administrator, vec![Public, Read, Write, Infrastructure, Critical]),
        ] {
            assert_eq!(role.word().parse::<Role>().unwrap(), role);
            for class in [Public, Read, Write, Infrastructure, Critical] {
                let mut principal = Principal { role, ..Principal::local() };
                let expected = if classes.contains(&class) { Ok(()) } else { Err(Denied::Role) };
                assert_eq!(principal.may(class), expected, "{role:?} {class:?}");
                principal.present = false;
                let absent =
                    if class == Critical && expected.is_ok() { Err(Denied::Presence) } else { expected };
                assert_eq!(principal.may(class), absent, "{role:?} {class:?} from afar");
            }
        }
        assert!("root".parse::<Role>().unwrap_err().contains("viewer, operator"));
    }

    #[test]
    fn a_component_is_meant_by_both_of_its_names() {
        let scope = Scope::Components(vec!["pack-0001".into()]);
        let cid = Cid::of("pack-0001").to_string();
        assert!(scope.covers("pack-0001") && scope.covers(&cid) && scope.covers(&cid.to_uppercase()));
        assert!(!scope.covers("pack-0002") && !scope.covers(""));
        assert!(Scope::All.covers("pack-0002"));
    }
}
