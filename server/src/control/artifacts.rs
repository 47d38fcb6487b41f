//! Which artifacts are there, and the removal of those that nothing holds.

use std::collections::HashSet;
use std::time::Duration;

use seatrial_core::digest::Digest;
use seatrial_proto::v1::artifacts_server::Artifacts;
use seatrial_proto::v1::{CollectGarbageRequest, CollectGarbageResponse, MissingRequest, MissingResponse};
use tonic::{Request, Response, Status};

use super::{Called, Control, validate};
use crate::artifacts::ArtifactError;
use crate::artifacts::collect::Collected;
use crate::error::{Chain, Code, Error};

const MAX_DIGESTS: usize = 10_000;

#[tonic::async_trait]
impl Artifacts for Control {
    async fn missing(&self, request: Request<MissingRequest>) -> Result<Response<MissingResponse>, Status> {
        let Called { caller: _, note: _, message: MissingRequest { digests } } = Called::from(request)?;
        if digests.len() > MAX_DIGESTS {
            let why = format!("{} digests; at most {MAX_DIGESTS} are answered at once", digests.len());
            return Err(Error::field("digests", why).into());
        }
        let asked: Vec<Digest> = digests
            .iter()
            .enumerate()
            .map(|(index, bytes)| validate::digest(&format!("digests[{index}]"), bytes))
            .collect::<Result<_, _>>()?;
        let present: HashSet<Digest> =
            self.store.artifacts_present(&asked).await.map_err(Error::from)?.into_iter().collect();
        let missing = asked.iter().filter(|digest| !present.contains(digest));
        let digests = missing.map(|digest| digest.as_bytes().to_vec().into()).collect();
        Ok(Response::new(MissingResponse { digests }))
    }

    async fn collect_garbage(
        &self,
        request: Request<CollectGarbageRequest>,
    ) -> Result<Response<CollectGarbageResponse>, Status> {
        let Called { caller: _, note, message } = Called::from(request)?;
        let CollectGarbageRequest { dry_run, min_age_seconds } = message;
        note.object(format!("artifacts older than {min_age_seconds} s{}", if dry_run { ", counted only" } else { "" }));
        let collected = self.artifacts.collect(Duration::from_secs(min_age_seconds), dry_run).await;
        let Collected { artifacts, bytes } = collected.map_err(error)?;
        Ok(Response::new(CollectGarbageResponse { artifacts, bytes }))
    }
}

fn error(error: ArtifactError) -> Error {
    if let ArtifactError::Store(error) = error {
        return error.into();
    }
    tracing::error!(error = %Chain(&error), "garbage could not be collected");
    Error::new(Code::Internal, error.to_string())
}
