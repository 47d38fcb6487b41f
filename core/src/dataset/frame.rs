//! Where a model's image lies in the dataset's.

use super::InputBinding;

/// How pixels of the image that the model was given become pixels of the dataset's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Height and width of what the model was given.
    seen: [f64; 2],
    /// By how much the image was scaled, down and across.
    scale: [f64; 2],
    /// Where the crop begins in the scaled image, down and across.
    offset: [f64; 2],
}

impl Frame {
    /// Of an input of this shape: `[height, width, channels]`, `[channels, height, width]` (the axis of at most four
    /// is that of the channels, the last one first) or `[height, width]`. `None` for any other shape.
    #[must_use]
    pub fn of(binding: &InputBinding, shape: &[usize]) -> Option<Self> {
        let [height, width] = match *shape {
            [height, width] => [height, width],
            [height, width, channels] if channels <= 4 => [height, width],
            [channels, height, width] if channels <= 4 => [height, width],
            _ => return None,
        };
        let size = [u32::try_from(height).ok()?, u32::try_from(width).ok()?];
        if size.contains(&0) {
            return None;
        }
        let scaled = binding.resize.map_or(size, |resize| resize.target(size));
        let seen = binding.crop.unwrap_or(scaled);
        let pair = |of: fn(u32, u32) -> f64, a: [u32; 2], b: [u32; 2]| [of(a[0], b[0]), of(a[1], b[1])];
        Some(Self {
            seen: seen.map(f64::from),
            scale: pair(|scaled, size| f64::from(scaled) / f64::from(size), scaled, size),
            offset: pair(|scaled, seen| f64::from(scaled.saturating_sub(seen) / 2), scaled, seen),
        })
    }

    /// Left, top, right and bottom in the model's image, as left, top, width and height in the dataset's.
    #[must_use]
    pub fn back(&self, [left, top, right, bottom]: [f64; 4], normalized: bool) -> [f64; 4] {
        let unit = if normalized { self.seen } else { [1.0, 1.0] };
        let down = |y: f64| (y * unit[0] + self.offset[0]) / self.scale[0];
        let across = |x: f64| (x * unit[1] + self.offset[1]) / self.scale[1];
        let (x, y) = (across(left), down(top));
        [x, y, across(right) - x, down(bottom) - y]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Filter, Resize};

    fn binding(resize: Option<Resize>, crop: Option<[u32; 2]>) -> InputBinding {
        InputBinding { resize, crop, ..InputBinding::plain("image") }
    }

    fn resize(height: u32, width: u32, keep_aspect: bool) -> Resize {
        Resize { height, width, filter: Filter::Bilinear, keep_aspect }
    }

    #[test]
    fn an_image_that_is_given_as_it_is_keeps_its_coordinates() {
        let frame = Frame::of(&binding(None, None), &[100, 200, 3]).unwrap();
        assert_eq!(frame.back([1.0, 2.0, 11.0, 22.0], false), [1.0, 2.0, 10.0, 20.0]);
        assert_eq!(frame.back([0.5, 0.5, 1.0, 1.0], true), [100.0, 50.0, 100.0, 50.0]);
        assert_eq!(Frame::of(&binding(None, None), &[3, 100, 200]), Some(frame));
        assert_eq!(Frame::of(&binding(None, None), &[100, 200]), Some(frame));
        assert_eq!(Frame::of(&binding(None, None), &[16, 100, 200]), None);
    }

    #[test]
    fn stretching_is_undone_on_each_axis() {
        let frame = Frame::of(&binding(Some(resize(50, 50, false)), None), &[100, 200, 3]).unwrap();
        assert_eq!(frame.back([10.0, 10.0, 20.0, 20.0], false), [40.0, 20.0, 40.0, 20.0]);
        assert_eq!(frame.back([0.0, 0.0, 1.0, 1.0], true), [0.0, 0.0, 200.0, 100.0]);
    }

    #[test]
    fn a_crop_is_put_back_to_where_it_was_cut() {
        let frame = Frame::of(&binding(Some(resize(50, 50, true)), Some([50, 50])), &[100, 200, 3]).unwrap();
        assert_eq!(frame.back([0.0, 0.0, 50.0, 50.0], false), [50.0, 0.0, 100.0, 100.0]);
    }
}
