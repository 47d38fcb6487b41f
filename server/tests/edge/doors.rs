//! Who may call what: every method and route, for every kind of caller.

use prost::Message as _;
use seatrial_core::ids::EnrolmentId;
use seatrial_core::role::Role;
use seatrial_core::store::{AuditEntry, NewEnrolment};
use seatrial_core::time::{Clock as _, Timestamp};
use seatrial_proto::v1;
use seatrial_proto::v1::agent_service_client::AgentServiceClient;
use seatrial_proto::v1::server_client::ServerClient;
use seatrial_proto::v1::tokens_client::TokensClient;
use seatrial_server::auth::doors::{DOORS, Door, find};
use seatrial_server::auth::token::{Kind, Secret};
use seatrial_server::system::{SystemClock, entropy};
use seatrial_server::{Config, StartError};
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::support::{Lab, PATIENCE, client, eventually};

struct Who {
    name: &'static str,
    bearer: Option<String>,
    /// The role, if the server should know the caller.
    role: Option<Role>,
}

/// One caller of every kind. The last token made is an administrator's, so loopback alone is no way in.
async fn callers(lab: &Lab) -> Vec<Who> {
    let mut callers = Vec::new();
    for role in Role::ALL {
        let (secret, _) = lab.token(role.as_str(), role, None).await;
        callers.push(Who { name: role.as_str(), bearer: Some(secret.reveal().to_owned()), role: Some(role) });
    }
    let (expired, _) = lab.token("expired", Role::Admin, Some(Timestamp::from_micros(1))).await;
    let (revoked, id) = lab.token("revoked", Role::Admin, None).await;
    assert!(lab.server.store.revoke_token(id, Timestamp::from_micros(2)).await.unwrap());
    let unknown = Secret::new(Kind::Token, entropy());
    let enrolment = enrolment(lab).await;
    assert_eq!(enrol(lab, &enrolment).await, Code::Ok);
    let strangers = [
        ("none", None),
        ("garbage", Some("garbage")),
        ("expired", Some(expired.reveal())),
        ("revoked", Some(revoked.reveal())),
        ("unknown", Some(unknown.reveal())),
        ("used enrolment", Some(enrolment.reveal())),
    ];
    callers.extend(strangers.map(|(name, bearer)| Who { name, bearer: bearer.map(str::to_owned), role: None }));
    callers
}

/// A fresh one-time enrolment, straight into the store.
async fn enrolment(lab: &Lab) -> Secret {
    let (_, id) = lab.token("enroller", Role::Operator, None).await;
    let tokens = lab.server.store.tokens().await.unwrap();
    let enroller = tokens.iter().find(|token| token.id == id).unwrap();
    let now = SystemClock::new().now();
    let secret = Secret::new(Kind::Enrolment, entropy());
    let enrolment = NewEnrolment {
        id: EnrolmentId::new(now, entropy()),
        project: enroller.project,
        created_by: enroller.principal,
        hash: secret.hash(),
        created_at: now,
        expires_at: now.plus(PATIENCE),
    };
    lab.server.store.create_enrolment(&enrolment).await.unwrap();
    secret
}

async fn enrol(lab: &Lab, enrolment: &Secret) -> Code {
    let mut agents = AgentServiceClient::connect(lab.server.url()).await.unwrap();
    let evidence = v1::Evidence { machine_id: Some("edge".into()), ..v1::Evidence::default() };
    let mut request = Request::new(v1::EnrolRequest { evidence: Some(evidence) });
    let bearer = format!("Bearer {}", enrolment.reveal());
    request.metadata_mut().insert("authorization", MetadataValue::try_from(bearer).unwrap());
    agents.enrol(request).await.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn an_enrolment_opens_one_door_once() {
    let lab = Lab::start().await;
    let enrolment = enrolment(&lab).await;
    assert_eq!(enrol(&lab, &enrolment).await, Code::Ok);
    assert_eq!(enrol(&lab, &enrolment).await, Code::Unauthenticated, "used up");
    let unknown = Secret::new(Kind::Enrolment, entropy());
    assert_eq!(enrol(&lab, &unknown).await, Code::Unauthenticated);
    // Who joined is in the audit log, once; strangers are not.
    let entries = async || {
        let entries = lab.server.store.audit(lab.project().await, None, 100).await.unwrap();
        entries.into_iter().filter(|entry| entry.row.action == "seatrial.v1.AgentService/Enrol").collect::<Vec<_>>()
    };
    eventually("the audit log has the enrolment", async || !entries().await.is_empty()).await;
    let entries = entries().await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let AuditEntry { row, by } = &entries[0];
    assert!(row.allowed && row.object.starts_with("agent "), "{entries:?}");
    assert!(row.object.starts_with(by.as_deref().unwrap()), "it acts itself: {entries:?}");
}

async fn call(channel: &Channel, method: &str, who: &Who) -> Code {
    let mut request = Request::new(());
    if let Some(bearer) = &who.bearer {
        request.metadata_mut().insert("authorization", MetadataValue::try_from(format!("Bearer {bearer}")).unwrap());
    }
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = format!("/{method}").parse().unwrap();
    let answer = grpc.unary::<(), (), _>(request, path, ProstCodec::default()).await;
    answer.err().map_or(Code::Ok, |status| status.code())
}

fn expected(door: &Door, who: &Who) -> Option<Code> {
    match who.role {
        _ if door.is_open() => None,
        // Its handler judges an enrolment, after the message around it: see the test above.
        _ if door.takes_enrolment() => (who.name != "used enrolment").then_some(Code::Unauthenticated),
        None => Some(Code::Unauthenticated),
        Some(role) if door.admits(role) => None,
        Some(_) => Some(Code::PermissionDenied),
    }
}

fn methods() -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(seatrial_proto::DESCRIPTORS).unwrap();
    let mut methods = Vec::new();
    for file in &files.file {
        for service in &file.service {
            let of_service = service.method.iter();
            methods.extend(of_service.map(|method| format!("{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    methods
}

#[tokio::test]
async fn every_method_opens_for_those_whom_the_table_names_and_nobody_else() {
    let lab = Lab::start().await;
    let callers = callers(&lab).await;
    let channel = Channel::from_shared(lab.server.url()).unwrap().connect().await.unwrap();
    let methods = methods();
    assert!(methods.len() >= 27, "the descriptors hold {} methods", methods.len());
    let mut wrong = Vec::new();
    for method in &methods {
        let door = find(method).unwrap();
        for who in &callers {
            let got = call(&channel, method, who).await;
            let refused = matches!(got, Code::Unauthenticated | Code::PermissionDenied).then_some(got);
            if refused != expected(door, who) {
                wrong.push(format!("{method} as {}: {got:?}", who.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Each write of somebody who is known is in the log once, as it was judged.
    drop(channel);
    let (store, project) = (lab.server.store.clone(), lab.project().await);
    let _folder = lab.stop().await;
    let audit = store.audit(project, None, 10_000).await.unwrap();
    for method in &methods {
        let door = find(method).unwrap();
        let rows = audit.iter().map(|entry| &entry.row);
        let mut entries: Vec<bool> = rows.filter(|row| row.action == *method).map(|row| row.allowed).collect();
        entries.sort_unstable();
        let mut judged: Vec<bool> = Role::ALL.into_iter().map(|role| door.admits(role)).collect();
        judged.sort_unstable();
        let expected = match (door.write, door.takes_enrolment()) {
            (true, false) => judged,
            (true, true) => vec![true], // the one that joined, as itself
            (false, _) => Vec::new(),
        };
        assert_eq!(entries, expected, "{method}");
    }
}

#[tokio::test]
async fn every_route_opens_for_those_whom_the_table_names_and_nobody_else() {
    let lab = Lab::start().await;
    let callers = callers(&lab).await;
    let mut wrong = Vec::new();
    for door in DOORS.iter().filter(|door| door.call.contains(" /")) {
        let (method, path) = door.call.split_once(' ').unwrap();
        // A number stands for every parameter: what it names does not exist.
        let path: String =
            path.split('/').map(|part| if part.starts_with('{') { "9" } else { part }).collect::<Vec<_>>().join("/");
        for who in &callers {
            let mut request = client().request(method.parse().unwrap(), lab.url(&path));
            if let Some(bearer) = &who.bearer {
                request = request.bearer_auth(bearer);
            }
            let answer = request.send().await.unwrap();
            let status = answer.status();
            // Handlers refuse forms without a CSRF token on their own; only the door speaks of roles.
            let text = if status == http::StatusCode::FORBIDDEN { answer.text().await.unwrap() } else { String::new() };
            let got = match status {
                http::StatusCode::UNAUTHORIZED => Some(Code::Unauthenticated),
                http::StatusCode::FORBIDDEN if text.contains("needs the role") => Some(Code::PermissionDenied),
                _ => None,
            };
            if got != expected(door, who) {
                wrong.push(format!("{} as {}: {status} {text}", door.call, who.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn on_loopback_the_user_passes_until_somebody_has_a_token() {
    let lab = Lab::start().await;
    assert_eq!(lab.server.loopback_user.as_deref(), Some(seatrial_server::system::user_name().as_str()));
    let mut info = ServerClient::connect(lab.server.url()).await.unwrap();
    let who = info.info(v1::InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((who.principal.as_str(), who.role.as_str()), (seatrial_server::system::user_name().as_str(), "admin"));

    lab.token("agent", Role::Agent, None).await;
    assert!(info.info(v1::InfoRequest {}).await.is_ok(), "a device's token locks nobody out");

    let mut tokens = TokensClient::connect(lab.server.url()).await.unwrap();
    let request = v1::CreateTokenRequest { name: "ann".into(), role: "admin".into(), valid_seconds: 0 };
    let token = tokens.create(request).await.unwrap().into_inner().token;
    assert_eq!(info.info(v1::InfoRequest {}).await.unwrap_err().code(), Code::Unauthenticated);
    let mut request = Request::new(v1::InfoRequest {});
    request.metadata_mut().insert("authorization", MetadataValue::try_from(format!("Bearer {token}")).unwrap());
    assert_eq!(info.info(request).await.unwrap().into_inner().principal, "ann");
}

#[tokio::test]
async fn a_token_that_has_ended_does_not_open_loopback_again() {
    for (expires_at, revoke) in [(Some(Timestamp::from_micros(1)), false), (None, true)] {
        let lab = Lab::start().await;
        let mut info = ServerClient::connect(lab.server.url()).await.unwrap();
        assert!(info.info(v1::InfoRequest {}).await.is_ok(), "the control: nobody has had a token");
        let (_, id) = lab.token("ann", Role::Admin, expires_at).await;
        if revoke {
            assert!(lab.server.store.revoke_token(id, Timestamp::from_micros(2)).await.unwrap());
        }
        let refused = info.info(v1::InfoRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn who_has_no_token_left_is_given_an_administrators_at_the_next_start() {
    let lab = Lab::with(|config| config.print_admin_token = true).await;
    let first = lab.server.store.tokens().await.unwrap()[0].id;
    assert!(lab.server.store.revoke_token(first, Timestamp::from_micros(2)).await.unwrap());
    let folder = lab.stop().await;
    let config = Config { print_admin_token: true, ..Config::embedded(folder.path().join("data")) };
    let second = seatrial_server::start(config).await.unwrap();
    assert!(second.admin_token.is_some());
    second.shutdown(seatrial_server::Shutdown::Hard).await;
}

#[tokio::test]
async fn an_address_that_others_reach_needs_tls_and_tokens_or_a_shrug() {
    let folder = tempfile::tempdir().unwrap();
    let open = Config { listen: "0.0.0.0:0".parse().unwrap(), ..Config::embedded(folder.path().join("data")) };
    let refused = seatrial_server::start(open.clone()).await.err().unwrap();
    assert!(matches!(refused, StartError::NoTls { .. }), "{refused}");

    let tls = crate::tls::Files::new(folder.path());
    let with_tls = Config { tls: Some(tls.server()), ..open.clone() };
    let refused = seatrial_server::start(with_tls.clone()).await.err().unwrap();
    assert!(matches!(refused, StartError::NoTokens { .. }), "{refused}");

    let first = seatrial_server::start(Config { print_admin_token: true, ..with_tls.clone() }).await.unwrap();
    assert!(first.admin_token.is_some() && first.loopback_user.is_none());
    first.shutdown(seatrial_server::Shutdown::Hard).await;
    let second = seatrial_server::start(Config { print_admin_token: true, ..with_tls }).await.unwrap();
    assert_eq!(second.admin_token, None, "it is shown once");
    second.shutdown(seatrial_server::Shutdown::Hard).await;
    let shrug = seatrial_server::start(Config { insecure: true, ..open }).await.unwrap();
    shrug.shutdown(seatrial_server::Shutdown::Hard).await;
}

#[tokio::test]
async fn a_revoked_token_ends_its_streams() {
    let lab = Lab::start().await;
    let (admin, _) = lab.token("admin", Role::Admin, None).await;
    let (agent, agent_id) = lab.token("agent", Role::Agent, None).await;
    let bearer = |secret: &Secret| MetadataValue::try_from(format!("Bearer {}", secret.reveal())).unwrap();
    // It has not said who it is yet: only the door can end it at once.
    let mut session = Request::new(futures::stream::pending());
    session.metadata_mut().insert("authorization", bearer(&agent));
    let mut agents = AgentServiceClient::connect(lab.server.url()).await.unwrap();
    let mut messages = agents.open_session(session).await.unwrap().into_inner();

    let mut revoke = Request::new(v1::RevokeTokenRequest { id: agent_id.to_string() });
    revoke.metadata_mut().insert("authorization", bearer(&admin));
    TokensClient::connect(lab.server.url()).await.unwrap().revoke(revoke).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, messages.message()).await.unwrap().unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::Unauthenticated, "the token was revoked"));
}

#[tokio::test]
async fn a_token_that_was_revoked_and_whose_streams_were_not_ended_is_revoked_again() {
    let lab = Lab::start().await;
    let (admin, _) = lab.token("admin", Role::Admin, None).await;
    let (agent, agent_id) = lab.token("agent", Role::Agent, None).await;
    let bearer = |secret: &Secret| MetadataValue::try_from(format!("Bearer {}", secret.reveal())).unwrap();
    let mut session = Request::new(futures::stream::pending());
    session.metadata_mut().insert("authorization", bearer(&agent));
    let mut agents = AgentServiceClient::connect(lab.server.url()).await.unwrap();
    let mut messages = agents.open_session(session).await.unwrap().into_inner();

    // As a server leaves it that stops between the two.
    assert!(lab.server.store.revoke_token(agent_id, Timestamp::from_micros(1)).await.unwrap());
    let mut revoke = Request::new(v1::RevokeTokenRequest { id: agent_id.to_string() });
    revoke.metadata_mut().insert("authorization", bearer(&admin));
    let again = TokensClient::connect(lab.server.url()).await.unwrap().revoke(revoke).await.unwrap_err();
    assert!(again.message().contains("was revoked before"), "{again}");
    let end = tokio::time::timeout(PATIENCE, messages.message()).await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unauthenticated);
}
