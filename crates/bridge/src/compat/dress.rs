//! How requests and answers look to a client (A154, A155): one operation has one form, and a profile dresses it.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

/// The form that a client expects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// The contract of `spec/api.md`.
    #[default]
    Native,
    /// Older clients: both spellings of each field, `status` in the older words beside a truthful `state`.
    Legacy,
    /// The Windows configuration utility: as [`Profile::Legacy`], and what went well has the status `registered` or
    /// `active`, the only ones that it takes for success.
    ModbattWin,
}

/// Port on which the Windows configuration utility expects a bridge.
const WINDOWS_PORT: &str = "8082";
/// Where a client may name its profile.
const HEADER: &str = "x-client-profile";

impl Profile {
    const ALL: [Profile; 3] = [Profile::Native, Profile::Legacy, Profile::ModbattWin];

    /// Its name in configuration and in the header `X-Client-Profile`.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Native => "native",
            Profile::Legacy => "legacy",
            Profile::ModbattWin => "modbatt-win",
        }
    }

    /// The profile with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The profile of a request: the header's, else where clients of the older contract are served that of the port it was
    /// sent to, else the configured one. `None` for a header that names none.
    pub(crate) fn of(headers: &HeaderMap, configured: Self) -> Option<Self> {
        if let Some(named) = headers.get(HEADER) {
            return named.to_str().ok().and_then(Self::from_name);
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        let to_windows = host.rsplit_once(':').is_some_and(|(_, port)| port == WINDOWS_PORT);
        Some(if configured != Profile::Native && to_windows { Profile::ModbattWin } else { configured })
    }
}

/// Fields with two spellings: the one of [`super::ops`] first.
const SPELLINGS: [(&str, &str); 12] = [
    ("txhash", "tx_hash"),
    ("score", "trust_score"),
    ("trust_score", "score"),
    ("operation_type", "type"),
    ("requests", "operations"),
    ("authorizations", "authorization"),
    ("component_a", "component_a_id"),
    ("component_b", "component_b_id"),
    ("authorization_id", "auth_id"),
    ("component_hash_a", "source_hash"),
    ("component_hash_b", "target_hash"),
    ("lct_status", "pairing_status"),
];

/// Other names of what a request holds: the one of [`super::ops`] first.
const TAKEN: [(&str, &str); 14] = [
    ("creator", "verifier"),
    ("creator", "requester"),
    ("creator", "processor"),
    ("component_hash_a", "source_hash"),
    ("component_hash_b", "target_hash"),
    ("target_hash", "component_hash"),
    ("component_a", "component_a_id"),
    ("component_b", "component_b_id"),
    ("operational_context", "context"),
    ("context", "operational_context"),
    ("score", "trust_score"),
    ("operation_type", "type"),
    ("authorization_id", "auth_id"),
    ("request_id", "id"),
];

/// Words of what went well or is under way, which the Windows utility may take for success. Every other word stays as
/// it is, so that a new one is never shown as done by mistake.
const GOOD: [&str; 12] = [
    "active",
    "authorized",
    "calculated",
    "completed",
    "created",
    "pending",
    "processed",
    "queued",
    "success",
    "updated",
    "verified",
    "waiting",
];

/// States beside which no word becomes a better one.
const BAD: [&str; 14] = [
    "cancelled",
    "denied",
    "expired",
    "failed",
    "not_authorized",
    "refused",
    "rejected",
    "released",
    "retired",
    "revoked",
    "suspended",
    "terminated",
    "unknown",
    "withdrawn",
];

/// Puts what a tolerant client sent into the form of an operation: absent is what is `null`, and either spelling serves.
pub(crate) fn undress(request: &mut Map<String, Value>) {
    request.retain(|_, value| !value.is_null());
    for (ours, theirs) in TAKEN {
        if !request.contains_key(ours)
            && let Some(value) = request.get(theirs)
        {
            let value = value.clone();
            request.insert(ours.into(), value);
        }
    }
}

/// Gives an answer the form that the client expects.
pub(crate) fn dress(profile: Profile, answer: &mut Value) {
    match answer {
        Value::Array(items) => items.iter_mut().for_each(|item| dress(profile, item)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| dress(profile, value));
            match profile {
                Profile::Native => {
                    if let Some(state) = fields.remove("state") {
                        fields.insert("status".into(), state);
                    }
                }
                Profile::Legacy | Profile::ModbattWin => old(profile, fields),
            }
        }
        _ => {}
    }
}

fn old(profile: Profile, fields: &mut Map<String, Value>) {
    let state = fields.get("state").and_then(Value::as_str);
    if profile == Profile::ModbattWin
        && !state.is_some_and(|state| BAD.contains(&state))
        && let Some(Value::String(status)) = fields.get_mut("status")
        && GOOD.contains(&status.as_str())
    {
        *status = "active".into();
    }
    if let Some(Value::String(hash)) = fields.get_mut("txhash") {
        hash.make_ascii_uppercase();
    }
    for (ours, theirs) in SPELLINGS {
        if !fields.contains_key(theirs)
            && let Some(value) = fields.get(ours)
        {
            let value = value.clone();
            fields.insert(theirs.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dressed(profile: Profile, mut answer: Value) -> Value {
        dress(profile, &mut answer);
        answer
    }

    #[test]
    fn a_native_client_gets_the_truth_once() {
        let answer = json!({ "status": "active", "state": "pending", "txhash": "ab", "requests": [{ "state": "queued", "status": "x" }] });
        let native = json!({ "status": "pending", "txhash": "ab", "requests": [{ "status": "queued" }] });
        assert_eq!(dressed(Profile::Native, answer), native);
    }

    #[test]
    fn an_old_client_gets_both_spellings_and_its_words() {
        let answer = json!({ "status": "pending", "state": "waiting", "txhash": "ab", "score": 0.5 });
        let legacy = json!({ "status": "pending", "state": "waiting", "txhash": "AB", "tx_hash": "AB", "score": 0.5,
            "trust_score": 0.5 });
        assert_eq!(dressed(Profile::Legacy, answer.clone()), legacy);
        assert_eq!(dressed(Profile::ModbattWin, answer)["status"], "active");
    }

    /// The Windows utility shows what it takes for success as done.
    #[test]
    fn what_failed_is_not_dressed_as_success() {
        for state in BAD.into_iter().chain(["a word of tomorrow"]) {
            let answer = json!({ "status": state, "verification": { "status": state } });
            let dressed = dressed(Profile::ModbattWin, answer);
            assert_eq!(
                (&dressed["status"], &dressed["verification"]["status"]),
                (&json!(state), &json!(state))
            );
        }
        for state in BAD {
            let answer = json!({ "status": "pending", "state": state });
            assert_eq!(dressed(Profile::ModbattWin, answer)["status"], "pending");
        }
        let registered = json!({ "status": "registered", "state": "active" });
        assert_eq!(dressed(Profile::ModbattWin, registered)["status"], "registered");
    }

    #[test]
    fn the_profile_is_the_headers_then_the_ports_then_the_configured_one() {
        let headers = |host: &'static str, named: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(named) = named {
                headers.insert(HEADER, named.parse().unwrap());
            }
            headers
        };
        use Profile::{Legacy, ModbattWin, Native};
        assert_eq!(Profile::of(&headers("localhost:8080", None), Legacy), Some(Legacy));
        assert_eq!(Profile::of(&headers("localhost:8082", None), Legacy), Some(ModbattWin));
        assert_eq!(Profile::of(&headers("localhost:8082", None), Native), Some(Native), "it is opt-in");
        assert_eq!(Profile::of(&headers("localhost:8082", Some("native")), Legacy), Some(Native));
        assert_eq!(Profile::of(&headers("localhost:8080", Some("modbatt-win")), Legacy), Some(ModbattWin));
        assert_eq!(Profile::of(&headers("localhost:8080", Some("windows")), Legacy), None);
    }

    #[test]
    fn either_spelling_is_taken_and_null_is_nothing() {
        let Value::Object(mut request) =
            json!({ "verifier": "bob", "source_hash": "aa", "context": null, "proxy_id": "" })
        else {
            panic!()
        };
        undress(&mut request);
        assert_eq!(request["creator"], "bob");
        assert_eq!(request["component_hash_a"], "aa");
        assert!(!request.contains_key("context") && request["proxy_id"] == "");
    }
}
