//! `GET /receipts/{tx hash}`, `GET /receipts/{component id}/{seq}` (A38, A39).

use api::{encoding::Hex, receipt::MEDIA_TYPE};
use axum::{
    extract::State,
    http::{HeaderName, header},
};

use super::{App, component::cid_of, id};
use crate::{
    extract::Segments,
    refusal::{Refusal, Reply},
};

/// A file to be saved.
type File = ([(HeaderName, String); 2], Vec<u8>);

fn file(name: &str, content: Vec<u8>) -> File {
    let disposition = format!("attachment; filename=\"{name}.receipt\"");
    ([(header::CONTENT_TYPE, MEDIA_TYPE.into()), (header::CONTENT_DISPOSITION, disposition)], content)
}

pub(crate) async fn of_transaction(State(app): App, Segments(hash): Segments<String>) -> Reply<File> {
    let hash: Hex<32> = id("transaction hash", &hash)?;
    let receipt = app.blocking(move |chain| Ok(chain.receipt_tx(&hash.0)?.to_file())).await?;
    Ok(file(&hash.to_string(), receipt))
}

pub(crate) async fn of_record(
    State(app): App,
    Segments((component, seq)): Segments<(String, String)>,
) -> Reply<File> {
    let seq: u32 = seq.parse().map_err(|_| Refusal::format("seq: a number from 0 to 4294967295"))?;
    let receipt = app.blocking(move |chain| {
        let cid = cid_of(&chain.read()?, &component)?;
        Ok((cid, chain.receipt_record(&cid, seq)?.to_file()))
    });
    let (cid, receipt) = receipt.await?;
    Ok(file(&format!("{cid}-{seq}"), receipt))
}
