//! A list of stages with the minutes that each took.

use std::time::Instant;

/// Runs stages in order and keeps their times.
pub struct Stages {
    only: Option<String>,
    done: Vec<(&'static str, f64)>,
    start: Instant,
}

impl Stages {
    pub fn new(only: Option<&str>) -> Self {
        Self { only: only.map(str::to_owned), done: Vec::new(), start: Instant::now() }
    }

    /// Runs a stage unless the caller asked for others only.
    pub fn run(&mut self, name: &'static str, stage: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        if self.only.as_ref().is_some_and(|only| !name.starts_with(only.as_str())) {
            return Ok(());
        }
        println!("── {name}");
        let start = Instant::now();
        stage()?;
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        println!("── {name}: {minutes:.1} min");
        self.done.push((name, minutes));
        Ok(())
    }

    /// Prints the table of all stages.
    pub fn print(&self) {
        println!();
        for (name, minutes) in &self.done {
            println!("{name:<24}{minutes:>6.1} min");
        }
        println!("{:<24}{:>6.1} min", "all", self.start.elapsed().as_secs_f64() / 60.0);
    }
}
