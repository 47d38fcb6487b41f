//! What the members of a dataset package hold, against what its manifest says: headers are read, the rest is counted as
//! it streams by. A device would find the same, after the version stands.

use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use seatrial_core::dataset::npy::{self, Header};
use seatrial_core::dataset::package::{MAX_TENSOR_BYTES, PackageManifest, TensorData, raw_bytes};
use zip::ZipArchive;

/// Bytes in which the header of an image stands, with what cameras write before it.
const IMAGE_START: u64 = 1 << 20;

/// A member and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub member: String,
    pub why: String,
}

/// Where members are read from.
pub(super) trait Members {
    fn look(&mut self, member: &str, at: &mut dyn FnMut(&mut dyn Read) -> Result<(), String>) -> Result<(), String>;
}

/// The files of a folder.
impl Members for &Path {
    fn look(&mut self, member: &str, at: &mut dyn FnMut(&mut dyn Read) -> Result<(), String>) -> Result<(), String> {
        at(&mut fs_err::File::open(self.join(member)).map_err(|error| error.to_string())?)
    }
}

impl<R: Read + Seek> Members for ZipArchive<R> {
    fn look(&mut self, member: &str, at: &mut dyn FnMut(&mut dyn Read) -> Result<(), String>) -> Result<(), String> {
        let mut file = self.by_name(member).map_err(|error| error.to_string())?;
        if file.is_file() { at(&mut file) } else { Err("not a regular file".to_owned()) }
    }
}

/// Looks at every input and every reference; the first that a device could not use is the answer.
pub(super) fn check(manifest: &PackageManifest, members: &mut dyn Members) -> Result<(), Wrong> {
    let examples = manifest.examples;
    for tensor in manifest.inputs.iter().chain(&manifest.goldens) {
        for member in tensor.data.members(examples) {
            let looked = members.look(&member, &mut |bytes| match &tensor.data {
                TensorData::Npy { .. } => array(bytes, examples),
                TensorData::Npz { array, .. } => nested(bytes, array, examples),
                TensorData::Raw { dtype, shape, .. } => {
                    let size = raw_bytes(*dtype, shape, examples);
                    exactly(bytes, 0, size, "the manifest's type, shape and examples")
                }
                TensorData::Image { .. } => image(bytes),
            });
            looked.map_err(|why| Wrong { member, why })?;
        }
    }
    Ok(())
}

fn array(bytes: &mut dyn Read, examples: u32) -> Result<(), String> {
    let start = start(bytes, npy::START_BYTES as u64)?;
    let Header { dtype, shape, data_offset } = npy::header(&start).map_err(|error| error.to_string())?;
    if shape.first() != Some(&(examples as usize)) {
        return Err(format!("shape {shape:?} does not begin with the {examples} examples"));
    }
    let elements = shape.iter().try_fold(dtype.size() as u64, |size, &axis| size.checked_mul(axis as u64));
    let size = elements.and_then(|size| size.checked_add(data_offset as u64));
    exactly(bytes, start.len() as u64, size, "its header")
}

/// An array of an npz file: a zip, which is read from its end.
fn nested(bytes: &mut dyn Read, name: &str, examples: u32) -> Result<(), String> {
    let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
    let size = io::copy(&mut bytes.take(MAX_TENSOR_BYTES + 1), &mut file).map_err(|error| error.to_string())?;
    if size > MAX_TENSOR_BYTES {
        return Err(format!("more than the {MAX_TENSOR_BYTES} bytes that are read of a member"));
    }
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(|error| format!("not an npz file: {error}"))?;
    let looked = archive.look(&format!("{name}.npy"), &mut |bytes| array(bytes, examples));
    looked.map_err(|why| format!("array {name:?}: {why}"))
}

fn image(bytes: &mut dyn Read) -> Result<(), String> {
    let start = start(bytes, IMAGE_START)?;
    seatrial_agent::data::image_size(&mut Cursor::new(start)).map(|_| ())
}

fn start(bytes: &mut dyn Read, most: u64) -> Result<Vec<u8>, String> {
    let mut start = Vec::new();
    bytes.take(most).read_to_end(&mut start).map_err(|error| error.to_string())?;
    Ok(start)
}

/// Counts the rest, to no more than one byte beyond what there must be. `by` says who tells how many that are.
fn exactly(bytes: &mut dyn Read, read: u64, size: Option<u64>, by: &str) -> Result<(), String> {
    let Some(size) = size.filter(|&size| size <= MAX_TENSOR_BYTES) else {
        return Err(format!("by {by} it has more than the {MAX_TENSOR_BYTES} bytes that are read of a member"));
    };
    let rest = (size + 1).saturating_sub(read);
    let rest = io::copy(&mut bytes.take(rest), &mut io::sink()).map_err(|error| error.to_string())?;
    match read + rest {
        count if count < size => Err(format!("it ends after {count} bytes, and by {by} it has {size}")),
        count if count > size => Err(format!("it goes on after the {size} bytes that it has by {by}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use seatrial_core::tensor::{DType, Tensor};
    use zip::write::SimpleFileOptions;

    use super::*;

    fn floats(shape: &[usize]) -> Vec<u8> {
        npy::write(&Tensor::from_f32(shape.to_vec(), &vec![0.5; shape.iter().product()]).unwrap())
    }

    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn png() -> Vec<u8> {
        // As any encoder writes a black pixel; only what stands before the pixels is read.
        let header = [0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0];
        let chunk = |name: &[u8], data: &[u8], sum: u32| {
            [&(data.len() as u32).to_be_bytes(), name, data, &sum.to_be_bytes()].concat()
        };
        let pixels = [0x78, 0x9c, 0x63, 0x60, 0x60, 0x60, 0, 0, 0, 4, 0, 1];
        let chunks = [
            chunk(b"IHDR", &header, 0x9077_53de),
            chunk(b"IDAT", &pixels, 0xf617_3855),
            chunk(b"IEND", &[], 0xae42_6082),
        ];
        [b"\x89PNG\r\n\x1a\n".as_slice(), &chunks.concat()].concat()
    }

    /// A package of two examples whose one input is written so.
    fn checked(input: &str, members: &[(&str, &[u8])]) -> Result<(), Wrong> {
        let text = format!(
            "name = \"two\"\ntask = \"classification\"\nexamples = 2\nclasses = [\"a\", \"b\"]\n\
             [[inputs]]\nname = \"x\"\n{input}\n[labels]\nkind = \"lines\"\nmember = \"y.txt\"\n"
        );
        let manifest = PackageManifest::parse(&text, "dataset.toml").unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in members {
            fs_err::write(folder.path().join(name), bytes).unwrap();
        }
        let of_folder = check(&manifest, &mut folder.path());
        let of_zip = check(&manifest, &mut ZipArchive::new(Cursor::new(zip(members))).unwrap());
        assert_eq!(of_folder.as_ref().err().map(|it| &it.why), of_zip.as_ref().err().map(|it| &it.why));
        of_zip
    }

    fn why(input: &str, members: &[(&str, &[u8])]) -> String {
        checked(input, members).unwrap_err().why
    }

    const NPY: &str = "kind = \"npy\"\nmember = \"x.npy\"";
    const NPZ: &str = "kind = \"npz\"\nmember = \"x.npz\"\narray = \"x\"";
    const RAW: &str = "kind = \"raw\"\nmember = \"x.bin\"\ndtype = \"f32\"\nshape = [3]";
    const IMAGE: &str = "kind = \"image\"\nmembers = [\"a.png\", \"b.png\"]";

    #[test]
    fn what_the_manifest_says_passes() {
        let array = floats(&[2, 3]);
        assert_eq!(checked(NPY, &[("x.npy", &array)]), Ok(()));
        assert_eq!(checked(NPZ, &[("x.npz", &zip(&[("x.npy", &array)]))]), Ok(()));
        assert_eq!(checked(RAW, &[("x.bin", &[0; 2 * 3 * DType::F32.size()])]), Ok(()));
        assert_eq!(checked(IMAGE, &[("a.png", &png()), ("b.png", &png())]), Ok(()));
    }

    #[test]
    fn an_array_that_is_none_or_is_cut_or_holds_other_examples_is_refused_with_the_reason() {
        let array = floats(&[2, 3]);
        let mark = "not an npy file: it does not begin with NumPy's mark";
        assert_eq!(why(NPY, &[("x.npy", b"\x17\x2a\xff random bytes")]), mark);
        let cut = &array[..array.len() - 1];
        let (size, short) = (array.len(), array.len() - 1);
        let ends = format!("it ends after {short} bytes, and by its header it has {size}");
        assert_eq!(why(NPY, &[("x.npy", cut)]), ends);
        assert_eq!(why(NPY, &[("x.npy", &array[..40])]), npy::NpyError::Truncated.to_string());
        assert_eq!(why(NPY, &[("x.npy", &floats(&[3, 2]))]), "shape [3, 2] does not begin with the 2 examples");
        assert_eq!(why(NPZ, &[("x.npz", &zip(&[("x.npy", cut)]))]), format!("array \"x\": {ends}"));
        assert!(why(NPZ, &[("x.npz", &zip(&[("z.npy", &array)]))]).starts_with("array \"x\": "));
        assert!(why(NPZ, &[("x.npz", b"PK")]).starts_with("not an npz file: "));
    }

    #[test]
    fn a_member_that_unpacks_to_more_than_its_header_says_is_read_no_further() {
        let bomb = [floats(&[2, 3]), vec![0; 64 << 20]].concat();
        let size = floats(&[2, 3]).len();
        let packed = zip(&[("x.npy", &bomb)]);
        assert!(packed.len() < bomb.len() / 500, "it is small where it lies: {} bytes", packed.len());
        let goes_on = format!("it goes on after the {size} bytes that it has by its header");
        assert_eq!(why(NPY, &[("x.npy", &bomb)]), goes_on);
        assert_eq!(why(NPZ, &[("x.npz", &packed)]), format!("array \"x\": {goes_on}"));
        let mut header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 4294967296), }".to_vec();
        header.splice(0..0, (header.len() as u16).to_le_bytes());
        let vast = [b"\x93NUMPY\x01\x00".as_slice(), &header].concat();
        assert!(why(NPY, &[("x.npy", &vast)]).starts_with("by its header it has more than the "));
    }

    #[test]
    fn raw_bytes_are_as_many_as_the_manifest_says() {
        let by = "by the manifest's type, shape and examples";
        assert_eq!(why(RAW, &[("x.bin", &[0; 23])]), format!("it ends after 23 bytes, and {by} it has 24"));
        assert_eq!(why(RAW, &[("x.bin", &[0; 25])]), format!("it goes on after the 24 bytes that it has {by}"));
    }

    #[test]
    fn an_image_that_is_none_is_refused_by_its_name() {
        let wrong = checked(IMAGE, &[("a.png", &png()), ("b.png", b"GIF89a....")]).unwrap_err();
        assert_eq!(wrong.member, "b.png");
        assert!(wrong.why.contains("expected png, jpeg or bmp"), "{}", wrong.why);
        assert!(checked(IMAGE, &[("a.png", &png()[..20]), ("b.png", &png())]).is_err(), "cut in its header");
    }
}
