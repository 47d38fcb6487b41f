//! What is read for live pages is read for all their viewers: a large run costs the same however many watch it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// The last reading of one thing, and when it began.
type Slot<T> = tokio::sync::Mutex<Option<(Instant, Arc<T>)>>;

/// Readings of what is watched now, by its name.
pub(crate) struct Readings<K, T>(Arc<Mutex<HashMap<K, Weak<Slot<T>>>>>);

impl<K, T> Default for Readings<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, T> Clone for Readings<K, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Hash + Eq, T> Readings<K, T> {
    /// The readings of one thing; the last is kept for as long as somebody has these.
    pub(crate) fn of(&self, key: K) -> Watched<T> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.strong_count() > 0);
        let slot = slots.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        slots.insert(key, Arc::downgrade(&slot));
        Watched(slot)
    }
}

/// One viewer's share in the readings of one thing.
pub(crate) struct Watched<T>(Arc<Slot<T>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Watched<T> {
    /// The last reading if it began less than `age` ago, else a new one; and whether it is new.
    pub(crate) async fn read<E>(
        &self,
        age: Duration,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<(Arc<T>, bool), E> {
        let mut last = self.0.lock().await;
        if let Some((began, reading)) = &*last
            && began.elapsed() < age
        {
            return Ok((reading.clone(), false));
        }
        let began = Instant::now();
        let reading = Arc::new(read.await?);
        *last = Some((began, reading.clone()));
        Ok((reading, true))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const AGE: Duration = Duration::from_secs(1);

    async fn read(watched: &Watched<u32>, n: u32) -> (u32, bool) {
        let Ok((reading, new)) = watched.read(AGE, std::future::ready(Ok::<_, Infallible>(n))).await;
        (*reading, new)
    }

    #[tokio::test(start_paused = true)]
    async fn all_viewers_of_a_thing_share_a_reading_for_as_long_as_it_is_fresh() {
        let readings = Readings::default();
        let (first, second, other) = (readings.of("611"), readings.of("611"), readings.of("612"));
        assert_eq!(read(&first, 1).await, (1, true));
        assert_eq!(read(&second, 2).await, (1, false));
        assert_eq!(read(&other, 3).await, (3, true), "of something else");
        tokio::time::advance(AGE).await;
        assert_eq!(read(&second, 4).await, (4, true));
        drop((first, second));
        assert_eq!(read(&readings.of("611"), 5).await, (5, true), "nothing is kept for nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_failed_is_nobodys() {
        let watched: Watched<u32> = Readings::default().of("611");
        let failed = watched.read(AGE, std::future::ready(Err("the store is away"))).await;
        assert_eq!(failed.map(|(reading, _)| *reading), Err("the store is away"));
        assert_eq!(read(&watched, 1).await, (1, true));
    }
}
