//! The file that ONNX Runtime writes when it is asked for the time of each operator: a list of events as Chrome's
//! trace viewer reads them, one for each operator of each inference.

use std::collections::BTreeMap;
use std::path::Path;

use seatrial_core::operators::OperatorTime;
use serde::Deserialize;

use crate::plain::read_plain;

/// A longer profile is not read.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Deserialize)]
struct Event {
    cat: String,
    name: String,
    /// Duration in µs.
    #[serde(default)]
    dur: f64,
    #[serde(default)]
    args: Arguments,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Arguments {
    op_name: Option<String>,
    provider: Option<String>,
}

/// Copies to and from an accelerator, which the engine puts between operators: none of the model's.
const COPIES: [&str; 2] = ["MemcpyToHost", "MemcpyFromHost"];

/// Every operator that ran, in no order, with its mean time of one inference.
#[derive(Debug)]
pub(super) struct Told {
    /// Inferences that the means are of, at least 1.
    pub runs: u32,
    pub operators: Vec<OperatorTime>,
}

/// Reads the profile `name` in `folder`.
pub(super) fn read(folder: &Path, name: &str) -> Result<Told, String> {
    let bytes = read_plain(folder, name, MAX_BYTES).map_err(|error| format!("the engine's profile: {error}"))?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Told, String> {
    let events: Vec<Event> = serde_json::from_slice(bytes).map_err(|error| format!("the engine's profile: {error}"))?;
    let mut runs = 0;
    // Two operators may share a name, and only one of them the accelerator.
    let mut sums: BTreeMap<(String, String, String), OperatorTime> = BTreeMap::new();
    for Event { cat, name, dur, args } in events {
        match (cat.as_str(), args) {
            ("Session", _) if name == "model_run" => runs += 1,
            ("Node", Arguments { op_name: Some(kind), provider: Some(place) }) => {
                let Some(name) = name.strip_suffix("_kernel_time") else { continue };
                if COPIES.contains(&kind.as_str()) {
                    continue;
                }
                let key = (name.to_owned(), kind.clone(), place.clone());
                let start = || OperatorTime { name: name.to_owned(), kind, place, mean_us: 0.0 };
                sums.entry(key).or_insert_with(start).mean_us += dur;
            }
            _ => {}
        }
    }
    if runs == 0 || sums.is_empty() {
        return Err("the engine's profile holds no inference".to_owned());
    }
    let operators = sums.into_values();
    let means = operators.map(|sum| OperatorTime { mean_us: sum.mean_us / f64::from(runs), ..sum });
    Ok(Told { runs, operators: means.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two inferences of a net of two operators, as onnxruntime 1.31.1 writes them, shortened.
    const PROFILE: &str = r#"[
        {"cat":"Session","pid":1,"tid":1,"dur":900,"ts":3,"ph":"X","name":"model_loading_uri","args":{}},
        {"cat":"Node","dur":7,"ts":9,"ph":"X","name":"conv_fence_before","args":{"op_name":"Conv"}},
        {"cat":"Node","dur":100,"ts":10,"ph":"X","name":"conv_kernel_time","args":{"op_name":"Conv","provider":"WebGpuExecutionProvider","node_index":"0"}},
        {"cat":"Node","dur":5,"ts":11,"ph":"X","name":"Memcpy_kernel_time","args":{"op_name":"MemcpyToHost","provider":"WebGpuExecutionProvider"}},
        {"cat":"Node","dur":20,"ts":12,"ph":"X","name":"shape_kernel_time","args":{"op_name":"Shape","provider":"CPUExecutionProvider"}},
        {"cat":"Session","dur":130,"ts":8,"ph":"X","name":"model_run","args":{}},
        {"cat":"Node","dur":300,"ts":10,"ph":"X","name":"conv_kernel_time","args":{"op_name":"Conv","provider":"WebGpuExecutionProvider"}},
        {"cat":"Session","dur":330,"ts":8,"ph":"X","name":"model_run","args":{}}
    ]"#;

    #[test]
    fn times_are_means_of_the_inferences_and_copies_are_no_operators() {
        let profile = parse(PROFILE.as_bytes()).unwrap();
        assert_eq!(profile.runs, 2);
        let told: Vec<(&str, &str, f64)> =
            profile.operators.iter().map(|one| (one.name.as_str(), one.place.as_str(), one.mean_us)).collect();
        assert_eq!(told, [("conv", "WebGpuExecutionProvider", 200.0), ("shape", "CPUExecutionProvider", 10.0)]);
    }

    #[test]
    fn operators_of_one_name_on_two_providers_stay_two() {
        let twin = PROFILE.replace("shape_kernel_time", "conv_kernel_time").replace("\"Shape\"", "\"Conv\"");
        let mut places: Vec<String> =
            parse(twin.as_bytes()).unwrap().operators.into_iter().map(|one| one.place).collect();
        places.sort();
        assert_eq!(places, ["CPUExecutionProvider", "WebGpuExecutionProvider"]);
    }

    #[test]
    fn a_profile_without_inferences_is_no_profile() {
        for text in ["[]", "{}", "", r#"[{"cat":"Session","name":"model_run","dur":1}]"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
