//! One call of the trait: a connection, in a transaction where it writes, and a limit to how long it may take.

use std::{
    future::Future,
    io,
    ops::{Deref, DerefMut},
};

use sqlx::{Pool, pool::PoolConnection};
use tokio::time::{Instant, timeout_at};

use super::{BEGIN, CALL_LIMIT, Database};
use crate::{
    error::{Error, Result},
    failure::{in_doubt, undone},
};

type Connection = <Database as sqlx::Database>::Connection;

/// The connection of a call that is under way. Dropped before [`Call::end`], which is what a cancelled call does, the connection is
/// closed at once and never used again: nobody knows what is on its way through it.
pub(super) struct Call {
    /// Nothing once the call has ended.
    connection: Option<PoolConnection<Database>>,
    /// What is being done, for errors.
    pub(super) step: &'static str,
    /// Of all that the call does once it has its connection.
    pub(super) limit: Limit,
    in_transaction: bool,
}

impl Call {
    /// Begins a call that reads.
    pub(super) async fn read(pool: &Pool<Database>, step: &'static str) -> Result<Self> {
        let connection = pool.acquire().await.map_err(undone(step))?;
        Ok(Self {
            connection: Some(connection),
            step,
            limit: Limit::starting_now(step),
            in_transaction: false,
        })
    }

    /// Begins a call that writes, in a transaction.
    pub(super) async fn write(pool: &Pool<Database>, step: &'static str) -> Result<Self> {
        let mut call = Self::read(pool, step).await?;
        call.limit.keep(call.say(BEGIN)).await?.map_err(undone(step))?;
        call.in_transaction = true;
        Ok(call)
    }

    /// Ends the call: commits what was done, or undoes it. What is answered is committed.
    pub(super) async fn end<T>(mut self, done: Result<T>) -> Result<T> {
        match done {
            Ok(answer) => {
                if self.in_transaction {
                    self.commit().await?;
                }
                self.give_back();
                Ok(answer)
            }
            Err(error) => {
                self.undo(&error).await;
                Err(error)
            }
        }
    }

    async fn commit(&mut self) -> Result<()> {
        let step = self.step;
        match self.limit.keep(self.say("commit")).await {
            Ok(answer) => answer.map_err(in_doubt(step)),
            // It may have arrived.
            Err(_) => Err(in_doubt(step)(no_answer())),
        }
    }

    /// Keeps the connection where it is in order, after a mere no.
    async fn undo(&mut self, error: &Error) {
        if matches!(error, Error::Unavailable { .. } | Error::OutcomeUnknown { .. }) {
            return;
        }
        let rolled_back =
            !self.in_transaction || matches!(self.limit.keep(self.say("rollback")).await, Ok(Ok(())));
        if rolled_back {
            self.give_back();
        }
    }

    async fn say(&mut self, words: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(words).execute(&mut **self).await.map(drop)
    }

    /// Puts the connection back into the pool.
    fn give_back(&mut self) {
        self.connection = None;
    }
}

/// Until when the database must have answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    step: &'static str,
    deadline: Option<Instant>,
}

impl Limit {
    pub(super) fn starting_now(step: &'static str) -> Self {
        Self { step, deadline: CALL_LIMIT.map(|limit| Instant::now() + limit) }
    }

    /// Does `work`, or answers that the database did not answer in time; then nothing was committed by it.
    pub(super) async fn keep<T>(self, work: impl Future<Output = T>) -> Result<T> {
        match self.deadline {
            None => Ok(work.await),
            Some(deadline) => timeout_at(deadline, work).await.map_err(|_| undone(self.step)(no_answer())),
        }
    }
}

fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

impl Deref for Call {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_deref().expect("a call has its connection until it ends")
    }
}

impl DerefMut for Call {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_deref_mut().expect("a call has its connection until it ends")
    }
}
