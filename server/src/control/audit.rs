//! The audit log, for those who answer for the server.

use seatrial_core::ids::AuditId;
use seatrial_proto::v1::audit_server::Audit;
use seatrial_proto::v1::{ListAuditRequest, ListAuditResponse};
use tonic::{Request, Response, Status};

use super::pages::Room;
use super::{Called, Control, convert, validate};
use crate::error::Error;

const MAX_PAGE: u32 = 1000;
const DEFAULT_PAGE: u32 = 100;

#[tonic::async_trait]
impl Audit for Control {
    async fn list(&self, request: Request<ListAuditRequest>) -> Result<Response<ListAuditResponse>, Status> {
        let Called { caller, note: _, message: ListAuditRequest { before, limit } } = Called::from(request)?;
        let before = before.map(|id| validate::word::<AuditId>("before", &id)).transpose()?;
        let limit = if limit == 0 { DEFAULT_PAGE } else { limit.min(MAX_PAGE) };
        let found = self.store.audit(caller.project, before, limit).await.map_err(Error::from)?;
        let mut room = Room::default();
        let entries = found.into_iter().map(convert::audit).take_while(|entry| room.holds(entry)).collect();
        Ok(Response::new(ListAuditResponse { entries }))
    }
}
