//! Bearer tokens: 256 random bits, shown once, stored only as their BLAKE3 digest.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use seatrial_core::digest::Digest;

/// What a secret is good for; its prefix says so to people and to secret scanners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person's or a device's token: `st_…`.
    Token,
    /// A one-time right for a device to join: `se_…`.
    Enrolment,
    /// What a run brings to reach reserved devices: `sr_…`. It lets nobody in.
    Reservation,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Token, Self::Enrolment, Self::Reservation];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Token => "st_",
            Self::Enrolment => "se_",
            Self::Reservation => "sr_",
        }
    }
}

/// A secret in clear. It cannot be logged by accident: its `Debug` shows the prefix only, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    kind: Kind,
    text: String,
}

impl Secret {
    /// A new secret from 32 bytes of the caller's entropy.
    #[must_use]
    pub fn new(kind: Kind, entropy: [u8; 32]) -> Self {
        Self { kind, text: format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(entropy)) }
    }

    /// Reads a secret as it was shown; `None` for anything that could never have been one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
        let bits = URL_SAFE_NO_PAD.decode(&text[kind.prefix().len()..]).ok()?;
        (bits.len() == 32).then(|| Self { kind, text: text.to_owned() })
    }

    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The text, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is stored, and what a presented secret is looked up by.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.kind.prefix())
    }
}

/// The bearer in a request's `authorization` header: `None` without the header, `Some(Err)` when it holds no secret.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<Result<Secret, NotASecret>> {
    let value = headers.get(AUTHORIZATION)?;
    let text = value.to_str().ok().and_then(|text| {
        let (scheme, rest) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
    });
    Some(text.and_then(Secret::parse).ok_or(NotASecret))
}

/// The header is there and holds nothing that this server ever issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the authorization header holds no token (expected \"Bearer st_…\")")]
pub struct NotASecret;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_as_it_was_shown_and_never_prints_itself() {
        let secret = Secret::new(Kind::Token, [7; 32]);
        assert_eq!(Secret::parse(secret.reveal()), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "st_…");
        assert_eq!(secret.reveal().len(), 3 + 43);
    }

    #[test]
    fn garbage_is_told_from_no_header_at_all() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        for garbage in ["", "Bearer", "Bearer x", "Basic c2VhOnNlYQ==", "Bearer st_short", "Bearer st_é"] {
            headers.insert(AUTHORIZATION, http::HeaderValue::from_bytes(garbage.as_bytes()).unwrap());
            assert_eq!(bearer(&headers), Some(Err(NotASecret)), "{garbage}");
        }
        let secret = Secret::new(Kind::Enrolment, [1; 32]);
        headers.insert(AUTHORIZATION, format!("bearer {}", secret.reveal()).parse().unwrap());
        assert_eq!(bearer(&headers), Some(Ok(secret)));
    }
}
