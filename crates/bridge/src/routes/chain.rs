//! `GET /ledger/state/{key}`, `GET /ledger/blocks/{height}`, `GET /ledger/archive` (A216 to A218).

use std::{
    io::{self, Write},
    time::Duration,
};

use api::{
    encoding::{Blob, Hex},
    ledger::{ARCHIVE, BlockView, KEY_MAX, StateObject},
    problem::code,
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use node::{archive::Start, past::PastError};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use crate::{
    extract::{Options, Segments, When},
    ops::lines,
    refusal::{Refusal, Reply},
};

/// Bytes of an archive that are sent at once, and pieces that wait for a slow reader.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;
/// A reader that takes nothing for so long is let go.
const STALLED: Duration = Duration::from_secs(30);
/// Archives that are written at the same time: each keeps a thread and an old state of the ledger.
static ARCHIVES: Semaphore = Semaphore::const_new(2);

/// What the state holds under a key after a block, with what proves it (A216).
#[utoipa::path(
    get,
    path = "/ledger/state/{key}",
    params(("key" = String, Path, pattern = "^(?:[0-9A-Fa-f]{2}){1,128}$"), When),
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
    params(("height" = u64, Path, minimum = 1)),
    responses((status = 200, body = BlockView), (status = 404), (status = 410))
)]
pub(crate) async fn block(State(app): App, Segments(height): Segments<String>) -> Reply<Json<BlockView>> {
    let height: u64 = height.parse().map_err(|_| Refusal::format("height: a number"))?;
    if height == 0 {
        return Err(Refusal::format("height: blocks begin at 1; height 0 is the genesis (GET /authority)"));
    }
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
    responses(
        (status = 200, body = [u8], content_type = "application/vnd.modbatt.archive"),
        (status = 404),
        (status = 410),
        (status = 503)
    )
)]
pub(crate) async fn archive(State(app): App, Options(when): Options<When>) -> Reply<Response> {
    // Behind the genesis lies nothing: what begins there is an export.
    let start = when.height.filter(|height| *height > 0).map_or(Start::Genesis, Start::State);
    let place = ARCHIVES.try_acquire().map_err(|_| {
        Refusal::new(503, code::BUSY, "two archives are being written; try again when one is done")
    })?;
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
    let (ended, runtime) = (app.streams.ended(), Handle::current());
    let sender = Sender { pieces, ended, runtime, broken: false };
    lines::blocking(move || {
        let _place = place;
        let mut last = sender.clone();
        if let Err(e) = chain.archive(start, io::BufWriter::with_capacity(PIECE, sender)) {
            tracing::error!(why = %e, "an archive ends early");
            // Ends the answer with an error, unless nobody reads it any more.
            let why = Err(io::Error::other("the archive ends early"));
            if let Err(mpsc::error::TrySendError::Full(why)) = last.pieces.try_send(why) {
                let _gone = last.give(why);
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, ARCHIVE)], Body::from_stream(ReceiverStream::new(sent))).into_response())
}

/// Gives what is written to the answer, as fast as that is read.
#[derive(Clone)]
struct Sender {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    ended: watch::Receiver<bool>,
    runtime: Handle,
    /// A write failed; what a buffer still holds is not waited for as well.
    broken: bool,
}

impl Sender {
    /// Fails when the reader takes nothing, is gone, or the bridge ends.
    fn give(&mut self, piece: io::Result<Bytes>) -> io::Result<()> {
        let Sender { pieces, ended, runtime, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                // An error means that the bridge is gone already.
                _ = ended.wait_for(|ended| *ended) => Err(io::ErrorKind::ConnectionAborted.into()),
                sent = pieces.send_timeout(piece, STALLED) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            }
        })
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let given = self.give(Ok(Bytes::copy_from_slice(bytes)));
        self.broken = given.is_err();
        given.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
