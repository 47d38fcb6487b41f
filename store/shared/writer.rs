//! Group commit: one task writes, and many callers share one transaction.
//!
//! A commit costs a sync of the disk, whatever it carries. So the writer takes everything that waits (bounded), runs it
//! in one transaction, commits once, and only then answers. If the batch fails, its writes are undone and each is tried
//! again alone, so that one bad write cannot harm its neighbours. A failed *commit* is never tried again: whether it
//! reached the disk is unknown, so every caller is told that it failed.
//!
//! What nobody was promised to find after a power cut is committed without a sync where the database allows it: who holds
//! a job, and at which stage. A batch is synced when any of its writes must be.
//!
//! The one connection that writes also holds the database: whoever has it is the active server, and nobody else can
//! write. Where that takes a lock, the lock belongs to the connection and goes with it.

use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::pool::PoolConnection;
use tokio::sync::{mpsc, oneshot, watch};

use seatrial_core::store::StoreError;

use super::fault::Fault;
use crate::dialect::{self, Begin, Connection, Db, Hold, Pool};

/// Writes that may wait. Callers beyond it wait for their turn to queue.
const QUEUE: usize = 1024;
/// Writes that share one commit.
const BATCH: usize = 256;
/// Bytes that share one commit, as their callers estimate them.
const BATCH_BYTES: usize = 8 << 20;
/// A database that takes longer than this for a batch is taken for gone.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;
type Each<Args, Answer> = for<'a> fn(&'a Args, &'a mut Connection) -> Step<'a, Answer>;
type Together<Args, Answer> = for<'a> fn(&'a [Args], &'a mut Connection) -> Step<'a, Vec<Answer>>;

/// What a write must outlive once it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlives {
    /// The loss of power: the disk has it.
    PowerLoss,
    /// The death of any process: the kernel has it.
    Process,
}

/// A handle to the task that writes. The task ends when the last handle is gone and the queue is empty.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    orders: mpsc::Sender<Box<dyn Order>>,
    /// Becomes true when another server has become the active one.
    taken_over: watch::Receiver<bool>,
}

#[derive(Debug, thiserror::Error)]
#[error("the task that writes to the database has ended")]
struct WriterGone;

#[derive(Debug, thiserror::Error)]
#[error("the database has not answered for {} s", PATIENCE.as_secs())]
struct TooSlow;

impl Writer {
    pub(crate) fn start(link: Link) -> Self {
        let (orders, queue) = mpsc::channel(QUEUE);
        let taken_over = link.taken_over.subscribe();
        tokio::spawn(serve(link, queue));
        Self { orders, taken_over }
    }

    /// Resolves when another server has become the active one.
    pub(crate) async fn taken_over(&self) {
        if self.taken_over.clone().wait_for(|taken| *taken).await.is_err() {
            std::future::pending::<()>().await; // the writer has ended with this server
        }
    }

    /// Runs one write. `run` may be called twice, so it must not keep what it has seen.
    pub(crate) async fn write<Args, Answer>(
        &self,
        doing: &'static str,
        args: Args,
        run: Each<Args, Answer>,
    ) -> Result<Answer, StoreError>
    where
        Args: Send + Sync + 'static,
        Answer: Send + 'static,
    {
        self.order(doing, args, 0, Outlives::PowerLoss, Run::Each(run)).await
    }

    /// Runs one write together with all others of its kind that wait, in as few statements as one would take. `run`
    /// gives one answer for each of its arguments. `bytes` is about what the write carries.
    pub(crate) async fn write_together<Args, Answer>(
        &self,
        doing: &'static str,
        args: Args,
        bytes: usize,
        run: Together<Args, Answer>,
    ) -> Result<Answer, StoreError>
    where
        Args: Send + Sync + 'static,
        Answer: Send + 'static,
    {
        self.order(doing, args, bytes, Outlives::PowerLoss, Run::Together(run)).await
    }

    /// The same, for what a power cut may take back.
    pub(crate) async fn note_together<Args, Answer>(
        &self,
        doing: &'static str,
        args: Args,
        run: Together<Args, Answer>,
    ) -> Result<Answer, StoreError>
    where
        Args: Send + Sync + 'static,
        Answer: Send + 'static,
    {
        self.order(doing, args, 0, Outlives::Process, Run::Together(run)).await
    }

    async fn order<Args, Answer>(
        &self,
        doing: &'static str,
        args: Args,
        bytes: usize,
        outlives: Outlives,
        run: Run<Args, Answer>,
    ) -> Result<Answer, StoreError>
    where
        Args: Send + Sync + 'static,
        Answer: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let group = Group { run, bytes, outlives, args: vec![args], replies: vec![reply], answers: Vec::new() };
        let gone = || Fault::unavailable(WriterGone).into_error(doing);
        self.orders.send(Box::new(group)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(|fault| fault.into_error(doing))
    }
}

enum Run<Args, Answer> {
    Each(Each<Args, Answer>),
    Together(Together<Args, Answer>),
}

impl<Args, Answer> Clone for Run<Args, Answer> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Args, Answer> Copy for Run<Args, Answer> {}

/// Writes of one kind with those who wait for them.
struct Group<Args, Answer> {
    run: Run<Args, Answer>,
    bytes: usize,
    outlives: Outlives,
    args: Vec<Args>,
    replies: Vec<oneshot::Sender<Result<Answer, Fault>>>,
    answers: Vec<Answer>,
}

/// A group whose types are forgotten, so that one queue carries them all.
trait Order: Send {
    fn bytes(&self) -> usize;
    fn outlives(&self) -> Outlives;
    /// Equal keys run together; `None` runs by itself.
    fn key(&self) -> Option<TypeId>;
    /// Takes over the callers of a group with the same key.
    fn join(&mut self, other: Box<dyn Order>);
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    fn run<'a>(&'a mut self, transaction: &'a mut Connection) -> Step<'a, ()>;
    /// One group for each caller.
    fn split(self: Box<Self>) -> Vec<Box<dyn Order>>;
    fn count(&self) -> usize;
    /// Tells every caller.
    fn settle(self: Box<Self>, verdict: Result<(), Fault>);
}

impl<Args, Answer> Order for Group<Args, Answer>
where
    Args: Send + Sync + 'static,
    Answer: Send + 'static,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn outlives(&self) -> Outlives {
        self.outlives
    }

    fn key(&self) -> Option<TypeId> {
        match self.run {
            Run::Each(_) => None,
            Run::Together(_) => Some(TypeId::of::<Self>()),
        }
    }

    fn join(&mut self, other: Box<dyn Order>) {
        if let Ok(other) = other.into_any().downcast::<Self>() {
            self.bytes += other.bytes;
            self.args.extend(other.args);
            self.replies.extend(other.replies);
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn run<'a>(&'a mut self, transaction: &'a mut Connection) -> Step<'a, ()> {
        Box::pin(async move {
            self.answers = match self.run {
                Run::Together(run) => run(&self.args, transaction).await?,
                Run::Each(run) => {
                    let mut answers = Vec::with_capacity(self.args.len());
                    for args in &self.args {
                        answers.push(run(args, transaction).await?);
                    }
                    answers
                }
            };
            Ok(())
        })
    }

    fn split(self: Box<Self>) -> Vec<Box<dyn Order>> {
        let Self { run, bytes, outlives, args, replies, answers: _ } = *self;
        args.into_iter()
            .zip(replies)
            .map(|(args, reply)| -> Box<dyn Order> {
                Box::new(Self { run, bytes, outlives, args: vec![args], replies: vec![reply], answers: Vec::new() })
            })
            .collect()
    }

    fn count(&self) -> usize {
        self.args.len()
    }

    fn settle(self: Box<Self>, verdict: Result<(), Fault>) {
        // A caller that no longer waits has lost interest in the answer, not in the write.
        match verdict {
            Ok(()) => {
                for (reply, answer) in self.replies.into_iter().zip(self.answers) {
                    drop(reply.send(Ok(answer)));
                }
            }
            Err(fault) => {
                for reply in self.replies {
                    drop(reply.send(Err(fault.clone())));
                }
            }
        }
    }
}

async fn serve(mut link: Link, mut queue: mpsc::Receiver<Box<dyn Order>>) {
    loop {
        let next = match dialect::LOOK_AFTER {
            Some(idle) => tokio::time::timeout(idle, queue.recv()).await,
            None => Ok(queue.recv().await),
        };
        match next {
            Ok(Some(first)) => {
                let batch = gather(first, &mut queue);
                link.write(batch).await;
            }
            Ok(None) => return,
            Err(_) => link.look().await,
        }
    }
}

/// Everything that waits, within the bounds of a batch, with writes of one kind put together.
fn gather(first: Box<dyn Order>, queue: &mut mpsc::Receiver<Box<dyn Order>>) -> Vec<Box<dyn Order>> {
    let (mut count, mut bytes) = (first.count(), first.bytes());
    let mut batch = vec![first];
    while count < BATCH && bytes < BATCH_BYTES {
        let Ok(next) = queue.try_recv() else { break };
        count += next.count();
        bytes += next.bytes();
        match batch.iter_mut().find(|group| group.key().is_some() && group.key() == next.key()) {
            Some(group) => group.join(next),
            None => batch.push(next),
        }
    }
    batch
}

/// How a transaction failed.
enum Failed {
    /// Before the commit: nothing of it is stored.
    Before(Fault),
    /// At the commit: nobody knows.
    Commit(Fault),
}

/// The writer's connection, opened when it is needed and dropped when it has failed.
pub(crate) struct Link {
    pool: Pool,
    begin: Begin,
    held: Option<PoolConnection<Db>>,
    hold: Hold,
    taken_over: watch::Sender<bool>,
}

impl Link {
    /// Connects, and becomes the active server.
    pub(crate) async fn open(pool: Pool, begin: Begin) -> Result<Self, Fault> {
        let mut link = Self { pool, begin, held: None, hold: Hold::new(), taken_over: watch::Sender::new(false) };
        link.connection().await?;
        Ok(link)
    }

    /// Nothing was written for a while: looks whether this is still the active server.
    async fn look(&mut self) {
        if let Err(fault) = self.connection().await {
            tracing::debug!(?fault, "the idle writer has no connection");
        }
    }

    async fn write(&mut self, mut batch: Vec<Box<dyn Order>>) {
        let callers: usize = batch.iter().map(|group| group.count()).sum();
        match self.transaction(&mut batch).await {
            Ok(()) => settle(batch, &Ok(())),
            Err(Failed::Before(fault)) if callers > 1 && !fault.concerns_everybody() => {
                tracing::debug!(writes = callers, ?fault, "batch undone; each write is tried alone");
                for single in batch.into_iter().flat_map(Order::split) {
                    let mut single = vec![single];
                    let verdict = self.transaction(&mut single).await;
                    settle(single, &verdict.map_err(|(Failed::Before(fault) | Failed::Commit(fault))| fault));
                }
            }
            Err(Failed::Before(fault) | Failed::Commit(fault)) => settle(batch, &Err(fault)),
        }
    }

    async fn transaction(&mut self, batch: &mut [Box<dyn Order>]) -> Result<(), Failed> {
        let outcome = match tokio::time::timeout(PATIENCE, self.try_transaction(batch)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failed::Commit(Fault::unavailable(TooSlow))),
        };
        if let Err(Failed::Before(fault) | Failed::Commit(fault)) = &outcome
            && fault.concerns_everybody()
            && let Some(mut broken) = self.held.take()
        {
            broken.close_on_drop();
        }
        outcome
    }

    /// A connection that has died while nothing was written is replaced, and nobody has to know.
    pub(crate) async fn connection(&mut self) -> Result<&mut PoolConnection<Db>, Fault> {
        if let Some(held) = &mut self.held
            && !dialect::is_alive(held).await
            && let Some(mut dead) = self.held.take()
        {
            dead.close_on_drop();
        }
        match &mut self.held {
            Some(connection) => Ok(connection),
            empty @ None => {
                let mut fresh = self.pool.acquire().await?;
                let refused = match self.hold.take(&mut fresh).await {
                    Ok(None) => None,
                    Ok(Some(holder)) => {
                        self.taken_over.send_replace(true);
                        Some(Fault::Held { holder })
                    }
                    Err(fault) => Some(fault),
                };
                if let Some(fault) = refused {
                    fresh.close_on_drop();
                    return Err(fault);
                }
                Ok(empty.insert(fresh))
            }
        }
    }

    async fn try_transaction(&mut self, batch: &mut [Box<dyn Order>]) -> Result<(), Failed> {
        let before = |error: sqlx::Error| Failed::Before(error.into());
        let begin = match reach(batch) {
            Outlives::PowerLoss => self.begin.synced,
            Outlives::Process => self.begin.unsynced,
        };
        let connection = self.connection().await.map_err(Failed::Before)?;
        let mut transaction = connection.begin_with(begin).await.map_err(before)?;
        for group in batch {
            if let Err(fault) = group.run(&mut transaction).await {
                if let Err(error) = transaction.rollback().await {
                    return Err(before(error));
                }
                return Err(Failed::Before(fault));
            }
        }
        transaction.commit().await.map_err(|error| Failed::Commit(error.into()))
    }
}

/// The furthest of what the writes of a batch must outlive.
fn reach(batch: &[Box<dyn Order>]) -> Outlives {
    let all_may_go = batch.iter().all(|group| group.outlives() == Outlives::Process);
    if all_may_go { Outlives::Process } else { Outlives::PowerLoss }
}

fn settle(batch: Vec<Box<dyn Order>>, verdict: &Result<(), Fault>) {
    for group in batch {
        group.settle(verdict.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(outlives: Outlives) -> Box<dyn Order> {
        let run: Run<(), ()> = Run::Each(|(), _| Box::pin(async { Ok(()) }));
        Box::new(Group { run, bytes: 0, outlives, args: vec![()], replies: Vec::new(), answers: Vec::new() })
    }

    #[test]
    fn a_batch_is_synced_as_soon_as_one_of_its_writes_must_be() {
        use Outlives::{PowerLoss, Process};
        assert_eq!(reach(&[order(Process), order(Process)]), Process);
        assert_eq!(reach(&[order(Process), order(PowerLoss)]), PowerLoss);
        assert_eq!(reach(&[order(PowerLoss)]), PowerLoss);
    }
}
