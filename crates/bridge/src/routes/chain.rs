//! `GET /ledger/state/{key}`, `GET /ledger/blocks/{height}`, `GET /ledger/archive` (A216 to A218).

use std::io::{self, Write};

use api::{
    encoding::{Blob, Hex, StateKey},
    ledger::{ARCHIVE, BlockView, KEY_MAX, StateObject},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use node::{archive::Start, past::PastError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use crate::{
    extract::{Options, Segments, When},
    refusal::{Refusal, Reply},
};

/// Bytes of an archive that are sent at once, and pieces that wait for a slow reader.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// What the state holds under a key after a block, with what proves it (A216).
#[utoipa::path(
    get,
    path = "/ledger/state/{key}",
    params(("key" = StateKey, Path), When),
    responses((status = 200, body = StateObject), (status = 404), (status = 410))
)]
pub(crate) async fn state(
    State(app): App,
    Segments(key): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Json<StateObject>> {
    let key = hex::decode(&key).ok().filter(|key| (1..=KEY_MAX).contains(&key.len()));
    let key = key.ok_or_else(|| Refusal::format("key: 2 to 256 hexadecimal digits"))?;
    app.blocking(move |chain| {
        let snapshot = chain.read()?;
        let height = when.height.unwrap_or(snapshot.tip().height);
        let past = snapshot.at(height)?;
        let state_root = Hex(past.tip().state_root);
        let excerpt = match past.excerpt(&key) {
            Ok(excerpt) => Some(Blob(excerpt.to_file())),
            Err(PastError::Future { .. }) => None,
            Err(e) => return Err(e.into()),
        };
        let value = past.raw(&key)?.map(Blob);
        Ok(Json(StateObject { height, state_root, value, excerpt }))
    })
    .await
}

/// A block, who certified it, and what its transactions came to (A217).
#[utoipa::path(
    get,
    path = "/ledger/blocks/{height}",
    params(("height" = u64, Path)),
    responses((status = 200, body = BlockView), (status = 404), (status = 410))
)]
pub(crate) async fn block(State(app): App, Segments(height): Segments<String>) -> Reply<Json<BlockView>> {
    let height: u64 = height.parse().map_err(|_| Refusal::format("height: a number"))?;
    app.blocking(move |chain| {
        let snapshot = chain.read()?;
        let Some((block, certificate)) = snapshot.block(height)?.zip(snapshot.certificate(height)?) else {
            let (tip, oldest) = (snapshot.tip().height, snapshot.first_whole()?);
            let missing = if height > tip {
                PastError::Future { height, tip }
            } else {
                PastError::Forgotten { height, oldest }
            };
            return Err(missing.into());
        };
        Ok(Json(BlockView::of(&block, &certificate, &snapshot.tx_results(height)?)))
    })
    .await
}

/// The ledger as it is at this moment (A218). It is written while it is sent; an archive that ends early has no last part.
#[utoipa::path(
    get,
    path = "/ledger/archive",
    params(When),
    responses((status = 200, body = [u8], content_type = "application/vnd.modbatt.archive"), (status = 404), (status = 410))
)]
pub(crate) async fn archive(State(app): App, Options(when): Options<When>) -> Reply<Response> {
    let start = when.height.map_or(Start::Genesis, Start::State);
    // What cannot be archived at all is said before anything is sent.
    app.blocking(move |chain| {
        let snapshot = chain.read()?;
        let (first, tip) = (snapshot.first_whole()?, snapshot.tip().height);
        match start {
            Start::Genesis if first > 0 => Err(PastError::Forgotten { height: 0, oldest: first }.into()),
            Start::State(height) if height >= tip => {
                Err(PastError::Future { height: height + 1, tip }.into())
            }
            Start::State(height) => Ok(snapshot.at(height).map(drop)?),
            Start::Genesis => Ok(()),
        }
    })
    .await?;
    let (pieces, sent) = mpsc::channel(PIECES);
    let chain = app.chain.clone();
    tokio::task::spawn_blocking(move || {
        let out = io::BufWriter::with_capacity(PIECE, Sender(pieces.clone()));
        if let Err(e) = chain.archive(start, out) {
            tracing::error!(why = %e, "an archive ends early");
            // Ends the answer with an error, unless nobody reads it any more.
            let _gone = pieces.blocking_send(Err(io::Error::other("the archive ends early")));
        }
    });
    Ok(([(header::CONTENT_TYPE, ARCHIVE)], Body::from_stream(ReceiverStream::new(sent))).into_response())
}

/// Gives what is written to the answer, as fast as that is read.
struct Sender(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
