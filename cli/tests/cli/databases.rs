//! Databases that go away under a real server with a real agent in the middle of a run.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use seatrial_core::stage::Stage;

use crate::scratch::{CRASH, Scratch};
use crate::scripted::Held;
use crate::support::{Fleet, Person, stderr, within};

/// Ends every session of PostgreSQL, then shuts it down: what an operator does.
const RESTART: &str = "-INT";

/// One run that is over, one whose job measures until it is let go, and one that waits for the device.
struct Runs {
    over: String,
    held: Held,
    waits: String,
}

impl Runs {
    fn start(fleet: &Fleet) -> Self {
        fleet.register_script("over", "well");
        let over = fleet.submit_scripts(&["over"]);
        each_ends_once(fleet, &[&over]);
        let held = fleet.hold("held", Stage::Measure);
        fleet.register_script("waits", "well in inference");
        Self { over, held, waits: fleet.submit_scripts(&["waits"]) }
    }
}

fn each_ends_once(fleet: &Fleet, runs: &[&str]) {
    for run in runs {
        assert_eq!(fleet.ended(run).1, [["ok"]], "run {run}; {}", fleet.logs());
    }
}

#[test]
fn a_restart_of_postgres_under_a_run_costs_nothing_but_time() {
    survives(RESTART);
}

#[test]
fn a_crash_of_postgres_under_a_run_costs_nothing_but_time() {
    survives(CRASH);
}

fn survives(signal: &str) {
    let mut postgres = Scratch::start().unwrap_or_else(|why| panic!("{why}"));
    let person = Person::new();
    let data = person.path("server");
    let mut fleet = Fleet::serve_with(person, &data, &["--database", &postgres.url("postgres")]);
    fleet.start_agent();
    let Runs { over, held, waits } = Runs::start(&fleet);
    let acknowledged = fleet.json(&["results", &over]);
    let mut watching = fleet.person.command();
    watching.args(["--server", &fleet.address, "watch", &held.run]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut watching = watching.spawn().unwrap();

    postgres.end(signal);
    held.let_go();
    fleet.eventually("the report waits on the device's disk", |fleet| fleet.spooled() == 1);
    let refused = stderr(&fleet.seatrial(&["runs"]).code(1));
    assert!(refused.contains("the database is not available"), "{refused}");
    assert_eq!(fleet.spooled(), 1, "the control: what cannot be stored is not acknowledged");

    postgres.run().unwrap();
    each_ends_once(&fleet, &[&held.run, &waits]);
    assert_eq!(fleet.json(&["results", &over]), acknowledged, "what was acknowledged is as it was");
    assert!(watching.wait().unwrap().success(), "whoever watched saw it to its end");
    fleet.eventually("what is durable leaves the device", |fleet| fleet.spooled() == 0);
}

#[test]
fn a_server_that_stands_by_takes_over_run_and_agents_of_one_that_was_killed() {
    let postgres = Scratch::start().unwrap_or_else(|why| panic!("{why}"));
    let person = Person::new();
    let [data, artifacts] = ["server", "artifacts"].map(|name| person.path(name));
    let shared = ["--database", &postgres.url("postgres"), "--artifacts", artifacts.to_str().unwrap()];
    let mut fleet = Fleet::serve_with(person, &data, &shared);
    fleet.start_agent();
    let Runs { over, held, waits } = Runs::start(&fleet);

    let mut second = fleet.spawn_server("standby.log", &fleet.person.path("standby"));
    let log = fleet.person.path("standby.log");
    within(20, "it stands by", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("standing by")));
    assert!(second.try_wait().unwrap().is_none() && fleet.json(&["devices"])["devices"][0]["connected"] == true);

    fleet.kill_server();
    fleet.serve_by(second);
    held.let_go();
    each_ends_once(&fleet, &[&over, &held.run, &waits]);
    fleet.runs_another();
}

/// Another program that has the database's lock.
struct Locker {
    process: Child,
    /// It lets go when this is closed.
    hold: Option<ChildStdin>,
}

impl Locker {
    fn start(database: &Path) -> Self {
        let program = "import sqlite3, sys\n\
                       database = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                       database.execute('BEGIN EXCLUSIVE')\n\
                       print('held', flush=True)\n\
                       sys.stdin.read()\n";
        let mut process = Command::new("python3")
            .args(["-c", program])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        let hold = process.stdin.take();
        Self { process, hold }
    }

    fn let_go(mut self) {
        drop(self.hold.take());
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn a_database_file_that_another_program_locks_under_a_run_delays_what_is_written_and_loses_nothing() {
    let fleet = Fleet::start();
    let Runs { over, held, waits } = Runs::start(&fleet);
    let device = fleet.json(&["devices"])["devices"][0]["name"].as_str().unwrap().to_owned();
    let label = |value: &str| fleet.seatrial(&["devices", "label", &device, value]);

    let locker = Locker::start(&fleet.person.path("server/seatrial.db"));
    held.let_go();
    fleet.eventually("the report waits on the device's disk", |fleet| fleet.spooled() == 1);
    // Longer than the server's patience with the lock: a person is told, a result waits.
    let refused = stderr(&label("shelf=A3").code(1));
    assert!(refused.contains("the database is not available while"), "{refused}");
    let jobs = fleet.json(&["results", &held.run])["jobs"].clone();
    assert!(jobs[0]["outcome"].is_null(), "reads go on: {jobs:#}");
    assert_eq!(fleet.spooled(), 1, "the control: what cannot be stored is not acknowledged");
    assert!(fleet.logs().contains("database is locked"), "the log says why: {}", fleet.logs());

    locker.let_go();
    label("shelf=A3").success();
    each_ends_once(&fleet, &[&over, &held.run, &waits]);
    fleet.eventually("what is durable leaves the device", |fleet| fleet.spooled() == 0);
}
