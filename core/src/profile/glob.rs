//! The patterns of paths that the tables use: `*` and `[0-9]` within one folder, as a shell reads them.

/// Why a text of a table may not stand in a script, if so. Everything else needs no quoting, and is no option.
pub(super) fn fault(path: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._,+-*[]".contains(&byte);
    if !path.starts_with('/') {
        Some("is no absolute path")
    } else if !path.bytes().all(plain) {
        Some("holds a character that a shell would read")
    } else if path.split('/').any(|part| part == "..") {
        Some("goes upwards")
    } else {
        None
    }
}

/// Whether a path is one that the pattern means.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if part_matches(pattern.as_bytes(), part.as_bytes()) => {}
            (_, _) => return false,
        }
    }
}

/// Takes back only the last `*`, so that the time is at most the product of both lengths.
fn part_matches(pattern: &[u8], part: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < part.len() {
        let digit = pattern[at..].starts_with(b"[0-9]");
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, seen));
            at += 1;
        } else if digit && part[seen].is_ascii_digit() {
            at += 5;
            seen += 1;
        } else if !digit && pattern.get(at) == Some(&part[seen]) {
            at += 1;
            seen += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (at, seen) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_it_means_to_a_shell() {
        for (pattern, path, expected) in [
            ("/vendor/lib64/libOpenCL.so", "/vendor/lib64/libOpenCL.so", true),
            ("/vendor/lib64/egl/mt*/libGLES_mali.so", "/vendor/lib64/egl/mt6897/libGLES_mali.so", true),
            ("/vendor/lib64/egl/mt*/libGLES_mali.so", "/vendor/lib64/egl/mt6897/x/libGLES_mali.so", false),
            ("/vendor/lib64/libQnn*.so", "/vendor/lib64/libQnnHtpV75Stub.so", true),
            ("/vendor/lib64/libQnn*.so", "/vendor/lib64/libQnnHtp.so.1", false),
            ("/a/cpu[0-9]*/f", "/a/cpu12/f", true),
            ("/a/cpu[0-9]*/f", "/a/cpufreq/f", false),
            ("/a/*b*b", "/a/abbabb", true),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_a_shell_would_read_as_more_than_a_path_is_refused() {
        for path in ["/a;reboot", "/a b", "/$x", "relative", "/a/../b", "/`x`", "/a\n"] {
            assert!(fault(path).is_some(), "{path:?}");
        }
        assert_eq!(fault("/sys/devices/system/cpu/cpu[0-9]*/cpu_capacity"), None);
    }
}
