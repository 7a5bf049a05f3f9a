//! What is said between this program and its yardsticks: a line of JSON each, on their standard input and output.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::load::Load;

/// To a yardstick.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Link to these, of which you are the one at `place`.
    Mesh { place: usize, ports: Vec<u16> },
    /// Say what this load wants of you. Only where the program is inside.
    Say { text_bytes: usize, load: Load },
    /// All have said their part: so many each. Wait until you have all of it.
    Expect { said: Vec<u64> },
    /// How much have you sent?
    Count,
}

/// From a yardstick.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Listening {
        port: u16,
    },
    Linked,
    /// All is said; the first post at `first_ns` of the clock that all processes share.
    Said {
        posts: u64,
        first_ns: Option<u64>,
    },
    /// All has come; the last of it at `last_ns`.
    Arrived {
        deliveries: u64,
        last_ns: u64,
        latencies_us: Vec<u32>,
    },
    Count {
        sent_bytes: u64,
    },
}

/// The orders, as they are read. They end when nobody can give any more, and also where one is not understood.
pub(crate) fn from_stdin() -> mpsc::Receiver<Order> {
    let (sender, receiver) = mpsc::channel(1);
    // A thread, because a read from there cannot be given up.
    std::thread::spawn(move || {
        let orders = std::io::stdin().lock().lines().map_while(Result::ok);
        for order in orders.map_while(|line| serde_json::from_str(&line).ok()) {
            if sender.blocking_send(order).is_err() {
                return;
            }
        }
    });
    receiver
}

pub(crate) fn report(report: &Report) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(line(report)?.as_bytes())?;
    Ok(out.flush()?)
}

/// With its end.
pub(crate) fn line(message: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(message).map_err(|error| Failure::new(error.to_string()))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Enough;
    use std::time::Duration;

    #[test]
    fn an_order_is_one_line_and_comes_back_the_same() {
        let enough = Enough { time: Duration::from_millis(250), posts: 7 };
        let order = Order::Say { text_bytes: 64, load: Load::Flood { senders: 6, enough } };
        let line = line(&order).unwrap();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
    }
}
