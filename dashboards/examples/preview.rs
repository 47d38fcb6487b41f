//! Serves every page over invented data, for those who work on the look of them.
//!
//! ```text
//! cargo run -p seatrial-dashboards --example preview            # http://127.0.0.1:7799, a full lab
//! cargo run -p seatrial-dashboards --example preview -- empty   # nothing has joined, nothing has run
//! cargo run -p seatrial-dashboards --example preview -- broken  # the store is away
//! cargo run -p seatrial-dashboards --example preview -- large   # 50 devices, a run of 2,000 jobs
//! cargo run -p seatrial-dashboards --example preview -- tasks   # other tasks; also accelerators, programs, energy, outputs, night
//! ```
//!
//! A second argument is the port, a third the role (`viewer`, `submitter`, …).

#![expect(clippy::print_stdout, reason = "tells a person where to look")]

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use fixture::Lab;
use seatrial_core::role::Role;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let lab = match arguments.next().as_deref() {
        Some("empty") => Lab::empty(),
        Some("broken") => Lab::broken(),
        Some("hostile") => Lab::hostile(),
        Some("large") => Lab::large(),
        Some("tasks") => Lab::of_tasks(),
        Some("accelerators") => Lab::of_accelerators(),
        Some("programs") => Lab::of_programs(),
        Some("energy") => Lab::of_energy(),
        Some("outputs") => Lab::with_outputs().into(),
        Some("night") => Lab::of_night(100, 21).into(),
        Some(_) | None => Lab::full(),
    };
    let port: u16 = arguments.next().map_or(Ok(7799), |text| text.parse())?;
    let role = arguments.next().map_or(Ok(Role::Submitter), |text| text.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, fixture::running(lab, role)).await?;
    Ok(())
}
