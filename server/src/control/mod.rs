//! The control API: one tonic service a resource. Everything that a caller sends is judged here, once; what passes is
//! typed.

mod agents;
mod artifacts;
mod audit;
mod convert;
mod datasets;
mod devices;
mod find;
mod models;
mod pages;
mod problems;
mod quarantines;
mod reservations;
mod results;
mod runs;
mod runtimes;
mod server;
pub mod submissions;
mod tokens;
mod validate;
mod watch;

use std::sync::Arc;

use seatrial_core::store::Store;
use seatrial_core::time::Clock;
use seatrial_proto::MAX_MESSAGE;
use seatrial_proto::v1;
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::artifacts::Artifacts;
use crate::auth::Caller;
use crate::auth::audit::Note;
use crate::auth::layer::Doors;
use crate::error::{Code, Error};
use crate::fleet::Fleet;
pub(crate) use runs::device_names;
use submissions::Submissions;

/// What every service needs. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub store: Arc<dyn Store>,
    pub fleet: Fleet,
    pub clock: Arc<dyn Clock>,
    pub artifacts: Artifacts,
    pub submissions: Submissions,
    pub doors: Doors,
    /// `sqlite` or `postgres`.
    pub database: &'static str,
}

macro_rules! services {
    ($($module:ident::$server:ident),* $(,)?) => {
        impl Control {
            /// Full names of the services.
            pub const SERVICES: &[&str] = &[$(v1::$module::SERVICE_NAME),*];

            /// Adds every service of the control API.
            pub fn add_to(self, routes: Routes) -> Routes {
                routes$(.add_service(
                    v1::$module::$server::new(self.clone())
                        .max_decoding_message_size(MAX_MESSAGE)
                        .max_encoding_message_size(MAX_MESSAGE),
                ))*
            }
        }
    };
}

services! {
    server_server::ServerServer,
    devices_server::DevicesServer,
    reservations_server::ReservationsServer,
    agents_server::AgentsServer,
    models_server::ModelsServer,
    datasets_server::DatasetsServer,
    runtimes_server::RuntimesServer,
    runs_server::RunsServer,
    results_server::ResultsServer,
    tokens_server::TokensServer,
    artifacts_server::ArtifactsServer,
    quarantines_server::QuarantinesServer,
    audit_server::AuditServer,
}

/// A request that came through the door: who sent it, what it says, and where its audit entry gets its object.
struct Called<T> {
    caller: Caller,
    note: Note,
    message: T,
}

impl<T> Called<T> {
    fn from(request: Request<T>) -> Result<Self, Status> {
        let (_, mut extensions, message) = request.into_parts();
        let caller = extensions.remove::<Caller>();
        let caller = caller.ok_or_else(|| Error::new(Code::Internal, "the request came past the door"))?;
        Ok(Self { caller, note: extensions.remove::<Note>().unwrap_or_default(), message })
    }
}
