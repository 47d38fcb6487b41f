//! Ports of this computer and of the phone.

use seatrial_adb::{AdbLink, DeviceLink as _, Endpoint, Exec, Failure, LinkError, Refusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::{patient, until};
use crate::namespaces::in_lab;

fn refusal(error: &LinkError) -> Refusal {
    match error.failure() {
        Some(Failure::Refused(refused)) => refused.kind,
        other => panic!("{other:?}"),
    }
}

/// What comes back from a port of the loopback that answers each byte with the next one.
async fn asks(port: u16) -> u8 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_u8(41).await.unwrap();
    stream.read_u8().await.unwrap()
}

async fn answering() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let byte = stream.read_u8().await.unwrap();
            stream.write_u8(byte + 1).await.unwrap();
        }
    });
    port
}

#[test]
fn a_forward_tells_the_port_that_was_chosen_and_carries() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let service = Endpoint::Tcp(answering().await);
        let port = link.forward(&Endpoint::Tcp(0), &service, &patient()).await.unwrap().unwrap();
        assert_eq!(asks(port).await, 42);
        let taken = link.forward(&Endpoint::Tcp(port), &service, &patient()).await.unwrap_err();
        assert_eq!(refusal(&taken), Refusal::InUse, "{taken}");
        link.remove_forward(&Endpoint::Tcp(port), &patient()).await.unwrap();
        let missing = link.remove_forward(&Endpoint::Tcp(port), &patient()).await.unwrap_err();
        assert_eq!(refusal(&missing), Refusal::NoSuchRule, "{missing}");
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
        let fixed = link.forward(&Endpoint::Tcp(6300), &service, &patient()).await.unwrap();
        assert_eq!((fixed, asks(6300).await), (Some(6300), 42));
    });
}

#[test]
fn a_reverse_tunnel_carries_from_the_phone_and_a_clash_is_an_error() {
    in_lab(async |lab| {
        let link: AdbLink = lab.phone().await.link(&lab.server());
        let service = Endpoint::Tcp(answering().await);
        let port = link.reverse(&Endpoint::Tcp(0), &service, &patient()).await.unwrap().unwrap();
        // The phone's loopback is this computer's here; the way goes over the daemon all the same.
        assert_eq!(asks(port).await, 42);
        let from_phone = "exec 3<>/dev/tcp/127.0.0.1/PORT && printf ')' >&3 && head -c 1 <&3";
        let command = format!("bash -c {}", seatrial_adb::quote(&from_phone.replace("PORT", &port.to_string())));
        let executed = link.exec(&Exec::new(command), &patient()).await;
        assert_eq!(executed.stdout.text(), "*", "{}", executed.stderr.text());
        let clash = link.reverse(&Endpoint::Tcp(port), &service, &patient()).await.unwrap_err();
        assert_eq!(refusal(&clash), Refusal::InUse, "{clash}");
        let others = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let others_port = others.local_addr().unwrap().port();
        let clash = link.reverse(&Endpoint::Tcp(others_port), &service, &patient()).await.unwrap_err();
        assert_eq!(refusal(&clash), Refusal::InUse, "{clash}");
        link.remove_reverse(&Endpoint::Tcp(port), &patient()).await.unwrap();
        let missing = link.remove_reverse(&Endpoint::Tcp(port), &patient()).await.unwrap_err();
        assert_eq!(refusal(&missing), Refusal::NoSuchRule, "{missing}");
    });
}

#[test]
fn a_reverse_tunnel_leads_to_any_address_that_the_adb_server_reaches_and_goes_with_the_link() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let link = phone.link(&lab.server());
        let service = Endpoint::Address(format!("127.0.0.1:{}", answering().await));
        let port = link.reverse(&Endpoint::Tcp(0), &service, &patient()).await.unwrap().unwrap();
        assert_eq!(asks(port).await, 42);
        link.reconnect(&patient()).await.unwrap();
        until(async || TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
        phone.connect(&lab.server()).await;
        let again = link.reverse(&Endpoint::Tcp(port), &service, &patient()).await.unwrap();
        assert_eq!((again, asks(port).await), (Some(port), 42), "the same port, as long as nobody else has taken it");
    });
}

#[test]
fn tunnels_of_a_phone_that_is_gone_are_refused() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let link = phone.link(&lab.server());
        lab.kill(&phone);
        link.wait_for(&seatrial_adb::State::Offline, &patient()).await.unwrap();
        for result in [
            link.forward(&Endpoint::Tcp(0), &Endpoint::Tcp(1), &patient()).await,
            link.reverse(&Endpoint::Tcp(0), &Endpoint::Tcp(1), &patient()).await,
        ] {
            let error = result.unwrap_err();
            assert_eq!(refusal(&error), Refusal::Offline, "{error}");
        }
    });
}
