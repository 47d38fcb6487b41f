//! How long a device is given to cool before it is measured.

use std::time::Duration;

/// When a device is cool enough to begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// It begins at once at or below this, in °C.
    pub target_c: f64,
    /// Above this it never begins, in °C.
    pub limit_c: f64,
}

/// A device that cools by less than this, in °C a minute, has become as cool as its surroundings let it.
pub const FLAT_C_PER_MINUTE: f64 = 0.2;
/// The slope is taken over this time: a battery's thermometer has steps of 0.1 °C.
pub const LOOK_BACK: Duration = Duration::from_mins(1);

/// What to do after the last reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    Begin,
    Wait,
    /// Above the target, but it cools no further, or not in time.
    BeginWarm {
        celsius: f64,
    },
    Refuse {
        celsius: f64,
    },
}

/// Decides by readings of one sensor, as time since the first and °C; `within` is the longest wait. Without a reading
/// there is nothing to wait for.
#[must_use]
pub fn step(readings: &[(Duration, f64)], within: Duration, gate: &Gate) -> Step {
    let Some(&(waited, celsius)) = readings.last() else { return Step::Begin };
    if celsius <= gate.target_c {
        Step::Begin
    } else if celsius > gate.limit_c {
        if waited >= within { Step::Refuse { celsius } } else { Step::Wait }
    } else if waited >= within || is_flat(readings) {
        Step::BeginWarm { celsius }
    } else {
        Step::Wait
    }
}

fn is_flat(readings: &[(Duration, f64)]) -> bool {
    let Some(&(last, _)) = readings.last() else { return false };
    let Some(from) = last.checked_sub(LOOK_BACK) else { return false };
    let recent: Vec<(f64, f64)> = readings
        .iter()
        .filter(|&&(at, _)| at >= from)
        .map(|&(at, celsius)| (at.as_secs_f64() / 60.0, celsius))
        .collect();
    slope(&recent).is_some_and(|per_minute| per_minute > -FLAT_C_PER_MINUTE)
}

/// Slope of the least-squares line; `None` for fewer than two moments.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let together: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then_some(together / spread)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GATE: Gate = Gate { target_c: 35.0, limit_c: 40.0 };
    const WITHIN: Duration = Duration::from_mins(10);

    /// Readings every two seconds of what falls towards `room` with a time constant of five minutes.
    fn cooling(from: f64, room: f64, seconds: u32) -> Vec<(Duration, f64)> {
        (0..=seconds / 2)
            .map(|i| {
                let at = f64::from(i) * 2.0;
                let exact = room + (from - room) * (-at / 300.0).exp();
                (Duration::from_secs_f64(at), (exact * 10.0).round() / 10.0)
            })
            .collect()
    }

    fn begins_at(readings: &[(Duration, f64)]) -> Option<(u64, Step)> {
        (1..=readings.len()).find_map(|count| match step(&readings[..count], WITHIN, &GATE) {
            Step::Wait => None,
            decided @ (Step::Begin | Step::BeginWarm { .. } | Step::Refuse { .. }) => {
                Some((readings[count - 1].0.as_secs(), decided))
            }
        })
    }

    #[test]
    fn a_cool_device_begins_at_once() {
        assert_eq!(step(&[(Duration::ZERO, 31.0)], WITHIN, &GATE), Step::Begin);
        assert_eq!(step(&[], WITHIN, &GATE), Step::Begin, "nothing is known, so there is nothing to wait for");
    }

    #[test]
    fn a_warm_device_in_a_cool_room_is_waited_for_until_the_target() {
        let (at, decided) = begins_at(&cooling(39.0, 25.0, 600)).unwrap();
        assert_eq!(decided, Step::Begin);
        assert!((90..=110).contains(&at), "{at}: exp(-t/300) = 10/14 at 101 s");
    }

    #[test]
    fn a_device_in_a_warm_room_begins_warm_once_it_cools_no_further() {
        let (at, decided) = begins_at(&cooling(38.5, 36.5, 900)).unwrap();
        let Step::BeginWarm { celsius } = decided else { panic!("{decided:?}") };
        assert!((36.5..38.5).contains(&celsius), "{celsius}");
        assert!((60..600).contains(&at), "neither at once nor at the end of its time: {at}");
    }

    #[test]
    fn a_device_above_its_limit_is_refused_only_when_its_time_is_over() {
        let hot: Vec<_> = (0..=300).map(|i| (Duration::from_secs(i * 2), 41.5)).collect();
        assert_eq!(begins_at(&hot), Some((600, Step::Refuse { celsius: 41.5 })));
        assert_eq!(begins_at(&hot[..300]), None, "the control: it is waited for, flat as it is");
    }

    proptest! {
        #[test]
        fn nothing_above_its_limit_ever_begins(
            celsius in proptest::collection::vec(20.0f64..60.0, 1..200),
            within in 0u64..600,
        ) {
            let readings: Vec<_> =
                (0..).zip(celsius).map(|(i, celsius)| (Duration::from_secs(i * 2), celsius)).collect();
            let (waited, last) = readings[readings.len() - 1];
            let within = Duration::from_secs(within);
            let decided = step(&readings, within, &GATE);
            match decided {
                Step::Begin => prop_assert!(last <= GATE.target_c),
                Step::BeginWarm { celsius } => prop_assert!(celsius > GATE.target_c && celsius <= GATE.limit_c),
                Step::Refuse { celsius } => prop_assert!(celsius > GATE.limit_c && waited >= within),
                Step::Wait => prop_assert!(waited < within),
            }
        }
    }
}
