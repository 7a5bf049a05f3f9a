//! The yardsticks: processes like p2pd that do nothing but carry, so that one sees what the machine and the shape allow.
//!
//! `raw` is a full mesh of TCP links with the program inside each process: nothing is signed, stored or encrypted.
//! `grpc` is the same mesh behind our own API, as much of it as this program's clients use: the limit of our shape.
//! Both lose nothing: whoever does not read holds up whoever sends. This is the side of the processes; `field` starts
//! them and gives the orders.

mod api;
mod field;
mod frame;
mod mesh;
mod orders;
mod program;

use std::path::PathBuf;

use clap::Args;
use tokio::sync::mpsc;

pub(crate) use field::{Yardstick, run_inside};

use crate::failure::Failure;
use mesh::{Mesh, Received};
use orders::{Order, Report};
use program::Program;

/// One process of six; it does what it is told on its standard input, and ends with it.
#[derive(Args, Debug)]
pub(crate) struct YardstickArgs {
    /// Serves programs on this socket. Without it the program is inside.
    #[arg(long)]
    api: Option<PathBuf>,
}

/// Joins the mesh it is told of, and carries until its standard input ends.
pub(crate) async fn run(args: &YardstickArgs) -> Result<(), Failure> {
    let mut orders = orders::from_stdin();
    let listener = mesh::listen().await?;
    orders::report(&Report::Listening { port: listener.local_addr()?.port() })?;
    let Some(Order::Mesh { place, ports }) = orders.recv().await else { return Ok(()) };
    let (mesh, received) = Mesh::join(listener, place, &ports).await?;
    match &args.api {
        Some(path) => {
            api::serve(path, &mesh, place, received)?;
            orders::report(&Report::Linked)?;
            while let Some(order) = orders.recv().await {
                obey_counting(&mesh, &order)?;
            }
            Ok(())
        }
        None => carry_inside(orders, mesh, place, received).await,
    }
}

async fn carry_inside(
    mut orders: mpsc::Receiver<Order>,
    mesh: Mesh,
    place: usize,
    received: mpsc::Receiver<Received>,
) -> Result<(), Failure> {
    let program = Program::new(mesh, place, received);
    orders::report(&Report::Linked)?;
    while let Some(order) = orders.recv().await {
        match order {
            Order::Say { text_bytes, load } => {
                let (posts, first_ns) = program.say(text_bytes, load).await?;
                orders::report(&Report::Said { posts, first_ns })?;
            }
            Order::Expect { said } => orders::report(&program.wait_for(&said).await?)?,
            Order::Count | Order::Mesh { .. } => obey_counting(program.mesh(), &order)?,
        }
    }
    Ok(())
}

fn obey_counting(mesh: &Mesh, order: &Order) -> Result<(), Failure> {
    match order {
        Order::Count => orders::report(&Report::Count { sent_bytes: mesh.sent_bytes() }),
        Order::Mesh { .. } | Order::Say { .. } | Order::Expect { .. } => Err(Failure::new("an order out of order")),
    }
}
