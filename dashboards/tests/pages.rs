//! Every page as its reader gets it: in both languages, as HTML and as data, for a full lab, an empty one, one whose
//! store is away and one whose names are hostile.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod fixture;

use axum::body::Body;
use fixture::{Lab, tasks};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use seatrial_core::dataset::Task;
use seatrial_core::device::DeviceState;
use seatrial_core::measure;
use seatrial_core::role::Role;
use tower::ServiceExt;

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn send(router: axum::Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn get(lab: std::sync::Arc<Lab>, role: Role, path: &str) -> Answer {
    let request = Request::get(path).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap();
    send(fixture::router(lab, role), request).await
}

async fn post(role: Role, path: &str, form: &str) -> Answer {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    send(fixture::router(Lab::full(), role), request.body(Body::from(form.to_owned())).unwrap()).await
}

/// Every kind of page, the interesting jobs among them.
fn paths(lab: &Lab) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/",
        "/devices",
        "/devices?state=ready",
        "/devices?state=retired",
        "/runs",
        "/runs?before=610",
        "/runs/609",
        "/runs/0610",
        "/runs/611",
        "/runs/610/matrix",
        "/runs/611/matrix?against=610&by=rom&show=failing",
        "/runs/new",
        "/models",
        "/datasets",
        "/datasets/digits",
        "/search",
        "/search?q=xiaomi",
        "/search?q=zzz",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.push("/runs/new?variant=digits-cnn/int8&dataset=digits&runtime=tract&accelerator=cpu&threads=1&threads=2&profile=quick&name=try".to_owned());
    paths.extend(lab.devices.iter().map(|device| format!("/devices/{}", device.id)));
    if lab.models.iter().any(|model| model.name == "digits-cnn") {
        paths.push("/models/digits-cnn".to_owned());
        paths.push(format!("/models/digits-mlp?device={}", lab.devices[6].id));
    }
    let mut seen = std::collections::HashSet::new();
    let kinds = lab
        .jobs
        .iter()
        .filter(|job| seen.insert(format!("{:?} {} {}", job.row.state, job.row.profile, job.row.invalid.is_empty())));
    paths.extend(kinds.map(|job| format!("/jobs/{}", job.row.id)));
    paths
}

fn with(path: &str, pair: &str) -> String {
    format!("{path}{}{pair}", if path.contains('?') { '&' } else { '?' })
}

#[tokio::test]
async fn every_page_answers_in_both_languages_as_html_and_as_json() {
    for path in paths(&Lab::full()) {
        for lang in ["en", "zh-CN"] {
            let page = get(Lab::full(), Role::Submitter, &with(&path, &format!("lang={lang}"))).await;
            if path == "/search?q=xiaomi" {
                assert_eq!(page.status, StatusCode::OK, "several hits are listed");
            }
            assert_eq!(page.status, StatusCode::OK, "{path} in {lang}: {}", page.text());
            check_document(page.text(), &path, lang);
            let data = get(Lab::full(), Role::Submitter, &with(&path, "format=json")).await;
            assert_eq!(data.status, StatusCode::OK, "{path} as json");
            serde_json::from_slice::<serde_json::Value>(&data.body).expect("json parses");
        }
    }
}

#[tokio::test]
async fn pages_named_by_an_enemy_stay_documents_of_ours() {
    for path in paths(&Lab::hostile()) {
        let page = get(Lab::hostile(), Role::Submitter, &path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        check_document(page.text(), &path, "en");
        assert!(!page.text().contains("<script>"), "{path} lets a script in");
        assert!(!page.text().contains("<b onclick"), "{path} lets an element in");
    }
}

/// What the design language and the content security policy ask of every document.
fn check_document(html: &str, path: &str, lang: &str) {
    assert!(html.contains(&format!("<html lang=\"{lang}\">")), "{path}: language");
    assert_eq!(html.matches("<h1>").count(), 1, "{path}: one h1");
    for landmark in ["<main id=\"main\">", "<nav class=\"nav\"", "<footer", "class=\"skip\" href=\"#main\""] {
        assert_eq!(html.matches(landmark).count(), 1, "{path}: {landmark}");
    }
    for tag in tags(html) {
        let name = tag.split([' ', '>', '/']).next().unwrap_or_default();
        for attribute in attributes(tag) {
            assert_ne!(attribute, "style", "{path}: style attribute in <{tag}>");
            assert!(!attribute.starts_with("on"), "{path}: {attribute} in <{tag}>");
        }
        assert!(name != "script" || tag.contains(" src=\"/assets/"), "{path}: inline script");
        assert_ne!(name, "style", "{path}: inline style");
    }
    check_balance(html, path);
    let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "{path}: an id stands twice");
}

/// The inside of every tag.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag)).collect()
}

/// Names of the attributes of a tag; values are all in double quotes.
fn attributes(tag: &str) -> Vec<&str> {
    let outside: Vec<&str> = tag.split('"').step_by(2).collect();
    outside.iter().flat_map(|part| part.split_whitespace()).filter_map(|word| word.strip_suffix('=')).collect()
}

/// Every element that opens is closed, in order.
fn check_balance(html: &str, path: &str) {
    const VOID: [&str; 5] = ["meta", "link", "input", "br", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    for tag in tags(html) {
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{path}: </{closed}> closes what it did not open");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{path}: never closed: {open:?}");
}

#[tokio::test]
async fn the_policy_forbids_what_the_pages_do_not_use() {
    let page = get(Lab::full(), Role::Viewer, "/").await;
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    for part in
        ["default-src 'none'", "style-src 'self'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"]
    {
        assert!(policy.contains(part), "{part}");
    }
    assert!(!policy.contains("unsafe"));
}

#[tokio::test]
async fn assets_are_named_by_their_content_and_kept_forever() {
    let page = get(Lab::full(), Role::Viewer, "/").await;
    let href = page
        .text()
        .split("href=\"")
        .find_map(|rest| rest.split('"').next().filter(|href| href.starts_with("/assets/style.")))
        .unwrap()
        .to_owned();
    let style = get(Lab::full(), Role::Viewer, &href).await;
    assert_eq!(style.status, StatusCode::OK);
    assert!(style.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    assert_eq!(get(Lab::full(), Role::Viewer, "/assets/style.00000000.css").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_first_page_is_small() {
    // The budget is for gzip; zstd at its fastest is no better on such texts.
    let squeezed = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap().len();
    let page = get(Lab::full(), Role::Submitter, "/").await;
    let links: Vec<String> =
        page.text().split('"').filter(|text| text.starts_with("/assets/")).map(str::to_owned).collect();
    let mut total = squeezed(&page.body);
    assert!(total <= 16_000, "html takes {total} bytes");
    for link in links {
        total += squeezed(&get(Lab::full(), Role::Submitter, &link).await.body);
    }
    assert!(total <= 60_000, "the first page takes {total} bytes in all");
}

#[tokio::test]
async fn a_request_without_a_viewer_gets_the_page_to_sign_in() {
    let request = Request::get("/runs?lang=zh").body(Body::empty()).unwrap();
    let answer = send(seatrial_dashboards::router(fixture::dashboards(Lab::full())), request).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.text().contains("尚未登录"));
    assert!(!answer.text().contains("nightly-digits"), "nothing of the data is shown");
}

#[tokio::test]
async fn an_agent_is_no_reader() {
    assert_eq!(get(Lab::full(), Role::Agent, "/").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_not_there_is_named_in_every_format() {
    for path in [
        "/jobs/7f3a-0c12",
        "/runs/99999",
        "/runs/abc",
        "/devices/none",
        "/models/none",
        "/datasets/none",
        "/nowhere",
        "/runs/611/export.doc",
    ] {
        let page = get(Lab::full(), Role::Viewer, path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        check_document(page.text(), path, "en");
        let data = get(Lab::full(), Role::Viewer, &with(path, "format=json")).await;
        assert_eq!(data.status, StatusCode::NOT_FOUND);
        let told: serde_json::Value = serde_json::from_slice(&data.body).unwrap();
        assert!(told["error"].as_str().unwrap().starts_with("There is no "), "{told}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_said_and_logged_under_a_reference() {
    for path in ["/", "/runs", "/devices", "/models"] {
        let page = get(Lab::broken(), Role::Viewer, path).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(page.text().contains("The store does not answer."));
        assert!(!page.text().contains("connection refused"), "causes stay in the log");
    }
}

#[tokio::test]
async fn an_empty_server_says_how_to_begin() {
    let home = get(Lab::empty(), Role::Submitter, "/").await;
    assert!(home.text().contains("seatrial-agent run --server http://lab.example:7700"));
    let runs = get(Lab::empty(), Role::Submitter, "/runs").await;
    assert!(runs.text().contains("seatrial run suite.toml"));
    for path in ["/devices", "/models", "/datasets", "/runs/new"] {
        let page = get(Lab::empty(), Role::Submitter, path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        check_document(page.text(), path, "en");
    }
}

#[tokio::test]
async fn figures_of_simulated_devices_are_marked_and_real_ones_are_not() {
    let lab = Lab::full();
    let job_on = |device: usize| lab.jobs.iter().find(|job| job.row.device == lab.devices[device].id).unwrap().row.id;
    let notice = "class=\"sim\"";
    let (phone, host) = (format!("/jobs/{}", job_on(0)), format!("/jobs/{}", job_on(6)));
    assert!(get(Lab::full(), Role::Viewer, &phone).await.text().contains(notice));
    assert!(!get(Lab::full(), Role::Viewer, &host).await.text().contains(notice));
}

#[tokio::test]
async fn reasons_of_an_invalid_job_are_shown_beside_its_numbers() {
    let lab = Lab::full();
    let job = lab.jobs.iter().find(|job| !job.row.invalid.is_empty()).expect("the lab has a disturbed job");
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{}", job.row.id)).await;
    let reason = job.row.invalid[0].replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert!(page.text().contains(&reason), "{reason}");
    assert!(page.text().contains("lat_p50_ms"), "the numbers are still there");
}

#[tokio::test]
async fn chinese_pages_give_reasons_and_meanings_in_chinese() {
    let lab = Lab::full();
    let job = lab.jobs.iter().find(|job| !job.row.invalid.is_empty()).expect("the lab has a disturbed job");
    let chinese = |path: String| async move { get(Lab::full(), Role::Viewer, &with(&path, "lang=zh")).await };
    let (on_job, on_run) = (chinese(format!("/jobs/{}", job.row.id)).await, chinese("/runs/610".to_owned()).await);
    for (page, text) in [
        (&on_job, "进程 0：其他程序占用了全部核心的 31 %，上限 5.0 %"),
        (&on_job, "单次推理时延的中位数"),
        (&on_run, "该设备上的 tract 0.23.9 没有 gpu"),
        (&on_run, "作业的数值无效：进程 0：其他程序占用了全部核心的 31 %"),
        (&on_run, "作业已运行，但不是在所要求的加速器上"),
    ] {
        assert!(page.text().contains(text), "{text}");
    }
    for reason in &job.row.invalid {
        assert!(!on_job.text().contains(&**reason), "{reason} is still in English");
    }
}

#[tokio::test]
async fn a_quarantined_device_says_why_and_until_when() {
    let lab = Lab::full();
    let device = lab.devices.iter().find(|device| device.state == DeviceState::Quarantined).unwrap().id;
    for path in ["/devices".to_owned(), format!("/devices/{device}")] {
        let page = get(lab.clone(), Role::Viewer, &path).await;
        assert!(page.text().contains("Until 03:35, then on probation: lost 2 jobs in a row."), "{path}");
        let page = get(lab.clone(), Role::Viewer, &with(&path, "lang=zh")).await;
        assert!(page.text().contains("隔离至 03:35，之后进入观察期：连续丢失 2 个作业。"), "{path}");
    }
}

#[tokio::test]
async fn phones_that_need_somebody_stand_on_the_fleets_page_with_where_they_are_and_what_to_do() {
    let page = get(Lab::full(), Role::Viewer, "/devices?lang=en").await;
    for text in ["0123456789ABCDEF", "lab-a · usb:1-7.1", "udev rules", "A2 · lab-a · usb:1-5.2", "62 %, supplied"] {
        assert!(page.text().contains(text), "{text}");
    }
    assert!(!page.text().contains("just-plugged-in"), "its agent is on the way");
    let page = get(Lab::full(), Role::Viewer, "/devices?lang=zh").await;
    assert!(page.text().contains("plugdev 组"), "{}", page.text());
}

#[tokio::test]
async fn the_wall_is_filtered_by_shelf_and_by_state_together() {
    let names = async |query: &str| {
        let page = get(Lab::full(), Role::Viewer, &format!("/devices?format=json&{query}")).await.json();
        let names = page["devices"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    assert_eq!(names("shelf=A1").await, ["Xiaomi 15", "Xiaomi 15 №2", "vivo X200"]);
    assert_eq!(names("shelf=none").await, ["bench-host"]);
    assert_eq!(names("shelf=A2&state=quarantined").await, ["meizu 21"]);
}

#[tokio::test]
async fn a_devices_page_says_who_decided_and_what_an_operator_may_do() {
    let lab = Lab::full();
    let device = lab.devices.iter().find(|device| device.state == DeviceState::Quarantined).unwrap().id;
    let page = get(lab.clone(), Role::Viewer, &format!("/devices/{device}?lang=en")).await;
    assert!(page.text().contains("seatrial devices release"), "{}", page.text());
    assert!(!page.text().contains("seatrial devices hold"), "it is out already");
    assert!(page.text().contains(">lin<") && page.text().contains(">server<"), "{}", page.text());
}

#[tokio::test]
async fn a_device_says_what_packages_offer_on_it_and_why_not_more() {
    let lab = Lab::full();
    let device = lab.devices.iter().find(|device| !device.profile.packages.is_empty()).unwrap().id;
    let page = get(lab.clone(), Role::Viewer, &format!("/devices/{device}")).await;
    for text in ["onnxruntime", "1.31.1", "a package", "gpu: there is no Vulkan driver"] {
        assert!(page.text().contains(text), "{text}");
    }
    let page = get(lab, Role::Viewer, &format!("/devices/{device}?lang=zh")).await;
    assert!(page.text().contains("运行时包"));
}

#[tokio::test]
async fn a_device_says_what_it_is_and_which_line_decided_it() {
    let lab = Lab::full();
    let found = lab.devices.iter().find(|device| device.profile.findings.is_some()).unwrap().id;
    let page = get(lab.clone(), Role::Viewer, &format!("/devices/{found}?lang=en")).await;
    for text in ["HyperOS 2.0.112", "ro.soc.model = SM8750", "Adreno 830", "24129PN74C", "ro.build.type"] {
        assert!(page.text().contains(text), "{text}");
    }
    assert!(page.text().contains("absent"), "what is not known is said with why");
    let page = get(lab.clone(), Role::Viewer, &format!("/devices/{found}?lang=zh")).await;
    assert!(page.text().contains("判定依据") && page.text().contains("系统并非厂商出厂锁定状态"));
    let older = lab.devices.iter().find(|device| device.profile.findings.is_none()).unwrap().id;
    let page = get(lab, Role::Viewer, &format!("/devices/{older}?lang=en")).await;
    assert!(!page.text().contains("What decides what it is"), "of an older agent nothing is made up");
}

#[tokio::test]
async fn a_device_says_what_its_last_health_check_found_and_what_is_usual_for_it() {
    let lab = Lab::full();
    let sick = lab.devices.iter().find(|device| device.state == DeviceState::Quarantined).unwrap().id;
    let page = get(lab.clone(), Role::Viewer, &format!("/devices/{sick}?lang=en")).await;
    for text in ["Health check", "Sick", "not what they are everywhere", "a day had passed", "Earlier checks"] {
        assert!(page.text().contains(text), "{text}");
    }
    let page = get(lab.clone(), Role::Viewer, &format!("/devices/{sick}?lang=zh")).await;
    assert!(page.text().contains("健康检查的输出与其他各处的结果不符"));
    let unknown = get(lab.clone(), Role::Viewer, &format!("/devices/{}?lang=en", lab.devices[2].id)).await;
    for text in ["Not known", "the device slept", "tried again later", "sick above 2.1"] {
        assert!(unknown.text().contains(text), "{text}");
    }
    let never = get(lab.clone(), Role::Viewer, &format!("/devices/{}?lang=en", lab.devices[0].id)).await;
    assert!(!never.text().contains("id=\"canary\""), "nothing is made up of a device that was never checked");
    let fleet = get(lab, Role::Viewer, "/devices?format=json").await.json();
    let health: Vec<_> = fleet["now"].as_array().unwrap().iter().map(|now| now["health"].clone()).collect();
    assert!(health.contains(&"sick".into()) && health.contains(&serde_json::Value::Null), "{health:?}");
}

#[tokio::test]
async fn a_failed_job_shows_its_signal_stage_and_log() {
    let lab = Lab::full();
    let job =
        lab.jobs.iter().find(|job| job.row.outcome == Some(seatrial_core::outcome::Outcome::CrashSignal(11))).unwrap();
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{}", job.row.short)).await;
    for text in ["Died (SEGV) in load", "signal SEGV", "without its sentinel", "not reached"] {
        assert!(page.text().contains(text), "{text}");
    }
}

#[tokio::test]
async fn writes_need_the_viewers_own_token_and_a_role() {
    let right = "csrf=form-token";
    for path in ["/runs/611/cancel", "/runs/new"] {
        let suite = "&suite=name%3D%22a%22";
        assert_eq!(
            post(Role::Submitter, path, &format!("csrf=other{suite}")).await.status,
            StatusCode::FORBIDDEN,
            "{path}: a foreign token"
        );
        assert_eq!(
            post(Role::Submitter, path, &format!("csrf={suite}")).await.status,
            StatusCode::FORBIDDEN,
            "{path}: an empty token"
        );
        assert_eq!(
            post(Role::Viewer, path, &format!("{right}{suite}")).await.status,
            StatusCode::FORBIDDEN,
            "{path}: a viewer"
        );
        assert_eq!(
            post(Role::Submitter, path, &format!("{right}{suite}")).await.status,
            StatusCode::SEE_OTHER,
            "{path}: a submitter"
        );
    }
    assert_eq!(
        post(Role::Submitter, "/runs/610/cancel", right).await.status,
        StatusCode::CONFLICT,
        "a run that has ended"
    );
    let job = Lab::full().jobs[0].row.id;
    let rerun = post(Role::Submitter, &format!("/jobs/{job}/rerun"), right).await;
    assert_eq!(rerun.headers[header::LOCATION], "/runs/612");
}

#[tokio::test]
async fn a_wrong_suite_comes_back_with_its_problems_and_its_text() {
    let answer = post(Role::Submitter, "/runs/new", "csrf=form-token&act=start&suite=modles%20%3D%20%5B%5D").await;
    assert_eq!(answer.status, StatusCode::OK);
    for text in ["2:1", "unknown key", "did you mean", "modles = []"] {
        assert!(answer.text().contains(text), "{text}");
    }
}

#[tokio::test]
async fn a_choice_becomes_a_suite_and_a_preview_without_script() {
    let page = get(Lab::full(), Role::Submitter, "/runs/new?variant=digits-cnn/int8&threads=1&runtime=tract&profile=quick&name=try&devices=gpu%20%3D%3D%20%27x%27").await;
    for text in [
        "variants = [&#34;int8&#34;]",
        "2\u{a0}jobs would start",
        "tract 0.23.9 has no gpu on this device",
        "0 of 7 devices match",
    ] {
        assert!(page.text().contains(text), "{text}");
    }
}

#[tokio::test]
async fn a_run_exports_in_every_format() {
    let lab = Lab::full();
    let jobs = lab.jobs.iter().filter(|job| job.row.run_number == 610).count();
    let csv = get(Lab::full(), Role::Viewer, "/runs/610/export.csv").await;
    let lines = csv.text().lines().count();
    assert!(lines > jobs * 10, "a row a job and metric");
    let junit = get(Lab::full(), Role::Viewer, "/runs/610/export.xml").await;
    assert_eq!(junit.text().matches("<testcase ").count(), jobs + 2 + 1, "jobs, misfits and the gate");
    assert_eq!(junit.text().matches("<skipped ").count(), 2, "a misfit is never a pass");
    assert_eq!(junit.text().matches("<error ").count(), 1, "the lost device");
    assert!(junit.text().contains("type=\"crash_signal SEGV\"") && junit.text().contains("type=\"invalid\""));
    let mut lenient = Lab::build();
    let run = lenient.runs.iter_mut().find(|run| run.number == 610).unwrap();
    let mut judgement: serde_json::Value = serde_json::from_str(run.gate.as_ref().unwrap()).unwrap();
    judgement["findings"] = serde_json::json!([]);
    (run.gate_passed, run.gate) = (Some(true), Some(judgement.to_string()));
    let junit = get(lenient.into(), Role::Viewer, "/runs/610/export.xml").await;
    assert!(!junit.text().contains("<failure ") && !junit.text().contains("<error "), "as the gate says");
    assert!(junit.text().contains("<system-out>allowed by the gate: crash_signal SEGV"), "and what it was stays told");
    let json = get(Lab::full(), Role::Viewer, "/runs/610/export.json").await;
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["jobs"].as_array().unwrap().len(), jobs);

    use parquet::file::reader::{FileReader, SerializedFileReader};
    let parquet = get(Lab::full(), Role::Viewer, "/runs/610/export.parquet").await;
    let reader = SerializedFileReader::new(bytes::Bytes::from(parquet.body)).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows() as usize, lines - 1, "the same rows as the CSV");
    let row = reader.get_row_iter(None).unwrap().next().unwrap().unwrap().to_string();
    assert!(row.contains("digits-cnn") && row.contains("metric: \"load_cold_ms\""), "{row}");
}

#[tokio::test]
async fn raw_samples_leave_as_they_came() {
    let lab = Lab::full();
    let job = lab
        .jobs
        .iter()
        .find(|job| job.row.run_number == 610 && job.row.outcome == Some(seatrial_core::outcome::Outcome::Ok))
        .unwrap();
    let csv = get(Lab::full(), Role::Viewer, &format!("/jobs/{}/samples.csv", job.row.id)).await;
    assert_eq!(csv.text().lines().count(), 1501);
    let json = get(Lab::full(), Role::Viewer, &format!("/jobs/{}/samples.json", job.row.id)).await;
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    let block = &job.attempts[0].1.as_ref().unwrap().blocks[0];
    let packed = seatrial_core::block::unpack(&block.bytes, block.count).unwrap();
    assert_eq!(json["processes"][0]["latency_ns"], serde_json::json!(packed));
}

/// The first fragments of a stream.
async fn fragments(path: &str, wanted: usize) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = fixture::router(Lab::full(), Role::Viewer).oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    for _ in 0..wanted {
        let frame =
            tokio::time::timeout(std::time::Duration::from_secs(20), body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn the_stream_of_a_run_sends_its_parts_by_id_and_the_matrix_row_by_row() {
    let text = fragments("/runs/611/live?lang=zh", 6).await;
    for id in ["run-head", "run-now", "row-0", "row-3"] {
        assert!(text.contains(&format!("id: {id}")), "{id}");
        assert!(text.contains(&format!("id=\"{id}\"")), "the element of {id}");
    }
    assert!(text.contains("个作业已完成"), "in the language of the page");
}

#[tokio::test]
async fn the_stream_of_a_job_sends_its_stage_and_progress() {
    let lab = Lab::full();
    let leased = lab.live.iter().find_map(|device| device.job.clone()).expect("the lab has a running job");
    let text = fragments(&format!("/jobs/{}/live?lang=zh", leased.job), 2).await;
    for part in ["id: job-head", "id: job-body", "measure：62 %", "已运行"] {
        assert!(text.contains(part), "{part}");
    }
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{}", leased.job)).await;
    assert!(page.text().contains(&format!("data-live=\"/jobs/{}/live", leased.job)), "the page follows the stream");
    let ended = lab.jobs.iter().find(|job| job.row.finished_at.is_some()).unwrap();
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{}", ended.row.id)).await;
    assert!(!page.text().contains("data-live"), "an ended job has nothing to follow");
}

#[tokio::test]
async fn a_run_of_two_thousand_jobs_is_one_page_of_bounded_size_whose_list_has_all() {
    let page = get(Lab::large(), Role::Viewer, "/runs/612").await;
    let text = page.text();
    assert_eq!(text.matches("id=\"row-").count(), 41, "rows of the matrix, one of them of misfits");
    assert_eq!(text.matches("data-tip=\"model-").count(), 2000, "cells");
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
    let listed = |text: &str| text.matches("class=\"nw j-id\"").count();
    // 50 that need eyes, and the first page of the list.
    assert_eq!(listed(text), 250);

    let mut path = "/runs/612?sort=-p50".to_owned();
    let (mut seen, mut pages) = (std::collections::BTreeSet::new(), 0);
    loop {
        let page = get(Lab::large(), Role::Viewer, &path).await;
        let list = page.text().split_once("id=\"jobs\"").unwrap().1;
        seen.extend(list.split("j-id\"><a class=\"mono\" href=\"").skip(1).map(|rest| rest[..41].to_owned()));
        pages += 1;
        let Some((before, _)) = list.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&amp;", "&").replace("&#38;", "&");
    }
    assert_eq!((seen.len(), pages), (2000, 10));
}

#[tokio::test]
async fn a_run_as_a_page_reads_what_it_shows_and_as_data_everything() {
    let read = async |path: &str| {
        let lab = std::sync::Arc::new(Lab::build());
        assert_eq!(get(lab.clone(), Role::Viewer, path).await.status, StatusCode::OK);
        lab.metrics_read.load(std::sync::atomic::Ordering::Relaxed)
    };
    let jobs = Lab::full().jobs.iter().filter(|job| job.row.run_number == 610).count();
    let page = read("/runs/610").await;
    assert!((1..=2 * jobs).contains(&page), "{page} metrics of {jobs} jobs");
    for data in ["/runs/610?format=json", "/runs/610?format=csv", "/runs/610/export.csv"] {
        assert!(read(data).await > 2 * jobs, "{data}");
    }
}

#[tokio::test]
async fn a_list_is_sorted_and_filtered_by_its_address() {
    let sorted = get(Lab::full(), Role::Viewer, "/runs/610?sort=-p50&show=valid").await;
    let list = sorted.text().split_once("id=\"jobs\"").unwrap().1;
    assert!(list.contains("<details open>"), "what the address asks for is shown");
    assert!(list.contains("aria-sort=\"descending\""));
    assert!(list.contains("show=valid&amp;sort=p50#jobs"), "the other way round, with the filter kept");
    assert_eq!(list.matches("data-row").count(), 35);
    let nothing = get(Lab::full(), Role::Viewer, "/runs/610?show=cancelled").await;
    assert!(
        nothing.text().contains("Without &#34;cancelled&#34; there are 40"),
        "a filter that leaves nothing says so"
    );
    let models = get(Lab::full(), Role::Viewer, "/models?sort=-name").await;
    let (cnn, mlp) = (models.text().find("/models/digits-cnn"), models.text().find("/models/digits-mlp"));
    assert!(mlp < cnn, "descending");
}

#[tokio::test]
async fn a_list_as_data_is_the_rows_of_the_page_with_the_cursor_of_the_next() {
    let page = get(Lab::full(), Role::Viewer, "/models?sort=-name&format=json").await.json();
    let names: Vec<&str> = page["models"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["digits-mlp", "digits-cnn"], "in the order asked for");
    assert_eq!((&page["total"], &page["after"]), (&serde_json::json!(2), &serde_json::Value::Null));
    let rest = get(Lab::full(), Role::Viewer, "/models?sort=-name&after=digits-mlp&format=json").await.json();
    assert_eq!(rest["models"].as_array().unwrap().len(), 1);
    let waiting = get(Lab::full(), Role::Viewer, "/devices?state=unauthorized&format=json").await.json();
    assert_eq!((waiting["devices"].as_array().unwrap().len(), &waiting["total"]), (1, &serde_json::json!(1)));
}

#[tokio::test]
async fn a_device_without_sensors_says_why_it_has_none() {
    let job = Lab::full().jobs.iter().find(|job| !job.row.invalid.is_empty()).unwrap().row.id;
    let page = |lang: &str| {
        let path = with(&format!("/jobs/{job}"), &format!("lang={lang}"));
        async move { get(Lab::virtual_machines(), Role::Viewer, &path).await }
    };
    for (lang, card, lines) in [
        (
            "en",
            "<h2>Sensors</h2>",
            [
                "<dt>battery</dt><dd>– absent: there is no battery under /sys/class/power_supply</dd>",
                "<dt>thermal</dt><dd>– absent: there is no thermal zone under /sys/class/thermal</dd>",
            ],
        ),
        (
            "zh",
            "<h2>传感器</h2>",
            [
                "<dt>battery</dt><dd>– 缺失：/sys/class/power_supply 下没有电池</dd>",
                "<dt>thermal</dt><dd>– 缺失：/sys/class/thermal 下没有温度区</dd>",
            ],
        ),
    ] {
        let page = page(lang).await;
        assert!(page.text().contains(card), "{lang}");
        for line in lines {
            assert!(page.text().contains(line), "{line}");
        }
    }
}

#[tokio::test]
async fn thinned_samples_are_said_to_be_some_of_all_inferences() {
    let of = |profile: &str| Lab::full().jobs.iter().find(|job| job.row.profile == profile).unwrap().row.id;
    let (thinned, whole) = (of("sustained"), of("quick"));
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{thinned}")).await;
    assert!(page.text().contains("1,500 samples, 1 of every 8 of 12,000 inferences, ms"));
    assert!(page.text().contains("Only 1 of every 8 inferences is shown"));
    let chinese = get(Lab::full(), Role::Viewer, &format!("/jobs/{thinned}?lang=zh")).await;
    assert!(chinese.text().contains("共 12,000 次推理，每 8 次取 1 个样本"));
    let csv = get(Lab::full(), Role::Viewer, &format!("/jobs/{thinned}/samples.csv")).await;
    assert!(csv.text().lines().nth(2).unwrap().starts_with("0,8,"), "the index is that of the inference");
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{whole}")).await;
    assert!(page.text().contains("1,500 inferences, ms; every one kept") && !page.text().contains("1 of every"));
}

#[tokio::test]
async fn figures_of_a_program_are_shown_as_its_own_words_and_never_as_measured() {
    let lab = Lab::of_programs();
    let job =
        lab.jobs.iter().find(|job| job.row.backend.starts_with("benchncnn") && job.row.invalid.is_empty()).unwrap();
    let page = |lang: &str| {
        let path = with(&format!("/jobs/{}", job.row.id), &format!("lang={lang}"));
        async move { get(Lab::of_programs(), Role::Viewer, &path).await }
    };
    for (lang, wanted) in [
        (
            "en",
            [
                "benchncnn reports 12.75 ms an inference",
                "<h2>As reported by benchncnn</h2>",
                "the program&#39;s own figures, by its own clock",
                "– absent: benchncnn does not tell it",
            ],
        ),
        (
            "zh",
            [
                "benchncnn 报告单次推理 12.75 ms",
                "<h2>benchncnn 自报</h2>",
                "程序自己的数值，依其自己的时钟",
                "– 缺失：benchncnn 没有说明",
            ],
        ),
    ] {
        let page = page(lang).await.text().replace('\u{a0}', " ");
        for text in wanted {
            assert!(page.contains(text), "{lang}: {text}");
        }
        assert!(!page.contains("told."), "{lang}: the prefix is not for people");
    }
    let run = job.row.run_number;
    let list = get(Lab::of_programs(), Role::Viewer, &format!("/runs/{run}")).await;
    assert!(list.text().contains("12.75 ms an inference, as reported by benchncnn"));
    let csv = get(Lab::of_programs(), Role::Viewer, &format!("/runs/{run}/export.csv")).await;
    let line = csv.text().lines().find(|line| line.contains("told.latency_avg")).map(str::to_owned);
    assert!(line.is_some_and(|line| line.contains("12.75")));
    let measured = get(Lab::full(), Role::Viewer, &format!("/jobs/{}", job.row.id)).await;
    assert!(!measured.text().contains("As reported by"), "the control: what was measured here");
}

#[tokio::test]
async fn an_energy_job_shows_its_numbers_with_what_they_are_worth_or_why_there_is_none() {
    let lab = Lab::of_energy();
    let jobs: Vec<_> = lab.jobs.iter().filter(|job| job.row.profile == "energy").collect();
    let [measured, fed, coarse] = jobs[..] else { panic!("{} jobs", jobs.len()) };
    let page = |job: &fixture::lab::Job, lang: &str| {
        let path = format!("/jobs/{}?lang={lang}", job.row.id);
        async move { get(Lab::of_energy(), Role::Viewer, &path).await.text().replace('\u{a0}', " ") }
    };
    for (job, lang, wanted) in [
        (measured, "en", ["E1 on the battery, two methods agree", "an inference with", "6 pairs of idle and load"]),
        (measured, "zh", ["E1 电池供电，两种方法一致", "单次推理能耗", "6 对空闲与负载"]),
        (fed, "en", ["E4 no number", "No energy with", "the phone was supplied from outside"]),
        (fed, "zh", ["E4 没有数值", "没有能耗数值", "外部供电"]),
        (coarse, "en", ["E2 on the battery, one method", "below resolution: at most", "by the charge counter"]),
    ] {
        let text = page(job, lang).await;
        for wanted in wanted {
            assert!(text.contains(wanted), "{lang}: {wanted}");
        }
    }
    assert!(page(measured, "en").await.matches("\"faw\"").count() >= 6, "six loads are shaded");
    assert!(page(measured, "en").await.contains("the numbers are valid"), "the control");
    assert!(!page(fed, "en").await.contains("the numbers are valid"), "there is none that could be");
    let data = get(Lab::of_energy(), Role::Viewer, &format!("/jobs/{}?format=json", measured.row.id)).await.json();
    assert_eq!(data["energy"]["grade"], "E1");
    let csv = get(Lab::of_energy(), Role::Viewer, &format!("/jobs/{}/readings.csv", measured.row.id)).await;
    assert!(csv.text().starts_with("at_s,phase,current,voltage_v,counter"), "{}", &csv.text()[..80]);
    assert!(csv.text().lines().filter(|line| line.contains(",load,")).count() > 300);
    let quick = lab.jobs.iter().find(|job| job.row.profile == "quick").unwrap();
    assert!(!page(quick, "en").await.contains("id=\"energy\""), "the control");
    let missing = get(Lab::of_energy(), Role::Viewer, &format!("/jobs/{}/readings.csv", quick.row.id)).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_device_shows_its_battery_its_gauge_and_that_it_may_swell() {
    let lab = Lab::of_energy();
    for (lang, wanted) in [
        ("en", ["holds 77 % of what it did when new", "has 846 cycles", "negative while discharging", "3,710 mAh"]),
        ("zh", ["只剩全新时的 77 %", "已循环 846 次", "放电时为负", "3,710 mAh"]),
    ] {
        let path = format!("/devices/{}?lang={lang}", lab.devices[0].id);
        let text = get(Lab::of_energy(), Role::Viewer, &path).await.text().replace('\u{a0}', " ");
        for wanted in wanted {
            assert!(text.contains(wanted), "{lang}: {wanted}");
        }
    }
    let without = get(Lab::of_energy(), Role::Viewer, &format!("/devices/{}", lab.devices[3].id)).await;
    assert!(!without.text().contains("id=\"battery\""), "the control");
}

#[tokio::test]
async fn a_sustained_job_shows_what_each_minute_came_to() {
    let of = |profile: &str| Lab::full().jobs.iter().find(|job| job.row.profile == profile).unwrap().row.id;
    let (sustained, quick) = (of("sustained"), of("quick"));
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{sustained}")).await;
    assert!(page.text().contains("Median of each minute") && page.text().contains("10 full minutes, ms"));
    let chinese = get(Lab::full(), Role::Viewer, &format!("/jobs/{sustained}?lang=zh")).await;
    assert!(chinese.text().contains("每分钟中位数") && chinese.text().contains("10 个完整分钟"));
    let data = get(Lab::full(), Role::Viewer, &format!("/jobs/{sustained}?format=json")).await.json();
    let minutes = data["minutes"].as_array().unwrap();
    assert_eq!((minutes.len(), &minutes[9]["from_s"]), (10, &serde_json::json!(540)));
    let ratio = minutes[9]["p50_ms"].as_f64().unwrap() / minutes[0]["p50_ms"].as_f64().unwrap();
    assert!((1.12..1.17).contains(&ratio), "{ratio}");
    let data = get(Lab::full(), Role::Viewer, &format!("/jobs/{quick}?format=json")).await.json();
    assert_eq!(data["minutes"], serde_json::json!([]));
    assert!(!get(Lab::full(), Role::Viewer, &format!("/jobs/{quick}")).await.text().contains("Median of each minute"));
}

#[tokio::test]
async fn a_job_offers_the_files_that_it_has() {
    let lab = Lab::full();
    let of = |outcome| lab.jobs.iter().find(|job| job.row.outcome == Some(outcome)).unwrap().row.clone();
    let ok = of(seatrial_core::outcome::Outcome::Ok);
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{}", ok.id)).await;
    assert!(page.text().contains(&format!("href=\"/jobs/{}/predictions.csv?attempt=1\"", ok.id)));
    assert!(!page.text().contains("outputs.csv"), "none were kept");
    let file = get(Lab::full(), Role::Viewer, &format!("/jobs/{}/predictions.csv?attempt=1", ok.id)).await;
    let rows: Vec<&str> = file.text().lines().collect();
    assert_eq!(rows.len(), 361, "a head and an example a row");
    assert!(rows[1].contains(&ok.id.to_string()) && rows[0].ends_with("label,class_1,class_2,class_3,class_4,class_5"));
    let died = of(seatrial_core::outcome::Outcome::CrashSignal(11));
    let page = get(Lab::full(), Role::Viewer, &format!("/jobs/{}", died.id)).await;
    assert!(!page.text().contains("predictions.csv") && !page.text().contains("samples.csv"));
}

#[tokio::test]
async fn what_a_running_job_is_at_is_in_its_data() {
    let lab = Lab::full();
    let leased = lab.live.iter().find_map(|device| device.job.clone()).unwrap();
    let data = get(Lab::full(), Role::Viewer, &format!("/jobs/{}?format=json", leased.job)).await.json();
    assert_eq!(data["now"], serde_json::json!({ "stage": "measure", "progress": 0.62, "age_s": 31.0 }));
}

#[tokio::test]
async fn only_a_session_can_be_signed_out() {
    let form = "<form method=\"post\" action=\"/logout\"><input type=\"hidden\" name=\"csrf\" value=\"form-token\">";
    assert!(get(Lab::full(), Role::Viewer, "/runs").await.text().contains(form));
    let user = seatrial_dashboards::Viewer { session: false, ..fixture::viewer(Role::Admin) };
    let router = seatrial_dashboards::router(fixture::dashboards(Lab::full())).layer(axum::Extension(user));
    let page = send(router, Request::get("/runs").body(Body::empty()).unwrap()).await;
    assert!(page.text().contains("lin, admin") && !page.text().contains("/logout"), "the user of this machine");
}

/// The job of a task in the lab of tasks.
fn of_task(lab: &Lab, task: Task) -> &fixture::lab::Job {
    lab.jobs.iter().find(|job| job.row.dataset.as_deref() == Some(task.as_str())).unwrap()
}

/// What the rows of the table of figures in parts say, their cells apart.
fn rows_in_parts(html: &str) -> Vec<String> {
    let Some((_, card)) = html.split_once("<h2>Figures in parts</h2>") else { return Vec::new() };
    let (_, body) = card.split_once("<tbody>").unwrap();
    let cells = |row: &str| {
        let cells = row.split("<t").filter_map(|cell| cell.split_once('>')).skip(1);
        cells.map(|(_, text)| text.split('<').next().unwrap()).collect::<Vec<_>>().join(" | ")
    };
    body.split_once("</tbody>").unwrap().0.split("<tr").skip(1).map(cells).collect()
}

#[tokio::test]
async fn a_job_of_any_task_says_its_figure_and_shows_it_in_parts() {
    let lab = Lab::of_tasks();
    let expected: [(Task, &str, &[&str]); 6] = [
        (
            Task::Detection,
            "mAP is 50.1 %.",
            &["0 | 1 | 1 | 80.0 % | 100.0 % | 80.0 %", "1 | 2 | 2 | 20.2 % | 25.2 % | 40.0 %"],
        ),
        (
            Task::Segmentation,
            "mIoU is 85.9 %.",
            &["0 | 56 | 54 | 83.3 %", "1 | 66 | 68 | 81.1 %", "2 | 73 | 72 | 93.3 %"],
        ),
        (Task::Text, "CER is 18.2 %.", &["Characters | 11 | 1 | 0 | 1 | 18.2 %", "Words | 5 | 2 | 0 | 0 | 40.0 %"]),
        (
            Task::Multilabel,
            "F1 is 77.8 %.",
            &[
                "0 | 1 | 1 | 100.0 % | 100.0 % | 100.0 %",
                "1 | 1 | 2 | 50.0 % | 100.0 % | 66.7 %",
                "2 | 2 | 1 | 100.0 % | 50.0 % | 66.7 %",
            ],
        ),
        (
            Task::Retrieval,
            "hit@1 is 50",
            &["1 | 4 | 2 | 50.0 % | 50.0 %", "5 | 4 | 4 | 100.0 % | 100.0 %", "10 | 4 | 4 | 100.0 % | 100.0 %"],
        ),
        (Task::Regression, "MAE is 0.375.", &[]),
    ];
    for (task, figure, rows) in expected {
        let path = format!("/jobs/{}", of_task(&lab, task).row.id);
        for lang in ["en", "zh-CN"] {
            let page = get(lab.clone(), Role::Viewer, &with(&path, &format!("lang={lang}"))).await;
            assert_eq!(page.status, StatusCode::OK, "{task:?}: {}", page.text());
            check_document(page.text(), &path, lang);
            let in_parts = page.text().contains("Figures in parts") || page.text().contains("分项指标");
            assert_eq!(in_parts, !rows.is_empty(), "{task:?} in {lang}");
            if lang == "en" {
                let (_, heading) = page.text().split_once("<h1>").unwrap();
                let heading = heading.split_once("</h1>").unwrap().0.replace(['\u{a0}', '\u{2060}'], " ");
                assert!(heading.contains(figure), "{task:?}: {heading}");
                assert_eq!(rows_in_parts(page.text()), rows, "{task:?}");
            }
        }
    }
}

/// Labels do not hide the comparison with references, nor the other way round.
#[tokio::test]
async fn a_job_with_labels_and_references_shows_the_figures_of_both() {
    let lab = Lab::of_tasks();
    let job = of_task(&lab, Task::Multilabel);
    let page = get(lab.clone(), Role::Viewer, &format!("/jobs/{}", job.row.id)).await;
    for card in ["Figures in parts", "Against the reference outputs", "Where the time goes"] {
        assert!(page.text().contains(&format!("<h2>{card}")), "{card}: {}", page.text());
    }
    let plain = get(lab.clone(), Role::Viewer, &format!("/jobs/{}", of_task(&lab, Task::Text).row.id)).await;
    assert!(!plain.text().contains("Against the reference outputs"), "nobody compared anything");
}

/// Figures of a dataset's own scorer stand where those of any task do: with their unit, and which way is better.
#[tokio::test]
async fn figures_of_a_scorer_are_on_every_page_that_shows_those_of_tasks() {
    let lab = Lab::of_scorer();
    let jobs: Vec<_> = lab.jobs.iter().filter(|job| job.row.dataset.as_deref() == Some(tasks::SCORED)).collect();
    let path = format!("/jobs/{}", jobs[0].row.id);
    for (lang, figure, better) in [("en", "ece is 0.0310", "lower is better"), ("zh-CN", "ece", "越低越好")] {
        let page = get(lab.clone(), Role::Viewer, &with(&path, &format!("lang={lang}"))).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        check_document(page.text(), &path, lang);
        let (_, heading) = page.text().split_once("<h1>").unwrap();
        let heading = heading.split_once("</h1>").unwrap().0.replace(['\u{a0}', '\u{2060}'], " ");
        assert!(heading.contains(figure), "{heading}");
        let (_, metrics) = page.text().split_once("custom.ece").unwrap();
        assert!(metrics.contains("how far confidence is from truth") && metrics.contains(better), "{metrics}");
        assert!(page.text().contains("an example has probability 0"), "what is absent says why");
    }
    let other = format!("{path}?against={}", jobs[1].row.short);
    let page = get(lab.clone(), Role::Viewer, &other).await;
    assert!(page.text().contains("McNemar"), "verdicts of a scorer are paired: {}", page.text());

    // The page of a model has one column of accuracy: that of its first result with any.
    let mut alone = Lab::with_scorer();
    alone.jobs.retain(|job| job.row.dataset.as_deref() == Some(tasks::SCORED));
    let path = format!("/models/{}?device={}", jobs[0].row.model, jobs[0].row.device);
    let model = get(std::sync::Arc::new(alone), Role::Viewer, &path).await;
    check_document(model.text(), &path, "en");
    assert!(model.text().contains(">ece<") && model.text().contains("0.0310"), "{}", model.text());

    let data = get(lab.clone(), Role::Viewer, "/runs/610?format=json").await;
    assert!(data.text().contains("custom.ece"), "{}", data.text());
    let csv = get(lab.clone(), Role::Viewer, "/runs/610/export.csv").await;
    let row = csv.text().lines().find(|line| line.contains("custom.ece")).unwrap();
    assert!(row.contains(",custom.ece,1,0.031,"), "{row}");
    assert!(csv.text().contains(",custom.nll,nat,,,,an example has probability 0"), "{}", csv.text());
    let answers = get(lab.clone(), Role::Viewer, &format!("/jobs/{}/answers.csv", jobs[0].row.id)).await;
    assert!(answers.text().lines().nth(2).unwrap().ends_with("1,right,,,,,,,,,,,,0,"), "{}", answers.text());

    for lang in ["en", "zh-CN"] {
        let path = format!("/datasets/{}?lang={lang}", tasks::SCORED);
        let page = get(lab.clone(), Role::Viewer, &path).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        check_document(page.text(), &path, lang);
        for word in ["custom.ece", "nat", "calibration.py", "how far confidence is from truth"] {
            assert!(page.text().contains(word), "{word} in {lang}: {}", page.text());
        }
    }
}

/// A run that timed nothing has the first figure of its scorer in its cells.
#[tokio::test]
async fn the_matrix_of_a_run_without_latencies_shows_the_figure_of_a_scorer() {
    let mut lab = Lab::with_scorer();
    for job in lab.jobs.iter_mut().filter(|job| job.row.dataset.as_deref() == Some(tasks::SCORED)) {
        for (_, _, metrics) in &mut job.attempts {
            metrics.retain(|metric| metric.name.starts_with("custom."));
        }
    }
    let page = get(std::sync::Arc::new(lab), Role::Viewer, "/runs/610").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert!(page.text().contains("ece 0.0310"), "{}", page.text());
}

#[tokio::test]
async fn truth_and_answers_are_a_file_that_anybody_can_judge_again() {
    let lab = Lab::of_tasks();
    for (task, rows, first) in [
        (Task::Detection, 6, "0,truth,0,,,,10,10,40,40,1600,0,,,"),
        (Task::Segmentation, 8, ",answer,0,0,,50,,,,,,,,,"),
        (Task::Text, 8, "0,truth,,,,,,,,,,,,,今天"),
        (Task::Multilabel, 12, "0,truth,0,,,,,,,,,,,,"),
        (Task::Retrieval, 16, "0,truth,7,,,,,,,,,,,,"),
        (Task::Regression, 8, "0,truth,,,,,,,,,,,,1,"),
    ] {
        let job = of_task(&lab, task);
        let file = get(lab.clone(), Role::Viewer, &format!("/jobs/{}/answers.csv", job.row.id)).await;
        assert_eq!(file.status, StatusCode::OK, "{task:?}");
        let lines: Vec<&str> = file.text().lines().collect();
        let columns = "example,side,class,answered,item,pixels,left,top,width,height,area,crowd,score,value,text";
        assert!(lines[0].ends_with(columns), "{}", lines[0]);
        assert_eq!(lines.len(), 1 + rows, "{task:?}: {}", file.text());
        assert!(lines[1].ends_with(first), "{task:?}: {}", lines[1]);
    }
    let run = get(lab.clone(), Role::Viewer, "/runs/610/answers.csv").await;
    assert_eq!(run.text().lines().count(), 1 + 6 + 8 + 8 + 12 + 16 + 8, "those of all jobs, and nothing of others");
}

#[tokio::test]
async fn results_on_the_same_examples_are_paired_by_mcnemars_exact_test() {
    let lab = Lab::full();
    let page = get(lab.clone(), Role::Viewer, "/models/digits-cnn").await;
    assert!(page.text().contains("On the same examples"), "{}", page.text());
    let data = get(lab.clone(), Role::Viewer, "/models/digits-cnn?format=json").await.json();
    let paired = data["paired"].as_array().unwrap();
    assert!(!paired.is_empty());
    for pair in paired {
        let job = |name: &str| lab.jobs.iter().find(|job| pair[name]["id"] == job.row.id.to_string()).unwrap();
        let (first, second) = (job("first"), job("second"));
        assert_eq!((first.row.variant.as_str(), second.row.variant.as_str()), ("fp32", "int8"));
        assert_eq!((&first.row.backend, &first.row.profile), (&second.row.backend, &second.row.profile));
        let right = |job: &fixture::lab::Job| {
            let dataset = job.spec.dataset.as_ref().unwrap();
            let blocks = &job.attempts.last().unwrap().1.as_ref().unwrap().blocks;
            measure::task::right(dataset.task, dataset.examples, blocks).unwrap().unwrap()
        };
        let expected = seatrial_core::accuracy::paired::compare(&right(first), &right(second)).unwrap().unwrap();
        assert_eq!(pair["to_wrong"], expected.only_first);
        assert_eq!(pair["to_right"], expected.only_second);
        // Numbers in JSON are read to the last digit but one.
        assert!((pair["p"].as_f64().unwrap() - expected.p).abs() < 1e-12, "{pair}");
        assert_eq!(pair["examples"], 360);

        let address = format!("/jobs/{}?against={}", second.row.id, first.row.short);
        let one = get(lab.clone(), Role::Viewer, &with(&address, "format=json")).await.json();
        assert_eq!(one["paired"]["p"], pair["p"], "the job's page says the same");
        let page = get(lab.clone(), Role::Viewer, &address).await;
        let wrong = format!("{} became wrong and {} became right", expected.only_first, expected.only_second);
        assert!(page.text().replace('\u{a0}', " ").contains(&wrong), "{wrong}: {}", page.text());
    }
}

#[tokio::test]
async fn jobs_that_cannot_be_paired_say_so() {
    let lab = Lab::of_tasks();
    let (boxes, texts) = (of_task(&lab, Task::Detection), of_task(&lab, Task::Text));
    for (job, against) in [(boxes, boxes), (texts, boxes)] {
        let path = format!("/jobs/{}?against={}", job.row.id, against.row.id);
        let page = get(lab.clone(), Role::Viewer, &path).await;
        assert!(page.text().contains("cannot be paired"), "{}", page.text());
        assert_eq!(
            get(lab.clone(), Role::Viewer, &with(&path, "format=json")).await.json()["paired"],
            serde_json::Value::Null
        );
    }
    let missing = get(lab.clone(), Role::Viewer, &format!("/jobs/{}?against=0000-0000", texts.row.id)).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let same = get(lab.clone(), Role::Viewer, &format!("/jobs/{0}?against={0}", texts.row.id)).await;
    assert!(same.text().replace('\u{a0}', " ").contains("None of the 4 examples changed"), "{}", same.text());
}

#[tokio::test]
async fn first_sentences_are_as_agreed() {
    let lab = Lab::full();
    let mut sentences = String::new();
    for path in paths(&lab) {
        for lang in ["en", "zh-CN"] {
            let page = get(Lab::full(), Role::Submitter, &with(&path, &format!("lang={lang}"))).await;
            let h1 = page
                .text()
                .split_once("<h1>")
                .unwrap()
                .1
                .split_once("</h1>")
                .unwrap()
                .0
                .replace('\u{a0}', " ")
                .replace('\u{2060}', "");
            let text: String = h1.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
            sentences.push_str(&[lang, " ", &text, "\n"].concat());
        }
    }
    insta::assert_snapshot!(sentences);
}

#[tokio::test]
async fn an_accelerator_is_held_against_the_cpu_of_each_device_and_a_fallback_has_no_speed_up() {
    let lab = Lab::of_accelerators();
    let data = get(lab.clone(), Role::Viewer, "/models/digits-cnn?format=json").await.json();
    let pairs = data["against_cpu"].as_array().unwrap();
    assert!(pairs.len() > 2, "{data:#}");
    let page = get(lab.clone(), Role::Viewer, "/models/digits-cnn").await;
    let text = page.text().replace('\u{a0}', " ");
    assert!(text.contains("Accelerator against CPU"), "{text}");
    let mut whole = 0;
    for pair in pairs {
        let (cpu, accelerated) = (&pair["cpu"], &pair["accelerated"]);
        if cpu.is_null() {
            continue;
        }
        assert_eq!(accelerated["job"]["profile"], cpu["job"]["profile"], "a long run is no match for a short one");
        assert_eq!(accelerated["job"]["device_name"], cpu["job"]["device_name"], "{pair:#}");
        assert_eq!(accelerated["job"]["variant"], cpu["job"]["variant"], "{pair:#}");
        assert_eq!(
            (&accelerated["job"]["backend"], &cpu["job"]["backend"]),
            (&"litert gpu ×1".into(), &"tract cpu ×1".into())
        );
        let both = [cpu, accelerated].map(|side| side["job"]["invalid"].as_array().unwrap().is_empty());
        whole += usize::from(accelerated["job"]["outcome"] == "ok" && both == [true, true]);
    }
    let card = text.split("Accelerator against CPU").nth(1).unwrap();
    let card = card.split("On the same examples").next().unwrap().split("Last jobs").next().unwrap();
    assert_eq!(
        card.matches(" ×").count() - card.matches("cpu ×1").count() - card.matches("gpu ×1").count(),
        whole,
        "{card}"
    );
    let chinese = get(lab, Role::Viewer, "/models/digits-cnn?lang=zh").await;
    assert!(chinese.text().contains("加速器与 CPU 对比"));
    let without = get(Lab::full(), Role::Viewer, "/models/digits-cnn").await;
    assert!(!without.text().contains("Accelerator against CPU"), "the control: nobody has tried one");
}
