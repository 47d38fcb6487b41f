//! Backends: every combination of a table's lists.

use std::collections::BTreeMap;

use super::models::judge_name;
use crate::backend::{Accelerator, Affinity, Backend, Provider};
use crate::runtimes::Engine;
use crate::suite::MAX_COMBINATIONS;
use crate::suite::document::Reporter;
use crate::suite::file::{BackendDefaults, BackendTable, OneOrMany, Threads};

pub(super) fn resolve_backends(
    defaults: &BackendDefaults,
    tables: Vec<BackendTable>,
    reporter: &mut Reporter<'_>,
) -> Option<Vec<Backend>> {
    let mut found: BTreeMap<Backend, u32> = BTreeMap::new();
    let mut backends = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let path = format!("backends[{index}]");
        let line = reporter.place(&path).line;
        for backend in multiply(&path, defaults, table, reporter)? {
            if let Some(earlier) = found.get(&backend) {
                let message = format!("`{path}`: \"{backend}\" is a duplicate of line {earlier}");
                reporter.at(&path, message, None);
            } else {
                found.insert(backend.clone(), line);
                backends.push(backend);
            }
        }
    }
    Some(backends)
}

/// Every combination of a table's lists, in the order of its keys.
fn multiply(
    path: &str,
    defaults: &BackendDefaults,
    table: BackendTable,
    reporter: &mut Reporter<'_>,
) -> Option<Vec<Backend>> {
    let BackendTable { runtime, track, accelerator, provider, threads, affinity, precision } = table;
    let Some(runtimes) = list(runtime, defaults.runtime.as_ref()) else {
        let hint = "name it here or in [defaults.backend], as in runtime = \"tract\"".to_owned();
        reporter.at(path, format!("`{path}`: key `runtime` is missing"), Some(hint));
        return None;
    };
    let tracks = optional(list(track, defaults.track.as_ref()));
    for (key, names) in [("runtime", runtimes.iter().collect()), ("track", tracks.iter().flatten().collect::<Vec<_>>())]
    {
        for name in names {
            judge_name(&format!("{path}.{key}"), name, reporter)?;
        }
    }
    let providers = optional(list(provider, defaults.provider.as_ref()));
    let computed_on = placed(list(accelerator, defaults.accelerator.as_ref()), &providers);
    for (runtime, &(accelerator, provider)) in runtimes.iter().flat_map(|it| computed_on.iter().map(move |on| (it, on)))
    {
        judge_provider(path, runtime, accelerator, provider, reporter)?;
    }
    let threads = list(threads, defaults.threads.as_ref()).unwrap_or_else(|| vec![Threads(1)]);
    let affinities = list(affinity, defaults.affinity.as_ref()).unwrap_or_default_one();
    let precisions = optional(list(precision, defaults.precision.as_ref()));
    let lengths = [runtimes.len(), tracks.len(), computed_on.len(), threads.len(), affinities.len(), precisions.len()];
    let count = lengths.into_iter().fold(1, usize::saturating_mul);
    if count > MAX_COMBINATIONS {
        let message =
            format!("`{path}`: its lists multiply to {count} backends, and at most {MAX_COMBINATIONS} are allowed");
        reporter.at(path, message, None);
        return None;
    }
    let affinities: Vec<Affinity> =
        affinities.into_iter().map(|affinity| settle_affinity(path, affinity, reporter)).collect::<Option<_>>()?;
    let mut backends = Vec::with_capacity(count);
    for runtime in &runtimes {
        for track in &tracks {
            for &(accelerator, provider) in &computed_on {
                for &Threads(threads) in &threads {
                    for affinity in &affinities {
                        for &precision in &precisions {
                            let (runtime, track, affinity) = (runtime.clone(), track.clone(), affinity.clone());
                            backends.push(Backend {
                                runtime,
                                track,
                                accelerator,
                                provider,
                                threads,
                                affinity,
                                precision,
                            });
                        }
                    }
                }
            }
        }
    }
    Some(backends)
}

/// Each accelerator with each provider. Without accelerators, what each provider computes on.
fn placed(
    accelerators: Option<Vec<Accelerator>>,
    providers: &[Option<Provider>],
) -> Vec<(Accelerator, Option<Provider>)> {
    let own = |provider: Option<Provider>| provider.map(Provider::accelerator).unwrap_or_default();
    match accelerators {
        None => providers.iter().map(|&provider| (own(provider), provider)).collect(),
        Some(accelerators) => {
            let each = |accelerator| providers.iter().map(move |&provider| (accelerator, provider));
            accelerators.into_iter().flat_map(each).collect()
        }
    }
}

fn judge_provider(
    path: &str,
    runtime: &str,
    accelerator: Accelerator,
    provider: Option<Provider>,
    reporter: &mut Reporter<'_>,
) -> Option<()> {
    let Some(provider) = provider else { return Some(()) };
    let name = provider.as_str();
    let (message, hint) = if runtime != Engine::Onnxruntime.as_str() {
        (format!("{runtime} has no providers"), format!("{name} is a provider of {}", Engine::Onnxruntime))
    } else if provider.accelerator() != accelerator {
        let own = provider.accelerator().as_str();
        let message = format!("{name} computes on the {own}, and the {} is asked for", accelerator.as_str());
        (message, "leave `accelerator` out, or put the two in a table of their own".to_owned())
    } else {
        return Some(());
    };
    reporter.at(&format!("{path}.provider"), format!("`{path}.provider`: {message}"), Some(hint));
    None
}

/// The entry's own values, else the defaults.
fn list<T: Clone>(own: Option<OneOrMany<T>>, default: Option<&OneOrMany<T>>) -> Option<Vec<T>> {
    own.or_else(|| default.cloned()).map(OneOrMany::into_vec)
}

/// A list of wanted values, or the one wish that nothing be asked for.
fn optional<T>(list: Option<Vec<T>>) -> Vec<Option<T>> {
    list.map_or_else(|| vec![None], |values| values.into_iter().map(Some).collect())
}

trait OrDefaultOne<T> {
    fn unwrap_or_default_one(self) -> Vec<T>;
}

impl<T: Default> OrDefaultOne<T> for Option<Vec<T>> {
    fn unwrap_or_default_one(self) -> Vec<T> {
        self.unwrap_or_else(|| vec![T::default()])
    }
}

/// CPUs in order and each once, so that equal affinities are written alike.
fn settle_affinity(path: &str, affinity: Affinity, reporter: &mut Reporter<'_>) -> Option<Affinity> {
    match affinity {
        Affinity::Cpus(mut cpus) => {
            cpus.sort_unstable();
            cpus.dedup();
            if cpus.is_empty() || cpus.len() > 1024 {
                reporter.at(&format!("{path}.affinity"), format!("`{path}.affinity`: expected 1 to 1024 CPUs"), None);
                return None;
            }
            Some(Affinity::Cpus(cpus))
        }
        Affinity::Any | Affinity::Little | Affinity::Mid | Affinity::Big | Affinity::Prime => Some(affinity),
    }
}
