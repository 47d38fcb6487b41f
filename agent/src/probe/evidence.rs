//! Raw evidence of what this device is, as the rules list it.

use std::time::Duration;

use seatrial_core::profile::{self, Ending, Findings, RawEvidence, Rules, Source};
use seatrial_core::reading::Reading;

use super::files::Files;
use super::tool;

/// Paths that one pattern may mean.
const MAX_PATHS: usize = 4096;

/// What the device under this root is, and what says so; `None` with a word in the log when this build's own tables are
/// broken.
pub(super) fn look(files: &Files) -> Option<(Findings, RawEvidence)> {
    match Rules::shipped() {
        Ok(rules) => {
            let evidence = collect(files, rules);
            Some((profile::read(&evidence, rules), evidence))
        }
        Err(error) => {
            tracing::error!(%error, "what the device is cannot be read");
            None
        }
    }
}

fn collect(files: &Files, rules: &Rules) -> RawEvidence {
    let mut evidence = RawEvidence::default();
    for step in rules.plan() {
        let (output, ending) = match &step.source {
            Source::Run { words, .. } => tool::run(files.root(), words, Duration::from_secs(step.seconds.into())),
            Source::File(path) => file(files, path),
            Source::Values(patterns) => values(files, patterns),
            Source::Exist(patterns) => exist(files, patterns),
        };
        step.keep(&mut evidence, &output, ending);
    }
    evidence
}

fn file(files: &Files, path: &str) -> (String, Ending) {
    match files.text(path.trim_start_matches('/')) {
        Reading::Present(text) => (text, Ending::Whole),
        Reading::Absent(reason) => (reason, Ending::Failed(1)),
    }
}

fn values(files: &Files, patterns: &[String]) -> (String, Ending) {
    let line = |path: String| match files.text(path.trim_start_matches('/')) {
        Reading::Present(text) if !text.is_empty() => format!("{path}={}\n", text.lines().next().unwrap_or_default()),
        Reading::Present(_) | Reading::Absent(_) => format!("{path}!denied or empty\n"),
    };
    (patterns.iter().flat_map(|pattern| expand(files, pattern)).map(line).collect(), Ending::Whole)
}

fn exist(files: &Files, patterns: &[String]) -> (String, Ending) {
    let paths = patterns.iter().flat_map(|pattern| expand(files, pattern));
    (paths.map(|path| path + "\n").collect(), Ending::Whole)
}

/// The paths under the root that a pattern means, sorted.
fn expand(files: &Files, pattern: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    for part in pattern.split('/').skip(1) {
        let next: Vec<String> = if part.contains(['*', '[']) {
            paths
                .iter()
                .flat_map(|folder| {
                    let names =
                        std::fs::read_dir(files.root().join(folder.trim_start_matches('/'))).into_iter().flatten();
                    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                    names.filter(|name| profile::path_matches(part, name)).map(move |name| format!("{folder}/{name}"))
                })
                .take(MAX_PATHS)
                .collect()
        } else {
            paths.iter().map(|folder| format!("{folder}/{part}")).collect()
        };
        paths = next;
    }
    paths.retain(|path| files.exists(path.trim_start_matches('/')));
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use seatrial_core::profile::Piece;

    use super::tool::tests::tool;
    use super::*;

    fn tree() -> (tempfile::TempDir, Files) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("vendor/lib64/egl/mt6989")).unwrap();
        std::fs::write(home.path().join("vendor/lib64/egl/mt6989/libGLES_mali.so"), "").unwrap();
        let files = Files::new(home.path());
        (home, files)
    }

    #[test]
    fn a_phone_under_a_root_is_asked_by_its_own_programs() {
        let (home, files) = tree();
        tool(home.path(), "getprop", "echo '[ro.product.brand]: [vivo]'; echo '[ro.build.version.release]: [14]'");
        tool(
            home.path(),
            "dumpsys",
            "echo noise; echo 'GLES: ARM, Mali-G610 MC6, OpenGL ES 3.2 v1.r32p1-0'; echo noise",
        );
        tool(home.path(), "cmd", "kill -ABRT $$");
        let evidence = collect(&files, Rules::shipped().unwrap());
        assert_eq!(evidence.get(Piece::SurfaceFlinger).unwrap().text.lines().count(), 1);
        assert_eq!(evidence.get(Piece::Vkjson).unwrap().ending, Ending::Failed(128));
        assert_eq!(evidence.get(Piece::PageSize).unwrap().ending, Ending::Failed(127), "not this machine's getconf");
        assert_eq!(evidence.get(Piece::Libraries).unwrap().text, "/vendor/lib64/egl/mt6989/libGLES_mali.so\n");
        let (findings, kept) = look(&files).unwrap();
        assert_eq!(kept, evidence);
        assert_eq!(findings.naming.brand.present().unwrap().value, "vivo");
        assert_eq!(findings.gpu_driver.present().unwrap().value.build, Reading::Present("r32p1".to_owned()));
    }
}
