//! models × variants × datasets × backends × profiles × devices → jobs, and misfits with their reasons.
//!
//! Every cell of that product is either a job or a misfit, in one order that depends on nothing but the suite and the
//! names of the devices. A suite that would run nothing is a fault that its submitter sees.
//!
//! Devices share the specification of their combination, and nothing is built beyond the bounds of a run: who may only
//! ask what a suite would do must not be able to fill the server's memory with the answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::Backend;
use crate::dataset::{Binding, Task, scorer};
use crate::digest::Digest;
use crate::failure::{Quarantines, TripleVersions};
use crate::ids::{DatasetVersionId, DeviceId, VariantId};
use crate::job::{DatasetRef, JobSpec, ModelRef, SPEC_SCHEMA};
use crate::model::{Axis, Signature};
use crate::placement::{Combination, Fit, can_run};
use crate::profile::MeasurementProfile;
use crate::reason::{Code, Reason};
use crate::runtimes::RuntimePackage;
use crate::store::{
    DatasetDetail, DatasetVersionRow, DeviceRow, ModelDetail, NewMisfit, QuarantineRow, TrackRow, VariantRow,
    VersionRow,
};
use crate::suite::problem::{Place, suggest};
use crate::suite::{DatasetPick, MAX_COMBINATIONS, ModelPick, Problem, Suite, VersionPick};

/// Jobs and misfits of one run.
pub const MAX_CELLS: usize = 100_000;
/// Specifications of one run's jobs, in bytes of JSON.
pub const MAX_SPEC_BYTES: usize = 128 << 20;

/// What the names of a suite mean: every model and dataset that [`Suite::models`] and [`Suite::datasets`] list. One
/// that is not here does not exist.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub models: Vec<ModelDetail>,
    pub datasets: Vec<DatasetDetail>,
    /// Every track of the project.
    pub tracks: Vec<TrackRow>,
    /// What fails together and was not lifted.
    pub quarantines: Vec<QuarantineRow>,
}

/// What a run will do.
#[derive(Debug, Clone, Default)]
pub struct Expansion {
    pub jobs: Vec<PlannedJob>,
    pub misfits: Vec<NewMisfit>,
}

/// A job that still lacks its id.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedJob {
    pub device: DeviceId,
    pub device_name: String,
    pub variant: VariantId,
    pub dataset: Option<DatasetVersionId>,
    /// The same for every device of its combination that takes the same runtime package.
    pub spec: Arc<JobSpec>,
}

/// Plans a run of the suite on these devices. `max_jobs` is what the server takes of one run.
pub fn expand(
    suite: &Suite,
    catalog: &Catalog,
    devices: &[DeviceRow],
    max_jobs: usize,
) -> Result<Expansion, Vec<Problem>> {
    let mut problems = Problems { file: &suite.file, found: Vec::new() };
    let variants = choose_variants(suite, catalog, &mut problems);
    let datasets = choose_datasets(suite, catalog, &mut problems);
    let chosen = choose_devices(suite, devices, &mut problems);
    check_scorer_rules(suite, &datasets, &mut problems);
    check_size(suite, variants.len(), datasets.len(), chosen.len(), &mut problems);
    if !problems.found.is_empty() {
        return Err(problems.found);
    }
    let Plan { expansion, max_jobs, jobs, spec_bytes, tracks: _, quarantines: _ } =
        plan(suite, &variants, &datasets, &chosen, Plan::new(max_jobs, catalog));
    let top = Place { line: 1, column: 1 };
    let split = Some("select fewer devices, or split the suite".to_owned());
    if jobs > max_jobs {
        let message =
            format!("the suite expands to {jobs} jobs, and this server accepts {max_jobs} of a run (max_jobs_per_run)");
        problems.add(top, message, split);
        return Err(problems.found);
    }
    if spec_bytes > MAX_SPEC_BYTES {
        let message =
            format!("the specifications of the suite's {jobs} jobs take more than {MAX_SPEC_BYTES} bytes together");
        problems.add(top, message, split);
        return Err(problems.found);
    }
    if expansion.jobs.is_empty() {
        problems.add(
            suite.devices_place,
            "the suite would run nothing: no device can run any of it",
            reasons(&expansion.misfits, devices),
        );
        return Err(problems.found);
    }
    Ok(expansion)
}

/// A variant of the model version that a suite's name means.
struct ChosenVariant<'c> {
    model: &'c str,
    version: &'c VersionRow,
    variant: &'c VariantRow,
    /// The suite's own binding.
    binding: Option<&'c Binding>,
}

/// A dataset version with the name of its dataset; `None` for generated inputs.
type ChosenDataset<'c> = Option<(&'c str, &'c DatasetVersionRow)>;

/// A selected device, or why the selector cannot tell.
struct ChosenDevice<'c> {
    row: &'c DeviceRow,
    undecided: Option<String>,
}

struct Problems<'s> {
    file: &'s str,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, place: Place, message: impl Into<String>, suggestion: Option<String>) {
        let Place { line, column } = place;
        self.found.push(Problem { file: self.file.to_owned(), line, column, message: message.into(), suggestion });
    }
}

// --- names ---

fn choose_variants<'c>(suite: &'c Suite, catalog: &'c Catalog, problems: &mut Problems<'_>) -> Vec<ChosenVariant<'c>> {
    let mut chosen: Vec<ChosenVariant<'c>> = Vec::new();
    for pick in &suite.model_picks {
        let Some((model, version)) = find_version(pick, catalog, problems) else { continue };
        if chosen.iter().any(|earlier| earlier.version.id == version.id) {
            let message =
                format!("version {} of {} is in the suite twice, by number or by alias", version.number, model.name);
            problems.add(pick.place, message, None);
            continue;
        }
        let binding = pick.binding.as_ref();
        for variant in find_variants(pick, version, problems) {
            if let Some(binding) = binding {
                check_binding(pick, binding, variant, problems);
            }
            chosen.push(ChosenVariant { model: &model.name, version, variant, binding });
        }
    }
    chosen
}

fn find_version<'c>(
    pick: &ModelPick,
    catalog: &'c Catalog,
    problems: &mut Problems<'_>,
) -> Option<(&'c ModelDetail, &'c VersionRow)> {
    let Some(model) = catalog.models.iter().find(|model| model.name == pick.name) else {
        let hint = "`seatrial models` lists the models; `seatrial models add` adds one".to_owned();
        problems.add(pick.place, format!("there is no model {:?}", pick.name), Some(hint));
        return None;
    };
    let number = match &pick.version {
        VersionPick::Number(number) => Some(*number),
        VersionPick::Alias(alias) => match model.aliases.iter().find(|row| &row.alias == alias) {
            Some(row) => Some(row.version),
            // A catalog may know the versions of a model and no move of its alias.
            None if alias == "latest" => model.versions.iter().map(|version| version.number).max(),
            None => {
                let aliases = model.aliases.iter().map(|row| row.alias.as_str());
                let hint = suggest(alias, aliases, "its aliases are");
                problems.add(pick.place, format!("model {:?} has no alias {alias:?}", pick.name), Some(hint));
                return None;
            }
        },
    };
    let version = model.versions.iter().find(|version| Some(version.number) == number);
    if version.is_none() {
        let newest = model.versions.iter().map(|version| version.number).max();
        let hint = newest.map(|newest| format!("its newest version is {newest}"));
        let wanted = number.map_or_else(|| "any version".to_owned(), |number| format!("version {number}"));
        problems.add(pick.place, format!("model {:?} does not have {wanted}", pick.name), hint);
    }
    version.map(|version| (model, version))
}

fn find_variants<'c>(pick: &ModelPick, version: &'c VersionRow, problems: &mut Problems<'_>) -> Vec<&'c VariantRow> {
    let Some(wanted) = &pick.variants else { return version.variants.iter().collect() };
    let mut found = Vec::new();
    for name in wanted {
        if let Some(variant) = version.variants.iter().find(|variant| &variant.name == name) {
            found.push(variant);
        } else {
            let names = version.variants.iter().map(|variant| variant.name.as_str());
            let message = format!("version {} of model {:?} has no variant {name:?}", version.number, pick.name);
            problems.add(pick.place, message, Some(suggest(name, names, "its variants are")));
        }
    }
    found
}

/// A suite's binding must name what the variant has.
fn check_binding(pick: &ModelPick, binding: &Binding, variant: &VariantRow, problems: &mut Problems<'_>) {
    let Signature { inputs, outputs, precision_from: _ } = &variant.signature;
    if inputs.is_empty() {
        // Nobody has read the file yet: the first device will.
        return;
    }
    let mut refuse = |kind: &str, name: &str, known: Vec<&str>| {
        let hint = suggest(name, known.iter().copied(), "it has");
        let message = format!(
            "the binding of {:?} names the {kind} {name:?}, which variant {:?} does not have",
            pick.name, variant.name
        );
        problems.add(pick.place, message, Some(hint));
    };
    for input in &binding.inputs {
        if !inputs.iter().any(|spec| spec.name == input.tensor) {
            refuse("input", &input.tensor, inputs.iter().map(|spec| spec.name.as_str()).collect());
        }
    }
    for output in binding.outputs() {
        if !outputs.iter().any(|spec| spec.name == output) {
            refuse("output", output, outputs.iter().map(|spec| spec.name.as_str()).collect());
        }
    }
}

fn choose_datasets<'c>(suite: &Suite, catalog: &'c Catalog, problems: &mut Problems<'_>) -> Vec<ChosenDataset<'c>> {
    if suite.dataset_picks.is_empty() {
        return vec![None];
    }
    let mut chosen: Vec<ChosenDataset<'c>> = Vec::new();
    for pick in &suite.dataset_picks {
        let Some((name, version)) = find_dataset(pick, catalog, problems) else { continue };
        if chosen.iter().flatten().any(|(_, earlier)| earlier.id == version.id) {
            let message = format!("version {} of dataset {name:?} is in the suite twice", version.number);
            problems.add(pick.place, message, None);
        }
        chosen.push(Some((name, version)));
    }
    chosen
}

fn find_dataset<'c>(
    pick: &DatasetPick,
    catalog: &'c Catalog,
    problems: &mut Problems<'_>,
) -> Option<(&'c str, &'c DatasetVersionRow)> {
    let Some(dataset) = catalog.datasets.iter().find(|dataset| dataset.name == pick.name) else {
        let hint = "`seatrial datasets` lists the datasets; `seatrial datasets add` adds one".to_owned();
        problems.add(pick.place, format!("there is no dataset {:?}", pick.name), Some(hint));
        return None;
    };
    let newest = dataset.versions.iter().max_by_key(|version| version.number);
    let version = match pick.version {
        None => newest,
        Some(number) => dataset.versions.iter().find(|version| version.number == number),
    };
    if version.is_none() {
        let wanted = pick.version.map_or_else(|| "any version".to_owned(), |number| format!("version {number}"));
        let hint = newest.map(|newest| format!("its newest version is {}", newest.number));
        problems.add(pick.place, format!("dataset {:?} does not have {wanted}", pick.name), hint);
    }
    version.map(|version| (dataset.name.as_str(), version))
}

/// A rule of the gate on a metric that no scorer of its datasets tells would never pass.
fn check_scorer_rules(suite: &Suite, datasets: &[ChosenDataset<'_>], problems: &mut Problems<'_>) {
    let rules = suite.gate.iter().flat_map(|gate| gate.metrics.iter().enumerate());
    for (index, rule) in rules.filter(|(_, rule)| rule.metric.starts_with(scorer::PREFIX)) {
        let matching = datasets.iter().flatten();
        let matching = matching.filter(|(name, _)| rule.dataset.as_deref().is_none_or(|wanted| wanted == *name));
        let scorers = matching.filter_map(|(_, version)| version.scorer.as_ref());
        let known: Vec<String> =
            scorers.flat_map(|scorer| &scorer.metrics).map(scorer::ScorerMetric::full_name).collect();
        if !known.contains(&rule.metric) {
            let message = format!("`gate.metrics[{index}].metric`: no scorer of its datasets tells {:?}", rule.metric);
            let hint = suggest(&rule.metric, known.iter().map(String::as_str), "they tell");
            problems.add(Place { line: 1, column: 1 }, message, (!known.is_empty()).then_some(hint));
        }
    }
}

// --- devices ---

/// Selected devices by name, those of which the selector cannot tell among them.
fn choose_devices<'c>(suite: &Suite, devices: &'c [DeviceRow], problems: &mut Problems<'_>) -> Vec<ChosenDevice<'c>> {
    let mut chosen: Vec<ChosenDevice<'c>> = Vec::new();
    for row in devices {
        match suite.devices.matches(row) {
            Ok(true) => chosen.push(ChosenDevice { row, undecided: None }),
            Ok(false) => {}
            Err(error) => chosen.push(ChosenDevice { row, undecided: Some(error.to_string()) }),
        }
    }
    chosen.sort_by(|a, b| (&a.row.name, a.row.id).cmp(&(&b.row.name, b.row.id)));
    if devices.is_empty() {
        let hint = "start an agent on a device, as in `seatrial agent run`".to_owned();
        problems.add(suite.devices_place, "the fleet has no device", Some(hint));
    } else if chosen.is_empty() {
        let message =
            format!("`devices`: none of the fleet's {} devices is selected by {}", devices.len(), suite.devices);
        problems.add(suite.devices_place, message, closest(suite, devices));
    }
    chosen
}

/// The devices that fail the fewest parts of the selector, each with the first part that it fails.
fn closest(suite: &Suite, devices: &[DeviceRow]) -> Option<String> {
    const SHOWN: usize = 3;
    /// Enough to find something close without judging a large fleet again part by part.
    const LOOKED_AT: usize = 1000;
    let parts = suite.devices.conjuncts();
    let mut near: Vec<(usize, &str, String)> = Vec::new();
    for device in devices.iter().take(LOOKED_AT) {
        let failing: Vec<String> =
            parts.iter().filter(|part| part.matches(device) != Ok(true)).map(ToString::to_string).collect();
        if let Some(first) = failing.first() {
            near.push((failing.len(), &device.name, first.clone()));
        }
    }
    near.sort();
    let words: Vec<String> = near.iter().take(SHOWN).map(|(_, name, part)| format!("{name:?} fails {part}")).collect();
    (!words.is_empty()).then(|| format!("the closest: {}", words.join("; ")))
}

/// The commonest reasons why nothing can run, each with one of its devices.
fn reasons(misfits: &[NewMisfit], devices: &[DeviceRow]) -> Option<String> {
    const SHOWN: usize = 3;
    let mut counts: BTreeMap<&str, (usize, Option<DeviceId>)> = BTreeMap::new();
    for misfit in misfits {
        counts.entry(&misfit.reason).or_insert((0, misfit.device)).0 += 1;
    }
    let mut counts: Vec<(&str, (usize, Option<DeviceId>))> = counts.into_iter().collect();
    counts.sort_by_key(|&(reason, (count, _))| (std::cmp::Reverse(count), reason));
    let name = |id: Option<DeviceId>| {
        devices.iter().find(|device| Some(device.id) == id).map_or("no device", |device| &device.name)
    };
    let words: Vec<String> =
        counts.iter().take(SHOWN).map(|&(reason, (_, device))| format!("{:?}: {reason}", name(device))).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn check_size(suite: &Suite, variants: usize, datasets: usize, devices: usize, problems: &mut Problems<'_>) {
    let product = |factors: &[usize]| factors.iter().fold(1_usize, |product, &factor| product.saturating_mul(factor));
    let combinations = product(&[variants, datasets, suite.backends.len(), suite.profiles.len()]);
    let cells = product(&[combinations, devices]);
    let top = Place { line: 1, column: 1 };
    if combinations > MAX_COMBINATIONS {
        let message = format!(
            "with every variant the suite asks for {combinations} combinations, and at most {MAX_COMBINATIONS} are allowed"
        );
        problems.add(top, message, Some("name the variants, or split the suite".to_owned()));
    } else if cells > MAX_CELLS {
        let message = format!(
            "{combinations} combinations on {devices} devices are {cells} jobs and misfits, and at most {MAX_CELLS} are allowed"
        );
        problems.add(top, message, Some("select fewer devices, or split the suite".to_owned()));
    }
}

// --- the product ---

/// An expansion as it grows. Beyond its bounds jobs are only counted.
struct Plan<'c> {
    tracks: &'c [TrackRow],
    quarantines: Quarantines<'c>,
    expansion: Expansion,
    max_jobs: usize,
    jobs: usize,
    spec_bytes: usize,
}

impl<'c> Plan<'c> {
    fn new(max_jobs: usize, catalog: &'c Catalog) -> Self {
        let quarantines = Quarantines::of(&catalog.quarantines);
        Self { tracks: &catalog.tracks, quarantines, expansion: Expansion::default(), max_jobs, jobs: 0, spec_bytes: 0 }
    }
}

fn plan<'c>(
    suite: &Suite,
    variants: &[ChosenVariant<'_>],
    datasets: &[ChosenDataset<'_>],
    devices: &[ChosenDevice<'_>],
    mut plan: Plan<'c>,
) -> Plan<'c> {
    for variant in variants {
        for &dataset in datasets {
            let binding = binding_for(variant, dataset.map(|(name, _)| name));
            let unfed = open_axis(&variant.variant.signature, &binding, dataset.is_some())
                .or_else(|| dataset.and_then(|(_, version)| unread(version.task, &binding)));
            for backend in &suite.backends {
                for profile in &suite.profiles {
                    let mut cell = Cell {
                        suite,
                        variant,
                        dataset,
                        binding: &binding,
                        unfed: unfed.as_ref(),
                        backend,
                        profile,
                        built: Vec::new(),
                    };
                    for device in devices {
                        cell.place(device, &mut plan);
                    }
                }
            }
        }
    }
    plan
}

/// One combination, before devices.
struct Cell<'a> {
    suite: &'a Suite,
    variant: &'a ChosenVariant<'a>,
    dataset: ChosenDataset<'a>,
    binding: &'a Binding,
    /// Why no inputs can be made, or no answers read.
    unfed: Option<&'a Reason>,
    backend: &'a Backend,
    profile: &'a MeasurementProfile,
    /// Its specifications and the bytes that they take: one for each package that its devices take.
    built: Vec<(Option<Digest>, Arc<JobSpec>, usize)>,
}

impl Cell<'_> {
    fn place(&mut self, device: &ChosenDevice<'_>, plan: &mut Plan<'_>) {
        let fit = match (&device.undecided, self.unfed) {
            (Some(undecided), _) => Fit::Misfit(Reason::from(undecided.as_str())),
            (None, Some(unfed)) => Fit::Misfit(unfed.clone()),
            (None, None) => can_run(&self.combination(), device.row, plan.tracks),
        };
        let fit = match fit {
            Fit::Fit(package) => self.in_quarantine(device, package, plan).map_or(Fit::Fit(package), Fit::Misfit),
            misfit @ Fit::Misfit(_) => misfit,
        };
        match fit {
            Fit::Fit(package) => self.add_job(device, package, plan),
            Fit::Misfit(reason) => plan.expansion.misfits.push(NewMisfit {
                model: self.variant.model.to_owned(),
                variant: self.variant.variant.name.clone(),
                dataset: self.dataset.map(|(name, _)| name.to_owned()),
                backend: self.backend.to_string(),
                profile: self.profile.kind.as_str().to_owned(),
                device: Some(device.row.id),
                reason,
            }),
        }
    }

    /// Why it is not tried: it has failed twice as it is.
    fn in_quarantine(
        &self,
        device: &ChosenDevice<'_>,
        package: Option<&RuntimePackage>,
        plan: &Plan<'_>,
    ) -> Option<Reason> {
        let triple = (device.row.id, self.variant.variant.id);
        plan.quarantines.reason(triple, self.backend, || TripleVersions::of(self.backend, package, &device.row.profile))
    }

    fn combination(&self) -> Combination<'_> {
        Combination {
            variant: self.variant.variant,
            backend: self.backend,
            profile: self.profile.kind,
            has_dataset: self.dataset.is_some(),
            scorer: self.dataset.and_then(|(name, version)| Some((name, version.scorer.as_ref()?))),
        }
    }

    fn add_job(&mut self, device: &ChosenDevice<'_>, package: Option<&RuntimePackage>, plan: &mut Plan<'_>) {
        plan.jobs += 1;
        if plan.jobs > plan.max_jobs || plan.spec_bytes > MAX_SPEC_BYTES {
            return;
        }
        let (spec, bytes) = self.built(package);
        plan.spec_bytes = plan.spec_bytes.saturating_add(bytes);
        plan.expansion.jobs.push(PlannedJob {
            device: device.row.id,
            device_name: device.row.name.clone(),
            variant: self.variant.variant.id,
            dataset: self.dataset.map(|(_, version)| version.id),
            spec,
        });
    }

    fn built(&mut self, package: Option<&RuntimePackage>) -> (Arc<JobSpec>, usize) {
        let digest = package.and_then(RuntimePackage::digest);
        if let Some((_, spec, bytes)) = self.built.iter().find(|(known, ..)| *known == digest) {
            return (Arc::clone(spec), *bytes);
        }
        let spec = Arc::new(self.spec(package));
        // One that cannot be written can be neither stored nor sent.
        let bytes = serde_json::to_vec(&spec).map_or(usize::MAX, |json| json.len());
        self.built.push((digest, Arc::clone(&spec), bytes));
        (spec, bytes)
    }

    fn spec(&self, package: Option<&RuntimePackage>) -> JobSpec {
        let ChosenVariant { model, version, variant, binding: _ } = self.variant;
        JobSpec {
            schema: SPEC_SCHEMA,
            model: ModelRef {
                model: (*model).to_owned(),
                version: version.number,
                variant: variant.name.clone(),
                format: variant.format,
                precision: variant.precision,
                manifest: variant.manifest.clone(),
                signature: variant.signature.clone(),
            },
            binding: self.binding.clone(),
            dataset: self.dataset.map(|(name, version)| DatasetRef {
                dataset: name.to_owned(),
                version: version.number,
                digest: version.digest,
                size: version.size,
                task: version.task,
                examples: version.examples,
                scorer: version.scorer.clone(),
            }),
            backend: self.backend.clone(),
            package: package.cloned(),
            profile: self.profile.clone(),
            limits: self.suite.limits.clone(),
            seed: self.suite.seed,
        }
    }
}

/// The suite's binding, else the model version's for this dataset, else its for any, else the empty one.
fn binding_for<'c>(variant: &ChosenVariant<'c>, dataset: Option<&str>) -> Cow<'c, Binding> {
    let of = |wanted: Option<&str>| {
        let bindings = variant.version.bindings.iter();
        bindings.filter(|(name, _)| name.as_deref() == wanted).map(|(_, binding)| binding).next()
    };
    variant
        .binding
        .or_else(|| dataset.and_then(|name| of(Some(name))))
        .or_else(|| of(None))
        .map_or_else(|| Cow::Owned(Binding::default()), Cow::Borrowed)
}

/// Why generated inputs cannot be made: an axis whose size nothing says. A dataset brings the sizes with it.
fn open_axis(signature: &Signature, binding: &Binding, has_dataset: bool) -> Option<Reason> {
    if has_dataset {
        return None;
    }
    let shaped = |tensor: &str| binding.inputs.iter().any(|input| input.tensor == tensor && input.shape.is_some());
    signature.inputs.iter().filter(|input| !shaped(&input.name)).find_map(|input| {
        let open = input.shape.iter().find_map(|axis| match axis {
            Axis::Named(name) if !binding.axes.contains_key(name) => Some(name),
            Axis::Named(_) | Axis::Fixed(_) => None,
        })?;
        Some(Reason::new(Code::OpenAxis, &[("axis", open), ("input", &input.name)]))
    })
}

/// Why the outputs cannot be read as answers: the binding does not say how.
fn unread(task: Task, binding: &Binding) -> Option<Reason> {
    let (missing, key) = match task {
        Task::Detection => (binding.boxes.is_none(), "boxes"),
        Task::Text => (binding.text.is_none(), "text"),
        Task::Classification
        | Task::Segmentation
        | Task::Multilabel
        | Task::Retrieval
        | Task::Regression
        | Task::Golden
        | Task::Custom => return None,
    };
    missing.then(|| Reason::new(Code::UnreadOutputs, &[("key", &key), ("task", &task.as_str())]))
}

#[cfg(test)]
mod tests;
