//! `GET /receipts/{tx hash}`, `GET /receipts/{component id}/{seq}` (A38, A39).

use api::{
    encoding::{ComponentId, Hex},
    receipt::MEDIA_TYPE,
};
use axum::{
    Extension,
    extract::State,
    http::{HeaderName, header},
};

use node::receipts::ReceiptFailure;

use super::{App, component::cid_of, id, transaction::waits};
use crate::{
    Shared,
    extract::Segments,
    memo::{Lasting, UntilBlock},
    refusal::{Refusal, Reply, receipt_pending},
};

/// A file to be saved.
type File = ([(HeaderName, String); 2], Vec<u8>);

fn file(name: &str, content: Vec<u8>) -> File {
    let disposition = format!("attachment; filename=\"{name}.receipt\"");
    ([(header::CONTENT_TYPE, MEDIA_TYPE.into()), (header::CONTENT_DISPOSITION, disposition)], content)
}

/// A receipt is what it is for good; that its block is kept is so until the next one.
fn lasting(app: &Shared, file: File) -> Lasting<File> {
    (Some(Extension(UntilBlock { height: app.chain.tip().height, while_idle: false })), file)
}

/// The receipt of a transaction, as a file (A38).
#[utoipa::path(
    get,
    path = "/receipts/{id}",
    params(("id" = Hex<32>, Path)),
    responses((status = 200, body = [u8], content_type = "application/octet-stream"), (status = 404), (status = 409))
)]
pub(crate) async fn of_transaction(
    State(app): App,
    Segments(hash): Segments<String>,
) -> Reply<Lasting<File>> {
    let hash: Hex<32> = id("transaction hash", &hash)?;
    let made = app.blocking(move |chain| match chain.receipt_tx(&hash.0) {
        Ok(receipt) => Ok(Some(receipt.to_file())),
        Err(ReceiptFailure::UnknownTx) => Ok(None),
        Err(e) => Err(e.into()),
    });
    match made.await? {
        Some(receipt) => Ok(lasting(&app, file(&hash.to_string(), receipt))),
        None if waits(&app, &hash.0).await? => Err(receipt_pending()),
        None => Err(ReceiptFailure::UnknownTx.into()),
    }
}

/// The receipt of a telemetry record, as a file (A38).
#[utoipa::path(
    get,
    path = "/receipts/{id}/{seq}",
    params(("id" = ComponentId, Path), ("seq" = u32, Path)),
    responses((status = 200, body = [u8], content_type = "application/octet-stream"), (status = 404), (status = 409))
)]
pub(crate) async fn of_record(
    State(app): App,
    Segments((component, seq)): Segments<(String, String)>,
) -> Reply<Lasting<File>> {
    let seq: u32 = seq.parse().map_err(|_| Refusal::format("seq: a number from 0 to 4294967295"))?;
    let receipt = app.blocking(move |chain| {
        let cid = cid_of(&chain.read()?, &component)?;
        match chain.receipt_record(&cid, seq) {
            Ok(receipt) => Ok((cid, receipt.to_file())),
            // On disk, so its batch is on the way to a block.
            Err(ReceiptFailure::UnknownRecord { .. }) if chain.stored_batch(&cid, seq)?.is_some() => {
                Err(receipt_pending())
            }
            Err(e) => Err(e.into()),
        }
    });
    let (cid, receipt) = receipt.await?;
    Ok(lasting(&app, file(&format!("{cid}-{seq}"), receipt)))
}
