//! The page of a model: what it compares, what it leaves out, and what it says of both.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod fixture;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use fixture::Lab;
use fixture::lab::Job;
use fixture::outputs::STEP;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use seatrial_core::actual::ComputeDevice;
use seatrial_core::job::JobState;
use seatrial_core::model::Precision;
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::role::Role;
use seatrial_core::weights::PrecisionFrom;
use serde_json::Value;
use tower::ServiceExt;

const PAGE: &str = "/models/digits-cnn";

async fn get(lab: &Arc<Lab>, path: &str) -> String {
    let request = Request::get(path).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap();
    let response = fixture::router(lab.clone(), Role::Viewer).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let body = response.into_body().collect().await.unwrap().to_bytes().to_vec();
    String::from_utf8(body).unwrap().replace(['\u{a0}', '\u{2060}'], " ")
}

async fn data(lab: &Arc<Lab>, query: &str) -> Value {
    serde_json::from_str(&get(lab, &format!("{PAGE}?format=json{query}")).await).unwrap()
}

fn list<'a>(data: &'a Value, key: &str) -> &'a [Value] {
    data[key].as_array().unwrap_or_else(|| panic!("no {key}: {data:#}"))
}

/// The card under this heading.
fn card<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<h2>{heading}</h2>")).unwrap_or_else(|| panic!("no {heading}: {page}"));
    rest.split_once("</section>").unwrap().0
}

fn end(job: &mut Job, outcome: Outcome) {
    (job.row.outcome, job.row.state) = (Some(outcome), JobState::Done { outcome });
}

fn on_bench<'a>(lab: &'a mut Lab, variant: &'a str, backend: &'a str) -> impl Iterator<Item = &'a mut Job> {
    lab.jobs.iter_mut().filter(move |job| {
        let row = &job.row;
        (row.device_name.as_str(), row.model.as_str()) == ("bench-host", "digits-cnn")
            && row.finished_at.is_some()
            && (row.variant.as_str(), row.backend.as_str()) == (variant, backend)
    })
}

/// The device of this lab that is no phone, chosen.
fn bench(lab: &Lab) -> String {
    format!("&device={}", lab.devices[6].id)
}

#[tokio::test]
async fn a_fallback_stands_on_neither_side_of_a_pair_and_what_is_left_out_is_told() {
    for fallen in ["int8", "fp32"] {
        let mut lab = Lab::with_outputs();
        let other = if fallen == "int8" { "fp32" } else { "int8" };
        on_bench(&mut lab, other, "litert gpu ×1").for_each(|job| end(job, Outcome::Ok));
        on_bench(&mut lab, fallen, "litert gpu ×1").for_each(|job| end(job, Outcome::OkFallback));
        let (query, lab) = (bench(&lab), Arc::new(lab));
        let data = data(&lab, &query).await;
        assert!(!list(&data, "paired").is_empty(), "the control: what ran on the CPU is paired");
        for side in list(&data, "paired").iter().flat_map(|pair| [&pair["first"], &pair["second"]]) {
            assert_eq!(side["backend"], "tract cpu ×1", "{side:#}");
        }
        let left_out = list(&data, "paired_left_out");
        assert_eq!(left_out.len(), 1, "{left_out:#?}");
        assert_eq!((&left_out[0]["variant"], &left_out[0]["outcome"]), (&fallen.into(), &"ok_fallback".into()));
        let page = get(&lab, &format!("{PAGE}?x=y{query}")).await;
        let card = card(&page, "On the same examples");
        assert!(card.contains("1 result is left out") && card.contains("1 × fell back"), "{card}");
        let chinese = get(&lab, &format!("{PAGE}?lang=zh{query}")).await;
        assert!(chinese.contains("1 个结果未列入"), "{chinese}");
    }
}

#[tokio::test]
async fn invalid_and_wrong_results_are_not_paired_and_valid_ones_on_an_accelerator_are() {
    let mut lab = Lab::with_outputs();
    on_bench(&mut lab, "int8", "litert gpu ×1").for_each(|job| end(job, Outcome::Ok));
    let valid = Arc::new(lab);
    let query = bench(&valid);
    let on_gpu = |data: &Value| list(data, "paired").iter().any(|pair| pair["second"]["backend"] == "litert gpu ×1");
    let untouched = data(&valid, &query).await;
    assert!(on_gpu(&untouched) && list(&untouched, "paired_left_out").is_empty(), "{untouched:#}");

    let mut lab = Lab::with_outputs();
    on_bench(&mut lab, "int8", "litert gpu ×1").for_each(|job| end(job, Outcome::NumericsFail));
    on_bench(&mut lab, "int8", "tract cpu ×1").for_each(|job| job.row.invalid.push("disturbed".into()));
    let lab = Arc::new(lab);
    let touched = data(&lab, &query).await;
    assert!(list(&touched, "paired").is_empty(), "{touched:#}");
    assert_eq!(list(&touched, "paired_left_out").len(), 2);
    let page = get(&lab, &format!("{PAGE}?x=y{query}")).await;
    let card = card(&page, "On the same examples");
    for why in ["2 results are left out", "1 × wrong output", "1 × ok, not valid"] {
        assert!(card.contains(why), "{why}: {card}");
    }
}

#[tokio::test]
async fn a_job_that_the_lab_or_somebody_ended_hides_no_result_of_an_accelerator_or_of_the_cpu() {
    let with_newest = |outcome: Outcome| {
        let mut lab = Lab::with_outputs();
        on_bench(&mut lab, "int8", "litert gpu ×1").for_each(|job| end(job, Outcome::Ok));
        let mut ended = Vec::new();
        for backend in ["tract cpu ×1", "litert gpu ×1"] {
            let quick = on_bench(&mut lab, "int8", backend).filter(|job| job.row.profile == "quick");
            let mut jobs: Vec<&mut Job> = quick.collect();
            jobs.sort_by_key(|job| job.row.created_at);
            assert!(jobs.len() > 1, "an older one stands behind it");
            let newest = jobs.pop().unwrap();
            end(newest, outcome);
            newest.attempts.iter_mut().for_each(|(_, _, metrics)| metrics.clear());
            ended.push(Value::from(newest.row.id.to_string()));
        }
        (bench(&lab), Arc::new(lab), ended)
    };
    for outcome in [Outcome::Cancelled, Outcome::DeviceLost, Outcome::CrashSignal(11)] {
        let (query, lab, ended) = with_newest(outcome);
        let data = data(&lab, &query).await;
        let pair = list(&data, "against_cpu").iter().find(|pair| {
            let job = &pair["accelerated"]["job"];
            (&job["device_name"], &job["variant"], &job["profile"])
                == (&"bench-host".into(), &"int8".into(), &"quick".into())
        });
        let pair = pair.unwrap_or_else(|| panic!("{outcome}: {data:#}"));
        let shown = ended.contains(&pair["accelerated"]["job"]["id"]);
        let of_the_model = outcome == Outcome::CrashSignal(11);
        assert_eq!((shown, pair["cpu"].is_null()), (of_the_model, of_the_model), "{outcome}: {pair:#}");
    }
}

#[tokio::test]
async fn the_page_of_a_job_says_how_the_one_ended_that_it_is_held_against() {
    let mut lab = Lab::with_outputs();
    on_bench(&mut lab, "fp32", "litert gpu ×1").for_each(|job| end(job, Outcome::OkFallback));
    let of = |variant: &str, lab: &mut Lab| on_bench(lab, variant, "litert gpu ×1").next().unwrap().row.clone();
    let (fallen, job) = (of("fp32", &mut lab), of("int8", &mut lab));
    let page = get(&Arc::new(lab), &format!("/jobs/{}?against={}", job.id, fallen.short)).await;
    let card = card(&page, "On the same examples");
    assert!(card.contains("litert gpu ×1") && card.contains("fell back"), "{card}");
}

#[tokio::test]
async fn a_night_of_a_hundred_devices_is_whole_in_the_data_and_its_page_says_what_it_leaves_out() {
    let lab = Arc::new(Lab::of_night(100, 12));
    let night = data(&lab, "").await;
    let devices = |key: &str| -> BTreeSet<String> {
        let jobs = list(&night, key).iter().map(|row| row.get("accelerated").unwrap_or(row));
        let names = jobs.map(|row| row["job"]["device_name"].as_str().unwrap().to_owned());
        names.filter(|name| name.starts_with("phone ")).collect()
    };
    assert_eq!((devices("outputs").len(), devices("against_cpu").len()), (100, 100));
    assert_eq!(night["older_jobs"], false);

    lab.metrics_read.store(0, Ordering::Relaxed);
    let page = get(&lab, PAGE).await;
    let read = lab.metrics_read.load(Ordering::Relaxed);
    assert!(read <= 5 * lab.jobs.len(), "{read} metrics of {} jobs", lab.jobs.len());
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    let outputs = card(&page, "Outputs against the references");
    assert_eq!(outputs.matches("data-row").count(), 200);
    let rest = list(&night, "outputs").len() - 200;
    assert!(
        outputs.contains(&format!("{} more rows are in the exports.", seatrial_dashboards::format::count(rest as u64)))
    );
    assert!(outputs.contains("the device that is chosen above come first"));
    assert!(!page.contains("looks back on the last"), "nothing is older");

    let last = lab.devices.last().unwrap();
    let chosen = get(&lab, &format!("{PAGE}?device={}", last.id)).await;
    for heading in ["Outputs against the references", "Accelerator against CPU"] {
        let first = card(&chosen, heading).split("data-row").nth(1).unwrap();
        assert!(first.contains("phone 099"), "{heading}: {first}");
    }

    let lab = Arc::new(Lab::of_night(100, 21));
    assert_eq!(data(&lab, "").await["older_jobs"], true);
    assert!(get(&lab, PAGE).await.contains("looks back on the last 2,000 jobs"));
    assert!(get(&lab, &format!("{PAGE}?lang=zh")).await.contains("最近的 2,000 个作业"));
}

#[tokio::test]
async fn pairs_beyond_the_bound_are_counted() {
    let mut lab = Lab::of_night(1, 120);
    let phone = lab.devices.last().unwrap().id;
    let lower: Vec<Job> = lab.jobs.iter().filter(|job| job.row.device == phone).map(copy).collect();
    let version = &lab.models[0].versions[0];
    let [fp32, int8] = [0, 1].map(|place| version.variants[place].clone());
    for job in lab.jobs.iter_mut().filter(|job| job.row.device == phone) {
        end(job, Outcome::Ok);
        (job.row.variant, job.row.variant_id) = (fp32.name.clone(), fp32.id);
    }
    lab.jobs.extend(lower);
    for job in lab.jobs.iter_mut().rev().take(120) {
        end(job, Outcome::Ok);
        (job.row.variant, job.row.variant_id) = (int8.name.clone(), int8.id);
    }
    let page = get(&Arc::new(lab), &format!("{PAGE}?device={phone}")).await;
    assert!(
        card(&page, "On the same examples").contains("Only the first 100 pairs are compared; 20 more are left out")
    );
}

/// The same under another id.
fn copy(job: &Job) -> Job {
    let id = seatrial_core::ids::JobId::new(fixture::before(100), {
        let digest = seatrial_core::digest::Digest::of(job.row.id.to_string().as_bytes());
        std::array::from_fn(|place| digest.as_bytes()[place])
    });
    let row = seatrial_core::store::JobRow { id, short: id.short(), ..job.row.clone() };
    Job { row, spec: job.spec.clone(), attempts: job.attempts.clone() }
}

#[tokio::test]
async fn the_page_names_every_device_that_failed_whichever_is_chosen() {
    let lab = Arc::new(Lab::of_night(30, 12));
    let query = format!("&device={}", lab.devices.last().unwrap().id);
    let night = data(&lab, &query).await;
    let failing: Vec<(&str, usize)> = list(&night, "failures")
        .iter()
        .map(|device| (device["device_name"].as_str().unwrap(), list(device, "failed").len()))
        .filter(|(name, _)| name.starts_with("phone "))
        .collect();
    assert_eq!(failing, [("phone 000", 5), ("phone 010", 5), ("phone 020", 5)]);
    let page = get(&lab, &format!("{PAGE}?x=y{query}")).await;
    let card_of_failures = card(&page, "Devices with failures");
    let row = card_of_failures.split("data-row").find(|row| row.contains("phone 010")).unwrap();
    assert!(row.contains("5 of 12") && row.contains("and 2 more"), "{row}");
    assert_eq!(row.matches("crash_signal SEGV").count(), 3, "{row}");

    // And where its numbers would stand.
    let rows = list(&night, "outputs").iter().filter(|row| row["job"]["run_number"] == 700);
    let died: Vec<&Value> = rows.filter(|row| row["max_abs"].is_null()).collect();
    assert_eq!(died.len(), 15, "{died:#?}");
    assert!(died.iter().all(|row| row["job"]["outcome"] != "ok"), "{died:#?}");
    let first = lab.devices.iter().find(|device| device.name == "phone 000").unwrap();
    let page = get(&lab, &format!("{PAGE}?device={}", first.id)).await;
    let outputs = card(&page, "Outputs against the references");
    let row = outputs.split("data-row").find(|row| row.contains("phone 000")).unwrap();
    assert!(row.contains("process died") && row.contains("the job kept no outputs"), "{row}");
}

#[tokio::test]
async fn results_say_their_dataset_when_there_are_several() {
    let one = Lab::full();
    let page = get(&one, &format!("{PAGE}?x=y{}", bench(&one))).await;
    assert!(!card(&page, "Results").contains(">Dataset<"));
    let mut lab = Lab::build();
    on_bench(&mut lab, "fp32", "tract cpu ×1").for_each(|job| job.row.dataset = Some("digits-b".to_owned()));
    let page = get(&Arc::new(lab), &format!("{PAGE}?x=y{}", bench(&one))).await;
    let results = card(&page, "Results");
    assert!(
        results.contains(">Dataset<") && results.contains(">digits-b<") && results.contains(">digits<"),
        "{results}"
    );
}

#[tokio::test]
async fn outputs_are_held_against_those_of_an_x86_cpu_and_its_same_backend() {
    let lab = Arc::new(Lab::with_outputs());
    let page = data(&lab, "").await;
    let rows = list(&page, "outputs");
    let mut held = 0;
    for row in rows {
        let (job, apart) = (&row["job"], &row["apart"]);
        let device = lab.devices.iter().position(|device| job["device_name"] == *device.name).unwrap();
        if row["max_abs"].is_null() {
            assert_eq!(apart["absent"], "the job kept no outputs", "{row:#}");
        } else if device == 6 && job["backend"] == "tract cpu ×1" {
            assert_eq!(apart, "reference", "{row:#}");
        } else {
            let from = &apart["from"];
            assert_eq!((&from["device"], &from["backend"]), (&"bench-host".into(), &"tract cpu ×1".into()), "{row:#}");
            assert_eq!((&from["elements"], &from["not_finite"]), (&3600.into(), &0.into()), "{row:#}");
            assert_eq!(from["max_abs"].as_f64().unwrap(), STEP * device.abs_diff(6) as f64, "{row:#}");
            assert!(from["cosine"].as_f64().unwrap() > 0.999, "{row:#}");
            held += 1;
        }
    }
    assert!(held > 10, "{rows:#?}");
    let text = get(&lab, PAGE).await;
    let card = card(&text, "Outputs against the references");
    assert!(card.contains("reference device") && card.contains("bench-host, tract cpu ×1"), "{card}");
    let chinese = get(&lab, &format!("{PAGE}?lang=zh")).await;
    assert!(chinese.contains("参考设备") && chinese.contains("bench-host，tract cpu ×1"));
}

#[tokio::test]
async fn without_an_x86_cpu_the_first_valid_row_is_the_reference() {
    let mut lab = Lab::with_outputs();
    lab.devices.iter_mut().for_each(|device| "arm64-v8a".clone_into(&mut device.profile.abi));
    let page = data(&Arc::new(lab), &format!("&device={}", Lab::full().devices[0].id)).await;
    let reference = list(&page, "outputs").iter().filter(|row| row["apart"] == "reference");
    let reference: Vec<_> = reference.map(|row| (&row["job"]["variant"], &row["job"]["device_name"])).collect();
    assert_eq!(reference.len(), 2, "one a variant: {reference:?}");
    assert!(reference.iter().all(|(_, device)| **device == "HUAWEI Mate 70"), "{reference:?}");
}

#[tokio::test]
async fn outputs_that_cannot_be_compared_say_why_and_values_that_are_no_numbers_are_counted() {
    let mut lab = Lab::with_outputs();
    let phones = ["Xiaomi 15", "Xiaomi 15 №2", "vivo X200", "HUAWEI Mate 70"];
    for (phone, name) in phones.into_iter().enumerate() {
        let of_phone = |job: &&mut Job| {
            (job.row.device_name.as_str(), job.row.model.as_str()) == (name, "digits-cnn")
                && (job.row.variant.as_str(), job.row.backend.as_str()) == ("fp32", "tract cpu ×1")
                && job.row.finished_at.is_some()
        };
        for job in lab.jobs.iter_mut().filter(of_phone) {
            let report = job.attempts.last_mut().unwrap().1.as_mut();
            match (phone, report) {
                (0, Some(report)) => report.golden[0].kept = None,
                (1, Some(report)) => report.golden[0].comparison.examples += 1,
                (2, Some(_)) => job.spec.dataset.as_mut().unwrap().digest = seatrial_core::digest::Digest::of(b"other"),
                (_, Some(_)) => {
                    end(job, Outcome::Ok);
                    job.keep(|i| if i < 4 { f64::NAN } else { 1.0 });
                }
                (_, None) => {}
            }
        }
    }
    let page = data(&Arc::new(lab), "").await;
    let apart = |name: &str| {
        let mut rows = list(&page, "outputs").iter().filter(|row| {
            (&row["job"]["device_name"], &row["job"]["variant"], &row["job"]["backend"])
                == (&name.into(), &"fp32".into(), &"tract cpu ×1".into())
        });
        rows.next().unwrap_or_else(|| panic!("no row of {name}"))["apart"].clone()
    };
    assert_eq!(apart("Xiaomi 15")["absent"], "the values of output scores were not kept");
    assert_eq!(apart("Xiaomi 15 №2")["absent"], "3600 values were kept, and the outputs of the report have 3610");
    assert_eq!(apart("vivo X200")["absent"], "the other device ran another version of the dataset");
    let mate = &apart("HUAWEI Mate 70")["from"];
    assert_eq!((&mate["not_finite"], &mate["elements"]), (&4.into(), &3596.into()), "{mate:#}");
}

#[tokio::test]
async fn a_program_that_plays_a_gpu_is_named_once_as_one() {
    let mut lab = Lab::build();
    let job = on_bench(&mut lab, "fp32", "tract cpu ×1").next().unwrap();
    let id = job.row.id;
    for report in job.attempts.iter_mut().filter_map(|attempt| attempt.1.as_mut()) {
        let name = "llvmpipe (LLVM 19.1.7, 256 bits), software".to_owned();
        report.actual.device = Reading::Present(ComputeDevice { name, software: true });
    }
    let lab = Arc::new(lab);
    let page = get(&lab, &format!("/jobs/{id}")).await;
    assert!(page.contains("llvmpipe (LLVM 19.1.7, 256 bits), a program on the CPU"), "{page}");
    let chinese = get(&lab, &format!("/jobs/{id}?lang=zh")).await;
    assert!(chinese.contains("llvmpipe (LLVM 19.1.7, 256 bits)（在 CPU 上运行的软件）"), "{chinese}");
}

#[tokio::test]
async fn three_precisions_of_a_version_stand_side_by_side_and_one_that_nobody_knows_says_so() {
    let mut lab = Lab::with_outputs();
    on_bench(&mut lab, "fp32", "litert gpu ×1").for_each(|job| {
        end(job, Outcome::Ok);
        (job.row.variant, job.spec.model.variant) = ("fp16".into(), "fp16".into());
        job.spec.model.precision = Precision::Fp16;
    });
    let model = lab.models.iter_mut().find(|model| model.name == "digits-cnn").unwrap();
    let variants = &mut model.versions[0].variants;
    let mut half = variants[0].clone();
    (half.name, half.precision) = ("fp16".into(), Precision::Fp16);
    half.signature.precision_from = Some(PrecisionFrom::Assumed);
    variants.push(half);
    let (query, lab) = (bench(&lab), Arc::new(lab));
    let data = data(&lab, &query).await;
    let measured: BTreeSet<&str> =
        list(&data, "results").iter().map(|row| row["job"]["variant"].as_str().unwrap()).collect();
    assert_eq!(measured, BTreeSet::from(["fp16", "fp32", "int8"]));
    let listed = data["model"]["versions"][0]["variants"].as_array().unwrap();
    assert_eq!(listed[2]["signature"]["precision_from"], "assumed", "{listed:#?}");
    let page = get(&lab, &format!("{PAGE}?x=y{query}")).await;
    let variants = card(&page, "Variants");
    for (name, precision) in [("fp32", "fp32"), ("fp16", "fp16 (assumed)"), ("int8", "int8")] {
        let row = format!("<th scope=\"row\">{name}</th><td>onnx</td><td>{precision}</td>");
        assert!(variants.contains(&row), "{row}: {variants}");
        assert!(card(&page, "Results").contains(name), "{name}");
    }
    let chinese = get(&lab, &format!("{PAGE}?lang=zh{query}")).await;
    assert!(chinese.contains("<td>fp16（假定）</td>"), "{chinese}");
}
