use super::*;
use crate::outcome::Outcome;
use crate::reading::Reading;
use crate::reason::{Code, Reason};
use crate::report::SensorTrace;

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

fn known(boot: &str, fingerprint: &str, healthy: bool) -> Known {
    let last = Last { at: NOW, boot_id: "b1".to_owned(), fingerprint: "f1".to_owned(), healthy };
    Known { last: Some(last), boot_id: boot.to_owned(), fingerprint: fingerprint.to_owned() }
}

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

#[test]
fn a_check_is_due_after_a_boot_another_system_two_failures_and_a_day_and_not_before() {
    let after = |boot, fingerprint, failures, hours| {
        due(&known(boot, fingerprint, true), failures, NOW.plus(Duration::from_hours(hours)))
    };
    let never = Known { last: None, ..known("b1", "f1", true) };
    assert_eq!(due(&never, 0, NOW), Some(Due::NeverChecked));
    assert_eq!(after("b1", "f1", 1, 23), None);
    assert_eq!(after("b2", "f1", 0, 1), Some(Due::Rebooted));
    assert_eq!(after("", "f1", 0, 1), None, "an agent that does not tell has not rebooted by that");
    assert_eq!(after("b2", "f2", 0, 1), Some(Due::SystemChanged), "an update boots too, and says more");
    assert_eq!(after("b1", "f1", 2, 1), Some(Due::Failures));
    assert_eq!(after("b1", "f1", 0, 24), Some(Due::ADayAgo));
    assert_eq!(due(&known("b1", "f1", false), 0, NOW), Some(Due::WasSick));
}

#[test]
fn every_word_of_a_check_reads_back() {
    for due in Due::ALL {
        assert_eq!(due.as_str().parse(), Ok(due));
        assert_eq!(serde_json::to_value(due).unwrap(), due.as_str());
    }
    for health in Health::ALL {
        assert_eq!(health.as_str().parse(), Ok(health));
        assert_eq!(serde_json::to_value(health).unwrap(), health.as_str());
    }
    assert!("fine".parse::<Health>().is_err() && "soon".parse::<Due>().is_err());
}

#[test]
fn a_check_that_measured_nothing_is_tried_again_later_each_time_and_at_once_in_another_boot() {
    let never = Known { last: None, ..known("b1", "f1", true) };
    let mut watch = Watch::new(never.clone());
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(watch.due(now), Some(Due::NeverChecked));
        assert_eq!(watch.look_at(now), None);
        watch.ended(Health::Unknown, now);
        assert_eq!(watch.due(now), None, "meanwhile the device works");
        let next = watch.look_at(now).unwrap();
        waits.push(next.since(now).as_secs() / 60);
        now = next;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 360, 360]);
    watch.ended(Health::Unknown, now);
    watch.attached(never.clone());
    assert_eq!(watch.due(now), None, "to attach again changes nothing");
    watch.attached(Known { boot_id: "b2".to_owned(), ..never });
    assert_eq!(watch.due(now), Some(Due::NeverChecked));
}

#[test]
fn failures_of_the_lab_in_a_row_make_a_check_due_once_and_a_job_that_ends_otherwise_forgets_them() {
    let mut watch = Watch::new(known("b1", "f1", true));
    watch.job_ended(true);
    watch.job_ended(false);
    watch.job_ended(true);
    assert_eq!(watch.due(after(1)), None);
    watch.job_ended(true);
    assert_eq!(watch.due(after(1)), Some(Due::Failures));
    watch.ended(Health::Healthy, after(2));
    assert_eq!(watch.due(after(3)), None);
    (0..9).for_each(|_| watch.job_ended(true));
    assert_eq!(watch.due(after(61)), None, "not twice in a minute, however much fails");
    assert_eq!(watch.due(after(62)), Some(Due::Failures));
}

#[test]
fn a_sick_device_is_checked_as_soon_as_it_is_back_and_anybody_may_ask_at_any_time() {
    let mut watch = Watch::new(known("b1", "f1", true));
    assert_eq!(watch.look_at(after(1)), Some(NOW.plus(EVERY)));
    watch.ended(Health::Sick, after(1));
    assert_eq!(watch.due(after(1)), Some(Due::WasSick));
    watch.ended(Health::Healthy, after(2));
    assert_eq!(watch.due(after(3)), None);
    watch.ask();
    assert_eq!(watch.due(after(3)), Some(Due::Asked));
    watch.ended(Health::Unknown, after(4));
    assert_eq!(watch.due(after(4)), None, "it was asked for one");
    // What a handshake read before the last check is older than what was heard of that.
    watch.attached(Known { last: None, ..known("b1", "f1", true) });
    assert_eq!(watch.due(after(4 + 3600)), None);
}

fn found(latency_ms: Option<f64>) -> Found {
    let (ended, outcome) = (Ended::Right, "ok".to_owned());
    let invalid = if latency_ms.is_some() { Vec::new() } else { vec![Reason::new(Code::Slept, &[("ms", &5)])] };
    Found { ended, outcome, message: None, latency_ms, invalid, sensors: Vec::new() }
}

fn ended(outcome: Outcome) -> Found {
    Found { ended: Ended::of(outcome), outcome: outcome.class().to_owned(), ..found(None) }
}

#[test]
fn a_device_is_slow_against_itself_only_and_only_once_its_usual_time_is_known() {
    let usual = [1.0, 1.02, 0.98, 1.1, 1.0];
    let health = |latency, earlier: &[f64]| judge(&found(Some(latency)), earlier, false).health;
    assert_eq!(health(1.4, &usual), Health::Healthy);
    let slow = judge(&found(Some(1.6)), &usual, false);
    assert_eq!(slow.health, Health::Sick);
    assert_eq!(slow.reasons, [Reason::new(Code::CanarySlow, &[("ms", &"1.600"), ("usual", &"1.000")])]);
    assert_eq!(slow.reasons[0], "its health check took 1.600 ms, and 1.000 ms is usual");
    assert_eq!(slow.limit_ms(), Some(1.5));
    assert_eq!(health(160.0, &usual[..4]), Health::Healthy, "nobody knows what it usually takes");
    assert_eq!(health(160.0, &[f64::NAN, 0.0, 1.0, 1.0, 1.0]), Health::Healthy);
    let mut long_ago = vec![10.0; 20];
    long_ago.extend([1.0; 30]);
    assert_eq!(health(14.0, &long_ago), Health::Healthy, "the newest twenty count");
}

#[test]
fn wrong_outputs_and_insane_sensors_are_sickness_whatever_the_time() {
    let sensors = vec![Reason::new(Code::CanarySensor, &[("sensor", &"battery/charge")])];
    let broken = judge(&Found { sensors, ..ended(Outcome::NumericsFail) }, &[], false);
    assert_eq!((broken.health, broken.reasons.len()), (Health::Sick, 2));
}

#[test]
fn a_check_that_could_not_measure_clears_nobody_and_blames_nobody_and_says_why() {
    let invalid = judge(&found(None), &[1.0; 9], true);
    assert_eq!((invalid.health, invalid.reasons.len()), (Health::Unknown, 2));
    for outcome in [Outcome::ThermalAbort, Outcome::BatteryLow, Outcome::DeviceLost, Outcome::HarnessError] {
        let judged = judge(&ended(outcome), &[1.0; 9], true);
        assert_eq!(judged.health, Health::Unknown, "{outcome}");
        assert!(judged.reasons[0].text().contains(outcome.class()), "{judged:?}");
    }
}

#[test]
fn a_crash_may_be_chance_once_and_is_sickness_the_second_time_in_a_row() {
    for outcome in [Outcome::CrashSignal(11), Outcome::HangTimeout, Outcome::DriverExit0, Outcome::LoadFail] {
        assert_eq!(judge(&ended(outcome), &[], false).health, Health::Unknown, "{outcome}");
        assert_eq!(judge(&ended(outcome), &[], true).health, Health::Sick, "{outcome}");
    }
    assert_eq!(judge(&found(Some(1.0)), &[], true).health, Health::Healthy);
}

fn trace(sensor: &str, unit: &str, values: &[f64]) -> SensorTrace {
    let points = values.iter().map(|&value| (0, value)).collect();
    SensorTrace { sensor: sensor.to_owned(), unit: unit.to_owned(), points: Reading::Present(points) }
}

#[test]
fn a_sensor_is_insane_when_no_unit_makes_any_of_its_readings_true() {
    for (sensor, unit, value) in [
        ("battery/temperature", "°C", -100.0),
        ("battery/temperature", "°C", 3_110.0),
        ("battery/charge", "1", 2.55),
        ("battery/charge", "1", -0.01),
        ("battery/voltage", "V", 0.0),
        ("battery/voltage", "V", -4.1),
        ("battery/voltage", "V", 4_100.0),
        ("battery/current", "mA", 4e9),
        ("cpu0/frequency", "MHz", 0.0),
        ("cpu4/frequency_max", "MHz", 1e9),
        ("thermal/soc-0", "°C", 300.0),
    ] {
        let insane = insane(&[trace(sensor, unit, &[value, value])]);
        assert_eq!(insane.len(), 1, "{sensor} {value}");
        let read = Reason::read(insane[0].text()).unwrap();
        assert_eq!(read.code(), Some(Code::CanarySensor), "a page can translate it: {}", insane[0]);
    }
}

#[test]
fn habits_of_vendors_glitches_and_what_is_not_read_are_no_sickness() {
    let sane = [
        trace("battery/temperature", "°C", &[-12.0, 41.5]),
        trace("battery/charge", "1", &[0.0, 1.0]),
        trace("battery/voltage", "V", &[4.187]),
        trace("battery/voltage", "V", &[0.004_187]), // a driver that counts in mV
        trace("battery/voltage", "V", &[0.000_004_187]), // and one that counts in V
        trace("battery/voltage", "V", &[11.9]),
        trace("battery/current", "mA", &[-0.41, 0.0]), // and one whose current is in mA
        trace("battery/current", "mA", &[-412.0]),
        trace("cpu0/frequency", "MHz", &[0.0, 1_804.0]),
        trace("thermal/soc-0", "°C", &[-273.0, 44.0]),
        trace("power/rapl-0", "W", &[-1e9]),
        trace("cpu0/frequency", "MHz", &[]),
        SensorTrace { points: Reading::Absent("no such file".to_owned()), ..trace("battery/charge", "1", &[]) },
    ];
    assert_eq!(insane(&sane), Vec::<Reason>::new());
}
