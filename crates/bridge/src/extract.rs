//! Reading requests: whatever is wrong with one becomes a problem body that names field and reason.

use crate::{refusal::Refusal, strict::Strict};
use api::{TELEMETRY_BODY_MAX, problem::code};
use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

/// A JSON body.
pub(crate) struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        // A page of another origin can send a form or plain text without asking, but not this.
        let media = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let essence = media.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::new(415, code::MEDIA, "the body must be declared as application/json"));
        }
        parse(&bytes(request).await?).map(Body)
    }
}

/// The whole body, as long as may be where it is read.
pub(crate) async fn bytes(request: Request) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(413, code::SIZE, "the body is larger than this route allows");
    // Said beforehand: nobody waits for it.
    if request.body().size_hint().lower() > TELEMETRY_BODY_MAX as u64 {
        return Err(too_large());
    }
    Bytes::from_request(request, &()).await.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Refusal::format("the body could not be read"),
    })
}

/// Reads exactly one JSON value.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Strict(&mut json)).map_err(|e| {
        let path = e.path().to_string();
        let reason = e.into_inner();
        if path == "." {
            Refusal::format(reason.to_string())
        } else {
            Refusal::format(format!("{path}: {reason}"))
        }
    })?;
    json.end().map_err(|e| Refusal::format(e.to_string()))?;
    Ok(value)
}

/// The variable segments of a path.
pub(crate) struct Segments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Segments(value)),
            Err(e) => Err(Refusal::format(e.body_text())),
        }
    }
}

/// The query.
pub(crate) struct Options<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Options<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Options(value)),
            Err(e) => Err(Refusal::format(e.body_text())),
        }
    }
}

/// The query of a route that reads the state: after which block (A117).
#[derive(Debug, Clone, Copy, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    /// Height of the block; the last one where it is left out.
    pub height: Option<u64>,
}

/// Checks a label: `creator`, `context`, `proxy_id`.
pub(crate) fn label(field: &str, text: &str) -> Result<(), Refusal> {
    if api::valid_label(text) {
        Ok(())
    } else {
        Err(Refusal::format(format!("{field}: 1 to {} bytes without control characters", api::LABEL_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_with_their_place() {
        type T = api::binding::Begin;
        let good = r#"{"creator":"x","a":{"component_id":"abc","access":"can1:0"},"b":{"component_id":"abd","access":""}}"#;
        assert!(parse::<T>(good.as_bytes()).is_ok());
        for (from, to, expected) in [
            (r#""component_id":"abd""#, r#""component_id":7"#, "b.component_id: invalid type: integer `7`"),
            (r#""component_id":"abd","#, "", "b: missing field `component_id`"),
            (r#""creator":"x","#, "", "missing field `creator`"),
            ("creator", "creater", "unknown field `creater`"),
            (r#"{"creator""#, r#"[{"creator""#, "invalid type: sequence, expected struct Begin"),
            (
                r#"{"component_id":"abd","access":""}"#,
                r#"["abd",""]"#,
                "b: invalid type: sequence, expected struct Party",
            ),
        ] {
            let Refusal(p) = parse::<T>(good.replacen(from, to, 1).as_bytes()).unwrap_err();
            let detail = p.detail.unwrap();
            assert!(detail.contains(expected), "{to}: {detail}");
        }
        for bad in [format!("{good}{good}"), good[..20].to_string(), String::new()] {
            let Refusal(p) = parse::<T>(bad.as_bytes()).map(|_| ()).unwrap_err();
            assert_eq!((p.status, p.code.as_str()), (400, code::FORMAT), "{bad}");
        }
    }
}
