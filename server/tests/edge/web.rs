//! What browsers get, and what pages of strangers cannot do.

use http::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use seatrial_core::role::Role;

use crate::support::{Lab, client};

#[tokio::test]
async fn a_name_that_a_stranger_has_pointed_at_this_machine_is_no_way_in() {
    let lab = Lab::with(|config| config.hosts = vec!["lab.local".into()]).await;
    for (host, expected) in
        [("evil.example", StatusCode::FORBIDDEN), ("localhost:1", StatusCode::OK), ("lab.local", StatusCode::OK)]
    {
        let answer = lab.get("/metrics").header(HOST, host).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{host}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_write_with_the_users_own_rights() {
    let lab = Lab::start().await;
    let digest = seatrial_core::digest::Digest::of(b"x");
    let put = async |origin: Option<&str>| {
        let request = client().put(lab.url(&format!("/artifacts/{digest}"))).body("x");
        let request = origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin));
        request.send().await.unwrap().status()
    };
    assert_eq!(put(Some("http://evil.example")).await, StatusCode::FORBIDDEN);
    assert_eq!(put(Some(&lab.server.url())).await, StatusCode::CREATED);
    assert_eq!(put(None).await, StatusCode::OK, "a command line is no page");
}

#[tokio::test]
async fn a_browser_signs_in_with_a_token_and_out_with_its_own_form() {
    let lab = Lab::start().await;
    let (secret, id) = lab.token("ann", Role::Viewer, None).await;
    let sent = lab.get("/runs?tab=a").header(ACCEPT, "text/html").send().await.unwrap();
    assert_eq!(
        (sent.status(), &sent.headers()[LOCATION]),
        (StatusCode::SEE_OTHER, &"/login?next=/runs%3Ftab%3Da".parse().unwrap())
    );

    let login = async |token: &str, origin: &str| {
        let body = format!("token={token}&next=/runs?tab=a");
        let request = client().post(lab.url("/login")).header("content-type", "application/x-www-form-urlencoded");
        request.header(ORIGIN, origin).body(body).send().await.unwrap()
    };
    assert_eq!(login("st_wrong", &lab.server.url()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(login(secret.reveal(), "http://evil.example").await.status(), StatusCode::FORBIDDEN);
    let welcome = login(secret.reveal(), &lab.server.url()).await;
    assert_eq!(
        (welcome.status(), &welcome.headers()[LOCATION]),
        (StatusCode::SEE_OTHER, &"/runs?tab=a".parse().unwrap())
    );
    let cookie = welcome.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();

    let metrics = async || lab.get("/metrics").header(COOKIE, cookie).send().await.unwrap().status();
    assert_eq!(metrics().await, StatusCode::OK);
    let logout = async |origin: Option<&str>, csrf: &str| {
        let request = client().post(lab.url("/logout")).header("content-type", "application/x-www-form-urlencoded");
        let request = origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin));
        request.header(COOKIE, cookie).body(format!("csrf={csrf}")).send().await.unwrap().status()
    };
    assert_eq!(logout(None, "x").await, StatusCode::FORBIDDEN, "nothing says that the form is ours");
    assert_eq!(logout(Some("http://evil.example"), "x").await, StatusCode::FORBIDDEN);
    assert_eq!(logout(Some(&lab.server.url()), "x").await, StatusCode::FORBIDDEN, "a form of another session");

    lab.server.store.revoke_token(id, seatrial_core::time::Timestamp::from_micros(1)).await.unwrap();
    assert_eq!(metrics().await, StatusCode::UNAUTHORIZED, "the token's end is the session's end");
}

#[tokio::test]
async fn every_answer_tells_browsers_what_not_to_do() {
    let lab = Lab::start().await;
    for path in ["/healthz", "/login", "/", "/no/such/page", "/artifacts/x"] {
        let answer = lab.get(path).send().await.unwrap();
        let headers = answer.headers();
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert!(headers.contains_key("cache-control"), "{path}");
    }
}
