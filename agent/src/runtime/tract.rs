//! tract: ONNX and NNEF on the CPU, in pure Rust.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;
use seatrial_core::actual::{AS_IN_THE_MODEL, Actual};
use seatrial_core::backend::Accelerator;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::model::{Axis, Format, Signature, TensorSpec};
use seatrial_core::operators::{OperatorProfile, OperatorTime};
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::reason::Code;
use seatrial_core::tensor::{DType, Tensor};
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::{
    DatumType, Framework as _, InferenceFact, InferenceModel, InferenceModelExt as _, IntoRunnable as _, TDim, TValue,
    TVec, Tensor as TractTensor, TractError, TypedModel, TypedRunnableModel,
};
use tract_onnx::tract_core::plan;
use tract_onnx::tract_hir::infer::Factoid as _;

use super::{LoadRequest, ModelFiles, Runtime, RuntimeError, Session};
use crate::child::timing::Timed;
use crate::data::NamedTensor;

/// The version in `Cargo.lock`; a test compares them.
const VERSION: &str = "0.23.9";
/// The newest versions of ONNX's format and operators when this version of tract was taken in. It accepts any number, and
/// would compute what it cannot know as what it knows.
const NEWEST_FORMAT: i64 = 14;
const NEWEST_OPERATORS: i64 = 28;

#[derive(Debug, Clone, Copy)]
pub(super) struct Tract;

impl Runtime for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn version(&self) -> String {
        VERSION.to_owned()
    }

    fn probe(&self) -> RuntimeOffer {
        RuntimeOffer {
            name: self.name().to_owned(),
            version: self.version(),
            formats: vec![Format::Onnx, Format::Nnef],
            accelerators: vec![Accelerator::Cpu],
            absent: BTreeMap::new(),
        }
    }

    fn describe(&self, files: &ModelFiles<'_>) -> Result<Signature, RuntimeError> {
        guarded("reading", Claim::LoadFail, || match parse(files)? {
            Parsed::Inference(model) => describe_inference(model),
            Parsed::Typed(model) => describe_typed(&model),
        })
    }

    fn load(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> Result<Box<dyn Session>, RuntimeError> {
        check(request)?;
        if request.threads > 1 {
            guarded("starting threads", Claim::UnsupportedBackend, || start_threads(request.threads.into()))?;
        }
        let loaded = guarded("loading", Claim::LoadFail, || build(files, request))?;
        Ok(Box::new(loaded))
    }
}

/// tract computes on the CPU and in the model's own precision.
fn check(request: &LoadRequest<'_>) -> Result<(), RuntimeError> {
    let refuse = |message: String| Err(RuntimeError::new(Claim::UnsupportedBackend, message));
    if request.accelerator != Accelerator::Cpu {
        return refuse(format!("tract runs on the CPU only, not on {}", request.accelerator.as_str()));
    }
    super::own_precision("tract", request)
}

/// A pool in which this thread, the one that times, is one of the threads.
///
/// `Executor::multithread` keeps its caller outside: it wakes a worker for each operator and sleeps meanwhile, while
/// workers without work spin before they sleep. Between operators one thread more is runnable than was asked for, and
/// on a device with as many cores as threads they wait for each other.
fn start_threads(threads: usize) -> Result<(), RuntimeError> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .use_current_thread()
        .thread_name(|index| format!("tract {index}"))
        .build()
        .map_err(|error| {
            let message = format!("{threads} threads of tract could not be started: {error}");
            RuntimeError::new(Claim::UnsupportedBackend, message)
        })?;
    set_default_executor(Executor::MultiThread(Arc::new(pool)));
    Ok(())
}

// --- loading ---

enum Parsed {
    Inference(InferenceModel),
    Typed(TypedModel),
}

fn parse(files: &ModelFiles<'_>) -> Result<Parsed, RuntimeError> {
    let path = files.main()?;
    match files.format {
        Format::Onnx => parse_onnx(&path).map(Parsed::Inference),
        Format::Nnef => tract_nnef::nnef().model_for_path(path).map(Parsed::Typed).map_err(|error| load_error(&error)),
        Format::Tflite
        | Format::Caffe
        | Format::FrozenGraph
        | Format::SavedModel
        | Format::Gguf
        | Format::Ncnn
        | Format::Mnn
        | Format::Rknn
        | Format::Qnn => {
            let message = format!("tract reads onnx and nnef, not {}", files.format.as_str());
            Err(RuntimeError::new(Claim::UnsupportedBackend, message))
        }
    }
}

fn parse_onnx(path: &Path) -> Result<InferenceModel, RuntimeError> {
    let fail = |error: TractError| load_error(&error);
    let refuse = |message: String| Err(RuntimeError::new(Claim::LoadFail, message));
    // Shapes of inner values may name symbols that the inputs no longer have.
    let onnx = tract_onnx::onnx().with_ignore_value_info(true);
    let file = onnx.proto_model_for_path(path).map_err(fail)?;
    let is_onnx = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let operators = file.opset_import.iter().filter(|set| is_onnx(&set.domain)).map(|set| set.version).max();
    for (what, version, newest) in
        [("version of the format", Some(file.ir_version), NEWEST_FORMAT), ("operator set", operators, NEWEST_OPERATORS)]
    {
        if let Some(version) = version.filter(|version| *version > newest) {
            return refuse(format!(
                "the model is of ONNX's {what} {version}, and tract {VERSION} knows none after {newest}"
            ));
        }
    }
    let parsed = onnx.parse(&file, path.parent().and_then(Path::to_str)).map_err(fail)?;
    if !parsed.unresolved_inputs.is_empty() {
        return refuse(format!("nothing in the model makes {:?}", parsed.unresolved_inputs));
    }
    Ok(parsed.model)
}

fn build(files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> Result<Loaded, RuntimeError> {
    let parsed = parse(files)?;
    let begun = Instant::now();
    let (model, inputs, outputs) = match parsed {
        Parsed::Inference(model) => optimise_inference(model, request.inputs)?,
        Parsed::Typed(model) => optimise_typed(&model, request.inputs)?,
    };
    let plan = model.into_runnable().map_err(|error| load_error(&error))?;
    let compiled_in = begun.elapsed();
    let operators = request.operator_profile.map(|_| Operators::default());
    Ok(Loaded { plan, inputs, outputs, compiled_in, ready: TVec::new(), last: TVec::new(), operators })
}

type Optimised = (TypedModel, Vec<String>, Vec<String>);

fn optimise_inference(mut model: InferenceModel, given: &[NamedTensor]) -> Result<Optimised, RuntimeError> {
    refuse_unknown_operators(&model)?;
    let inputs = inference_inputs(&model)?;
    for (index, name) in inputs.iter().enumerate() {
        let tensor = super::input(given, name)?;
        let fact = InferenceFact::dt_shape(datum_type(tensor.dtype()), tensor.shape());
        model.set_input_fact(index, fact).map_err(|error| load_error(&error))?;
    }
    let outputs = inference_outputs(&model)?;
    for index in 0..outputs.len() {
        // Declared shapes may name symbols that the inputs no longer have.
        model.set_output_fact(index, InferenceFact::default()).map_err(|error| load_error(&error))?;
    }
    let model = model.into_optimized().map_err(|error| load_error(&error))?;
    Ok((model, inputs, outputs))
}

fn optimise_typed(model: &TypedModel, given: &[NamedTensor]) -> Result<Optimised, RuntimeError> {
    let fail = |error: TractError| load_error(&error);
    let (inputs, outputs) = typed_names(model).map_err(fail)?;
    let mut symbols = HashMap::new();
    for (index, name) in inputs.iter().enumerate() {
        let tensor = super::input(given, name)?;
        let fact = model.input_fact(index).map_err(fail)?;
        for (axis, &size) in fact.shape.iter().zip(tensor.shape()) {
            if let TDim::Sym(symbol) = axis {
                symbols.insert(symbol.clone(), TDim::from(size as i64));
            }
        }
    }
    let model = model.set_symbols(&symbols).map_err(fail)?.into_optimized().map_err(fail)?;
    Ok((model, inputs, outputs))
}

/// Operators are looked at before shapes are: what is not implemented is then told from what is broken.
fn refuse_unknown_operators(model: &InferenceModel) -> Result<(), RuntimeError> {
    let mut unknown: Vec<String> = model
        .nodes()
        .iter()
        .filter_map(|node| {
            let name = node.op.name();
            Some(name.strip_prefix("Unimplemented(")?.strip_suffix(')')?.to_owned())
        })
        .collect();
    unknown.sort();
    unknown.dedup();
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!("tract {VERSION} does not implement {}", unknown.join(", "));
    Err(RuntimeError::new(Claim::UnsupportedOp, message))
}

fn load_error(error: &TractError) -> RuntimeError {
    let message = format!("{error:#}");
    let lower = message.to_ascii_lowercase();
    let unsupported = ["unimplemented", "not implemented", "not supported", "unsupported"];
    let claim =
        if unsupported.iter().any(|word| lower.contains(word)) { Claim::UnsupportedOp } else { Claim::LoadFail };
    RuntimeError::new(claim, message)
}

/// tract panics on some damaged models; in this process that is an answer like any other.
fn guarded<T>(doing: &str, claim: Claim, work: impl FnOnce() -> Result<T, RuntimeError>) -> Result<T, RuntimeError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(RuntimeError::new(claim, format!("tract panicked while {doing}: {}", words(&*panic))))
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

// --- signatures ---

fn describe_inference(mut model: InferenceModel) -> Result<Signature, RuntimeError> {
    let input_names = inference_inputs(&model)?;
    let output_names = inference_outputs(&model)?;
    // As far as it goes: an operator that is not known leaves what follows it open.
    let _ = model.analyse(true);
    let fail = |error: TractError| load_error(&error);
    let shape = |fact: &InferenceFact| {
        let axis = |(index, dim): (usize, tract_onnx::tract_hir::infer::DimFact)| {
            dim.concretize().map_or_else(|| Axis::Named(format!("axis{index}")), |dim| axis(&dim))
        };
        fact.shape.dims().cloned().enumerate().map(axis).collect()
    };
    let mut signature = Signature::default();
    for (index, name) in input_names.into_iter().enumerate() {
        let fact = model.input_fact(index).map_err(fail)?;
        let dtype = fact.datum_type.concretize().and_then(dtype).ok_or_else(|| unread(&name, &fact.datum_type))?;
        signature.inputs.push(TensorSpec { name, dtype, shape: shape(fact) });
    }
    for (index, name) in output_names.into_iter().enumerate() {
        let fact = model.output_fact(index).map_err(fail)?;
        // What follows an unknown operator has no type yet; a guess would be confirmed by the next who guesses.
        if let Some(dtype) = fact.datum_type.concretize().and_then(dtype) {
            signature.outputs.push(TensorSpec { name, dtype, shape: shape(fact) });
        }
    }
    Ok(signature)
}

fn describe_typed(model: &TypedModel) -> Result<Signature, RuntimeError> {
    let fail = |error: TractError| load_error(&error);
    let (inputs, outputs) = typed_names(model).map_err(fail)?;
    let spec = |name: String, fact: &tract_onnx::prelude::TypedFact| {
        let dtype = dtype(fact.datum_type).ok_or_else(|| unread(&name, &fact.datum_type))?;
        Ok::<_, RuntimeError>(TensorSpec { name, dtype, shape: fact.shape.iter().map(axis).collect() })
    };
    let mut signature = Signature::default();
    for (index, name) in inputs.into_iter().enumerate() {
        signature.inputs.push(spec(name, model.input_fact(index).map_err(fail)?)?);
    }
    for (index, name) in outputs.into_iter().enumerate() {
        signature.outputs.push(spec(name, model.output_fact(index).map_err(fail)?)?);
    }
    Ok(signature)
}

/// A type that no tensor of ours has: text, complex numbers.
fn unread(name: &str, datum_type: &dyn std::fmt::Debug) -> RuntimeError {
    let message = format!("{name:?} holds {datum_type:?}, which is not read (numbers and booleans are)");
    RuntimeError::new(Claim::UnsupportedOp, message)
}

fn inference_inputs(model: &InferenceModel) -> Result<Vec<String>, RuntimeError> {
    let outlets = model.input_outlets().map_err(|error| load_error(&error))?;
    Ok(outlets.iter().map(|outlet| model.node(outlet.node).name.clone()).collect())
}

fn inference_outputs(model: &InferenceModel) -> Result<Vec<String>, RuntimeError> {
    let outlets = model.output_outlets().map_err(|error| load_error(&error))?;
    let name = |outlet: &tract_onnx::prelude::OutletId| {
        model.outlet_label(*outlet).map_or_else(|| model.node(outlet.node).name.clone(), str::to_owned)
    };
    Ok(outlets.iter().map(name).collect())
}

fn typed_names(model: &TypedModel) -> Result<(Vec<String>, Vec<String>), TractError> {
    let name = |outlet: &tract_onnx::prelude::OutletId| {
        model.outlet_label(*outlet).map_or_else(|| model.node(outlet.node).name.clone(), str::to_owned)
    };
    let inputs = model.input_outlets()?.iter().map(|outlet| model.node(outlet.node).name.clone()).collect();
    Ok((inputs, model.output_outlets()?.iter().map(name).collect()))
}

fn axis(dim: &TDim) -> Axis {
    match dim.to_i64().ok().and_then(|size| u64::try_from(size).ok()) {
        Some(size) => Axis::Fixed(size),
        None => Axis::Named(dim.to_string()),
    }
}

// --- running ---

struct Loaded {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<String>,
    outputs: Vec<String>,
    compiled_in: Duration,
    /// What every inference is given, in the model's order.
    ready: TVec<TValue>,
    last: TVec<TValue>,
    /// Present in the process that asks.
    operators: Option<Operators>,
}

/// Time of each node of the plan, by its number.
#[derive(Debug, Default)]
struct Operators {
    runs: u32,
    sums: BTreeMap<usize, Duration>,
}

impl Loaded {
    fn run(&mut self, inputs: TVec<TValue>) -> Result<TVec<TValue>, TractError> {
        let Some(Operators { runs, sums }) = &mut self.operators else { return self.plan.run(inputs) };
        *runs += 1;
        self.plan.spawn()?.run_plan_with_eval(inputs, |context, state, node, inputs| {
            let begun = Instant::now();
            let outputs = plan::eval(context, state, node, inputs);
            *sums.entry(node.id).or_default() += begun.elapsed();
            outputs
        })
    }
}

impl Timed for Loaded {
    type Error = RuntimeError;

    fn make_ready(&mut self) {
        self.last.clear();
    }

    fn infer(&mut self) -> Result<(), RuntimeError> {
        // The inputs are shared, not copied: up to four of them take no allocation either.
        let inputs = self.ready.clone();
        match catch_unwind(AssertUnwindSafe(|| self.run(inputs))) {
            Ok(Ok(outputs)) => {
                self.last = outputs;
                Ok(())
            }
            Ok(Err(error)) => Err(RuntimeError::new(Claim::RunFail, format!("{error:#}"))),
            Err(panic) => {
                Err(RuntimeError::new(Claim::RunFail, format!("tract panicked while running: {}", words(&*panic))))
            }
        }
    }
}

impl Session for Loaded {
    fn actual(&self) -> Actual {
        Actual {
            accelerator: Reading::Present(Accelerator::Cpu.as_str().to_owned()),
            provider: Reading::absent(Code::NoProviders.template()),
            device: Reading::absent(Code::CpuAlone.template()),
            delegated: Reading::absent(Code::NoDelegates.template()),
            rest: Vec::new(),
            precision: Reading::Present(AS_IN_THE_MODEL.to_owned()),
            threads: Reading::absent(Code::ThreadsUncounted.template()),
            affinity: Reading::absent("read by the process"),
            fallback: None,
            signature: None,
            loaded: Vec::new(),
        }
    }

    fn compiled_in(&self) -> Option<Duration> {
        Some(self.compiled_in)
    }

    fn set_inputs(&mut self, inputs: &[NamedTensor]) -> Result<(), RuntimeError> {
        let ready: Result<TVec<TValue>, RuntimeError> =
            self.inputs.iter().map(|name| Ok(TValue::from(to_tract(super::input(inputs, name)?)?))).collect();
        self.ready = ready?;
        Ok(())
    }

    fn outputs(&mut self) -> Result<Vec<NamedTensor>, RuntimeError> {
        let named = self.outputs.iter().zip(&self.last);
        named.map(|(name, value)| Ok((name.clone(), from_tract(value)?))).collect()
    }

    fn operators(&mut self) -> Result<OperatorProfile, String> {
        let Operators { runs, sums } = self.operators.take().ok_or("the session was not loaded to tell")?;
        let model = self.plan.model();
        let operator = |(node, sum): (usize, Duration)| {
            let node = model.node(node);
            OperatorTime {
                name: node.name.clone(),
                kind: node.op.name().into_owned(),
                place: Accelerator::Cpu.as_str().to_owned(),
                mean_us: sum.as_secs_f64() * 1e6 / f64::from(runs.max(1)),
            }
        };
        Ok(OperatorProfile::new(runs, sums.into_iter().map(operator).collect()))
    }
}

fn to_tract(tensor: &Tensor) -> Result<TractTensor, RuntimeError> {
    let fail = |error: TractError| RuntimeError::new(Claim::SpecError, format!("an input: {error:#}"));
    let mut converted = TractTensor::zero_dt(datum_type(tensor.dtype()), tensor.shape()).map_err(fail)?;
    converted.as_bytes_mut().copy_from_slice(tensor.bytes());
    Ok(converted)
}

fn from_tract(value: &TractTensor) -> Result<Tensor, RuntimeError> {
    let fail = |error: String| RuntimeError::new(Claim::RunFail, format!("an output: {error}"));
    let plain = if value.datum_type() == DatumType::TDim {
        value.cast_to_dt(DatumType::I64).map_err(|error| fail(format!("{error:#}")))?.into_owned()
    } else {
        value.clone()
    };
    let kind = dtype(plain.datum_type()).ok_or_else(|| fail(format!("{:?} is no number", plain.datum_type())))?;
    Tensor::new(kind, plain.shape().to_vec(), plain.as_bytes().to_vec()).map_err(|error| fail(error.to_string()))
}

const fn datum_type(dtype: DType) -> DatumType {
    match dtype {
        DType::F32 => DatumType::F32,
        DType::F64 => DatumType::F64,
        DType::F16 => DatumType::F16,
        DType::I8 => DatumType::I8,
        DType::U8 => DatumType::U8,
        DType::I16 => DatumType::I16,
        DType::U16 => DatumType::U16,
        DType::I32 => DatumType::I32,
        DType::U32 => DatumType::U32,
        DType::I64 => DatumType::I64,
        DType::U64 => DatumType::U64,
        DType::Bool => DatumType::Bool,
    }
}

/// `None` for what is no plain number. Quantised types are their storage.
fn dtype(datum: DatumType) -> Option<DType> {
    let plain = if datum == DatumType::TDim { DatumType::I64 } else { datum.unquantized() };
    DType::ALL.into_iter().find(|&dtype| datum_type(dtype) == plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_core::model::Precision;

    #[test]
    fn the_version_that_is_reported_is_the_one_that_is_built() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"tract-onnx\"\nversion = \"{VERSION}\"")));
    }

    #[test]
    fn the_thread_that_times_is_one_of_the_threads() {
        let timing = std::thread::spawn(|| {
            start_threads(2).unwrap();
            (rayon::current_thread_index(), rayon::current_num_threads())
        });
        assert_eq!(timing.join().unwrap(), (Some(0), 2));
    }

    #[test]
    fn a_gpu_is_refused_and_never_silently_a_cpu() {
        let request = LoadRequest {
            accelerator: Accelerator::Gpu,
            threads: 1,
            provider: None,
            precision: None,
            variant: Precision::Fp32,
            inputs: &[],
            operator_profile: None,
        };
        assert_eq!(check(&request).unwrap_err().claim, Claim::UnsupportedBackend);
    }

    #[test]
    fn a_precision_other_than_the_models_own_is_refused() {
        let request = LoadRequest {
            accelerator: Accelerator::Cpu,
            threads: 1,
            provider: None,
            precision: Some(Precision::Fp32),
            variant: Precision::Int8,
            inputs: &[],
            operator_profile: None,
        };
        let error = check(&request).unwrap_err();
        assert_eq!(error.claim, Claim::UnsupportedBackend);
        assert_eq!(error.message, "tract computes in the model's own precision, int8, and is asked for fp32");
        assert_eq!(check(&LoadRequest { variant: Precision::Fp32, ..request }), Ok(()));
    }

    #[test]
    fn tensors_come_back_from_tract_as_they_went() {
        let tensor = Tensor::from_f32(vec![2, 3], &[1.0, -2.0, 0.5, f32::NAN, 3.25, 0.0]).unwrap();
        let back = from_tract(&to_tract(&tensor).unwrap()).unwrap();
        assert_eq!(back.bytes(), tensor.bytes());
        assert_eq!(back.shape(), tensor.shape());
    }

    #[test]
    fn a_panic_is_an_answer() {
        let error = guarded::<()>("loading", Claim::LoadFail, || panic!("index out of bounds")).unwrap_err();
        assert_eq!(error.message, "tract panicked while loading: index out of bounds");
    }
}
