//! The scissors over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Scissors;

/// Where the gateway connects instead of to Zuora. A cut arrives there as the system tells it: closed as FIN, reset as
/// RST. Ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port, and passes on what comes to the tenant behind `scissors`.
    pub async fn start(scissors: &Arc<Scissors>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let scissors = Arc::clone(scissors);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let scissors = Arc::clone(&scissors);
                tokio::spawn(async move {
                    // Whatever goes wrong is what was asked for: the connection ends.
                    drop(pass(stream, &scissors).await);
                });
            }
        });
        Self { address, accepting }
    }

    /// What the gateway takes for Zuora's base URL.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut gateway: TcpStream, scissors: &Arc<Scissors>) -> std::io::Result<()> {
    // Then dropping it sends RST, unless FIN went before.
    gateway.set_zero_linger()?;
    gateway.set_nodelay(true)?;
    let inner = TcpStream::connect(scissors.tenant().address()).await?;
    inner.set_nodelay(true)?;
    let Some(wire) = scissors.connect(inner) else { return Ok(()) };
    let (mut from_zuora, mut to_zuora) = tokio::io::split(wire.of_relay());
    let (mut from_gateway, mut to_gateway) = gateway.split();

    let requests = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            match from_gateway.read(&mut bytes).await? {
                0 => return to_zuora.shutdown().await,
                some => to_zuora.write_all(&bytes[..some]).await?,
            }
        }
    };
    let answers = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            match from_zuora.read(&mut bytes).await? {
                0 => return to_gateway.shutdown().await,
                some => to_gateway.write_all(&bytes[..some]).await?,
            }
        }
    };
    // Both come to their end, or the first error ends both.
    tokio::try_join!(requests, answers).map(|_| ())
}
