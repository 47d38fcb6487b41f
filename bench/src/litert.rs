//! LiteRT called by its own C interface and by nothing of ours: the baseline of its row of fidelity.
#![expect(unsafe_code, reason = "the direct call is that of the engine's own C interface")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use edgefirst_tflite_sys::litert::{self as sys, LiteRtFunctions, status};
use libloading::Library;

type CreateOpaqueOptions = unsafe extern "C" fn(
    *const c_char,
    *mut c_void,
    Option<unsafe extern "C" fn(*mut c_void)>,
    *mut *mut c_void,
) -> sys::Status;
type AddOpaqueOptions = unsafe extern "C" fn(sys::Options, *mut c_void) -> sys::Status;

/// The options of the CPU's kernels; one thread, as the attempt that it is compared with.
const OPTIONS_OF: &CStr = c"xnnpack";
const OPTIONS: &CStr = c"num_threads = 1\n";

/// A compiled model of one input and one output. It is never given back: the process ends with it.
pub struct Direct {
    functions: LiteRtFunctions,
    compiled: sys::CompiledModel,
    input: sys::TensorBuffer,
    output: sys::TensorBuffer,
    _library: Library,
}

impl Direct {
    /// `values` are what every inference is given.
    pub fn open(library: &Path, model: &Path, values: impl Fn(usize) -> Vec<f32>) -> anyhow::Result<Self> {
        let path = CString::new(model.as_os_str().as_bytes())?;
        // SAFETY: signatures are those of LiteRT's headers; every handle is filled by the call that makes it, and none is
        // used after the library, which the result keeps.
        unsafe {
            let library = Library::new(library)?;
            let functions = LiteRtFunctions::try_load(&library).map_err(|error| anyhow::anyhow!("{}", error.name()))?;
            let create_opaque = *library.get::<CreateOpaqueOptions>(b"LiteRtCreateOpaqueOptions\0")?;
            let add_opaque = *library.get::<AddOpaqueOptions>(b"LiteRtAddOpaqueOptions\0")?;
            let (mut environment, mut loaded) = (ptr::null_mut(), ptr::null_mut());
            ok((functions.create_environment)(0, ptr::null(), &raw mut environment))?;
            ok((functions.create_model_from_file)(environment, path.as_ptr(), &raw mut loaded))?;
            let (mut options, mut opaque, mut compiled) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            ok((functions.create_options)(&raw mut options))?;
            ok((functions.set_options_hardware_accelerators)(options, sys::kLiteRtHwAcceleratorCpu))?;
            let text = OPTIONS.as_ptr().cast_mut().cast::<c_void>();
            ok(create_opaque(OPTIONS_OF.as_ptr(), text, Some(keep), &raw mut opaque))?;
            ok(add_opaque(options, opaque))?;
            ok((functions.create_compiled_model)(environment, loaded, options, &raw mut compiled))?;
            let input = buffer(&functions, environment, loaded, compiled, true)?;
            let output = buffer(&functions, environment, loaded, compiled, false)?;
            fill(&functions, input, values)?;
            Ok(Self { functions, compiled, input, output, _library: library })
        }
    }

    pub fn infer(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        // SAFETY: the compiled model and both buffers are alive, and nobody else uses them.
        let code = unsafe {
            (self.functions.run_compiled_model)(self.compiled, 0, 1, &raw mut self.input, 1, &raw mut self.output)
        };
        let time = begun.elapsed();
        ok(code).map(|()| time)
    }
}

/// The text of the options is a constant: the engine wants to be told how to free it all the same.
unsafe extern "C" fn keep(_: *mut c_void) {}

fn ok(code: sys::Status) -> anyhow::Result<()> {
    anyhow::ensure!(code == status::OK, "the direct call ended with status {code}");
    Ok(())
}

/// # Safety
/// The handles must be alive and of this library.
unsafe fn buffer(
    functions: &LiteRtFunctions,
    environment: sys::Environment,
    model: sys::Model,
    compiled: sys::CompiledModel,
    is_input: bool,
) -> anyhow::Result<sys::TensorBuffer> {
    let (mut entry, mut tensor, mut requirements) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let mut buffer = ptr::null_mut();
    // SAFETY: the caller's; numbers and pointers, for which zero is a value.
    unsafe {
        let mut ranked: sys::RankedTensorType = std::mem::zeroed();
        ok((functions.get_model_signature)(model, 0, &raw mut entry))?;
        if is_input {
            ok((functions.get_signature_input_tensor_by_index)(entry, 0, &raw mut tensor))?;
            let ask = functions.get_compiled_model_input_buffer_requirements;
            ok(ask(compiled, 0, 0, &raw mut requirements))?;
        } else {
            ok((functions.get_signature_output_tensor_by_index)(entry, 0, &raw mut tensor))?;
            let ask = functions.get_compiled_model_output_buffer_requirements;
            ok(ask(compiled, 0, 0, &raw mut requirements))?;
        }
        ok((functions.get_ranked_tensor_type)(tensor, &raw mut ranked))?;
        let make = functions.create_managed_tensor_buffer_from_requirements;
        ok(make(environment, &raw const ranked, requirements, &raw mut buffer))?;
    }
    Ok(buffer)
}

/// # Safety
/// The buffer must be alive and of this library.
unsafe fn fill(
    functions: &LiteRtFunctions,
    buffer: sys::TensorBuffer,
    values: impl Fn(usize) -> Vec<f32>,
) -> anyhow::Result<()> {
    let (mut size, mut address) = (0, ptr::null_mut());
    // SAFETY: the caller's; the buffer is locked while it is written, and has so many bytes.
    unsafe {
        ok((functions.get_tensor_buffer_size)(buffer, &raw mut size))?;
        let values = values(size / size_of::<f32>());
        let mode = sys::kLiteRtTensorBufferLockModeWrite;
        ok((functions.lock_tensor_buffer)(buffer, &raw mut address, mode)).context("locking the input")?;
        ptr::copy_nonoverlapping(values.as_ptr(), address.cast::<f32>(), values.len());
        ok((functions.unlock_tensor_buffer)(buffer))
    }
}
