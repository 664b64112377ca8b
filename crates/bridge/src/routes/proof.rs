//! `GET /state/{key}` (A126): what the state holds, with proof.

use api::{
    encoding::{Blob, Hex},
    proof::{KEY_MAX, Proved},
};
use axum::{Json, extract::State};
use ledger::codec::Canonical;
use node::past::Found;

use super::App;
use crate::{
    extract::{Options, Segments, When},
    refusal::{Refusal, Reply},
};

/// Reads the key of a state entry in hexadecimal.
fn key_of(text: &str) -> Reply<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let key: Option<Vec<u8>> = digits
        .filter(|digits| digits.len() % 2 == 0)
        .map(|digits| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    key.filter(|key| (1..=KEY_MAX).contains(&key.len()))
        .ok_or_else(|| Refusal::format(format!("key: 1 to {KEY_MAX} bytes in hexadecimal")))
}

/// What the state holds under a key, or that it holds nothing, with proof (A126).
#[utoipa::path(
    get,
    path = "/state/{key}",
    params(("key" = String, Path), When),
    responses((status = 200, body = Proved), (status = 404), (status = 410))
)]
pub(crate) async fn state(
    State(app): App,
    Segments(key): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Json<Proved>> {
    let bytes = key_of(&key)?;
    app.state(when.height, move |snapshot| {
        let tip = snapshot.tip();
        let (value, proof) = match snapshot.prove(&bytes)? {
            Found::Present(proof) => (Some(Blob(proof.value.clone())), Blob(proof.to_bytes())),
            Found::Absent(proof) => (None, Blob(proof.to_bytes())),
        };
        Ok(Json(Proved {
            key: key.to_ascii_lowercase(),
            height: tip.height,
            state_root: Hex(tip.state_root),
            present: value.is_some(),
            value,
            proof,
        }))
    })
    .await
}
