//! Artifacts over HTTP.

use std::path::Path;

use http::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE};
use seatrial_core::digest::Digest;
use seatrial_proto::v1;
use seatrial_proto::v1::artifacts_client::ArtifactsClient;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Lab, client, eventually};

/// Three pieces and a bit.
fn bytes() -> Vec<u8> {
    (0..800_000_u32).map(|n| (n % 251) as u8).collect()
}

fn address(digest: &Digest) -> String {
    format!("/artifacts/{digest}")
}

async fn put(lab: &Lab, digest: &Digest, bytes: Vec<u8>) -> StatusCode {
    client().put(lab.url(&address(digest))).body(bytes).send().await.unwrap().status()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

fn kept(lab: &Lab) -> Vec<String> {
    files(&lab.folder.path().join("data/artifacts"))
}

#[tokio::test]
async fn what_was_uploaded_comes_back_whole_and_in_parts() {
    let lab = Lab::start().await;
    let bytes = bytes();
    let digest = Digest::of(&bytes);
    assert_eq!(lab.get(&address(&digest)).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(put(&lab, &digest, bytes.clone()).await, StatusCode::CREATED);
    assert_eq!(put(&lab, &digest, bytes.clone()).await, StatusCode::OK, "it was there before");

    let whole = lab.get(&address(&digest)).send().await.unwrap();
    let tag = whole.headers()[ETAG].clone();
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert_eq!(whole.bytes().await.unwrap(), bytes);

    let rest =
        lab.get(&address(&digest)).header(RANGE, "bytes=300000-").header(IF_RANGE, tag.clone()).send().await.unwrap();
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(rest.headers()[CONTENT_RANGE], "bytes 300000-799999/800000");
    assert_eq!(rest.bytes().await.unwrap(), bytes[300_000..]);

    let other =
        lab.get(&address(&digest)).header(RANGE, "bytes=300000-").header(IF_RANGE, "\"other\"").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK, "a part of something else would be nonsense");

    let outside = lab.get(&address(&digest)).header(RANGE, "bytes=800000-").send().await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(outside.headers()[CONTENT_RANGE], "bytes */800000");

    let known = lab.get(&address(&digest)).header(IF_NONE_MATCH, tag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);

    let head = client().head(lab.url(&address(&digest))).send().await.unwrap();
    assert_eq!((head.status(), &head.headers()[CONTENT_LENGTH]), (StatusCode::OK, &"800000".parse().unwrap()));
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_nothing_is_kept() {
    let lab = Lab::start().await;
    let promised = Digest::of(b"something else");
    assert_eq!(put(&lab, &promised, bytes()).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(kept(&lab), Vec::<String>::new());
    assert_eq!(lab.server.store.artifact_size(&promised).await.unwrap(), None);
    let nonsense = client().put(lab.url("/artifacts/..%2f..%2fetc")).body("x").send().await.unwrap();
    assert_eq!(nonsense.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_upload_beyond_the_limit_is_refused_whether_it_says_so_or_not() {
    let lab = Lab::with(|config| config.limits.artifact_bytes = 100_000).await;
    let bytes = bytes();
    let digest = Digest::of(&bytes);
    assert_eq!(put(&lab, &digest, bytes.clone()).await, StatusCode::PAYLOAD_TOO_LARGE);
    let pieces = bytes.chunks(50_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let unsized_body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    // The server may close before all is sent; if it answers, it answers this.
    if let Ok(answer) = client().put(lab.url(&address(&digest))).body(unsized_body).send().await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(kept(&lab), Vec::<String>::new());
    let small = vec![1; 100_000];
    assert_eq!(put(&lab, &Digest::of(&small), small).await, StatusCode::CREATED, "the limit itself is allowed");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let lab = Lab::start().await;
    let bytes = bytes();
    let digest = Digest::of(&bytes);
    let mut stream = TcpStream::connect(lab.server.address).await.unwrap();
    let head =
        format!("PUT {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", address(&digest), bytes.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..400_000]).await.unwrap();
    eventually("the upload has begun", async || !kept(&lab).is_empty()).await;
    drop(stream);
    eventually("its file is gone", async || kept(&lab).is_empty()).await;
    assert_eq!(put(&lab, &digest, bytes).await, StatusCode::CREATED, "the next try succeeds");
}

#[tokio::test]
async fn garbage_goes_and_bytes_without_a_record_too() {
    let lab = Lab::start().await;
    let bytes = bytes();
    let digest = Digest::of(&bytes);
    assert_eq!(put(&lab, &digest, bytes).await, StatusCode::CREATED);
    let stray = Digest::of(b"stray");
    let shard = lab.folder.path().join("data/artifacts").join(&stray.to_string()[..2]);
    std::fs::create_dir_all(&shard).unwrap();
    std::fs::write(shard.join(stray.to_string()), "stray").unwrap();

    let mut client = ArtifactsClient::connect(lab.server.url()).await.unwrap();
    let mut collect = async |dry_run, min_age_seconds| {
        let request = v1::CollectGarbageRequest { dry_run, min_age_seconds };
        let answer = client.collect_garbage(request).await.unwrap().into_inner();
        (answer.artifacts, answer.bytes)
    };
    assert_eq!(collect(false, 3600).await, (0, 0), "what is young stays");
    assert_eq!(kept(&lab).len(), 2);
    assert_eq!(collect(true, 0).await, (2, 800_005));
    assert_eq!(kept(&lab).len(), 2, "a preview removes nothing");
    assert_eq!(collect(false, 0).await, (2, 800_005));
    assert_eq!(kept(&lab), Vec::<String>::new());
    assert_eq!(lab.server.store.artifact_size(&digest).await.unwrap(), None);
    assert_eq!(collect(false, 0).await, (0, 0));
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn a_full_disk_is_named_and_an_upload_works_again_once_there_is_room() {
    let scenario = fail::FailScenario::setup();
    let lab = Lab::start().await;
    let bytes = bytes();
    let digest = Digest::of(&bytes);
    fail::cfg("artifact_write", "return").unwrap();
    assert_eq!(put(&lab, &digest, bytes.clone()).await, StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(kept(&lab), Vec::<String>::new());
    fail::remove("artifact_write");
    assert_eq!(put(&lab, &digest, bytes).await, StatusCode::CREATED);
    scenario.teardown();
}
