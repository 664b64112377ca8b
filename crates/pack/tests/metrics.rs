//! What a pack reports of its modules by itself (`spec/channel.md`, H212, H213).

use crate::world;

use lct::trust::{MetricsReport, TrustContext};
use pack::{
    app::{self, Party},
    observation::{PERIOD_MS, number},
    pdu,
    time::Duration,
};
use world::World;

const START_MS: u64 = 1_700_000_000_000;

/// The reports that reached the app, each verified, with the node of its module.
fn told(w: &mut World) -> Vec<(u8, MetricsReport)> {
    let key = w.spk_of(1, 0).sign_pub();
    let mut found = Vec::new();
    for event in std::mem::take(&mut w.events) {
        if let app::Event::Metrics(node, statement, signature) = event {
            let report = MetricsReport::decode(&statement).unwrap();
            report.verify(&key, &signature).expect("the pack signed it");
            found.push((node, report));
        }
    }
    found
}

/// An hour goes by in which nobody is heard, and then everybody measures once.
fn an_hour_later(w: &mut World) {
    w.now = w.now + Duration::from_millis(PERIOD_MS);
    w.measure(-20_000);
}

#[test]
fn each_module_is_reported_once_an_hour_until_that_is_kept() {
    let mut w = World::new(2, 77);
    w.commission();
    w.measure(-20_000);
    w.run_for(50);
    // The clock is set forward: that is no hour.
    let now = w.now;
    w.app.set_time(now, START_MS + 2 * PERIOD_MS).unwrap();
    w.run_for(50);
    w.measure(-20_000);
    w.run_for(50);
    assert_eq!(told(&mut w), []);

    an_hour_later(&mut w);
    w.run_for(50);
    let [(node, first)] = told(&mut w)[..] else { panic!("one at a time") };
    let [pack, module] = [1, 2].map(|who| w.identities[who].cid());
    assert_eq!((node, first.observer, first.subject), (1, pack, module));
    assert_eq!(first.context, TrustContext::Operation);
    assert!(first.start_ms <= START_MS + 1_000 && first.end_ms > START_MS + 3 * PERIOD_MS);
    let [efficiency, reliability, accuracy, _, safety] = first.metrics;
    assert_eq!((efficiency, reliability, safety), (1_000_000, 1_000_000, 1_000_000));
    assert!(accuracy > 500_000, "{first:?}");

    w.now = w.now + Duration::from_secs(6);
    w.measure(-20_000);
    w.run_for(50);
    assert_eq!(told(&mut w), [(1, first)], "nobody kept it");
    let received = |w: &mut World, number| {
        let now = w.now;
        w.app.received(now, Party::Pack, pdu::METRICS, number).unwrap();
        w.run_for(50);
        w.measure(-20_000);
        w.run_for(50);
        told(w)
    };
    let second = received(&mut w, number(1, first.end_ms));
    let [(2, second)] = second[..] else { panic!("{second:?}") };
    assert_eq!((second.subject, second.end_ms), (w.identities[3].cid(), first.end_ms));
    assert_eq!(received(&mut w, number(2, second.end_ms)), []);

    an_hour_later(&mut w);
    w.run_for(50);
    let [(1, next)] = told(&mut w)[..] else { panic!("the next hour") };
    assert!(next.start_ms >= first.end_ms, "periods never overlap: {next:?} after {first:?}");
}
