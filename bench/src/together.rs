//! Our session and the engine's own interface in one process, in turns: two processes of one program differ by more than
//! what is looked for here.

use std::path::Path;

use seatrial_agent::child::timing;
use seatrial_agent::runtime;
use seatrial_core::runtimes::Engine;
use serde::{Deserialize, Serialize};

use crate::direct::{self, Call};
use crate::fidelity::version;
use crate::ratio::median;

/// In a block nothing but one of the three runs; blocks take turns, each order as often as every other.
const BLOCK: u32 = 50;
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2]];

/// Median latencies in µs. The third is a second model loaded like the second: what it differs by is what this cannot
/// tell.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Together {
    pub session: f64,
    pub direct: f64,
    pub another: f64,
}

/// Prints [`Together`] of a model, of about so many samples each.
pub fn run(engine: Option<(Engine, &Path)>, model: &Path, samples: u32) -> anyhow::Result<()> {
    let mut calls = [session(engine, model)?, direct::open(engine, model)?, direct::open(engine, model)?];
    for call in &mut calls {
        direct::warm_up(call)?;
    }
    let rounds = (samples / BLOCK).div_ceil(6).max(1);
    let mut blocks: [Vec<f64>; 3] = Default::default();
    for order in ORDERS.iter().cycle().take(rounds as usize * ORDERS.len()) {
        for &which in order {
            blocks[which].push(direct::median_us(&mut calls[which], BLOCK)?);
        }
    }
    let [session, direct, another] = blocks.map(median);
    println!("{}", serde_json::to_string(&Together { session, direct, another })?);
    Ok(())
}

/// An inference as an attempt times it.
fn session(engine: Option<(Engine, &Path)>, model: &Path) -> anyhow::Result<Call> {
    let library = engine.map(|(engine, library)| (engine, library, version(library)));
    let mut session = runtime::alone::open(library, model, &direct::noise)?;
    Ok(Box::new(move || Ok(timing::once(&mut *session)?)))
}
