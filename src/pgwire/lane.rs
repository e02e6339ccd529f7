//! The threads a session's statements run on, apart from those that serve sockets.
//!
//! Planning, computing and above all a call into a module keep the thread they are on. In a lane they keep the session's
//! own, of which it has a few: no more calls of its statements than that run at a time, the rest wait their turn, and
//! neither other sessions nor the door (accept, cancel, timers, signals) wait for them. The processor is shared out by
//! the operating system.
//!
//! What it costs: docs/decisions/0010.
//!
//! Invariant: a connection's own task runs no plan and no guest (it parses, decodes and encodes); so it sees at once that
//! the client leaves, cancels, or that the server stops, sets the statement's flag, and the guest ends.

use super::cancel::CancelFlag;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use millpond_engine::STACK_BYTES;
use millpond_sql::{Outcome, Prepared, Session, Statement};
use parking_lot::Mutex;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Threads of a session that compute, at most; as many as there are processors, if that is less.
const THREADS_MAX: usize = 16;
/// Threads of a session that wait for a lock or a disk.
const BLOCKING_THREADS_MAX: usize = 8;
/// Lanes kept for the next sessions, so that they need not start threads.
const IDLE_MAX: usize = 8;

/// Lanes that nobody uses.
#[derive(Debug, Default)]
pub struct Lanes {
    idle: Mutex<Vec<Runtime>>,
}

impl Lanes {
    /// # Errors
    /// When the system has no threads left.
    pub fn take(self: &Arc<Lanes>) -> std::io::Result<Lane> {
        let idle = self.idle.lock().pop();
        let runtime = match idle {
            Some(runtime) => runtime,
            None => Builder::new_multi_thread()
                .worker_threads(std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX)))
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .thread_stack_size(STACK_BYTES)
                .thread_name("millpond-lane")
                .enable_all()
                .build()?,
        };
        Ok(Lane { runtime: Some(runtime), lanes: self.clone(), reusable: false, unfinished: Arc::default() })
    }

    fn give_back(&self, runtime: Runtime) {
        let mut idle = self.idle.lock();
        match idle.len() < IDLE_MAX {
            true => idle.push(runtime),
            false => runtime.shutdown_background(),
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        // Waiting for threads is not allowed here.
        self.idle.lock().drain(..).for_each(Runtime::shutdown_background);
    }
}

/// One session's threads.
#[derive(Debug)]
pub struct Lane {
    runtime: Option<Runtime>,
    lanes: Arc<Lanes>,
    /// Whether its session came to its end.
    reusable: bool,
    /// Results that were not taken to their end: parts of their plans may run on, out of sight when they block.
    unfinished: Arc<AtomicUsize>,
}

impl Lane {
    fn handle(&self) -> Handle {
        self.runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }

    fn stream(&self, stream: SendableRecordBatchStream, cancel: CancelFlag) -> LaneStream {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
        LaneStream {
            stream: Some(stream),
            ended: false,
            lane: self.handle(),
            cancel,
            unfinished: self.unfinished.clone(),
        }
    }

    /// Whether nothing of its statements runs any more, so that the next session has its threads for itself.
    fn is_quiet(&self, runtime: &Runtime) -> bool {
        self.reusable && self.unfinished.load(Ordering::Relaxed) == 0 && runtime.metrics().num_alive_tasks() == 0
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        match self.runtime.take() {
            Some(runtime) if self.is_quiet(&runtime) => self.lanes.give_back(runtime),
            Some(runtime) => runtime.shutdown_background(),
            None => {}
        }
    }
}

/// Runs `work` on the lane. Dropping the future ends the work at its next await.
async fn run<T: Send + 'static>(lane: &Handle, work: impl Future<Output = T> + Send + 'static) -> T {
    struct Task<T>(JoinHandle<T>);
    impl<T> Drop for Task<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = Task(lane.spawn(work));
    match (&mut task.0).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The lane is gone, and with it the session that asked.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A session whose statements run on its lane. While one does, and after one was given up, the session is not here.
pub struct LaneSession {
    session: Option<Box<Session>>,
    handle: Handle,
    lane: Lane,
}

impl LaneSession {
    pub fn new(session: Session, lane: Lane) -> LaneSession {
        let handle = lane.handle();
        LaneSession { session: Some(Box::new(session)), handle, lane }
    }

    /// [`Session::execute`]; after an error nothing of the statement goes on running.
    pub async fn execute(
        &mut self,
        statement: &Statement,
        parameters: Vec<ScalarValue>,
        cancel: CancelFlag,
    ) -> millpond_sql::Result<Outcome> {
        let mut session = self.leave();
        let statement = statement.clone();
        let work = async move {
            let outcome = session.execute(&statement, parameters, cancel.clone()).await;
            if outcome.is_err() {
                cancel.store(true, Ordering::Release);
            }
            (session, outcome)
        };
        let (session, outcome) = run(&self.handle, work).await;
        self.session = Some(session);
        outcome
    }

    /// [`Session::prepare`].
    pub async fn prepare(
        &mut self,
        statement: &Statement,
        hints: Vec<Option<DataType>>,
    ) -> millpond_sql::Result<Prepared> {
        let mut session = self.leave();
        let statement = statement.clone();
        let work = async move {
            let prepared = session.prepare(&statement, &hints).await;
            (session, prepared)
        };
        let (session, prepared) = run(&self.handle, work).await;
        self.session = Some(session);
        prepared
    }

    /// A result that is computed on the lane; `cancel` is the flag of its statement.
    pub fn stream(&self, stream: SendableRecordBatchStream, cancel: CancelFlag) -> LaneStream {
        self.lane.stream(stream, cancel)
    }

    #[expect(clippy::expect_used, reason = "a connection whose session was given up serves no further message")]
    fn leave(&mut self) -> Box<Session> {
        self.session.take().expect("one statement at a time")
    }
}

impl Drop for LaneSession {
    fn drop(&mut self) {
        self.lane.reusable = self.session.is_some();
    }
}

impl Deref for LaneSession {
    type Target = Session;

    #[expect(clippy::expect_used, reason = "as above")]
    fn deref(&self) -> &Session {
        self.session.as_ref().expect("no statement runs")
    }
}

impl DerefMut for LaneSession {
    #[expect(clippy::expect_used, reason = "as above")]
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("no statement runs")
    }
}

/// A result's batches, each computed on the lane when it is asked for.
pub struct LaneStream {
    stream: Option<SendableRecordBatchStream>,
    /// All batches were given.
    ended: bool,
    lane: Handle,
    pub cancel: CancelFlag,
    unfinished: Arc<AtomicUsize>,
}

impl Drop for LaneStream {
    /// Parts of the plan may run yet, calls into modules among them.
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Release);
    }
}

impl LaneStream {
    /// The next batch. A future that is dropped ends the stream.
    pub async fn next(&mut self) -> Option<datafusion::common::Result<RecordBatch>> {
        let mut stream = self.stream.take()?;
        let work = async move {
            let next = stream.next().await;
            (stream, next)
        };
        let (stream, next) = run(&self.lane, work).await;
        self.stream = Some(stream);
        if next.is_none() && !self.ended {
            self.ended = true;
            self.unfinished.fetch_sub(1, Ordering::Relaxed);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_computes_does_not_hold_up_the_caller() {
        let lanes = Arc::new(Lanes::default());
        let mut lane = lanes.take().expect("threads");
        let handle = lane.handle();
        let threads = handle.metrics().num_workers();
        let running = Arc::new(AtomicUsize::new(0));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let compute = || {
            let (running, ended) = (running.clone(), ended.clone());
            let work = async move {
                running.fetch_add(1, Ordering::Relaxed);
                let _ = ended.lock().recv();
                running.fetch_sub(1, Ordering::Relaxed)
            };
            handle.spawn(work)
        };
        let busy: Vec<_> = (0..4 * threads).map(|_| compute()).collect();
        let all_busy = async {
            while running.load(Ordering::Relaxed) < threads {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all_busy).await.expect("the caller goes on while they compute");
        assert!(threads <= THREADS_MAX, "{threads}");
        drop(end);
        for task in busy {
            let at_a_time = task.await.expect("it ends");
            assert!(at_a_time <= threads, "no more at a time than threads: {at_a_time}");
        }
        lane.reusable = true;
        settle(&lane).await;
        drop(lane);
        assert_eq!(lanes.idle.lock().len(), 1);
    }

    /// A lane goes to the next session only when nothing of the last one's runs on it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_lane_with_a_statement_that_was_given_up_is_not_used_again() {
        let lanes = Arc::new(Lanes::default());
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let batch = RecordBatch::new_empty(schema.clone());
        for (taken, reused) in [(0, false), (1, false), (2, true)] {
            let mut lane = lanes.take().expect("threads");
            let batches = futures::stream::iter([Ok(batch.clone())]);
            let mut stream =
                lane.stream(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), batches)), CancelFlag::default());
            for _ in 0..taken {
                stream.next().await;
            }
            drop(stream);
            lane.reusable = true;
            settle(&lane).await;
            drop(lane);
            assert_eq!(lanes.idle.lock().len(), usize::from(reused), "{taken} of a batch and the end were taken");
        }
        let mut lane = lanes.take().expect("threads");
        let handle = lane.handle();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let running = handle.spawn(async move { ended.recv() });
        lane.reusable = true;
        drop(lane);
        assert!(lanes.idle.lock().is_empty(), "something runs on it");
        drop(end);
        let _ = running.await;
    }

    /// Waits until a lane's tasks, whose results are there already, are gone.
    async fn settle(lane: &Lane) {
        let alive = || lane.handle().metrics().num_alive_tasks();
        while alive() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller() {
        let lane = Arc::new(Lanes::default()).take().expect("threads");
        let handle = lane.runtime.as_ref().expect("there").handle().clone();
        let outer = tokio::spawn(async move { run(&handle, async { panic!("on purpose") }).await });
        assert!(outer.await.is_err_and(|error| error.is_panic()));
    }
}
