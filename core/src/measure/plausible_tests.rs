//! What is believed of an engine that times itself, what is refuted, and what nobody can tell.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn rule(least: u32, most: u32) -> StopRule {
    StopRule { min_samples: least, min_time: Duration::ZERO, max_samples: most, max_time: Duration::from_mins(1) }
}

/// One after the other, a little apart, of about this long each, on a machine with nothing else to do.
fn honest(samples: u32, each: Duration) -> Claimed {
    let mut claimed = Claimed::default();
    let mut start = Duration::ZERO;
    for index in 0..samples {
        let latency = each + Duration::from_nanos(u64::from(index % 7) * 1000);
        claimed.push(start, latency);
        start += latency + Duration::from_micros(2);
    }
    claimed.wall = claimed.span + MS;
    claimed.waited = Some(Duration::ZERO);
    claimed
}

fn refuted(claimed: &Claimed, rule: &StopRule, paced: bool) -> Option<String> {
    match claimed.judge(rule, paced) {
        Belief::Believed => None,
        Belief::Untold(unaccounted) => panic!("not told: {unaccounted}"),
        Belief::Refuted(why) => Some(why),
    }
}

#[test]
fn the_page_about_runners_names_the_bounds_that_hold() {
    let page = include_str!("../../../docs/runner.md").replace('\n', " ");
    let between =
        format!("{:.0} % of a sample or {} µs, whichever is more", BETWEEN_SHARE * 100.0, BETWEEN.as_micros());
    let around = format!(
        "{} ms for the request, and a second for every {:.0} MB of inputs and outputs",
        AROUND.as_millis(),
        MOVED_PER_SECOND / 1e6
    );
    let granted = format!("({:.1} % and {} ms are granted)", CLOCK_SHARE * 100.0, CLOCK_SLACK.as_millis());
    for said in [between, around, granted] {
        assert!(page.contains(&said), "{said}");
    }
}

#[test]
fn what_can_be_true_is_believed() {
    assert_eq!(refuted(&honest(64, 4 * MS), &rule(64, 64), false), None);
    assert_eq!(refuted(&honest(1, 4 * MS), &rule(1, 1), false), None, "one alone may lie in a request of any length");
    let first = Claimed { wall: 5 * Duration::from_secs(1), ..honest(1, 4 * MS) };
    assert_eq!(refuted(&first, &rule(1, 1), false), None, "inputs and outputs go with it");
    let mut fast = Claimed { waited: Some(Duration::ZERO), ..Claimed::default() };
    (0..10_000).for_each(|index| {
        fast.push(index * Duration::from_micros(2), Duration::from_nanos(1000 + u64::from(index % 3)));
    });
    fast.wall = fast.span + MS;
    assert_eq!(refuted(&fast, &rule(64, 100_000), false), None, "half of a fast model's time is the loop");
}

#[test]
fn another_number_than_was_asked_for_is_refuted() {
    assert_eq!(
        refuted(&honest(63, 4 * MS), &rule(64, 64), false).unwrap(),
        "63 samples came in 253.3ms, and at least 64 in at least 0.0ns were asked for"
    );
    assert_eq!(
        refuted(&honest(65, 4 * MS), &rule(64, 64), false).unwrap(),
        "65 samples came, and at most 64 were asked for"
    );
    assert!(refuted(&Claimed::default(), &rule(1, 1), false).is_some(), "none at all");
    let short = StopRule { min_time: Duration::from_secs(10), ..rule(64, u32::MAX) };
    assert!(refuted(&honest(64, 4 * MS), &short, false).is_some(), "enough, and too early");
}

#[test]
fn more_time_than_there_was_is_refuted() {
    let honest = honest(64, 4 * MS);
    let slow = Claimed { wall: honest.sum / 2, ..honest };
    let said = refuted(&slow, &rule(64, 64), false).unwrap();
    assert!(said.contains("and the request took"), "{said}");
    let spread = Claimed { span: honest.wall * 2, ..honest };
    assert!(refuted(&spread, &rule(64, 64), true).is_some(), "by when they began");
    let mut overlapping = Claimed { wall: honest.wall * 2, ..Claimed::default() };
    (0..64).for_each(|index| overlapping.push(index * MS, 4 * MS + index * Duration::from_nanos(1)));
    assert!(refuted(&overlapping, &rule(64, 64), true).unwrap().contains("before the one before it had ended"));
}

#[test]
fn less_time_than_went_by_is_refuted_since_it_makes_a_number_look_better() {
    // As a profile `quick` of a slow model, and of a fast one.
    for (samples, each) in [(200, 50 * MS), (10_000, MS)] {
        let (honest, rule) = (honest(samples, each), rule(samples, samples));
        for shaved in [0.95, 0.9, 0.8, 0.1] {
            let lie = Claimed { sum: honest.sum.mul_f64(shaved), ..honest };
            let said = refuted(&lie, &rule, false).unwrap_or_else(|| panic!("{shaved} of {each:?} is believed"));
            assert!(said.starts_with(&format!("{samples} samples are claimed to take ")), "{said}");
            assert_eq!(refuted(&lie, &rule, true), None, "the control: one that is paced waits between them");
        }
        let hardly = Claimed { sum: honest.sum.mul_f64(0.985), ..honest };
        assert_eq!(refuted(&hardly, &rule, false), None, "the control: as much as a slow loop takes");
    }
}

#[test]
fn few_samples_of_a_slow_model_are_accounted_for_as_any() {
    let few = honest(6, Duration::from_secs(2));
    assert_eq!(refuted(&few, &rule(6, 6), false), None);
    let shaved = Claimed { sum: few.sum.mul_f64(0.95), ..few };
    assert!(refuted(&shaved, &rule(6, 6), false).is_some());
    let fewer = honest(5, Duration::from_secs(2));
    let shaved = Claimed { sum: fewer.sum.mul_f64(0.95), ..fewer };
    assert_eq!(refuted(&shaved, &rule(5, 5), false), None, "the control: so few are no measurement anyway");
}

#[test]
fn time_that_may_have_been_spent_in_the_queue_for_a_cpu_is_neither_believed_nor_a_lie() {
    let honest = honest(64, 4 * MS);
    let lie = Claimed { sum: honest.sum.mul_f64(0.8), ..honest };
    let missing = lie.wall.saturating_sub(lie.sum);
    assert!(matches!(lie.judge(&rule(64, 64), false), Belief::Refuted(_)), "on an idle machine it is a lie");
    let crowded = Claimed { waited: Some(missing), ..lie };
    let Belief::Untold(unaccounted) = crowded.judge(&rule(64, 64), false) else {
        panic!("it may have stood in the queue")
    };
    assert!((unaccounted.missing_ms - missing.as_secs_f64() * 1e3).abs() < 1e-6, "{unaccounted}");
    assert_eq!(unaccounted.waited_ms, Some(unaccounted.missing_ms));
    let unseen = Claimed { waited: None, ..lie };
    let Belief::Untold(unaccounted) = unseen.judge(&rule(64, 64), false) else { panic!("nobody knows") };
    assert!(unaccounted.to_string().contains("the kernel does not tell"), "{unaccounted}");
    // An honest one of which the queue took all but its samples, and a liar who would hide behind a little of it.
    let preempted = Claimed { wall: honest.wall + 300 * MS, waited: Some(305 * MS), ..honest };
    assert!(matches!(preempted.judge(&rule(64, 64), false), Belief::Untold(_)));
    let hiding = Claimed { waited: Some(10 * MS), ..lie };
    assert!(matches!(hiding.judge(&rule(64, 64), false), Belief::Refuted(_)));
    let busy = Claimed { waited: Some(200 * MS), ..honest };
    assert_eq!(busy.judge(&rule(64, 64), false), Belief::Believed, "the control: it waited, and nothing is missing");
}

#[test]
fn large_outputs_take_their_time() {
    let honest = honest(64, 4 * MS);
    let large = Claimed { wall: honest.wall + 60 * MS, moved: 8 << 20, ..honest };
    assert_eq!(refuted(&large, &rule(64, 64), false), None);
    assert!(refuted(&Claimed { moved: 0, ..large }, &rule(64, 64), false).is_some(), "the control: without any");
}

#[test]
fn equal_samples_are_refuted() {
    let equal = |samples: u32| {
        let mut claimed = Claimed { waited: Some(Duration::ZERO), ..Claimed::default() };
        (0..samples).for_each(|index| claimed.push(index * 4 * MS, 4 * MS));
        Claimed { wall: claimed.span, ..claimed }
    };
    assert_eq!(refuted(&equal(64), &rule(64, 64), false).unwrap(), "all of 64 samples are claimed to take exactly 4ms");
    assert_eq!(refuted(&equal(3), &rule(3, 3), false), None, "the control: a few may be");
}
