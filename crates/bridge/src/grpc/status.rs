//! A refusal as a status of gRPC, and back (A195).

use std::time::Duration;

use api::{Problem, problem::code};
use axum::response::Response;
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataKey, MetadataValue},
};

use crate::refusal::Refusal;

/// Trailers of a refusal: the code of A5, the status that REST gives it, and after how many seconds to ask again.
const ERROR_CODE: &str = "w4-error-code";
const HTTP_STATUS: &str = "w4-status";
const RETRY_AFTER: &str = "retry-after";

impl From<Refusal> for Status {
    fn from(Refusal(problem): Refusal) -> Self {
        let mut status = Status::new(code_of(&problem), problem.to_string());
        let wait = problem.retry_after.or((problem.status == 503).then_some(1));
        let told = [
            (ERROR_CODE, Some(problem.code)),
            (HTTP_STATUS, Some(problem.status.to_string())),
            (RETRY_AFTER, wait.map(|seconds| seconds.to_string())),
        ];
        for (name, value) in told {
            if let Some(Ok(value)) = value.map(MetadataValue::<Ascii>::try_from) {
                status.metadata_mut().insert(MetadataKey::from_static(name), value);
            }
        }
        status
    }
}

/// The table of `docs/grpc.md`.
fn code_of(problem: &Problem) -> Code {
    match (problem.status, problem.code.as_str()) {
        (404, code::ROUTE) => Code::Unimplemented,
        (400 | 405 | 415 | 421, _) => Code::InvalidArgument,
        (401, _) => Code::Unauthenticated,
        (403, _) => Code::PermissionDenied,
        (404, _) => Code::NotFound,
        (409, code) if code.ends_with("EXISTS") => Code::AlreadyExists,
        (409 | 410 | 422, _) => Code::FailedPrecondition,
        (413 | 429, _) => Code::ResourceExhausted,
        (408 | 504, _) => Code::DeadlineExceeded,
        (503, _) => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// What REST would have answered, of an answer of gRPC whose head says how it ended.
pub(crate) fn http_status(response: &Response) -> Option<u16> {
    let refused = response.extensions().get::<Status>()?;
    let said = refused.metadata().get(HTTP_STATUS).and_then(|value| value.to_str().ok()?.parse().ok());
    // What the library itself refuses: a message that is none, or too long, or a method that is not there.
    said.or(Some(match refused.code() {
        Code::Unimplemented | Code::NotFound => 404,
        Code::OutOfRange | Code::ResourceExhausted => 413,
        Code::Internal | Code::Unknown | Code::DataLoss => 500,
        _ => 400,
    }))
}

/// How long a caller waits, as the header `grpc-timeout` says it.
pub(super) fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let n: u64 = digits.parse().ok().filter(|_| plain)?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_as_documented() {
        for (status, problem, code) in [
            (400, "W4_ERR_PROTO_FORMAT", Code::InvalidArgument),
            (401, "W4_ERR_CRYPTO_VERIFY", Code::Unauthenticated),
            (403, "W4_ERR_AUTHZ_DENIED", Code::PermissionDenied),
            (404, "W4_ERR_LCT_NOT_FOUND", Code::NotFound),
            (404, code::ROUTE, Code::Unimplemented),
            (409, "W4_ERR_REGISTRY_EXISTS", Code::AlreadyExists),
            (409, "W4_ERR_BINDING_STEP", Code::FailedPrecondition),
            (410, "W4_ERR_COMPONENT_REVOKED", Code::FailedPrecondition),
            (429, "W4_ERR_RATE_LIMIT_EXCEEDED", Code::ResourceExhausted),
            (503, "W4_ERR_BUSY", Code::Unavailable),
            (500, "W4_ERR_INTERNAL", Code::Internal),
        ] {
            let refused = Status::from(Refusal::new(status, problem, "no").detail("why"));
            assert_eq!(refused.code(), code, "{problem}");
            assert_eq!(refused.message(), format!("no ({problem}: why)"));
            assert_eq!(refused.metadata().get(ERROR_CODE).unwrap(), problem);
            assert_eq!(http_status(&refused.into_http()), Some(status));
        }
    }

    #[test]
    fn times_as_the_protocol_writes_them() {
        assert_eq!(timeout("1S"), Some(Duration::from_secs(1)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1.5S", "1\u{e9}"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }
}
