//! Devices that somebody keeps, over gRPC, with an agent that takes the jobs.

use std::time::Duration;

use seatrial_core::role::Role;
use seatrial_proto::v1;
use seatrial_proto::v1::devices_client::DevicesClient;
use seatrial_proto::v1::reservations_client::ReservationsClient;
use seatrial_sim::Connection;
use seatrial_sim::connection::dial;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::runs::{add_model, identity, runs, submission, submit, suite};
use crate::support::{Lab, eventually};

/// Long enough for an assignment that is on its way.
const A_WHILE: Duration = Duration::from_millis(300);

async fn reservations(lab: &Lab) -> ReservationsClient<Channel> {
    ReservationsClient::connect(lab.server.url()).await.unwrap()
}

fn all_for_an_hour() -> v1::CreateReservationRequest {
    v1::CreateReservationRequest { length_s: 3600, reason: "camera".to_owned(), ..Default::default() }
}

async fn attach(lab: &Lab, name: &str) -> Connection {
    Connection::open(dial(&lab.server.url()).await.unwrap(), &identity(name)).await.unwrap()
}

async fn set(lab: &Lab, device: &str, state: &str, length_s: Option<u32>) -> Result<(), Status> {
    let (device, state, reason) = (device.to_owned(), state.to_owned(), "its camera".to_owned());
    let request = v1::SetDeviceStateRequest { device, state, reason, length_s };
    DevicesClient::connect(lab.server.url()).await.unwrap().set_state(request).await.map(drop)
}

async fn devices(lab: &Lab) -> Vec<v1::Device> {
    let request = v1::ListDevicesRequest::default();
    DevicesClient::connect(lab.server.url()).await.unwrap().list(request).await.unwrap().into_inner().devices
}

#[tokio::test]
async fn a_reserved_device_takes_the_run_that_brings_the_token_before_all_that_waited_longer() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = attach(&lab, "a").await;
    let mut reservations = reservations(&lab).await;
    let created = reservations.create(all_for_an_hour()).await.unwrap().into_inner();
    let reservation = created.reservation.unwrap();
    assert_eq!(reservation.devices.len(), 1);
    let mut runs = runs(&lab).await;
    let outsider = submit(&mut runs, suite(1)).await;
    assert!(tokio::time::timeout(A_WHILE, agent.assignment()).await.is_err(), "the control: nobody else gets it");
    let mut with_token = submission(suite(1), "");
    with_token.reservation = created.token;
    let holder = runs.submit(with_token.clone()).await.unwrap().into_inner();
    let (attempt, _) = agent.assignment().await.unwrap();
    let job = lab.server.store.job(attempt.job).await.unwrap().unwrap();
    assert_eq!(job.run.to_string(), holder.run);
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &seatrial_sim::report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert!(tokio::time::timeout(A_WHILE, agent.assignment()).await.is_err(), "it is still kept");

    let end = v1::EndReservationRequest { reservation: reservation.id.clone() };
    assert_eq!(reservations.end(end.clone()).await.unwrap().into_inner().devices, 1);
    let (attempt, _) = agent.assignment().await.unwrap();
    let job = lab.server.store.job(attempt.job).await.unwrap().unwrap();
    assert_eq!(job.run.to_string(), outsider.run, "everybody's again");
    assert_eq!(reservations.end(end).await.unwrap_err().code(), Code::NotFound);
    let refused = runs.submit(with_token).await.unwrap_err();
    assert!(refused.message().contains("the reservation has ended"), "{refused}");
}

#[tokio::test]
async fn what_is_kept_already_is_not_reserved_and_everybody_hears_by_whom() {
    let lab = Lab::start().await;
    let (one, two) = (attach(&lab, "a").await, attach(&lab, "b").await);
    let mut reservations = reservations(&lab).await;
    set(&lab, &one.welcome.device, "held", None).await.unwrap();
    let ask = |devices| v1::CreateReservationRequest { devices, ..all_for_an_hour() };
    let both = reservations.create(ask(2)).await.unwrap_err();
    assert_eq!(both.code(), Code::FailedPrecondition);
    assert!(
        both.message().starts_with("1 of 2 of the devices are to be had") && both.message().contains("held by"),
        "{both}"
    );
    let created = reservations.create(ask(0)).await.unwrap().into_inner();
    let of = created.reservation.unwrap();
    assert_eq!((of.devices.len(), created.passed_over.len()), (1, 1));
    let none = reservations.create(ask(0)).await.unwrap_err();
    assert!(none.message().contains("reserved by") && none.message().contains("held by"), "{none}");
    let listed = reservations.list(v1::ListReservationsRequest {}).await.unwrap().into_inner().reservations;
    assert_eq!(listed, [of]);
    let states: Vec<_> =
        devices(&lab).await.into_iter().map(|device| (device.state, device.until_us.is_some())).collect();
    assert_eq!(states, [("reserved".to_owned(), false), ("reserved".to_owned(), true)]);
    drop(two);

    for (wrong, field) in [
        (v1::CreateReservationRequest { length_s: 0, ..all_for_an_hour() }, "length_s"),
        (v1::CreateReservationRequest { length_s: 15 * 86_400, ..all_for_an_hour() }, "length_s"),
        (v1::CreateReservationRequest { selector: "1 +".to_owned(), ..all_for_an_hour() }, "selector"),
        (
            v1::CreateReservationRequest { selector: "labels.shelf == \"X\"".to_owned(), ..all_for_an_hour() },
            "selector",
        ),
    ] {
        let refused = reservations.create(wrong).await.unwrap_err();
        assert!(refused.message().starts_with(field), "{refused}");
    }
}

#[tokio::test]
async fn a_held_device_gets_no_job_until_it_is_released_and_its_history_says_who_held_it() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = attach(&lab, "a").await;
    let device = agent.welcome.device.clone();
    set(&lab, &device, "held", Some(3600)).await.unwrap();
    submit(&mut runs(&lab).await, suite(1)).await;
    assert!(tokio::time::timeout(A_WHILE, agent.assignment()).await.is_err(), "it is in somebody's hands");
    set(&lab, &device, "ready", None).await.unwrap();
    agent.assignment().await.unwrap();
    let request = v1::DeviceHistoryRequest { device: device.clone(), limit: 0 };
    let mut client = DevicesClient::connect(lab.server.url()).await.unwrap();
    let history = client.history(request).await.unwrap().into_inner().transitions;
    let user = seatrial_server::system::user_name();
    let said: Vec<_> = history.iter().map(|step| (step.to.as_str(), step.reason.clone(), step.by.clone())).collect();
    assert_eq!(
        said,
        [
            ("ready", "it is held no longer".to_owned(), Some(user.clone())),
            ("reserved", format!("held by {user}: its camera"), Some(user)),
            ("ready", "its agent has attached".to_owned(), None),
        ]
    );
    for (state, length) in [("dark", None), ("retired", Some(60)), ("held", Some(20 * 86_400))] {
        set(&lab, &device, state, length).await.unwrap_err();
    }
}

#[tokio::test]
async fn only_an_operator_keeps_devices_and_the_audit_log_says_so() {
    let lab = Lab::start().await;
    let agent = attach(&lab, "a").await;
    reservations(&lab).await.create(all_for_an_hour()).await.unwrap();
    let (submitter, _) = lab.token("submitter", Role::Submitter, None).await;
    let mut request = tonic::Request::new(all_for_an_hour());
    let bearer = format!("Bearer {}", submitter.reveal()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    assert_eq!(reservations(&lab).await.create(request).await.unwrap_err().code(), Code::PermissionDenied);
    let written = async || {
        let entries = lab.server.store.audit(lab.project().await, None, 100).await.unwrap();
        let rows = entries.into_iter().map(|entry| entry.row);
        rows.filter(|row| row.action == "seatrial.v1.Reservations/Create").map(|row| row.allowed).collect::<Vec<_>>()
    };
    eventually("both are written down", async || written().await.len() == 2).await;
    let mut allowed = written().await;
    allowed.sort_unstable();
    assert_eq!(allowed, [false, true]);
    drop(agent);
}
