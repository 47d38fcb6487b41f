//! ONNX Runtime called by its own C interface and by nothing of ours: the baseline of its row of fidelity.
#![expect(unsafe_code, reason = "the direct call is that of the engine's own C interface")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ort::sys;

/// A session of one input and one output, both bound. It is never given back: the process ends with it.
pub struct Direct {
    session: *mut sys::OrtSession,
    binding: *mut sys::OrtIoBinding,
    /// The input's tensor lies in it.
    _values: Vec<f32>,
}

impl Direct {
    /// `values` are what every inference is given.
    pub fn open(library: &Path, model: &Path, values: impl Fn(usize) -> Vec<f32>) -> anyhow::Result<Self> {
        // Only for the functions: the environment is the library's one of this process, whoever made it.
        drop(ort::init_from(library)?);
        let api = ort::api();
        let path = CString::new(model.as_os_str().as_bytes())?;
        let (mut environment, mut options, mut session) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: every handle is filled by the call that makes it, and none is given back.
        unsafe {
            let level = sys::OrtLoggingLevel::ORT_LOGGING_LEVEL_WARNING;
            ok((api.CreateEnv)(level, c"direct".as_ptr(), &raw mut environment))?;
            ok((api.CreateSessionOptions)(&raw mut options))?;
            let all = sys::GraphOptimizationLevel::ORT_ENABLE_ALL;
            ok((api.SetSessionGraphOptimizationLevel)(options, all))?;
            ok((api.SetIntraOpNumThreads)(options, 1))?;
            ok((api.SetInterOpNumThreads)(options, 1))?;
            ok((api.CreateSession)(environment, path.as_ptr(), options, &raw mut session))?;
            let shape = shape_of_input(api, session)?;
            let mut values = values(usize::try_from(shape.iter().product::<i64>())?);
            let binding = bound(api, session, &shape, &mut values)?;
            Ok(Self { session, binding, _values: values })
        }
    }

    pub fn infer(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        // SAFETY: session and binding are alive, and nobody else uses them.
        let status = unsafe { (ort::api().RunWithBinding)(self.session, ptr::null(), self.binding) };
        let time = begun.elapsed();
        ok(status).map(|()| time)
    }
}

/// # Safety
/// The session must be alive.
unsafe fn shape_of_input(api: &sys::OrtApi, session: *mut sys::OrtSession) -> anyhow::Result<Vec<i64>> {
    let (mut info, mut tensor, mut count) = (ptr::null_mut(), ptr::null(), 0);
    // SAFETY: the caller's; `shape` has room for as many axes as are asked for.
    let shape = unsafe {
        ok((api.SessionGetInputTypeInfo)(session, 0, &raw mut info))?;
        ok((api.CastTypeInfoToTensorInfo)(info, &raw mut tensor))?;
        ok((api.GetDimensionsCount)(tensor, &raw mut count))?;
        let mut shape = vec![0; count];
        ok((api.GetDimensions)(tensor, shape.as_mut_ptr(), count))?;
        shape
    };
    anyhow::ensure!(shape.iter().all(|&axis| axis > 0), "the model's input has a free axis: {shape:?}");
    Ok(shape)
}

/// # Safety
/// The session must be alive, and `values` must stay where they are for as long as the binding is used.
unsafe fn bound(
    api: &sys::OrtApi,
    session: *mut sys::OrtSession,
    shape: &[i64],
    values: &mut [f32],
) -> anyhow::Result<*mut sys::OrtIoBinding> {
    let (mut memory, mut allocator, mut input, mut binding) =
        (ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let (mut input_name, mut output_name): (*mut c_char, *mut c_char) = (ptr::null_mut(), ptr::null_mut());
    let float = sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    // SAFETY: the caller's.
    unsafe {
        let (kind, place) = (sys::OrtAllocatorType::OrtDeviceAllocator, sys::OrtMemType::OrtMemTypeDefault);
        ok((api.CreateCpuMemoryInfo)(kind, place, &raw mut memory))?;
        ok((api.GetAllocatorWithDefaultOptions)(&raw mut allocator))?;
        ok((api.SessionGetInputName)(session, 0, allocator, &raw mut input_name))?;
        ok((api.SessionGetOutputName)(session, 0, allocator, &raw mut output_name))?;
        let (data, bytes) = (values.as_mut_ptr().cast::<c_void>(), size_of_val(values));
        let make = api.CreateTensorWithDataAsOrtValue;
        ok(make(memory, data, bytes, shape.as_ptr(), shape.len(), float, &raw mut input))?;
        ok((api.CreateIoBinding)(session, &raw mut binding))?;
        ok((api.BindInput)(binding, input_name, input))?;
        ok((api.BindOutputToDevice)(binding, output_name, memory))?;
    }
    Ok(binding)
}

fn ok(status: sys::OrtStatusPtr) -> anyhow::Result<()> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: a status that is not null has a text, which lives as long as it does.
    let said = unsafe { CStr::from_ptr((ort::api().GetErrorMessage)(status.0)) };
    Err(anyhow::anyhow!("{}", said.to_string_lossy())).context("the direct call")
}
