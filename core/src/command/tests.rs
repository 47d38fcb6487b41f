//! The rule files that come with Seatrial, read against what the programs really printed.
//!
//! Recordings are short excerpts of outputs that somebody published, with their place, or that were made for this test
//! ("recorded here"). What a program printed between the lines that matter is left out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::actual::AS_IN_THE_MODEL;
use crate::outcome::Exit;
use crate::profile::MeasurementProfile;
use crate::reading::Reading as Read;

const RULES: [(&str, &str); 7] = [
    ("benchmark_model", include_str!("../../../commands/benchmark_model.toml")),
    ("onnxruntime_perf_test", include_str!("../../../commands/onnxruntime_perf_test.toml")),
    ("benchncnn", include_str!("../../../commands/benchncnn.toml")),
    ("mnn-benchmark", include_str!("../../../commands/mnn-benchmark.toml")),
    ("llama-bench", include_str!("../../../commands/llama-bench.toml")),
    ("qnn-net-run", include_str!("../../../commands/qnn-net-run.toml")),
    ("rknn_benchmark", include_str!("../../../commands/rknn_benchmark.toml")),
];

fn rule(name: &str) -> Rule {
    let (_, text) = RULES.iter().find(|(known, _)| *known == name).unwrap();
    Rule::parse(text, name).unwrap_or_else(|problems| panic!("{}", crate::suite::render(&problems)))
}

fn left(code: i32, stdout: &str, stderr: &str) -> Left {
    Left {
        exit: Exit::Code(code),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        viewer: Read::absent("there is none"),
        files: BTreeMap::new(),
    }
}

fn told(reading: &Reading, name: &str) -> Option<f64> {
    reading.told.iter().find(|figure| figure.name == name).unwrap().value.present().copied()
}

fn claim(reading: &Reading) -> Option<Claim> {
    reading.failure.as_ref().map(|failure| failure.claim)
}

/// Words for a phone with a model of one input.
fn called(name: &str, accelerator: Accelerator) -> Called {
    let files = BTreeMap::new();
    let asked = Asked {
        model: "/job/model/m",
        folder: "/job/model",
        files: &files,
        package: "/job/runtime",
        output: "/job/out",
        accelerator,
        precision: None,
        variant: Precision::Fp32,
        threads: 4,
        profile: &MeasurementProfile::of(ProfileKind::Quick),
        shapes: Some(&[vec![1, 3, 224, 224]]),
        inputs: Some("/job/out/inputs.txt"),
    };
    rule(name).call(&asked).unwrap()
}

#[test]
fn every_rule_file_that_comes_along_is_sound_and_bears_its_name() {
    for (name, _) in RULES {
        assert_eq!(rule(name).name, name);
        assert!(rule(name).accelerators().count() > 0, "{name}");
    }
}

// --- benchmark_model ---

/// <https://github.com/tensorflow/tensorflow/issues/43541>, TensorFlow Lite on a phone's GPU.
const TFLITE_GPU: &str = "\
Num threads: [4]
Use gpu: [1]
INFO: Created TensorFlow Lite delegate for GPU.
INFO: Created 1 GPU delegate kernels.
Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
Initialized session in 870.557ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=4 first=130565 curr=120829 min=117370 max=130565 avg=122373 std=4930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=119212 curr=118055 min=113737 max=124776 avg=119375 std=1948

Inference timings in us: Init: 870557, First inference: 130565, Warmup (avg): 122373, Inference (avg): 119375
";

#[test]
fn benchmark_model_tells_averages_and_where_it_ran() {
    let reading = rule("benchmark_model").read(Accelerator::Gpu, &left(0, "", TFLITE_GPU));
    assert_eq!(reading.failure, None);
    assert_eq!(told(&reading, "init"), Some(870_557.0));
    assert_eq!(told(&reading, "latency_avg"), Some(119_375.0));
    assert_eq!(told(&reading, "latency_min"), Some(113_737.0), "not that of the warm-up");
    assert_eq!(told(&reading, "inferences"), Some(50.0));
    assert_eq!((reading.accelerator, reading.fallback), (Read::Present("gpu".to_owned()), None));
    assert_eq!(reading.threads, Read::Present(4));
}

#[test]
fn what_is_not_told_is_absent_with_the_reason_and_never_zero() {
    let reading = rule("benchmark_model").read(Accelerator::Gpu, &left(0, "", TFLITE_GPU));
    let not_told = Read::absent("benchmark_model does not tell it");
    let median = reading.told.iter().find(|figure| figure.name == "latency_median").unwrap();
    assert_eq!(median.value, not_told, "that build tells none");
    assert_eq!((reading.samples_ns.reason(), reading.version.reason()), (not_told.reason(), not_told.reason()));
    assert_eq!(reading.delegated, Read::absent("benchmark_model does not tell it"));
}

/// <https://github.com/tensorflow/tensorflow/issues/56301>, from logcat: NNAPI takes no node, and the run goes on.
const TFLITE_NNAPI: &str = "\
05-31 10:31:13.036 21767 21767 I tflite  : NNAPI accelerators available: [ipuadaptor,nnapi-reference]
05-31 10:31:13.042 21767 21767 I tflite  : NNAPI delegate created.
05-31 10:31:13.157 21767 21767 I tflite  : Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate
";

#[test]
fn a_delegate_that_takes_no_node_is_a_fallback() {
    let rule = rule("benchmark_model");
    let text = format!(
        "{TFLITE_NNAPI}Inference timings in us: Init: 1, First inference: 1, Warmup (avg): 1, Inference (avg): 1\n"
    );
    let reading = rule.read(Accelerator::Npu, &left(0, "", &text));
    assert!(reading.fallback.unwrap().contains("will not be executed by the delegate"));
    assert_eq!(reading.accelerator.present(), None, "a run that fell back is no run on the NPU");
}

/// The lines of ChromeOS's tast tests for benchmark_model, in which all nodes go to the GPU.
const TFLITE_DELEGATED: &str = "\
VERBOSE: Replacing 58 out of 58 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions for the whole graph.
INFO: Created 1 GPU delegate kernels.
INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
INFO: Inference timings in us: Init: 842225, First inference: 115098, Warmup (avg): 40199.8, Inference (avg): 35134.9
";

#[test]
fn nodes_on_the_accelerator_are_counted_in_either_wording() {
    let rule = rule("benchmark_model");
    let reading = rule.read(Accelerator::Gpu, &left(0, "", TFLITE_DELEGATED));
    assert_eq!(reading.delegated, Read::Present((58, 58)));
    // https://github.com/ValYouW/tflite-dist and others print the rest instead of the whole.
    let rest = "63 operations will run on the GPU, and the remaining 1 operations will run on the CPU.";
    assert_eq!(rule.read(Accelerator::Gpu, &left(0, "", rest)).delegated, Read::Present((63, 64)));
    let parts = TFLITE_DELEGATED
        .replace("INFO: Created", "Replacing 3 out of 6 node(s) with delegate (TfLiteGpuDelegateV2)\nINFO: Created");
    let reading = rule.read(Accelerator::Gpu, &left(0, "", &parts));
    assert_eq!(reading.delegated, Read::Present((61, 64)), "no part hides what another leaves to the CPU");
}

#[test]
fn a_gpu_that_compiles_none_of_its_nodes_did_not_run() {
    let none = TFLITE_DELEGATED.replace("Created 1 GPU", "Created 0 GPU");
    let reading = rule("benchmark_model").read(Accelerator::Gpu, &left(0, "", &none));
    assert_eq!(reading.fallback.as_deref(), Some("Created 0 GPU delegate kernels"));
}

#[test]
fn stages_are_told_by_the_lines_of_the_output() {
    let rule = rule("benchmark_model");
    assert_eq!(rule.first_stage(), Stage::Load);
    let stages: Vec<Stage> = TFLITE_GPU.lines().filter_map(|line| rule.stage_of(line)).collect();
    assert_eq!(stages, [Stage::Warmup, Stage::Measure]);
    assert_eq!(super::tests::rule("llama-bench").first_stage(), Stage::Measure);
}

// --- onnxruntime_perf_test ---

/// Arm's learning paths, `performance_onnxruntime_kleidiai_sme2/profiling_example.md`, ResNet50 on a phone's CPU.
const ORT: &str = "\
Setting intra_op_num_threads to 1
Session creation time cost: 0.217932 s
First inference time cost: 196 ms
Total inference requests: 5
Average inference time cost total: 98.961997 ms
Number of inferences per second: 10.104
Avg CPU usage: 11 %
Peak working set size: 271122432 bytes
Avg CPU usage:11
Peak working set size:271122432
Min Latency: 0.0958204 s
P50 Latency: 0.0995086 s
P99 Latency: 0.101519 s
";
/// <https://github.com/ARM-software/ComputeLibrary/issues/850>, version 1.3.1.
const ORT_OLD: &str = "\
Session creation time cost: 0.127918 s
Total inference requests: 10
Average inference time cost: 144.871 ms
Peak working set size: 158171136 bytes
";

#[test]
fn onnxruntime_perf_test_is_read_in_the_words_of_both_generations() {
    let rule = rule("onnxruntime_perf_test");
    let new = rule.read(Accelerator::Cpu, &left(0, ORT, ""));
    assert_eq!((told(&new, "latency_avg"), told(&new, "first_inference")), (Some(98.961_997), Some(196.0)));
    assert_eq!((told(&new, "latency_median"), told(&new, "memory_peak")), (Some(0.099_508_6), Some(271_122_432.0)));
    assert_eq!((new.threads, new.failure), (Read::Present(1), None));
    let old = rule.read(Accelerator::Cpu, &left(0, ORT_OLD, ""));
    assert_eq!((told(&old, "latency_avg"), told(&old, "first_inference")), (Some(144.871), None));
    assert_eq!(old.accelerator.present(), None, "it does not say where it ran, so nobody knows");
}

#[test]
fn a_session_that_would_fall_back_is_refused_by_the_program_and_told() {
    // https://github.com/microsoft/onnxruntime/issues/26845
    let said = "This session contains graph nodes that are assigned to the default CPU EP, but fallback to CPU EP has been explicitly disabled by the user.";
    let reading = rule("onnxruntime_perf_test").read(Accelerator::Npu, &left(255, "", said));
    assert_eq!(claim(&reading), Some(Claim::UnsupportedBackend));
    assert_eq!((reading.accelerator.present(), reading.fallback), (None, None), "a failure is no evidence of a place");
    // https://github.com/microsoft/onnxruntime/issues/24441
    let said = "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for EyeLike(9) node with name '/blocks.0/intra_mossformer/EyeLike'";
    let reading = rule("onnxruntime_perf_test").read(Accelerator::Cpu, &left(255, "", said));
    assert_eq!(claim(&reading), Some(Claim::UnsupportedOp));
    assert!(reading.failure.unwrap().message.contains("EyeLike(9)"));
}

// --- benchncnn ---

/// <https://github.com/Tencent/ncnn/issues/2382>, one model of many, on a Pixel 5's GPU.
const NCNN_GPU: &str = "\
[0 Adreno (TM) 620]  queueC=0[3]  queueG=0[3]  queueT=0[3]
loop_count = 8
num_threads = 1
powersave = 2
gpu_device = 0
cooling_down = 1
          squeezenet  min =   38.04  max =   38.70  avg =   38.44
";
/// <https://github.com/Tencent/ncnn/issues/980>: asked for the CPU, and the GPU's lines are printed all the same.
const NCNN_CPU: &str = "\
[0 Adreno (TM) 630]  queueC=0  queueT=0  memU=2  memDL=2  memHV=2
loop_count = 4
num_threads = 8
powersave = 0
gpu_device = -1
          squeezenet  min =   21.29  max =   23.88  avg =   22.51
";

#[test]
fn benchncnn_has_run_on_the_gpu_only_when_it_says_that_it_used_it() {
    let rule = rule("benchncnn");
    let gpu = rule.read(Accelerator::Gpu, &left(0, "", NCNN_GPU));
    assert_eq!((told(&gpu, "latency_avg"), told(&gpu, "latency_min")), (Some(38.44), Some(38.04)));
    assert_eq!(gpu.accelerator, Read::Present("gpu".to_owned()));
    assert!(gpu.fallback.unwrap().contains("layers without a Vulkan kernel"), "and whether wholly, it does not say");
    let not = rule.read(Accelerator::Gpu, &left(0, "", NCNN_CPU));
    assert_eq!(not.fallback.as_deref(), Some("benchncnn says nothing of having run on the gpu"));
    let cpu = rule.read(Accelerator::Cpu, &left(0, "", NCNN_CPU));
    assert_eq!((cpu.accelerator, cpu.threads), (Read::Present("cpu".to_owned()), Read::Present(8)));
}

#[test]
fn a_rasteriser_on_the_cpu_is_no_gpu() {
    // The device line of a machine without a GPU, as ncnn prints it.
    let software = NCNN_GPU.replace("Adreno (TM) 620", "llvmpipe (LLVM 20.1.2, 256 bits)");
    let reading = rule("benchncnn").read(Accelerator::Gpu, &left(0, "", &software));
    assert!(reading.fallback.unwrap().contains("llvmpipe"));
}

#[test]
fn a_network_that_did_not_load_is_a_failure_however_well_it_ends() {
    // What ncnn prints for an operator that it has not, as in its FAQ; benchncnn then goes on.
    let text = format!("layer torch.topk not exists or registered\nnetwork graph not ready\n{NCNN_GPU}");
    let reading = rule("benchncnn").read(Accelerator::Gpu, &left(0, "", &text));
    assert_eq!(claim(&reading), Some(Claim::UnsupportedOp));
}

#[test]
fn a_figure_that_is_told_twice_with_different_values_is_none() {
    let two = format!("{NCNN_GPU}     squeezenet_int8  min =   32.38  max =   32.46  avg =   32.44\n");
    let reading = rule("benchncnn").read(Accelerator::Gpu, &left(0, "", &two));
    assert_eq!(told(&reading, "latency_avg"), None);
    assert_eq!(claim(&reading), Some(Claim::NoResult));
    assert!(reading.failure.unwrap().message.contains("tells it 2 times"));
}

// --- MNN ---

/// <https://github.com/alibaba/MNN/issues/2907>, one model.
const MNN_CPU: &str = "\
MNN benchmark
Forward type: CPU thread=4 precision=0 sparsity=0 sparseBlockOC=1 testQuantizedModel=0
--------> Benchmarking... loop = 15, warmup = 5
[-INFO-]: precision!=2, use fp32 inference.
[ - ] onnxsim.mnn    max =  297.433 ms  min =  294.566 ms  avg =  296.252 ms
";
const MNN_OPENCL: &str = "\
MNN benchmark
Forward type: OpenCL thread=4 precision=0 sparsity=0 sparseBlockOC=1 testQuantizedModel=0
--------> Benchmarking... loop = 15, warmup = 5
[ - ] onnxsim.mnn    max =  720.318 ms  min =  661.634 ms  avg =  699.978 ms
";

#[test]
fn mnn_says_opencl_and_runs_on_the_cpu() {
    let rule = rule("mnn-benchmark");
    let cpu = rule.read(Accelerator::Cpu, &left(0, MNN_CPU, ""));
    assert_eq!((told(&cpu, "latency_avg"), cpu.threads), (Some(296.252), Read::Present(4)));
    let gpu = rule.read(Accelerator::Gpu, &left(0, MNN_OPENCL, ""));
    assert_eq!((told(&gpu, "latency_avg"), gpu.accelerator), (Some(699.978), Read::Present("gpu".to_owned())));
    assert_eq!(gpu.threads.present(), None, "4 is a way of tuning there");
    assert!(gpu.fallback.unwrap().contains("in the system's log only"), "the heading is only what was asked for");
    // The line that MNN prints when its OpenCL part is not there; the heading stays the same.
    let fell_back = format!("Can't Find type=3 backend, use 0 instead\n{MNN_OPENCL}");
    let reading = rule.read(Accelerator::Gpu, &left(0, &fell_back, ""));
    assert_eq!(reading.fallback.as_deref(), Some("Can't Find type=3 backend, use 0 instead"));
    assert_eq!(reading.accelerator.present(), None);
}

// --- llama-bench ---

/// <https://github.com/ggml-org/llama.cpp/pull/12994>, its second test only, put behind an empty first.
const LLAMA_NPU: &str = r#"[ {}, {
    "build_commit": "12b17501",
    "build_number": 5145,
    "gpu_info": "Ascend910B3",
    "backends": "CANN",
    "n_threads": 192,
    "n_prompt": 0,
    "n_gen": 128,
    "avg_ns": 2099229836,
    "avg_ts": 60.984063,
    "stddev_ts": 0.844204,
    "samples_ns": [ 2067742567, 2068888383, 2113888137, 2130481700, 2115148394 ]
} ]"#;

#[test]
fn llama_bench_gives_samples_and_its_rates_stand_apart() {
    let reading = rule("llama-bench").read(Accelerator::Gpu, &left(0, LLAMA_NPU, "a line of a log"));
    let samples = reading.samples_ns.present().unwrap();
    assert_eq!(samples[..], [2_067_742_567, 2_068_888_383, 2_113_888_137, 2_130_481_700, 2_115_148_394]);
    assert_eq!(told(&reading, "generation_rate_avg"), Some(60.984_063));
    assert_eq!(told(&reading, "prompt_rate_avg"), None, "the first test was left out");
    assert_eq!((reading.version, reading.threads), (Read::Present("5145".to_owned()), Read::Present(192)));
    assert_eq!((reading.accelerator, reading.failure), (Read::Present("gpu".to_owned()), None));
}

#[test]
fn llama_bench_passes_as_a_gpu_only_with_every_layer_on_it() {
    let told = |said: &str| rule("llama-bench").read(Accelerator::Gpu, &left(0, LLAMA_NPU, said));
    let whole = told("load_tensors: offloaded 29/29 layers to GPU");
    assert_eq!((whole.delegated, whole.fallback), (Read::Present((29, 29)), None));
    let part = told("load_tensors: offloaded 20/29 layers to GPU");
    assert_eq!(part.delegated, Read::Present((20, 29)), "which is a fallback for every engine");
    let silent = told("");
    assert!(silent.fallback.unwrap().starts_with("it is not known whether all of it ran on the gpu"));
}

#[test]
fn how_it_is_known_that_all_of_it_ran_there_stands_in_every_rule_of_an_accelerator() {
    let gpu = |keys: &str| {
        let table = format!("[accelerators.gpu]\nran = ['on gpu']\n{keys}\n[[told]]");
        with_arguments("[\"{model}\"]").replacen("[[told]]", &table, 1)
    };
    for keys in ["doubt = \"nobody knows\"", "whole = ['all on gpu']", "delegated = ['(?<on>\\d+) of (?<of>\\d+)']"] {
        assert!(Rule::parse(&gpu(keys), "p").is_ok(), "{keys}");
    }
    assert!(problems(&gpu("")).contains("nothing says how it is known"));
    assert!(problems(&gpu("doubt = \"x\"\nwhole = ['y']")).contains("nothing says how it is known"));
    let rule = Rule::parse(&gpu("whole = ['all on gpu']"), "p").unwrap();
    let said = |text: &str| rule.read(Accelerator::Gpu, &left(0, text, "")).fallback;
    assert_eq!(said("5 on gpu, all on gpu"), None);
    assert!(said("5 on gpu").unwrap().contains("not known whether all of it"));
}

#[test]
fn a_build_for_a_gpu_without_a_device_ran_on_the_cpu_and_does_not_say_so() {
    let without = LLAMA_NPU.replace("Ascend910B3", "");
    let reading = rule("llama-bench").read(Accelerator::Gpu, &left(0, &without, ""));
    assert_eq!(reading.fallback.as_deref(), Some("llama-bench says nothing of having run on the gpu"));
    assert_eq!(reading.accelerator.present(), None);
}

#[test]
fn output_that_is_not_json_is_told_as_such() {
    let reading = rule("llama-bench").read(Accelerator::Cpu, &left(0, "[ {", ""));
    assert_eq!(claim(&reading), Some(Claim::NoResult));
    assert!(reading.samples_ns.reason().unwrap().contains("it is not JSON"));
    // https://github.com/ollama/ollama/issues/12984
    let said = "llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'pangu-embedded'\n";
    let reading = rule("llama-bench").read(Accelerator::Cpu, &left(1, "", said));
    assert_eq!(claim(&reading), Some(Claim::UnsupportedOp));
}

// --- qnn-net-run ---

/// A profile as qnn-profile-viewer shows it, published in a Chinese guide to QNN 2.13 ("高通 AI Engine SDK（QNN）使用教程").
const QNN_PROFILE: &str = "\
Init Stats:
-----------
    NetRun:  331158 us

Execute Stats (Average):
------------------------
Total Inference Time:
---------------------
Graph 0 (model):
    NetRun:  2952 us
    Backend (Number of HVX threads used): 4 count
    Backend (RPC (execute) time): 2920 us
    Backend (QNN accelerator (execute) time): 2600 us
    Backend (Accelerator (execute) time): 2492 us
    Backend (QNN (execute) time): 2949 us

Execute Stats (Overall):
------------------------
    NetRun IPS:  214.8888 inf/sec
";

#[test]
fn qnn_net_run_is_read_from_what_its_viewer_shows() {
    let rule = rule("qnn-net-run");
    assert!(rule.has_viewer() && rule.wants_inputs());
    let ran = Left { viewer: Read::Present(QNN_PROFILE.to_owned()), ..left(0, "", "") };
    let reading = rule.read(Accelerator::Npu, &ran);
    assert_eq!((told(&reading, "init"), told(&reading, "latency_avg")), (Some(331_158.0), Some(2952.0)));
    assert_eq!((told(&reading, "accelerator_avg"), told(&reading, "throughput")), (Some(2492.0), Some(214.8888)));
    assert_eq!((reading.accelerator, reading.failure), (Read::Present("npu".to_owned()), None));
    let unseen = rule.read(Accelerator::Npu, &left(0, "", ""));
    assert_eq!(claim(&unseen), Some(Claim::NoResult));
    assert!(unseen.failure.unwrap().message.contains("there is none"));
}

#[test]
fn a_dsp_without_its_skeleton_is_no_device() {
    // https://github.com/UbiquitousLearning/mllm/issues/341, of the same libraries.
    let said = "     0.0ms [ ERROR ]  <E> Failed to create transport for device, error: 4000\n     0.0ms [ ERROR ]  <E> Failed to load skel, error: 4000\n     0.0ms [ ERROR ]  <E> Transport layer setup failed: 14001\n";
    let reading = rule("qnn-net-run").read(Accelerator::Npu, &left(1, said, ""));
    let failure = reading.failure.unwrap();
    assert_eq!(failure.claim, Claim::UnsupportedBackend);
    assert!(failure.message.contains("ADSP_LIBRARY_PATH"), "{}", failure.message);
}

// --- rknn_benchmark ---

/// <https://github.com/airockchip/rknn-toolkit2/issues/129> up to the warm-up; the lines behind it, of the same format,
/// are of a Rockchip board's stress test that runs another example of the same kit.
const RKNN: &str = "\
rknn_api/rknnrt version: 2.1.0 (967d001cc8@2024-08-07T19:28:19), driver version: 0.9.6
total weight size: 7315840, total internal size: 6144000
Warmup ...
   0: Elapse Time = 27.64ms, FPS = 36.18
   1: Elapse Time = 27.52ms, FPS = 36.34
Begin perf ...
   0: Elapse Time = 2.85ms, FPS = 351.12
   1: Elapse Time = 2.70ms, FPS = 370.37
   2: Elapse Time = 2.59ms, FPS = 386.85
";

#[test]
fn rknn_benchmark_gives_samples_without_those_of_the_warm_up() {
    let reading = rule("rknn_benchmark").read(Accelerator::Npu, &left(0, RKNN, ""));
    assert_eq!(reading.samples_ns, Read::Present(vec![2_850_000, 2_700_000, 2_590_000]));
    assert_eq!((told(&reading, "memory_weights"), told(&reading, "latency_avg")), (Some(7_315_840.0), None));
    assert_eq!(
        (reading.version, reading.accelerator),
        (Read::Present("2.1.0".to_owned()), Read::Present("npu".to_owned()))
    );
    assert!(reading.fallback.unwrap().starts_with("it is not known whether all of it ran on the npu"));
}

#[test]
fn an_npu_that_cannot_be_opened_is_no_device_though_the_model_is_what_did_not_load() {
    // https://github.com/airockchip/rknn-toolkit2/issues/68, another example of the same kit.
    let said = "E RKNN: [01:39:03.186] failed to open rknpu module, need to insmod rknpu dirver!\nE RKNN: [01:39:03.190] failed to open rknn device!\nrknn_init fail! ret=-1\n";
    let reading = rule("rknn_benchmark").read(Accelerator::Npu, &left(255, "", said));
    assert_eq!(claim(&reading), Some(Claim::UnsupportedBackend));
    // https://github.com/rockchip-linux/rknpu2/issues/25
    let said = "E RKNN    : The rknn model does not match the RKNPU hardware version!\nrknn_init fail! ret=-1\n";
    assert_eq!(claim(&rule("rknn_benchmark").read(Accelerator::Npu, &left(255, "", said))), Some(Claim::SpecError));
}

// --- calls ---

#[test]
fn words_are_made_from_the_job_and_the_accelerators_words_come_first() {
    let Called { arguments, environment, viewer, .. } = called("benchncnn", Accelerator::Cpu);
    assert_eq!(arguments, ["64", "4", "0", "-1", "0", "param=/job/model/m", "shape=[224,224,3]"]);
    assert_eq!((environment, viewer), (vec![], None));
    let called_for_gpu = called("benchmark_model", Accelerator::Gpu).arguments;
    let full_precision = "--gpu_precision_loss_allowed=false";
    assert_eq!(called_for_gpu[..4], ["--use_gpu=true", full_precision, "--graph=/job/model/m", "--num_threads=4"]);
    let called_for_npu = called("qnn-net-run", Accelerator::Npu);
    assert_eq!(called_for_npu.viewer.unwrap(), ["--input_log", "/job/out/qnn-profiling-data_0.log"]);
    assert!(
        called_for_npu
            .environment
            .iter()
            .any(|(name, value)| name == "ADSP_LIBRARY_PATH" && value.starts_with("/job/runtime;/vendor"))
    );
    assert_eq!(called("mnn-benchmark", Accelerator::Gpu).arguments[3..], ["3", "4", "1"]);
    assert_eq!(called("rknn_benchmark", Accelerator::Npu).arguments, ["/job/model/m", "", "64", "0"]);
}

#[test]
fn a_program_is_told_to_keep_the_models_bits_unless_the_suite_asks_for_fewer() {
    let (profile, files) = (MeasurementProfile::of(ProfileKind::Quick), BTreeMap::new());
    let asked = Asked {
        model: "m",
        folder: "f",
        files: &files,
        package: "p",
        output: "o",
        accelerator: Accelerator::Gpu,
        precision: None,
        variant: Precision::Fp32,
        threads: 4,
        profile: &profile,
        shapes: Some(&[vec![1, 3]]),
        inputs: None,
    };
    let half = Asked { precision: Some(Precision::Fp16), ..asked };
    let call = |name: &str, asked: &Asked<'_>| rule(name).call(asked);
    for (asked, word, precision) in [
        (&asked, "--gpu_precision_loss_allowed=false", "fp32"),
        (&half, "--gpu_precision_loss_allowed=true", "fp16"),
        (&Asked { variant: Precision::Int8, ..asked }, "--gpu_precision_loss_allowed=false", "fp32"),
    ] {
        let called = call("benchmark_model", asked).unwrap();
        assert!(called.arguments.iter().any(|argument| argument == word), "{:?}", called.arguments);
        assert_eq!(called.precision, Read::Present(precision.to_owned()));
    }
    let own = call("llama-bench", &Asked { variant: Precision::Int4, ..asked }).unwrap();
    assert_eq!(own.precision, Read::Present(AS_IN_THE_MODEL.to_owned()));
    let unknown = call("benchncnn", &asked).unwrap();
    assert_eq!(unknown.precision.reason(), Some("benchncnn does not tell it"));
    let npu = Asked { accelerator: Accelerator::Npu, inputs: Some("list"), ..asked };
    let compiled = call("qnn-net-run", &npu).unwrap();
    assert_eq!(compiled.precision.reason(), Some("qnn-net-run does not tell it"), "whatever it was compiled to");
    for name in ["llama-bench", "benchncnn"] {
        assert_eq!(call(name, &half).unwrap_err(), CallError::NoPrecision(Precision::Fp16), "{name}");
    }
}

#[test]
fn words_for_a_precision_and_the_place_for_them_go_together() {
    let cpu = |key: &str| {
        with_arguments("[\"{model}\", \"PLACE\"]")
            .replace("[accelerators.cpu]\n", &format!("[accelerators.cpu]\n{key}\n"))
    };
    let words = "precision = { fp32 = \"0\" }";
    let whole = cpu(words).replace("PLACE", "{precision}");
    assert!(Rule::parse(&whole, "p").is_ok(), "the control: both are there");
    assert!(problems(&cpu(words)).contains("no argument uses these words"));
    assert!(problems(&cpu("").replace("PLACE", "{precision}")).contains("key `precision` is missing"));
    assert!(problems(&cpu("precision = \"fp16\"")).contains("\"fp16\" is nothing to compute in"));
}

#[test]
fn a_call_that_cannot_be_made_says_what_is_missing() {
    let profile = MeasurementProfile::of(ProfileKind::Quick);
    let asked = Asked {
        model: "m",
        folder: "f",
        files: &BTreeMap::new(),
        package: "p",
        output: "o",
        accelerator: Accelerator::Cpu,
        precision: None,
        variant: Precision::Fp32,
        threads: 1,
        profile: &profile,
        shapes: None,
        inputs: None,
    };
    let refused = |name: &str, asked: &Asked<'_>| rule(name).call(asked).unwrap_err().to_string();
    assert!(refused("benchncnn", &asked).contains("sizes of the model's inputs"));
    let (_, text) = RULES.iter().find(|(name, _)| *name == "benchncnn").unwrap();
    let of_role = Rule::parse(&text.replace("{model}", "{file:weights}"), "benchncnn").unwrap();
    assert!(of_role.call(&asked).unwrap_err().to_string().contains("role \"weights\""));
    let files = BTreeMap::from([("weights".to_owned(), "f/w".to_owned())]);
    let shapes: &[Vec<u64>] = &[vec![1, 10]];
    let called = of_role.call(&Asked { files: &files, shapes: Some(shapes), ..asked }).unwrap();
    assert_eq!(called.arguments[5..], ["param=f/w", "shape=[10]"]);
    assert!(refused("llama-bench", &Asked { accelerator: Accelerator::Npu, ..asked }).contains("no accelerator npu"));
    assert!(refused("qnn-net-run", &Asked { accelerator: Accelerator::Npu, ..asked }).contains("inputs"));
}

/// A small rule file with this in place of its arguments.
fn with_arguments(arguments: &str) -> String {
    format!(
        "name = \"p\"\nwritten_for = [\"1\"]\nformats = [\"onnx\"]\n[call]\narguments = {arguments}\n\
         [accelerators.cpu]\n[[told]]\nname = \"t\"\nunit = \"ms\"\nvalue = '(?<value>\\d+)'\nrequired = true\n"
    )
}

#[test]
fn a_group_goes_when_what_it_is_for_is_not_there_and_braces_are_written_twice() {
    let rule = Rule::parse(&with_arguments("[[\"-w\", \"{file:weights}\"], '{{\"t\":{threads}}}']"), "p").unwrap();
    let profile = MeasurementProfile { ..MeasurementProfile::of(ProfileKind::Quick) };
    let files = BTreeMap::new();
    let asked = Asked {
        model: "m",
        folder: "f",
        files: &files,
        package: "p",
        output: "o",
        accelerator: Accelerator::Cpu,
        precision: None,
        variant: Precision::Fp32,
        threads: 3,
        profile: &profile,
        shapes: None,
        inputs: None,
    };
    assert_eq!(rule.call(&asked).unwrap().arguments, ["{\"t\":3}"]);
    let files = BTreeMap::from([("weights".to_owned(), "w; rm -rf /".to_owned())]);
    assert_eq!(
        rule.call(&Asked { files: &files, ..asked }).unwrap().arguments[..2],
        ["-w", "w; rm -rf /"],
        "words, never a line"
    );
    assert_eq!(profile.stop.min_time, Duration::from_secs(10));
}

// --- faults of a rule file ---

fn problems(text: &str) -> String {
    crate::suite::render(&Rule::parse(text, "p.toml").unwrap_err())
}

#[test]
fn what_is_wrong_in_a_rule_file_is_told_with_its_place_and_what_would_be_right() {
    for (text, said) in [
        (with_arguments("[\"{modell}\"]"), "p.toml:5:14: `call.arguments[0]`: {modell} is no placeholder"),
        (with_arguments("[\"{model\"]"), "has a brace without its other"),
        (with_arguments("[]").replace("formats", "format"), "did you mean `formats`?"),
        (with_arguments("[]").replace("required = true", ""), "nothing says that a run has measured anything"),
        (with_arguments("[]").replace("(?<value>\\d+)", "\\d+"), "the pattern has no group `value`"),
        (with_arguments("[]").replace("(?<value>\\d+)", "(?<value>"), "is no regular expression"),
        (
            with_arguments("[]").replace("accelerators.cpu", "accelerators.gpu"),
            "`accelerators.gpu`: key `ran` is missing",
        ),
        (with_arguments("[]").replace("unit = \"ms\"", "unit = \"msec\""), "unknown value \"msec\""),
        (with_arguments("[]").replace("'(?<value>\\d+)'", "{ pointer = \"a\" }"), "a JSON pointer begins with /"),
        (
            with_arguments("[]").replace("'(?<value>\\d+)'", "{ from = \"viewer\", pointer = \"/a\" }"),
            "calls no viewer",
        ),
        (
            with_arguments("[]").replace("'(?<value>\\d+)'", "{ from = \"file:x\", pointer = \"/a\" }"),
            "no file of `call.files`",
        ),
        (
            with_arguments("[]").replace("'(?<value>\\d+)'", "{ from = \"stdin\", pointer = \"/a\" }"),
            "\"stdin\" is no source",
        ),
        (with_arguments("[]").replace("'(?<value>\\d+)'", "{ after = 'x' }"), "expected either `pattern` or `pointer`"),
        (with_arguments("[]").replace("name = \"t\"", "name = \"T t\""), "`told[0].name`"),
        (with_arguments("[]\nfiles = [\"../x\"]"), "a plain name in the output folder"),
        (with_arguments("[]\nenvironment = { SEATRIAL_ATTEMPT = \"x\" }"), "expected the name of a variable"),
        ("x".repeat(MAX_RULE_BYTES + 1), "at most 65536 are read"),
    ] {
        let told = problems(&text);
        assert!(told.contains(said), "{said}\n{told}");
    }
}

#[test]
fn a_pattern_that_would_take_too_much_is_refused() {
    let text = with_arguments("[]").replace("(?<value>\\d+)", "(?<value>\\w{500}{500})");
    assert!(problems(&text).contains("is no regular expression"), "{}", problems(&text));
}

// --- numbers ---

#[test]
fn what_nothing_can_measure_is_no_number() {
    let rule = Rule::parse(&with_arguments("[]").replace("\\d+", "\\S+"), "p").unwrap();
    for text in ["NaN", "inf", "-3", "1,5", "1e999"] {
        let reading = rule.read(Accelerator::Cpu, &left(0, text, ""));
        assert_eq!(told(&reading, "t"), None, "{text}");
        assert_eq!(claim(&reading), Some(Claim::NoResult), "{text}");
    }
    assert_eq!(told(&rule.read(Accelerator::Cpu, &left(0, "0", "")), "t"), Some(0.0), "a zero that was told is told");
}

#[test]
fn a_signal_or_a_code_without_a_known_reason_is_left_to_speak_for_itself() {
    let rule = rule("benchmark_model");
    for exit in [Exit::Signal(11), Exit::Code(3)] {
        let reading = rule.read(Accelerator::Gpu, &Left { exit, ..left(0, "", TFLITE_GPU) });
        assert_eq!((reading.failure, reading.accelerator.present()), (None, None), "{exit:?}");
    }
}

#[test]
fn a_program_that_measures_itself_runs_no_dataset_and_is_not_paced() {
    assert_eq!(can_do("p", ProfileKind::Full, false), Ok(()));
    let refused = can_do("p", ProfileKind::Quick, true).unwrap_err();
    assert_eq!(refused.text(), "p is a program that measures itself: it runs no dataset");
    for profile in [ProfileKind::Sustained, ProfileKind::Paced, ProfileKind::AccuracyOnly] {
        assert!(can_do("p", profile, false).unwrap_err().text().contains(profile.as_str()));
    }
}
