//! How busy the device is.

use seatrial_core::reading::Reading;

use super::files::Files;

/// Times of all CPUs together, in clock ticks since boot (`proc_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTimes {
    pub total: u64,
    pub idle: u64,
    pub stolen: u64,
}

impl CpuTimes {
    /// Share of all CPUs' time that was not idle, stolen time included. `None` when no tick has passed.
    pub fn busy_share_since(&self, earlier: &Self) -> Option<f64> {
        let total = self.total.saturating_sub(earlier.total);
        let idle = self.idle.saturating_sub(earlier.idle);
        (total > 0).then(|| total.saturating_sub(idle) as f64 / total as f64)
    }

    /// Share of all CPUs' time that the hypervisor took.
    pub fn stolen_share_since(&self, earlier: &Self) -> Option<f64> {
        let total = self.total.saturating_sub(earlier.total);
        (total > 0).then(|| self.stolen.saturating_sub(earlier.stolen) as f64 / total as f64)
    }

    /// Time of everything but idling since an earlier reading, in clock ticks.
    pub(crate) fn busy_ticks_since(&self, earlier: &Self) -> u64 {
        let total = self.total.saturating_sub(earlier.total);
        total.saturating_sub(self.idle.saturating_sub(earlier.idle))
    }

    /// The first line of `/proc/stat`, for all CPUs together.
    pub(crate) fn parse(stat: &str) -> Option<Self> {
        Self::parse_fields(stat.lines().next()?.strip_prefix("cpu ")?)
    }

    /// The lines of some CPUs, summed; `None` when one of them is not there.
    pub(crate) fn parse_cpus(stat: &str, cpus: &[u16]) -> Option<Self> {
        let of = |cpu: &u16| {
            let name = format!("cpu{cpu} ");
            Self::parse_fields(stat.lines().find_map(|line| line.strip_prefix(name.as_str()))?)
        };
        cpus.iter().try_fold(Self::default(), |sum, cpu| {
            let Self { total, idle, stolen } = of(cpu)?;
            Some(Self { total: sum.total + total, idle: sum.idle + idle, stolen: sum.stolen + stolen })
        })
    }

    /// user nice system idle iowait irq softirq steal; guest time is part of user.
    fn parse_fields(fields: &str) -> Option<Self> {
        let mut fields = fields.split_whitespace();
        let mut next = || fields.next()?.parse::<u64>().ok();
        let [user, nice, system, idle, iowait] = [next()?, next()?, next()?, next()?, next().unwrap_or(0)];
        let [irq, softirq, stolen] = [next().unwrap_or(0), next().unwrap_or(0), next().unwrap_or(0)];
        let idle = idle + iowait;
        Some(Self { total: user + nice + system + idle + irq + softirq + stolen, idle, stolen })
    }
}

pub(super) fn cpu_times(files: &Files) -> Reading<CpuTimes> {
    match files.text("proc/stat") {
        Reading::Present(text) => Reading::from_option(CpuTimes::parse(&text), "/proc/stat has no line of CPU times"),
        Reading::Absent(reason) => Reading::Absent(reason),
    }
}

pub(super) fn average(files: &Files) -> Reading<String> {
    files.text("proc/loadavg").map(|text| text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

pub(super) fn uptime(files: &Files) -> Reading<String> {
    files.text("proc/uptime").map(|text| format!("{} s", text.split_whitespace().next().unwrap_or("?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_readings() {
        let before = CpuTimes::parse("cpu  100 0 100 800 0 0 0 0 0 0\n").unwrap();
        let after = CpuTimes::parse("cpu  130 0 110 840 10 0 0 10 0 0\n").unwrap();
        assert_eq!(after.busy_share_since(&before), Some(0.5));
        assert_eq!(after.stolen_share_since(&before), Some(0.1));
        assert_eq!(after.busy_share_since(&after), None);
    }

    #[test]
    fn some_cpus_are_summed_and_one_that_is_missing_gives_nothing() {
        let stat = "cpu  9 0 0 9\ncpu0 1 0 0 10 0 0 0 2\ncpu1 5 0 0 20\ncpu10 100 0 0 100\nintr 5\n";
        let sum = CpuTimes::parse_cpus(stat, &[0, 1]).unwrap();
        assert_eq!(sum, CpuTimes { total: 38, idle: 30, stolen: 2 });
        assert_eq!(sum.busy_ticks_since(&CpuTimes::default()), 8);
        assert_eq!(CpuTimes::parse_cpus(stat, &[0, 2]), None);
    }

    #[test]
    fn an_old_kernel_with_four_fields_still_reads() {
        assert!(CpuTimes::parse("cpu 1 2 3 4").is_some());
        assert_eq!(CpuTimes::parse("intr 5"), None);
    }
}
