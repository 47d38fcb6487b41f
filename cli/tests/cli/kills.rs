//! `kill -9` of the child, of the agent and of the server at every stage of an attempt. Whatever dies and wherever: one
//! result, no process left, and the next job runs.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use seatrial_core::digest::Digest;
use seatrial_core::stage::Stage;

use crate::disks::files;
use crate::scripted::child_of;
use crate::support::{Fleet, Person, processes_of, within};

/// Stages that a child enters. Nothing enters `energy` in this version, and `fetch` is the agent's own.
const OF_A_CHILD: [Stage; 7] = [
    Stage::Prepare,
    Stage::Load,
    Stage::FirstInference,
    Stage::Warmup,
    Stage::Measure,
    Stage::Accuracy,
    Stage::Teardown,
];

#[test]
fn every_stage_is_one_at_which_something_is_killed_here() {
    for stage in Stage::ALL {
        let is_covered = OF_A_CHILD.contains(&stage) || stage == Stage::Fetch;
        assert_eq!(is_covered, stage != Stage::Energy, "{stage}: cover it in the tests of this file");
    }
}

#[test]
fn a_child_killed_at_any_stage_is_a_crash_at_that_stage_and_its_job_runs_once_more() {
    let fleet = Fleet::start();
    for stage in OF_A_CHILD {
        let held = fleet.hold(&format!("child-{stage}"), stage);
        let child = child_of(&fleet.agent_folder).to_string();
        assert!(Command::new("kill").args(["-9", &child]).status().unwrap().success());
        held.let_go();
        // The control is the second attempt: the same job, not killed.
        let attempts = fleet.ended(&held.run).1;
        assert_eq!(attempts, [[format!("crash_signal(9) at {stage}"), "ok".to_owned()]], "{}", fleet.logs());
    }
    fleet.runs_another();
    within(5, "nothing is left", || processes_of(&fleet.agent_folder) == 1);
}

#[test]
fn an_agent_killed_at_any_stage_leaves_no_process_and_its_job_runs_again_once() {
    let mut fleet = Fleet::start();
    for stage in OF_A_CHILD {
        let held = fleet.hold(&format!("agent-{stage}"), stage);
        dies_and_comes_back(&mut fleet, 2);
        held.let_go();
        let attempts = fleet.ended(&held.run).1;
        assert_eq!(attempts, [["agent_killed", "ok"]], "{stage}; {}", fleet.logs());
    }

    // Before there is a child, in the middle of a transfer.
    fleet.kill_agent();
    fleet.start_agent_with(&[("FAILPOINTS", "cache-write=sleep(60000)")]);
    fleet.register_script("agent-fetch", "well in inference");
    let run = fleet.submit_scripts(&["agent-fetch"]);
    let partial = fleet.agent_folder.join("cache/partial");
    fleet.eventually("a transfer has begun", |_| std::fs::read_dir(&partial).unwrap().count() == 1);
    dies_and_comes_back(&mut fleet, 1);
    assert_eq!(fleet.ended(&run).1, [["agent_killed", "ok"]], "fetch; {}", fleet.logs());
    fleet.runs_another();
}

fn dies_and_comes_back(fleet: &mut Fleet, processes: usize) {
    let folder = fleet.agent_folder.clone();
    assert_eq!(processes_of(&folder), processes, "the control: the agent, and its child where there is one");
    fleet.kill_agent();
    within(5, "no process is left", || processes_of(&folder) == 0);
    fleet.start_agent();
}

#[test]
fn a_server_killed_at_any_stage_of_an_attempt_costs_no_attempt_and_no_result() {
    // An agent that loses its server again and again asks ever less often: a few kills for each.
    for stages in OF_A_CHILD.chunks(3) {
        let mut fleet = Fleet::start();
        for &stage in stages {
            let held = fleet.hold(&format!("server-{stage}"), stage);
            fleet.kill_server();
            fleet.restart_server();
            held.let_go();
            assert_eq!(fleet.ended(&held.run).1, [["ok"]], "{stage}; {}", fleet.logs());
        }
    }
}

#[test]
fn a_server_killed_before_or_behind_what_a_child_does_costs_no_attempt_and_no_result_either() {
    let mut fleet = Fleet::start();
    // What ends while the server is away is delivered to the next one.
    let held = fleet.hold("server-away", Stage::Measure);
    fleet.kill_server();
    held.let_go();
    fleet.eventually("the report is on the device's disk", |fleet| fleet.spooled() == 1);
    fleet.restart_server();
    assert_eq!(fleet.ended(&held.run).1, [["ok"]], "{}", fleet.logs());
    fleet.eventually("what is durable leaves the device", |fleet| fleet.spooled() == 0);

    // A transfer that the server's death interrupts goes on with the next server.
    fleet.kill_agent();
    fleet.start_agent_with(&[("FAILPOINTS", "cache-write=1*sleep(1500)")]);
    fleet.register_script("server-fetch", "well in inference");
    let run = fleet.submit_scripts(&["server-fetch"]);
    let partial = fleet.agent_folder.join("cache/partial");
    fleet.eventually("a transfer has begun", |_| std::fs::read_dir(&partial).unwrap().count() == 1);
    fleet.kill_server();
    fleet.restart_server();
    assert_eq!(fleet.ended(&run).1, [["ok"]], "fetch; {}", fleet.logs());

    // Accepted and not yet given to anybody.
    fleet.kill_agent();
    fleet.register_script("server-queued", "well");
    let run = fleet.submit_scripts(&["server-queued"]);
    fleet.kill_server();
    fleet.restart_server();
    fleet.start_agent();
    assert_eq!(fleet.ended(&run).1, [["ok"]], "queued; {}", fleet.logs());
}

#[test]
fn a_server_killed_in_the_middle_of_an_upload_leaves_nothing_of_it_to_the_next() {
    let person = Person::new();
    let data = person.path("server");
    let artifacts = data.join("artifacts");
    let mut fleet = Fleet::serve(person, &data);
    let bytes = vec![7; 1 << 20];
    let digest = Digest::of(&bytes);
    let mut upload = TcpStream::connect(fleet.authority()).unwrap();
    let head =
        format!("PUT /artifacts/{digest} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", bytes.len());
    upload.write_all(head.as_bytes()).unwrap();
    upload.write_all(&bytes[..bytes.len() / 2]).unwrap();
    fleet.eventually("a part of it is there", |_| files(&artifacts).len() == 1);
    fleet.kill_server();
    assert_eq!(files(&artifacts).len(), 1, "the control: nobody was left to remove it");
    fleet.restart_server();
    assert_eq!(files(&artifacts), Vec::<PathBuf>::new());
    assert_eq!(fleet.put(&digest, bytes).0, reqwest::StatusCode::CREATED);
}
