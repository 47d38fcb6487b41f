//! The compatibility matrix: what its address asks for, what it shows, and what leaves the house in its files.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod fixture;

use std::sync::Arc;

use axum::body::Body;
use fixture::Lab;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use seatrial_core::role::Role;
use tower::ServiceExt;

async fn get(lab: Arc<Lab>, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap();
    let response = fixture::router(lab, Role::Viewer).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn page(path: &str) -> String {
    let (status, text) = get(Lab::full(), path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    text
}

async fn data(path: &str) -> serde_json::Value {
    serde_json::from_str(&page(&format!("{path}{}format=json", if path.contains('?') { '&' } else { '?' })).await)
        .unwrap()
}

/// Cells of the matrix's table.
fn cells(html: &str) -> Vec<&str> {
    let table = html.split("<table class=\"heat").nth(1).unwrap().split("</table>").next().unwrap();
    table.split("<td>").skip(1).map(|cell| cell.split("</td>").next().unwrap()).collect()
}

#[tokio::test]
async fn a_cell_is_the_worst_of_its_backends_and_leads_to_what_is_behind_it() {
    let html = page("/runs/610/matrix").await;
    let crashed = cells(&html).into_iter().find(|cell| cell.contains("SEGV")).unwrap();
    assert!(crashed.contains("class=\"hx\"") && crashed.contains("g-failed"), "{crashed}");
    let href = crashed.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let opened = page(href.split('#').next().unwrap()).await;
    let panel = opened.split("id=\"cell\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(panel.contains("HUAWEI Mate 70") && panel.contains("segmentation fault"), "{panel}");
    assert!(panel.contains("tract cpu ×1") && panel.contains("tract cpu ×2"), "every backend of the pair: {panel}");
    assert!(panel.contains("Blame"), "{panel}");
}

#[tokio::test]
async fn what_cannot_run_is_shown_and_is_no_pass() {
    let json = data("/runs/610/matrix").await;
    let misfits: Vec<_> =
        json["matrix"]["entries"].as_array().unwrap().iter().filter(|entry| entry["standing"] == "misfit").collect();
    assert!(!misfits.is_empty());
    let html = page("/runs/610/matrix?accelerator=gpu").await;
    let all = cells(&html);
    assert!(all.iter().all(|cell| cell.is_empty() || cell.contains("class=\"hm\"")), "{all:?}");
    let mixed = page("/runs/609/matrix").await;
    assert!(cells(&mixed).iter().any(|cell| cell.contains("2/3")), "two of three combinations ran");
}

#[tokio::test]
async fn filters_and_groups_stand_in_the_address() {
    let all = data("/runs/610/matrix").await;
    let devices = |json: &serde_json::Value| json["matrix"]["devices"].as_array().unwrap().len();
    let one = data("/runs/610/matrix?brand=HUAWEI").await;
    assert_eq!((devices(&all), devices(&one)), (5, 1));
    let failing = data("/runs/610/matrix?show=failing").await;
    for entry in failing["matrix"]["entries"].as_array().unwrap() {
        assert!(!["ok", "misfit", "open"].contains(&entry["standing"].as_str().unwrap()), "{entry}");
    }
    let class = data("/runs/610/matrix?class=segfault").await;
    assert_eq!(class["matrix"]["entries"].as_array().unwrap().len(), 1);
    for by in ["gpu", "soc", "brand", "rom"] {
        let html = page(&format!("/runs/610/matrix?by={by}")).await;
        assert!(html.contains(&format!("by={by}\" aria-current=\"true\"")), "{by}");
    }
    let nothing = page("/runs/610/matrix?model=nobody").await;
    assert!(nothing.contains("Nothing of this run matches."));
}

#[tokio::test]
async fn another_run_beside_it_shows_what_got_worse() {
    let json = data("/runs/610/matrix?against=609").await;
    let differences = json["against"]["differences"].as_array().unwrap();
    assert!(differences.iter().any(|one| one["change"] == "worse" && one["is"] == "died" && one["was"] == "ok"));
    let back = data("/runs/609/matrix?against=610").await;
    assert!(back["against"]["differences"].as_array().unwrap().iter().any(|one| one["change"] == "better"));
    let same = data("/runs/609/matrix?against=609").await;
    assert_eq!(same["against"]["differences"], serde_json::json!([]));
    let (status, _) = get(Lab::full(), "/runs/610/matrix?against=999").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_of_the_fleet_is_not_covered_is_named() {
    let json = data("/runs/610/matrix").await;
    let of = |name: &str| json["coverage"].as_array().unwrap().iter().find(|one| one["trait"] == name).unwrap().clone();
    let rom = of("compat.rom");
    let uncovered: Vec<_> =
        rom["uncovered"].as_array().unwrap().iter().map(|one| one["value"].as_str().unwrap()).collect();
    assert!(uncovered.contains(&"Flyme"), "{uncovered:?}");
    assert!(rom["covered"].as_array().unwrap().iter().any(|value| value == "HyperOS"));
    assert!(page("/runs/610/matrix").await.contains("Flyme: no job of this run (meizu 21)"));
}

#[tokio::test]
async fn a_backend_whose_text_cannot_be_read_is_said_and_stays_in_the_matrix() {
    let mut lab = Lab::build();
    let run = lab.runs.iter().find(|run| run.number == 610).unwrap().id;
    let job = lab.jobs.iter_mut().find(|job| job.row.run == run).unwrap();
    job.row.backend = "warp drive 9".to_owned();
    let (_, html) = get(Arc::new(lab), "/runs/610/matrix").await;
    let warning = html.split("class=\"warn\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(warning.contains("warp drive 9</span>:") && warning.contains("is not a backend such as"), "{warning}");
    assert!(cells(&html).iter().any(|cell| cell.contains("warp drive 9")));
}

#[tokio::test]
async fn one_file_brings_everything_with_it_and_a_redacted_one_names_nobody() {
    let lab = Lab::full();
    for lang in ["en", "zh-CN"] {
        let file = page(&format!("/runs/610/matrix.html?lang={lang}")).await;
        assert!(
            file.contains("<style>") && !file.contains("<script") && !file.contains("<link"),
            "nothing from elsewhere"
        );
        assert!(!file.contains("href=\"/"), "no address of the server");
        assert!(file.contains("SEGV") && file.contains("HUAWEI Mate 70"));
        for target in file.split("href=\"#f-").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(file.contains(&format!("id=\"f-{target}\"")), "a cell leads to its failure");
        }
    }
    for path in [
        "/runs/610/matrix.html?redact=1",
        "/runs/610/matrix?format=json&redact=1",
        "/runs/610/matrix?format=csv&redact=1",
    ] {
        let file = page(path).await;
        assert!(file.contains("digits-cnn"), "{path}: models stay");
        for device in &lab.devices {
            assert!(!file.contains(&device.id.to_string()), "{path}: the id of {}", device.name);
        }
        assert!(!file.contains("nightly-digits"), "{path}: the suite");
        for job in lab.jobs.iter().filter(|job| job.row.run_number == 610) {
            assert!(!file.contains(&job.row.id.to_string()) && !file.contains(&job.row.short), "{path}: a job");
        }
    }
    let plain = page("/runs/610/matrix?format=csv").await;
    assert!(plain.contains(&lab.devices[0].id.to_string()), "the control");
}

#[tokio::test]
async fn a_file_has_a_row_for_every_combination() {
    let csv = page("/runs/610/matrix?format=csv").await;
    let json = data("/runs/610/matrix").await;
    let entries = json["matrix"]["entries"].as_array().unwrap().len();
    assert_eq!(csv.lines().filter(|line| line.contains("digits-")).count(), entries);
    assert!(csv.lines().any(|line| line.contains("crash_signal(11),segfault,binary")), "{csv}");
}
