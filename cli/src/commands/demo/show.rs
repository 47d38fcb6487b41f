//! What a demo has found: tables for a person, JSON for a program.

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::device::Profile;
use seatrial_core::energy::{Energy, Grade, metrics};
use seatrial_core::job::JobSpec;
use seatrial_core::profile::ProfileKind;
use seatrial_core::reading::Reading;
use seatrial_core::report::Report;
use seatrial_proto::v1;
use serde_json::{Value, json};

use crate::client::Client;
use crate::commands::{follow, results};
use crate::error::Result;
use crate::output::{self, Output, json};

/// A run that has ended, and of its jobs what no metric tells.
pub(super) struct Evaluated {
    pub run: v1::GetRunResponse,
    /// By job: what each measurement of energy came to, for its grade with the reason.
    energies: BTreeMap<String, Energy>,
}

impl Evaluated {
    pub(super) async fn of(client: &Client, run: v1::GetRunResponse) -> Result<Self> {
        let mut energies = BTreeMap::new();
        for job in run.jobs.iter().filter(|job| measures_energy(job)) {
            let v1::GetJobResponse { spec_json, report_json, .. } = results::get_job(client, &job.id).await?;
            let spec: Option<JobSpec> = serde_json::from_str(&spec_json).ok();
            let report: Option<Report> = report_json.and_then(|text| serde_json::from_str(&text).ok());
            if let Some((spec, record)) = spec.zip(report.and_then(|report| report.energy)) {
                energies.insert(job.id.clone(), record.energy(spec.seed));
            }
        }
        Ok(Self { run, energies })
    }

    pub(super) fn print(&self, output: Output) -> Result<()> {
        let v1::GetRunResponse { run, jobs, misfits, .. } = &self.run;
        if let Some(summary) = run {
            output::note(&format!("{}\n", output::run::sentence(summary)));
        }
        follow::results(jobs, output::run::Ids::Hidden, output)?;
        if !misfits.is_empty() {
            output::print_text("")?;
            output.table(output::run::misfits(misfits))?;
        }
        Ok(())
    }

    /// The grade with its reason; `null` of a job that measures no energy.
    fn energy(&self, job: &v1::Job) -> Value {
        if !measures_energy(job) {
            return Value::Null;
        }
        let Some(energy) = self.energies.get(&job.id) else {
            let grade = job.metrics.iter().find(|metric| metric.name == metrics::GRADE);
            let why = grade.and_then(|grade| grade.absent.clone()).or_else(|| job.message.clone());
            return json!({ "grade": Grade::E4.as_str(), "reason": why, "pairs": 0 });
        };
        json!({ "grade": energy.grade.as_str(), "reason": energy.why.text(), "pairs": energy.pairs })
    }
}

fn measures_energy(job: &v1::Job) -> bool {
    job.profile == ProfileKind::Energy.as_str()
}

/// Every job, and of simulated phones what they are, with what was found on each.
pub(super) fn json(evaluated: &[Evaluated], phones: Option<&[v1::Device]>) -> Value {
    let jobs = || evaluated.iter().flat_map(|ended| ended.run.jobs.iter().map(move |job| (ended, job)));
    let Some(phones) = phones else {
        return json!({ "jobs": jobs().map(|(_, job)| json::demo_job(job)).collect::<Vec<_>>() });
    };
    let profiles: BTreeMap<&str, Option<Profile>> =
        phones.iter().map(|phone| (phone.id.as_str(), serde_json::from_str(&phone.profile_json).ok())).collect();
    let shown = jobs().map(|(ended, job)| {
        let profile = profiles.get(job.device.as_str()).and_then(Option::as_ref);
        let mut shown = json::demo_job(job);
        shown["simulated"] = json!(profile.map(|profile| profile.simulated));
        shown["energy"] = ended.energy(job);
        shown
    });
    let devices = phones.iter().map(|phone| {
        let profile = profiles.get(phone.id.as_str()).and_then(Option::as_ref);
        let own: Vec<(&Evaluated, &v1::Job)> = jobs().filter(|(_, job)| job.device == phone.id).collect();
        let mut shown = phone_json(phone, profile);
        shown["results"] = found(&own);
        shown
    });
    json!({ "devices": devices.collect::<Vec<_>>(), "jobs": shown.collect::<Vec<_>>() })
}

fn phone_json(device: &v1::Device, profile: Option<&Profile>) -> Value {
    let fact = |part: fn(&Profile) -> &Reading<String>| profile.and_then(|profile| part(profile).present().cloned());
    let rom = profile.and_then(|profile| profile.findings.as_ref()?.rom.present()).map(|rom| &rom.value);
    json!({
        "name": device.name,
        "simulated": profile.map(|profile| profile.simulated),
        "brand": fact(|profile| &profile.brand),
        "model": fact(|profile| &profile.product),
        "rom": fact(|profile| &profile.os),
        "rom_name": rom.map(|rom| &rom.name),
        "rom_version": rom.and_then(|rom| rom.version.present()),
        "soc": fact(|profile| &profile.soc),
        "gpu": fact(|profile| &profile.gpu),
        "gpu_driver": fact(|profile| &profile.gpu_driver),
        "android_api": profile.and_then(|profile| profile.android_api.present()),
    })
}

/// One row a variant of a model: how its jobs ended, how fast and how right it is, and what it costs the battery.
fn found(jobs: &[(&Evaluated, &v1::Job)]) -> Value {
    let variants: BTreeSet<(&str, &str)> =
        jobs.iter().map(|(_, job)| (job.model.as_str(), job.variant.as_str())).collect();
    let row = |(model, variant): (&str, &str)| {
        let own = |energy: bool| {
            let mut own =
                jobs.iter().filter(move |(_, job)| (job.model.as_str(), job.variant.as_str()) == (model, variant));
            own.find(|(_, job)| measures_energy(job) == energy)
        };
        let part = |job: &v1::Job, names: &[&str]| {
            let metrics = job.metrics.iter().filter(|metric| names.contains(&metric.name.as_str()));
            let mut part = json!({ "outcome": job.outcome, "invalid": job.invalid });
            for metric in metrics {
                part[metric.name.as_str()] = json::metric(metric);
            }
            part
        };
        let energy = own(true).map(|(ended, job)| {
            let names: Vec<&str> = metrics::NAMES.into_iter().filter(|name| *name != metrics::GRADE).collect();
            let mut part = part(job, &names);
            if let (Some(part), Value::Object(grade)) = (part.as_object_mut(), ended.energy(job)) {
                part.extend(grade);
            }
            part
        });
        json!({
            "model": model,
            "variant": variant,
            "quick": own(false).map(|(_, job)| part(job, &["lat_p50_ms", "lat_p90_ms", "top1"])),
            "energy": energy,
        })
    };
    variants.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, value: Option<f64>, absent: Option<&str>) -> v1::Metric {
        let (name, absent) = (name.to_owned(), absent.map(str::to_owned));
        v1::Metric { name, unit: "mJ".to_owned(), value, absent, ..Default::default() }
    }

    fn ended(profile: &str, metrics: Vec<v1::Metric>) -> Evaluated {
        let job = v1::Job {
            id: "1".to_owned(),
            device: "phone".to_owned(),
            model: "digits".to_owned(),
            variant: "fp32".to_owned(),
            profile: profile.to_owned(),
            outcome: Some("ok".to_owned()),
            metrics,
            ..Default::default()
        };
        let run = v1::GetRunResponse { jobs: vec![job], ..Default::default() };
        Evaluated { run, energies: BTreeMap::new() }
    }

    #[test]
    fn a_phone_has_a_row_with_its_latency_and_what_can_be_said_of_its_energy() {
        let quick = ended("quick", vec![metric("lat_p50_ms", Some(1.5), None), metric("top1", Some(0.97), None)]);
        let bound = "below resolution: at most 12.35 mJ";
        let energy = ended(
            "energy",
            vec![
                metric("energy_per_infer_mj", None, Some(bound)),
                metric("energy_grade", None, Some("the phone was fed")),
            ],
        );
        let phone = v1::Device { id: "phone".to_owned(), name: "P".to_owned(), ..Default::default() };
        let shown = json(&[quick, energy], Some(&[phone]));
        let row = &shown["devices"][0]["results"][0];
        assert_eq!(row["quick"]["lat_p50_ms"]["value"], 1.5, "{shown:#}");
        assert_eq!(row["quick"]["outcome"], "ok");
        let told = &row["energy"];
        assert_eq!(told["energy_per_infer_mj"], json!({ "absent": bound, "at_most": 12.35, "unit": "mJ" }));
        assert_eq!((&told["grade"], &told["reason"]), (&json!("E4"), &json!("the phone was fed")));
        assert_eq!(shown["jobs"][0]["energy"], Value::Null, "it measures none");
        assert_eq!(shown["jobs"][1]["profile"], "energy");
    }

    #[test]
    fn what_is_measured_on_this_machine_has_jobs_alone() {
        let shown = json(&[ended("quick", Vec::new())], None);
        assert_eq!(shown.as_object().map(serde_json::Map::len), Some(1));
    }
}
