//! Bad behaviour on the port.

use std::time::Duration;

use seatrial_server::StartError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Lab, PATIENCE, eventually};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn connect(lab: &Lab) -> TcpStream {
    TcpStream::connect(lab.server.address).await.unwrap()
}

/// Sends a request on an open connection and reads one answer.
async fn ask(stream: &mut TcpStream) -> bool {
    if stream.write_all(REQUEST).await.is_err() {
        return false;
    }
    let mut answer = [0; 4096];
    matches!(timeout(PATIENCE, stream.read(&mut answer)).await, Ok(Ok(read)) if answer[..read].starts_with(b"HTTP/1.1 200"))
}

/// Waits until the server has closed the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    matches!(timeout(PATIENCE, stream.read_to_end(&mut rest)).await, Ok(Ok(_) | Err(_)))
}

#[tokio::test]
async fn silent_connections_are_closed_and_busy_ones_are_not() {
    let lab = Lab::with(|config| config.limits.first_request = Duration::from_millis(500)).await;
    let mut busy = connect(&lab).await;
    assert!(ask(&mut busy).await);
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(connect(&lab).await);
    }
    let mut half = connect(&lab).await;
    half.write_all(&REQUEST[..20]).await.unwrap();
    for stream in &mut silent {
        assert!(is_closed(stream).await, "a silent connection stays open");
    }
    assert!(is_closed(&mut half).await, "half a request holds a connection");
    assert!(ask(&mut busy).await, "the deadline is for the first request only");
    assert!(lab.server.metrics.text().contains("connections_closed_total{reason=\"Silent\"} 51"));
}

#[tokio::test]
async fn a_byte_now_and_then_is_no_first_request() {
    let lab = Lab::with(|config| config.limits.first_request = Duration::from_millis(500)).await;
    for greeting in [REQUEST, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice()] {
        let (mut read, mut write) = connect(&lab).await.into_split();
        let trickle = async {
            for byte in greeting {
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let mut rest = Vec::new();
        tokio::select! {
            () = trickle => panic!("the whole greeting was taken"),
            _ = read.read_to_end(&mut rest) => {}
        }
    }
}

#[tokio::test]
async fn one_address_gets_its_share_and_no_more() {
    let lab = Lab::with(|config| config.limits.connections_per_address = 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&lab).await;
        assert!(ask(&mut stream).await);
        held.push(stream);
    }
    let mut fourth = connect(&lab).await;
    assert!(!ask(&mut fourth).await, "the fourth of three was served");
    assert!(ask(&mut held[0]).await, "those inside are not disturbed");
    held.pop();
    eventually("a place is free again", async || ask(&mut connect(&lab).await).await).await;
}

#[tokio::test]
async fn random_bytes_and_huge_heads_harm_nobody() {
    let lab = Lab::start().await;
    for junk in [vec![0xff; 64 << 10], [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 1 << 20]].concat()] {
        let mut stream = connect(&lab).await;
        let _ = stream.write_all(&junk).await;
        assert!(is_closed(&mut stream).await);
    }
    assert!(ask(&mut connect(&lab).await).await);
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_told_so() {
    let lab = Lab::start().await;
    let again = seatrial_server::Config::embedded(lab.folder.path().join("data"));
    let refused = seatrial_server::start(again.clone()).await.err().unwrap();
    assert!(matches!(refused, StartError::Lock(_)), "{refused}");
    assert!(refused.to_string().contains(&format!("(process {})", std::process::id())), "{refused}");
    let folder = lab.stop().await;
    let next = seatrial_server::start(again).await.unwrap();
    next.shutdown(seatrial_server::Shutdown::Hard).await;
    drop(folder);
}

#[tokio::test]
async fn a_server_that_stops_answers_what_was_asked_and_then_nothing() {
    let lab = Lab::start().await;
    let mut idle = connect(&lab).await;
    assert!(ask(&mut idle).await);
    let address = lab.server.address;
    let _folder = lab.stop().await;
    assert!(is_closed(&mut idle).await);
    assert!(TcpStream::connect(address).await.is_err(), "the port is still open");
}
