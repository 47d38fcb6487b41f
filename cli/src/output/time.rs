//! Moments and lengths of time for people.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `24 Nov 03:01`, with the year when it is not this one, in the reader's zone.
pub(crate) fn moment(micros: i64) -> String {
    let Ok(timestamp) = Timestamp::from_microsecond(micros) else { return "–".to_owned() };
    let zone = TimeZone::system();
    let local = timestamp.to_zoned_datetime(zone.clone());
    let this_year = Timestamp::now().to_zoned_datetime(zone).year();
    let format = if local.year() == this_year { "%-d %b %H:%M" } else { "%-d %b %Y %H:%M" };
    local.strftime(format).to_string()
}

/// RFC 3339 in UTC, for programs.
pub(crate) fn rfc3339(micros: i64) -> Option<String> {
    Timestamp::from_microsecond(micros).ok().map(|timestamp| timestamp.to_string())
}

/// `just now`, `4 min ago`, and from a day on the date.
pub(crate) fn ago(micros: i64) -> String {
    let age = Timestamp::now().as_microsecond().saturating_sub(micros);
    match Duration::from_micros(u64::try_from(age).unwrap_or(0)).as_secs() {
        0..10 => "just now".to_owned(),
        seconds @ 10..86_400 => format!("{} ago", length(Duration::from_secs(seconds))),
        86_400.. => moment(micros),
    }
}

/// `41 s`, `4 min 05 s`, `4 h 31 min`.
pub(crate) fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600.. => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// From one server-side moment to another.
pub(crate) fn between(start_us: i64, end_us: i64) -> Duration {
    Duration::from_micros(u64::try_from(end_us.saturating_sub(start_us)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_name_their_two_largest_units() {
        assert_eq!(length(Duration::from_secs(41)), "41 s");
        assert_eq!(length(Duration::from_secs(245)), "4 min 05 s");
        assert_eq!(length(Duration::from_mins(271)), "4 h 31 min");
    }

    #[test]
    fn time_that_runs_backwards_is_no_time() {
        assert_eq!(between(5, 3), Duration::ZERO);
    }
}
