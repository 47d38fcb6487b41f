//! Phones that are described in this program: what they say of themselves is what the tests of profiles hold the rules
//! against (`core/tests/phones`), what they are made of stands in `sim/phones`.

/// A phone's name, its pieces of evidence by name, and its parts.
type Phone = (&'static str, [(&'static str, &'static str); 11], &'static str);

macro_rules! shipped {
    ($($name:literal)*) => {
        /// Every shipped phone, in an order in which the first few differ most.
        pub const NAMES: &[&str] = &[$($name),*];

        const PHONES: &[Phone] = &[$((
            $name,
            [
                ("getprop", include_str!(concat!("../../../core/tests/phones/", $name, "/getprop.txt"))),
                ("cpuinfo", include_str!(concat!("../../../core/tests/phones/", $name, "/cpuinfo.txt"))),
                ("meminfo", include_str!(concat!("../../../core/tests/phones/", $name, "/meminfo.txt"))),
                ("cpus", include_str!(concat!("../../../core/tests/phones/", $name, "/cpus.txt"))),
                ("gpu", include_str!(concat!("../../../core/tests/phones/", $name, "/gpu.txt"))),
                ("soc", include_str!(concat!("../../../core/tests/phones/", $name, "/soc.txt"))),
                ("libraries", include_str!(concat!("../../../core/tests/phones/", $name, "/libraries.txt"))),
                ("surfaceflinger", include_str!(concat!("../../../core/tests/phones/", $name, "/surfaceflinger.txt"))),
                ("vkjson", include_str!(concat!("../../../core/tests/phones/", $name, "/vkjson.txt"))),
                ("services", include_str!(concat!("../../../core/tests/phones/", $name, "/services.txt"))),
                ("device_name", include_str!(concat!("../../../core/tests/phones/", $name, "/device_name.txt"))),
            ],
            include_str!(concat!("../../phones/", $name, ".toml")),
        )),*];
    };
}

shipped! {
    "xiaomi-14"
    "huawei-mate-60-pro"
    "oppo-find-x7"
    "vivo-y30"
    "galaxy-s24"
    "honor-50"
    "oneplus-11-global"
    "realme-gt5-pro"
    "meizu-note-22"
    "nubia-z70-ultra"
    "legion-y70"
    "iqoo-12"
}

/// A piece of what a shipped phone says of itself.
pub(super) fn piece(phone: &str, piece: &str) -> Option<&'static str> {
    let (_, pieces, _) = PHONES.iter().find(|(name, _, _)| *name == phone)?;
    pieces.iter().find(|(name, _)| *name == piece).map(|(_, text)| *text)
}

/// What a shipped phone is made of.
pub(super) fn parts(phone: &str) -> Option<&'static str> {
    PHONES.iter().find(|(name, _, _)| *name == phone).map(|(_, _, parts)| *parts)
}
