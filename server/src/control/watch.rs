//! A run as it happens: its whole state, every job that changes, its end.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use seatrial_core::ids::{JobId, RunId};
use seatrial_core::job::AttemptRef;
use seatrial_core::live::Event;
use seatrial_core::store::{RunRow, RunState, Store};
use seatrial_proto::v1::{GetRunResponse, RunEvent, run_event};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::convert;
use super::pages::{self, Cursor};
use crate::error::Error;

/// Events that may wait for a slow reader; the watcher waits beyond that, and the fleet never does.
const QUEUE: usize = 16;
/// Events that are looked at together, so that a job that changed ten times is read once.
const TOGETHER: usize = 256;
/// The run is looked at this often though nothing was heard: another replica may have ended it.
const RECHECK: Duration = Duration::from_secs(5);

type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;
type Sender = mpsc::Sender<Result<RunEvent, Status>>;

/// The reader is gone, or has been told of an error that ends the stream.
struct Over;

pub(super) fn watch(
    store: Arc<dyn Store>,
    run: RunId,
    events: Events,
) -> Pin<Box<dyn Stream<Item = Result<RunEvent, Status>> + Send>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let watcher = Watcher { store, run, sender: sender.clone() };
        tokio::select! {
            _ = watcher.follow(events) => {}
            () = sender.closed() => {}
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

struct Watcher {
    store: Arc<dyn Store>,
    run: RunId,
    sender: Sender,
}

/// What a handful of events asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    everything: bool,
    run: bool,
    jobs: BTreeSet<JobId>,
}

impl News {
    fn of(run: RunId, events: &[Event]) -> Self {
        let mut news = Self::default();
        for event in events {
            match *event {
                Event::Gap => news.everything = true,
                Event::Run(other) if other == run => news.run = true,
                Event::Job { run: other, job } if other == run => {
                    news.jobs.insert(job);
                }
                Event::Device(_) | Event::Run(_) | Event::Job { .. } => {}
            }
        }
        news
    }
}

impl Watcher {
    async fn follow(&self, events: Events) -> Result<(), Over> {
        let mut events = events.ready_chunks(TOGETHER);
        let mut known = self.tell_all().await?;
        while known.state == RunState::Running {
            let news = match tokio::time::timeout(RECHECK, events.next()).await {
                Ok(Some(events)) => News::of(self.run, &events),
                Ok(None) => return self.fail(Status::unavailable("the server is shutting down")).await,
                Err(_) => News { run: true, ..News::default() },
            };
            for job in news.jobs {
                self.tell_job(job).await?;
            }
            if news.run || news.everything {
                let now = self.read_run().await?;
                // Changes without events, or events lost: what the reader has is no longer the truth.
                let is_behind = news.everything || now.counts != known.counts;
                known = if is_behind && now.state == RunState::Running { self.tell_all().await? } else { now };
            }
        }
        Ok(())
    }

    /// Sends the whole state; as the end, when the run has ended.
    async fn tell_all(&self) -> Result<RunRow, Over> {
        let run = self.read_run().await?;
        if run.state == RunState::Running {
            self.tell_pages(&run, run_event::Event::Snapshot).await?;
        }
        Ok(run)
    }

    async fn tell_job(&self, id: JobId) -> Result<(), Over> {
        let Some(job) = self.or_fail(self.store.job(id).await.map_err(Error::from)).await? else { return Ok(()) };
        let last = AttemptRef { job: id, attempt: job.attempt };
        let metrics = self.or_fail(self.store.metrics(last).await.map_err(Error::from)).await?;
        self.send(run_event::Event::Job(convert::job(job, metrics))).await
    }

    async fn read_run(&self) -> Result<RunRow, Over> {
        let run = self.store.run(self.run).await.map_err(Error::from);
        let run = self.or_fail(run.and_then(|run| run.ok_or_else(|| Error::not_found("run any more")))).await?;
        if run.state != RunState::Running {
            self.tell_pages(&run, run_event::Event::Ended).await?;
        }
        Ok(run)
    }

    /// Sends the run in pages, one directly after the other.
    async fn tell_pages(&self, run: &RunRow, event: impl Fn(GetRunResponse) -> run_event::Event) -> Result<(), Over> {
        let mut from = Some(Cursor::START);
        while let Some(cursor) = from {
            let (page, next) = self.or_fail(pages::page(self.store.as_ref(), run, cursor).await).await?;
            self.send(event(page)).await?;
            from = next;
        }
        Ok(())
    }

    async fn send(&self, event: run_event::Event) -> Result<(), Over> {
        self.sender.send(Ok(RunEvent { event: Some(event) })).await.map_err(|_| Over)
    }

    async fn or_fail<T>(&self, result: Result<T, Error>) -> Result<T, Over> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.fail(error.into()).await?;
                Err(Over)
            }
        }
    }

    async fn fail(&self, status: Status) -> Result<(), Over> {
        self.sender.send(Err(status)).await.map_err(|_| Over)
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::ids::DeviceId;
    use seatrial_core::time::Timestamp;

    use super::*;

    #[test]
    fn only_the_news_of_its_own_run_count_and_each_job_once() {
        let now = Timestamp::from_micros(1);
        let (ours, other) = (RunId::new(now, [1; 10]), RunId::new(now, [2; 10]));
        let job = JobId::new(now, [3; 10]);
        let events = [
            Event::Job { run: ours, job },
            Event::Job { run: ours, job },
            Event::Job { run: other, job: JobId::new(now, [4; 10]) },
            Event::Run(other),
            Event::Device(DeviceId::new(now, [5; 10])),
        ];
        assert_eq!(News::of(ours, &events), News { jobs: [job].into(), ..News::default() });
        assert!(News::of(ours, &[Event::Gap]).everything);
    }
}
