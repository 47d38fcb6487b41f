//! Health checks of devices.

use std::sync::Arc;

use seatrial_core::ids::{DeviceId, JobId};
use seatrial_core::lab::canary::{Due, Ended, Found, Health, Judgement, KEPT};
use seatrial_core::reason::{Code, Reason};
use seatrial_core::store::{CanaryRow, Store, StoreError};

use crate::world::*;

async fn attach(store: &dyn Store, name: &str) -> DeviceId {
    let profile = profile("Xiaomi", name);
    store.attach_device(fresh!(DeviceId), &agent_id(name), &profile, "0.1.0", T0).await.unwrap().id
}

fn canary(device: DeviceId, seconds: u64, due: Due, health: Health) -> CanaryRow {
    let sensor = Reason::new(Code::CanarySensor, &[("sensor", &"battery/charge"), ("value", &2), ("unit", &1)]);
    CanaryRow {
        id: fresh!(JobId),
        device,
        at: after(seconds),
        due,
        boot_id: "a boot".to_owned(),
        fingerprint: "a build; agent 0.1.0".to_owned(),
        rom: "HyperOS 2".to_owned(),
        found: Found {
            ended: Ended::Right,
            outcome: "ok".to_owned(),
            message: None,
            latency_ms: Some(1.0625),
            invalid: vec![Reason::new(Code::Slept, &[("ms", &12)])],
            sensors: vec![sensor.clone()],
        },
        judgement: Judgement { health, reasons: vec![sensor], usual_ms: Some(1.0) },
    }
}

pub(crate) async fn health_checks_come_back_as_they_were_newest_first_each_once(store: Arc<dyn Store>) {
    let (one, other) = (attach(&*store, "a").await, attach(&*store, "b").await);
    assert_eq!((store.canaries(one, 9).await.unwrap(), store.last_canaries().await.unwrap()), (vec![], vec![]));
    let mut rows = Vec::new();
    for (second, due) in (0..).zip(Due::ALL) {
        rows.insert(0, canary(one, second, due, Health::ALL[second as usize % 3]));
        store.add_canary(&rows[0]).await.unwrap();
        store.add_canary(&rows[0]).await.unwrap();
    }
    let of_other = canary(other, 3, Due::Asked, Health::Sick);
    store.add_canary(&of_other).await.unwrap();
    assert_eq!(store.canaries(one, 100).await.unwrap(), rows);
    assert_eq!(store.canaries(one, 2).await.unwrap(), rows[..2]);
    let mut last = vec![rows[0].clone(), of_other];
    last.sort_by_key(|row| row.device);
    assert_eq!(store.last_canaries().await.unwrap(), last);

    let nobody = canary(fresh!(DeviceId), 1, Due::Asked, Health::Healthy);
    let error = store.add_canary(&nobody).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
}

pub(crate) async fn only_the_newest_health_checks_of_a_device_are_kept(store: Arc<dyn Store>) {
    let (one, other) = (attach(&*store, "a").await, attach(&*store, "b").await);
    let first = canary(other, 0, Due::NeverChecked, Health::Healthy);
    store.add_canary(&first).await.unwrap();
    for second in 0..u64::from(KEPT) + 3 {
        store.add_canary(&canary(one, second, Due::Rebooted, Health::Healthy)).await.unwrap();
    }
    let kept = store.canaries(one, 1_000).await.unwrap();
    assert_eq!((kept.len(), kept.last().unwrap().at), (KEPT as usize, after(3)));
    assert_eq!(store.canaries(other, 1_000).await.unwrap(), [first], "each device has its own");
}
