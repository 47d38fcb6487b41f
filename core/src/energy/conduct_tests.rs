use super::*;
use crate::energy::source::ChargingState;
use crate::energy::testing::Made;

/// A child that does at once what it is told, on a phone that draws as much as is told.
struct Bench {
    conductor: Conductor,
    now_s: f64,
    phase: Option<(PhaseKind, f64)>,
    charging: ChargingState,
    mah: f64,
    orders: Vec<Order>,
}

impl Bench {
    fn new(kept: Option<Calibration>, limits: Limits) -> Self {
        Self {
            conductor: Conductor::new("build", kept, None, limits, 0.0),
            now_s: 0.0,
            phase: None,
            charging: ChargingState::Discharging,
            mah: 3_000.0,
            orders: Vec::new(),
        }
    }

    fn step(&mut self) {
        let seconds = self.conductor.poll_s();
        self.now_s += seconds;
        let load = self.phase.is_some_and(|(kind, _)| kind == PhaseKind::Load);
        // A little noise, so that a period can be seen.
        let noise = if ((self.now_s / 0.5) as u64).is_multiple_of(2) { 1.0 } else { 0.0 };
        let ma = if load { 800.0 } else { 250.0 } + noise;
        self.mah -= ma * seconds / 3600.0;
        self.conductor.heard(BatteryReading {
            at_s: (self.now_s * 1e6).round() / 1e6,
            current: Some(-ma * 1e3),
            voltage_v: Some(3.85),
            counter: Some((self.mah * 10.0).floor() * 100.0),
            level_percent: Some(60.0),
            charging: Some(self.charging),
            powered: None,
            temperature_c: Some(30.0),
        });
        let Some(order) = self.conductor.next(self.now_s) else { return };
        self.orders.push(order);
        match order {
            Order::Begin(kind) => self.phase = Some((kind, self.now_s)),
            Order::Pause => {
                let (kind, start_s) = self.phase.take().unwrap();
                let inferences = if kind == PhaseKind::Load { 1_000 } else { 0 };
                let phase = Phase { kind, start_s, end_s: self.now_s, inferences };
                self.conductor.ended(phase, self.now_s);
            }
            Order::Finish => {}
        }
    }

    fn run(mut self) -> (Conducted, Vec<Order>) {
        while self.orders.last() != Some(&Order::Finish) {
            assert!(self.now_s < 5_000.0, "it does not end");
            self.step();
        }
        (self.conductor.finish(&Reason::new(Code::NoPowerRead, &[])), self.orders)
    }
}

fn short() -> Limits {
    Limits { shortest_phase_s: 10.0, trace_phase_s: 20.0, most_pairs: 6, ..Limits::default() }
}

#[test]
fn a_phone_that_nobody_knows_is_calibrated_and_then_measured() {
    let (conducted, orders) = Bench::new(None, short()).run();
    assert_eq!(conducted.trace.unwrap().phases.len(), 3);
    assert_eq!(conducted.recording.phases.len(), 13, "{}", conducted.end);
    assert!(conducted.calibration.sign.present().is_some(), "{:?}", conducted.calibration);
    assert!(conducted.recording.sound().is_ok());
    let loads = orders.iter().filter(|order| **order == Order::Begin(PhaseKind::Load)).count();
    assert_eq!((loads, orders.last()), (7, Some(&Order::Finish)), "one of them calibrates");
    assert!(matches!(conducted.end.code(), Some(Code::EndPairs | Code::EndPrecise)), "{}", conducted.end);
}

#[test]
fn a_phone_that_is_known_is_measured_at_once() {
    let kept = Made::default().calibration();
    let (conducted, _) = Bench::new(Some(kept.clone()), short()).run();
    assert_eq!((conducted.trace, conducted.calibration), (None, kept));
    assert_eq!(conducted.recording.phases.len(), 13);
}

#[test]
fn a_charger_ends_it_in_the_phase_in_which_it_comes() {
    for kept in [None, Some(Made::default().calibration())] {
        let mut bench = Bench::new(kept, short());
        while bench.now_s < 12.0 {
            bench.step();
        }
        let orders = bench.orders.len();
        bench.charging = ChargingState::Charging;
        bench.step();
        assert_eq!(bench.orders.last(), Some(&Order::Pause));
        let (conducted, all) = bench.run();
        assert_eq!(all.len(), orders + 2, "{all:?}");
        assert_eq!(conducted.end.code(), Some(Code::EndFed));
    }
}

#[test]
fn a_phone_that_is_charging_never_runs_a_phase() {
    let mut bench = Bench::new(None, short());
    bench.charging = ChargingState::Full;
    let (conducted, orders) = bench.run();
    assert_eq!(orders, [Order::Finish]);
    assert_eq!(conducted.end.code(), Some(Code::EndFed));
}

#[test]
fn a_source_that_never_answers_is_not_waited_for_for_ever() {
    let mut conductor = Conductor::new("build", Some(Made::default().calibration()), None, short(), 0.0);
    assert_eq!(conductor.next(1.0), None);
    assert_eq!(conductor.next(FIRST_READING_S), Some(Order::Begin(PhaseKind::Idle)));
}

#[test]
fn a_meter_needs_no_calibration_and_tells_its_own_step() {
    let meter = Meter {
        source: super::super::source::Source::ExternalMeter,
        scope: super::super::source::Scope::Input,
        period_s: 0.5,
        trace: Trace::Rate { points: Vec::new(), step: 0.0 },
    };
    let mut conductor = Conductor::new("build", None, Some(meter), short(), 0.0);
    assert_eq!(conductor.next(0.1), None, "nothing was read yet");
    conductor.metered(0.2, 5.0);
    assert_eq!(conductor.next(0.3), Some(Order::Begin(PhaseKind::Idle)));
    conductor.metered(0.2, 9.0);
    conductor.metered(0.7, 5.25);
    let meter = conductor.finish(&Reason::new(Code::NoPowerRead, &[])).recording.meter.unwrap();
    assert_eq!(meter.trace, Trace::Rate { points: vec![(0.2, 5.0), (0.7, 5.25)], step: 0.25 });
}
