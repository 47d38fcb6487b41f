//! Images: decoded to `[height, width, 3]` bytes of RGB.

use std::io::{BufRead, Cursor, Seek};

use image::{DynamicImage, ImageFormat, ImageReader, Limits, RgbImage};
use seatrial_core::dataset::{Filter, Resize};
use seatrial_core::tensor::{DType, Tensor};

/// Either side of an image, in pixels.
const MAX_SIDE: u32 = 16_384;
const MAX_ALLOCATION: u64 = 512 << 20;

/// Decodes PNG, JPEG or BMP. Grey is RGB with equal channels; alpha is dropped.
pub(super) fn decode(bytes: &[u8]) -> Result<Tensor, String> {
    let mut reader = reader(Cursor::new(bytes))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| error.to_string())?;
    to_tensor(&image.to_rgb8())
}

/// Width and height as the header of an image has them, when it is one that could be decoded. Its pixels are not read.
pub fn size(start: impl BufRead + Seek) -> Result<(u32, u32), String> {
    let (width, height) = reader(start)?.into_dimensions().map_err(|error| error.to_string())?;
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(format!("an image of {width}×{height}: at most {MAX_SIDE} pixels a side are decoded"));
    }
    Ok((width, height))
}

fn reader<R: BufRead + Seek>(bytes: R) -> Result<ImageReader<R>, String> {
    let reader = ImageReader::new(bytes).with_guessed_format().map_err(|error| error.to_string())?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Bmp) => Ok(reader),
        other => Err(format!("expected png, jpeg or bmp, found {other:?}")),
    }
}

/// Scales to the size, or the shorter side to the larger of both and keeps the proportions.
pub(super) fn resize(tensor: &Tensor, to: &Resize) -> Result<Tensor, String> {
    let image = to_image(tensor)?;
    let [height, width] = to.target([image.height(), image.width()]);
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(format!("cannot resize to {height}×{width}"));
    }
    let filter = match to.filter {
        Filter::Nearest => image::imageops::FilterType::Nearest,
        Filter::Bilinear => image::imageops::FilterType::Triangle,
        Filter::Bicubic => image::imageops::FilterType::CatmullRom,
    };
    to_tensor(&DynamicImage::ImageRgb8(image).resize_exact(width, height, filter).into_rgb8())
}

/// The centre of an image.
pub(super) fn crop(tensor: &Tensor, [height, width]: [u32; 2]) -> Result<Tensor, String> {
    let image = to_image(tensor)?;
    if height > image.height() || width > image.width() || height == 0 || width == 0 {
        let actual = (image.height(), image.width());
        return Err(format!("cannot crop {height}×{width} out of {}×{}", actual.0, actual.1));
    }
    let (left, top) = ((image.width() - width) / 2, (image.height() - height) / 2);
    to_tensor(&image::imageops::crop_imm(&image, left, top, width, height).to_image())
}

fn to_image(tensor: &Tensor) -> Result<RgbImage, String> {
    match (tensor.dtype(), tensor.shape()) {
        (DType::U8, &[height, width, 3]) => RgbImage::from_raw(width as u32, height as u32, tensor.bytes().to_vec())
            .ok_or_else(|| "the image's bytes do not fit its size".to_owned()),
        (dtype, shape) => Err(format!("resize and crop need an RGB image of bytes, not {} {shape:?}", dtype.as_str())),
    }
}

fn to_tensor(image: &RgbImage) -> Result<Tensor, String> {
    let shape = vec![image.height() as usize, image.width() as usize, 3];
    Tensor::new(DType::U8, shape, image.as_raw().clone()).map_err(|error| error.to_string())
}
