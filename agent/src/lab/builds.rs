//! Agents for phones: fetched from the server once, by digest, for every phone of the same kind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seatrial_core::agents::AgentBuild;
use seatrial_core::runtimes::Abi;
use tokio::sync::Mutex;

use super::server;
use crate::attempt::StopSignal;
use crate::cache::{Cache, Patience, Remote};
use crate::clock;
use crate::link::Server;

/// Of agents that are kept; one is some 30 MB.
const ROOM: u64 = 2 << 30;
const WITHIN: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub(super) struct Builds {
    cache: Cache,
    folder: PathBuf,
    /// Several phones may want the same build at once, and what arrives has one place.
    fetching: Mutex<()>,
}

/// Why there is no agent.
#[derive(Debug)]
pub(super) enum Missing {
    /// The server has none for any of the ABIs.
    None,
    Failed(String),
}

impl Builds {
    pub(super) fn open(folder: &Path) -> std::io::Result<Self> {
        let folder = folder.join("agents");
        Ok(Self { cache: Cache::open(&folder, ROOM)?, folder, fetching: Mutex::default() })
    }

    /// The server's agent for the first of these ABIs for which it has one, as a file of this computer.
    pub(super) async fn best(&self, server: &Server, abis: &[Abi]) -> Result<(AgentBuild, PathBuf), Missing> {
        let builds = server::newest_builds(server).await.map_err(Missing::Failed)?;
        let best = abis.iter().find_map(|abi| builds.iter().find(|build| build.abi == *abi)).ok_or(Missing::None)?;
        let remote = Remote {
            client: server.http.clone(),
            prefix: format!("{}/artifacts/", server.address),
            token: server.token.clone(),
        };
        let _alone = self.fetching.lock().await;
        let patience = Patience { stop: &StopSignal::default(), begun: clock::boot(), within: WITHIN };
        let fetched = self.cache.obtain(best.digest, best.size, &remote, patience).await;
        fetched.map_err(|error| Missing::Failed(error.to_string()))?;
        Ok((best.clone(), self.folder.join(best.digest.to_string())))
    }
}
