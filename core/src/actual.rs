//! What really executed, beside what was asked for, and when the difference is a fallback.

use serde::{Deserialize, Serialize};

use crate::backend::{Accelerator, Backend, Provider};
use crate::digest::Digest;
use crate::job::JobSpec;
use crate::model::{Precision, Signature};
use crate::operators::Delegation;
use crate::reading::Reading;
use crate::weights::PrecisionFrom;

/// What really executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Actual {
    pub accelerator: Reading<String>,
    /// The engine's own part that computed: `WebGpuExecutionProvider`.
    #[serde(default = "untold")]
    pub provider: Reading<String>,
    /// What the accelerator is, as its driver names it.
    #[serde(default = "untold")]
    pub device: Reading<ComputeDevice>,
    /// Operators on the accelerator asked for, of all operators.
    pub delegated: Reading<(u32, u32)>,
    /// Names of those that are not on it, at most [`crate::operators::MAX_REST`].
    #[serde(default)]
    pub rest: Vec<String>,
    /// As [`Precision`] spells it, or [`AS_IN_THE_MODEL`].
    pub precision: Reading<String>,
    /// Threads that computed while inferences were timed, counted by their CPU time; a runner's and a program's own word, as
    /// far as their CPU time does not refute it.
    pub threads: Reading<u16>,
    /// CPUs that the inference threads were allowed.
    pub affinity: Reading<Vec<u16>>,
    /// Why the engine fell back, when it did.
    pub fallback: Option<String>,
    /// Inputs and outputs as the engine found them in the model's file; absent when no process read it to its end.
    #[serde(default)]
    pub signature: Option<Signature>,
    /// Digests of what was loaded.
    pub loaded: Vec<Digest>,
}

/// What an accelerator is, as its driver names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeDevice {
    pub name: String,
    /// It is a program that computes on the CPU.
    pub software: bool,
}

/// So much more CPU time is borne than the threads that were asked for can have had: a share of it, and at least a part of one
/// thread's, for what looks after them and for pools that spin while they wait (TensorFlow's on small convolutions: 0.11 of
/// one); and in ms what ticks of 10 ms hide at both ends of a window, of user's and system's time each.
const BORNE_CPU: f64 = 0.1;
const BORNE_THREAD: f64 = 0.25;
const BORNE_CPU_MS: f64 = 50.0;

/// The precision of an engine that computes in whatever the model's file says.
pub const AS_IN_THE_MODEL: &str = "as in the model";

fn untold<T>() -> Reading<T> {
    Reading::absent("not told by this version of the agent")
}

/// What a job asks of where and how it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub accelerator: Accelerator,
    pub provider: Option<Provider>,
    pub precision: Option<Precision>,
    /// The precision of the variant's own numbers.
    pub variant: Precision,
    /// Nobody said that precision, and nobody could read it.
    pub assumed: bool,
    pub threads: u16,
}

impl Wanted {
    #[must_use]
    pub const fn of(spec: &JobSpec) -> Self {
        let Backend { accelerator, provider, precision, threads, .. } = spec.backend;
        let assumed = matches!(spec.model.signature.precision_from, Some(PrecisionFrom::Assumed));
        Self { accelerator, provider, precision, variant: spec.model.precision, assumed, threads }
    }
}

impl Actual {
    /// Of which nothing is known.
    #[must_use]
    pub fn unknown(why: &str) -> Self {
        Self {
            accelerator: Reading::absent(why),
            provider: Reading::absent(why),
            device: Reading::absent(why),
            delegated: Reading::absent(why),
            rest: Vec::new(),
            precision: Reading::absent(why),
            threads: Reading::absent(why),
            affinity: Reading::absent(why),
            fallback: None,
            signature: None,
            loaded: Vec::new(),
        }
    }

    /// Draws the conclusion that nobody has drawn: whichever engine told of it, an operator beside the accelerator, an
    /// accelerator that is a program, fewer bits or more threads than were asked for are fallbacks. So is what an engine
    /// admits in its output only; see [`admission`].
    pub fn settle(&mut self, wanted: Wanted, admitted: Option<&str>) {
        if matches!(self.delegated, Reading::Present((0, 1..))) {
            // Whatever was asked for, and whatever the engine calls itself: with no operator elsewhere the CPU computes.
            self.accelerator = Reading::Present(Accelerator::Cpu.as_str().to_owned());
        }
        if self.fallback.is_some() {
            return;
        }
        let elsewhere = match wanted.accelerator {
            Accelerator::Cpu => None,
            Accelerator::Gpu | Accelerator::Npu => {
                self.elsewhere(wanted.accelerator).or_else(|| admitted.map(str::to_owned))
            }
        };
        let otherwise = [self.beside(wanted), self.in_another_precision(wanted), self.on_more_threads(wanted)];
        self.fallback = elsewhere.or_else(|| otherwise.into_iter().flatten().next());
    }

    /// Holds the threads that a program of its own says it uses against its CPU time: no thread has more of it than goes by.
    /// `cpu_ms` is of that process, and `wall_ms` what went by while it computed. Fewer than are told cannot be seen so.
    ///
    /// For an engine that is asked to compute on the CPU: beside an accelerator its driver has threads of its own.
    pub fn refute_threads(&mut self, asked: u16, cpu_ms: f64, wall_ms: f64) {
        let threads = f64::from(asked);
        let borne_ms = (threads + (threads * BORNE_CPU).max(BORNE_THREAD)) * wall_ms + BORNE_CPU_MS;
        if wall_ms <= 0.0 || cpu_ms <= borne_ms {
            return;
        }
        let computed = (cpu_ms / wall_ms).ceil().clamp(f64::from(asked) + 1.0, f64::from(u16::MAX)) as u16;
        let told = match &self.threads {
            Reading::Present(told) => format!("tells of {told}"),
            Reading::Absent(_) => "does not tell how many it uses".to_owned(),
        };
        self.fallback.get_or_insert_with(|| {
            format!(
                "threads asked for: {asked}; the engine {told} and had {cpu_ms:.0} ms of CPU time in {wall_ms:.0} ms, which \
                 takes {computed}"
            )
        });
        if self.threads.present().is_none_or(|&told| told < computed) {
            self.threads = Reading::Present(computed);
        }
    }

    fn elsewhere(&self, asked: Accelerator) -> Option<String> {
        let counted = match self.delegated {
            Reading::Present(delegated) => Delegation { delegated, rest: self.rest.clone() }.fallback(asked.as_str()),
            Reading::Absent(_) => None,
        };
        let named =
            || (!self.rest.is_empty()).then(|| format!("not on the {}: {}", asked.as_str(), self.rest.join(", ")));
        let device = self.device.present().filter(|device| device.software);
        let program = || {
            Some(format!(
                "the {} is a program that computes on the CPU: {}",
                asked.as_str().to_uppercase(),
                device?.name
            ))
        };
        counted.or_else(named).or_else(program)
    }

    /// A provider of the CPU leaves what it has no kernel for to the engine's own, on the same processor: that is told,
    /// and no fallback, unless it took nothing at all.
    fn beside(&self, wanted: Wanted) -> Option<String> {
        let provider = wanted.provider?;
        match self.delegated {
            Reading::Present((0, all)) => Some(format!("none of {all} operators ran on {}", provider.as_str())),
            Reading::Present(_) | Reading::Absent(_) => None,
        }
    }

    /// A number that stands in the row of one thread is no number of eight.
    fn on_more_threads(&self, wanted: Wanted) -> Option<String> {
        let told = *self.threads.present()?;
        let more = wanted.accelerator == Accelerator::Cpu && told > wanted.threads;
        more.then(|| format!("threads asked for: {}, and the engine uses {told}", wanted.threads))
    }

    /// Asked for or not, fewer bits make an engine faster. An integer variant's own arithmetic is the engine's matter, as
    /// long as nobody asks for a precision.
    fn in_another_precision(&self, wanted: Wanted) -> Option<String> {
        let told = self.precision.present()?;
        let asked = match wanted.precision {
            Some(asked) => asked,
            None if wanted.variant == Precision::Fp32 => Precision::Fp32,
            None => return None,
        };
        if told == AS_IN_THE_MODEL && wanted.assumed {
            // Nobody asked, and nobody knows: it is shown as assumed.
            wanted.precision?;
            return Some(format!(
                "{} is asked for, and the engine computes as the model does, whose precision nobody knows: add the model \
                 again with --variant precision=…",
                asked.as_str()
            ));
        }
        // A word that is none of ours is no proof of what was asked for.
        let computed = if told == AS_IN_THE_MODEL { Some(wanted.variant) } else { told.parse().ok() };
        let shown: &str = if let Some(computed) = computed { computed.as_str() } else { told };
        (computed != Some(asked))
            .then(|| format!("{} is asked for, and the engine computes in {shown}", asked.as_str()))
    }
}

/// What a line of an engine's output says of a fallback, where an accelerator is asked for: some say it there and nowhere
/// else.
#[must_use]
pub fn admission(line: &str) -> Option<String> {
    const WORDS: [&str; 6] = [
        "switching to cpu",
        "falling back to cpu",
        "fall back to cpu",
        "fallback to cpu",
        "using cpu instead",
        // Dawn's "Selected adapter: llvmpipe …, adapterType=CPU", as LiteRT prints it.
        "adaptertype=cpu",
    ];
    let lower = line.to_ascii_lowercase();
    WORDS.iter().any(|words| lower.contains(words)).then(|| format!("its output says: {}", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: Wanted = Wanted {
        accelerator: Accelerator::Gpu,
        provider: None,
        precision: None,
        variant: Precision::Fp32,
        assumed: false,
        threads: 1,
    };
    const CPU: Wanted = Wanted { accelerator: Accelerator::Cpu, ..GPU };

    fn settled(actual: Actual, wanted: Wanted, log: &str) -> Option<String> {
        let mut actual = actual;
        actual.settle(wanted, log.lines().find_map(admission).as_deref());
        actual.fallback
    }

    fn counted(on: u32, all: u32) -> Actual {
        Actual { delegated: Reading::Present((on, all)), ..Actual::unknown("not told") }
    }

    fn precision(told: &str) -> Actual {
        Actual { precision: Reading::Present(told.to_owned()), ..Actual::unknown("not told") }
    }

    #[test]
    fn an_operator_beside_the_accelerator_is_a_fallback_by_count_or_by_name() {
        assert_eq!(settled(counted(2, 2), GPU, ""), None);
        assert_eq!(settled(counted(1, 2), GPU, "").unwrap(), "1 of 2 operators ran on the gpu");
        let both = Actual { rest: vec!["a".to_owned(), "b".to_owned()], ..counted(5, 64) };
        assert_eq!(settled(both, GPU, "").unwrap(), "5 of 64 operators ran on the gpu; not: a, b");
        let named = Actual { rest: vec!["shape".to_owned()], ..Actual::unknown("not told") };
        assert_eq!(settled(named.clone(), GPU, "").unwrap(), "not on the gpu: shape");
        assert_eq!(settled(named, CPU, ""), None, "the control: the CPU is asked for");
    }

    #[test]
    fn an_accelerator_with_none_of_the_operators_is_the_cpu_whatever_it_is_called() {
        let told = |on| {
            let mut actual = Actual { accelerator: Reading::Present("gpu".to_owned()), ..counted(on, 64) };
            actual.settle(GPU, None);
            actual.accelerator
        };
        assert_eq!(told(0), Reading::Present("cpu".to_owned()));
        assert_eq!(told(1), Reading::Present("gpu".to_owned()), "the control: a fallback, and yet computed there");
    }

    #[test]
    fn a_fallback_that_is_admitted_in_the_output_only_is_found_there() {
        let log = "loading\nGPU not found, switching to CPU\n";
        let said = settled(Actual::unknown("not told"), GPU, log).unwrap();
        assert_eq!(said, "its output says: GPU not found, switching to CPU");
        assert_eq!(settled(Actual::unknown("not told"), CPU, log), None);
        assert_eq!(settled(Actual::unknown("not told"), GPU, "all on the GPU"), None);
        let adapter = "Selected adapter: llvmpipe (LLVM 19.1.7), adapterType=CPU, backendType=Vulkan";
        assert!(settled(Actual::unknown("not told"), GPU, adapter).unwrap().contains("llvmpipe"));
    }

    #[test]
    fn an_accelerator_that_is_a_program_is_a_fallback() {
        let on = |software| {
            let device = ComputeDevice { name: "llvmpipe".to_owned(), software };
            Actual { device: Reading::Present(device), ..counted(2, 2) }
        };
        assert_eq!(settled(on(true), GPU, "").unwrap(), "the GPU is a program that computes on the CPU: llvmpipe");
        assert_eq!(settled(on(false), GPU, ""), None, "the control: a real one");
        assert_eq!(settled(on(true), CPU, ""), None, "and nobody asked for it");
    }

    #[test]
    fn fewer_bits_than_the_model_has_are_a_fallback_unless_they_were_asked_for() {
        let told = settled(precision("fp16"), CPU, "").unwrap();
        assert_eq!(told, "fp32 is asked for, and the engine computes in fp16");
        let asked = |precision| Wanted { precision: Some(precision), ..CPU };
        assert_eq!(settled(precision("fp16"), asked(Precision::Fp16), ""), None);
        assert!(settled(precision("fp32"), asked(Precision::Fp16), "").is_some());
        assert!(settled(precision(AS_IN_THE_MODEL), asked(Precision::Fp16), "").is_some());
        assert_eq!(settled(precision(AS_IN_THE_MODEL), CPU, ""), None);
        let unknown = settled(precision("tf32"), CPU, "").unwrap();
        assert!(unknown.contains("fp32 is asked for, and the engine computes in tf32"), "{unknown}");
    }

    #[test]
    fn an_assumed_precision_is_no_proof_of_one_that_is_asked_for() {
        let assumed = Wanted { assumed: true, ..CPU };
        let asked = Wanted { precision: Some(Precision::Fp32), ..assumed };
        let said = settled(precision(AS_IN_THE_MODEL), asked, "").unwrap();
        assert!(said.contains("fp32 is asked for") && said.contains("nobody knows"), "{said}");
        assert_eq!(settled(precision(AS_IN_THE_MODEL), assumed, ""), None, "nobody asks: it is shown as assumed");
        assert_eq!(settled(precision("fp32"), asked, ""), None, "the engine's own word");
        let known = Wanted { assumed: false, ..asked };
        assert_eq!(settled(precision(AS_IN_THE_MODEL), known, ""), None, "the control: somebody knows");
    }

    #[test]
    fn the_arithmetic_of_an_integer_variant_is_the_engines_matter_until_somebody_asks() {
        let int8 = Wanted { variant: Precision::Int8, ..GPU };
        assert_eq!(settled(precision("fp32"), int8, ""), None);
        let asked = Wanted { precision: Some(Precision::Int8), ..int8 };
        assert!(settled(precision("fp32"), asked, "").unwrap().contains("int8 is asked for"));
    }

    #[test]
    fn more_threads_than_were_asked_for_are_no_pass_of_the_row_that_asked() {
        let on = |threads| Actual { threads: Reading::Present(threads), ..Actual::unknown("not told") };
        let two = Wanted { threads: 2, ..CPU };
        assert_eq!(settled(on(8), two, "").unwrap(), "threads asked for: 2, and the engine uses 8");
        assert_eq!(settled(on(2), two, ""), None);
        assert_eq!(settled(on(1), two, ""), None, "fewer only cost time");
        assert_eq!(settled(on(8), Wanted { threads: 2, ..GPU }, ""), None, "beside an accelerator they are no matter");
    }

    #[test]
    fn more_cpu_time_than_the_threads_asked_for_can_have_had_is_no_pass_whatever_the_engine_tells() {
        let refuted = |told: Reading<u16>, asked, cpu_ms, wall_ms| {
            let mut actual = Actual { threads: told, ..Actual::unknown("not told") };
            actual.refute_threads(asked, cpu_ms, wall_ms);
            actual.settle(Wanted { threads: asked, ..CPU }, None);
            (actual.threads.present().copied(), actual.fallback)
        };
        let said = refuted(Reading::Present(1), 1, 1_930.0, 1_000.0);
        let why = "threads asked for: 1; the engine tells of 1 and had 1930 ms of CPU time in 1000 ms, which takes 2";
        assert_eq!(said, (Some(2), Some(why.to_owned())));
        let silent = refuted(Reading::absent("not told"), 2, 31_000.0, 10_000.0);
        assert_eq!(silent.0, Some(4));
        assert!(silent.1.unwrap().contains("does not tell how many it uses"));
        let open = refuted(Reading::Present(8), 1, 1_930.0, 1_000.0);
        assert_eq!(open.0, Some(8), "it says so itself");
        for (cpu_ms, wall_ms, why) in [
            (1_240.0, 1_000.0, "one thread, and what looks after it"),
            (290.0, 210.0, "ticks hide so much of a short window"),
            (700.0, 1_000.0, "on a busy machine nobody has all that he wants"),
            (500.0, 0.0, "nothing went by"),
        ] {
            assert_eq!(refuted(Reading::Present(1), 1, cpu_ms, wall_ms), (Some(1), None), "{why}");
        }
        let two = refuted(Reading::Present(2), 2, 1_990.0, 1_000.0);
        assert_eq!(two, (Some(2), None), "the control: as many as were asked for");
    }

    #[test]
    fn a_provider_of_the_cpu_may_leave_operators_to_the_engine_but_not_all() {
        let xnnpack = Wanted { provider: Some(Provider::Xnnpack), ..CPU };
        assert_eq!(settled(counted(3, 9), xnnpack, ""), None);
        assert_eq!(settled(counted(0, 9), xnnpack, "").unwrap(), "none of 9 operators ran on xnnpack");
        assert_eq!(settled(counted(0, 9), CPU, ""), None, "the control: nobody asked for it");
    }
}
