//! Builds of the agent, for the devices.

use seatrial_core::agents::AgentBuild;
use seatrial_core::store::NewAgentBuild;
use seatrial_proto::v1::agents_server::Agents;
use seatrial_proto::v1::{AddAgentRequest, AddAgentResponse, ListAgentsRequest, ListAgentsResponse};
use tonic::{Request, Response, Status};

use super::{Called, Control, convert, validate};
use crate::error::Error;

#[tonic::async_trait]
impl Agents for Control {
    async fn add(&self, request: Request<AddAgentRequest>) -> Result<Response<AddAgentResponse>, Status> {
        let Called { caller, note, message } = Called::from(request)?;
        note.object(format!("agent for {}", validate::shown(&message.abi)));
        let build = checked(&message)?;
        note.object(format!("agent {} for {}", build.version, build.abi));
        note.digests(None, Some(build.digest));
        self.check_artifact("", &build.digest, build.size).await?;
        let new = NewAgentBuild { build, created_by: caller.principal, created_at: self.clock.now() };
        let added = self.store.add_agent_build(&new).await.map_err(Error::from)?;
        Ok(Response::new(AddAgentResponse { added }))
    }

    async fn list(&self, request: Request<ListAgentsRequest>) -> Result<Response<ListAgentsResponse>, Status> {
        let Called { caller: _, note: _, message: ListAgentsRequest {} } = Called::from(request)?;
        let builds = self.store.agent_builds().await.map_err(Error::from)?;
        Ok(Response::new(ListAgentsResponse { builds: builds.into_iter().map(convert::agent_build).collect() }))
    }
}

fn checked(AddAgentRequest { digest, size, abi, version }: &AddAgentRequest) -> Result<AgentBuild, Error> {
    Ok(AgentBuild {
        abi: validate::word("abi", abi)?,
        version: validate::title("version", version)?,
        digest: validate::digest("digest", digest)?,
        size: *size,
    })
}
