//! ONNX Runtime, from a runtime package: nothing of it is built in, so that its version is a variable.
#![expect(unsafe_code, reason = "the timed call and tensors as bytes go past the wrapper, to the engine itself")]

mod profile;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, Session as OrtSession};
use ort::value::{DynTensor, DynValue, Outlet, TensorElementType};
use ort::{AsPointer as _, LoadDynamicError, sys};
use seatrial_core::backend::Accelerator;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::model::{Axis, Format, Precision, Signature, TensorSpec};
use seatrial_core::operators::{Delegation, OperatorProfile};
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::report::Actual;
use seatrial_core::runtimes::Engine;
use seatrial_core::tensor::{DType, Tensor};

use self::profile::Told;
use super::package::in_full;
use super::vulkan;
use super::{LoadRequest, ModelFiles, Runtime, RuntimeError, Session};
use crate::child::spec::PlacedPackage;
use crate::child::timing::Timed;
use crate::data::NamedTensor;

/// The library, loaded into this process. A process loads one and keeps it to its end.
pub(super) struct Onnxruntime {
    environment: Environment,
    version: String,
}

/// Beginning of the name of the engine's profile, which ends as the engine likes.
const PROFILE_PREFIX: &str = "operators";

impl Onnxruntime {
    /// Loads the library of a package; its companions are found beside it.
    pub(super) fn open(package: &PlacedPackage) -> Result<Self, RuntimeError> {
        let builder = ort::init_from(package.library()).map_err(|error| package.refused(&said(&error)))?;
        let environment = builder.with_name("seatrial").with_telemetry(false).build().map_err(|error| {
            RuntimeError::new(Claim::UnsupportedBackend, format!("onnxruntime does not start: {error}"))
        })?;
        Ok(Self { environment, version: package.version.clone() })
    }

    fn session(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> ort::Result<OrtSession> {
        let mut builder = OrtSession::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(request.threads.into())?
            .with_inter_threads(1)?;
        if let Some(provider) = Provider::of(request.accelerator) {
            builder = builder.with_execution_providers([provider.dispatch])?;
        }
        if let Some(folder) = request.operator_profile {
            builder = builder.with_profiling(folder.join(PROFILE_PREFIX))?;
        }
        builder.commit_from_file(files.main().map_err(|error| ort::Error::new(error.message))?)
    }
}

/// The wrapper's error leaves out what the linker said.
fn said(error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::Dlopen { error, .. } => in_full(error),
        LoadDynamicError::MissingApi { .. }
        | LoadDynamicError::InvalidVersionString
        | LoadDynamicError::BadVersion { .. } => error.to_string(),
    }
}

/// The engine's part for an accelerator, under the name that it has in a profile.
struct Provider {
    name: &'static str,
    /// Starts it; a failure to is an error, never a silent run on the CPU.
    dispatch: ExecutionProviderDispatch,
}

impl Provider {
    /// Of several, the one that the library has; when it has none, the engine's own words say so.
    fn of(accelerator: Accelerator) -> Option<Self> {
        let (name, dispatch) = match accelerator {
            Accelerator::Cpu => return None,
            Accelerator::Gpu => ("WebGpuExecutionProvider", ep::WebGPU::default().build()),
            Accelerator::Npu if has(ep::QNN::is_available()) => {
                ("QNNExecutionProvider", ep::QNN::default().with_backend_path("libQnnHtp.so").build())
            }
            Accelerator::Npu => ("NnapiExecutionProvider", ep::NNAPI::default().with_disable_cpu(true).build()),
        };
        Some(Self { name, dispatch: dispatch.error_on_failure() })
    }
}

/// Whether the library was built with a provider.
fn has(available: ort::Result<bool>) -> bool {
    available.unwrap_or(false)
}

impl Runtime for Onnxruntime {
    fn name(&self) -> &'static str {
        Engine::Onnxruntime.as_str()
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn probe(&self) -> RuntimeOffer {
        let mut accelerators = vec![Accelerator::Cpu];
        let mut absent = BTreeMap::new();
        if has(ep::WebGPU::is_available()) {
            match vulkan::devices(self.name()) {
                Ok(_) => accelerators.push(Accelerator::Gpu),
                Err(error) => _ = absent.insert(Accelerator::Gpu, error.message),
            }
        }
        if has(ep::QNN::is_available()) || has(ep::NNAPI::is_available()) {
            accelerators.push(Accelerator::Npu);
        }
        let formats = Engine::Onnxruntime.formats().to_vec();
        RuntimeOffer { name: self.name().to_owned(), version: self.version(), formats, accelerators, absent }
    }

    fn describe(&self, files: &ModelFiles<'_>) -> Result<Signature, RuntimeError> {
        check_format(files.format)?;
        let request = LoadRequest {
            accelerator: Accelerator::Cpu,
            threads: 1,
            precision: None,
            inputs: &[],
            operator_profile: None,
        };
        signature(&self.session(files, &request).map_err(|error| load_error(&error))?)
    }

    fn load(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> Result<Box<dyn Session>, RuntimeError> {
        check_format(files.format)?;
        check_precision(request.precision)?;
        let gpu = match request.accelerator {
            Accelerator::Gpu => Some(vulkan::devices(self.name())?),
            Accelerator::Cpu | Accelerator::Npu => None,
        };
        let session = self.session(files, request).map_err(|error| match request.accelerator {
            Accelerator::Cpu => load_error(&error),
            Accelerator::Gpu | Accelerator::Npu => accelerator_error(request.accelerator, &error),
        })?;
        let software = gpu.as_deref().and_then(vulkan::only_software);
        let gpu = gpu.map(|devices| vulkan::told(&devices));
        Ok(Box::new(Loaded { gpu, software, ..Loaded::new(session, request)? }))
    }
}

fn check_format(format: Format) -> Result<(), RuntimeError> {
    if Engine::Onnxruntime.formats().contains(&format) {
        return Ok(());
    }
    Err(RuntimeError::new(Claim::UnsupportedBackend, format!("onnxruntime reads ONNX, not {}", format.as_str())))
}

fn check_precision(precision: Option<Precision>) -> Result<(), RuntimeError> {
    match precision {
        None | Some(Precision::Fp32) => Ok(()),
        Some(precision) => {
            let message = format!("onnxruntime computes in the model's own precision, not in {}", precision.as_str());
            Err(RuntimeError::new(Claim::UnsupportedBackend, message))
        }
    }
}

fn load_error(error: &ort::Error) -> RuntimeError {
    let message = error.to_string();
    let lower = message.to_ascii_lowercase();
    let unsupported =
        ["not implemented", "no such operator", "is not a registered function/op", "could not find an implementation"];
    let claim = if unsupported.iter().any(|words| lower.contains(words)) {
        Claim::UnsupportedOp
    } else if found_no_memory(&lower) {
        Claim::OutOfMemory
    } else {
        Claim::LoadFail
    };
    RuntimeError::new(claim, message)
}

/// The engine's own allocators, and C++'s.
fn found_no_memory(lower: &str) -> bool {
    ["failed to allocate memory", "bad_alloc", "bad allocation"].iter().any(|words| lower.contains(words))
}

/// The library has no such provider, or there is no device for it; what else goes wrong with a model is the model's.
fn accelerator_error(accelerator: Accelerator, error: &ort::Error) -> RuntimeError {
    let message = error.to_string();
    let lower = message.to_ascii_lowercase();
    let absent = ["not enabled in this build", "not supported in this build", "adapter", "requestdevice", "no device"];
    if absent.iter().any(|words| lower.contains(words)) {
        let message = format!("onnxruntime has no {} here: {message}", accelerator.as_str());
        return RuntimeError::new(Claim::UnsupportedBackend, message);
    }
    load_error(error)
}

fn run_error(message: String) -> RuntimeError {
    let no_memory = found_no_memory(&message.to_ascii_lowercase());
    RuntimeError::new(if no_memory { Claim::OutOfMemory } else { Claim::RunFail }, message)
}

// --- signatures ---

fn signature(session: &OrtSession) -> Result<Signature, RuntimeError> {
    let read = |outlets: &[Outlet]| outlets.iter().map(tensor_spec).collect::<Result<Vec<_>, _>>();
    Ok(Signature { inputs: read(session.inputs())?, outputs: read(session.outputs())? })
}

fn tensor_spec(outlet: &Outlet) -> Result<TensorSpec, RuntimeError> {
    let refuse = |what: String| RuntimeError::new(Claim::UnsupportedOp, format!("{:?} is {what}", outlet.name()));
    let (Some(element), Some(shape)) = (outlet.dtype().tensor_type(), outlet.dtype().tensor_shape()) else {
        return Err(refuse("no tensor".to_owned()));
    };
    let dtype = dtype(element).ok_or_else(|| refuse(format!("a tensor of {element}")))?;
    let axis = |(index, &size): (usize, &i64)| {
        u64::try_from(size).map_or_else(|_| Axis::Named(format!("axis{index}")), Axis::Fixed)
    };
    Ok(TensorSpec { name: outlet.name().to_owned(), dtype, shape: shape.iter().enumerate().map(axis).collect() })
}

const fn element_type(dtype: DType) -> TensorElementType {
    match dtype {
        DType::F32 => TensorElementType::Float32,
        DType::F64 => TensorElementType::Float64,
        DType::F16 => TensorElementType::Float16,
        DType::I8 => TensorElementType::Int8,
        DType::U8 => TensorElementType::Uint8,
        DType::I16 => TensorElementType::Int16,
        DType::U16 => TensorElementType::Uint16,
        DType::I32 => TensorElementType::Int32,
        DType::U32 => TensorElementType::Uint32,
        DType::I64 => TensorElementType::Int64,
        DType::U64 => TensorElementType::Uint64,
        DType::Bool => TensorElementType::Bool,
    }
}

fn dtype(element: TensorElementType) -> Option<DType> {
    DType::ALL.into_iter().find(|&dtype| element_type(dtype) == element)
}

// --- running ---

struct Loaded {
    session: OrtSession,
    binding: IoBinding,
    output_names: Vec<String>,
    accelerator: Accelerator,
    threads: u16,
    signature: Signature,
    /// Where the engine's profile comes to lie, in the process that asks.
    profile: Option<PathBuf>,
    delegation: Option<Delegation>,
    /// The devices among which the provider chooses.
    gpu: Option<String>,
    /// Why none of them is a GPU.
    software: Option<String>,
}

impl Loaded {
    fn new(session: OrtSession, request: &LoadRequest<'_>) -> Result<Self, RuntimeError> {
        let fail = |error: ort::Error| run_error(error.to_string());
        let signature = signature(&session)?;
        let mut binding = session.create_binding().map_err(fail)?;
        // Outputs come to memory that we can read, wherever they were computed: that is part of an inference.
        let cpu =
            MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default).map_err(fail)?;
        let output_names: Vec<String> = session.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
        for name in &output_names {
            binding.bind_output_to_device(name, &cpu).map_err(fail)?;
        }
        Ok(Self {
            session,
            binding,
            output_names,
            accelerator: request.accelerator,
            threads: request.threads,
            signature,
            profile: request.operator_profile.map(Path::to_owned),
            delegation: None,
            gpu: None,
            software: None,
        })
    }
}

impl Timed for Loaded {
    type Error = RuntimeError;

    fn make_ready(&mut self) {}

    /// The engine's own call and nothing else: the wrapper would also fetch the outputs.
    fn infer(&mut self) -> Result<(), RuntimeError> {
        // SAFETY: session and binding are alive, and nobody else uses them.
        let status =
            unsafe { (ort::api().RunWithBinding)(self.session.ptr().cast_mut(), ptr::null(), self.binding.ptr()) };
        match NonNull::new(status.0) {
            None => Ok(()),
            Some(status) => Err(run_error(take_message(status))),
        }
    }
}

/// The text of a status, which is given back.
fn take_message(status: NonNull<sys::OrtStatus>) -> String {
    // SAFETY: a status that is not null is ours until it is released; its text lives until then.
    unsafe {
        let text = CStr::from_ptr((ort::api().GetErrorMessage)(status.as_ptr())).to_string_lossy().into_owned();
        (ort::api().ReleaseStatus)(status.as_ptr());
        text
    }
}

impl Session for Loaded {
    fn actual(&self) -> Actual {
        Actual {
            accelerator: Reading::Present(self.accelerator.as_str().to_owned()),
            delegated: match &self.delegation {
                Some(delegation) => Reading::Present(delegation.delegated),
                None => Reading::absent("no process asked the engine about its operators"),
            },
            rest: self.delegation.as_ref().map(|delegation| delegation.rest.clone()).unwrap_or_default(),
            precision: Reading::Present("as in the model".to_owned()),
            threads: Reading::Present(self.threads),
            affinity: Reading::absent("read by the process"),
            fallback: self.fallback(),
            signature: Some(self.signature.clone()),
            loaded: Vec::new(),
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        self.gpu.iter().map(|gpu| ("gpu", gpu.clone())).collect()
    }

    fn set_inputs(&mut self, inputs: &[NamedTensor]) -> Result<(), RuntimeError> {
        for spec in &self.signature.inputs {
            let tensor = super::input(inputs, &spec.name)?;
            let value = to_ort(tensor).map_err(|error| run_error(error.to_string()))?;
            self.binding.bind_input(&spec.name, &value).map_err(|error| run_error(error.to_string()))?;
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Vec<NamedTensor>, RuntimeError> {
        let values = self.bound_outputs()?;
        self.output_names.iter().zip(values).map(|(name, value)| Ok((name.clone(), from_ort(name, value)?))).collect()
    }

    fn operators(&mut self) -> Result<OperatorProfile, String> {
        let folder = self.profile.take().ok_or("the session was not loaded to tell")?;
        let path = self.session.end_profiling().map_err(|error| error.to_string())?;
        let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
        let Told { runs, operators } = profile::read(&folder, &name.unwrap_or_default())?;
        if let Some(provider) = Provider::of(self.accelerator) {
            self.delegation = Some(Delegation::count(&operators, |place| place == provider.name));
        }
        Ok(OperatorProfile::new(runs, operators))
    }
}

impl Loaded {
    /// Operators that the provider left to the CPU, or a provider that itself computes there.
    fn fallback(&self) -> Option<String> {
        let left = self.delegation.as_ref().and_then(|delegation| delegation.fallback(self.accelerator.as_str()));
        left.or_else(|| self.software.clone())
    }

    fn bound_outputs(&self) -> Result<Vec<DynValue>, RuntimeError> {
        let allocator = self.session.allocator();
        let (mut values, mut count) = (ptr::null_mut(), 0);
        // SAFETY: the binding is alive and has been run; the engine fills the pointer and the count.
        let status = unsafe {
            (ort::api().GetBoundOutputValues)(
                self.binding.ptr(),
                allocator.ptr().cast_mut(),
                &raw mut values,
                &raw mut count,
            )
        };
        if let Some(status) = NonNull::new(status.0) {
            return Err(run_error(take_message(status)));
        }
        let mut taken = Vec::with_capacity(count);
        if !values.is_null() {
            for index in 0..count {
                // SAFETY: the engine has made `count` values, and each is ours from here on.
                if let Some(value) = NonNull::new(unsafe { *values.add(index) }) {
                    taken.push(unsafe { DynValue::from_ptr(value, Some(allocator)) });
                }
            }
            // SAFETY: the array itself came from this allocator.
            unsafe { allocator.free(values) };
        }
        Ok(taken)
    }
}

fn to_ort(tensor: &Tensor) -> ort::Result<DynTensor> {
    let shape: Vec<i64> = tensor.shape().iter().map(|&axis| axis as i64).collect();
    let mut value = DynTensor::new(&Allocator::default(), element_type(tensor.dtype()), shape)?;
    let bytes = tensor.bytes();
    if !bytes.is_empty() {
        // SAFETY: the engine has allocated this tensor of the same type and shape on the CPU, so it has as many bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), value.data_ptr_mut().cast::<u8>(), bytes.len()) };
    }
    Ok(value)
}

fn from_ort(name: &str, value: DynValue) -> Result<Tensor, RuntimeError> {
    let refuse = |what: &str| run_error(format!("output {name:?} {what}"));
    let (Some(element), Some(shape)) = (value.dtype().tensor_type(), value.dtype().tensor_shape()) else {
        return Err(refuse("is no tensor"));
    };
    let dtype = dtype(element).ok_or_else(|| refuse(&format!("holds {element}")))?;
    let shape: Option<Vec<usize>> = shape.iter().map(|&axis| usize::try_from(axis).ok()).collect();
    let shape = shape.ok_or_else(|| refuse("has an open shape"))?;
    let size = shape.iter().try_fold(dtype.size(), |size, &axis| size.checked_mul(axis));
    let size = size.ok_or_else(|| refuse("is too large"))?;
    let tensor = value.downcast::<ort::value::DynTensorValueType>().map_err(|error| refuse(&error.to_string()))?;
    let bytes = if size == 0 {
        Vec::new()
    } else {
        // SAFETY: the output was bound to the CPU, and the engine says that it has this type and shape.
        unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), size) }.to_vec()
    };
    Tensor::new(dtype, shape, bytes).map_err(|error| refuse(&error.to_string()))
}
