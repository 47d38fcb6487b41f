//! What this server is, and who the caller is to it.

use seatrial_proto::v1::server_server::Server;
use seatrial_proto::v1::{InfoRequest, InfoResponse};
use seatrial_proto::{PROTOCOL_MAX, PROTOCOL_MIN};
use tonic::{Request, Response, Status};

use super::{Called, Control};

#[tonic::async_trait]
impl Server for Control {
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let Called { caller, note: _, message: InfoRequest {} } = Called::from(request)?;
        Ok(Response::new(InfoResponse {
            version: crate::VERSION.to_owned(),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            database: self.database.to_owned(),
            role: caller.role.as_str().to_owned(),
            principal: caller.principal_name,
            project: caller.project.to_string(),
        }))
    }
}
