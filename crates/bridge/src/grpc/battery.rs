//! `StreamBatteryStatus`: the telemetry records of a component as they reach the disk (A192).

use std::{sync::Arc, time::Duration};

use lct::{
    id::Cid,
    record::{Record, RecordKind},
};
use node::{Chain, segments::Entry};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tonic::Status;

use super::proto::{StreamBatteryStatusRequest, StreamBatteryStatusResponse};
use crate::{
    Shared,
    authority::component_id,
    refusal::{Refusal, Reply},
    routes::component::cid_of,
};

/// Interval where none is asked for, in seconds.
const INTERVAL_S: i32 = 5;
/// Longest interval, in seconds.
const INTERVAL_MAX_S: i32 = 3600;
/// A reader that takes nothing for so long is let go.
const STALLED: Duration = Duration::from_secs(30);

pub(super) async fn stream(
    shared: &Arc<Shared>,
    request: StreamBatteryStatusRequest,
) -> Reply<mpsc::Receiver<Result<StreamBatteryStatusResponse, Status>>> {
    let seconds = match request.interval_seconds {
        0 => INTERVAL_S,
        n if (1..=INTERVAL_MAX_S).contains(&n) => n,
        _ => {
            return Err(Refusal::format(format!(
                "interval_seconds: 1 to {INTERVAL_MAX_S}, or 0 for {INTERVAL_S}"
            )));
        }
    };
    let (cid, id) = shared
        .blocking(move |chain| {
            let snapshot = chain.read()?;
            let cid = cid_of(&snapshot, &request.component_id)?;
            Ok((cid, component_id(&snapshot, &cid)?))
        })
        .await?;
    let place = shared.streams.enter()?;
    let (sender, receiver) = mpsc::channel(1);
    let (weak, mut ended) = (Arc::downgrade(shared), shared.streams.ended());
    tokio::spawn(async move {
        let _place = place;
        let told = async {
            let mut ticks = interval(Duration::from_secs(seconds.unsigned_abs().into()));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut last = None;
            loop {
                ticks.tick().await;
                let Some(shared) = weak.upgrade() else { return };
                let answer = shared.blocking(move |chain| newest(chain, &cid, last)).await;
                drop(shared);
                let (answer, goes_on) = match answer {
                    Ok(None) => continue,
                    Ok(Some(record)) => {
                        last = Some(record.seq);
                        (Ok(status(id.clone(), &record)), true)
                    }
                    Err(why) => (Err(why.into()), false),
                };
                if sender.send_timeout(answer, STALLED).await.is_err() || !goes_on {
                    return;
                }
            }
        };
        tokio::select! {
            () = told => {}
            () = sender.closed() => {}
            () = async { drop(ended.wait_for(|ended| *ended).await) } => {}
        }
    });
    Ok(receiver)
}

/// The last record on disk, if it comes after `last`. One that never arrived has only its hash there; then the one before counts.
fn newest(chain: &Chain, cid: &Cid, last: Option<u32>) -> Reply<Option<Record>> {
    let Some(seq) = chain.last_stored(cid).filter(|seq| last.is_none_or(|last| *seq > last)) else {
        return Ok(None);
    };
    let Some((_, batch)) = chain.stored_batch(cid, seq)? else { return Ok(None) };
    let mut arrived = batch.entries.iter().rev().filter_map(|entry| match entry {
        Entry::Record(bytes) => Some(bytes),
        Entry::Missing(_) => None,
    });
    let Some(bytes) = arrived.next() else { return Ok(None) };
    let record = Record::decode(bytes).map_err(|e| Refusal::internal(&e))?;
    Ok(Some(record).filter(|record| last.is_none_or(|last| record.seq > last)))
}

/// The values of ledger.md, L40, in the units of the contract.
fn status(component_id: String, record: &Record) -> StreamBatteryStatusResponse {
    let value = |i: usize| record.values.get(i).map_or(0.0, |value| f64::from(*value));
    let (millivolts, milliamperes) = match record.kind {
        RecordKind::Module => (value(5), value(4)),
        RecordKind::Pack => (value(4), value(5)),
    };
    StreamBatteryStatusResponse {
        component_id,
        voltage: millivolts / 1e3,
        current: milliamperes / 1e3,
        temperature: value(11) / 1e3,
        state_of_charge: value(2) / 1e4,
        timestamp: i64::try_from(record.time_ms / 1000).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_the_ledger_has_them() {
        let values = [0, 0, 512_300, 990_000, -20_500, 48_250, 3_700, 3_800, 3_750, 19_000, 26_000, 22_125];
        let record = |kind, values: &[i32]| Record {
            cid: Cid([1; 16]),
            seq: 7,
            time_ms: 1_750_000_000_999,
            kind,
            values: values.iter().copied().collect(),
        };
        let told = status("module-0001".into(), &record(RecordKind::Module, &values));
        assert_eq!((told.voltage, told.current), (48.25, -20.5));
        assert_eq!((told.temperature, told.state_of_charge, told.timestamp), (22.125, 51.23, 1_750_000_000));
        let mut pack = values;
        pack.swap(4, 5);
        let told = status("pack-0001".into(), &record(RecordKind::Pack, &pack));
        assert_eq!((told.voltage, told.current), (48.25, -20.5));
    }
}
