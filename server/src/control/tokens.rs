//! Tokens of people, and one-time enrolments of devices.

use std::time::Duration;

use seatrial_core::ids::{EnrolmentId, PrincipalId, TokenId};
use seatrial_core::role::Role;
use seatrial_core::store::{NewEnrolment, NewToken};
use seatrial_proto::v1::tokens_server::Tokens;
use seatrial_proto::v1::{
    CreateEnrolmentRequest, CreateEnrolmentResponse, CreateTokenRequest, CreateTokenResponse, ListTokensRequest,
    ListTokensResponse, RevokeTokenRequest, RevokeTokenResponse,
};
use tonic::{Request, Response, Status};

use super::{Called, Control, convert, validate};
use crate::auth::token::{Kind, Secret};
use crate::error::{Code, Error};
use crate::system::entropy;

/// Validity of an enrolment when none is asked for, and at most.
const ENROLMENT: Duration = Duration::from_hours(1);
const MAX_ENROLMENT: Duration = Duration::from_hours(30 * 24);
/// A token with an end lives at most this long.
const MAX_TOKEN: Duration = Duration::from_hours(10 * 366 * 24);

#[tonic::async_trait]
impl Tokens for Control {
    async fn create(&self, request: Request<CreateTokenRequest>) -> Result<Response<CreateTokenResponse>, Status> {
        let Called { caller, note, message: CreateTokenRequest { name, role, valid_seconds } } = Called::from(request)?;
        note.object(format!("token {:?} as {}", validate::shown(&name), validate::shown(&role)));
        let role: Role = validate::word("role", &role)?;
        if role == Role::Agent {
            return Err(Error::field("role", "a device gets its token by enrolling (seatrial token enrol)").into());
        }
        let valid = Duration::from_secs(valid_seconds);
        if valid > MAX_TOKEN {
            return Err(
                Error::field("valid_seconds", format!("at most {} s; 0 for no end", MAX_TOKEN.as_secs())).into()
            );
        }
        let now = self.clock.now();
        let secret = Secret::new(Kind::Token, entropy());
        let token = NewToken {
            id: TokenId::new(now, entropy()),
            principal: PrincipalId::new(now, entropy()),
            project: caller.project,
            name: validate::title("name", &name)?,
            role,
            hash: secret.hash(),
            device: None,
            created_at: now,
            expires_at: (!valid.is_zero()).then(|| now.plus(valid)),
        };
        self.store.create_token(&token).await.map_err(Error::from)?;
        Ok(Response::new(CreateTokenResponse { id: token.id.to_string(), token: secret.reveal().to_owned() }))
    }

    async fn list(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let Called { caller, note: _, message: ListTokensRequest {} } = Called::from(request)?;
        let tokens = self.store.tokens().await.map_err(Error::from)?;
        let ours = tokens.into_iter().filter(|token| token.project == caller.project);
        Ok(Response::new(ListTokensResponse { tokens: ours.map(convert::token).collect() }))
    }

    async fn revoke(&self, request: Request<RevokeTokenRequest>) -> Result<Response<RevokeTokenResponse>, Status> {
        let Called { caller, note, message: RevokeTokenRequest { id } } = Called::from(request)?;
        note.object(format!("token {}", validate::shown(&id)));
        let id: TokenId = validate::word("id", &id)?;
        let tokens = self.store.tokens().await.map_err(Error::from)?;
        if !tokens.iter().any(|token| token.id == id && token.project == caller.project) {
            return Err(Error::not_found(format!("token {id}")).into());
        }
        let is_first = self.store.revoke_token(id, self.clock.now()).await.map_err(Error::from)?;
        // Again and again: whoever revoked it before may not have come to this.
        self.doors.revoked(id);
        if !is_first {
            return Err(Error::new(Code::Conflict, format!("token {id} was revoked before")).into());
        }
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn enrol(
        &self,
        request: Request<CreateEnrolmentRequest>,
    ) -> Result<Response<CreateEnrolmentResponse>, Status> {
        let Called { caller, note, message: CreateEnrolmentRequest { valid_seconds } } = Called::from(request)?;
        let valid = if valid_seconds == 0 { ENROLMENT } else { Duration::from_secs(valid_seconds) };
        if valid > MAX_ENROLMENT {
            return Err(Error::field("valid_seconds", format!("at most {} s", MAX_ENROLMENT.as_secs())).into());
        }
        let now = self.clock.now();
        let secret = Secret::new(Kind::Enrolment, entropy());
        let enrolment = NewEnrolment {
            id: EnrolmentId::new(now, entropy()),
            project: caller.project,
            created_by: caller.principal,
            hash: secret.hash(),
            created_at: now,
            expires_at: now.plus(valid),
        };
        note.object(format!("enrolment {}", enrolment.id));
        self.store.create_enrolment(&enrolment).await.map_err(Error::from)?;
        let expires_us = enrolment.expires_at.as_micros();
        Ok(Response::new(CreateEnrolmentResponse { token: secret.reveal().to_owned(), expires_us }))
    }
}
