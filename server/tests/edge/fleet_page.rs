//! What lab hosts and agents tell, as the fleet's page has it.

use seatrial_core::lab::seen::{Advice, Seen};
use seatrial_proto::seen_to_wire;
use seatrial_proto::v1;
use seatrial_proto::v1::agent_message::Message;
use seatrial_proto::v1::devices_client::DevicesClient;
use seatrial_proto::v1::server_message::Message as Word;
use seatrial_sim::Connection;
use seatrial_sim::connection::dial;
use serde_json::{Value, json};
use tonic::Code;

use crate::runs::identity;
use crate::support::{Lab, eventually};

async fn page(lab: &Lab) -> Value {
    let page = lab.get("/devices").header("accept", "application/json").send().await.unwrap();
    serde_json::from_str(&page.text().await.unwrap()).unwrap()
}

fn seen(serial: &str, state: &str, advice: Option<Advice>) -> Seen {
    let usb_path = Some("usb:1-4".to_owned());
    Seen { serial: serial.to_owned(), usb_path, state: state.to_owned(), advice }
}

#[tokio::test]
async fn phones_that_a_lab_host_sees_are_on_the_page_until_it_tells_otherwise() {
    let lab = Lab::start().await;
    let mut devices = DevicesClient::connect(lab.server.url()).await.unwrap();
    let phones = [seen("a", "unauthorized", Some(Advice::Accept)), seen("b", "device", None)];
    devices.report_seen(seen_to_wire("bench", &phones)).await.unwrap();
    let expected = json!([{
        "host": "bench", "serial": "a", "usb_path": "usb:1-4", "state": "unauthorized", "advice": "accept",
    }]);
    assert_eq!(page(&lab).await["strangers"], expected, "the other's agent is on the way");
    devices.report_seen(seen_to_wire("bench", &[])).await.unwrap();
    assert_eq!(page(&lab).await["strangers"], json!([]));
}

#[tokio::test]
async fn what_a_device_tells_of_itself_is_on_the_page_and_what_cannot_be_is_not() {
    let lab = Lab::start().await;
    let agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    assert_eq!(page(&lab).await["now"][0]["charge"], Value::Null, "the control: nothing was told");
    let vitals =
        v1::Vitals { charge: Some(0.62), charging: Some(true), battery_celsius: Some(31.5), chip_celsius: Some(9e9) };
    agent.say(Message::Vitals(vitals)).await.unwrap();
    eventually("it is told", async || page(&lab).await["now"][0]["charge"] == json!(0.62)).await;
    let now = &page(&lab).await["now"][0];
    assert_eq!((&now["charging"], &now["battery_c"], &now["chip_c"]), (&json!(true), &json!(31.5), &Value::Null));
    assert_eq!(now["state"], "ready");
}

#[tokio::test]
async fn a_device_that_is_looked_for_says_what_it_did_and_one_that_is_away_is_not_waited_for() {
    let lab = Lab::start().await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let request = v1::FindDeviceRequest { device: agent.welcome.device.clone() };
    let mut devices = DevicesClient::connect(lab.server.url()).await.unwrap();
    for (what, done) in [("rang its bell", true), ("it works on a job", false)] {
        let (mut asking, request) = (devices.clone(), request.clone());
        let asked = tokio::spawn(async move { asking.find_me(request).await });
        while !matches!(agent.hear().await.unwrap(), Word::FindMe(_)) {}
        agent.say(Message::Found(v1::Found { what: what.to_owned(), done })).await.unwrap();
        match asked.await.unwrap() {
            Ok(found) => assert_eq!((found.into_inner().what.as_str(), done), (what, true)),
            Err(refused) => {
                assert_eq!((refused.code(), done), (Code::FailedPrecondition, false));
                assert!(refused.message().ends_with(what), "{refused}");
            }
        }
    }
    drop(agent);
    eventually("the server has noticed", async || {
        let answer = devices.find_me(request.clone()).await;
        answer.is_err_and(|refused| refused.message().ends_with("it is not connected"))
    })
    .await;
}
