//! The timed loop. Between the two clock reads of a sample there is the inference and nothing else: samples go to
//! memory that was reserved and touched before the first of them.
//!
//! An engine in a process of its own has this loop there: the way to it and back would be part of every sample here.

use std::time::{Duration, Instant};

use seatrial_core::measure::stop;
use seatrial_core::profile::StopRule;
use seatrial_core::report::Thinned;

/// Between two times that progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The samples of a process, in room that is reserved and touched before the first.
///
/// When the room is full, every second sample goes and from then on every second of the inferences that would have been
/// kept is: at any moment the samples are every `every`-th inference from the first on, and they reach to the end.
#[derive(Debug)]
pub struct Samples {
    /// Since the first sample's start, in ns.
    starts: Vec<u64>,
    latencies: Vec<u64>,
    room: usize,
    every: u32,
    inferences: u64,
    total_ns: u64,
    least_ns: u64,
    most_ns: u64,
}

impl Samples {
    /// Memory for as many samples as a rule allows and a process may keep, every page of it touched.
    pub fn reserve(rule: &StopRule, room: u32) -> Self {
        Self::with_room(rule.max_samples.min(room) as usize)
    }

    /// At least one fits.
    fn with_room(room: usize) -> Self {
        let room = room.max(1);
        let touched = || {
            let mut memory = vec![u64::MAX; room];
            memory.clear();
            memory
        };
        Self {
            starts: touched(),
            latencies: touched(),
            room,
            every: 1,
            inferences: 0,
            total_ns: 0,
            least_ns: u64::MAX,
            most_ns: 0,
        }
    }

    /// Inferences that were timed.
    pub const fn inferences(&self) -> u64 {
        self.inferences
    }

    /// What the samples do not show of all inferences; `None` when every one is a sample.
    pub fn thinned(&self) -> Option<Thinned> {
        let &Self { every, inferences, total_ns, least_ns, most_ns, .. } = self;
        (every > 1).then_some(Thinned { every, inferences, total_ns, least_ns, most_ns })
    }

    /// How long inferences took with what lies around each, in ms: of paced ones without the rest between them. Nothing that
    /// wakes up for one takes a millisecond more.
    pub fn computing_ms(&self) -> f64 {
        self.total_ns as f64 / 1e6 + self.inferences as f64
    }

    /// In ns, in order.
    pub fn latencies(&self) -> &[u64] {
        &self.latencies
    }

    /// In ns since the first, in order.
    pub fn starts(&self) -> &[u64] {
        &self.starts
    }

    fn push(&mut self, start_ns: u64, latency_ns: u64) {
        self.total_ns += latency_ns;
        self.least_ns = self.least_ns.min(latency_ns);
        self.most_ns = self.most_ns.max(latency_ns);
        let index = self.inferences;
        self.inferences += 1;
        if !self.is_kept(index) {
            return;
        }
        if self.latencies.len() == self.room {
            self.thin();
            if !self.is_kept(index) {
                return;
            }
        }
        self.starts.push(start_ns);
        self.latencies.push(latency_ns);
    }

    fn is_kept(&self, index: u64) -> bool {
        index.is_multiple_of(u64::from(self.every))
    }

    /// In place: no memory is taken, and none is given back.
    fn thin(&mut self) {
        let kept = self.latencies.len().div_ceil(2);
        for index in 1..kept {
            self.starts[index] = self.starts[2 * index];
            self.latencies[index] = self.latencies[2 * index];
        }
        self.starts.truncate(kept);
        self.latencies.truncate(kept);
        self.every = self.every.saturating_mul(2);
    }
}

/// Something to time.
pub trait Timed {
    type Error;

    /// Before each sample, outside the timed region.
    fn make_ready(&mut self);

    /// One inference.
    fn infer(&mut self) -> Result<(), Self::Error>;

    /// The engine's own loop, where it has one.
    fn own_loop(&mut self) -> Option<&mut dyn OwnLoop<Error = Self::Error>> {
        None
    }
}

/// An engine that times itself. One request is the whole of a measurement.
pub trait OwnLoop {
    type Error;

    /// Infers until the rule is met; with an interval, once at each multiple of it. Hands over each sample in its order,
    /// some time after it was taken. What cannot be true of them is an error.
    fn run(
        &mut self,
        rule: &StopRule,
        interval: Option<Duration>,
        hear: &mut dyn FnMut(Heard),
    ) -> Result<(), Self::Error>;
}

/// What an engine that times itself tells while it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Sample {
        /// Since the first sample's start.
        start_ns: u64,
        latency_ns: u64,
    },
    /// It goes on.
    Alive,
}

/// How long one inference takes.
pub fn once<T: Timed + ?Sized>(timed: &mut T) -> Result<Duration, T::Error> {
    const ONE: StopRule =
        StopRule { min_samples: 1, min_time: Duration::ZERO, max_samples: 1, max_time: Duration::MAX };
    if let Some(engine) = timed.own_loop() {
        let mut taken = Duration::ZERO;
        engine.run(&ONE, None, &mut |heard| {
            if let Heard::Sample { latency_ns, .. } = heard {
                taken = Duration::from_nanos(latency_ns);
            }
        })?;
        return Ok(taken);
    }
    timed.make_ready();
    let begun = Instant::now();
    timed.infer()?;
    Ok(begun.elapsed())
}

/// Times one inference after another until the rule is met; with an interval, one at each multiple of it. About once a
/// second, and never within a sample, `tell` hears how many there are and for how long it has gone on.
pub fn measure<T: Timed + ?Sized>(
    timed: &mut T,
    rule: &StopRule,
    interval: Option<Duration>,
    samples: &mut Samples,
    tell: &mut dyn FnMut(u32, Duration),
) -> Result<(), T::Error> {
    let origin = Instant::now();
    let mut told = origin;
    if let Some(engine) = timed.own_loop() {
        return engine.run(rule, interval, &mut |heard| {
            if let Heard::Sample { start_ns, latency_ns } = heard {
                samples.push(start_ns, latency_ns);
            }
            let now = Instant::now();
            if now - told >= TELL_EVERY {
                told = now;
                tell(count(samples), now - origin);
            }
        });
    }
    let mut due = origin;
    loop {
        timed.make_ready();
        if let Some(interval) = interval {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += interval;
        }
        let start = Instant::now();
        let inferred = timed.infer();
        let end = Instant::now();
        inferred?;
        samples.push(nanos(start - origin), nanos(end - start));
        let inferences = count(samples);
        if stop::is_met(rule, inferences, end - origin) {
            return Ok(());
        }
        if end - told >= TELL_EVERY {
            told = end;
            tell(inferences, end - origin);
        }
    }
}

fn count(samples: &Samples) -> u32 {
    u32::try_from(samples.inferences()).unwrap_or(u32::MAX)
}

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000_000 + u64::from(duration.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Work {
        calls: u32,
        fails_at: Option<u32>,
    }

    impl Timed for Work {
        type Error = &'static str;

        fn make_ready(&mut self) {}

        fn infer(&mut self) -> Result<(), Self::Error> {
            self.calls += 1;
            if self.fails_at == Some(self.calls) { Err("failed") } else { Ok(()) }
        }
    }

    /// Has a loop of its own, in which an inference takes 5 µs.
    struct Apart(u32);

    impl Timed for Apart {
        type Error = &'static str;

        fn make_ready(&mut self) {}

        fn infer(&mut self) -> Result<(), Self::Error> {
            Err("asked for one inference at a time")
        }

        fn own_loop(&mut self) -> Option<&mut dyn OwnLoop<Error = Self::Error>> {
            Some(self)
        }
    }

    impl OwnLoop for Apart {
        type Error = &'static str;

        fn run(
            &mut self,
            rule: &StopRule,
            _: Option<Duration>,
            hear: &mut dyn FnMut(Heard),
        ) -> Result<(), Self::Error> {
            self.0 += 1;
            for index in 0..rule.min_samples {
                hear(Heard::Alive);
                hear(Heard::Sample { start_ns: u64::from(index) * 6_000, latency_ns: 5_000 });
            }
            Ok(())
        }
    }

    #[test]
    fn an_engine_that_times_itself_is_asked_once_and_its_samples_are_thinned_as_any() {
        let mut apart = Apart(0);
        let mut samples = Samples::reserve(&rule(10), 4);
        measure(&mut apart, &rule(10), None, &mut samples, &mut |_, _| {}).unwrap();
        assert_eq!((apart.0, samples.latencies(), samples.starts()), (1, &[5_000; 3][..], &[0, 24_000, 48_000][..]));
        assert_eq!(samples.thinned().map(|thinned| (thinned.every, thinned.inferences)), Some((4, 10)));
        assert_eq!(once(&mut apart), Ok(Duration::from_micros(5)));
        assert!((samples.computing_ms() - 10.05).abs() < 1e-9, "10 of 5 µs, and a millisecond around each");
    }

    fn rule(samples: u32) -> StopRule {
        StopRule { min_samples: samples, min_time: Duration::ZERO, max_samples: 1000, max_time: Duration::from_secs(5) }
    }

    #[test]
    fn as_many_samples_as_the_rule_asks_for() {
        let mut samples = Samples::reserve(&rule(10), 1000);
        measure(&mut Work { calls: 0, fails_at: None }, &rule(10), None, &mut samples, &mut |_, _| {}).unwrap();
        assert_eq!((samples.latencies().len(), samples.thinned()), (10, None));
        assert!(samples.starts().windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_failed_inference_is_no_sample() {
        let mut samples = Samples::reserve(&rule(10), 1000);
        let error = measure(&mut Work { calls: 0, fails_at: Some(4) }, &rule(10), None, &mut samples, &mut |_, _| {})
            .unwrap_err();
        assert_eq!((error, samples.inferences()), ("failed", 3));
    }

    #[test]
    fn a_maximum_of_samples_ends_the_measurement() {
        let endless = StopRule { min_samples: u32::MAX, max_samples: 1000, ..rule(0) };
        let mut samples = Samples::reserve(&endless, 1000);
        let mut work = Work { calls: 0, fails_at: None };
        measure(&mut work, &endless, None, &mut samples, &mut |_, _| {}).unwrap();
        assert_eq!((samples.latencies().len(), samples.thinned()), (1000, None));
    }

    #[test]
    fn what_does_not_fit_is_thinned_evenly_to_the_end_and_nothing_of_it_is_hidden() {
        for room in [1, 2, 7, 8, 100] {
            let mut samples = Samples::with_room(room);
            let latency = |index: u64| 1_000 + index % 97;
            for index in 0..10_000 {
                samples.push(index * 5_000, latency(index));
                let every = samples.thinned().map_or(1, |thinned| u64::from(thinned.every));
                let kept = index / every + 1;
                assert_eq!(samples.latencies().len() as u64, kept, "room {room}, inference {index}");
            }
            let thinned = samples.thinned().unwrap();
            let every = u64::from(thinned.every);
            assert!(samples.latencies().len() <= room && samples.latencies().len() >= room / 2);
            for (position, (&start, &kept)) in (0..).zip(samples.starts().iter().zip(samples.latencies())) {
                assert_eq!((start, kept), (position * every * 5_000, latency(position * every)), "room {room}");
            }
            assert_eq!((thinned.inferences, thinned.least_ns, thinned.most_ns), (10_000, 1_000, 1_096));
            assert_eq!(thinned.total_ns, (0..10_000).map(latency).sum::<u64>());
        }
    }

    #[test]
    fn a_model_that_fills_its_room_is_measured_to_the_end_of_its_time() {
        let time = Duration::from_millis(30);
        let rule = StopRule { min_time: time, max_samples: u32::MAX, ..rule(1) };
        let mut samples = Samples::reserve(&rule, 100);
        let begun = Instant::now();
        measure(&mut Work { calls: 0, fails_at: None }, &rule, None, &mut samples, &mut |_, _| {}).unwrap();
        assert!(begun.elapsed() >= time);
        assert!(samples.thinned().is_some() && samples.latencies().len() <= 100);
    }

    #[test]
    fn paced_samples_start_no_earlier_than_they_are_due() {
        let mut samples = Samples::reserve(&rule(5), 1000);
        let interval = Duration::from_millis(2);
        measure(&mut Work { calls: 0, fails_at: None }, &rule(5), Some(interval), &mut samples, &mut |_, _| {})
            .unwrap();
        for (index, &start) in samples.starts().iter().enumerate() {
            assert!(start >= 2_000_000 * index as u64, "sample {index} at {start} ns");
        }
    }
}
