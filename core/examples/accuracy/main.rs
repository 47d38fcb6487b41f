//! Computes task metrics of cases that it reads as JSON; the other half of `fixtures/check_accuracy.py`, which makes
//! the cases and knows what reference implementations say of them.

mod answer;

use std::io::{Read as _, Write as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut cases = String::new();
    std::io::stdin().read_to_string(&mut cases)?;
    let answers = answer::answer(&cases)?;
    serde_json::to_writer(std::io::stdout(), &answers)?;
    Ok(writeln!(std::io::stdout())?)
}
