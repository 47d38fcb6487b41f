//! ONNX Runtime, from a runtime package: nothing of it is built in, so that its version is a variable.
#![expect(unsafe_code, reason = "the timed call and tensors as bytes go past the wrapper, to the engine itself")]

mod profile;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};

use libloading::Library;
use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, Session as OrtSession};
use ort::value::{DynTensor, DynValue, Outlet, TensorElementType};
use ort::{AsPointer as _, LoadDynamicError, sys};
use seatrial_core::actual::{AS_IN_THE_MODEL, Actual};
use seatrial_core::backend::{Accelerator, Provider};
use seatrial_core::device::RuntimeOffer;
use seatrial_core::model::{Axis, Format, Precision, Signature, TensorSpec};
use seatrial_core::operators::{Delegation, OperatorProfile};
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};
use seatrial_core::runtimes::Engine;
use seatrial_core::tensor::{DType, Tensor};

use self::profile::Told;
use super::package::{in_full, is_here};
use super::vulkan;
use super::{LoadRequest, ModelFiles, Runtime, RuntimeError, Session};
use crate::child::spec::PlacedPackage;
use crate::child::timing::Timed;
use crate::data::NamedTensor;

/// The library, loaded into this process. A process loads one and keeps it to its end.
pub(super) struct Onnxruntime {
    environment: Environment,
    /// As the library itself says.
    version: String,
    /// Of the package: some providers load libraries that lie there.
    folder: PathBuf,
}

/// Why it is not known on what the operators are.
const UNASKED: &str = "no process asked the engine about its operators";
/// Beginning of the name of the engine's profile, which ends as the engine likes.
const PROFILE_PREFIX: &str = "operators";

impl Onnxruntime {
    /// Loads the library of a package; its companions are found beside it.
    pub(super) fn open(package: &PlacedPackage) -> Result<Self, RuntimeError> {
        let version = own_version(&package.library()).map_err(|why| package.refused(&why))?;
        package.agree(&version)?;
        let builder = ort::init_from(package.library()).map_err(|error| package.refused(&said(&error)))?;
        let environment = builder.with_name("seatrial").with_telemetry(false).build().map_err(|error| {
            RuntimeError::new(Claim::UnsupportedBackend, format!("onnxruntime does not start: {error}"))
        })?;
        Ok(Self { environment, version, folder: package.folder.clone() })
    }

    fn session(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> ort::Result<OrtSession> {
        let provider = Part::of(request, &self.folder);
        let threads = if provider.as_ref().is_some_and(|part| part.own_threads) { 1 } else { request.threads };
        let mut builder = OrtSession::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads.into())?
            .with_inter_threads(1)?;
        if let Some(part) = provider {
            builder = builder.with_execution_providers([part.dispatch])?;
        }
        if let Some(folder) = request.operator_profile {
            builder = builder.with_profiling(folder.join(PROFILE_PREFIX))?;
        }
        builder.commit_from_file(files.main().map_err(|error| ort::Error::new(error.message))?)
    }
}

/// What the library says of itself. One without an interface would end the process inside the wrapper.
fn own_version(library: &Path) -> Result<String, String> {
    // SAFETY: in a child, and the wrapper is about to do the same.
    unsafe {
        let library = Library::new(library).map_err(|error| in_full(&error))?;
        let base: libloading::Symbol<'_, unsafe extern "C" fn() -> *const sys::OrtApiBase> =
            library.get(b"OrtGetApiBase\0").map_err(|error| in_full(&error))?;
        let base = base().as_ref().ok_or("its OrtGetApiBase gives nothing")?;
        let version = (base.GetVersionString)();
        if version.is_null() {
            return Err("it does not tell its version".to_owned());
        }
        let version = CStr::from_ptr(version).to_string_lossy().into_owned();
        // It stays loaded: what its initialisers began may go on.
        std::mem::forget(library);
        Ok(version)
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

/// A provider that is not the engine's own for the CPU.
struct Part {
    dispatch: ExecutionProviderDispatch,
    /// It has a pool of its own, beside which the engine's would only wait for the same CPUs.
    own_threads: bool,
}

impl Part {
    fn of(request: &LoadRequest<'_>, folder: &Path) -> Option<Self> {
        let dispatch = match provider(request.accelerator, request.provider)? {
            Provider::Webgpu => ep::WebGPU::default().build(),
            // Its own default is fp16, whatever the model has.
            Provider::Qnn => ep::QNN::default()
                .with_backend_path(htp(folder).to_string_lossy())
                .with_htp_fp16_precision(request.precision == Some(Precision::Fp16))
                .build(),
            Provider::Nnapi => ep::NNAPI::default().with_disable_cpu(true).build(),
            Provider::Xnnpack => {
                let threads = NonZeroUsize::new(request.threads.into()).unwrap_or(NonZeroUsize::MIN);
                let dispatch = ep::XNNPACK::default().with_intra_op_num_threads(threads).build();
                return Some(Self { dispatch: dispatch.error_on_failure(), own_threads: true });
            }
        };
        // A failure to start it is an error, never a silent run on the CPU.
        Some(Self { dispatch: dispatch.error_on_failure(), own_threads: false })
    }
}

/// Qualcomm's library for its NPU: beside the engine, else the device's own.
fn htp(folder: &Path) -> PathBuf {
    const NAME: &str = "libQnnHtp.so";
    let beside = folder.join(NAME);
    if beside.is_file() { beside } else { PathBuf::from(NAME) }
}

/// Whether the library was built with a provider.
fn has(provider: Provider) -> bool {
    let available = match provider {
        Provider::Xnnpack => ep::XNNPACK::is_available(),
        Provider::Webgpu => ep::WebGPU::is_available(),
        Provider::Qnn => ep::QNN::is_available(),
        Provider::Nnapi => ep::NNAPI::is_available(),
    };
    available.unwrap_or(false)
}

/// The one that is asked for, else for an accelerator the one that the library has; when it has none, the engine's own
/// words say so.
fn provider(accelerator: Accelerator, asked: Option<Provider>) -> Option<Provider> {
    asked.or_else(|| match accelerator {
        Accelerator::Cpu => None,
        Accelerator::Gpu => Some(Provider::Webgpu),
        Accelerator::Npu if has(Provider::Qnn) => Some(Provider::Qnn),
        Accelerator::Npu => Some(Provider::Nnapi),
    })
}

/// The name that a provider has in the engine's profile.
const fn in_profile(provider: Provider) -> &'static str {
    match provider {
        Provider::Xnnpack => "XnnpackExecutionProvider",
        Provider::Webgpu => "WebGpuExecutionProvider",
        Provider::Qnn => "QNNExecutionProvider",
        Provider::Nnapi => "NnapiExecutionProvider",
    }
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
        if has(Provider::Webgpu) {
            match vulkan::devices(self.name()) {
                Ok(_) => accelerators.push(Accelerator::Gpu),
                Err(error) => _ = absent.insert(Accelerator::Gpu, error.message),
            }
        }
        let driver = match (has(Provider::Qnn), has(Provider::Nnapi)) {
            (true, _) => Some(htp(&self.folder)),
            (false, true) => Some(PathBuf::from("libneuralnetworks.so")),
            (false, false) => None,
        };
        match driver.map(|driver| is_here(&driver)) {
            None => {}
            Some(Ok(())) => accelerators.push(Accelerator::Npu),
            Some(Err(why)) => _ = absent.insert(Accelerator::Npu, why),
        }
        let formats = Engine::Onnxruntime.formats().to_vec();
        RuntimeOffer { name: self.name().to_owned(), version: self.version(), formats, accelerators, absent }
    }

    fn describe(&self, files: &ModelFiles<'_>) -> Result<Signature, RuntimeError> {
        check_format(files.format)?;
        let request = LoadRequest {
            accelerator: Accelerator::Cpu,
            threads: 1,
            provider: None,
            precision: None,
            variant: Precision::Fp32,
            inputs: &[],
            operator_profile: None,
        };
        signature(&self.session(files, &request).map_err(|error| load_error(&error))?)
    }

    fn load(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> Result<Box<dyn Session>, RuntimeError> {
        check_format(files.format)?;
        let provider = provider(request.accelerator, request.provider);
        // The one provider that can be told.
        if (provider, request.precision) != (Some(Provider::Qnn), Some(Precision::Fp16)) {
            super::own_precision(self.name(), request)?;
        }
        if let Some(provider) = provider.filter(|&provider| !has(provider)) {
            let (version, name) = (&self.version, provider.as_str());
            let message = format!("onnxruntime {version} was built without {name}, its provider for this");
            return Err(RuntimeError::new(Claim::UnsupportedBackend, message));
        }
        let gpu = match request.accelerator {
            Accelerator::Gpu => Some(vulkan::devices(self.name())?),
            Accelerator::Cpu | Accelerator::Npu => None,
        };
        let session = self.session(files, request).map_err(|error| {
            provider.map_or_else(|| load_error(&error), |provider| provider_error(provider, &error))
        })?;
        Ok(Box::new(Loaded { gpu: gpu.unwrap_or_default(), ..Loaded::new(session, request)? }))
    }
}

fn check_format(format: Format) -> Result<(), RuntimeError> {
    if Engine::Onnxruntime.formats().contains(&format) {
        return Ok(());
    }
    Err(RuntimeError::new(Claim::UnsupportedBackend, format!("onnxruntime reads ONNX, not {}", format.as_str())))
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
fn provider_error(provider: Provider, error: &ort::Error) -> RuntimeError {
    let message = error.to_string();
    let lower = message.to_ascii_lowercase();
    let absent = ["not enabled in this build", "not supported in this build", "adapter", "requestdevice", "no device"];
    if absent.iter().any(|words| lower.contains(words)) {
        let (name, accelerator) = (provider.as_str(), provider.accelerator().as_str());
        let message = format!("onnxruntime has no {name} for the {accelerator} here: {message}");
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
    Ok(Signature { inputs: read(session.inputs())?, outputs: read(session.outputs())?, precision_from: None })
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
    /// Where it is not the engine's own for the CPU.
    provider: Option<Provider>,
    signature: Signature,
    /// Where the engine's profile comes to lie, in the process that asks.
    profile: Option<PathBuf>,
    delegation: Option<Delegation>,
    /// The devices among which the provider chooses.
    gpu: Vec<vulkan::Device>,
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
            provider: provider(request.accelerator, request.provider),
            signature,
            profile: request.operator_profile.map(Path::to_owned),
            delegation: None,
            gpu: Vec::new(),
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
            accelerator: match (self.accelerator, &self.delegation) {
                (Accelerator::Cpu, _) | (_, Some(_)) => Reading::Present(self.accelerator.as_str().to_owned()),
                (Accelerator::Gpu | Accelerator::Npu, None) => Reading::absent(UNASKED),
            },
            provider: match (self.provider, &self.delegation) {
                (Some(provider), Some(Delegation { delegated: (0, _), .. })) => {
                    Reading::absent(format!("no operator ran on {}", in_profile(provider)))
                }
                (provider, _) => Reading::Present(provider.map_or("CPUExecutionProvider", in_profile).to_owned()),
            },
            device: vulkan::computed_on("onnxruntime", self.accelerator, &self.gpu),
            delegated: match &self.delegation {
                Some(delegation) => Reading::Present(delegation.delegated),
                None => Reading::absent(UNASKED),
            },
            rest: self.delegation.as_ref().map(|delegation| delegation.rest.clone()).unwrap_or_default(),
            precision: match self.provider {
                None | Some(Provider::Xnnpack | Provider::Webgpu) => Reading::Present(AS_IN_THE_MODEL.to_owned()),
                // What a driver makes of fp32 is its own affair, and most make it less.
                Some(Provider::Qnn | Provider::Nnapi) => {
                    Reading::absent(Reason::new(Code::DriverDecides, &[("runtime", &"onnxruntime")]).text())
                }
            },
            threads: Reading::absent(Code::ThreadsUncounted.template()),
            affinity: Reading::absent("read by the process"),
            fallback: self.doubt(),
            signature: Some(self.signature.clone()),
            loaded: Vec::new(),
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        vulkan::facts(&self.gpu)
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
        if let Some(provider) = self.provider {
            self.delegation = Some(Delegation::count(&operators, |place| place == in_profile(provider)));
        }
        Ok(OperatorProfile::new(runs, operators))
    }
}

impl Loaded {
    /// Why it is not known that this is what was asked for.
    fn doubt(&self) -> Option<String> {
        let nnapi = "NNAPI chooses among the device's drivers and does not say which: it may be the GPU's";
        (self.provider == Some(Provider::Nnapi)).then(|| format!("it is not known that the npu computes: {nnapi}"))
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
