//! Datasets and their versions.

use std::collections::HashSet;

use seatrial_core::accuracy::classification::MAX_CLASSES;
use seatrial_core::dataset::Task;
use seatrial_core::dataset::package::MAX_EXAMPLES;
use seatrial_core::dataset::scorer::Scorer;
use seatrial_core::ids::{DatasetId, DatasetVersionId};
use seatrial_core::store::NewDatasetVersion;
use seatrial_core::time::Timestamp;
use seatrial_proto::v1::datasets_server::Datasets;
use seatrial_proto::v1::{AddDatasetRequest, AddDatasetResponse, ListDatasetsRequest, ListDatasetsResponse};
use tonic::{Request, Response, Status};

use super::{Called, Control, convert, validate};
use crate::auth::Caller;
use crate::error::Error;
use crate::system::entropy;

#[tonic::async_trait]
impl Datasets for Control {
    async fn add(&self, request: Request<AddDatasetRequest>) -> Result<Response<AddDatasetResponse>, Status> {
        let Called { caller, note, message } = Called::from(request)?;
        note.object(format!("dataset {}", validate::shown(&message.name)));
        let version = checked(&caller, message, self.clock.now())?;
        note.digests(None, Some(version.digest));
        self.check_artifact("", &version.digest, version.size).await?;
        let number = self.store.add_dataset_version(&version).await.map_err(Error::from)?;
        note.object(format!("dataset {} version {number}", version.name));
        Ok(Response::new(AddDatasetResponse { version: number }))
    }

    async fn list(&self, request: Request<ListDatasetsRequest>) -> Result<Response<ListDatasetsResponse>, Status> {
        let Called { caller, note: _, message: ListDatasetsRequest {} } = Called::from(request)?;
        let datasets = self.store.datasets(caller.project).await.map_err(Error::from)?;
        Ok(Response::new(ListDatasetsResponse { datasets: datasets.into_iter().map(convert::dataset).collect() }))
    }
}

fn checked(caller: &Caller, message: AddDatasetRequest, now: Timestamp) -> Result<NewDatasetVersion, Error> {
    let AddDatasetRequest { name, digest, size, task, examples, classes, origin, license, scorer_json } = message;
    let task: Task = validate::word("task", &task)?;
    if examples == 0 || examples > MAX_EXAMPLES {
        return Err(Error::field("examples", format!("{examples}; a dataset has 1 to {MAX_EXAMPLES}")));
    }
    if classes.len() > MAX_CLASSES as usize {
        return Err(Error::field("classes", format!("{} classes; at most {MAX_CLASSES} are accepted", classes.len())));
    }
    if task.has_classes() == classes.is_empty() {
        let (name, verb) = (task.as_str(), if classes.is_empty() { "needs" } else { "has no" });
        return Err(Error::field("classes", format!("a {name} dataset {verb} names of classes")));
    }
    let classes: Vec<String> = classes
        .iter()
        .enumerate()
        .map(|(index, class)| validate::title(&format!("classes[{index}]"), class))
        .collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    if let Some(index) = classes.iter().position(|class| !seen.insert(class.as_str())) {
        return Err(Error::field(format!("classes[{index}]"), format!("{:?} is given twice", classes[index])));
    }
    let scorer: Option<Scorer> = match (task == Task::Custom, scorer_json) {
        (true, Some(json)) => Some(validate::json("scorer_json", &json)?),
        (true, None) => return Err(Error::field("scorer_json", "a custom dataset needs a scorer")),
        (false, None) => None,
        (false, Some(_)) => {
            return Err(Error::field("scorer_json", format!("a {} dataset has no scorer", task.as_str())));
        }
    };
    if let Some((key, why)) = scorer.iter().flat_map(Scorer::faults).next() {
        return Err(Error::field(format!("scorer_json.{key}"), why));
    }
    Ok(NewDatasetVersion {
        dataset: DatasetId::new(now, entropy()),
        id: DatasetVersionId::new(now, entropy()),
        project: caller.project,
        name: validate::name("name", &name)?,
        created_by: caller.principal,
        created_at: now,
        digest: validate::digest("digest", &digest)?,
        size,
        task,
        examples,
        classes,
        scorer,
        origin: validate::text("origin", origin)?,
        license: validate::text("license", license)?,
    })
}
