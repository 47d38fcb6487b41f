//! What is known of the fleet now, beside the devices' own rows.

use std::collections::HashMap;

use seatrial_core::device::{DeviceState, Evidence};
use seatrial_core::ids::DeviceId;
use seatrial_core::lab::activity::{Activity, shown};
use seatrial_core::live::{LiveDevice, LiveSeen};
use seatrial_core::store::{CanaryRow, DeviceRow, JobRow, ServiceRow};

use super::sessions;
use crate::Dashboards;
use crate::failure::Failure;
use crate::i18n::Words;
use crate::status::{self, Status};

pub(crate) struct Present {
    sessions: HashMap<DeviceId, LiveDevice>,
    services: HashMap<DeviceId, ServiceRow>,
    last_jobs: HashMap<DeviceId, JobRow>,
    canaries: HashMap<DeviceId, CanaryRow>,
    /// Phones on cables that are known as devices.
    links: HashMap<DeviceId, LiveSeen>,
    /// Those that are not and need somebody.
    pub strangers: Vec<LiveSeen>,
}

impl Present {
    pub(crate) async fn read(state: &Dashboards, devices: &[DeviceRow]) -> Result<Self, Failure> {
        let services = state.read.services().await?.into_iter().map(|row| (row.device, row)).collect();
        let last_jobs = state.read.last_jobs().await?.into_iter().map(|row| (row.device, row)).collect();
        let canaries = state.read.last_canaries().await?.into_iter().map(|row| (row.device, row)).collect();
        let (mut links, mut strangers) = (HashMap::new(), Vec::new());
        for seen in state.live.seen() {
            match device_of(&seen, devices) {
                Some(device) => {
                    links.insert(device, seen);
                }
                None if seen.seen.advice.is_some() => strangers.push(seen),
                None => {} // its agent is on the way
            }
        }
        Ok(Self { sessions: sessions(state), services, last_jobs, canaries, links, strangers })
    }

    pub(crate) fn session(&self, device: DeviceId) -> Option<&LiveDevice> {
        self.sessions.get(&device)
    }

    pub(crate) fn service(&self, device: DeviceId) -> Option<&ServiceRow> {
        self.services.get(&device)
    }

    pub(crate) fn last_job(&self, device: DeviceId) -> Option<&JobRow> {
        self.last_jobs.get(&device)
    }

    pub(crate) fn canary(&self, device: DeviceId) -> Option<&CanaryRow> {
        self.canaries.get(&device)
    }

    /// What a lab host says of a device that has no agent here.
    pub(crate) fn link(&self, device: DeviceId) -> Option<&LiveSeen> {
        if self.sessions.contains_key(&device) { None } else { self.links.get(&device) }
    }

    /// The state that is shown: of what was decided, and of what the device does.
    pub(crate) fn state(&self, device: &DeviceRow) -> DeviceState {
        let activity = match self.session(device.id) {
            Some(live) => Some(Activity::of(live.job.as_ref().map(|job| job.stage).or(live.check))),
            None => self.link(device.id).and_then(|link| Activity::of_link(link.seen.advice)),
        };
        activity.map_or(device.state, |activity| shown(device.state, activity))
    }

    /// As filters spell it: `offline` is no state of a device.
    pub(crate) fn word(&self, device: &DeviceRow) -> &'static str {
        let state = self.state(device);
        if self.is_online(device) || !status::needs_session(state) { state.as_str() } else { "offline" }
    }

    pub(crate) fn status(&self, device: &DeviceRow, words: Words) -> Status {
        status::device_now(self.state(device), self.is_online(device), words)
    }

    pub(crate) fn is_online(&self, device: &DeviceRow) -> bool {
        self.sessions.contains_key(&device.id)
    }
}

/// The device that a phone on a cable is: of this serial, and of this port where several share the serial.
fn device_of(seen: &LiveSeen, devices: &[DeviceRow]) -> Option<DeviceId> {
    let mut same = devices.iter().filter(|row| row.evidence.hardware_serial.as_ref() == Some(&seen.seen.serial));
    match (same.next(), same.next()) {
        (Some(only), None) => Some(only.id),
        (Some(one), Some(other)) => {
            let mut twins = [one, other].into_iter().chain(same);
            twins.find(|row| is_at(&row.evidence, seen)).map(|row| row.id)
        }
        (None, _) => None,
    }
}

fn is_at(evidence: &Evidence, seen: &LiveSeen) -> bool {
    let port = |path: &str| path.trim_start_matches("usb:").to_owned();
    let (known, now) = (evidence.usb_path.as_deref().map(port), seen.seen.usb_path.as_deref().map(port));
    known.is_some() && known == now
}
