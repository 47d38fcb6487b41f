//! Runs through the port: over gRPC and through the forms of the pages, with agents that take the jobs.

use std::time::Duration;

use http::StatusCode;
use http::header::{LOCATION, ORIGIN};
use seatrial_core::backend::Accelerator;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::digest::Digest;
use seatrial_core::lab::standing::Service;
use seatrial_core::live::Live as _;
use seatrial_core::model::{Axis, Format, Signature, TensorSpec};
use seatrial_core::reading::Reading;
use seatrial_core::stage::Stage;
use seatrial_core::store::{ServiceChange, ServiceRow};
use seatrial_core::tensor::DType;
use seatrial_proto::v1::devices_client::DevicesClient;
use seatrial_proto::v1::models_client::ModelsClient;
use seatrial_proto::v1::run_event::Event;
use seatrial_proto::v1::runs_client::RunsClient;
use seatrial_proto::{MAX_MESSAGE, v1};
use seatrial_sim::connection::dial;
use seatrial_sim::{Connection, FakeAgent, Identity, Script, report};
use tonic::transport::Channel;

use crate::support::{Lab, client, eventually};

/// A device that offers a runtime for ONNX.
pub(crate) fn identity(name: &str) -> Identity {
    let mut identity = Identity::named(name);
    identity.profile.cpu.count = Reading::Present(64);
    identity.profile.runtimes = vec![RuntimeOffer {
        name: "tract".to_owned(),
        version: "0.0.0".to_owned(),
        formats: vec![Format::Onnx],
        accelerators: vec![Accelerator::Cpu],
        absent: std::collections::BTreeMap::new(),
    }];
    identity
}

/// A model that no fake ever parses.
pub(crate) async fn add_model(lab: &Lab) {
    let bytes = b"a model";
    let digest = Digest::of(bytes);
    let put = client().put(lab.url(&format!("/artifacts/{digest}"))).body(bytes.to_vec()).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::CREATED);
    let tensor = |name: &str| TensorSpec { name: name.to_owned(), dtype: DType::F32, shape: vec![Axis::Fixed(1)] };
    let signature = Signature { inputs: vec![tensor("x")], outputs: vec![tensor("y")], precision_from: None };
    let file = v1::FileRef {
        role: "model".to_owned(),
        digest: digest.as_bytes().to_vec().into(),
        size: bytes.len() as u64,
        file_name: "model.onnx".to_owned(),
    };
    let variant = v1::NewVariant {
        name: "fp32".to_owned(),
        format: "onnx".to_owned(),
        precision: "fp32".to_owned(),
        files: vec![file],
        signature_json: serde_json::to_string(&signature).unwrap(),
    };
    let request = v1::AddModelRequest { name: "m".to_owned(), variants: vec![variant], ..Default::default() };
    ModelsClient::connect(lab.server.url()).await.unwrap().add(request).await.unwrap();
}

pub(crate) async fn runs(lab: &Lab) -> RunsClient<Channel> {
    RunsClient::connect(lab.server.url()).await.unwrap().max_decoding_message_size(MAX_MESSAGE)
}

/// One job for each number of threads, on each device.
pub(crate) fn suite(threads: usize) -> String {
    let threads: Vec<String> = (1..=threads).map(|n| n.to_string()).collect();
    format!(
        "name = \"s\"\nmodels = [\"m\"]\nbackends = [{{ runtime = \"tract\", threads = [{}] }}]\n[gate]\nallow_invalid = true\n",
        threads.join(", ")
    )
}

pub(crate) fn submission(suite_toml: String, submission: &str) -> v1::SubmitRequest {
    let (file_name, submission) = ("s.toml".to_owned(), submission.to_owned());
    v1::SubmitRequest { suite_toml, file_name, submission, ..v1::SubmitRequest::default() }
}

pub(crate) async fn submit(runs: &mut RunsClient<Channel>, suite_toml: String) -> v1::SubmitResponse {
    runs.submit(submission(suite_toml, "")).await.unwrap().into_inner()
}

/// Every page of a run over `Get`.
pub(crate) async fn get(runs: &mut RunsClient<Channel>, run: &str) -> (v1::GetRunResponse, usize) {
    let (mut whole, mut pages) = (v1::GetRunResponse::default(), 0);
    loop {
        let request = v1::GetRunRequest { run: run.to_owned(), page: whole.next_page.clone() };
        let page = runs.get(request).await.unwrap().into_inner();
        pages += 1;
        whole.jobs.extend(page.jobs);
        whole.misfits.extend(page.misfits);
        whole.gate_json = whole.gate_json.or(page.gate_json);
        (whole.run, whole.next_page) = (page.run, page.next_page);
        if whole.next_page.is_empty() {
            return (whole, pages);
        }
    }
}

/// Every event of a run until it has ended: jobs of the first snapshot, jobs that changed, and jobs at the end.
async fn watched(runs: &mut RunsClient<Channel>, run: &str) -> (usize, usize, Vec<v1::Job>) {
    let mut events = runs.watch(v1::WatchRequest { run: run.to_owned() }).await.unwrap().into_inner();
    let (mut first, mut changed, mut ended) = (0, 0, Vec::new());
    let mut is_first = true;
    while let Some(event) = events.message().await.unwrap() {
        match event.event.unwrap() {
            Event::Snapshot(page) => {
                if is_first {
                    first += page.jobs.len();
                    is_first = !page.next_page.is_empty();
                }
            }
            Event::Job(_) => changed += 1,
            Event::Ended(page) => {
                ended.extend(page.jobs);
                if page.next_page.is_empty() {
                    break;
                }
            }
        }
    }
    (first, changed, ended)
}

#[tokio::test]
async fn a_suite_is_previewed_submitted_watched_and_repeated_over_grpc() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;

    let request = v1::PreviewRequest { suite_toml: suite(2), file_name: "s.toml".to_owned() };
    let preview = runs.preview(request).await.unwrap().into_inner();
    assert_eq!((preview.jobs.len(), preview.jobs_total, preview.misfits_total), (2, 2, 0));
    let request =
        v1::PreviewRequest { suite_toml: format!("colour = 1\n{}", suite(1)), file_name: "s.toml".to_owned() };
    let preview = runs.preview(request).await.unwrap().into_inner();
    assert!(preview.jobs.is_empty() && preview.problems[0].message.contains("colour"), "{preview:?}");
    assert_eq!(
        runs.list(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs.len(),
        0,
        "nothing is stored"
    );

    let submitted = submit(&mut runs, suite(2)).await;
    assert_eq!((submitted.number, submitted.jobs), (1, 2));
    let mut watcher = runs.clone();
    let watch = tokio::spawn(async move { watched(&mut watcher, "1").await });
    for _ in 0..2 {
        let (attempt, _) = agent.assignment().await.unwrap();
        agent.accept(attempt).await.unwrap();
        agent.enter(attempt, Stage::Measure).await.unwrap();
        agent.report(attempt, &report::ok(100)).await.unwrap();
        assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    }
    let (first, _, ended) = watch.await.unwrap();
    assert_eq!((first, ended.len()), (2, 2));
    assert!(ended.iter().all(|job| job.outcome.as_deref() == Some("ok") && !job.metrics.is_empty()), "{ended:?}");
    let (run, _) = get(&mut runs, "1").await;
    assert_eq!(run.run.as_ref().unwrap().gate_passed, Some(true), "{:?}", run.gate_json);

    let request = v1::RerunRequest { job: run.jobs[1].short.clone() };
    let again = runs.rerun(request).await.unwrap().into_inner();
    assert_eq!(again.number, 2);
    let (attempt, assignment) = agent.assignment().await.unwrap();
    assert!(assignment.spec_json.contains("\"threads\":2"), "the same specification: {}", assignment.spec_json);
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(100)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    let (_, _, ended) = watched(&mut runs, "2").await;
    assert_eq!(ended.len(), 1);
    let refused = runs.cancel(v1::CancelRunRequest { run: "2".to_owned() }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
}

const ONE: &str = "0199f0c2-5b1e-7cc3-98c4-dc0c0c07398f";

#[tokio::test]
async fn a_submission_that_is_repeated_is_answered_with_its_first_run() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let _agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;
    let first = runs.submit(submission(suite(2), ONE)).await.unwrap().into_inner();
    assert_eq!(runs.submit(submission(suite(2), ONE)).await.unwrap().into_inner(), first);
    let other = runs.submit(submission(suite(1), ONE)).await.unwrap_err();
    assert_eq!(other.code(), tonic::Code::FailedPrecondition, "{other}");
    let unreadable = runs.submit(submission(suite(1), "again")).await.unwrap_err();
    assert_eq!(unreadable.code(), tonic::Code::InvalidArgument, "{unreadable}");
    for number in [2, 3] {
        assert_eq!(submit(&mut runs, suite(2)).await.number, number, "the control: without a name each is a run");
    }
    let (mut left, mut right) = (runs.clone(), runs.clone());
    let named = || submission(suite(1), "0199f0c2-5b1e-7cc3-98c4-dc0c0c073990");
    let (left, right) = tokio::join!(left.submit(named()), right.submit(named()));
    assert_eq!(left.unwrap().into_inner(), right.unwrap().into_inner(), "at once");
    assert_eq!(runs.list(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs.len(), 4);
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn a_submission_whose_answer_was_lost_makes_one_run() {
    let scenario = fail::FailScenario::setup();
    let lab = Lab::start().await;
    add_model(&lab).await;
    let _agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;
    fail::cfg("run_stored", "1*panic").unwrap();
    let lost = runs.submit(submission(suite(1), ONE)).await.unwrap_err();
    assert!(lost.message() != "" && lost.code() != tonic::Code::InvalidArgument, "the control: {lost}");
    assert_eq!(runs.submit(submission(suite(1), ONE)).await.unwrap().into_inner().number, 1);
    assert_eq!(runs.list(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs.len(), 1);
    scenario.teardown();
}

#[tokio::test]
async fn a_run_is_cancelled_over_grpc_and_its_watcher_is_told() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;
    submit(&mut runs, suite(3)).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    let mut watcher = runs.clone();
    let watch = tokio::spawn(async move { watched(&mut watcher, "1").await });
    let cancelled = runs.cancel(v1::CancelRunRequest { run: "1".to_owned() }).await.unwrap().into_inner();
    assert_eq!(cancelled.cancelled, 3);
    let ended = report::ended(seatrial_core::outcome::Outcome::Cancelled);
    agent.report(attempt, &ended).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    let (_, _, jobs) = watch.await.unwrap();
    assert!(jobs.iter().all(|job| job.outcome.as_deref() == Some("cancelled")), "{jobs:?}");
    assert_eq!(get(&mut runs, "1").await.0.run.unwrap().state, "cancelled");
}

#[tokio::test]
async fn a_state_that_the_store_has_and_the_fleet_never_heard_of_is_told_again() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut devices = DevicesClient::connect(lab.server.url()).await.unwrap();
    let device = agent.welcome.device.clone();
    let mut set = async |state: &str| {
        let (device, state) = (device.clone(), state.to_owned());
        let request = v1::SetDeviceStateRequest { device, state, reason: String::new(), length_s: None };
        devices.set_state(request).await.unwrap();
    };
    set("maintenance").await;
    // As a server leaves it whose caller left between the two.
    let last = lab.server.store.device_service(device.parse().unwrap()).await.unwrap();
    let row = ServiceRow { service: Service::default(), revision: last.revision + 1, ..last };
    let repaired = ServiceChange { row, reason: "repaired".to_owned() };
    assert!(lab.server.store.decide(&[repaired]).await.unwrap());
    submit(&mut runs(&lab).await, suite(1)).await;
    let early = tokio::time::timeout(Duration::from_millis(300), agent.assignment()).await;
    assert!(early.is_err(), "the control: the fleet takes the device to be in maintenance");
    set("ready").await;
    agent.assignment().await.unwrap();
}

/// The token that a page's form carries.
async fn csrf(lab: &Lab, path: &str) -> String {
    hidden(lab, path, "csrf").await
}

/// A hidden field of a page's form.
async fn hidden(lab: &Lab, path: &str, name: &str) -> String {
    let page = lab.get(path).header("accept", "text/html").send().await.unwrap().text().await.unwrap();
    let field = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&field).unwrap_or_else(|| panic!("no field {name} on {path}: {page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// Sends a form of the server's own page, and gives the address that it leads to.
async fn post(lab: &Lab, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let request = client().post(lab.url(path)).header(ORIGIN, lab.server.url());
    let request = request.header("content-type", "application/x-www-form-urlencoded").header("accept", "text/html");
    let answer = request.body(body.join("&")).send().await.unwrap();
    let to = answer.headers().get(LOCATION).map(|to| to.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status(), to)
}

#[tokio::test]
async fn the_forms_of_the_pages_submit_cancel_and_repeat_real_runs() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;
    let token = csrf(&lab, "/runs/new?variant=m%2Ffp32").await;
    let stale = post(&lab, "/runs/new", &[("csrf", "x"), ("suite", &suite(1))]).await;
    assert_eq!(stale.0, StatusCode::FORBIDDEN, "the control: a form of another session starts nothing");
    let preview = post(&lab, "/runs/new", &[("csrf", &token), ("suite", &suite(1)), ("act", "preview")]).await;
    assert_eq!(preview, (StatusCode::OK, String::new()));
    assert_eq!(runs.list(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs.len(), 0);

    let started = post(&lab, "/runs/new", &[("csrf", &token), ("suite", &suite(1)), ("act", "start")]).await;
    assert_eq!(started, (StatusCode::SEE_OTHER, "/runs/1".to_owned()));
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(100)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    let (_, _, jobs) = watched(&mut runs, "1").await;

    let path = format!("/jobs/{}", jobs[0].short);
    let repeated = post(&lab, &format!("{path}/rerun"), &[("csrf", &csrf(&lab, &path).await)]).await;
    assert_eq!(repeated, (StatusCode::SEE_OTHER, "/runs/2".to_owned()));
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();

    let cancelled = post(&lab, "/runs/2/cancel", &[("csrf", &csrf(&lab, "/runs/2").await)]).await;
    assert_eq!(cancelled, (StatusCode::SEE_OTHER, "/runs/2".to_owned()));
    drop(agent); // nobody has to answer for the run to end
    let (_, _, jobs) = watched(&mut runs, "2").await;
    assert_eq!(jobs[0].outcome.as_deref(), Some("cancelled"));
    for action in ["POST /runs/new", "POST /jobs/{id}/rerun", "POST /runs/{number}/cancel"] {
        eventually(action, async || {
            let log = lab.server.store.audit(lab.project().await, None, 100).await.unwrap();
            log.iter().any(|entry| entry.row.action == action)
        })
        .await;
    }
}

#[tokio::test]
async fn a_button_pressed_twice_makes_one_run_and_an_edited_or_reloaded_form_another() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let page = "/runs/new?variant=m%2Ffp32";
    let (token, shown) = (csrf(&lab, page).await, hidden(&lab, page, "shown").await);
    let start = async |shown: &str, suite: &str| {
        let form = [("csrf", token.as_str()), ("shown", shown), ("suite", suite), ("act", "start")];
        post(&lab, "/runs/new", &form).await.1
    };
    assert_eq!(start(&shown, &suite(1)).await, "/runs/1");
    assert_eq!(start(&shown, &suite(1)).await, "/runs/1", "the second press of one button");
    assert_eq!(start(&shown, &suite(2)).await, "/runs/2", "the text was edited in between");
    let reloaded = hidden(&lab, page, "shown").await;
    assert_ne!(reloaded, shown);
    assert_eq!(start(&reloaded, &suite(1)).await, "/runs/3", "the form was opened anew");
    drop(agent);
}

#[tokio::test]
async fn a_run_of_thousands_of_jobs_comes_whole_in_pages_that_fit() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let agents: Vec<FakeAgent> =
        (0..64).map(|n| FakeAgent::start(&lab.server.url(), identity(&n.to_string()), Script::default())).collect();
    eventually("all are connected", async || lab.server.fleet.devices().len() == 64).await;
    let mut runs = runs(&lab).await;
    let submitted = submit(&mut runs, suite(64)).await;
    assert_eq!((submitted.jobs, submitted.misfits), (4096, 0));
    let (first, _, ended) = watched(&mut runs, "1").await;
    assert_eq!((first, ended.len()), (4096, 4096));
    assert!(ended.iter().all(|job| job.outcome.as_deref() == Some("ok")));
    let (run, pages) = get(&mut runs, "1").await;
    assert_eq!(run.jobs, ended, "both ways of asking tell the same, in the same order");
    let size: usize = run.jobs.iter().map(prost::Message::encoded_len).sum();
    assert!(size > MAX_MESSAGE && pages > 1, "{size} bytes in {pages} pages: one message would have held them");
    let refused = runs.get(v1::GetRunRequest { run: "1".to_owned(), page: "x".to_owned() }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    drop(agents);
}
