//! Named numbers with their units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reading::Reading;

/// Whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Lower,
    Higher,
    /// Context, not a quality.
    Neither,
}

/// A metric as the registry knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricKind {
    pub name: &'static str,
    /// The unit in which the value is stored: `ms`, `1` (a share), `MiB`, `1/s`, `dB`.
    pub unit: &'static str,
    pub better: Better,
    /// One sentence for people.
    pub meaning: &'static str,
}

/// A value with its 95 % interval where one is defined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub interval: Option<(f64, f64)>,
}

/// One derived number of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub unit: String,
    pub value: Reading<Estimate>,
}

macro_rules! metrics {
    ($($name:literal, $unit:literal, $better:ident, $meaning:literal;)*) => {
        /// Every metric that the server derives. A name outside it is refused by gates and suites.
        pub const REGISTRY: &[MetricKind] = &[$(MetricKind { name: $name, unit: $unit, better: Better::$better, meaning: $meaning },)*];
    };
}

metrics! {
    "load_cold_ms", "ms", Lower, "from process start with the model's caches cleared to a session that is ready";
    "load_warm_ms", "ms", Lower, "the same in a new process after the first";
    "compile_ms", "ms", Lower, "what of the load the engine took to compile or optimise the model for its backend";
    "first_infer_ms", "ms", Lower, "first inference after load";
    "warmup_iterations", "1", Neither, "inferences until the warm-up rule was met";
    "lat_p50_ms", "ms", Lower, "median latency of one inference, with its 95 % order-statistic interval";
    "lat_mean_ms", "ms", Lower, "mean latency";
    "lat_min_ms", "ms", Lower, "fastest sample";
    "lat_max_ms", "ms", Lower, "slowest sample";
    "lat_p90_ms", "ms", Lower, "90th percentile (type 7)";
    "lat_p95_ms", "ms", Lower, "95th percentile (type 7)";
    "lat_p99_ms", "ms", Lower, "99th percentile (type 7)";
    "lat_sd_ms", "ms", Lower, "standard deviation with n - 1";
    "lat_tm80_ms", "ms", Lower, "mean of the central 80 %";
    "lat_mad_ms", "ms", Lower, "median absolute deviation from the median";
    "lat_rcv", "1", Lower, "robust coefficient of variation of all samples together: 1.4826 MAD / p50";
    "lat_within_rcv", "1", Lower, "robust coefficient of variation within one process: median over the processes";
    "lat_between_cv", "1", Lower, "spread of the medians of fresh processes: sd / mean";
    "lat_p90_es_ms", "ms", Lower, "early-stopping upper estimate of the 90th percentile at 99 % confidence";
    "lat_p95_es_ms", "ms", Lower, "early-stopping upper estimate of the 95th percentile at 99 % confidence";
    "lat_p99_es_ms", "ms", Lower, "early-stopping upper estimate of the 99th percentile at 99 % confidence";
    "lat_samples", "1", Neither, "timed inferences";
    "throughput_sps", "1/s", Higher, "samples a second, back to back";
    "throttle_ratio", "1", Lower, "median of the last minute over median of the first";
    "time_to_throttle_s", "s", Higher, "first time at which a 30 s median exceeds 1.10 times the first";
    "sus_sps", "1/s", Higher, "samples a second over the last three minutes";
    "temp_rise_c", "°C", Lower, "temperature at the end minus at the start of measuring";
    "paced_missed", "1", Lower, "share of inferences that ended after the next one was due";
    "mem_base_mb", "MiB", Lower, "resident memory before load";
    "mem_peak_rss_mb", "MiB", Lower, "peak resident memory, measured in a pass of its own";
    "mem_pss_mb", "MiB", Lower, "proportional set size after a few inferences: pages shared by processes count in parts";
    "mem_model_mb", "MiB", Lower, "peak minus base";
    "mem_retained_mb", "MiB", Lower, "resident memory after unloading, minus base";
    "energy_per_infer_mj", "mJ", Lower, "energy of one inference beside the same process doing nothing";
    "energy_gross_per_infer_mj", "mJ", Lower, "all that the device drew for one inference, idle included";
    "power_net_w", "W", Lower, "power under load minus power in idle";
    "power_gross_w", "W", Lower, "power under load";
    "power_idle_w", "W", Neither, "power with the model loaded and nothing to do";
    "drain_mah", "mAh", Neither, "charge that the battery gave in the load phases";
    "drain_pct_per_hour", "%/h", Lower, "share of a new battery that an hour under load takes";
    "drain_pct_per_1k", "%", Lower, "share of a new battery that 1,000 inferences take";
    "battery_temp_rise_c", "°C", Lower, "temperature of the battery at the end minus at the start";
    "energy_grade", "1", Lower, "what the energy is worth: 0 by a meter, 1 by a gauge's two methods, 2 by one of them, 3 on a switched-off input";
    "top1", "1", Higher, "share of examples whose first class is the label, or one of several, with its Wilson 95 % interval";
    "top5", "1", Higher, "share of examples whose first five classes hold the label, with its Wilson 95 % interval";
    "map", "1", Higher, "average precision of boxes as COCO has it: mean over IoU 0.50 to 0.95 and classes";
    "map_50", "1", Higher, "average precision of boxes at IoU 0.50";
    "map_75", "1", Higher, "average precision of boxes at IoU 0.75";
    "map_small", "1", Higher, "average precision of objects up to 32² pixels";
    "map_medium", "1", Higher, "average precision of objects from 32² to 96² pixels";
    "map_large", "1", Higher, "average precision of objects from 96² pixels on";
    "mar_1", "1", Higher, "share of objects found by the best box of a class in an image: mean over IoU and classes";
    "mar_10", "1", Higher, "the same by the ten best boxes";
    "mar_100", "1", Higher, "the same by the hundred best boxes";
    "miou", "1", Higher, "mean over the classes of intersection over union, in pixels of all images";
    "pixel_accuracy", "1", Higher, "share of pixels with the right class";
    "cer", "1", Lower, "character error rate: substitutions, deletions and insertions for each character of the truth";
    "wer", "1", Lower, "word error rate: the same in words";
    "text_exact", "1", Higher, "share of texts without an error, with its Wilson 95 % interval";
    "f1_macro", "1", Higher, "mean over the classes of F1 of their decisions";
    "f1_micro", "1", Higher, "F1 of all decisions together";
    "hit_1", "1", Higher, "share of queries whose nearest item has their identity, with its Wilson 95 % interval";
    "hit_5", "1", Higher, "the same among the five nearest items";
    "hit_10", "1", Higher, "the same among the ten nearest items";
    "recall_1", "1", Higher, "share of a query's relevant items that is its nearest item: mean over queries";
    "recall_5", "1", Higher, "the same among the five nearest items";
    "recall_10", "1", Higher, "the same among the ten nearest items";
    "mae", "1", Lower, "mean absolute error, in the unit of the values";
    "rmse", "1", Lower, "root mean square error, in the unit of the values";
    "max_error", "1", Lower, "largest absolute error, in the unit of the values";
    "golden_max_abs", "1", Lower, "largest absolute difference from the reference outputs";
    "golden_mean_abs", "1", Lower, "mean absolute difference from the reference outputs";
    "golden_cosine", "1", Higher, "smallest cosine similarity over examples and outputs";
    "golden_sqnr_db", "dB", Higher, "smallest signal to quantisation noise ratio over outputs";
    "golden_argmax_agree", "1", Higher, "share of examples with the same argmax as the reference";
    "nan_count", "1", Lower, "values that are not a number, over all outputs";
    "inf_count", "1", Lower, "infinite values, over all outputs";
    "determinism", "1", Higher, "1 when three repeats gave identical bits, else 0";
    "model_size_mb", "MB", Lower, "size of the variant's files in megabytes (10⁶ bytes)";
}

/// The registry's entry for a name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static MetricKind> {
    REGISTRY.iter().find(|kind| kind.name == name)
}

impl Metric {
    /// A metric of the registry; unknown names get the unit `1`, and a test keeps them from being used.
    #[must_use]
    pub fn new(name: &str, value: Reading<Estimate>) -> Self {
        Self { name: name.to_owned(), unit: kind(name).map_or("1", |kind| kind.unit).to_owned(), value }
    }

    #[must_use]
    pub fn exact(name: &str, value: f64) -> Self {
        Self::new(name, Reading::Present(Estimate { value, interval: None }))
    }

    #[must_use]
    pub fn absent(name: &str, reason: impl Into<String>) -> Self {
        Self::new(name, Reading::absent(reason))
    }
}
