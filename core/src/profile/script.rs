//! One script that asks a device for everything, and what its output says. It is written for the shells of Android 7
//! and later (mksh with toybox) and of boards (dash, busybox).
//!
//! Each piece begins with a line of a mark that the caller made up and `> NAME`, says how its command ended with
//! `= CODE`, and ends with `.`. What lacks the second was cut by its bound, what lacks the third by the connection.

use std::fmt::Write as _;

use super::evidence::{Ending, MAX_PIECE_BYTES, Piece, RawEvidence};
use super::plan::Source;
use super::rules::Rules;

/// Characters of the mark.
pub const NONCE_BYTES: std::ops::RangeInclusive<usize> = 8..=64;

/// A mark that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the mark of a script is 8 to 64 letters and digits, not {0:?}")]
pub struct ScriptError(String);

/// `head -c` is missing on the oldest toybox, `timeout` there and in some vendors' builds.
const PROLOGUE: &str = r#"if [ "$(echo ab | head -c 1 2>/dev/null)" = a ]; then cap() { head -c "$1"; }; else cap() { head -n 4000; }; fi
if timeout 1 true >/dev/null 2>&1; then lim() { timeout "$@" </dev/null; }
else lim() {
  s=$1; shift; "$@" </dev/null & p=$!
  ( sleep "$s"; kill -9 $p ) </dev/null >/dev/null 2>&1 & w=$!
  wait $p; r=$?; kill $w >/dev/null 2>&1; return $r
}; fi
one() {
  v=
  if [ -e "$1" ]; then
    if { read -r v < "$1"; } 2>/dev/null || [ -n "$v" ]; then printf '%s=%s\n' "$1" "$v"; else printf '%s!%s\n' "$1" 'denied or empty'; fi
  fi
}
"#;

/// The script that asks for every step of the rules, for `sh -s` or `sh -c`; `nonce` must not be guessable by what is
/// asked. One round trip.
pub fn script(rules: &Rules, nonce: &str) -> Result<String, ScriptError> {
    check(nonce)?;
    let mut script = format!("M=@@{nonce}\n{PROLOGUE}");
    for step in rules.plan() {
        let (name, seconds) = (step.piece.as_str(), step.seconds);
        let body = match &step.source {
            Source::Run { words, lines } if lines.is_empty() => format!("lim {seconds} {} 2>&1", quoted(words)),
            Source::Run { words, lines } => {
                let wanted = lines.iter().map(|line| format!("-e '{line}'")).collect::<Vec<_>>().join(" ");
                format!("{{ lim {seconds} {} | grep -F {wanted}; }} 2>&1", quoted(words))
            }
            Source::File(path) => format!("lim {seconds} cat {path} 2>&1"),
            Source::Values(paths) => format!("for f in {}; do one \"$f\"; done", paths.join(" ")),
            Source::Exist(paths) => {
                format!("for f in {}; do if [ -e \"$f\" ]; then printf '%s\\n' \"$f\"; fi; done", paths.join(" "))
            }
        };
        // The line of the code is counted too.
        let bytes = step.bytes + NONCE_BYTES.end() + 16;
        let _ = write!(
            script,
            "printf '%s > %s\\n' \"$M\" {name}\n{{ {body}; printf '\\n%s = %s\\n' \"$M\" \"$?\"; }} | cap {bytes}\nprintf '\\n%s .\\n' \"$M\"\n"
        );
    }
    Ok(script)
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

fn check(nonce: &str) -> Result<(), ScriptError> {
    let fits = NONCE_BYTES.contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(()) } else { Err(ScriptError(nonce.chars().take(80).collect())) }
}

/// What the script's output says, however far it came. Pieces that it did not come to are missing.
pub fn split(output: &[u8], nonce: &str) -> Result<RawEvidence, ScriptError> {
    check(nonce)?;
    let output = String::from_utf8_lossy(&output[..output.len().min(MAX_PIECE_BYTES * Piece::ALL.len())]);
    let mark = format!("@@{nonce} ");
    let mut evidence = RawEvidence::default();
    let mut open: Option<Open> = None;
    for line in output.split_inclusive('\n') {
        // A line without its end may be half of a mark.
        let ended = line.ends_with('\n');
        match line.strip_prefix(&mark).map(str::trim_end).filter(|_| ended) {
            None => {
                if let Some(open) = &mut open {
                    open.add(line);
                }
            }
            Some(".") => close(&mut evidence, open.take()),
            Some(word) => match (word.strip_prefix("> "), word.strip_prefix("= ")) {
                (Some(name), _) => {
                    close(&mut evidence, open.take());
                    let piece = Piece::ALL.iter().copied().find(|piece| piece.as_str() == name);
                    open = piece.map(|piece| Open { piece, text: String::new(), ending: Ending::Cut });
                }
                (None, Some(code)) => {
                    if let (Some(open), Ok(code)) = (&mut open, code.parse::<i32>()) {
                        open.ending = if code == 0 { Ending::Whole } else { Ending::Failed(code) };
                    }
                }
                (None, None) => {}
            },
        }
    }
    close(&mut evidence, open);
    Ok(evidence)
}

/// A piece whose end has not been read yet.
struct Open {
    piece: Piece,
    text: String,
    ending: Ending,
}

impl Open {
    fn add(&mut self, line: &str) {
        // What follows the code is the script's own line end.
        if self.ending == Ending::Cut {
            self.text.push_str(line);
        }
    }
}

fn close(evidence: &mut RawEvidence, open: Option<Open>) {
    if let Some(Open { piece, mut text, ending }) = open {
        // The script puts a line end before each mark.
        if text.ends_with('\n') {
            text.pop();
        }
        evidence.keep(piece, text, ending);
    }
}
