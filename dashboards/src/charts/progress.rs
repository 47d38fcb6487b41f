//! A progress bar as a drawing, since a `style` attribute is forbidden.

use super::{Area, Svg};
use crate::html::Html;

/// `share` from 0 to 1.
#[must_use]
pub fn chart(share: f64, label: &str) -> Html {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let mut svg = Svg::new(110.0, 8.0, label);
    svg.rounded(Area { x: 0.0, y: 1.0, width: 110.0, height: 6.0 }, 3, "fsk");
    if share > 0.0 {
        svg.rounded(Area { x: 0.0, y: 1.0, width: 110.0 * share, height: 6.0 }, 3, "fa");
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_outside_its_range_stays_inside_the_bar() {
        assert!(chart(7.0, "").as_str().contains(r#"width="110" height="6""#));
        assert!(!chart(f64::NAN, "").as_str().contains("fa\""));
    }
}
