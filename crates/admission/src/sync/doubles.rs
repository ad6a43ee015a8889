//! Doubles for the model checker, which may let another thread go at each [`step`].
//!
//! Its mutex has steps of its own, before a lock and before an unlock. Tokio's channel and notification
//! have none: here they get one before and after everything that another thread can see. They are
//! themselves beyond doubt (Tokio checks them with loom), so what happens inside is a single step.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use shuttle::sync::atomic::{AtomicBool, Ordering};
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
use shuttle::{future, thread};

/// A thread of this name is on no runtime.
const NO_RUNTIME: &str = "no runtime";

/// Lets any other thread go first. Not a yield: the scheduler need not prefer anybody.
fn step() {
    AtomicBool::new(true).load(Ordering::SeqCst);
}

pub(crate) mod oneshot {
    use super::*;

    #[derive(Debug)]
    pub(crate) struct Sender<T>(tokio::sync::oneshot::Sender<T>);

    #[derive(Debug)]
    pub(crate) struct Receiver<T>(tokio::sync::oneshot::Receiver<T>);

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        pub(crate) fn send(self, value: T) -> Result<(), T> {
            step();
            let sent = self.0.send(value);
            step();
            sent
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn close(&mut self) {
            step();
            self.0.close();
            step();
        }

        pub(crate) fn try_recv(&mut self) -> Result<T, tokio::sync::oneshot::error::TryRecvError> {
            self.0.try_recv()
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, tokio::sync::oneshot::error::RecvError>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            step();
            Pin::new(&mut self.0).poll(context)
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            step();
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(crate) fn notify_one(&self) {
        step();
        self.0.notify_one();
    }

    pub(crate) async fn notified(&self) {
        step();
        self.0.notified().await;
    }
}

/// A runtime whose tasks are threads of the model.
#[derive(Clone, Debug)]
pub(crate) struct Handle;

impl Handle {
    pub(crate) fn try_current() -> Result<Self, ()> {
        step();
        if thread::current().name() == Some(NO_RUNTIME) { Err(()) } else { Ok(Self) }
    }

    /// The task must end for the model to end: if it does not, that is a deadlock.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        mem::forget(future::spawn(task));
    }
}
