//! `reverse:`: ports of the phone that lead to the host. They end with the connection that made them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::streams::Streams;

/// Rules that one connection may have.
const MOST: usize = 64;

struct Rule {
    target: String,
    listener: AbortHandle,
}

impl Drop for Rule {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

pub struct Rules {
    streams: Arc<Streams>,
    rules: Mutex<BTreeMap<String, Rule>>,
}

impl Rules {
    pub fn new(streams: Arc<Streams>) -> Self {
        Self { streams, rules: Mutex::default() }
    }

    /// The answer to what stands behind `reverse:`, byte for byte.
    pub async fn answer(&self, request: &str) -> String {
        let (verb, rest) = request.split_once(':').unwrap_or((request, ""));
        match verb {
            "forward" => self.forward(rest).await,
            "killforward" => match self.lock().remove(rest) {
                Some(_) => "OKAY".to_owned(),
                None => fail(&format!("listener '{rest}' not found")),
            },
            "killforward-all" => {
                self.lock().clear();
                "OKAY".to_owned()
            }
            "list-forward" => {
                let mut list = String::new();
                for (local, rule) in &*self.lock() {
                    let _ = writeln!(list, "(reverse) {local} {}", rule.target);
                }
                counted(&list)
            }
            _ => fail(&format!("unknown request {verb:?}")),
        }
    }

    async fn forward(&self, rule: &str) -> String {
        let (keep, rule) = rule.strip_prefix("norebind:").map_or((false, rule), |rule| (true, rule));
        let Some((local, target)) = rule.split_once(';') else { return fail("malformed forward spec") };
        let Some(port) = local.strip_prefix("tcp:").and_then(|port| port.parse::<u16>().ok()) else {
            return fail(&format!("cannot bind listener: this phone listens on tcp only, not on {local:?}"));
        };
        {
            let mut rules = self.lock();
            if rules.contains_key(local) && keep {
                return fail("cannot rebind existing socket");
            }
            if rules.len() >= MOST {
                return fail("cannot bind listener: too many rules");
            }
            rules.remove(local);
        }
        // The listener of the rule that was replaced goes at its task's next turn.
        tokio::task::yield_now().await;
        let bound = TcpListener::bind(("127.0.0.1", port)).await.and_then(|bound| Ok((bound.local_addr()?, bound)));
        let (address, listener) = match bound {
            Ok(bound) => bound,
            Err(error) => return fail(&format!("cannot bind listener: {}", super::sync::plain(&error))),
        };
        let listener = tokio::spawn(lead(self.streams.clone(), listener, target.to_owned())).abort_handle();
        let name = format!("tcp:{}", address.port());
        self.lock().insert(name, Rule { target: target.to_owned(), listener });
        if port == 0 { format!("OKAY{}", counted(&address.port().to_string())) } else { "OKAY".to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn lead(streams: Arc<Streams>, listener: TcpListener, target: String) {
    while let Ok((peer, _)) = listener.accept().await {
        let (streams, target) = (streams.clone(), target.clone());
        // A refused stream hangs up on whoever has dialled.
        tokio::spawn(async move {
            if let Some(stream) = streams.ask(&target).await {
                streams.carry(stream, peer).await;
            }
        });
    }
}

/// Four hexadecimal digits of length, and the text.
fn counted(text: &str) -> String {
    format!("{:04x}{text}", text.len())
}

fn fail(why: &str) -> String {
    format!("FAIL{}", counted(why))
}
