//! LiteRT's CompiledModel interface, from a runtime package.
#![expect(unsafe_code, reason = "the engine is a C library that is loaded at run time")]

mod profile;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use edgefirst_tflite_sys::litert::{self as sys, LiteRtFunctions, status};
use libloading::Library;
use seatrial_core::actual::{AS_IN_THE_MODEL, Actual};
use seatrial_core::backend::Accelerator;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::model::{Axis, Precision, Signature, TensorSpec};
use seatrial_core::operators::OperatorProfile;
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};
use seatrial_core::runtimes::Engine;
use seatrial_core::tensor::{DType, Tensor};

use super::package::in_full;
use super::vulkan;
use super::{LoadRequest, ModelFiles, Runtime, RuntimeError, Session};
use crate::child::spec::PlacedPackage;
use crate::child::timing::Timed;
use crate::data::NamedTensor;

/// Whose options the CPU's are, in the engine's own words: its CPU kernels are XNNPACK's.
const CPU_OPTIONS: &CStr = c"xnnpack";
const GPU_OPTIONS: &CStr = c"gpu_options";
const RUNTIME_OPTIONS: &CStr = c"runtime_options_string";
const WEBGPU_ACCELERATOR: &str = "libLiteRtWebGpuAccelerator.so";
/// `kLiteRtEnvOptionTagRuntimeLibraryDir`: where accelerators are looked for. `kLiteRtAnyTypeString`.
const RUNTIME_LIBRARY_DIR: u32 = 22;
const TEXT: u32 = 8;
/// The entry point of a model that is run: its first.
const ENTRY: usize = 0;

type SignatureName = unsafe extern "C" fn(sys::Signature, usize, *mut *const c_char) -> sys::Status;
type CreateOpaqueOptions = unsafe extern "C" fn(
    *const c_char,
    *mut c_void,
    Option<unsafe extern "C" fn(*mut c_void)>,
    *mut *mut c_void,
) -> sys::Status;
type AddOpaqueOptions = unsafe extern "C" fn(sys::Options, *mut c_void) -> sys::Status;
type GetProfiler = unsafe extern "C" fn(sys::CompiledModel, *mut *mut c_void) -> sys::Status;
type SwitchProfiler = unsafe extern "C" fn(*mut c_void) -> sys::Status;
type GetProfileSummary = unsafe extern "C" fn(*mut c_void, sys::CompiledModel, *mut *const c_char) -> sys::Status;
type IsNonCpuFullyAccelerated = unsafe extern "C" fn(sys::CompiledModel, *mut bool) -> sys::Status;

/// The library with an environment, loaded into this process.
pub(super) struct Litert {
    api: Rc<Api>,
    /// As the package says.
    version: String,
    /// Its GPU accelerator computes by Vulkan, not by OpenCL or OpenGL.
    by_vulkan: bool,
}

struct Api {
    functions: LiteRtFunctions,
    environment: sys::Environment,
    input_name: SignatureName,
    output_name: SignatureName,
    create_opaque_options: CreateOpaqueOptions,
    add_opaque_options: AddOpaqueOptions,
    /// Not in every version.
    is_non_cpu_fully_accelerated: Option<IsNonCpuFullyAccelerated>,
    /// Not in every version either.
    profiler: Option<ProfilerApi>,
    /// Stays loaded: up to 2.2.0 it leaves the process a function of its own to call at its end.
    _library: ManuallyDrop<Library>,
}

/// What it takes to have the engine tell of its operators.
#[derive(Clone, Copy)]
struct ProfilerApi {
    get: GetProfiler,
    start: SwitchProfiler,
    stop: SwitchProfiler,
    summary: GetProfileSummary,
}

impl ProfilerApi {
    fn find(library: &Library) -> Option<Self> {
        // SAFETY: the signatures are those of LiteRT's c/litert_compiled_model.h and c/litert_profiler.h.
        unsafe {
            Some(Self {
                get: symbol::<GetProfiler>(library, "LiteRtCompiledModelGetProfiler").ok()?,
                start: symbol::<SwitchProfiler>(library, "LiteRtStartProfiler").ok()?,
                stop: symbol::<SwitchProfiler>(library, "LiteRtStopProfiler").ok()?,
                summary: symbol::<GetProfileSummary>(library, "LiteRtGetProfileSummary").ok()?,
            })
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // SAFETY: made by this library, and destroyed once.
        unsafe { (self.functions.destroy_environment)(self.environment) };
    }
}

impl Litert {
    /// Loads the library of a package; accelerators are found beside it.
    pub(super) fn open(package: &PlacedPackage) -> Result<Self, RuntimeError> {
        // SAFETY: the library's own start-up runs; it is one that the server knows by digest, and this process is a
        // child that holds nothing but one attempt.
        let library = unsafe { Library::new(package.library()) }.map_err(|error| package.refused(&in_full(&error)))?;
        let missing = |name: &str| package.refused(&format!("it has no function {name}"));
        // SAFETY: the table is dropped before the library; the types are those of its headers.
        let functions = unsafe { LiteRtFunctions::try_load(&library) }.map_err(|error| missing(error.name()))?;
        // SAFETY: as above; the signatures are those of LiteRT's c/ headers.
        let (input_name, output_name, create_opaque_options, add_opaque_options, is_non_cpu_fully_accelerated) = unsafe {
            (
                symbol::<SignatureName>(&library, "LiteRtGetSignatureInputName").map_err(missing)?,
                symbol::<SignatureName>(&library, "LiteRtGetSignatureOutputName").map_err(missing)?,
                symbol::<CreateOpaqueOptions>(&library, "LiteRtCreateOpaqueOptions").map_err(missing)?,
                symbol::<AddOpaqueOptions>(&library, "LiteRtAddOpaqueOptions").map_err(missing)?,
                symbol::<IsNonCpuFullyAccelerated>(&library, "LiteRtCompiledModelIsNonCpuFullyAccelerated").ok(),
            )
        };
        let folder = CString::new(package.folder.as_os_str().as_bytes())
            .map_err(|error| RuntimeError::new(Claim::SpecError, format!("the package's folder: {error}")))?;
        // SAFETY: numbers and pointers, for which zero is a value.
        let mut beside: sys::EnvOption = unsafe { std::mem::zeroed() };
        beside.tag = RUNTIME_LIBRARY_DIR;
        beside.value.type_ = TEXT;
        beside.value.__bindgen_anon_1.str_value = folder.as_ptr();
        let mut environment: sys::Environment = ptr::null_mut();
        // SAFETY: one option, whose text lives until the call returns; the engine fills the handle.
        let made = unsafe { (functions.create_environment)(1, &raw const beside, &raw mut environment) };
        check(made, "LiteRtCreateEnvironment", Claim::UnsupportedBackend)?;
        let api = Api {
            functions,
            environment,
            input_name,
            output_name,
            create_opaque_options,
            add_opaque_options,
            is_non_cpu_fully_accelerated,
            profiler: ProfilerApi::find(&library),
            _library: ManuallyDrop::new(library),
        };
        let by_vulkan = package.folder.join(WEBGPU_ACCELERATOR).exists();
        Ok(Self { api: Rc::new(api), version: package.version.clone(), by_vulkan })
    }

    fn accelerators(&self) -> Vec<Accelerator> {
        let functions = &self.api.functions;
        let mut found = vec![Accelerator::Cpu];
        let mut count = 0;
        // SAFETY: the environment is alive; the engine fills what it is pointed to.
        unsafe {
            if (functions.get_num_accelerators)(self.api.environment, &raw mut count) != status::OK {
                return found;
            }
            for index in 0..count {
                let (mut accelerator, mut hardware) = (ptr::null_mut(), 0);
                let known = (functions.get_accelerator)(self.api.environment, index, &raw mut accelerator)
                    == status::OK
                    && (functions.get_accelerator_hardware_support)(accelerator, &raw mut hardware) == status::OK;
                if known && hardware & sys::kLiteRtHwAcceleratorGpu != 0 {
                    found.push(Accelerator::Gpu);
                }
                if known && hardware & sys::kLiteRtHwAcceleratorNpu != 0 {
                    found.push(Accelerator::Npu);
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// # Safety
/// `T` must be the type of the function.
unsafe fn symbol<T: Copy>(library: &Library, name: &'static str) -> Result<T, &'static str> {
    // SAFETY: the caller's.
    unsafe { library.get::<T>(name.as_bytes()) }.map(|symbol| *symbol).map_err(|_| name)
}

fn check(code: sys::Status, call: &str, claim: Claim) -> Result<(), RuntimeError> {
    if code == status::OK {
        return Ok(());
    }
    let what = match code {
        status::ERROR_INVALID_ARGUMENT => "an argument is not valid",
        status::ERROR_MEMORY_ALLOCATION_FAILURE => "memory could not be had",
        status::ERROR_RUNTIME_FAILURE => "it failed",
        status::ERROR_UNSUPPORTED => "it is not supported",
        status::ERROR_NOT_FOUND => "something was not found",
        status::ERROR_DYNAMIC_LOADING => "a library could not be loaded",
        status::ERROR_FILE_IO => "the file cannot be read",
        status::ERROR_INVALID_FLATBUFFER => "the file is no TFLite model",
        status::ERROR_COMPILATION => "the model cannot be compiled",
        _ => "an error without a name of ours",
    };
    let claim = match code {
        status::ERROR_UNSUPPORTED => Claim::UnsupportedOp,
        status::ERROR_MEMORY_ALLOCATION_FAILURE => Claim::OutOfMemory,
        _ => claim,
    };
    Err(RuntimeError::new(claim, format!("{call}: {what} (status {code}); its own words are in the log")))
}

impl Runtime for Litert {
    fn name(&self) -> &'static str {
        Engine::Litert.as_str()
    }

    /// No version of LiteRT has a function that tells it.
    fn version(&self) -> String {
        format!("{}, as the package says", self.version)
    }

    fn probe(&self) -> RuntimeOffer {
        let mut accelerators = self.accelerators();
        let mut absent = BTreeMap::new();
        if accelerators.contains(&Accelerator::Gpu)
            && self.by_vulkan
            && let Err(error) = vulkan::devices(self.name())
        {
            accelerators.retain(|one| *one != Accelerator::Gpu);
            absent.insert(Accelerator::Gpu, error.message);
        }
        let formats = Engine::Litert.formats().to_vec();
        let version = self.version.clone();
        RuntimeOffer { name: self.name().to_owned(), version, formats, accelerators, absent }
    }

    fn describe(&self, files: &ModelFiles<'_>) -> Result<Signature, RuntimeError> {
        Model::open(&self.api, files).and_then(|model| model.signature())
    }

    fn load(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> Result<Box<dyn Session>, RuntimeError> {
        gpu_precision(request)?;
        if !self.accelerators().contains(&request.accelerator) {
            let message = format!("litert {} has no {} here", self.version, request.accelerator.as_str());
            return Err(RuntimeError::new(Claim::UnsupportedBackend, message));
        }
        let gpu = match request.accelerator {
            Accelerator::Gpu if self.by_vulkan => Some(vulkan::devices(self.name())?),
            Accelerator::Gpu | Accelerator::Cpu | Accelerator::Npu => None,
        };
        let model = Model::open(&self.api, files)?;
        let signature = model.signature()?;
        let mut loaded = Loaded::new(model, signature, request)?;
        loaded.gpu = gpu.unwrap_or_default();
        Ok(Box::new(loaded))
    }
}

/// `LiteRtDelegatePrecision` of a request. Left alone, a GPU would compute an fp32 model in fp16.
fn gpu_precision(request: &LoadRequest<'_>) -> Result<u32, RuntimeError> {
    let refuse = |precision: Precision| {
        let (precision, accelerator) = (precision.as_str(), request.accelerator.as_str());
        let message = format!("litert does not compute in {precision} on the {accelerator}");
        Err(RuntimeError::new(Claim::UnsupportedBackend, message))
    };
    match (request.accelerator, request.precision) {
        (Accelerator::Gpu, None | Some(Precision::Fp32)) => Ok(2),
        (Accelerator::Gpu, Some(Precision::Fp16)) => Ok(1),
        (Accelerator::Gpu, Some(precision)) => refuse(precision),
        (Accelerator::Cpu | Accelerator::Npu, _) => super::own_precision("litert", request).map(|()| 2),
    }
}

// --- the model ---

struct Model {
    raw: sys::Model,
    /// Shared, so that the library is there as long as the model is.
    api: Rc<Api>,
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by this library, and destroyed once.
        unsafe { (self.api.functions.destroy_model)(self.raw) };
    }
}

impl Model {
    fn open(api: &Rc<Api>, files: &ModelFiles<'_>) -> Result<Self, RuntimeError> {
        if !Engine::Litert.formats().contains(&files.format) {
            let message = format!("litert reads TFLite, not {}", files.format.as_str());
            return Err(RuntimeError::new(Claim::UnsupportedBackend, message));
        }
        let path = files.main()?;
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|error| RuntimeError::new(Claim::SpecError, format!("the model's path: {error}")))?;
        let mut raw: sys::Model = ptr::null_mut();
        // SAFETY: the environment is alive and the path ends with a zero; the engine fills the handle.
        let read = unsafe { (api.functions.create_model_from_file)(api.environment, path.as_ptr(), &raw mut raw) };
        check(read, "LiteRtCreateModelFromFile", Claim::LoadFail)?;
        Ok(Self { raw, api: Rc::clone(api) })
    }

    fn signature(&self) -> Result<Signature, RuntimeError> {
        let functions = &self.api.functions;
        let fail = |code, call| check(code, call, Claim::LoadFail);
        let (mut entry, mut inputs, mut outputs) = (ptr::null_mut(), 0, 0);
        // SAFETY: the model is alive; the engine fills what it is pointed to.
        unsafe {
            fail((functions.get_model_signature)(self.raw, ENTRY, &raw mut entry), "LiteRtGetModelSignature")?;
            fail((functions.get_num_signature_inputs)(entry, &raw mut inputs), "LiteRtGetNumSignatureInputs")?;
            fail((functions.get_num_signature_outputs)(entry, &raw mut outputs), "LiteRtGetNumSignatureOutputs")?;
        }
        let input = |index| {
            let mut tensor = ptr::null_mut();
            // SAFETY: the index is below the number that the engine gave.
            let code = unsafe { (functions.get_signature_input_tensor_by_index)(entry, index, &raw mut tensor) };
            fail(code, "LiteRtGetSignatureInputTensorByIndex")?;
            self.tensor(tensor_name(entry, index, self.api.input_name)?, tensor)
        };
        let output = |index| {
            let mut tensor = ptr::null_mut();
            // SAFETY: as above.
            let code = unsafe { (functions.get_signature_output_tensor_by_index)(entry, index, &raw mut tensor) };
            fail(code, "LiteRtGetSignatureOutputTensorByIndex")?;
            self.tensor(tensor_name(entry, index, self.api.output_name)?, tensor)
        };
        Ok(Signature {
            inputs: (0..inputs).map(input).collect::<Result<_, _>>()?,
            outputs: (0..outputs).map(output).collect::<Result<_, _>>()?,
            precision_from: None,
        })
    }

    fn tensor(&self, name: String, tensor: sys::Tensor) -> Result<TensorSpec, RuntimeError> {
        let ranked = self.ranked(tensor)?;
        let dtype = dtype(ranked.element_type).ok_or_else(|| {
            let message = format!("{name:?} has the element type {} of LiteRT, which is not read", ranked.element_type);
            RuntimeError::new(Claim::UnsupportedOp, message)
        })?;
        let axis = |(index, &size): (usize, &i32)| {
            u64::try_from(size).map_or_else(|_| Axis::Named(format!("axis{index}")), Axis::Fixed)
        };
        let rank = ranked.layout.rank() as usize;
        let shape = ranked.layout.dimensions.iter().take(rank).enumerate().map(axis).collect();
        Ok(TensorSpec { name, dtype, shape })
    }

    fn ranked(&self, tensor: sys::Tensor) -> Result<sys::RankedTensorType, RuntimeError> {
        // SAFETY: plain numbers, for which zero is a value.
        let mut ranked: sys::RankedTensorType = unsafe { std::mem::zeroed() };
        // SAFETY: the tensor belongs to a model that is alive.
        let code = unsafe { (self.api.functions.get_ranked_tensor_type)(tensor, &raw mut ranked) };
        check(code, "LiteRtGetRankedTensorType", Claim::LoadFail)?;
        Ok(ranked)
    }

    fn ranked_of(&self, index: usize, is_input: bool) -> Result<sys::RankedTensorType, RuntimeError> {
        let functions = &self.api.functions;
        let (mut entry, mut tensor) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the model is alive and the index is one of its signature's.
        unsafe {
            check(
                (functions.get_model_signature)(self.raw, ENTRY, &raw mut entry),
                "LiteRtGetModelSignature",
                Claim::LoadFail,
            )?;
            let code = if is_input {
                (functions.get_signature_input_tensor_by_index)(entry, index, &raw mut tensor)
            } else {
                (functions.get_signature_output_tensor_by_index)(entry, index, &raw mut tensor)
            };
            check(code, "LiteRtGetSignatureTensorByIndex", Claim::LoadFail)?;
        }
        self.ranked(tensor)
    }
}

fn tensor_name(entry: sys::Signature, index: usize, of: SignatureName) -> Result<String, RuntimeError> {
    let mut text: *const c_char = ptr::null();
    // SAFETY: the index is below the number that the engine gave; the text lives as long as the model.
    let code = unsafe { of(entry, index, &raw mut text) };
    check(code, "LiteRtGetSignatureInputName", Claim::LoadFail)?;
    if text.is_null() {
        return Ok(format!("tensor{index}"));
    }
    // SAFETY: the engine's texts end with a zero.
    Ok(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Values of `LiteRtElementType`.
const ELEMENT_TYPES: [(u32, DType); 12] = [
    (1, DType::F32),
    (2, DType::I32),
    (3, DType::U8),
    (4, DType::I64),
    (6, DType::Bool),
    (7, DType::I16),
    (9, DType::I8),
    (10, DType::F16),
    (11, DType::F64),
    (13, DType::U64),
    (16, DType::U32),
    (17, DType::U16),
];

fn dtype(element: u32) -> Option<DType> {
    ELEMENT_TYPES.into_iter().find(|(code, _)| *code == element).map(|(_, dtype)| dtype)
}

// --- running ---

struct Loaded {
    compiled: sys::CompiledModel,
    inputs: Vec<sys::TensorBuffer>,
    outputs: Vec<sys::TensorBuffer>,
    signature: Signature,
    accelerator: Accelerator,
    precision: Reading<String>,
    fallback: Option<String>,
    compiled_in: Duration,
    /// The engine's own, which goes with the compiled model; null but in the process that asks.
    profiler: *mut c_void,
    /// The devices among which the accelerator chooses, where it asks Vulkan.
    gpu: Vec<vulkan::Device>,
    model: Model,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let functions = &self.model.api.functions;
        // SAFETY: made by this library, and destroyed once, before the model that they belong to.
        unsafe {
            for &buffer in self.inputs.iter().chain(&self.outputs) {
                (functions.destroy_tensor_buffer)(buffer);
            }
            if !self.compiled.is_null() {
                (functions.destroy_compiled_model)(self.compiled);
            }
        }
    }
}

impl Loaded {
    fn new(model: Model, signature: Signature, request: &LoadRequest<'_>) -> Result<Self, RuntimeError> {
        let options = Options::new(&model.api, request)?;
        let mut loaded = Self {
            compiled: ptr::null_mut(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            signature,
            accelerator: request.accelerator,
            precision: precision_told(request),
            fallback: None,
            compiled_in: Duration::ZERO,
            profiler: ptr::null_mut(),
            gpu: Vec::new(),
            model,
        };
        let api = Rc::clone(&loaded.model.api);
        let begun = Instant::now();
        // SAFETY: environment, model and options are alive; the engine fills the handle.
        let made = unsafe {
            (api.functions.create_compiled_model)(
                api.environment,
                loaded.model.raw,
                options.raw,
                &raw mut loaded.compiled,
            )
        };
        let claim = match request.accelerator {
            Accelerator::Cpu => Claim::LoadFail,
            Accelerator::Gpu | Accelerator::Npu => Claim::CompileFail,
        };
        check(made, "LiteRtCreateCompiledModel", claim)?;
        loaded.compiled_in = begun.elapsed();
        for index in 0..loaded.signature.inputs.len() {
            let buffer = loaded.buffer(index, true)?;
            loaded.inputs.push(buffer);
        }
        for index in 0..loaded.signature.outputs.len() {
            let buffer = loaded.buffer(index, false)?;
            loaded.outputs.push(buffer);
        }
        loaded.fallback = loaded.find_fallback()?;
        if request.operator_profile.is_some() {
            loaded.start_profiler()?;
        }
        Ok(loaded)
    }

    fn start_profiler(&mut self) -> Result<(), RuntimeError> {
        let Some(ProfilerApi { get, start, .. }) = self.model.api.profiler else { return Ok(()) };
        // SAFETY: the compiled model is alive; the engine fills the handle, which lives as long as the model.
        unsafe {
            check(get(self.compiled, &raw mut self.profiler), "LiteRtCompiledModelGetProfiler", Claim::LoadFail)?;
            check(start(self.profiler), "LiteRtStartProfiler", Claim::LoadFail)
        }
    }

    fn buffer(&self, index: usize, is_input: bool) -> Result<sys::TensorBuffer, RuntimeError> {
        let api = &self.model.api;
        let ranked = self.model.ranked_of(index, is_input)?;
        let (mut requirements, mut buffer) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the compiled model is alive; the engine fills what it is pointed to.
        unsafe {
            let code = if is_input {
                (api.functions.get_compiled_model_input_buffer_requirements)(
                    self.compiled,
                    ENTRY,
                    index,
                    &raw mut requirements,
                )
            } else {
                (api.functions.get_compiled_model_output_buffer_requirements)(
                    self.compiled,
                    ENTRY,
                    index,
                    &raw mut requirements,
                )
            };
            check(code, "LiteRtGetCompiledModelBufferRequirements", Claim::LoadFail)?;
            let code = (api.functions.create_managed_tensor_buffer_from_requirements)(
                api.environment,
                &raw const ranked,
                requirements,
                &raw mut buffer,
            );
            check(code, "LiteRtCreateManagedTensorBufferFromRequirements", Claim::LoadFail)?;
        }
        Ok(buffer)
    }

    /// Why what was asked for is not what runs; `None` when it is.
    fn find_fallback(&self) -> Result<Option<String>, RuntimeError> {
        if self.accelerator == Accelerator::Cpu {
            return Ok(None);
        }
        let accelerator = self.accelerator.as_str();
        let Some(ask) = self.model.api.is_non_cpu_fully_accelerated else {
            let why = "this version of LiteRT does not tell the CPU's kernels apart";
            return Ok(Some(format!("it is not known whether all of it ran on the {accelerator}: {why}")));
        };
        let mut fully = false;
        // SAFETY: the compiled model is alive.
        let code = unsafe { ask(self.compiled, &raw mut fully) };
        check(code, "LiteRtCompiledModelIsNonCpuFullyAccelerated", Claim::LoadFail)?;
        Ok((!fully).then(|| format!("litert: not every operator is on the {accelerator}")))
    }

    fn wait_for_outputs(&self) -> Result<(), RuntimeError> {
        for &buffer in &self.outputs {
            self.locked(buffer, sys::kLiteRtTensorBufferLockModeRead, |_, _| ())?;
        }
        Ok(())
    }

    /// Copies between a buffer and memory of ours.
    fn locked<T>(
        &self,
        buffer: sys::TensorBuffer,
        mode: u32,
        work: impl FnOnce(*mut u8, usize) -> T,
    ) -> Result<T, RuntimeError> {
        let functions = &self.model.api.functions;
        let (mut address, mut size) = (ptr::null_mut(), 0);
        // SAFETY: the buffer is alive; it is locked around the work and unlocked after it.
        unsafe {
            check(
                (functions.get_tensor_buffer_size)(buffer, &raw mut size),
                "LiteRtGetTensorBufferSize",
                Claim::RunFail,
            )?;
            check(
                (functions.lock_tensor_buffer)(buffer, &raw mut address, mode),
                "LiteRtLockTensorBuffer",
                Claim::RunFail,
            )?;
            let done = work(address.cast::<u8>(), size);
            check((functions.unlock_tensor_buffer)(buffer), "LiteRtUnlockTensorBuffer", Claim::RunFail)?;
            Ok(done)
        }
    }
}

/// On the CPU the kernels are those of the model's own types.
fn precision_told(request: &LoadRequest<'_>) -> Reading<String> {
    match request.accelerator {
        Accelerator::Cpu => Reading::Present(AS_IN_THE_MODEL.to_owned()),
        Accelerator::Gpu => Reading::Present(request.precision.unwrap_or(Precision::Fp32).as_str().to_owned()),
        Accelerator::Npu => Reading::absent(Reason::new(Code::DriverDecides, &[("runtime", &"litert")]).text()),
    }
}

/// How a model is compiled.
struct Options {
    raw: sys::Options,
    api: Rc<Api>,
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by this library, and destroyed once; what was added to it goes with it.
        unsafe { (self.api.functions.destroy_options)(self.raw) };
    }
}

impl Options {
    fn new(api: &Rc<Api>, request: &LoadRequest<'_>) -> Result<Self, RuntimeError> {
        let fail = |code, call| check(code, call, Claim::UnsupportedBackend);
        let mut raw = ptr::null_mut();
        // SAFETY: the engine fills the handle.
        fail(unsafe { (api.functions.create_options)(&raw mut raw) }, "LiteRtCreateOptions")?;
        let options = Self { raw, api: Rc::clone(api) };
        // Operators that an accelerator does not know run on the CPU, and then it is a fallback that is told.
        let hardware = match request.accelerator {
            Accelerator::Cpu => sys::kLiteRtHwAcceleratorCpu,
            Accelerator::Gpu => sys::kLiteRtHwAcceleratorGpu | sys::kLiteRtHwAcceleratorCpu,
            Accelerator::Npu => sys::kLiteRtHwAcceleratorNpu | sys::kLiteRtHwAcceleratorCpu,
        };
        // SAFETY: the options are alive.
        let set = unsafe { (api.functions.set_options_hardware_accelerators)(raw, hardware) };
        fail(set, "LiteRtSetOptionsHardwareAccelerators")?;
        options.add(CPU_OPTIONS, format!("num_threads = {}\n", request.threads))?;
        if request.accelerator == Accelerator::Gpu {
            options.add(GPU_OPTIONS, format!("precision = {}\n", gpu_precision(request)?))?;
        }
        if request.operator_profile.is_some() {
            options.add(RUNTIME_OPTIONS, "enable_profiling = true\n".to_owned())?;
        }
        Ok(options)
    }

    /// Options of an accelerator are a text in TOML, of which the engine keeps the copy that it is given.
    fn add(&self, whose: &CStr, options: String) -> Result<(), RuntimeError> {
        unsafe extern "C" fn free(payload: *mut c_void) {
            // SAFETY: what `into_raw` gave, once.
            drop(unsafe { CString::from_raw(payload.cast::<c_char>()) });
        }
        let text = CString::new(options).map_err(|error| RuntimeError::new(Claim::SpecError, error.to_string()))?;
        let mut opaque = ptr::null_mut();
        // SAFETY: the text is the engine's from here on, which frees it by our function.
        unsafe {
            let made = (self.api.create_opaque_options)(
                whose.as_ptr(),
                text.into_raw().cast::<c_void>(),
                Some(free),
                &raw mut opaque,
            );
            check(made, "LiteRtCreateOpaqueOptions", Claim::UnsupportedBackend)?;
            check((self.api.add_opaque_options)(self.raw, opaque), "LiteRtAddOpaqueOptions", Claim::UnsupportedBackend)
        }
    }
}

impl Timed for Loaded {
    type Error = RuntimeError;

    fn make_ready(&mut self) {}

    fn infer(&mut self) -> Result<(), RuntimeError> {
        // SAFETY: the compiled model and its buffers are alive, and nobody else uses them.
        let code = unsafe {
            (self.model.api.functions.run_compiled_model)(
                self.compiled,
                ENTRY,
                self.inputs.len(),
                self.inputs.as_mut_ptr(),
                self.outputs.len(),
                self.outputs.as_mut_ptr(),
            )
        };
        if code != status::OK {
            return check(code, "LiteRtRunCompiledModel", Claim::RunFail);
        }
        match self.accelerator {
            Accelerator::Cpu => Ok(()),
            // The call only queues the work: an inference is over when its outputs can be read.
            Accelerator::Gpu | Accelerator::Npu => self.wait_for_outputs(),
        }
    }
}

impl Session for Loaded {
    fn actual(&self) -> Actual {
        Actual {
            accelerator: match (self.accelerator, &self.fallback) {
                (Accelerator::Cpu, _) | (_, None) => Reading::Present(self.accelerator.as_str().to_owned()),
                (Accelerator::Gpu | Accelerator::Npu, Some(_)) => {
                    let accelerator = self.accelerator.as_str();
                    Reading::absent(format!("litert does not tell whether any of it is on the {accelerator}"))
                }
            },
            provider: Reading::absent(Reason::new(Code::NotTold, &[("program", &"litert")]).text()),
            device: vulkan::computed_on("litert", self.accelerator, &self.gpu),
            delegated: Reading::absent("litert tells whether all operators are on the accelerator, not how many"),
            rest: Vec::new(),
            precision: self.precision.clone(),
            threads: Reading::absent(Code::ThreadsUncounted.template()),
            affinity: Reading::absent("read by the process"),
            fallback: self.fallback.clone(),
            signature: Some(self.signature.clone()),
            loaded: Vec::new(),
        }
    }

    fn compiled_in(&self) -> Option<Duration> {
        Some(self.compiled_in)
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        vulkan::facts(&self.gpu)
    }

    fn set_inputs(&mut self, inputs: &[NamedTensor]) -> Result<(), RuntimeError> {
        for (spec, &buffer) in self.signature.inputs.iter().zip(&self.inputs) {
            let tensor = super::input(inputs, &spec.name)?;
            let bytes = tensor.bytes();
            let copied = self.locked(buffer, sys::kLiteRtTensorBufferLockModeWrite, |address, size| {
                let fits = bytes.len() == size && tensor.dtype() == spec.dtype;
                if fits {
                    // SAFETY: the buffer is locked and has as many bytes.
                    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), address, size) };
                }
                fits
            })?;
            if !copied {
                let (dtype, shape) = (tensor.dtype().as_str(), tensor.shape());
                let message = format!(
                    "input {spec} of the model cannot take {dtype} {shape:?}: litert runs the shape of the file"
                );
                return Err(RuntimeError::new(Claim::SpecError, message));
            }
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Vec<NamedTensor>, RuntimeError> {
        let read = |(spec, &buffer): (&TensorSpec, &sys::TensorBuffer)| {
            let bytes = self.locked(buffer, sys::kLiteRtTensorBufferLockModeRead, |address, size| {
                // SAFETY: the buffer is locked and has as many bytes.
                unsafe { std::slice::from_raw_parts(address, size) }.to_vec()
            })?;
            let shape = spec.shape.iter().map(|axis| match axis {
                Axis::Fixed(size) => usize::try_from(*size).ok(),
                Axis::Named(_) => None,
            });
            let shape: Option<Vec<usize>> = shape.collect();
            let shape = shape.unwrap_or_else(|| vec![bytes.len() / spec.dtype.size()]);
            let tensor = Tensor::new(spec.dtype, shape, bytes)
                .map_err(|error| RuntimeError::new(Claim::OtherOutput, format!("output {:?}: {error}", spec.name)))?;
            Ok((spec.name.clone(), tensor))
        };
        self.signature.outputs.iter().zip(&self.outputs).map(read).collect()
    }

    fn operators(&mut self) -> Result<OperatorProfile, String> {
        let told = "LiteRT tells of its operators";
        let Some(ProfilerApi { stop, summary, .. }) = self.model.api.profiler.filter(|_| !self.profiler.is_null())
        else {
            return Err("this version of LiteRT has no profiler".to_owned());
        };
        let mut text = ptr::null();
        // SAFETY: profiler and compiled model are alive; the text is the engine's and is left to it.
        unsafe {
            check(stop(self.profiler), told, Claim::RunFail).map_err(|error| error.message)?;
            check(summary(self.profiler, self.compiled, &raw mut text), told, Claim::RunFail)
                .map_err(|error| error.message)?;
        }
        if text.is_null() {
            return Err("LiteRT gives no summary of its operators".to_owned());
        }
        // SAFETY: not null, and ended by a zero, as every text of this interface.
        profile::parse(&unsafe { CStr::from_ptr(text) }.to_string_lossy())
    }
}
