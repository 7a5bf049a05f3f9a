//! Telling the service manager that we are alive, only while it is true.

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::api::Request;
use crate::notify::Notifier;

/// Says so twice in each time that the manager wants to hear of us, and never where nobody watches.
///
/// Each time the driver is asked for something that the store has to answer, so a loop or a store that hangs is
/// silence. The manager then does what it was told to: most often it starts us anew.
pub(super) async fn watch(notifier: Notifier, requests: mpsc::Sender<Request>) {
    let Some(limit) = notifier.watchdog() else { return std::future::pending().await };
    let mut ticks = interval(limit / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (reply, answer) = oneshot::channel();
        // Where nobody answers, the daemon is on its way out, or hangs.
        if requests.send(Request::StoreSummary(reply)).await.is_ok() && answer.await.is_ok() {
            notifier.alive();
        }
    }
}
